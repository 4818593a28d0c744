"""read_imputations: whatever holds imputations, as ImputedData."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ...checks import Checks
from ...errors import DataError, FileFormatError, shortened
from ..checks import Label, check_frame, column_kind
from ..imputed import ImputedData
from .agreement import check_agreement
from .files import data_frame, natural, plain_types, read_file, truth_as_numbers
from .layouts import Sets, detect_layout, split_frame, split_numbered
from .robjects import split_object
from .sources import from_items, from_object

Layout = Literal["mice", "amelia", "stata", "sas", "spss", "jomo", "mitml", "long", "list"]


def read_imputations(
    source: Any,
    layout: Layout | None = None,
    *,
    imp: str | None = None,
    id: str | None = None,
    original: pd.DataFrame | str | Path | None = None,
    m: int | None = None,
    check: bool = True,
) -> ImputedData:
    """Read imputations that another program made.

    Parameters
    ----------
    source : path, DataFrame, list, dict, array or object
        - A file: csv (comma, semicolon with decimal comma, or tab), rds or RData, Stata dta, SPSS sav, SAS sas7bdat or
          xpt, parquet. A pattern such as ``"out*.csv"``, or a list of paths, is one set for each file, 9 before 10.
          For Stata's flongsep the file of the original, beside ``_1_name.dta``, ``_2_name.dta``, ...
        - A data frame with all imputations, stacked or side by side.
        - A list or dict of data frames, or of arrays (rows, columns) or fitted scikit-learn imputers, which need
          `original`; an array (imputations, rows, columns) with `original`.
        - A miceforest kernel; a statsmodels MICEData with `m`; an ImputedData or the result of `remlax.impute`.
    layout : str or None, default None
        The layout, where it should not be recognised by its column names: "mice" (.imp, .id), "amelia" (imp),
        "stata" (_mi_m, _mi_id: flong, mlong; _1_x: wide), "sas" (_Imputation_), "spss" (Imputation_), "jomo"
        (Imputation, id, clus), "mitml" (an R object), "long" (`imp` names the column), "list" (one set for each item).
    imp, id : str or None
        Columns of a stacked frame that number the imputations and name the rows; default those of the layout. `id` may
        be a column of each set of a list, too.
    original : DataFrame, path or None
        The incomplete data, where `source` does not hold them; for Stata's mlong without m = 0, with ``_mi_id``.
    m : int or None
        How many imputations to draw from a MICEData.
    check : bool, default True
        Compare row ids and observed cells of all imputations, and of the original where known.

    Returns
    -------
    ImputedData
        Labels 1..m (those of the source where it has its own); the original aside, as ``.original``.

    Raises
    ------
    FileFormatError
        No such file, a damaged one, a type or layout that is not known.
    MissingExtraError
        The library for the file's type is not installed.
    DataError
        The sets do not fit each other: rows, columns, types, levels, or observed cells; the message says which.

    Warns
    -----
    ImputationWarning
        The library that made the imputations is known for too small standard errors.
    DataWarning
        One imputation only; Stata's data without m = 0 that may lack the complete rows.

    Notes
    -----
    A set numbered 0 is the original, unless it has no missing cell (mitml's SPSS writer numbers imputations from 0).

    Examples
    --------
    >>> import pandas as pd
    >>> import remlax as rx
    >>> stacked = pd.DataFrame({"_Imputation_": [1, 1, 2, 2], "y": [1.0, 2.5, 1.0, 3.5]})
    >>> rx.read_imputations(stacked)
    ImputedData: 2 imputations of 2 rows x 1 columns; differing: y
    """
    if layout is not None:
        Checks(FileFormatError).choice(layout, Layout, "layout=")
    known = original
    if not (known is None or isinstance(known, pd.DataFrame)):
        known = data_frame(Path(known), "the incomplete data")
    sets, where = _sets(source, layout, imp, id, known, m)
    if not sets.imputed:
        raise DataError(f"{where} holds no imputation")
    sets = sets if known is None else sets._replace(original=known)
    sets = sets if id is None else _named(sets, id, where)
    frames = {label: _plain(frame, f"imputation {label}") for label, frame in sets.imputed.items()}
    before = sets.original
    data = ImputedData.from_frames(frames)
    if before is not None:
        # a source may hold fewer columns than the file of the original
        before = before[[c for c in data.columns if c in before]] if known is not None else before
        data = data.with_original(_as_imputed(_plain(before, "the original"), data[0]))
    if check:
        check_agreement(data, where)
    return data


def _plain(frame: Any, where: str) -> pd.DataFrame:
    return plain_types(check_frame(frame, where))


def _as_imputed(original: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Truth values as 0/1 where the imputations hold numbers, which mice draws for an incomplete logical column."""
    truth = [name for name in frame.columns if name in original and column_kind(original[name]) == "truth values"]
    numbers = [name for name in truth if column_kind(frame[name]) == "numbers"]
    return original.assign(**{name: truth_as_numbers(original[name]) for name in numbers})


def _sets(
    source: Any, layout: str | None, imp: str | None, id: str | None, original: pd.DataFrame | None, m: int | None
) -> tuple[Sets, str]:
    """Sets of any source, and what to call the source in messages."""
    inner = getattr(source, "data", None)
    kept = source if isinstance(source, ImputedData) else inner if isinstance(inner, ImputedData) else None
    if kept is not None:
        return Sets(dict(zip(kept.labels, kept.frames, strict=True)), kept.original), "the imputations"
    if isinstance(source, (str, Path)):
        return _from_path(str(source), layout, imp, id, original)
    if not isinstance(source, pd.DataFrame) and callable(getattr(source, "to_pandas", None)):
        source = source.to_pandas()
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, layout, imp, id, original, "the data frame"), "the data frame"
    found = from_object(source, original, m)
    if found is not None:
        return found, f"the {type(source).__name__}"
    if isinstance(source, Mapping):
        return _from_items(dict(source), original)
    if isinstance(source, (list, tuple)):
        return _from_items(dict(enumerate(source, start=1)), original)
    raise FileFormatError(
        f"a {type(source).__name__} holds no imputations that can be read: give a path, a data frame or a list"
    )


