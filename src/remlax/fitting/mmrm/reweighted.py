"""Refits of one model to its patients counted differently: resamples of patients are lanes of one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ...engine.batch import Batch, run
from ...engine.joint_fit import Ends, optimised
from ...engine.shapes import host_leaf
from ...kernels.newton import CONVERGED, Newton
from ...mmrm.optimum import fit
from ...mmrm.problem import Mmrm, pairs, places
from .fit import DEPENDENT, MmrmFitted, flat, least_eigenvalues

# numbers of the moments that are held at once, and of the products of patients
LANE_NUMBERS, PATIENT_NUMBERS = 2**25, 2**22


@dataclass(frozen=True, eq=False)
class Refits:
    """Estimates of B refits in the user's units.

    Parameters
    ----------
    beta : ndarray (B, p)
    sigmas : ndarray (B, g, T, T)
    failed : ndarray of bool (B,)
        Not converged, or singular.
    """

    beta: np.ndarray
    sigmas: np.ndarray
    failed: np.ndarray


def refit_weighted(fitted: MmrmFitted, counts: np.ndarray) -> Refits:
    """Fit a model again with every patient counted as often as is said.

    Parameters
    ----------
    fitted : MmrmFitted
        One data set, fitted.
    counts : ndarray (B, patients)
        How often each patient counts, in the order of ``fitted.visits``: 0 leaves one out.
    """
    problem = cast(Mmrm, fitted.model.batch.problem)
    each = max(1, LANE_NUMBERS // int(np.prod(problem.products.moments.shape[1:])))
    parts = [_refit(fitted, problem, counts[i : i + each]) for i in range(0, len(counts), each)]
    return Refits(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("beta", "sigmas", "failed")))


def _refit(fitted: MmrmFitted, problem: Mmrm, counts: np.ndarray) -> Refits:
    model, n = fitted.model, len(counts)
    moments, patients = _moments(fitted, problem, counts)
    given = problem.products
    products = replace(
        given,
        moments=host_leaf(moments),
        counts=host_leaf(patients),
        n_obs=host_leaf(counts @ fitted.visits.size),
        **{
            name: host_leaf(np.repeat(np.asarray(getattr(given, name)), n, axis=0))
            for name in ("padded", "n_fixed", "constant", "constant_ml", "log_scale")
        },
    )
    batch = Batch(cast(Any, Mmrm(problem.structure, products, problem.index)), model.batch.mesh)
    opt, end = _optimised(batch, np.repeat(fitted.theta, n, axis=0), cast(Newton, fitted.optimizer))
    beta = model.ols + np.asarray(end.gamma)[:, : len(model.keep)] @ model.inverse[0].T * model.y_scale
    inner = np.asarray(end.sigma)
    singular = (least_eigenvalues(inner) < DEPENDENT).any(axis=1) | flat(np.asarray(opt.hess))
    finite = np.isfinite(beta).all(axis=1) & np.isfinite(inner).all(axis=(1, 2, 3))
    failed = (np.asarray(opt.status) != CONVERGED) | ~finite | singular
    return Refits(beta, inner * model.y_scale[0] ** 2, failed)


def _optimised(batch: Batch, start: np.ndarray, optimizer: Newton) -> Ends:
    """Searches from the estimates of all patients, and from elsewhere where those fail."""
    n = batch.n_sets
    opt, end = run(cast(Any, fit), batch, start, np.ones(n), np.full(n, optimizer.max_iter, np.int32), some=True)
    which = np.flatnonzero(np.asarray(opt.status) != CONVERGED)
    if not len(which):
        return opt, end
    others = optimised(batch.take(which), optimizer, cast(Any, fit))

    def put(whole: Any, part: Any) -> Any:
        out = np.array(whole)
        out[which] = part
        return out

    return cast(Ends, tuple(type(a)(*map(put, a, b)) for a, b in zip((opt, end), others, strict=True)))


def _moments(fitted: MmrmFitted, problem: Mmrm, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moments (B, g, m, P, Q) and numbers of patients (B, g, m)."""
    shape = (len(counts), *problem.products.moments.shape[1:])
    moments, patients = np.zeros(shape), np.zeros(shape[:3])
    for g, m, own, products, at in _products(fitted, problem.structure.n_fixed + 1):
        moments[:, g, m, at[0], at[1]] += np.tensordot(counts[:, own], products, 1)
        patients[:, g, m] += counts[:, own].sum(axis=1)
    return moments, patients


def _products(
    fitted: MmrmFitted, width: int
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """What single patients add, some at a time: group, pattern, patients (G,), products (G, P, Q), places of both."""
    visits, values = fitted.visits, _conditioned(fitted)
    p = values.shape[1] - 1
    a, b = pairs(p + 1)
    column = np.r_[np.arange(p), width - 1]
    at_columns = places(width)[column[a], column[b]]
    for g in range(visits.n_groups):
        for m, mask in enumerate(visits.masks):
            members = np.flatnonzero((visits.group == g) & (visits.pattern == m))
            seen = np.flatnonzero(mask)
            i, j = pairs(len(seen))
            at = places(len(mask))[seen[i], seen[j]][:, None], at_columns
            each = max(1, PATIENT_NUMBERS // (len(i) * len(a)))
            for own in (members[k : k + each] for k in range(0, len(members), each)):
                rows = values[visits.order[visits.start[own][:, None] + np.arange(len(seen))]]
                products = rows[:, i][..., a] * rows[:, j][..., b]
                other = i != j
                products[:, other] += rows[:, j[other]][..., a] * rows[:, i[other]][..., b]
                yield g, m, own, products, at


def _conditioned(fitted: MmrmFitted) -> np.ndarray:
    """Rows (n, p + 1) of [X y] in the coordinates in which the model was fitted."""
    model = fitted.model
    x = model.rows.x.of(0)[:, model.keep]
    y = (model.rows.y.of(0) - _least_squares(fitted, x)) / model.y_scale[0]
    out = np.column_stack([model.orthonormal(x, 0), y])
    weights = model.rows.weights
    return out if weights is None else out * np.sqrt(weights.of(0))[:, None]


def _least_squares(fitted: MmrmFitted, x: np.ndarray) -> np.ndarray:
    """Least-squares values (n,), from which coefficients count, and the known part of the response."""
    offset = fitted.model.rows.offset
    out = x @ fitted.model.ols[0]
    return np.asarray(out if offset is None else out + offset.of(0))
