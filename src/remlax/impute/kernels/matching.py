"""Predictive mean matching under the joint model: donors for missing cells, for one chain.

An imputed cell takes the observed value of a row whose predicted mean is near its own, given the other columns of the
row and the random effects. Means of donors are computed at estimates, those of recipients at draws (type 1 matching).

Source: Little (1988) J Bus Econ Stat 6:287-296; van Buuren (2018), Flexible Imputation of Missing Data, 2nd edition,
section 3.4.

Axes: n rows, r columns, J clusters, s columns of the clusters, q columns of the random part.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .draws import pick
from .joint import upper_given_effects
from .joint_data import sum_clusters
from .noise import normals, uniforms
from .small import inverse, whiten

N_DONORS = 5
JITTER = 1e-8  # of the standardised predicted means: equal ones are in random order


class RowData(NamedTuple):
    """All rows: y (n, r) with any number in missing cells, missing (n, r), x (n, p), z (n, q), cluster (n,).

    ids (n,) is the pattern of each row's cells, observed (S, r) the patterns as 1.0 and 0.0. y2 (J, s), missing2 and x2
    (J, u) are the clusters'; active (k,) are the rows that the chains hold, n where there is none.
    """

    y: Array
    missing: Array
    x: Array
    z: Array
    cluster: Array
    ids: Array
    observed: Array
    active: Array
    y2: Array
    missing2: Array
    x2: Array


class JointValues(NamedTuple):
    """Parameters: coef (p, r), coef2 (u, s), residual (r, r), psi (D, D)."""

    coef: Array
    coef2: Array
    residual: Array
    psi: Array


def observed_weights(cov: Array, observed: Array) -> Array:
    """Inverses of the blocks of cov (r, r) of observed cells, 0 elsewhere, (S, r, r) for observed (S, r)."""
    both = observed[:, :, None] * observed[:, None, :]
    eye = jnp.eye(cov.shape[0], dtype=cov.dtype)[None]
    return inverse(cov[None] * both + eye * (1.0 - observed)[:, None, :]) * both


def expected_effects(y: Array, data: RowData, values: JointValues) -> Array:
    """Mean of the random effects given the observed cells of all targets and the parameters, (J, r, q)."""
    (n_clusters, s), r, q, n_patterns = data.y2.shape, y.shape[1], data.z.shape[1], data.observed.shape[0]
    size, psi = r * q, values.psi
    mean, cov = jnp.zeros((n_clusters, size), y.dtype), psi[None, :size, :size]
    if s:
        weights2 = observed_weights(psi[size:, size:], 1.0 - data.missing2.astype(y.dtype))
        gain = psi[None, :size, size:] @ weights2
        mean = jnp.einsum("jds,js->jd", gain, data.y2 - data.x2 @ values.coef2)
        cov = cov - gain @ psi[None, size:, :size]
    prior, weights = inverse(cov), observed_weights(values.residual, data.observed)
    cells = data.ids * n_clusters + data.cluster
    zz = sum_clusters(data.z[:, :, None] * data.z[:, None, :], cells, n_patterns * n_clusters)
    zz = zz.reshape(n_patterns, n_clusters, q, q)
    precision = jnp.einsum("skl,sjab->jkalb", weights, zz).reshape(n_clusters, size, size) + prior
    pulled = pick(y - data.x @ values.coef, weights, data.ids)
    own = sum_clusters(pulled[:, :, None] * data.z[:, None, :], data.cluster, n_clusters).reshape(n_clusters, size)
    information = own + jnp.sum(prior * mean[:, None, :], axis=2)
    root = whiten(precision)
    centre = jnp.einsum("jki,jk->ji", root, jnp.einsum("jki,ji->jk", root, information))
    return centre.reshape(n_clusters, r, q)


def nearest_donors(key: Array, wanted: Array, given: Array, gives: Array) -> Array:
    """Draw for each of the means `wanted` (n,) one of the five nearest among the means `given` (n,) of rows that give.

    All five are as likely. Returns positions of rows (n,).
    """
    n = given.shape[0]
    keys = jax.random.split(key, 3)
    old = jnp.where(gives, given + JITTER * normals(keys[0], (n,), given.dtype), jnp.inf)
    new = wanted + JITTER * normals(keys[1], (n,), wanted.dtype)
    order = jnp.argsort(old)
    ordered = old[order]
    place = jnp.searchsorted(ordered, new)
    count = jnp.sum(gives, dtype=place.dtype)
    window = place[:, None] + jnp.arange(-N_DONORS, N_DONORS, dtype=place.dtype)[None]
    inside = (window >= 0) & (window < count)
    window = jnp.clip(window, 0, n - 1)
    distance = jnp.where(inside, jnp.abs(ordered[window] - new[:, None]), jnp.inf)
    near = jnp.argsort(distance, axis=1)
    drawn = uniforms(keys[2], (n,), wanted.dtype) * jnp.minimum(count, N_DONORS).astype(wanted.dtype)
    pick = jnp.take_along_axis(near, drawn.astype(near.dtype)[:, None], axis=1)
    return order[jnp.take_along_axis(window, pick, axis=1)[:, 0]]


def match_columns(
    key: Array,
    y: Array,
    missing: Array,
    drawn: tuple[Array, Array],
    estimated: tuple[Array, Array],
    columns: tuple[int, ...],
) -> tuple[Array, Array]:
    """Match the columns in turn, each given all others: donors (c, n) and the rows with their values.

    drawn and estimated are means (n, r) and covariance (r, r) of the rows.
    """
    if not columns:
        return jnp.zeros((0, y.shape[0]), jnp.int32), y
    donors = []
    laws = [(mean, inverse(cov)) for mean, cov in (drawn, estimated)]
    for column in columns:
        # mean given the other columns of the row
        wanted, given = (
            y[:, column] - ((y - mean) @ weight[:, column]) / weight[column, column] for mean, weight in laws
        )
        own = jax.random.fold_in(key, column)
        donor = nearest_donors(own, wanted, given, jnp.logical_not(missing[:, column]))
        y = y.at[:, column].set(jnp.where(missing[:, column], y[donor, column], y[:, column]))
        donors.append(donor)
    return jnp.stack(donors), y


def find_donors(
    key: Array,
    active: Array,
    y2: Array,
    random: Array,
    drawn: JointValues,
    estimated: JointValues,
    data: RowData,
    columns: tuple[int, ...],
    columns2: tuple[int, ...],
) -> tuple[Array, Array]:
    """Donors of the rows (c, n) and of the clusters (c2, J), for the columns to be matched.

    active (k, r), y2 (J, s) and random (J, r, q) are the targets and random effects at the end of the chain.
    """
    n_clusters = y2.shape[0]
    y = data.y.at[data.active].set(active, mode="drop")
    effects = expected_effects(y, data, estimated)
    laws = [(drawn, random), (estimated, effects)]
    upper, lower = [], []
    for values, b in laws:
        offset, cov = upper_given_effects(values.psi, b.reshape(n_clusters, -1))
        upper.append((data.x2 @ values.coef2 + offset, cov))
        lower.append((data.x @ values.coef + jnp.einsum("nrq,nq->nr", b[data.cluster], data.z), values.residual))
    donors, _ = match_columns(jax.random.fold_in(key, 0), y, data.missing, lower[0], lower[1], columns)
    donors2, _ = match_columns(jax.random.fold_in(key, 1), y2, data.missing2, upper[0], upper[1], columns2)
    return donors, donors2
