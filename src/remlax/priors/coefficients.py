"""Priors on coefficients, with the parameters and defaults of blme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..checks import Checks
from ..errors import DataError, shortened
from ..kernels.criterion import LOG_2PI

FixefPriorName = Literal["normal"]
INTERCEPT = "Intercept"
_checks = Checks()


def _sd(value: object) -> float:
    """An SD, which may be infinite."""
    return math.inf if isinstance(value, float) and value == math.inf else _checks.positive(value, "sd=")


@dataclass(frozen=True)
class Normal:
    """Independent normal priors of mean 0 on the coefficients; the SDs are relative to the residual SD.

    Parameters
    ----------
    sd : float, sequence of float or dict, default (10.0, 2.5)
        One number for all coefficients; two for the intercept and for all others; one per coefficient, in their order;
        or a dict from names of coefficients, of which the others have no prior. ``math.inf`` stands for no prior.

    Raises
    ------
    DataError
        An SD is no positive number.

    Notes
    -----
    blme's ``normal(sd, common.scale = TRUE)``. Two numbers there are for the first coefficient, intercept or not, and
    for the others. As SDs are relative to the residual SD, a prior of any finite SD counts in its degrees of freedom:
    only ``math.inf`` is the model without a prior.

    Examples
    --------
    >>> import remlax as rx
    >>> prior = rx.priors.Normal(sd={"Days": 0.1})
    >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy(), fixef_prior=prior)
    >>> fit.fixef().round(2).to_dict()
    {'Intercept': 254.38, 'Days': 9.81}
    """

    sd: float | Sequence[float] | Mapping[str, float] = (10.0, 2.5)

    def __post_init__(self) -> None:
        """Check the SDs and keep them as numbers."""
        given: object = self.sd
        if isinstance(given, Mapping):
            own: Any = {str(name): _sd(value) for name, value in given.items()}
        elif isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
            own = tuple(_sd(value) for value in np.asarray(given, dtype=object).ravel().tolist())
        else:
            own = _sd(given)
        object.__setattr__(self, "sd", own)

    def sds(self, names: Sequence[str]) -> np.ndarray:
        """SD of every coefficient, (p,), infinite where there is no prior.

        Raises
        ------
        DataError
            There is no coefficient of a name, or another number of them.
        """
        if isinstance(self.sd, Mapping):
            unknown = [name for name in self.sd if name not in names]
            if unknown:
                raise DataError(
                    f"fixef_prior= names {shortened(map(repr, unknown))}, and the coefficients are {shortened(names)}"
                )
            return np.array([self.sd.get(name, math.inf) for name in names])
        if not isinstance(self.sd, Sequence):
            return np.full(len(names), self.sd)
        if len(self.sd) == 2:
            return np.array([self.sd[name != INTERCEPT] for name in names])
        if len(self.sd) != len(names):
            raise DataError(
                f"fixef_prior= has {len(self.sd)} SDs for {len(names)} coefficients ({shortened(names)}): give one for "
                "all, two (intercept, others), one for each, or a dict by name"
            )
        return np.array(self.sd)

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
        sds = self.sds(names)
        own = np.flatnonzero(np.isfinite(sds))
        both = np.concatenate([inverse[:, own], -ols[:, own, None]], axis=2)
        return both / sds[own, None], own

    def penalty(self, names: Sequence[str], beta: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """-2 log density of coefficients (K, p), residual SD sigma (K,), without the SDs themselves; (K,)."""
        sds = self.sds(names)
        scale = LOG_2PI + 2 * np.log(sigma)
        return np.asarray(np.isfinite(sds).sum() * scale + np.sum((beta / sds / sigma[:, None]) ** 2, axis=1))

    def text(self) -> str:
        """The prior in words."""
        if isinstance(self.sd, Mapping):
            sds = ", ".join(f"{value:g} for {name}" for name, value in self.sd.items())
        elif not isinstance(self.sd, Sequence):
            sds = f"{self.sd:g}"
        elif len(self.sd) == 2:
            sds = f"{self.sd[0]:g} for the intercept, {self.sd[1]:g} for the others"
        else:
            sds = ", ".join(f"{value:g}" for value in self.sd)
        return f"normal (mean = 0, SD = {sds})"


def read_fixef_prior(given: FixefPriorName | Normal | None) -> Normal | None:
    """Read ``fixef_prior=``: a name stands for the prior with its defaults.

    Raises
    ------
    DataError
        There is no such prior.
    """
    if given is None or isinstance(given, Normal):
        return given
    if isinstance(given, str) and given == "normal":
        return Normal()
    raise DataError(
        f"fixef_prior={given!r} is not known: use {', '.join(map(repr, get_args(FixefPriorName)))}, or such as "
        "rx.priors.Normal(sd=2.5)"
    )


def fixef_prior_tree(prior: Normal | None) -> dict[str, Any] | None:
    """Write a prior as texts and numbers."""
    if prior is None:
        return None
    return {"name": "normal", "sd": list(prior.sd) if isinstance(prior.sd, tuple) else prior.sd}


def fixef_prior_from_tree(tree: Mapping[str, Any] | None) -> Normal | None:
    """Read it again."""
    return None if tree is None else Normal(tree["sd"])
