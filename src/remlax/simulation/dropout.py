"""Monotone drop-out of subjects from a longitudinal study, in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .ampute import bisect, masked_mean, score, shape


def drop_out_rows(
    key: jax.Array,
    features: jax.Array,
    subject: jax.Array,
    time: jax.Array,
    subjects: int,
    *,
    prop: jax.Array,
    weights: jax.Array,
    kind: jax.Array,
    lagged: bool,
    rows: jax.Array,
) -> jax.Array:
    """Rows lost to drop-out: a subject that leaves does not come back, and its first row is always there.

    The logit of the hazard at an occasion is a `shape` of the score plus one intercept, calibrated so that
    the expected share of subjects (of those with two occasions or more) who have left by the end is ``prop``.

    Parameters
    ----------
    key
        A random key.
    features
        (n, f) columns of the score.
    subject
        (n,) subject of each row, 0 to subjects - 1.
    time
        (n,) occasion; rows need not be sorted.
    subjects
        Number of subjects; static.
    prop
        () share of the subjects.
    weights
        (f,) weights of the standardised features.
    kind
        () place in `TYPES`.
    lagged
        True: the hazard depends on the features at the occasion before (missing at random); False: on those
        at the occasion itself (missing not at random); static.
    rows
        (n,) True for rows that exist.

    Returns
    -------
    jax.Array
        (n,) True for lost rows.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from remlax.simulation.ampute import TYPES
    >>> y, subject, time = jnp.arange(6.0)[:, None], jnp.array([0, 0, 0, 1, 1, 1]), jnp.array([0, 1, 2] * 2)
    >>> lost = drop_out_rows(
    ...     jax.random.key(1), y, subject, time, 2, prop=jnp.asarray(1.0), weights=jnp.ones(1),
    ...     kind=jnp.array(TYPES.index("RIGHT")), lagged=True, rows=jnp.ones(6, bool))
    >>> lost[jnp.array([0, 2, 3, 5])].tolist()
    [False, True, False, True]
    """
    n = subject.size
    order = jnp.lexsort((time, ~rows, subject))  # padding after the rows of its subject
    who, real, x = subject[order], rows[order], features[order]
    place = jnp.arange(n, dtype=jnp.int32)
    first = jax.ops.segment_min(place, who, num_segments=subjects)
    occasion = place - first[who]
    at_risk = real & (occasion > 0)
    if lagged:
        x = jnp.roll(x, 1, axis=0)
    logit = shape(score(x, at_risk, weights), kind)
    can_leave = jax.ops.segment_sum(at_risk.astype(jnp.int32), who, num_segments=subjects) > 0

    def left_by_the_end(intercept: jax.Array) -> jax.Array:
        staying = jnp.where(at_risk, jax.nn.softplus(logit + intercept), jnp.zeros_like(logit))
        gone = -jnp.expm1(-jax.ops.segment_sum(staying, who, num_segments=subjects))
        return masked_mean(gone, can_leave)

    hazard = jax.nn.sigmoid(logit + bisect(left_by_the_end, prop, logit, at_risk))
    leaves = at_risk & (jax.random.uniform(key, (n,), dtype=hazard.dtype) < hazard)
    exit_at = jax.ops.segment_min(jnp.where(leaves, occasion, jnp.int32(n)), who, num_segments=subjects)
    lost = real & (occasion >= exit_at[who])
    return jnp.zeros(n, dtype=bool).at[order].set(lost)
