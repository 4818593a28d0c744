"""emb() against Amelia's own imputations, known laws, and the faults of Amelia that it must not have."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import remlax as rx
from remlax.errors import ImputationError, ImputationWarning
from remlax.impute import CellPrior, ImputationResult, add_missing, cluster_mean, emb
from remlax.impute.columns import fill
from remlax.impute.derive import apply_derivations

M = 20  # one number of imputations, and tables of alike size, share one compilation
HSB = {"id_vars": ["schid", "meanses"], "nominal": ["minority", "female"]}


def quiet(*args: Any, **kwargs: Any) -> ImputationResult:
    """Run emb without its warnings about clusters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        return emb(*args, **kwargs)


@pytest.fixture(scope="module")
def vignette(hsb: pd.DataFrame) -> ImputationResult:
    return quiet(hsb, 200, **HSB, seed=1)


def frame(n: int = 500, seed: int = 0) -> pd.DataFrame:
    """Four correlated columns without gaps."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4)) @ np.linalg.cholesky(0.4 + 0.6 * np.eye(4)).T
    return pd.DataFrame(z, columns=list("abcd"))


@pytest.mark.slow
def test_spread_of_imputations_is_amelias(vignette: ImputationResult, hsb: pd.DataFrame, reference: Path) -> None:
    expected = json.loads((reference / "impute" / "amelia_hsb_spread.json").read_text())
    coefs, errors = [], []
    y = hsb["mathach"].to_numpy()
    for imputed in vignette.data:
        design = imputed[["minority", "female", "ses", "size", "schtype"]].to_numpy(float)
        design = np.column_stack([np.ones(len(design)), design])
        inverse = np.linalg.inv(design.T @ design)
        beta = inverse @ design.T @ y
        coefs.append(beta)
        errors.append(np.sqrt(np.diag(inverse) * np.sum((y - design @ beta) ** 2) / (len(y) - 6)))
    m = expected["m"]
    mean, sd = np.mean(coefs, axis=0), np.std(coefs, axis=0, ddof=1)
    # two independent samples of m imputations: differences of means and of SDs, four standard errors wide
    np.testing.assert_array_less(np.abs(mean - expected["coef_mean"]), 4 * sd * np.sqrt(2 / m))
    np.testing.assert_array_less(np.abs(sd / expected["coef_sd"] - 1), 4 * np.sqrt(1 / m))
    np.testing.assert_allclose(np.mean(errors, axis=0), expected["se_mean"], rtol=2e-3)
    for name, cells in expected["cells"].items():
        gap = hsb[name].isna().to_numpy()
        values = np.array([d[name].to_numpy()[gap] for d in vignette.data])
        ours = np.column_stack([values.mean(1), values.std(1, ddof=1), [np.corrcoef(v, y[gap])[0, 1] for v in values]])
        for k in range(3):
            se = ours[:, k].std(ddof=1) * np.sqrt(2 / m)
            assert abs(ours[:, k].mean() - cells["mean"][k]) < 4 * se, (name, k)
            assert abs(ours[:, k].std(ddof=1) / cells["sd"][k] - 1) < 4 / np.sqrt(m), (name, k)
    chains = dict(zip(*np.unique(vignette.chain_lengths, return_counts=True), strict=True))
    assert set(chains) == {3, 4}
    assert abs(chains[4] - expected["chain_lengths"]["4"]) < 4 * np.sqrt(2 * 18)


def test_fits_to_imputations_are_spread_as_amelias(vignette: ImputationResult, reference: Path) -> None:
    expected = json.loads((reference / "impute" / "amelia_hsb_lmer.json").read_text())
    fits = rx.lmer_list("mathach ~ minority + female + ses + meanses + (1 | schid)", vignette.data)
    rows = [
        [*fit.fixef(), *np.sqrt(np.diag(fit.vcov())), float(fit.theta[0] * fit.sigma), float(fit.sigma)] for fit in fits
    ]
    mean, sd, m = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1), expected["m"]
    # the mean of m fits, their spread and so the pooled estimate and its standard error: four standard errors
    np.testing.assert_array_less(np.abs(mean - expected["mean"]), 4 * sd * np.sqrt(2 / m))
    np.testing.assert_array_less(np.abs(sd / expected["sd"] - 1), 4 * np.sqrt(1 / m))


@pytest.mark.slow
def test_pooled_results_over_seeds_are_amelias(hsb: pd.DataFrame, reference: Path) -> None:
    expected = json.loads((reference / "impute" / "amelia_hsb_seeds.json").read_text())
    seeds, m = expected["seeds"], expected["m"]
    frames = [frame for seed in range(seeds) for frame in quiet(hsb, m, **HSB, seed=seed).data]
    rows = []
    for start in range(0, len(frames), 50 * m):  # 50 seeds in one batch
        fits = rx.lmer_list("mathach ~ minority + female + ses + meanses + (1 | schid)", frames[start : start + 50 * m])
        for first in range(0, len(fits), m):
            own = fits[first : first + m]
            table = own.pool().tidy()
            sds = np.mean([[float(fit.theta[0] * fit.sigma), float(fit.sigma)] for fit in own], axis=0)
            rows.append([*table["estimate"], *table["std_error"], *table["lambda"], *sds])
    mean, sd = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
    # two samples of 200 pooled results: means, and SDs (excess kurtosis of the shares widens theirs), four errors
    np.testing.assert_array_less(np.abs(mean - expected["mean"]), 4 * sd * np.sqrt(2 / seeds))
    kurtosis = stats.kurtosis(rows, axis=0)
    np.testing.assert_array_less(np.abs(sd / expected["sd"] - 1), 4 * np.sqrt((1 + kurtosis / 2) / seeds))


AMELIA_SUMMARY = """
Amelia output with 2 imputed datasets.
Return code:  1
Message:  Normal EM convergence.

