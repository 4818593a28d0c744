"""Inference about mixed models for repeated measures: Kenward and Roger's method from the observed information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ...engine.batch import run
from ...errors import DataError
from ...fitting.mmrm.fit import MmrmFitted
from ...fitting.mmrm.formula import CovarianceTerm
from ...fitting.selection import Selection
from ...mmrm.adjusted import curvature_of_fixed
from ...mmrm.parameters import Reported, distinct_correlations, n_sds, powers_of_scale, reported
from ..coefficients import CoefficientInference, KenwardRoger, Vcov, chosen_inference
from ..kenward_roger import Adjustment
from ..satterthwaite import variance_covariance
from .empirical import robust_inference

MmrmDdf = Literal["satterthwaite", "kenward-roger", "kenward-roger-second", "residual"]


def mmrm_fitted(fits: Selection) -> MmrmFitted:
    """Return the fits as those of a mixed model for repeated measures."""
    assert isinstance(fits.fitted, MmrmFitted)
    return fits.fitted


def mmrm_inference(
    fits: Selection, ddf: MmrmDdf | npt.ArrayLike, vcov: Vcov = "model", cluster: str | None = None
) -> CoefficientInference:
    """Choose the inference about the coefficients; see `coefficient_inference`.

    Parameters
    ----------
    fits : Selection
    ddf : {"satterthwaite", "kenward-roger", "kenward-roger-second", "residual"}, float or array_like (p,)
        Kenward and Roger's covariance without second derivatives of Sigma, which does not depend on the parameters that
        are chosen, or with those in the parameters of SAS.
    vcov, cluster
        As of `coefficient_inference`; the clusters are the patients.

    Raises
    ------
    DataError
    """
    if isinstance(ddf, str) and ddf in ("kenward-roger", "kenward-roger-second"):
        if vcov != "model":
            raise DataError(f"Kenward-Roger's method has a covariance of its own: leave out either it or vcov={vcov!r}")
        second = ddf == "kenward-roger-second"
        rule = "Kenward-Roger df" + (" (covariance with second derivatives)" if second else "")
        return KenwardRoger(adjust(fits, second=second), rule)
    if isinstance(ddf, str) and ddf not in get_args(MmrmDdf):
        known = ", ".join(map(repr, get_args(MmrmDdf)))
        raise DataError(f"degrees of freedom {ddf!r} are not known: use {known}, a number, or one per coefficient")
    return chosen_inference(fits, ddf, robust_inference(fits, vcov, cluster))


def adjust(fits: Selection, *, second: bool) -> Adjustment:
    """Compute the adjustment of some data sets, W from the observed information as SAS PROC MIXED and mmrm have it.

    Raises
    ------
    DataError
        A fit by maximum likelihood.
    """
    if not fits.fitted.reml:
        raise DataError(
            "Kenward-Roger's method is one for REML, and this model was fitted by maximum likelihood: fit it with "
            "reml=True, or use ddf='satterthwaite'"
        )
    model, p = fits.model, len(fits.model.keep)
    weights = variance_covariance(fits)
    quadratic = np.asarray(run(curvature_of_fixed, model.batch.take(fits.index), fits.inner, weights, second=second))[
        :, :p, :p
    ]
    inverse = model.inverse[fits.index]
    # Phi X'V^-1 ... V^-1 X Phi in the user's units, Phi = inverse Phi_inner inverse' scale^2
    to_user = np.linalg.solve(inverse.swapaxes(1, 2), np.eye(p)) / model.y_scale[fits.index, None, None]
    middle = to_user @ quadratic @ to_user.swapaxes(1, 2)
    cov = fits.vcov
    moved = np.moveaxis(mmrm_fitted(fits).moved[fits.index], -1, 1)
    both = np.einsum("kab,kaij,kjl,kblm->kim", weights, moved, np.linalg.inv(cov), moved)
    added = cov @ middle @ cov - both
    return Adjustment(cov, cov + added + added.swapaxes(1, 2), moved, weights)


@dataclass(frozen=True, eq=False)
class CovarianceParameters:
    """Covariance parameters of some data sets, in the user's units, those of every group after the other.

    labels : list of (group, term), of SDs and correlations; sas_terms : those of SAS's parameters.
    sdcor, scaled_variance (K, r): SDs and correlations, and sampling variances of log SD and atanh correlation.
    sas, sas_error (K, r): SAS's parameters and their standard errors.
    n_sds : int
        SDs of a group, which come first.
    """

    labels: list[tuple[str, str]]
    sas_terms: list[str]
    sdcor: np.ndarray
    scaled_variance: np.ndarray
    sas: np.ndarray
    sas_error: np.ndarray
    n_sds: int

    @property
    def is_sd(self) -> np.ndarray:
        """Boolean (r,)."""
        return np.array([term.startswith("sd") for _, term in self.labels])


def covariance_parameters(fits: Selection) -> CovarianceParameters:
    """Find the covariance parameters of some data sets, with sampling variances by the delta method from 2 H^-1."""
    fitted = mmrm_fitted(fits)
    found: Reported = run(reported, fits.model.batch.take(fits.index), fits.inner)
    scaled, d_scaled, sas, d_sas = (np.asarray(part) for part in found)
    n_sets, g, r = scaled.shape
    e, kind, names = d_scaled.shape[-1], fitted.structure.covariance, fitted.visits.names
    n, scale = n_sds(kind, len(names)), fits.model.y_scale[fits.index]
    weights = variance_covariance(fits).reshape(n_sets, g, e, g, e)
    within = np.einsum("kgigj->kgij", weights)
    units = scale[:, None] ** powers_of_scale(kind, len(names))
    sdcor = np.concatenate([np.exp(scaled[..., :n]) * scale[:, None, None], np.tanh(scaled[..., n:])], axis=-1)
    variance, sas_variance = (
        np.einsum("kgri,kgij,kgrj->kgr", part, within, part).reshape(n_sets, g * r) for part in (d_scaled, d_sas)
    )
    sas_terms = _terms(kind, names)[1]
    return CovarianceParameters(
        parameter_labels(fitted),
        sas_terms * g,
        sdcor.reshape(n_sets, g * r),
        np.where(fitted.singular[fits.index][:, None], np.nan, variance),
        (sas * units[:, None]).reshape(n_sets, g * r),
        np.sqrt(sas_variance) * np.tile(units, g),
        n,
    )


def parameter_labels(fitted: MmrmFitted) -> list[tuple[str, str]]:
    """Group and term of the SDs and correlations of every group."""
    return labels_of(fitted.covariance_term, fitted.visits.names, fitted.visits.groups)


def labels_of(term: CovarianceTerm, visits: tuple[str, ...], groups: tuple[str, ...]) -> list[tuple[str, str]]:
    """The same of a model that is not fitted."""
    return [(group, name) for group in groups or (term.patient,) for name in _terms(term.structure, visits)[0]]


def _terms(structure: str, visits: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Names of SDs and correlations, and of SAS's parameters."""
    n, at = n_sds(structure, len(visits)), distinct_correlations(structure, len(visits))
    sds = ["sd"] if n == 1 else [f"sd__{visit}" for visit in visits]
    variances = ["variance"] if n == 1 else [f"var({visit})" for visit in visits]
    if structure in ("us", "ante1"):
        correlations = [f"{visits[t]}.{visits[s]}" for t, s in at]
        what = "cov" if structure == "us" else "cor"
        return sds + [f"cor__{pair}" for pair in correlations], variances + [
            f"{what}({visits[t]}, {visits[s]})" for t, s in at
        ]
    if structure == "cs":
        return ["sd", "cor"], ["residual variance", "common covariance"]
    if structure in ("toep", "toeph"):
        what = "cov" if structure == "toep" else "cor"
        return sds + [f"cor__lag{s}" for _, s in at], variances + [f"{what}(lag {s})" for _, s in at]
    return sds + ["cor"] * len(at), variances + ["cor"] * len(at)
