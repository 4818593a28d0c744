"""read_spss: a file of a survey as a data frame to fit models to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...checks import Checks
from ...errors import DataError, DataWarning, FileFormatError, MissingExtraError, shortened, warn
from .labelled import LabelledData, categories_of, read_labelled

checks = Checks()


def read_spss(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, *, reasons: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a file of SPSS, such as those of PISA, TIMSS and PIRLS, with its labels and its codes of missing values.

    Codes that the file declares missing become missing cells. A column all of whose other codes have labels becomes
    one of categories, in the order of the codes; all others stay numbers or text, so that an index or an age of which
    only the missing codes are labelled is a number.

    Parameters
    ----------
    path : str or path
        A ``.sav`` or ``.zsav`` file.
    columns : list of str, optional
        Columns to read; all unless given.
    reasons : list of str, optional
        Columns of which to keep why cells are missing: for each a column of categories ``<name>_missing`` comes with
        the label of the declared code, missing where the cell is observed or empty in the file.

    Returns
    -------
    pandas.DataFrame
        Whole numbers without missing cells as integers. Its ``attrs`` have ``"labels"``, the label of every column that
        has one; ``"value_labels"``, the label of each code; and ``"missing"``, how often each declared code occurs.

    Raises
    ------
    FileFormatError
        There is no such file, or it cannot be read.
    DataError
        A column is not in the file, or a column of `reasons` has no code that is declared missing.
    MissingExtraError
        pyreadstat is not installed (``remlax[io]``).

    Warns
    -----
    DataWarning
        Only some of a column's codes have labels, or two have the same one: it stays a column of codes.

    See Also
    --------
    read_imputations : Files of imputed data, those of SPSS among them.
    lmer : Fits models with the sampling weights, replicates and plausible values of such files.

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.read_spss("CY08MSP_STU_QQQ.sav", ["CNT", "CNTSCHID", "ESCS", "ST004D01T"])  # doctest: +SKIP
    >>> data["ST004D01T"].cat.categories.tolist()  # doctest: +SKIP
    ['Female', 'Male']
    """
    if not isinstance(path, str | os.PathLike):
        raise FileFormatError(f"path={path!r} must be the path of a file of SPSS")
    file = Path(path).expanduser()
    wanted = None if columns is None else checks.names(columns, "columns=")
    asked = [] if isinstance(reasons, tuple | list) and not reasons else checks.names(reasons, "reasons=")
    if wanted is not None:
        wanted = list(dict.fromkeys([*wanted, *asked]))
    found = _read(file, wanted)
    return _shown(found, list(found.frame.columns) if wanted is None else wanted, asked)


def _read(file: Path, columns: list[str] | None) -> LabelledData:
    if file.suffix.lower() not in (".sav", ".zsav"):
        raise FileFormatError(f"{str(file)!r} is no file of SPSS: its suffix is not .sav or .zsav")
    if not file.is_file():
        raise FileFormatError(f"there is no file {str(file)!r}")
    try:
        if columns is not None:
            head = read_labelled(file, "read_sav", metadataonly=True)
            _require_columns(columns, list(head.column_labels))
        return read_labelled(file, "read_sav", user_missing=True, usecols=columns)
    except (DataError, FileFormatError, MissingExtraError):
        raise
    except Exception as error:  # parsers of damaged files raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200].removeprefix("ValueError: ")
        raise FileFormatError(f"{str(file)!r} cannot be read as a file of SPSS: {reason}") from error


def _require_columns(columns: Sequence[str], known: Sequence[str]) -> None:
    absent = [name for name in columns if name not in known]
    if absent:
        close = [own for own in known if own.lower() in {name.lower() for name in absent}]
        hint = f"; it has {shortened(map(repr, close))}" if close else ""
        raise DataError(f"the file has no column {shortened(map(repr, absent))}{hint}")


def _shown(found: LabelledData, columns: Sequence[str], reasons: Sequence[str]) -> pd.DataFrame:
    out: dict[str, Any] = {}
    counts: dict[str, dict[str, int]] = {}
    coded = []
    _require_columns(reasons, columns)
    for name in columns:
        cells, labels = found.frame[name], found.value_labels.get(name, {})
        declared = _declared(cells, found.missing_ranges.get(name, ()))
        why = _reasons(cells.where(declared), labels)
        if declared.any():
            counts[name] = {str(label): int(n) for label, n in why.value_counts(sort=False).items()}
        observed = cells.mask(declared)
        categories = categories_of(observed, labels) if _all_labelled(observed, labels) else None
        if categories is None and observed.dropna().isin(list(labels)).any():
            coded.append(name)
        out[name] = _plain(observed) if categories is None else categories
        if name in reasons:
            if name not in found.missing_ranges:
                raise DataError(f"reasons= has {name!r}, of which the file declares no code missing")
            out[f"{name}_missing"] = why
    if coded:
        warn(
            f"only some codes have labels in {shortened(map(repr, coded))}, or two the same one: they stay codes, "
            'with their labels in attrs["value_labels"]',
            DataWarning,
        )
    frame = pd.DataFrame(out)
    frame.attrs = {
        "labels": {name: found.column_labels[name] for name in columns if found.column_labels.get(name)},
        "value_labels": {name: dict(found.value_labels[name]) for name in columns if name in found.value_labels},
        "missing": counts,
    }
    return frame


def _declared(cells: pd.Series, ranges: Sequence[Mapping[str, Any]]) -> pd.Series:
    out = pd.Series(False, index=cells.index)
    if not (pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_string_dtype(cells)):
        return out  # dates have no codes
    for part in ranges:
        out |= cells.between(part["lo"], part["hi"]).fillna(False)
    return out


def _reasons(codes: pd.Series, labels: Mapping[Any, str]) -> pd.Series:
    """Labels of codes, in the order of the codes; a code without stands for itself."""
    present = sorted(codes.dropna().unique())
    shown = {code: labels.get(code, f"{code:g}" if isinstance(code, float) else str(code)) for code in present}
    return codes.map(shown).astype(pd.CategoricalDtype(list(dict.fromkeys(shown.values()))))


def _all_labelled(cells: pd.Series, labels: Mapping[Any, str]) -> bool:
    present = cells.dropna().unique()
    return len(present) > 0 and all(code in labels for code in present)


def _plain(cells: pd.Series) -> pd.Series:
    """Whole numbers as integers."""
    if cells.dtype != np.float64 or cells.isna().any() or not (np.mod(cells, 1) == 0).all():
        return cells
    return cells.astype(np.int64) if cells.abs().max() < 2**53 else cells
