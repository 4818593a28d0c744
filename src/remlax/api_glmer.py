"""glmer and glmer_list: generalised linear mixed models. Composition only."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd
from jax.sharding import Mesh

from .api import Optimizer, warn_of_fits
from .api_rows import complete_rows, kept_rows, warn_formula
from .data import ImputedData
from .design.build import ModelRows, RowInput, check_order, read_rows, require_model_columns
from .design.congenial import warn_uncongenial
from .design.formula import MixedFormula, parse_formula
from .design.own_contrasts import Contrasts, read_contrasts
from .engine.placement import Device, device_mesh
from .errors import ConvergenceWarning, warn
from .fitting.checks import check_options, warn_structures
from .fitting.glmm import GlmmFitted, assemble_glmm, fit_glmm
from .fitting.priors import with_priors
from .fitting.record import record
from .fitting.responses.family import Information, read_family
from .fitting.responses.response import read_response
from .fitting.selection import Selection
from .glmm.families import Family
from .kernels.newton import Newton
from .names import GLMM_ARGUMENTS, refuse_arguments
from .priors import CovPrior, Normal, StudentT
from .priors.coefficients import FixefPriorName, read_fixef_prior
from .priors.distributions import PriorName, read_cov_prior
from .results.glmer import GlmerFit, GlmerFitList

# data sets without a maximum that have a warning of their own
MOST_SAID = 3

_log = logging.getLogger(__name__)


def glmer(
    formula: str,
    data: pd.DataFrame,
    family: str = "binomial",
    *,
    link: str | None = None,
    n_quad: int = 1,
    weights: RowInput = None,
    offset: RowInput = None,
    information: Information | None = None,
    contrasts: Contrasts | None = None,
    cov_prior: PriorName | CovPrior | None = None,
    fixef_prior: FixefPriorName | Normal | StudentT | None = None,
    optimizer: Optimizer | None = None,
    device: Device | None = None,
    **others: object,
) -> GlmerFit:
    """Fit a generalised linear mixed model to one data frame by maximum likelihood.

    Rows with missing cells in the model's variables are left out, with a warning that counts them.

    Parameters
    ----------
    formula : str
        lme4 syntax, for instance ``"y ~ x + (1 + x | g)"``. A binomial response is 0/1, a boolean, a factor of two
        levels (the second is the event), ``cbind(successes, failures)``, or a proportion with ``weights``. Random
        terms may have a covariance structure, as in `lmer`.
    data : pandas.DataFrame
    family : str, default "binomial"
        "binomial", "poisson", "negative-binomial" (variance mu + mu^2 / size, its size estimated), "gamma" (its shape
        estimated) or "ordinal" (a cumulative model; the thresholds are estimated and there is no intercept).
    link : str, optional
        Binomial: "logit" (default), "probit" or "cloglog"; ordinal: "logit" (default) or "probit"; others: "log".
    n_quad : int, default 1
        Points of adaptive Gauss-Hermite quadrature per random-effects column, for one grouping factor; 1 is the Laplace
        approximation.
    weights : str or array_like (n,), optional
        Numbers of trials of proportions; for other responses each weight multiplies the row's log-likelihood.
    offset : str or array_like (n,), optional
        Known part of the linear predictor, such as the logarithm of an exposure.
    information : {"expected", "observed"}, optional
        Weights of the Laplace approximation where the link is not canonical: the expected information (lme4; the
        default for binomial and Poisson responses) or the observed one (glmmTMB, clmm; the only one for others).
    contrasts : dict, optional
        As in `lmer`.
    cov_prior : {"wishart", "invwishart", "gamma"}, Wishart, InverseWishart or Gamma, optional
        Prior on the covariance matrix of every random term, as in `lmer` but not relative to a residual variance.
        Standard errors come from the Hessian of the penalised -2 log L.
    fixef_prior : {"normal", "t"}, Normal or StudentT, optional
        Prior of mean 0 on the coefficients, as in `lmer` but not relative to a residual SD. With one on every
        coefficient that a predictor of separated outcomes has, estimates are finite. Thresholds of an ordinal response
        have none.
    optimizer : Newton or LBFGS, default ``Newton()``
        Safeguarded Newton with exact Hessians, or jaxopt's L-BFGS certified by Newton; both end at the same estimates.
    device : str, jax.Device, list of jax.Device or jax.sharding.Mesh, optional
        As in `lmer`.
    **others
        None: arguments of lme4's glmer are refused, with what they are called here.

    Returns
    -------
    GlmerFit

    Raises
    ------
    FormulaError, DataError, DesignError, ModelSizeError, DeviceError
        As `lmer`; DesignError also for a family, link or number of points that is not available.

    Warns
    -----
    DroppedRowsWarning, RankDeficientWarning, SingularFitWarning, ConvergenceWarning
    DataWarning
        As `lmer`.

    References
    ----------
    Bates, D., Maechler, M., Bolker, B. and Walker, S. (2015). J. Stat. Softw. 67(1).
    Pinheiro, J. C. and Chao, E. C. (2006). J. Comput. Graph. Stat. 15, 58-81.

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
    >>> fit = rx.glmer("high ~ ses + (1 | schid)", data)
    >>> fit.fixef().round(3).to_dict()
    {'Intercept': -0.449, 'ses': 0.715}
    """
    refuse_arguments("glmer", others, GLMM_ARGUMENTS)
    mesh, priors = device_mesh(device), (read_cov_prior(cov_prior), read_fixef_prior(fixef_prior))
    kind, parsed = _read(formula, family, link, information, contrasts)
    frame, kept = complete_rows(data, parsed, weights, offset, "rx.glmer")
    for what, given in (("weights", weights), ("offset", offset)):
        check_order(given, data.index, what)
    rows = read_rows(
        parsed,
        ImputedData((frame.copy(deep=False),), (1,)),
        weights=kept_rows(weights, kept),
        offset=kept_rows(offset, kept),
        n_dropped=0 if kept is None else int((~kept).sum()),
        any_response=True,
    )
    return GlmerFit(Selection.all_of(_fit(rows, kind, n_quad, priors=priors, optimizer=optimizer, mesh=mesh)))


def glmer_list(
    formula: str,
    datasets: ImputedData | Iterable[pd.DataFrame] | Mapping[object, pd.DataFrame],
    family: str = "binomial",
    *,
    link: str | None = None,
    n_quad: int = 1,
    weights: RowInput = None,
    offset: RowInput = None,
    information: Information | None = None,
    contrasts: Contrasts | None = None,
    cov_prior: PriorName | CovPrior | None = None,
    fixef_prior: FixefPriorName | Normal | StudentT | None = None,
    optimizer: Optimizer | None = None,
    device: Device | None = None,
    **others: object,
) -> GlmerFitList:
    """Fit one generalised linear mixed model to several data sets at once.

    Parameters
    ----------
    formula : str
        As in `glmer`.
    datasets : ImputedData, or list or dict of pandas.DataFrame
        K data sets with the same columns; rows and groups may differ. No row is ever left out: a missing cell is an
        error.
    family, link, n_quad, information, contrasts, cov_prior, fixef_prior, optimizer, device, **others
        As in `glmer`.
    weights, offset : str or array_like, optional
        A column (or expression), one array for all, or one array per data set.

    Returns
    -------
    GlmerFitList

    Raises
    ------
    FormulaError, DataError, DesignError, ModelSizeError, DeviceError
        As `glmer`; the message names the imputation.

    Warns
    -----
    RankDeficientWarning, SingularFitWarning, ConvergenceWarning, DataWarning, ImputationWarning

    Examples
    --------
    >>> import remlax as rx
    >>> sets = [frame.assign(high=frame["mathach"] > 15) for frame in rx.datasets.hsb_imputed()]
    >>> fits = rx.glmer_list("high ~ ses + (1 | schid)", sets)
    >>> len(fits), fits.fixef().shape
    (5, (5, 2))
    """
    refuse_arguments("glmer_list", others, GLMM_ARGUMENTS)
    mesh, priors = device_mesh(device), (read_cov_prior(cov_prior), read_fixef_prior(fixef_prior))
    kind, parsed = _read(formula, family, link, information, contrasts)
    data = datasets if isinstance(datasets, ImputedData) else ImputedData.from_frames(datasets)
    data.check_complete(require_model_columns(parsed, data.frames[0], weights, offset))
    rows = read_rows(parsed, data, weights=weights, offset=offset, any_response=True)
    warn_uncongenial(parsed, data)
    return GlmerFitList(Selection.all_of(_fit(rows, kind, n_quad, priors=priors, optimizer=optimizer, mesh=mesh)))


def _read(
    formula: str, family: str, link: str | None, information: Information | None, contrasts: Contrasts | None
) -> tuple[Family, MixedFormula]:
    kind = read_family(family, link, information)
    parsed = replace(parse_formula(formula, counts=True, structures=True), contrasts=read_contrasts(contrasts))
    warn_formula(parsed)
    return kind, parsed


def _fit(
    rows: ModelRows,
    family: Family,
    n_quad: int,
    *,
    priors: tuple[CovPrior | None, Normal | StudentT | None],
    optimizer: Optimizer | None,
    mesh: Mesh | None,
) -> GlmmFitted:
    chosen = Newton() if optimizer is None else optimizer
    check_options(False, chosen)
    warn_structures(rows)
    start = time.perf_counter()
    response = read_response(rows, family)
    model = with_priors(assemble_glmm(rows, response, n_quad), *priors, has_sigma=False)
    fitted = fit_glmm(replace(model, batch=replace(model.batch, mesh=mesh)), response, chosen)
    seconds = time.perf_counter() - start
    converged, singular = int(fitted.converged.sum()), int(fitted.singular.sum())
    _log.info("%d data sets fitted in %.2f s: %d converged, %d singular", fitted.n_sets, seconds, converged, singular)
    record(fitted)
    for reason in list(fitted.endless.values())[:MOST_SAID]:
        warn(reason, ConvergenceWarning)
    warn_of_fits(fitted)
    return fitted
