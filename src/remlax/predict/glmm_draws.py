"""Draws of coefficients, random effects and linear predictors of generalised linear mixed models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..inference.glmm import glmm_fitted
from ..inference.modes import mode_tangents
from ..kernels.posterior import Draws
from ..memory import check_room
from .glmm_error import covariance_of
from .newdata import PredictionRows

# numbers of draws of rows held at once
CHUNK_DRAWS = 5_000_000


def draw_glmm(fits: Selection, n_sims: int, seed: int | None, *, joint: bool = True) -> Draws:
    """Draws in the user's units: beta (K, S, p), in the place of gamma; effects per factor (K, S, q, levels); sigma 1.

    Parameters
    ----------
    fits : Selection
    n_sims : int
    seed : int or None
    joint : bool, default True
        Parameters from a normal distribution with the covariance of the Hessian, and random effects given them, whose
        modes move with them; False: coefficients and random effects apart, as R's merTools draws them.
    """
    fitted = glmm_fitted(fits)
    each = [_draw_one(fitted, k, n_sims, np.random.SeedSequence(seed, spawn_key=(k,)), joint) for k in fits.which]
    effects = tuple(np.stack(parts) for parts in zip(*(own for _, own in each), strict=True))
    return Draws(np.stack([beta for beta, _ in each]), effects, np.ones((fits.n_sets, n_sims)))  # type: ignore[arg-type]


def _draw_one(
    fitted: GlmmFitted, k: int, n_sims: int, seed: np.random.SeedSequence, joint: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    d, p = fitted.theta_map.n_theta, len(fitted.model.keep)
    moves = rng.standard_normal((n_sims, len(fitted.joint[k]))) @ _root(fitted.joint[k]).T
    beta = fitted.beta[k] + moves[:, d : d + p] @ fitted.model.inverse[k].T
    effects = []
    for f, noise in enumerate(_effect_noise(fitted, k, n_sims, rng)):
        out = fitted.factor_modes[f].modes[k] + noise
        if joint:
            out = out + np.tensordot(moves, mode_tangents(fitted, k)[f], 1)
        effects.append(out.swapaxes(1, 2))
    return beta, effects


def _effect_noise(fitted: GlmmFitted, k: int, n_sims: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draws from the conditional distribution of the random effects around their modes, per factor (S, levels, q)."""
    shapes = [found.modes.shape[1:] for found in fitted.factor_modes]
    if len(shapes) == 1:
        root = _root(fitted.factor_modes[0].variances[k])
        return [np.einsum("lij,slj->sli", root, rng.standard_normal((n_sims, *shapes[0])))]
    sizes = [levels * q for levels, q in shapes]
    ends = np.cumsum([0, *sizes])
    check_room(3 * ends[-1] ** 2, f"the covariance of {ends[-1]} random effects", "use level='population'")
    every = np.eye(ends[-1])
    given = tuple(every[:, a:b].reshape(-1, *shape) for a, b, shape in zip(ends, ends[1:], shapes, strict=False))
    found = [part.reshape(ends[-1], -1) for part in covariance_of(fitted, k, given)]
    noise = rng.standard_normal((n_sims, ends[-1])) @ _root(np.concatenate(found, axis=1)).T
    return [noise[:, a:b].reshape(n_sims, *shape) for a, b, shape in zip(ends, ends[1:], shapes, strict=False)]


def _root(covariance: np.ndarray) -> np.ndarray:
    """Root R of covariance matrices (..., n, n) with R R' = C, also of those of less than full rank."""
    values, vectors = np.linalg.eigh((covariance + covariance.swapaxes(-1, -2)) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])


def glmm_row_draws(
    fits: Selection, rows: PredictionRows, n_sims: int, seed: int, shift: np.ndarray, *, joint: bool
) -> Iterator[tuple[slice, np.ndarray]]:
    """Draws of linear predictors, some rows at a time: (K, 2 + factors, S, R); the last part, a residual, is zero.

    Parameters
    ----------
    fits : Selection
    rows : PredictionRows
    n_sims, seed, joint
        As in `draw_glmm`.
    shift : ndarray (K, 1 + factors, R)
        What is added to the parts of every data set.
    """
    fitted, k = glmm_fitted(fits), fits.index
    drawn = draw_glmm(fits, n_sims, seed, joint=joint)
    unseen = [_new_effects(fitted, j, rows, n_sims, seed) for j in k]
    factors = fitted.model.layout.factors
    size = max(1, CHUNK_DRAWS // (len(k) * n_sims * (2 + len(factors))))
    for start in range(0, rows.n_rows, size):
        part = slice(start, min(start + size, rows.n_rows))
        out = np.zeros((len(k), 2 + len(factors), n_sims, part.stop - start))
        for i in range(len(k)):
            frame = rows.frame(i)
            out[i, 0] = np.asarray(drawn.gamma)[i] @ frame.x[part].T + frame.offset[part]
            for f, (z, codes) in enumerate(zip(frame.z, frame.codes, strict=True)):
                effects = np.concatenate([np.asarray(drawn.effects[f])[i], unseen[i][f]], axis=2)
                own = np.where(codes[part] >= 0, codes[part], 0)
                out[i, 1 + f] = np.einsum("sqr,rq->sr", effects[:, :, own], z[part])
        out[:, :-1] += shift[:, :, None, part]
        yield part, out


def _new_effects(fitted: GlmmFitted, k: int, rows: PredictionRows, n_sims: int, seed: int) -> list[np.ndarray]:
    """Effects of new levels, per factor (S, q, new levels)."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(k), 1)))
    out = []
    for f, names in enumerate(rows.new):
        q = fitted.factor_modes[f].modes.shape[2]
        effects = rng.standard_normal((len(names), n_sims, q))
        for t, term in enumerate(fitted.model.layout.terms):
            if term.factor == f:
                effects[:, :, term.columns] = effects[:, :, term.columns] @ fitted.relative_factor(t)[k].T
        out.append(effects.transpose(1, 2, 0))
    return out
