"""Priors on coefficients, with the parameters and defaults of blme."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ..checks import Checks
from ..errors import DataError, shortened

FixefPriorName = Literal["normal", "t"]
INTERCEPT = "Intercept"
_checks = Checks()


def _scale(value: object, what: str) -> float:
    """An SD or a scale, which may be infinite."""
    return math.inf if isinstance(value, float) and value == math.inf else _checks.positive(value, what)


def _scales(given: object, what: str) -> Any:
    """SDs or scales as numbers: one, several, or by name."""
    if isinstance(given, Mapping):
        return {str(name): _scale(value, what) for name, value in given.items()}
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        return tuple(_scale(value, what) for value in np.asarray(given, dtype=object).ravel().tolist())
    return _scale(given, what)


class FixefPrior(ABC):
    """A prior on the coefficients with a scale for each."""

    _word: ClassVar[str]

    @property
    @abstractmethod
    def given_scales(self) -> float | Sequence[float] | Mapping[str, float]:
        """SDs or scales, as they were given."""

    def scales(self, names: Sequence[str]) -> np.ndarray:
        """SD or scale of every coefficient, (p,), infinite where there is no prior.

        Raises
        ------
        DataError
            There is no coefficient of a name, or another number of them.
        """
        given = self.given_scales
        if isinstance(given, Mapping):
            unknown = [name for name in given if name not in names]
            if unknown:
                raise DataError(
                    f"fixef_prior= names {shortened(map(repr, unknown))}, and the coefficients are {shortened(names)}"
                )
            return np.array([given.get(name, math.inf) for name in names])
        if not isinstance(given, Sequence):
            return np.full(len(names), given)
        if len(given) == 2:
            return np.array([given[name != INTERCEPT] for name in names])
        if len(given) != len(names):
            raise DataError(
                f"fixef_prior= has {len(given)} {self._word}s for {len(names)} coefficients ({shortened(names)}): give "
                "one for all, two (intercept, others), one for each, or a dict by name"
            )
        return np.array(given)

    def rows(self, names: Sequence[str], inverse: np.ndarray, ols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of [X y] that stand for the prior, where beta = ols + inverse @ gamma.

        Parameters
        ----------
        names : sequence of str
        inverse : ndarray (K, p, p)
        ols : ndarray (K, p)

        Returns
        -------
        rows : ndarray (K, r, p + 1)
            In the coordinates of gamma.
        own : ndarray of int (r,)
            Their coefficients.
        """
        scales = self.scales(names)
        own = np.flatnonzero(np.isfinite(scales))
        both = np.concatenate([inverse[:, own], -ols[:, own, None]], axis=2)
        return both / scales[own, None], own

    def distance(self, names: Sequence[str], beta: np.ndarray) -> np.ndarray:
        """Sum of squares of coefficients (K, p) over their scales, (K,)."""
        return np.asarray(np.sum((beta / self.scales(names)) ** 2, axis=1))

    def _listed(self) -> str:
        given = self.given_scales
        if isinstance(given, Mapping):
            return ", ".join(f"{value:g} for {name}" for name, value in given.items())
        if not isinstance(given, Sequence):
            return f"{given:g}"
        if len(given) == 2:
            return f"{given[0]:g} for the intercept, {given[1]:g} for the others"
        return ", ".join(f"{value:g}" for value in given)

    @abstractmethod
    def text(self) -> str:
        """The prior in words."""


@dataclass(frozen=True)
class Normal(FixefPrior):
    """Independent normal priors of mean 0 on the coefficients.

    Parameters
    ----------
    sd : float, sequence of float or dict, default (10.0, 2.5)
        Of linear models relative to the residual SD. One number for all coefficients; two for the intercept and for all
        others; one per coefficient, in their order; or a dict from names of coefficients, of which the others have no
        prior. ``math.inf`` stands for no prior.

    Raises
    ------
    DataError
        An SD is no positive number.

    Notes
    -----
    blme's ``normal(sd)``, for linear models with ``common.scale = TRUE``. Two numbers there are for the first
    coefficient, intercept or not, and for the others. As SDs of linear models are relative to the residual SD, a prior
    of any finite SD counts in its degrees of freedom: only ``math.inf`` is the model without a prior.

    Examples
    --------
    >>> import remlax as rx
    >>> prior = rx.priors.Normal(sd={"Days": 0.1})
    >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy(), fixef_prior=prior)
    >>> fit.fixef().round(2).to_dict()
    {'Intercept': 254.38, 'Days': 9.81}
    """

    sd: float | Sequence[float] | Mapping[str, float] = (10.0, 2.5)
    _word = "SD"

    def __post_init__(self) -> None:
        """Check the SDs and keep them as numbers."""
        object.__setattr__(self, "sd", _scales(self.sd, "sd="))

    @property
    def given_scales(self) -> float | Sequence[float] | Mapping[str, float]:
        """SDs, as they were given."""
        return self.sd

    def text(self) -> str:
        """The prior in words."""
        return f"normal (mean = 0, SD = {self._listed()})"


