"""Tests of the terms of one model; two nested models compared by likelihood ratio, or by pooled tests of two lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import ConvergenceWarning, DataError, PoolingError, warn
from ..fitting.boundary_covariance import boundary_covariance
from ..fitting.coefficients import Ddf, coefficient_inference
from ..fitting.likelihood import loglik_at, maximum_likelihood, mean_parameters, stacked_loglik
from ..fitting.nesting import Difference, Lanes, compare, lacking_contrasts, order_models
from ..hints import hinted
from ..pooling import PooledTest, at_boundary, chibar_p_value, chibar_weights, d2, d3, d4
from ..pooling.boundary import mixture_words
from .constraints import Linear
from .fit import LmerFit
from .fit_list import LmerFitList
from .pool import choose_lanes
from .pooled import OnFailure, PooledLmer
from .term_tests import fit_terms, pooled_terms
from .wald import pooled_wald

Method = Literal["D1", "D2", "D3", "D4"]
Use = Literal["wald", "likelihood"]
Ariv = Literal["default", "positive", "robust"]
Model = TypeVar("Model", LmerFit, LmerFitList, PooledLmer)

REFITTED = "both models were refitted by maximum likelihood"
SEVERAL_VARIANCES = (
    "{n} variances are zero in the smaller model, and the weights of their mixture are not known: the p-value, from "
    "the distribution without a boundary, is too large (Stram and Lee 1994)"
)
REPEATED = (
    "random terms repeat each other, which leaves open how many variances are zero in the smaller model: the p-value, "
    "from the distribution without a boundary, is too large if one is"
)


@hinted
def anova(
    model: Model,
    null: Model | None = None,
    *,
    method: Method = "D1",
    use: Use = "wald",
    ariv: Ariv = "default",
    dfcom: Ddf | npt.ArrayLike = "satterthwaite",
    on_failure: OnFailure = "raise",
) -> pd.DataFrame:
    """Test the terms of one model, or compare two nested models of the same data.

    Parameters
    ----------
    model : LmerFit, LmerFitList or PooledLmer
        Alone: each of its terms is tested, adjusted for all others (type III, as lmerTest's ``anova``).
    null : LmerFit or LmerFitList, optional
        Two fits, or two lists of fits of the same imputations, in any order: the model with fewer parameters is the
        null hypothesis. For two single fits the test is that of the likelihood ratio, as lme4's ``anova``, and the
        options below say nothing.
    method : {"D1", "D2", "D3", "D4"}, default "D1"
        D1 pools the coefficients that the smaller model lacks, for models that differ in the fixed part. D2 pools the
        statistics of the imputations. D3 compares likelihoods at the parameters' means over the imputations
        (coefficients, covariance matrices of the random effects, residual variance). D4 compares likelihoods at the
        best common parameters; unlike D3 it does not depend on the parametrisation.
    use : {"wald", "likelihood"}, default "wald"
        For D2: Wald statistics, or likelihood ratios.
    ariv : {"default", "positive", "robust"}, default "default"
        For D3 and D4: how the relative increase in variance is estimated; ``"positive"`` replaces a negative one by 0;
        ``"robust"`` (D4) takes it from the larger model.
    dfcom : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), default "satterthwaite"
        For D1: complete-data degrees of freedom, as in `LmerFitList.pool`; ``math.inf`` as mitml has it. For the terms
        of one fit: denominator degrees of freedom, as in `LmerFit.test`. A pooled model has its own.
    on_failure : {"raise", "warn", "drop"}, default "raise"
        What to do when a fit of either model did not converge, as in `LmerFitList.pool`.

    Returns
    -------
    pandas.DataFrame
        One model: a row per term, ``term statistic df1 df2 p_value method``, with ``riv dfcom note`` of several fits.
        The statistic is F, or D1 or D2 of several fits. Tested is that the coefficients of the term are zero where
        categories are coded as deviations from their mean, however they are coded in the model: a covariate's slope
        averaged over the categories that it interacts with, a factor's differences averaged over those of other
        factors and where the covariates that it interacts with are 0 (centre them). Without an intercept, the means of
        the first factor are tested.

        Lists: one row ``model null statistic df1 df2 p_value p_plain riv dfcom method note``. Single fits: two rows,
        the smaller model first, ``formula n_parameters aic bic loglik deviance statistic df p_value p_plain``.

        Where one variance is zero in the smaller model, ``p_value`` comes from the 50:50 mixture of the distributions
        with one parameter less and with all of them; where the larger model adds several terms of one column, such as
        ``(0 + x | g) + (1 | h)``, from the mixture whose weights follow from the information about their variances;
        ``p_plain`` is what lme4 and mitml print, and what ``p_value`` is in all other cases, with a note.
        ``attrs["notes"]`` says what was refitted and which imputations are singular.

    Raises
    ------
    DataError
        The models are not nested, were fitted to different data or to different numbers of data sets; an unknown
        option; a Wald test of models that differ in the random part. One model: it has redundant columns, or no term
        besides the intercept.
    PoolingError
        Fewer than two fits, or a failed fit under ``on_failure="raise"``.

    Notes
    -----
    Variances and covariances that random terms repeat are not counted.

    Likelihoods are those of maximum-likelihood fits: REML fits are refitted, and the table says so. D1 and Wald
    statistics use the fits as they are.

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
      term  statistic  df1   df2  p_value                method
    0 Days      45.85    1  17.0      0.0  F, Satterthwaite df
    """
    if null is None:
        return _anova_terms(model, method, use, ariv, dfcom, on_failure)
    if isinstance(model, LmerFit) and isinstance(null, LmerFit):
        return _anova_fits(model, null)
    if not (isinstance(model, LmerFitList) and isinstance(null, LmerFitList)):
        raise DataError(
            f"anova compares two fits or two lists of fits, not {type(model).__name__} and {type(null).__name__}: give "
            "the lists from which pooled models were made"
        )
    _check_options(method, use, ariv)
    large, small = order_models(_lanes(model), _lanes(null))
    difference = compare(large, small)
    pair, record = _usable((large, small), on_failure, "fit", Record())
    if method == "D1" or (method == "D2" and use == "wald"):
        if difference.n_random:
            raise DataError(
                f"the models differ in the random part, and {method} with Wald statistics compares coefficients only: "
                "use D3 or D4, or D2 with use='likelihood'"
            )
        test = _wald(*pair, method, dfcom)
    else:
        test, pair, record = _likelihood(pair, difference, method, ariv, on_failure, record)
    return _pooled_frame(test, difference, pair, record)


def _anova_terms(
    model: object, method: Method, use: Use, ariv: Ariv, dfcom: Ddf | npt.ArrayLike, on_failure: OnFailure
) -> pd.DataFrame:
    """Test every term of one model."""
    _check_options(method, use, ariv)
    if method in ("D3", "D4") or use == "likelihood":
        raise DataError(f"method={method!r} with use={use!r} compares two models: give the smaller one as well")
    if isinstance(model, LmerFit):
        return fit_terms(model.fitted_stack, model.lane, dfcom)
    if isinstance(model, LmerFitList):
        return pooled_terms(model.pool(dfcom, on_failure=on_failure), "D1" if method == "D1" else "D2")
    if not isinstance(model, PooledLmer):
        raise DataError(f"anova needs a fit, a list of fits or a pooled model, not {type(model).__name__}")
    if not (isinstance(dfcom, str) and dfcom == "satterthwaite"):
        raise DataError("a pooled model has its degrees of freedom already: give dfcom= to pool()")
    return pooled_terms(model, "D1" if method == "D1" else "D2")


@dataclass(frozen=True)
class Record:
    """What readers of the table must know: labels of failed and left-out imputations, and sentences."""

    failed: tuple[object, ...] = ()
    dropped: tuple[object, ...] = ()
    notes: tuple[str, ...] = ()


def _lanes(model: LmerFit | LmerFitList) -> Lanes:
    lanes = (model.lane,) if isinstance(model, LmerFit) else model.lanes
    return Lanes(model.fitted_stack, lanes)


def _check_options(method: str, use: str, ariv: str) -> None:
    if method not in ("D1", "D2", "D3", "D4"):
        raise DataError(f"method={method!r} is not known: use 'D1', 'D2', 'D3' or 'D4'")
    if use not in ("wald", "likelihood"):
        raise DataError(f"use={use!r} is not known: use 'wald' or 'likelihood'")
    if ariv not in ("default", "positive", "robust"):
        raise DataError(f"ariv={ariv!r} is not known: use 'default', 'positive' or 'robust'")
    if ariv != "default" and (method in ("D1", "D2") or (method == "D3" and ariv == "robust")):
        raise DataError(f"ariv={ariv!r} is not defined for {method}: 'positive' is for D3 and D4, 'robust' for D4")


def _usable(
    pair: tuple[Lanes, Lanes], on_failure: OnFailure, what: str, record: Record
) -> tuple[tuple[Lanes, Lanes], Record]:
    """Keep the data sets in which both models can be used."""
    chosen = [set(choose_lanes(part.fitted, part.lanes, on_failure, what)[0]) for part in pair]
    both = list(zip(pair[0].lanes, pair[1].lanes, strict=True))
    kept = [lanes for lanes in both if lanes[0] in chosen[0] and lanes[1] in chosen[1]]
    if len(kept) < 2:
        raise PoolingError("fewer than two imputations are left in which both models could be fitted")
    label = pair[0].rows.labels
    failed = [label[a] for a, b in both if not (pair[0].fitted.converged[a] and pair[1].fitted.converged[b])]
    lost = [label[lanes[0]] for lanes in both if lanes not in kept]
    large, small = (replace(part, lanes=lanes) for part, lanes in zip(pair, zip(*kept, strict=True), strict=True))
    record = replace(record, failed=(*record.failed, *failed), dropped=(*record.dropped, *lost))
    return (large, small), record


def _wald(large: Lanes, small: Lanes, method: Method, dfcom: Ddf | npt.ArrayLike) -> PooledTest:
    """D1, or D2 of Wald statistics, of the coefficients that the smaller model lacks."""
    contrasts = lacking_contrasts(large, small)
    linear = Linear(contrasts, np.zeros(len(contrasts)), [f"contrast {i + 1}" for i in range(len(contrasts))])
    within = coefficient_inference(large.fitted, large.lanes, dfcom)
    found = pooled_wald(large.fitted.beta[list(large.lanes)], within, linear, "D1" if method == "D1" else "D2")
    return found if method == "D1" else replace(found, method="D2 (Wald)")


def _likelihood(
    pair: tuple[Lanes, Lanes], difference: Difference, method: Method, ariv: Ariv, on_failure: OnFailure, record: Record
) -> tuple[PooledTest, tuple[Lanes, Lanes], Record]:
    """D2 of likelihood ratios, D3 or D4 from maximum-likelihood fits."""
    if any(part.fitted.reml for part in pair):
        record = replace(record, notes=(*record.notes, REFITTED))
    refits = (_refit(pair[0]), _refit(pair[1]))
    pair, record = _usable(refits, on_failure, "maximum-likelihood fit", record)
    large, small = (maximum_likelihood(part.fitted, np.array(part.lanes)) for part in pair)
    k, own = difference.n_parameters, (-large.criterion / 2, -small.criterion / 2)
    if method == "D2":
        test = replace(d2(2 * (own[0] - own[1]), k), method="D2 (likelihood)")
    elif method == "D3":
        common = [loglik_at(fits, mean_parameters(fits)) for fits in (large, small)]
        test = d3(2 * (own[0] - own[1]), 2 * (common[0] - common[1]), k, ariv=_truncation(ariv))
    else:
        robust, h = ariv == "robust", difference.sizes[0]
        common_max = stacked_loglik(large), stacked_loglik(small)
        test = d4(own[0], own[1], *common_max, k, robust=robust, n_parameters=h, ariv=_truncation(ariv))
    return test, pair, record


def _refit(part: Lanes) -> Lanes:
    fits = maximum_likelihood(part.fitted, np.array(part.lanes))
    return Lanes(fits, tuple(range(len(part.lanes))))


def _truncation(ariv: Ariv) -> Literal["default", "positive"]:
    return "positive" if ariv == "positive" else "default"


def _pooled_frame(test: PooledTest, difference: Difference, pair: tuple[Lanes, Lanes], record: Record) -> pd.DataFrame:
    plain = float(test.p_value)
    m = difference.n_variances
    weights = _boundary_weights(pair, difference)
    if weights is not None:
        test = at_boundary(test, len(weights) - 1, weights if len(weights) > 2 else None)
    elif m != 0:
        test = replace(test, note=f"{test.note} {_no_mixture(m)}".strip())
    table = pd.DataFrame(
        {
            "model": [pair[0].formula],
            "null": pair[1].formula,
            "statistic": float(test.statistic),
            "df1": test.df1,
            "df2": float(test.df2),
            "p_value": float(test.p_value),
            "p_plain": plain,
            "riv": float(test.riv),
            "dfcom": float(test.dfcom),
            "method": test.method,
            "note": test.note,
        }
    )
    singular = [[part.rows.labels[k] for k in part.lanes if part.fitted.singular[k]] for part in pair]
    table.attrs = {
        "n_imputations": len(pair[0].lanes),
        "singular_imputations": list(dict.fromkeys([*singular[0], *singular[1]])),
        "failed_imputations": list(dict.fromkeys(record.failed)),
        "dropped_imputations": list(record.dropped),
        "notes": [*record.notes, *_sentences(singular, record)],
    }
    return table


def _boundary_weights(pair: tuple[Lanes, Lanes], difference: Difference) -> np.ndarray | None:
    """Weights of the mixture for m variances that are zero in the smaller model, the mean of those of the data sets."""
    m = difference.n_variances
    if m == 1:
        return np.full(2, 0.5)
    if not m or difference.redundant:
        return None
    found = boundary_covariance(*pair)
    return None if found is None else np.mean([chibar_weights(one) for one in found], axis=0)


def _no_mixture(m: int | None) -> str:
    """Say why the p-value comes from the distribution without a boundary."""
    return REPEATED if m is None else SEVERAL_VARIANCES.format(n=m)


def _sentences(singular: Sequence[Sequence[object]], record: Record) -> list[str]:
    found = {
        "larger model, singular fits": singular[0],
        "smaller model, singular fits": singular[1],
        "fits that did not converge": record.failed,
        "left out": record.dropped,
    }
    return [f"{what}: imputation {', '.join(map(str, labels))}" for what, labels in found.items() if labels]


def _anova_fits(model: LmerFit, null: LmerFit) -> pd.DataFrame:
    """Likelihood-ratio test of two single fits: one row per model."""
    large, small = order_models(_lanes(model), _lanes(null))
    difference = compare(large, small)
    pair = _refit(large), _refit(small)
    notes = [REFITTED] if large.fitted.reml or small.fitted.reml else []
    for name, part in zip(("larger", "smaller"), pair, strict=True):
        if not part.fitted.converged[0]:
            notes.append(f"the {name} model did not converge")
            warn(f"anova: the fit of the {name} model did not converge", ConvergenceWarning)
        if part.fitted.singular[0]:
            notes.append(f"the {name} model is singular")
    # differences below zero are rounding error of equal likelihoods
    statistic = max(float(pair[1].fitted.criterion[0] - pair[0].fitted.criterion[0]), 0.0)
    k = difference.n_parameters
    plain = p_value = float(chibar_p_value(statistic, k, 0))
    weights = _boundary_weights(pair, difference)
    if weights is not None:
        m = len(weights) - 1
        p_value = float(chibar_p_value(statistic, k, m, weights=weights))
        source = "Self and Liang 1987; Stram and Lee 1994" if m == 1 else "Silvapulle and Sen 2005"
        notes.append(f"p-value from the mixture {mixture_words(weights, k, 'chi-square')} ({source})")
    elif difference.n_variances != 0:
        notes.append(_no_mixture(difference.n_variances))
    n, sizes = large.rows.n_rows(large.lanes[0]), difference.sizes
    rows = [
        _fit_row(pair[1], sizes[1], (np.nan,) * 4, n),
        _fit_row(pair[0], sizes[0], (statistic, k, p_value, plain), n),
    ]
    table = pd.DataFrame(rows)
    table.attrs["notes"] = notes
    return table


def _fit_row(part: Lanes, h: int, tested: Sequence[float], n: int) -> dict[str, object]:
    deviance = float(part.fitted.criterion[0])
    row = {
        "formula": part.formula,
        "n_parameters": h,
        "aic": deviance + 2 * h,
        "bic": deviance + float(np.log(n)) * h,
        "loglik": -deviance / 2,
        "deviance": deviance,
    }
    return row | dict(zip(("statistic", "df", "p_value", "p_plain"), tested, strict=True))
