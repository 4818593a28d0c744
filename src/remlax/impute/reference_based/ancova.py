"""Analysis of covariance at one visit in many completed data sets at once: least squares in array code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...design.formula import parse_formula
from ...design.groups import level_name
from ...design.model_matrix import model_matrix
from ...design.tree import Name, columns_in
from ...errors import ImputationError, shortened
from ..columns import FloatArray
from ..patterns import BoolArray
from .trial import Trial


@dataclass(frozen=True, eq=False)
class Ancova:
    """Regression at one visit: n patients, q columns, r means and differences of arms; any axes of trials before.

    Attributes
    ----------
    visit : int
    terms : tuple of str
        The differences from the reference arm, then the arms themselves.
    x : ndarray (..., n, q)
    by_arm : ndarray (..., r, n, q)
        Columns whose means over the patients give each term: those of an arm, or differences of two arms.
    """

    visit: int
    terms: tuple[str, ...]
    x: FloatArray
    by_arm: FloatArray

    @property
    def dfcom(self) -> int:
        """Degrees of freedom of the residuals."""
        return int(self.x.shape[-2] - self.x.shape[-1])

    def take(self, which: BoolArray) -> Ancova:
        """Analysis of some trials."""
        return replace(self, x=self.x[which], by_arm=self.by_arm[which])

    @cached_property
    def squares(self) -> FloatArray:
        """Products (..., n, q * q) of the columns."""
        *more, q = self.x.shape
        return np.asarray((self.x[..., :, None] * self.x[..., None, :]).reshape(*more, q * q))

    def estimates(self, y: FloatArray, counts: FloatArray | None = None) -> FloatArray:
        """Estimates (..., K, r) from responses (..., K, n), every patient counted (..., K, n) times."""
        if counts is None:
            return np.asarray(self._coefficients(y) @ self.by_arm.mean(axis=-2).mT)
        q = self.x.shape[-1]
        squares = counts @ self.squares
        squares = squares.reshape(*squares.shape[:-1], q, q)
        coefficients = np.linalg.solve(squares, ((counts * y) @ self.x)[..., None])[..., 0]
        shares = counts / counts.sum(axis=-1, keepdims=True)
        means = np.einsum("...kn,...rnq->...krq", shares, self.by_arm, optimize=True)
        return np.asarray(np.einsum("...krq,...kq->...kr", means, coefficients))

    def variances(self, y: FloatArray) -> FloatArray:
        """Variances (..., K, r) of the estimates in each data set, as of a least-squares fit."""
        residuals = y - self._coefficients(y) @ self.x.mT
        means = self.by_arm.mean(axis=-2)
        unit = np.einsum("...rq,...qs,...rs->...r", means, np.linalg.inv(self.x.mT @ self.x), means)
        return np.asarray((residuals**2).sum(axis=-1, keepdims=True) / self.dfcom * unit[..., None, :])

    def _coefficients(self, y: FloatArray) -> FloatArray:
        return np.asarray(y @ np.linalg.pinv(self.x).mT)


def read_ancova(trial: Trial, formula: str, visit: object) -> Ancova:
    """Read the analysis at one visit, by default the last.

    Raises
    ------
    ImputationError
        No such visit; a response that is not what is imputed, an arm that is not in the formula, random terms or
        offsets; incomplete covariates; columns that determine each other.
    """
    # formulas are read with a random term, which stands for the patients here
    parsed = parse_formula(f"{formula} + (1 | {Name(trial.patient_column).text})")
    if parsed.response.strip("`") != trial.response:
        raise ImputationError(f"the response of {formula!r} is not {trial.response!r}, which is what was imputed")
    if len(parsed.random) > 1 or parsed.offset_trees:
        raise ImputationError(
            f"{formula!r} is analysed by least squares at one visit, without random terms and offsets; "
            "rx.mmrm_list and rx.lmer_list take the imputations (.data) for other models"
        )
    if trial.arm_column not in columns_in(parsed.fixed_tree):
        raise ImputationError(f"{formula!r} does not have {trial.arm_column!r}: the analysis is of differences of arms")
    at = _visit(trial, visit)
    rows = trial.row[:, at]
    used = [name for name in columns_in(parsed.fixed_tree) if name not in trial.frame.columns]
    if used:
        raise ImputationError(f"{formula!r} names {used[0]!r}, which is no column of the data")
    frame = trial.frame.iloc[rows]
    for name in columns_in(parsed.fixed_tree):
        lacking = np.flatnonzero(frame[name].isna().to_numpy())
        if len(lacking):
            raise ImputationError(
                f"{name!r} of the analysis is missing for {len(lacking)} patients ({trial.named(lacking)})"
            )
    matrix = model_matrix(parsed.fixed_tree, frame, what="formula=")
    x = matrix.rebuild(frame)
    if np.linalg.matrix_rank(x / np.linalg.norm(x, axis=0)) < x.shape[1]:
        raise ImputationError(f"columns of {formula!r} determine each other at visit {trial.visits[at]!r}: drop a term")
    if len(x) <= x.shape[1]:
        raise ImputationError(f"{len(x)} patients are too few for the {x.shape[1]} coefficients of {formula!r}")
    arms = [matrix.rebuild(trial.in_arm(a).iloc[rows]) for a in range(len(trial.arms))]
    others = [a for a in range(len(arms)) if a != trial.reference]
    reference = trial.arms[trial.reference]
    terms = (*(f"{trial.arms[a]} - {reference}" for a in others), *trial.arms)
    return Ancova(at, terms, x, np.stack([*(arms[a] - arms[trial.reference] for a in others), *arms]))


def _visit(trial: Trial, visit: object) -> int:
    if visit is None:
        return len(trial.visits) - 1
    if level_name(visit) not in trial.visits:
        raise ImputationError(f"visit={visit!r} is no visit: they are {shortened(map(repr, trial.visits))}")
    return trial.visits.index(level_name(visit))
