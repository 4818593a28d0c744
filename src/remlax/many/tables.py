"""Tables over many responses, each made at once: a row per response, or per response and term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, cast

import numpy as np
import pandas as pd
import scipy

from ..fitting.layout import TermLayout
from ..pooling import d1
from ..pooling.rubin import barnard_rubin_df, center, ratio
from ..pooling.tails import f_upper, t_two_sided
from ..tables.constraints import Linear
from ..tables.hypotheses import check_rank
from ..tables.result_table import ResultTable, result_table
from .estimates import VERDICTS, ResponseFits

SINGULAR = "singular"
Fits = Sequence[ResponseFits]


def statuses(fits: Fits) -> pd.Categorical:
    """What became of every response, over all imputations: the worst verdict, or that one of its fits is singular."""
    worst = np.max([fit.status for fit in fits], axis=0)
    singular = np.any([fit.singular for fit in fits], axis=0) & (worst == 0)
    names = [*VERDICTS.values(), SINGULAR]
    place = {code: i for i, code in enumerate(VERDICTS)}
    codes = np.vectorize(place.__getitem__, otypes=[np.int64])(worst)
    found = pd.Categorical.from_codes(np.where(singular, len(names) - 1, codes), cast(Any, names))
    return cast(pd.Categorical, found.remove_unused_categories())


def failed(fits: Fits) -> np.ndarray:
    """Responses (G,) without an estimate that can be used, in any imputation."""
    return np.asarray(~np.all([fit.converged for fit in fits], axis=0))


def notes(fits: Fits) -> list[str]:
    """Count what readers of a table must know."""
    lost, status = int(failed(fits).sum()), statuses(fits)
    singular, n = int((np.asarray(status) == SINGULAR).sum()), len(status)
    out = []
    if singular:
        out.append(f"Singular: {singular} of {n} (a variance is estimated as 0 or a correlation as +-1)")
    if lost:
        counts = pd.Series(np.asarray(status)[failed(fits)]).value_counts()
        why = ", ".join(f"{name} {count}" for name, count in counts.items())
        out.append(f"Without estimates: {lost} of {n} ({why})")
    return out


def long_table(
    names: pd.Index, labels: Sequence[str], columns: Mapping[str, np.ndarray], fits: Fits, *, by: str = "term"
) -> ResultTable:
    """Table with a row per response and label from columns (G, r), in this order; failed responses are NaN."""
    r, lost = len(labels), failed(fits)
    status = statuses(fits)
    table: dict[str, object] = {
        "response": names.repeat(r),
        by: pd.Index(list(labels)).take(np.tile(np.arange(r), len(names))),
    }
    for name, values in columns.items():
        shown = np.where(lost[:, None], np.nan, values) if values.dtype.kind == "f" else values
        table[name] = shown.reshape(-1)
    table["status"] = pd.Categorical.from_codes(np.repeat(status.codes, r), dtype=status.dtype)
    frame = pd.DataFrame(table, copy=False)
    frame.attrs["notes"] = notes(fits)
    return result_table(frame)


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """P-values (G, r) adjusted over the responses (Benjamini & Hochberg 1995), each column by itself; NaN stays."""
    out = np.full_like(p_values, np.nan)
    for j, column in enumerate(p_values.T):
        there = np.isfinite(column)
        if there.any():
            out[there, j] = scipy.stats.false_discovery_control(column[there])
    return out


def with_tests(
    estimate: np.ndarray, error: np.ndarray, df: np.ndarray, lost: np.ndarray, null: np.ndarray | float = 0.0
) -> dict[str, np.ndarray]:
    """Columns (G, r) of t tests; failed responses take no part in the adjustment."""
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (estimate - null) / error
    df = np.where(np.isnan(error), np.nan, df)
    p_value = np.where(lost[:, None], np.nan, t_two_sided(statistic, df))
    columns = {"estimate": estimate, "std_error": error, "df": df, "statistic": statistic, "p_value": p_value}
    return {**columns, "p_adjusted": adjusted(p_value)}


def t_tests(fits: Fits, matrix: np.ndarray, null: np.ndarray | float = 0.0) -> dict[str, np.ndarray]:
    """Columns of contrasts (r, p), (G, r): estimates with t tests, pooled by Rubin's rules over imputations."""
    found = [fit.combinations(matrix) for fit in fits]
    if len(fits) == 1:
        ((estimate, variance, df),) = found
        return with_tests(estimate, np.sqrt(variance), df, failed(fits), null)
    estimate, variance, df = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    m = len(fits)
    mean, deviations = center(estimate)
    within = variance.mean(axis=1)
    extra = (1 + 1 / m) * (deviations**2).sum(axis=1) / (m - 1)
    total = within + extra
    share, rest = ratio(extra, total, 0.0), ratio(within, total, 1.0)
    pooled_df = barnard_rubin_df(m, share, rest, df.mean(axis=1))
    fmi = share + 2 / (pooled_df + 3) * rest
    columns = with_tests(mean, np.sqrt(total), pooled_df, failed(fits), null)
    return {**columns, "riv": ratio(extra, within, np.inf), "lambda": share, "fmi": fmi}


