"""Performance measures against rsimsum's published example, jackknife and bootstrap, and hand-made cells."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from remlax.errors import DataError
from remlax.simulation.intervals import intervals
from remlax.simulation.measures import performance
from remlax.studies.planning import n_needed, n_needed_from

MISIM = Path(__file__).resolve().parents[1] / "reference" / "simulation" / "MIsim.csv"

# Published summary of rsimsum's first vignette: (estimate, MCSE) as printed there.
PRINTED = {
    "CC": {
        "mean": ("0.5168", None),
        "bias": ("0.0168", "0.0048"),
        "empirical_se": ("0.1511", "0.0034"),
        "mse": ("0.0231", "0.0011"),
        "model_se": ("0.1471", "0.0005"),
        "relative_error_model_se": ("-2.66", "2.21"),
        "coverage": ("0.943", "0.0073"),
        "bias_eliminated_coverage": ("0.940", None),
        "power": ("0.946", None),
    },
    "MI_T": {
        "bias": ("-0.0012", "0.0043"),
        "empirical_se": ("0.1344", "0.0030"),
        "model_se": ("0.1338", "0.0006"),
        "relative_error_model_se": ("-0.44", "2.27"),
        "coverage": ("0.943", "0.0073"),
        "power": ("0.963", None),
        "relative_precision": ("26.37", "3.84"),
    },
    "MI_LOGT": {
        "bias": ("0.0009", "0.0042"),
        "empirical_se": ("0.1320", "0.0030"),
        "model_se": ("0.1349", "0.0006"),
        "relative_error_model_se": ("2.22", "2.33"),
        "coverage": ("0.949", "0.0070"),
        "power": ("0.969", None),
        "relative_precision": ("31.05", "3.94"),
    },
}


def as_printed(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


def cell(table: pd.DataFrame, measure: str, **where: object) -> pd.Series:
    for column, value in {"summary": "all", "measure": measure, **where}.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def rows(estimate: object, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"estimate": estimate, **({"std_error": 1.0} | columns)})


@pytest.mark.parametrize("method", PRINTED)
def test_rsimsum_example_to_every_printed_digit(method: str) -> None:
    data = pd.read_csv(MISIM)
    table = performance(
        data, truth=0.5, estimate="b", se="se", by=("method",), reference_method="CC", replication="dataset"
    )
    for measure, (estimate, mcse) in PRINTED[method].items():
        found = cell(table, measure, method=method)
        assert as_printed(found["estimate"], estimate) == estimate, measure
        assert mcse is None or as_printed(found["mcse"], mcse) == mcse, measure
        assert found["n_used"] == 1000


def jackknife(values: np.ndarray, statistic: object) -> float:
    n = len(values)
    left_out = np.array([statistic(np.delete(values, i, axis=0)) for i in range(n)])  # type: ignore[operator]
    return math.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())


@pytest.fixture(scope="module")
def skewed() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    estimate = rng.gamma(2.0, size=300)
    return rows(estimate, std_error=rng.uniform(0.8, 2.5, 300), method="a", replication=np.arange(300))


def test_mcse_of_means_is_the_jackknife(skewed: pd.DataFrame) -> None:
    table = performance(skewed, truth=2.0, by=("method",))
    both = skewed[["estimate", "std_error"]].to_numpy()
    low, high = both[:, 0] - 1.959963984540054 * both[:, 1], both[:, 0] + 1.959963984540054 * both[:, 1]
    n = len(both)
    exact = {
        "bias": jackknife(both, lambda x: x[:, 0].mean()),
        "relative_bias": jackknife(both, lambda x: (x[:, 0] / 2 - 1).mean()),
        "mse": jackknife(both, lambda x: ((x[:, 0] - 2) ** 2).mean()),
        "width": jackknife(high - low, np.mean),
        # a proportion's MCSE has the divisor n, the jackknife's n - 1
        "coverage": jackknife(((low <= 2) & (high >= 2)) * 1.0, np.mean) * math.sqrt((n - 1) / n),
    }
    for measure, value in exact.items():
        assert cell(table, measure)["mcse"] == pytest.approx(value, rel=1e-10), measure


def test_limits_and_p_values_without_standard_errors(skewed: pd.DataFrame) -> None:
    made = intervals(skewed)
    whole = performance(made, truth=2.0, by=("method",)).set_index("measure")
    table = performance(made.drop(columns="std_error"), truth=2.0, by=("method",)).set_index("measure")
    needs = ["model_se", "relative_error_model_se"]
    pd.testing.assert_frame_equal(table.drop(needs), whole.drop(needs))
    assert table.loc[needs, "estimate"].isna().all()
    assert (table.loc[needs, "n_used"] == 0).all()
    estimates = performance(skewed[["method", "estimate"]], truth=2.0, by=("method",)).set_index("measure")
    assert estimates.loc["bias", "estimate"] == pytest.approx(skewed["estimate"].mean() - 2, rel=1e-12)
    assert estimates.loc[["coverage", "width", "power", *needs], "estimate"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"se": "SE"}, "no column 'SE'"),
        ({"conf_level": 0.9}, "conf_level= needs standard errors, and the results have no column 'std_error'"),
        ({"null": 1.0}, "null= needs standard errors"),
    ],
)
def test_what_needs_standard_errors_says_so(skewed: pd.DataFrame, options: dict[str, object], message: str) -> None:
    without = intervals(skewed).drop(columns="std_error")
    with pytest.raises(DataError, match=message):
        performance(without, truth=2.0, by=("method",), **options)


def test_mcse_of_standard_errors_against_jackknife_and_bootstrap() -> None:
    # The formulas for SDs assume normal estimates, so give them normal order statistics: the remaining
    # differences are the jackknife's of second order, O(1/n), and the cut tails' kurtosis (2.96, not 3).
    n = 2000
    rng = np.random.default_rng(9)
    z = stats.norm.ppf((np.arange(n) + 0.5) / n)
    se = rng.permutation(np.sqrt(rng.gamma(20.0, 1 / 20, n)))
    other = 0.6 * z + 0.8 * rng.permutation(z)
    frame = pd.concat(
        [
            rows(z, std_error=se, method="a", replication=range(n)),
            rows(other, std_error=se, method="b", replication=range(n)),
        ]
    )
    table = performance(frame, truth=0.0, by=("method",), reference_method="b")
    both = np.column_stack([z, se, other])
    sd = {name: lambda x, j=j: x[:, j].std(ddof=1) for name, j in (("a", 0), ("b", 2))}
    model = lambda x: math.sqrt((x[:, 1] ** 2).mean())  # noqa: E731
    statistic = {
        "empirical_se": sd["a"],
        "model_se": model,
        "rmse": lambda x: math.sqrt((x[:, 0] ** 2).mean()),
        "relative_error_model_se": lambda x: 100 * (model(x) / sd["a"](x) - 1),
        "relative_precision": lambda x: 100 * ((sd["b"](x) / sd["a"](x)) ** 2 - 1),
    }
    draws = rng.integers(0, n, (600, n))
    for measure, value in statistic.items():
        mcse = cell(table, measure, method="a")["mcse"]
        # z and other are not exactly bivariate normal: their fourth cross moments are random, SD ~ 3/sqrt(n)
        assert mcse == pytest.approx(jackknife(both, value), rel=0.05 if "precision" in measure else 0.025), measure
        # 600 bootstrap draws know their SD to 1/sqrt(1200) = 2.9 %: three of those on top
        assert mcse == pytest.approx(np.std([value(both[i]) for i in draws]), rel=0.13), measure


def test_t_intervals_bias_eliminated_coverage_and_power() -> None:
    estimate, se, degrees = np.array([0.0, 1.0, 2.0, 5.0]), 1.0, np.array([1.0, 2.0, 5.0, math.inf])
    frame = rows(estimate, std_error=se, df=degrees, method="a")
    quantile = np.array([12.7062047362, 4.3026527297, 2.5705818356, 1.9599639845])  # printed tables of Student's t
    made = intervals(frame)
    np.testing.assert_allclose(made["conf_high"] - made["estimate"], quantile, rtol=1e-10)
    table = performance(frame, truth=5.0, by=("method",))
    covered = np.abs(estimate - 5) <= quantile
    assert cell(table, "coverage")["estimate"] == covered.mean() == 0.75
    assert cell(table, "bias_eliminated_coverage")["estimate"] == (np.abs(estimate - 2) <= quantile).mean() == 0.75
    assert cell(table, "power")["estimate"] == (estimate > quantile).mean() == 0.25
    assert cell(table, "width")["estimate"] == pytest.approx(2 * quantile.mean(), rel=1e-10)


def test_type_1_error_is_named_by_the_truth_and_null_moves_the_test() -> None:
    frame = rows([0.0, 2.5, -2.5, 1.0], term=["x", "x", "x", "x"])
    zero = performance(frame, truth={"x": 0.0}, by=("term",))
    assert cell(zero, "type_1_error")["estimate"] == 0.5
    assert not (zero["measure"] == "power").any()
    assert math.isnan(cell(zero, "relative_bias")["estimate"])
    moved = performance(frame, truth={"x": 0.0}, by=("term",), null=1.0)
    assert cell(moved, "power")["estimate"] == 0.25  # only -2.5 is 1.96 away from 1


def test_given_limits_and_p_values_are_used_unless_a_level_is_asked_for() -> None:
    frame = rows([1.0, 1.0], conf_low=[0.0, 0.9], conf_high=[2.0, 0.95], p_value=[0.04, 0.2], method="a")
    table = performance(frame, truth=1.0, by=("method",))
    assert cell(table, "coverage")["estimate"] == 0.5
    assert cell(table, "power")["estimate"] == 0.5
    wider = performance(frame, truth=1.0, by=("method",), conf_level=0.9)
    assert cell(wider, "width")["estimate"] == pytest.approx(2 * 1.6448536269514722, rel=1e-12)


def test_all_and_converged_summaries_and_failed_rows() -> None:
    frame = rows(
        [1.0, 2.0, 4.0, 9.0, math.nan, math.nan],
        status=["ok", "ok", "singular", "nonconverged", "failed", "ok"],
        method="a",
    )
    table = performance(frame, truth=2.0, by=("method",))
    assert cell(table, "bias")["estimate"] == 2.0
    assert cell(table, "bias")["n_used"] == 4
    assert cell(table, "bias", summary="converged")["estimate"] == pytest.approx(1 / 3)
    for summary in ("all", "converged"):
        found = {m: cell(table, m, summary=summary)["estimate"] for m in ("n_replications", "n_estimates", "n_failed")}
        assert found == {
            "n_replications": 6,
            "n_estimates": 4,
            "n_failed": 2,
        }  # an "ok" row without estimate has failed
        assert cell(table, "convergence", summary=summary)["estimate"] == 0.5
        assert cell(table, "convergence", summary=summary)["mcse"] == pytest.approx(math.sqrt(0.25 / 6))
        assert cell(table, "singular", summary=summary)["estimate"] == pytest.approx(1 / 6)


def test_singular_fits_are_unknown_unless_reported() -> None:
    estimates = rows([1.0, 2.0, 4.0, 9.0, math.nan], method="a")
    share = lambda **columns: cell(performance(estimates.assign(**columns), truth=1.0, by=("method",)), "singular")  # noqa: E731
    unknown = [share(), share(status=["ok"] * 4 + ["failed"], singular=math.nan)]
    for found in unknown:
        assert found[["estimate", "mcse"]].isna().all()
        assert found["n_used"] == 0
    status = ["ok", "singular", "ok", "nonconverged", "failed"]
    assert share(status=status)["estimate"] == 1 / 5
    # the first is not known, one is singular and one is not, and the last two were tried
    partly = share(status=status, singular=[math.nan, math.nan, 0.0, math.nan, math.nan])
    assert partly[["estimate", "n_used"]].tolist() == [1 / 4, 4]
    assert partly["mcse"] == pytest.approx(math.sqrt(1 / 4 * 3 / 4 / 4))
    assert share(singular=[True, True, False, False, False])["estimate"] == 2 / 5  # of another program, without status


def test_a_cell_without_estimates_is_kept_and_quiet() -> None:
    frame = pd.concat([rows([1.0], method="a"), rows([math.nan, math.nan], method="b")])
    table = performance(frame, truth=1.0, by=("method",))
    assert cell(table, "n_failed", method="b")["estimate"] == 2
    assert math.isnan(cell(table, "bias", method="b")["estimate"])
    assert cell(table, "bias", method="b")["n_used"] == 0
    assert math.isnan(cell(table, "empirical_se", method="a")["mcse"])


def test_relative_precision_pairs_replications_and_is_scale_free() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 40))
    reference = rows(a, method="ref", replication=np.arange(40), term="x")
    other = rows(a + b, method="new", replication=np.arange(40), term="x").sample(frac=1, random_state=2).iloc[:-5]
    frame = pd.concat([other, reference])
    table = performance(frame, truth=0.0, by=("method", "term"), reference_method="ref")
    pairs = reference.merge(other, on="replication", suffixes=("_ref", "_new"))
    ratio = pairs["estimate_ref"].var() / pairs["estimate_new"].var()
    rho = pairs["estimate_ref"].corr(pairs["estimate_new"])
    found = cell(table, "relative_precision", method="new")
    assert found["n_used"] == 35
    assert found["estimate"] == pytest.approx(100 * (ratio - 1), rel=1e-10)
    assert found["mcse"] == pytest.approx(200 * ratio * math.sqrt((1 - rho**2) / 34), rel=1e-10)
    assert not ((table["method"] == "ref") & (table["measure"] == "relative_precision")).any()
    scaled = performance(
        frame.assign(estimate=frame["estimate"] * 7), truth=0.0, by=("method", "term"), reference_method="ref"
    )
    assert cell(scaled, "relative_precision", method="new")["estimate"] == pytest.approx(found["estimate"], rel=1e-10)


def test_truth_may_be_a_column_or_vary_between_cells() -> None:
    frame = rows([1.5, 2.5, 11.0, 9.0], term=["x", "x", "z", "z"], truth=[2.0, 2.0, 10.0, 10.0])
    by_column = performance(frame, truth="truth", by=("term",))
    pd.testing.assert_frame_equal(by_column, performance(frame, truth={"x": 2.0, "z": 10.0}, by=("term",)))
    assert by_column["term"].drop_duplicates().tolist() == ["x", "z"]
    assert cell(by_column, "bias", term="x")["estimate"] == 0.0


def test_rows_in_any_order_and_missing_keys_are_cells() -> None:
    frame = rows(np.arange(6.0), method=["a", None] * 3)
    table = performance(frame, truth=0.0, by=("method",))
    assert table["method"].isna().sum() * 2 == len(table)
    again = performance(frame.iloc[::-1], truth=0.0, by=("method",))
    bias = lambda t: t[t["measure"] == "bias"].sort_values("estimate")["estimate"].tolist()  # noqa: E731
    assert bias(table) == pytest.approx(bias(again), rel=1e-14) == [2.0, 3.0]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"by": ("nope",)}, "no column 'nope'"),
        ({"estimate": ["a", "b"]}, {}, "'estimate' of the results must hold numbers"),
        ({"conf_low": [0.0, 0.0]}, {}, "only one of the limits"),
        ({"status": ["ok", "weird"]}, {}, "'weird'; a status is one of ok, singular"),
        ({"mcse": 1.0}, {"by": ("mcse",)}, "Rename column 'mcse'"),
        ({}, {"truth": {"y": 1.0}}, "no value for term 'x'"),
        ({}, {"reference_method": "b"}, "'b' does not occur"),
        ({"replication": [1, 1]}, {"reference_method": "a"}, "a replication twice"),
        ({}, {"reference_method": "a", "by": ("term",)}, "needs the column 'method'"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], options: dict[str, object], message: str) -> None:
    frame = rows([1.0, 2.0], method="a", term="x", replication=[1, 2]).assign(**change)
    with pytest.raises(DataError, match=message):
        performance(frame, **({"truth": 1.0, "by": ("method",)} | options))  # type: ignore[arg-type]


def test_n_needed_inverts_every_closed_form() -> None:
    assert n_needed("coverage", 0.005, proportion=0.95) == 1900
    data = pd.read_csv(MISIM)
    table = performance(
        data, truth=0.5, estimate="b", se="se", by=("method",), reference_method="CC", replication="dataset"
    )
    rho = np.corrcoef(*(data.loc[data["method"] == name, "b"] for name in ("CC", "MI_T")))[0, 1]
    given = {
        "coverage": {"proportion": cell(table, "coverage", method="MI_T")["estimate"]},
        "power": {"proportion": cell(table, "power", method="MI_T")["estimate"]},
        "bias": {"sd": cell(table, "empirical_se", method="MI_T")["estimate"]},
        "empirical_se": {"sd": cell(table, "empirical_se", method="MI_T")["estimate"]},
        "relative_precision": {
            "variance_ratio": cell(table, "relative_precision", method="MI_T")["estimate"] / 100 + 1,
            "correlation": rho,
        },
    }
    for measure, known in given.items():
        mcse = cell(table, measure, method="MI_T")["mcse"]
        # the rounding error of 1000 * (1 +- 1e-15) may fall on either side
        assert n_needed(measure, mcse * (1 + 1e-9), **known) == 1000, measure
        assert n_needed(measure, mcse / 2, **known) == pytest.approx(4000, abs=4), measure


def test_n_needed_from_a_pilot() -> None:
    table = performance(pd.read_csv(MISIM), truth=0.5, estimate="b", se="se", by=("method",))
    need = n_needed_from(table, "mse", 0.0005)
    for _, row in need.iterrows():
        assert row["n_needed"] == math.ceil(1000 * (row["mcse"] / 0.0005) ** 2)
    assert n_needed_from(table, "n_failed", 1.0)["n_needed"].isna().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: n_needed("mse", 0.1), "run a pilot study"),
        (lambda: n_needed("bias", 0.1), "needs sd="),
        (lambda: n_needed("bias", 0.0, sd=1.0), "mcse=0.0 must be a positive number"),
        (
            lambda: n_needed_from(pd.DataFrame({"measure": ["bias"], "n_used": [9], "mcse": [0.1]}), "power", 0.1),
            "no measure 'power'; it has bias",
        ),
        (
            lambda: n_needed_from(pd.DataFrame({"measure": ["bias"]}), "bias", -1.0),
            "mcse=-1.0 must be a positive number",
        ),
    ],
)
def test_n_needed_mistakes(call: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()  # type: ignore[operator]
