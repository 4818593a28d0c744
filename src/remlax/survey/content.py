"""Content of files: the data of a model of a survey, and every number that was estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from ..data.columns import imputed_from_tree, imputed_tree
from ..design.build import needed_columns, read_rows, require_model_columns
from ..design.formula import parse_formula
from ..design.own_contrasts import contrasts_from_tree, contrasts_tree
from ..errors import RankDeficientWarning, quiet, shortened
from ..fitting.assemble import Assembled, assemble
from ..results.save import check_same, fingerprint
from .design import SurveyDesign
from .fit import SurveyEstimates
from .quantities import labels
from .result import SurveyFit

Tree = dict[str, Any]


def survey_content(fit: SurveyFit) -> Tree:
    """Write everything about a model of a survey."""
    rows = fit.rows
    assert rows.data is not None  # every fit keeps its data
    given = rows.given_offset
    return {
        "formula": rows.formula.text,
        "contrasts": contrasts_tree(rows.formula.contrasts),
        "data": imputed_tree(rows.data, needed_columns(rows.formula, None, given)),
        "offset": given if given is None or isinstance(given, str) else np.asarray(given, dtype=np.float64),
        "n_dropped": rows.n_dropped,
        "design": asdict(fit.design),
        "estimates": {field.name: getattr(fit.found, field.name) for field in fields(SurveyEstimates)},
        "model": fingerprint(fit.model),
    }


def survey_from_content(tree: Mapping[str, Any]) -> SurveyFit:
    """Build the model from its data again, and put the estimates that were saved into it."""
    formula = replace(parse_formula(tree["formula"]), contrasts=contrasts_from_tree(tree["contrasts"]))
    data = imputed_from_tree(tree["data"])
    require_model_columns(formula, data.frames[0], None, tree["offset"])
    with quiet(RankDeficientWarning):
        # said when the model was fitted
        rows = read_rows(formula, data, offset=tree["offset"], n_dropped=tree["n_dropped"])
        model = assemble(rows, reml=False)
    check_same(fingerprint(model), tree["model"])
    found = _estimates(tree["estimates"], rows.n_sets, model)
    return SurveyFit(rows, model.layout, model.keep, found, SurveyDesign(**tree["design"]), formula.text)


def _estimates(tree: Mapping[str, Any], m: int, model: Assembled) -> SurveyEstimates:
    """Read the arrays, which must be those of the model."""
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in tree.items() if name != "modes"}
    found = SurveyEstimates(**arrays, modes=tuple(map(np.asarray, tree["modes"])))
    p = len(model.keep) + len(labels(model.layout))
    widths = [sum(term.q for term in model.layout.terms if term.factor == f) for f in range(len(model.layout.factors))]
    shapes = {
        "estimates": (m, p),
        "covariances": (m, p, p),
        "criterion": (m,),
        "singular": (m,),
        "failed": (len(found.failed), m),
    }
    wrong = [name for name, shape in shapes.items() if getattr(found, name).shape != shape]
    sizes = [(m, factor.n_levels, q) for factor, q in zip(model.layout.factors, widths, strict=True)]
    if wrong or [own.shape for own in found.modes] != sizes:
        raise ValueError(f"{shortened(wrong or ['modes'])} is not of this model")
    return found
