"""LmerMany: one linear mixed model fitted to many responses, and its tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..checks import Checks
from ..data.archive import replaced, write_archive
from ..errors import DataError, MissingExtraError
from ..fitting.selection import Selection
from ..results.fit import LmerFit
from ..results.fits import LmerFitList
from ..tables.printing import Summary
from ..tables.result_table import ResultTable, result_table
from ..tables.varcorr import layout_labels
from ..tables.variance import KINDS, Scales
from .base import ManyDdf, ManyTests
from .content import many_content
from .estimates import UNFITTED, VERDICTS
from .shares import variance_shares
from .tables import failed, long_table, notes, statuses, t_tests, variance_parameters
from .text import many_text

# relative difference of means that may come from single precision
SINGLE = 1e-5
ManyEffects = Literal["fixed", "ran_pars"]
checks = Checks()


@dataclass(frozen=True, eq=False, repr=False)
class LmerMany(ManyTests):
    """A linear mixed model fitted to many responses that share a design; made by `lmer_many`.

    Tables are in the order of the responses. A response whose fit failed has NaN in them, and the column ``status``
    says why; a singular fit is one of the others, with ``status`` "singular".

    Parameters
    ----------
    design : tuple of SharedDesign
        What the responses share: one design, or one for each imputation.
    names : pandas.Index (G,)
    fits : tuple of ResponseFits
        The fits to each of these designs.
    source : ManySource
        Formula, data and responses.

    Examples
    --------
    >>> import numpy as np
    >>> import remlax as rx
    >>> data = rx.datasets.sleepstudy()
    >>> responses = data[["Reaction"]].assign(log=np.log(data["Reaction"]))
    >>> many = rx.lmer_many("~ Days + (1 + Days | Subject)", data, responses=responses)
    >>> many.fixef().round(3).loc["Reaction"].to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    """

    def __iter__(self) -> Iterator[object]:
        """Names of the responses, as of a dict."""
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: object) -> LmerFit | LmerFitList:
        """Fit one response by itself; `fit_one` without values."""
        return self.fit_one(name)

    def fit_one(self, name: object, values: npt.ArrayLike | None = None) -> LmerFit | LmerFitList:
        """Fit one response by itself, with all that a single fit has.

        Parameters
        ----------
        name : label of a response
        values : array_like (n,), optional
            The response in the rows of the data, where responses were read in blocks and are not kept.

        Returns
        -------
        LmerFit, or LmerFitList with an imputed design

        Raises
        ------
        DataError
            There is no such response, it cannot be fitted, its values are not kept, or they are not those given.
        """
        try:
            known = name in self.names
        except TypeError:
            known = False
        if not known:
            near = get_close_matches(str(name), list(map(str, self.names)), n=2)
            said = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; many.names has them all"
            raise DataError(f"no response is called {name!r}{said}")
        at = self.names.get_loc(name)
        status = int(np.max([fit.status[at] for fit in self.fits]))
        if status in UNFITTED:
            raise DataError(f"the response {name!r} cannot be fitted: {VERDICTS[status]}")
        source, names = self.source, self.names
        if values is not None:
            source = source.with_values(name, values)
            names = pd.Index([name])
            self._check_same(name, source.numbers(np.array([0]))[0][0])
        fitted = Selection.all_of(source.fit_one(names, name, reml=self.reml))
        return LmerFit(fitted) if self.n_imputations == 1 else LmerFitList(fitted)

    def _check_same(self, name: object, y: np.ndarray) -> None:
        """Refuse values of another response: the fits know how many rows there were and their mean."""
        at, there = self.names.get_loc(name), y[~np.isnan(y)]
        n, average = self.fits[0].n_obs[at], self.fits[0].average[at]
        # values may have been read in single precision
        if self.source.weights is None and not (
            len(there) == n and abs(there.mean() - average) <= SINGLE * (abs(average) + there.std())
        ):
            found = f"{there.mean():.6g} over {len(there)} rows" if len(there) else "none"
            raise DataError(
                f"values= are not those of {name!r} that were fitted: their mean is {found}, and that of {name!r} was "
                f"{average:.6g} over {n}"
            )

    # -- estimates ---------------------------------------------------------------------------------------------------

    def fixef(self) -> pd.DataFrame:
        """Coefficients: a row per response, a column per coefficient (G, p); means over imputations."""
        beta = np.mean([fit.beta for fit in self.fits], axis=0)
        beta[failed(self.fits)] = np.nan
        return pd.DataFrame(beta, index=self._index, columns=self.terms)

    @property
    def sigma(self) -> pd.Series:
        """Residual standard deviations (G,), the mean over imputations."""
        sigma = np.where(failed(self.fits), np.nan, np.mean([fit.sigma for fit in self.fits], axis=0))
        return pd.Series(sigma, index=self._index, name="sigma")

    def tidy(
        self, effects: ManyEffects = "fixed", *, scales: Scales = "sdcor", ddf: ManyDdf = "satterthwaite"
    ) -> ResultTable:
        """Estimates of all responses as one long table.

        Parameters
        ----------
        effects : {"fixed", "ran_pars"}, default "fixed"
            Coefficients with t tests; SDs and correlations of the random effects and the residual.
        scales : {"sdcor", "vcov"}, default "sdcor"
            For ``ran_pars``: SDs and correlations, or variances and covariances. Standard errors come from the exact
            Hessian of the unprofiled deviance by the delta method; on the boundary, and where a parameter is not
            identified, they are NaN.
        ddf : {"satterthwaite", "kenward-roger"}, default "satterthwaite"
            Degrees of freedom of the coefficients. Kenward-Roger's come with an adjusted covariance and are defined
            under REML; of responses that lack rows, they need the responses, not read in blocks.

        Returns
        -------
        ResultTable
            ``response term estimate std_error df statistic p_value p_adjusted status``, G times p rows, with p-values
            adjusted over the responses, within each term, by the method of Benjamini and Hochberg
            (`scipy.stats.false_discovery_control`). With imputed data estimates are pooled by Rubin's rules, and there
            are ``riv lambda fmi`` as well. Of ``"ran_pars"``: ``response group term estimate std_error status``;
            with imputed data means over imputations, without standard errors.

        Raises
        ------
        DataError
            Kenward-Roger's degrees of freedom of fits by maximum likelihood, or of responses that lack rows and were
            read in blocks.
        ModelSizeError
            Their second derivatives do not fit in memory.

        References
        ----------
        Benjamini, Y. and Hochberg, Y. (1995). J. R. Stat. Soc. B 57, 289-300.
        Kenward, M. G. and Roger, J. H. (1997). Biometrics 53, 983-997.
        """
        checks.choice(effects, ManyEffects, "effects=")
        checks.choice(scales, Scales, "scales=")
        if effects == "fixed":
            return long_table(self.names, self.terms, t_tests(self._tested(ddf), np.eye(len(self.terms))), self.fits)
        table, (diagonal, off) = self._parameters(), KINDS[scales]
        var1, var2 = table.pop("var1"), table.pop("var2")
        names = f"{diagonal}__" + var1.where(var1.notna(), "Observation").astype(str)
        table.insert(2, "term", np.where(var2.isna(), names, f"{off}__" + var1.astype(str) + "." + var2.astype(str)))
        table = table.rename(columns={scales: "estimate"}).drop(columns={"sdcor", "vcov"} - {scales})
        if self.n_imputations == 1:
            ((fit,), lost) = self.fits, failed(self.fits)
            error = np.where(lost[:, None], np.nan, fit.error if scales == "sdcor" else fit.cov_error)
            table.insert(4, "std_error", error.reshape(-1))
        return result_table(table)

    def varcorr(self) -> ResultTable:
        """Variance components: ``response group var1 var2 vcov sdcor status``, means over imputations."""
        return self._parameters()

    def _parameters(self) -> ResultTable:
        model = self.design[0].model
        groups = layout_labels(model.layout)
        found = [variance_parameters(fit, model.layout.terms, groups) for fit in self.fits]
        labels = found[0][0]
        columns = {
            "vcov": np.mean([part[1] for part in found], axis=0),
            "sdcor": np.mean([part[2] for part in found], axis=0),
        }
        table = long_table(self.names, [group for group, _, _ in labels], columns, self.fits, by="group")
        at = np.tile(np.arange(len(labels)), len(self))
        for i, (name, part) in enumerate((("var1", 1), ("var2", 2)), start=2):
            table.insert(i, name, np.array([label[part] for label in labels], dtype=object)[at])
        return table

    def varcorr_shares(self) -> pd.DataFrame:
        """Shares of variance of every fixed term, every random term and the residual: rows add to 1.

        The variance of a fixed term is that of its part of the linear predictor over the rows; those of several terms
        are scaled to add to the variance of the whole fixed part. The variance of a random term is the mean of
        z'Sigma z over the rows: that of the intercept where it has nothing else.

        Returns
        -------
        pandas.DataFrame
            A row per response, a column per term and ``Residual``; means over imputations.

        References
        ----------
        Hoffman, G. E. and Schadt, E. E. (2016). BMC Bioinformatics 17, 483: variancePartition.
        Johnson, P. C. D. (2014). Methods Ecol. Evol. 5, 944-946.
        """
        parts = [variance_shares(design, fit) for design, fit in zip(self.design, self.fits, strict=True)]
        labels, shares = parts[0][0], np.mean([part[1] for part in parts], axis=0)
        shares[failed(self.fits)] = np.nan
        return pd.DataFrame(shares, index=self._index, columns=labels)

    def convergence(self) -> pd.DataFrame:
        """How every optimisation went; with imputed data a row per response and imputation."""
        tables = []
        for label, fit in zip(self.source.labels, self.fits, strict=True):
            table = pd.DataFrame(
                {
                    "converged": fit.converged,
                    "status": statuses([fit]).map(lambda name: name if name != "singular" else VERDICTS[0]),
                    "singular": fit.singular,
                    "criterion": fit.criterion,
                    "decrement": fit.decrement,
                    "gradient_norm": fit.gradient,
                    "evaluations": fit.evaluations,
                    "starts": fit.starts,
                },
                index=self._index,
            )
            if self.n_imputations > 1:
                table.insert(0, "imp", cast(Any, label))
            tables.append(table)
        return pd.concat(tables)

    def glance(self) -> pd.DataFrame:
        """One row of facts per response: ``nobs sigma loglik criterion aic bic status``; means over imputations."""
        lost, first = failed(self.fits), self.fits[0]
        rank = np.mean([fit.rank for fit in self.fits], axis=0)
        criterion = np.where(lost, np.nan, np.mean([fit.criterion for fit in self.fits], axis=0))
        n_parameters, nobs = rank + first.theta.shape[1] + 1, first.n_obs
        columns = {
            "nobs": nobs,
            "sigma": self.sigma.to_numpy(),
            "loglik": -criterion / 2,
            "criterion": criterion,
            "aic": criterion + 2 * n_parameters,
            "bic": criterion + np.log(np.maximum(nobs, 1)) * n_parameters,
            "status": statuses(self.fits),
        }
        return pd.DataFrame(columns, index=self._index)

    def to_parquet(self, path: str | os.PathLike[str], effects: ManyEffects = "fixed") -> None:
        """Write the table of `tidy` to a Parquet file.

        Parameters
        ----------
        path : path-like
            An existing file is replaced.
        effects : {"fixed", "ran_pars"}, default "fixed"

        Raises
        ------
        FileFormatError
            The file cannot be written.
        MissingExtraError
            pyarrow is not installed.
        """
        table = pd.DataFrame(self.tidy(effects))
        table.attrs = {}
        if pd.api.types.infer_dtype(self.names) not in ("string", "integer"):
            table["response"] = table["response"].astype(str)  # a column of a file has one type
        with replaced(path) as temporary:
            try:
                table.to_parquet(temporary, index=False)
            except ImportError as error:
                raise MissingExtraError("Parquet files are written by pyarrow: pip install remlax[io]") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fits, with design and responses, to a file, for `remlax.load`.

        Parameters
        ----------
        path : path-like
            An existing file is replaced, in one step.

        Raises
        ------
        FileFormatError
            The file cannot be written.
        DataError
            A column of the model, or a name, is of a type that a file cannot keep.

        Warns
        -----
        DataWarning
            A column that the model does not use is of such a type, and left out.

        Notes
        -----
        Responses that were read in blocks are not in the file.
        """
        write_archive(path, "LmerMany", many_content(self.design, self.names, self.fits, self.source))

    # -- print-outs --------------------------------------------------------------------------------------------------

    @cached_property
    def _notes(self) -> list[str]:
        return notes(self.fits)

    def summary(self) -> Summary:
        """Print formula, sizes, and how many fits are singular or failed."""
        return many_text(self)

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()
