"""Monte Carlo errors of pooled coefficients and variance parameters."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ..errors import PoolingError, PoolingWarning, quiet
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..pooling import RubinPool, jackknife_error, jackknife_spread
from .checks import checks
from .variance import ran_pars_table

ErrorsOf = Literal["fixed", "ran_pars"]


def ran_pars_errors(fits: Selection, conf_level: float) -> pd.DataFrame:
    """Monte Carlo errors of pooled variance parameters: the table without each imputation in turn."""
    if fits.n_sets < 3:
        raise PoolingError("The jackknife over imputations needs at least three of them, and there are two.")
    with quiet(PoolingWarning):
        # the table of all imputations says what is on the boundary
        parts = [fits.take(k for k in fits.which if k != out) for out in fits.which]
        tables = [ran_pars_table(part, conf_level, "sdcor") for part in parts]
    left_out = ["n_used", "n_boundary"]
    numbers = tables[0].select_dtypes("number").columns.drop(left_out)
    without = np.stack([table[numbers].to_numpy().reshape(-1) for table in tables])
    error = jackknife_spread(without).reshape(len(tables[0]), -1)
    return pd.concat([tables[0][["group", "term", "scale"]], pd.DataFrame(error, columns=numbers)], axis=1)


def monte_carlo_errors(
    fits: Selection, within: CoefficientInference, rubin: RubinPool, effects: ErrorsOf
) -> pd.DataFrame:
    """Monte Carlo errors of pooled numbers; see ``PooledLmer.mcerror``."""
    checks.choice(effects, ErrorsOf, "effects=")
    if effects == "ran_pars":
        return ran_pars_errors(fits, rubin.conf_level)
    variances = np.diagonal(within.vcov, axis1=1, axis2=2)
    found = jackknife_error(fits.beta, variances, dfcom=rubin.dfcom, conf_level=rubin.conf_level)
    names = ("estimate", "std_error", "statistic", "df", "p_value", "conf_low", "conf_high", "riv", "lambda_", "fmi")
    table = pd.DataFrame({"term": fits.model.fixed_names, **{name.rstrip("_"): getattr(found, name) for name in names}})
    table.loc[np.isnan(rubin.std_error), list(table.columns[2:])] = np.nan
    return table
