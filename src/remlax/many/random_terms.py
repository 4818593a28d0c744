"""Likelihood-ratio tests of random terms, for many responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..design.build import ModelRows
from ..engine.fit import solve_batch
from ..fitting.assemble import Assembled
from ..fitting.layout import TermLayout
from ..pooling.boundary import chibar_p_value, mixture_words
from .estimates import ResponseFits
from .fit import SharedDesign
from .one_variance import OneVariance
from .symmetry.basis import Symmetry

# a statistic that rounding error may leave where the variance is estimated as zero
NOISE = 1e-8


class NoVariance(SharedDesign):
    """A design whose responses are not fitted: the criterion is that of no variance beside the residual's."""

    @cached_property
    def one_variance(self) -> OneVariance | None:
        """No short way is taken."""
        return None

    @cached_property
    def symmetry(self) -> Symmetry | None:
        """Nor this one."""
        return None

    def estimates(self, model: Assembled, keep: np.ndarray) -> ResponseFits:
        """Criterion at theta = 0, which is that of least squares."""
        n, d = model.batch.n_sets, model.layout.structure.theta_map.n_theta
        out = ResponseFits.none(n, len(keep), d)
        out.criterion[:] = np.asarray(solve_batch(model.batch, np.zeros((n, d))).value)
        out.status[:] = 0
        return out


def without_term(design: SharedDesign, term: TermLayout) -> SharedDesign:
    """Design of the model without one of its random terms."""
    rows = design.rows
    kept = [i for i in range(len(rows.terms)) if i != term.source]
    if not kept:
        return NoVariance(rows, design.model)
    factors = sorted({rows.terms[i].factor for i in kept})
    smaller: ModelRows = replace(
        rows,
        formula=replace(rows.formula, random=tuple(rows.formula.random[i] for i in kept)),
        terms=tuple(replace(rows.terms[i], factor=factors.index(rows.terms[i].factor)) for i in kept),
        term_specs=tuple(rows.term_specs[i] for i in kept),
        factors=tuple(rows.factors[f] for f in factors),
        factor_rows=tuple(rows.factor_rows[f] for f in factors),
    )
    return SharedDesign.of(smaller, reml=design.reml)


def ratio_columns(
    terms: Sequence[TermLayout], criterion: np.ndarray, smaller: np.ndarray, lost: np.ndarray
) -> dict[str, np.ndarray]:
    """Columns (G, t) of likelihood-ratio tests from the criteria with all terms (G,) and without each (G, t).

    Of a term with one column the 50:50 mixture of a point mass at zero and chi-square with one degree of freedom is the
    distribution under the null hypothesis (Self & Liang 1987); of a term with several columns chi-square with all of
    its parameters is taken, which is too large.
    """
    found = smaller - criterion[:, None]
    statistic = np.where(lost[:, None], np.nan, np.where(found > NOISE, found, 0.0))
    sizes = [term.q * (term.q + 1) // 2 for term in terms]
    parts = zip(statistic.T, sizes, strict=True)
    p_value = np.stack([chibar_p_value(one, k, int(k == 1)) for one, k in parts], axis=1)
    return {"statistic": statistic, "df": np.broadcast_to(sizes, statistic.shape), "p_value": p_value}


def laws(terms: Sequence[TermLayout]) -> list[str]:
    """Name the distributions of the tests."""
    half = mixture_words(np.array([0.5, 0.5]), 1, "chi2")
    return [half if term.q == 1 else f"chi2({term.q * (term.q + 1) // 2}), conservative" for term in terms]
