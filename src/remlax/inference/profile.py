"""Profile likelihood of SDs, correlations, sigma and coefficients: all parameters of all data sets in one batch.

As lme4's ``profile``, of the ML deviance, also of a REML fit. zeta is the signed square root of the rise of the
deviance when a parameter is held at a value and all others are at their best (Bates et al. 2015, section 5.1). Both
sides of every profile are walked at once, one value of each in a stage, and every search starts at its neighbour's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import scipy

from ..fitting.checks import refuse_prior
from ..fitting.selection import Selection
from ..progress import progress
from .constrained import LEAST_STARTS, ConstrainedFits, Parameter, Question, parameters_of

# zeta between neighbours, and how far profiles go at least: what is drawn and limits of other levels lie between
STEP, REACH = 0.5, 3.0
# gaps beyond so many steps get a point inside
WIDE = 1.7
# a point this close to the limit in zeta settles it, or neighbours this close as a share of the way
CLOSE, TINY = 1e-4, 1e-5
MOST_POINTS, MOST_FAILURES = 40, 4


class HeldProblems(Protocol):
    """Searches with one parameter of one data set held at a value, many at once."""

    def solve(self, asked: list[Question], near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Deviance (N,), NaN where none was found, and coordinates (N, c), from starts, or elsewhere where NaN."""

    def first(self, question: Question) -> tuple[float, np.ndarray]:
        """About a standard error, on the scale of ``Parameter.scaled``, and coordinates (c,) at the estimates."""


def profile(fits: Selection, conf_level: float) -> list[list[ProfileTable]]:
    """Profile every parameter of each data set, in the order of `parameters_of`, beyond the limits of the level."""
    refuse_prior(fits.model.prior_arguments, "a profile is one of the likelihood")
    parameters = parameters_of(fits.fitted)
    lost, _ = fits.fitted.redundancies.parameters(fits.index)
    lost = np.pad(lost, ((0, 0), (0, fits.fitted.beta.shape[1])))
    problems, lowest, estimate = _estimates(fits, parameters)
    return walked(problems, parameters, lowest, estimate, conf_level, lost)


def walked(
    problems: HeldProblems,
    parameters: Sequence[Parameter],
    lowest: np.ndarray,
    estimate: np.ndarray,
    conf_level: float,
    lost: np.ndarray | None = None,
) -> list[list[ProfileTable]]:
    """Walk both sides of every profile.

    Parameters
    ----------
    problems : HeldProblems
    parameters : sequence of Parameter, P of them
    lowest : ndarray (K,)
        Deviance at the estimates.
    estimate : ndarray (K, P)
    conf_level : float
    lost : ndarray of bool (K, P), optional
        Parameters that the data do not identify, which have no profile.
    """
    cut = float(scipy.special.ndtri((1 + conf_level) / 2))
    known = np.ones(estimate.shape, bool) if lost is None else ~lost
    owner = [(int(k), int(j)) for k, j in zip(*np.nonzero(known), strict=True) for _ in (-1, 1)]
    with progress(len(owner), "sides") as tell:
        sides = [
            _first_side(problems, (k, parameters[j], float(estimate[k, j])), (-1, 1)[i % 2], lowest[k])
            for i, (k, j) in enumerate(owner)
        ]
        while not all(side.settled for side in sides):
            before = sum(side.settled for side in sides)
            sides = _stage(problems, sides, owner, cut)
            tell(sum(side.settled for side in sides) - before)
    caps = _caps(sides, owner)
    tables = [[ProfileTable(*pair) for pair in zip(parameters, map(float, row), strict=True)] for row in estimate]
    for i in range(0, len(sides), 2):
        (k, j), below, above = owner[i], sides[i], sides[i + 1]
        value = np.concatenate([below.value[1:], above.value[1:]])
        rise = np.concatenate([below.deviance[1:], above.deviance[1:]]) - lowest[k]
        tables[k][j] = make_table(parameters[j], estimate[k, j], value, np.minimum(rise, caps[i] ** 2))
    return tables


def _estimates(fits: Selection, parameters: list[Parameter]) -> tuple[ConstrainedFits, np.ndarray, np.ndarray]:
    """Find the ML estimates from several starts: searches from there, deviance (K,) and all parameters (K, P)."""
    n, copies = fits.n_sets, 2 * len(parameters)
    problems = ConstrainedFits(fits)
    # as many copies as there will be sides, so that all stages are one compiled program
    asked: list[Question] = [(k, None, 0.0) for k in range(n) for _ in range(copies)]
    near = [problems.held(problem, LEAST_STARTS[i % len(LEAST_STARTS)]).start for i, problem in enumerate(asked)]
    deviance, coordinates = problems.solve(asked, np.stack(near))
    best = np.nan_to_num(deviance, nan=np.inf).reshape(n, copies).argmin(axis=1) + copies * np.arange(n)
    problems = ConstrainedFits(fits, coordinates[best])
    return problems, deviance[best], problems.estimates(parameters, coordinates[best])


