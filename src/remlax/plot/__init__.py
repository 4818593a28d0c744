"""Figures of fitted and pooled models, each on the axes it is given or on new ones; matplotlib is imported when drawn.

Figures of simulation studies are in `remlax.sim`.
"""

import typing as _typing

from ..names import unknown_in as _unknown_in
from .estimates import forest as forest
from .estimates import missing_information as missing_information
from .estimates import trace as trace
from .estimates import variance_components as variance_components
from .groups import caterpillar as caterpillar
from .groups import impact as impact
from .groups import qq_modes as qq_modes
from .imputation import chain_plot as chain_plot
from .imputation import imputed_density_plot as imputed_density_plot
from .imputation import imputed_icc_plot as imputed_icc_plot
from .imputation import imputed_quantile_plot as imputed_quantile_plot
from .imputation import missing_map as missing_map
from .imputation import overimputation_plot as overimputation_plot
from .lines import spaghetti as spaghetti
from .predictions import effect as effect
from .profiles import zeta as zeta
from .residuals import qq_residuals as qq_residuals
from .residuals import residual_fitted as residual_fitted
from .residuals import scale_location as scale_location

__all__ = [
    "caterpillar",
    "chain_plot",
    "effect",
    "forest",
    "impact",
    "imputed_density_plot",
    "imputed_icc_plot",
    "imputed_quantile_plot",
    "missing_information",
    "missing_map",
    "overimputation_plot",
    "qq_modes",
    "qq_residuals",
    "residual_fitted",
    "scale_location",
    "spaghetti",
    "trace",
    "variance_components",
    "zeta",
]

# hidden from type checkers, for which it would make every name exist
if not _typing.TYPE_CHECKING:
    __getattr__ = _unknown_in(__name__)
