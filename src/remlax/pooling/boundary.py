"""P-values of tests whose null hypothesis puts variances on the boundary of the parameter space."""

from __future__ import annotations

from dataclasses import replace
from math import comb, inf

import numpy as np
import numpy.typing as npt

from remlax.errors import PoolingError
from remlax.pooling._checks import FloatArray, as_float, check_components
from remlax.pooling._pooled_test import PooledTest
from remlax.pooling._tails import f_upper


def chibar_p_value(statistic: npt.ArrayLike, k: int, n_boundary: int = 1, *, df2: npt.ArrayLike = inf) -> FloatArray:
    """Upper tail probability of a chi-bar-square mixture, or of its counterpart in F for pooled tests.

    p = sum_j C(n_boundary, j) / 2^n_boundary P(F(k - j, df2) > statistic / (k - j)), where F with zero
    numerator degrees of freedom is a point mass at zero. With n_boundary = 1 this is the 50:50 mixture of
    chi-square with k - 1 and k degrees of freedom: one variance is zero under the null hypothesis, together
    with the k - 1 covariances of its random effect.

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
    x, nu = np.broadcast_arrays(as_float(statistic, "statistic", 0), as_float(df2, "denominator degrees of freedom", 0))
    p = np.zeros(x.shape)
    for j in range(n_boundary + 1):
        weight = comb(n_boundary, j) / 2**n_boundary
        tail = f_upper(x / (k - j), k - j, nu) if j < k else np.where(np.isnan(x), x, 1.0 * (x <= 0))
        p = p + weight * tail
    return np.asarray(p)


def at_boundary(test: PooledTest, n_boundary: int = 1) -> PooledTest:
    """Replace the p-value of D2, D3 or D4 by that of the boundary mixture; see `chibar_p_value`.

    Parameters
    ----------
    test : PooledTest
        A test of k parameters.
    n_boundary : int, default 1
        How many of them are variances that are zero under the null hypothesis.

    Returns
    -------
    PooledTest
        The same statistic and degrees of freedom, another p-value, and a note that says so.

    Raises
    ------
    PoolingError
        n_boundary outside 0..k.

    References
    ----------
    Self, S. G. and Liang, K.-Y. (1987). JASA 82, 605-610.
    Stram, D. O. and Lee, J. W. (1994). Biometrics 50, 1171-1177.

    Examples
    --------
    >>> from remlax.pooling import d2
    >>> test = d2([3.0, 3.0], 1)
    >>> float(test.p_value / at_boundary(test).p_value)
    2.0
    """
    p = chibar_p_value(test.df1 * test.statistic, test.df1, n_boundary, df2=test.df2)
    weights = ", ".join(f"{comb(n_boundary, j) / 2**n_boundary:.3g} F({test.df1 - j})" for j in range(n_boundary + 1))
    note = f"P-value from the mixture {weights} (Self and Liang 1987; Stram and Lee 1994)."
    return replace(test, p_value=p, note=f"{test.note} {note}".strip())
