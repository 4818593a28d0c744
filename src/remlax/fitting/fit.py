"""Fit a stack and express what was found in the user's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jax import Array

from ..engine.batch import run, run_later
from ..engine.fit import fit, solve_batch
from ..engine.shapes import host_leaf
from ..kernels.inference import (
    VarianceInformation,
    conditional_modes,
    solve,
    solve_with_information,
    variance_information,
)
from ..kernels.lbfgs import LBFGS
from ..kernels.newton import CONVERGED, NO_MAXIMUM, NO_RESIDUAL, NOT_FINITE, STATUS_TEXT, Newton, Optimum
from ..kernels.restarts import on_boundary
from ..kernels.structured.criterion import StructuredCriterion, StructuredInformation, structured_information
from ..kernels.theta import ThetaMap, canonical_theta
from ..priors import StudentT
from ..priors.distributions import TOO_FEW_LEVELS
from ..priors.penalty import penalty_hessian
from .assemble import Assembled, z_columns
from .find_redundancy import find_redundancies
from .priors import fixed_weights
from .redundancy import Redundancies
from .residual_variance import falls_without_end, prior_pulls_without_end, too_few_digits
from .unseen import depend_on_unseen

# data sets up to which a dispatch costs more than the information that not every use of a fit asks for
FEW_SETS = 128


@dataclass(frozen=True)
class Modes:
    """Conditional modes of one term over all data sets: modes (K, levels, q), variances (K, levels, q, q)."""

    modes: np.ndarray
    variances: np.ndarray


@dataclass(frozen=True, eq=False)
class Fitted:
    """K fitted models, as arrays with a leading axis of data sets, in the user's units.

    Parameters
    ----------
    model : Assembled
    optimizer : LBFGS or Newton
    opt : Optimum
        In internal units.
    theta : ndarray (K, d)
        lme4's order and scale, diagonal of Lambda not negative.
    inner : ndarray (K, d)
        The same of the columns inside (`units`): what compiled programs take.
    beta : ndarray (K, p)
    vcov : ndarray (K, p, p)
    sigma : ndarray (K,)
    criterion : ndarray (K,)
        REML criterion or ML deviance, without the penalty of a prior.
    status : ndarray of int (K,)
    singular : ndarray of bool (K,)
    found_information : VarianceInformation, optional
        Of the columns inside, where it was found with the solution.
    """

    model: Assembled
    optimizer: LBFGS | Newton
    opt: Optimum
    theta: np.ndarray
    inner: np.ndarray
    beta: np.ndarray
    vcov: np.ndarray
    sigma: np.ndarray
    criterion: np.ndarray
    gamma: np.ndarray
    log_l2: np.ndarray
    log_rx2: np.ndarray
    status: np.ndarray
    singular: np.ndarray
    found_information: VarianceInformation | None = None

    @property
    def n_sets(self) -> int:
        """Number K of data sets."""
        return len(self.sigma)

    @property
    def kind(self) -> str:
        """What must be the same of models that are compared."""
        return "a linear mixed model"

    @property
    def has_sigma(self) -> bool:
        """Whether the residual SD is a parameter."""
        return True

    @property
    def has_profile(self) -> bool:
        """Whether the likelihood can be profiled."""
        return self.has_sigma and self.model.layout.parameters is None and not self.model.prior_arguments

    @property
    def has_df(self) -> bool:
        """Whether tests of coefficients have degrees of freedom; without them they are Wald z tests."""
        return True

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Names of the shape parameters of the response: none."""
        return ()

    @property
    def theta_map(self) -> ThetaMap:
        """Layout of theta."""
        return self.model.layout.structure.theta_map

    @property
    def reml(self) -> bool:
        """Whether the criterion is REML."""
        return self.model.layout.structure.reml

    @cached_property
    def redundancies(self) -> Redundancies:
        """Variances and covariances that the data leave undetermined, whatever the response is."""
        return find_redundancies(self.model)

    def unknown_variance(self, which: Sequence[int], contrasts: np.ndarray | None = None) -> np.ndarray:
        """Tell which contrasts (r, p), by default the coefficients, have in a data set no identified variance, (r,)."""
        rows = np.eye(len(self.model.keep)) if contrasts is None else contrasts
        out = np.zeros(len(rows), bool)
        for k in which:
            found = self.redundancies.each[k]
            if found is not None:
                out |= depend_on_unseen(self.model, found.unseen, k, rows)
        return out

    def n_parameters(self, k: int) -> int:
        """Coefficients, theta and sigma of one data set, without what random terms repeat."""
        return len(self.model.keep) + self.model.layout.n_parameters + 1 - self.redundancies.n_lost(k)

    def sample_size(self, k: int) -> int:
        """Size n of one data set in Schwarz's criterion: its rows, as in lme4."""
        return self.model.rows.n_rows(k)

    def lacks(self, smaller: Fitted) -> str:
        """Why the covariance of a smaller model is none of this one's, in words; empty where nothing is known."""
        return ""

    def curvature(self, k: int) -> np.ndarray:
        """Hessian of the criterion of one data set at its optimum, in internal units."""
        return np.asarray(self.opt.hess[k])

    @property
    def converged(self) -> np.ndarray:
        """Boolean (K,)."""
        return np.asarray(self.status == CONVERGED)

    def verdict(self, k: int) -> str:
        """What became of the fit of one data set, in words."""
        text = STATUS_TEXT[int(self.status[k])]
        return f"{text}: {TOO_FEW_LEVELS}" if self.status[k] == NO_MAXIMUM else text

    def boundary(self, k: int) -> str:
        """What a singular fit has on the boundary of the parameters, in words."""
        if self.model.layout.parameters is not None:
            return "a variance is estimated as 0 or a correlation is at its limit"
        return "a variance is estimated as 0 or a correlation as +-1"

    @property
    def penalties(self) -> dict[str, str]:
        """What has a prior that penalises the estimates, and the prior, in words; empty without one."""
        out, prior, fixef_prior = {}, self.model.prior, self.model.fixef_prior
        if prior is not None:
            relative = ", relative to the residual variance" if self.has_sigma else ""
            out["the covariance matrix of each random term"] = prior.text(has_sigma=self.has_sigma) + relative
        if fixef_prior is not None:
            relative = ", relative to the residual SD" if self.has_sigma else ""
            out["the coefficients"] = fixef_prior.text() + relative
        return out

    @property
    def advice(self) -> str:
        """What to try where a fit did not converge, as the end of a sentence: nothing beside what it shows."""
        return ""

    @property
    def has_thresholds(self) -> bool:
        """Whether thresholds take the place of the intercept."""
        return False

    def relative_factor(self, term: int) -> np.ndarray:
        """Lambda of one term, (K, q, q)."""
        return self._factor(term, self.theta)

    def inner_factor(self, term: int) -> np.ndarray:
        """Lambda of one term's columns inside, (K, q, q)."""
        return self._factor(term, self.inner)

    def _factor(self, term: int, theta: np.ndarray) -> np.ndarray:
        layout = self.model.layout.terms[term]
        out = np.zeros((self.n_sets, layout.q, layout.q))
        col, row = np.triu_indices(layout.q)
        out[:, row, col] = theta[:, layout.theta]
        return out

    def covariance(self, term: int) -> np.ndarray:
        """Covariance matrix of one term's random effects, (K, q, q)."""
        lam = self.relative_factor(term)
        return np.asarray(self.sigma[:, None, None] ** 2 * (lam @ lam.swapaxes(1, 2)))

    def deviance(self, k: int, theta: np.ndarray, *, reml: bool) -> float:
        """Criterion of one data set at a theta in lme4's order and scale."""
        one = self.model.of_sets(np.array([k]))
        return float(one.criteria(solve_batch(one.batch.with_reml(reml), one.inner_theta(theta[None])))[0])

    @cached_property
    def factor_modes(self) -> tuple[Modes, ...]:
        """Conditional modes and variances per factor (elimination order), all terms of the factor together."""
        # they depend on theta and beta only: one program serves REML and ML
        found = run(conditional_modes, self.model.batch.with_reml(True), self.inner, self.gamma)
        out = []
        for f, (modes, variances) in enumerate(zip(found.modes, found.variances, strict=True)):
            levels, unit = self.model.layout.factors[f].n_levels, self.model.units[f]
            user = unit.effects(np.asarray(modes)[:, :levels]) * self.model.y_scale[:, None, None]
            spread = unit.variances(np.asarray(variances)[:, :levels])
            out.append(Modes(user, spread * self.sigma[:, None, None, None] ** 2))
        return tuple(out)

    @cached_property
    def information(self) -> VarianceInformation:
        """Information about (theta inside, log sigma), and how vcov(beta) in the user's units depends on them."""
        found = self.found_information
        if found is None and self.n_sets <= FEW_SETS:  # a file's: the program of the fit, for the same last digits
            found = run(solve_with_information, self.model.batch, self.inner)[1]
        elif found is None:
            found = run(variance_information, self.model.batch, self.inner)
        if self.model.penalty is not None:
            found = found._replace(hess=self._penalised(found.hess))
        p, inverse = len(self.model.keep), self.model.inverse
        d_cov = np.asarray(found.d_cov)[:, :p, :p] * self.model.y_scale[:, None, None, None] ** 2
        return found._replace(d_cov=host_leaf(np.einsum("kia,kabt,kjb->kijt", inverse, d_cov, inverse)))

    def _penalised(self, hess: Array) -> Array:
        """Add the prior's second derivatives in theta to a Hessian (K, d + 1, d + 1)."""
        d, out = self.theta_map.n_theta, np.array(hess)
        out[:, :d, :d] += run(penalty_hessian, self.model.batch, self.inner, penalty=self.model.penalty)
        return host_leaf(out)

    @property
    def psi(self) -> np.ndarray:
        """What theta inside is a function of, (K, d), where a term has a covariance structure."""
        parameters = self.model.layout.parameters
        assert parameters is not None  # else there is nothing but theta
        return parameters.canonical(np.asarray(self.opt.theta))

    @cached_property
    def structured_information(self) -> StructuredInformation:
        """Information about (psi inside, log sigma), where a term has a covariance structure."""
        return run(structured_information, self.model.batch, self.psi, parameters=self.model.layout.parameters)

    def modes(self, term: int) -> Modes:
        """Conditional modes of one term."""
        layout = self.model.layout.terms[term]
        both, cols = self.factor_modes[layout.factor], layout.columns
        return Modes(both.modes[:, :, cols], both.variances[:, :, cols, cols])

    def fitted_values(self, k: int, *, random: bool = True) -> np.ndarray:
        """X beta (+ Z b) + offset of one data set, in row order."""
        rows, layout = self.model.rows, self.model.layout
        out = rows.x.of(k)[:, self.model.keep] @ self.beta[k]
        if random:
            for f, z in enumerate(z_columns(rows, layout, k)):
                codes = rows.factor_rows[layout.factor_source[f]].of(k)
                out = out + np.einsum("ij,ij->i", z, self.factor_modes[f].modes[k][codes])
        return np.asarray(out if rows.offset is None else out + rows.offset.of(k))


