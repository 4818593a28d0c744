"""ManyTests: what is fitted to many responses, and tests of its coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..checks import Checks
from ..errors import DataError
from ..names import UnknownNames
from ..results.fit import LmerFit
from ..tables.constraints import Constraints, Linear, read_constraints
from ..tables.hypotheses import term_hypotheses
from ..tables.result_table import ResultTable
from .design import ManySource, without_stand_in
from .estimates import ResponseFits
from .fit import SharedDesign
from .kenward_roger import KenwardRogerFits, kenward_roger_fits
from .moderation.result import ModeratedMany, ResidualDf, moderated
from .permutation import Scheme, permutation_table, read_exchange, refits
from .random_terms import laws, ratio_columns, without_term
from .tables import adjusted, failed, joint_tests, long_table, statuses, t_tests, term_tests

ManyDdf = Literal["satterthwaite", "kenward-roger"]
checks = Checks()


@dataclass(frozen=True, eq=False, repr=False)
class ManyTests(UnknownNames):
    """Facts about many fits, and tests; see `LmerMany`."""

    design: tuple[SharedDesign, ...]
    names: pd.Index
    fits: tuple[ResponseFits, ...]
    source: ManySource
    _element: ClassVar[type] = LmerFit
    _called: ClassVar[str] = "many"
    _fitted_by: ClassVar[str] = "rx.lmer_many"
    _each: ClassVar[str] = "many[name].{0}, of the fit of one response"

    def __len__(self) -> int:
        return len(self.names)

    # -- facts -------------------------------------------------------------------------------------------------------

    @property
    def formula(self) -> str:
        """The model formula, without a response."""
        return self.source.text

    @property
    def reml(self) -> bool:
        """Whether REML was used."""
        return self.design[0].reml

    @property
    def n_imputations(self) -> int:
        """Number of imputations of the design; 1 for a single data frame."""
        return len(self.fits)

    @property
    def terms(self) -> list[str]:
        """Names of the coefficients."""
        return self.design[0].model.fixed_names

    @property
    def status(self) -> pd.Series:
        """What became of every response: "converged", "singular", or why it has no estimates."""
        return pd.Series(statuses(self.fits), index=self._index, name="status")

    @property
    def _index(self) -> pd.Index:
        return self.names.rename("response")

    # -- tests -------------------------------------------------------------------------------------------------------

    @cached_property
    def _kenward_roger(self) -> tuple[KenwardRogerFits, ...]:
        return tuple(
            kenward_roger_fits(design, fit, self.source) for design, fit in zip(self.design, self.fits, strict=True)
        )

    def _tested(self, ddf: ManyDdf) -> Sequence[ResponseFits]:
        """Fits with what the tests of coefficients need."""
        checks.choice(ddf, ManyDdf, "ddf=")
        return self.fits if ddf == "satterthwaite" else self._kenward_roger

    def _linear(self, given: Constraints, q0: npt.ArrayLike | None, names: Sequence[str] | None = None) -> Linear:
        model = self.design[0].model
        return read_constraints(
            given, model.fixed_names, q0, names, terms=model.term_names, dropped=model.dropped_names
        )

    def contrast(
        self,
        L: Constraints,
        names: Sequence[str] | None = None,
        *,
        q0: npt.ArrayLike | None = None,
        ddf: ManyDdf = "satterthwaite",
    ) -> ResultTable:
        """Linear combinations of the coefficients of every response, with t tests.

        Parameters
        ----------
        L : str, list of str, dict, DataFrame or array_like (r, p)
            As `LmerFit.contrast`: ``"a - b"``, or a matrix.
        names : list of str, optional
            Labels of the rows.
        q0 : float or array_like (r,), optional
            Values to test against; 0 by default.
        ddf : {"satterthwaite", "kenward-roger"}, default "satterthwaite"
            As in `tidy`.

        Returns
        -------
        ResultTable
            A row per response and combination, with the columns of `tidy`.

        Raises
        ------
        FormulaError
        """
        linear = self._linear(L, q0, names)
        return long_table(self.names, linear.labels, t_tests(self._tested(ddf), linear.matrix, linear.null), self.fits)

    def test(self, L: Constraints, q0: npt.ArrayLike | None = None, *, ddf: ManyDdf = "satterthwaite") -> ResultTable:
        """F test of a joint hypothesis about the coefficients of every response.

        Parameters
        ----------
        L : str, list of str, dict, DataFrame or array_like (r, p)
            As `LmerFit.test`: ``"f"`` for all coefficients of a factor, ``"a = b = 0"``, or a matrix.
        q0 : float or array_like (r,), optional
        ddf : {"satterthwaite", "kenward-roger"}, default "satterthwaite"
            Denominator degrees of freedom, as in `tidy`; with Kenward-Roger's the F statistic is scaled.

        Returns
        -------
        ResultTable
            ``response hypothesis statistic df1 df2 p_value p_adjusted status``, a row per response; with imputed data
            the test is D1 (Li, Raghunathan and Rubin 1991).

        Raises
        ------
        FormulaError, DataError
        """
        linear = self._linear(L, q0)
        written = "; ".join(f"{label} = {value:.6g}" for label, value in zip(linear.labels, linear.null, strict=True))
        return long_table(self.names, [written], joint_tests(self._tested(ddf), linear), self.fits, by="hypothesis")

    def anova(self, *, ddf: ManyDdf = "satterthwaite") -> ResultTable:
        """F test of every term of the fixed part, for every response: type III, as `remlax.anova` of one fit.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger"}, default "satterthwaite"
            As in `test`.

        Returns
        -------
        ResultTable
            ``response term statistic df1 df2 p_value p_adjusted status``, p-values adjusted over the responses within
            each term. With imputed data the tests are D1.

        Raises
        ------
        DataError
            The model has no term besides the intercept, or the data determine nothing of any.

        Warns
        -----
        RankDeficientWarning
            Terms that are not tested, or on fewer degrees of freedom than they have.
        """
        design = self.design[0]
        assert design.rows.data is not None
        with without_stand_in():
            terms, notes = term_hypotheses(design.model, design.rows, design.rows.data.frames[0])
        there = {term: linear for term, linear in terms.items() if linear is not None}
        table = long_table(self.names, list(there), term_tests(self._tested(ddf), list(there.values())), self.fits)
        table.attrs["notes"] += notes
        return table

    def random_tests(self) -> ResultTable:
        """Likelihood-ratio test of every random term, for every response: the model without it against this one.

        Both models have the same fixed part and are compared by the criterion of the fits, REML or ML, as lmerTest's
        ``ranova`` does.

        Returns
        -------
        ResultTable
            ``response term statistic df p_value p_adjusted status``, p-values adjusted over the responses within each
            term. Of a term with one column the p-value is from the 50:50 mixture of chi-square with 0 and 1 degrees of
            freedom, since a variance is zero under the null hypothesis; of a term with several from chi-square with as
            many as it has parameters, which is conservative. ``notes`` names them.

        Raises
        ------
        DataError
            The data are imputed, or the responses were read in blocks.

        References
        ----------
        Self, S. G. and Liang, K.-Y. (1987). JASA 82, 605-610.
        """
        if self.n_imputations > 1:
            raise DataError("random_tests() is for one data set, not for an imputed design")
        (design,), (fits,) = self.design, self.fits
        terms, lost = design.model.layout.terms, failed(self.fits)
        smaller = [refits(self)(without_term(design, term)) for term in terms]
        lost |= ~np.all([fit.converged for fit in smaller], axis=0)
        criteria = np.stack([fit.criterion for fit in smaller], axis=1)
        columns = ratio_columns(terms, fits.criterion, criteria, lost)
        columns["p_adjusted"] = adjusted(columns["p_value"])
        texts = [f"({design.rows.formula.random[term.source].lhs} | {term.group})" for term in terms]
        table = long_table(self.names, texts, columns, self.fits)
        said = [f"p-values of {text}: {law}" for text, law in zip(texts, laws(terms), strict=True)]
        table.attrs["notes"] = [*said, *table.attrs["notes"]]
        return table

    def moderate(self, df: ResidualDf = "satterthwaite", *, robust: bool = False) -> ModeratedMany:
        """Moderate the residual variances: shrink them towards a common one, as limma does.

        The prior is estimated from the residual variances of all responses with n - p degrees of freedom each
        (`limma::squeezeVar`). Standard errors change by the ratio of posterior to estimated residual SD. With an
        imputed design every imputation has its prior and its moderated variances, and Rubin's rules pool what follows.

        Parameters
        ----------
        df : {"satterthwaite", "residual"}, default "satterthwaite"
            Degrees of freedom of the t statistics before those of the prior are added: Satterthwaite's of each
            coefficient, or n - p, with limma's bound (`ModeratedMany.df_total`).
        robust : bool, default False
            Estimate the prior without regard to outliers, responses with very large variances, and shrink these less:
            their prior has fewer degrees of freedom (``limma::squeezeVar(robust = TRUE)``).

        Returns
        -------
        ModeratedMany

        Raises
        ------
        DataError
            No response has a fit.

        References
        ----------
        Phipson, B., Lee, S., Majewski, I. J., Alexander, W. S. and Smyth, G. K. (2016). Ann. Appl. Stat. 10, 946-963.
        Smyth, G. K. (2004). Stat. Appl. Genet. Mol. Biol. 3, 3.
        """
        checks.choice(df, ResidualDf, "df=")
        checks.flag(robust, "robust=")
        return moderated(self, df, robust=robust)

    def permutation_test(
        self,
        L: Constraints,
        column: str | None = None,
        *,
        scheme: Scheme = "labels",
        groups: str | None = None,
        n_permutations: int = 999,
        seed: int | None = None,
    ) -> ResultTable:
        """Permutation test of coefficients that controls the error over all responses: max-T.

        The data are permuted, all responses are refitted, and the largest absolute t statistic of all responses is
        kept. The correlation of the responses (sensors, times, voxels) stays as it is in every permutation.

        Parameters
        ----------
        L : str, list of str, dict, DataFrame or array_like (r, p)
            What is tested, as in `contrast`: the effect of the column. Each row has a maximum of its own.
        column : str, optional
            Column of the data that is permuted with ``scheme="labels"``: its values are exchanged between groups where
            they are the same in each (patients and controls), and within groups otherwise (conditions).
        scheme : {"labels", "signs"}, default "labels"
            Permute a column, or flip the signs of all responses of a group, which is for models without covariates, as
            ``~ 1 + (1 | subject)`` of differences: whether the mean is zero.
        groups : str, optional
            Grouping factor that is exchangeable; the only one of the model unless given.
        n_permutations : int, default 999
        seed : int, optional

        Returns
        -------
        ResultTable
            ``response term estimate std_error statistic p_value p_adjusted status``: ``p_value`` is the share of
            permutations, the data among them, with a statistic of the same response as large in size as the observed
            one, ``p_adjusted`` the share with one of any response (Westfall and Young 1993, single step). A response
            without a statistic has none. ``notes`` says where few permutations differ.

        Raises
        ------
        FormulaError
        DataError
            The column is not in the fixed part, or what is tested is not about it; there is nothing to exchange; the
            data are imputed, or the responses were read in blocks.

        Notes
        -----
        With other covariates in the model permuted values lose their correlation with these, and the test is
        approximate (Winkler et al. 2014).

        References
        ----------
        Westfall, P. H. and Young, S. S. (1993). Resampling-Based Multiple Testing. Wiley.
        Nichols, T. E. and Holmes, A. P. (2002). Hum. Brain Mapp. 15, 1-25.
        Phipson, B. and Smyth, G. K. (2010). Stat. Appl. Genet. Mol. Biol. 9, 39.
        Winkler, A. M., Ridgway, G. R., Webster, M. A., Smith, S. M. and Nichols, T. E. (2014). NeuroImage 92, 381-397.
        """
        checks.choice(scheme, Scheme, "scheme=")
        checks.whole(n_permutations, "n_permutations=")
        if seed is not None:
            checks.seed(seed)
        if self.n_imputations > 1:
            raise DataError("permutation_test() is for one data set, not for an imputed design")
        linear = self._linear(L, None)
        exchange = read_exchange(self.design[0].rows, scheme, column, groups)
        return permutation_table(self, linear, exchange, n_permutations, np.random.default_rng(seed))
