"""Shares of variance as tables: intraclass correlations and explained variance, of one fit and pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from ..errors import DataError, PoolingWarning, quiet, shortened, warn
from ..fitting.fit import Fitted
from ..fitting.redundancy import entry_places
from ..fitting.redundant_terms import redundant_terms
from ..fitting.refit import draw_responses, refit_to
from ..fitting.selection import Selection
from ..inference.glmm_shares import shares_of_variance
from ..inference.nesting import null_model
from ..inference.variance_shares import VarianceShares
from ..pooling import LOGIT, R_SQUARED, REDUCTION, Scale, pool_transformed
from .checks import checks, fresh_seed
from .coefficients import transformed_columns


@dataclass(frozen=True, eq=False)
class ShareEstimates:
    """Shares of every data set, on a scale: values and variances of their transforms, both (K, r).

    ``labels`` holds the first columns of the table, ``names`` what messages call the rows. Shares of variances that are
    not identified in one of the data sets (``lost``, (r,)) are NaN in all.
    """

    labels: pd.DataFrame
    names: list[str]
    value: np.ndarray
    variance: np.ndarray
    scale: Scale
    lost: np.ndarray


def icc_estimates(fits: Selection) -> ShareEstimates:
    """Intraclass correlations of every factor: adjusted, unadjusted, and of the intercept where there are slopes.

    On the logit scale: logit(t / (t + rest)) = log t - log rest.
    Factors whose terms repeat each other have one together.
    """
    found = shares_of_variance(fits)
    total, d_total, phi_total = (part.sum(axis=1) for part in (found.random, found.d_random, found.random_phi))
    first, d_first, phi_first = (part.sum(axis=1) for part in (found.intercept, found.d_intercept, found.intercept_phi))
    labels, parts, phi = [], [], []
    for factors in [*([g] for g in range(len(found.labels))), *_tied_factors(fits)]:
        label = " + ".join(found.labels[g] for g in factors)
        own, d_own = found.random[:, factors].sum(axis=1), found.d_random[:, factors].sum(axis=1)
        rest, d_rest = total - own + found.residual, d_total - d_own + found.d_residual
        labels += [(label, "adjusted"), (label, "unadjusted")]
        parts += [(own, d_own, rest, d_rest), (own, d_own, rest + found.fixed, d_rest + found.d_fixed)]
        phi += [(found.random_phi[:, factors].sum(axis=1), phi_total)] * 2
        if found.has_slopes[factors].any() and found.has_intercept[factors].any():
            own, d_own = found.intercept[:, factors].sum(axis=1), found.d_intercept[:, factors].sum(axis=1)
            labels.append((label, "intercept"))
            parts.append((own, d_own, first - own + found.residual, d_first - d_own + found.d_residual))
            phi.append((found.intercept_phi[:, factors].sum(axis=1), phi_first))
    frame = pd.DataFrame(labels, columns=["group", "kind"])
    return _estimates(found, frame, "ICC", parts, LOGIT, _lost(fits, phi))


def nakagawa_estimates(fits: Selection) -> ShareEstimates:
    """Marginal and conditional R2 of Nakagawa and Schielzeth (2013), with random slopes as Johnson (2014) has them.

    Those of generalised models are of Nakagawa, Johnson and Schielzeth (2017).
    """
    found = shares_of_variance(fits)
    total, d_total, phi = (part.sum(axis=1) for part in (found.random, found.d_random, found.random_phi))
    marginal = (found.fixed, found.d_fixed, total + found.residual, d_total + found.d_residual)
    conditional = (found.fixed + total, found.d_fixed + d_total, found.residual, found.d_residual)
    frame = pd.DataFrame({"measure": ["marginal", "conditional"], "level": "all"})
    lost = _lost(fits, [(phi, phi)] * 2)
    return _estimates(found, frame, "R2", [marginal, conditional], R_SQUARED, lost)


def _tied_factors(fits: Selection) -> list[list[int]]:
    """Factors, in lme4's order, that have terms which repeat each other."""
    terms = fits.model.layout.terms
    factors = list(dict.fromkeys(term.factor for term in terms))
    out: list[set[int]] = []
    for found in fits.fitted.redundancies.of_terms(fits.index):
        for group in [] if found is None else redundant_terms(fits.model, found):
            own = {factors.index(terms[t].factor) for t in group.terms}
            if len(own) > 1:
                for other in [part for part in out if part & own]:
                    out.remove(other)
                    own |= other
                out.append(own)
    return [sorted(part) for part in out]


