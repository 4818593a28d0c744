"""What the page needs of a model: tables, and columns of the model tabulated over the positions of its controls.

A column of X or Z is tabulated over the positions of the variables that it depends on, by the specification that
`predict` builds it with. So the page knows no formula, and is exact at every position.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.model_matrix import MatrixSpec
from ..design.tree import columns_in
from ..errors import DataError
from ..fitting.glmm import GlmmFitted
from ..results import LmerFit, PooledLmer

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
        content["sets"] = {"labels": [str(label) for label in fits.labels], "beta": fits.beta.T.tolist()}
    return content


def _table(table: pd.DataFrame, columns: list[str]) -> dict[str, list[Any]]:
    return {name: _plain(table[name]) for name in columns if name in table}


def _plain(column: pd.Series) -> list[Any]:
    """Texts, or numbers with None where there is none."""
    if not pd.api.types.is_numeric_dtype(column):
        return [str(value) for value in column]
    return [float(v) if np.isfinite(v) else None for v in column.to_numpy(np.float64)]


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
    if rows.offset is not None:
        return "Models with an offset are not predicted in this page."
    assert rows.data is not None  # every fit keeps its data
    frame = rows.data.frames[int(fits.index[0])]
    specs = [rows.fixed, *(rows.term_specs[term.source] for term in fits.model.layout.terms)]
    needed = dict.fromkeys(name for spec in specs for name in spec.variables)
    widest = max((len(names) for spec in specs for names in _variables(spec)), default=1)
    positions = POSITIONS
    while positions**widest > MOST_ROWS and positions > 2:
        positions = (positions + 1) // 2
    controls = [_control(frame, name, positions) for name in needed]
    keep = fits.model.keep.tolist()
    return {
        "controls": [control.content() for control in controls],
        "columns": [column for j, column in enumerate(_columns(rows.fixed, frame, controls)) if j in keep],
        "beta": model.fixef().to_numpy().tolist(),
        "vcov": model.vcov().to_numpy().tolist(),
        "link": fitted.family.link if isinstance(fitted, GlmmFitted) else "identity",
        "groups": _groups(model, frame, controls),
    }


def _variables(spec: MatrixSpec) -> list[tuple[str, ...]]:
    """Variables of every column."""
    return [
        tuple(dict.fromkeys(name for piece in pieces for name in columns_in(piece.node))) for pieces in spec.pieces()
    ]


def _control(frame: pd.DataFrame, name: str, positions: int) -> Control:
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
    else:
        values = np.linspace(float(used[0]), float(used[-1]), positions).tolist()
    start = int(np.argmin(np.abs(np.array(values, float) - float(column.median()))))
    return Control(name, values, column.dtype != bool, start)


def _columns(spec: MatrixSpec, frame: pd.DataFrame, controls: list[Control]) -> list[dict[str, Any]]:
    """Every column: places of its variables among the controls, and its values, the last variable fastest."""
    place = {control.name: i for i, control in enumerate(controls)}
    out = []
    for j, names in enumerate(_variables(spec)):
        grids = [controls[place[name]].values for name in names]
        combinations = list(itertools.product(*grids)) or [()]
        out.append(
            {"of": [place[name] for name in names], "values": _built(spec, frame, names, combinations)[:, j].tolist()}
        )
    return out


def _built(spec: MatrixSpec, frame: pd.DataFrame, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> np.ndarray:
    """Columns at combinations of variables; all others are those of the first row of the data."""
    made = frame.iloc[np.zeros(len(rows), int)].reset_index(drop=True)
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        dtype = frame[name].dtype
        whole = pd.Series(list(values))
        made[name] = whole.astype(dtype) if not pd.api.types.is_integer_dtype(dtype) else whole
    return spec.build(made)


def _groups(model: Model, frame: pd.DataFrame, controls: list[Control]) -> list[dict[str, Any]]:
    """Random terms by grouping factor: their columns, and the modes of every level."""
    fits, out = model.selection, dict[str, dict[str, Any]]()
    modes = model.ranef()
    for term in fits.model.layout.terms:
        factor = fits.model.layout.factors[term.factor]
        own = out.setdefault(
            factor.label, {"name": factor.label, "levels": [str(v) for v in factor.levels], "columns": [], "modes": []}
        )
        spec = fits.rows.term_specs[term.source]
        own["columns"] += _columns(spec, frame, controls)
        values = modes[factor.label].to_numpy()
        start = len(own["modes"])
        own["modes"] += values[:, start : start + term.q].T.tolist()
    return list(out.values())


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
