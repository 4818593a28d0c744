"""Fit many responses: those with the same rows together, from shared cross-products; the others from their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ..design.build import ModelRows
from ..engine.batch import Batch
from ..errors import DataError, DesignError, IdentifiabilityWarning, RankDeficientWarning, quiet, warn
from ..fitting.assemble import COEFFICIENT, Assembled, assemble
from ..fitting.checks import MAGNITUDE
from ..fitting.find_redundancy import find_redundancies
from ..fitting.fit import Fitted, fit_assembled
from ..fitting.refit import explained_exactly, products_of_responses, with_products
from ..fitting.selection import Selection
from ..kernels.newton import Newton
from ..memory import check_room
from ..tables.notes import redundancy_notes
from .design import rows_of_responses, stand_in
from .estimates import CONSTANT, EXPLAINED, INFINITE, NO_VALUES, NOT_ESTIMABLE, OUT_OF_RANGE, ResponseFits
from .one_variance import OneVariance, one_variance
from .symmetry.basis import Symmetry, symmetry

# responses with the same rows for which a design of their own is worth making
ALIKE = 16
# numbers of rows of responses that are worked on at once
ROW_NUMBERS = 2**21
# numbers of a block of responses and of what is made of them, and responses that it has at least
BLOCK_NUMBERS, LEAST_BLOCK = 2**22, 256


@dataclass(frozen=True, eq=False)
class SharedDesign:
    """A design of one data set, which fits any number of responses to all its rows.

    Parameters
    ----------
    rows : ModelRows
        With numbers in the place of the response.
    model : Assembled
        Of these rows.
    """

    rows: ModelRows
    model: Assembled

    @classmethod
    def of(cls, rows: ModelRows, *, reml: bool) -> SharedDesign:
        """Assemble a design.

        Raises
        ------
        DesignError, DataError, ModelSizeError
        """
        return cls(rows, assemble(rows, reml=reml))

    @property
    def reml(self) -> bool:
        """Whether the criterion is REML."""
        return self.model.layout.structure.reml

    @cached_property
    def one_variance(self) -> OneVariance | None:
        """The short way, for a model with one variance."""
        return one_variance(self.model)

    @cached_property
    def symmetry(self) -> Symmetry | None:
        """The short way, for a model whose covariance has small blocks that repeat."""
        return None if self.one_variance is not None else symmetry(self.model)

    @cached_property
    def small_batch(self) -> Batch:
        """The design, with its stand-in as the response, in as few numbers as there are."""
        if self.symmetry is None:
            return self.model.batch
        return self.symmetry.batch(products_of_responses(self.model, 0, self.rows.y.of(0)[None]))

    def block_size(self) -> int:
        """Responses that are worked on at once."""
        p, d = len(self.model.keep), self.model.layout.structure.theta_map.n_theta
        layout = self.model.layout
        levels = sum(f.n_levels * q for f, q in zip(layout.factors, layout.structure.q, strict=True))
        each = self.model.rows.n_rows(0) + (levels + p * (d + 3)) * (p + 1)
        return max(LEAST_BLOCK, BLOCK_NUMBERS // each)

    def check_memory(self, n: int, n_imputations: int = 1) -> None:
        """Refuse more fits than memory has room for.

        Raises
        ------
        ModelSizeError
        """
        p, d = len(self.model.keep), self.model.layout.structure.theta_map.n_theta
        each = p * (p * (d + 2) + 1) + (d + 1) * (d + 4) + 9
        check_room(n * n_imputations * each, f"the fits of {n} responses", "fit fewer at a time")

    def warn_redundant(self) -> None:
        """Warn of variances that no response can identify."""
        if find_redundancies(self.model).each[0] is not None:
            for text in redundancy_notes(Selection.all_of(_fitted(self.model))):
                warn(text, IdentifiabilityWarning)

    def none(self, n: int) -> ResponseFits:
        """Room for so many fits."""
        return ResponseFits.none(n, len(self.model.keep), self.model.layout.structure.theta_map.n_theta)

    def estimates(self, model: Assembled, keep: np.ndarray) -> ResponseFits:
        """Fit a batch; ``keep`` are the coefficients in the tables."""
        return ResponseFits.of(_fitted(model), keep)

    def fit(self, y: np.ndarray, weights: np.ndarray | None = None) -> ResponseFits:
        """Fit responses (m, n), NaN where a cell is missing, perhaps with weights (m, n) of their own.

        A response that cannot be fitted has a status and no estimates.
        """
        out, used = self.none(len(y)), ~np.isnan(y)
        if weights is not None:
            used &= ~np.isnan(weights)
        out.n_obs[:] = used.sum(axis=1)
        out.status[:] = _unusable(y, used)
        usable = out.status == 0
        whole = used.all(axis=1)
        if weights is None:
            for pattern, which in patterns(used, np.flatnonzero(usable), whole):
                out.put(which, self._fit_alike(pattern, y[which]))
            own = np.flatnonzero(usable & (out.status == 0) & np.isnan(out.sigma))
        else:
            own = np.flatnonzero(usable)
        for which in self.pieces(own):
            given = None if weights is None else weights[which]
            out.put(which, self._fit_own(y[which], None if whole[which].all() else used[which], given))
        out.average[usable] = y[usable].mean(axis=1, where=used[usable])
        return out

    def pieces(self, own: np.ndarray) -> Iterator[np.ndarray]:
        """Cut responses with rows of their own into as many as are worked on at once."""
        size = max(1, ROW_NUMBERS // (self.rows.n_rows(0) * (len(self.model.keep) + 2)))
        yield from (own[start : start + size] for start in range(0, len(own), size))

    def _fit_alike(self, pattern: np.ndarray, y: np.ndarray) -> ResponseFits:
        """Fit responses that have the same rows (n,)."""
        part = self.of_pattern(pattern)
        if part is None:
            return self._without(y, pattern)
        return part._fit_whole(np.ascontiguousarray(y[:, pattern]), self.model.keep)

    def of_pattern(self, pattern: np.ndarray) -> Self | None:
        """Design of some rows, boolean (n,); None where they do not identify the model."""
        if pattern.all():
            return self
        rows = rows_of_responses(self.rows, stand_in(len(pattern))[None], pattern[None])
        try:
            with quiet(RankDeficientWarning):
                return type(self)(rows, assemble(rows, reml=self.reml))
        except (DesignError, DataError):
            return None

    def _without(self, y: np.ndarray, used: np.ndarray) -> ResponseFits:
        out = self.none(len(y))
        out.status[:], out.n_obs[:] = NOT_ESTIMABLE, used.sum(axis=-1)
        return out

    def _fit_whole(self, y: np.ndarray, keep: np.ndarray) -> ResponseFits:
        """Fit responses (m, n) without missing cells; ``keep`` are the coefficients in the tables."""
        found = products_of_responses(self.model, 0, y)
        out = ResponseFits.none(len(y), len(keep), self.model.layout.structure.theta_map.n_theta)
        out.status[:], out.n_obs[:] = EXPLAINED, y.shape[1]
        size = np.abs(np.diagonal(self.model.inverse[0])) * found.scale[:, None]
        beyond = ((size > COEFFICIENT) | (size < 1 / COEFFICIENT)).any(axis=1)
        exact = explained_exactly(found, y)
        out.status[beyond & ~exact] = OUT_OF_RANGE
        which = np.flatnonzero(~exact & ~beyond)
        if len(which) < len(y):
            found = found.take(which)
        if len(which) and self.one_variance is not None and len(keep) == len(self.model.keep):
            out.put(which, self.one_variance.fit(found))
        elif len(which):
            model = with_products(self.model, 0, y[which], found)
            short = self.symmetry
            fits = self.estimates(model, keep) if short is None else ResponseFits.of(short.fitted(model, found), keep)
            out.put(which, fits)
        return out

    def _fit_own(self, y: np.ndarray, used: np.ndarray | None, weights: np.ndarray | None) -> ResponseFits:
        """Fit responses (m, n) each of which has rows or weights of its own."""
        parts = []
        for part, model in self.own_models(y, used, weights):
            if model is None:
                parts.append(self._without(y[part], np.ones_like(y[part], bool) if used is None else used[part]))
            else:
                parts.append(self.estimates(model, self.model.keep))
        return ResponseFits.joined(parts)

    def own_models(
        self, y: np.ndarray, used: np.ndarray | None, weights: np.ndarray | None, first: int = 0
    ) -> Iterator[tuple[slice, Assembled | None]]:
        """Assemble responses (m, n) with rows or weights of their own: halves where one cannot be, None for this."""
        try:
            with quiet(RankDeficientWarning):
                model = assemble(rows_of_responses(self.rows, y, used, weights), reml=self.reml)
        except (DesignError, DataError):
            if len(y) == 1:
                yield slice(first, first + 1), None
                return
            half = len(y) // 2
            for part in (slice(half), slice(half, None)):
                own, given = (None if array is None else array[part] for array in (used, weights))
                yield from self.own_models(y[part], own, given, first + (part.start or 0))
            return
        yield slice(first, first + len(y)), model


def assembled(rows: Sequence[ModelRows], *, reml: bool) -> tuple[SharedDesign, ...]:
    """Assemble the design of every imputation, which must have the same coefficients.

    Raises
    ------
    DesignError, DataError, ModelSizeError
    """
    designs = [SharedDesign.of(rows[0], reml=reml)]
    designs[0].warn_redundant()
    for one in rows[1:]:
        with quiet(RankDeficientWarning):
            designs.append(SharedDesign.of(one, reml=reml))
        here, first = (set(design.model.fixed_names) for design in (designs[-1], designs[0]))
        if here != first:
            raise DesignError(
                f"the fixed-effect column {min(here ^ first)!r} is determined by the others in some imputations "
                f"({rows[0].labels[0]} or {one.labels[0]}) but not in all: leave the term out or merge its categories"
            )
    return tuple(designs)


def _fitted(model: Assembled) -> Fitted:
    return fit_assembled(model, Newton())


def _unusable(y: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Why a response (m, n) cannot be fitted, 0 where it can."""
    low, high = (edge(axis=1, where=used, initial=start) for edge, start in ((y.min, np.inf), (y.max, -np.inf)))
    status = np.where(low == high, CONSTANT, 0)
    largest = np.maximum(-low, high)
    status = np.where((largest > MAGNITUDE) | ((largest < 1 / MAGNITUDE) & (status == 0)), OUT_OF_RANGE, status)
    status = np.where(np.isinf(low) | np.isinf(high), INFINITE, status)
    return np.where(used.any(axis=1), status, NO_VALUES)


def patterns(used: np.ndarray, which: np.ndarray, whole: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that many responses have, and which these are; responses with all rows come first, however few they are."""
    all_rows = which[whole[which]]
    if len(all_rows):
        yield np.ones(used.shape[1], bool), all_rows
    which = which[~whole[which]]
    if not len(which):
        return
    packed = np.packbits(used[which], axis=1)
    _, first, code, counts = np.unique(packed, axis=0, return_index=True, return_inverse=True, return_counts=True)
    code = code.reshape(-1)
    for group in np.flatnonzero(counts >= ALIKE):
        yield used[which[first[group]]], which[code == group]
