"""Kenward and Roger's adjusted covariance and degrees of freedom (Kenward & Roger 1997, Biometrics 53:983).

And the covariance of the estimates of variances that are zero under a null hypothesis, from the same information.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.batch import run
from ..engine.shapes import host_leaf
from ..errors import DataError, ModelSizeError
from ..fitting.checks import refuse_prior
from ..fitting.redundancy import Redundancy
from ..fitting.selection import Selection
from ..kernels.inference import KenwardRogerParts, kenward_roger_parts
from ..kernels.problem import Structure
from ..kernels.structured.parameters import ParameterMap
from ..memory import available_bytes, human_bytes
from .satterthwaite import matched_df, scaled_pinv


@dataclass(frozen=True, eq=False)
class Adjustment:
    """What the tests need, of K data sets.

    cov, adjusted (K, p, p): Phi and the adjusted covariance; moved (K, r + 1, p, p): Phi P_i Phi; weights
    (K, r + 1, r + 1): covariance of the variance parameters from the expected information.
    """

    cov: np.ndarray
    adjusted: np.ndarray
    moved: np.ndarray
    weights: np.ndarray


def needed_bytes(structure: Structure) -> int:
    """Memory of one data set's second derivatives: r (r + 1) tangents of the largest arrays that they pass through."""
    tangents = (structure.theta_map.n_theta + 1) ** 2 + 2
    return 8 * tangents * structure.n_numbers


def check_defined(structure: Structure) -> None:
    """Refuse models for which the adjustment is not defined or does not fit in memory.

    Raises
    ------
    DataError
        A fit by maximum likelihood.
    ModelSizeError
        The second derivatives do not fit in memory.
    """
    if not structure.reml:
        raise DataError(
            "Kenward-Roger's method is one for REML, and this model was fitted by maximum likelihood: fit it with "
            "reml=True, or use ddf='satterthwaite'"
        )
    needed = needed_bytes(structure)
    if needed > available_bytes():
        size = structure.n_dense
        what = f"a dense block of {size} columns" if size else "every level's block"
        raise ModelSizeError(
            f"Kenward-Roger's method needs second derivatives of {what} in {structure.theta_map.n_theta} variance "
            f"parameters, about {human_bytes(needed)} of memory, and {human_bytes(available_bytes())} are free: use "
            "ddf='satterthwaite'"
        )


def adjust(fits: Selection) -> Adjustment:
    """Compute the adjustment of some data sets.

    Raises
    ------
    DataError, ModelSizeError
        See `check_defined`; DataError for fits with a prior as well.
    """
    model = fits.model
    check_defined(model.layout.structure)
    refuse_prior(model.prior_arguments, "Kenward-Roger's method is one for maxima of the REML likelihood")
    parts = run(kenward_roger_parts, model.batch.take(fits.index), fits.inner)
    each = [fits.fitted.redundancies.each[k] for k in fits.which]
    if model.layout.parameters is not None:
        seen = parts._replace(information=host_leaf(_seen(each, np.asarray(parts.information))))
        parts, each = _along(seen, fits, model.layout.parameters), [None] * len(each)
    return adjustment_of(parts, model.inverse[fits.index], fits.sigma, each)


def adjustment_of(
    parts: KenwardRogerParts, inverse: np.ndarray, sigma: np.ndarray, redundancies: Sequence[Redundancy | None]
) -> Adjustment:
    """Compute the adjustment from its parts, in the user's units.

    Parameters
    ----------
    parts : KenwardRogerParts
        With a leading axis of data sets (K, ...), perhaps with padded coefficients.
    inverse : ndarray (K, p, p)
        From the conditioned coordinates to coefficients.
    sigma : ndarray (K,)
    redundancies : sequence of Redundancy or None
        What the data leave undetermined, one per data set.
    """
    p, sigma2 = inverse.shape[1], (sigma**2)[:, None, None]
    cov, moved = np.asarray(parts.cov)[:, :p, :p], np.asarray(parts.moved)[:, :, :p, :p]
    weights = 2 * scaled_pinv(_seen(redundancies, np.asarray(parts.information)))
    inner = weights[:, 1:, 1:]
    # sum over i, j of W_ij (Q_ij - P_i Phi P_j), between Phi on both sides; the scale takes no part
    quadratic = np.einsum("kab,kabij->kij", inner, np.asarray(parts.second)[:, :, :, :p, :p]) / 2
    both = np.einsum("kab,kaij,kjl,kblm->kim", inner, moved[:, 1:], np.linalg.inv(cov), moved[:, 1:])
    added = cov @ quadratic @ cov - both

    def to_user(a: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("kia,k...ab,kjb->k...ij", inverse, a, inverse))

    adjusted = to_user(cov + added + added.swapaxes(1, 2)) * sigma2
    return Adjustment(
        to_user(cov) * sigma2, (adjusted + adjusted.swapaxes(1, 2)) / 2, to_user(moved) * sigma2[:, None], weights
    )


