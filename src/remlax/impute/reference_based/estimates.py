"""Differences of arms from completed data sets: pooled by Rubin's rules, or with the jackknife or the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ...errors import ImputationError
from ...pooling import pool_scalars
from ...pooling.tails import t_quantile, t_two_sided
from ..columns import FloatArray
from .ancova import Ancova
from .cells import Parameters
from .model import ReferenceModel
from .resamples import bootstrap_refits, jackknife_refits

Resampling = Literal["jackknife", "bootstrap"]
# numbers of completed data sets that are held at once
BLOCK_NUMBERS = 2**24


@dataclass(frozen=True, eq=False)
class Imputations:
    """Completed data sets whose cells were drawn: Rubin's rules."""

    y: FloatArray

    method = "Rubin's rules"

    def table(self, ancova: Ancova, adjusted: FloatArray, conf_level: float) -> pd.DataFrame:
        """Estimates of the terms, with ``adjusted`` (n,) added to the response of each patient."""
        y = self.y + adjusted
        pooled = pool_scalars(
            ancova.estimates(y), ancova.variances(y), dfcom=float(ancova.dfcom), conf_level=conf_level
        )
        names = ("estimate", "std_error", "statistic", "df", "p_value", "conf_low", "conf_high", "riv", "fmi")
        columns = {"term": list(ancova.terms), **{name: getattr(pooled, name) for name in names}}
        return pd.DataFrame(columns).assign(**{"lambda": pooled.lambda_})


@dataclass(frozen=True, eq=False)
class Resampled:
    """Conditional means of the trial, and of its resamples: the estimate, and its distribution.

    Attributes
    ----------
    y : ndarray (n,)
        At the estimates of all patients.
    resamples : ndarray (B, n)
        At the estimates of every resample.
    counts : ndarray (B, n)
        How often every patient is in a resample.
    kind : {"jackknife", "bootstrap"}
    """

    y: FloatArray
    resamples: FloatArray
    counts: FloatArray
    kind: Resampling

    @property
    def method(self) -> str:
        """What the standard errors are from."""
        return f"the {self.kind}"

    def table(self, ancova: Ancova, adjusted: FloatArray, conf_level: float) -> pd.DataFrame:
        """Estimates of the terms, with ``adjusted`` (n,) added to the response of each patient."""
        estimate = ancova.estimates((self.y + adjusted)[None])[0]
        others = self._estimates(ancova, adjusted)
        error = resampling_error(others, self.kind)
        df = np.full(len(error), np.inf)
        half = t_quantile(conf_level, df) * error
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = estimate / error
        return pd.DataFrame(
            {
                "term": list(ancova.terms),
                "estimate": estimate,
                "std_error": error,
                "statistic": statistic,
                "df": df,
                "p_value": t_two_sided(statistic, df),
                "conf_low": estimate - half,
                "conf_high": estimate + half,
            }
        )

    def _estimates(self, ancova: Ancova, adjusted: FloatArray) -> FloatArray:
        try:
            return ancova.estimates(self.resamples + adjusted, self.counts)
        except np.linalg.LinAlgError:
            raise ImputationError(
                "the analysis has coefficients that some resamples of the patients cannot tell apart: merge rare "
                "categories of its covariates, or leave them out"
            ) from None


def resampling_error(others: FloatArray, kind: Resampling) -> FloatArray:
    """Standard errors (..., r) from the estimates (..., B, r) of resamples."""
    n = others.shape[-2]
    spread = others - others.mean(axis=-2, keepdims=True)
    factor = (n - 1) / n if kind == "jackknife" else 1 / (n - 1)
    return np.asarray(np.sqrt(factor * (spread**2).sum(axis=-2)))


@dataclass(frozen=True, eq=False)
class Resamples:
    """Refits of the imputation model to resamples of the patients: their counts (B, n), and parameters."""

    model: ReferenceModel
    kind: Resampling
    counts: FloatArray
    parameters: Parameters

    def at(self, visit: int) -> Resampled:
        """Conditional means at one visit, in blocks of resamples."""
        cells, n_sets = self.model.cells, len(self.counts)
        own = cells.completed(self.model.estimates)[0, :, visit]
        each = max(1, BLOCK_NUMBERS // cells.events.y.size)
        blocks = [self.parameters.take(slice(i, i + each)) for i in range(0, n_sets, each)]
        resamples = np.concatenate([cells.completed(block)[:, :, visit] for block in blocks])
        return Resampled(own, resamples, self.counts, self.kind)


def resample(model: ReferenceModel, kind: Resampling, n_boot: int) -> Resamples:
    """Refit the imputation model without every patient in turn, or to resamples of them."""
    if kind == "jackknife":
        return Resamples(model, kind, *jackknife_refits(model))
    counts, parameters, _ = bootstrap_refits(model, n_boot)
    return Resamples(model, kind, counts, parameters)
