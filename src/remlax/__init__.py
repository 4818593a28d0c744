"""Fit linear and generalised linear mixed models to many data sets at once in JAX, and pool them.

The subpackages ``impute`` (missing data) and ``sim`` (simulation studies) are imported when they are first used, as in
``rx.impute.emb(data)``.
"""

import importlib as _importlib
import logging as _logging
import typing as _typing

from . import core as core
from . import errors as errors
from . import priors as priors
from ._version import __version__ as __version__
from .api import lmer as lmer
from .api import lmer_list as lmer_list
from .api_glmer import glmer as glmer
from .api_glmer import glmer_list as glmer_list
from .api_load import load as load
from .api_mmrm import mmrm as mmrm
from .api_mmrm import mmrm_list as mmrm_list
from .api_survey import lmer_survey as lmer_survey
from .cache import enable_compilation_cache as enable_compilation_cache
from .data import ImputedData as ImputedData
from .data import datasets as datasets
from .errors import DroppedRowsWarning as DroppedRowsWarning
from .errors import IdentifiabilityWarning as IdentifiabilityWarning
from .errors import RankDeficientWarning as RankDeficientWarning
from .errors import RemlaxError as RemlaxError
from .errors import RemlaxWarning as RemlaxWarning
from .errors import SingularFitWarning as SingularFitWarning
from .kernels.lbfgs import LBFGS as LBFGS
from .kernels.newton import Newton as Newton
from .names import unknown_in as _unknown_in
from .results import GlmerFit as GlmerFit
from .results import GlmerFitList as GlmerFitList
from .results import LmerFit as LmerFit
from .results import LmerFitList as LmerFitList
from .results import MmrmFit as MmrmFit
from .results import MmrmFitList as MmrmFitList
from .results import ModelTable as ModelTable
from .results import PooledGlmer as PooledGlmer
from .results import PooledLmer as PooledLmer
from .results import PooledMmrm as PooledMmrm
from .results import anova as anova
from .results import how_many_imputations as how_many_imputations
from .results import model_table as model_table
from .results import wiggle as wiggle
from .survey import SurveyFit as SurveyFit
from .versions import show_versions as show_versions

__all__ = [
    "LBFGS",
    "DroppedRowsWarning",
    "GlmerFit",
    "GlmerFitList",
    "IdentifiabilityWarning",
    "ImputedData",
    "LmerFit",
    "LmerFitList",
    "LmerMany",
    "MmrmFit",
    "MmrmFitList",
    "ModelTable",
    "Newton",
    "PooledGlmer",
    "PooledLmer",
    "PooledMmrm",
    "RankDeficientWarning",
    "RemlaxError",
    "RemlaxWarning",
    "SingularFitWarning",
    "SurveyFit",
    "__version__",
    "anova",
    "bootstrap",
    "cluster_mean",
    "core",
    "datasets",
    "enable_compilation_cache",
    "errors",
    "explore",
    "glmer",
    "glmer_list",
    "how_many_imputations",
    "impute",
    "lmer",
    "lmer_list",
    "lmer_many",
    "lmer_survey",
    "load",
    "mmrm",
    "mmrm_list",
    "model_table",
    "plot",
    "priors",
    "read_imputations",
    "read_spss",
    "refit",
    "show_versions",
    "sim",
    "simulate",
    "wiggle",
    "write_imputations",
]


# Silent unless the user configures logging
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

# Imported when first asked for: fits do not need them, and importing remlax stays cheap
_LAZY = {
    "LmerMany": ".many.result",
    "bootstrap": ".simulation.bootstrap",
    "cluster_mean": ".impute",
    "explore": ".explorer.explore",
    "impute": ".impute",
    "lmer_many": ".api_many",
    "plot": ".plot",
    "read_imputations": ".data.readers",
    "read_spss": ".data.readers",
    "refit": ".simulation.responses",
    "sim": ".sim",
    "simulate": ".simulation.responses",
    "write_imputations": ".data.readers",
}
_refuse = _unknown_in(__name__, LmerFit)


def __getattr__(name: str) -> _typing.Any:
    """Import a subpackage, or the module of a function, when it is first asked for."""
    if name not in _LAZY:
        _refuse(name)
    module = _importlib.import_module(_LAZY[name], __name__)
    return module if name in ("impute", "plot", "sim") else getattr(module, name)


def __dir__() -> list[str]:
    """List the public names, those not imported yet included."""
    return sorted({*globals(), *__all__})
