"""Labelled results: one fit, a list of fits, the pooled model."""

from .fit import LmerFit as LmerFit
from .fit import OptSummary as OptSummary
from .fit_list import LmerFitList as LmerFitList
from .pooled import PooledLmer as PooledLmer
from .printing import Summary as Summary
