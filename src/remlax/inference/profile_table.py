"""Profiles as tables of values and zeta, and where a limit lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy


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

    def scaled(self, value: np.ndarray) -> np.ndarray:
        """Value on a scale where profiles are smooth up to the ends: the angle of a correlation, log sigma."""
        if self.kind == "cor":
            return np.asarray(np.arcsin(value))
        return np.asarray(np.log(value)) if self.kind == "sigma" else value

    def unscaled(self, value: float) -> float:
        """Undo `scaled`."""
        if self.kind == "cor":
            return float(np.sin(value))
        return float(np.exp(value)) if self.kind == "sigma" else value


def crossing(value: np.ndarray, zeta: np.ndarray, cut: float) -> float:
    """Where rising |zeta| is ``cut``: a cubic through the four nearest points, a line where that leaves its gap."""
    near = np.sort(np.argsort(np.abs(zeta - cut))[:4])
    upper = np.searchsorted(zeta, cut)
    found = float(scipy.interpolate.BarycentricInterpolator(zeta[near], value[near])(cut))
    low, high = sorted((value[upper - 1], value[upper]))
    return found if low <= found <= high else float(np.interp(cut, zeta, value))


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """Profile of one parameter of one data set: ML estimate, and values (G,) in order with their zeta (G,).

    A parameter that is not identified has the estimate alone, and no limits.
    """

    parameter: Parameter
    estimate: float
    value: np.ndarray
    zeta: np.ndarray
    identified: bool = True

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
