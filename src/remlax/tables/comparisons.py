"""Nested models compared by likelihood ratio, or by pooled tests of lists of fits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import ConvergenceWarning, DataError, PoolingError, shortened, warn
from ..fitting.fit import Fitted
from ..fitting.selection import Selection
from ..inference.coefficients import Ddf
from ..inference.glmm import inference_of
from ..inference.kenward_roger import boundary_covariance
from ..inference.likelihood import loglik_at_means, maximum_likelihood, stacked_loglik
from ..inference.nesting import (
    Difference,
    check_same_kind,
    compare,
    identified_parameters,
    lacking_contrasts,
    order_models,
)
from ..pooling import PooledTest, at_boundary, chibar_p_value, chibar_weights, d2, d3, d4
from ..pooling.boundary import mixture_words
from .checks import checks
from .constraints import Linear
from .hypotheses import pooled_wald, test_row
from .usable import OnFailure, choose_fits

Method = Literal["D1", "D2", "D3", "D4"]
Use = Literal["wald", "likelihood"]
Ariv = Literal["default", "positive", "robust"]

SEVERAL_VARIANCES = (
    "{n} variances are zero in the smaller model, and the weights of their mixture are not known: the p-value, from "
    "the distribution without a boundary, is too large (Stram and Lee 1994)"
)
REPEATED = (
    "random terms repeat each other, which leaves open how many variances are zero in the smaller model: the p-value, "
    "from the distribution without a boundary, is too large if one is"
)


@dataclass(frozen=True)
class Options:
    """Options of pooled comparisons, as of `anova`."""

    method: Method
    use: Use | None
    ariv: Ariv
    dfcom: Ddf | npt.ArrayLike | None
    on_failure: OnFailure

    def __post_init__(self) -> None:
        for name, literal in (("method", Method), ("use", Use), ("ariv", Ariv)):
            if getattr(self, name) is not None:
                checks.choice(getattr(self, name), literal, f"{name}=")
        method, ariv = self.method, self.ariv
        if ariv != "default" and (method in ("D1", "D2") or (method == "D3" and ariv == "robust")):
            raise DataError(f"ariv={ariv!r} is not defined for {method}: 'positive' is for D3 and D4, 'robust' for D4")

    @property
    def wald(self) -> bool:
        """Whether coefficients are compared, not likelihoods."""
        return self.method == "D1" or (self.method == "D2" and self.use != "likelihood")


@dataclass(frozen=True)
class Record:
    """What readers of the table must know: labels of failed and left-out imputations, and sentences."""

    failed: tuple[object, ...] = ()
    dropped: tuple[object, ...] = ()
    notes: tuple[str, ...] = ()


def compare_lists(models: Sequence[Selection], options: Options) -> pd.DataFrame:
    """Pooled test of every model against the next smaller one: one row each; see `anova`."""
    parts, differences = _ordered(models)
    for (small, large), difference in zip(pairwise(parts), differences, strict=True):
        if options.wald and difference.n_random:
            where = "" if len(parts) == 2 else f"{large.formula} against {small.formula}: "
            raise DataError(
                f"{where}the models differ in the random part, and {options.method} with Wald statistics compares "
                "coefficients only: use D3 or D4, or D2 with use='likelihood'"
            )
    parts, record = _usable(parts, options.on_failure, "fit", Record())
    if options.wald:
        tests = [_wald(large, small, options) for small, large in pairwise(parts)]
    else:
        if any(part.fitted.reml for part in parts):
            record = replace(record, notes=(*record.notes, _refitted(parts)))
        parts, record = _usable([_refit(part) for part in parts], options.on_failure, "maximum-likelihood fit", record)
        ml = [maximum_likelihood(part) for part in parts]
        tests = [
            _likelihood(large, small, difference.n_parameters, difference.sizes[0], options)
            for (small, large), difference in zip(pairwise(ml), differences, strict=True)
        ]
    rows = [
        _pooled_row(test, difference, large, small)
        for test, difference, (small, large) in zip(tests, differences, pairwise(parts), strict=True)
    ]
    table = pd.DataFrame(rows)
    table.insert(list(table.columns).index("p_value"), "p_plain", table.pop("p_plain"))
    table.attrs = _attrs(parts, record)
    return table


def _ordered(models: Sequence[Selection]) -> tuple[list[Selection], list[Difference]]:
    """Order models by their number of parameters and say what each has more than the one before."""
    check_same_kind(models)
    parts = sorted(models, key=identified_parameters)
    return parts, [compare(*order_models(large, small)) for small, large in pairwise(parts)]


def _usable(
    parts: Sequence[Selection], on_failure: OnFailure, what: str, record: Record
) -> tuple[list[Selection], Record]:
    """Keep the data sets in which all models can be used."""
    # the largest first, whose failures are named first
    chosen = [set(choose_fits(part, on_failure, what).which) for part in parts[::-1]][::-1]
    each = list(zip(*(part.which for part in parts), strict=True))
    kept = [ks for ks in each if all(k in own for k, own in zip(ks, chosen, strict=True))]
    if len(kept) < 2:
        models = "both" if len(parts) == 2 else "all"
        raise PoolingError(f"fewer than two imputations are left in which {models} models could be fitted")
    label = parts[0].rows.labels
    failed = [
        label[ks[0]] for ks in each if not all(part.fitted.converged[k] for part, k in zip(parts, ks, strict=True))
    ]
    lost = [label[ks[0]] for ks in each if ks not in kept]
    record = replace(record, failed=(*record.failed, *failed), dropped=(*record.dropped, *lost))
    return [part.take(which) for part, which in zip(parts, zip(*kept, strict=True), strict=True)], record


def _wald(large: Selection, small: Selection, options: Options) -> PooledTest:
    """D1, or D2 of Wald statistics, of the coefficients that the smaller model lacks."""
    contrasts = lacking_contrasts(large, small)
    linear = Linear(contrasts, np.zeros(len(contrasts)), [f"contrast {i + 1}" for i in range(len(contrasts))])
    within = inference_of(large, options.dfcom)
    if options.method == "D1":
        return pooled_wald(large, within, linear, "D1")
    return replace(pooled_wald(large, within, linear, "D2"), method="D2 (Wald)")


def _likelihood(large: Fitted, small: Fitted, k: int, n_parameters: int, options: Options) -> PooledTest:
    """D2 of likelihood ratios, D3 or D4 from maximum-likelihood fits that differ in k parameters."""
    own = (-large.criterion / 2, -small.criterion / 2)
    truncation: Literal["default", "positive"] = "positive" if options.ariv == "positive" else "default"
    if options.method == "D2":
        return replace(d2(2 * (own[0] - own[1]), k), method="D2 (likelihood)")
    if options.method == "D3":
        common = [loglik_at_means(fits) for fits in (large, small)]
        return d3(2 * (own[0] - own[1]), 2 * (common[0] - common[1]), k, ariv=truncation)
    common_max = stacked_loglik(large), stacked_loglik(small)
    robust = options.ariv == "robust"
    return d4(own[0], own[1], *common_max, k, robust=robust, n_parameters=n_parameters, ariv=truncation)


def _refit(part: Selection) -> Selection:
    return Selection.all_of(maximum_likelihood(part))


def _refitted(parts: Sequence[Selection]) -> str:
    return f"{'both' if len(parts) == 2 else 'all'} models were refitted by maximum likelihood"


def _pooled_row(test: PooledTest, difference: Difference, large: Selection, small: Selection) -> dict[str, object]:
    plain = float(test.p_value)
    m = difference.n_variances
    weights = _boundary_weights(large, small, difference)
    if weights is not None:
        test = at_boundary(test, len(weights) - 1, weights if len(weights) > 2 else None)
    elif m != 0:
        test = replace(test, note=f"{test.note} {_no_mixture(m)}".strip())
    return {"model": large.formula, "null": small.formula, "p_plain": plain, **test_row(test)}


def _attrs(parts: Sequence[Selection], record: Record) -> dict[Hashable, object]:
    """Which imputations are singular, failed or left out, as `mark` says it of one model; the largest model first."""
    named = list(zip(_called(parts), parts, strict=True))[::-1]
    singular = {f"{name}, singular fits": part.singular for name, part in named}
    found = singular | {"fits that did not converge": list(record.failed), "left out": list(record.dropped)}
    sentences = [f"{what}: imputation {shortened(labels)}" for what, labels in found.items() if labels]
    return {
        "n_imputations": parts[0].n_sets,
        "singular_imputations": list(dict.fromkeys(label for labels in singular.values() for label in labels)),
        "failed_imputations": list(dict.fromkeys(record.failed)),
        "dropped_imputations": list(record.dropped),
        "notes": [*record.notes, *sentences],
    }


def _called(parts: Sequence[Selection]) -> list[str]:
    """What notes call the models."""
    return ["smaller model", "larger model"] if len(parts) == 2 else [f"model {part.formula}" for part in parts]


def _boundary_weights(large: Selection, small: Selection, difference: Difference) -> np.ndarray | None:
    """Weights of the mixture for m variances that are zero in the smaller model, the mean of those of the data sets."""
    m = difference.n_variances
    if m == 1:
        return np.full(2, 0.5)
    if not m or difference.redundant or not large.fitted.has_sigma:
        return None
    found = boundary_covariance(large, small)
    return None if found is None else np.mean([chibar_weights(one) for one in found], axis=0)


def _no_mixture(m: int | None) -> str:
    """Say why the p-value comes from the distribution without a boundary."""
    return REPEATED if m is None else SEVERAL_VARIANCES.format(n=m)


def compare_fits(models: Sequence[Selection]) -> pd.DataFrame:
    """Likelihood-ratio test of every fit against the next smaller one: one row per model; see `anova`."""
    parts, differences = _ordered(models)
    refits = [_refit(part) for part in parts]
    notes = [_refitted(parts)] if any(part.fitted.reml for part in parts) else []
    for name, part in list(zip(_called(parts), refits, strict=True))[::-1]:
        if not part.fitted.converged[0]:
            notes.append(f"the {name} did not converge")
            warn(f"anova: the fit of the {name} did not converge", ConvergenceWarning)
        if part.fitted.singular[0]:
            notes.append(f"the {name} is singular")
    n = parts[-1].fitted.sample_size(parts[-1].k)
    # identified parameters; terms that repeat each other are found in the data of the fits, not of the refits
    sizes = [differences[0].sizes[1], *(difference.sizes[0] for difference in differences)]
    rows = [_fit_row(refits[0], sizes[0], (np.nan,) * 4, n)]
    for (small, large), difference, size in zip(pairwise(refits), differences, sizes[1:], strict=True):
        tested, note = _ratio_test(large, small, difference)
        rows.append(_fit_row(large, size, tested, n))
        if note:
            notes.append(note if len(parts) == 2 else f"{large.formula}: {note}")
    table = pd.DataFrame(rows)
    table.attrs["notes"] = notes
    return table


def _ratio_test(large: Selection, small: Selection, difference: Difference) -> tuple[tuple[float, ...], str]:
    """Statistic, df, p-value and plain p-value; and a sentence about the boundary."""
    # differences below zero are rounding error of equal likelihoods
    statistic = max(float(small.fitted.criterion[0] - large.fitted.criterion[0]), 0.0)
    k = difference.n_parameters
    plain = p_value = float(chibar_p_value(statistic, k, 0))
    weights, note = _boundary_weights(large, small, difference), ""
    if weights is not None:
        m = len(weights) - 1
        p_value = float(chibar_p_value(statistic, k, m, weights=weights))
        source = "Self and Liang 1987; Stram and Lee 1994" if m == 1 else "Silvapulle and Sen 2005"
        note = f"p-value from the mixture {mixture_words(weights, k, 'chi-square')} ({source})"
    elif difference.n_variances != 0:
        note = _no_mixture(difference.n_variances)
    return (statistic, k, p_value, plain), note


def _fit_row(part: Selection, h: int, tested: Sequence[float], n: int) -> dict[str, object]:
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