Chain Lengths:
--------------
Imputation 1:  3
Imputation 2:  3

Rows after Listwise Deletion:  5869
Rows after Imputation:  7185
Patterns of missingness in the data:  13

Fraction Missing for original variables:
-----------------------------------------

         Fraction Missing
schid          0.00000000
minority       0.04913013
female         0.05149617
ses            0.05024356
mathach        0.00000000
size           0.04704245
schtype        0.00000000
meanses        0.00000000
"""


def test_summary_is_what_amelia_prints(hsb: pd.DataFrame) -> None:
    result = quiet(hsb, 2, **HSB)
    assert result.chain_lengths.tolist() == [3, 3]
    assert result.summary() == AMELIA_SUMMARY.replace("Amelia output", "EMB output")


def test_observed_cells_and_types_stay(vignette: ImputationResult, hsb: pd.DataFrame) -> None:
    first = vignette.data.frames[0]
    assert (first.dtypes == hsb.dtypes).all()
    seen = hsb.notna()
    assert first[seen].equals(hsb)
    assert set(first["minority"].unique()) == {0.0, 1.0}
    assert vignette.data.original is not None
    assert vignette.data.original.equals(hsb)


def test_imputation_k_depends_on_seed_and_k_alone(vignette: ImputationResult, hsb: pd.DataFrame) -> None:
    few = quiet(hsb, 2, **HSB, seed=1)
    for k in range(2):
        pd.testing.assert_frame_equal(few.data.frames[k], vignette.data.frames[k], rtol=1e-10)
    other = quiet(hsb, 2, **HSB, seed=2)
    assert not other.data.frames[0]["ses"].equals(few.data.frames[0]["ses"])


def test_means_carry_the_right_names(vignette: ImputationResult, hsb: pd.DataFrame) -> None:
    # Amelia sorts the columns by missing cells and keeps the names in the old order
    assert vignette.model_columns == ("minority", "female", "ses", "mathach", "size", "schtype")
    assert abs(vignette.means[:, 3].mean() - hsb["mathach"].mean()) < 0.05
    np.testing.assert_allclose(vignette.covariances[:, 4, 4].mean(), hsb["size"].var(), rtol=0.02)


def logged(n: int = 500) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    z = rng.normal(size=n)
    # log(x + 1), the transform of a positive column, is normal
    x = np.exp(1.0 + 0.2 * z + 0.1 * rng.normal(size=n)) - 1.0
    full = pd.DataFrame({"z": z, "x": x, "e": rng.normal(size=n), "f": rng.normal(size=n)})
    data = add_missing(full, 0.36, ["x"], seed=4)
    return full, data, data["x"].isna().to_numpy()


@pytest.mark.slow
def test_log_is_undone_without_a_shift() -> None:
    full, data, gap = logged()
    values = np.array([d["x"].to_numpy()[gap] for d in emb(data, M, log=["x"]).data])
    # Amelia's are 1 too large
    assert abs(values.mean() - full["x"].to_numpy()[gap].mean()) < 0.1
    assert values.min() > 0.0
    low = np.quantile(full["x"].to_numpy()[gap], 0.05)
    assert abs(np.quantile(values, 0.05) - low) < 0.1


def test_bounds_are_in_units_of_the_data() -> None:
    full, data, gap = logged()
    bounded = emb(data, M, log=["x"], bounds={"x": (1.0, 2.0)}).data
    values = np.array([d["x"].to_numpy()[gap] for d in bounded])
    assert (values >= 1.0 - 1e-12).all()
    assert (values <= 2.0 + 1e-12).all()
    # without bounds about as many would lie above as of the cells that were left out
    assert (full["x"].to_numpy()[gap] > 2.0).mean() > 0.2


def test_ridge_takes_fractions_and_tames_few_rows() -> None:
    data = add_missing(frame(seed=5).iloc[:90], 0.3, ["b", "c"], seed=1)

    def correlation(ridge: float) -> np.ndarray:
        cov = emb(data, 1, ridge=ridge, bootstrap=False, tolerance=1e-9, max_iter=5000).covariances[0]
        return cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))

    plain, half, strong = correlation(0.0), correlation(0.5), correlation(60.0)
    off = ~np.eye(4, dtype=bool)
    assert (np.abs(half - plain)[off] > 1e-5).all()
    assert np.abs(strong)[off].mean() < 0.65 * np.abs(plain)[off].mean()


def test_school_constants_stay_constant(hsb: pd.DataFrame) -> None:
    given = hsb.copy()
    emptied = given["schid"].isin(given["schid"].unique()[:6])
    given.loc[emptied, "size"] = np.nan
    result = quiet(
        given,
        5,
        cluster="schid",
        cluster_vars=["size", "schtype"],
        nominal=["minority", "female"],
        bounds={"size": (0.0, 5000.0)},
        derive={"meanses": cluster_mean("ses", "schid")},
    )
    sizes = []
    for imputed in result.data:
        schools = imputed.groupby("schid")
        assert (schools["size"].min() == schools["size"].max()).all()
        np.testing.assert_allclose(schools["ses"].mean(), schools["meanses"].first(), atol=1e-12)
        assert imputed["size"].between(0, 5000).all()
        known = hsb["size"].notna() & ~emptied
        assert (imputed.loc[known, "size"] == hsb.loc[known, "size"]).all()
        sizes.append(imputed.loc[emptied].drop_duplicates("schid")["size"].to_numpy())
    assert (np.std(sizes, axis=0) > 50).all()


@pytest.mark.slow
def test_cluster_model_uses_the_cluster_means() -> None:
    rng = np.random.default_rng(2)
    u = rng.normal(size=300)
    g = np.repeat(np.arange(300), 6)
    full = pd.DataFrame({"g": g, "w": (2 * u)[g], "x": u[g] + 0.3 * rng.normal(size=1800)})
    hidden = full["g"] % 3 == 0
    data = full.assign(w=full["w"].mask(hidden))
    result = quiet(data, M, cluster="g", cluster_vars=["w"])
    drawn = np.array([d.loc[hidden, "w"].to_numpy()[::6] for d in result.data])
    truth = full.loc[hidden, "w"].to_numpy()[::6]
    # E[w | mean x] = 2 xbar / (1 + 0.09/6): residual SD 2 sqrt(0.015 / 1.015)
    residual = drawn - 2 / 1.015 * full.loc[hidden].groupby("g")["x"].mean().to_numpy()
    assert abs(residual.std() / (2 * np.sqrt(0.015 / 1.015)) - 1) < 0.15
    assert np.corrcoef(drawn.mean(axis=0), truth)[0, 1] > 0.98


def test_contradiction_within_a_cluster_is_named() -> None:
    data = pd.DataFrame({"g": ["a", "a", "b", "b"] * 9, "w": [1.0, 2.0, 3.0, np.nan] * 9, "x": np.arange(36.0)})
    with pytest.raises(ImputationError, match="'w', which has several values in 1 of the 2 clusters"):
        emb(data, cluster="g", cluster_vars=["w"])


def test_types_come_back() -> None:
    full = frame()
    rng = np.random.default_rng(0)
    level = np.clip(np.round(full["a"] + 3), 1, 5).astype(int)
    data = pd.DataFrame(
        {
            "count": level,
            "flag": pd.array(full["b"] > 0, dtype="boolean"),
            "odd": np.where(full["c"] > 0.5, True, False).astype(object),
            "ord": pd.Categorical.from_codes(level - 1, list("vwxyz"), ordered=True),
            "nom": pd.Categorical(rng.choice(["q", "p"], 500), categories=["unused", "q", "p"]),
            "text": np.where(full["d"] > 0, "high", "low"),
            "whole": pd.array(level, dtype="Int64"),
            "free": pd.array(level, dtype="Int64"),
            "single": full["a"].astype("float32"),
        }
    )
    holes = add_missing(data, 0.2, [c for c in data if c != "count"], seed=8)
    result = emb(holes, 3, nominal=["nom", "text"], ordinal=["ord", "whole"])
    for imputed in result.data:
        assert imputed.notna().all().all()
        types = imputed.dtypes.astype(str).to_dict()
        assert types["count"] == "int64"  # complete columns are not touched
        assert types["flag"] == "boolean"
        assert types["odd"] == "bool"
        assert imputed["ord"].dtype == data["ord"].dtype
        assert imputed["nom"].dtype == data["nom"].dtype
        assert set(imputed["nom"]) == {"q", "p"}
        assert imputed["text"].dtype == data["text"].dtype
        assert types["whole"] == "Int64"
        assert imputed["whole"].between(1, 5).all()
        assert types["free"] == "Float64"
        assert types["single"] == "float32"


def test_sparse_columns_become_dense() -> None:
    column = pd.Series(pd.arrays.SparseArray([1.0, np.nan, 2.0]))
    assert fill(column, column.isna().to_numpy(), np.array([5.0])).tolist() == [1.0, 5.0, 2.0]


def test_nominal_draws_follow_the_rule() -> None:
    rng = np.random.default_rng(6)
    n, m = 500, M
    k = rng.permutation(np.repeat(["a", "b", "c"], [250, 150, 100]))
    data = pd.DataFrame({"k": k, "x": rng.normal(size=n), "e": rng.normal(size=n)})
    holes = add_missing(data, 0.36, ["k"], seed=1)
    gap = holes["k"].isna()
    result = emb(holes, m, nominal=["k"])
    assert result.model_columns == ("k[b]", "k[c]", "x", "e")
    drawn = pd.concat([d.loc[gap, "k"] for d in result.data]).value_counts(normalize=True)
    # the dummies given x are nearly N(share, covariance): cut to [0, 1], scaled to a sum of at most 1, averaged
    share = holes["k"].value_counts(normalize=True)[["b", "c"]].to_numpy()
    normal = rng.multivariate_normal(share, np.diag(share) - np.outer(share, share), 400_000)
    chance = np.clip(normal, 0.0, 1.0)
    chance /= np.maximum(chance.sum(axis=1, keepdims=True), 1.0)
    b, c = chance.mean(axis=0)
    expected = pd.Series({"a": 1.0 - b - c, "b": b, "c": c})
    se = np.sqrt(expected * (1 - expected) * (1 / (m * gap.sum()) + 1 / (n - gap.sum())))
    assert ((drawn - expected).abs() < 4 * se).all()


def test_ordinal_is_binomial_over_the_levels() -> None:
    rng = np.random.default_rng(6)
    n = 500
    data = frame().assign(d=2.0 + rng.binomial(4, 0.3, n)).rename(columns={"d": "k"})
    holes = add_missing(data, 0.36, ["k"], seed=1)
    drawn = np.concatenate([d["k"].to_numpy()[holes["k"].isna()] for d in emb(holes, M, ordinal=["k"]).data])
    assert set(np.unique(drawn)) <= {2.0, 3.0, 4.0, 5.0, 6.0}
    # 2 + Binomial(4, clip((z - 2) / 4)) with z normal as the observed cells
    z = rng.normal(holes["k"].mean(), holes["k"].std(), 200_000)
    law = 2 + rng.binomial(4, np.clip((z - 2) / 4, 0, 1))
    se = law.std() * np.sqrt(1 / drawn.size + 1 / holes["k"].notna().sum())
    assert abs(drawn.mean() - law.mean()) < 4 * se
    assert abs(drawn.std() / law.std() - 1) < 0.15


def test_transforms_keep_their_range() -> None:
    full = frame()
    data = pd.DataFrame({"p": 1 / (1 + np.exp(-full["a"])), "s": (full["b"] + 4) ** 2, "c": full["c"]})
    data = data.assign(d=full["d"])
    holes = add_missing(data, 0.2, ["p", "s"], seed=2)
    imputed = emb(holes, M, logistic=["p"], sqrt=["s"]).data
    p = np.concatenate([d["p"].to_numpy()[holes["p"].isna()] for d in imputed])
    s = np.concatenate([d["s"].to_numpy()[holes["s"].isna()] for d in imputed])
    assert ((p > 0) & (p < 1)).all()
    at = stats.norm.ppf([0.1, 0.5, 0.9])
    # a normal quantile fitted to 400 observed cells
    se = np.sqrt((1 + at**2 / 2) / 400)
    np.testing.assert_array_less(np.abs(special.logit(np.quantile(p, [0.1, 0.5, 0.9])) - at), 4 * se)
    np.testing.assert_array_less(np.abs(np.sqrt(np.quantile(s, [0.1, 0.5, 0.9])) - 4 - at), 4 * se)


def test_tight_prior_decides_the_cell() -> None:
    holes = add_missing(frame(), 0.36, ["b"], seed=2)
    row = int(np.flatnonzero(holes["b"].isna())[3])
    priors = [CellPrior.normal("b", 7.0, 0.01, row=row), CellPrior("b", -30.0, 30.0)]
    values = np.array([d["b"].to_numpy()[row] for d in emb(holes, M, priors=priors).data])
    assert abs(values.mean() - 7.0) < 0.02
    assert 0.004 < values.std() < 0.02


def test_derived_columns_are_recomputed_in_order() -> None:
    holes = add_missing(frame(), 0.2, ["a", "b"], seed=1).assign(ab=0.0)
    result = emb(holes, M, derive={"ab": lambda d: d["a"] * d["b"], "twice": lambda d: 2 * d["ab"], "one": lambda d: 1})
    for imputed in result.data:
        np.testing.assert_array_equal(imputed["twice"], 2 * imputed["a"] * imputed["b"])
    assert "ab" not in result.model_columns
    with pytest.raises(ImputationError, match="computes \\(3,\\) values for 'bad'"):
        emb(holes.drop(columns="ab"), M, derive={"bad": lambda d: [1, 2, 3]})


def test_flat_model_on_clusters_warns(hsb: pd.DataFrame) -> None:
    with pytest.warns(ImputationWarning) as caught:
        emb(hsb, 2, **HSB)
    texts = [str(w.message) for w in caught]
    assert any("'schid'" in t and "remlax.impute.joint" in t and "'size' never varies" in t for t in texts)
    assert any("'meanses' looks like the mean of 'ses' within 'schid'" in t for t in texts)
    assert not any("'meanses' and" in t or "'schtype' looks" in t for t in texts)
    assert len(texts) == 2


def test_flat_model_on_independent_rows_is_silent() -> None:
    data = frame().assign(row=np.arange(500))
    emb(add_missing(data, 0.36, ["a"]), M, id_vars=["row"])  # warnings are errors here


def test_rows_without_any_cell_warn_and_do_not_matter() -> None:
    holes = add_missing(frame(), 0.2, ["a", "b"], seed=1)
    blank = pd.concat([holes, pd.DataFrame(np.nan, index=range(10), columns=holes.columns)], ignore_index=True)
    with pytest.warns(ImputationWarning, match="10 rows have no observed cell"):
        with_blank = emb(blank, 1, bootstrap=False)
    without = emb(holes, 1, bootstrap=False)
    np.testing.assert_allclose(with_blank.covariances, without.covariances, rtol=1e-9)
    assert with_blank.data.frames[0].notna().all().all()


def test_collinear_columns_are_named() -> None:
    full = frame()[["a", "b", "c"]]
    data = add_missing(full.assign(sum=full["a"] + full["b"]), 0.36, ["c"])
    with pytest.raises(ImputationError, match="Nearly collinear: a, b, sum"):
        emb(data, M)
    assert emb(data, M, ridge=2.0).code == 1


def test_unconverged_lane_has_code_3() -> None:
    holes = add_missing(frame(), 0.2, ["a", "b"], seed=1)
    result = emb(holes, M, max_iter=2)
    assert result.codes.tolist() == [3] * M
    assert result.chain_lengths.tolist() == [2] * M
    assert "max_iter" in result.message
    assert emb(holes, M).messages == ("Normal EM convergence.",) * M


def bad(**columns: Any) -> pd.DataFrame:
    holes = add_missing(frame(40), 0.2, ["a"], seed=1)
    return holes.assign(**columns)


REFUSED: list[tuple[str, pd.DataFrame, dict[str, Any]]] = [
    ("nothing to impute", frame(40), {}),
    ("'s' is of type", bad(s=["x", "y"] * 20), {}),
    ("column 'k' has the same value", bad(k=1.0), {}),
    ("column 'e' has no observed cell", bad(e=np.nan), {}),
    ("column 'i' has infinite", bad(i=[np.inf, *range(39)]), {}),
    ("'a' is in both log= and sqrt=", bad(), {"log": ["a"], "sqrt": ["a"]}),
    ("sqrt= names 'b', which has negative", bad(), {"sqrt": ["b"]}),
    ("logistic= names 'b'", bad(), {"logistic": ["b"]}),
    ("nominal column 'n' has 20 levels", bad(n=[f"n{i % 20}" for i in range(40)]), {"nominal": ["n"]}),
    ("ordinal= names 'b', which holds fractions", bad(), {"ordinal": ["b"]}),
    ("neither numeric nor an ordered", bad(s=["x", "y"] * 20), {"ordinal": ["s"]}),
    ("nominal= names 'd', which is not in the imputation model", bad(), {"id_vars": ["d"], "nominal": ["d"]}),
    ("id_vars= names 'zz'", bad(), {"id_vars": ["zz"]}),
    ("only the column 'a'", bad(), {"id_vars": ["b", "c", "d"]}),
    ("too many for 6 rows", bad().iloc[:6], {}),
    ("m=0", bad(), {"m": 0}),
    ("tolerance=0", bad(), {"tolerance": 0.0}),
    ("ridge=-1", bad(), {"ridge": -1.0}),
    ("needs cluster=", bad(), {"cluster_vars": ["b"]}),
    ("cluster column 'a' has", bad(), {"cluster": "a"}),
    ("holds none of its observed values", bad(), {"bounds": {"a": (90.0, 91.0)}}),
    ("give a pair", bad(), {"bounds": {"a": 3.0}}),
    ("no cell is missing", bad(), {"priors": [CellPrior("b", 0.0, 1.0, row=0)]}),
    ("it can name continuous columns only", bad(), {"bounds": {"zz": (0.0, 1.0)}}),
    ("column 'c' holds complex numbers", bad(c=1j), {}),
    ("column 'c' holds complex numbers", bad(c=1j), {"nominal": ["c"]}),
    ("column 'c' holds complex numbers", bad(c=1j), {"id_vars": ["c"]}),
    ("column 'o' holds a list in a cell", bad(o=[[1]] * 40), {}),
    ("column 'o' holds a list in a cell", bad(o=[[1]] * 40), {"id_vars": ["o"]}),
    ("column 'h' has values as large as", bad(h=np.linspace(0.0, 1e160, 40)), {}),
    ("reach from 0 to 39000, more than 1000 levels", bad(w=np.arange(40) * 1000.0), {"ordinal": ["w"]}),
    ("m='5' must be a whole number of at least 1", bad(), {"m": "5"}),
    ("m=2.5 must be a whole number of at least 1", bad(), {"m": 2.5}),
    ("max_iter=True must be a whole number of at least 1", bad(), {"max_iter": True}),
    ("tolerance=nan must be a finite number", bad(), {"tolerance": np.nan}),
    ("ridge='a' must be 0 or more", bad(), {"ridge": "a"}),
    ("seed=-1 must be a whole number of at least 0", bad(), {"seed": -1}),
    ("seed=None must be a whole number of at least 0", bad(), {"seed": None}),
    ("bounds=\\[\\('a', 0, 1\\)\\] must be a dict such as {'x': \\(0, 10\\)}", bad(), {"bounds": [("a", 0, 1)]}),
    ("priors= needs a list of CellPrior", bad(), {"priors": {"a": (0, 1)}}),
    ("id_vars= is 3: give a list of column names", bad(), {"id_vars": 3}),
    (r"cluster= has \['a'\], not the name of a column", bad(), {"cluster": ["a"]}),
    ("cluster_vars= names 'd', the column of the clusters", bad(), {"cluster": "d", "cluster_vars": ["d"]}),
    ("derive=\\['a'\\] must be a dict such as {'x_mean'", bad(), {"derive": ["a"]}),
    ("derive= has 'a' for 'q': give a function of a data frame", bad(), {"derive": {"q": "a"}}),
    (r"time=\['b'\]: give the name of a column", bad(), {"time": ["b"]}),
    ("time= of 'b' must be a whole number of at least 1, got 2.5", bad(), {"time": {"b": 2.5}}),
]


@pytest.mark.parametrize(("message", "data", "arguments"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refuses_with_a_name(message: str, data: pd.DataFrame, arguments: dict[str, Any]) -> None:
    with pytest.raises(ImputationError, match=message):
        emb(data, **arguments)


def test_prior_refuses_empty_intervals() -> None:
    with pytest.raises(ImputationError, match="low=2"):
        CellPrior("a", 2.0, 1.0)
    with pytest.raises(ImputationError, match="conf=1"):
        CellPrior("a", 0.0, 1.0, conf=1.0)
    with pytest.raises(ImputationError, match="the prior on 'a': low=nan must be a finite number"):
        CellPrior("a", np.nan, 1.0)
    with pytest.raises(ImputationError, match=r"sd=-1\.0 must be a positive number"):
        CellPrior.normal("a", 0.0, -1.0)


def test_faults_of_derived_columns_are_named() -> None:
    holes = bad()
    with pytest.raises(
        ImputationError, match="derive= cannot compute 'q': KeyError: 'zz'; its function gets the columns a,"
    ):
        apply_derivations(holes, {"q": lambda d: d["zz"]})
    with pytest.raises(ImputationError, match="derive= computes nothing for 'q'"):
        apply_derivations(holes, {"q": lambda d: None})
    with pytest.raises(ImputationError, match="names 'zz', not among the columns"):
        apply_derivations(holes, {"q": cluster_mean("zz", "a")})
