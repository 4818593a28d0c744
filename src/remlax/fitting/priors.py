"""Models with priors on the covariance matrices of random terms and on the coefficients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..engine.shapes import host_leaf
from ..errors import DataError
from ..priors import CovPrior, Normal
from ..priors.penalty import Penalty, TermPenalty

if TYPE_CHECKING:
    from .assemble import Assembled

# information of a prior over that of the rows beyond which the latter drowns in rounding error
PRIOR_SHARE = 1e8


def with_priors(
    model: Assembled, prior: CovPrior | None, fixef_prior: Normal | None = None, *, has_sigma: bool = True
) -> Assembled:
    """Return a model with a prior on the covariance matrix of each term, and with one on the coefficients.

    Raises
    ------
    DataError
    """
    return with_fixef_prior(with_prior(model, prior, has_sigma=has_sigma), fixef_prior)


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


def with_fixef_prior(model: Assembled, prior: Normal | None) -> Assembled:
    """Return a model with a prior on the coefficients: a row of X / SD, without response, for each that has one.

    Raises
    ------
    DataError
        The SDs are none of these coefficients, or one is too small.
    """
    if prior is None:
        return model
    products = model.batch.problem.products
    rows, own = prior.rows(model.fixed_names, model.inverse, model.ols / model.y_scale[:, None])
    with np.errstate(over="ignore"):  # which is found by what comes of it
        shares = np.sum(rows[:, :, :-1] ** 2, axis=2) / np.asarray(products.n_obs)[:, None]
    _check_shares(model, shares, own)
    ww, at = np.array(products.ww), np.array([*range(len(model.keep)), -1])
    ww[:, at[:, None], at] += rows.swapaxes(1, 2) @ rows
    products = replace(products, ww=host_leaf(ww), n_obs=host_leaf(np.asarray(products.n_obs) + len(own)))
    return replace(model, fixef_prior=prior, rows_alone=model.batch, batch=model.batch.with_products(products))


def _check_shares(model: Assembled, shares: np.ndarray, own: np.ndarray) -> None:
    """Refuse a prior of which the information is so many times (K, r) that of the rows."""
    for k, i in np.argwhere(~(shares < PRIOR_SHARE)).tolist():
        where = f" in imputation {model.rows.labels[k]}" if model.rows.n_sets > 1 else ""
        raise DataError(
            f"fixef_prior= holds the coefficient of {model.fixed_names[own[i]]!r} at 0{where}: its SD leaves the "
            "data no say; give a larger one, or leave the column out"
        )
