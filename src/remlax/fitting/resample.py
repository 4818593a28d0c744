"""The cluster bootstrap: whole clusters of a data set drawn with replacement, and the model fitted to all resamples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..data.imputed import ImputedData
from ..data.made_frames import MadeFrames
from ..design.build import ModelRows, RowInput, needed_columns
from ..design.groups import grouping_factor
from ..design.rows import RowArray, RowMatrix
from ..design.syntax import variables
from ..design.tokens import nearest
from ..engine.conditioning import aliased_columns
from ..errors import DataError, DesignError, shortened
from ..memory import check_room
from .assemble import assemble
from .fit import Fitted, fit_assembled
from .priors import with_priors
from .refit import of_set
from .selection import Selection

ROWS = "rows"
# below this eigenvalue of columns of unit length, the cross-products cannot tell whether they are independent
DOUBTFUL = 1e-8
EXACT = 1e-10


@dataclass(frozen=True)
class Level:
    """Which clusters (or rows) lie in each cluster one level up, and whether they are drawn.

    order: children, parent by parent; starts, counts: by parent.
    """

    taken: bool
    order: np.ndarray
    starts: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Clusters:
    """Nested clusters of one data set, coarsest first, with the rows as the last level.

    Parameters
    ----------
    levels : tuple of Level
    renamed : tuple of (int, str)
        Levels whose clusters get new names, for copies of a cluster are clusters of their own, and the column of the
        data that holds these names.
    """

    levels: tuple[Level, ...]
    renamed: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Draw:
    """One resample: rows (n,) of the data set, and the new names (n,) of their clusters by level."""

    rows: np.ndarray
    names: tuple[np.ndarray, ...]


def find_clusters(fit: Selection, resample: str | Sequence[str]) -> Clusters:
    """Find the clusters to draw.

    Parameters
    ----------
    fit : Selection
    resample : str or sequence of str
        Grouping factors whose levels are drawn, each within the level of the next coarser one that a row is in;
        ``"rows"`` draws rows within the finest clusters.

    Raises
    ------
    DataError
        A name is no grouping factor; grouping factors are crossed; new names have no column to stand in.
    """
    layout, rows = fit.model.layout, fit.rows
    if not isinstance(resample, Iterable):
        raise DataError(f"resample={resample!r} must be a grouping factor or a list of them")
    chosen = [resample] if isinstance(resample, str) else list(resample)
    labels = [f.label for f in reversed(layout.factors)]
    for name in chosen or [""]:
        if name not in (*labels, ROWS):
            hint = nearest(str(name), [*labels, ROWS]) or f"; use {shortened(map(repr, labels))} or {ROWS!r}"
            raise DataError(f"resample= must name grouping factors, not {name!r}{hint}")
    if layout.structure.n_dense:
        raise DataError(
            f"the grouping factors {shortened(map(repr, labels))} are not nested in one another: whole clusters of one "
            "cannot be drawn without cutting those of another; use the parametric bootstrap (resample=None)"
        )
    sources = layout.factor_source[::-1]
    codes = [rows.factor_rows[source].of(fit.k).astype(np.int64) for source in sources]
    taken = [label in chosen for label in labels]
    # a grouping factor that is called "rows" is what this name means
    levels = nested_levels(codes, [*taken, ROWS in chosen and ROWS not in labels])
    return Clusters(levels, _renamed(rows, sources, taken))


def nested_levels(codes: Sequence[np.ndarray], taken: Sequence[bool]) -> tuple[Level, ...]:
    """Levels of nested factors from their codes (n,), coarsest first, and of the rows; ``taken`` has one more."""
    n = len(codes[0])
    above, levels = np.zeros(n, np.int64), list[Level]()
    for draws, own in zip(taken, [*codes, np.arange(n)], strict=True):
        children, first = np.unique(own, return_index=True)
        parents = above[first]
        counts = np.bincount(parents)
        levels.append(Level(draws, children[np.argsort(parents, kind="stable")], np.cumsum(counts) - counts, counts))
        above = own
    return tuple(levels)


def _renamed(rows: ModelRows, sources: Sequence[int], taken: Sequence[bool]) -> tuple[tuple[int, str], ...]:
    """Levels that need new names, and a column for each: the last one that no coarser factor and no predictor uses."""
    groups = {term.group_label: term.group for term in rows.formula.random}
    used = set(rows.fixed.variables).union(*(spec.variables for spec in rows.term_specs))
    given = (text for text in (rows.given_weights, rows.given_offset) if isinstance(text, str))
    for part in (rows.formula.response_tree, *rows.formula.offset_trees, *given):
        used.update(variables(part))
    out, last = list[tuple[int, str]](), ""
    for i, source in enumerate(sources):
        if not any(taken[: i + 1]):
            continue
        label = rows.factors[source].label
        columns = groups[label]
        free = [name for name in columns if name not in used and name not in [column for _, column in out]]
        if free:
            last = free[-1]
            out.append((i, last))
        elif taken[i] or last not in columns:
            raise DataError(
                f"the grouping factor {label!r} has no column that the model does not use elsewhere, so that copies of "
                f"its levels cannot be told apart: give it one, as in data.assign(cluster=data[{columns[-1]!r}])"
            )
    return tuple(out)


def draw_clusters(clusters: Clusters, rng: np.random.Generator) -> Draw:
    """Draw one resample, level by level from above."""
    blocks, name = np.zeros(1, np.int64), np.zeros(1, np.int64)
    names = list[np.ndarray]()
    for level in clusters.levels:
        counts = level.counts[blocks]
        owner = np.repeat(np.arange(len(blocks)), counts)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        pick = rng.integers(0, counts[owner]) if level.taken else place
        blocks = level.order[level.starts[blocks][owner] + pick]
        # names say where in its cluster a copy stands, so that those of many resamples are few and nested
        name = name[owner] * level.counts.max() + place
        names = [*(one[owner] for one in names), name]
    return Draw(blocks, tuple(names[:-1]))


def draw_resamples(fit: Selection, clusters: Clusters, n: int, rng: np.random.Generator) -> list[Draw]:
    """Draw so many resamples; the first ones do not depend on the number.

    Raises
    ------
    ModelSizeError
        They cannot be held.
    """
    rows = fit.rows
    size = rows.n_rows(fit.k)
    columns = len(rows.formula.variables) + len(rows.fixed.names) + sum(len(term.names) for term in rows.terms)
    check_room(2 * n * size * (columns + len(clusters.levels)), f"{n} resamples of {size} rows", "draw fewer (n_sims)")
    return [draw_clusters(clusters, rng) for _ in range(n)]


def fit_resamples(fit: Selection, clusters: Clusters, draws: Sequence[Draw]) -> tuple[Fitted, np.ndarray]:
    """Fit the model to resamples, all in one batch.

    Returns
    -------
    Fitted
        One data set per resample that identifies the coefficients.
    identified : ndarray of bool (n_draws,)

    Raises
    ------
    DataError
        No resample identifies the coefficients, or one does not identify the variances.
    """
    model = fit.model
    kept, identified = identified_draws(fit, draws)
    rows = resampled_rows(model.rows, fit.k, clusters, kept)
    try:
        again = with_priors(assemble(rows, reml=fit.fitted.reml, keep=model.keep), model.prior, model.fixef_prior)
    except DesignError as error:
        why = str(error).replace("imputation", "resample")
        raise DataError(f"resamples of the clusters do not identify the model: {why}") from None
    return fit_assembled(again, fit.fitted.optimizer), identified


def identified_draws(fit: Selection, draws: Sequence[Draw]) -> tuple[list[Draw], np.ndarray]:
    """Resamples that determine all coefficients, and which they are, boolean (n_draws,).

    Raises
    ------
    DataError
        There are none.
    """
    rows = fit.rows
    offset = 0.0 if rows.offset is None else rows.offset.of(fit.k)
    columns = np.column_stack([rows.x.of(fit.k)[:, fit.model.keep], rows.y.of(fit.k) - offset])
    identified = _identified(columns, draws)
    kept = [draw for draw, good in zip(draws, identified, strict=True) if good]
    if not kept:
        raise DataError("no resample of the clusters identifies all coefficients: there are too few clusters")
    return kept, identified


def _identified(columns: np.ndarray, draws: Sequence[Draw]) -> np.ndarray:
    """Tell which resamples determine all coefficients, and leave a residual, boolean (n_draws,); columns [X y]."""
    times = np.stack([np.bincount(draw.rows, minlength=len(columns)) for draw in draws]).astype(float)
    gram = np.stack([times @ (columns * column[:, None]) for column in columns.T], axis=1)
    sizes = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    sizes = np.where(sizes > 0, sizes, 1.0)
    out = np.linalg.eigvalsh(gram / (sizes[:, :, None] * sizes[:, None]))[:, 0] > DOUBTFUL
    for i in np.flatnonzero(~out):
        out[i] = _rows_identify(columns[times[i] > 0])
    return np.asarray(out)


def _rows_identify(columns: np.ndarray) -> bool:
    """Whether rows determine all coefficients, and leave a residual; columns [X y]."""
    x, y = columns[:, :-1], columns[:, -1]
    if aliased_columns(x):
        return False
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0] if x.shape[1] else y
    return bool(np.linalg.norm(left) > EXACT * np.linalg.norm(y))


@dataclass(frozen=True, eq=False)
class ResampleFrames(MadeFrames):
    """Rows of resamples below each other, and where each begins (n_draws + 1,)."""

    stacked: pd.DataFrame
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def make(self, k: int) -> pd.DataFrame:
        """See `MadeFrames`."""
        return self.stacked.iloc[self.offsets[k] : self.offsets[k + 1]].reset_index(drop=True)


def resampled_rows(rows: ModelRows, k: int, clusters: Clusters, draws: Sequence[Draw]) -> ModelRows:
    """Rows of resamples of one data set, which keep what the formula made of them."""
    taken = np.concatenate([draw.rows for draw in draws])
    offsets = np.concatenate([[0], np.cumsum([len(draw.rows) for draw in draws])])
    assert rows.data is not None  # every fit keeps its data
    given = [one if isinstance(one, str) else None for one in (rows.given_weights, rows.given_offset)]
    frame = rows.data.frames[k]
    frame = frame[[name for name in needed_columns(rows.formula, *given) if name in frame]]

    def own(matrix: RowMatrix) -> RowMatrix:
        values = np.asfortranarray(matrix.of(k)[taken])
        place = tuple((True, j) for j in range(values.shape[1]))
        return RowMatrix(np.empty((0, 0)), tuple(values.T), place, offsets)

    def one(values: RowArray | None) -> RowArray | None:
        return None if values is None else RowArray(values.of(k)[taken], offsets)

    stacked = frame.take(taken)
    for i, column in clusters.renamed:
        stacked[column] = np.concatenate([draw.names[i] for draw in draws])
    groups = {term.group_label: term.group for term in rows.formula.random}
    factors = tuple(grouping_factor(stacked, groups[f.label], f.label) for f in rows.factors)
    labels = tuple(range(1, len(draws) + 1))
    return replace(
        rows,
        labels=labels,
        offsets=offsets,
        x=own(rows.x),
        y=RowArray(rows.y.of(k)[taken], offsets),
        terms=tuple(replace(term, rows=own(term.rows)) for term in rows.terms),
        factors=factors,
        factor_rows=tuple(RowArray(f.codes, offsets) for f in factors),
        weights=one(rows.weights),
        offset=one(rows.offset),
        index=tuple(pd.RangeIndex(len(draw.rows)) for draw in draws),
        data=ImputedData(ResampleFrames(stacked, offsets), labels),
        given_weights=_given(rows.given_weights, k, draws),
        given_offset=_given(rows.given_offset, k, draws),
    )


def _given(given: RowInput, k: int, draws: Sequence[Draw]) -> RowInput:
    """What was given as an array, by resample."""
    if given is None or isinstance(given, str):
        return given
    values = np.asarray(of_set(given, k), dtype=np.float64)
    return [values[draw.rows] for draw in draws]
