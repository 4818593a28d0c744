"""The model without predictors that explained variance is measured against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..data import ImputedData
from ..design.build import ModelRows, read_rows
from ..design.formula import parse_formula
from ..design.tree import Name
from ..fitting.assemble import assemble
from ..fitting.fit import Fitted, fit_assembled


def null_model(fitted: Fitted, lanes: np.ndarray) -> Fitted:
    """Fit an intercept and a random intercept per grouping factor to some data sets of a stack.

    Response, weights, offset, criterion and optimizer are those of the model.
    """
    rows = fitted.model.rows
    assert rows.data is not None  # every fit keeps its data
    data = ImputedData(tuple(rows.data.frames[k] for k in lanes), tuple(rows.data.labels[k] for k in lanes))
    read = read_rows(parse_formula(null_formula(rows)), data)
    # what scale(y) means, for instance, was decided over all data sets
    own = [None if part is None else part.of_lanes(list(lanes)) for part in (rows.weights, rows.offset)]
    read = replace(read, y=rows.y.of_lanes(list(lanes)), weights=own[0], offset=own[1])
    return fit_assembled(assemble(read, reml=fitted.reml), fitted.optimizer)


def null_formula(rows: ModelRows) -> str:
    """Write the formula: ``y ~ 1 + offset(o) + (1 | a) + (1 | b)``."""
    groups = dict.fromkeys(":".join(Name(c).text for c in term.group) for term in rows.formula.random)
    parts = ["1", *(f"offset({text})" for text in rows.formula.offsets), *(f"(1 | {group})" for group in groups)]
    return f"{rows.formula.response} ~ {' + '.join(parts)}"
