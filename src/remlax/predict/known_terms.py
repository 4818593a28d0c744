"""Coefficients that count as known in simulated predictions, and merTools' correction of the intercept's variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import DataError
from ..fitting.fit import Fitted
from ..fitting.selection import Selection
from .newdata import FrameRows, PredictionRows

IgnoredTerms = str | Sequence[str] | None


def adjusted_rows(
    fits: Selection, rows: PredictionRows, ignore_fixed_terms: IgnoredTerms, fix_intercept: bool
) -> PredictionRows:
    """Change rows so that drawn coefficients give what coefficients of a smaller covariance would give.

    Where beta is drawn around its estimate, c + M (beta - c) has the covariance M V M', and x'(c + M (beta - c)) is
    (M'x)'beta + (x - M'x)'c.
    """
    known = _positions(fits.fitted, ignore_fixed_terms)
    centre = fits.beta.mean(axis=0)
    frames = []
    for i, k in enumerate(fits.which):
        frame, p = rows.frame(i), fits.fitted.beta.shape[1]
        corrected = intercept_correction(fits.one(k)) if fix_intercept else np.eye(p)
        vcov = corrected @ fits.fitted.vcov[k] @ corrected.T
        # known is the pooled estimate: the imputations do not differ in it either
        frame = _around(frame, given_coefficients(vcov, known), centre)
        frames.append(_around(frame, corrected, fits.fitted.beta[k]))
    return replace(rows, frames=tuple(frames))


def _around(frame: FrameRows, matrix: np.ndarray, centre: np.ndarray) -> FrameRows:
    x = frame.x @ matrix
    return replace(frame, x=x, offset=frame.offset + (frame.x - x) @ centre)


def given_coefficients(vcov: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """M (p, p) for which M V M' is the covariance of the coefficients given those at the positions known."""
    out, at = np.eye(len(vcov)), list(known)
    out[:, at] -= np.linalg.solve(vcov[np.ix_(at, at)], vcov[at]).T
    return out


def intercept_correction(fit: Selection) -> np.ndarray:
    """M (p, p) for merTools' ``fix.intercept.variance``: the precision of the intercept is divided by v' / v.

    v is the intercept's variance, and v' = v - sum over grouping factors of 1 / sum over levels of 1 / (variance of the
    random intercept + conditional variance of the level's).
    """
    names, vcov = fit.model.fixed_names, fit.fitted.vcov[fit.k]
    spurious = [_spurious_variance(fit, t) for t, term in enumerate(fit.model.layout.terms)
                if "Intercept" in term.names]  # fmt: skip
    if "Intercept" not in names or not spurious:
        part = "random" if "Intercept" in names else "fixed"
        raise DataError(f"fix_intercept_variance=True needs an intercept, and the {part} part of the model has none")
    j = names.index("Intercept")
    v = float(vcov[j, j])
    left = v - sum(spurious)
    if not left > 0:
        rows = fit.rows
        where = f" in imputation {rows.labels[fit.k]}" if rows.n_sets > 1 else ""
        raise DataError(
            f"fix_intercept_variance=True takes {sum(spurious):.4g} from the intercept's variance of {v:.4g}{where}, "
            "and nothing is left: use draws='joint', which needs no correction"
        )
    # V - g V e e'V is the inverse of the precision with its entry divided by v' / v, and M V M' of M = I - a V e e'
    added = np.linalg.inv(vcov)[j, j] * (v / left - 1)
    a = (1 - 1 / np.sqrt(1 + added * v)) / v
    out = np.eye(len(vcov))
    out[:, j] -= a * vcov[:, j]
    return out


def _spurious_variance(fit: Selection, term: int) -> float:
    """Variance of the mean of a grouping factor's random intercepts, each with its prior and conditional variance."""
    layout = fit.model.layout.terms[term]
    at = layout.names.index("Intercept")
    codes = fit.rows.factor_rows[fit.model.layout.factor_source[layout.factor]].of(fit.k)
    variances = fit.fitted.modes(term).variances[fit.k, np.unique(codes), at, at]
    with np.errstate(divide="ignore"):  # a variance of zero has infinite precision
        return float(1 / np.sum(1 / (fit.fitted.covariance(term)[fit.k, at, at] + variances)))


def _positions(fitted: Fitted, given: IgnoredTerms) -> list[int]:
    """Positions of coefficients, by their names or those of terms with several."""
    names, terms = fitted.model.fixed_names, fitted.model.term_names
    asked = [given] if isinstance(given, str) else given or []
    if not isinstance(asked, Sequence) or not all(isinstance(name, str) for name in asked):
        raise DataError(f"ignore_fixed_terms={given!r} must name coefficients: {', '.join(names)}")
    found: list[str] = []
    for name in asked:
        own = ["Intercept"] if name == "(Intercept)" else [name] if name in names else terms.get(name, [])
        if not set(own) & set(names):
            raise DataError(f"ignore_fixed_terms names {name!r}, which is no coefficient; there are {', '.join(names)}")
        found += own
    return sorted({names.index(name) for name in found})
