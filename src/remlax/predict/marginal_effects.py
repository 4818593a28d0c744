"""Average marginal effects and comparisons: what a variable does to the expected response, averaged over the rows.

Both are combinations of mean predictions at changed values of the variable, so that all errors come from one delta
method (over theta, the coefficients and thresholds, and the modes where they take part).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..errors import DataError, shortened
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..tables.checks import checks
from ..tables.coefficients import estimate_columns
from ..tables.exponentiate import as_ratios
from ..tables.usable import warn_unconverged
from .glmm_error import Gradients, added, error_variance, mean_gradients
from .glmm_prediction import GlmmLevel, expected_rows
from .mean_response import mean_response
from .newdata import array_offset, include_level, read_newdata
from .observations import model_columns
from .undetermined import warn_undetermined

Comparison = Literal["difference", "ratio", "odds-ratio"]
Contrasts = str | Sequence[str] | Mapping[str, tuple[object, object]]

# step of the derivatives in SDs of the variable; their error is of the fourth order
STEP = 1e-3
# derivative from values at -2, -1, 1 and 2 steps
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))


@dataclass(frozen=True)
class MeanPrediction:
    """Mean over the rows of the expected response of one data set, of every category: value (C,), derivatives."""

    value: np.ndarray
    gradient: Gradients

    def times(self, factor: np.ndarray | float) -> MeanPrediction:
        """The means times a number, or one number each."""
        weights = np.diag(np.broadcast_to(np.asarray(factor, dtype=float), self.value.shape))
        return MeanPrediction(weights @ self.value, self.gradient.combined(weights))


def total(each: Sequence[MeanPrediction]) -> MeanPrediction:
    """Sum of mean predictions."""
    return MeanPrediction(np.sum([one.value for one in each], axis=0), added([one.gradient for one in each]))


Means = Callable[[Selection, pd.DataFrame], MeanPrediction]


def means_at(level: GlmmLevel) -> Means:
    """How mean predictions are made: at a level of the random effects, or of the fixed part of a linear model."""

    def linear(fit: Selection, frame: pd.DataFrame) -> MeanPrediction:
        rows = read_newdata(fit, frame, include_level(fit.fitted, "population"), "error", array_offset(fit))
        _require_determined(rows.undetermined, rows.index)
        own = rows.frame(0)
        value = np.array([np.mean(own.x @ fit.fitted.beta[fit.k] + own.offset)])
        return MeanPrediction(value, Gradients(own.x.mean(axis=0)[None], (), np.zeros((1, 0)), np.zeros((1, 0))))

    def generalised(fit: Selection, frame: pd.DataFrame) -> MeanPrediction:
        fitted = fit.fitted
        assert isinstance(fitted, GlmmFitted)
        expected = expected_rows(fit, frame, level, None, "error", array_offset(fit))
        _require_determined(expected.rows.undetermined, expected.rows.index)
        spread, d_spread = expected.spread(fit, 0)
        by = mean_response(fitted.family, expected.eta(fit)[0], fitted.shape[fit.k], spread)
        return MeanPrediction(by.value.mean(axis=0), mean_gradients(fitted, expected.rows.frame(0), by, d_spread))

    def means(fit: Selection, frame: pd.DataFrame) -> MeanPrediction:
        return generalised(fit, frame) if isinstance(fit.fitted, GlmmFitted) else linear(fit, frame)

    return means


def _require_determined(found: Any, index: pd.Index) -> None:
    if found is not None:
        warn_undetermined(found, index)
        raise DataError("the data of the fit do not determine some of the predictions that are averaged")


# -- tables --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Averages:
    """Fits and how their effects are averaged.

    Parameters
    ----------
    fits : Selection
    within : CoefficientInference
        Covariance of the coefficients and degrees of freedom; of a generalised model the latter only.
    level : GlmmLevel
        Random effects that take part.
    conf_level : float
    """

    fits: Selection
    within: CoefficientInference
    level: GlmmLevel
    conf_level: float

    def slopes(self, variables: str | Sequence[str]) -> pd.DataFrame:
        """Mean derivatives of the expected response; see ``LmerFit.slopes``."""
        warn_unconverged(self.fits, "slopes")
        means = means_at(self.level)

        def slope(fit: Selection, name: str) -> MeanPrediction:
            frame = self._frame(fit)
            column = frame[name].astype(float)
            step = STEP * (float(column.std()) or 1.0)
            parts = [
                means(fit, frame.assign(**{name: column + at * step})).times(weight / step) for at, weight in STENCIL
            ]
            return total(parts)

        tables = []
        for name in self._names(variables):
            if not all(_is_number(self._frame(fit)[name]) for fit in self.fits.each):
                raise DataError(f"{name!r} is no number, and has no slope: use comparisons({name!r})")
            tables.append(self._table({"term": name}, [slope(fit, name) for fit in self.fits.each]))
        return self._joined(tables)

    def comparisons(self, contrasts: Contrasts, kind: Comparison) -> pd.DataFrame:
        """Differences or ratios of mean expected responses; see ``LmerFit.comparisons``."""
        checks.choice(kind, Comparison, "comparison=")
        warn_unconverged(self.fits, "comparisons")
        means, tables = means_at(self.level), []
        if kind == "odds-ratio" and not _has_probabilities(self.fits):
            raise DataError("comparison='odds-ratio' needs a binomial or an ordinal response")
        for name, low, high in self._pairs(contrasts):
            pairs = [
                [means(fit, _with_value(self._frame(fit), name, value)) for value in (low, high)]
                for fit in self.fits.each
            ]
            label = {"difference": f"{high} - {low}", "ratio": f"{high} / {low}"}.get(kind, f"odds {high} / {low}")
            each = [_compared(before, after, kind) for before, after in pairs]
            table = self._table({"term": name, "contrast": label}, each)
            tables.append(table if kind == "difference" else as_ratios(table))
        return self._joined(tables)

    def _table(self, labels: dict[str, str], each: list[MeanPrediction]) -> pd.DataFrame:
        values = np.stack([one.value for one in each])
        variances = np.stack([self._variance(fit, one) for fit, one in zip(self.fits.each, each, strict=True)])
        rows = np.mean([one.gradient.beta for one in each], axis=0)
        df = self.within.df(rows).mean(axis=0)
        table = pd.DataFrame(estimate_columns(values, variances, df, self.conf_level))
        fitted = self.fits.fitted
        if isinstance(fitted, GlmmFitted) and fitted.family.name == "ordinal":
            names = fitted.response.levels
            table.insert(0, "category", pd.Series(pd.Categorical(list(names), list(names), ordered=True)))
        for position, (column, label) in enumerate(labels.items()):
            table.insert(position, column, label)
        return table

    def _variance(self, fit: Selection, one: MeanPrediction) -> np.ndarray:
        if isinstance(fit.fitted, GlmmFitted):
            return error_variance(fit.fitted, fit.k, one.gradient)
        vcov = self.within.vcov[self.fits.which.index(fit.k)]
        return np.asarray(np.einsum("ji,ik,jk->j", one.gradient.beta, vcov, one.gradient.beta))

    def _joined(self, tables: list[pd.DataFrame]) -> pd.DataFrame:
        return pd.concat(tables, ignore_index=True)

    def _frame(self, fit: Selection) -> pd.DataFrame:
        data = fit.rows.data
        assert data is not None  # every fit keeps its data
        frame = data.frames[fit.k]
        return frame[[name for name in model_columns(fit.fitted) if name in frame]]

    def _names(self, variables: str | Sequence[str]) -> list[str]:
        names = [variables] if isinstance(variables, str) else list(variables)
        known = list(self.fits.rows.fixed.variables)
        for name in names:
            if name not in known:
                raise DataError(f"{name!r} is no variable of the fixed part; they are {shortened(map(repr, known))}")
        return names

    def _pairs(self, contrasts: Contrasts) -> list[tuple[str, Any, Any]]:
        """Variables with the two values that are compared: of a categorical one all others with the first."""
        if isinstance(contrasts, Mapping):
            self._names(list(contrasts))
            for name, pair in contrasts.items():
                if not isinstance(pair, tuple | list) or len(pair) != 2:
                    raise DataError(f"the values to compare of {name!r} must be a pair, (from, to), not {pair!r}")
                if pair[0] == pair[1]:
                    raise DataError(f"the values to compare of {name!r} are the same, {pair[0]!r}: give two")
            return [(name, pair[0], pair[1]) for name, pair in contrasts.items()]
        out = []
        for name in self._names(contrasts):
            column = self._frame(self.fits.each[0])[name]
            if _is_number(column):
                raise DataError(f"{name!r} is a number: give the values to compare, as in {{{name!r}: (0, 1)}}")
            values = list(column.cat.categories) if isinstance(column.dtype, pd.CategoricalDtype) else []
            first, *others = values or sorted(column.unique())
            out += [(name, first, other) for other in others]
        return out


def _is_number(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) and not pd.api.types.is_bool_dtype(column)


def _has_probabilities(fits: Selection) -> bool:
    return isinstance(fits.fitted, GlmmFitted) and fits.fitted.family.name in ("binomial", "ordinal")


def _with_value(frame: pd.DataFrame, name: str, value: Any) -> pd.DataFrame:
    """The frame with one value of a variable in all rows, of the type that its column has."""
    column = frame[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        if value not in column.cat.categories:
            raise DataError(f"{name!r} has no category {value!r}")
        return frame.assign(**{name: pd.Categorical([value] * len(frame), dtype=column.dtype)})
    return frame.assign(**{name: value})


def _compared(low: MeanPrediction, high: MeanPrediction, kind: Comparison) -> MeanPrediction:
    """Difference, or logarithm of a ratio of means or of odds, with its derivatives."""
    if kind == "difference":
        return total([high, low.times(-1.0)])
    logs = []
    for one, sign in ((high, 1.0), (low, -1.0)):
        p = one.value
        if (p <= 0).any():
            raise DataError("a ratio needs positive means: use comparison='difference'")
        value, slope = (np.log(p), 1 / p) if kind == "ratio" else (np.log(p / (1 - p)), 1 / (p * (1 - p)))
        logs.append(MeanPrediction(sign * value, one.times(sign * slope).gradient))
    return total(logs)
