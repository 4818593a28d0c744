"""Refits of one model to its patients counted differently: resamples of patients are lanes of one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ...engine.batch import Batch, n_cores, run
from ...engine.joint_fit import Ends, optimised
from ...engine.rows import map_threads
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


def refit_weighted(fitted: MmrmFitted, counts: np.ndarray, sets: np.ndarray | None = None) -> Refits:
    """Fit a model again with every patient counted as often as is said.

    Parameters
    ----------
    fitted : MmrmFitted
    counts : ndarray (B, patients)
        How often each patient of the data set counts, in the order of ``fitted.visits``: 0 leaves one out. Columns
        beyond the patients of a data set are not read.
    sets : ndarray of int (B,), optional
        Data set of every refit, by default the first of all.
    """
    problem = cast(Mmrm, fitted.model.batch.problem)
    own = np.zeros(len(counts), np.intp) if sets is None else sets
    each = max(1, LANE_NUMBERS // int(np.prod(problem.products.moments.shape[1:])))
    pieces = [slice(i, i + each) for i in range(0, len(counts), each)]
    parts = [_refit(fitted, problem, counts[piece], own[piece]) for piece in pieces]
    return Refits(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("beta", "sigmas", "failed")))


def _refit(fitted: MmrmFitted, problem: Mmrm, counts: np.ndarray, sets: np.ndarray) -> Refits:
    model = fitted.model
    moments, patients, n_obs = _moments(fitted, problem, counts, sets)
    given = problem.products
    products = replace(
        given,
        moments=host_leaf(moments),
        counts=host_leaf(patients),
        n_obs=host_leaf(n_obs),
        **{
            name: host_leaf(np.asarray(getattr(given, name))[sets])
            for name in ("padded", "n_fixed", "constant", "constant_ml", "log_scale")
        },
    )
    batch = Batch(cast(Any, Mmrm(problem.structure, products, problem.index)), model.batch.mesh)
    opt, end = _optimised(batch, fitted.theta[sets], cast(Newton, fitted.optimizer))
    gamma, scale = np.asarray(end.gamma)[:, : len(model.keep)], model.y_scale[sets]
    beta = model.ols[sets] + (model.inverse[sets] @ gamma[:, :, None])[:, :, 0] * scale[:, None]
    inner = np.asarray(end.sigma)
    singular = (least_eigenvalues(inner) < DEPENDENT).any(axis=1) | flat(np.asarray(opt.hess))
    finite = np.isfinite(beta).all(axis=1) & np.isfinite(inner).all(axis=(1, 2, 3))
    failed = (np.asarray(opt.status) != CONVERGED) | ~finite | singular
    return Refits(beta, inner * scale[:, None, None, None] ** 2, failed)


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


def _moments(
    fitted: MmrmFitted, problem: Mmrm, counts: np.ndarray, sets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments (B, g, m, P, Q), numbers of patients (B, g, m), and of rows (B,)."""
    shape = (len(counts), *problem.products.moments.shape[1:])
    moments, patients, n_obs = np.zeros(shape), np.zeros(shape[:3]), np.zeros(len(counts))
    known, place = np.unique(sets, return_inverse=True)
    order = np.argsort(place, kind="stable")
    lanes = np.split(order, np.cumsum(np.bincount(place, minlength=len(known)))[:-1])

    def add(i: int) -> None:
        which, k = lanes[i], int(known[i])
        own = counts[which]
        n_obs[which] = own[:, : fitted.visits.n_patients(k)] @ _sizes(fitted, k)
        for g, m, members, products, at in _products(fitted, k, problem.structure.n_fixed + 1):
            sums = (own[:, members] @ products.reshape(len(members), -1)).reshape(-1, *products.shape[1:])
            moments[which[:, None, None], g, m, at[0], at[1]] += sums
            patients[which, g, m] += own[:, members].sum(axis=1)

    map_threads(add, len(known), n_cores())
    return moments, patients, n_obs


def _sizes(fitted: MmrmFitted, k: int) -> np.ndarray:
    """Rows of every patient of a data set."""
    visits = fitted.visits
    return visits.size[visits.offsets[k] : visits.offsets[k + 1]]


def _products(
    fitted: MmrmFitted, k: int, width: int
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """What single patients of a data set add, some at a time.

    Yields group, pattern, patients (G,) of the data set, products (G, P, Q), places of both.
    """
    visits, values = fitted.visits, _conditioned(fitted, k)
    first, last = visits.offsets[k], visits.offsets[k + 1]
    p, first_row = values.shape[1] - 1, fitted.model.rows.offsets[k]
    a, b = pairs(p + 1)
    column = np.r_[np.arange(p), width - 1]
    at_columns = places(width)[column[a], column[b]]
    kinds = visits.group[first:last] * len(visits.masks) + visits.pattern[first:last]
    for kind in np.unique(kinds):
        g, m = divmod(int(kind), len(visits.masks))
        members = np.flatnonzero(kinds == kind)
        seen = np.flatnonzero(visits.masks[m])
        i, j = pairs(len(seen))
        at = places(visits.masks.shape[1])[seen[i], seen[j]][:, None], at_columns
        each = max(1, PATIENT_NUMBERS // (len(i) * len(a)))
        for own in (members[s : s + each] for s in range(0, len(members), each)):
            rows = values[visits.order[visits.start[first + own][:, None] + np.arange(len(seen))] - first_row]
            products = rows[:, i][..., a] * rows[:, j][..., b]
            other = i != j
            products[:, other] += rows[:, j[other]][..., a] * rows[:, i[other]][..., b]
            yield g, m, own, products, at


def _conditioned(fitted: MmrmFitted, k: int) -> np.ndarray:
    """Rows (n, p + 1) of [X y] of a data set in the coordinates in which the model was fitted."""
    model = fitted.model
    x = model.rows.x.of(k)[:, model.keep]
    offset = model.rows.offset
    known = x @ model.ols[k] + (0.0 if offset is None else offset.of(k))
    out = np.column_stack([model.orthonormal(x, k), (model.rows.y.of(k) - known) / model.y_scale[k]])
    weights = model.rows.weights
    return out if weights is None else out * np.sqrt(weights.of(k))[:, None]
