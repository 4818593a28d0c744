"""Priors on covariance matrices of random effects, with the parameters and defaults of blme."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

from ..checks import Checks
from ..errors import DataError

PriorName = Literal["wishart", "invwishart", "gamma"]
PosteriorScale = Literal["sd", "var"]
# why a prior that grows with the variances may leave no maximum
TOO_FEW_LEVELS = "too few groups for a prior of infinite scale; give a finite one, as in rx.priors.Wishart(scale=10.0)"
_checks = Checks()


class Factors(NamedTuple):
    """Factors of log|S| / 2, of the SD of a single column, of tr S and of tr S^-1 in -2 log density."""

    log: float
    sd: float = 0.0
    trace: float = 0.0
    inverse: float = 0.0


def _number(value: object, what: str, *, or_infinite: bool = False) -> float:
    if or_infinite and isinstance(value, float) and value == math.inf:
        return value
    return _checks.positive(value, what)


@dataclass(frozen=True)
class Wishart:
    """Wishart prior on the covariance matrix of each random term, divided by the residual variance.

    Parameters
    ----------
    df : float, optional
        Degrees of freedom, above q + 1 for a term of q columns, so that the density is zero where a variance is; q +
        2.5 unless given.
    scale : float, default math.inf
        The scale matrix is this times the identity; infinite, the prior is improper, |S|^((df - q - 1) / 2).

    Raises
    ------
    DataError
        A parameter is no positive number.

    References
    ----------
    Chung, Y., Gelman, A., Rabe-Hesketh, S., Liu, J. and Dorie, V. (2015). J. Educ. Behav. Stat. 40, 136-157.

    Examples
    --------
    >>> import remlax as rx
    >>> prior = rx.priors.Wishart(df=4.0)
    >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy(), cov_prior=prior)
    >>> round(float(fit.theta[0]), 4)
    1.2948
    """

    df: float | None = None
    scale: float = math.inf

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.df is not None:
            _number(self.df, "df=")
        _number(self.scale, "scale=", or_infinite=True)

    def factors(self, q: int, term: str, *, has_sigma: bool) -> Factors:
        """Of a term of q columns; DataError for degrees of freedom that allow a zero variance."""
        df = q + 2.5 if self.df is None else self.df
        if df <= q + 1:
            raise DataError(
                f"the Wishart prior has df={df:g}, and {term} has {q} column{'s' * (q > 1)}: a variance of 0 is ruled "
                f"out above {q + 1} only; give a larger df, or none for {q + 2.5:g}"
            )
        return Factors(log=-2 * (df - q - 1), trace=1 / self.scale)

    def text(self, *, has_sigma: bool) -> str:
        """The prior in words."""
        df = "q + 2.5 for q columns" if self.df is None else f"{self.df:g}"
        return f"Wishart (df = {df}, scale = {self.scale:g})"


@dataclass(frozen=True)
class InverseWishart:
    """Inverse Wishart prior on the covariance matrix of each random term, divided by the residual variance.

    Parameters
    ----------
    df : float, optional
        Degrees of freedom, above q - 1 for a term of q columns; q - 0.998 unless given, q - 0.5 for generalised models.
    scale : float, optional
        The scale matrix is this times the identity; df + 0.1 unless given, 100 / (df + q + 1) for generalised models.

    Raises
    ------
    DataError
        A parameter is no positive number.

    Examples
    --------
    >>> import remlax as rx
    >>> prior = rx.priors.InverseWishart(df=3.0, scale=1.0)
    >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy(), cov_prior=prior)
    >>> round(float(fit.theta[0]), 4)
    1.0405
    """

    df: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        for value, what in ((self.df, "df="), (self.scale, "scale=")):
            if value is not None:
                _number(value, what)

    def factors(self, q: int, term: str, *, has_sigma: bool) -> Factors:
        """Of a term of q columns; DataError for degrees of freedom of which there is no such distribution."""
        df = self.df
        if df is None:
            df = q - 0.998 if has_sigma else q - 0.5
        if df <= q - 1:
            raise DataError(
                f"the inverse Wishart prior has df={df:g}, and {term} has {q} columns: give a df above {q - 1}"
            )
        scale = self.scale
        if scale is None:
            scale = df + 0.1 if has_sigma else 100 / (df + q + 1)
        return Factors(log=2 * (df + q + 1), inverse=scale)

    def text(self, *, has_sigma: bool) -> str:
        """The prior in words."""
        default_df, default_scale = ("q - 0.998", "df + 0.1") if has_sigma else ("q - 0.5", "100 / (df + q + 1)")
        df = f"{default_df} for q columns" if self.df is None else f"{self.df:g}"
        scale = default_scale if self.scale is None else f"{self.scale:g}"
        return f"inverse Wishart (df = {df}, scale = {scale})"


@dataclass(frozen=True)
class Gamma:
    """Gamma prior on the SD of each random term, divided by the residual SD; for terms of one column.

    Parameters
    ----------
    shape : float, default 2.5
        Above 1, so that the density is zero where the SD is.
    rate : float, default 0.0
        At 0 the prior is improper: the SD to the power of shape - 1.
    posterior_scale : {"sd", "var"}, default "sd"
        Whether the prior is on the SD or on the variance.

    Raises
    ------
    DataError
        The shape is not above 1, the rate is negative, or another scale.

    References
    ----------
    Chung, Y., Rabe-Hesketh, S., Dorie, V., Gelman, A. and Liu, J. (2013). Psychometrika 78, 685-709.

    Examples
    --------
    >>> import remlax as rx
    >>> prior = rx.priors.Gamma(shape=2.0, rate=0.5)
    >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy(), cov_prior=prior)
    >>> round(float(fit.theta[0]), 4)
    1.2156
    """

    shape: float = 2.5
    rate: float = 0.0
    posterior_scale: PosteriorScale = "sd"

    def __post_init__(self) -> None:
        """Check the parameters."""
        if _number(self.shape, "shape=") <= 1:
            raise DataError(f"shape={self.shape!r} must be above 1: the density has to be zero where the SD is")
        _checks.number(self.rate, "rate=", 0.0)
        _checks.choice(self.posterior_scale, PosteriorScale, "posterior_scale=")

    def factors(self, q: int, term: str, *, has_sigma: bool) -> Factors:
        """Of a term; DataError where it has several columns."""
        if q > 1:
            raise DataError(
                f"the gamma prior is for random terms of one column, and {term} has {q}: use cov_prior='wishart', "
                "which by default is the same for one column and serves any number"
            )
        if self.posterior_scale == "sd":
            return Factors(log=-2 * (self.shape - 1), sd=2 * self.rate)
        return Factors(log=-4 * (self.shape - 1), trace=2 * self.rate)

    def text(self, *, has_sigma: bool) -> str:
        """The prior in words."""
        what = "SD" if self.posterior_scale == "sd" else "variance"
        return f"gamma (shape = {self.shape:g}, rate = {self.rate:g}) of the {what}"


CovPrior = Wishart | InverseWishart | Gamma
PRIORS: dict[str, type[CovPrior]] = {"wishart": Wishart, "invwishart": InverseWishart, "gamma": Gamma}


def read_cov_prior(given: PriorName | CovPrior | None) -> CovPrior | None:
    """Read ``cov_prior=``: a name stands for the prior with its defaults.

    Raises
    ------
    DataError
        There is no such prior.
    """
    if given is None or isinstance(given, CovPrior):
        return given
    if isinstance(given, str) and given in PRIORS:
        return PRIORS[given]()
    raise DataError(
        f"cov_prior={given!r} is not known: use {', '.join(map(repr, get_args(PriorName)))}, or such as "
        "rx.priors.Wishart(df=4.0)"
    )


def prior_tree(prior: CovPrior | None) -> dict[str, Any] | None:
    """Write a prior as texts and numbers."""
    if prior is None:
        return None
    (name,) = (name for name, kind in PRIORS.items() if isinstance(prior, kind))
    return {"name": name, "parameters": asdict(prior)}


def prior_from_tree(tree: Mapping[str, Any] | None) -> CovPrior | None:
    """Read it again."""
    return None if tree is None else PRIORS[tree["name"]](**tree["parameters"])
