"""Outcomes that are not Gaussian: binary ones, counts, amounts and ordered categories given the linear predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..checks import Checks
from ..errors import DesignError, SimulationError
from ..fitting.responses.family import read_family
from ..fitting.responses.response import MOST_CATEGORIES
from ..glmm.families import Family, mean

checks = Checks(SimulationError)

TRIALS = "trials"  # column of the number of trials
COUNTS = ("binomial", "poisson", "negative-binomial")  # families of whole numbers
# means up to which a count is drawn: it is a 32-bit integer
MOST_MEAN = 2.0**30
# the family that each parameter belongs to
OWNERS = {"trials": "binomial", "size": "negative-binomial", "shape": "gamma", "thresholds": "ordinal"}
NEEDED = {
    "size": "size=, as in variance mu + mu^2 / size",
    "shape": "shape=, one over the squared coefficient of variation",
    "thresholds": "thresholds=, one fewer than there are categories",
}


@dataclass(frozen=True)
class Outcome:
    """Distribution of a response given the linear predictor X beta + Z b, as `remlax.glmer` models it.

    Parameters
    ----------
    family
        "binomial", "poisson", "negative-binomial" (variance mu + mu^2 / size), "gamma" (variance mu^2 / shape) or
        "ordinal" (a cumulative model); spelt as freely as for `remlax.glmer`.
    link
        "logit" (default), "probit" or "cloglog" of a binomial outcome, "logit" (default) or "probit" of an ordinal
        one, "log" of others.
    trials
        Of a binomial outcome: the response is the number of successes in so many trials, and a column ``trials``
        stands beside it, as in ``"cbind(y, trials - y) ~ x + (1 | g)"``. By default 0 or 1.
    size, shape
        Of a negative binomial and of a gamma outcome, above 0.
    thresholds
        Of an ordinal outcome: P(y <= k) = F(threshold k - eta), in increasing order. There is no intercept.
    levels
        Names of its categories from low to high, one more than thresholds; "1", "2", ... by default.

    Raises
    ------
    SimulationError
        The family or link is unknown, or a number is missing, out of range or of another family.

    References
    ----------
    McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd ed. Chapman and Hall.

    Examples
    --------
    >>> Outcome("binomial", link="probit").link
    'probit'
    >>> Outcome("ordinal", thresholds=[-1.0, 1.0], levels=["low", "middle", "high"]).parameters
    {'low|middle': -1.0, 'middle|high': 1.0}
    """

    family: str = "binomial"
    link: str | None = None
    trials: int | None = None
    size: float | None = None
    shape: float | None = None
    thresholds: Sequence[float] = ()
    levels: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.family, str) and self.family.lower() in ("gaussian", "normal"):
            raise SimulationError("A Gaussian response needs no outcome=: give the SD of its errors, sigma=.")
        try:
            own = read_family(self.family, self.link)
        except DesignError as error:
            raise SimulationError(f"Outcome: {error}.") from None
        for name, value in (("family", own.name), ("link", own.link)):
            object.__setattr__(self, name, value)
        for name in ("thresholds", "levels"):
            object.__setattr__(self, name, tuple(checks.listed(getattr(self, name), f"Outcome: {name}=", "values")))
        label = f"Outcome {own.name!r}"
        for name, family in OWNERS.items():
            given = getattr(self, name) not in (None, ())
            if given and own.name != family:
                raise SimulationError(f"{label} has no {name}=, which is one of family={family!r}.")
            if own.name == family and not given and name in NEEDED:
                raise SimulationError(f"{label} needs {NEEDED[name]}.")
        if self.trials is not None:
            checks.whole(self.trials, f"{label}: trials=")
        for name in ("size", "shape"):
            if getattr(self, name) is not None:
                checks.positive(getattr(self, name), f"{label}: {name}=")
        self._check_categories(label)

    def _check_categories(self, label: str) -> None:
        if self.family != "ordinal":
            if self.levels:
                raise SimulationError(f"{label} has no levels=, which are those of family='ordinal'.")
            return
        limits = [checks.number(limit, f"{label}: a threshold") for limit in self.thresholds]
        if len(limits) >= MOST_CATEGORIES or any(low >= high for low, high in pairwise(limits)):
            raise SimulationError(
                f"{label}: thresholds= are increasing numbers, at most {MOST_CATEGORIES - 1}, got {self.thresholds!r}."
            )
        names = [checks.text(level, f"{label}: a level") for level in self.levels]
        if not names:
            object.__setattr__(self, "levels", tuple(str(k + 1) for k in range(len(limits) + 1)))
        elif len(set(names)) != len(limits) + 1 or len(names) != len(limits) + 1:
            raise SimulationError(
                f"{label}: {len(limits)} thresholds separate {len(limits) + 1} categories; levels= needs as many "
                f"different names, got {names!r}."
            )

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters beside the coefficients and SDs, by the names that estimates of `remlax.glmer` have."""
        if self.family == "ordinal":
            pairs = pairwise(self.levels)
            return {f"{low}|{high}": float(x) for (low, high), x in zip(pairs, self.thresholds, strict=True)}
        both = {"size": self.size, "shape": self.shape}
        return {name: float(value) for name, value in both.items() if value is not None}


