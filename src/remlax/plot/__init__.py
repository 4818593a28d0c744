"""Figures of fitted and pooled models, each on given axes or on new ones; those of studies are in `remlax.sim`.

matplotlib is imported when a figure is drawn; without it there is a `MissingExtraError`.
"""

import typing as _typing

from ..names import unknown_in as _unknown_in
from .estimates import forest, missing_information, trace, variance_components
from .groups import caterpillar, impact, qq_modes
from .imputation import (
    chain_plot,
    imputed_density_plot,
    imputed_icc_plot,
    imputed_quantile_plot,
    missing_map,
    overimputation_plot,
)
from .predictions import effect, spaghetti
from .profiles import zeta
from .residuals import qq_residuals, residual_fitted, scale_location
from .responses import mean_variance, p_value_histogram, variance_share_violins, volcano
from .tipping import tipping_point
from .visits import marginal_means, visit_covariance

__all__ = [
    "caterpillar",
    "chain_plot",
    "effect",
    "forest",
    "impact",
    "imputed_density_plot",
    "imputed_icc_plot",
    "imputed_quantile_plot",
    "marginal_means",
    "mean_variance",
    "missing_information",
    "missing_map",
    "overimputation_plot",
    "p_value_histogram",
    "qq_modes",
    "qq_residuals",
    "residual_fitted",
    "scale_location",
    "spaghetti",
    "tipping_point",
    "trace",
    "variance_components",
    "variance_share_violins",
    "visit_covariance",
    "volcano",
    "zeta",
]

# hidden from type checkers, for which it would make every name exist
if not _typing.TYPE_CHECKING:
    __getattr__ = _unknown_in(__name__)
