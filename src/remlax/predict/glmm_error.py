"""Variance of what is predicted from a generalised linear mixed model: all parameters and the random effects.

Given the parameters phi = (theta, beta, shape) the random effects have the mean b-hat(phi) and the covariance
V = Lambda M^-1 Lambda', and phi the covariance of the Hessian. A quantity with the derivatives g in phi and c in b has
the variance (g + c'db-hat/dphi) Cov(phi) (...)' + c'Vc (Kass and Steffey 1989, JASA 84, 717; Skaug and Fournier 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.batch import run
from ..engine.shapes import bucket
from ..fitting.glmm import GlmmFitted
from ..glmm.covariance import covariance_times
from ..inference.modes import mode_tangents
from .mean_response import MeanResponse
from .newdata import FrameRows

# numbers of derivatives held at once
CHUNK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Gradients:
    """Derivatives of J quantities of one data set.

    Parameters
    ----------
    beta : ndarray (J, p)
    effects : tuple of ndarray (J, levels, q)
        Per factor, in the user's units.
    theta : ndarray (J, d)
        Theta inside.
    shape : ndarray (J, s)
    """

    beta: np.ndarray
    effects: tuple[np.ndarray, ...]
    theta: np.ndarray
    shape: np.ndarray

    def combined(self, weights: np.ndarray) -> Gradients:
        """Derivatives of combinations (L, J) of the quantities."""
        effects = tuple(np.tensordot(weights, own, 1) for own in self.effects)
        return Gradients(weights @ self.beta, effects, weights @ self.theta, weights @ self.shape)


def added(each: Sequence[Gradients]) -> Gradients:
    """Derivatives of sums."""
    effects = tuple(np.sum(parts, axis=0) for parts in zip(*(one.effects for one in each), strict=True))
    total = [np.sum([getattr(one, name) for one in each], axis=0) for name in ("beta", "theta", "shape")]
    return Gradients(total[0], effects, total[1], total[2])


def directions(fitted: GlmmFitted, k: int, given: Gradients) -> np.ndarray:
    """Derivatives in the parameters of `GlmmFitted.joint`, those through the modes included, (J, parameters)."""
    # thresholds inside leave out what the coefficients make of the means of the columns
    beta = given.beta + given.shape.sum(axis=1, keepdims=True) * fitted.centre[k]
    out = np.concatenate([given.theta, beta @ fitted.model.inverse[k], given.shape], axis=1)
    for moved, own in zip(mode_tangents(fitted, k), given.effects, strict=True):
        out += own.reshape(len(own), -1) @ moved.reshape(len(moved), -1).T
    return out


def error_variance(fitted: GlmmFitted, k: int, given: Gradients) -> np.ndarray:
    """Variances (J,) of the quantities."""
    by = directions(fitted, k, given)
    total = np.einsum("ja,ab,jb->j", by, fitted.joint[k], by)
    if any(own.any() for own in given.effects):
        for own, through in zip(given.effects, covariance_of(fitted, k, given.effects), strict=True):
            total += np.einsum("jlq,jlq->j", own, through)
    return np.asarray(np.maximum(total, 0.0))


def covariance_of(fitted: GlmmFitted, k: int, given: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """V c of vectors c over the random effects, per factor (J, levels, q)."""
    if len(given) == 1:
        return (np.einsum("lqr,jlr->jlq", fitted.factor_modes[0].variances[k], given[0]),)
    model, structure = fitted.model, fitted.structure
    n, size = len(given[0]), bucket(len(given[0]), 64, 0.5)
    inside = []
    for own, unit, levels in zip(given, model.units, structure.n_levels, strict=True):
        padded = np.zeros((1, size, own.shape[2], levels))
        padded[0, :n, :, : own.shape[1]] = (own @ unit.outside).swapaxes(1, 2)
        inside.append(padded)
    parameters = np.concatenate([fitted.inner[k], fitted.gamma[k], fitted.inner_shape(k)])[None]
    found: Any = run(covariance_times, model.batch.take(np.array([k])), parameters, tuple(inside))
    return tuple(
        unit.effects(np.asarray(part)[0, :n, :, : own.shape[1]].swapaxes(1, 2))
        for part, own, unit in zip(found, given, model.units, strict=True)
    )


# -- rows ----------------------------------------------------------------------------------------------------------


def spread_of(fitted: GlmmFitted, k: int, z: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Variance z'Sigma z of the random effects of rows (R,), and its derivatives in theta inside (R, d)."""
    map_, n_rows = fitted.theta_map, len(z[0])
    variance, gradient = np.zeros(n_rows), np.zeros((n_rows, map_.n_theta))
    inside = [unit.columns(own) for own, unit in zip(z, fitted.model.units, strict=True)]
    roots = [np.zeros_like(own) for own in inside]
    for a, (f, row, col) in enumerate(zip(map_.factor, map_.row, map_.col, strict=True)):
        roots[f][:, col] += inside[f][:, row] * fitted.inner[k, a]
    for root in roots:
        variance += np.einsum("rq,rq->r", root, root)
    for a, (f, row, col) in enumerate(zip(map_.factor, map_.row, map_.col, strict=True)):
        gradient[:, a] = 2 * roots[f][:, col] * inside[f][:, row]
    return variance, gradient