class OutcomeShape(NamedTuple):
    """An outcome without its numbers."""

    family: Family
    trials: bool
    levels: tuple[str, ...]


def outcome_shape(outcome: Outcome) -> OutcomeShape:
    """The part of an outcome that compiled code is made for."""
    n_shape = len(outcome.parameters)
    family = Family(outcome.family, str(outcome.link), n_shape=n_shape)
    return OutcomeShape(family, outcome.trials is not None, tuple(outcome.levels))


def outcome_numbers(outcome: Outcome | None) -> NDArray[np.float64]:
    """Size, shape or thresholds, and the number of trials: (s + 1,); empty without an outcome."""
    return np.array([] if outcome is None else [*outcome.parameters.values(), outcome.trials or 1], dtype=np.float64)


def draw_outcome(key: jax.Array, eta: jax.Array, numbers: jax.Array, shape: OutcomeShape) -> jax.Array:
    """Draw a response (n,) at linear predictors (n,), as a number: of an ordinal one the category, from 0.

    Counts whose mean is beyond `MOST_MEAN` are NaN.

    Examples
    --------
    >>> shape, numbers = outcome_shape(Outcome("poisson")), jnp.ones(1)
    >>> draw_outcome(jax.random.key(1), jnp.log(jnp.array([1.0, 100.0])), numbers, shape).shape
    (2,)
    """
    family, dtype = shape.family, eta.dtype
    own, trials = numbers[:-1], numbers[-1]
    for_rows, for_rates = jax.random.split(key)
    if family.name == "ordinal":
        law = jax.random.logistic if family.link == "logit" else jax.random.normal
        latent = eta + law(for_rows, eta.shape, dtype)
        return jnp.sum(latent[:, None] >= own[None], axis=1).astype(dtype)
    mu = mean(family, eta, own)
    if family.name == "binomial":
        if shape.trials:
            return jax.random.binomial(for_rows, trials, mu, eta.shape, dtype)
        return (jax.random.uniform(for_rows, eta.shape, dtype) < mu).astype(dtype)
    if family.name in ("gamma", "negative-binomial"):
        mu = mu * jax.random.gamma(for_rates, own[0], eta.shape, dtype) / own[0]
    if family.name == "gamma":
        return jnp.maximum(mu, np.finfo(dtype).tiny)
    held = mu <= MOST_MEAN  # infinity and NaN are not
    counts = jax.random.poisson(for_rows, jnp.where(held, mu, jnp.zeros_like(mu)), eta.shape, jnp.int32)
    return jnp.where(held, counts.astype(dtype), jnp.full((), jnp.nan, dtype))
