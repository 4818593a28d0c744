"""P-values of one hypothesis in many data sets of one design."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import scipy

from ..design.rows import RowMatrix
from ..many.design import ManySource
from ..many.estimates import ResponseFits
from ..many.fit import SharedDesign
from ..many.kenward_roger import kenward_roger_fits
from ..many.responses import Responses
from ..many.tables import joint_tests
from ..tables.constraints import Linear

PowerMethod = Literal["satterthwaite", "kenward-roger", "lrt", "wald", "bootstrap"]
# tests by two fits with maximum likelihood
RATIOS = ("lrt", "bootstrap")
WORDS = {
    "satterthwaite": "F test with Satterthwaite's degrees of freedom",
    "kenward-roger": "F test by Kenward and Roger's method",
    "lrt": "likelihood-ratio test",
    "wald": "Wald chi-square test",
    "bootstrap": "likelihood-ratio test by parametric bootstrap",
}


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What became of the replications: p-values with the effect and without, (R,), NaN where a fit failed.

    Parameters
    ----------
    p_value, null_p_value : ndarray (R,)
    singular, failed : ndarray of bool (R,)
        Of the fits with the effect.
    """

    p_value: np.ndarray
    null_p_value: np.ndarray
    singular: np.ndarray
    failed: np.ndarray

    @classmethod
    def none(cls, n: int) -> Verdicts:
        """Replications in which nothing can be tested."""
        return cls(np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, bool), np.ones(n, bool))


def wald_p_values(difference: np.ndarray, covariance: np.ndarray, converged: np.ndarray) -> np.ndarray:
    """P-values (R,) of Wald's chi-square test, from L beta - null (R, r) and its covariance; NaN without a fit."""
    known = converged & np.isfinite(covariance).all(axis=(1, 2)) & np.isfinite(difference).all(axis=1)
    out = np.full(len(known), np.nan)
    solved = np.linalg.solve(covariance[known], difference[known][:, :, None])[:, :, 0]
    out[known] = scipy.stats.chi2.sf(np.sum(difference[known] * solved, axis=1), difference.shape[1])
    return out


def null_space(linear: Linear) -> tuple[np.ndarray, np.ndarray]:
    """Directions (p, p - r) that leave L beta as it is, and coefficients (p,) for which it is what is tested."""
    return scipy.linalg.null_space(linear.matrix), np.linalg.pinv(linear.matrix) @ linear.null


class PowerTest(Protocol):
    """A test of L beta = null in one design.

    ``shifts``: with the effect taken out a response is another by columns of X, and its fit known.
    """

    @property
    def design(self) -> SharedDesign: ...
    @property
    def linear(self) -> Linear: ...
    @property
    def shifts(self) -> bool: ...

    def fit(self, y: np.ndarray) -> Any:
        """Fit responses (R, n), with what the test needs; NaN where a cell is missing."""

    def p_values(self, fits: Any, null: np.ndarray) -> np.ndarray:
        """P-values (R,) of L beta = null (r,); not of a likelihood ratio."""

    def ratio_p_values(self, fits: Any, y: np.ndarray, replications: range) -> np.ndarray:
        """P-values (R,) of the likelihood ratio against the hypothesis, refitted to responses of these numbers."""


@dataclass(frozen=True, eq=False)
class DesignTest:
    """A test of L beta = null in one design.

    Parameters
    ----------
    design : SharedDesign
    linear : Linear
    method : PowerMethod
    """

    design: SharedDesign
    linear: Linear
    method: PowerMethod

    @property
    def shifts(self) -> bool:
        """See `PowerTest`."""
        return self.method not in RATIOS

    def fit(self, y: np.ndarray) -> ResponseFits:
        """Fit responses (R, n), with what the test needs; NaN where a cell is missing."""
        fits = self.design.fit(y)
        if self.method == "kenward-roger":
            names = pd.RangeIndex(len(y))
            source = ManySource("", (self.design.rows,), Responses(names, y.T))
            return kenward_roger_fits(self.design, fits, source)
        return fits

    def p_values(self, fits: ResponseFits, null: np.ndarray) -> np.ndarray:
        """P-values (R,) of L beta = null (r,), by fits to responses; not of a likelihood ratio."""
        matrix = self.linear.matrix
        if self.method != "wald":
            tested = joint_tests([fits], Linear(matrix, null, self.linear.labels))
            return np.asarray(tested["p_value"][:, 0])
        return wald_p_values(fits.combinations(matrix)[0] - null, fits.joint(matrix)[0], fits.converged)

    def ratio_p_values(self, fits: ResponseFits, y: np.ndarray, replications: range) -> np.ndarray:
        """See `PowerTest`."""
        return np.asarray(scipy.stats.chi2.sf(self.ratio(fits, y)[0], len(self.linear.null)))

    def ratio(self, fits: ResponseFits, y: np.ndarray) -> tuple[np.ndarray, ResponseFits]:
        """Likelihood ratios (R,), NaN where a fit failed, and the fits under the hypothesis."""
        smaller, shift = self.smaller
        restricted = smaller.fit(y - shift)
        statistic = np.maximum(restricted.criterion - fits.criterion, 0.0)
        statistic[~(fits.converged & restricted.converged)] = np.nan
        return statistic, restricted

    @cached_property
    def smaller(self) -> tuple[SharedDesign, np.ndarray]:
        """Design under the hypothesis, whose columns of X leave L beta as it is, and the known part of y (n,)."""
        rows = self.design.rows
        x = rows.x.of(0)[:, self.design.model.keep]
        rest, particular = null_space(self.linear)
        names = tuple(f"column {j + 1}" for j in range(rest.shape[1]))
        smaller = replace(
            rows,
            fixed=replace(rows.fixed, names=names),
            x=RowMatrix.of_all(np.asfortranarray(x @ rest), rows.offsets),
        )
        return SharedDesign.of(smaller, reml=False), x @ particular
