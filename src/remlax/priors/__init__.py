"""Priors on the covariance matrices of random effects, named as in R's blme: for ``cov_prior=`` of `lmer`."""

from .distributions import CovPrior as CovPrior
from .distributions import Gamma as Gamma
from .distributions import InverseWishart as InverseWishart
from .distributions import Wishart as Wishart

__all__ = ["Gamma", "InverseWishart", "Wishart"]
