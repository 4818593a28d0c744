"""What a paper says about a model: tables for print, and the facts of a methods section in words."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from itertools import combinations

import jax
import numpy as np
import pandas as pd

from .._version import __version__
from ..design.build import needed_columns
from ..errors import PoolingWarning, quiet, shortened
from ..fitting.fit import Fitted
from ..inference.coefficients import CoefficientInference, coefficient_inference
from ..kernels.newton import STATUS_TEXT
from ..pooling import RubinPool
from .coefficients import fit_table, pooled_table
from .fit_print import fit_notes
from .marks import mark
from .model_table import ModelParts, ModelTable, one_model
from .printing import span
from .redundancy_words import dropped_note, redundancy_notes
from .shares import fit_shares, icc_estimates, nakagawa_estimates, pooled_shares
from .table_words import span_of
from .tables import level_counts, term_labels
from .variance import fit_ran_pars, pooled_ran_pars

ESTIMATOR = {True: "restricted maximum likelihood (REML)", False: "maximum likelihood (ML)"}
ZERO_SD = 1e-6  # of the residual SD
SINGULAR = "(a variance of 0 or a correlation of +-1)"


class Tables:
    """Methods that print one model as journals do."""

    def _report_parts(self) -> ModelParts:
        raise NotImplementedError

    def to_frame(self, *, labels: Mapping[str, str] | None = None, digits: int = 2) -> pd.DataFrame:
        """Table of the model as it is printed: texts, indexed by part and row.

        Parameters
        ----------
        labels : dict, optional
            Words for terms (``"sex[T.m]"``), variables (``"sex"``) and grouping factors.
        digits : int, default 2
            Least number of decimals; more are shown where the standard error has fewer than two significant digits.

        Returns
        -------
        pandas.DataFrame
            Columns ``Estimate``, ``SE``, ``95% CI``, ``df``, ``t``, ``p``, of a pooled model also ``FMI`` (fraction of
            missing information); ``attrs["notes"]`` holds the notes below the table.

        Raises
        ------
        DataError
            labels is not a dict of texts or has a name that the model does not have, or digits is not a number from 0
            to 6.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy())
        >>> fit.to_frame().loc["Fixed effects", ["Estimate", "95% CI"]].values.tolist()
        [['251.41', '[231.26, 271.55]'], ['10.47', '[8.88, 12.06]']]
        """
        return one_model(self._report_parts(), labels, digits, None).to_frame()

    def to_markdown(self, *, labels: Mapping[str, str] | None = None, digits: int = 2, title: str | None = None) -> str:
        """Table of the model in Markdown; see `to_frame`."""
        return self._table(labels, digits, title).to_markdown()

    def to_html(self, *, labels: Mapping[str, str] | None = None, digits: int = 2, title: str | None = None) -> str:
        """Table of the model in HTML; see `to_frame`. Needs great_tables."""
        return self._table(labels, digits, title).to_html()

    def to_latex(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        digits: int = 2,
        title: str | None = None,
        label: str | None = None,
    ) -> str:
        r"""Table of the model in LaTeX; see `to_frame` and `ModelTable.to_latex`. Needs great_tables.

        The preamble needs ``\usepackage{booktabs, caption, longtable, colortbl, array}``.
        """
        return self._table(labels, digits, title).to_latex(label=label)

    def _table(self, labels: Mapping[str, str] | None, digits: int, title: str | None) -> ModelTable:
        return one_model(self._report_parts(), labels, digits, title)


class FitReport(Tables):
    """Methods of ``LmerFit`` that print it for papers."""

    fitted_stack: Fitted
    lane: int

    def _report_parts(self) -> ModelParts:
        stack, lane = self.fitted_stack, self.lane
        within = coefficient_inference(stack, (lane,), "satterthwaite")
        names = stack.model.fixed_names
        df = within.df(np.eye(len(names)))[0]
        fixed = fit_table(names, stack.beta[lane], np.sqrt(np.diag(within.vcov[0])), df, 0.95)
        method = f"Estimated by {ESTIMATOR[stack.reml]}; {within.rule.replace('df', 'degrees of freedom')}"
        found = [measure(stack, np.array([lane])) for measure in (icc_estimates, nakagawa_estimates)]
        facts = _share_facts(*(_shown(fit_shares(one, 0.95)) for one in found)) | _counts(stack, [lane])
        random = fit_ran_pars(stack, lane, 0.95, "sdcor")
        notes = [*dropped_note(stack), *fit_notes(stack, lane), *random.attrs.get("notes", [])]
        return ModelParts(fixed, _random(stack, [lane], random), facts, 0.95, method, notes, _variables(stack))

    def report(self) -> str:
        """Facts for a methods section, in one paragraph of plain text.

        Returns
        -------
        str
            Model, estimator, observations and groups, rows left out, degrees of freedom, whether the fit converged and
            whether it is singular, software.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy())
        >>> print(fit.report().split(". ")[1])
        The data have 180 observations in 18 groups of Subject
        """
        stack, lane = self.fitted_stack, self.lane
        lost = stack.model.rows.n_dropped
        status = STATUS_TEXT[int(stack.status[lane])]
        sentences = [
            f"The linear mixed model {stack.model.rows.formula.text} was fitted by {ESTIMATOR[stack.reml]}",
            f"The data have {_sizes(stack, [lane])}",
            *([f"{lost} rows with missing cells were left out"] if lost else []),
            "Tests and confidence limits of the coefficients use Satterthwaite's degrees of freedom",
            "The fit converged" if stack.converged[lane] else f"The fit did not converge ({status})",
            f"It is singular {SINGULAR}" if stack.singular[lane] else "It is not singular",
            *map(_capital, [*dropped_note(stack), *redundancy_notes(stack, [lane])]),
            _software(),
        ]
        return ". ".join(sentences) + "."


class PooledReport(Tables):
    """Methods of ``PooledLmer`` that print it for papers."""

    fitted_stack: Fitted
    lanes: tuple[int, ...]
    dropped: tuple[int, ...]
    rubin: RubinPool
    within: CoefficientInference

    @property
    def df_rule(self) -> str:
        """How the degrees of freedom were found."""
        raise NotImplementedError

    def _report_parts(self) -> ModelParts:
        stack, lanes, level = self.fitted_stack, list(self.lanes), float(self.rubin.conf_level)
        fixed = pooled_table(stack.model.fixed_names, self.rubin)
        with quiet(PoolingWarning):
            # said in the notes of the table
            random = pooled_ran_pars(stack, lanes, level, "sdcor")
            labels = [stack.model.rows.labels[k] for k in lanes]
            found = [measure(stack, np.array(lanes)) for measure in (icc_estimates, nakagawa_estimates)]
            shares = [_shown(pooled_shares(one, level, labels)) for one in found]
        notes = [*dropped_note(stack), *mark(random, stack, lanes, self.dropped).attrs["notes"]]
        means = random["mean_sd"].fillna(random["mean_cor"])
        random["estimate"] = random["estimate"].fillna(means)
        facts = (
            _share_facts(*shares)
            | _counts(stack, lanes)
            | {
                "Imputations": str(len(lanes)),
                "FMI of the coefficients": _fmi_range(self.rubin),
            }
        )
        method = (
            f"Estimated by {ESTIMATOR[stack.reml]} in each imputed data set and pooled by Rubin's rules; "
            f"{self.df_rule.replace('df', 'degrees of freedom')}"
        )
        return ModelParts(fixed, _random(stack, lanes, random), facts, level, method, notes, _variables(stack))

    def report(self) -> str:
        """Facts for a methods section, in one paragraph of plain text.

        Returns
        -------
        str
            Model, number of imputations, observations and groups, estimator, pooling rule, degrees of freedom, range of
            the fractions of missing information, singular, failed and left-out fits, software.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed())
        >>> print(fits.pool().report().split(". ")[1])
        The data sets have 7185 observations in 160 groups of schid
        """
        stack, lanes = self.fitted_stack, list(self.lanes)
        sentences = [
            f"The linear mixed model {stack.model.rows.formula.text} was fitted by {ESTIMATOR[stack.reml]} to each of "
            f"{len(lanes) + len(self.dropped)} imputed data sets",
            f"The data sets have {_sizes(stack, lanes)}",
            f"Estimates and their covariance matrices were pooled by Rubin's rules (Rubin, 1987); {self._df_words()}",
            f"Confidence limits have level {self.rubin.conf_level:g}",
        ]
        if len(self.rubin.fmi):
            low, high = float(self.rubin.fmi.min()), float(self.rubin.fmi.max())
            text = "The fraction of missing information of the coefficients is"
            sentences.append(f"{text} {low:.2f}" if len(self.rubin.fmi) == 1 else f"{text} {low:.2f} to {high:.2f}")
        sentences += _verdicts(stack, lanes, self.dropped)
        sentences.append(_software())
        return ". ".join(sentences) + "."

    def _df_words(self) -> str:
        rule = self.df_rule
        if rule.endswith("1987"):
            return "degrees of freedom are those of Rubin (1987)"
        complete = self.within.rule.replace("df", "degrees of freedom")
        return f"degrees of freedom are those of Barnard and Rubin (1999), with {complete} for complete data"


def _variables(stack: Fitted) -> tuple[str, ...]:
    rows = stack.model.rows
    given = [text if isinstance(text, str) else None for text in (rows.given_weights, rows.given_offset)]
    return tuple(needed_columns(rows.formula, *given))


def _random(stack: Fitted, lanes: Sequence[int], table: pd.DataFrame) -> pd.DataFrame:
    """Variance parameters with what they are: kind, names of the columns, grouping factor; whether identified."""
    kinds, names, groups = list[str](), list[tuple[str, ...]](), list[str]()
    for label, term in zip(term_labels(stack), stack.model.layout.terms, strict=True):
        pairs = list(combinations(range(term.q), 2))
        kinds += ["sd"] * term.q + ["cor"] * len(pairs)
        own = [(name,) for name in term.names] + [(term.names[a], term.names[b]) for a, b in pairs]
        # a column that several terms of a factor have is told apart as in other tables
        known = set(zip(names, groups, strict=True))
        groups += [label if (name, term.group) in known else term.group for name in own]
        names += own
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    out = pd.DataFrame({"kind": [*kinds, "residual"], "names": [*names, ()], "group": [*groups, ""]})
    out["identified"] = np.logical_not(stack.redundancies.parameters(lanes)[0].any(axis=0))
    out = pd.concat([out, table[columns].reset_index(drop=True)], axis=1)
    # rounding error around the boundary, where there is no standard error
    zero = (out["kind"] == "sd") & out["std_error"].isna() & (out["estimate"] < ZERO_SD * out["estimate"].iloc[-1])
    return out.assign(estimate=out["estimate"].mask(zero, 0.0))


def _shown(shares: pd.DataFrame) -> pd.DataFrame:
    """Two label columns and the estimate; the plain mean where fewer than two imputations are off the boundary."""
    estimate = shares["estimate"].fillna(shares["mean"]) if "mean" in shares else shares["estimate"]
    return pd.DataFrame({"label": shares.iloc[:, 0], "kind": shares.iloc[:, 1], "estimate": estimate})


def _share_facts(icc: pd.DataFrame, r2: pd.DataFrame) -> dict[str, str | float]:
    """Intraclass correlations, and explained variance of the fixed part and of fixed and random parts together."""
    adjusted = icc[(icc["kind"] == "adjusted") & icc["estimate"].notna()]
    out: dict[str, str | float] = {
        f"ICC: {label}": float(v) for label, v in zip(adjusted["label"], adjusted["estimate"], strict=True)
    }
    for label, value in zip(r2["label"], r2["estimate"], strict=True):
        out[f"R\N{SUPERSCRIPT TWO} ({label})"] = float(value)
    return out


def _counts(stack: Fitted, lanes: Sequence[int]) -> dict[str, str]:
    """Observations and groups, as ranges where the data sets differ."""
    rows = stack.model.rows
    out = {"Observations": span(np.array([rows.n_rows(k) for k in lanes]))}
    varies = any(codes.offsets is not None for codes in rows.factor_rows)
    each = [level_counts(stack, k) for k in (lanes if varies else lanes[:1])]
    return out | {f"Groups: {name}": span(np.array([one[name] for one in each])) for name in each[0]}


def _sizes(stack: Fitted, lanes: Sequence[int]) -> str:
    counts = _counts(stack, lanes)
    n = counts.pop("Observations")
    groups = [f"{size} groups of {name.removeprefix('Groups: ')}" for name, size in counts.items()]
    return f"{n} observations in {' and '.join(groups)}"


def _software() -> str:
    return f"Computed with remlax {__version__} (JAX {jax.__version__}, Python {platform.python_version()})"


def _fmi_range(rubin: RubinPool) -> str:
    return span_of([float(v) for v in rubin.fmi], 2) if len(rubin.fmi) else ""


def _verdicts(stack: Fitted, lanes: Sequence[int], dropped: Sequence[int]) -> list[str]:
    """Sentences about fits that failed, were left out or are singular."""
    label = stack.model.rows.labels
    failed = [k for k in (*lanes, *dropped) if not stack.converged[k]]
    singular = [str(label[k]) for k in lanes if stack.singular[k]]
    out = ["All fits converged"] if not failed else []
    if failed:
        each = shortened(f"{label[k]} ({STATUS_TEXT[int(stack.status[k])]})" for k in failed)
        out.append(f"{len(failed)} of {len(lanes) + len(dropped)} fits did not converge: imputation {each}")
    if dropped:
        out.append(f"Left out of the pooled model: imputation {shortened(label[k] for k in dropped)}")
    if singular:
        text = f"{len(singular)} of {len(lanes)} pooled fits are singular {SINGULAR}"
        out.append(f"{text}: imputation {shortened(singular)}")
    else:
        out.append("No fit was singular")
    return [*out, *map(_capital, [*dropped_note(stack), *redundancy_notes(stack, lanes)])]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
