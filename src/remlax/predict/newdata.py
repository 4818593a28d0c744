"""The rows to predict: model-matrix values, levels and offsets of new data, or of the data of the fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ..data.checks import other_order
from ..data.imputed import ImputedData
from ..design.evaluate import evaluate
from ..design.formula import parse_formula
from ..design.groups import level_name
from ..design.model_matrix import MatrixSpec, model_matrix
from ..design.syntax import variables
from ..design.tokens import nearest
from ..design.tree import Expression
from ..errors import DataError, FormulaError, shortened
from ..fitting.assemble import Assembled, z_columns
from ..fitting.fit import Fitted
from ..fitting.layout import Layout
from ..fitting.selection import Selection
from ..tables.checks import checks
from .same_rows import require_same_new, require_same_rows
from .undetermined import Undetermined, undetermined_rows

NewData = pd.DataFrame | ImputedData | Sequence[pd.DataFrame] | Mapping[object, pd.DataFrame] | None
NewLevels = Literal["error", "mean", "draw"]
Level = Literal["population", "group"] | Sequence[str]

# a level that no data have
NEW_GROUP = "\0new"
ANY_GROUP = "; it needs none with new_levels='draw' (a new group) or level='population'"


@dataclass(frozen=True)
class FrameRows:
    """Rows of one frame in the user's units.

    x (R, p); per factor in elimination order: z (R, q), zero in what is left out, and codes (R,): -1 for no level,
    from ``n_levels`` upwards for new ones; offset (R,); weights (R,).
    """

    x: np.ndarray
    z: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]
    offset: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class PredictionRows:
    """Rows to predict for each data set: ``frames`` holds one for all of them, or one each; ``index`` their labels.

    new: per factor, the levels that the fit has not seen and that are drawn; undetermined: rows whose fixed part the
    data of the fit do not determine.
    """

    frames: tuple[FrameRows, ...]
    index: pd.Index
    new: tuple[tuple[str, ...], ...]
    undetermined: Undetermined | None = None

    @property
    def n_rows(self) -> int:
        """Number R of rows."""
        return len(self.index)

    def frame(self, position: int) -> FrameRows:
        """Rows for the data set at a position in the selection."""
        return self.frames[position if len(self.frames) > 1 else 0]


def include_level(fitted: Fitted, level: Level, re_formula: str | None = None) -> list[np.ndarray]:
    """Which columns of each term take part, as masks (q,) per term; ``re_formula`` is the formula by lme4's name."""
    if re_formula is not None:
        if level != "group":
            raise DataError(
                f"level={level!r} and re_formula={re_formula!r} say which random effects take part: give one"
            )
        level = "population" if re_formula == "NA" else re_formula
    terms = fitted.model.layout.terms
    if isinstance(level, str) and level.strip().startswith("~"):
        return _include_formula(fitted, level)
    if isinstance(level, str) or not isinstance(level, Sequence):
        if isinstance(level, float):
            raise DataError(f"level={level} would name random effects: a confidence level is conf_level={level}")
        if level not in ("population", "group"):
            known = "'population', 'group'" + ("" if fitted.has_sigma else ", 'average'")
            raise DataError(
                f"level={level!r} is not known: use {known}, a list of grouping factors or a formula of random terms, "
                "such as '~(1 | g)'"
            )
        return [np.full(t.q, level == "group") for t in terms]
    groups = {t.group for t in terms}
    for name in level:
        if name not in groups:
            raise DataError(f"level names {name!r}, which is no grouping factor; they are {_listed(sorted(groups))}")
    return [np.full(t.q, t.group in level) for t in terms]


def _include_formula(fitted: Fitted, text: str) -> list[np.ndarray]:
    """The same from lme4's re.form: ``"~0"`` takes no term, ``"~(1 | g)"`` those written."""
    terms = fitted.model.layout.terms
    right = text.strip().removeprefix("~").strip()
    if right == "0":
        return [np.full(t.q, False) for t in terms]
    mask = [np.full(t.q, False) for t in terms]
    try:
        wanted = parse_formula(f"y ~ {right}", structures=True).random
    except FormulaError as error:
        raise FormulaError(f"level={text!r}: {error}") from None
    for asked in wanted:
        names = _lhs_names(fitted, asked.lhs_tree)
        found = [(i, t) for i, t in enumerate(terms) if t.group == asked.group_label]
        for name in names:
            at = [(i, t.names.index(name)) for i, t in found if name in t.names]
            if not at:
                has = ", ".join(f"({' + '.join(t.names)} | {t.group})" for t in terms)
                raise FormulaError(
                    f"level={text!r} asks for {name!r} by {asked.group_label!r}, which the model does not "
                    f"have; it has {has}"
                )
            for i, j in at:
                mask[i][j] = True
    return mask


