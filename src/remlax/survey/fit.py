"""Fit every response under every version of the weights, and find the sampling covariances of all estimates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..design.build import ModelRows
from ..engine.batch import run
from ..engine.fit import fit
from ..errors import DataError, FitError, shortened
from ..fitting.layout import Layout
from ..fitting.residual_variance import too_few_digits
from ..kernels.inference import solve
from ..kernels.newton import CONVERGED, NO_RESIDUAL, Newton
from ..kernels.restarts import on_boundary
from ..kernels.theta import canonical_theta
from ..progress import progress
from .products import FixedColumns, SurveyBatch, survey_batch
from .pseudo_likelihood import PseudoDeviance, pseudo_information, pseudo_modes
from .quantities import Quantities
from .replicates import Replicates
from .weights import SamplingWeights

# eigenvalues of the information, relative to the largest, below which a parameter lies on the boundary
EIGEN_TOL = 1e-10
# cross-products of replicates that are fitted together
CHUNK_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class SurveyEstimates:
    """Estimates of M responses, and what their covariances are.

    Parameters
    ----------
    estimates : ndarray (M, p + r)
        Coefficients, then the values that `labels` names.
    covariances : ndarray (M, p + r, p + r)
        Sampling covariances.
    criterion : ndarray (M,)
        -2 log pseudo-likelihood, weights of the outermost units with mean 1.
    modes : tuple of ndarray (M, levels, q)
        Modes of the random effects per factor.
    singular : ndarray of bool (M,)
    failed : ndarray of bool (R, M)
        Under every version of the weights, the sample first.
    """

    estimates: np.ndarray
    covariances: np.ndarray
    criterion: np.ndarray
    modes: tuple[np.ndarray, ...]
    singular: np.ndarray
    failed: np.ndarray


def fit_survey(
    rows: ModelRows,
    layout: Layout,
    fixed: FixedColumns,
    weights: SamplingWeights,
    strata: np.ndarray | None,
    replicates: Replicates | None,
) -> SurveyEstimates:
    """Fit by maximum pseudo-likelihood.

    Parameters
    ----------
    strata : ndarray of int (J,), optional
        Of the outermost units, for the sandwich.
    replicates : Replicates, optional
        Of which ``weights`` has the versions; else covariances are those of the sandwich.

    Raises
    ------
    FitError
        A response could not be fitted.
    """
    m, p = rows.n_sets, len(fixed.keep)
    each = _chunks(weights.n_versions, m * _lane_bytes(layout, p))
    parts = []
    with progress(len(each), "block") as advance:
        for k, versions in enumerate(each):
            part = _fit_versions(rows, layout, fixed, weights.take(versions), scores=replicates is None)
            parts.append(part if k == 0 else part.without_first())
            advance(1)
    first, found = parts[0], parts[0].batch
    failed = np.concatenate([part.failed for part in parts])
    if failed[0].any():
        labels = shortened(str(rows.labels[k]) for k in np.flatnonzero(failed[0]))
        raise FitError(f"the model could not be fitted to {labels}: simplify the random terms")
    by_version = np.concatenate([part.estimates for part in parts])
    by_version[failed] = np.nan
    s, inner = first.inner.shape[2], first.inner[0]
    if replicates is None:
        covariances = _sandwich(found, inner, first.turn, strata, layout.factors[-1].n_levels)
        sample = Quantities(layout, found.x_spread[0], tuple(squares[0] for squares in found.z_squares), found.units)
        own = sample.jacobian(first.parameters[0])
        jacobian = np.concatenate([np.broadcast_to(np.eye(s)[:p], (m, p, s)), own], axis=1)
        whole = np.einsum("mis,mst,mjt->mij", jacobian, covariances, jacobian)
    else:
        whole = _replicated(by_version, replicates.factor)
    levels = [factor.n_levels for factor in layout.factors]
    theta = inner[:, p:-1]
    modes = run(pseudo_modes, found.batch.take(np.arange(m)), theta, inner[:, :p])
    return SurveyEstimates(
        estimates=by_version[0],
        covariances=whole,
        criterion=first.criterion[0],
        modes=tuple(
            unit.effects(np.moveaxis(np.asarray(own)[:, :, :n], 1, 2)) * found.y_scale[:, None, None]
            for own, n, unit in zip(modes, levels, found.units, strict=True)
        ),
        singular=on_boundary(theta, layout.structure.theta_map),
        failed=failed,
    )


@dataclass(frozen=True, eq=False)
class _FittedVersions:
    """Fits of some versions to all responses.

    inner, parameters (R, M, s): inside, in the user's units; turn (M, s, s) takes differences from the first to the
    second; estimates (R, M, P), criterion and failed (R, M).
    """

    batch: SurveyBatch
    inner: np.ndarray
    parameters: np.ndarray
    turn: np.ndarray
    estimates: np.ndarray
    criterion: np.ndarray
    failed: np.ndarray

    def without_first(self) -> _FittedVersions:
        """The same without the sample itself, which leads every chunk."""
        names = ("inner", "parameters", "estimates", "criterion", "failed")
        return replace(self, **{name: getattr(self, name)[1:] for name in names})


def _fit_versions(
    rows: ModelRows, layout: Layout, fixed: FixedColumns, weights: SamplingWeights, *, scores: bool
) -> _FittedVersions:
    found = survey_batch(rows, layout, fixed, weights, scores=scores)
    batch, m, p = found.batch, rows.n_sets, len(fixed.keep)
    opt = fit(batch, Newton(), PseudoDeviance())
    theta = canonical_theta(np.asarray(opt.theta), layout.structure.theta_map)
    solution = run(solve, batch, theta)
    status = np.where(too_few_digits(solution), NO_RESIDUAL, np.asarray(opt.status))
    inner = np.concatenate([np.asarray(solution.gamma), theta, np.log(np.asarray(solution.sigma))[:, None]], axis=1)
    outer, turn = _outside(inner, found)
    parameters = outer.reshape(-1, m, inner.shape[1])
    values = Quantities(layout, found.x_spread, found.z_squares, found.units).values(parameters)
    return _FittedVersions(
        batch=found,
        inner=inner.reshape(parameters.shape),
        parameters=parameters,
        turn=turn,
        estimates=np.concatenate([parameters[..., :p], values], axis=2),
        criterion=np.asarray(solution.value).reshape(-1, m),
        failed=(status != CONVERGED).reshape(-1, m),
    )


def _lane_bytes(layout: Layout, p: int) -> int:
    """Size of the cross-products of one response under one version of the weights."""
    q = [sum(term.q for term in layout.terms if term.factor == f) for f in range(len(layout.factors))]
    return 8 * sum(n * q[f] * (sum(q[f:]) + p + 1) for f, n in enumerate(layout.structure.n_levels))


def _chunks(n_versions: int, size: int) -> list[list[int]]:
    """Versions that are fitted together, of so many bytes each; all begin with the sample, which sets the scale."""
    step = max(1, CHUNK_BYTES // size)
    return [[0, *range(start, min(start + step, n_versions))] for start in range(1, max(n_versions, 2), step)]


def _outside(inner: np.ndarray, found: SurveyBatch) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and sigma of all data sets in the user's units, and the matrices (M, s, s) that turn differences."""
    m, p = found.ols.shape
    turn = np.tile(np.eye(inner.shape[1]), (m, 1, 1))
    turn[:, :p, :p] = found.inverse * found.y_scale[:, None, None]
    shift = np.zeros((m, inner.shape[1]))
    shift[:, :p], shift[:, -1] = found.ols, np.log(found.y_scale)
    versions = inner.reshape(-1, m, inner.shape[1])
    return (np.einsum("mij,rmj->rmi", turn, versions) + shift).reshape(inner.shape), turn


