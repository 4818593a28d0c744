"""Small generalised linear mixed models made by hand, as the kernels take them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from remlax.fitting.glmm_rows import make_tiles
from remlax.glmm.families import Family
from remlax.glmm.problem import Glmm, GlmmRows, GlmmStructure
from remlax.kernels.theta import ThetaMap

SHAPES = {"negative-binomial": [0.4], "gamma": [0.8], "ordinal": [-1.0, 0.4, 1.8]}


def theta_map(q: tuple[int, ...]) -> ThetaMap:
    """One unstructured term per factor."""
    places = [(f, i, j) for f, width in enumerate(q) for j in range(width) for i in range(j, width)]
    return ThetaMap(q, *map(tuple, zip(*places, strict=True)))  # type: ignore[arg-type]


def draw(family: Family, eta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw responses that a family may have."""
    if family.name == "binomial":
        return (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)
    if family.name == "ordinal":
        return np.digitize(eta + rng.logistic(size=len(eta)), [-1, 0.5, 2]).astype(float)
    if family.name == "gamma":
        return np.exp(eta) * rng.gamma(3, 1 / 3, len(eta))
    return rng.poisson(np.exp(eta) * rng.gamma(2, 0.5, len(eta))).astype(float)


def make_rows(
    family: Family, q: tuple[int, ...] = (1,), levels: tuple[int, ...] = (6,), n: int = 60, seed: int = 1
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Response, fixed columns, random-effects columns and codes of every factor."""
    rng = np.random.default_rng(seed)
    codes = [rng.permutation(np.arange(n) % count) for count in levels]
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    z = [np.column_stack([np.ones(n), rng.normal(size=n)])[:, :width] for width in q]
    eta = x @ [0.3, 0.5] + 0.7 * rng.normal(size=levels[0])[codes[0]]
    y = draw(family, eta, rng)
    return y, x[:, 1:] if family.name == "ordinal" else x, z, codes


def make_problem(
    family: Family,
    rows: tuple[np.ndarray, np.ndarray, list[np.ndarray], list[np.ndarray]],
    *,
    weight: np.ndarray | None = None,
    height: int = 4,
    extra: int = 0,
    n_quad: int = 1,
) -> Glmm:
    """Put rows into tiles of a height, with `extra` padded tiles, levels and fixed columns."""
    y, x, z, codes = rows
    n_tiles = int(np.sum(-(-np.bincount(codes[0]) // height))) + extra
    tiles = make_tiles(codes[0], height, n_tiles)

    def cells(column: np.ndarray) -> jnp.ndarray:
        return jnp.asarray(np.where(tiles.filled, column[tiles.row], np.zeros((), column.dtype)))

    fixed = [cells(column) for column in x.T] + [jnp.zeros(tiles.row.shape)] * extra
    products = GlmmRows(
        x=jnp.stack(fixed),
        z=tuple(jnp.stack([cells(column) for column in part.T]) for part in z),
        y=cells(y),
        weight=cells(np.ones(len(y)) if weight is None else weight),
        offset=jnp.zeros(tiles.row.shape),
        tile_level=jnp.asarray(tiles.level),
        codes=tuple(cells(part.astype(np.int32)) for part in codes[1:]),
        padded=jnp.asarray(np.r_[np.zeros(x.shape[1]), np.ones(extra)]),
        n_obs=jnp.asarray(float(len(y))),
        constant=jnp.asarray(0.0),
    )
    n_levels = tuple(int(part.max()) + 1 + extra for part in codes)
    q = tuple(part.shape[1] for part in z)
    return Glmm(GlmmStructure(theta_map(q), n_levels, x.shape[1] + extra, family, n_quad), products)


def parameters(problem: Glmm, seed: int = 2) -> np.ndarray:
    """Parameters somewhere, padded coefficients zero."""
    rng = np.random.default_rng(seed)
    map_ = problem.structure.theta_map
    theta = 0.8 * map_.start() + 0.1 * rng.normal(size=map_.n_theta)
    beta = np.where(
        np.asarray(problem.products.padded) > 0,
        0.0,
        [0.2, 0.4, *[0.0] * problem.structure.n_fixed][: problem.structure.n_fixed],
    )
    return np.concatenate([theta, beta, SHAPES.get(problem.structure.family.name, [])])
