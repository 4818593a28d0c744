"""Responses of generalised linear mixed models: families by name, numbers, constants of the density, refusals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from remlax.data.imputed import ImputedData
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.errors import DataError, DesignError, FormulaError
from remlax.fitting.responses.family import read_family
from remlax.fitting.responses.response import read_response
from remlax.glmm.families import Family, log_density

N = 12
ROWS = pd.DataFrame({"g": np.repeat(list("abcd"), 3), "x": np.arange(N) / 4})


def respond(response, family="binomial", weights=None, sets=None, link=None, **columns):
    """The response of one data set, or of several with columns of their own."""
    frames = [ROWS.assign(**columns)] if sets is None else [ROWS.assign(**columns, **own) for own in sets]
    formula = parse_formula(f"{response} ~ x + (1 | g)", counts=True)
    rows = read_rows(formula, ImputedData.from_frames(frames), weights=weights, any_response=True)
    return read_response(rows, read_family(family, link))


def minus2(found, eta, shape=(), k=0):
    """-2 log L of data set k at the linear predictor eta."""
    with jax.enable_x64(True):
        y, weight = jnp.asarray(found.y.of(k)), jnp.asarray(found.weight.of(k))
        density = log_density(found.family, y, weight, jnp.asarray(eta), jnp.asarray(shape, jnp.float64))
        return float(-2 * density.sum() + found.constant[k])


ETA = np.linspace(-1.5, 1.0, N)
K = np.array([0, 1, 4, 2, 0, 7, 3, 3, 1, 0, 2, 5])
SIZE = np.array([2, 5, 4, 3, 1, 9, 3, 8, 2, 6, 7, 5])


# ---- constants of the density


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_counts_of_successes_have_the_binomial_density(link: str) -> None:
    mu = {"logit": stats.logistic.cdf, "probit": stats.norm.cdf, "cloglog": lambda e: -np.expm1(-np.exp(e))}[link](ETA)
    expected = -2 * stats.binom.logpmf(K, SIZE, mu).sum()
    counts = respond("cbind(k, n - k)", link=link, k=K, n=SIZE)
    assert minus2(counts, ETA) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_array_equal(counts.trials.values, SIZE)
    shares = respond("share", link=link, share=np.round(K / SIZE, 10), n=SIZE, weights="n")
    assert minus2(shares, ETA) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_array_equal(shares.y.values, counts.y.values)  # rounding is undone


def test_prior_weights_multiply_the_density_of_counts() -> None:
    w = np.linspace(0.5, 2, N)
    found = respond("cbind(k, n - k)", k=K, n=SIZE, w=w, weights="w")
    expected = -2 * (w * stats.binom.logpmf(K, SIZE, stats.logistic.cdf(ETA))).sum()
    assert minus2(found, ETA) == pytest.approx(expected, rel=1e-13)


def test_counts_have_the_poisson_density() -> None:
    found = respond("k", "poisson", k=K)
    assert minus2(found, ETA) == pytest.approx(-2 * stats.poisson.logpmf(K, np.exp(ETA)).sum(), rel=1e-13)
    assert found.trials is None


def test_counts_have_the_negative_binomial_density() -> None:
    found, size = respond("k", "negative-binomial", k=K), 1.7
    expected = -2 * stats.nbinom.logpmf(K, size, size / (size + np.exp(ETA))).sum()
    assert minus2(found, ETA, [np.log(size)]) == pytest.approx(expected, rel=1e-13)


def test_positive_numbers_have_the_gamma_density() -> None:
    y, shape, w = np.linspace(0.2, 5, N), 2.3, np.linspace(1, 3, N)
    expected = -2 * (w * stats.gamma.logpdf(y, shape, scale=np.exp(ETA) / shape)).sum()
    found = respond("y", "gamma", y=y, w=w, weights="w")
    assert minus2(found, ETA, [np.log(shape)]) == pytest.approx(expected, rel=1e-13)


def test_categories_have_the_cumulative_density() -> None:
    codes = np.arange(N) % 3
    names = pd.Categorical.from_codes(codes, ["low", "middle", "high"], ordered=True)
    found = respond("y", "ordinal", y=names)
    cuts = np.array([-0.4, 0.9])
    below = np.column_stack([np.zeros(N), stats.logistic.cdf(cuts - ETA[:, None]), np.ones(N)])
    expected = -2 * np.log(np.diff(below)[np.arange(N), codes]).sum()
    assert minus2(found, ETA, cuts) == pytest.approx(expected, rel=1e-13)
    assert found.shape_names == ("low|middle", "middle|high")  # as ordinal::clmm
    assert found.family.n_shape == 2


# ---- what a response may be

EVENT = np.arange(N) % 3 == 0


@pytest.mark.parametrize(
    ("response", "column"),
    [
        ("y", EVENT.astype(float)),
        ("y", EVENT.astype(np.int8)),
        ("y", EVENT),
        ("y", pd.array(EVENT, dtype="boolean")),
        ("y", np.where(EVENT, "yes", "no")),
        ("y", pd.Categorical(np.where(EVENT, "a", "z"), categories=["z", "a"])),
        ("y > 1", np.where(EVENT, 2, 1)),
        ("factor(y)", np.where(EVENT, 2, 1)),
        ("y == 'sick'", np.where(EVENT, "sick", "well")),
        ("cbind(y, 1 - y)", EVENT.astype(float)),
    ],
)
def test_a_binary_response_may_be_written_in_many_ways(response: str, column: object) -> None:
    found = respond(response, y=column)
    np.testing.assert_array_equal(found.y.values, EVENT)
    np.testing.assert_array_equal(found.weight.values, np.ones(N))
    assert found.constant.tolist() == [0.0]


def test_the_second_level_is_the_event() -> None:
    assert respond("y", y=np.where(EVENT, "yes", "no")).levels == ("no", "yes")
    assert respond("factor(y)", y=np.where(EVENT, 2, 1)).levels == ("1", "2")


def test_whole_numbers_are_ordered_categories() -> None:
    found = respond("y", "ordinal", y=np.array([1, 2, 5] * 4))
    assert found.levels == ("1", "2", "5")
    assert found.y.values.tolist() == [0, 1, 2] * 4


def test_a_constant_response_is_not_refused() -> None:
    assert respond("y", y=np.zeros(N)).y.values.tolist() == [0] * N
    assert respond("y", y=["no"] * N).levels == ("no",)


# ---- several data sets


def test_sets_share_what_does_not_differ() -> None:
    k = [np.array(K), np.minimum(K + 1, SIZE)]
    found = respond("cbind(k, n - k)", sets=[{"k": k[0]}, {"k": k[1]}], n=SIZE)
    assert found.y.offsets.tolist() == [0, N, 2 * N]
    for j in range(2):
        alone = respond("cbind(k, n - k)", k=k[j], n=SIZE)
        np.testing.assert_array_equal(found.y.of(j), alone.y.values)
        assert found.constant[j] == pytest.approx(alone.constant[0], rel=1e-14)
    shared = respond("k", "poisson", sets=[{"x": np.arange(N)}, {"x": -np.arange(N)}], k=K)
    assert shared.y.offsets is None
    assert shared.constant.shape == (2,)


def test_weights_of_each_set_meet_a_shared_response() -> None:
    w = [np.full(N, 2.0), np.linspace(1, 2, N)]
    found = respond("k", "poisson", sets=[{"w": w[0]}, {"w": w[1]}], k=K, weights="w")
    for j in range(2):
        expected = -2 * (w[j] * stats.poisson.logpmf(K, np.exp(ETA))).sum()
        assert minus2(found, ETA, k=j) == pytest.approx(expected, rel=1e-13)


def test_levels_are_those_of_all_sets() -> None:
    names = ["low", "middle", "high"]
    sets = [
        {"y": pd.Categorical(values * 6, categories=names, ordered=True)}
        for values in (["low", "high"], ["middle", "high"])
    ]
    found = respond("y", "ordinal", sets=sets)
    assert found.levels == tuple(names)
    assert found.y.of(1).tolist() == [1, 2] * 6


# ---- refusals

BINOMIAL = "family='binomial' needs 0/1, two levels, cbind(k, n - k), or proportions with weights="
REFUSED = [
    ("y", "binomial", {"y": np.arange(N) % 7}, f"{BINOMIAL}; 'y' has 7 values (0, 1, 2, 3, 4, 5 and 1 more)"),
    ("y", "binomial", {"y": np.arange(N) % 2 + 1}, f"{BINOMIAL}; 'y' has 2 values (1, 2)"),
    ("y", "binomial", {"y": K / SIZE}, f"{BINOMIAL}; 'y' has 8 values (0, 0.2, 0.285714, 0.375, 0.5,"),
    ("y", "binomial", {"y": list("abcabcabcabc")}, f"{BINOMIAL}; 'y' has 3 levels (a, b, c)"),
    (
        "cbind(y, n - y)", "binomial", {"y": K + 1, "n": SIZE},
        "family='binomial' needs successes and failures of at least 0; 'cbind(y, n - y)' has other values in 3 rows "
        "(the first is row 2, with 5, -1)",
    ),
    ("cbind(y, n)", "binomial", {"y": K * 0.5, "n": SIZE}, "with 0.5, 5)"),
    (
        "cbind(y, n - y)", "binomial", {"y": K * 0, "n": SIZE - 1},
        "'cbind(y, n - y)' has no trials in 1 row (the first is row 4, with 0, 0): leave those rows out of the data",
    ),
    (
        "y", "poisson", {"y": K - 1},
        "family='poisson' needs whole numbers of at least 0; 'y' has other values in 3 rows (the first is row 0, with "
        "-1)",
    ),
    ("y", "negative-binomial", {"y": K + 0.25}, "in 12 rows (the first is row 0, with 0.25)"),
    ("y", "poisson", {"y": list("abcabcabcabc")}, "family='poisson' needs numbers; 'y' is categorical"),
    ("cbind(y, y)", "poisson", {"y": K}, "'cbind(y, y)' has two columns, which family='binomial' takes; 'poisson'"),
    ("y", "gamma", {"y": K * 1.0}, "family='gamma' needs positive numbers; 'y' has other values in 3 rows"),
    ("y", "ordinal", {"y": list("abcabcabcabc")}, "needs categories in an order; 'y' has none: make it a pandas.Cat"),
    ("y", "ordinal", {"y": ["a"] * N}, "family='ordinal' needs two categories or more; 'y' has one (a)"),
    ("y", "ordinal", {"y": K / 4}, "family='ordinal' needs ordered categories or whole numbers; 'y' has other values"),
]  # fmt: skip


@pytest.mark.parametrize(("response", "family", "columns", "says"), REFUSED)
def test_a_response_of_another_kind_is_refused(response: str, family: str, columns: dict, says: str) -> None:
    with pytest.raises(DataError) as error:
        respond(response, family, **columns)
    assert says in str(error.value)


def test_proportions_that_are_no_counts_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"whole numbers of trials: they are not for 'p' in 12 rows \(the first is row 0"
    ):
        respond("p", p=np.full(N, 0.3), n=SIZE, weights="n")
    with pytest.raises(DataError, match="they are not for 'p' in 1 row "):
        respond("p", p=np.where(K == 7, 0.7776, K / SIZE), n=SIZE, weights="n")
    with pytest.raises(DataError, match="'p' has 8 values"):
        respond("p", p=K / SIZE * 2, n=SIZE, weights="n")


def test_a_refusal_names_the_imputation() -> None:
    with pytest.raises(DataError, match=r"in 1 row \(the first is row 5 of imputation 2, with -7\)"):
        respond("k", "poisson", sets=[{"k": K}, {"k": np.where(K == 7, -7, K)}])
    with pytest.raises(DataError, match="'s' in the response has 1 missing cell"):
        respond("s", s=["a", None, *"babababaab"])


def test_counts_stay_where_they_belong() -> None:
    with pytest.raises(FormulaError, match="'cbind' is not a function that a formula may use: one response at a time"):
        parse_formula("cbind(k, n - k) ~ x + (1 | g)")
    with pytest.raises(FormulaError, match="'cbind' is not a function"):
        parse_formula("y ~ cbind(k, n) + (1 | g)", counts=True)
    with pytest.raises(FormulaError, match="one column is needed and 2 are given"):
        respond("log(cbind(k, n))", k=K, n=SIZE)
    with pytest.raises(FormulaError, match=r"cbind\(\): missing a required argument: 'failures'"):
        respond("cbind(k)", k=K)
    with pytest.raises(FormulaError, match="a column is needed and a constant is given"):
        respond("cbind(k, 9)", k=K)
    text = "cbind(k, n - k) ~ x + (1 | g)"
    assert parse_formula(text, counts=True).text == text


# ---- families by name


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("binomial",), Family("binomial", "logit")),
        (("binomial", "probit"), Family("binomial", "probit", expected=True)),
        (("binomial", "cloglog", "observed"), Family("binomial", "cloglog")),
        (("binomial", "logit", "expected"), Family("binomial", "logit")),  # the same thing
        (("poisson",), Family("poisson", "log")),
        (("Negative_Binomial",), Family("negative-binomial", "log", n_shape=1)),
        (("nbinom2", "log", "observed"), Family("negative-binomial", "log", n_shape=1)),
        (("Gamma",), Family("gamma", "log", n_shape=1)),
        (("ordinal",), Family("ordinal", "logit")),
        (("ordinal", "probit"), Family("ordinal", "probit")),
    ],
)
def test_families_by_name(given: tuple[str, ...], found: Family) -> None:
    assert read_family(*given) == found


QUASI = "quasi-families have no likelihood: use a row-level term (1 | row) or family='negative-binomial'"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("gaussian",), "gaussian family: use rx.lmer"),
        (("quasipoisson",), QUASI),
        (("quasi-binomial",), QUASI),
        (("gamma", "inverse"), "family='gamma' has no link 'inverse' here: the mean may be negative; use link='log'"),
        (("poisson", "identity"), "family='poisson' has no link 'identity' here: the mean may be negative; use link="),
        (("poisson", "sqrt"), "family='poisson' has no link 'sqrt': use 'log'"),
        (("binomial", "cauchit"), "family='binomial' has no link 'cauchit': use 'logit', 'probit' or 'cloglog'"),
        (("ordinal", "cloglog"), "family='ordinal' has no link 'cloglog': use 'logit' or 'probit'"),
        (("binomial", 3), "family='binomial' has no link 3: use"),
        (("beta",), "family='beta' is not known: use 'binomial', 'poisson', 'negative-binomial', 'gamma' or 'ordinal'"),
        (("nbinom1",), "family='nbinom1' is not known"),
        ((None,), "family=None must be a text"),
        (("gamma", None, "expected"), "family='gamma' has the observed information only: use information='observed'"),
        (("binomial", None, "fisher"), "information='fisher' is not known: use 'expected' or 'observed'"),
    ],
)
def test_families_that_are_not_there(given: tuple[object, ...], says: str) -> None:
    with pytest.raises(DesignError) as error:
        read_family(*given)
    assert says in str(error.value)
