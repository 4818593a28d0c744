"""The design that all responses share, and rows of it for responses with cells missing or weights of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..data.checks import other_order
from ..data.imputed import ImputedData
from ..design.build import ModelRows, read_rows
from ..design.formula import MixedFormula, parse_formula
from ..design.rows import RowArray, RowMatrix
from ..design.tree import Name
from ..errors import DataError, FormulaError, RemlaxError
from ..fitting.assemble import assemble
from ..fitting.fit import Fitted, fit_assembled
from ..kernels.newton import Newton
from .responses import Responses

# the response in the formula, while there is none
STAND_IN = "`a response`"


def parse_right_side(text: str) -> MixedFormula:
    """Read a formula without a response: ``"~ x + (1 | g)"``.

    Raises
    ------
    FormulaError
    """
    if not isinstance(text, str) or not text.strip():
        raise FormulaError(f"the formula {text!r} must be a text without a response, such as '~ x + (1 | g)'")
    if "~" not in text:
        raise FormulaError(f"the formula {text!r} has no '~': write '~ {text.strip()}'")
    if left := text.partition("~")[0].strip():
        raise FormulaError(
            f"the formula {text!r} has the response {left!r}: responses come from responses=, so begin it with '~'"
        )
    return parse_formula(f"{STAND_IN} {text}")


@contextmanager
def without_stand_in() -> Iterator[None]:
    """Leave the stand-in out of what errors say of the formula and of the columns of the data."""
    try:
        yield
    except RemlaxError as error:
        said = str(error).replace(f"{STAND_IN} ~", "~").replace(f", {STAND_IN.strip('`')!r}", "")
        raise type(error)(said) from None


def stand_in(n: int) -> np.ndarray:
    """Numbers in the place of a response that no design explains: not of a seed that somebody draws predictors with."""
    return np.random.default_rng(0x72656D6C6178).standard_normal(n)


def with_stand_in(data: pd.DataFrame) -> pd.DataFrame:
    """Add numbers in the place of the response to the data."""
    return data.assign(**{STAND_IN.strip("`"): stand_in(len(data))}) if isinstance(data, pd.DataFrame) else data


def set_rows(rows: ModelRows, k: int) -> ModelRows:
    """Rows of one data set of several, with the numbers in the place of its response."""
    one = rows_of_responses(rows, rows.y.of(k)[None], None, k=k)
    data = None if rows.data is None else ImputedData((rows.data.frames[k],), (rows.labels[k],))
    return replace(one, labels=(rows.labels[k],), index=(rows.index[k],), data=data)


def each_set(rows: ModelRows) -> tuple[ModelRows, ...]:
    """Rows of every data set by itself."""
    return (rows,) if rows.n_sets == 1 else tuple(set_rows(rows, k) for k in range(rows.n_sets))


def rows_of_responses(
    rows: ModelRows, y: np.ndarray, used: np.ndarray | None, weights: np.ndarray | None = None, k: int = 0
) -> ModelRows:
    """Rows of a design with responses (m, n), one data set each.

    Parameters
    ----------
    rows : ModelRows
    y : ndarray (m, n)
    used : ndarray of bool (m, n), optional
        Rows that each response has; all of them unless given.
    weights : ndarray (m, n), optional
        Weights of each, in the place of those of the rows.
    k : int, default 0
        Data set of the rows whose design it is.
    """
    m, n = y.shape
    own = rows.weights.of(k) if rows.weights is not None else None
    if used is None:
        at, sizes = np.tile(np.arange(n), m), np.full(m, n)
    else:
        at, sizes = np.nonzero(used)[1], used.sum(axis=1)
    offsets = np.cumsum([0, *sizes])

    def stacked(values: np.ndarray) -> RowArray:
        return RowArray(values, None) if used is None else RowArray(values[at], offsets)

    def chosen(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1) if used is None else values[used]

    def matrix(given: RowMatrix) -> RowMatrix:
        whole = given.of(k)
        if used is None:
            return RowMatrix.of_all(whole, offsets)
        place = tuple((True, j) for j in range(whole.shape[1]))
        return RowMatrix(np.empty((0, 0)), tuple(whole[at, j] for j in range(whole.shape[1])), place, offsets)

    codes = tuple(stacked(f.of(k)) for f in rows.factor_rows)
    weighted = None if own is None else stacked(own)
    return replace(
        rows,
        labels=tuple(range(m)),
        offsets=offsets,
        x=matrix(rows.x),
        y=RowArray(chosen(y), offsets),
        terms=tuple(replace(term, rows=matrix(term.rows)) for term in rows.terms),
        factors=tuple(replace(f, codes=c.values) for f, c in zip(rows.factors, codes, strict=True)),
        factor_rows=codes,
        weights=weighted if weights is None else RowArray(chosen(weights), offsets),
        offset=None if rows.offset is None else stacked(rows.offset.of(k)),
        index=(pd.RangeIndex(0),) * m,
        data=None,
        given_weights=None,
        given_offset=None,
        refitted=True,
    )


@dataclass(frozen=True, eq=False)
class ManySource:
    """What many fits were made from: for one of them alone.

    Parameters
    ----------
    text : str
        The formula, without a response.
    rows : tuple of ModelRows
        The design of each imputation, in the rows of the data that are in the model.
    responses : Responses or None
        None where they were read in blocks, and are not kept.
    weights : Responses, optional
        Weights of each response.
    kept : ndarray of bool, optional
        Rows of the data that are in the model.
    """

    text: str
    rows: tuple[ModelRows, ...]
    responses: Responses | None
    weights: Responses | None = None
    kept: np.ndarray | None = None

    @property
    def labels(self) -> Sequence[object]:
        """Labels of the imputations."""
        return [rows.labels[0] for rows in self.rows]

    def numbers(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Values, weights of their own and known cells of responses that are kept, each (m, n)."""
        assert self.responses is not None
        y = self.responses.block(which, self.kept)
        weights = None if self.weights is None else self.weights.block(which, self.kept)
        used = ~np.isnan(y)
        return y, weights, used if weights is None else used & ~np.isnan(weights)

    def with_values(self, name: object, values: object) -> ManySource:
        """Take the values of one response, in the rows of the data, in the place of all responses.

        Raises
        ------
        DataError
        """
        frame = self._frame(0)
        array = values.to_numpy() if isinstance(values, pd.Series) else np.asarray(values)
        n = len(frame) if self.kept is None else len(self.kept)
        if array.shape != (n,) or array.dtype.kind not in "fiub":
            raise DataError(
                f"values= of {name!r} must be {n} numbers, one for each row of the data; they are of type "
                f"{array.dtype} and shape {array.shape}"
            )
        if isinstance(values, pd.Series):
            index = values.index if self.kept is None else values.index[self.kept]
            if other_order(index, frame.index):
                raise DataError("the rows of values= stand in another order than those of the data: sort both by index")
        return replace(self, responses=Responses(pd.Index([name]), array[:, None]))

    def fit_one(self, names: pd.Index, name: object, *, reml: bool) -> Fitted:
        """Fit one response by itself, to every imputation of the design.

        Raises
        ------
        DataError
        """
        if self.responses is None:
            raise DataError(
                f"the values of {name!r} were read in a block and are not kept: pass them, one for each row of the "
                f"data, as many.fit_one({name!r}, values)"
            )
        y, weights, used = self.numbers(np.array([names.get_loc(name)]))
        if not used.any():
            raise DataError(f"the response {name!r} has no values")
        if str(name) in self.rows[0].formula.variables[1:]:
            raise DataError(f"the response {name!r} has the name of a column of the formula: rename one of them")
        make = self._rows_of_one if len(self.rows) == 1 else self._rows_of_sets
        return fit_assembled(assemble(make(str(name), y, used, weights), reml=reml), Newton())

    def _frame(self, k: int) -> pd.DataFrame:
        data = self.rows[k].data
        assert data is not None
        return data.frames[0].drop(columns=STAND_IN.strip("`"))

    def _rows_of_sets(self, name: str, y: np.ndarray, used: np.ndarray, weights: np.ndarray | None) -> ModelRows:
        """Rows of one response in all imputations of the design."""
        first, there = self.rows[0], used[0]
        frames = tuple(self._frame(k).assign(**{name: y[0]}).loc[there] for k in range(len(self.rows)))
        own = [rows.weights.of(0)[there] for rows in self.rows if rows.weights is not None] or None
        if weights is not None:
            own = [weights[0][there]] * len(frames)
        formula = replace(first.formula, response_tree=Name(name))
        n_dropped = first.n_dropped + int((~there).sum())
        return read_rows(formula, ImputedData(frames, tuple(self.labels)), weights=own, n_dropped=n_dropped)

    def _rows_of_one(self, name: str, y: np.ndarray, used: np.ndarray, weights: np.ndarray | None) -> ModelRows:
        """Rows of one response, with the data that tables of a single fit show."""
        rows = self.rows[0]
        formula = replace(rows.formula, response_tree=Name(name))
        frame = self._frame(0).assign(**{name: y[0]})
        found = rows_of_responses(rows, y, used, weights)
        own = found.weights
        data = ImputedData((frame.loc[used[0]],), (1,))
        return replace(
            found,
            formula=formula,
            labels=(1,),
            index=(data.frames[0].index,),
            n_dropped=rows.n_dropped + int((~used).sum()),
            data=data,
            given_weights=None if own is None else own.values,
            refitted=False,
        )
