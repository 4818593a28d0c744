"""What a fitted model prints, in lme4's order."""

from __future__ import annotations

import numpy as np

from ..fitting.selection import Selection
from ..inference.coefficients import coefficient_inference
from ..kernels.newton import STATUS_TEXT
from .coefficients import fit_table
from .printing import Summary, block, groups_line, p_value, random_effects_block, significant
from .redundancy_words import redundancy_notes
from .tables import cor_frame, level_counts, varcorr_frame, vcov_frame


def fit_text(fit: Selection, *, tests: bool, correlations: bool) -> Summary:
    """Text of ``summary()``, of ``print(fit)`` (no correlations) or of ``display()`` (no tests either)."""
    fixed = _fixed_block(fit, tests=tests, correlations=correlations)
    return Summary("\n\n".join([*_head(fit), fixed, *fit_notes(fit)]))


def fit_notes(fit: Selection) -> list[str]:
    """Say what a reader of the tables must know: no convergence, a singular fit and what follows from it."""
    notes = []
    if not fit.fitted.converged[fit.k]:
        notes.append(f"NOT CONVERGED: {STATUS_TEXT[int(fit.fitted.status[fit.k])]}; do not use these estimates")
    if fit.fitted.singular[fit.k]:
        notes.append(
            "singular fit: a variance is estimated as 0 or a correlation as +-1; degrees of freedom and standard "
            "errors of the other parameters leave out those on the boundary"
        )
    return [*notes, *redundancy_notes(fit)]


def _head(fit: Selection) -> list[str]:
    rows = fit.rows
    how = "REML" if fit.fitted.reml else "maximum likelihood"
    title = f"Linear mixed model fit by {how}\nFormula: {rows.formula.text}"
    name = "REML criterion" if fit.fitted.reml else "Deviance"
    n = f"{rows.n_rows(fit.k)}" + (f" ({rows.n_dropped} rows with missing cells left out)" if rows.n_dropped else "")
    random = "Random effects:\n" + random_effects_block(varcorr_frame(fit))
    groups = groups_line(n, {k: str(v) for k, v in level_counts(fit).items()})
    return [title, f"{name} at convergence: {fit.fitted.criterion[fit.k]:.4f}", f"{random}\n{groups}"]


def _fixed_block(fit: Selection, *, tests: bool, correlations: bool) -> str:
    terms = fit.model.fixed_names
    if not terms:
        return "No fixed effects"
    within = coefficient_inference(fit, "satterthwaite")
    # the short form prints no df, and finding them compiles a program
    df = within.df(np.eye(len(terms)))[0] if tests else np.full(len(terms), np.inf)
    table = fit_table(terms, fit.fitted.beta[fit.k], np.sqrt(np.diag(within.vcov[0])), df, 0.95)
    columns = {
        "": terms,
        "Estimate": significant(table["estimate"].to_numpy()),
        "Std. Error": significant(table["std_error"].to_numpy()),
    }
    if tests:
        columns["df"] = [f"{v:.1f}" for v in table["df"]]
        columns["t"] = [f"{v:.3f}" for v in table["statistic"]]
        columns["p"] = [p_value(v) or "nan" for v in table["p_value"]]
    text = "Fixed effects" + (" (Satterthwaite df):\n" if tests else ":\n") + block(columns)
    if correlations and 1 < len(terms) <= 20:
        text += "\n\nCorrelation of fixed effects:\n" + cor_frame(vcov_frame(fit.fitted.vcov[fit.k], terms))
    return text
