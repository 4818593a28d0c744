"""Variance components (lme4's VarCorr), and the labels of terms, factors and levels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..design.groups import GroupingFactor
from ..fitting.fit import Fitted
from ..fitting.layout import Layout
from ..fitting.selection import Selection


def term_labels(fitted: Fitted) -> list[str]:
    """Group labels of the terms, with lme4's suffixes where several terms share a factor: g, g.1."""
    return layout_labels(fitted.model.layout)


def layout_labels(layout: Layout) -> list[str]:
    """`term_labels` of a layout."""
    seen: dict[str, int] = {}
    out = []
    for term in layout.terms:
        count = seen.get(term.group, 0)
        out.append(term.group if not count else f"{term.group}.{count}")
        seen[term.group] = count + 1
    return out


def factors_in_order(fitted: Fitted) -> list[tuple[int, GroupingFactor]]:
    """Grouping factors in lme4's order of terms, with their place in the elimination order."""
    layout = fitted.model.layout
    return [(f, layout.factors[f]) for f in dict.fromkeys(term.factor for term in layout.terms)]


def factor_columns(fitted: Fitted, factor: int) -> list[str]:
    """Names of all random-effects columns of one grouping factor."""
    terms = sorted((t for t in fitted.model.layout.terms if t.factor == factor), key=lambda t: t.start)
    return [name for term in terms for name in term.names]


def without_effects(variances: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Variances (levels, q, q) with NaN in the rows and columns of some effects, boolean (q,)."""
    return np.where(lost[:, None] | lost, np.nan, variances)


def level_counts(fit: Selection) -> dict[str, int]:
    """Levels of each grouping factor that occur in one data set."""
    rows, layout = fit.rows, fit.model.layout
    return {
        factor.label: int(np.count_nonzero(np.bincount(rows.factor_rows[layout.factor_source[f]].of(fit.k))))
        for f, factor in factors_in_order(fit.fitted)
    }


def vcov_frame(vcov: np.ndarray, terms: list[str]) -> pd.DataFrame:
    """Label a covariance matrix of coefficients."""
    return pd.DataFrame(vcov, index=terms, columns=terms)


def to_correlation(cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SDs (..., q) and correlations (..., q, q); a correlation with a zero SD is NaN."""
    sd = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    outer = sd[..., :, None] * sd[..., None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return sd, np.where(outer > 0, cov / outer, np.nan)


def varcorr_frame(fits: Selection) -> pd.DataFrame:
    """VarCorr of several data sets: imp, group, var1, var2, vcov, sdcor in lme4's row order.

    A model with covariance structures has them in a column ``structure``, and no rows for correlations that are zero.
    """
    parts = []
    for i, (label, term) in enumerate(zip(term_labels(fits.fitted), fits.model.layout.terms, strict=True)):
        cov = fits.fitted.covariance(i)[fits.index]
        sd, cor = to_correlation(cov)
        names = term.names
        parts += [_rows(fits, label, names[a], None, cov[:, a, a], sd[:, a]) for a in range(term.q)]
        parts += [_rows(fits, label, names[a], names[b], cov[:, a, b], cor[:, a, b]) for a, b in term.correlated]
    if fits.fitted.has_sigma:
        parts.append(_rows(fits, "Residual", None, None, fits.sigma**2, fits.sigma))
    order = np.concatenate([np.arange(fits.n_sets) * len(parts) + j for j in range(len(parts))])
    stacked = pd.concat(parts, ignore_index=True)
    if fits.model.layout.parameters is not None:
        structures = {
            label: "us" if term.structure is None else term.structure.words
            for label, term in zip(term_labels(fits.fitted), fits.model.layout.terms, strict=True)
        }
        stacked["structure"] = stacked["group"].map(structures).fillna("").astype(object)
    return stacked.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def _rows(
    fits: Selection, group: str, var1: str | None, var2: str | None, vcov: np.ndarray, sdcor: np.ndarray
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "imp": fits.labels,
            "group": group,
            "var1": pd.Series([var1] * fits.n_sets, dtype=object),
            "var2": pd.Series([var2] * fits.n_sets, dtype=object),
            "vcov": vcov,
            "sdcor": sdcor,
        }
    )


def mean_varcorr(fits: Selection) -> pd.DataFrame:
    """Mean variance components over the data sets, or those of one; see ``LmerFit.varcorr``."""
    table = varcorr_frame(fits)
    per_fit = len(table) // fits.n_sets
    out = table.iloc[:per_fit].drop(columns="imp").reset_index(drop=True)
    for name in ("vcov", "sdcor"):
        out[name] = table[name].to_numpy().reshape(fits.n_sets, per_fit).mean(axis=0)
    return out
