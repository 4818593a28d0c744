"""Usable fits: which fits of a selection are pooled, and which are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..checks import Checks
from ..errors import ConvergenceWarning, DataError, PoolingError, shortened, warn
from ..fitting.selection import Selection

OnFailure = Literal["raise", "warn", "drop"]


def choose_fits(fits: Selection, on_failure: OnFailure, what: str = "fit") -> Selection:
    """Decide which fits are pooled and which are dropped."""
    refuse_other_outcomes(fits)
    Checks(PoolingError).choice(on_failure, OnFailure, "on_failure=")
    converged = fits.fitted.converged
    failed = [k for k in fits.which if not converged[k]]
    used, left_out = fits.which, list[int]()
    if failed:
        names = shortened(f"{fits.rows.labels[k]} ({fits.fitted.verdict(k)})" for k in failed)
        if on_failure == "raise":
            raise PoolingError(
                f"the {what} failed in imputation {names}: look at fits.convergence(), or use on_failure='drop' or "
                "'warn'"
            )
        usable = [k for k in failed if on_failure == "warn" and np.isfinite(fits.fitted.vcov[k]).all()]
        left_out = [k for k in failed if k not in usable]
        count = f"{len(left_out)} failed fit{'s' * (len(left_out) > 1)}"
        done = f"pooling leaves out {count}" if left_out else "pooling fits that did not converge"
        warn(f"{done}: imputation {names}", ConvergenceWarning)
        used = tuple(k for k in fits.which if k not in left_out)
    if len(used) < 2:
        raise PoolingError(
            f"pooling needs at least two fits; there {'is one' if len(used) == 1 else 'are none'}: "
            "a single fit has its own tidy() and summary()"
        )
    return fits.take(used, left_out)


def require_converged(fits: Selection, consequence: str) -> None:
    """Refuse fits that did not converge or have no maximum, with what they cannot do."""
    failed = [k for k in fits.which if not fits.fitted.converged[k]]
    if failed:
        where = f" of imputation {fits.rows.labels[failed[0]]}" if fits.fitted.n_sets > 1 else ""
        raise DataError(f"the fit{where} did not converge: it {consequence}")


def warn_unconverged(fits: Selection, what: str) -> None:
    """Warn that numbers rest on fits that did not converge or have no maximum."""
    failed = [k for k in fits.which if not fits.fitted.converged[k]]
    if failed:
        where = f" of imputation {shortened(fits.named(failed))}" if fits.fitted.n_sets > 1 else ""
        warn(f"{what}: the fit{where} did not converge: {fits.fitted.verdict(failed[0])}", ConvergenceWarning)


def refuse_other_outcomes(fits: Selection) -> None:
    """Refuse to take refits to different outcomes for imputations of one, which agree in the observed rows."""
    rows = fits.rows
    if rows.refitted and fits.n_sets > 1 and _agreement([rows.y.of(k) for k in fits.which]) < 0.5:
        raise PoolingError(
            f"these are refits to {fits.n_sets} responses that are not imputations of one outcome (they agree in too "
            "few rows), and Rubin's rules are for imputations: use the fits' own numbers, refits.fixef(), "
            "refits.varcorr() and [fit.tidy() for fit in refits]"
        )


def _agreement(responses: Sequence[np.ndarray]) -> float:
    """Share of rows in which all responses are equal, beyond what their values make likely by chance (a kappa)."""
    first, n = responses[0], len(responses[0])
    same = np.ones(n, bool)
    common = np.unique(first)
    chance = np.ones(len(common))
    for y in responses:
        same &= y == first
        values, counts = np.unique(y, return_counts=True)
        common, left, right = np.intersect1d(common, values, assume_unique=True, return_indices=True)
        chance = chance[left] * counts[right] / n
    return float((same.mean() - chance.sum()) / (1 - chance.sum()))
