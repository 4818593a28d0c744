"""The bootstrap of clusters: fits of resamples written out as frames, closed forms, and what cannot be resampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import DataError
from remlax.fitting.resample import Draw, draw_clusters, find_clusters, fit_resamples
from remlax.fitting.selection import Selection
from remlax.inference.nesting import null_model

N_DRAWS = 3


def schools() -> pd.DataFrame:
    """Unbalanced: 7 schools of 2 to 4 classes of 3 to 6 pupils; classes are numbered within schools."""
    rng = np.random.default_rng(4)
    rows = [(f"s{s}", k, p) for s in range(7) for k in range(2 + s % 3) for p in range(3 + (s + k) % 4)]
    data = pd.DataFrame(rows, columns=["school", "k", "pupil"])
    data["class"] = data["school"] + "." + data["k"].astype(str)
    data["x"], data["w"], data["o"] = (
        rng.normal(size=len(data)),
        rng.uniform(0.5, 2, len(data)),
        rng.normal(size=len(data)),
    )
    data["arm"] = np.where(data["k"] % 2, "b", "a")
    effects = [rng.normal(0, s, 40)[pd.factorize(data[c])[0]] for c, s in (("school", 1.0), ("class", 0.8))]
    data["y"] = 2 + 0.5 * data["x"] + data["o"] + sum(effects) + rng.normal(0, 0.7, len(data))
    return data.sample(frac=1, random_state=2)  # rows of a cluster need not stand together


def written_out(data: pd.DataFrame, draw: Draw) -> pd.DataFrame:
    """The resample as a frame, with names of the copies of schools and classes that are new altogether."""
    frame = data.iloc[draw.rows].reset_index(drop=True)
    new = [pd.Series(name).astype(str) for name in draw.names]
    return frame.assign(school="S" + new[0], k="K" + new[1], **{"class": "C" + new[0] + "." + new[1]})


MODELS: dict[str, tuple[str, str | list[str], dict[str, object]]] = {
    "schools": ("y ~ x + (1 | school / k)", "school", {}),
    "classes within": ("y ~ x + (1 | school / k)", ["school", "k:school"], {"weights": "w", "offset": "o"}),
    "rows": ("y ~ x + offset(o) + (1 | school) + (1 | class)", ["class", "rows", "school"], {}),
    "classes of all schools": ("y ~ x + (1 | school) + (1 | class)", "class", {}),
    "slopes, a predictor names the inner level": ("y ~ x + arm + (1 + x | school) + (1 | school:arm)", "school", {}),
}


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=pytest.mark.slow) if m.startswith(("slopes", "schools")) else m for m in MODELS]
)
def test_a_resample_is_the_fit_of_its_rows(name: str) -> None:
    formula, levels, options = MODELS[name]
    data = schools()
    fit = rx.lmer(formula, data, **options)  # type: ignore[arg-type]
    if "school / k" in formula and levels != "school":
        levels = [fit.selection.model.layout.factors[0].label, "school"]
    clusters = find_clusters(fit.selection.one(0), levels)
    rng = np.random.default_rng(5)
    draws = [draw_clusters(clusters, rng) for _ in range(N_DRAWS)]
    found, identified = fit_resamples(fit.selection.one(0), clusters, draws)
    assert identified.all()
    again = rx.LmerFitList(Selection(found, tuple(range(N_DRAWS))))
    assert not found.model.layout.structure.n_dense
    frames = [(_of_schools if "arm" in formula else written_out)(data, draw) for draw in draws]
    explicit = rx.lmer_list(formula, frames, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(again.glance()["criterion"], explicit.glance()["criterion"], rtol=1e-9)
    np.testing.assert_allclose(again.fixef(), explicit.fixef(), rtol=1e-7)
    np.testing.assert_allclose(again.varcorr()["vcov"], explicit.varcorr()["vcov"], rtol=1e-5, atol=1e-7)
    assert again[1].ngrps == explicit[1].ngrps
    if name == "schools":
        one = rx.lmer(formula, frames[1])
        np.testing.assert_allclose(again[1].fixef(), one.fixef(), rtol=1e-7)
        # the data come along, for statistics that read them
        np.testing.assert_allclose(again[1].augment()[["fitted", "y"]], one.augment()[["fitted", "y"]], rtol=1e-6)
        np.testing.assert_allclose(null_model(Selection(found, (1,))).beta, null_model(one.selection.one(0)).beta)


def _of_schools(data: pd.DataFrame, draw: Draw) -> pd.DataFrame:
    return data.iloc[draw.rows].assign(school=draw.names[0]).reset_index(drop=True)


def names_of(draw: Draw, data: pd.DataFrame, column: str, level: int) -> pd.DataFrame:
    return pd.DataFrame({"new": draw.names[level], "old": data[column].to_numpy()[draw.rows], "row": draw.rows})


@pytest.mark.parametrize("levels", [["school"], ["school", "class"], ["class"], ["school", "rows"], ["rows"]])
def test_whole_clusters_are_drawn_within_their_own(levels: Sequence[str]) -> None:
    data = schools()
    fit = rx.lmer("y ~ x + (1 | school) + (1 | class)", data)
    clusters = find_clusters(fit.selection.one(0), levels)
    rng = np.random.default_rng(6)
    size = {c: data[c].value_counts() for c in ("school", "class")}
    inside = data.groupby("school")["class"].nunique()
    seen, repeated = set(), list[bool]()
    for _ in range(30):
        draw = draw_clusters(clusters, rng)
        school, klass = (names_of(draw, data, c, i) for i, c in enumerate(("school", "class")))
        pairs = school.drop_duplicates(["new", "old"])
        assert pairs["new"].is_unique
        assert len(pairs) == 7
        assert klass.drop_duplicates(["new", "old"])["new"].is_unique
        per_school = pd.DataFrame({"s": school["new"], "c": klass["new"], "old": school["old"]}).drop_duplicates()
        assert (per_school.groupby("s")["c"].size().to_numpy() == inside[per_school.groupby("s")["old"].first()]).all()
        copies = klass.groupby("new").agg(old=("old", "first"), n=("row", "size"), distinct=("row", "nunique"))
        assert (copies["n"].to_numpy() == size["class"][copies["old"]].to_numpy()).all()
        assert (copies["n"] == copies["distinct"]).all() == ("rows" not in levels)
        repeated.append(not pairs["old"].is_unique)
        seen |= set(pairs["old"])
    assert len(seen) == 7
    assert any(repeated) == ("school" in levels)


@pytest.mark.slow
def test_the_mean_of_balanced_groups_has_the_closed_form() -> None:
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(8), 5)
    data = pd.DataFrame({"g": g, "y": rng.normal(size=8)[g] * 2 + rng.normal(size=40)})
    fit = rx.lmer("y ~ 1 + (1 | g)", data)
    means = data.groupby("g")["y"].mean().to_numpy()
    within = data.groupby("g")["y"].var(ddof=0).to_numpy()
    n = 2000
    for levels, variance in (("g", means.var() / 8), (["g", "rows"], means.var() / 8 + within.mean() / 5 / 8)):
        found = rx.bootstrap(fit, n, seed=8, resample=levels, statistic=lambda fits: fits.fixef())
        clusters, draw_rng = find_clusters(fit.selection.one(0), levels), np.random.default_rng([8, 0])
        exact = [data["y"].to_numpy()[draw_clusters(clusters, draw_rng).rows].mean() for _ in range(20)]
        np.testing.assert_allclose(found.replicates["Intercept"][:20], exact, rtol=1e-9)
        table = found.summary().set_index("term").loc["Intercept"]
        assert table["std_error"] == pytest.approx(np.sqrt(variance), rel=4.5 / np.sqrt(2 * n))
        assert abs(table["bias"]) < 4.5 * np.sqrt(variance / n)
        assert table["n_failed"] == 0


def test_resamples_without_a_coefficient_count_as_failed() -> None:
    rng = np.random.default_rng(9)
    g = np.repeat(np.arange(5), 6)
    data = pd.DataFrame({"g": g, "treated": (g == 0).astype(float), "y": rng.normal(size=5)[g] + rng.normal(size=30)})
    fit = rx.lmer("y ~ treated + (1 | g)", data)
    found = rx.bootstrap(fit, 60, seed=10, resample="g")
    clusters, draw_rng = find_clusters(fit.selection.one(0), "g"), np.random.default_rng([10, 0])
    counts = np.array([data["treated"].to_numpy()[draw_clusters(clusters, draw_rng).rows].sum() for _ in range(60)])
    lost = (counts == 0) | (counts == 30)
    assert 0 < lost.sum() < 60
    assert found.replicates["treated"].isna().tolist() == lost.tolist()
    assert (found.summary()["n_failed"] == lost.sum()).all()


def test_imputations_have_resamples_of_their_own() -> None:
    data = schools()
    frames = [data.assign(x=data["x"] + k) for k in range(2)]
    fits = rx.lmer_list("y ~ scale(x) + (1 | school)", frames, weights=[data["w"], 1 / data["w"]])
    found = rx.bootstrap(fits, 4, seed=1, resample="school")
    assert found.replicates.index.names == ["imp", "sim"]
    assert found.replicates.shape == (8, 4)
    np.testing.assert_allclose(
        found.replicates.loc[2], rx.bootstrap(fits, 6, seed=1, resample="school").replicates.loc[2].iloc[:4], rtol=1e-6
    )
    # scale() stays what it is in the fits: the coefficient is that of the same column
    clusters, rng = find_clusters(fits.selection.one(1), "school"), np.random.default_rng([1, 1])
    draw = draw_clusters(clusters, rng)
    column = fits.selection.model.rows.x.of(1)[:, 1]
    frame = frames[1].assign(z=column, w=1 / data["w"]).iloc[draw.rows].assign(school=draw.names[0])
    one = rx.lmer("y ~ z + (1 | school)", frame.reset_index(drop=True), weights="w")
    np.testing.assert_allclose(found.replicates.loc[(2, 1)].iloc[:2], one.fixef(), rtol=1e-7)


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize(
    ("formula", "options", "said"),
    [
        (
            "y ~ x + (1 | school)",
            {"resample": "shool"},
            r"must name grouping factors, not 'shool'; did you mean 'school'",
        ),
        ("y ~ x + (1 | school)", {"resample": 1}, "resample=1 must be a grouping factor or a list of them"),
        ("y ~ x + (1 | school)", {"resample": []}, r"must name grouping factors, not ''; use 'school' or 'rows'"),
        ("y ~ x + (1 | school)", {"resample": [True]}, r"must name grouping factors, not True; use 'school' or 'rows'"),
        ("y ~ x + (1 | school)", {"resample": "school", "given_modes": True}, "given_modes=True is about responses"),
        (
            "y ~ x + (1 | school) + (1 | k)",
            {"resample": "school"},
            r"factors 'k', 'school' are not nested in one another",
        ),
        (
            "y ~ k + (1 | k)",
            {"resample": "k"},
            r"'k' has no column that the model does not use elsewhere.*assign\(cluster",
        ),
        (
            "y ~ arm + (1 | school / arm)",
            {"resample": ["school", "arm:school"]},
            "has no column that the model does not",
        ),
    ],
)
def test_what_cannot_be_resampled(formula: str, options: dict[str, object], said: str) -> None:
    fit = rx.lmer(formula, schools())
    with pytest.raises(DataError, match=said):
        rx.bootstrap(fit, 5, seed=1, **options)  # type: ignore[arg-type]
