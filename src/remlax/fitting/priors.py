"""Models with priors on the covariance matrices of random terms and on the coefficients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.shapes import host_leaf
from ..errors import DataError
from ..kernels.newton import CONVERGED, MAX_ITER
from ..priors import CovPrior, Normal, StudentT
from ..priors.penalty import CoefficientPenalty, Penalty, TermPenalty

if TYPE_CHECKING:
    from .assemble import Assembled
    from .fit import Fitted

# information of a prior over that of the rows beyond which the latter drowns in rounding error
PRIOR_SHARE = 1e8
# logarithm of a weight that is all but no prior, pairs of fits to find a weight, and what may be left of its logarithm
LEAST_LOG_WEIGHT, MOST_WEIGHTS, WEIGHT_TOL = -20.0, 30, 1e-9


def with_priors(
    model: Assembled, prior: CovPrior | None, fixef_prior: Normal | StudentT | None = None, *, has_sigma: bool = True
) -> Assembled:
    """Return a model with a prior on the covariance matrix of each term, and with one on the coefficients.

    Raises
    ------
    DataError
    """
    model = with_prior(model, prior, has_sigma=has_sigma)
    return with_fixef_prior(model, fixef_prior) if has_sigma else with_coefficient_penalty(model, fixef_prior)


def with_prior(model: Assembled, prior: CovPrior | None, *, has_sigma: bool = True) -> Assembled:
    """Return a model with a prior on the covariance matrix of each term.

    Raises
    ------
    DataError
        The prior is not for such terms.
    """
    if prior is None:
        return model
    if model.layout.parameters is not None:
        raise DataError(
            "cov_prior= is for random terms with any covariance matrix: the formula has one with a covariance "
            "structure (diag(), cs() or ar1())"
        )
    terms = []
    for term in model.layout.terms:
        text = f"({model.rows.formula.random[term.source].lhs} | {term.group})"
        factors = prior.factors(term.q, text, has_sigma=has_sigma)
        unit, own = model.units[term.factor], (term.columns, term.columns)
        place = (term.factor, term.start, term.q)
        terms.append(TermPenalty.of(place, factors, unit.outside[own], unit.inside[own]))
    return replace(model, prior=prior, penalty=Penalty(model.layout.structure.theta_map, tuple(terms)))


def with_fixef_prior(model: Assembled, prior: Normal | StudentT | None, weight: np.ndarray | float = 1.0) -> Assembled:
    """Return a model with a prior on the coefficients: a row of X / SD, without response, for each that has one.

    A t prior is the normal one whose precisions are multiplied by the weight of every data set, (K,).

    Raises
    ------
    DataError
        The SDs are none of these coefficients, or one is too small; a t prior and REML.
    """
    if prior is None:
        return model
    if isinstance(prior, StudentT) and model.layout.structure.reml:
        raise DataError(
            "a t prior on the coefficients (fixef_prior=) has no REML criterion, for which they would be integrated "
            "out: give reml=False, or fixef_prior='normal'"
        )
    products, weights = model.batch.problem.products, np.broadcast_to(weight, model.rows.n_sets)
    rows, own = prior.rows(model.fixed_names, model.inverse, model.ols / model.y_scale[:, None])
    rows = rows * np.sqrt(weights)[:, None, None]
    with np.errstate(over="ignore"):  # which is found by what comes of it
        shares = np.sum(rows[:, :, :-1] ** 2, axis=2) / np.asarray(products.n_obs)[:, None]
    _check_shares(model, shares, own)
    ww, at = np.array(products.ww), np.array([*range(len(model.keep)), -1])
    ww[:, at[:, None], at] += rows.swapaxes(1, 2) @ rows
    products = replace(products, ww=host_leaf(ww), n_obs=host_leaf(np.asarray(products.n_obs) + len(own)))
    return replace(
        model,
        fixef_prior=prior,
        prior_weight=weights,
        rows_alone=model.batch,
        batch=model.batch.with_products(products),
    )


def with_coefficient_penalty(model: Assembled, prior: Normal | StudentT | None) -> Assembled:
    """Return a generalised model with a prior on the coefficients, which a criterion in all parameters adds.

    Raises
    ------
    DataError
        The SDs are none of these coefficients.
    """
    if prior is None:
        return model
    products: Any = model.batch.problem.products
    found, _ = prior.rows(model.fixed_names, model.inverse, model.ols)
    rows = np.zeros((*found.shape[:2], model.batch.structure.n_fixed))
    rows[:, :, : len(model.keep)] = found[:, :, :-1]
    penalty = CoefficientPenalty(host_leaf(rows), prior.df if isinstance(prior, StudentT) else None)
    return replace(model, fixef_prior=prior, batch=model.batch.with_products(replace(products, prior=penalty)))


def fixed_weights(model: Assembled, prior: StudentT, fit: Callable[[Assembled], Fitted]) -> Fitted:
    """Fit a model with a t prior: as with a normal one, of the weight that belongs to the estimates.

    The sum of squares of the coefficients falls with the weight, so that repeated fits go in one direction: from the
    least weight and from the largest they end at the outermost stationary points, of which the better one is kept.

    Parameters
    ----------
    model : Assembled
        With the prior.
    prior : StudentT
    fit : callable
        Fits a model at its weights.
    """
    names = model.fixed_names
    d = int(np.isfinite(prior.scales(names)).sum())

    def at(log_weight: np.ndarray) -> tuple[Fitted, np.ndarray, np.ndarray]:
        """Fit, the logarithm of the weight that belongs to it, and the criterion with the prior."""
        found = fit(_with_weight(model, prior, np.exp(log_weight)))
        distance = prior.distance(names, found.beta / found.sigma[:, None])
        more = 0.0 if model.penalty is None else model.penalty.value(found.inner)
        value = found.criterion + more + 2 * d * np.log(found.sigma) + prior.density(distance, d)
        wanted = np.log(prior.weight(distance, d))
        return found, np.where(np.isfinite(wanted), wanted, log_weight), value

    most = np.full(model.rows.n_sets, np.log((prior.df + d) / prior.df))
    ends = [_settled(at, start) for start in (np.full_like(most, LEAST_LOG_WEIGHT), most)]
    values = [value for _, value in ends]
    chosen = np.where(values[1] < values[0], ends[1][0], ends[0][0])
    found, wanted, _ = at(chosen)
    lost = np.abs(wanted - chosen) > WEIGHT_TOL
    return replace(found, status=np.where(lost & (found.status == CONVERGED), MAX_ITER, found.status))


def _with_weight(model: Assembled, prior: StudentT, weight: np.ndarray) -> Assembled:
    """Return the model with other weights."""
    bare = replace(model, batch=replace(model.data_batch, mesh=model.batch.mesh))
    return with_fixef_prior(bare, prior, weight)


def weighted_as_fitted(model: Assembled, beta: np.ndarray, sigma: np.ndarray) -> Assembled:
    """Return a model with the weights of a t prior, if it has one, that belong to estimates (K, p) and (K,)."""
    prior = model.fixef_prior
    if not isinstance(prior, StudentT):
        return model
    d = int(np.isfinite(prior.scales(model.fixed_names)).sum())
    return _with_weight(model, prior, prior.weight(prior.distance(model.fixed_names, beta / sigma[:, None]), d))


def _settled(
    at: Callable[[np.ndarray], tuple[Fitted, np.ndarray, np.ndarray]], log_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of weights (K,) that belong to their own fits, and the criteria there, by Aitken's extrapolation."""
    for _ in range(MOST_WEIGHTS):
        _, once, value = at(log_weight)
        if not (np.abs(once - log_weight) > WEIGHT_TOL / 10).any():
            break
        _, twice, value = at(once)
        first, second = once - log_weight, twice - once
        # the steps shrink by a factor; where it is rounding error, or none that ends, the last fit's is taken
        shrinks = (np.abs(second) > WEIGHT_TOL) & (np.abs(second) < 0.99 * np.abs(first))
        log_weight = np.where(shrinks, twice + second**2 / np.where(shrinks, first - second, 1.0), twice)
    return log_weight, value


def _check_shares(model: Assembled, shares: np.ndarray, own: np.ndarray) -> None:
    """Refuse a prior of which the information is so many times (K, r) that of the rows."""
    for k, i in np.argwhere(~(shares < PRIOR_SHARE)).tolist():
        where = f" in imputation {model.rows.labels[k]}" if model.rows.n_sets > 1 else ""
        raise DataError(
            f"fixef_prior= holds the coefficient of {model.fixed_names[own[i]]!r} at 0{where}: its SD leaves the "
            "data no say; give a larger one, or leave the column out"
        )
