"""Tests of the terms of one model, and comparisons of nested models."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.coefficients import Ddf
from ..inference.glmm import inference_of
from ..tables.comparisons import Ariv, Method, Options, Use, compare_fits, compare_lists
from ..tables.hypotheses import term_tests
from ..tables.result_table import ResultTable, result_table
from ..tables.usable import OnFailure
from .fit import LmerFit
from .fits import LmerFitList
from .pooled import PooledLmer

Model = TypeVar("Model", LmerFit, LmerFitList, PooledLmer)


def anova(
    model: Model,
    null: Model | None = None,
    *more: Model,
    method: Method = "D1",
    use: Use | None = None,
    ariv: Ariv = "default",
    dfcom: Ddf | npt.ArrayLike | None = None,
    on_failure: OnFailure = "raise",
) -> ResultTable:
    """Test the terms of one model, or compare nested models of the same data.

    Parameters
    ----------
    model : LmerFit, LmerFitList or PooledLmer, or GlmerFit, GlmerFitList or PooledGlmer
        Alone: each of its terms is tested, adjusted for all others (type III, as lmerTest's ``anova``).
    null, *more : fits, or lists of fits, optional
        Two or more fits, or lists of fits of the same imputations, in any order: by number of parameters, each is the
        null hypothesis of the next. For single fits the test is that of the likelihood ratio, as lme4's ``anova``, and
        the options below say nothing.
    method : {"D1", "D2", "D3", "D4"}, default "D1"
        D1 pools the coefficients that the smaller model lacks, for models that differ in the fixed part. D2 pools the
        statistics of the imputations. D3 compares likelihoods at the parameters' means over the imputations
        (coefficients, covariance matrices of the random effects, residual variance), D4 at the best common parameters,
        which do not depend on the parametrisation.
    use : {"wald", "likelihood"}, optional
        For D2: Wald statistics (the default for linear models), or likelihood ratios (for generalised ones).
    ariv : {"default", "positive", "robust"}, default "default"
        For D3 and D4: how the relative increase in variance is estimated; ``"positive"`` replaces a negative one by 0;
        ``"robust"`` (D4) takes it from the larger model.
    dfcom : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), optional
        For D1: complete-data degrees of freedom, as in `LmerFitList.pool`; ``math.inf`` as mitml has it. For the terms
        of one fit: denominator degrees of freedom, as in `LmerFit.test`. Satterthwaite's by default, ``math.inf`` for
        generalised linear mixed models. A pooled model has its own.
    on_failure : {"raise", "warn", "drop"}, default "raise"
        What to do when a fit of one of the models did not converge, as in `LmerFitList.pool`.

    Returns
    -------
    ResultTable
        One model: a row per term, ``term statistic df1 df2 p_value method``, with ``riv dfcom note`` of several fits.
        The statistic is F, or D1 or D2 of several fits. Tested is that the coefficients of the term are zero where
        categories are coded as deviations from their mean, however they are coded in the model: a covariate's slope
        averaged over the categories that it interacts with, a factor's differences averaged over those of other
        factors and where the covariates that it interacts with are 0 (centre them). Without an intercept, the means of
        the first factor are tested. With empty cells or redundant columns, what the data determine of that is tested,
        on fewer ``df1``; a term of which they determine nothing has ``df1`` 0 and NaN.

        Lists: a row per comparison, ``model null statistic df1 df2 p_value p_plain riv dfcom method note``. Single
        fits: a row per model, the smallest first, tested against the row above, ``formula n_parameters aic bic loglik
        deviance statistic df p_value p_plain``.

        Where one variance is zero in the smaller model, ``p_value`` comes from the 50:50 mixture of the distributions
        with one parameter less and with all of them; where the larger model adds several terms of one column, such as
        ``(0 + x | g) + (1 | h)``, from the mixture whose weights follow from the information about their variances;
        ``p_plain`` is what lme4 and mitml print, and what ``p_value`` is in all other cases, with a note.
        ``attrs["notes"]`` says what was refitted and which imputations are singular.

    Raises
    ------
    DataError
        The models are not nested, were fitted to different data or to different numbers of data sets; an unknown
        option; likelihoods of fits with a prior (``cov_prior=``); a Wald test of models that differ in the random part.
        One model: it has no term besides the intercept, or the data determine nothing of any.
    PoolingError
        Fewer than two fits, or a failed fit under ``on_failure="raise"``.

    Warns
    -----
    RankDeficientWarning
        Terms that are not tested, or on fewer degrees of freedom than they have.

    Notes
    -----
    Variances and covariances that random terms repeat are not counted.

    Likelihoods are those of maximum-likelihood fits: REML fits are refitted, and the table says so. D1 and Wald
    statistics use the fits as they are.

    D1 of one coefficient is the square of its t, with other degrees of freedom than ``tidy`` has:
    [Which p-value?](../how-to/which-p-value.md) says which to report.

    References
    ----------
    Li, K. H., Raghunathan, T. E. and Rubin, D. B. (1991). JASA 86, 1065-1073 (D1).
    Li, K. H., Meng, X.-L., Raghunathan, T. E. and Rubin, D. B. (1991). Statistica Sinica 1, 65-92 (D2).
    Meng, X.-L. and Rubin, D. B. (1992). Biometrika 79, 103-111 (D3).
    Chan, K. W. and Meng, X.-L. (2022). Statistica Sinica 32, 1489-1514 (D4).
    Kuznetsova, A., Brockhoff, P. B. and Christensen, R. H. B. (2017). J. Stat. Softw. 82(13) (terms of one model).
    Self, S. G. and Liang, K.-Y. (1987). JASA 82, 605-610. Stram, D. O. and Lee, J. W. (1994). Biometrics 50, 1171-1177.
    Silvapulle, M. J. and Sen, P. K. (2005). Constrained Statistical Inference. Wiley, sec. 3.5 and 4.3 (mixtures).

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.hsb_imputed()
    >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", data)
    >>> null = rx.lmer_list("mathach ~ 1 + (1 | schid)", data)
    >>> rx.anova(fits, null, method="D4")[["df1", "method"]].values.tolist()
    [[1, 'D4']]
    >>> rx.anova(rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())).round(2)
      term  statistic  df1   df2  p_value               method
    0  Days      45.85    1  17.0      0.0  F, Satterthwaite df
    """
    options = Options(method, use, ariv, dfcom, on_failure)
    if null is None and not more:
        return result_table(_anova_terms(model, options))
    models = (model, null, *more)
    if all(isinstance(one, LmerFit) for one in models):
        return result_table(compare_fits([_selection(one) for one in models]))
    if not all(isinstance(one, LmerFitList) for one in models):
        raise DataError(
            f"anova compares two fits or two lists of fits, not {' and '.join(type(one).__name__ for one in models)}: "
            "give the lists from which pooled models were made"
        )
    selections = [_selection(one) for one in models]
    if use is None and not selections[0].fitted.has_df:
        options = replace(options, use="likelihood")
    return result_table(compare_lists(selections, options))


def _selection(model: object) -> Selection:
    assert isinstance(model, LmerFit | LmerFitList)
    return model.selection


def _anova_terms(model: object, options: Options) -> pd.DataFrame:
    """Test every term of one model."""
    if not options.wald:
        given = f"method={options.method!r}" + ("" if options.use is None else f" with use={options.use!r}")
        raise DataError(f"{given} compares two models: give the smaller one as well")
    if isinstance(model, LmerFit):
        return term_tests(model.selection, inference_of(model.selection, options.dfcom))
    if isinstance(model, LmerFitList):
        default = "satterthwaite" if model.selection.fitted.has_df else math.inf
        model = model.pool(default if options.dfcom is None else options.dfcom, on_failure=options.on_failure)
    elif not isinstance(model, PooledLmer):
        raise DataError(f"anova needs a fit, a list of fits or a pooled model, not {type(model).__name__}")
    elif options.dfcom is not None:
        raise DataError("a pooled model has its degrees of freedom already: give dfcom= to pool()")
    return term_tests(model.selection, model.within, "D1" if options.method == "D1" else "D2")
