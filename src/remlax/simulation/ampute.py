"""Amputation in JAX: probabilities with an exact calibration, and draws.

Source: Schouten, Lugtig & Vink (2018), Generating missing values for simulation purposes: a multivariate
amputation procedure, Journal of Statistical Computation and Simulation 88:1909-1930. What differs, on
purpose: the intercept of the logistic curve is found on the scores at hand by bisection (deterministic, and exact
whatever their distribution), not on a random normal test set; a constant column is left out of the score instead of
switching the standardisation off for all columns; a proportion of missing cells is met exactly when patterns differ in
size. Multilevel scores, amputation of whole clusters and drop-out are additions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

TYPES = ("FLAT", "RIGHT", "LEFT", "MID", "TAIL")
STEPS = 64  # halvings of a bracket about 100 wide: to the last bit of float64


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["prop", "amputed", "freq", "weights", "types", "odds", "groups"],
    meta_fields=["discrete"],
)
@dataclass(frozen=True)
class AmputeSpec:
    """What to ampute, as arrays: P patterns, p columns, f features (the columns of the scores).

    Attributes
    ----------
    prop
        () share of the units (rows or clusters) that become incomplete.
    amputed
        (P, p) True where a pattern makes a column missing.
    freq
        (P,) share of the incomplete units by pattern; adds up to 1.
    weights
        (P, f) weights of the standardised features in the score.
    types
        (P,) places in `TYPES`: where on the score the probability is high.
    odds, groups
        (P, G) relative probabilities in quantile groups of the score, and (P,) numbers of these groups.
    discrete
        Whether ``odds`` are used and not ``types``; static.
    """

    prop: jax.Array
    amputed: jax.Array
    freq: jax.Array
    weights: jax.Array
    types: jax.Array
    odds: jax.Array
    groups: jax.Array
    discrete: bool = False


def ampute_arrays(
    key: jax.Array,
    data: jax.Array,
    spec: AmputeSpec,
    *,
    features: jax.Array | None = None,
    rows: jax.Array | None = None,
    offset: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Ampute one data set: (n, p) data with NaN where missing, and (n, p) True where missing.

    ``features`` (n, f) are the columns of the scores, ``data`` (n, p) by default. ``rows`` (n,) are True for rows that
    exist; others are never candidates. ``offset`` (n,) is added to the logit before calibration, such as an effect of
    the row's cluster.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> one = AmputeSpec(jnp.asarray(0.5), jnp.array([[False, True]]), jnp.ones(1), jnp.array([[1.0, 0.0]]),
    ...     jnp.array([TYPES.index("RIGHT")]), jnp.ones((1, 1)), jnp.array([1]))
    >>> x = jax.random.normal(jax.random.key(1), (8, 2))
    >>> incomplete, mask = ampute_arrays(jax.random.key(2), x, one)
    >>> bool((jnp.isnan(incomplete) == mask).all()), bool(mask[:, 0].any())
    (True, False)
    """
    n = data.shape[0]
    rows = jnp.ones(n, dtype=bool) if rows is None else rows
    features = data if features is None else features
    draws = jax.random.uniform(key, (2, n), dtype=spec.freq.dtype)  # one call: it compiles in half the time
    pattern = (draws[0][:, None] >= jnp.cumsum(spec.freq)[None, :-1]).sum(1, dtype=jnp.int32)
    hit = draws[1] < missing_probabilities(features, pattern, spec, rows=rows, offset=offset)
    mask = hit[:, None] & spec.amputed[pattern]
    return jnp.where(mask, jnp.full((), jnp.nan, data.dtype), data), mask


def missing_probabilities(
    features: jax.Array,
    pattern: jax.Array,
    spec: AmputeSpec,
    *,
    rows: jax.Array,
    offset: jax.Array | None = None,
) -> jax.Array:
    """(n,) probability of each row to become incomplete, given the pattern (n,) it is a candidate for; 0 in padding.

    The mean over the candidates of each pattern equals ``spec.prop`` to rounding.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> one = AmputeSpec(jnp.asarray(0.3), jnp.ones((1, 1), bool), jnp.ones(1), jnp.ones((1, 1)),
    ...     jnp.array([TYPES.index("TAIL")]), jnp.ones((1, 1)), jnp.array([1]))
    >>> x = jax.random.normal(jax.random.key(1), (50, 1))
    >>> p = missing_probabilities(x, jnp.zeros(50, int), one, rows=jnp.ones(50, bool))
    >>> round(float(p.mean()), 5)
    0.3
    """
    shift = jnp.zeros(features.shape[0], features.dtype) if offset is None else offset

    def one(number: jax.Array, weights: jax.Array, kind: jax.Array, odds: jax.Array, groups: jax.Array) -> jax.Array:
        candidate = rows & (pattern == number)
        z = score(features, candidate, weights)
        if spec.discrete:
            logit = jnp.log(odds)[_quantile_group(z, candidate, groups)] + shift
        else:
            logit = shape(z, kind) + shift
        return _calibrate(logit, candidate, spec.prop, spec.discrete)

    numbers = jnp.arange(spec.freq.size, dtype=pattern.dtype)
    every = jax.vmap(one)(numbers, spec.weights, spec.types, spec.odds, spec.groups)
    own = jnp.take_along_axis(every, pattern[None], axis=0)[0]
    return jnp.where(rows, own, jnp.zeros((), own.dtype))