@dataclass(frozen=True)
class StudentT(FixefPrior):
    """Multivariate t prior of location 0 on the coefficients, which pulls less at large ones than a normal prior.

    Parameters
    ----------
    df : float, default 3.0
        Degrees of freedom.
    scale : float, sequence of float or dict, default (10.0, 2.5)
        Square roots of the diagonal of the scale matrix, of linear models relative to the residual SD: numbers as those
        of `Normal`. The SD of a coefficient is its scale times ``sqrt(df / (df - 2))``.

    Raises
    ------
    DataError
        A parameter is no positive number.

    Notes
    -----
    blme's ``t(df, scale)``, whose scales are the squares of these. The estimates are the mode: those under a normal
    prior of which all precisions are multiplied by one weight, (df + d) / (df + s), where d coefficients have a prior
    and s is the sum of their squares over those of the scales (and over the residual variance). Linear models are
    fitted by maximum likelihood; their standard errors take the weight for known, where blme leaves the prior out.

    Examples
    --------
    >>> import remlax as rx
    >>> prior = rx.priors.StudentT(df=3.0, scale={"Days": 0.1})
    >>> data = rx.datasets.sleepstudy()
    >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", data, reml=False, fixef_prior=prior)
    >>> fit.fixef().round(2).to_dict()
    {'Intercept': 252.3, 'Days': 10.27}
    """

    df: float = 3.0
    scale: float | Sequence[float] | Mapping[str, float] = (10.0, 2.5)
    _word = "scale"

    def __post_init__(self) -> None:
        """Check the parameters and keep them as numbers."""
        object.__setattr__(self, "df", _checks.positive(self.df, "df="))
        object.__setattr__(self, "scale", _scales(self.scale, "scale="))

    @property
    def given_scales(self) -> float | Sequence[float] | Mapping[str, float]:
        """Scales, as they were given."""
        return self.scale

    def weight(self, distance: np.ndarray, d: int) -> np.ndarray:
        """Factor of the precisions of d coefficients under which a normal prior has the same slope, (K,)."""
        return np.asarray((self.df + d) / (self.df + distance))

    def density(self, distance: np.ndarray, d: int) -> np.ndarray:
        """-2 log density of d coefficients at a distance (K,), without constants and the residual SD."""
        return np.asarray((self.df + d) * np.log1p(distance / self.df))

    def text(self) -> str:
        """The prior in words."""
        return f"t (df = {self.df:g}, location = 0, scale = {self._listed()})"


FIXEF_PRIORS: dict[str, type[Normal | StudentT]] = {"normal": Normal, "t": StudentT}


def read_fixef_prior(given: FixefPriorName | Normal | StudentT | None) -> Normal | StudentT | None:
    """Read ``fixef_prior=``: a name stands for the prior with its defaults.

    Raises
    ------
    DataError
        There is no such prior.
    """
    if given is None or isinstance(given, Normal | StudentT):
        return given
    if isinstance(given, str) and given in FIXEF_PRIORS:
        return FIXEF_PRIORS[given]()
    raise DataError(
        f"fixef_prior={given!r} is not known: use {', '.join(map(repr, get_args(FixefPriorName)))}, or such as "
        "rx.priors.Normal(sd=2.5)"
    )


def fixef_prior_tree(prior: Normal | StudentT | None) -> dict[str, Any] | None:
    """Write a prior as texts and numbers."""
    if prior is None:
        return None
    (name,) = (name for name, kind in FIXEF_PRIORS.items() if isinstance(prior, kind))
    return {"name": name} | {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(prior).items()}


def fixef_prior_from_tree(tree: Mapping[str, Any] | None) -> Normal | StudentT | None:
    """Read it again."""
    if tree is None:
        return None
    return FIXEF_PRIORS[tree["name"]](**{key: value for key, value in tree.items() if key != "name"})
