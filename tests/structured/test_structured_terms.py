"""Random terms with a covariance structure in formulas."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.design.formula import parse_formula
from remlax.errors import DataWarning, FormulaError
from structured_cases import correlations, frame


def test_written_and_read():
    """Defaults are those of lme4 2.0: ar1 has one SD, diag and cs one for each column."""
    formula = parse_formula(
        "y ~ cs(z, df=3) + us(x|g) + diag(1+x|h, hom=T) + cs(0+f|a/b) + ar1(0+t|i)", structures=True
    )
    assert [term.text for term in formula.random] == [
        "(1 + x | g)", "diag(1 + x | h, hom = TRUE)", "cs(0 + f | b:a)", "cs(0 + f | a)", "ar1(0 + t | i)"
    ]  # fmt: skip
    assert formula.fixed == "1 + cs(z, df=3)"
    assert [term.structure and term.structure.hom for term in formula.random] == [None, True, False, False, True]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("cs(0 + t | g, hom = 2)", "hom = 2 in .* must be TRUE .* or FALSE"),
        ("us(0 + t | g, hom = TRUE)", r"us\(\) has no hom"),
        ("ar1(0 + t | g, het = TRUE)", "no argument 'het'"),
        ("cs(0 + t | g, TRUE)", "is not a random term with a structure"),
        ("cs(0 + t || g)", r"write \| for"),
        ("toep(0 + t | g)", "structures of random terms are us, diag, cs and ar1"),
        ("homcs(0 + t | g)", r"write cs\(..., hom = TRUE\)"),
        ("ar1(t) + (1 | g)", "stands by itself"),
        ("x:cs(0 + t | g)", "stands by itself"),
        ("(ar1(0 + t | g))", "stands by itself"),
        ("cs(0 + t | g) + (0 + t | g)", "twice"),
    ],
)
def test_mistakes(term, message):
    """Each with a sentence."""
    with pytest.raises(FormulaError, match=message):
        rx.lmer(f"y ~ x + {term}", frame())


def test_other_models_take_none():
    """They say so, and what to write."""
    message = r"rx.lmer, rx.glmer and their lists take; here write \(0 \+ t \| g\)"
    with pytest.raises(FormulaError, match=message):
        rx.lmer_many("~ x + ar1(0 + t | g)", frame(), responses=frame()[["y"]])


VISITS = {"t0": 10, "t1": 2, "t2": 1}


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            "cs(1 | g)",
            r"^cs\(1 \| g\) has one column, 'Intercept', and so no correlation: .* cs\(0 \+ factor\(visit\) \| g\)",
        ),
        ("ar1(0 + one | g)", "has one column, 'one', and so no correlation"),
        ("ar1(t | g)", r"has the columns Intercept, t\[T\.t1\], t\[T\.t2\], which it takes for equally spaced"),
        ("ar1(0 + text | g)", r"'text' stand in the order 1, 10, 2, as texts sort, and ar1\(0 \+ text \| g\) depends"),
        ("ar1(0 + factor(number) | g)", r"categories 1, 2, 10 of 'factor\(number\)' are not equally spaced"),
    ],
)
def test_columns_that_may_not_be_meant(term: str, message: str) -> None:
    """One column has no correlation, and ar1 depends on the order of the categories."""
    data = frame().assign(one=1.0, number=frame()["t"].map(VISITS), text=frame()["t"].map(VISITS).astype(str))
    with pytest.warns(DataWarning, match=message):
        rx.lmer(f"y ~ x + {term}", data)


def test_an_order_that_was_given_is_meant() -> None:
    """A Categorical, numbers at equal distances, a diagonal matrix of one column."""
    data = frame().assign(
        text=pd.Categorical(frame()["t"].map(VISITS).astype(str), ["1", "2", "10"]),
        number=1.5 - frame()["t"].str[1:].astype(float),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other, turned = (rx.lmer(f"y ~ x + ar1(0 + {name} | g)", data) for name in ("t", "factor(number)", "text"))
        rx.lmer("y ~ x + diag(1 | g)", data)
    # the order may be reversed
    np.testing.assert_allclose([other.criterion(), turned.criterion()], one.criterion(), rtol=1e-10)


def test_priors_on_coefficients_by_matrices() -> None:
    """REML with coefficients of a normal prior is the density of y of mean 0, for structured terms too."""
    data, sds = frame(), np.array([0.1, 0.1])
    fit = rx.lmer("y ~ x + ar1(0 + t | g)", data, fixef_prior=rx.priors.Normal(sd=0.1))
    x, y = np.column_stack([np.ones(len(data)), data["x"]]), data["y"].to_numpy()
    cell = data["g"].str[1:].astype(int).to_numpy() * 3 + data["t"].str[1:].astype(int).to_numpy()
    z = np.eye(45)[cell]

    def criterion(at: np.ndarray) -> float:
        cov = at[0] ** 2 * correlations("ar1", at[1])
        v = at[2] ** 2 * (np.eye(len(y)) + x @ np.diag(sds**2) @ x.T) + z @ np.kron(np.eye(15), cov) @ z.T
        return float(np.linalg.slogdet(v)[1] + y @ np.linalg.solve(v, y))

    at = fit.tidy("ran_pars")["estimate"].to_numpy()
    step = 1e-4 * np.eye(3)
    slopes = [(criterion(at + own) - criterion(at - own)) / 2e-4 for own in step]
    np.testing.assert_allclose(slopes, 0.0, atol=2e-5)
    assert min(criterion(at + own) for own in 20 * np.vstack([step, -step])) > criterion(at)
