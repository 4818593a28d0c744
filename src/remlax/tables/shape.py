"""Shape parameters of the response as rows of the table of variance parameters, of one fit and pooled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from ..fitting.selection import Selection
from ..inference.shape_parameters import shape_parameters
from ..pooling import pool_transformed
from .coefficients import transformed_columns

# group of these rows
RESPONSE = "Response"


def shape_rows(fits: Selection, conf_level: float) -> pd.DataFrame:
    """Size, shape or thresholds: estimate, standard error and limits from their scale; empty where there are none."""
    names = fits.fitted.shape_names
    if not names:
        return pd.DataFrame()
    found = shape_parameters(fits)
    table = pd.DataFrame({"group": RESPONSE, "term": names})
    if fits.n_sets > 1:
        pooled = pool_transformed(found.value, found.variance, found.scale, conf_level=conf_level, names=names)
        return pd.concat([table, transformed_columns(pooled)], axis=1).assign(n_boundary=0)
    phi, error = found.scale.forward(found.value[0]), np.sqrt(found.variance[0])
    half = scipy.special.ndtri((1 + conf_level) / 2) * error
    return table.assign(
        estimate=found.value[0],
        std_error=found.scale.inverse_derivative(phi) * error,
        conf_low=found.scale.inverse(phi - half),
        conf_high=found.scale.inverse(phi + half),
    )


def shape_values(fits: Selection) -> np.ndarray:
    """Estimates of the shape parameters, (K, s)."""
    return shape_parameters(fits).value if fits.fitted.shape_names else np.zeros((fits.n_sets, 0))
