"""Columns of a data frame to columns of a normal model, and imputed numbers back to cells."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from ..errors import ImputationError
from .arguments import checks
from .patterns import check_columns

FloatArray = npt.NDArray[np.float64]
Kind = Literal["continuous", "nominal", "ordinal"]
Transform = Literal["none", "log", "sqrt", "logistic"]
MAX_LEVELS = 1000  # of an ordinal column
MAGNITUDE = 1e100  # squares and their sums stay in the range of double precision


@dataclass(frozen=True)
class ColumnCode:
    """How one column enters the normal model.

    Attributes
    ----------
    name
        Column of the data frame.
    kind
        "continuous": one model column; "nominal": a dummy for every level but the first; "ordinal": the
        position among the levels, one model column.
    transform
        Of a continuous column.
    shift
        What is added before the logarithm: 1 - min(0, smallest observed value).
    levels
        Sorted levels of a nominal, ascending ones of an ordinal column.
    """

    name: str
    kind: Kind
    transform: Transform = "none"
    shift: float = 0.0
    levels: tuple[Any, ...] = ()

    @property
    def width(self) -> int:
        """Number of model columns."""
        return len(self.levels) - 1 if self.kind == "nominal" else 1

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the model columns."""
        if self.kind == "nominal" and self.width > 1:
            return tuple(f"{self.name}[{level}]" for level in self.levels[1:])
        return (self.name,)

    def forward(self, values: npt.ArrayLike) -> FloatArray:
        """Transform numbers of a continuous column; what lies outside the domain becomes -inf or inf."""
        x = np.asarray(values, dtype=np.float64)
        with np.errstate(divide="ignore"):
            if self.transform == "log":
                return np.log(np.maximum(x + self.shift, 0.0))
            if self.transform == "sqrt":
                return np.where(x < 0.0, -np.inf, np.sqrt(np.maximum(x, 0.0)))
            if self.transform == "logistic":
                return np.asarray(logit(np.clip(x, 0.0, 1.0)), dtype=np.float64)
        return x

    def backward(self, values: FloatArray) -> FloatArray:
        """Undo `forward`."""
        if self.transform == "log":
            return np.exp(values) - self.shift
        if self.transform == "sqrt":
            return np.square(values)
        if self.transform == "logistic":
            return np.asarray(expit(values), dtype=np.float64)
        return values

    def encode(self, column: pd.Series[Any]) -> FloatArray:
        """Model columns (n, width) of a data column, NaN where the cell is missing."""
        if self.kind == "continuous":
            return self.forward(as_floats(column))[:, None]
        position = level_positions(column, self.levels)
        if self.kind == "ordinal":
            return np.where(position < 0, np.nan, position)[:, None]
        dummies = (position[:, None] == np.arange(1, len(self.levels))).astype(np.float64)
        return np.where(position[:, None] < 0, np.nan, dummies)

    def decode(self, values: FloatArray, rng: np.random.Generator) -> Any:
        """Turn drawn model columns (k, width) into k cells: transforms undone, categories drawn.

        A nominal column's dummies are read as probabilities, cut to [0, 1] and to a sum of at most 1; an
        ordinal one is Binomial over the levels (Honaker, King & Blackwell 2011, section 4.3).
        """
        if self.kind == "continuous":
            return self.backward(values[:, 0])
        if self.kind == "ordinal":
            top = len(self.levels) - 1
            picks = rng.binomial(top, np.clip(values[:, 0] / top, 0.0, 1.0))
        else:
            chance = np.clip(values, 0.0, 1.0)
            chance /= np.maximum(chance.sum(axis=1, keepdims=True), 1.0)
            # levels 1, 2, ... take their part of (0, 1) in turn and the first level what is left
            above = rng.random((len(values), 1)) >= np.cumsum(chance, axis=1)
            picks = (above.sum(axis=1) + 1) % len(self.levels)
        return [self.levels[i] for i in picks]


