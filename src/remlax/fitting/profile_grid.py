"""Profiles as tables of values and zeta: where to look next, and where a limit lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

# first grid, in Wald standard errors on the scale where the parameter is nearest to normal
STEPS = np.array([-5.0, -3.5, -2.75, -2.2, -1.6, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, 1.6, 2.2, 2.75, 3.5, 5.0])
HALF = len(STEPS) // 2
# points this close in zeta are close enough for cubic interpolation between them
NARROW = 0.08
# Wald errors of log SD and atanh correlation beyond this say that the parameter is all but on the boundary
USELESS = 3.0


@dataclass(frozen=True)
class Parameter:
    """What is profiled: an SD (a = b) or a correlation of a term, sigma (term -1), or coefficient a (term -2)."""

    term: int
    a: int
    b: int

    @property
    def kind(self) -> str:
        """One of sd, cor, sigma, beta."""
        return {-1: "sigma", -2: "beta"}.get(self.term, "sd" if self.a == self.b else "cor")

    @property
    def bounds(self) -> tuple[float, float]:
        """Where values end."""
        ends = {"sd": (0.0, np.inf), "cor": (-1.0, 1.0), "sigma": (0.0, np.inf)}
        return ends.get(self.kind, (-np.inf, np.inf))


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """Profile of one parameter of one data set: ML estimate, and values (G,) in order with their zeta (G,)."""

    parameter: Parameter
    estimate: float
    value: np.ndarray
    zeta: np.ndarray

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
        value, zeta = self.side(sign)
        end = self.parameter.bounds[int(sign > 0)]
        if zeta[-1] < cut:
            ends = sign * (self.value - end) >= 0 if np.isfinite(end) else np.zeros(1, dtype=bool)
            return end if ends.any() or self.estimate == end else float("nan")
        near = np.sort(np.argsort(np.abs(zeta - cut))[:4])
        lower, upper = np.searchsorted(zeta, cut) - 1, np.searchsorted(zeta, cut)
        found = float(scipy.interpolate.BarycentricInterpolator(zeta[near], value[near])(cut))
        low, high = sorted((value[lower], value[upper]))
        # where the neighbours are far apart a cubic may leave the bracket
        return found if low <= found <= high else float(np.interp(cut, zeta, value))


def make_table(parameter: Parameter, estimate: float, value: np.ndarray, rise: np.ndarray) -> ProfileTable:
    """Order the values, drop what was not found, and take signed roots of the rise of the deviance."""
    known = np.isfinite(rise)
    value, rise = np.append(value[known], estimate), np.append(rise[known], 0.0)
    order = np.unique(value, return_index=True)[1]
    value, rise = value[order], rise[order]
    return ProfileTable(parameter, estimate, value, np.sign(value - estimate) * np.sqrt(np.maximum(rise, 0.0)))


def first_grid(parameter: Parameter, estimate: float, error: float, unit: float) -> np.ndarray:
    """Values at Wald distances on the natural scale, the ends of the scale among them.

    ``unit`` is the size of an SD that would matter, for one that is estimated as zero.
    """
    if parameter.kind == "beta":
        return np.asarray(estimate + error * STEPS)
    if parameter.kind == "sigma":
        return np.asarray(estimate * np.exp(error * STEPS))
    known = np.isfinite(error) and error < USELESS
    if parameter.kind == "cor":
        grid = np.tanh(np.arctanh(estimate) + error * STEPS) if known else np.linspace(-1, 1, len(STEPS))
        grid[0], grid[-1] = -1.0, 1.0
        return np.asarray(grid)
    if known:
        grid = estimate * np.exp(error * STEPS)
        grid[0] = 0.0
        return np.asarray(grid)
    return np.concatenate([[0.0], unit * 2.0 ** np.linspace(-5, 4, len(STEPS) - 1)])


def next_grid(table: ProfileTable, cut: float) -> tuple[np.ndarray, bool]:
    """Where to look next, half of the points on each side, and whether both limits are known well enough."""
    parts, done = [], True
    for sign in (-1, 1):
        points, known = _next_side(table, cut, sign)
        parts.append(points)
        done = done and known
    return np.concatenate(parts), done


def _next_side(table: ProfileTable, cut: float, sign: int) -> tuple[np.ndarray, bool]:
    value, zeta = table.side(sign)
    if zeta[-1] < cut:
        end = table.parameter.bounds[int(sign > 0)]
        if np.isfinite(end) and (value[-1] == end or not np.isnan(table.limit(cut, sign))):
            return np.linspace(table.estimate, end, HALF + 2)[1:-1], True
        return _outwards(table, float(value[-1]), sign), False
    out = int(np.searchsorted(zeta, cut))
    if zeta[out] - zeta[out - 1] <= NARROW and len(zeta) > 3:
        return np.linspace(table.estimate, value[out], HALF + 2)[1:-1], True
    return np.linspace(value[out - 1], value[out], HALF + 2)[1:-1], False


def _outwards(table: ProfileTable, last: float, sign: int) -> np.ndarray:
    """Points beyond the last one."""
    steps = np.arange(1, HALF + 1)
    if table.parameter.kind == "beta":
        return table.estimate + (last - table.estimate) * 1.5**steps
    return np.asarray(last * 1.5 ** (sign * steps))
