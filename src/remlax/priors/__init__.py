"""Priors named as in R's blme: on covariance matrices, for ``cov_prior=`` of `lmer`, and on coefficients.

The latter are for ``fixef_prior=``.
"""

from .coefficients import Normal as Normal
from .coefficients import StudentT as StudentT
from .distributions import CovPrior as CovPrior
from .distributions import Gamma as Gamma
from .distributions import InverseWishart as InverseWishart
from .distributions import Wishart as Wishart

__all__ = ["Gamma", "InverseWishart", "Normal", "StudentT", "Wishart"]
