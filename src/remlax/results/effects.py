"""Which random effects are meant: a grouping factor and one of its columns, by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, shortened
from ..fitting.fit import Fitted
from .tables import factor_columns, factors_in_order


@dataclass(frozen=True)
class Effect:
    """One column of one grouping factor: factor in elimination order, its label and levels, the column and its name."""

    factor: int
    group: str
    levels: np.ndarray
    column: int
    term: str


def choose_factor(fitted: Fitted, group: str | None) -> int:
    """Find a grouping factor by its label; None takes the first.

    Raises
    ------
    DataError
        The model has no such grouping factor.
    """
    factors = factors_in_order(fitted)
    if group is None:
        return factors[0][0]
    for f, factor in factors:
        if factor.label == group:
            return f
    known = shortened(repr(factor.label) for _, factor in factors)
    raise DataError(f"group={group!r} is no grouping factor of the model; it has {known}")


def choose_effects(fitted: Fitted, group: str | None, term: str | Sequence[str] | None) -> list[Effect]:
    """Find columns of random effects; None takes all factors, and all columns of a factor.

    Raises
    ------
    DataError
        The model has no such grouping factor or column, or what is given is no name and no list of names.
    """
    chosen = None if group is None else choose_factor(fitted, group)
    if term is not None and not isinstance(term, str) and not (isinstance(term, Iterable) and list(term)):
        raise DataError(f"{term!r} must be the name of a random-effects column, or a list of at least one name")
    asked = None if term is None else [term] if isinstance(term, str) else list(term)
    out, known = [], []
    for f, factor in factors_in_order(fitted):
        if chosen in (None, f):
            names = factor_columns(fitted, f)
            known += [name for name in names if name not in known]
            wanted = names if asked is None else [name for name in asked if name in names]
            out += [Effect(f, factor.label, factor.levels, names.index(name), name) for name in wanted]
    missing = [name for name in asked or [] if name not in known]
    if missing:
        where = "the random effects" if group is None else f"the random effects of {group!r}"
        raise DataError(f"term={missing[0]!r} is not among {where}; they are {shortened(map(repr, known))}")
    return out


def choose_effect(fitted: Fitted, group: str | None, term: str | None) -> Effect:
    """Find one column of random effects: the first of the factor (of the first factor) where none is named.

    Raises
    ------
    DataError
        As `choose_effects`.
    """
    factor = choose_factor(fitted, group)
    label = fitted.model.layout.factors[factor].label
    return choose_effects(fitted, label, term)[0]
