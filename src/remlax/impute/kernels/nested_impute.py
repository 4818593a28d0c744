"""Imputation of one data set of three levels as a pure function of arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from .joint_chain import (
    TOP_STREAM,
    default_priors,
    no_targets,
    parameters,
    row_cells,
    run_chain,
    standardised,
    start_chain,
)
from .joint_data import JointSpec, reduce_rows
from .nested import nested_sweep, reduce_top, start_nested, top_parameters


def joint_impute_nested(
    key: Array,
    y: Array,
    missing: Array,
    x: Array,
    z: Array,
    cluster: Array,
    parent: Array,
    patterns: Array,
    n_top: int,
    m: int,
    sweeps: int,
) -> tuple[Array, Array]:
    """Impute one data set of clusters in clusters m times by the joint model; z is the random part of both levels.

    Parameters are those of `joint_impute`, but parent (J,), the top cluster of each of the J clusters, 0 to n_top - 1.

    Returns
    -------
    tuple
        Completed targets (m, n, r), and the parameters of the last sweep (m, P) on the standardised scale, in the
        order of `parameters` and `top_parameters`.

    Examples
    --------
    >>> from remlax.impute.kernels import all_patterns
    >>> y = jax.random.normal(jax.random.key(1), (24, 2))
    >>> missing = jnp.zeros((24, 2), bool).at[:5, 0].set(True)
    >>> ones, cluster, parent = jnp.ones((24, 1)), jnp.arange(24) // 4, jnp.arange(6) // 2
    >>> completed, _ = joint_impute_nested(
    ...     jax.random.key(0), y, missing, ones, ones, cluster, parent, all_patterns(2, [0]), 3, m=3, sweeps=50
    ... )
    >>> completed.shape
    (3, 24, 2)
    """
    standard, centre, scale = standardised(y, missing)
    (n, r), q = y.shape, z.shape[1]
    active, spec = jnp.arange(n), JointSpec()
    weight = jnp.any(jnp.logical_not(missing), axis=1).astype(y.dtype)
    cells = row_cells(missing, patterns, y.dtype)
    n_clusters = parent.shape[0]
    rows = (standard, x, z, cluster, weight)
    data = reduce_rows(*rows, active, cells, n_clusters, False, no_targets(n_clusters, y.dtype))
    law = default_priors(r, r * q, 0, y.dtype)
    top = reduce_top(data, rows, z, active, parent, no_targets(n_top, y.dtype), law)
    zero, end = jnp.zeros((), jnp.int32), jnp.asarray(sweeps, jnp.int32)

    def one(number: Array) -> tuple[Array, Array]:
        own = jax.random.fold_in(key, number)
        joint = start_chain(own, data, spec, (), ())
        state, record = run_chain(
            own, start_nested(jax.random.fold_in(own, TOP_STREAM), joint, top, spec, ()), data, zero, end, end, 1,
            lambda key, noise, state, gain: nested_sweep(key, noise, state, data, top, spec, law, gain),
            lambda state: jnp.concatenate([parameters(state.joint, spec), top_parameters(state)]),
        )  # fmt: skip
        return jnp.where(missing, state.joint.y * scale[None] + centre[None], y), record[0]

    return jax.vmap(one)(jnp.arange(m))
