"""Tables about imputations against direct computations, known laws and scipy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import remlax as rx
from remlax.data import ImputedData
from remlax.errors import ImputationError, ImputationWarning
from remlax.impute.overimpute import mixture_quantile, predictive


@pytest.fixture(scope="module")
def amelia() -> ImputedData:
    """The vignette's incomplete data and Amelia's imputations."""
    return rx.datasets.hsb_imputed()


def clustered(n_clusters: int = 150, size: int = 10, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_clusters), size)
    y = rng.normal(size=n_clusters)[g] * np.sqrt(0.3) + rng.normal(size=len(g)) * np.sqrt(0.7)
    return pd.DataFrame({"school": g, "y": y, "x": rng.normal(size=len(g)), "z": rng.normal(size=len(g))})


@pytest.fixture(scope="module")
def flat() -> Any:
    holes = rx.impute.add_missing(clustered(), 0.4, ["y"], seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        return rx.impute.emb(holes, 10, id_vars=["school"], seed=3)


def test_moments_and_quantiles_equal_direct_ones(amelia: ImputedData) -> None:
    table = rx.impute.observed_vs_imputed(amelia)
    assert amelia.original is not None
    assert set(table.index) == {n for n in amelia.columns if amelia.original[n].isna().any()}
    gap = amelia.original["size"].isna()
    drawn = pd.concat([frame.loc[gap, "size"] for frame in amelia])
    seen = amelia.original["size"].dropna()
    row = table.loc["size"]
    expected = {
        "n_observed": len(seen), "n_imputed": gap.sum(), "mean_observed": seen.mean(), "mean_imputed": drawn.mean(),
        "sd_observed": seen.std(), "sd_imputed": drawn.std(), "q25_observed": seen.quantile(0.25),
        "q95_imputed": drawn.quantile(0.95), "difference": (drawn.mean() - seen.mean()) / seen.std(),
        "variance_ratio": drawn.var() / seen.var(),
    }  # fmt: skip
    np.testing.assert_allclose([row[k] for k in expected], list(expected.values()), rtol=1e-12)


def test_shares_equal_direct_ones() -> None:
    original = pd.DataFrame({"k": pd.Categorical(["a", "b", None, "a", None], categories=["b", "a"]), "x": range(5)})
    sets = [original.assign(k=original["k"].fillna(v)) for v in ("a", "b", "b")]
    table = rx.impute.observed_vs_imputed_shares(ImputedData.from_frames(sets).with_original(original))
    assert table["level"].tolist() == ["a", "b"]
    np.testing.assert_allclose(table["observed"], [2 / 3, 1 / 3])
    np.testing.assert_allclose(table["imputed"], [1 / 3, 2 / 3])
    assert table[["n_observed", "n_imputed"]].iloc[0].tolist() == [3, 2]


def test_densities_are_densities(amelia: ImputedData) -> None:
    table = rx.impute.density_table(amelia, "ses")
    assert table["set"].unique().tolist() == ["observed", *amelia.labels]
    for _, part in table.groupby("set"):
        assert abs(np.trapezoid(part["density"], part["x"]) - 1) < 0.03
    first = amelia[0].loc[amelia.original["ses"].isna(), "ses"]  # type: ignore[index]
    part = table[table["set"] == 1]
    np.testing.assert_allclose(part["density"], stats.gaussian_kde(first)(part["x"]), rtol=1e-12)


def test_quantile_table_equals_numpy(amelia: ImputedData) -> None:
    table = rx.impute.quantile_table(amelia, "ses", n_points=3)
    gap = amelia.original["ses"].isna()  # type: ignore[index]
    np.testing.assert_allclose(table["probability"].iloc[:3], [0.25, 0.5, 0.75])
    np.testing.assert_allclose(
        table.loc[table["set"] == 2, "imputed"], np.quantile(amelia[1].loc[gap, "ses"], [0.25, 0.5, 0.75])
    )


def test_icc_follows_from_the_f_statistic() -> None:
    data = clustered(40, 7)
    f = stats.f_oneway(*[part["y"] for _, part in data.groupby("school")]).statistic
    icc = rx.impute.intraclass_correlation(data["y"], data["school"])
    assert icc == pytest.approx((f - 1) / (f + 6), rel=1e-12)
    rng = np.random.default_rng(1)
    keep = rng.random(len(data)) < 0.7
    missing = data["y"].where(keep)
    assert rx.impute.intraclass_correlation(missing, data["school"]) == pytest.approx(
        rx.impute.intraclass_correlation(data["y"][keep], data["school"][keep]), rel=1e-12
    )
    # unequal sizes: unbiased mean squares, so the mean over many data sets is the truth to first order
    sizes = rng.integers(2, 9, 60)
    g = np.repeat(np.arange(60), sizes)
    found = [
        rx.impute.intraclass_correlation(rng.normal(size=60)[g] * 0.5 + rng.normal(size=len(g)), g) for _ in range(200)
    ]
    assert abs(np.mean(found) - 0.2) < 4 * np.std(found) / np.sqrt(200) + 0.01
    assert np.isnan(rx.impute.intraclass_correlation([1.0, 2.0], [1, 2]))


@pytest.mark.slow
def test_flat_imputation_shrinks_the_icc_as_it_must(flat: Any) -> None:
    table = rx.impute.icc_table(flat.data, "school")
    assert table.index.tolist() == ["y"]
    row = table.loc["y"]
    assert abs(row["observed"] - 0.3) < 0.06
    # imputed cells share nothing with their cluster: of pairs in a cluster only (1 - f)^2 keep their covariance
    assert abs(row["completed"] - row["observed"] * (1 - row["fraction_missing"]) ** 2) < 0.03
    assert row["least"] <= row["completed"] <= row["greatest"]


def test_level2_consistency_counts_clusters(amelia: ImputedData) -> None:
    table = rx.impute.level2_consistency(amelia, "schid")
    assert set(table.index) == {"size", "schtype", "meanses"}
    counts = [sum(len(set(part["size"])) > 1 for _, part in frame.groupby("schid")) for frame in amelia]
    assert table.loc["size", "inconsistent"] == np.mean(counts)
    assert table.loc["size", "most"] == max(counts) > 100
    assert table.loc["size", "n_clusters"] == 160
    assert table.loc["schtype", "most"] == 0
    assert table.loc["schtype", "example"] is None
    example = table.loc["size", "example"]
    assert any(len(set(frame.loc[frame["schid"] == example, "size"])) > 1 for frame in amelia)


def test_predictive_equals_the_precision_matrix_formula() -> None:
    rng = np.random.default_rng(7)
    p, m = 5, 3
    roots = rng.normal(size=(m, p, 2 * p))
    covariances, means = roots @ roots.transpose(0, 2, 1), rng.normal(size=(m, p))
    x = rng.normal(size=(20, p))
    x[rng.random((20, p)) < 0.3] = np.nan
    x[:, 2] = 1.0
    mean, sd = predictive(x, 2, means, covariances)
    for i in range(20):
        seen = np.flatnonzero(~np.isnan(x[i]))
        j = seen.tolist().index(2)
        for k in range(m):
            precision = np.linalg.inv(covariances[k][np.ix_(seen, seen)])
            others = np.delete(np.arange(len(seen)), j)
            shift = precision[j, others] @ (x[i, seen] - means[k, seen])[others] / precision[j, j]
            assert mean[i, k] == pytest.approx(means[k, 2] - shift, rel=1e-9)
            assert sd[i, k] == pytest.approx(precision[j, j] ** -0.5, rel=1e-9)


def test_mixture_quantiles_invert_the_distribution() -> None:
    rng = np.random.default_rng(2)
    mean, sd = rng.normal(size=(6, 4)), rng.uniform(0.1, 3, size=(6, 4))
    for q in (0.05, 0.5, 0.99):
        at = mixture_quantile(mean, sd, q)
        np.testing.assert_allclose(stats.norm.cdf(at[:, None], mean, sd).mean(axis=1), q, atol=1e-12)


def test_overimputation_covers_at_its_level(flat: Any) -> None:
    found = rx.impute.overimpute(flat, "y", level=0.8)
    assert len(found.table) == flat.data.original["y"].notna().sum()
    assert abs(found.coverage - 0.8) < 4 * found.standard_error
    assert (found.table["low"] < found.table["median"]).all()
    assert found.table["fraction_missing"].max() == 0.0
    assert "80 % intervals" in repr(found)


def test_overimputation_is_in_units_of_the_data() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(size=(400, 3)) @ np.linalg.cholesky(0.5 + 0.5 * np.eye(3)).T
    full = pd.DataFrame({"income": np.exp(z[:, 0]) * 1000.0, "b": z[:, 1], "c": z[:, 2]})
    result = rx.impute.emb(rx.impute.add_missing(full, 0.2, ["income", "b"], seed=1), 10, log=["income"])
    found = rx.impute.overimpute(result, "income")
    assert (found.table["low"] > -1.0).all()
    assert abs(found.coverage - 0.9) < 4 * found.standard_error
    np.testing.assert_allclose(found.table["observed"], full["income"].to_numpy()[found.table["row"]], rtol=1e-12)


def test_time_enters_by_its_powers_and_leaves() -> None:
    rng = np.random.default_rng(4)
    year = np.tile(np.arange(10.0), 40)
    full = pd.DataFrame({"year": year, "y": (year - 4.5) ** 2 + rng.normal(size=400), "x": rng.normal(size=400)})
    holes = rx.impute.add_missing(full, 0.3, ["y"], seed=1)
    gap = holes["y"].isna().to_numpy()
    result = rx.impute.emb(holes, 10, time="year")
    assert result.model_columns == ("year", "y", "x", "year^2")
    assert result.data.columns == ("year", "y", "x")
    error = np.concatenate([d["y"].to_numpy()[gap] - full["y"].to_numpy()[gap] for d in result.data])
    assert abs(error.std() - np.sqrt(2.0)) < 0.2  # two independent errors of SD 1
    assert rx.impute.emb(holes, 2, time={"year": 3}).model_columns[-1] == "year^3"


REFUSED: list[tuple[str, Any]] = [
    ("do not know the incomplete data", lambda d: rx.impute.observed_vs_imputed(d.with_original(None))),
    ("column 'schtype' is not numeric, or has no missing", lambda d: rx.impute.observed_vs_imputed(d, ["schtype"])),
    ("column 'ses' is not categorical", lambda d: rx.impute.observed_vs_imputed_shares(d, ["ses"])),
    ("columns= names 'nope'", lambda d: rx.impute.icc_table(d, "schid", ["nope"])),
    ("cluster= names 'nope'", lambda d: rx.impute.level2_consistency(d, "nope")),
]


@pytest.mark.parametrize(("message", "call"), REFUSED, ids=[r[0] for r in REFUSED])
def test_tables_refuse_with_a_name(message: str, call: Any, amelia: ImputedData) -> None:
    with pytest.raises(ImputationError, match=message):
        call(amelia)


def test_overimputation_and_time_refuse(flat: Any) -> None:
    with pytest.raises(ImputationError, match="column 'school' is not in the imputation model"):
        rx.impute.overimpute(flat, "school")
    with pytest.raises(ImputationError, match="level=90"):
        rx.impute.overimpute(flat, "y", level=90)
    data = rx.impute.add_missing(clustered(20, 5), 0.2, ["y"], seed=1).assign(k=list("ab") * 50)
    for time, text in (
        ("y", "'y', which is not numeric or has missing cells"),
        ({"x": 1}, "gives degree 1 for 'x'"),
        ({"x": 2, "z": 2}, "names 2 columns"),
    ):
        with pytest.raises(ImputationError, match=text):
            rx.impute.emb(data, 2, id_vars=["school"], nominal=["k"], time=time)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = rx.impute.emb(data, 2, id_vars=["school"], nominal=["k"])
    with pytest.raises(ImputationError, match="column 'k' is nominal"):
        rx.impute.overimpute(result, "k")
    few = ImputedData.from_frames([pd.DataFrame({"x": [1.0, 2.0, 3.0]})] * 2)
    with pytest.raises(ImputationError, match="has 1 missing cells: a density needs three"):
        rx.impute.density_table(few.with_original(pd.DataFrame({"x": [1.0, None, 3.0]})), "x")


def test_derivations_equal_their_formulas() -> None:
    data = clustered(6, 5)
    np.testing.assert_allclose(rx.impute.centred("x")(data), data["x"] - data["x"].mean())
    within = data["x"] - data.groupby("school")["x"].transform("mean")
    np.testing.assert_allclose(rx.impute.centred("x", "school")(data), within)
    np.testing.assert_allclose(rx.impute.product("x", "x", "z")(data), data["x"] ** 2 * data["z"])
    score = rx.impute.scale_score(["x", "z"], reverse={"y": (-3, 3)}, total=True)(data)
    np.testing.assert_allclose(score, data["x"] + data["z"] - data["y"])
    assert rx.impute.product("x", "z")(data.assign(x=np.nan)).isna().all()
    with pytest.raises(ImputationError, match=r"product\(\) names 'w'"):
        rx.impute.product("w")(data)