def as_floats(column: pd.Series[Any]) -> FloatArray:
    """Return the column as float64 with NaN for missing cells, whatever its numeric type."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def level_positions(column: pd.Series[Any], levels: Sequence[Any]) -> npt.NDArray[np.intp]:
    """Position of every cell among the levels, in ascending order if numbers; -1 where missing."""
    if is_continuous(column):
        x, numbers = as_floats(column), np.asarray(levels, dtype=np.float64)
        place = np.searchsorted(numbers, x).clip(max=len(numbers) - 1)
        return np.where(numbers[place] == x, place, -1)
    found = pd.Index(levels, dtype=object).get_indexer(pd.Index(column.astype(object)))
    return np.asarray(found, dtype=np.intp)


def fill(column: pd.Series[Any], flags: npt.NDArray[np.bool_], values: Any) -> pd.Series[Any]:
    """Return the column with `values` in the flagged cells and its type kept.

    Only a nullable integer column that takes fractions becomes Float64, and a sparse column dense.
    """
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.astype(column.dtype.subtype)
    if isinstance(values, np.ndarray) and isinstance(column.dtype, np.dtype):
        numbers = column.to_numpy(copy=True)
        numbers[flags] = values
        return pd.Series(numbers, index=column.index, name=column.name)
    if isinstance(values, np.ndarray) and pd.api.types.is_integer_dtype(column.dtype):
        column = column.astype("Float64")
    filled = column.copy()
    filled.iloc[np.flatnonzero(flags)] = values
    return filled.infer_objects() if filled.dtype == object else filled


def is_continuous(column: pd.Series[Any]) -> bool:
    """Tell whether a column holds real numbers (truth values are not numbers here)."""
    kind = pd.api.types
    return kind.is_numeric_dtype(column.dtype) and not (
        kind.is_bool_dtype(column.dtype) or kind.is_complex_dtype(column.dtype)
    )


def check_values(column: pd.Series[Any]) -> None:
    """Raise an ImputationError unless the cells are values: real numbers, text, categories, dates, not lists."""
    if pd.api.types.is_complex_dtype(column.dtype):
        raise ImputationError(
            f"column {column.name!r} holds complex numbers: make its real and imaginary parts two columns, or drop it"
        )
    if column.dtype == object:
        strange = next((v for v in column if not isinstance(v, Hashable)), None)
        if strange is not None:
            raise ImputationError(
                f"column {column.name!r} holds a {type(strange).__name__} in a cell: make it numbers or text, or drop "
                "it"
            )


def is_logical(column: pd.Series[Any]) -> bool:
    """Tell whether a column holds truth values, possibly with missing cells."""
    if column.dtype == object:
        return pd.api.types.infer_dtype(column, skipna=True) == "boolean"
    return pd.api.types.is_bool_dtype(column.dtype)


def sorted_levels(column: pd.Series[Any]) -> tuple[Any, ...]:
    """Observed levels: in the order of the categories, else sorted."""
    seen = column.dropna().unique()
    if isinstance(column.dtype, pd.CategoricalDtype):
        present = set(seen)
        return tuple(level for level in column.dtype.categories if level in present)
    return tuple(sorted(seen.tolist(), key=_sort_key(seen.tolist())))


def _sort_key(values: Iterable[Any]) -> Callable[[Any], Any] | None:
    # levels of mixed type (1, "a") have no order of their own
    return str if len({isinstance(v, str) for v in values}) > 1 else None


def ordinal_levels(column: pd.Series[Any]) -> tuple[Any, ...]:
    """All levels of an ordinal column from lowest to highest; whole numbers count in steps of one."""
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        return tuple(column.dtype.categories)
    if not is_continuous(column):
        raise ImputationError(
            f"ordinal= names {column.name!r}, which is neither numeric nor an ordered categorical: give it "
            "the dtype pandas.CategoricalDtype(levels, ordered=True), or list it in nominal="
        )
    numbers = as_floats(column.dropna())
    if (numbers != np.round(numbers)).any():
        raise ImputationError(
            f"ordinal= names {column.name!r}, which holds fractions: leave it continuous, with bounds= if needed"
        )
    low, high = numbers.min(), numbers.max()
    if high - low >= MAX_LEVELS:
        raise ImputationError(
            f"ordinal= names {column.name!r}, whose values reach from {low:.6g} to {high:.6g}, more than {MAX_LEVELS} "
            "levels: leave it continuous"
        )
    return tuple(column.dtype.type(v) for v in range(int(low), int(high) + 1))


def plan_columns(
    data: pd.DataFrame,
    names: Sequence[str],
    **given: Sequence[str],
) -> tuple[ColumnCode, ...]:
    """Decide how each of the named columns enters the model, and check that it can.

    Lists of columns are given by role: nominal, ordinal, log, sqrt, logistic.

    Raises ImputationError: a column is text or categories and in neither list, is empty, constant or infinite, has a
    value outside the domain of its transform, has too many levels, or is in two lists.
    """
    lists = {role: check_columns(data, columns, f"{role}=") for role, columns in given.items()}
    roles: dict[str, str] = {}
    for role, columns in lists.items():
        for name in columns:
            if name not in names:
                raise ImputationError(
                    f"{role}= names {name!r}, which is not in the imputation model (an id, cluster or "
                    "derived column): take it out of one of the two lists"
                )
            if name in roles:
                raise ImputationError(f"column {name!r} is in both {roles[name]}= and {role}=: choose one")
            roles[name] = role
    return tuple(_plan_column(data[name], roles.get(name, "")) for name in names)


def _plan_column(column: pd.Series[Any], role: str) -> ColumnCode:
    name = str(column.name)
    check_values(column)
    n_seen = column.nunique()
    if n_seen < 2:
        what = "has no observed cell" if n_seen == 0 else "has the same value in all its observed cells"
        raise ImputationError(f"column {name!r} {what}: drop it, or list it in id_vars=")
    if role == "nominal" or (role == "" and is_logical(column)):
        levels = sorted_levels(column)
        if 3 * len(levels) > len(column):
            raise ImputationError(
                f"nominal column {name!r} has {len(levels)} levels, more than a third of the {len(column)} "
                "rows: merge levels, or list it in id_vars="
            )
        return ColumnCode(name, "nominal", levels=levels)
    if role == "ordinal":
        return ColumnCode(name, "ordinal", levels=ordinal_levels(column))
    if not is_continuous(column):
        raise ImputationError(
            f"column {name!r} is of type {column.dtype}, not numeric: list it in nominal=, ordinal= or id_vars="
        )
    return _continuous(name, as_floats(column), role)


def _continuous(name: str, x: FloatArray, role: str) -> ColumnCode:
    if np.isinf(x).any():
        raise ImputationError(f"column {name!r} has infinite values: make them missing or finite")
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    if max(-low, high) > MAGNITUDE:
        raise ImputationError(f"column {name!r} has values as large as {max(-low, high):.3g}: change the unit")
    if role == "sqrt" and low < 0.0:
        raise ImputationError(f"sqrt= names {name!r}, which has negative values (least {low})")
    if role == "logistic" and not (low > 0.0 and high < 1.0):
        raise ImputationError(f"logistic= names {name!r}, whose values reach from {low} to {high}: it needs 0 < x < 1")
    shift = 1.0 - min(0.0, low) if role == "log" else 0.0
    return ColumnCode(name, "continuous", cast(Transform, role or "none"), shift)


def encode(data: pd.DataFrame, codes: Sequence[ColumnCode]) -> FloatArray:
    """Model matrix (n, p) of the coded columns, NaN where missing."""
    return np.concatenate([code.encode(data[code.name]) for code in codes], axis=1)


def model_names(codes: Sequence[ColumnCode]) -> list[str]:
    """Names of the p model columns."""
    return [name for code in codes for name in code.model_names]


def categories(data: pd.DataFrame, roles: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Columns that are categories by their role."""
    return tuple(name for role in ("nominal", "ordinal") for name in check_columns(data, roles[role], f"{role}="))


