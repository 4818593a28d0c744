"""Patients of one fit by pattern: their rows and covariance matrices; responses drawn from them, and refits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np

from ...design.build import ModelRows
from ...kernels.newton import Newton
from ...memory import check_room
from ..selection import Selection
from .fit import MmrmFitted, assemble_mmrm, fit_mmrm


def patient_rows(fit: Selection) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Patients of a group and pattern: rows (G, t) of the data set and covariance matrices (G, t, t)."""
    fitted, k = cast(MmrmFitted, fit.fitted), fit.k
    visits, rows = fitted.visits, fit.rows
    first, last = visits.offsets[k], visits.offsets[k + 1]
    weights = None if rows.weights is None else rows.weights.of(k)
    for g in range(visits.n_groups):
        for m, mask in enumerate(visits.masks):
            own = first + np.flatnonzero((visits.group[first:last] == g) & (visits.pattern[first:last] == m))
            if not len(own):
                continue
            seen = np.flatnonzero(mask)
            at = visits.order[visits.start[own][:, None] + np.arange(len(seen))] - rows.offsets[k]
            v = np.broadcast_to(fitted.sigmas[k, g][np.ix_(seen, seen)], (len(own), len(seen), len(seen)))
            if weights is not None:
                root = np.sqrt(weights[at])
                v = v / (root[:, :, None] * root[:, None, :])
            yield at, v


def draw_visits(fit: Selection, n_sims: int, rng: np.random.Generator, beta: np.ndarray | None = None) -> np.ndarray:
    """Draw responses (n_sims, n) of the rows of one fit; simulation s uses the same draws however many there are.

    ``beta`` (p,) are other coefficients than the estimates.
    """
    mean = fit.fitted.fitted_values(fit.k)
    if beta is not None:
        mean = mean + fit.rows.x.of(fit.k)[:, fit.model.keep] @ (beta - fit.fitted.beta[fit.k])
    check_room(3 * n_sims * len(mean), f"{n_sims} responses of {len(mean)} rows", "draw fewer (n_sims)")
    noise = rng.standard_normal((n_sims, len(mean)))
    out = np.tile(mean, (n_sims, 1))
    for at, v in patient_rows(fit):
        out[:, at] += np.einsum("gts,kgs->kgt", np.linalg.cholesky(v), noise[:, at])
    return out


def refit_mmrm(fitted: MmrmFitted, rows: ModelRows) -> MmrmFitted:
    """Fit the model to rows with other responses."""
    model, visits = assemble_mmrm(rows, reml=fitted.reml)
    return fit_mmrm(model, visits, cast(Newton, fitted.optimizer))
