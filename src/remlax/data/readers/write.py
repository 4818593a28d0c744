"""write_imputations: files that mice and Stata read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import DataError, DataWarning, FileFormatError, shortened, warn
from ..archive import replaced
from ..checks import column_kind
from ..imputed import ImputedData
from ..long import ID
from .agreement import equal_cells
from .files import CATEGORIES, NA_STRINGS
from .labelled import require

MAX_WHOLE = 2**53  # doubles hold whole numbers up to here


def write_imputations(data: ImputedData, path: str | Path) -> None:
    """Write imputations, with the original where it is known, for another program.

    Parameters
    ----------
    data : ImputedData
        The imputations.
    path : path
        The suffix says the format. ``.csv`` (or ``.csv.gz``): mice's long layout, for R
        ``as.mids(read.csv(path, stringsAsFactors = TRUE))``. ``.dta``: Stata's flong, for
        ``mi import flong, m(_mi_m) id(_mi_id) imputed(...)``. ``.parquet``: mice's long layout with all types kept.

    Notes
    -----
    Cells of the original that differ from those of an imputation, as in a cluster mean of an incomplete column, are
    written as missing there: mice and Stata put observed cells of the original into every imputation.

    Raises
    ------
    FileFormatError
        Another suffix; the file cannot be written: what was there before is unchanged.
    DataError
        Stata needs the original; a column cannot be written (for Stata: times with a time zone); a variable has a name
        the layout needs.
    MissingExtraError
        pyarrow is not installed.

    Warns
    -----
    DataWarning
        A csv file does not tell categories or texts such as ``"01"`` or ``"NA"`` from numbers and missing cells.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import remlax as rx
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "hsb.parquet"
    >>> rx.write_imputations(rx.datasets.hsb_imputed(), path)
    >>> rx.read_imputations(path).K
    5
    """
    if not isinstance(data, ImputedData):
        raise DataError(
            f"an ImputedData is needed, not a {type(data).__name__}: make one by ImputedData.from_frames(), "
            "or give the .data of an imputation result"
        )
    data, target = _blank_changed_cells(data), Path(path)
    name = target.name.lower()
    if not target.parent.is_dir():
        raise FileFormatError(f"{str(target)!r} cannot be written: there is no folder {str(target.parent)!r}")
    writers = {".csv": _write_csv, ".csv.gz": _write_csv, ".dta": _write_stata, ".parquet": _write_parquet}
    write = next((one for suffix, one in writers.items() if name.endswith(suffix)), None)
    if write is None:
        raise FileFormatError(f"{str(target)!r}: imputations are written as .csv, .dta or .parquet")
    with replaced(target) as temporary:
        write(data, temporary)


def _blank_changed_cells(data: ImputedData) -> ImputedData:
    """Make the observed cells of the original missing that an imputation has another value in."""
    if data.original is None or not data.aligned:
        return data
    changed: dict[str, Any] = {}
    for name in data.columns:
        column = data.original[name]
        kept = np.all([equal_cells(column, frame[name]) for frame in data.frames], axis=0)
        if not (kept | column.isna().to_numpy()).all():
            changed[name] = (column.astype("boolean") if column.dtype == np.bool_ else column).where(kept)
    return data.with_original(data.original.assign(**changed))


def _long(data: ImputedData) -> pd.DataFrame:
    frame = data.to_long(include_original=data.original is not None)
    if isinstance(data.frames[0].index, pd.MultiIndex):
        frame[ID] = frame[ID].map(str)  # a file has no tuples
    return frame


def _write_csv(data: ImputedData, path: Path) -> None:
    frame = _long(data)
    changed = [repr(name) for name in data.columns if _reads_otherwise(data.frames[0][name])]
    if changed:
        warn(
            f"a csv file does not say that {shortened(changed)} hold categories or texts; a program may read numbers "
            "or missing cells: write .parquet, or make them words",
            DataWarning,
        )
    for name, column in frame.items():
        if pd.api.types.infer_dtype(column, skipna=True) == "boolean":
            frame[name] = column.astype(object).map({True: "TRUE", False: "FALSE"})
    frame.to_csv(path, index=False, na_rep="NA")


def _reads_otherwise(column: pd.Series[Any]) -> bool:
    """Whether all of the texts or categories of a column look like numbers, or one of them like a missing cell."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    values = column.astype(object).dropna()
    texts = values[values.map(lambda value: isinstance(value, str))]
    if not isinstance(column.dtype, pd.CategoricalDtype) and len(texts) < len(values):
        return False
    numbers = pd.to_numeric(values.map(str), errors="coerce")
    return bool(len(values) and (numbers.notna().all() or texts.isin(NA_STRINGS).any()))