def score(features: jax.Array, candidate: jax.Array, weights: jax.Array) -> jax.Array:
    """(n,) weighted sum of the standardised features (n, f), itself standardised over the candidates (n,); 0 elsewhere.

    SDs have the divisor n - 1; a feature that is constant over the candidates counts as 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> score(jnp.array([[1.0], [2.0], [3.0]]), jnp.ones(3, bool), jnp.ones(1)).tolist()
    [-1.0, 0.0, 1.0]
    """
    return _standardise((_standardise(features, candidate) * weights[None]).sum(1)[:, None], candidate)[:, 0]


def shape(z: jax.Array, kind: jax.Array) -> jax.Array:
    """Logit of the probability (n,), up to its intercept, at standardised scores z (n,); Schouten et al. 2018, table 2.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> shape(jnp.array([-2.0, 1.0]), jnp.array(TYPES.index("MID"))).tolist()
    [-2.0, -1.0]
    """
    choices = jnp.stack([jnp.zeros_like(z), z, -z, -jnp.abs(z), jnp.abs(z)])
    return jnp.take(choices, kind, axis=0)


def cluster_features(data: jax.Array, groups: jax.Array, levels: int, rows: jax.Array) -> jax.Array:
    """(n, 2 p): deviations of every column of ``data`` (n, p) from the mean of its cluster, then these means.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x, groups = jnp.array([[1.0], [3.0], [7.0]]), jnp.array([0, 0, 1])
    >>> cluster_features(x, groups, 2, jnp.ones(3, bool)).tolist()
    [[-1.0, 2.0], [1.0, 2.0], [0.0, 7.0]]
    """
    means = cluster_means(data, groups, levels, rows)[groups]
    within = data - means
    noise = _noise(data.dtype) * (jnp.abs(data) + jnp.abs(means))  # a level-2 column has no deviations
    return jnp.concatenate([jnp.where(jnp.abs(within) <= noise, jnp.zeros_like(within), within), means], axis=1)


def cluster_means(data: jax.Array, groups: jax.Array, levels: int, rows: jax.Array) -> jax.Array:
    """Mean of every column in every cluster: (levels, p); 0 for a cluster without rows."""
    real = rows.astype(data.dtype)
    sums = jax.ops.segment_sum(data * real[:, None], groups, num_segments=levels)
    counts = jax.ops.segment_sum(real, groups, num_segments=levels)
    return sums / jnp.maximum(counts, jnp.ones_like(counts))[:, None]


