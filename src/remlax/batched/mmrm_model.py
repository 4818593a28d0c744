"""A mixed model for repeated measures made ready for arrays: its columns, and whose and which visit every row is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, cast

import numpy as np

from ..data import ImputedData
from ..design.build import ModelRows, needed_columns, read_rows, require_model_columns
from ..design.tokens import tokenize
from ..engine.programs import float64
from ..errors import SimulationError
from ..fitting.mmrm.formula import MmrmFormula, covariance_calls, parse_mmrm
from ..fitting.mmrm.visits import read_visits
from ..inference.mmrm.choice import labels_of
from ..mmrm.problem import MmrmStructure
from ..simulation.design import MultilevelDesign
from .array_columns import array_products, categories_of
from .array_model import ArrayModel, ModelShape, check_columns, checked, compare_columns, numbers, template


@dataclass(frozen=True)
class MmrmModel(ArrayModel):
    """What compiled code depends on.

    Attributes
    ----------
    places
        Columns of the visits and, if there are any, of the groups.
    """

    places: tuple[str, ...]

    @property
    def mmrm(self) -> MmrmStructure:
        """Shape of every data set."""
        return cast(MmrmStructure, self.shape.structure)


class TemplateRows(NamedTuple):
    """Rows of the template, and for visits and groups the values of their column and the level of each, in order."""

    rows: ModelRows
    values: tuple[tuple[np.ndarray, np.ndarray], ...]


def is_mmrm(formula: str) -> bool:
    """Tell whether a formula has a covariance term, as in ``us(visit | patient)``."""
    return bool(covariance_calls(tokenize(formula), formula))


def read_mmrm(design: MultilevelDesign, formula: str, *, reml: bool) -> tuple[MmrmModel, TemplateRows]:
    """Evaluate a formula on one data set of a design, and keep what all data sets share.

    Raises
    ------
    SimulationError
        As of `read_model`; patients are no factor of the design, or visits or groups no categories.
    RemlaxError
        As of `remlax.mmrm`.
    """
    parsed, categories = parse_mmrm(formula), categories_of(design)
    term, frame = parsed.covariance, template(design)
    require_model_columns(parsed, frame)
    places = tuple(name for name in (term.visit, term.group) if name is not None)
    _check_places(design, parsed, places)
    rows = read_rows(parsed.with_factors, ImputedData.from_frames([frame]))
    names = rows.fixed.names
    check_columns(names, rows.x)
    visits = read_visits(rows)
    structure = MmrmStructure(term.structure, len(visits.names), len(names), visits.n_groups, reml)
    labels = labels_of(term, visits.names, visits.groups)
    fixed = array_products(rows.fixed, categories)
    shape = ModelShape(cast(Any, structure), (), ())
    own: dict[str, Any] = {field.name: () for field in fields(MmrmModel)} | {
        "names": names,
        "parameters": tuple(f"{name}|{group}" for group, name in labels),
        "response": checked(parsed.response_tree),
        "offsets": tuple(checked(tree) for tree in parsed.offset_trees),
        "fixed": fixed,
        "constants": (-1,) * len(fixed),
        "shape": shape,
        "columns": tuple(name for name in needed_columns(parsed) if name != term.patient),
        "places": places,
    }
    model = MmrmModel(**own)
    compare_columns(model, rows, (), frame)
    with float64():
        values = tuple(
            _levels(numbers(frame[name]), codes.values)
            for name, codes in zip(places, rows.factor_rows[1:], strict=True)
        )
    return model, TemplateRows(rows, values)


def _check_places(design: MultilevelDesign, parsed: MmrmFormula, places: tuple[str, ...]) -> None:
    term = parsed.covariance
    if not any(factor.name == term.patient and not factor.assigned for factor in design.factors):
        raise SimulationError(
            f"The patients {term.patient!r} of the model are not a factor of the design's layout: they are to be one, "
            "with a row for each visit."
        )
    for name in places:
        if name not in categories_of(design):
            raise SimulationError(
                f"The column {name!r} of the covariance term is no category of the design: visits are a covariate of "
                'kind "index", or a balanced one with levels, and groups a covariate with levels.'
            )


def _levels(values: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values in order, and the level of each."""
    known, first = np.unique(values, return_index=True)
    return known, codes[first]
