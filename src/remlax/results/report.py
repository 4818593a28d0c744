"""Report of a model for a paper: numbers of the printed table, and the facts of a methods section in words."""

from __future__ import annotations

import platform
from dataclasses import replace

import jax
import numpy as np
import pandas as pd

from .._version import __version__
from ..errors import PoolingWarning, quiet, shortened
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference, coefficient_inference
from ..pooling import RubinPool
from ..predict.observations import model_columns
from ..tables.coefficients import fit_table, pooled_table
from ..tables.notes import dropped_note, mark, prior_note, redundancy_notes
from ..tables.printing import span, span_of
from ..tables.shares import icc_estimates, nakagawa_estimates, share_table
from ..tables.varcorr import level_counts, term_labels
from ..tables.variance import ran_pars_table
from .model_table import ModelParts

ESTIMATOR = {True: "restricted maximum likelihood (REML)", False: "maximum likelihood (ML)"}
ZERO_SD = 1e-6  # of the residual SD, or of the linear predictor's unit
# residual variances of generalised models, by the method of the tables of shares
RESIDUALS = {
    "latent response": "the residual variance is that of the latent response given its linear predictor",
    "trigamma": "the residual variance is that of the logarithm of the response, by the trigamma function",
}


def fit_parts(fit: Selection) -> ModelParts:
    """Numbers of the printed table of one fit."""
    within = coefficient_inference(fit, "satterthwaite")
    return _with_method(fit, model_parts(fit, fit_table(fit, within, 0.95), 0.95), "", within.rule)


def pooled_parts(fits: Selection, rubin: RubinPool, df_rule: str) -> ModelParts:
    """Numbers of the printed table of the pooled model."""
    how = " in each imputed data set and pooled by Rubin's rules"
    parts = model_parts(fits, pooled_table(fits.model.fixed_names, rubin), float(rubin.conf_level), rubin.fmi)
    return _with_method(fits, parts, how, df_rule)


def _with_method(fits: Selection, parts: ModelParts, how: str, rule: str) -> ModelParts:
    method = f"Estimated by {ESTIMATOR[fits.fitted.reml]}{how}; {rule.replace('df', 'degrees of freedom')}"
    return replace(parts, method=method)


def model_parts(fits: Selection, fixed: pd.DataFrame, level: float, fmi: np.ndarray | None = None) -> ModelParts:
    """Numbers of the printed table of a model whose coefficients have the table ``fixed``; fmi (p,) of a pooled one."""
    with quiet(PoolingWarning):
        # said in the notes of the table
        random = ran_pars_table(fits, level, "sdcor")
        shares, notes = _shares(fits, level)
    notes = [*prior_note(fits), *notes, *dropped_note(fits), *mark(random, fits).attrs["notes"]]
    if fits.n_sets > 1:
        random["estimate"] = random["estimate"].fillna(random["mean_sd"]).fillna(random["mean_cor"])
    facts = shares | _counts(fits)
    if fmi is not None:
        known = [float(v) for v in fmi if not np.isnan(v)]
        facts |= {"Imputations": str(fits.n_sets), "FMI of the coefficients": span_of(known, 2) if known else ""}
    variables = tuple(model_columns(fits.fitted))
    return ModelParts(fixed, _random(fits, random), facts, level, notes=notes, variables=variables)


def fit_report(fit: Selection) -> str:
    """Facts about one fit for a methods section; see ``LmerFit.report``."""
    first = f"The linear mixed model {fit.rows.formula.text} was fitted by {ESTIMATOR[fit.fitted.reml]}"
    tests = "Tests and confidence limits of the coefficients use Satterthwaite's degrees of freedom"
    return fit_sentences(fit, [first], [tests])


def fit_sentences(fit: Selection, first: list[str], tests: list[str]) -> str:
    """Put sentences about the model and its tests together with those about the data and the fit."""
    lost = fit.rows.n_dropped
    status = fit.fitted.verdict(fit.k)
    sentences = [
        *first,
        *map(_capital, prior_note(fit)),
        f"The data have {_sizes(fit)}",
        *([f"{lost} rows with missing cells were left out"] if lost else []),
        *tests,
        "The fit converged" if fit.fitted.converged[fit.k] else f"The fit did not converge ({status})",
        f"It is singular: {fit.fitted.boundary(fit.k)}" if fit.fitted.singular[fit.k] else "It is not singular",
        *map(_capital, [*dropped_note(fit), *redundancy_notes(fit)]),
        _software(),
    ]
    return ". ".join(sentences) + "."


def pooled_report(fits: Selection, rubin: RubinPool, within: CoefficientInference, df_rule: str) -> str:
    """Facts about the pooled model for a methods section; see ``PooledLmer.report``."""
    first = (
        f"The linear mixed model {fits.rows.formula.text} was fitted by {ESTIMATOR[fits.fitted.reml]} to each of "
        f"{fits.n_sets + len(fits.dropped)} imputed data sets"
    )
    return pooled_sentences(fits, rubin, within, df_rule, [first], [])


def pooled_sentences(
    fits: Selection,
    rubin: RubinPool,
    within: CoefficientInference,
    df_rule: str,
    first: list[str],
    meaning: list[str],
) -> str:
    """Put sentences about the model and its coefficients together with those about data, pooling and fits."""
    sentences = [
        *first,
        *map(_capital, prior_note(fits)),
        f"The data sets have {_sizes(fits)}",
        "Estimates and their covariance matrices were pooled by Rubin's rules (Rubin, 1987); "
        f"{_df_words(within, df_rule)}",
        *meaning,
        f"Confidence limits have level {rubin.conf_level:g}",
    ]
    fmi = rubin.fmi[~np.isnan(rubin.fmi)]
    if len(fmi):
        low, high = float(fmi.min()), float(fmi.max())
        text = "The fraction of missing information of the coefficients is"
        sentences.append(f"{text} {low:.2f}" if len(fmi) == 1 else f"{text} {low:.2f} to {high:.2f}")
    sentences += _verdicts(fits)
    sentences.append(_software())
    return ". ".join(sentences) + "."


