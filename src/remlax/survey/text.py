"""Print-out and report of a model of a survey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..tables.printing import INFINITE_DF, Summary, block, groups_line, p_value, random_effects_block, significant
from .combine import WORDS

if TYPE_CHECKING:
    from .result import SurveyFit


def summary_text(fit: SurveyFit) -> Summary:
    """Everything on a page."""
    design, found = fit.design, fit.combined
    head = ["Linear mixed model fit by maximum pseudo-likelihood", f"Formula: {fit.formula}"]
    head.append(f"Sampling weights: {design.weights or 'none'}")
    if fit.n_values > 1:
        head.append(f"{design.responses}, combined by {WORDS[design.rule]}")
    head.append(f"Standard errors: {design.errors}")
    criterion = fit.criterion()
    span = f"{criterion[0]:.4f}" if len(criterion) == 1 else f"{criterion.min():.2f} to {criterion.max():.2f}"
    groups = groups_line(str(fit.nobs), {name: str(n) for name, n in fit.ngrps.items()})
    over = "" if fit.n_values == 1 else " (means over the responses)"
    tests, p = found.tests(0.95), len(fit.keep)
    columns = {
        "": fit.terms,
        "Estimate": significant(found.estimate[:p]),
        "Std. Error": significant(found.std_error[:p]),
        "df": ["inf" if v > INFINITE_DF else f"{v:.1f}" for v in tests["df"][:p]],
        "t": [f"{v:.3f}" for v in tests["statistic"][:p]],
        "p": [p_value(v) or "nan" for v in tests["p_value"][:p]],
    }
    shares = fit.icc().query("kind == 'adjusted'")
    icc = "; ".join(
        f"{group} {value:.3f}" + (f" ({error:.3f})" if np.isfinite(error) else "")
        for group, value, error in shares[["group", "estimate", "std_error"]].itertuples(index=False)
    )
    parts = [
        "\n".join(head),
        f"-2 log pseudo-likelihood: {span}",
        f"Random effects{over}:\n{random_effects_block(fit.varcorr())}\n{groups}",
        f"Intraclass correlation (standard error): {icc}",
        "Fixed effects:\n" + block(columns),
        *notes_of(fit),
    ]
    return Summary("\n\n".join(parts))


def notes_of(fit: SurveyFit) -> list[str]:
    """What must not be overlooked."""
    out = []
    if fit.is_singular:
        which = [str(label) for label, bad in zip(fit.rows.labels, fit.found.singular, strict=True) if bad]
        of = "" if fit.n_values == 1 else f" of {', '.join(which)}"
        out.append(f"singular fit{of}: a variance is estimated as 0 or a correlation as +-1")
    failed = np.flatnonzero(fit.found.failed[1:].any(axis=1))
    if len(failed):
        out.append(f"{len(failed)} replicates without a fit are left out: {', '.join(map(str, failed + 1))}")
    if fit.rows.n_dropped:
        out.append(f"{fit.rows.n_dropped} rows with missing cells left out")
    return out


def report_text(fit: SurveyFit) -> str:
    """A paragraph for methods and results."""
    design, found, p = fit.design, fit.combined, len(fit.keep)
    groups = " and ".join(f"{n} {name}" for name, n in fit.ngrps.items())
    weights = f" Sampling weights were {design.weights}." if design.weights else ""
    values = f" {design.responses} were combined by {WORDS[design.rule]}." if fit.n_values > 1 else ""
    tests = found.tests(0.95)
    effects = "; ".join(
        f"{name} {found.estimate[j]:.3g} (SE {found.std_error[j]:.3g}, 95% CI {tests['conf_low'][j]:.3g} to "
        f"{tests['conf_high'][j]:.3g}, p {_p(float(tests['p_value'][j]))})"
        for j, name in enumerate(fit.terms[:p])
    )
    shares = fit.icc().query("kind == 'adjusted'")
    icc = ", ".join(
        f"{value:.3f} for {group}" for group, value in shares[["group", "estimate"]].itertuples(index=False)
    )
    notes = "".join(f" Note: {note}." for note in notes_of(fit))
    return (
        f"A linear mixed model, {fit.formula}, was fitted to {fit.nobs} rows ({groups}) by maximum pseudo-likelihood."
        f"{weights} Standard errors came from {design.errors}.{values} Coefficients: {effects}. Intraclass "
        f"correlation: {icc}.{notes}"
    )


def _p(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"