def variance_parameters(
    fits: ResponseFits, terms: Sequence[TermLayout], groups: Sequence[str]
) -> tuple[list[tuple[str, str | None, str | None]], np.ndarray, np.ndarray]:
    """Variance components in lme4's order: (group, var1, var2); (co)variances; SDs and correlations (G, .)."""
    labels: list[tuple[str, str | None, str | None]] = []
    covariances, scaled = [], []
    for term, group in zip(terms, groups, strict=True):
        lam = np.zeros((len(fits.sigma), term.q, term.q))
        col, row = np.triu_indices(term.q)
        lam[:, row, col] = fits.theta[:, term.theta]
        cov = fits.sigma[:, None, None] ** 2 * (lam @ lam.swapaxes(1, 2))
        sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
        pairs = [(a, a) for a in range(term.q)] + list(combinations(range(term.q), 2))
        for a, b in pairs:
            labels.append((group, term.names[a], None if a == b else term.names[b]))
            covariances.append(cov[:, a, b])
            scaled.append(sd[:, a] if a == b else ratio(cov[:, a, b], sd[:, a] * sd[:, b], np.nan))
    labels.append(("Residual", None, None))
    return labels, np.stack([*covariances, fits.sigma**2], axis=1), np.stack([*scaled, fits.sigma], axis=1)


def term_tests(fits: Fits, terms: Sequence[Linear]) -> dict[str, np.ndarray]:
    """Columns (G, t) of `joint_tests` of several hypotheses."""
    found = [joint_tests(fits, linear) for linear in terms]
    return {name: np.concatenate([one[name] for one in found], axis=1) for name in found[0]}


def joint_tests(fits: Fits, linear: Linear) -> dict[str, np.ndarray]:
    """Columns (G, 1) of F tests that all contrasts have their values; D1 over imputations."""
    check_rank(linear)
    matrix, lost = linear.matrix, failed(fits)
    q = len(matrix)
    difference = np.stack([fit.combinations(matrix)[0] - linear.null for fit in fits], axis=1)
    covariance, by_fit, scale = (
        np.stack(part, axis=1) for part in zip(*(fit.joint(matrix) for fit in fits), strict=True)
    )
    df2 = by_fit.mean(axis=1)
    known = ~lost & np.isfinite(covariance).all(axis=(1, 2, 3)) & (df2 > 0)
    columns = {name: np.full(len(lost), np.nan) for name in ("statistic", "df2", "p_value")}
    if len(fits) == 1:
        one, cov = difference[known, 0], covariance[known, 0]
        statistic = scale[known, 0] * np.einsum("gi,gi->g", one, np.linalg.solve(cov, one[:, :, None])[:, :, 0]) / q
        found = {"statistic": statistic, "df2": df2[known], "p_value": f_upper(statistic, q, df2[known])}
    elif known.any():
        test = d1(difference[known], covariance[known], dfcom=df2[known])
        found = {"statistic": test.statistic, "df2": test.df2, "p_value": test.p_value, "riv": test.riv}
        columns["riv"] = np.full(len(lost), np.nan)
    else:
        found = {}
    for name, values in found.items():
        columns[name][known] = values
    p_value = columns.pop("p_value")[:, None]
    ordered = {"statistic": columns.pop("statistic")[:, None], "df1": np.full((len(lost), 1), q)}
    rest = {name: values[:, None] for name, values in columns.items()}
    return {**ordered, "df2": rest.pop("df2"), "p_value": p_value, "p_adjusted": adjusted(p_value), **rest}