def _df_words(within: CoefficientInference, df_rule: str) -> str:
    if df_rule.endswith("1987"):
        return "degrees of freedom are those of Rubin (1987)"
    complete = within.rule.replace("df", "degrees of freedom")
    return f"degrees of freedom are those of Barnard and Rubin (1999), with {complete} for complete data"


def _random(fits: Selection, table: pd.DataFrame) -> pd.DataFrame:
    """Variance parameters with what they are: kind, names of the columns, grouping factor; whether identified."""
    kinds, names, groups = list[str](), list[tuple[str, ...]](), list[str]()
    for label, term in zip(term_labels(fits.fitted), fits.model.layout.terms, strict=True):
        kinds += ["sd" if a == b else "cor" for a, b in term.parameters]
        own = list(map(term.parameter_names, *zip(*term.parameters, strict=True)))
        # a column that several terms of a factor have is told apart as in other tables
        known = set(zip(names, groups, strict=True))
        groups += [label if (name, term.group) in known else term.group for name in own]
        names += own
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    if fits.fitted.has_sigma:
        kinds, names, groups = [*kinds, "residual"], [*names, ()], [*groups, ""]
    out = pd.DataFrame({"kind": kinds, "names": names, "group": groups})
    out["identified"] = np.logical_not(fits.fitted.redundancies.parameters(fits.which)[0].any(axis=0))
    # shape parameters of the response come after them
    out = pd.concat([out, table[columns].reset_index(drop=True).iloc[: len(out)]], axis=1)
    # rounding error around the boundary, where there is no standard error
    scale = 1.0 if not fits.fitted.has_sigma else out["estimate"].iloc[-1]
    zero = (out["kind"] == "sd") & out["std_error"].isna() & (out["estimate"] < ZERO_SD * scale)
    return out.assign(estimate=out["estimate"].mask(zero, 0.0))


def _shown(shares: pd.DataFrame) -> pd.DataFrame:
    """Two label columns and the estimate; the plain mean where fewer than two imputations are off the boundary."""
    estimate = shares["estimate"].fillna(shares["mean"]) if "mean" in shares else shares["estimate"]
    return pd.DataFrame({"label": shares.iloc[:, 0], "kind": shares.iloc[:, 1], "estimate": estimate})


def _shares(fits: Selection, level: float) -> tuple[dict[str, str | float], list[str]]:
    """Shares of variance, and in a note what the residual variance of a generalised model is."""
    found = [share_table(measure(fits), fits, level) for measure in (icc_estimates, nakagawa_estimates)]
    methods = dict.fromkeys(str(name) for table in found if "method" in table for name in table["method"])
    notes = [f"ICC and R\N{SUPERSCRIPT TWO}: {RESIDUALS.get(name, name)}" for name in methods]
    return _share_facts(*map(_shown, found)), notes


def _share_facts(icc: pd.DataFrame, r2: pd.DataFrame) -> dict[str, str | float]:
    """Intraclass correlations, and explained variance of the fixed part and of fixed and random parts together."""
    adjusted = icc[(icc["kind"] == "adjusted") & icc["estimate"].notna()]
    out: dict[str, str | float] = {
        f"ICC: {label}": float(v) for label, v in zip(adjusted["label"], adjusted["estimate"], strict=True)
    }
    for label, value in zip(r2["label"], r2["estimate"], strict=True):
        out[f"R\N{SUPERSCRIPT TWO} ({label})"] = float(value)
    return out


def _counts(fits: Selection) -> dict[str, str]:
    """Observations and groups, as ranges where the data sets differ."""
    out = {"Observations": span(np.array(fits.n_rows))}
    varies = any(codes.offsets is not None for codes in fits.rows.factor_rows)
    each = [level_counts(fits.one(k)) for k in (fits.which if varies else fits.which[:1])]
    return out | {f"Groups: {name}": span(np.array([one[name] for one in each])) for name in each[0]}


def _sizes(fits: Selection) -> str:
    counts = _counts(fits)
    n = counts.pop("Observations")
    groups = [f"{size} groups of {name.removeprefix('Groups: ')}" for name, size in counts.items()]
    return f"{n} observations in {' and '.join(groups)}" if groups else f"{n} observations"


def _software() -> str:
    return f"Computed with remlax {__version__} (JAX {jax.__version__}, Python {platform.python_version()})"


def _verdicts(fits: Selection) -> list[str]:
    """Sentences about fits that failed, were left out or are singular."""
    label = fits.rows.labels
    failed = [k for k in (*fits.which, *fits.dropped) if not fits.fitted.converged[k]]
    singular = fits.singular
    out = ["All fits converged"] if not failed else []
    if failed:
        each = shortened(f"{label[k]} ({fits.fitted.verdict(k)})" for k in failed)
        out.append(f"{len(failed)} of {fits.n_sets + len(fits.dropped)} fits did not converge: imputation {each}")
    if fits.dropped:
        out.append(f"Left out of the pooled model: imputation {shortened(fits.left_out)}")
    if singular:
        reasons = "; ".join(dict.fromkeys(fits.fitted.boundary(k) for k in fits.which if fits.fitted.singular[k]))
        text = f"{len(singular)} of {fits.n_sets} pooled fits are singular ({reasons})"
        out.append(f"{text}: imputation {shortened(singular)}")
    else:
        out.append("No fit was singular")
    return [*out, *map(_capital, [*dropped_note(fits), *redundancy_notes(fits)])]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
