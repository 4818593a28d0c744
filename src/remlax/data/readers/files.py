"""Files to what they hold: data frames, or the R object in it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ...errors import FileFormatError, MissingExtraError, others_quiet
from .labelled import categories_of, read_labelled, require
from .rstream import part_names, without_code

NA_STRINGS = ["", "NA", "NaN", "."]  # "None" and "null" are levels as good as others
CATEGORIES = "remlax.categories"  # where a parquet file keeps categories that are numbers
R_HELP = "in R, saveRDS(complete(m, 'long', include = TRUE), file) instead"


def read_file(path: Path) -> Any:
    """Read a file by its suffix.

    Raises FileFormatError: there is no such file, its suffix is unknown, or it cannot be read as what its suffix
    says. Raises MissingExtraError: the library for this type of file is not installed.

    Returns
    -------
    DataFrame, or what an R object converts to (dict, list, DataFrame)
    """
    if not path.is_file():
        raise FileFormatError(f"there is no file {str(path)!r}")
    suffix = next((s for s in reversed(path.suffixes) if s.lower() not in (".gz", ".bz2", ".xz", ".zip")), "").lower()
    reader = READERS.get(suffix)
    if reader is None:
        known = ", ".join(sorted(READERS))
        raise FileFormatError(f"{str(path)!r} has the suffix {suffix!r}; those that can be read are {known}")
    try:
        with others_quiet():
            return reader(path)
    except (FileFormatError, MissingExtraError):
        raise
    except Exception as error:  # parsers of damaged files raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200].removeprefix("ValueError: ")
        hint = f"; {R_HELP}" if suffix in (".rds", ".rda", ".rdata") else ""
        raise FileFormatError(f"{str(path)!r} cannot be read as {suffix}: {reason}{hint}") from error


def data_frame(path: Path, wanted: str) -> pd.DataFrame:
    """Read a file that is to hold one data frame."""
    found = read_file(path)
    if not isinstance(found, pd.DataFrame):
        raise FileFormatError(f"{str(path)!r} holds a {type(found).__name__}, not {wanted}")
    return found.reset_index(drop=True)


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a text table; the separator is the most frequent of comma, semicolon and tab in the first line."""
    frame = _parse(path, ",", ".", nrows=0)
    head = str(frame.columns[0]) if len(frame.columns) == 1 else ""
    separator = max(";\t", key=head.count) if any(c in head for c in ";\t") else ","
    decimal = "."
    if separator == ";":
        # a decimal comma, as R's write.csv2 has it, where a cell is all digits around one comma
        cells = _parse(path, separator, ".", dtype=str).to_numpy(dtype=object).ravel()
        decimal = "," if any(re.fullmatch(r"-?\d+,\d+", str(cell)) for cell in cells) else "."
    frame = _parse(path, separator, decimal)
    first = str(frame.columns[0])
    # R's write.csv puts row names first, under an empty name
    return frame.drop(columns=first) if first == "Unnamed: 0" and len(frame.columns) > 1 else frame


def _parse(path: Path, separator: str, decimal: str, **more: Any) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(
        path,
        sep=separator,
        decimal=decimal,
        keep_default_na=False,
        na_values=NA_STRINGS,
        float_precision="round_trip",
        low_memory=False,
        quoting=csv.QUOTE_MINIMAL,
        **more,
    )
    return frame


def _read_stata(path: Path) -> pd.DataFrame:
    """Read a file of Stata; columns in which two values have one label keep their values."""
    plain: list[str] = []
    while True:
        columns = None
        if plain:
            raw = pd.read_stata(path, convert_categoricals=False)
            columns = [name for name in raw.columns if name not in plain]
        try:
            frame = pd.read_stata(path, order_categoricals=False, columns=columns)
        except ValueError as error:
            found = re.search(r"column (.+) are not unique", str(error))
            if found is None:
                raise
            plain.append(found[1])
        else:
            return raw.assign(**{str(name): column for name, column in frame.items()}) if plain else frame


def _read_parquet(path: Path) -> pd.DataFrame:
    require("pyarrow", "Parquet files")
    frame = pd.read_parquet(path)
    for name, kept in frame.attrs.pop(CATEGORIES, {}).items():
        cells = frame[name]
        frame[name] = pd.Categorical(cells, kept["values"], ordered=kept["ordered"])
        lost = cells[cells.notna() & frame[name].isna()]
        if len(lost):
            raise FileFormatError(
                f"{str(path)!r} is damaged: cells of {name!r} hold {lost.tolist()[0]!r}, which is not among the "
                f"categories that it keeps for them ({', '.join(map(repr, kept['values']))[:200]}): write it again"
            )
    return frame


def _labelled(function: str) -> Callable[[Path], pd.DataFrame]:
    """Read a file of SPSS or SAS; labelled values become categories, but for the column of SPSS's imputations."""

    def read(path: Path) -> pd.DataFrame:
        found = read_labelled(path, function)
        frame = found.frame
        for name, labels in found.value_labels.items():
            categories = None if name == "Imputation_" else categories_of(frame[name], labels)
            if categories is not None:
                frame[name] = categories
        return frame

    return read


def _read_r(path: Path) -> Any:
    require("rdata", "R's data files")
    import rdata

    # rdata knows no code, which formulas have in their environments
    content = without_code(path.read_bytes())
    workspace = content.startswith(b"RD")
    parsed = rdata.parser.parse_data(content, extension=".rda" if workspace else ".rds")
    part_names(parsed.object)
    # rdata leaves R's dates and times as numbers
    times: dict[str | bytes, Any] = {
        "Date": lambda values, _: _instants(values, "D"),
        "POSIXct": lambda values, _: _instants(values, "s"),
    }
    found = rdata.conversion.convert(parsed, {**rdata.conversion.DEFAULT_CLASS_MAP, **times})
    if not workspace:
        return found
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise FileFormatError(f"{str(path)!r} holds {len(found)} objects ({names}): save one, using saveRDS()")
    return next(iter(found.values()))


def _instants(values: Any, unit: Literal["D", "s"]) -> Any:
    """R's dates and times, counted from 1970 in UTC."""
    counted = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    return pd.to_datetime(pd.Series(counted), unit=unit).to_numpy()


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _read_csv,
    ".txt": _read_csv,
    ".tsv": _read_csv,
    ".dta": _read_stata,
    ".parquet": _read_parquet,
    ".sav": _labelled("read_sav"),
    ".zsav": _labelled("read_sav"),
    ".sas7bdat": _labelled("read_sas7bdat"),
    ".xpt": _labelled("read_xport"),
    ".rds": _read_r,
    ".rda": _read_r,
    ".rdata": _read_r,
}


def natural(path: Path) -> list[Any]:
    """Key that sorts set9 before set10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def plain_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with NumPy's numbers in place of nullable ones (R's integers come as these)."""
    changed = {
        name: column.astype("int64") if not column.isna().any() else column.astype("float64")
        for name, column in frame.items()
        if pd.api.types.is_extension_array_dtype(column.dtype) and pd.api.types.is_integer_dtype(column.dtype)
    }
    return frame.assign(**{str(name): column for name, column in changed.items()})


def truth_as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return truth values, missing ones among them, as 1 and 0."""
    return column.astype("boolean").astype("Float64").astype("float64")
