"""Monte Carlo error of pooled tables: the jackknife over imputations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import PoolingError, PoolingWarning, quiet
from ..fitting.selection import Selection
from ..pooling import jackknife_error, jackknife_spread
from .variance import pooled_ran_pars


def fixed_errors(
    terms: Sequence[str], betas: np.ndarray, variances: np.ndarray, dfcom: np.ndarray, conf_level: float
) -> pd.DataFrame:
    """Monte Carlo errors of pooled coefficients, from estimates and variances (K, p)."""
    found = jackknife_error(betas, variances, dfcom=dfcom, conf_level=conf_level)
    names = ("estimate", "std_error", "statistic", "df", "p_value", "conf_low", "conf_high", "riv", "lambda_", "fmi")
    return pd.DataFrame({"term": list(terms), **{name.rstrip("_"): getattr(found, name) for name in names}})


def ran_pars_errors(fits: Selection, conf_level: float) -> pd.DataFrame:
    """Monte Carlo errors of pooled variance parameters: the table without each imputation in turn.

    Raises
    ------
    PoolingError
        Fewer than three imputations.
    """
    if fits.n_sets < 3:
        raise PoolingError("The jackknife over imputations needs at least three of them, and there are two.")
    with quiet(PoolingWarning):
        # the table of all imputations says what is on the boundary
        tables = [
            pooled_ran_pars(fits.take([k for k in fits.which if k != out]), conf_level, "sdcor") for out in fits.which
        ]
    left_out = ["n_used", "n_boundary"]
    numbers = tables[0].select_dtypes("number").columns.drop(left_out)
    without = np.stack([table[numbers].to_numpy().reshape(-1) for table in tables])
    error = jackknife_spread(without).reshape(len(tables[0]), -1)
    return pd.concat([tables[0][["group", "term", "scale"]], pd.DataFrame(error, columns=numbers)], axis=1)
