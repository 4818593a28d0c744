"""Tables of results as data frames that print what people read first, with even decimals, within the line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from .printing import INFINITE_DF, aligned, p_value

# columns that share their decimals, and those with a fixed number of them
ESTIMATES = ("estimate", "std_error", "conf_low", "conf_high")
DF = ("df", "df1", "df2", "dfcom")
FIXED = {
    **dict.fromkeys(("statistic", "riv", "lambda", "fmi"), 3),
    **dict.fromkeys(("aic", "bic", "loglik", "deviance"), 2),
    **dict.fromkeys(DF, 1),
}
P_VALUES = ("p_value", "p_adjusted", "p_plain")
# what a printed line has where there is room, the first of them first; and what stands below the table
EXTRAS = (
    *("fmi", "riv", "lambda", "dfcom", "ubar", "b", "t", "scale", "scaled_estimate", "scaled_se", "n_used"),
    *("mean_sd", "mean_variance", "mean_cor", "mean_cov", "n_boundary", "n_present"),
)
BELOW = "note"
# significant digits of the smallest standard error, and of other numbers
DIGITS, OTHER_DIGITS = 3, 4
# a number below this share of the largest does not decide how many decimals all have
SMALL, MOST_DECIMALS = 1e-3, 8


class ResultTable(pd.DataFrame):
    """A data frame that prints itself for reading and knows what is special about the fits behind it.

    What is made from it (rows of it, a concatenation) is an ordinary data frame. The print-out rounds, and leaves out
    columns for which the line has no room: ``to_string()`` prints them all.

    Examples
    --------
    >>> import remlax as rx
    >>> table = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool().tidy()
    >>> table.singular, table.failed, table.left_out, table.notes
    ([], [], [], [])
    """

    @property
    def notes(self) -> list[str]:
        """What readers of the table must know, in sentences."""
        return list(self.attrs.get("notes", []))

    @property
    def singular(self) -> list[object]:
        """Labels of the imputations whose fit is singular."""
        return list(self.attrs.get("singular_imputations", []))

    @property
    def failed(self) -> list[object]:
        """Labels of the imputations whose fit did not converge, used or left out."""
        return list(self.attrs.get("failed_imputations", []))

    @property
    def left_out(self) -> list[object]:
        """Labels of the imputations that were left out."""
        return list(self.attrs.get("dropped_imputations", []))

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return table_text(self) if _as_made(self) else repr(pd.DataFrame(self))

    def _repr_html_(self) -> str | None:
        if not _as_made(self):
            return pd.DataFrame(self)._repr_html_()  # type: ignore[operator,no-any-return]
        found = pd.DataFrame(_cells(_shortened(self)))
        return found.to_html(index=False) + "".join(f"<p>{escape(note)}</p>" for note in _notes(self))


def result_table(frame: pd.DataFrame) -> ResultTable:
    """Make a table print itself for reading."""
    found = ResultTable(frame)
    found.attrs = frame.attrs
    return found


def table_text(table: pd.DataFrame, *, notes: bool = True) -> str:
    """Text of a table of results: its columns, those that had no room, and its notes.

    Examples
    --------
    >>> print(table_text(pd.DataFrame({"term": ["x"], "estimate": [12.3456], "std_error": [0.5], "p_value": [1e-9]})))
    term  estimate  std_error  p_value
    x       12.346      0.500  <0.0001
    """
    cells = _cells(_shortened(table))
    widths = {name: max(len(name), *map(len, column)) for name, column in cells.items()}
    shown = _with_room(widths, [name for name in cells if _extra(table, name)])
    left = {name for name in shown if table[name].dtype.kind == "O" or isinstance(table[name].dtype, pd.StringDtype)}
    lines = aligned({name: cells[name] for name in shown}, left)
    hidden = [name for name in cells if name not in shown]
    if len(table) > _most_rows():
        lines.insert((len(lines) + 1) // 2, "...")
        lines.append(f"[{len(table)} rows]")
    if hidden:
        lines.append(f"[not shown: {', '.join(hidden)}]")
    return "\n".join([*lines, *(["", *_notes(table)] if notes and _notes(table) else [])])


def _with_room(widths: dict[str, int], extras: list[str]) -> list[str]:
    """Columns for which the line has room; all but the extras have."""
    room = _line() + 2 - sum(width + 2 for name, width in widths.items() if name not in extras)
    left_out = set(extras)
    for name in sorted(extras, key=lambda name: EXTRAS.index(_base(name))):
        room -= widths[name] + 2
        if room < 0:
            break
        left_out.remove(name)
    return [name for name in widths if name not in left_out]


def _as_made(table: pd.DataFrame) -> bool:
    """Whether the table has the form in which it was made, and something to show."""
    return bool(
        len(table)
        and len(table.columns)
        and table.columns.is_unique
        and all(isinstance(name, str) for name in table.columns)
        and table.index.equals(pd.RangeIndex(len(table)))
    )


def _line() -> int:
    fallback = pd.get_option("display.width") or 80
    return shutil.get_terminal_size((fallback, 24)).columns if sys.stdout.isatty() else fallback


def _most_rows() -> int:
    return pd.get_option("display.max_rows") or sys.maxsize


def _shortened(table: pd.DataFrame) -> pd.DataFrame:
    """The first and last rows of a long table, with room for a line between them."""
    plain = pd.DataFrame(table)
    if len(table) <= _most_rows():
        return plain
    half = max((pd.get_option("display.min_rows") or 10) // 2, 1)
    return pd.concat([plain.iloc[:half], plain.iloc[-half:]])


def _notes(table: pd.DataFrame) -> list[str]:
    own = [str(note) for note in table[BELOW] if note] if BELOW in table else []
    return list(dict.fromkeys([*own, *map(str, table.attrs.get("notes", []))]))


def _base(name: str) -> str:
    """A column beside which a factor has the same name has an underscore."""
    return name.rstrip("_")


def _first(table: pd.DataFrame) -> int:
    """Position of the first column of results, where those before it may be factors of any name."""
    names = list(table.columns)
    return next((names.index(name) for name in ("estimate_", "estimate") if name in names), 0)


def _extra(table: pd.DataFrame, name: str) -> bool:
    return _base(name) in EXTRAS and list(table.columns).index(name) >= _first(table)


def _cells(table: pd.DataFrame) -> dict[str, list[str]]:
    """Every column as text."""
    first, common, out = _first(table), _common_decimals(table), dict[str, list[str]]()
    for i, name in enumerate(table.columns):
        column = table[name]
        if i >= first and name == BELOW:
            continue
        if i < first or column.dtype.kind != "f":
            out[name] = [_plain(value) for value in column]
        elif _base(name) in P_VALUES:
            out[name] = [p_value(value) or "NaN" for value in column]
        elif _base(name) in ESTIMATES:
            out[name] = [_fixed(value, places) for value, places in zip(column, common, strict=True)]
        else:
            values = column.to_numpy()
            whole = (values[np.isfinite(values)] % 1 == 0).all()
            if _base(name) in DF:
                values = np.where(values > INFINITE_DF, np.inf, values)
            places = 0 if whole else FIXED.get(_base(name), _decimals(values, OTHER_DIGITS))
            out[name] = [_fixed(value, places) for value in values]
    return out


def _common_decimals(table: pd.DataFrame) -> list[int | None]:
    """Decimals of estimates, errors and limits, the same in all rows but those that would show less than two digits.

    None for an error too small for decimals.
    """
    size = table["std_error"] if "std_error" in table else table.get("estimate", pd.Series(dtype=float))
    if size.dtype.kind != "f":
        return [0] * len(table)
    values = size.to_numpy()
    places = _decimals(values, DIGITS)
    lost = (np.abs(values) < 10.0 ** (1 - places)) & (values != 0)
    return [_own_decimals(value) if own else places for value, own in zip(values, lost, strict=True)]


def _own_decimals(value: float) -> int | None:
    """Decimals that show the significant digits of one number, unless they would be too many."""
    own = max(0, DIGITS - 1 - int(np.floor(np.log10(abs(value)))))
    return own if own <= MOST_DECIMALS else None


def _decimals(values: np.ndarray, digits: int) -> int:
    """Decimals with which the smallest number that counts has so many significant digits."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(sizes):
        return digits
    smallest = sizes[sizes >= SMALL * sizes.max()].min()
    return int(np.clip(digits - 1 - np.floor(np.log10(smallest)), 0, MOST_DECIMALS))


def _fixed(value: float, places: int | None) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = f"{value:.2e}" if places is None else f"{value:.{places}f}"
    return text.removeprefix("-") if not float(text) else text


def _plain(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
