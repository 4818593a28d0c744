"""Responses and tests of generalised linear mixed models: binary ones, counts and amounts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import scipy

from ..design.build import ModelRows
from ..design.rows import RowArray, RowMatrix
from ..errors import RemlaxError, SimulationError
from ..fitting.glmm import GlmmFitted, assemble_glmm, fit_glmm
from ..fitting.responses.distribution import inverse_link
from ..fitting.responses.family import read_family
from ..fitting.responses.response import read_response
from ..fitting.selection import Selection
from ..kernels.newton import Newton
from ..many.design import rows_of_responses
from ..many.fit import SharedDesign
from ..simulation.outcomes import Outcome
from ..tables.constraints import Linear
from .responses import Law
from .testing import PowerMethod, null_space, wald_p_values

# families of which a response is one number, and the model has an intercept
FAMILIES = ("binomial", "poisson", "negative-binomial", "gamma")


@dataclass(frozen=True, eq=False)
class OutcomeLaw(Law):
    """Distribution of a response given the linear predictor mean + Z b.

    Parameters
    ----------
    outcome : Outcome
    """

    outcome: Outcome

    def draw(self, seed: int, replications: range, without: np.ndarray | float = 0.0) -> np.ndarray:
        """Draw responses (R, n), as quantiles of uniform numbers, which responses without an effect share."""
        eta = self.predictor(seed, replications) - without
        uniform = self.standard(seed, replications, lambda rng: rng.random(len(self.mean)))
        return quantile(self.outcome, eta, uniform)


def quantile(outcome: Outcome, eta: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Quantiles of an outcome at linear predictors, as numbers."""
    mean = inverse_link(str(outcome.link), eta).mean
    if outcome.family == "binomial":
        return (uniform < mean).astype(np.float64)
    law: Any
    if outcome.family == "poisson":
        law = scipy.stats.poisson(mean)
    elif outcome.family == "negative-binomial":
        size = cast(float, outcome.size)
        law = scipy.stats.nbinom(size, size / (size + mean))
    else:
        shape: Any = outcome.shape
        law = scipy.stats.gamma(shape, scale=mean / shape)
    return np.asarray(law.ppf(uniform))


def check_outcome(outcome: Outcome) -> None:
    """Refuse outcomes whose responses are more than a number.

    Raises
    ------
    SimulationError
    """
    if outcome.family not in FAMILIES or outcome.trials is not None:
        said = f"{outcome.family!r} outcomes" + (" of several trials" if outcome.trials is not None else "")
        raise SimulationError(
            f"power() has no {said}, but {', '.join(map(repr, FAMILIES))}: use sim.Study with sim.CompleteData()"
        )


def outcome_of(fit: Selection) -> Outcome:
    """Outcome that a fit of `remlax.glmer` has estimated.

    Raises
    ------
    SimulationError
    """
    fitted = cast(GlmmFitted, fit.fitted)
    own, names = fitted.distribution(fit.k), ("size", "shape")
    if own.trials is not None:
        raise SimulationError("The fit is to successes of several trials: power() draws responses of 0 and 1.")
    numbers = dict(zip(fitted.shape_names, np.exp(fitted.shape[fit.k]).tolist(), strict=True))
    if fitted.family.name == "ordinal":
        raise SimulationError("power() has no ordinal outcomes: draw from this fit with rx.simulate, and use rx.refit.")
    size, shape = (numbers.get(name) for name in names)
    return Outcome(fitted.family.name, fitted.family.link, size=size, shape=shape)


@dataclass(frozen=True, eq=False)
class GlmmFits:
    """Fits to responses, NaN where there is none: beta (R, p), vcov (R, p, p), criterion (R,), converged, singular."""

    beta: np.ndarray
    vcov: np.ndarray
    criterion: np.ndarray
    converged: np.ndarray
    singular: np.ndarray

    @classmethod
    def of(cls, fitted: GlmmFitted) -> GlmmFits:
        """Take what tests need."""
        return cls(fitted.beta, fitted.vcov, fitted.criterion, fitted.converged, fitted.singular)

    @classmethod
    def none(cls, p: int) -> GlmmFits:
        """A response that cannot be fitted."""
        nan = np.full((1, p, p), np.nan)
        return cls(nan[:, 0], nan, nan[:, 0, 0], np.zeros(1, bool), np.zeros(1, bool))


@dataclass(frozen=True, eq=False)
class OutcomeTest:
    """A test of L beta = null in one design, whose responses are of a generalised linear mixed model.

    Parameters
    ----------
    design : SharedDesign
    linear : Linear
    method : {"wald", "lrt"}
    outcome : Outcome
    """

    design: SharedDesign
    linear: Linear
    method: PowerMethod
    outcome: Outcome

    @property
    def shifts(self) -> bool:
        """No: a response without the effect is another response."""
        return False

    def fit(self, y: np.ndarray) -> GlmmFits:
        """Fit responses (R, n), by the Laplace approximation; NaN where a cell is missing."""
        return self._fitted(self.design.rows, y, len(self.design.model.keep))

    def _fitted(self, rows: ModelRows, y: np.ndarray, p: int) -> GlmmFits:
        used = np.isfinite(y)
        own = rows_of_responses(rows, y, None if used.all() else used)
        try:
            response = read_response(own, read_family(self.outcome.family, self.outcome.link))
            return GlmmFits.of(fit_glmm(assemble_glmm(own, response, 1), response, Newton()))
        except RemlaxError:  # of one response: the others are fitted without it
            if len(y) == 1:
                return GlmmFits.none(p)
        half = len(y) // 2
        parts = [self._fitted(rows, part, p) for part in (y[:half], y[half:])]
        return GlmmFits(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(GlmmFits)))

    def p_values(self, fits: GlmmFits, null: np.ndarray) -> np.ndarray:
        """P-values (R,) of L beta = null (r,); not of a likelihood ratio."""
        matrix = self.linear.matrix
        covariance = np.einsum("ri,kij,sj->krs", matrix, fits.vcov, matrix)
        return wald_p_values(fits.beta @ matrix.T - null, covariance, fits.converged)

    def ratio_p_values(self, fits: GlmmFits, y: np.ndarray, replications: range) -> np.ndarray:
        """See `PowerTest`."""
        restricted = self._fitted(self._smaller, y, self._smaller.x.of(0).shape[1])
        statistic = np.maximum(restricted.criterion - fits.criterion, 0.0)
        statistic[~(fits.converged & restricted.converged)] = np.nan
        return np.asarray(scipy.stats.chi2.sf(statistic, len(self.linear.null)))

    @cached_property
    def _smaller(self) -> ModelRows:
        """Rows under the hypothesis, whose columns of X leave L beta as it is; the known part is an offset."""
        rows, keep = self.design.rows, self.design.model.keep
        x = rows.x.of(0)[:, keep]
        rest, particular = null_space(self.linear)
        names = tuple(f"column {j + 1}" for j in range(rest.shape[1]))
        known = x @ particular + (0.0 if rows.offset is None else rows.offset.of(0))
        return replace(
            rows,
            fixed=replace(rows.fixed, names=names),
            x=RowMatrix.of_all(np.asfortranarray(x @ rest), rows.offsets),
            offset=RowArray(known, None),
        )
