"""Profile likelihood of mixed models for repeated measures: SDs, correlations and coefficients.

As of `rx.lmer`: of the ML deviance, also of a REML fit, all parameters of all data sets in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...engine.batch import run
from ...engine.shapes import host_leaf
from ...errors import DataError
from ...fitting.selection import Selection
from ...kernels.newton import CONVERGED
from ...mmrm.held import HeldVisits, minimise_held
from ...mmrm.parameters import n_sds, reported
from ..constrained import MOST_EVALUATIONS, Parameter, Question
from ..profile import ProfileTable, walked
from .choice import covariance_parameters, mmrm_fitted

# where searches begin that failed nearby: at the estimates, with correlations that are shrunk
SHRUNK = (1.0, 0.5)


@dataclass(frozen=True)
class VisitParameter(Parameter):
    """What is profiled: SD or correlation ``a`` of all groups' (term 0; b is 1 for SDs), or coefficient a (term -2)."""

    @property
    def kind(self) -> str:
        """One of log SD, atanh correlation, beta."""
        return "beta" if self.term == -2 else "log SD" if self.b else "atanh correlation"

    def scaled(self, value: np.ndarray) -> np.ndarray:
        """Value on a scale without ends."""
        if self.kind == "beta":
            return value
        return np.asarray(np.log(value) if self.kind == "log SD" else np.arctanh(value))

    def unscaled(self, value: float) -> float:
        """Undo `scaled`."""
        if self.kind == "beta":
            return value
        return float(np.exp(value) if self.kind == "log SD" else np.tanh(value))


def mmrm_profile(fits: Selection, conf_level: float) -> list[list[ProfileTable]]:
    """Profile SDs and correlations, then coefficients, of each data set, beyond the limits of the level.

    Raises
    ------
    DataError
        A fit is singular.
    """
    if fits.singular:
        where = f" of imputation {fits.singular[0]}" if fits.fitted.n_sets > 1 else ""
        k = next(k for k in fits.which if fits.fitted.singular[k])
        raise DataError(
            f"the fit{where} has no profile, because it is singular: {mmrm_fitted(fits).boundary(k)}; "
            "use confint('wald') or confint('boot')"
        )
    problems = HeldMmrms(fits)
    lowest, estimate = problems.free_estimates()
    return walked(problems, problems.parameters, lowest, estimate, conf_level)


class HeldMmrms:
    """Held problems of some data sets, in conditioned coordinates; searches start at estimates (K, d)."""

    def __init__(self, fits: Selection) -> None:
        self.fits = fits
        fitted, model = mmrm_fitted(fits), fits.model
        self.batch = model.batch.take(fits.index)
        self.scale = model.y_scale[fits.index]
        n, structure = n_sds(fitted.structure.covariance, fitted.structure.n_visits), fitted.structure
        sds = np.arange(structure.n_parameters) % structure.n_each < n
        coefficients = [VisitParameter(-2, j, 0) for j in range(len(model.keep))]
        self.parameters = [VisitParameter(0, a, int(sd)) for a, sd in enumerate(sds)] + coefficients
        self.correlations = ~sds
        scaled = np.asarray(run(reported, self.batch, fits.inner).scaled)
        self.estimates = scaled.reshape(fits.n_sets, -1)
        self.errors = np.sqrt(covariance_parameters(fits).scaled_variance)

    def free_estimates(self) -> tuple[np.ndarray, np.ndarray]:
        """ML deviance (K,) and all parameters (K, P), where searches start from then on.

        Raises
        ------
        DataError
            A search did not end at a minimum.
        """
        n, copies = self.fits.n_sets, 2 * len(self.parameters)
        # as many copies as there will be sides, so that all stages are one compiled program
        asked: list[Question] = [(k, None, 0.0) for k in range(n) for _ in range(copies)]
        deviance, psi, gamma = self._searched(asked, np.repeat(self.estimates, copies, axis=0))
        deviance, psi, gamma = deviance[::copies], psi[::copies], gamma[::copies]
        if np.isnan(deviance).any():
            raise DataError("the maximum of the likelihood was not found: there is no profile; use confint('wald')")
        self.estimates = psi
        model, index = self.fits.model, self.fits.index
        gamma = gamma[:, : len(model.keep)]
        beta = model.ols[index] + np.einsum("kij,kj->ki", model.inverse[index], gamma) * self.scale[:, None]
        sdcor = np.where(self.correlations, np.tanh(psi), np.exp(psi) * self.scale[:, None])
        return deviance, np.concatenate([sdcor, beta], axis=1)

    def solve(self, asked: list[Question], near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minimise every problem from coordinates (N, d), or from the estimates where NaN; see `HeldProblems`."""
        which = np.array([i for i, _, _ in asked])
        best, where = np.full(len(asked), np.nan), near
        for share in SHRUNK:
            elsewhere = self.estimates[which] * np.where(self.correlations, share, 1.0)
            value, psi, _ = self._searched(asked, np.where(np.isnan(where), elsewhere, where))
            better = ~np.isnan(value) & ~(value >= best)
            best, where = np.where(better, value, best), np.where(better[:, None], psi, where)
            failed = np.isnan(best)
            where = np.where(failed[:, None], np.nan, where)
            if not failed.any():
                break
        return best, where

    def first(self, question: Question) -> tuple[float, np.ndarray]:
        """See `HeldProblems`."""
        i, parameter, _ = question
        assert parameter is not None  # what is asked for is a step of a parameter
        if parameter.kind == "beta":
            return float(np.sqrt(self.fits.vcov[i, parameter.a, parameter.a])), self.estimates[i]
        return float(self.errors[i, parameter.a]), self.estimates[i]

    def _searched(self, asked: list[Question], start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Deviance (N,), NaN where a search did not end at a minimum; coordinates (N, d) and coefficients (N, p)."""
        which = np.array([i for i, _, _ in asked])
        parts = [self._held(question, own) for question, own in zip(asked, start, strict=True)]
        held = HeldVisits(*(host_leaf(np.stack(part)) for part in zip(*parts, strict=True)))
        most = np.full(len(asked), MOST_EVALUATIONS, np.int32)
        optimum, gamma = run(minimise_held, self.batch, held, most, which=which, some=True)
        value = np.where(np.asarray(optimum.status) == CONVERGED, np.asarray(optimum.value), np.nan)
        return value, np.asarray(optimum.theta), np.asarray(gamma)

    def _held(self, question: Question, start: np.ndarray) -> tuple[np.ndarray, ...]:
        """Fields of `HeldVisits` with one parameter at a value in the user's units; None holds nothing."""
        i, parameter, value = question
        model, k = self.fits.model, self.fits.which[i]
        start, free = start.copy(), np.ones(len(start))
        row, target, hold = np.zeros(self.batch.structure.n_fixed), 0.0, 0.0
        row[0] = 1.0
        if parameter is not None and parameter.kind == "beta":
            row[: len(model.keep)] = model.inverse[k][parameter.a]
            target, hold = (value - model.ols[k][parameter.a]) / self.scale[i], 1.0
        elif parameter is not None:
            unit = self.scale[i] if parameter.kind == "log SD" else 1.0
            start[parameter.a], free[parameter.a] = parameter.scaled(np.array(value / unit)), 0.0
        return start, free, row, np.array(target), np.array(hold)
