"""Covariance matrices of T visits as functions of unconstrained parameters phi, and where a search begins.

=========  ===========================================================================================================
structure  parameters
=========  ===========================================================================================================
us         logarithms of the T innovation SDs; coefficients of the regression of each visit on those before it
cs         log SD; the common correlation, between -1/(T - 1) and 1, by a logistic function
ar1        log SD; atanh of the correlation of neighbours, correlations being its powers
toep       log SD; atanh of the T - 1 partial autocorrelations
ante1      T log SDs; atanh of the T - 1 correlations of neighbours, other correlations being their products
diag       T log SDs
=========  ===========================================================================================================

csh, ar1h and toeph have T SDs and the correlations of cs, ar1 and toep. The regressions of us are Pourahmadi's (1999,
Biometrika 86:677), the partial autocorrelations those of Barndorff-Nielsen and Schou (1973): any phi is positive
definite.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.small import factor_inverse, small_eigh
from ..shapes import Float

STRUCTURES = ("us", "cs", "csh", "ar1", "ar1h", "toep", "toeph", "ante1", "diag")
# those with an SD for each visit, and those in which the distance of visits counts as their order
HETEROGENEOUS = frozenset(("csh", "ar1h", "toeph", "ante1", "diag"))
SPACED = frozenset(("ar1", "ar1h", "toep", "toeph"))
# least eigenvalue of the correlations that a search begins with, and the largest correlation
LEAST_EIGENVALUE, MOST_CORRELATED = 0.05, 0.95


def n_parameters(structure: str, n_visits: int) -> int:
    """Number of parameters."""
    return _n_sds(structure, n_visits) + _n_correlations(structure, n_visits)


def _n_sds(structure: str, n_visits: int) -> int:
    return n_visits if structure == "us" or structure in HETEROGENEOUS else 1


def _n_correlations(structure: str, n_visits: int) -> int:
    if structure == "us":
        return n_visits * (n_visits - 1) // 2
    kinds = {"cs": 1, "ar1": 1, "toep": n_visits - 1, "ante1": n_visits - 1, "diag": 0}
    return kinds[kind_of_correlations(structure)]


def kind_of_correlations(structure: str) -> str:
    """Structure of the correlations."""
    return structure.removesuffix("h") if structure in ("csh", "ar1h", "toeph") else structure


def covariance(phi: Float[Array, " d"], structure: str, n_visits: int) -> Float[Array, "T T"]:
    """Covariance matrix at phi."""
    if structure == "us":
        return _from_regressions(phi[:n_visits], phi[n_visits:], n_visits)
    n = _n_sds(structure, n_visits)
    sd = jnp.broadcast_to(jnp.exp(phi[:n]), (n_visits,))
    return jnp.outer(sd, sd) * CORRELATIONS[kind_of_correlations(structure)](phi[n:], n_visits)


def _from_regressions(log_sd: Array, coefficients: Array, n_visits: int) -> Array:
    """Sum over innovations: the rows of N say what every visit has of each."""
    unit = jnp.eye(n_visits, dtype=log_sd.dtype)
    rows, start = [unit[0]], 0
    for t in range(1, n_visits):
        rows.append(unit[t] + coefficients[start : start + t] @ jnp.stack(rows))
        start += t
    both = jnp.stack(rows) * jnp.exp(log_sd)[None]
    return both @ both.T


def least_common(n_visits: int) -> float:
    """Common correlation of T visits at which their sum has no variance."""
    return -1.0 / (n_visits - 1)


def _exchangeable(phi: Array, n_visits: int) -> Array:
    low = least_common(n_visits)
    rho = low + (1 - low) * jax.nn.sigmoid(phi[0])
    eye = jnp.eye(n_visits, dtype=phi.dtype)
    return eye + rho * (1 - eye)


def _banded(lags: Array, n_visits: int) -> Array:
    """Matrix of the correlations at lags 0 .. T - 1."""
    at = np.arange(n_visits)
    return lags[np.abs(at[:, None] - at)]


def _autoregressive(phi: Array, n_visits: int) -> Array:
    rho, lags = jnp.tanh(phi[0]), [jnp.ones((), phi.dtype)]
    for _ in range(1, n_visits):
        lags.append(lags[-1] * rho)
    return _banded(jnp.stack(lags), n_visits)


def _toeplitz(phi: Array, n_visits: int) -> Array:
    return _banded(_autocorrelations(jnp.tanh(phi), n_visits), n_visits)


def _autocorrelations(partial: Array, n_visits: int) -> Array:
    """Autocorrelations from the partial ones, by the recursion of Durbin and Levinson."""
    lags = jnp.ones(1, partial.dtype)
    coefficients, left = jnp.zeros(0, partial.dtype), jnp.ones((), partial.dtype)
    for k in range(n_visits - 1):
        lags = jnp.append(lags, partial[k] * left + coefficients @ lags[:0:-1])
        coefficients = jnp.append(coefficients - partial[k] * coefficients[::-1], partial[k])
        left = left * (1 - partial[k] ** 2)
    return lags


def _partial(lags: Array, n_visits: int) -> Array:
    """Partial autocorrelations, each kept off +-1, from autocorrelations that may belong to no positive matrix."""
    out: list[Array] = []
    known = jnp.ones(1, lags.dtype)
    coefficients, left = jnp.zeros(0, lags.dtype), jnp.ones((), lags.dtype)
    for k in range(n_visits - 1):
        one = _inside((lags[k + 1] - coefficients @ known[:0:-1]) / left)
        out.append(one)
        known = jnp.append(known, one * left + coefficients @ known[:0:-1])
        coefficients = jnp.append(coefficients - one * coefficients[::-1], one)
        left = left * (1 - one**2)
    return jnp.stack(out)


def _antedependent(phi: Array, n_visits: int) -> Array:
    rho = jnp.tanh(phi)
    unit = jnp.eye(n_visits, dtype=phi.dtype)
    rows = [unit[0]]
    for t in range(1, n_visits):
        rows.append(rho[t - 1] * rows[-1] + unit[t])
    lower = jnp.stack(rows)
    return lower + lower.T - unit


def _independent(phi: Array, n_visits: int) -> Array:
    return jnp.eye(n_visits, dtype=phi.dtype)


CORRELATIONS: dict[str, Callable[[Array, int], Array]] = {
    "cs": _exchangeable,
    "ar1": _autoregressive,
    "toep": _toeplitz,
    "ante1": _antedependent,
    "diag": _independent,
}


def start(
    moments: Float[Array, "T T"], observed: Float[Array, "T T"], spread: Float[Array, ""], structure: str
) -> Float[Array, " d"]:
    """Parameters near covariances that were estimated pair by pair.

    Parameters
    ----------
    moments : Array (T, T)
        Covariances; without meaning where nothing was observed.
    observed : Array (T, T)
        Patients with both visits.
    spread : Array, scalar
        Factor on the correlations up to 1, beyond it on the SDs.
    structure : str
    """
    n_visits = len(moments)
    variance, counts = jnp.diagonal(moments), jnp.diagonal(observed)
    mean = jnp.sum(variance * counts) / jnp.sum(counts)
    # a visit that is explained, or never observed, begins like the others
    variance = jnp.where(variance > 1e-3 * mean, variance, mean)
    eye = jnp.eye(n_visits, dtype=moments.dtype)
    raw = _inside(moments / jnp.sqrt(jnp.outer(variance, variance)))
    correlation = jnp.where((observed > 0) & (eye == 0), raw * jnp.minimum(spread, 1.0), eye)
    sd = jnp.sqrt(variance) * jnp.maximum(spread, 1.0)
    if structure == "us":
        return _regressions(_made_positive(correlation), sd)
    log_sd = jnp.log(sd if structure in HETEROGENEOUS else jnp.sqrt(jnp.sum(sd**2 * counts) / jnp.sum(counts))[None])
    return jnp.concatenate([log_sd, _start_of_correlations(correlation, observed, kind_of_correlations(structure))])


def _inside(rho: Array) -> Array:
    return jnp.clip(rho, -MOST_CORRELATED, MOST_CORRELATED)


def _made_positive(correlation: Array) -> Array:
    """Move a matrix of correlations towards the identity until it is positive definite."""
    least = small_eigh(correlation)[0][0]
    share = jnp.clip((LEAST_EIGENVALUE - least) / (1 - least), 0.0, 1.0)
    return correlation * (1 - share) + share * jnp.eye(len(correlation), dtype=correlation.dtype)


def _regressions(correlation: Array, sd: Array) -> Array:
    """Log innovation SDs and regression coefficients of a covariance matrix."""
    n_visits = len(sd)
    factor, inverse = factor_inverse(correlation)
    pivots = jnp.diagonal(factor)
    coefficients = -inverse * jnp.outer(pivots * sd, 1 / sd)
    return jnp.concatenate([jnp.log(pivots * sd), coefficients[np.tril_indices(n_visits, -1)]])


def _start_of_correlations(correlation: Array, observed: Array, kind: str) -> Array:
    n_visits = len(correlation)
    if kind == "diag":
        return jnp.zeros(0, correlation.dtype)
    at = np.arange(n_visits)
    lags = at[:, None] - at

    def mean(which: np.ndarray) -> Array:
        weight = jnp.where(which, observed, 0.0)
        return jnp.sum(weight * correlation) / jnp.maximum(jnp.sum(weight), 1.0)

    if kind == "cs":
        low = least_common(n_visits)
        share = (jnp.clip(mean(lags > 0), 0.9 * low, MOST_CORRELATED) - low) / (1 - low)
        return (jnp.log(share) - jnp.log1p(-share))[None]
    if kind == "ar1":
        return jnp.arctanh(_inside(mean(lags == 1)))[None]
    if kind == "ante1":
        return jnp.arctanh(jnp.diagonal(correlation, offset=1))
    one = jnp.ones((), correlation.dtype)
    return jnp.arctanh(_partial(jnp.stack([one, *(mean(lags == k) for k in range(1, n_visits))]), n_visits))