def _lhs_names(fitted: Fitted, lhs: Expression) -> tuple[str, ...]:
    data = fitted.model.rows.data
    assert data is not None  # every fit keeps its data
    return model_matrix(lhs, data.frames[0], what="level").names


def rows_of_fit(fits: Selection, include: list[np.ndarray]) -> PredictionRows:
    """Take the rows that the model was fitted to; all data sets must have the same ones."""
    require_same_rows(fits)
    rows, layout = fits.rows, fits.model.layout
    first = rows.index[fits.which[0]]
    masks = _factor_masks(fits.model.layout, include)
    frames = []
    for k in fits.which:
        z = tuple(part * mask for part, mask in zip(z_columns(rows, layout, k), masks, strict=True))
        codes = tuple(
            np.where(mask.any(), rows.factor_rows[source].of(k), -1)
            for mask, source in zip(masks, layout.factor_source, strict=True)
        )
        n = rows.n_rows(k)
        offset = np.zeros(n) if rows.offset is None else rows.offset.of(k)
        weights = np.ones(n) if rows.weights is None else rows.weights.of(k)
        frames.append(FrameRows(rows.x.of(k)[:, fits.model.keep], z, codes, offset, weights))
    return PredictionRows(tuple(frames), first, ((),) * len(layout.factors))


def array_offset(fit: Selection) -> np.ndarray | None:
    """Offset (n,) of the rows of one fit that was given as an array; None where there is none."""
    rows, given = fit.rows, fit.rows.given_offset
    if given is None or isinstance(given, str):
        return None
    assert rows.data is not None  # every fit keeps its data
    assert rows.offset is not None
    frame = rows.data.frames[fit.k]
    return np.asarray(rows.offset.of(fit.k) - sum(evaluate(e, frame, what="offset") for e in rows.formula.offset_trees))


def read_newdata(
    fits: Selection,
    newdata: NewData,
    include: list[np.ndarray],
    new_levels: NewLevels,
    given_offset: np.ndarray | None = None,
) -> PredictionRows:
    """Evaluate the model's formula on new data, or take the rows of the fit.

    ``include`` is that of `include_level`; ``given_offset`` (n,) takes the place of an offset that was an array.
    """
    checks.choice(new_levels, NewLevels, "new_levels=")
    if newdata is None:
        return rows_of_fit(fits, include)
    return read_frames(fits.model, *new_frames(fits, newdata), include, new_levels, given_offset)


def read_frames(
    model: Assembled,
    frames: Sequence[pd.DataFrame],
    labels: Sequence[str],
    include: list[np.ndarray],
    new_levels: NewLevels,
    given_offset: np.ndarray | None = None,
) -> PredictionRows:
    """Evaluate a model's formula on frames of the same rows; ``labels`` say which is which in messages."""
    reader = _Reader(model, include, new_levels, given_offset)
    read = tuple(reader.read(frame, where) for frame, where in zip(frames, labels, strict=True))
    new = tuple(tuple(names) for names in reader.new)
    return PredictionRows(read, frames[0].index, new, undetermined_rows(model.ties, reader.broken, labels))


