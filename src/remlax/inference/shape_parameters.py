"""Shape parameters of the response of generalised linear mixed models: size, shape, thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..pooling import IDENTITY, LOG, Scale
from .glmm import glmm_fitted


@dataclass(frozen=True, eq=False)
class ShapeParameters:
    """The s shape parameters of K data sets: values (K, s), and sampling variances (K, s) on the scale.

    An infinite size has no variance.
    """

    value: np.ndarray
    variance: np.ndarray
    scale: Scale


def shape_parameters(fits: Selection) -> ShapeParameters:
    """Sizes and shapes, whose logarithms the models are fitted in, or thresholds as they are."""
    fitted = glmm_fitted(fits)
    own = fitted.shape[fits.index]
    variance = np.stack([_variances(fitted, k) for k in fits.which])
    if fitted.family.name == "ordinal":
        return ShapeParameters(own, variance, IDENTITY)
    endless = fitted.endless_size[fits.index][:, None]
    return ShapeParameters(np.where(endless, np.inf, np.exp(own)), np.where(endless, np.nan, variance), LOG)


def _variances(fitted: GlmmFitted, k: int) -> np.ndarray:
    """Sampling variances (s,) of the shape parameters of one data set, thresholds those of the user's columns."""
    d, p = fitted.theta_map.n_theta, len(fitted.model.keep)
    by = np.eye(len(fitted.joint[k]))[d + p :]
    by[:, d : d + p] = fitted.centre[k] @ fitted.model.inverse[k]
    return np.asarray(np.einsum("sa,ab,sb->s", by, fitted.joint[k], by))
