"""Rubin's rules and multi-parameter tests over plain arrays; knows no model.

Layer: after `core`, before `results`; imports only NumPy, SciPy and `remlax.errors`.
"""

from ..pooling._pooled_test import PooledTest as PooledTest
from ..pooling.adjust import Adjustment as Adjustment
from ..pooling.adjust import adjust_p_values as adjust_p_values
from ..pooling.adjust import dunnett_p_value as dunnett_p_value
from ..pooling.adjust import tukey_p_value as tukey_p_value
from ..pooling.boundary import at_boundary as at_boundary
from ..pooling.boundary import chibar_p_value as chibar_p_value
from ..pooling.boundary import chibar_weights as chibar_weights
from ..pooling.likelihood import Ariv as Ariv
from ..pooling.likelihood import d3 as d3
from ..pooling.likelihood import d4 as d4
from ..pooling.montecarlo import ImputationsNeeded as ImputationsNeeded
from ..pooling.montecarlo import MonteCarloError as MonteCarloError
from ..pooling.montecarlo import how_many_imputations as how_many_imputations
from ..pooling.montecarlo import jackknife_error as jackknife_error
from ..pooling.montecarlo import jackknife_spread as jackknife_spread
from ..pooling.montecarlo import mean_error as mean_error
from ..pooling.rubin import PooledColumns as PooledColumns
from ..pooling.rubin import RubinPool as RubinPool
from ..pooling.rubin import ScalarPool as ScalarPool
from ..pooling.rubin import linear as linear
from ..pooling.rubin import pool_rubin as pool_rubin
from ..pooling.rubin import pool_scalars as pool_scalars
from ..pooling.scales import FISHER_Z as FISHER_Z
from ..pooling.scales import LOG as LOG
from ..pooling.scales import LOGIT as LOGIT
from ..pooling.scales import R_SQUARED as R_SQUARED
from ..pooling.scales import REDUCTION as REDUCTION
from ..pooling.scales import Scale as Scale
from ..pooling.scales import TransformedPool as TransformedPool
from ..pooling.scales import pool_transformed as pool_transformed
from ..pooling.tests import d1 as d1
from ..pooling.tests import d2 as d2
from ..pooling.tests import wald_statistics as wald_statistics

__all__ = [
    "FISHER_Z",
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