def _write_parquet(data: ImputedData, path: Path) -> None:
    require("pyarrow", "Parquet files")
    import pyarrow

    frame = _long(data)
    frame.attrs = {CATEGORIES: _number_categories(data.frames[0])}
    try:
        frame.to_parquet(path, index=False)
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"a parquet file cannot hold these data: {error}: make that column numbers or text") from error


def _number_categories(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Categories that are not texts, which parquet does not know, by column."""
    kept: dict[str, dict[str, Any]] = {}
    for name, dtype in frame.dtypes.items():
        if not isinstance(dtype, pd.CategoricalDtype) or all(isinstance(value, str) for value in dtype.categories):
            continue
        values = dtype.categories.tolist()
        if not all(isinstance(value, bool | int | float) for value in values):
            raise DataError(
                f"the categories of {name!r} are neither texts nor numbers, which no file keeps: make them text"
            )
        kept[str(name)] = {"values": values, "ordered": bool(dtype.ordered)}
    return kept


def _write_stata(data: ImputedData, path: Path) -> None:
    if data.original is None:
        raise DataError("Stata's mi data need the original as _mi_m = 0: add it using with_original()")
    before = [name for name in data.columns if name.startswith("_mi_")]
    if before:
        raise DataError(f"a variable is called {before[0]!r}, which Stata keeps for itself: rename it")
    sets = [data.original, *data.frames]
    # rows with imputed cells; cells that stay missing are not imputed
    incomplete = (data.original.isna().to_numpy() & data.frames[0].notna().to_numpy()).any(axis=1)
    frame = pd.concat([_stata_types(part) for part in sets], ignore_index=True)
    n = len(data.original)
    frame["_mi_m"] = np.repeat(np.arange(len(sets), dtype=np.int32), n)
    frame["_mi_id"] = np.tile(np.arange(1, n + 1, dtype=np.int32), len(sets))
    frame["_mi_miss"] = np.where(frame["_mi_m"] == 0, np.tile(incomplete, len(sets)), np.nan)
    for name in data.columns:
        if len(name) > 32 or not name.isidentifier():
            raise DataError(f"{name!r} is no name for a variable of Stata (letters, digits, _, at most 32): rename it")
    empty = [name for name in data.columns if frame[name].dtype.kind == "O" and frame[name].isna().all()]
    if empty:
        raise DataError(f"{empty[0]!r} has missing cells only, whose type Stata cannot tell: leave the column out")
    dates: Any = {name: _stata_dates(frame[name]) for name in data.columns if frame[name].dtype.kind == "M"}
    try:
        frame.to_stata(path, write_index=False, version=118, convert_dates=dates)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise DataError(f"Stata cannot hold these data: {str(error).splitlines()[0]}") from error


def _stata_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with truth values as 0/1 and nullable numbers as floats; labelled values stay categories."""
    changed: dict[str, Any] = {}
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            labels = column.cat.categories.map(str)
            if not labels.is_unique:
                raise DataError(f"two categories of {name!r} are written the same, which Stata cannot hold: rename one")
            changed[str(name)] = column.cat.rename_categories(list(labels))
            continue
        if pd.api.types.is_integer_dtype(column.dtype) and (column.abs() > MAX_WHOLE).any():
            raise DataError(f"Stata cannot hold the whole numbers of {name!r} to their last digit: make them text")
        if pd.api.types.infer_dtype(column, skipna=True) == "boolean" or (
            pd.api.types.is_extension_array_dtype(column.dtype) and pd.api.types.is_numeric_dtype(column.dtype)
        ):
            changed[str(name)] = column.astype(object).map(lambda v: np.nan if pd.isna(v) else float(v)).astype(float)
        elif not pd.api.types.is_numeric_dtype(column.dtype):
            changed[str(name)] = _stata_text_or_dates(column)
    return frame.assign(**changed)


def _stata_text_or_dates(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return texts as objects, dates and times without a zone as pandas keeps them."""
    held = pd.api.types.infer_dtype(column, skipna=True)
    if held in ("string", "empty"):
        return column.astype(object).where(column.notna(), None)
    if held not in ("date", "datetime", "datetime64"):
        raise DataError(
            f"Stata cannot hold these data: {column.name!r} holds {column_kind(column)}: make it numbers or text"
        )
    times = pd.to_datetime(column)
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        raise DataError(
            f"Stata keeps no time zones, which {column.name!r} has: take its times in one zone, using "
            ".dt.tz_convert('UTC').dt.tz_localize(None)"
        )
    if (times.dropna() != times.dropna().dt.floor("ms")).any():
        raise DataError(f"Stata's times are whole milliseconds, those of {column.name!r} are not: round them")
    return times


def _stata_dates(times: pd.Series[Any]) -> str:
    """Days where all times are midnight, else milliseconds."""
    return "td" if (times.dropna() == times.dropna().dt.normalize()).all() else "tc"
