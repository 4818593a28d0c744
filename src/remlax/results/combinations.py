"""Linear combinations of the coefficients, of one fit or pooled; NaN where there is no estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from ..fitting.coefficients import CoefficientInference
from ..fitting.fit import Fitted
from ..pooling import RubinPool
from ..pooling import linear as linear_pool
from .coefficients import fit_table, pooled_table
from .fit_print import fit_notes
from .marks import mark


class Combinations(Protocol):
    """What marginal means need to know about a model."""

    def table(self, matrix: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
        """Table of the combinations (r, p); rows of NaN stay NaN."""
        ...


@dataclass(frozen=True, eq=False)
class FitCombinations:
    """Combinations of the coefficients of one fit."""

    fitted: Fitted
    lane: int
    within: CoefficientInference
    conf_level: float

    def table(self, matrix: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
        """Table of the combinations (r, p)."""
        rows = _stand_in(matrix)
        error = np.sqrt(np.einsum("ri,ij,rj->r", rows, self.within.vcov[0], rows))
        estimate = rows @ self.fitted.beta[self.lane]
        table = fit_table(labels, estimate, error, self.within.df(rows)[0], self.conf_level)
        table.attrs["notes"] = fit_notes(self.fitted, self.lane)
        return _blanked(table, matrix)


@dataclass(frozen=True, eq=False)
class PooledCombinations:
    """Combinations of the coefficients of several fits, pooled."""

    fitted: Fitted
    lanes: Sequence[int]
    dropped: Sequence[int]
    within: CoefficientInference
    rubin: RubinPool

    def table(self, matrix: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
        """Table of the combinations (r, p)."""
        rows = _stand_in(matrix)
        dfcom = self.within.df(rows).mean(axis=0)
        table = pooled_table(labels, linear_pool(self.rubin, rows, 0.0, dfcom=dfcom))
        return _blanked(mark(table, self.fitted, self.lanes, self.dropped), matrix)


def _stand_in(matrix: np.ndarray) -> np.ndarray:
    """Put the first coefficient where a row is NaN, which `_blanked` takes out again."""
    first = np.eye(1, matrix.shape[1])
    return np.where(np.isnan(matrix).any(axis=1)[:, None], first, matrix)


def _blanked(table: pd.DataFrame, matrix: np.ndarray) -> pd.DataFrame:
    table.loc[np.isnan(matrix).any(axis=1), table.columns[1:]] = np.nan
    return table