def _sandwich(
    found: SurveyBatch, inner: np.ndarray, turn: np.ndarray, strata: np.ndarray | None, n_units: int
) -> np.ndarray:
    """Covariances (M, s, s) of (beta, theta inside, log sigma): H^-1 (sum of squared scores) H^-1, by strata."""
    batch = found.batch.take(np.arange(len(inner)))
    parts = run(pseudo_information, batch, inner, found.rows)
    scores, information = np.asarray(parts.scores)[:, :n_units], np.asarray(parts.information)
    codes = np.zeros(n_units, int) if strata is None else strata
    size = np.bincount(codes)
    mean = np.stack([scores[:, codes == h].mean(axis=1) for h in range(len(size))], axis=1)
    centred = (scores - mean[:, codes]) * np.sqrt(size / (size - 1.0))[codes][None, :, None]
    meat = np.einsum("mjs,mjt->mst", centred, centred)
    bread = np.stack([_inverse(own) for own in information])
    half = turn @ bread
    return np.asarray(half @ meat @ half.swapaxes(1, 2))


def _inverse(information: np.ndarray) -> np.ndarray:
    """Inverse of the information; directions without any, on the boundary, have no variance."""
    scale = np.sqrt(np.maximum(np.abs(np.diag(information)), 1e-300))
    size, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    keep = size > EIGEN_TOL * size[-1]
    inverse = (vectors[:, keep] / size[keep]) @ vectors[:, keep].T
    return np.asarray(inverse / np.outer(scale, scale))


def _replicated(by_version: np.ndarray, factor: float) -> np.ndarray:
    """Covariances (M, P, P) from deviations of the replicates from the sample; those that failed are left out."""
    deviations = by_version[1:] - by_version[0]
    good = np.isfinite(deviations[:, :, 0]) if deviations.shape[2] else np.ones(deviations.shape[:2], bool)
    if (good.sum(axis=0) < 2).any():
        raise DataError("fewer than two replicates could be fitted: there is no sampling variance")
    used = np.where(good[:, :, None], deviations, 0.0)
    weight = factor * len(good) / good.sum(axis=0)
    return np.asarray(np.einsum("rmi,rmj->mij", used, used) * weight[:, None, None])
