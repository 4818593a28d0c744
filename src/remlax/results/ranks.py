"""Where the levels of a grouping factor stand among each other: expected ranks and quantiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy

from ..errors import DataError
from ..fitting.selection import Selection
from ..pooling import pool_scalars
from ..progress import progress
from .effects import Effect, choose_effect, choose_effects

# pairs of levels compared at once
CHUNK_PAIRS = 4_000_000


def expected_ranks(modes: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Expected rank of every level: 1 + sum over the others of P(b_i > b_j).

    Parameters
    ----------
    modes, variances : ndarray (L,)

    Returns
    -------
    ndarray (L,)
        Between 1 and L; they add up to L (L + 1) / 2.
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
    """Expected ranks of levels; see ``Toolkit.expected_rank``."""
    return pd.concat([_ranks(fits, effect) for effect in choose_effects(fits.fitted, group, term)], ignore_index=True)


def _ranks(fits: Selection, effect: Effect) -> pd.DataFrame:
    k, j = fits.index, effect.column
    found = fits.fitted.factor_modes[effect.factor]
    modes, variances = found.modes[k][:, :, j], found.variances[k][:, :, j, j]
    if len(k) == 1:
        estimate, error = modes[0], np.sqrt(variances[0])
    else:
        pool = pool_scalars(modes, variances)
        estimate, error = pool.estimate, pool.std_error
    # a rank is a posterior expectation: its mean over the imputations is that over their distribution too
    rank = np.mean([expected_ranks(m, v) for m, v in zip(modes, variances, strict=True)], axis=0)
    if fits.fitted.redundancies.effects(k, effect.factor)[j]:
        error, rank = np.full(len(rank), np.nan), np.full(len(rank), np.nan)
    return pd.DataFrame(
        {
            "group": effect.group,
            "level": effect.levels,
            "term": effect.term,
            "estimate": estimate,
            "std_error": error,
            "expected_rank": rank,
            "percentile": 100 * (rank - 0.5) / len(rank),
        }
    )


def quantile_levels(
    fits: Selection, probs: float | Sequence[float], group: str | None, term: str | None
) -> pd.Series[str]:
    """Levels at quantiles of the (mean) modes; see ``Toolkit.re_quantile``."""
    try:
        at = np.atleast_1d(np.asarray(probs, dtype=float))
    except (TypeError, ValueError):
        raise DataError(f"probs={probs!r} must be numbers between 0 and 1") from None
    if at.ndim != 1 or not ((at >= 0) & (at <= 1)).all():
        raise DataError(f"probs={probs!r} must be numbers between 0 and 1")
    effect = choose_effect(fits.fitted, group, term)
    modes = fits.fitted.factor_modes[effect.factor].modes[fits.index][:, :, effect.column].mean(axis=0)
    order = np.argsort(modes, kind="stable")
    place = np.maximum(np.floor(at * len(modes)).astype(int), 1) - 1
    return pd.Series(effect.levels[order[place]], index=pd.Index(at, name="prob"), name=effect.group)