def _first_side(problems: HeldProblems, question: Question, sign: int, lowest: float) -> Side:
    """Start a walk at the estimate, with a step of about a third of a standard error."""
    _, parameter, estimate = question
    assert parameter is not None  # a side is one of a parameter
    step, at = problems.first(question)
    return Side(parameter, sign, step / 3, np.array([estimate]), np.array([lowest]), at[None])


def _stage(problems: HeldProblems, sides: list[Side], owner: list[tuple[int, int]], cut: float) -> list[Side]:
    """Look at one value of every side; those that are done are compared with searches from the estimates."""
    asked: list[Question] = []
    near, walking = [], []
    for side, (k, _), cap in zip(sides, owner, _caps(sides, owner), strict=True):
        wanted = None if side.settled else side.wanted(cut, cap)
        check = side.to_check(cut)
        value = float(side.value[check]) if wanted is None else wanted
        asked.append((k, side.parameter, value))
        walking.append(wanted is not None)
        near.append(side.near(value) if walking[-1] or side.settled else np.full(side.at.shape[1], np.nan))
    deviance, at = problems.solve(asked, np.stack(near))
    out = []
    for i, side in enumerate(sides):
        if side.settled:
            out.append(side)
        elif walking[i]:
            out.append(side.added(asked[i][2], deviance[i], at[i]))
        elif len(side.value) == 1:
            out.append(replace(side, settled=True))
        else:
            out.append(side.checked(asked[i][2], deviance[i], at[i]))
    return out


