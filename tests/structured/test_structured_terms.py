"""Random terms with a covariance structure in formulas."""

from __future__ import annotations

import pytest

import remlax as rx
from remlax.design.formula import parse_formula
from remlax.errors import FormulaError
from structured_cases import frame


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
    message = r"only rx.lmer and rx.lmer_list take; here write \(0 \+ t \| g\)"
    data = frame().assign(k=(frame()["y"] > 1).astype(int))
    with pytest.raises(FormulaError, match=message):
        rx.glmer("k ~ x + ar1(0 + t | g)", data, "binomial")
    with pytest.raises(FormulaError, match=message):
        rx.lmer_many("~ x + ar1(0 + t | g)", data, responses=data[["y"]])
