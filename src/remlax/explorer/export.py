"""What the page needs of a model: tables, and columns of the model tabulated over the positions of its controls.

A column of X or Z is tabulated over the positions of the variables that it depends on, by the specification that
`predict` builds it with. So the page knows no formula, and is exact at every position.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.evaluate import evaluate
from ..design.model_matrix import MatrixSpec
from ..design.syntax import variables
from ..design.tree import Expression, columns_in
from ..errors import DataError, FormulaError
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..results import LmerFit, PooledLmer
from .limits import limits_content

Model = LmerFit | PooledLmer
# positions of a slider, and rows of a table of a column; with more variables positions are fewer
POSITIONS, MOST_ROWS = 41, 20_000
ESTIMATE = ("estimate", "std_error", "conf_low", "conf_high")


@dataclass(frozen=True, eq=False)
class Control:
    """A control of the page: a variable, its values in order, and where it starts.

    Parameters
    ----------
    name : str
    values : list
        Numbers, or categories.
    numeric : bool
    start : int
        Position of the median, or of the most frequent category.
    """

    name: str
    values: list[Any]
    numeric: bool
    start: int

    def content(self) -> dict[str, Any]:
        """What goes into the page."""
        shown = [float(v) for v in self.values] if self.numeric else [str(v) for v in self.values]
        return {"name": self.name, "values": shown, "numeric": self.numeric, "start": self.start}


def page_content(model: Model) -> dict[str, Any]:
    """Everything that the page shows."""
    fits = model.selection
    fixed = pd.DataFrame(model.tidy("fixed"))
    content: dict[str, Any] = {
        "formula": model.formula,
        "family": _family(model),
        "n_sets": fits.n_sets,
        "fixed": _table(fixed, ["term", *ESTIMATE, "df", "p_value", "fmi"]),
        "variances": _table(
            model.tidy("ran_pars"), ["group", "term", "estimate", "std_error", "conf_low", "conf_high"]
        ),
        "effects": _effects(pd.DataFrame(model.tidy("ran_vals"))),
        "notes": list(model.tidy("fixed").notes),
        "sets": None,
        "prediction": _prediction(model),
    }
    if fits.n_sets > 1:
        content["sets"] = {
            "labels": [str(label) for label in fits.labels],
            "beta": [_numbers(own) for own in fits.beta.T],
            "fit": [_verdict(fits, int(k)) for k in fits.index],
        }
    return content


def _family(model: Model) -> str:
    """Distribution and link of a generalised model; empty for a linear one."""
    fitted = model.selection.fitted
    return f"{fitted.family.name} with {fitted.family.link} link" if isinstance(fitted, GlmmFitted) else ""


def _verdict(fits: Selection, k: int) -> str:
    if not fits.fitted.converged[k]:
        return f"failed: {fits.fitted.verdict(k)}"
    return "singular" if fits.fitted.singular[k] else "converged"


def _table(table: pd.DataFrame, columns: list[str]) -> dict[str, list[Any]]:
    return {name: _plain(table[name]) for name in columns if name in table}


def _plain(column: pd.Series) -> list[Any]:
    """Texts, or numbers with None where there is none."""
    if not pd.api.types.is_numeric_dtype(column):
        return [str(value) for value in column]
    return _numbers(column.to_numpy(np.float64))


def _numbers(values: np.ndarray) -> list[float | None]:
    """Numbers with None where there is none."""
    return [float(v) if np.isfinite(v) else None for v in values]


def _effects(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Group effects by grouping factor and term."""
    return [
        {"group": str(group), "term": str(term)} | _table(part, ["level", "estimate", "conf_low", "conf_high"])
        for (group, term), part in table.groupby(["group", "term"], sort=False)
    ]


def _prediction(model: Model) -> dict[str, Any] | str:
    """Columns, coefficients and modes; or why the page has no predictions."""
    fits = model.selection
    rows, fitted = fits.rows, fits.fitted
    if fitted.has_thresholds:
        return "Models of ordered categories are not predicted in this page."
    if not np.isfinite(fits.vcov).all() or not np.isfinite(fits.beta).all():
        return "A fit has no estimates: there are no predictions in this page."
    if not (rows.given_offset is None or isinstance(rows.given_offset, str)):
        return "Models with an offset that was given as an array are not predicted in this page."
    assert rows.data is not None  # every fit keeps its data
    frame = rows.data.frames[int(fits.index[0])]
    specs = [rows.fixed, *(rows.term_specs[term.source] for term in fits.model.layout.terms)]
    offsets: list[Expression] = [*rows.formula.offset_trees, *([rows.given_offset] if rows.given_offset else [])]
    asked = [names for spec in specs for names in _variables(spec)] + [tuple(variables(tree)) for tree in offsets]
    positions = POSITIONS
    while positions ** max(map(len, asked), default=1) > MOST_ROWS and positions > 2:
        positions = (positions + 1) // 2
    needed = list(dict.fromkeys(name for names in asked for name in names))
    for observed in (False, True):
        controls = [_control(frame, name, positions, observed=observed) for name in needed]
        try:
            return _content(model, frame, controls, offsets)
        except (DataError, FormulaError) as error:
            reason = str(error)
    return f"There are no predictions in this page: {reason}"


