"""Replicate weights: how they were made, and what the squares of their deviations are multiplied with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ..checks import Checks
from ..errors import DataError, DataWarning, shortened, warn

Method = Literal["brr", "fay", "jk1", "jk2", "bootstrap"]
NAMES = {
    "brr": "balanced repeated replication",
    "fay": "Fay's method",
    "jk1": "the jackknife (JK1)",
    "jk2": "the paired jackknife (JK2)",
    "bootstrap": "the bootstrap",
}
checks = Checks()


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicate weights (R, n), the factor of the sum of squares, degrees of freedom, and the method in words."""

    weights: np.ndarray
    factor: float
    df: float
    words: str


def read_replicates(
    given: pd.DataFrame | Sequence[str] | None,
    frame: pd.DataFrame,
    kept: np.ndarray | None,
    method: Method | None,
    fay: float,
    factor: float | None,
) -> Replicates | None:
    """Read replicate weights: columns of the data, or a frame with a row for every row of it.

    Raises
    ------
    DataError
    """
    if method is not None:
        checks.choice(method, Method, "method=")
    if given is None:
        said = {"method": method, "replicate_factor": factor, "fay": None if fay == 0.5 else fay}
        for name, value in said.items():
            if value is not None:
                raise DataError(f"{name}={value!r} says how replicate weights were made: give them as replicates=")
        return None
    if method is None:
        known = ", ".join(map(repr, get_args(Method)))
        raise DataError(f"replicates= needs method=, which says how they were made: one of {known}")
    values = _values(given, frame, kept)
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError(f"{int((~(values >= 0)).sum())} replicate weights are missing, infinite or negative")
    count = len(values)
    if count < 2:
        raise DataError("replicates= holds one set of weights: at least two are needed")
    empty = np.flatnonzero(values.sum(axis=1) == 0)
    if len(empty):
        raise DataError(f"replicate {shortened(empty + 1)} has no weight: all its rows have 0")
    rank = int(np.linalg.matrix_rank(values))
    if rank < 2:
        raise DataError("the replicates do not differ from each other: there is no sampling variance")
    checks.number(fay, "fay=", 0.0, 0.99)
    usual = {"brr": 1 / count, "fay": 1 / (count * (1 - fay) ** 2), "jk1": (count - 1) / count, "jk2": 1.0}
    own = usual.get(method, 1 / (count - 1)) if factor is None else checks.positive(factor, "replicate_factor=")
    words = f"{count} replicates by {NAMES[method]}" + (f" ({fay:g})" if method == "fay" else "")
    return Replicates(values, own, float(rank - 1), words)


def _values(given: pd.DataFrame | Sequence[str], frame: pd.DataFrame, kept: np.ndarray | None) -> np.ndarray:
    if isinstance(given, pd.DataFrame):
        if len(given) != (len(frame) if kept is None else len(kept)):
            raise DataError(f"replicates= has {len(given)} rows, and the data have {len(frame)}")
        chosen = given if kept is None else given.loc[kept]
        if not chosen.index.equals(frame.index):
            raise DataError("the rows of replicates= have other labels than those of the data, or another order")
    else:
        if isinstance(given, np.ndarray) and given.ndim > 1:
            raise DataError("replicates= is an array: give a DataFrame with the rows of the data, or names of columns")
        names = checks.names(given, "replicates=")
        unknown = [name for name in names if name not in frame.columns]
        if unknown:
            raise DataError(f"replicates= names {shortened(map(repr, unknown))}, which is no column of the data")
        if len(set(names)) < len(names):
            raise DataError("replicates= names a column twice")
        chosen = frame[names]
    wrong = [str(name) for name, kind in chosen.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if wrong:
        raise DataError(f"replicate weights must be numbers, and {shortened(map(repr, wrong))} holds other things")
    return np.ascontiguousarray(chosen.to_numpy(np.float64).T)


def check_sums(values: np.ndarray, product: np.ndarray) -> None:
    """Refuse columns that are no replicates of the weights (n,).

    Raises
    ------
    DataError
        The sum of a replicate is far from that of the others.
    """
    share = values.sum(axis=1) / product.sum()
    off = np.flatnonzero(np.abs(np.log(share / np.median(share))) > np.log(2))
    if len(off):
        raise DataError(
            f"replicate {shortened(off + 1)} sums to {share[off[0]]:.3g} times the weights of the sample, and the "
            f"middle one to {np.median(share):.3g} times: it is none of their replicates"
        )


def warn_method(values: np.ndarray, product: np.ndarray, method: Method, fay: float) -> None:
    """Say so where replicates differ from the weights (n,) by more or less than those of the method do.

    Those of BRR do so by all of the weight, those of Fay's method by 1 - fay, those of the jackknife hardly in most
    rows.

    Warns
    -----
    DataWarning
    """
    share = values.sum(axis=1) / product.sum()
    wanted = {"brr": 1.0, "fay": 1 - fay, "jk1": 0.0, "jk2": 0.0}.get(method)
    found = float(np.median(np.abs(values / product / np.median(share) - 1)))
    if wanted is not None and abs(found - wanted) > 0.2:
        said = f"{method!r}" + (f", fay={fay:g}" if method == "fay" else "")
        like = "the jackknife" if found < 0.1 else "brr" if found > 0.9 else f"fay with fay={1 - found:.2g}"
        warn(
            f"replicates made by method={said} differ from the weights by {wanted:.0%} in most rows, and these by "
            f"{found:.0%}, as those of {like}: if that is how they were made, standard errors are wrong by a factor",
            DataWarning,
        )
