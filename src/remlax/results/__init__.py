"""Labelled results: one fit, a list of fits, the pooled model."""

from ..predict.observations import wiggle as wiggle
from ..tables.printing import Summary as Summary
from .anova import anova as anova
from .convergence import OptSummary as OptSummary
from .fit import LmerFit as LmerFit
from .fits import LmerFitList as LmerFitList
from .glmer import GlmerFit as GlmerFit
from .glmer import GlmerFitList as GlmerFitList
from .glmer import PooledGlmer as PooledGlmer
from .imputations_needed import how_many_imputations as how_many_imputations
from .mmrm import MmrmFit as MmrmFit
from .mmrm import MmrmFitList as MmrmFitList
from .mmrm import PooledMmrm as PooledMmrm
from .model_table import ModelTable as ModelTable
from .model_table import model_table as model_table
from .pooled import PooledLmer as PooledLmer
