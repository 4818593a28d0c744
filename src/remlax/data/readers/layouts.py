"""Layouts of one data frame that holds all imputations, by program, and the data sets in it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pandas as pd

from ...errors import DataError, DataWarning, FileFormatError, shortened, warn
from ..checks import Label
from ..long import split_long

WIDE = re.compile(r"_(\d+)_(.+)")


class Sets(NamedTuple):
    """Imputations by label, the incomplete original where there is one, and the column that has named the rows."""

    imputed: dict[Label, pd.DataFrame]
    original: pd.DataFrame | None
    id: str | None = None


class LongLayout(NamedTuple):
    """How a numbered layout calls the number of the imputation and the row, and what else it adds."""

    imp: str
    id: str | None = None
    also: tuple[str, ...] = ()


LAYOUTS = {
    "mice": LongLayout(".imp", ".id"),
    "sas": LongLayout("_Imputation_"),
    "spss": LongLayout("Imputation_"),
    "jomo": LongLayout("Imputation", "id", ("clus",)),
    "amelia": LongLayout("imp"),
}


def detect_layout(frame: pd.DataFrame) -> str | None:
    """Name the layout of a frame from its column names; None if it is no known one."""
    names = set(map(str, frame.columns))
    if "_mi_m" in names or _wide_columns(frame):
        return "stata"
    return next((name for name, layout in LAYOUTS.items() if {layout.imp, *layout.also} <= names), None)


def split_frame(frame: pd.DataFrame, layout: str, where: str, given: pd.DataFrame | None = None) -> Sets:
    """Split a frame of a known layout; `given` is the original of Stata's data that lack it.

    Raises FileFormatError: it lacks the columns of that layout. Raises DataError: the numbers of the imputations
    cannot be used.
    """
    if layout == "stata":
        return _split_stata(frame, where, given)
    names = LAYOUTS[layout]
    if layout == "jomo":
        frame = _without_intercepts(frame)
    return split_numbered(frame, names.imp, names.id, where)


def split_numbered(frame: pd.DataFrame, imp: str, row: str | None, where: str) -> Sets:
    """Split stacked imputations by the column `imp`; 0 is the original if it has missing cells."""
    _require(frame, [imp], where)
    sets, original = split_long(frame, imp, row, f"column {imp!r} of {where}")
    row = row if row in frame.columns else None
    if original is None or original.isna().to_numpy().any():
        return Sets(sets, original, row)
    second = next(iter(sets.values()))
    if len(original) != len(second) or original.equals(second):
        return Sets(sets, original, row)
    # mitml::write.mitmlSAV counts imputations from 0 and writes no original
    counted: dict[Label, pd.DataFrame] = {0: original, **sets}
    return Sets({label + 1 if isinstance(label, int) else label: part for label, part in counted.items()}, None, row)


def _require(frame: pd.DataFrame, names: list[str], where: str) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise FileFormatError(
            f"{where} has no column {shortened([repr(n) for n in absent])}; its columns are "
            f"{shortened([repr(n) for n in frame.columns])}: name the layout using layout=, or the column that numbers "
            "the imputations using imp="
        )


def _without_intercepts(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop the columns of ones that jomo adds to its design matrices."""
    added = [n for n in frame.columns if re.fullmatch(r"[XZ]\d+", str(n)) and bool((frame[n] == 1).all())]
    return frame.drop(columns=added)


def _split_stata(frame: pd.DataFrame, where: str, given: pd.DataFrame | None) -> Sets:
    """flong, mlong or wide, from the _mi_ columns."""
    if "_mi_m" not in frame.columns:
        return _split_wide(frame, where)
    _require(frame, ["_mi_m", "_mi_id"], where)
    numbers = pd.to_numeric(frame["_mi_m"].astype(object), errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        raise DataError(
            f"column '_mi_m' of {where} has cells that are no whole number: say which imputation each is of"
        )
    sets = {int(number): _by_mi_id(part) for number, part in frame.groupby(numbers.astype(int))}
    original = sets.pop(0, None)
    if not sets:
        raise DataError(f"{where} has no imputation (_mi_m = 1, 2, ...)")
    before = _by_mi_id(given) if original is None and given is not None and "_mi_id" in given else original
    if before is None and given is None:
        _warn_of_gaps(sets[min(sets)].index, where)
    imputed: dict[Label, pd.DataFrame] = {
        number: _whole(part, before, sets[min(sets)], f"imputation {number} in {where}")
        for number, part in sets.items()
    }
    return Sets(imputed, None if original is None else original.reset_index(drop=True), "_mi_id")


def _by_mi_id(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["_mi_m", "_mi_miss"], errors="ignore").set_index("_mi_id")


def _whole(part: pd.DataFrame, before: pd.DataFrame | None, first: pd.DataFrame, where: str) -> pd.DataFrame:
    """Rows in the order of the original; those without gaps, which mlong leaves out of the imputations, are its."""
    model = first if before is None else before
    if not (model.index.is_unique and part.index.is_unique and part.index.isin(model.index).all()):
        lacking = "that the first imputation lacks" if before is None else "that _mi_m = 0 lacks"
        raise DataError(f"_mi_id of {where} names rows twice, or rows {lacking}")
    complete = model.loc[~model.index.isin(part.index)]
    if len(complete):
        absent = [name for name in part.columns if name not in complete.columns]
        if before is None or absent:
            wanted = f"the column {absent[0]!r}" if absent else "all rows"
            raise DataError(
                f"{where} lacks the row with _mi_id {complete.index.tolist()[0]!r}: give the original, as _mi_m = 0 or "
                f"as original= with _mi_id, with {wanted}"
            )
        part = pd.concat([part, complete[part.columns]])
    return part.loc[model.index].reset_index(drop=True)


def _warn_of_gaps(ids: pd.Index[Any], where: str) -> None:
    numbers = pd.to_numeric(pd.Series(ids), errors="coerce")
    if numbers.max() - numbers.min() + 1 > len(ids):
        warn(
            f"{where} has no original (_mi_m = 0), and its _mi_id has gaps: if Stata saved it in style mlong, the rows "
            "without missing cells are not in it; save m = 0 too, or give original= with its _mi_id",
            DataWarning,
        )


def _wide_columns(frame: pd.DataFrame) -> dict[int, dict[str, str]]:
    """Columns _1_x, _2_x, ... of variables x, by number."""
    found: dict[int, dict[str, str]] = {}
    for name in frame.columns:
        match = WIDE.fullmatch(str(name))
        if match and match[2] in frame.columns:
            found.setdefault(int(match[1]), {})[match[2]] = str(name)
    return found


def _split_wide(frame: pd.DataFrame, where: str) -> Sets:
    columns = _wide_columns(frame)
    if not columns:
        raise FileFormatError(
            f"{where} has neither _mi_m nor columns such as _1_x for a variable x: it is no Stata mi data"
        )
    variables = set().union(*columns.values())
    for number, names in columns.items():
        lacking = variables - names.keys()
        if lacking:
            raise DataError(f"{where} has no column _{number}_{min(lacking)}, but other imputations have that variable")
    own = {name for names in columns.values() for name in names.values()}
    original = frame[[n for n in frame.columns if n not in own and not str(n).startswith("_mi_")]]
    imputed: dict[Label, pd.DataFrame] = {
        number: original.assign(**{name: frame[wide] for name, wide in columns[number].items()})
        for number in sorted(columns)
    }
    return Sets(imputed, original)
