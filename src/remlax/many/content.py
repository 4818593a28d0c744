"""Content of files: design, responses and fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import scipy

from ..data.columns import imputed_from_tree, imputed_tree, index_from_tree, index_tree
from ..data.imputed import ImputedData
from ..design.build import needed_columns, read_rows, require_model_columns
from ..design.own_contrasts import contrasts_from_tree, contrasts_tree
from ..errors import RankDeficientWarning, about, quiet
from ..results.save import check_same, fingerprint
from .design import ManySource, each_set, parse_right_side
from .estimates import ResponseFits
from .fit import SharedDesign, assembled
from .responses import Responses

Tree = dict[str, Any]
Parts = tuple[tuple[SharedDesign, ...], pd.Index, tuple[ResponseFits, ...], ManySource]


def many_content(
    design: Sequence[SharedDesign], names: pd.Index, fits: Sequence[ResponseFits], source: ManySource
) -> Tree:
    """Write everything about many fits."""
    first = source.rows[0]
    weights: Any = first.given_weights
    if not isinstance(weights, str):
        weights = [rows.weights.of(0) for rows in source.rows if rows.weights is not None] or None
    data = ImputedData(tuple(rows.data.frames[0] for rows in source.rows if rows.data), tuple(source.labels))
    with about("the names of the responses"):
        labels = index_tree(names)
    return {
        "formula": source.text,
        "contrasts": contrasts_tree(first.formula.contrasts),
        "reml": design[0].reml,
        "data": imputed_tree(data, needed_columns(first.formula, weights if isinstance(weights, str) else None)),
        "weights": weights,
        "n_dropped": first.n_dropped,
        "kept": source.kept,
        "names": labels,
        "responses": _values_tree(source.responses),
        "own_weights": _values_tree(source.weights),
        "models": [fingerprint(one.model) for one in design],
        "fits": [fit.tree() for fit in fits],
    }


def many_parts(tree: Tree) -> Parts:
    """Build the designs from their data again, and take the fits that were saved."""
    formula = parse_right_side(tree["formula"])
    formula = replace(formula, contrasts=contrasts_from_tree(tree["contrasts"]))
    data, weights = imputed_from_tree(tree["data"]), tree["weights"]
    if isinstance(weights, list) and len(data.frames) == 1:
        (weights,) = weights
    require_model_columns(formula, data.frames[0], weights)
    with quiet(RankDeficientWarning):
        # said when the model was fitted
        rows = each_set(read_rows(formula, data, weights=weights, n_dropped=tree["n_dropped"]))
        design = assembled(rows, reml=tree["reml"])
    for one, saved in zip(design, tree["models"], strict=True):
        check_same(fingerprint(one.model), saved)
    names = index_from_tree(tree["names"])
    fits = tuple(_fits(one, part, len(names)) for one, part in zip(design, tree["fits"], strict=True))
    responses, own = _values(tree["responses"], names), _values(tree["own_weights"], names)
    return design, names, fits, ManySource(tree["formula"], rows, responses, own, tree["kept"])


def _fits(design: SharedDesign, tree: Tree, n: int) -> ResponseFits:
    found = ResponseFits.from_tree(tree)
    for name, like in design.none(n).tree().items():
        array = getattr(found, name)
        if array.shape != like.shape or array.dtype.kind != like.dtype.kind:
            raise ValueError(f"{name!r} of {array.dtype} and shape {array.shape} is not of this model")
    return found


def _values_tree(given: Responses | None) -> Tree | None:
    if given is None:
        return None
    if not scipy.sparse.issparse(given.values):
        return {"values": np.asarray(given.values)}
    columns: Any = scipy.sparse.csc_array(cast(Any, given.values))
    return {"values": columns.data, "rows": columns.indices, "starts": columns.indptr, "n": columns.shape[0]}


def _values(tree: Tree | None, names: pd.Index) -> Responses | None:
    if tree is None:
        return None
    values = tree["values"]
    if "starts" in tree:
        shape = (tree["n"], len(names))
        values = scipy.sparse.csc_array((values, tree["rows"], tree["starts"]), shape=shape)
    if values.shape[1:] != (len(names),):
        raise ValueError(f"responses of shape {values.shape} for {len(names)} names")
    return Responses(names, values)