def _content(model: Model, frame: pd.DataFrame, controls: list[Control], offsets: list[Expression]) -> dict[str, Any]:
    """Columns, coefficients and modes at the positions of the controls.

    Raises
    ------
    DataError, FormulaError
        The formula has no value at one of them, as ``factor(x)`` has none between the values of x.
    """
    fits = model.selection
    rows, fitted = fits.rows, fits.fitted
    columns, ties = _columns(rows.fixed, frame, controls), fits.model.ties
    weights = ties.weights / ties.size[ties.keep][:, None]
    return {
        "controls": [control.content() for control in controls],
        "columns": [columns[j] for j in fits.model.keep],
        "ties": [
            {"column": columns[j], "size": float(ties.size[j]), "weights": weights[:, d].tolist()}
            for d, j in enumerate(ties.dropped)
        ],
        "offset": [_offset(tree, frame, controls) for tree in offsets],
        "beta": model.fixef().to_numpy()[: len(fits.model.keep)].tolist(),
        "link": fitted.family.link if isinstance(fitted, GlmmFitted) else "identity",
        "groups": _groups(model, frame, controls),
        "limits": limits_content(fits, model._dfcom),
    }


def _variables(spec: MatrixSpec) -> list[tuple[str, ...]]:
    """Variables of every column."""
    return [
        tuple(dict.fromkeys(name for piece in pieces for name in columns_in(piece.node))) for pieces in spec.pieces()
    ]


def _control(frame: pd.DataFrame, name: str, positions: int, *, observed: bool) -> Control:
    """Control of a variable; a number with many values has equal steps, or some of those observed."""
    column = frame[name]
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column):
        counts = column.value_counts()
        order = (
            column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else sorted(counts.index, key=str)
        )
        values = [level for level in order if counts.get(level, 0)]
        return Control(name, values, False, values.index(counts.idxmax()))
    used = np.unique(column.to_numpy())
    if len(used) <= positions:
        values = used.tolist()
    elif observed:
        values = used[np.linspace(0, len(used) - 1, positions).astype(int)].tolist()
    else:
        values = np.linspace(float(used[0]), float(used[-1]), positions).tolist()
    start = int(np.argmin(np.abs(np.array(values, float) - float(column.median()))))
    return Control(name, values, column.dtype != bool, start)


def _columns(spec: MatrixSpec, frame: pd.DataFrame, controls: list[Control]) -> list[dict[str, Any]]:
    """Every column: places of its variables among the controls, and its values, the last variable fastest."""
    out = []
    for j, names in enumerate(_variables(spec)):

        def column(made: pd.DataFrame, j: int = j) -> np.ndarray:
            return spec.build(made)[:, j]

        out.append(_tabulated(names, frame, controls, column))
    return out


def _offset(tree: Expression, frame: pd.DataFrame, controls: list[Control]) -> dict[str, Any]:
    """An offset in the same form."""
    return _tabulated(tuple(variables(tree)), frame, controls, lambda made: evaluate(tree, made, what="offset"))


def _tabulated(
    names: Sequence[str], frame: pd.DataFrame, controls: list[Control], of: Callable[[pd.DataFrame], np.ndarray]
) -> dict[str, Any]:
    place = {control.name: i for i, control in enumerate(controls)}
    combinations = list(itertools.product(*(controls[place[name]].values for name in names))) or [()]
    return {"of": [place[name] for name in names], "values": of(_at(frame, names, combinations)).tolist()}


def _at(frame: pd.DataFrame, names: Sequence[str], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Combinations of variables; all others are those of the first row of the data."""
    made = frame.iloc[np.zeros(len(rows), int)].reset_index(drop=True)
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        dtype = frame[name].dtype
        whole = pd.Series(list(values))
        made[name] = whole.astype(dtype) if not pd.api.types.is_integer_dtype(dtype) else whole
    return made


def _groups(model: Model, frame: pd.DataFrame, controls: list[Control]) -> list[dict[str, Any]]:
    """Grouping factors: columns of their random terms, and the modes of every level."""
    fits, modes = model.selection, model.ranef()
    out = []
    for f, factor in enumerate(fits.model.layout.factors):
        terms = sorted((term for term in fits.model.layout.terms if term.factor == f), key=lambda term: term.start)
        columns = [column for t in terms for column in _columns(fits.rows.term_specs[t.source], frame, controls)]
        own = {"name": factor.label, "levels": [str(v) for v in factor.levels], "columns": columns}
        out.append(own | {"modes": modes[factor.label].to_numpy().T.tolist()})
    return out


def check_model(model: object) -> Model:
    """Refuse what the page cannot show.

    Raises
    ------
    DataError
    """
    if not isinstance(model, LmerFit | PooledLmer) or not model.selection.model.layout.terms:
        said = "a list of fits: pool() it, or take one" if hasattr(model, "pool") else type(model).__name__
        raise DataError(f"explore() shows a fit or a pooled model with random effects, not {said}")
    return model
