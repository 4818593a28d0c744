"""Print-outs, reports, tables and files of generalised linear mixed models."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import glmer_cases as cases
import remlax as rx
from remlax.design.formula import parse_formula
from remlax.errors import DataError, UnknownNameError
from remlax.fitting.glmm import GlmmFitted
from remlax.fitting.selection import Selection
from remlax.kernels.newton import NO_MAXIMUM
from remlax.tables.printing import MINUS


def test_summary_has_the_parts_of_lme4() -> None:
    fit = cases.logistic()[0]
    text = str(fit.summary())
    assert text.startswith("Generalised linear mixed model fit by maximum likelihood (Laplace approximation)\n")
    assert "Family: binomial (logit)\nFormula: y ~ x + (1 | g)" in text
    assert f"-2 log L: {fit.criterion():.4f}, AIC: {fit.aic:.2f}, BIC: {fit.bic:.2f}" in text
    z = fit.fixef()["x"] / np.sqrt(fit.vcov().loc["x", "x"])
    assert f"  {z:.3f}  " in text.split("(Wald z tests)")[1]
    assert "Residual" not in text
    assert "Satterthwaite" not in text
    assert "REML" not in text
    assert "Correlation of fixed effects" in text
    assert "Correlation" not in repr(fit)
    assert " p" not in str(fit.display()).split("Std. Error")[1].split("\n")[0]


def test_list_and_pooled_model_have_no_residual() -> None:
    fits = cases.logistic()
    listed, pooled = repr(fits), str(fits.pool().summary())
    assert listed.startswith("3 generalised linear mixed models (Laplace approximation)\nFamily: binomial (logit)")
    assert "-2 log L" in listed
    assert "sigma" not in listed
    assert "to 3 imputed data sets, pooled by Rubin's rules" in pooled
    assert "Residual" not in pooled
    assert "(df of Rubin 1987)" in pooled
    assert "3 pooled, 3 converged" in pooled


@pytest.mark.slow
def test_shape_parameters_are_printed() -> None:
    size, log_size = cases.counts().dispersion, cases.counts().selection.fitted.joint[0, -1, -1] ** 0.5
    assert f"Size: {size:.3f} (Std. Error {size * log_size:.4f})" in repr(cases.counts())
    text = repr(cases.ordinal())
    assert "Thresholds:" in text
    assert " low|middle " in text
    assert " middle|high " in text
    assert "left out" not in text  # the intercept is no column that others determine


def test_hints_name_the_functions_of_generalised_models() -> None:
    with pytest.raises(DataError, match=r"use rx\.glmer_list\(formula, data\)"):
        rx.glmer("y ~ x + (1 | g)", cases.imputed())  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"use fits\.pool\(\), where fits = rx\.glmer_list\(formula, frames\)"):
        cases.logistic()[0].pool()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_weights_and_offset_are_named() -> None:
    fitted = cases.counts().selection.fitted

    def having(formula: str, **given: Any) -> rx.GlmerFit:
        rows = replace(fitted.model.rows, formula=parse_formula(formula), **given)
        return rx.GlmerFit(Selection.all_of(replace(fitted, model=replace(fitted.model, rows=rows))))

    plain = "n ~ x + (1 | g)"
    named = having(plain, given_weights="w", given_offset="loge")
    assert f"\nFormula: {plain}\nWeights: w\nOffset: loge\n\n" in repr(named)
    assert "The weights of the rows are w. The linear predictor has the offset loge. The data have" in named.report()
    both = having("n ~ x + offset(log(e)) + (1 | g)", given_offset=np.zeros(200))
    assert "\nOffset: log(e) + an array\n\n" in repr(both)
    assert "Offset" not in repr(cases.counts())
    assert "Weights" not in repr(cases.counts())


def test_what_has_no_maximum_is_said_with_its_reason() -> None:
    fits = cases.logistic()
    fitted = fits.selection.fitted
    assert isinstance(fitted, GlmmFitted)
    reason = "a linear predictor separates the outcome in data set 2: estimates go to infinity (x)"
    status = np.where(np.arange(3) == 1, NO_MAXIMUM, fitted.status)
    bad = rx.GlmerFitList(Selection.all_of(replace(fitted, status=status, endless={1: reason})))
    assert "no maximum" in repr(bad)
    assert f"NOT CONVERGED: {reason}; do not use these estimates" in repr(bad[1])
    assert f"did not converge ({reason})" in bad[1].report()


def test_report_of_one_fit() -> None:
    text = cases.logistic()[0].report()
    assert text.startswith(
        "The logistic mixed model (binomial distribution, logit link) y ~ x + (1 | g) was fitted by maximum likelihood "
        "(Laplace approximation). The data have 200 observations in 20 groups of g. "
    )
    assert "Exponentiated coefficients are odds ratios." in text
    assert "Satterthwaite" not in text
    ordinal = cases.ordinal().report()
    assert ordinal.startswith("The cumulative logit mixed model (3 ordered categories, logit link) grade ~ ")
    assert "The categories in their order are low, middle, high." in ordinal
    assert "negative binomial distribution, log link" in cases.counts().report()


def test_report_of_the_pooled_model() -> None:
    text = cases.logistic().pool().report()
    assert "to each of 3 imputed data sets" in text
    assert "pooled by Rubin's rules (Rubin, 1987); degrees of freedom are those of Rubin (1987)" in text
    assert "odds ratios" in text
    assert "All fits converged. No fit was singular" in text


def test_tables_of_one_model() -> None:
    fit = cases.logistic()[0]
    table = fit.to_frame(digits=3)
    assert list(table.columns) == ["Estimate", "SE", "95% CI", "z", "p"]
    assert "Residual SD" not in table.index.get_level_values("Row")
    ratios, expected = fit.to_frame(digits=3, exponentiate=True), fit.tidy("fixed", exponentiate=True).set_index("term")
    cell = ratios.loc[("Fixed effects", "x")]
    assert float(cell["Estimate"]) == pytest.approx(np.exp(fit.fixef()["x"]), abs=5e-4)
    assert float(cell["SE"]) == pytest.approx(expected.loc["x", "std_error"], abs=5e-4)
    assert cell["95% CI"] == f"[{expected.loc['x', 'conf_low']:.3f}, {expected.loc['x', 'conf_high']:.3f}]"
    assert any("odds ratios" in note for note in ratios.attrs["notes"])
    assert cases.counts().to_frame().loc[("Model", "Size"), "Estimate"] == f"{cases.counts().dispersion:.2f}"
    for found, name in ((cases.counts(), "Size"), (cases.ordinal(), "Threshold low|middle")):
        shape = found.tidy("ran_pars").query("group == 'Response'").iloc[0]
        cell, side = found.to_frame().loc[("Model", name)], rx.model_table([found], errors="ci").to_frame()
        assert float(cell["SE"]) == pytest.approx(shape["std_error"], abs=0.005)
        assert cell["95% CI"] == f"[{shape['conf_low']:.2f}, {shape['conf_high']:.2f}]".replace("-", MINUS)
        assert side.loc[("Model", name)].iloc[0] == f"{cell['Estimate']} {cell['95% CI']}"


def test_linear_and_generalised_models_side_by_side() -> None:
    linear = rx.lmer("x ~ y + (1 | item)", cases.frame())
    pooled = cases.logistic().pool()
    table = rx.model_table({"linear": linear, "logistic": pooled}, exponentiate=True, digits=3)
    cells = table.to_frame()
    odds, error = pooled.tidy("fixed", exponentiate=True).set_index("term").loc["x", ["estimate", "std_error"]]
    assert cells.loc[("Fixed effects", "x"), "logistic"] == f"{odds:.3f} ({error:.3f})"
    plain = rx.model_table({"linear": linear}, digits=3).to_frame()
    assert cells.loc[("Fixed effects", "y"), "linear"] == plain.loc[("Fixed effects", "y"), "linear"]
    assert cells.loc[("Random effects", "Residual SD"), "logistic"] == ""
    assert "logistic: Coefficients are exponentiated: odds ratios, with standard errors by the delta method." in (
        table.notes
    )
    assert "odds ratios" in table.to_markdown()
    assert "odds ratios" in table.to_html()
    with pytest.raises(DataError, match="none of these is one"):
        rx.model_table([linear], exponentiate=True)
    with pytest.raises(DataError, match="no logarithms of ratios"):
        linear.to_frame(exponentiate=True)


def _same(one: Any, other: Any) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("name", ["list", "fit", "pooled", "ordinal", "counts"])
def test_files_keep_every_number(tmp_path: Path, name: str, compiled: list[str]) -> None:
    fits = cases.logistic()
    several = {"list": fits, "fit": fits[1], "pooled": fits.pool(use="rx")}
    result: Any = (several | {"ordinal": cases.ordinal(), "counts": cases.counts()})[name]
    before = str(result.summary())
    compiled.clear()
    result.save(tmp_path / "model.remlax")
    again = rx.load(tmp_path / "model.remlax")
    assert not compiled
    assert type(again) is type(result)
    assert str(again.summary()) == before
    one, other = result.selection.fitted, again.selection.fitted
    assert isinstance(one, GlmmFitted)
    assert isinstance(other, GlmmFitted)
    for field in fields(GlmmFitted):
        if field.name not in ("model", "description", "response"):
            _same(getattr(one, field.name), getattr(other, field.name))
    for a, b in zip(one.factor_modes, other.factor_modes, strict=True):
        np.testing.assert_array_equal(a.modes, b.modes)
        np.testing.assert_array_equal(a.variances, b.variances)
    assert one.at(0, one.theta[0], one.beta[0]) == other.at(0, one.theta[0], one.beta[0])
    if name == "pooled":
        pd.testing.assert_frame_equal(again.tidy("fixed"), result.tidy("fixed"))
