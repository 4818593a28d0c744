"""ModelRows: a formula evaluated on data frames, which is the only place where pandas becomes numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..data.checks import other_order
from ..data.imputed import ImputedData
from ..errors import DataError, DesignError
from .columns import require_columns
from .evaluate import evaluate, evaluate_response
from .formula import MixedFormula
from .groups import GroupingFactor, grouping_factor
from .model_matrix import MatrixSpec, model_matrix, stacked_matrix
from .own_contrasts import GivenContrasts
from .response import ResponseLevels
from .rows import RowArray, RowMatrix, given_numbers
from .syntax import variables
from .tree import Expression, Node, columns_in

RowInput = str | np.ndarray | Sequence[float] | Sequence[np.ndarray] | pd.Series | None


@dataclass(frozen=True)
class TermColumns:
    """One random term: its column names, its rows, and which grouping factor it belongs to."""

    group: str
    names: tuple[str, ...]
    rows: RowMatrix
    factor: int


@dataclass(frozen=True)
class ModelRows:
    """Everything that the model reads from the data frames.

    Parameters
    ----------
    formula : MixedFormula
    labels : tuple
        Labels of the K data sets.
    offsets : ndarray of int, (K + 1,)
        First row of each data set in the stacked rows.
    fixed : MatrixSpec
        Names and reusable specification of the fixed part.
    x : RowMatrix
    y : RowArray
        Numbers; of a generalised linear mixed model also codes of categories, or successes and failures (n, 2).
    terms : tuple of TermColumns
        In formula order.
    term_specs : tuple of MatrixSpec
        Of the same terms.
    factors : tuple of GroupingFactor
        In formula order; ``codes`` are those of ``factor_rows``.
    factor_rows : tuple of RowArray
        Codes per data set.
    weights, offset : RowArray or None
    index : tuple of pandas.Index
        Row labels of each data set that are in the model.
    n_dropped : int
        Rows left out because of missing cells (single fits only).
    data : ImputedData or None
        The data sets themselves, for reference cases, refits and files; shares memory with the caller's frames.
    given_weights, given_offset
        What the caller gave as weights and offset.
    refitted : bool
        The response was given to `refit`.
    levels : ResponseLevels or None
        Of a response of categories.
    """

    formula: MixedFormula
    labels: tuple[object, ...]
    offsets: np.ndarray
    fixed: MatrixSpec
    x: RowMatrix
    y: RowArray
    terms: tuple[TermColumns, ...]
    term_specs: tuple[MatrixSpec, ...]
    factors: tuple[GroupingFactor, ...]
    factor_rows: tuple[RowArray, ...]
    weights: RowArray | None
    offset: RowArray | None
    index: tuple[pd.Index, ...]
    n_dropped: int = 0
    data: ImputedData | None = None
    given_weights: RowInput = None
    given_offset: RowInput = None
    refitted: bool = False
    levels: ResponseLevels | None = None

    @property
    def own_response(self) -> bool:
        """Whether the response is not what the formula makes of the data: a refit of ``log(y)``, for instance."""
        return self.refitted and self.data is not None and self.formula.response not in self.data.frames[0].columns

    @property
    def n_sets(self) -> int:
        """Number K of data sets."""
        return len(self.labels)

    def n_rows(self, k: int) -> int:
        """Rows of data set k."""
        return int(self.offsets[k + 1] - self.offsets[k])


def needed_columns(formula: MixedFormula, weights: RowInput = None, offset: RowInput = None) -> list[str]:
    """Columns of the data that the model reads, in order of appearance."""
    named = [name for name in (weights, offset) if isinstance(name, str)]
    return list(dict.fromkeys([*formula.variables, *(v for name in named for v in variables(name))]))


def require_model_columns(
    formula: MixedFormula, frame: pd.DataFrame, weights: RowInput = None, offset: RowInput = None
) -> list[str]:
    """Check that everything that the model reads is a column, and list it as `needed_columns` does.

    Raises
    ------
    FormulaError, DataError
    """
    given = {"weights": weights, "offset": offset}
    parts = [("formula", formula.variables)]
    parts += [(what, variables(text)) for what, text in given.items() if isinstance(text, str)]
    for what, names in parts:
        require_columns(names, frame, what)
    return list(dict.fromkeys(name for _, names in parts for name in names))


@dataclass(frozen=True)
class _Sources:
    """Where columns come from: stacked over the frames, or the first frame where nothing needed differs."""

    data: ImputedData
    offsets: np.ndarray
    variables: tuple[str, ...]
    known: dict[str, np.ndarray | pd.Series[Any]] = field(default_factory=dict)

    @property
    def frames(self) -> Sequence[pd.DataFrame]:
        return self.data.frames

    @property
    def labels(self) -> tuple[object, ...]:
        return self.data.labels

    def shared(self, columns: Sequence[str]) -> bool:
        return len(self.frames) == 1 or (self.data.aligned and not any(map(self.data.varies, columns)))

    def frame(self, columns: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray | None]:
        if self.shared(columns):
            return self.frames[0], None
        whole = self.differing
        return whole if set(columns) <= set(whole.columns) else self._below(columns), self.offsets

    @cached_property
    def differing(self) -> pd.DataFrame:
        """Variables of the formula that differ: one frame serves nearly all that is evaluated."""
        return self._below([name for name in self.variables if not self.shared((name,))])

    def _below(self, columns: Sequence[str]) -> pd.DataFrame:
        # column by column: selecting columns of K frames and joining those costs several times as much
        rows = pd.RangeIndex(self.offsets[-1])  # a right side may use no column at all
        return pd.DataFrame({name: self._stacked(name) for name in columns}, index=rows, copy=False)

    def _stacked(self, name: str) -> np.ndarray | pd.Series[Any]:
        if name not in self.known:
            self.known[name] = self._stack(name)
        return self.known[name]

    def _stack(self, name: str) -> np.ndarray | pd.Series[Any]:
        if self.data.aligned and not self.data.varies(name):
            column = self.frames[0][name]
            if isinstance(column.dtype, np.dtype):
                return np.tile(column.to_numpy(), len(self.frames))
            return column.take(np.tile(np.arange(len(column)), len(self.frames))).reset_index(drop=True)
        columns = self.data.arrays(name)
        arrays = [array for array in columns if isinstance(array, np.ndarray)]
        if len(arrays) == len(columns):
            return np.concatenate(arrays)
        return pd.concat([frame[name] for frame in self.frames], ignore_index=True)


def read_rows(
    formula: MixedFormula,
    data: ImputedData,
    weights: RowInput = None,
    offset: RowInput = None,
    n_dropped: int = 0,
    any_response: bool = False,
) -> ModelRows:
    """Evaluate the formula once for all data sets, whose columns `require_model_columns` has found.

    Stateful transforms (scale, poly, splines) are fitted to the stacked rows, so that the K coefficients estimate the
    same thing. Columns that do not differ between the data sets are evaluated once. The response must be a number that
    varies, unless ``any_response``.

    Raises
    ------
    DataError, FormulaError, DesignError
    """
    offsets = np.cumsum([0, *map(len, data.frames)])
    sources = _Sources(data, offsets, formula.variables)
    fixed, x = _matrix(formula.fixed_tree, sources, "fixed part", formula.contrasts)
    if any_response:
        y, levels = _any_response(formula.response_tree, sources)
    else:
        y, levels = _column(formula.response_tree, sources, "response"), None
        _check_response(y, formula.response, sources, data.labels)

    factors, factor_rows = _factors(formula, sources)
    terms, specs = _terms(formula, sources, [factor.label for factor in factors], fixed, x)
    parts = [_column(expr, sources, "offset") for expr in formula.offset_trees]
    if offset is not None:
        parts.append(_row_input(offset, "offset", sources, data))
    return ModelRows(
        formula=formula,
        labels=tuple(data.labels),
        offsets=sources.offsets,
        fixed=fixed,
        x=x,
        y=y,
        terms=tuple(terms),
        term_specs=tuple(specs),
        factors=tuple(factors),
        factor_rows=tuple(factor_rows),
        weights=None if weights is None else _weights(_row_input(weights, "weights", sources, data), data),
        offset=_sum_rows(parts, sources),
        index=tuple(frame.index for frame in sources.frames),
        n_dropped=n_dropped,
        data=data,
        given_weights=weights,
        given_offset=offset,
        levels=levels,
    )


def _factors(formula: MixedFormula, sources: _Sources) -> tuple[list[GroupingFactor], list[RowArray]]:
    """Grouping factors in the order in which they appear, and their codes per data set."""
    factors, codes = [], []
    groups = {term.group_label: term.group for term in formula.random}
    # factors are compared with each other: all in one data set, or all in the stacked ones
    columns = tuple(dict.fromkeys(column for group in groups.values() for column in group))
    for label, group in groups.items():
        factor, starts = _evaluated(partial(grouping_factor, columns=group, label=label), columns, sources)
        factors.append(factor)
        codes.append(RowArray(factors[-1].codes, starts))
    return factors, codes


def _terms(
    formula: MixedFormula, sources: _Sources, groups: list[str], fixed: MatrixSpec, x: RowMatrix
) -> tuple[list[TermColumns], list[MatrixSpec]]:
    """Columns of the random terms, each with its place among the grouping factors."""
    terms, specs = [], []
    for term in formula.random:
        what = f"random term ({term.lhs} | {term.group_label})"
        # the columns of X once more: half the memory
        spec, z = _matrix(term.lhs_tree, sources, what, built=(fixed, x))
        if not spec.names:
            raise DesignError(f"the {what} has no columns: write (1 | ...)")
        terms.append(TermColumns(term.group_label, spec.names, z, groups.index(term.group_label)))
        specs.append(spec)
    return terms, specs


def _matrix(
    rhs: Expression,
    sources: _Sources,
    what: str,
    contrasts: GivenContrasts = MappingProxyType({}),
    built: tuple[MatrixSpec, RowMatrix] | None = None,
) -> tuple[MatrixSpec, RowMatrix]:
    def frame_of(columns: tuple[str, ...]) -> tuple[pd.DataFrame, bool]:
        frame, starts = sources.frame(columns)
        return frame, starts is not None

    try:
        return stacked_matrix(rhs, frame_of, sources.offsets, what=what, contrasts=contrasts, built=built)
    except DataError as error:
        starts = None if sources.shared(variables(rhs)) else sources.offsets
        raise _located(error, lambda one: model_matrix(rhs, one, what=what), starts, sources) from None


def _column(expr: Expression, sources: _Sources, what: str) -> RowArray:
    return RowArray(*_evaluated(lambda frame: evaluate(expr, frame, what=what), variables(expr), sources))


def _any_response(tree: Node, sources: _Sources) -> tuple[RowArray, ResponseLevels | None]:
    (values, levels), starts = _evaluated(partial(evaluate_response, tree), columns_in(tree), sources)
    return RowArray(values, starts), levels


Read = TypeVar("Read")


def _evaluated(
    read: Callable[[pd.DataFrame], Read], columns: Sequence[str], sources: _Sources
) -> tuple[Read, np.ndarray | None]:
    """Read from the stacked data sets or from what they share, and say where each begins."""
    frame, starts = sources.frame(columns)
    try:
        return read(frame), starts
    except DataError as error:
        raise _located(error, read, starts, sources) from None


def _located(
    error: DataError, read: Callable[[pd.DataFrame], object], starts: np.ndarray | None, sources: _Sources
) -> DataError:
    """Say in which of the stacked data sets an error is, and in which of its rows."""
    if starts is None:
        return error
    for label, frame in zip(sources.labels, sources.frames, strict=True):
        try:
            read(frame)
        except DataError as one:
            return DataError(f"imputation {label}: {one}")
    return error


def _check_response(y: RowArray, name: str, sources: _Sources, labels: Sequence[object]) -> None:
    starts = sources.offsets[: 1 if y.offsets is None else -1]
    constant = np.minimum.reduceat(y.values, starts) == np.maximum.reduceat(y.values, starts)
    for k in np.flatnonzero(constant).tolist():
        where = f" in imputation {labels[k]}" if len(labels) > 1 else ""
        raise DataError(f"the response {name!r} is constant{where}: there is nothing to explain")


def _row_input(given: RowInput, what: str, sources: _Sources, data: ImputedData) -> RowArray:
    """Weights or offset: an expression, one array for all data sets, or one array per data set."""
    if isinstance(given, str):
        return _column(given, sources, what)
    sizes = np.diff(sources.offsets)
    parts = given if isinstance(given, list | tuple) and len(given) and np.ndim(given[0]) == 1 else None
    for k, frame in enumerate(data.frames):
        check_order(given if parts is None else parts[min(k, len(parts) - 1)], frame.index, what)
    if parts is None:
        values = given_numbers(given, what)
        if (sizes != len(values)).any():
            raise DataError(f"{what} has {len(values)} values, but the data sets have {_sizes(sizes)} rows")
        return RowArray(values, None)
    if len(parts) != len(sizes):
        raise DataError(f"{what} holds {len(parts)} arrays for {len(sizes)} data sets: give one each")
    arrays = [given_numbers(part, what) for part in parts]
    for k, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
        if len(array) != size:
            raise DataError(f"{what} has {len(array)} values for imputation {data.labels[k]}, which has {size} rows")
    return RowArray(np.concatenate(arrays), sources.offsets)


def check_order(given: object, index: pd.Index, what: str) -> None:
    """Refuse a Series whose row labels are those of the data in another order: values are taken by position."""
    if isinstance(given, pd.Series) and other_order(given.index, index):
        raise DataError(
            f"the rows of {what} stand in another order than those of the data: sort both by their index, or name a "
            "column of the data"
        )


def _sizes(sizes: np.ndarray) -> str:
    unique = sorted({int(s) for s in sizes})
    return str(unique[0]) if len(unique) == 1 else f"{unique[0]} to {unique[-1]}"


def _weights(weights: RowArray, data: ImputedData) -> RowArray:
    """Refuse weights that are not positive."""
    bad = weights.values <= 0
    if bad.any():
        where = ""
        if weights.offsets is not None and len(data.labels) > 1:
            k = int(np.searchsorted(weights.offsets, int(np.argmax(bad)), side="right")) - 1
            where = f" (first in imputation {data.labels[k]})"
        raise DataError(
            f"weights must be positive: {int(bad.sum())} are zero or negative{where}; leave those rows out of the data"
        )
    return weights


def _sum_rows(parts: list[RowArray], sources: _Sources) -> RowArray | None:
    if not parts:
        return None
    if all(part.offsets is None for part in parts):
        return RowArray(np.sum([part.values for part in parts], axis=0), None)
    sums = [np.sum([part.of(k) for part in parts], axis=0) for k in range(len(sources.frames))]
    return RowArray(np.concatenate(sums), sources.offsets)
