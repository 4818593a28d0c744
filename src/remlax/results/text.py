"""Text of print-outs, in lme4's order, of one fit and of the pooled model."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ..errors import MAX_NAMED, shortened
from ..fitting.selection import Selection
from ..inference.coefficients import coefficient_inference
from ..kernels.newton import STATUS_TEXT
from ..pooling import RubinPool
from ..tables.coefficients import fit_table, known_covariance, pool_columns, standard_errors
from ..tables.notes import dropped_note, fit_notes, redundancy_notes
from ..tables.printing import INFINITE_DF, Summary, block, groups_line, p_value, random_effects_block, significant, span
from ..tables.varcorr import level_counts, mean_varcorr, to_correlation, varcorr_frame, vcov_frame

Form = Literal["summary", "print", "display"]


def fit_text(fit: Selection, form: Form) -> Summary:
    """Text of ``summary()``, of ``print(fit)`` (no correlations) or of ``display()`` (no tests either)."""
    rows, k = fit.rows, fit.k
    n = f"{rows.n_rows(k)}" + (f" ({rows.n_dropped} rows with missing cells left out)" if rows.n_dropped else "")
    groups = groups_line(n, {name: str(count) for name, count in level_counts(fit).items()})
    parts = [
        *_head(fit, "", f"{fit.fitted.criterion[k]:.4f}"),
        f"Random effects:\n{random_effects_block(varcorr_frame(fit))}\n{groups}",
        fit_fixed_block(fit, form),
    ]
    return Summary("\n\n".join([*parts, *dropped_note(fit), *fit_notes(fit)]))


def _head(fits: Selection, to: str, criterion: str) -> list[str]:
    """What was fitted, and the criterion at the optimum."""
    how, name = ("REML", "REML criterion") if fits.fitted.reml else ("maximum likelihood", "Deviance")
    title = f"Linear mixed model fit by {how}{to}\nFormula: {fits.formula}"
    return ["\n".join([title, *prior_line(fits)]), f"{name} at convergence: {criterion}"]


def prior_line(fits: Selection) -> list[str]:
    """Say what penalises the estimates; empty without a prior."""
    given = fits.fitted.penalties.items()
    return [f"Penalised by a prior on {what} (the criterion is without it):\n  {text}" for what, text in given]


def fit_fixed_block(fit: Selection, form: Form) -> str:
    terms = fit.model.fixed_names
    if not terms:
        return "No fixed effects"
    within, tests = coefficient_inference(fit, "satterthwaite"), form != "display"
    columns = {
        "": terms,
        "Estimate": significant(fit.beta[0]),
        "Std. Error": significant(standard_errors(fit, within)),
    }
    if tests:  # the short form prints no df, and finding them compiles a program
        columns |= _test_columns(fit_table(fit, within, 0.95))
    text = "Fixed effects" + (" (Satterthwaite df):\n" if tests else ":\n") + block(columns)
    return text + (correlations_block(fit) if form == "summary" else "")


def correlations_block(fit: Selection) -> str:
    """Correlations of the coefficients, where there are several but not too many."""
    terms = fit.model.fixed_names
    if not 1 < len(terms) <= 20:
        return ""
    known = known_covariance(fit.fitted.vcov[fit.k], fit.unknown_variance())
    return "\n\nCorrelation of fixed effects:\n" + cor_frame(vcov_frame(known, terms))


def _test_columns(table: pd.DataFrame | dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Degrees of freedom, t and p as they are printed."""
    return {
        "df": ["inf" if v > INFINITE_DF else f"{v:.1f}" for v in table["df"]],
        "t": [f"{v:.3f}" for v in table["statistic"]],
        "p": [p_value(v) or "nan" for v in table["p_value"]],
    }


def pooled_text(fits: Selection, pool: RubinPool, df_rule: str, form: Form) -> Summary:
    """Text of ``summary()``, or of ``print()`` and ``display()``, which are shorter."""
    full, criterion = form == "summary", fits.fitted.criterion[fits.index]
    groups = groups_line(span(np.array(fits.n_rows)), group_counts(fits))
    parts = [
        *_head(
            fits,
            f" to {fits.n_sets} imputed data sets, pooled by Rubin's rules",
            f"{criterion.min():.2f} to {criterion.max():.2f}",
        ),
        f"Random effects (means over the fits):\n{random_effects_block(mean_varcorr(fits))}\n{groups}",
        pooled_fixed_block(fits.model.fixed_names, pool, df_rule, full=full),
        verdict(fits, full=full),
    ]
    return Summary("\n\n".join(parts))


