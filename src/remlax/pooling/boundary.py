"""P-values of tests whose null hypothesis puts variances on the boundary of the parameter space."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb, inf

import numpy as np
import numpy.typing as npt
import scipy

from ..errors import PoolingError
from ..shapes import Float
from ._checks import FloatArray, as_float, check_components
from .multiparameter import PooledTest
from .tails import f_upper


def chibar_weights(cov: npt.ArrayLike) -> Float[FloatArray, " weights"]:
    """Weights of the chi-bar-square distribution of variances that are zero under the null hypothesis.

    Weight j is the probability that a normal vector with covariance ``cov``, projected on the values that are not
    negative (in the metric of its inverse), keeps m - j components: a sum over subsets of products of two orthant
    probabilities.

    Parameters
    ----------
    cov : array_like (m, m)
        Asymptotic covariance of the variances' estimates, were they free to be negative; its scale does not matter.

    Returns
    -------
    array (m + 1,)
        Weights of k, k - 1, ..., k - m degrees of freedom.

    Raises
    ------
    PoolingError
        Not a positive definite matrix.

    References
    ----------
    Kudo, A. (1963). Biometrika 50, 403-418. Silvapulle, M. J. and Sen, P. K. (2005). Constrained Statistical Inference.
    Wiley, sec. 3.5.

    Examples
    --------
    >>> chibar_weights([[1.0, 0.5], [0.5, 1.0]]).round(4).tolist()
    [0.3333, 0.5, 0.1667]
    """
    v = as_float(cov, "covariance of the variances", 2)
    m = len(v)
    if v.shape != (m, m) or not np.allclose(v, v.T) or np.linalg.eigvalsh(v).min() <= 0:
        raise PoolingError("The covariance of the variances must be a symmetric positive definite matrix.")
    weights = np.zeros(m + 1)
    for j in range(m + 1):
        for zero in map(list, combinations(range(m), j)):
            kept = [i for i in range(m) if i not in zero]
            inverse = np.asarray(np.linalg.inv(v[np.ix_(zero, zero)]), dtype=np.float64)
            given = v[np.ix_(kept, kept)] - v[np.ix_(kept, zero)] @ inverse @ v[np.ix_(zero, kept)]
            weights[j] += _orthant(inverse) * _orthant(given)
    return np.asarray(weights / weights.sum())


def _orthant(v: FloatArray) -> float:
    """Probability that a normal vector with mean zero has no negative component."""
    m = len(v)
    if m == 0:
        return 1.0
    size = np.sqrt(np.diag(v))
    angle = np.arcsin(np.clip((v / np.outer(size, size))[np.triu_indices(m, 1)], -1, 1)).sum()
    if m <= 3:
        return float(0.5**m + angle / (2 ** (m - 1) * np.pi))
    return float(scipy.stats.multivariate_normal(np.zeros(m), v, seed=1).cdf(np.zeros(m)))


def chibar_p_value(
    statistic: npt.ArrayLike,
    k: int,
    n_boundary: int = 1,
    *,
    df2: npt.ArrayLike = inf,
    weights: npt.ArrayLike | None = None,
) -> FloatArray:
    """Upper tail probability of a chi-bar-square mixture, or of its counterpart in F for pooled tests.

    p = sum_j w_j P(F(k - j, df2) > statistic / (k - j)), where F with zero numerator degrees of freedom is a point
    mass at zero and w_j = C(n_boundary, j) / 2^n_boundary unless weights are given. With n_boundary = 1 this is the
    50:50 mixture of chi-square with k - 1 and k degrees of freedom: one variance is zero under the null hypothesis,
    together with the k - 1 covariances of its random effect.

    Parameters
    ----------
    statistic : float or array_like
        Likelihood-ratio statistic on the scale of chi-square (k times a statistic on the scale of F).
    k : int
        Difference in the number of parameters.
    n_boundary : int, default 1
        How many of the k are variances that are zero under the null hypothesis; 0 gives the plain test. For 2
        or more the binomial weights hold if the estimates of these variances are asymptotically uncorrelated.
    df2 : float or array_like, default inf
        Denominator degrees of freedom of the pooled test.
    weights : array_like (n_boundary + 1,), optional
        Those of `chibar_weights`, for estimates that are correlated.

    Returns
    -------
    array
        P-values, of the broadcast shape of `statistic` and `df2`.

    Raises
    ------
    PoolingError
        k < 1, or n_boundary outside 0..k.

    Notes
    -----
    The mixture of chi-squares is a theorem for likelihood-ratio statistics of complete data. For D2, D3 and
    D4 the mixture of F with the denominator degrees of freedom of the pooled test is its direct analogue.

    References
    ----------
    Self, S. G. and Liang, K.-Y. (1987). JASA 82, 605-610.
    Stram, D. O. and Lee, J. W. (1994). Biometrics 50, 1171-1177.

    Examples
    --------
    >>> round(float(chibar_p_value(2.705543454095404, 1)), 6)
    0.05
    """
    check_components(k)
    if not 0 <= n_boundary <= k:
        raise PoolingError(f"n_boundary must lie between 0 and k = {k}; it is {n_boundary}.")
    shares = _weights(n_boundary, weights)
    x, nu = np.broadcast_arrays(as_float(statistic, "statistic", 0), as_float(df2, "denominator degrees of freedom", 0))
    p = np.zeros(x.shape)
    for j in range(n_boundary + 1):
        tail = f_upper(x / (k - j), k - j, nu) if j < k else np.where(np.isnan(x), x, 1.0 * (x <= 0))
        p = p + shares[j] * tail
    return np.asarray(p)


def _weights(n_boundary: int, weights: npt.ArrayLike | None) -> FloatArray:
    if weights is None:
        return np.array([comb(n_boundary, j) / 2**n_boundary for j in range(n_boundary + 1)])
    given = as_float(weights, "weights", 1)
    if given.shape != (n_boundary + 1,):
        raise PoolingError(f"weights must have n_boundary + 1 = {n_boundary + 1} entries; shape {given.shape}.")
    return given


def at_boundary(test: PooledTest, n_boundary: int = 1, weights: npt.ArrayLike | None = None) -> PooledTest:
    """Replace the p-value of D2, D3 or D4 by that of the boundary mixture; see `chibar_p_value`.

    Parameters
    ----------
    test : PooledTest
        A test of k parameters.
    n_boundary, weights
        As in `chibar_p_value`.

    Returns
    -------
    PooledTest
        The same statistic and degrees of freedom, another p-value, and a note that says so.

    Raises
    ------
    PoolingError
        n_boundary outside 0..k.

    Examples
    --------
    >>> from remlax.pooling import d2
    >>> test = d2([3.0, 3.0], 1)
    >>> float(test.p_value / at_boundary(test).p_value)
    2.0
    """
    if not isinstance(test, PooledTest):
        raise PoolingError(f"at_boundary needs a pooled test, such as d2() gives, not a {type(test).__name__}.")
    p = chibar_p_value(test.df1 * test.statistic, test.df1, n_boundary, df2=test.df2, weights=weights)
    source = "Self and Liang 1987; Stram and Lee 1994" if weights is None else "Silvapulle and Sen 2005"
    words = mixture_words(_weights(n_boundary, weights), test.df1, "F")
    return replace(test, p_value=p, note=f"{test.note} P-value from the mixture {words} ({source}).".strip())


def mixture_words(weights: Float[FloatArray, " weights"], k: int, law: str) -> str:
    """Write a mixture, such as "0.5 F(2), 0.5 F(1)"."""
    return ", ".join(f"{weight:.3g} {law}({k - j})" for j, weight in enumerate(weights))
