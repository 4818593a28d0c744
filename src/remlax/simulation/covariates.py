"""Covariates of generated data: their laws, levels and intraclass correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import SimulationError
from . import checks

ZERO_ONE = ("binary", "balanced")  # kinds of covariates, unless they have levels
ROUNDING = 1e-9  # of probabilities that add up to 1
KINDS = ("normal", "binary", "balanced", "index", "categorical")


@dataclass(frozen=True)
class Covariate:
    """A covariate.

    Parameters
    ----------
    name
        Its column.
    level
        None: differs from row to row; a factor's name: constant in its levels.
    mean, sd
        Marginal mean and SD. For "binary", ``mean`` is the probability of a 1, for "balanced" the share of ones;
        ``sd`` is not used.
    icc
        Share of the variance between the levels of factors, {factor: share}; what is left is the covariate's
        own level's. For "binary" and "categorical", of the variance of the latent normal variable behind it.
    kind
        "normal"; "binary": 0 or 1; "balanced": 0 or 1 in turn, as the arm of a trial of which every other cluster
        (or row, without ``level``) gets the treatment; "index": 0, 1, 2, ... within the innermost group, such as
        an occasion; "categorical": one of ``levels``. Nothing is drawn for "balanced" and "index". Rows take turns in
        the order in which they stand; where factors are crossed, as subjects and items are, within every level
        of each of them (a Latin square).
    levels
        Names of the categories, for "categorical"; or for "balanced", which then deals them in turn, as the arms of a
        trial. The first is the base level: effects are those of the others, ``{"arm[T.b]": 0.4}``.
    probabilities
        Probability of each level of a "categorical" covariate; equal if None.

    Raises
    ------
    SimulationError
        A kind is unknown, a number is out of range, or parts do not belong to the kind.

    Examples
    --------
    >>> Covariate("ses", icc={"school": 0.2}).sd
    1.0
    >>> Covariate("arm", level="clinic", kind="balanced", levels=["control", "low", "high"]).dummies
    ('arm[T.low]', 'arm[T.high]')
    """

    name: str
    level: str | None = None
    mean: float = 0.0
    sd: float = 1.0
    icc: Mapping[str, float] = field(default_factory=dict)
    kind: Literal["normal", "binary", "balanced", "index", "categorical"] = "normal"
    levels: Sequence[str] = ()
    probabilities: Sequence[float] | None = None

    def __post_init__(self) -> None:
        label = f"Covariate {checks.text(self.name, 'The name of a covariate')!r}"
        if ":" in self.name:
            raise SimulationError(f"{label}: a name has no colon, which stands for products of covariates.")
        checks.one_of(self.kind, KINDS, f"kind of {label}")
        self._check_levels(label)
        if self.level is not None:
            checks.text(self.level, f"{label}: level=")
            if self.kind == "index":
                raise SimulationError(f"{label} of kind 'index' differs from row to row: leave out level=.")
        shares = checks.mapping(self.icc, f"{label}: icc=", "{'school': 0.2}")
        for name, share in shares.items():
            checks.number(share, f"{label}: the share of variance of {name!r}", 0)
        if sum(shares.values()) > 1:
            raise SimulationError(f"{label}: shares of variance add up to at most 1, got {shares}.")
        mean = checks.number(self.mean, f"{label}: mean=")
        checks.number(self.sd, f"{label}: sd=", 0)
        if self.levels and mean != 0:
            raise SimulationError(f"{label} has levels=, which have no mean: leave out mean=.")
        if self.kind in ZERO_ONE and not self.levels and not 0 < mean < 1:
            raise SimulationError(
                f"{label}: the probability of a 1, mean=, lies between 0 and 1, got {self.mean!r}; 0.5 is even odds."
            )
        if self.kind == "balanced" and shares:
            raise SimulationError(f"{label} of kind 'balanced' is not drawn: leave out icc=.")

    def _check_levels(self, label: str) -> None:
        """Keep levels and their probabilities as tuples."""
        levels = checks.listed(self.levels, f"{label}: levels=", "texts, such as ['a', 'b', 'c']")
        if self.kind not in ("categorical", "balanced") and (levels or self.probabilities is not None):
            raise SimulationError(f"{label} of kind {self.kind!r} has no levels: choose kind='categorical'.")
        if self.kind == "categorical" or levels:
            texts = [checks.text(level, f"{label}: a level") for level in levels]
            if len(texts) < 2 or len(set(texts)) < len(texts):
                raise SimulationError(f"{label}: levels= needs two different names or more, got {self.levels!r}.")
            for level in texts:
                if ":" in level:
                    raise SimulationError(f"{label}: level {level!r} has a colon, which stands for products.")
        object.__setattr__(self, "levels", tuple(map(str, levels)))
        if self.probabilities is None:
            return
        if self.kind == "balanced":
            raise SimulationError(f"{label} of kind 'balanced' deals its levels in turn: leave out probabilities=.")
        given = checks.listed(self.probabilities, f"{label}: probabilities=", "numbers, one per level")
        shares = tuple(checks.number(share, f"{label}: a probability", 0, 1) for share in given)
        if len(shares) != len(levels) or not all(shares) or abs(math.fsum(shares) - 1) > ROUNDING:
            raise SimulationError(
                f"{label}: probabilities= needs {len(levels)} numbers above 0, one per level, that add up to 1, got "
                f"{self.probabilities!r}."
            )
        object.__setattr__(self, "probabilities", shares)

    @property
    def dummies(self) -> tuple[str, ...]:
        """Names of the indicators of its levels but the first, as `remlax.lmer` names their coefficients."""
        return tuple(f"{self.name}[T.{level}]" for level in self.levels[1:])


def effect_columns(covariates: Sequence[Covariate]) -> list[str]:
    """What effects may belong to: numeric covariates, and the indicators of the levels of others."""
    return [name for covariate in covariates for name in (covariate.dummies or (covariate.name,))]