def new_frames(fits: Selection, newdata: NewData) -> tuple[list[pd.DataFrame], list[str]]:
    """The frames of newdata, one or one per data set, and what to call each in messages."""
    names, keys = fits.rows.labels, None
    if isinstance(newdata, pd.DataFrame):
        frames = [newdata]
    elif isinstance(newdata, ImputedData):
        frames, keys = list(newdata.frames), newdata.labels
    elif isinstance(newdata, Mapping):
        if newdata and not any(isinstance(frame, pd.DataFrame) for frame in newdata.values()):
            raise DataError("newdata is a dict of columns: give pandas.DataFrame(newdata)")
        frames, keys = list(newdata.values()), tuple(newdata)
    elif isinstance(newdata, Iterable) and not isinstance(newdata, str):
        frames = list(newdata)
    else:
        raise DataError(f"newdata must be a DataFrame, or one per data set, not a {type(newdata).__name__}")
    for frame in frames:
        if not isinstance(frame, pd.DataFrame):
            raise DataError(
                f"newdata holds a {type(frame).__name__}, not a DataFrame: convert it first (pandas.DataFrame(...), or "
                ".to_pandas())"
            )
    frames = _by_label(fits, frames, keys, strict=isinstance(newdata, Mapping))
    if len(frames) == fits.fitted.n_sets and len(frames) != fits.n_sets:
        frames = [frames[k] for k in fits.which]
    if len(frames) not in (1, fits.n_sets):
        raise DataError(f"newdata holds {len(frames)} frames for {fits.n_sets} fits: give one, or one for each fit")
    if len({len(frame) for frame in frames}) > 1:
        raise DataError("the frames of newdata have different numbers of rows: predictions are pooled row by row")
    first = frames[0].index
    if any(other_order(frame.index, first) for frame in frames[1:]):
        raise DataError(
            "the rows of newdata stand in another order in some frames than in the first, and predictions are pooled "
            "row by row: sort all by their index"
        )
    if not len(first):
        raise DataError("newdata has no rows")
    if len(frames) > 1:
        require_same_new(fits, frames)
    several = len(frames) > 1
    return frames, [f" for imputation {names[k]}" if several else "" for k in fits.index[: len(frames)]]


def _by_label(
    fits: Selection, frames: list[pd.DataFrame], keys: tuple[object, ...] | None, *, strict: bool
) -> list[pd.DataFrame]:
    """Give each fit the frame of its own label, in whatever order they stand; ``strict`` refuses other labels."""
    names = fits.labels
    if keys is None or len(frames) not in (fits.fitted.n_sets, fits.n_sets):
        return frames
    if set(names) <= set(keys):
        return [frames[keys.index(name)] for name in names]
    if strict and len(frames) > 1:
        raise DataError(
            f"newdata has frames for {_listed(keys)}, and the fits are those of {_listed(names)}: use the same labels, "
            "or a list in the order of the fits"
        )
    return frames


