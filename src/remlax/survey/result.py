"""SurveyFit: a linear mixed model of a survey."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from ..checks import Checks
from ..data.archive import write_archive
from ..design.build import ModelRows
from ..errors import DataError, RankDeficientWarning, quiet
from ..fitting.assemble import Assembled, assemble
from ..fitting.layout import Layout
from ..names import UnknownNames
from ..pooling.multiparameter import d1
from ..pooling.tails import f_upper
from ..results.model_table import ModelParts, one_model
from ..tables.constraints import Constraints, read_constraints
from ..tables.printing import Summary
from ..tables.result_table import ResultTable, result_table
from ..tables.varcorr import vcov_frame
from .combine import Combined, combine
from .design import SurveyDesign
from .fit import SurveyEstimates
from .limits import with_limits
from .parts import survey_parts
from .prediction import Level, NewLevels, predict_survey
from .quantities import labels as quantity_labels
from .text import report_text, summary_text

checks = Checks()
# standard error, relative to the estimate, that only a parameter on the boundary has
LEAST_ERROR = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class SurveyFit(UnknownNames):
    """A linear mixed model fitted to a survey by maximum pseudo-likelihood, by `remlax.lmer` with sampling weights.

    All estimates are means over the plausible values; standard errors come from the sandwich or from replicates.
    """

    _scope: ClassVar[str] = "models of surveys"

    rows: ModelRows
    layout: Layout
    keep: np.ndarray
    found: SurveyEstimates
    design: SurveyDesign
    formula: str

    @cached_property
    def combined(self) -> Combined:
        """Coefficients and all other estimates, combined."""
        return combine(self.found.estimates, self.found.covariances, self.design.rule, self.design.df)

    @cached_property
    def model(self) -> Assembled:
        """The model as one without weights, which reads new rows."""
        with quiet(RankDeficientWarning):
            return assemble(self.rows, reml=False)

    @property
    def terms(self) -> list[str]:
        """Names of the coefficients."""
        return [self.rows.fixed.names[j] for j in self.keep]

    @property
    def n_values(self) -> int:
        """Number M of responses: plausible values, or imputed data sets."""
        return len(self.found.estimates)

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return self.rows.n_rows(0)

    @property
    def ngrps(self) -> dict[str, int]:
        """Number of groups of every factor."""
        return {factor.label: factor.n_levels for factor in reversed(self.layout.factors)}

    @property
    def is_singular(self) -> bool:
        """Whether a variance is estimated as 0 or a correlation as +-1, for one of the responses."""
        return bool(self.found.singular.any())

    @property
    def sigma(self) -> float:
        """Residual SD, the mean over the responses."""
        return float(self._ran_pars("sdcor")["estimate"].iloc[-1])

    def fixef(self) -> pd.Series:
        """Coefficients."""
        return pd.Series(self.combined.estimate[: len(self.keep)], index=self.terms)

    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the coefficients."""
        p = len(self.keep)
        return vcov_frame(self.combined.covariance[:p, :p], self.terms)

    def criterion(self) -> np.ndarray:
        """-2 log pseudo-likelihood of every response, (M,). Its differences are no likelihood-ratio tests."""
        return self.found.criterion * self.design.size

    def tidy(
        self,
        effects: Literal["fixed", "ran_pars", "ran_vals"] = "fixed",
        *,
        conf_level: float = 0.95,
        scales: Literal["sdcor", "vcov"] = "sdcor",
    ) -> ResultTable:
        """Estimates as a table, one row each.

        Parameters
        ----------
        effects : {"fixed", "ran_pars", "ran_vals"}, default "fixed"
            Coefficients; variance components; modes of the random effects, means over the responses.
        conf_level : float, default 0.95
        scales : {"sdcor", "vcov"}, default "sdcor"
            For ``ran_pars``: SDs and correlations, or variances and covariances. Limits of SDs and variances are made
            on the log scale, those of correlations on Fisher's.

        Returns
        -------
        ResultTable
            Of coefficients with ``between``, the variance between the plausible values, where there are several.
        """
        checks.choice(effects, Literal["fixed", "ran_pars", "ran_vals"], "effects=")
        checks.level(conf_level)
        if effects == "ran_pars":
            checks.choice(scales, Literal["sdcor", "vcov"], "scales=")
            return result_table(self._ran_pars(scales, conf_level))
        if effects == "ran_vals":
            return result_table(self._modes())
        p, found = len(self.keep), self.combined
        columns = {"term": self.terms, "estimate": found.estimate[:p], "std_error": found.std_error[:p]}
        columns |= {name: values[:p] for name, values in found.tests(conf_level).items()}
        if self.n_values > 1:
            columns["between"] = np.diag(found.between)[:p]
        return result_table(pd.DataFrame(columns))

    def _ran_pars(self, scales: Literal["sdcor", "vcov"] = "sdcor", conf_level: float = 0.95) -> pd.DataFrame:
        table = self._block(scales)
        correlation = table["term"].str.startswith("cor__").to_numpy()
        covariance = table["term"].str.startswith("cov__").to_numpy()
        scale = np.where(correlation, "fisher", np.where(covariance, "", "log"))
        return with_limits(table, scale, conf_level)

    def icc(self, *, conf_level: float = 0.95) -> pd.DataFrame:
        """Intraclass correlation of every grouping factor, with limits made on the logit scale.

        Returns
        -------
        pandas.DataFrame
            ``group kind estimate std_error df conf_low conf_high``, ``adjusted`` for the fixed part or not. The
            variance of a factor with random slopes is the weighted mean over the rows.
        """
        table = self._block("icc").rename(columns={"term": "kind"})
        return with_limits(table, np.repeat("logit", len(table)), checks.level(conf_level))

    def r2(self, *, conf_level: float = 0.95) -> pd.DataFrame:
        """Explained variance of Nakagawa and Schielzeth (2013) and Johnson (2014), weighted as the rows are."""
        table = self._block("r2").rename(columns={"term": "measure"}).drop(columns="group")
        return with_limits(table, np.repeat("logit", len(table)), checks.level(conf_level))

    def _block(self, block: str) -> pd.DataFrame:
        names, p = quantity_labels(self.layout), len(self.keep)
        chosen = np.flatnonzero(names["block"] == block)
        out = names.iloc[chosen][["group", "term"]].reset_index(drop=True)
        out["estimate"] = self.combined.estimate[p + chosen]
        error = self.combined.std_error[p + chosen]
        size = np.abs(out["estimate"])
        least = 1.0 if block in ("icc", "r2") else size.max()
        known = (error > LEAST_ERROR * size) & (error > LEAST_ERROR**2 * least)
        out["std_error"] = np.where(known, error, np.nan)
        out["df"] = self.combined.df[p + chosen]
        return out

    def varcorr(self) -> pd.DataFrame:
        """Variance components in lme4's order: ``group var1 var2 vcov sdcor``."""
        sd, var = self._block("sdcor"), self._block("vcov")
        rows = []
        for i, (group, name) in enumerate(var[["group", "term"]].itertuples(index=False)):
            names = self._columns(group, name)
            rows.append((group, *names, var["estimate"].iloc[i], sd["estimate"].iloc[i]))
        return pd.DataFrame(rows, columns=["group", "var1", "var2", "vcov", "sdcor"])

    def _columns(self, group: str, name: str) -> tuple[str | None, str | None]:
        """Columns of a parameter."""
        if group == "Residual":
            return None, None
        for term in self.layout.terms:
            for a in range(term.q):
                for b in range(a, term.q):
                    if term.label(a, b, ("var", "cov")) == name and group.split(".")[0] == term.group.split(".")[0]:
                        return term.names[a], None if a == b else term.names[b]
        raise AssertionError(name)  # labels come from the same terms

    def ranef(self) -> dict[str, pd.DataFrame]:
        """Modes of the random effects, means over the responses: levels by columns, per grouping factor."""
        out = {}
        for f, factor in enumerate(self.layout.factors):
            terms = sorted((term for term in self.layout.terms if term.factor == f), key=lambda term: term.start)
            names, index = [name for term in terms for name in term.names], pd.Index(factor.levels, name=factor.label)
            out[factor.label] = pd.DataFrame(self.found.modes[f].mean(axis=0), index=index, columns=names)
        return out

    def _modes(self) -> pd.DataFrame:
        parts = []
        for term in self.layout.terms:
            factor, modes = self.layout.factors[term.factor], self.found.modes[term.factor].mean(axis=0)
            own = modes[:, term.columns]
            parts += [
                pd.DataFrame({"group": term.group, "term": name, "level": factor.levels, "estimate": own[:, j]})
                for j, name in enumerate(term.names)
            ]
        return pd.concat(parts, ignore_index=True)

    def by_value(self) -> pd.DataFrame:
        """Coefficients and sampling standard errors of every response: ``value term estimate std_error``."""
        p = len(self.keep)
        error = np.sqrt(np.diagonal(self.found.covariances, axis1=1, axis2=2)[:, :p])
        return pd.DataFrame(
            {
                "value": np.repeat([str(label) for label in self.rows.labels], p),
                "term": self.terms * self.n_values,
                "estimate": self.found.estimates[:, :p].ravel(),
                "std_error": error.ravel(),
            }
        )

    def test(self, constraints: Constraints) -> pd.DataFrame:
        """Wald test of linear hypotheses about the coefficients.

        Parameters
        ----------
        constraints : str, list of str, dict, DataFrame or array_like (r, p)
            As `LmerFit.test` takes them.

        Returns
        -------
        pandas.DataFrame
            One row: ``statistic`` on the scale of F, ``df1 df2 p_value``. With several plausible values and Rubin's
            rules it is D1; agencies' rules take the sample as large.
        """
        linear = read_constraints(constraints, self.terms, terms=self._term_names())
        matrix, p = linear.matrix, len(self.keep)
        if len(matrix) > self.design.df:
            raise DataError(
                f"a test of {len(matrix)} hypotheses needs as many degrees of freedom, and the design has "
                f"{self.design.df:g}"
            )
        if self.n_values > 1 and self.design.rule == "rubin":
            covariances = np.einsum("ri,mij,sj->mrs", matrix, self.found.covariances[:, :p, :p], matrix)
            pooled = d1(self.found.estimates[:, :p] @ matrix.T, covariances, linear.null, dfcom=self.design.df)
            statistic, df2, p_value = float(pooled.statistic), float(pooled.df2), float(pooled.p_value)
        else:
            covariance = matrix @ self.combined.covariance[:p, :p] @ matrix.T
            difference = matrix @ self.combined.estimate[:p] - linear.null
            statistic = float(difference @ np.linalg.solve(covariance, difference)) / len(difference)
            df2 = self.design.df if self.design.rule == "rubin" else np.inf
            p_value = float(f_upper(np.array(statistic), len(difference), np.array(df2)))
        return pd.DataFrame(
            {"statistic": [statistic], "df1": [len(matrix)], "df2": [df2], "p_value": [p_value]},
            index=["; ".join(linear.labels)],
        )

    def _term_names(self) -> dict[str, list[str]]:
        kept = set(self.keep.tolist())
        names = self.rows.fixed.names
        found = {term: [names[j] for j in at if j in kept] for term, at in self.rows.fixed.term_columns.items()}
        return {term: own for term, own in found.items() if own}

    def glance(self) -> pd.DataFrame:
        """One row of facts."""
        return pd.DataFrame(
            {
                "nobs": [self.nobs],
                "n_values": [self.n_values],
                "n_replicates": [self.design.n_replicates],
                "criterion": [float(self.criterion().mean())],
                "sigma": [self.sigma],
                "df": [self.design.df],
                "singular": [self.is_singular],
                "failed_replicates": [int(self.found.failed[1:].any(axis=1).sum())],
            }
        )

    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        level: Level = "group",
        interval: Literal["confidence"] | None = None,
        conf_level: float = 0.95,
        new_levels: NewLevels = "error",
    ) -> pd.DataFrame:
        """Predict the response for new rows, or for those of the fit: the mean over the responses.

        Parameters
        ----------
        newdata : pandas.DataFrame, optional
            Rows with the columns of the fixed part, of the random terms for ``level="group"``, and of offsets.
        level : {"group", "population"}, default "group"
            With the modes of the random effects, or without.
        interval : {"confidence"}, optional
            Limits of the expected response by the standard errors of the survey, with ``level="population"``.
        conf_level : float, default 0.95
        new_levels : {"error", "mean"}, default "error"
            Levels that the fit has not seen: refuse them, or predict the population mean.

        Returns
        -------
        pandas.DataFrame
            ``estimate``, with an interval also ``std_error df conf_low conf_high``. Index as newdata's.

        Raises
        ------
        DataError, FormulaError
            A column is missing, a category or a level was not in the data, or an interval is asked for with
            ``level="group"``.
        """
        return predict_survey(self, newdata, level, interval, conf_level, new_levels)

    def to_frame(self, *, labels: Mapping[str, str] | None = None, digits: int = 2) -> pd.DataFrame:
        """Table of the model as it is printed: texts, indexed by part and row.

        Parameters
        ----------
        labels : dict, optional
            Words for terms, variables and grouping factors.
        digits : int, default 2
            Least number of decimals.
        """
        return one_model(self._report_parts(), labels, digits).to_frame()

    def _report_parts(self) -> ModelParts:
        return survey_parts(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write this, with its data, to a file, for `remlax.load`.

        Parameters
        ----------
        path : path-like
            An existing file is replaced, in one step.

        Raises
        ------
        FileFormatError
            The file cannot be written.
        DataError
            A column of the model is of a type that a file cannot keep.
        """
        from .content import survey_content

        write_archive(path, type(self).__name__, survey_content(self))

    def summary(self) -> Summary:
        """Everything on a page."""
        return summary_text(self)

    def report(self) -> str:
        """A paragraph for the methods and results sections."""
        return report_text(self)

    def __repr__(self) -> str:
        return str(self.summary())
