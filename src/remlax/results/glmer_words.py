"""Print-outs and reports of generalised linear mixed models, and the methods of the results that give them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import shortened
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..glmm.families import Family
from ..inference.coefficients import CoefficientInference
from ..inference.glmm import glmm_fitted, glmm_inference
from ..pooling import RubinPool
from ..tables.coefficients import fit_table, pooled_table, standard_errors
from ..tables.exponentiate import ratio_words
from ..tables.notes import dropped_note, fit_notes
from ..tables.printing import Summary, block, groups_line, p_value, random_effects_block, significant, span
from ..tables.varcorr import level_counts, mean_varcorr, varcorr_frame
from ..tables.variance import shape_rows
from .fit import LmerFit
from .fits import LmerFitList
from .model_table import ModelParts
from .pooled import PooledLmer
from .report import fit_sentences, model_parts, pooled_sentences
from .text import Form, correlations_block, group_counts, list_text, pooled_fixed_block, prior_line, verdict

# binomial and ordinal models by their link, others by their family
MODELS = {
    ("binomial", "logit"): "logistic mixed model",
    ("binomial", "probit"): "probit mixed model",
    ("binomial", "cloglog"): "complementary log-log mixed model",
    ("ordinal", "logit"): "cumulative logit mixed model",
    ("ordinal", "probit"): "cumulative probit mixed model",
    ("poisson", "log"): "Poisson mixed model",
    ("negative-binomial", "log"): "negative binomial mixed model",
    ("gamma", "log"): "gamma mixed model",
}
DISTRIBUTIONS = {"poisson": "Poisson", "negative-binomial": "negative binomial"}
SHAPES = {"negative-binomial": "Size", "gamma": "Shape", "ordinal": "Thresholds"}
WALD = "Wald tests with standard errors from the Hessian of the {}log-likelihood"


# -- names -------------------------------------------------------------------------------------------------------


def model_name(family: Family) -> str:
    """What the field calls a model: ``logistic mixed model (binomial distribution, logit link)``."""
    if family.name == "ordinal":
        of = f"{family.n_shape + 1} ordered categories"
    else:
        of = f"{DISTRIBUTIONS.get(family.name, family.name)} distribution"
    return f"{MODELS[family.name, family.link]} ({of}, {family.link} link)"


def approximation(fitted: GlmmFitted) -> str:
    """How the likelihood was integrated; with the information where there are two to choose from."""
    n, family = fitted.structure.n_quad, fitted.family
    how = "Laplace approximation" if n == 1 else f"adaptive Gauss-Hermite quadrature with {n} points"
    both = family.name == "binomial" and not family.canonical
    return f"{how}, {'expected' if family.expected else 'observed'} information" if both else how


def family_line(fitted: GlmmFitted) -> str:
    """Family and link as lme4 prints them, and which level is the event."""
    family, levels = fitted.family, fitted.response.levels
    event = f"\nEvent: {levels[1]}" if family.name == "binomial" and levels else ""
    return f"Family: {DISTRIBUTIONS.get(family.name, family.name)} ({family.link}){event}"


def given_rows(fits: Selection) -> dict[str, str]:
    """Weights and offset, where the model has them: the expression, or that they are an array."""
    rows = fits.rows
    offsets = [*rows.formula.offsets, *([] if rows.given_offset is None else [rows.given_offset])]
    given = {"Weights": [] if rows.given_weights is None else [rows.given_weights], "Offset": offsets}
    return {
        what: " + ".join(one if isinstance(one, str) else "an array" for one in parts)
        for what, parts in given.items()
        if parts
    }


def _model_lines(fits: Selection) -> str:
    """Family, formula, and what else the rows have, a line each."""
    lines = [family_line(glmm_fitted(fits)), f"Formula: {fits.formula}", *prior_line(fits)]
    return "\n".join([*lines, *(f"{what}: {given}" for what, given in given_rows(fits).items())])


# -- print-outs --------------------------------------------------------------------------------------------------


def glmm_fit_text(fit: Selection, form: Form) -> Summary:
    """Text of ``summary()``, of ``print(fit)`` (no correlations) or of ``display()`` (no tests either)."""
    fitted, rows, k = glmm_fitted(fit), fit.rows, fit.k
    n = f"{rows.n_rows(k)}" + (f" ({rows.n_dropped} rows with missing cells left out)" if rows.n_dropped else "")
    groups = groups_line(n, {name: str(count) for name, count in level_counts(fit).items()})
    value, n_parameters = fitted.criterion[k], fitted.n_parameters(k)
    aic, bic = (value + by * n_parameters for by in (2, np.log(rows.n_rows(k))))
    parts = [
        *_head(fit, "", f"{value:.4f}, AIC: {aic:.2f}, BIC: {bic:.2f}"),
        f"Random effects:\n{random_effects_block(varcorr_frame(fit))}\n{groups}",
        _fixed_block(fit, form),
        *_shape_block(fit),
    ]
    return Summary("\n\n".join([*parts, *dropped_note(fit), *fit_notes(fit)]))


def _head(fits: Selection, to: str, criterion: str) -> list[str]:
    fitted = glmm_fitted(fits)
    title = f"Generalised linear mixed model fit by maximum likelihood ({approximation(fitted)}){to}"
    return [f"{title}\n{_model_lines(fits)}", f"-2 log L: {criterion}"]


def _fixed_block(fit: Selection, form: Form) -> str:
    terms = fit.model.fixed_names
    if not terms:
        return "No fixed effects"
    within, tests = glmm_inference(fit), form != "display"
    columns = {
        "": terms,
        "Estimate": significant(fit.beta[0]),
        "Std. Error": significant(standard_errors(fit, within)),
    }
    if tests:
        table = fit_table(fit, within, 0.95)
        columns["z"] = [f"{v:.3f}" for v in table["statistic"]]
        columns["p"] = [p_value(v) or "nan" for v in table["p_value"]]
    text = "Fixed effects" + (" (Wald z tests):\n" if tests else ":\n") + block(columns)
    return text + (correlations_block(fit) if form == "summary" else "")


def _shape_block(fits: Selection) -> list[str]:
    """Size, shape or thresholds with standard errors; nothing where the family has none."""
    table, name = shape_rows(fits, 0.95), glmm_fitted(fits).family.name
    if not len(table):
        return []
    estimate, error = significant(table["estimate"].to_numpy()), significant(table["std_error"].to_numpy())
    if name != "ordinal":
        known = f" (Std. Error {error[0]})" if np.isfinite(table["std_error"][0]) else ""
        said = "".join(f" ({note})" for note in table.attrs.get("notes", []))
        return [f"{SHAPES[name]}: {estimate[0] or 'not pooled'}{known}{said}"]
    return ["Thresholds:\n" + block({"": table["term"].tolist(), "Estimate": estimate, "Std. Error": error})]


def glmm_pooled_text(fits: Selection, pool: RubinPool, df_rule: str, form: Form) -> Summary:
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
        *_shape_block(fits),
        verdict(fits, full=full),
    ]
    return Summary("\n\n".join(parts))


def glmm_fits_text(fits: Selection, most: int) -> Summary:
    """Text about the first of several fits, and how many there are."""
    fitted, shown = glmm_fitted(fits), fits.take(fits.which[:most])
    title = f"{fits.n_sets} generalised linear mixed models ({approximation(fitted)})"
    first = {"-2 log L": [f"{v:.2f}" for v in fitted.criterion[shown.index]]}
    if fitted.family.name in ("negative-binomial", "gamma"):
        first[SHAPES[fitted.family.name].lower()] = significant(np.exp(fitted.shape[shown.index, 0]))
    return list_text(fits, shown, f"{title}\n{_model_lines(fits)}", first)


# -- reports -----------------------------------------------------------------------------------------------------


def glmm_fit_parts(fit: Selection) -> ModelParts:
    """Numbers of the printed table of one fit."""
    within = glmm_inference(fit)
    return _glmm_parts(fit, model_parts(fit, fit_table(fit, within, 0.95), 0.95), "", "Wald z tests")


def glmm_pooled_parts(fits: Selection, rubin: RubinPool, df_rule: str) -> ModelParts:
    """Numbers of the printed table of the pooled model."""
    parts = model_parts(fits, pooled_table(fits.model.fixed_names, rubin), float(rubin.conf_level), rubin.fmi)
    how = " in each imputed data set and pooled by Rubin's rules"
    return _glmm_parts(fits, parts, how, df_rule.replace("df", "degrees of freedom"))


def _glmm_parts(fits: Selection, parts: ModelParts, how: str, rule: str) -> ModelParts:
    fitted, table = glmm_fitted(fits), shape_rows(fits, parts.conf_level)
    family = fitted.family
    what = "Threshold" if family.name == "ordinal" else SHAPES.get(family.name, "")
    if len(table):
        table["name"] = [f"{what} {term}" if family.name == "ordinal" else what for term in table["term"]]
    name = model_name(family)
    method = f"{name[0].upper()}{name[1:]} estimated by maximum likelihood ({approximation(fitted)}){how}; {rule}"
    return replace(parts, shape=table, method=method, link=family.link, ratios=ratio_words(family))


def glmm_fit_report(fit: Selection) -> str:
    """Facts about one fit for a methods section; see ``GlmerFit.report``."""
    fitted = glmm_fitted(fit)
    first = (
        f"The {model_name(fitted.family)} {fit.rows.formula.text} was fitted by maximum likelihood "
        f"({approximation(fitted)})"
    )
    wald = WALD.format("penalised " if fitted.penalties else "")
    tests = [f"Coefficients have {wald}", *_ratios(fitted.family)] if fit.model.fixed_names else []
    return fit_sentences(fit, [first, *_data_sentences(fit)], tests)


def glmm_pooled_report(fits: Selection, rubin: RubinPool, within: CoefficientInference, df_rule: str) -> str:
    """Facts about the pooled model for a methods section; see ``PooledGlmer.report``."""
    fitted = glmm_fitted(fits)
    first = (
        f"The {model_name(fitted.family)} {fits.rows.formula.text} was fitted by maximum likelihood "
        f"({approximation(fitted)}) to each of {fits.n_sets + len(fits.dropped)} imputed data sets"
    )
    return pooled_sentences(fits, rubin, within, df_rule, [first, *_data_sentences(fits)], _ratios(fitted.family))


def _data_sentences(fits: Selection) -> list[str]:
    """Categories or event, weights and offset."""
    words = {"Weights": "The weights of the rows are", "Offset": "The linear predictor has the offset"}
    return [*_event(glmm_fitted(fits)), *(f"{words[what]} {given}" for what, given in given_rows(fits).items())]


def _event(fitted: GlmmFitted) -> list[str]:
    levels = fitted.response.levels
    if fitted.family.name == "ordinal":
        return [f"The categories in their order are {shortened(levels)}"]
    return [f"The probability of {levels[1]!r} rather than {levels[0]!r} is modelled"] if levels else []


def _ratios(family: Family) -> list[str]:
    words = ratio_words(family)
    return [f"Exponentiated coefficients are {words}"] if words else []


# -- methods -----------------------------------------------------------------------------------------------------


class GlmerFitWords(LmerFit):
    """What prints and reports one fit."""

    _fitted_by = "rx.glmer"

    def _text(self, form: Form) -> Summary:
        return glmm_fit_text(self.selection, form)

    def _report(self) -> str:
        return glmm_fit_report(self.selection)

    def _report_parts(self) -> ModelParts:
        return glmm_fit_parts(self.selection)


class PooledGlmerWords(PooledLmer):
    """What prints and reports the pooled model."""

    _fitted_by = "rx.glmer"

    def _text(self, form: Form) -> Summary:
        return glmm_pooled_text(self.selection, self.rubin, self.df_rule, form)

    def _report(self) -> str:
        return glmm_pooled_report(self.selection, self.rubin, self.within, self.df_rule)

    def _report_parts(self) -> ModelParts:
        return glmm_pooled_parts(self.selection, self.rubin, self.df_rule)


class GlmerFitListWords(LmerFitList):
    """What prints several fits."""

    _fitted_by = "rx.glmer"
    _pooled = PooledGlmerWords

    def _shown(self, most: int) -> Summary:
        return glmm_fits_text(self.selection, most)