def fit_assembled(model: Assembled, optimizer: LBFGS | Newton) -> Fitted:
    """Optimise all data sets jointly and solve for the coefficients at the optimum."""
    if isinstance(model.fixef_prior, StudentT):
        return fixed_weights(model, model.fixef_prior, lambda own: _fit_at_weights(own, optimizer))
    return _fit_at_weights(model, optimizer)


def _fit_at_weights(model: Assembled, optimizer: LBFGS | Newton) -> Fitted:
    theta_map = model.layout.structure.theta_map
    theta = np.empty((model.batch.n_sets, theta_map.n_theta))
    if model.batch.n_sets <= FEW_SETS:
        run_later(solve_with_information, model.batch, theta)
    else:
        run_later(solve, model.batch.with_reml(True), theta)
        run_later(variance_information, model.batch, theta)
    parameters = model.layout.parameters
    if parameters is None:
        opt = fit(model.batch, optimizer, model.criterion)
        return solve_at(model, optimizer, opt, canonical_theta(np.asarray(opt.theta), theta_map))
    opt = fit(model.batch, optimizer, StructuredCriterion(parameters), parameters)
    return solve_at(model, optimizer, opt, parameters.theta(parameters.canonical(np.asarray(opt.theta))))


def solve_at(model: Assembled, optimizer: LBFGS | Newton, opt: Optimum, inner: np.ndarray) -> Fitted:
    """Express the solution at a theta (K, d) of the columns inside in the user's units."""
    theta_map, p = model.layout.structure.theta_map, len(model.keep)
    if model.batch.n_sets <= FEW_SETS:
        solution, information = run(solve_with_information, model.batch, inner)
    else:
        solution, information = solve_batch(model.batch, inner), None
    gamma = np.asarray(solution.gamma)
    sigma = np.asarray(solution.sigma) * model.y_scale
    unscaled = np.asarray(solution.unscaled_cov)[:, :p, :p]
    vcov = np.einsum("kia,kab,kjb->kij", model.inverse, unscaled, model.inverse) * sigma[:, None, None] ** 2
    degenerate = too_few_digits(solution) | falls_without_end(model, inner, np.asarray(opt.value))
    status = np.where(degenerate, NO_RESIDUAL, np.asarray(opt.status))
    status = np.where(np.isfinite(np.asarray(solution.value)) & np.isfinite(sigma), status, NOT_FINITE)
    status = np.where(prior_pulls_without_end(model, opt), NO_MAXIMUM, status)
    return Fitted(
        model=model,
        optimizer=optimizer,
        opt=opt,
        theta=model.outer_theta(inner),
        inner=inner,
        beta=model.coefficients(gamma),
        vcov=(vcov + vcov.swapaxes(1, 2)) / 2,
        sigma=sigma,
        criterion=model.criteria(solution),
        gamma=gamma,
        log_l2=np.asarray(solution.log_l2),
        log_rx2=np.asarray(solution.log_rx2),
        status=status,
        # as lme4's isSingular, for columns of Z of unit root mean square: the unit of a predictor does not decide
        singular=on_boundary(inner, theta_map),
        found_information=information,
    )
