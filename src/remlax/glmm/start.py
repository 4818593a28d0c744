"""Starting values: a few scoring steps of the model without random effects, then moments of its scores."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.small import factor_inverse
from ..shapes import Float
from .families import Family, expected_information, value_terms
from .problem import Glmm

SCORING_STEPS = 2
# SDs of random effects to start from, for columns of Z of unit root mean square
LEAST_SD, MOST_SD = 0.1, 2.0
# sizes and shapes to start from
LEAST_SHAPE, MOST_SHAPE = 0.2, 100.0


def start(problem: Glmm) -> Float[Array, " parameters"]:
    """Parameters (theta, beta, shape) to start from."""
    shape = _shape(problem, None)
    beta, eta = jnp.zeros(problem.structure.n_fixed, problem.products.y.dtype), _first_eta(problem)
    for step in range(SCORING_STEPS):
        beta = _scoring_step(eta, shape, problem, first=step == 0)
        eta = problem.fixed_rows(beta)
        shape = _shape(problem, eta)
    return jnp.concatenate([_theta(eta, shape, problem), beta, shape])


def _first_eta(problem: Glmm) -> Array:
    """Linear predictor from the response itself, pulled to its middle."""
    family, rows = problem.structure.family, problem.products
    if family.name == "ordinal":
        return jnp.zeros_like(rows.y)
    if family.name == "gamma":
        return jnp.log(jnp.where(rows.y > 0, rows.y, 1.0))
    if family.link == "log":
        return jnp.log(rows.y + 0.1)
    pulled = (rows.weight * rows.y + 0.5) / (rows.weight + 1.0)
    # nearly the same for all links
    return jnp.log(pulled / (1 - pulled))


def _scoring_step(eta: Array, shape: Array, problem: Glmm, *, first: bool) -> Array:
    """Coefficients after one step of iteratively reweighted least squares from eta."""
    family, rows = problem.structure.family, problem.products
    if first and family.name != "ordinal":
        # the response is its own fit
        weight, working = _weight(family, eta, rows.weight, shape), eta - rows.offset
    else:
        _, d1, information = value_terms(family, rows.y, rows.weight, eta, shape)
        weight = jnp.maximum(information, 1e-10 * rows.weight)
        working = eta - rows.offset + d1 / jnp.where(weight > 0, weight, 1.0)
    x = rows.x.reshape(rows.x.shape[0], -1)
    weighted = x * weight.reshape(1, -1)
    inverse = factor_inverse(weighted @ x.T + jnp.diag(rows.padded + 1e-8 * jnp.sum(weight)))[1]
    return inverse.T @ (inverse @ (weighted @ working.reshape(-1)))


def _weight(family: Family, eta: Array, weight: Array, shape: Array) -> Array:
    mean = jnp.exp(eta)
    if family.name == "poisson":
        return weight * mean
    if family.name == "negative-binomial":
        size = jnp.exp(shape[0])
        return weight * mean * size / (mean + size)
    if family.name == "gamma":
        return weight
    if family.link == "logit":
        return weight * mean / (1 + mean) ** 2
    return weight * expected_information(family, eta)


def _shape(problem: Glmm, eta: Array | None) -> Array:
    """Shape parameters: thresholds from shares of the categories, sizes and shapes from the variance about the mean."""
    family, rows = problem.structure.family, problem.products
    if not family.n_shape:
        return jnp.zeros(0, rows.y.dtype)
    total = jnp.sum(rows.weight)
    if family.name == "ordinal":
        levels = jnp.arange(family.n_shape, dtype=rows.y.dtype)
        below = jnp.sum(jnp.where(rows.y[None] <= levels[:, None, None], rows.weight[None], 0.0), axis=(1, 2))
        share = (below + 0.5) / (total + 1.0)
        # a category that is empty in this data set leaves two thresholds equal
        return jnp.log(share / (1 - share)) + 1e-3 * levels
    if eta is None:
        return jnp.zeros(1, rows.y.dtype)
    mean = jnp.exp(eta)
    squares = (rows.y - mean) ** 2 - (mean if family.name == "negative-binomial" else 0.0)
    above = jnp.sum(rows.weight * squares / mean**2) / total
    return -jnp.log(jnp.clip(above, 1 / MOST_SHAPE, 1 / LEAST_SHAPE))[None]


def _theta(eta: Array, shape: Array, problem: Glmm) -> Array:
    """Diagonal Lambda from a moment equation for the scores s of every level: E s^2 = S + tau^2 S^2, S = z'Wz."""
    rows, map_ = problem.products, problem.structure.theta_map
    _, d1, information = value_terms(problem.structure.family, rows.y, rows.weight, eta, shape)
    scores, sds = problem.by_level(d1), []
    for f, z in enumerate(rows.z):
        own = _squares(problem, f, z, information)
        equal = _moment(own, scores[f], jnp.ones_like(own))
        sds.append(jnp.sqrt(_moment(own, scores[f], 1.0 / (1.0 + equal[:, None] * own) ** 2)))
    diagonal = np.flatnonzero(map_.diagonal)
    first = np.cumsum((0, *map_.q))
    places = np.array([int(first[map_.factor[a]]) + map_.row[a] for a in diagonal])
    values = jnp.clip(jnp.concatenate(sds)[places], LEAST_SD, MOST_SD)
    return jnp.zeros(map_.n_theta, eta.dtype).at[diagonal].set(values)


def _squares(problem: Glmm, factor: int, z: Array, weight: Array) -> Array:
    """Z'Wz of every column and level of one factor, (q, levels)."""
    by_factor = problem.by_level(weight * z[0]) if z.shape[0] == 1 else None
    if by_factor is not None:
        return by_factor[factor]
    return jnp.stack([problem.by_level(weight * column)[factor][i] for i, column in enumerate(z)])


def _moment(squares: Array, scores: Array, weight: Array) -> Array:
    """tau^2 of every column; at least 0."""
    above = jnp.sum(weight * (scores**2 - squares), axis=1)
    return jnp.maximum(above, 0.0) / jnp.maximum(jnp.sum(weight * squares**2, axis=1), 1e-12)
