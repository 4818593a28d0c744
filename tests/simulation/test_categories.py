"""Covariates that take turns or have levels: layouts, laws, and models with them against rx.lmer on the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import remlax as rx
from remlax.engine.programs import float64
from remlax.errors import DataError, SimulationError
from remlax.simulation.keys import NO_SCENARIO, Stream, keys

sim = rx.sim


def layout(factors: list[Any], size: Any, *covariates: Any) -> pd.DataFrame:
    design = sim.MultilevelDesign(factors, size, {"1": 0.0}, [], 1.0, covariates)
    return sim.simulate_frames(design, 1, seed=1)[0]


TURNS = (
    sim.Covariate("half", kind="balanced", mean=0.5),
    sim.Covariate("quarter", kind="balanced", mean=0.25),
    sim.Covariate("arm", kind="balanced", levels=["a", "b", "c"]),
)


@pytest.mark.parametrize(
    ("factors", "size"),
    [
        ([sim.Factor("g", 12)], 1),
        ([sim.Factor("g", 4)], 3),
        ([sim.Factor("a", 3), sim.Factor("b", 4, within="a")], 1),
        ([sim.Factor("g", 12)], sim.Drawn.uniform(1, 3)),
    ],
    ids=["one row", "three rows", "nested", "drawn"],
)
def test_rows_take_turns_in_their_order(factors: list[Any], size: Any) -> None:
    data = layout(factors, size, *TURNS)
    number = np.arange(len(data))
    assert data["half"].tolist() == (number % 2).tolist()
    assert data["quarter"].tolist() == (number % 4 == 3).astype(int).tolist()
    assert data["arm"].cat.codes.tolist() == (number % 3).tolist()


def test_rows_of_crossed_factors_are_a_latin_square() -> None:
    data = layout([sim.Factor("subject", 6), sim.Factor("item", 12)], 1, *TURNS)
    for factor in ("subject", "item"):
        groups = data.groupby(factor)
        assert (groups["half"].mean() == 0.5).all()
        assert (groups["half"].apply(lambda c: c.diff().abs().iloc[1:].min()) == 1).all()
        counts = groups["arm"].value_counts()
        assert counts.groupby(level=0).nunique().eq(1).all()
    assert data["quarter"].mean() == 0.25


CLINICS = [sim.Factor("clinic", 5)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sim.Covariate("k", kind="categorical"), "'k': levels= needs two different names or more"),
        (lambda: sim.Covariate("k", kind="categorical", levels=["a", "a"]), "needs two different names"),
        (lambda: sim.Covariate("k", kind="categorical", levels="ab"), "levels='ab' must be a list of texts"),
        (lambda: sim.Covariate("k", kind="categorical", levels=["a", 1]), "a level must be a text, got 1"),
        (lambda: sim.Covariate("k", kind="categorical", levels=["a", "b:c"]), "level 'b:c' has a colon"),
        (lambda: sim.Covariate("k", levels=["a", "b"]), "'normal' has no levels: choose kind='categorical'"),
        (lambda: sim.Covariate("k", kind="categorical", levels=["a", "b"], mean=0.5), "leave out mean="),
        (
            lambda: sim.Covariate("k", kind="categorical", levels=["a", "b"], probabilities=[0.5, 0.4]),
            "probabilities= needs 2 numbers above 0, one per level, that add up to 1",
        ),
        (
            lambda: sim.Covariate("k", kind="balanced", levels=["a", "b"], probabilities=[0.5, 0.5]),
            "deals its levels in turn: leave out probabilities=",
        ),
        (
            lambda: layout(CLINICS, 1, sim.Covariate("c", kind="balanced", mean=0.1)),
            r"'c' .* is 0 everywhere: the share mean=0\.1 of 5 rows that take turns is less than one",
        ),
        (
            lambda: layout(CLINICS, 9, sim.Covariate("c", level="clinic", kind="balanced", mean=0.1)),
            "of 5 levels of 'clinic' is less than one",
        ),
        (
            lambda: layout(CLINICS[:1], 1, sim.Covariate("t", kind="index")),
            "'t' of kind 'index' is 0 in every row, since every cell of the layout has one: give a larger size=",
        ),
        (
            lambda: layout(CLINICS, 9, sim.Covariate("c", level="clinic", kind="balanced", levels=list("abcdef"))),
            "cannot deal 6 levels to 5 levels of 'clinic'",
        ),
        (
            lambda: sim.MultilevelDesign(CLINICS, 3, {"arm": 1.0}, [], 1.0, TURNS),
            r"'arm' has levels; name their effects, 'arm\[T\.b\]', 'arm\[T\.c\]'",
        ),
        (
            lambda: sim.MultilevelDesign(CLINICS, 3, {"arm[b]": 1.0}, [], 1.0, TURNS),
            r"'arm\[b\]', which is not among 'half', 'quarter', 'arm\[T\.b\]', 'arm\[T\.c\]'",
        ),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        make()


def test_levels_have_their_probabilities_and_their_latent_correlation() -> None:
    shares = (0.5, 0.3, 0.2)
    design = sim.MultilevelDesign(
        [sim.Factor("g", 40)],
        2,
        {"1": 0.0},
        [],
        1.0,
        [
            sim.Covariate("own", kind="categorical", levels=["a", "b", "c"], probabilities=shares, icc={"g": 0.6}),
            sim.Covariate("group", level="g", kind="categorical", levels=["u", "v", "w"]),
        ],
    )
    with float64():
        data = sim.generate_batch(keys(3, NO_SCENARIO, range(400), Stream.DATA), design)
    own = np.asarray(data.columns["own"]).reshape(400, 40, 2)
    group = np.asarray(data.columns["group"]).reshape(400, 40, 2)
    assert (group[..., 0] == group[..., 1]).all()
    limit = stats.norm.ppf(0.5)
    both = stats.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]]).cdf([limit, limit])
    found = [*((own == k).mean((1, 2)) for k in range(3)), (group == 2).mean((1, 2)), (own == 0).all(2).mean(1)]
    for per_replication, expected in zip(found, (*shares, 1 / 3, both), strict=True):
        error = per_replication.std(ddof=1) / math.sqrt(len(per_replication))
        assert abs(per_replication.mean() - expected) < 4 * error


MODEL = "y ~ arm * x + C(k, contr.sum) + factor(visit) + (1 | clinic)"


def trial(scenario: Mapping[str, Any]) -> Any:
    return sim.MultilevelDesign(
        [sim.Factor("clinic", 12)],
        4,
        {"1": 1.0, "arm[T.b]": 0.4, "arm[T.c]": 0.8, "arm[T.c]:x": -0.5, "k[T.v]": scenario["k"]},
        [sim.RandomTerm("clinic", {"1": 0.5})],
        1.0,
        [
            sim.Covariate("arm", level="clinic", kind="balanced", levels=["a", "b", "c"]),
            sim.Covariate("k", kind="categorical", levels=["u", "v", "w"], probabilities=[0.4, 0.4, 0.2]),
            sim.Covariate("x"),
            sim.Covariate("visit", kind="index"),
        ],
    )


def lost(scenario: Mapping[str, Any]) -> Any:
    return sim.Amputation(0.2, [["k"]], weights={"x": 1.0})


def by_lmer(data: pd.DataFrame, context: Any) -> pd.DataFrame:
    assert data["arm"].cat.categories.tolist() == ["a", "b", "c"]
    return rx.lmer(context.model, data.dropna()).tidy("fixed")


def three_arms(**changes: Any) -> Any:
    terms = ["arm[T.b]", "arm[T.c]", "arm[T.c]:x", "C(k, contr.sum)[S.u]", "factor(visit)[T.3]"]
    settings: dict[str, Any] = {
        "scenarios": {"k": [0.5]},
        "generate": trial,
        "ampute": lost,
        "methods": {"batched": sim.CompleteCases(), "lmer": by_lmer},
        "model": MODEL,
        "estimands": dict.fromkeys(terms, 0.0),
        "replications": 3,
        "seed": 8,
    }
    return sim.Study(**(settings | changes))


@pytest.mark.slow
def test_a_batched_model_with_categories_is_lmer_on_the_same_data(tmp_path: Path) -> None:
    rows = three_arms().run(tmp_path, progress=False).results()
    assert set(rows["status"]) <= {"ok", "singular"}, rows["message"].unique()
    ours, theirs = (rows[rows["method"] == name].reset_index(drop=True) for name in ("batched", "lmer"))
    assert ours["term"].tolist() == theirs["term"].tolist()
    for column, rtol in (("estimate", 1e-7), ("std_error", 1e-6), ("df", 1e-4)):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=rtol)
    data = three_arms().replay({"k": 0.5}, 0).data
    assert 0 < data["k"].isna().sum() < 24


def draw(scenario: Mapping[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    return sim.simulate_frames(trial(scenario), 1, seed=int(rng.integers(2**32)))[0]


def test_three_arms_made_as_frames(tmp_path: Path) -> None:
    made = three_arms(generate=sim.FrameGenerator(draw), ampute=None, methods={"lmer": by_lmer})
    rows = made.run(tmp_path, progress=False).results()
    assert np.isfinite(rows["estimate"]).all()
    fit = rx.lmer(MODEL, made.replay({"k": 0.5}, 1).data)
    np.testing.assert_allclose(
        rows.loc[rows["replication"] == 1, "estimate"], fit.fixef()[list(made.estimands)], rtol=1e-7
    )


def test_a_level_decides_nothing_unless_it_is_a_number() -> None:
    def by_arm(scenario: object) -> Any:
        return sim.Amputation(0.2, [["x"]], weights={"arm": 1.0})

    with pytest.raises(DataError, match="Column 'arm' is not numeric and cannot be part of a score"):
        three_arms(ampute=by_arm).replay({"k": 0.5}, 0)


def test_a_level_without_rows_is_named(tmp_path: Path) -> None:
    def rare(scenario: object) -> Any:
        covariate = sim.Covariate(
            "k", kind="categorical", levels=["u", "v", "w"], probabilities=[0.5, 0.5 - 1e-9, 1e-9]
        )
        return sim.MultilevelDesign([sim.Factor("clinic", 4)], 3, {"1": 0.0}, [], 1.0, [covariate])

    made = three_arms(
        generate=rare,
        ampute=None,
        model="y ~ k + (1 | clinic)",
        methods={"any": sim.CompleteData()},
        estimands={"Intercept": 0.0},
    )
    with pytest.raises(SimulationError, match="Level 'w' of 'k' has no rows in any data set drawn to read"):
        made.run(tmp_path, progress=False)


def test_a_formula_gives_effects_of_levels() -> None:
    design = sim.design_from_formula(
        "y ~ arm * x + (1 + arm | g)",
        beta=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
        sd={"g": [1.0, 0.2, 0.3]},
        sigma=1.0,
        factors=[sim.Factor("g", 6)],
        size=3,
        covariates=[sim.Covariate("x"), sim.Covariate("arm", kind="categorical", levels=["a", "b", "c"])],
    )
    assert design.beta == {
        "(Intercept)": 0.0,
        "arm[T.b]": 0.1,
        "arm[T.c]": 0.2,
        "x": 0.3,
        "arm[T.b]:x": 0.4,
        "arm[T.c]:x": 0.5,
    }
    assert list(design.random[0].sd) == ["(Intercept)", "arm[T.b]", "arm[T.c]"]