class _Reader:
    """Reads frames one after the other and numbers the new levels that they bring."""

    def __init__(
        self, model: Assembled, include: list[np.ndarray], new_levels: NewLevels, given_offset: np.ndarray | None
    ) -> None:
        self.model, self.include, self.new_levels, self.given_offset = model, include, new_levels, given_offset
        self.masks = _factor_masks(model.layout, include)
        self.variables = model.rows.formula.variables
        self.known = [{name: i for i, name in enumerate(f.levels)} for f in model.layout.factors]
        self.new: list[dict[str, int]] = [{} for _ in self.known]
        self.broken: list[np.ndarray] = []  # of each frame, `Ties.broken`

    def read(self, frame: pd.DataFrame, where: str) -> FrameRows:
        model, rows = self.model, self.model.rows
        self.require(frame, rows.fixed.variables, "the fixed part", where)
        whole = _rebuild(rows.fixed, frame, where)
        if len(model.ties.dropped):
            self.broken.append(model.ties.broken(whole))
        x = whole[:, model.keep]
        columns: list[list[np.ndarray]] = [[] for _ in model.layout.factors]
        for term, mask in zip(model.layout.terms, self.include, strict=True):
            if mask.any():
                spec = rows.term_specs[term.source]
                self.require(frame, spec.variables, f"the random term ({spec.tree.text} | {term.group})", where)
                columns[term.factor].append(_rebuild(spec, frame, where) * mask)
            else:
                columns[term.factor].append(np.zeros((len(frame), term.q)))
        pairs = [
            self.levels(f, frame, where, np.concatenate(parts, axis=1)) if self.masks[f].any() else None
            for f, parts in enumerate(columns)
        ]
        none = np.full(len(frame), -1)
        z = tuple(
            np.concatenate(parts, axis=1) if pair is None else pair[0]
            for parts, pair in zip(columns, pairs, strict=True)
        )
        codes = tuple(none if pair is None else pair[1] for pair in pairs)
        return FrameRows(x, z, codes, self.offset(frame, where), np.ones(len(frame)))

    def require(self, frame: pd.DataFrame, names: Iterable[str], what: str, where: str, without: str = "") -> None:
        for name in names:
            if name not in frame.columns:
                known = [c for c in frame.columns if isinstance(c, str)]
                hint = (nearest(name, known) or f"; its columns are {_listed(known)}") + without
                raise DataError(f"newdata{where} has no column {name!r}, which {what} needs{hint}")
            if not isinstance(frame[name], pd.Series):
                raise DataError(f"newdata{where} has several columns called {name!r}; rename or drop all but one")

    def levels(self, f: int, frame: pd.DataFrame, where: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of the rows' levels, with z set to zero where a new level counts as the population mean."""
        factor = self.model.layout.factors[f]
        names = self.group_names(factor.label, frame, where)
        uniques, inverse = np.unique(names, return_inverse=True)
        unseen = [name for name in uniques if name not in self.known[f]]
        if unseen and self.new_levels == "error":
            raise DataError(
                f"newdata{where} has the level {unseen[0]!r} of {factor.label!r}"
                f"{f' and {len(unseen) - 1} more' if unseen[1:] else ''}, which the fit has not seen: use "
                "new_levels='mean' for the population mean, or new_levels='draw' to count their variance as well"
            )
        if self.new_levels == "draw":
            for name in unseen:
                self.new[f].setdefault(name, factor.n_levels + len(self.new[f]))
        table = np.array([self.known[f].get(name, self.new[f].get(name, -1)) for name in uniques])
        codes = table[inverse.reshape(-1)]
        return np.where((codes >= 0)[:, None], z, 0.0), codes

    def group_names(self, label: str, frame: pd.DataFrame, where: str) -> np.ndarray:
        """Names of the rows' levels, as the fit writes them."""
        columns = next(t.group for t in self.model.rows.formula.random if t.group_label == label)
        # without the column all rows are of one new group, unless another column looks like a misspelt one
        spare = [c for c in frame.columns if isinstance(c, str) and c not in self.variables]
        given = [c for c in columns if self.new_levels == "error" or c in frame.columns or nearest(c, spare)]
        self.require(frame, given, f"the grouping factor {label!r}", where, ANY_GROUP)
        parts = []
        for column in columns:
            if column not in frame.columns:
                parts.append(np.full(len(frame), NEW_GROUP, dtype=object))
                continue
            codes, uniques = pd.factorize(frame[column])
            if (codes < 0).any():
                row = frame.index[int(np.argmax(codes < 0))]
                raise DataError(f"newdata{where} has missing cells in the grouping column {column!r} (row {row!r})")
            parts.append(np.array([level_name(v) for v in np.asarray(uniques, dtype=object)], dtype=object)[codes])
        out = parts[0]
        for part in parts[1:]:
            out = out + ":" + part
        return np.asarray(out)

    def offset(self, frame: pd.DataFrame, where: str) -> np.ndarray:
        rows = self.model.rows
        expressions: list[Expression] = list(rows.formula.offset_trees)
        if isinstance(rows.given_offset, str):
            expressions.append(rows.given_offset)
        elif rows.given_offset is not None and self.given_offset is None:
            raise DataError(
                "the fit has an offset that was given as an array, which new rows do not have: fit again with "
                "offset= naming a column"
            )
        total = np.zeros(len(frame)) if self.given_offset is None else self.given_offset
        for expr in expressions:
            shown = expr if isinstance(expr, str) else expr.text
            self.require(frame, variables(expr), f"the offset {shown!r}", where)
            try:
                total = total + evaluate(expr, frame, what="offset")
            except (DataError, FormulaError) as error:
                raise type(error)(f"newdata{where}: {error}") from None
        return total


def _rebuild(matrix: MatrixSpec, frame: pd.DataFrame, where: str) -> np.ndarray:
    try:
        return matrix.build(frame)
    except (DataError, FormulaError) as error:
        raise type(error)(f"newdata{where}: {error}") from None


def _factor_masks(layout: Layout, include: list[np.ndarray]) -> list[np.ndarray]:
    return [
        np.concatenate([m for t, m in zip(layout.terms, include, strict=True) if t.factor == f])
        for f in range(len(layout.factors))
    ]


def _listed(names: Sequence[object]) -> str:
    return shortened(map(repr, names)) or "none"