def ampute_clusters(
    key: jax.Array, data: jax.Array, groups: jax.Array, levels: int, spec: AmputeSpec, *, rows: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Ampute whole clusters, scored by their means: as `ampute_arrays`, the same for all rows of a cluster.

    For level-2 variables, and for clusters that drop out of a study (patterns with level-1 columns).

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> one = AmputeSpec(jnp.asarray(0.5), jnp.array([[False, True]]), jnp.ones(1), jnp.array([[1.0, 0.0]]),
    ...     jnp.array([TYPES.index("RIGHT")]), jnp.ones((1, 1)), jnp.array([1]))
    >>> x = jax.random.normal(jax.random.key(1), (6, 2))
    >>> _, mask = ampute_clusters(
    ...     jax.random.key(2), x, jnp.array([0, 0, 1, 1, 2, 2]), 3, one, rows=jnp.ones(6, bool))
    >>> bool((mask[::2] == mask[1::2]).all())
    True
    """
    exists = jax.ops.segment_sum(rows.astype(jnp.int32), groups, num_segments=levels) > 0
    _, lost = ampute_arrays(key, cluster_means(data, groups, levels, rows), spec, rows=exists)
    mask = lost[groups] & rows[:, None]
    return jnp.where(mask, jnp.full((), jnp.nan, data.dtype), data), mask


def drop_out_rows(
    key: jax.Array,
    features: jax.Array,
    subject: jax.Array,
    time: jax.Array,
    rows: jax.Array,
    *,
    subjects: int,
    prop: jax.Array,
    weights: jax.Array,
    kind: jax.Array,
    lagged: bool,
) -> jax.Array:
    """(n,) True for rows lost to drop-out: who leaves does not come back, and the first row is always there.

    The logit of the hazard at an occasion is a `shape` of the score plus one intercept, calibrated so that
    the expected share of subjects (of those with two occasions or more) who have left by the end is ``prop``.

    Parameters
    ----------
    features
        (n, f) columns of the score; ``weights`` (f,) are those of the standardised features.
    subject, time
        (n,) subject, 0 to subjects - 1, and occasion of each row, in any order.
    kind
        () place in `TYPES`.
    lagged
        True: the hazard depends on the features at the occasion before (missing at random); False: on those
        at the occasion itself (missing not at random); static.
    rows
        (n,) True for rows that exist.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> y, subject, time = jnp.arange(6.0)[:, None], jnp.array([0, 0, 0, 1, 1, 1]), jnp.array([0, 1, 2] * 2)
    >>> lost = drop_out_rows(
    ...     jax.random.key(1), y, subject, time, jnp.ones(6, bool), subjects=2, prop=jnp.asarray(1.0),
    ...     weights=jnp.ones(1), kind=jnp.array(TYPES.index("RIGHT")), lagged=True)
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


def _standardise(x: jax.Array, candidate: jax.Array) -> jax.Array:
    """(n, f) columns with mean 0 and SD 1 over the candidates; 0 in constant columns and other rows."""
    here = candidate.astype(x.dtype)[:, None]
    n = here.sum()
    mean = (x * here).sum(0) / jnp.maximum(n, jnp.ones_like(n))
    deviation = (x - mean[None]) * here
    sd = jnp.sqrt((deviation**2).sum(0) / jnp.maximum(n - 1, jnp.ones_like(n)))
    varies = sd > _noise(x.dtype) * jnp.abs(mean)
    return deviation * jnp.where(varies, 1 / jnp.where(varies, sd, jnp.ones_like(sd)), jnp.zeros_like(sd))[None]


def _quantile_group(z: jax.Array, candidate: jax.Array, groups: jax.Array) -> jax.Array:
    """(n,) quantile group of each score among the candidates, 0 to groups - 1; equal scores share a group."""
    ordered = jnp.sort(jnp.where(candidate, z, jnp.full((), jnp.inf, z.dtype)))
    below = jnp.searchsorted(ordered, z, side="left")
    n = jnp.maximum(candidate.sum(dtype=below.dtype), jnp.ones((), below.dtype))
    return jnp.minimum(below * groups // n, groups - 1)


def _calibrate(logit: jax.Array, candidate: jax.Array, prop: jax.Array, discrete: bool) -> jax.Array:
    """Probabilities whose mean over the candidates is ``prop``."""

    def probabilities(intercept: jax.Array) -> jax.Array:
        if discrete:
            return jnp.minimum(jnp.exp(logit + intercept), jnp.ones_like(logit))
        return jax.nn.sigmoid(logit + intercept)

    return probabilities(bisect(lambda b: masked_mean(probabilities(b), candidate), prop, logit, candidate))


def _noise(dtype: jnp.dtype) -> float:
    return 64 * float(np.spacing(np.ones((), dtype)))


def masked_mean(x: jax.Array, where: jax.Array) -> jax.Array:
    """Mean over the entries where a mask is True; 0 if there is none."""
    here = where.astype(x.dtype)
    return (x * here).sum() / jnp.maximum(here.sum(), jnp.ones((), x.dtype))


def bisect(
    function: Callable[[jax.Array], jax.Array], target: jax.Array, logit: jax.Array, candidate: jax.Array
) -> jax.Array:
    """Intercept at which an increasing function of it crosses the target, given the logits it is added to."""
    known = candidate & jnp.isfinite(logit)
    # sigmoid(-50) is 2e-22: proportions of 0 and 1 are within reach
    low = -50 - jnp.max(logit, initial=0.0, where=known)
    high = 50 - jnp.min(logit, initial=0.0, where=known)

    def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        below, above = bracket
        middle = (below + above) / 2
        small = function(middle) < target
        return jnp.where(small, middle, below), jnp.where(small, above, middle)

    low, high = jax.lax.fori_loop(0, STEPS, halve, (low, high))
    middle: jax.Array = (low + high) / 2
    return middle
