"""Predictions from a model of a survey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ..checks import Checks
from ..errors import DataError
from ..fitting.assemble import z_columns
from ..predict.newdata import FrameRows, read_frames
from ..predict.undetermined import blank, warn_undetermined
from .combine import combine_each

if TYPE_CHECKING:
    from .result import SurveyFit

checks = Checks()
Level = Literal["group", "population"]
NewLevels = Literal["error", "mean"]


def predict_survey(
    fit: SurveyFit,
    newdata: pd.DataFrame | None,
    level: Level,
    interval: Literal["confidence"] | None,
    conf_level: float,
    new_levels: NewLevels,
) -> pd.DataFrame:
    """Table of `SurveyFit.predict`."""
    checks.choice(level, Level, "level=")
    checks.choice(interval, Literal["confidence", None], "interval=")
    checks.choice(new_levels, NewLevels, "new_levels=")
    checks.level(conf_level)
    if interval is not None and level != "population":
        raise DataError(
            "interval='confidence' needs level='population': the sampling covariance is that of the coefficients, not "
            "of the effects of groups"
        )
    lost = None
    if newdata is None:
        frames = [_rows_of_fit(fit, k) for k in range(fit.n_values)]
        index = fit.rows.index[0]
    else:
        checks.frame(newdata, "newdata")
        if not len(newdata):
            raise DataError("newdata has no rows")
        include = [np.full(term.q, level == "group") for term in fit.layout.terms]
        read = read_frames(fit.model, [newdata], [""], include, new_levels)
        frames, index, lost = [read.frames[0]] * fit.n_values, read.index, read.undetermined
        warn_undetermined(lost, index)
    p = len(fit.keep)
    each = np.stack([_estimates(fit, k, frame, level) for k, frame in enumerate(frames)])
    if interval is None:
        return blank(pd.DataFrame({"estimate": each.mean(axis=0)}, index=index), lost)
    variances = np.stack(
        [
            np.einsum("ri,ij,rj->r", frame.x, covariance[:p, :p], frame.x)
            for frame, covariance in zip(frames, fit.found.covariances, strict=True)
        ]
    )
    found = combine_each(each, variances, fit.design.rule, fit.design.df)
    limits = found.limits(conf_level)
    columns = {"estimate": found.estimate, "std_error": found.std_error, "df": found.df, **limits}
    return blank(pd.DataFrame(columns, index=index), lost)


def _rows_of_fit(fit: SurveyFit, k: int) -> FrameRows:
    rows = fit.rows
    n = rows.n_rows(k)
    codes = tuple(factor.codes[:n] for factor in fit.layout.factors)
    offset = np.zeros(n) if rows.offset is None else rows.offset.of(k)
    return FrameRows(rows.x.of(k)[:, fit.keep], tuple(z_columns(rows, fit.layout, k)), codes, offset, np.ones(n))


def _estimates(fit: SurveyFit, k: int, frame: FrameRows, level: Level) -> np.ndarray:
    """Predictions (R,) from the estimates of one response."""
    out = frame.x @ fit.found.estimates[k, : len(fit.keep)] + frame.offset
    if level == "group":
        for z, codes, modes in zip(frame.z, frame.codes, fit.found.modes, strict=True):
            out = out + np.where(codes >= 0, np.sum(z * modes[k][codes], axis=1), 0.0)
    return np.asarray(out)
