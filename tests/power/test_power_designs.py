"""Designs of all kinds and sizes: what is drawn, what is shared, what is kept in a folder and in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal

import remlax as rx
from remlax import sim
from remlax.power.extension import extended
from remlax.power.responses import EffectLaw, ResponseLaw

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
MODEL = "y ~ arm + (1 | clinic)"


def trial(effect: float = 0.8, clinics: int = 12) -> sim.MultilevelDesign:
    return sim.MultilevelDesign(
        [sim.Factor("clinic", clinics)],
        5,
        {"1": 0.0, "arm": effect},
        [sim.RandomTerm("clinic", {"1": 0.4})],
        1.0,
        [sim.Covariate("arm", level="clinic", kind="balanced", mean=0.5)],
    )


def frame_of(design: sim.MultilevelDesign) -> pd.DataFrame:
    return sim.simulate_frames(design, 1, seed=1)[0].drop(columns="y")


def test_a_frame_with_the_same_parameters_is_the_same_study():
    curve = sim.power(MODEL, trial(), test="arm", n={"clinic": [12, 24]}, replications=60, seed=2)
    given = {"fixef": {"arm": 0.8}, "varcorr": {"clinic": 0.4, "Residual": 1.0}}
    again = sim.power(MODEL, frame_of(trial()), test="arm", n={"clinic": [12, 24]}, replications=60, seed=2, **given)
    assert_frame_equal(curve.table, again.table)
    assert curve.assumptions == again.assumptions == "clinic 0.4 (Intercept), residual 1"
    assert curve.table["power"].is_monotonic_increasing


def test_a_pilot_fit_keeps_what_is_not_named():
    data = frame_of(trial()).assign(y=np.random.default_rng(3).normal(size=60))
    fit = rx.lmer(MODEL, data)
    found = sim.power(fit, test="arm", fixef={"arm": 0.8}, varcorr={"clinic": 0.4}, replications=60, seed=2)
    sigma = {"clinic": 0.4, "Residual": fit.sigma}
    own = sim.power(MODEL, data, test="arm", fixef={"arm": 0.8}, varcorr=sigma, replications=60, seed=2)
    assert_allclose(found.table[["power", "type_1_error"]], own.table[["power", "type_1_error"]])


def test_replications_depend_on_their_number_alone():
    law = ResponseLaw(np.zeros(6), (EffectLaw(np.repeat(np.arange(3), 2), np.ones((6, 1)), np.eye(1)),), 1.0)
    ten = law.draw(4, range(10))
    assert_array_equal(ten[4:7], law.draw(4, range(4, 7)))
    larger = ResponseLaw(np.zeros(8), (EffectLaw(np.repeat(np.arange(4), 2), np.ones((8, 1)), np.eye(1)),), 1.0)
    assert_array_equal(larger.draw(4, range(10))[:, :6], ten)  # random effects, and rows that come first
    assert not np.array_equal(law.draw(5, range(10)), ten)


@pytest.mark.parametrize("law", [sim.Distribution("t", 5), sim.Distribution("gamma", 2.0)])
def test_other_distributions_have_the_variance_asked_for(law: sim.Distribution):
    effect = EffectLaw(np.arange(400), np.ones((400, 1)), np.array([[2.0]]), law)
    y = ResponseLaw(np.zeros(400), (effect,), 1.0, law).draw(1, range(50))
    assert abs(y.var() / 5.0 - 1) < 0.05
    assert abs(y.mean()) < 0.05


def test_the_type_1_error_is_that_of_the_data_without_the_effect():
    with_effect = sim.power(MODEL, trial(), test="arm", replications=80, seed=2).at()
    without = sim.power(MODEL, trial(1e-9), test="arm", replications=80, seed=2).at()
    assert with_effect["type_1_error"] == without["power"] == without["type_1_error"]
    assert with_effect["power"] > without["power"]


def test_levels_are_copied_in_turn_and_nested_ones_are_new():
    frame = pd.DataFrame(
        {"school": [1, 1, 2, 2], "class": ["a", "b", "c", "d"], "item": [0, 1, 0, 1], "x": [5, 6, 7, 8]}
    )
    found = extended(frame, {"school": 5}, ["school", "class", "item"], ["x"])
    assert found["x"].tolist() == [5, 6, 7, 8, 5, 6, 7, 8, 5, 6]
    assert found["class"].nunique() == 10
    assert found["item"].nunique() == 2
    assert found.groupby("class")["school"].nunique().eq(1).all()
    assert len(extended(frame, {"school": 1}, ["school", "class"], ["x"])) == 2


def test_stepped_wedges_are_frames_with_a_cluster_for_each_sequence():
    wedge = pd.DataFrame(
        [(c, p, float(p > c)) for c in range(3) for p in range(4) for _ in range(4)],
        columns=["cluster", "period", "treated"],
    )
    curve = sim.power(
        "y ~ factor(period) + treated + (1 | cluster)",
        wedge,
        test="treated",
        fixef={"treated": 0.5},
        varcorr={"cluster": 0.3, "Residual": 1.0},
        n={"cluster": [6, 12]},
        replications=80,
        seed=1,
    )
    assert curve.table["n_rows"].tolist() == [96, 192]
    assert curve.table["power"].is_monotonic_increasing


@pytest.mark.slow
def test_drop_out_costs_power_and_keeps_the_level():
    study = sim.MultilevelDesign(
        [sim.Factor("id", 30)],
        4,
        {"1": 0.0, "time": 0.1, "arm:time": 0.35},
        [sim.RandomTerm("id", {"1": 0.6})],
        1.0,
        [sim.Covariate("time", kind="index"), sim.Covariate("arm", level="id", kind="balanced", mean=0.5)],
    )
    model = "y ~ time + time:arm + (1 | id)"
    whole = sim.power(model, study, test="time:arm", replications=200, seed=1).at()
    leave = sim.DropOut(0.5, ["y"], subject="id", time="time")
    lost = sim.power(model, study, test="time:arm", missing=leave, replications=200, seed=1).at()
    assert lost["power"] < whole["power"]
    assert lost["type_1_error"] < 0.12


def test_drawn_covariates_are_drawn_anew_and_the_same_with_more_replications(tmp_path: Path):
    design = sim.MultilevelDesign(
        [sim.Factor("g", 8)], 3, {"1": 0.0, "x": 0.5}, [sim.RandomTerm("g", {"1": 0.5})], 1.0, [sim.Covariate("x")]
    )
    few = sim.power("y ~ x + (1 | g)", design, test="x", replications=40, seed=1, out=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # blocks of 20
    sim.power("y ~ x + (1 | g)", design, test="x", replications=60, seed=1, out=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    again = sim.power("y ~ x + (1 | g)", design, test="x", replications=40, seed=1)
    assert_frame_equal(few.table, again.table)


def test_a_folder_is_read_again_and_other_studies_have_files_of_their_own(tmp_path: Path):
    first = sim.power(MODEL, trial(), test="arm", replications=60, seed=2, out=tmp_path)
    (file,) = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    assert_frame_equal(first.table, sim.power(MODEL, trial(), test="arm", replications=60, seed=2, out=tmp_path).table)
    assert file.stat().st_mtime_ns == stamp
    sim.power(MODEL, trial(), test="arm", replications=60, seed=3, out=tmp_path)
    sim.power(MODEL, trial(0.9), test="arm", replications=60, seed=2, out=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_smallest_size_is_the_first_that_is_enough():
    curve = sim.power(MODEL, trial(), test="arm", n={"clinic": [12, 24]}, replications=100, seed=2)
    found = curve.smallest_n(multiple_of=2)
    assert found.n % 2 == 0
    at = found.curve.table.set_index("clinic")["power"]
    assert at[found.n] >= 0.8 > at[found.n - 2]
    assert f"clinic = {found.n}" in repr(found)
    assert found.sentence().startswith(f"With {found.n} levels of clinic")


@pytest.mark.slow
def test_a_power_that_is_not_reached_is_said_to_be_so():
    design = trial(clinics=8)
    curve = sim.power(MODEL, design, test="arm", n={"clinic": 8, "size": [2, 4]}, replications=30, seed=2)
    with pytest.raises(sim_error(), match=r"stays below 0\.99 with .* levels of 'size'"):
        curve.smallest_n("size", 0.99, most=30)


def sim_error() -> type[Exception]:
    return rx.errors.SimulationError


def test_files_and_figures(tmp_path: Path):
    plt = pytest.importorskip("matplotlib.pyplot")
    curve = sim.power(MODEL, trial(), test="arm", n={"clinic": [12, 24], "size": [5, 6]}, replications=30, seed=2)
    ax = curve.plot()
    assert ax.get_xlabel() == "Number of levels of clinic"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["5 levels of size", "6 levels of size"]
    plt.close("all")
    curve.save(tmp_path / "curve.remlax")
    again = rx.load(tmp_path / "curve.remlax")
    assert_frame_equal(again.table, curve.table)
    assert repr(again) == repr(curve)
    assert again.sentence({"clinic": 24, "size": 5}) == curve.sentence({"clinic": 24, "size": 5})
    with pytest.raises(sim_error(), match="read from a file"):
        again.smallest_n("clinic")


BAD = [
    ({"test": "arm", "n": {"clinics": [10]}}, "'clinics', which is not among"),
    ({"test": "arm", "n": {"clinic": []}}, "holds no size"),
    ({"test": "arm", "n": {"clinic": 0}}, "whole number of at least 1"),
    ({"test": "arm", "n": {"power": 4}}, "name of a column of the table"),
    ({"test": "arms"}, "no coefficient"),
    ({"test": "Intercept"}, r"tested effect of 'Intercept' is 0"),
    ({"test": "arm", "method": "z"}, "method='z' is not known"),
    ({"test": "arm", "alpha": 5}, "alpha=5"),
    ({"test": "arm", "fixef": {"arm": 1.0}}, "leave out fixef="),
    ({"test": "arm", "missing": 0.2}, r"missing=.* made by sim\.DropOut"),
    ({"test": "arm", "missing": sim.Amputation(0.2, [["arm"]], mechanism="MCAR")}, "takes out 'arm'"),
    ({"test": "arm", "seed": -1}, "seed=-1"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_mistakes_are_named(given: dict[str, object], message: str):
    options: dict[str, object] = {"replications": 4, "seed": 1, **given}
    with pytest.raises(rx.errors.RemlaxError, match=message):
        sim.power(MODEL, trial(), **options)  # type: ignore[arg-type]


def test_mistakes_about_models_and_frames_are_named():
    frame = frame_of(trial())
    fixed = {"test": "arm", "seed": 1, "replications": 4}
    cases = [
        (("log(y) ~ arm + (1 | clinic)", frame), "must be a column"),
        ((MODEL, None), "must be a MultilevelDesign or a DataFrame"),
        ((MODEL, frame), "no entry for 'clinic' and 'Residual'|no entry for 'clinic', 'Residual'"),
        ((MODEL, frame.drop(columns="arm")), "arm"),
        ((MODEL, frame.assign(arm=np.nan)), "missing cells"),
        (("z ~ arm + (1 | clinic)", trial()), "draws 'y', and the formula has 'z'"),
    ]
    for (model, design), message in cases:
        with pytest.raises(rx.errors.RemlaxError, match=message):
            sim.power(model, design, **fixed)  # type: ignore[arg-type]
