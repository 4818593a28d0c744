"""What a fitted model prints, in lme4's order."""

from __future__ import annotations

import numpy as np

from ..fitting.fit import Fitted
from ..inference.coefficients import coefficient_inference
from ..kernels.newton import STATUS_TEXT
from .coefficients import fit_table
from .printing import Summary, block, groups_line, p_value, random_effects_block, significant
from .redundancy_words import dropped_note, redundancy_notes
from .tables import cor_frame, level_counts, varcorr_frame, vcov_frame


def fit_text(stack: Fitted, lane: int, *, tests: bool, correlations: bool) -> Summary:
    """Text of ``summary()``, of ``print(fit)`` (no correlations) or of ``display()`` (no tests either)."""
    fixed = _fixed_block(stack, lane, tests=tests, correlations=correlations)
    return Summary("\n\n".join([*_head(stack, lane), fixed, *dropped_note(stack), *fit_notes(stack, lane)]))


def fit_notes(stack: Fitted, lane: int) -> list[str]:
    """Say what a reader of the tables must know: no convergence, a singular fit and what follows from it."""
    notes = []
    if not stack.converged[lane]:
        notes.append(f"NOT CONVERGED: {STATUS_TEXT[int(stack.status[lane])]}; do not use these estimates")
    if stack.singular[lane]:
        notes.append(
            "singular fit: a variance is estimated as 0 or a correlation as +-1; degrees of freedom and standard "
            "errors of the other parameters leave out those on the boundary"
        )
    return [*notes, *redundancy_notes(stack, [lane])]


def _head(stack: Fitted, lane: int) -> list[str]:
    rows = stack.model.rows
    how = "REML" if stack.reml else "maximum likelihood"
    title = f"Linear mixed model fit by {how}\nFormula: {rows.formula.text}"
    name = "REML criterion" if stack.reml else "Deviance"
    n = f"{rows.n_rows(lane)}" + (f" ({rows.n_dropped} rows with missing cells left out)" if rows.n_dropped else "")
    random = "Random effects:\n" + random_effects_block(varcorr_frame(stack, [lane]))
    groups = groups_line(n, {k: str(v) for k, v in level_counts(stack, lane).items()})
    return [title, f"{name} at convergence: {stack.criterion[lane]:.4f}", f"{random}\n{groups}"]


def _fixed_block(stack: Fitted, lane: int, *, tests: bool, correlations: bool) -> str:
    terms = stack.model.fixed_names
    if not terms:
        return "No fixed effects"
    within = coefficient_inference(stack, (lane,), "satterthwaite")
    # the short form prints no df, and finding them compiles a program
    df = within.df(np.eye(len(terms)))[0] if tests else np.full(len(terms), np.inf)
    table = fit_table(terms, stack.beta[lane], np.sqrt(np.diag(within.vcov[0])), df, 0.95)
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
        text += "\n\nCorrelation of fixed effects:\n" + cor_frame(vcov_frame(stack.vcov[lane], terms))
    return text
