"""Rubin's rules and multi-parameter tests over plain arrays; knows no model."""

from .adjust import Adjustment, adjust_p_values, dunnett_p_value, tukey_p_value
from .boundary import at_boundary, chibar_p_value, chibar_weights
from .likelihood import Ariv, d3, d4
from .montecarlo import (
    ImputationsNeeded,
    MonteCarloError,
    how_many_imputations,
    jackknife_error,
    jackknife_spread,
    mean_error,
)
from .multiparameter import PooledTest, d1, d2, wald_statistics
from .rubin import PooledColumns, RubinPool, ScalarPool, linear, pool_rubin, pool_scalars
from .scales import FISHER_Z, IDENTITY, LOG, LOGIT, R_SQUARED, REDUCTION, Scale, TransformedPool, pool_transformed

__all__ = [
    "FISHER_Z",
    "IDENTITY",
    "LOG",
    "LOGIT",
    "REDUCTION",
    "R_SQUARED",
    "Adjustment",
    "Ariv",
    "ImputationsNeeded",
    "MonteCarloError",
    "PooledColumns",
    "PooledTest",
    "RubinPool",
    "ScalarPool",
    "Scale",
    "TransformedPool",
    "adjust_p_values",
    "at_boundary",
    "chibar_p_value",
    "chibar_weights",
    "d1",
    "d2",
    "d3",
    "d4",
    "dunnett_p_value",
    "how_many_imputations",
    "jackknife_error",
    "jackknife_spread",
    "linear",
    "mean_error",
    "pool_rubin",
    "pool_scalars",
    "pool_transformed",
    "tukey_p_value",
    "wald_statistics",
]