def _caps(sides: list[Side], owner: list[tuple[int, int]]) -> list[float]:
    """Largest zeta that a value of every parameter can have: leaving out an SD allows any correlation beside it.

    A search for the minimum beside such a correlation may end in another valley.
    """
    without = {}
    for side, (k, _) in zip(sides, owner, strict=True):
        if side.parameter.kind == "sd" and side.sign < 0 and side.value[-1] == 0:
            without[k, side.parameter.term, side.parameter.a] = float(side.zeta[-1])
    out = []
    for side, (k, _) in zip(sides, owner, strict=True):
        own = side.parameter
        columns = (own.a, own.b) if own.kind == "cor" else ()
        out.append(min((without.get((k, own.term, column), np.inf) for column in columns), default=np.inf))
    return out


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """Profile of one parameter of one data set: ML estimate, and values (G,) in order with their zeta (G,).

    A parameter that is not identified has the estimate alone, and no limits.
    """

    parameter: Parameter
    estimate: float
    value: np.ndarray = field(default_factory=lambda: np.empty(0))
    zeta: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def identified(self) -> bool:
        """Tell whether there is a profile."""
        return len(self.value) > 0

    def side(self, sign: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and |zeta| from the estimate outwards, as far as |zeta| rises."""
        order = np.argsort(sign * self.value)
        value, zeta = self.value[order], np.abs(self.zeta[order])
        outside = sign * (value - self.estimate) > 0
        value = np.concatenate([[self.estimate], value[outside]])
        zeta = np.concatenate([[0.0], zeta[outside]])
        rising = np.concatenate([[True], zeta[1:] > np.maximum.accumulate(zeta)[:-1] + 1e-9])
        return value[rising], zeta[rising]

    def limit(self, cut: float, sign: int) -> float:
        """Value where |zeta| is ``cut``; the end of the scale where zeta stays below it there; NaN where not known."""
        if not self.identified:
            return float("nan")
        value, zeta = self.side(sign)
        end = self.parameter.bounds[int(sign > 0)]
        if zeta[-1] < cut:
            ends = sign * (self.value - end) >= 0 if np.isfinite(end) else np.zeros(1, dtype=bool)
            return end if ends.any() or self.estimate == end else float("nan")
        return self.parameter.unscaled(crossing(self.parameter.scaled(value), zeta, cut))


def make_table(parameter: Parameter, estimate: float, value: np.ndarray, rise: np.ndarray) -> ProfileTable:
    """Order the values, drop what was not found, and take signed roots of the rise of the deviance."""
    known = np.isfinite(rise)
    value, rise = np.append(value[known], estimate), np.append(rise[known], 0.0)
    order = np.unique(value, return_index=True)[1]
    value, rise = value[order], rise[order]
    return ProfileTable(parameter, estimate, value, np.sign(value - estimate) * np.sqrt(np.maximum(rise, 0.0)))


def crossing(value: np.ndarray, zeta: np.ndarray, cut: float) -> float:
    """Where rising |zeta| is ``cut``: a cubic through the four nearest points, a line where that leaves its gap."""
    near = np.sort(np.argsort(np.abs(zeta - cut))[:4])
    upper = np.searchsorted(zeta, cut)
    cubic = float(scipy.interpolate.BarycentricInterpolator(zeta[near], value[near])(cut))
    low, high = sorted((value[upper - 1], value[upper]))
    return cubic if low <= cubic <= high else float(np.interp(cut, zeta, value))


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a profile, walked from the estimate outwards in steps of zeta, then to the limit."""

    parameter: Parameter
    sign: int  # 1 for values above the estimate, -1 below
    first: float  # size of the first step, on the scale of ``parameter.scaled``
    value: np.ndarray  # (G,), the estimate first
    deviance: np.ndarray  # (G,)
    at: np.ndarray  # coordinates of the minima, (G, d + 1)
    failures: int = 0  # searches without a minimum; each of them halves the steps that follow
    checks: int = 0  # searches from the estimates that found a lower minimum than the walk
    settled: bool = False  # one that did not

    @property
    def zeta(self) -> np.ndarray:
        """|zeta| of every value."""
        return np.asarray(np.sqrt(np.maximum(self.deviance - self.deviance[0], 0.0)))

    @property
    def end(self) -> float:
        """Where values end on this side."""
        return self.parameter.bounds[int(self.sign > 0)]

    def added(self, value: float, deviance: float, at: np.ndarray) -> Side:
        """Put a point in its place, or count a search that failed."""
        if np.isnan(deviance):
            return replace(self, failures=self.failures + 1)
        where = int(np.searchsorted(self.sign * self.value, self.sign * value))
        return replace(
            self,
            value=np.insert(self.value, where, value),
            deviance=np.insert(self.deviance, where, deviance),
            at=np.insert(self.at, where, at, axis=0),
        )

    def checked(self, value: float, deviance: float, at: np.ndarray) -> Side:
        """Compare with a search from the estimates; where that ends lower, what lies beyond is walked again."""
        same = int(np.flatnonzero(self.value == value)[0])
        if not deviance < self.deviance[same] - 1e-6 or self.checks >= MOST_FAILURES:
            return replace(self, settled=True)
        kept = replace(self, value=self.value[:same], deviance=self.deviance[:same], at=self.at[:same])
        return replace(kept.added(value, deviance, at), checks=self.checks + 1)

    def to_check(self, cut: float) -> int:
        """Position of the point nearest to the limit."""
        return int(np.argmin(np.abs(self.zeta - cut)))

    def near(self, value: float) -> np.ndarray:
        """Coordinates for a search to start from, on a line through the two nearest points (d + 1,)."""
        t = self.parameter.scaled(self.value)
        wanted = float(self.parameter.scaled(np.array(value)))
        close = np.argsort(np.abs(t - wanted))[:2]
        if len(close) < 2:
            return np.asarray(self.at[close[0]])
        share = np.clip((wanted - t[close[0]]) / (t[close[1]] - t[close[0]]), -2.0, 2.0)
        return np.asarray(self.at[close[0]] + share * (self.at[close[1]] - self.at[close[0]]))

    def wanted(self, cut: float, cap: float = np.inf) -> float | None:
        """Value to look at next to find zeta = ``cut``, None once it is known; ``cap`` is the largest zeta there is."""
        if len(self.value) > MOST_POINTS:
            return None
        if cap < cut:
            return None if self.value[-1] == self.end or self.failures else self.end
        t, zeta = self.parameter.scaled(self.value), self.zeta
        if self.failures < MOST_FAILURES:
            step = self._step(t, zeta, max(REACH, 1.15 * cut))
            if step is not None:
                return step
        out = int(np.argmax(zeta >= cut))
        if zeta[out] < cut or np.abs(zeta - cut).min() < CLOSE or self.failures > 2 * MOST_FAILURES:
            return None
        # zeta may fall again beyond a point; what is bracketed is the first crossing
        rising = np.append(np.flatnonzero(zeta[:out] > np.append(-1.0, np.maximum.accumulate(zeta[:out])[:-1])), out)
        last = rising[-2]
        if abs(t[out] - t[last]) < TINY * abs(t[out] - t[0]):
            return None
        # across a jump to another valley a polynomial says nothing
        jump = zeta[out] - zeta[last] > WIDE * STEP
        limit = (t[last] + t[out]) / 2 if jump else crossing(t[rising], zeta[rising], cut)
        return self.parameter.unscaled(float(limit))

    def _step(self, t: np.ndarray, zeta: np.ndarray, reach: float) -> float | None:
        """A value in the first wide gap, or beyond the last point."""
        rise = np.diff(zeta)
        wide = (rise > WIDE * STEP) & (zeta[:-1] < reach) & (np.abs(np.diff(t)) > 1e-3 * abs(t[-1] - t[0]))
        if wide.any():
            i = int(np.argmax(wide))
            share = np.clip(STEP / rise[i], 0.1, 0.5) * 0.5**self.failures
            return self.parameter.unscaled(float(t[i] + share * (t[i + 1] - t[i])))
        if zeta.max() >= reach or self.value[-1] == self.end:
            return None
        shrink = 0.5**self.failures
        move = self.first * shrink
        if len(t) > 1:
            last = abs(t[-1] - t[-2])
            move = float(np.clip(shrink * last * STEP / rise[-1] if rise[-1] > 0 else np.inf, 0.1 * last, 3 * last))
        wanted = t[-1] + self.sign * move
        if np.isfinite(self.end) and self.parameter.kind != "sigma":
            left = abs(float(self.parameter.scaled(np.array(self.end))) - t[-1])
            if abs(wanted - t[-1]) > 0.95 * left:
                return self.end
        return self.parameter.unscaled(float(wanted))
