"""Inference about the coefficients of generalised linear mixed models: Wald z tests, or given degrees of freedom."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..checks import Checks
from ..errors import DataError
from ..fitting.glmm import GlmmFitted
from ..fitting.mmrm.fit import MmrmFitted
from ..fitting.selection import Selection
from .coefficients import CoefficientInference, Ddf, GivenDf, coefficient_inference
from .mmrm.choice import MmrmDdf, mmrm_inference

Use = Literal["hessian", "rx"]


def glmm_fitted(fits: Selection) -> GlmmFitted:
    """Return the fits as those of a generalised linear mixed model."""
    assert isinstance(fits.fitted, GlmmFitted)
    return fits.fitted


def inference_of(fits: Selection, ddf: Ddf | MmrmDdf | npt.ArrayLike | None = None) -> CoefficientInference:
    """Inference about the coefficients of any model: Satterthwaite's df by default, z of generalised models."""
    if isinstance(fits.fitted, GlmmFitted):
        return glmm_inference(fits, math.inf if ddf is None else ddf)
    choose = mmrm_inference if isinstance(fits.fitted, MmrmFitted) else coefficient_inference
    return choose(fits, "satterthwaite" if ddf is None else ddf)


def glmm_inference(fits: Selection, ddf: str | npt.ArrayLike = math.inf, use: Use = "hessian") -> CoefficientInference:
    """Choose the inference about the coefficients.

    Parameters
    ----------
    fits : Selection
    ddf : "residual", float or array_like (p,), default inf
        Degrees of freedom; ``math.inf`` for z tests, "residual" for n minus the number of parameters, as mice has it.
    use : {"hessian", "rx"}, default "hessian"
        Covariance matrix from the Hessian in all parameters, or given theta, from the weighted least squares.

    Raises
    ------
    DataError
    """
    Checks().choice(use, Use, "use=")
    if isinstance(ddf, str) and ddf in ("satterthwaite", "kenward-roger"):
        raise DataError(
            f"ddf={ddf!r} is for linear mixed models: tests of a generalised one are Wald z (ddf=math.inf) or "
            "likelihood ratios (rx.anova(fits, smaller_fits, method='D4'))"
        )
    fitted = glmm_fitted(fits)
    if isinstance(ddf, str) and ddf == "residual":
        values = np.mean([n - fitted.n_parameters(k) for n, k in zip(fits.n_rows, fits.which, strict=True)])
        found = GivenDf(fits.vcov, np.full(fitted.beta.shape[1], float(values)), "residual df n - npar")
    else:
        found = coefficient_inference(fits, ddf)  # type: ignore[assignment]
        if fits.n_sets == 1 and np.isposinf(found.values).all():
            found = replace(found, rule="infinite df")
    return found if use == "hessian" else GivenDf(fitted.vcov_rx[fits.index], found.values, found.rule)