def _lost(fits: Selection, phi: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Tell of which shares the variance, or the sum with the residual, is not identified in a data set, (r,)."""
    part, whole = (np.stack(side, axis=1) for side in zip(*phi, strict=True))
    residual = np.eye(whole.shape[2])[-1]
    undetermined = fits.fitted.redundancies.undetermined
    return np.asarray((undetermined(fits.index, part) | undetermined(fits.index, whole + residual)).any(axis=0))


def _estimates(
    found: VarianceShares,
    labels: pd.DataFrame,
    what: str,
    parts: Sequence[tuple[np.ndarray, ...]],
    scale: Scale,
    lost: np.ndarray,
) -> ShareEstimates:
    """Shares a / (a + b) from pairs of variances and their derivatives, with variances on the scale."""
    a, d_a, b, d_b = (np.stack(column, axis=1) for column in zip(*parts, strict=True))
    whole = a + b
    value = a / whole
    # squares of variances could leave the range of double precision
    d_a, d_b = d_a / whole[:, :, None], d_b / whole[:, :, None]
    jacobian = (b / whole)[:, :, None] * d_a - value[:, :, None] * d_b
    inside = (value > ZERO_SHARE) & (value < 1)
    value = np.where(inside, value, np.where(value < 0.5, 0.0, value))
    slope = scale.derivative(np.where(inside, value, 0.5))
    variance = np.where(inside & ~lost, found.variance_of(jacobian) * slope**2, np.nan)
    names = [f"{what} {' '.join(map(str, row))}" for row in labels.to_numpy()]
    if found.method:
        labels = labels.assign(method=found.method)
    return ShareEstimates(labels, names, np.where(lost, np.nan, value), variance, scale, lost)


# a factor whose SD is below lme4's limit of singularity, 1e-4 residual SDs, has no share
ZERO_SHARE = 1e-8


def reduction_estimates(fits: Selection, n_sims: int, seed: int | None) -> tuple[ShareEstimates, list[str]]:
    """Proportional reductions of variances against the model without predictors, and notes.

    Raudenbush and Bryk's for the residual and for the intercept of every factor, Snijders and Bosker's for their sum.
    Sampling variances come from refits of both models to responses drawn from the fitted one.
    """
    if checks.whole(n_sims, "n_sims=", 0) < 2:
        raise DataError(
            f"n_sims={n_sims!r}: the interval of a reduction of variance needs at least two simulated data sets; 0 "
            "leaves the reductions out"
        )
    null = Selection.all_of(null_model(fits))
    factors, lacking = _factors_with_intercept(fits.fitted)
    rows = [("raudenbush-bryk", "residual"), *(("raudenbush-bryk", label) for label in factors.values())]
    frame = pd.DataFrame(rows + [("snijders-bosker", "all")] * (not lacking), columns=["measure", "level"])
    notes = [f"no reduction of variance for {', '.join(lacking)}: there is no random intercept"] if lacking else []
    value = _reductions(fits, null, list(factors))[:, : len(frame)]
    gone = _lost_intercepts(fits, list(factors))[: len(frame)]
    gone |= _lost_intercepts(null, list(factors))[: len(frame)]
    variance = np.full(value.shape, np.nan)
    rng, lost = np.random.default_rng(fresh_seed(seed)), 0
    for i, (one, without) in enumerate(zip(fits.each, null.each, strict=True)):
        responses = draw_responses(one, n_sims, rng)
        refits = [Selection.all_of(refit_to(fit, responses)) for fit in (one, without)]
        drawn = _reductions(refits[0], refits[1], list(factors))[:, : len(frame)]
        inside = drawn < 1
        lost += int((~inside).any(axis=1).sum())
        phi = REDUCTION.forward(np.where(inside, drawn, 0.0))
        variance[i] = [np.var(phi[use, j], ddof=1) if use.sum() > 1 else np.nan for j, use in enumerate(inside.T)]
    if lost:
        notes.append(
            f"{lost} of {n_sims * fits.n_sets} simulated data sets gave a variance of zero, for which there is no "
            "logarithm: their numbers are left out of the standard errors"
        )
    value, variance = np.where(gone, np.nan, value), np.where(gone, np.nan, variance)
    names = [f"R2 {' '.join(row)}" for row in frame.to_numpy()]
    return ShareEstimates(frame, names, value, variance, REDUCTION, gone), notes


def _factors_with_intercept(fitted: Fitted) -> tuple[dict[int, str], list[str]]:
    """Places in the formula and labels of the factors whose intercept varies; labels of the others."""
    layout = fitted.model.layout
    having, lacking = {}, []
    for f in dict.fromkeys(term.factor for term in layout.terms):
        label = layout.factors[f].label
        if any("Intercept" in term.names for term in layout.terms if term.factor == f):
            having[layout.factor_source[f]] = label
        else:
            lacking.append(label)
    return having, lacking


def _reductions(model: Selection, null: Selection, sources: Sequence[int]) -> np.ndarray:
    """1 - s1 / s0 of the residual, of every intercept and of their sum, (K, 2 + factors); NaN where s0 is zero."""
    parts = []
    for fits in (model, null):
        residual = fits.sigma**2
        own = [_intercept_variance(fits, source) for source in sources]
        rows = np.stack([residual, *(np.where(t > ZERO_SHARE * residual, t, 0.0) for t in own)], axis=1)
        parts.append(np.concatenate([rows, rows.sum(axis=1, keepdims=True)], axis=1))
    ours, theirs = parts
    return np.asarray(np.where(theirs > 0, 1 - ours / np.where(theirs > 0, theirs, 1.0), np.nan))


def _lost_intercepts(fits: Selection, sources: Sequence[int]) -> np.ndarray:
    """Tell which of the residual, the intercepts and their sum are not identified in a data set, (2 + factors,)."""
    layout = fits.model.layout
    phi = np.zeros((2 + len(sources), fits.fitted.theta.shape[1] + 1))
    phi[0, -1] = 1.0
    for i, source in enumerate(sources, start=1):
        for term in layout.terms:
            if layout.factor_source[term.factor] == source and "Intercept" in term.names:
                a = term.names.index("Intercept")
                phi[i, entry_places(term)[a, a]] = 1.0
    phi[-1] = phi.sum(axis=0)
    return np.asarray(fits.fitted.redundancies.undetermined(fits.index, phi).any(axis=0))


def _intercept_variance(fits: Selection, source: int) -> np.ndarray:
    """Variance of the random intercept of the factor at a place of the formula, (K,)."""
    layout, total = fits.model.layout, np.zeros(fits.n_sets)
    for t, term in enumerate(layout.terms):
        if layout.factor_source[term.factor] == source and "Intercept" in term.names:
            i = term.names.index("Intercept")
            total += fits.fitted.covariance(t)[fits.index, i, i]
    return total


def fit_shares(found: ShareEstimates, conf_level: float) -> pd.DataFrame:
    """Shares of one fit: estimate, delta-method standard error, limits from the scale."""
    checks.level(conf_level)
    table, value, scale = found.labels.copy(), found.value[0], found.scale
    known = np.isfinite(found.variance[0])
    phi = scale.forward(np.where(known, value, 0.5))
    error = np.sqrt(found.variance[0])
    half = scipy.special.ndtri((1 + conf_level) / 2) * error
    table["estimate"] = value
    table["std_error"] = np.where(known, scale.inverse_derivative(phi) * error, np.nan)
    for name, limit in (("conf_low", phi - half), ("conf_high", phi + half)):
        table[name] = np.where(known, scale.inverse(np.where(known, limit, 0.0)), np.nan)
    table["scale"] = scale.name
    return table


def pooled_shares(found: ShareEstimates, conf_level: float, labels: Sequence[object]) -> pd.DataFrame:
    """Shares pooled on their scale, with the plain mean over the imputations that have a value."""
    used = np.isfinite(found.variance) | found.lost
    with quiet(PoolingWarning):
        # said below, with the labels of the imputations
        pooled = pool_transformed(found.value, found.variance, found.scale, conf_level=conf_level, names=found.names)
    table = pd.concat([found.labels, transformed_columns(pooled)], axis=1)
    table["mean"], table["n_boundary"] = pooled.mean, (~used).sum(axis=0)
    notes = []
    for j in np.flatnonzero(~used.all(axis=0)):
        where = shortened(labels[int(i)] for i in np.flatnonzero(~used[:, j]))
        notes.append(f"{found.names[j]}: {(~used[:, j]).sum()} of {len(used)} (imputation {where})")
    if notes:
        text = (
            "shares of variance on the boundary (0 or 1, or of a variance of zero) have no standard error; they are "
            "left out of the pooled estimate and its limits, and kept in the plain mean: " + "; ".join(notes)
        )
        warn(text, PoolingWarning)
        notes = [text]
    table.attrs["notes"] = notes
    return table


def share_table(found: ShareEstimates, fits: Selection, conf_level: float) -> pd.DataFrame:
    """Shares of one fit, or pooled."""
    return fit_shares(found, conf_level) if fits.n_sets == 1 else pooled_shares(found, conf_level, fits.labels)


def _r2_estimates(fits: Selection, n_sims: int, seed: int | None) -> tuple[list[ShareEstimates], list[str]]:
    """Marginal and conditional R2 and, where responses are drawn, the reductions of variance; and notes."""
    if n_sims == 0 and not isinstance(n_sims, bool):
        return [nakagawa_estimates(fits)], []
    reductions, notes = reduction_estimates(fits, n_sims, seed)
    return [nakagawa_estimates(fits), reductions], notes


def icc_table(fits: Selection, conf_level: float) -> pd.DataFrame:
    """Intraclass correlations; see ``PooledLmer.icc``."""
    return share_table(icc_estimates(fits), fits, conf_level)


def r2_table(fits: Selection, conf_level: float, n_sims: int, seed: int | None) -> pd.DataFrame:
    """Explained variance; see ``PooledLmer.r2``."""
    estimates, notes = _r2_estimates(fits, n_sims, seed)
    parts = [share_table(found, fits, conf_level) for found in estimates]
    table = pd.concat(parts, ignore_index=True)
    table.attrs = {"notes": [*(note for part in parts for note in part.attrs.get("notes", [])), *notes]}
    return table