def new_level_variance(fitted: GlmmFitted, k: int, frame: FrameRows) -> np.ndarray:
    """Variance of the random effects of rows of new levels, (R,)."""
    z = [
        np.where((codes >= own.n_levels)[:, None], part, 0.0)
        for part, codes, own in zip(frame.z, frame.codes, fitted.model.layout.factors, strict=True)
    ]
    return spread_of(fitted, k, z)[0]


def known_levels(fitted: GlmmFitted, frame: FrameRows) -> list[np.ndarray]:
    """Tell which rows are of a level that the fit has seen, per factor."""
    factors = fitted.model.layout.factors
    return [(codes >= 0) & (codes < own.n_levels) for codes, own in zip(frame.codes, factors, strict=True)]


def row_gradients(
    fitted: GlmmFitted, frame: FrameRows, by: MeanResponse, d_spread: np.ndarray, part: slice
) -> Gradients:
    """Derivatives of the quantities of some rows, category by category within a row (J = R C)."""
    d_eta = by.d_eta[part]
    n, c = d_eta.shape

    def each(rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return np.asarray((scale[:, :, None] * rows[:, None]).reshape(n * c, -1))

    effects = []
    for f, (z, codes, known) in enumerate(zip(frame.z, frame.codes, known_levels(fitted, frame), strict=True)):
        out = np.zeros((n, c, fitted.model.layout.factors[f].n_levels, z.shape[1]))
        rows = np.flatnonzero(known[part])
        out[rows, :, codes[part][rows]] = d_eta[rows][:, :, None] * z[part][rows][:, None]
        effects.append(out.reshape(n * c, *out.shape[2:]))
    theta, shape = each(d_spread[part], by.d_spread[part]), by.d_shape[part].reshape(n * c, -1)
    return Gradients(each(frame.x[part], d_eta), tuple(effects), theta, shape)


def mean_gradients(fitted: GlmmFitted, frame: FrameRows, by: MeanResponse, d_spread: np.ndarray) -> Gradients:
    """Derivatives of the means over rows of the quantities of every category (J = C)."""
    n, c = by.d_eta.shape
    effects = []
    for f, (z, codes, known) in enumerate(zip(frame.z, frame.codes, known_levels(fitted, frame), strict=True)):
        out = np.zeros((fitted.model.layout.factors[f].n_levels, c, z.shape[1]))
        np.add.at(out, codes[known], by.d_eta[known][:, :, None] * z[known][:, None])
        effects.append(out.swapaxes(0, 1) / n)
    return Gradients(by.d_eta.T @ frame.x / n, tuple(effects), by.d_spread.T @ d_spread / n, by.d_shape.mean(axis=0))


def row_variances(fitted: GlmmFitted, k: int, frame: FrameRows, by: MeanResponse, d_spread: np.ndarray) -> np.ndarray:
    """Variances of the quantities of rows, (R, C)."""
    n, c = by.d_eta.shape
    width = c * sum(own.n_levels * z.shape[1] for own, z in zip(fitted.model.layout.factors, frame.z, strict=True))
    chunk = max(1, CHUNK_NUMBERS // max(width, 1))
    out = []
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        out.append(error_variance(fitted, k, row_gradients(fitted, frame, by, d_spread, part)))
    return np.concatenate(out).reshape(n, c)