def _seen(redundancies: Sequence[Redundancy | None], information: np.ndarray) -> np.ndarray:
    """Information (K, r + 1, r + 1) without rounding error in place of what REML cannot see."""
    seen = np.ones((len(information), information.shape[-1]), bool)
    for i, one in enumerate(redundancies):
        for entry in () if one is None else one.unseen:
            # the residual variance, the last entry, comes first here
            seen[i, (entry + 1) % seen.shape[1]] = False
    return information * seen[:, :, None] * seen[:, None, :]


def _along(parts: KenwardRogerParts, fits: Selection, parameters: ParameterMap) -> KenwardRogerParts:
    """Pieces in the directions of the parameters, where V is no linear function of them.

    What their second derivatives would add is left out: the adjustment is then the same whatever the parameters are.
    """
    ways = np.stack([parameters.covariance_slopes(psi) for psi in fits.fitted.psi[fits.index]])
    with_scale = np.pad(ways, ((0, 0), (1, 0), (1, 0)))
    with_scale[:, 0, 0] = 1.0
    moved, second = np.asarray(parts.moved), np.asarray(parts.second)
    return parts._replace(
        moved=host_leaf(np.einsum("kra,krij->kaij", with_scale, moved)),
        information=host_leaf(with_scale.swapaxes(1, 2) @ np.asarray(parts.information) @ with_scale),
        second=host_leaf(np.einsum("kra,ksb,krsij->kabij", ways, ways, second, optimize=True)),
    )


def contrast_df(adjustment: Adjustment, contrasts: np.ndarray) -> np.ndarray:
    """Degrees of freedom of single contrasts (r, p), (K, r): 2 (l'Phi l)^2 / (g'W g), g_i = l'Phi P_i Phi l."""
    variance = np.einsum("ri,kij,rj->kr", contrasts, adjustment.cov, contrasts)
    grad = np.einsum("ri,kaij,rj->kra", contrasts, adjustment.moved, contrasts)
    return matched_df(variance, grad, adjustment.weights)


def joint_df(adjustment: Adjustment, contrasts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Denominator df and factor of the F statistic of several independent contrasts (q, p), each (K,).

    The first two moments of the scaled statistic are matched with those of F (Kenward & Roger 1997, section 3, with
    the constants that make balanced designs exact).
    """
    q = len(contrasts)
    if q == 1:
        df = contrast_df(adjustment, contrasts)[:, 0]
        return df, np.ones_like(df)
    inverse = np.linalg.inv(contrasts @ adjustment.cov @ contrasts.T)
    weighted = np.einsum("kst,ti,kaij,uj->kasu", inverse, contrasts, adjustment.moved, contrasts)
    trace = np.einsum("kass->ka", weighted)
    a1 = np.einsum("kab,ka,kb->k", adjustment.weights, trace, trace)
    a2 = np.einsum("kab,kasu,kbus->k", adjustment.weights, weighted, weighted)
    with np.errstate(divide="ignore", invalid="ignore"):
        b = (a1 + 6 * a2) / (2 * q)
        g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
        c = 3 * q + 2 * (1 - g)
        c1, c2, c3 = g / c, (q - g) / c, (q + 2 - g) / c
        mean = 1 / (1 - a2 / q)
        variance = 2 / q * (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b))
        rho = variance / (2 * mean**2)
        df = 4 + (q + 2) / (q * rho - 1)
        scale = df / (mean * (df - 2))
    # so few degrees of freedom that F has no mean: nothing to match
    return df, np.where(np.isfinite(scale) & (df > 2), scale, 1.0)


def boundary_covariance(large: Selection, small: Selection) -> np.ndarray | None:
    """Asymptotic covariance, up to a factor, of the variances that only the larger model has, at the smaller one's fit.

    From the expected information about all variances and covariances, those of the smaller model being nuisance
    parameters. Given where the larger model adds terms of one column and nothing else to the random part, so that the
    variances may take any values from zero on.

    Returns
    -------
    ndarray (K, m, m) or None
        None where the larger model differs otherwise, a fit of the smaller model is singular (its own parameters are
        then on a boundary too), or the information cannot be had.
    """
    kept = {(term.group, term.names): term for term in small.model.layout.terms}
    theta = np.zeros((large.n_sets, large.fitted.theta.shape[1]))
    added = []
    for term in large.model.layout.terms:
        same = kept.pop((term.group, term.names), None)
        if same is not None:
            theta[:, term.theta] = small.theta[:, same.theta]
        elif term.q == 1:
            added.append(term.theta.start + 1)  # behind the scale of V
        else:
            return None
    structured = large.model.layout.parameters or small.model.layout.parameters
    needed = needed_bytes(large.model.layout.structure)
    if structured is not None or kept or small.singular or needed > available_bytes():
        return None
    model = large.model
    parts = run(kenward_roger_parts, model.batch.take(large.index), model.inner_theta(theta))
    information = np.asarray(parts.information)
    if not (np.isfinite(information).all() and (np.linalg.eigvalsh(information) > 0).all()):
        return None
    return np.asarray(np.linalg.inv(information)[:, added][:, :, added])
