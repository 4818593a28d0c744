"""Shape parameters of the response of generalised linear mixed models: size, shape, thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fitting.glmm import endless_size
from ..fitting.selection import Selection
from ..pooling import IDENTITY, LOG, Scale
from .glmm import glmm_fitted


@dataclass(frozen=True, eq=False)
class ShapeParameters:
    """The s shape parameters of K data sets: values (K, s), and sampling variances (K, s) on the scale."""

    value: np.ndarray
    variance: np.ndarray
    scale: Scale


def shape_parameters(fits: Selection) -> ShapeParameters:
    """Sizes and shapes, whose logarithms the models are fitted in, or thresholds as they are."""
    fitted = glmm_fitted(fits)
    own, s = fitted.shape[fits.index], fitted.family.n_shape
    variance = np.diagonal(fitted.joint[fits.index], axis1=1, axis2=2)[:, -s:]
    # on the boundary there is no standard error
    variance = np.where(endless_size(fitted.family, own)[:, None], np.nan, variance)
    if fitted.family.name == "ordinal":
        return ShapeParameters(own, variance, IDENTITY)
    return ShapeParameters(np.exp(own), variance, LOG)
