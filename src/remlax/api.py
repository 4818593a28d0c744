"""lmer and lmer_list: formula and data frames in, fits out. Composition only."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Unpack, overload

import numpy as np
import pandas as pd
from jax.sharding import Mesh

from .api_rows import complete_rows, kept_rows, warn_formula, warn_two_values
from .api_survey import SurveyArguments, lmer_survey
from .data import ImputedData
from .design.build import ModelRows, RowInput, check_order, read_rows, require_model_columns
from .design.congenial import warn_uncongenial
from .design.formula import parse_formula
from .design.own_contrasts import Contrasts, read_contrasts
from .engine.placement import Device, device_mesh
from .errors import (
    ConvergenceWarning,
    DataError,
    IdentifiabilityWarning,
    SingularFitWarning,
    shortened,
    warn,
)
from .fitting.assemble import assemble
from .fitting.checks import check_options, warn_structures
from .fitting.fit import Fitted, fit_assembled
from .fitting.priors import with_priors
from .fitting.record import record
from .fitting.selection import Selection
from .kernels.lbfgs import LBFGS
from .kernels.newton import Newton
from .names import SURVEY_ARGUMENTS, refuse_arguments
from .priors import CovPrior, Normal, StudentT
from .priors.coefficients import FixefPriorName, read_fixef_prior
from .priors.distributions import PriorName, read_cov_prior
from .results import LmerFit, LmerFitList
from .survey import SurveyFit
from .tables.notes import redundancy_notes

Optimizer = LBFGS | Newton

_log = logging.getLogger(__name__)


@overload
def lmer(
    formula: str,
    data: pd.DataFrame,
    *,
    reml: bool = ...,
    weights: RowInput = ...,
    offset: RowInput = ...,
    contrasts: Contrasts | None = ...,
    cov_prior: PriorName | CovPrior | None = ...,
    fixef_prior: FixefPriorName | Normal | StudentT | None = ...,
    optimizer: Optimizer | None = ...,
    device: Device | None = ...,
) -> LmerFit: ...


@overload
def lmer(
    formula: str,
    data: pd.DataFrame,
    *,
    offset: RowInput = ...,
    contrasts: Contrasts | None = ...,
    **survey: Unpack[SurveyArguments],
) -> SurveyFit: ...


def lmer(
    formula: str,
    data: pd.DataFrame,
    *,
    reml: bool = True,
    weights: RowInput = None,
    offset: RowInput = None,
    contrasts: Contrasts | None = None,
    cov_prior: PriorName | CovPrior | None = None,
    fixef_prior: FixefPriorName | Normal | StudentT | None = None,
    optimizer: Optimizer | None = None,
    device: Device | None = None,
    **survey: Unpack[SurveyArguments],
) -> LmerFit | SurveyFit:
    """Fit a linear mixed model to one data frame.

    Rows with missing cells in the model's variables are left out, as lme4 does, with a warning that counts them.

    Parameters
    ----------
    formula : str
        lme4 syntax, for instance ``"y ~ x + (1 + x | g)"``. Random terms may have a covariance structure, as in lme4
        2.0: ``cs(0 + f | g)``, ``diag(...)``, ``ar1(..., hom = FALSE)``.
    data : pandas.DataFrame
    reml : bool, default True
        REML or maximum likelihood.
    weights : str or array_like (n,), optional
        Precision weights: a column (or expression), or values.
    offset : str or array_like (n,), optional
        Known part of the response; adds to any ``offset()`` in the formula.
    contrasts : dict, optional
        Contrasts of factors of the fixed part, as R's ``contrasts=``: from the factor, as it stands in the formula, to
        a matrix with a row for each of its k levels and k - 1 columns. A DataFrame has the levels as its index and the
        names of the coefficients as its columns; the rows of an array are in the order of the levels. Or the name of
        contrasts, such as ``"contr.sum"``.
    cov_prior : {"wishart", "invwishart", "gamma"}, Wishart, InverseWishart or Gamma, optional
        Prior on the covariance matrix of every random term, relative to the residual variance, with the defaults of R's
        blme; parameters are given as in ``rx.priors.Wishart(df=4.0)``. It keeps variances from being estimated as 0:
        what is minimised is the criterion minus twice the log density. The fit's criterion, likelihood and AIC are
        those at the penalised estimates, without the penalty; tests that compare likelihoods are refused.
    fixef_prior : {"normal", "t"}, Normal or StudentT, optional
        Prior of mean 0 on the coefficients, with SDs or scales relative to the residual SD: by default 10 for the
        intercept and 2.5 for the others, as in blme, and 3 degrees of freedom of t; others as in
        ``rx.priors.Normal(sd=1.0)``. The criterion is without the prior's density, as for `cov_prior`; REML integrates
        over the coefficients under a normal prior, and is not available for t.
    optimizer : Newton or LBFGS, default ``Newton()``
        Safeguarded Newton with exact Hessians, or jaxopt's L-BFGS certified by Newton; both end at the same theta.
    device : str, jax.Device, list of jax.Device or jax.sharding.Mesh, optional
        Where to fit; JAX's default device unless given. A platform ("gpu") means all its devices. Several devices
        share the data sets: with one data set, name one.
    sampling_weights, replicates, plausible_values, and others
        Arguments of `lmer_survey`, which is called then: maximum pseudo-likelihood, without `weights`, priors,
        `optimizer` and `device`.

    Returns
    -------
    LmerFit
        A `SurveyFit` where an argument of `lmer_survey` is given.

    Raises
    ------
    FormulaError
        The formula cannot be read or names a column that is not there.
    DataError
        The data cannot be used; the message names the column. There is no such prior, or not for these random terms.
    DesignError
        The model is not identified.
    ModelSizeError
        The model does not fit in memory.
    DeviceError
        There is no such device.

    Warns
    -----
    DroppedRowsWarning, RankDeficientWarning, SingularFitWarning, ConvergenceWarning
    IdentifiabilityWarning
        Random terms repeat each other, such as ``(1 | g) + (1 + x | g)`` or ``(1 + f || g)`` with a factor f; what is
        not identified has no standard error.
    DataWarning
        A column such as ``.imp`` numbers imputations, which stand below each other in `data`. Columns of a structured
        term that have no correlation, or whose order or spacing may not be meant.
    FormulaWarning
        A power such as ``x^2`` among the terms, which is x.
    TwoValuedResponseWarning
        The response has two values, such as 0 and 1, and is fitted as a number: a linear probability model.

    References
    ----------
    Bates, D., Maechler, M., Bolker, B. and Walker, S. (2015). J. Stat. Softw. 67(1).

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> round(fit.criterion(), 4)
    1743.6283
    """
    refuse_arguments("lmer", [name for name in survey if name not in SurveyArguments.__annotations__], SURVEY_ARGUMENTS)
    if any(value is not None for value in survey.values()):
        own = {"weights": weights, "cov_prior": cov_prior, "fixef_prior": fixef_prior}
        _refuse_with_survey(own | {"optimizer": optimizer, "device": device}, survey)
        return lmer_survey(formula, data, offset=offset, contrasts=contrasts, **survey)
    mesh, priors = device_mesh(device), (read_cov_prior(cov_prior), read_fixef_prior(fixef_prior))
    parsed = replace(parse_formula(formula, structures=True), contrasts=read_contrasts(contrasts))
    warn_formula(parsed)
    frame, kept = complete_rows(data, parsed, weights, offset)
    for what, given in (("weights", weights), ("offset", offset)):
        check_order(given, data.index, what)
    dropped = 0 if kept is None else int((~kept).sum())
    rows = read_rows(
        parsed,
        ImputedData((frame.copy(deep=False),), (1,)),
        weights=kept_rows(weights, kept),
        offset=kept_rows(offset, kept),
        n_dropped=dropped,
    )
    warn_two_values(rows)
    fitted = _fit(rows, reml=reml, priors=priors, optimizer=optimizer, mesh=mesh)
    return LmerFit(Selection.all_of(fitted))


def lmer_list(
    formula: str,
    datasets: ImputedData | Iterable[pd.DataFrame] | Mapping[object, pd.DataFrame],
    *,
    reml: bool = True,
    weights: RowInput = None,
    offset: RowInput = None,
    contrasts: Contrasts | None = None,
    cov_prior: PriorName | CovPrior | None = None,
    fixef_prior: FixefPriorName | Normal | StudentT | None = None,
    optimizer: Optimizer | None = None,
    device: Device | None = None,
) -> LmerFitList:
    """Fit one linear mixed model to several data sets at once.

    The formula is evaluated once over all data sets, so that transforms such as ``scale(x)`` have one state and the K
    coefficients estimate the same thing. No row is ever left out: a missing cell is an error.

    Parameters
    ----------
    formula : str
        lme4 syntax.
    datasets : ImputedData, or list or dict of pandas.DataFrame
        K data sets with the same columns; rows and groups may differ (bootstrap resamples).
    reml : bool, default True
    weights, offset : str or array_like, optional
        A column (or expression), one array for all, or one array per data set.
    contrasts : dict, optional
        As in `lmer`.
    cov_prior : {"wishart", "invwishart", "gamma"}, Wishart, InverseWishart or Gamma, optional
        As in `lmer`.
    fixef_prior : {"normal", "t"}, Normal or StudentT, optional
        As in `lmer`.
    optimizer : Newton or LBFGS, default ``Newton()``
        Safeguarded Newton with exact Hessians, or jaxopt's L-BFGS certified by Newton; both end at the same theta.
    device : str, jax.Device, list of jax.Device or jax.sharding.Mesh, optional
        Where to fit; JAX's default device unless given. A platform ("gpu") means all its devices. Several devices
        share the data sets; results are those of one device.

    Returns
    -------
    LmerFitList

    Raises
    ------
    FormulaError, DataError, DesignError, ModelSizeError, DeviceError
        As `lmer`; the message names the imputation.

    Warns
    -----
    RankDeficientWarning, IdentifiabilityWarning, SingularFitWarning, ConvergenceWarning, FormulaWarning,
    TwoValuedResponseWarning, DataWarning
    ImputationWarning
        Data from `remlax.impute` were imputed without a product, a power or a random slope that the model has.

    Examples
    --------
    >>> import remlax as rx
    >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed())
    >>> len(fits), fits.fixef().shape
    (5, (5, 2))
    """
    mesh, priors = device_mesh(device), (read_cov_prior(cov_prior), read_fixef_prior(fixef_prior))
    parsed = replace(parse_formula(formula, structures=True), contrasts=read_contrasts(contrasts))
    warn_formula(parsed)
    data = datasets if isinstance(datasets, ImputedData) else ImputedData.from_frames(datasets)
    data.check_complete(require_model_columns(parsed, data.frames[0], weights, offset))
    rows = read_rows(parsed, data, weights=weights, offset=offset)
    warn_two_values(rows)
    warn_uncongenial(parsed, data)
    fitted = _fit(rows, reml=reml, priors=priors, optimizer=optimizer, mesh=mesh)
    return LmerFitList(Selection.all_of(fitted))


def _refuse_with_survey(own: Mapping[str, object], survey: Iterable[str]) -> None:
    """Refuse arguments that a model of a survey does not have."""
    given = [name for name, value in own.items() if value is not None]
    if given:
        advice = ": precision weights are no sampling weights" if given == ["weights"] else ""
        raise DataError(f"{given[0]}= is not available together with {next(iter(survey))}={advice}")


def _fit(
    rows: ModelRows,
    *,
    reml: bool,
    priors: tuple[CovPrior | None, Normal | StudentT | None],
    optimizer: Optimizer | None,
    mesh: Mesh | None,
) -> Fitted:
    chosen = Newton() if optimizer is None else optimizer
    check_options(reml, chosen)
    warn_structures(rows)
    start = time.perf_counter()
    model = with_priors(assemble(rows, reml=reml), *priors)
    fitted = fit_assembled(replace(model, batch=replace(model.batch, mesh=mesh)), chosen)
    seconds = time.perf_counter() - start
    converged, singular = int(fitted.converged.sum()), int(fitted.singular.sum())
    _log.info("%d data sets fitted in %.2f s: %d converged, %d singular", fitted.n_sets, seconds, converged, singular)
    record(fitted)
    warn_of_fits(fitted)
    return fitted


def warn_of_fits(fitted: Fitted) -> None:
    """Warn of fits that failed, that are singular, or that are not identified."""
    labels, several = fitted.model.rows.labels, fitted.n_sets > 1
    for text in redundancy_notes(Selection.all_of(fitted)):
        warn(text, IdentifiabilityWarning)
    converged = fitted.converged
    failed, singular = np.flatnonzero(~converged), np.flatnonzero(fitted.singular & converged)
    if len(failed):
        where = f" in imputation {shortened(labels[k] for k in failed)}" if several else ""
        see = "fits.convergence()" if several else "fit.opt"
        warn(f"the fit did not converge{where}: see {see}{fitted.advice}", ConvergenceWarning)
    if len(singular):
        for text, which in _by_text({k: fitted.boundary(k) for k in map(int, singular)}):
            where = f" in imputation {shortened(labels[k] for k in which)}" if several else ""
            warn(f"singular fit{where}: {text}", SingularFitWarning)


def _by_text(texts: Mapping[int, str]) -> list[tuple[str, list[int]]]:
    """Data sets by what is said of them."""
    return [(text, [k for k, own in texts.items() if own == text]) for text in dict.fromkeys(texts.values())]
