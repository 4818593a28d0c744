"""Results of mixed models for repeated measures."""

from .fit import MmrmFit as MmrmFit
from .fits import MmrmFitList as MmrmFitList
from .pooled import PooledMmrm as PooledMmrm
