"""Figures of fitted and pooled models, each on the axes it is given or on new ones; matplotlib is imported when drawn.

Figures of simulation studies are in `remlax.sim`.
"""

from .estimates import forest as forest
from .estimates import missing_information as missing_information
from .estimates import trace as trace
from .estimates import variance_components as variance_components
from .groups import caterpillar as caterpillar
from .groups import impact as impact
from .groups import qq_modes as qq_modes
from .groups import spaghetti as spaghetti
from .predictions import effect as effect
from .residuals import qq_residuals as qq_residuals
from .residuals import residual_fitted as residual_fitted
from .residuals import scale_location as scale_location

__all__ = [
    "caterpillar",
    "effect",
    "forest",
    "impact",
    "missing_information",
    "qq_modes",
    "qq_residuals",
    "residual_fitted",
    "scale_location",
    "spaghetti",
    "trace",
    "variance_components",
]