def _from_items(items: dict[Label, Any], original: pd.DataFrame | None) -> tuple[Sets, str]:
    if items and all(isinstance(item, (str, Path)) for item in items.values()):
        return _from_files({label: Path(item) for label, item in items.items()}), "the files"
    return Sets(from_items(items.items(), original), None), "the list"


def _from_path(
    text: str, layout: str | None, imp: str | None, id: str | None, original: pd.DataFrame | None
) -> tuple[Sets, str]:
    path = Path(text).expanduser()
    if any(c in path.name for c in "*?["):
        paths = sorted(path.parent.glob(path.name), key=natural)
        if not paths:
            raise FileFormatError(f"no file matches {text!r}")
        return _from_files(dict(enumerate(paths, start=1))), repr(text)
    separate = sorted(path.parent.glob(f"_[0-9]*_{path.name}"), key=natural)
    if path.suffix == ".dta" and separate:
        return _from_flongsep(path, separate), repr(text)
    found = read_file(path)
    if isinstance(found, list):
        return _from_items(dict(enumerate(found, start=1)), original)
    if isinstance(found, Mapping):
        return split_object(found, repr(text)), repr(text)
    if not isinstance(found, pd.DataFrame):
        raise FileFormatError(f"{text!r} holds a {type(found).__name__}, not imputations")
    return _from_frame(found.reset_index(drop=True), layout, imp, id, original, repr(text)), repr(text)


def _from_frame(
    frame: pd.DataFrame, layout: str | None, imp: str | None, id: str | None, original: pd.DataFrame | None, where: str
) -> Sets:
    if imp is not None:
        return split_numbered(frame, imp, id, where)
    if layout == "long":
        raise FileFormatError('layout="long" needs imp=, the column that numbers the imputations')
    layout = layout or detect_layout(frame)
    if layout in ("list", "mitml"):
        raise FileFormatError(f"layout={layout!r} is no layout of one data frame, which is what {where} holds")
    if layout is not None:
        return split_frame(frame, layout, where, original)
    broad = f"{frame.columns[0]}".removesuffix(".1")
    if {f"{broad}.1", f"{broad}.2"} <= set(frame.columns):
        raise FileFormatError(
            f"{where} has its imputations beside each other ({broad}.1, {broad}.2, ...): write complete(m, 'long', "
            "include = TRUE) instead"
        )
    raise FileFormatError(
        f"{where} has none of the columns that number imputations (.imp, imp, _mi_m, _Imputation_, Imputation_, "
        f"Imputation); it has {shortened(map(repr, frame.columns))}: name the column using imp=, or, if it is "
        'one of several files, give all of them, as in "out*.csv"; for one data set, pandas and rx.lmer'
    )


def _named(sets: Sets, id: str, where: str) -> Sets:
    """Rows in the order of the first set, by the column that names them, unless the layout has used it."""
    named = sets.imputed
    if id != sets.id:
        named = {label: _by_id(_plain(part, f"imputation {label}"), id, where) for label, part in named.items()}
    elif not all(part.index.is_unique for part in named.values()):
        raise _named_twice(id, where)
    first = next(iter(named.values())).index
    aligned = {k: f.loc[first] if f.index.sort_values().equals(first.sort_values()) else f for k, f in named.items()}
    before = sets.original
    if before is not None and id in before.columns:
        by_id = _by_id(before, id, "the original")
        before = by_id.loc[first] if first.isin(by_id.index).all() else before
    return Sets(aligned, before)


def _by_id(frame: pd.DataFrame, id: str, where: str) -> pd.DataFrame:
    if id not in frame.columns:
        raise FileFormatError(
            f"{where} has no column {id!r} (id=); its columns are {shortened(map(repr, frame.columns))}"
        )
    if not frame[id].is_unique:
        raise _named_twice(id, where)
    return frame.set_index(id)


def _named_twice(id: str, where: str) -> DataError:
    return DataError(f"column {id!r} of {where} names rows twice within an imputation: id= must name one row each")


def _from_files(paths: dict[Label, Path]) -> Sets:
    return Sets({label: data_frame(path, "the data frame of one imputation") for label, path in paths.items()}, None)


def _from_flongsep(path: Path, separate: list[Path]) -> Sets:
    stacked = [read_file(path).assign(_mi_m=0)]
    stacked += [read_file(file).assign(_mi_m=int(file.name.split("_")[1])) for file in separate]
    for name, frame in zip([path, *separate], stacked, strict=True):
        if "_mi_id" not in frame:
            raise FileFormatError(f"{str(name)!r} has no column '_mi_id', which every file of Stata's flongsep has")
    columns = [c for c in stacked[0].columns if c != "_mi_miss"]
    return split_frame(pd.concat([frame.reindex(columns=columns) for frame in stacked]), "stata", repr(str(path)))
