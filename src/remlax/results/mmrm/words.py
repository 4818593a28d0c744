"""Print-outs and reports of mixed models for repeated measures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...errors import shortened
from ...fitting.selection import Selection
from ...inference.coefficients import CoefficientInference
from ...inference.mmrm.choice import mmrm_fitted, mmrm_inference
from ...pooling import RubinPool
from ...predict.observations import model_columns
from ...tables.coefficients import fit_table, pooled_table
from ...tables.notes import dropped_note, fit_notes
from ...tables.printing import Summary, block, groups_line, significant, span
from ..model_table import ModelParts
from ..report import ESTIMATOR, fit_sentences, pooled_sentences
from ..text import Form, fit_fixed_block, list_text, pooled_fixed_block, verdict
from .covariance import residual_covariance_frame

STRUCTURE_NAMES = {
    "us": "unstructured",
    "cs": "compound symmetry",
    "csh": "heterogeneous compound symmetry",
    "ar1": "first-order autoregressive",
    "ar1h": "heterogeneous first-order autoregressive",
    "toep": "Toeplitz",
    "toeph": "heterogeneous Toeplitz",
    "ante1": "first-order antedependence",
    "diag": "uncorrelated visits",
}
# visits up to which a print-out shows their correlations
MOST_VISITS = 12


def structure_words(fits: Selection) -> str:
    """Name of the covariance structure: ``unstructured, by arm``."""
    term = mmrm_fitted(fits).covariance_term
    return STRUCTURE_NAMES[term.structure] + (f", by {term.group}" if term.group else "")


def patient_counts(fits: Selection) -> list[int]:
    """Patients of every data set."""
    visits = mmrm_fitted(fits).visits
    return [visits.n_patients(k) for k in fits.which]


def mmrm_fit_text(fit: Selection, form: Form) -> Summary:
    """Text of ``summary()``, of ``print(fit)`` (no correlations of coefficients) or of ``display()`` (no tests)."""
    rows, k = fit.rows, fit.k
    n = f"{rows.n_rows(k)}" + (f" ({rows.n_dropped} rows with missing cells left out)" if rows.n_dropped else "")
    parts = [
        *_head(fit, "", f"{fit.fitted.criterion[k]:.4f}"),
        f"{_covariance_block(fit)}\n{_counts_line(fit, n)}",
        fit_fixed_block(fit, form),
    ]
    return Summary("\n\n".join([*parts, *dropped_note(fit), *fit_notes(fit)]))


def mmrm_pooled_text(fits: Selection, pool: RubinPool, df_rule: str, form: Form) -> Summary:
    """Text of ``summary()``, or of ``print()`` and ``display()``, which are shorter."""
    full, criterion = form == "summary", fits.fitted.criterion[fits.index]
    parts = [
        *_head(
            fits,
            f" to {fits.n_sets} imputed data sets, pooled by Rubin's rules",
            f"{criterion.min():.2f} to {criterion.max():.2f}",
        ),
        f"{_covariance_block(fits)}\n{_counts_line(fits, span(np.array(fits.n_rows)))}",
        pooled_fixed_block(fits.model.fixed_names, pool, df_rule, full=full),
        verdict(fits, full=full),
    ]
    return Summary("\n\n".join(parts))


def mmrm_fits_text(fits: Selection, most: int) -> Summary:
    """Text about the first of several fits, and how many there are."""
    shown = fits.take(fits.which[:most])
    title = f"{fits.n_sets} mixed models for repeated measures ({structure_words(fits)})\nFormula: {fits.formula}"
    criterion = [f"{v:.2f}" for v in shown.fitted.criterion[shown.index]]
    return list_text(fits, shown, title, {"criterion": criterion})


def _head(fits: Selection, to: str, criterion: str) -> list[str]:
    how, name = ("REML", "REML criterion") if fits.fitted.reml else ("maximum likelihood", "Deviance")
    title = f"Mixed model for repeated measures fit by {how}{to}\nFormula: {fits.formula}"
    return [f"{title}\nCovariance of visits: {structure_words(fits)}", f"{name} at convergence: {criterion}"]


def _counts_line(fits: Selection, n: str) -> str:
    term = mmrm_fitted(fits).covariance_term
    return groups_line(n, {term.patient: span(np.array(patient_counts(fits)))})


def _covariance_block(fits: Selection) -> str:
    """SDs of the visits with the correlations below the diagonal; of several fits their means."""
    fitted = mmrm_fitted(fits)
    visits, groups = fitted.visits.names, fitted.visits.groups
    sigma = residual_covariance_frame(fits).to_numpy().reshape(fitted.visits.n_groups, len(visits), -1)
    cor = residual_covariance_frame(fits, correlation=True).to_numpy().reshape(sigma.shape)
    columns: dict[str, list[str]] = {}
    if groups:
        columns["Group"] = [group if t == 0 else "" for group in groups for t in range(len(visits))]
    columns["Visit"] = list(visits) * fitted.visits.n_groups
    columns["SD"] = significant(np.sqrt(np.concatenate([np.diag(own) for own in sigma])))
    if len(visits) <= MOST_VISITS:
        for s, name in enumerate(visits[:-1]):
            head = "Correlation with " + name if s == 0 else name
            columns[head] = [f"{own[t, s]:.3f}" if t > s else "" for own in cor for t in range(len(visits))]
    return f"Visits{' (means over the fits)' if fits.n_sets > 1 else ''}:\n{block(columns)}"


# -- reports -----------------------------------------------------------------------------------------------------


def _first(fits: Selection) -> str:
    return (
        f"The mixed model for repeated measures {fits.formula} ({structure_words(fits)}) was fitted by "
        f"{ESTIMATOR[fits.fitted.reml]}"
    )


def _patients(fits: Selection) -> str:
    term = mmrm_fitted(fits).covariance_term
    names = shortened(mmrm_fitted(fits).visits.names)
    return f"There are {span(np.array(patient_counts(fits)))} patients ({term.patient}) with visits {names}"


def mmrm_fit_report(fit: Selection) -> str:
    """Facts about one fit for a methods section."""
    tests = "Tests and confidence limits of the coefficients use Satterthwaite's degrees of freedom"
    return fit_sentences(fit, [_first(fit), _patients(fit)], [tests])


def mmrm_pooled_report(fits: Selection, rubin: RubinPool, within: CoefficientInference, df_rule: str) -> str:
    """Facts about the pooled model for a methods section."""
    first = f"{_first(fits)} to each of {fits.n_sets + len(fits.dropped)} imputed data sets"
    return pooled_sentences(fits, rubin, within, df_rule, [first, _patients(fits)], [])


def mmrm_fit_parts(fit: Selection) -> ModelParts:
    """Numbers of the printed table of one fit."""
    within = mmrm_inference(fit, "satterthwaite")
    return _parts(fit, fit_table(fit, within, 0.95), 0.95, "", within.rule)


def mmrm_pooled_parts(fits: Selection, rubin: RubinPool, df_rule: str) -> ModelParts:
    """Numbers of the printed table of the pooled model."""
    how = " in each imputed data set and pooled by Rubin's rules"
    table = pooled_table(fits.model.fixed_names, rubin)
    return _parts(fits, table, float(rubin.conf_level), how, df_rule)


def _parts(fits: Selection, fixed: pd.DataFrame, level: float, how: str, rule: str) -> ModelParts:
    """The covariance matrix is named in the method: a table of T (T + 1) / 2 numbers has its own function."""
    term = mmrm_fitted(fits).covariance_term
    facts: dict[str, str | float] = {"Observations": span(np.array(fits.n_rows))}
    facts[f"Groups: {term.patient}"] = span(np.array(patient_counts(fits)))
    if fits.n_sets > 1:
        facts["Imputations"] = str(fits.n_sets)
    method = (
        f"Mixed model for repeated measures ({structure_words(fits)}) estimated by {ESTIMATOR[fits.fitted.reml]}{how}; "
        f"{rule.replace('df', 'degrees of freedom')}"
    )
    columns = ["kind", "names", "group", "identified", "estimate", "std_error", "conf_low", "conf_high"]
    random = pd.DataFrame({name: [] for name in columns})
    return ModelParts(
        fixed, random, facts, level, method, notes=dropped_note(fits), variables=tuple(model_columns(fits.fitted))
    )
