"""The model without predictors that explained variance is measured against."""

from __future__ import annotations

from dataclasses import replace

from ..data import ImputedData
from ..design.build import ModelRows, read_rows
from ..design.formula import parse_formula
from ..design.tree import Name
from ..fitting.assemble import assemble
from ..fitting.fit import Fitted, fit_assembled
from ..fitting.selection import Selection


def null_model(fits: Selection) -> Fitted:
    """Fit an intercept and a random intercept per grouping factor to the data sets.

    Response, weights, offset, criterion and optimizer are those of the model.
    """
    rows = fits.rows
    assert rows.data is not None  # every fit keeps its data
    data = ImputedData(tuple(rows.data.frames[k] for k in fits.which), tuple(rows.data.labels[k] for k in fits.which))
    read = read_rows(parse_formula(null_formula(rows)), data)
    # what scale(y) means, for instance, was decided over all data sets
    own = [None if part is None else part.of_sets(fits.which) for part in (rows.weights, rows.offset)]
    read = replace(read, y=rows.y.of_sets(fits.which), weights=own[0], offset=own[1])
    return fit_assembled(assemble(read, reml=fits.fitted.reml), fits.fitted.optimizer)


def null_formula(rows: ModelRows) -> str:
    """Write the formula: ``y ~ 1 + offset(o) + (1 | a) + (1 | b)``."""
    groups = dict.fromkeys(":".join(Name(c).text for c in term.group) for term in rows.formula.random)
    parts = ["1", *(f"offset({text})" for text in rows.formula.offsets), *(f"(1 | {group})" for group in groups)]
    return f"{rows.formula.response} ~ {' + '.join(parts)}"
