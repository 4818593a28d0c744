"""Numbers of the printed table of a model of a survey."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from ..results.model_table import ModelParts
from .combine import WORDS
from .text import notes_of

if TYPE_CHECKING:
    from .result import SurveyFit

LEVEL = 0.95


def survey_parts(fit: SurveyFit) -> ModelParts:
    """Numbers of the printed table."""
    icc, r2 = fit.icc(), fit.r2()
    adjusted = icc[icc["kind"] == "adjusted"]
    facts: dict[str, str | float] = {
        f"ICC: {group}": float(value) for group, value in zip(adjusted["group"], adjusted["estimate"], strict=True)
    }
    for measure, value in zip(r2["measure"], r2["estimate"], strict=True):
        facts[f"R\N{SUPERSCRIPT TWO} ({measure})"] = float(value)
    facts |= {"Observations": str(fit.nobs)} | {f"Groups: {name}": str(n) for name, n in fit.ngrps.items()}
    values = f"; {fit.design.responses} combined by {WORDS[fit.design.rule]}" if fit.n_values > 1 else ""
    method = f"Estimated by maximum pseudo-likelihood; standard errors from {fit.design.errors}{values}"
    weights = [f"sampling weights: {fit.design.weights}"] if fit.design.weights else []
    variables = tuple(fit.rows.formula.variables)
    fixed = pd.DataFrame(fit.tidy(conf_level=LEVEL)).drop(columns="between", errors="ignore")
    return ModelParts(fixed, _random(fit), facts, LEVEL, method, [*weights, *notes_of(fit)], variables)


def _random(fit: SurveyFit) -> pd.DataFrame:
    """Variance parameters with what they are."""
    rows = []
    for term in fit.layout.terms:
        pairs = [(a, a) for a in range(term.q)] + list(combinations(range(term.q), 2))
        rows += [("sd" if a == b else "cor", term.parameter_names(a, b), term.group) for a, b in pairs]
    out = pd.DataFrame([*rows, ("residual", (), "")], columns=["kind", "names", "group"])
    found = pd.DataFrame(fit.tidy("ran_pars", conf_level=LEVEL)).reset_index(drop=True)
    return pd.concat([out.assign(identified=True), found[["estimate", "std_error", "conf_low", "conf_high"]]], axis=1)
