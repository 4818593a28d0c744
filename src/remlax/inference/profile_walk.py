"""One side of a profile: from the estimate outwards in steps of zeta, then to the limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .profile_table import Parameter, crossing

# zeta between neighbours, and how far profiles go at least: what is drawn and limits of other levels lie between
STEP, REACH = 0.5, 3.0
# gaps beyond so many steps get a point inside
WIDE = 1.7
# a point this close to the limit in zeta settles it, or neighbours this close as a share of the way
CLOSE, TINY = 1e-4, 1e-5
MOST_POINTS, MOST_FAILURES = 40, 4


@dataclass(frozen=True, eq=False)
class Side:
    """What is known of one side of a profile.

    Parameters
    ----------
    parameter : Parameter
    sign : int
        1 for values above the estimate, -1 below.
    first : float
        Size of the first step, on the scale of ``parameter.scaled``.
    value : ndarray (G,)
        From the estimate outwards.
    deviance : ndarray (G,)
        Its first entry is that of the estimate.
    at : ndarray (G, d + 1)
        Coordinates of the minima.
    failures : int
        Searches without a minimum; each of them halves the steps that follow.
    checks : int
        Searches from the estimates that found a lower minimum than the walk.
    settled : bool
        One that did not.
    """

    parameter: Parameter
    sign: int
    first: float
    value: np.ndarray
    deviance: np.ndarray
    at: np.ndarray
    failures: int = 0
    checks: int = 0
    settled: bool = False

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
        """Value to look at next; None once the limit is known.

        Parameters
        ----------
        cut : float
            zeta of the limit.
        cap : float
            No value of the parameter has a larger zeta.
        """
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
        found = (t[last] + t[out]) / 2 if jump else crossing(t[rising], zeta[rising], cut)
        return self.parameter.unscaled(float(found))

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
