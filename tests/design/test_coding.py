"""Columns that products of numbers make: written here, and what formulaic says about the same terms."""

from __future__ import annotations

import pytest

from remlax.design.categorical_terms import code_with_categories
from remlax.design.coding import Shape
from remlax.design.term_coding import code_terms

NUMBER, BASIS = Shape(), Shape(keys=("1", "2", "3"))
LABELS = ("x", "poly(z, 3)", "w")
SHAPES = (NUMBER, BASIS, NUMBER)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    "terms",
    [
        ((0,),),
        ((0,), (2,)),
        ((1,), (0,), (0, 1)),
        ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)),
        ((2, 1),),
    ],
)
def test_products_of_numbers_are_those_of_formulaic(intercept: bool, terms: tuple[tuple[int, ...], ...]) -> None:
    assert code_terms(intercept, terms, LABELS, SHAPES) == code_with_categories(intercept, terms, LABELS, SHAPES)


def test_an_intercept_alone_is_that_of_formulaic() -> None:
    assert code_terms(True, (), (), ()) == code_with_categories(True, (), (), ())
