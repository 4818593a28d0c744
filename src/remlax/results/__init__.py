"""Labelled results: one fit, a list of fits, the pooled model."""

from .anova import anova as anova
from .cases import wiggle as wiggle
from .fit import LmerFit as LmerFit
from .fit_list import LmerFitList as LmerFitList
from .imputations_needed import how_many_imputations as how_many_imputations
from .load import load as load
from .model_table import ModelTable as ModelTable
from .model_table import model_table as model_table
from .opt import OptSummary as OptSummary
from .pooled import PooledLmer as PooledLmer
from .printing import Summary as Summary
