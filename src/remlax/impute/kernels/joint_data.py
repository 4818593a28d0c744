"""What the joint model's Gibbs sampler knows of one data set, reduced to sums wherever rows do not change.

Axes: n rows, k active rows (those with a cell to draw), r target columns, p predictors, q columns of the random
part, J clusters, G groups with a residual covariance of their own (1, or J), s cluster-level target columns,
u cluster-level predictors, D = r * q + s.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .draws import KnownCells, LatentBlocks


class JointSpec(NamedTuple):
    """Static description of the model: latents of rows, clusters and their clusters, and whether every cluster has
    its own residual covariance.
    """

    rows: LatentBlocks = LatentBlocks()
    clusters: LatentBlocks = LatentBlocks()
    specific: bool = False
    top: LatentBlocks = LatentBlocks()


class JointPriors(NamedTuple):
    """Priors on the scale of the columns given to the kernel.

    residual ~ IW(residual_df, residual_scale (r, r)), random ~ IW(random_df, random_scale (D, D)), coefficients
    normal with mean 0 and this precision (0 = flat). With specific residuals S_j ~ IW(a, A),
    A ~ Wishart(residual_df, residual_scale^-1) and a - r - 1 is exponential with mean df_mean.
    """

    residual_df: Array
    residual_scale: Array
    random_df: Array
    random_scale: Array
    coef_precision: Array
    df_mean: Array


class RowSums(NamedTuple):
    """Cross-products of targets: yy (G, r, r), xy (G, p, r), zy (J, q, r), n_rows (G,)."""

    yy: Array
    xy: Array
    zy: Array
    n_rows: Array


class JointData(NamedTuple):
    """One data set. Active rows: y (k, r), x (k, p), z (k, q), cluster (k,), weight (k,), cells.

    xx (G, p, p), zz (J, q, q), zx (J, q, p) and zxzx (J * q * q, p * p) are sums over all rows of products of
    predictors; frozen holds the sums of the rows that are not active. y2 (J, s), x2 (J, u) and cells2 are the
    clusters'. x2x2 is (u, u).
    """

    y: Array
    x: Array
    z: Array
    cluster: Array
    weight: Array
    cells: KnownCells
    xx: Array
    zz: Array
    zx: Array
    zxzx: Array
    frozen: RowSums
    y2: Array
    x2: Array
    x2x2: Array
    cells2: KnownCells


def sum_clusters(values: Array, cluster: Array, n_clusters: int) -> Array:
    """Sum (k, ...) over the rows of each cluster, (J, ...)."""
    return jax.ops.segment_sum(values, cluster, num_segments=n_clusters)


def sum_rows(y: Array, x: Array, z: Array, cluster: Array, weight: Array, n_clusters: int, specific: bool) -> RowSums:
    """Cross-products of the targets over rows, each weighted (0 or 1)."""
    weighted = y * weight[:, None]
    zy = sum_clusters(z[:, :, None] * weighted[:, None, :], cluster, n_clusters)
    if not specific:
        return RowSums((y.mT @ weighted)[None], (x.mT @ weighted)[None], zy, jnp.sum(weight)[None])
    yy = sum_clusters(y[:, :, None] * weighted[:, None, :], cluster, n_clusters)
    xy = sum_clusters(x[:, :, None] * weighted[:, None, :], cluster, n_clusters)
    return RowSums(yy, xy, zy, sum_clusters(weight, cluster, n_clusters))


def reduce_rows(
    y: Array,
    x: Array,
    z: Array,
    cluster: Array,
    weight: Array,
    active: Array,
    cells: KnownCells,
    n_clusters: int,
    specific: bool,
    upper: tuple[Array, Array, KnownCells],
) -> JointData:
    """Reduce n rows to sums and the active rows.

    y (n, r) has any finite number in missing cells; weight (n,) is 0 for rows that do not count (padding, rows
    without an observed target); active (k,) lists positions of rows, repeats allowed where the weight is 0;
    cells and upper = (y2, x2, cells2) belong to the active rows and to the clusters.
    """
    heavy = weight.at[active].set(0.0)
    frozen = sum_rows(jnp.where(heavy[:, None] > 0.0, y, 0.0), x, z, cluster, heavy, n_clusters, specific)
    zw = z * weight[:, None]
    zx = sum_clusters(zw[:, :, None] * x[:, None, :], cluster, n_clusters)
    zz = sum_clusters(zw[:, :, None] * z[:, None, :], cluster, n_clusters)
    xw = x * weight[:, None]
    xx = sum_clusters(xw[:, :, None] * x[:, None, :], cluster, n_clusters) if specific else (x.mT @ xw)[None]
    q, p = z.shape[1], x.shape[1]
    zxzx = jnp.einsum("jca,jdb->jcdab", zx, zx).reshape(n_clusters * q * q, p * p)
    y2, x2, cells2 = upper
    own = (y[active], x[active], z[active], cluster[active], weight[active])
    return JointData(*own, cells, xx, zz, zx, zxzx, frozen, y2, x2, x2.mT @ x2, cells2)