def slots(codes: Sequence[ColumnCode]) -> dict[str, slice]:
    """Model columns that belong to each data column."""
    ends = np.cumsum([code.width for code in codes])
    return {code.name: slice(int(end) - code.width, int(end)) for code, end in zip(codes, ends, strict=True)}


def time_powers(data: pd.DataFrame, time: str | Mapping[str, int] | None) -> dict[str, FloatArray]:
    """Columns name^2, name^3, ... of a time column, standardised before it is raised to a power.

    Raises ImputationError: the column is absent, not numeric or incomplete, there are several, or the degree is not 2
    or more.
    """
    if time is None:
        return {}
    if not isinstance(time, str | Mapping):
        raise ImputationError(f"time={time!r}: give the name of a column, or a degree by name, as in {{'year': 3}}")
    degrees = {time: 2} if isinstance(time, str) else dict(time)
    names = check_columns(data, list(degrees), "time=")
    if len(names) != 1:
        raise ImputationError(f"time= names {len(names)} columns: give one")
    name, degree = names[0], degrees[names[0]]
    if not is_continuous(data[name]) or data[name].isna().any():
        raise ImputationError(
            f"time= names {name!r}, which is not numeric or has missing cells: it must be a complete number"
        )
    checks.whole(degree, f"time= of {name!r}")
    if degree < 2:
        raise ImputationError(
            f"time= gives degree {degree} for {name!r}: the column enters the model anyway; give 2 or more"
        )
    x = as_floats(data[name])
    x = (x - x.mean()) / x.std()
    return {f"{name}^{power}": x**power for power in range(2, degree + 1)}
