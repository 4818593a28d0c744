"""What the figures of a model read from it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from ..design.syntax import variables
from ..errors import DataError, RankDeficientWarning, quiet, warn
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..predict.newdata import Level, PredictionRows, include_level, read_newdata
from ..predict.observations import model_frames, used_as_number
from ..predict.prediction import predict_table
from ..results import GlmerFit, LmerFit, MmrmFit, PooledGlmer, PooledLmer, PooledMmrm
from ..tables.exponentiate import ratio_words

Model: TypeAlias = LmerFit | PooledLmer


def selection_of(model: Model) -> Selection:
    """The fits that are drawn; DataError for anything but one fit or a pooled model."""
    if isinstance(model, LmerFit | PooledLmer):
        return model.selection
    hint = ": use fits.pool() or fits[0]" if hasattr(model, "pool") else " (of rx.lmer, rx.glmer or rx.mmrm)"
    raise DataError(f"a figure shows one fit or a pooled model, not a {type(model).__name__}{hint}")


def with_random_effects(model: Model) -> Selection:
    """The fits that are drawn; DataError where they have no random effects."""
    fits = selection_of(model)
    if isinstance(model, MmrmFit | PooledMmrm):
        raise DataError(
            "a mixed model for repeated measures has no random effects to draw: rx.plot.visit_covariance(fit) shows "
            "the covariance of its visits, and rx.plot.marginal_means(fit.emmeans('visit')) their means"
        )
    return fits


def family_of(model: Model) -> str:
    """Family of a generalised model; empty for a linear one."""
    fitted = selection_of(model).fitted
    return fitted.family.name if isinstance(fitted, GlmmFitted) else ""


def ratios_of(model: Model) -> tuple[str, str]:
    """What exponentiated coefficients are, with a capital, and the link; DataError where they are no ratios."""
    fitted = selection_of(model).fitted
    words = ratio_words(fitted.family) if isinstance(fitted, GlmmFitted) else ""
    if not isinstance(fitted, GlmmFitted) or not words:
        raise DataError("exponentiate=True is for generalised models with a logit, log or cloglog link")
    words = words.replace("ratios", "ratio")
    return words[0].upper() + words[1:], fitted.family.link


def pooled_only(model: Model, what: str) -> PooledLmer:
    """Raise DataError for a single fit, where there is nothing to compare."""
    selection_of(model)
    if not isinstance(model, PooledLmer):
        raise DataError(f"{what} compares imputations, and this is a single fit: give a pooled model, fits.pool()")
    return model


def level_of(model: Model) -> float:
    """Confidence level of the model's tables."""
    return model.conf_level if isinstance(model, PooledLmer) else 0.95


def predicted(model: Model, frame: pd.DataFrame, level: Level, conf_level: float | None) -> pd.DataFrame:
    """Predictions for rows of new data, with limits where a level is given; NaN where there is none."""
    fits = selection_of(model)
    interval: Literal["confidence"] | None = None if conf_level is None else "confidence"
    level_of_limits = 0.95 if conf_level is None else conf_level
    if isinstance(model, GlmerFit | PooledGlmer):
        if family_of(model) == "ordinal":
            raise DataError(
                "the figure shows one mean, and an ordinal response has a probability for every category: draw those "
                "that predict(newdata, level='population', interval='confidence') gives"
            )
        return model.predict(frame, level=level, interval=interval, conf_level=level_of_limits)
    if isinstance(model, MmrmFit | PooledMmrm):
        return model.predict(frame, interval=interval, conf_level=level_of_limits)
    rows = read_newdata(fits, frame, include_level(fits.fitted, level), "error")
    _check_points(rows)
    with quiet(RankDeficientWarning):
        return predict_table(fits, rows, interval, level_of_limits, model._dfcom)


def _check_points(rows: PredictionRows) -> None:
    """Say that a figure has gaps where the data of the fit determine nothing; refuse an empty one."""
    lost = rows.undetermined
    if lost is None:
        return
    if lost.rows.all():
        raise DataError(f"the figure would be empty, for all along it {lost.why}: the fixed part is rank deficient")
    warn(f"the figure has gaps, where {lost.why}: the fixed part is rank deficient", RankDeficientWarning)


def column_of(model: Model, name: str) -> pd.Series:
    """A variable of the model, all imputations below each other; DataError for any other name."""
    fits = selection_of(model)
    frames = model_frames(fits)
    if name not in frames[0]:
        raise DataError(f"{name!r} is no variable of the model; they are {', '.join(map(str, frames[0].columns))}")
    return pd.concat([frame[name] for frame in frames], ignore_index=True)


def is_number(model: Model, name: str) -> bool:
    """Tell whether a variable is used as a number rather than as categories."""
    return used_as_number(selection_of(model).fitted, column_of(model, name))


def predictors(model: Model) -> list[str]:
    """Variables of the fixed part, in order; DataError where there are none."""
    names = list(variables(selection_of(model).rows.formula.fixed_tree))
    if not names:
        raise DataError("the fixed part has no predictor to draw along")
    return names


def response(model: Model) -> str:
    """The response, as it is written in the formula."""
    return selection_of(model).rows.formula.response


def predictor_words(model: Model) -> str:
    """The response, or what stands for it on the scale of the link."""
    fitted = selection_of(model).fitted
    return f"linear predictor, {fitted.family.link} link" if isinstance(fitted, GlmmFitted) else response(model)


def normal_scores(n: int) -> np.ndarray:
    """Probabilities (i - 0.5) / n of n sorted values."""
    return (np.arange(n) + 0.5) / n
