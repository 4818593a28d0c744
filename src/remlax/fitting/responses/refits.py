"""Responses drawn from a generalised linear mixed model, and the model fitted to other responses.

Inside, a response is what `ModelRows` holds of it: successes of ``cbind(k, n - k)``, proportions, zeros and ones,
counts, positive numbers, or codes of categories from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from ...data.imputed import ImputedData
from ...design.build import ModelRows
from ...design.functions import level_name
from ...design.response import ResponseLevels
from ...design.rows import RowArray
from ...errors import DataError, shortened
from ...kernels.newton import Newton
from ..glmm import GlmmFitted, assemble_glmm, fit_glmm
from ..priors import with_priors
from .distribution import inverse_link
from .response import read_response


def draw_from(fitted: GlmmFitted, k: int, eta: np.ndarray, each: Sequence[np.random.Generator]) -> np.ndarray:
    """Draw a response of every row for every linear predictor (n_sims, n), each with a generator of its own."""
    own, family = fitted.distribution(k), fitted.family
    means = eta if family.name == "ordinal" else inverse_link(family.link, eta).mean
    drawn = np.stack([own.draw(mean, rng) for mean, rng in zip(means, each, strict=True)])
    if own.trials is None or fitted.model.rows.y.values.ndim == 1:
        return drawn
    return np.asarray(np.round(drawn * own.trials))


def refit_glmm(fitted: GlmmFitted, rows: ModelRows, y: np.ndarray, *, k: int) -> GlmmFitted:
    """Fit the model of one data set to other responses.

    Parameters
    ----------
    fitted : GlmmFitted
    rows : ModelRows
        Rows of the data set, once for every response.
    y : ndarray (n_sims, n)
        The responses.
    k : int
        The data set.

    Raises
    ------
    DataError
        A response is not one of the family.
    """
    old, response = fitted.model.rows.y, fitted.response
    if old.values.ndim == 2:
        failures = old.of(k).sum(axis=1) - y
        if (failures < 0).any() or (y < 0).any():
            raise DataError(f"a response of {rows.formula.response!r} has fewer than no successes, or more than trials")
        pairs = np.stack([y, failures], axis=2).reshape(-1, 2)
        rows = replace(rows, y=RowArray(pairs, rows.offsets))
    elif response.levels:
        if not (np.isin(y, np.arange(len(response.levels)))).all():
            raise DataError(f"a response has other categories than {shortened(map(repr, response.levels))}")
        rows = replace(rows, levels=ResponseLevels(response.levels, fitted.family.name == "ordinal"))
    found = read_response(rows, fitted.family)
    if response.levels:
        rows = _with_categories(fitted, rows, y)
    own = fitted.model
    model = with_priors(
        assemble_glmm(rows, found, fitted.structure.n_quad), own.prior, own.fixef_prior, has_sigma=False
    )
    return fit_glmm(model, found, cast(Newton, fitted.optimizer))


def _with_categories(fitted: GlmmFitted, rows: ModelRows, y: np.ndarray) -> ModelRows:
    """Rows whose data sets hold the categories, or ordered numbers, in place of their codes (n_sims, n)."""
    columns = response_columns(fitted, y)
    if fitted.model.rows.levels is None:
        rows = replace(rows, levels=None, y=RowArray(np.concatenate(columns), rows.offsets))
    if rows.own_response:
        return rows
    assert rows.data is not None  # every fit keeps its data
    return replace(rows, data=ImputedData(replace(cast(Any, rows.data.frames), y=columns), rows.labels))


def response_columns(fitted: GlmmFitted, drawn: np.ndarray) -> list[np.ndarray] | list[pd.Categorical[str]]:
    """Drawn responses (n_sims, n) as a data frame holds them: categories by name, or numbers."""
    levels, ordered = fitted.response.levels, fitted.family.name == "ordinal"
    if not levels:
        return list(drawn)
    if fitted.model.rows.levels is None:
        return list(np.array([float(name) for name in levels])[drawn.astype(int)])
    return [pd.Categorical.from_codes(own.astype(np.int64), pd.Index(levels), ordered=ordered) for own in drawn]


def response_codes(fitted: GlmmFitted, given: object) -> object:
    """Codes of responses that are given as categories, in columns; what is a number stays.

    Raises
    ------
    DataError
        A value is none of the categories.
    """
    levels = fitted.response.levels
    if not levels:
        return given
    frame = given.to_frame() if isinstance(given, pd.Series) else pd.DataFrame(given)  # type: ignore[call-overload]
    names = {name: float(code) for code, name in enumerate(levels)}
    codes = frame.apply(lambda column: column.map(level_name).astype(object).map(names).astype(float))
    if codes.isna().to_numpy().any():
        raise DataError(f"the responses hold values that are none of the categories {shortened(map(repr, levels))}")
    return codes