def group_counts(fits: Selection) -> dict[str, str]:
    """Levels of each grouping factor, as ranges where the data sets differ."""
    layout, out = fits.model.layout, {}
    for f in dict.fromkeys(term.factor for term in layout.terms):
        codes = fits.rows.factor_rows[layout.factor_source[f]]
        which = fits.which if codes.offsets is not None else fits.which[:1]
        out[layout.factors[f].label] = span(np.array([np.count_nonzero(np.bincount(codes.of(k))) for k in which]))
    return out


def pooled_fixed_block(terms: list[str], r: RubinPool, df_rule: str, *, full: bool) -> str:
    """Pooled coefficients; with ``full`` also their tests and what is missing of their information."""
    if not terms:
        return "No fixed effects"
    columns = {"": terms, "Estimate": significant(r.estimate), "Std. Error": significant(r.std_error)}
    if full:
        columns |= _test_columns(pool_columns(r))
        columns["riv"] = [f"{v:.3f}" for v in r.riv]
        columns["fmi"] = [f"{v:.3f}" for v in r.fmi]
    return "Fixed effects" + (f" ({df_rule}):\n" if full else ":\n") + block(columns)


def verdict(fits: Selection, *, full: bool) -> str:
    """Say which fits of the pooled model converged, failed, were left out or are singular."""
    label = fits.rows.labels
    good = [k for k in fits.which if fits.fitted.converged[k]]
    lines = [f"Imputations: {fits.n_sets} pooled, {len(good)} converged"]
    if fits.dropped:
        lines.append("left out because they failed: " + shortened(fits.left_out))
    failed = [k for k in fits.which if not fits.fitted.converged[k]]
    lines.extend(f"imputation {label[k]}: {fits.fitted.verdict(k)}" for k in failed[:MAX_NAMED])
    if len(failed) > MAX_NAMED:
        lines.append(f"and {len(failed) - MAX_NAMED} more that did not converge")
    if fits.singular:
        lines.append("singular fits: imputation " + shortened(fits.singular))
        if full:
            what = "degrees of freedom" if fits.fitted.has_df else "standard errors"
            lines.append(f"their {what} leave out the variance parameters on the boundary")
    elif full:
        lines.append("no singular fit")
    return "\n".join([*lines, *dropped_note(fits), *redundancy_notes(fits)])


# characters of a line of correlations
COR_WIDTH = 100


def cor_frame(vcov: pd.DataFrame) -> str:
    """Print the correlations of coefficients, lower triangle; numbered where their names would be too wide."""
    _, cor = to_correlation(vcov.to_numpy())
    names = heads = [str(n) for n in vcov.columns]
    if sum(max(8, len(head) + 2) for head in heads) > COR_WIDTH:
        heads = [f"({j})" for j in range(1, len(names) + 1)]
        names = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    columns = {"": names[1:]}
    for j, head in enumerate(heads[:-1]):
        columns[head] = [f"{cor[i, j]:.3f}" if i > j else "" for i in range(1, len(names))]
    return block(columns)


def fits_text(fits: Selection, most: int) -> Summary:
    """Text about the first of several fits, and how many there are."""
    title = "\n".join([f"{fits.n_sets} linear mixed models\nFormula: {fits.formula}", *prior_line(fits)])
    shown = fits.take(fits.which[:most])
    criterion = [f"{v:.2f}" for v in shown.fitted.criterion[shown.index]]
    return list_text(fits, shown, title, {"criterion": criterion, "sigma": significant(shown.sigma)})


def list_text(fits: Selection, shown: Selection, title: str, first: dict[str, list[str]]) -> Summary:
    """Text about several fits of which some are shown: columns in front, coefficients and verdicts."""
    k = shown.index
    columns = {"imp": [str(v) for v in shown.labels], **first}
    for name, values in zip(fits.model.fixed_names, shown.beta.T, strict=True):
        columns[name] = significant(values)
    columns["status"] = [
        STATUS_TEXT[int(s)] + (", singular" if g else "")
        for s, g in zip(fits.fitted.status[k], fits.fitted.singular[k], strict=True)
    ]
    more = [f"and {fits.n_sets - shown.n_sets} more"] if shown.n_sets < fits.n_sets else []
    found = "\n".join([block(columns), *more])
    return Summary("\n\n".join([title, found, *dropped_note(fits), *redundancy_notes(fits)]))
