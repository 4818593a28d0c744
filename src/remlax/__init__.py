"""Fit linear mixed models to many data sets at once by REML in JAX, and pool them."""

from . import core as core
from ._version import __version__ as __version__
from .api import lmer as lmer
from .api import lmer_list as lmer_list
from .core.optimize import LBFGS as LBFGS
from .core.optimize import Newton as Newton
from .data import ImputedData as ImputedData
from .data import datasets as datasets
from .results import LmerFit as LmerFit
from .results import LmerFitList as LmerFitList
from .results import PooledLmer as PooledLmer

__all__ = [
    "LBFGS",
    "ImputedData",
    "LmerFit",
    "LmerFitList",
    "Newton",
    "PooledLmer",
    "__version__",
    "core",
    "datasets",
    "lmer",
    "lmer_list",
]
