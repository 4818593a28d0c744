"""Checks of what is handed to the pooling functions; every message says where, and what to do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checks import Checks
from ..errors import PoolingError

FloatArray = npt.NDArray[np.float64]

checks = Checks(PoolingError)


def as_float(values: npt.ArrayLike, what: str, min_ndim: int) -> FloatArray:
    """Turn `values` into a float64 array with at least `min_ndim` axes."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PoolingError(f"The {what} cannot be read as one array of numbers: {error}.") from error
    if array.ndim < min_ndim:
        raise PoolingError(f"The {what} need at least {min_ndim} axes, and have the shape {array.shape}.")
    return array


def check_count(m: int) -> None:
    """Refuse fewer than two imputations."""
    if m < 2:
        raise PoolingError(
            f"Pooling needs at least two imputations, and there is {'one' if m == 1 else 'none'}: the spread "
            "between imputations cannot be estimated. Impute more often, or report the single fit as it is."
        )


def check_finite(values: FloatArray, what: str, axis: int) -> None:
    """Refuse NaN and infinite values, naming the imputations along `axis`."""
    finite = np.isfinite(values)
    if not finite.all():
        raise PoolingError(
            f"The {what} of {name_imputations(~finite, axis)} (counted from 1) hold NaN or infinite values: "
            "that fit failed. Repair it, or leave it out and say so."
        )


def name_imputations(chosen: npt.NDArray[np.bool_], axis: int) -> str:
    """Write `imputation 3` or `imputations 1, 3, 4`, cut after eight, for the places along `axis` that have any."""
    where = np.unique(np.nonzero(chosen)[axis % chosen.ndim]) + 1
    shown = ", ".join(str(i) for i in where[:8]) + (", ..." if len(where) > 8 else "")
    return f"imputation{'s' if len(where) > 1 else ''} {shown}"


def check_variances(variances: FloatArray, axis: int) -> None:
    """Refuse negative variances, naming the imputations along `axis`."""
    negative = variances < 0
    if negative.any():
        where = name_imputations(negative, axis).capitalize()
        raise PoolingError(f"{where} (counted from 1): a variance is negative.")


def check_dfcom(dfcom: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Complete-data degrees of freedom as an array of `shape`; inf is allowed, NaN and zero are not."""
    array = as_float(dfcom, "complete-data degrees of freedom (dfcom)", 0)
    if not (array > 0).all():
        raise PoolingError(
            "The complete-data degrees of freedom (dfcom) must be positive numbers; math.inf stands for a "
            f"large sample. Given: {np.array2string(array, threshold=8)}."
        )
    try:
        return np.broadcast_to(array, shape).copy()
    except ValueError:
        raise PoolingError(
            f"The complete-data degrees of freedom (dfcom) have the shape {array.shape}; "
            f"one number or an array that broadcasts to {shape} is needed."
        ) from None


def read_estimates(
    estimates: npt.ArrayLike,
    spreads: npt.ArrayLike,
    what: str,
    *,
    name: str = "estimates",
    several: bool = True,
    finite: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Read estimates (..., m, p) with their ``what``: variances (..., m, p) or covariances (..., m, p, p)."""
    matrices = what == "covariances"
    q = as_float(estimates, name, 2)
    u = as_float(spreads, what, 2 + matrices)
    needed = (*q.shape, q.shape[-1]) if matrices else q.shape
    if u.shape != needed:
        raise PoolingError(f"The {what} have the shape {u.shape}; {name} of shape {q.shape} need {needed}.")
    if several:
        check_count(q.shape[-2])
    if finite:
        check_finite(q, name, -2)
        check_finite(u, what, -2 - matrices)
    return q, u


def check_components(k: int) -> None:
    """Refuse a test of fewer than one component."""
    if k < 1:
        raise PoolingError(f"A test needs at least one component (k >= 1); k is {k}.")
