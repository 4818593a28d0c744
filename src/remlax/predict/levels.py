"""Levels of a grouping factor: their random effects, expected ranks and quantiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from ..errors import DataError, shortened
from ..fitting.fit import Fitted
from ..fitting.selection import Selection
from ..progress import progress
from ..tables.coefficients import total_variance
from ..tables.varcorr import factor_columns, factors_in_order


@dataclass(frozen=True)
class Effect:
    """One column of one grouping factor: factor in elimination order, its label and levels, the column and its name."""

    factor: int
    group: str
    levels: np.ndarray
    column: int
    term: str


def choose_factor(fitted: Fitted, group: str | None) -> int:
    """Find a grouping factor by its label; None takes the first."""
    factors = factors_in_order(fitted)
    if group is None:
        return factors[0][0]
    for f, factor in factors:
        if factor.label == group:
            return f
    known = shortened(repr(factor.label) for _, factor in factors)
    raise DataError(f"group={group!r} is no grouping factor of the model; it has {known}")


def choose_effects(fitted: Fitted, group: str | None, term: str | Sequence[str] | None) -> list[Effect]:
    """Find columns of random effects; None takes all factors, and all columns of a factor."""
    if term is not None and not isinstance(term, str) and not (isinstance(term, Iterable) and list(term)):
        raise DataError(f"{term!r} must be the name of a random-effects column, or a list of at least one name")
    chosen = None if group is None else choose_factor(fitted, group)
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
    """Find one column of random effects: the first of the factor (of the first factor) where none is named."""
    label = fitted.model.layout.factors[choose_factor(fitted, group)].label
    return choose_effects(fitted, label, term)[0]


# pairs of levels compared at once
CHUNK_PAIRS = 4_000_000


def expected_ranks(modes: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Expected rank of every level from its mode and variance, (L,): 1 + sum over the others of P(b_i > b_j).

    They lie between 1 and L and add up to L (L + 1) / 2.
    """
    out = np.empty(len(modes))
    size = max(1, CHUNK_PAIRS // len(modes))
    with np.errstate(divide="ignore", invalid="ignore"), progress(len(modes), "level") as tell:
        for start in range(0, len(modes), size):
            part = slice(start, start + size)
            gap = modes[part, None] - modes[None]
            spread = np.sqrt(variances[part, None] + variances[None])
            # two levels without variance that are equal are tied
            ahead = np.where(gap == 0, 0.0, gap / spread)
            # a level against itself counts a half
            out[part] = 0.5 + scipy.special.ndtr(ahead).sum(axis=1)
            tell(size)
    return out


def rank_table(fits: Selection, group: str | None, term: str | Sequence[str] | None) -> pd.DataFrame:
    """Expected ranks of levels; see ``LmerFit.expected_rank``."""
    return pd.concat([_ranks(fits, effect) for effect in choose_effects(fits.fitted, group, term)], ignore_index=True)


def _ranks(fits: Selection, effect: Effect) -> pd.DataFrame:
    k, j = fits.index, effect.column
    found = fits.fitted.factor_modes[effect.factor]
    modes, variances = found.modes[k][:, :, j], found.variances[k][:, :, j, j]
    error = np.sqrt(total_variance(modes, variances))
    # a rank is a posterior expectation: its mean over the imputations is that over their distribution too
    rank = np.mean([expected_ranks(m, v) for m, v in zip(modes, variances, strict=True)], axis=0)
    if fits.fitted.redundancies.effects(k, effect.factor)[j]:
        error, rank = np.full(len(rank), np.nan), np.full(len(rank), np.nan)
    return pd.DataFrame(
        {
            "group": effect.group,
            "level": effect.levels,
            "term": effect.term,
            "estimate": modes.mean(axis=0),
            "std_error": error,
            "expected_rank": rank,
            "percentile": 100 * (rank - 0.5) / len(rank),
        }
    )


def shares_of(given: object, what: str, whole: int) -> np.ndarray:
    """Numbers between 0 and the whole, (r,)."""
    try:
        found = np.atleast_1d(np.asarray(given, dtype=float))
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if found.ndim > 1 or not found.size or not ((found >= 0) & (found <= whole)).all():
        raise DataError(f"{what}{given!r} must be numbers between 0 and {whole}")
    return found


def quantile_levels(
    fits: Selection, probs: float | Sequence[float], group: str | None, term: str | None
) -> pd.Series[str]:
    """Levels at quantiles of the (mean) modes; see ``LmerFit.re_quantile``."""
    at = shares_of(probs, "probs=", 1)
    effect = choose_effect(fits.fitted, group, term)
    modes = fits.fitted.factor_modes[effect.factor].modes[fits.index][:, :, effect.column].mean(axis=0)
    order = np.argsort(modes, kind="stable")
    place = np.maximum(np.floor(at * len(modes)).astype(int), 1) - 1
    return pd.Series(effect.levels[order[place]], index=pd.Index(at, name="prob"), name=effect.group)
