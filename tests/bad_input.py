"""The catalogue of bad input: what a user may do wrong, and the sentence that says so.

Each row is (id, call, exception, pattern of its message). The calls take no argument and use small data made here.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import remlax as rx
from remlax import pooling
from remlax.errors import (
    DataError,
    DesignError,
    FileFormatError,
    FormulaError,
    ImputationError,
    PoolingError,
    RemlaxWarning,
)  # fmt: skip

Case = tuple[str, Callable[[], object], type[Exception], str]


@cache
def base() -> pd.DataFrame:
    """Twelve groups of five rows: numbers, categories, and columns that a model cannot use."""
    rng = np.random.default_rng(1)
    n = 60
    group = np.repeat(np.arange(12), 5)
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "y": x + rng.normal(size=12)[group] + rng.normal(size=n),
            "x": x,
            "z": rng.normal(size=n),
            "f": rng.choice(["a", "b", "c"], n),
            "g": [f"g{i:02d}" for i in group],
            "w": rng.uniform(0.5, 2.0, n),
            "my var": rng.normal(size=n),
            "row": np.arange(n),
            "one": ["same"] * n,
            "constant": np.ones(n),
            "zero": np.zeros(n),
            "text": [f"{v:.2f}" for v in x],
            "day": pd.date_range("2020-01-01", periods=n),
            "zone": pd.date_range("2020-01-01", periods=n, tz="UTC"),
            "span": pd.to_timedelta(np.arange(n), unit="D"),
            "empty": np.full(n, np.nan),
            "nothing": pd.array([None] * n, dtype="Int64"),
            "objects": [object()] * n,
            "lists": [[1]] * n,
            "gap": np.where(np.arange(n) % 7 == 3, np.nan, x),
            "infinite": np.where(np.arange(n) == 4, np.inf, x),
            "complex": x + 1j,
            "group2": [f"h{i}" for i in group % 2],
        }
    )


def changed(**columns: Any) -> pd.DataFrame:
    return base().assign(**columns)


@cache
def fit() -> rx.LmerFit:
    return rx.lmer("y ~ x + f + (1 | g)", base())


@cache
def fits() -> rx.LmerFitList:
    rng = np.random.default_rng(2)
    return rx.lmer_list("y ~ x + f + (1 | g)", [changed(x=base()["x"] + 0.1 * rng.normal(size=60)) for _ in range(3)])


@cache
def pooled() -> rx.PooledLmer:
    return fits().pool()


@cache
def smaller() -> rx.LmerFitList:
    return rx.lmer_list("y ~ x + (1 | g)", fits().selection.model.rows.data)


@cache
def other() -> rx.LmerFitList:
    return rx.lmer_list("y ~ z + (1 | g)", fits().selection.model.rows.data)


def lmer(formula: Any = "y ~ x + (1 | g)", data: Any = None, **options: Any) -> Callable[[], object]:
    return lambda: rx.lmer(formula, base() if data is None else data(), **options)


def lmer_list(data: Callable[[], Any], formula: Any = "y ~ x + (1 | g)", **options: Any) -> Callable[[], object]:
    return lambda: rx.lmer_list(formula, data(), **options)


def of(what: Callable[[], Any], method: str, /, *args: Any, **options: Any) -> Callable[[], object]:
    return lambda: getattr(what(), method)(*args, **options)


class Polars:
    """Looks like a polars frame: no pandas, but to_pandas()."""

    def to_pandas(self) -> pd.DataFrame:
        return base()


def with_file(write: Callable[[Path], object], read: Callable[[Path], object] = rx.load) -> Callable[[], object]:
    def run() -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "f"
            write(path)
            return read(path)

    return run


FORMULAS: list[Case] = [
    ("formula: not text", lmer(3), FormulaError, r"a formula is text such as 'y ~ x \+ \(1 \| g\)', not int"),
    ("formula: None", lmer(None), FormulaError, r"a formula is text such as 'y ~ x \+ \(1 \| g\)', not NoneType"),
    (
        "formula: bytes",
        lmer(b"y ~ x + (1 | g)"),
        FormulaError,
        r"a formula is text such as 'y ~ x \+ \(1 \| g\)', not bytes",
    ),
    (
        "formula: empty",
        lmer(""),
        FormulaError,
        r"cannot read '': it has no '~'; write response ~ terms, e\.g\. 'y ~ x \+ \(1 \| g\)'",
    ),
    (
        "formula: blank",
        lmer("   \n"),
        FormulaError,
        r"cannot read '   \\n': it has no '~'; write response ~ terms, e\.g\. 'y ~ x \+ \(1 \| g\)'",
    ),
    (
        "formula: no tilde",
        lmer("y + x + (1 | g)"),
        FormulaError,
        r"cannot read 'y \+ x \+ \(1 \| g\)': it has no '~'; write response ~ terms, e\.g\. 'y ~ x \+ \(1 \| g\)'",
    ),
    (
        "formula: two tildes",
        lmer("y ~ x ~ (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x ~ \(1 \| g\)': it has more than one '~'",
    ),
    (
        "formula: no response",
        lmer("~ x + (1 | g)"),
        FormulaError,
        r"cannot read '~ x \+ \(1 \| g\)': there is no response before the '~'",
    ),
    ("formula: no right side", lmer("y ~"), FormulaError, "cannot read 'y ~': there is nothing after the '~'"),
    (
        "formula: no random term",
        lmer("y ~ x"),
        FormulaError,
        r"cannot read 'y ~ x': it has no random term; add one such as \(1 \| g\), where g names the groups",
    ),
    (
        "formula: open parenthesis",
        lmer("y ~ x + (1 | g"),
        FormulaError,
        r"cannot read 'y ~ x \+ \(1 \| g': the parenthesis opened in '\(1 \| g' is never closed",
    ),
    (
        "formula: closing parenthesis",
        lmer("y ~ x) + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x\) \+ \(1 \| g\)': a parenthesis is closed that was never opened",
    ),
    (
        "formula: bar without parentheses",
        lmer("y ~ x + 1 | g"),
        FormulaError,
        r"cannot read 'y ~ x \+ 1 \| g': the bar in x \+ 1 \| g needs parentheses: write the random term as \(1 \|",
    ),
    (
        "formula: bar without group",
        lmer("y ~ x + (1 | )"),
        FormulaError,
        r"cannot read 'y ~ x \+ \(1 \| \)': no grouping factor follows the bar; write \(1 \| g\), where g names the",
    ),
    (
        "formula: bar without left side",
        lmer("y ~ x + ( | g)"),
        FormulaError,
        r"cannot read 'y ~ x \+ \( \| g\)': nothing stands before the bar; write \(1 \| g\) for a random intercept",
    ),
    (
        "formula: triple bar",
        lmer("y ~ x + (1 ||| g)"),
        FormulaError,
        r"cannot read 'y ~ x \+ \(1 \|\|\| g\)': a term is missing before '\|'",
    ),
    (
        "formula: nested bars",
        lmer("y ~ x + (1 | (1 | g))"),
        FormulaError,
        r"cannot read 'y ~ x \+ \(1 \| \(1 \| g\)\)': '\(1 \| g\)' after the bar in \(1 \| \(1 \| g\)\) is no grouping",
    ),
    (
        "formula: no columns in the term",
        lmer("y ~ x + (0 | g)"),
        FormulaError,
        r"cannot read 'y ~ x \+ \(0 \| g\)': the random term \(0 \| g\) has no column before the bar",
    ),
    (
        "formula: unknown column",
        lmer("y ~ xx + (1 | g)"),
        FormulaError,
        r"'xx' in the formula is not a column of the data; did you mean 'x'\?",
    ),
    (
        "formula: unknown group",
        lmer("y ~ x + (1 | school)"),
        FormulaError,
        "'school' in the formula is not a column of the data; the columns are 'y', 'x', 'z', 'f', 'g', 'w',",
    ),
    (
        "formula: unknown response",
        lmer("Y ~ x + (1 | g)"),
        FormulaError,
        "'Y' in the formula is not a column of the data; the columns are 'y', 'x', 'z', 'f', 'g', 'w', 'my",
    ),
    (
        "formula: unknown function",
        lmer("y ~ foo(x) + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ foo\(x\) \+ \(1 \| g\)': 'foo' is not a function that a formula may use; did you mean",
    ),
    (
        "formula: import",
        lmer("y ~ __import__('os') + (1 | g)"),
        FormulaError,
        "cannot read \"y ~ __import__\\('os'\\) \\+ \\(1 \\| g\\)\": '__import__' is not a function that a formula may",
    ),
    (
        "formula: import in I",
        lmer("y ~ I(__import__('os').system('true')) + (1 | g)"),
        FormulaError,
        "'__import__' is not a function that a formula may use",
    ),
    (
        "formula: attribute",
        lmer("y ~ x.__class__ + (1 | g)"),
        FormulaError,
        r"'x\.__class__' in the formula is not a column of the data; the columns are 'y', 'x', 'z', 'f', 'g',",
    ),
    (
        "formula: attribute of a call",
        lmer("y ~ scale(x).__class__ + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ scale\(x\)\.__class__ \+ \(1 \| g\)': '\.__class__' is unexpected after 'y ~ scale\(x\)'",
    ),
    (
        "formula: method",
        lmer("y ~ x.mean() + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x\.mean\(\) \+ \(1 \| g\)': 'x\.mean' is not a function that a formula may use; the",
    ),
    (
        "formula: numpy",
        lmer("y ~ np.load(x) + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ np\.load\(x\) \+ \(1 \| g\)': 'np\.load' is not a function that a formula may use; the",
    ),
    (
        "formula: eval",
        lmer("y ~ eval('x') + (1 | g)"),
        FormulaError,
        "cannot read \"y ~ eval\\('x'\\) \\+ \\(1 \\| g\\)\": 'eval' is not a function that a formula may use; the",
    ),
    (
        "formula: exec in braces",
        lmer("y ~ {x.pop()} + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ \{x\.pop\(\)\} \+ \(1 \| g\)': '\{' has no meaning in a formula \(no subscripts, lists or",
    ),
    (
        "formula: lambda",
        lmer("y ~ (lambda: x)() + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ \(lambda: x\)\(\) \+ \(1 \| g\)': '\(' is unexpected after 'y ~ \(lambda: x\)'",
    ),
    (
        "formula: subscript",
        lmer("y ~ x[0] + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x\[0\] \+ \(1 \| g\)': '\[' has no meaning in a formula \(no subscripts, lists or code\)",
    ),
    (
        "formula: semicolon",
        lmer("y ~ x + (1 | g); 1"),
        FormulaError,
        r"cannot read 'y ~ x \+ \(1 \| g\); 1': ';' has no meaning in a formula; put unusual column names in",
    ),
    (
        "formula: comment",
        lmer("y ~ x # + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x # \+ \(1 \| g\)': '#' has no meaning in a formula; put unusual column names in",
    ),
    (
        "formula: assignment",
        lmer("y ~ x = 2 + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x = 2 \+ \(1 \| g\)': '=' is unexpected after 'y ~ x'",
    ),
    (
        "formula: walrus",
        lmer("y ~ (x := 2) + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ \(x := 2\) \+ \(1 \| g\)': a term is missing before '='",
    ),
    (
        "formula: dollar",
        lmer("y ~ d$x + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ d\$x \+ \(1 \| g\)': '\$' has no meaning in a formula; put unusual column names in",
    ),
    (
        "formula: string as a term",
        lmer("y ~ 'x' + (1 | g)"),
        FormulaError,
        "cannot read \"y ~ 'x' \\+ \\(1 \\| g\\)\": 'x' is not a term: only 0 and 1 are \\(no intercept, intercept\\);",
    ),
    (
        "formula: number as a term",
        lmer("y ~ 2 + x + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ 2 \+ x \+ \(1 \| g\)': 2 is not a term: only 0 and 1 are \(no intercept, intercept\);",
    ),
    (
        "formula: dot",
        lmer("y ~ . + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ \. \+ \(1 \| g\)': '\.' \(all other columns\) is not available: write the columns out",
    ),
    (
        "formula: double operator",
        lmer("y ~ x + * z + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x \+ \* z \+ \(1 \| g\)': a term is missing before '\*'",
    ),
    (
        "formula: power of a column",
        lmer("y ~ x^z + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x\^z \+ \(1 \| g\)': the power in x\^z must be a whole number; for arithmetic write",
    ),
    (
        "formula: huge power",
        lmer("y ~ (x + z)^1e999 + (1 | g)"),
        FormulaError,
        r"the power in \(x \+ z\)\^1e999 must be a whole number of at least 1",
    ),
    (
        "formula: space in a name",
        lmer("y ~ my var + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ my var \+ \(1 \| g\)': 'var' is unexpected after 'y ~ my'",
    ),
    (
        "formula: open backtick",
        lmer("y ~ `my var + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ `my var \+ \(1 \| g\)': a quote \(`\) is opened and never closed, or is empty, or holds",
    ),
    (
        "formula: empty backticks",
        lmer("y ~ `` + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ `` \+ \(1 \| g\)': a quote \(`\) is opened and never closed, or is empty, or holds a",
    ),
    (
        "formula: null character",
        lmer("y ~ x\0 + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x\\x00 \+ \(1 \| g\)': '\\x00' has no meaning in a formula; put unusual column names in",
    ),
    (
        "formula: emoji",
        lmer("y ~ x + \N{PILE OF POO} + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ x \+ 💩 \+ \(1 \| g\)': '💩' has no meaning in a formula; put unusual column names in",
    ),
    (
        "formula: look-alike letter",
        lmer("y ~ \N{CYRILLIC SMALL LETTER HA} + (1 | g)"),
        FormulaError,
        "'х' in the formula is not a column of the data; the columns are 'y', 'x', 'z', 'f', 'g', 'w', 'my",
    ),
    (
        "formula: missing argument",
        lmer("y ~ poly(x) + poly() + (1 | g)"),
        FormulaError,
        r"cannot read 'y ~ poly\(x\) \+ poly\(\) \+ \(1 \| g\)': poly\(\): missing a required argument: 'x'",
    ),
    (
        "formula: poly degree too high",
        lmer("y ~ poly(x, 60) + (1 | g)"),
        FormulaError,
        r"'poly\(x, 60\)' in the fixed part: degree 60 needs more than 60 different values",
    ),
    (
        "formula: poly of categories",
        lmer("y ~ poly(f, 2) + (1 | g)"),
        FormulaError,
        r"'poly\(f, 2\)' in the fixed part: numbers are needed and a categorical variable is given",
    ),
    (
        "formula: log of text",
        lmer("y ~ log(f) + (1 | g)"),
        FormulaError,
        r"'log\(f\)' in the fixed part: numbers are needed and a categorical variable is given",
    ),
    (
        "formula: log of zero",
        lmer("y ~ log(zero) + (1 | g)"),
        DataError,
        r"'log\(zero\)' in the fixed part is not finite in 60 of 60 rows \(the first is row 0, where zero = 0\.0\)",
    ),
    (
        "formula: division by zero",
        lmer("y ~ I(x / zero) + (1 | g)"),
        DataError,
        r"'I\(x/zero\)' in the fixed part is not finite in 60 of 60 rows \(the first is row 0, where x =",
    ),
    (
        "formula: scale of a constant",
        lmer("y ~ scale(constant) + (1 | g)"),
        DataError,
        r"'scale\(constant\)' in the fixed part is not finite in 60 of 60 rows \(the first is row 0, where",
    ),
    (
        "formula: categorical response",
        lmer("f ~ x + (1 | g)"),
        FormulaError,
        "the response 'f' is categorical; it must be numeric",
    ),
    (
        "formula: two responses",
        lmer("cbind(y, z) ~ x + (1 | g)"),
        FormulaError,
        r"cannot read 'cbind\(y, z\) ~ x \+ \(1 \| g\)': 'cbind' is not a function that a formula may use: one",
    ),
    (
        "formula: response a constant",
        lmer("1 ~ x + (1 | g)"),
        FormulaError,
        r"cannot read '1 ~ x \+ \(1 \| g\)': the response 1 names no column",
    ),
    (
        "formula: offset of text",
        lmer("y ~ x + offset(f) + (1 | g)"),
        FormulaError,
        "the offset 'f' is categorical; it must be numeric",
    ),
    (
        "formula: offset in a random term",
        lmer("y ~ x + (offset(w) | g)"),
        FormulaError,
        r"cannot read 'y ~ x \+ \(offset\(w\) \| g\)': an offset belongs to the fixed part, not into the random",
    ),
    (
        "formula: too many terms",
        lmer("y ~ (a+b+c+d+e+h+i+j+k+l+m+n+o+p+q+r)^16 + (1 | g)"),
        FormulaError,
        "it expands to more than 10000 terms",
    ),
    (
        "formula: deep nesting",
        lmer("y ~ " + "(" * 5000 + "x" + ")" * 5000 + " + (1 | g)"),
        FormulaError,
        "is nested more than 60 deep",
    ),
]

FRAMES: list[Case] = [
    (
        "data: None",
        lambda: rx.lmer("y ~ x + (1 | g)", None),
        DataError,
        r"data is a NoneType, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "data: dict",
        lmer(data=lambda: {"y": [1.0]}),
        DataError,
        r"data is a dict, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "data: array",
        lmer(data=lambda: np.ones((5, 3))),
        DataError,
        r"data is a numpy\.ndarray, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "data: list of frames to lmer",
        lmer(data=lambda: [base()]),
        DataError,
        r"data holds several data sets: use rx\.lmer_list\(formula, data\), or give one DataFrame",
    ),
    (
        "data: polars",
        lmer(data=Polars),
        DataError,
        r"data is a bad_input\.Polars, not a pandas DataFrame: convert it with \.to_pandas\(\) first",
    ),
    (
        "data: Series",
        lmer(data=lambda: base()["y"]),
        DataError,
        r"data is a pandas\.Series, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "data: ImputedData to lmer",
        lmer(data=lambda: rx.ImputedData.from_frames([base()])),
        DataError,
        r"data holds several data sets: use rx\.lmer_list\(formula, data\), or give one DataFrame",
    ),
    (
        "data: path",
        lmer(data=lambda: "data.csv"),
        DataError,
        r"data is a str, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "data: no rows",
        lmer(data=lambda: base().iloc[:0]),
        DataError,
        r"data is empty \(0 rows, 23 columns\): leave it out or fill it",
    ),
    (
        "data: no columns",
        lmer(data=lambda: base()[[]]),
        DataError,
        r"data is empty \(60 rows, 0 columns\): leave it out or fill it",
    ),
    (
        "data: one row",
        lmer(data=lambda: base().iloc[:1]),
        DataError,
        "the response 'y' is constant: there is nothing to explain",
    ),
    (
        "data: duplicated columns",
        lmer(data=lambda: base()[["y", "x", "x", "g"]]),
        DataError,
        "data has more than one column named 'x': rename or drop all but one",
    ),
    (
        "data: number as column name",
        lmer(data=lambda: base().rename(columns={"z": 3})),
        DataError,
        "data has the column name 3, which is not text: rename the column",
    ),
    (
        "data: two-level columns",
        lmer(data=lambda: pd.concat({"a": base()}, axis=1)),
        DataError,
        r"data has the column name \('a', 'y'\), which is not text: rename the column",
    ),
    (
        "data: all rows missing",
        lmer("y ~ empty + (1 | g)"),
        DataError,
        "every row has a missing cell in one of y, empty, g: nothing is left to fit",
    ),
    (
        "data: all rows missing, nullable",
        lmer("y ~ nothing + (1 | g)"),
        DataError,
        "every row has a missing cell in one of y, nothing, g: nothing is left to fit",
    ),
    (
        "data: missing response everywhere",
        lmer("empty ~ x + (1 | g)"),
        DataError,
        "every row has a missing cell in one of empty, x, g: nothing is left to fit",
    ),
    (
        "data: missing group everywhere",
        lmer("y ~ x + (1 | empty)"),
        DataError,
        "every row has a missing cell in one of y, x, empty: nothing is left to fit",
    ),
    (
        "data: infinite predictor",
        lmer("y ~ infinite + (1 | g)"),
        DataError,
        r"column 'infinite' in the fixed part has 1 infinite cell \(the first at row 4\)",
    ),
    (
        "data: infinite response",
        lmer("infinite ~ x + (1 | g)"),
        DataError,
        r"column 'infinite' in the response has 1 infinite cell \(the first at row 4\)",
    ),
    (
        "data: date as predictor",
        lmer("y ~ day + (1 | g)"),
        DataError,
        r"column 'day' in the fixed part is of type datetime64\[us\], neither numbers nor categories: turn it",
    ),
    (
        "data: time zone as predictor",
        lmer("y ~ zone + (1 | g)"),
        DataError,
        r"column 'zone' in the fixed part is of type datetime64\[us, UTC\], neither numbers nor categories:",
    ),
    (
        "data: duration as predictor",
        lmer("y ~ span + (1 | g)"),
        DataError,
        r"column 'span' in the fixed part is of type timedelta64\[us\], neither numbers nor categories: turn it",
    ),
    (
        "data: date as response",
        lmer("day ~ x + (1 | g)"),
        DataError,
        r"column 'day' in the response is of type datetime64\[us\], neither numbers nor categories: turn it",
    ),
    (
        "data: objects as predictor",
        lmer("y ~ objects + (1 | g)"),
        DataError,
        "column 'objects' in the fixed part holds Python objects of type object; make it numeric",
    ),
    (
        "data: lists as predictor",
        lmer("y ~ lists + (1 | g)"),
        DataError,
        "column 'lists' in the fixed part holds Python objects of type list; make it numeric",
    ),
    (
        "data: lists as group",
        lmer("y ~ x + (1 | lists)"),
        DataError,
        "the grouping column 'lists' holds Python objects of type list, which have no order: turn every cell",
    ),
    (
        "data: objects as group",
        lmer("y ~ x + (1 | objects)"),
        DesignError,
        "the grouping factor 'objects' has only one level: its variance cannot be estimated",
    ),
    (
        "data: complex predictor",
        lmer("y ~ complex + (1 | g)"),
        DataError,
        "column 'complex' in the fixed part is of type complex128, neither numbers nor categories",
    ),
    (
        "data: complex response",
        lmer("complex ~ x + (1 | g)"),
        DataError,
        "column 'complex' in the response is of type complex128, neither numbers nor categories",
    ),
    (
        "data: string numbers as response",
        lmer("text ~ x + (1 | g)"),
        FormulaError,
        "the response 'text' is categorical; it must be numeric",
    ),
    (
        "data: constant response",
        lmer("constant ~ x + (1 | g)"),
        DataError,
        "the response 'constant' is constant: there is nothing to explain",
    ),
    (
        "data: response explained exactly",
        lmer("x ~ x + (1 | g)"),
        DataError,
        "the fixed part explains the response 'x' exactly: there is no residual variance to estimate",
    ),
    (
        "data: category with one level",
        lmer("y ~ one + (1 | g)"),
        DataError,
        r"'one' in the fixed part has only one category \('same'\) in these data; leave it out of the formula",
    ),
    (
        "data: one group",
        lmer("y ~ x + (1 | one)"),
        DesignError,
        "the grouping factor 'one' has only one level: its variance cannot be estimated",
    ),
    (
        "data: one row per group",
        lmer("y ~ x + (1 | row)"),
        DesignError,
        "the grouping factor 'row' has 60 levels for 60 rows: with one row per level its variance cannot be",
    ),
    (
        "data: more effects than rows",
        lmer("y ~ x + (1 + x + z + w + row | g)"),
        DesignError,
        r"the term \(Intercept \+ x \+ z \+ w \+ row \| g\) has 60 random effects for 60 rows: its variances cannot",
    ),
    (
        "data: more coefficients than rows",
        lmer("y ~ factor(row) + (1 | g)"),
        DataError,
        "the fixed part explains the response 'y' exactly: there is no residual variance to estimate",
    ),
    (
        "data: zero random column",
        lmer("y ~ x + (0 + zero | g)"),
        DataError,
        r"the random-effects column 'zero' of \(zero \| g\) is zero in every row",
    ),
    (
        "data: mixed types in a column",
        lmer("y ~ q + (1 | g)", lambda: changed(q=["a", 1] * 30)),
        DataError,
        "column 'q' in the fixed part holds Python objects of type int, str; make it numeric",
    ),
    (
        "data: period as predictor",
        lmer("y ~ q + (1 | g)", lambda: changed(q=pd.period_range("2020", periods=60, freq="M"))),
        DataError,
        r"column 'q' in the fixed part is of type period\[M\], neither numbers nor categories: turn it into a",
    ),
    (
        "data: huge scale overflows",
        lmer("y ~ I(x * 1e200 * 1e200) + (1 | g)"),
        DataError,
        r"'I\(x \* 1e200 \* 1e200\)' in the fixed part is not finite in 60 of 60 rows \(the first is row 0, where",
    ),
    (
        "data: integer beyond float",
        lmer("y ~ q + (1 | g)", lambda: changed(q=[10**400] * 60)),
        DataError,
        r"column 'q' in the fixed part holds Python objects of type int; make it numeric \(pandas\.to_numeric\)",
    ),
]

OPTIONS: list[Case] = [
    (
        "weights: unknown column",
        lmer(weights="weight"),
        FormulaError,
        "'weight' in the weights is not a column of the data; the columns are 'y', 'x', 'z', 'f', 'g', 'w',",
    ),
    (
        "weights: negative",
        lmer(weights="x"),
        DataError,
        "weights must be positive: 29 are zero or negative; leave those rows out of the data",
    ),
    (
        "weights: zero",
        lmer(weights="zero"),
        DataError,
        "weights must be positive: 60 are zero or negative; leave those rows out of the data",
    ),
    ("weights: categories", lmer(weights="f"), FormulaError, "the weights 'f' is categorical; it must be numeric"),
    ("weights: missing", lmer(weights=np.full(60, np.nan)), DataError, "weights has 60 missing or infinite values"),
    ("weights: infinite", lmer(weights=np.full(60, np.inf)), DataError, "weights has 60 missing or infinite values"),
    ("weights: too few", lmer(weights=np.ones(5)), DataError, "weights has 5 values, but the data sets have 60 rows"),
    (
        "weights: matrix",
        lmer(weights=np.ones((60, 2))),
        DataError,
        r"weights must be one-dimensional, not of shape \(60, 2\)",
    ),
    ("weights: scalar", lmer(weights=2.0), DataError, r"weights must be one-dimensional, not of shape \(\)"),
    (
        "weights: texts",
        lmer(weights=["a"] * 60),
        DataError,
        "weights must be numbers, a column name, or one array per data set",
    ),
    (
        "weights: dict",
        lmer(weights={"a": 1}),
        DataError,
        "weights must be numbers, a column name, or one array per data set",
    ),
    ("weights: True", lmer(weights=True), DataError, r"weights must be one-dimensional, not of shape \(\)"),
    (
        "weights: ragged",
        lmer_list(lambda: [base(), base()], weights=[np.ones(60)]),
        DataError,
        "weights holds 1 arrays for 2 data sets: give one each",
    ),
    (
        "weights: one of the wrong length",
        lmer_list(lambda: [base(), base()], weights=[np.ones(60), np.ones(3)]),
        DataError,
        "weights has 3 values for imputation 2, which has 60 rows",
    ),
    (
        "weights: injected",
        lmer(weights="__import__('os')"),
        FormulaError,
        "cannot read \"__import__\\('os'\\)\": '__import__' is not a function that a formula may use; the",
    ),
    (
        "offset: unknown column",
        lmer(offset="off"),
        FormulaError,
        "'off' in the offset is not a column of the data; the columns are 'y', 'x', 'z', 'f', 'g', 'w', 'my",
    ),
    ("offset: too few", lmer(offset=[1.0]), DataError, "offset has 1 values, but the data sets have 60 rows"),
    (
        "offset: dates",
        lmer(offset=pd.Series(pd.date_range("2020", periods=60))),
        DataError,
        r"offset has values of type datetime64\[\w+\], not real numbers: turn them into numbers first",
    ),
    (
        "offset: durations, one per data set",
        lmer_list(lambda: [base(), base()], offset=[base()["span"].to_numpy()] * 2),
        DataError,
        r"offset has values of type timedelta64\[\w+\], not real numbers: turn them into numbers first",
    ),
    (
        "weights: complex numbers",
        lmer(weights=np.ones(60) + 1j),
        DataError,
        "weights has values of type complex128, not real numbers$",
    ),
    ("offset: missing", lmer(offset=np.full(60, np.nan)), DataError, "offset has 60 missing or infinite values"),
    ("offset: categories", lmer(offset="f"), FormulaError, "the offset 'f' is categorical; it must be numeric"),
    (
        "optimizer: text",
        lmer(optimizer="newton"),
        DataError,
        r"optimizer='newton' must be made by rx\.Newton\(\) or rx\.LBFGS\(\)",
    ),
    (
        "optimizer: class",
        lmer(optimizer=rx.Newton),
        DataError,
        r"optimizer=<class 'remlax\.kernels\.newton\.Newton'> must be made by rx\.Newton\(\) or rx\.LBFGS\(\)",
    ),
    (
        "optimizer: negative iterations",
        lmer(optimizer=rx.Newton(max_iter=-1)),
        DataError,
        "max_iter=-1 of the optimizer must be at least 1",
    ),
    (
        "optimizer: iterations as text",
        lmer(optimizer=rx.LBFGS(max_iter="10")),
        DataError,
        "max_iter='10' of the optimizer must be a whole number",
    ),
    (
        "optimizer: tolerance not a number",
        lmer(optimizer=rx.LBFGS(tol=math.nan)),
        DataError,
        "tol=nan of the optimizer must be a positive number",
    ),
    ("reml: text", lmer(reml="no"), DataError, r"reml='no' must be True \(REML\) or False \(maximum likelihood\)"),
    ("reml: None", lmer(reml=None), DataError, r"reml=None must be True \(REML\) or False \(maximum likelihood\)"),
]

SETS: list[Case] = [
    ("sets: none", lmer_list(list), DataError, "there is no data set: give at least one DataFrame"),
    (
        "sets: one frame",
        lmer_list(base),
        DataError,
        r"one data frame was given where several are needed: put it in a list, or use rx\.read_imputations\(frame\)",
    ),
    (
        "sets: polars",
        lmer_list(Polars),
        DataError,
        r"one data frame was given where several are needed: put it in a list, or use rx\.read_imputations\(frame\)",
    ),
    ("sets: text", lmer_list(lambda: "data"), DataError, "a list or dict of DataFrames is needed, not a str"),
    ("sets: number", lmer_list(lambda: 5), DataError, "a list or dict of DataFrames is needed, not a int"),
    ("sets: None", lmer_list(lambda: None), DataError, "a list or dict of DataFrames is needed, not a NoneType"),
    (
        "sets: list with None",
        lmer_list(lambda: [base(), None]),
        DataError,
        r"imputation 2 is a NoneType, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "sets: list with polars",
        lmer_list(lambda: [base(), Polars()]),
        DataError,
        r"imputation 2 is a bad_input\.Polars, not a pandas DataFrame: convert it with \.to_pandas\(\) first",
    ),
    (
        "sets: an empty one",
        lmer_list(lambda: [base(), base().iloc[:0]]),
        DataError,
        r"imputation 2 is empty \(0 rows, 23 columns\): leave it out or fill it",
    ),
    (
        "sets: other columns",
        lmer_list(lambda: [base(), base().drop(columns="z")]),
        DataError,
        "imputation 2 lacks the column 'z' that imputation 1 has: give all data sets the same columns",
    ),
    (
        "sets: other types",
        lmer_list(lambda: [base(), changed(x=base()["text"])]),
        DataError,
        "column 'x' holds text in imputation 2 but numbers in imputation 1: give it one type everywhere",
    ),
    (
        "sets: other categories",
        lmer_list(lambda: [changed(f=pd.Categorical(base()["f"])), changed(f=pd.Categorical(["a", "q"] * 30))]),
        DataError,
        "column 'f' has the categories 'a', 'q' in imputation 2 but 'a', 'b', 'c' in imputation 1: give it",
    ),
    (
        "sets: missing cells",
        lmer_list(lambda: [base(), changed(x=base()["gap"])]),
        DataError,
        r"missing cells in variables of the model: 'x' \(9 in imputation 2\): impute these variables too, or",
    ),
    (
        "sets: column missing in the formula",
        lmer_list(lambda: [base()], "y ~ xx + (1 | g)"),
        FormulaError,
        r"'xx' in the formula is not a column of the data; did you mean 'x'\?",
    ),
    (
        "sets: one group in one set",
        lmer_list(lambda: [base(), changed(g="g00")]),
        DesignError,
        "the grouping factor 'g' has only one level in imputation 2: its variance cannot be estimated",
    ),
    (
        "sets: constant response in one set",
        lmer_list(lambda: [base(), changed(y=1.0)]),
        DataError,
        "the response 'y' is constant in imputation 2: there is nothing to explain",
    ),
    (
        "sets: infinite in one set",
        lmer_list(lambda: [base(), changed(x=base()["infinite"])]),
        DataError,
        r"imputation 2: column 'x' in the fixed part has 1 infinite cell \(the first at row 4\)",
    ),
    (
        "sets: aliased in one set only",
        lmer_list(lambda: [base(), changed(z=base()["x"])], "y ~ x + z + (1 | g)"),
        DesignError,
        "the fixed-effect column 'z' is determined by the others in imputation 2 but not in all: its",
    ),
    (
        "from_long: no number column",
        lambda: rx.ImputedData.from_long(base()),
        DataError,
        r"the long frame has no column '\.imp' that numbers the imputations; its columns are 'y', 'x', 'z',",
    ),
    (
        "from_long: missing number",
        lambda: rx.ImputedData.from_long(changed(**{".imp": base()["gap"]})),
        DataError,
        r"column '\.imp' has 9 missing cells: say which imputation each row is of",
    ),
    (
        "from_long: only the original",
        lambda: rx.ImputedData.from_long(changed(**{".imp": 0})),
        DataError,
        r"column '\.imp' is 0 in every row: there is an original but no imputation of it",
    ),
    (
        "from_long: list",
        lambda: rx.ImputedData.from_long([base()]),
        DataError,
        r"the long frame is a list, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "ImputedData: slice of nothing",
        lambda: rx.ImputedData.from_frames([base()])[5:],
        DataError,
        "positions 5:None hold none of the 1 imputations",
    ),
    (
        "ImputedData: rows differ",
        lambda: rx.ImputedData.from_frames([base(), base().iloc[1:]]).n_rows,
        DataError,
        r"the imputations have between 59 and 60 rows, so there is no one number of rows: take len\(\) of each",
    ),
    (
        "ImputedData: varying of sizes",
        lambda: rx.ImputedData.from_frames([base(), base().iloc[1:]]).varying,
        DataError,
        r"imputations with different numbers of rows cannot be compared row by row: check \.aligned first",
    ),
    (
        "ImputedData: original of other rows",
        lambda: rx.ImputedData.from_frames([base()]).with_original(base().iloc[1:]),
        DataError,
        "the original has 59 rows but the imputations have 60: give the same rows in the same order, or none",
    ),
    (
        "ImputedData: long with .imp",
        lambda: rx.ImputedData.from_frames([changed(**{".imp": 1})]).to_long(),
        DataError,
        r"a variable is called '\.imp', which the long layout needs: rename it",
    ),
    (
        "ImputedData: no original",
        lambda: rx.ImputedData.from_frames([base()]).to_long(include_original=True),
        DataError,
        r"there is no original to include: add it using with_original\(\)",
    ),
    (
        "ImputedData: map to nothing",
        lambda: rx.ImputedData.from_frames([base()]).map(lambda d: None),
        DataError,
        r"imputation 1 is a NoneType, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "ImputedData: unknown complete column",
        lambda: rx.ImputedData.from_frames([base()]).check_complete(["q"]),
        DataError,
        "the imputations have no column 'q'; they have 'y', 'x', 'z', 'f', 'g', 'w' and 17 more",
    ),
]

RESULTS: list[Case] = [
    (
        "tidy: effects a list",
        of(fit, "tidy", ["fixed"]),
        DataError,
        r"effects=\['fixed'\] is not known: use 'fixed', 'ran_pars', 'ran_vals' or 'ran_coefs'",
    ),
    (
        "tidy: unknown ddf",
        of(fit, "tidy", ddf="kr"),
        DataError,
        "degrees of freedom 'kr' are not known: use 'satterthwaite', 'kenward-roger', 'residual', a number,",
    ),
    (
        "tidy: ddf of the wrong length",
        of(fit, "tidy", ddf=[1.0, 2.0]),
        DataError,
        r"degrees of freedom of shape \(2,\): give one number, or 4, one per coefficient",
    ),
    (
        "tidy: negative ddf",
        of(fit, "tidy", ddf=-3),
        DataError,
        r"degrees of freedom must be positive \(math\.inf for z tests\), not -3",
    ),
    (
        "tidy: ddf not a number",
        of(fit, "tidy", ddf=math.nan),
        DataError,
        r"degrees of freedom must be positive \(math\.inf for z tests\), not nan",
    ),
    ("tidy: ddf an object", of(fit, "tidy", ddf=object()), DataError, "degrees of freedom "),
    (
        "tidy: level of 95",
        of(fit, "tidy", conf_level=95),
        DataError,
        r"conf_level=95 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "tidy: level of text",
        of(fit, "tidy", conf_level="95%"),
        DataError,
        r"conf_level='95%' must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "tidy: level for ran_pars",
        of(fit, "tidy", "ran_pars", conf_level=0),
        DataError,
        r"conf_level=0 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "tidy: level for ran_vals",
        of(fit, "tidy", "ran_vals", conf_level=1.5),
        DataError,
        r"conf_level=1\.5 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "criterion: too many",
        of(fit, "criterion", [1.0, 2.0]),
        DataError,
        r"theta must hold 1 finite numbers, in lme4's order; it has shape \(2,\)",
    ),
    (
        "criterion: not finite",
        of(fit, "criterion", [math.nan]),
        DataError,
        r"theta must hold 1 finite numbers, in lme4's order; it has shape \(1,\)",
    ),
    ("criterion: text", of(fit, "criterion", "a"), DataError, "theta='a' must hold 1 finite numbers, in lme4's order"),
    (
        "augment: taken name",
        lambda: rx.lmer("y ~ hat + (1 | g)", changed(hat=base()["x"])).augment(),
        DataError,
        r"a column of the data is called 'hat', as one of augment\(\)'s: rename it",
    ),
    (
        "contrast: unknown name",
        of(fit, "contrast", "xx - x"),
        FormulaError,
        r"'xx' in the hypothesis 'xx - x' is no coefficient; there are Intercept, x, f\[T\.b\], f\[T\.c\]",
    ),
    (
        "contrast: matrix of the wrong width",
        of(fit, "contrast", [[1.0, 0.0]]),
        FormulaError,
        r"L has the shape \(1, 2\); it needs one column for each of Intercept, x, f\[T\.b\], f\[T\.c\]",
    ),
    (
        "contrast: numbers by name",
        of(pooled, "contrast", {"x": 1, "f[T.b]": -1}),
        FormulaError,
        r"the values of the dict \{'x': 1, 'f\[T\.b\]': -1\} must be texts such as 'a - b', its keys their labels",
    ),
    (
        "contrast: zeros",
        of(pooled, "contrast", [[0.0, 0.0, 0.0, 0.0]]),
        FormulaError,
        "the hypothesis '0' has coefficients of zero only: it says nothing",
    ),
    (
        "contrast: missing",
        of(pooled, "contrast", [[math.nan, 0.0, 0.0, 0.0]]),
        FormulaError,
        "L holds values that are not finite",
    ),
    (
        "contrast: number",
        of(pooled, "contrast", 3),
        FormulaError,
        r"L has the shape \(1, 1\); it needs one column for each of Intercept, x, f\[T\.b\], f\[T\.c\]",
    ),
    (
        "contrast: None",
        of(pooled, "contrast", None),
        FormulaError,
        r"L has the shape \(1, 1\); it needs one column for each of Intercept, x, f\[T\.b\], f\[T\.c\]",
    ),
    (
        "contrast: empty",
        of(pooled, "contrast", []),
        FormulaError,
        r"L has the shape \(1, 0\); it needs one column for each of Intercept, x, f\[T\.b\], f\[T\.c\]",
    ),
    (
        "contrast: empty dict",
        of(fit, "contrast", {}),
        FormulaError,
        r"the dict has no hypothesis: give at least one text",
    ),
    (
        "contrast: names of another type",
        of(fit, "contrast", "x", 3),
        FormulaError,
        r"names=3 must be a list of texts, one for each linear combination",
    ),
    (
        "contrast: overflow",
        of(pooled, "contrast", "1e400*x"),
        FormulaError,
        r"the hypothesis '1e400\*x' has a number that is not finite",
    ),
    (
        "contrast: texts in a frame",
        of(fit, "contrast", pd.DataFrame({"x": ["a"]})),
        FormulaError,
        r"L holds cells that are no numbers",
    ),
    (
        "test: division by zero",
        of(fit, "test", "x/0"),
        FormulaError,
        r"the hypothesis 'x/0' has a number that is not finite",
    ),
    (
        "test: overflow",
        of(fit, "test", "x = 1e400"),
        FormulaError,
        r"the hypothesis 'x = 1e400' has a number that is not finite",
    ),
    (
        "test: q0 of another type",
        of(fit, "test", "x=0", q0="zz"),
        FormulaError,
        r"q0 must be one finite number or 1 of them, one per row of L",
    ),
    (
        "confint: text for a level",
        of(fit, "confint", conf_level="95"),
        DataError,
        r"conf_level='95' must be a number between 0 and 1",
    ),
    (
        "confint: no level",
        of(fit, "confint", "profile", conf_level=None),
        DataError,
        r"conf_level=None must be a number between 0 and 1",
    ),
    (
        "confint: seed of a list",
        of(fits, "confint", "boot", seed="a"),
        DataError,
        r"seed='a' must be a whole number of at least 0",
    ),
    (
        "average_obs: no dict",
        of(fit, "average_obs", "x"),
        DataError,
        r"subset='x' must be a dict from variables of the model to values, as in \{'x': 1\}",
    ),
    (
        "draw_obs: no dict",
        of(pooled, "draw_obs", 2, subset=3.5),
        DataError,
        r"subset=3\.5 must be a dict from variables of the model to values",
    ),
    (
        "re_impact: draws",
        lambda: fit().re_impact(base()[:2], n_sims=-1),
        DataError,
        r"n_sims=-1 must be a whole number of at least 2",
    ),
    (
        "re_impact: level",
        lambda: pooled().re_impact(base()[:2], conf_level=3.5),
        DataError,
        r"conf_level=3\.5 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "re_impact: no term",
        lambda: fit().re_impact(base()[:2], term=[]),
        DataError,
        r"\[\] must be the name of a random-effects column, or a list of at least one name",
    ),
    (
        "re_margins: terms of another type",
        lambda: fit().re_margins(base()[:2], terms=3),
        DataError,
        r"3 must be the name of a random-effects column, or a list",
    ),
    (
        "re_margins: no terms",
        lambda: pooled().re_margins(base()[:2], terms=[]),
        DataError,
        r"\[\] must be the name of a random-effects column, or a list",
    ),
    (
        "re_margins: percentiles of text",
        lambda: fit().re_margins(base()[:2], percentiles="zz"),
        DataError,
        r"percentiles='zz' must be numbers between 0 and 100",
    ),
    (
        "expected_rank: no term",
        of(fit, "expected_rank", term=[]),
        DataError,
        r"\[\] must be the name of a random-effects column, or a list",
    ),
    (
        "re_quantile: no term",
        of(pooled, "re_quantile", term=[]),
        DataError,
        r"\[\] must be the name of a random-effects column, or a list",
    ),
    (
        "r2: seed of one fit",
        of(fit, "r2", seed=-1),
        DataError,
        r"seed=-1 must be a whole number of at least 0",
    ),
    (
        "r2: seed of another type",
        of(pooled, "r2", seed="a"),
        DataError,
        r"seed='a' must be a whole number of at least 0",
    ),
    (
        "emmeans: at of another type",
        of(fit, "emmeans", "f", at=3.5),
        DataError,
        r"at=3\.5 must be a dict from variables of the fixed part to values, as in",
    ),
    (
        "confint: profile of a pooled model",
        of(pooled, "confint", "profile"),
        DataError,
        r"others are of one fit, as in fits\[0\]\.confint\('profile'\)",
    ),
    (
        "contrast: names of the wrong number",
        of(pooled, "contrast", "x", ["a", "b"]),
        FormulaError,
        "2 names for 1 linear combinations: give one each",
    ),
    (
        "contrast: q0 of the wrong number",
        of(pooled, "contrast", "x", q0=[1.0, 2.0]),
        FormulaError,
        "q0 must be one finite number or 1 of them, one per row of L",
    ),
    (
        "contrast: product of coefficients",
        of(pooled, "contrast", "x * x"),
        FormulaError,
        r"the hypothesis 'x \* x' is not linear in the coefficients",
    ),
    (
        "contrast: injected",
        of(pooled, "contrast", "__import__('os')"),
        FormulaError,
        r"__import__\('os'\)\" in the hypothesis .* is no coefficient",
    ),
    (
        "test: dependent",
        of(pooled, "test", ["x", "2*x"]),
        DataError,
        r"the hypotheses are linearly dependent \(x; 2\*x\): leave one out",
    ),
    (
        "test: dependent in one fit",
        of(fit, "test", ["x", "2*x"]),
        DataError,
        r"the hypotheses are linearly dependent \(x; 2\*x\): leave one out",
    ),
    ("test: no equation", of(fit, "test", ""), FormulaError, "the hypothesis '' has an empty side"),
    (
        "test: two equations in one",
        of(fit, "test", "x = 0 = 1"),
        FormulaError,
        "no coefficient is left in 'x = 0 = 1': both sides are the same",
    ),
    (
        "pool: one fit",
        lambda: fits()[:1].pool(),
        PoolingError,
        r"pooling needs at least two fits; there is one: a single fit has its own tidy\(\) and summary\(\)",
    ),
    (
        "pool: no fit",
        lambda: rx.LmerFitList(fits().selection.take(())).pool(),
        PoolingError,
        r"pooling needs at least two fits; there are none: a single fit has its own tidy\(\) and summary\(\)",
    ),
    (
        "pool: level 0",
        of(fits, "pool", conf_level=0.0),
        PoolingError,
        r"conf_level=0\.0 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "pool: level of text",
        of(fits, "pool", conf_level="0.95"),
        PoolingError,
        r"conf_level='0\.95' must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "pool: dfcom 0",
        of(fits, "pool", dfcom=0),
        DataError,
        r"degrees of freedom must be positive \(math\.inf for z tests\), not 0",
    ),
    (
        "pool: dfcom missing",
        of(fits, "pool", dfcom=math.nan),
        DataError,
        r"degrees of freedom must be positive \(math\.inf for z tests\), not nan",
    ),
    (
        "pool: unknown dfcom",
        of(fits, "pool", dfcom="KR"),
        DataError,
        "degrees of freedom 'KR' are not known: use 'satterthwaite', 'kenward-roger', 'residual', a number,",
    ),
    (
        "pool: dfcom of the wrong length",
        of(fits, "pool", dfcom=[1.0, 2.0]),
        DataError,
        r"degrees of freedom of shape \(2,\): give one number, or 4, one per coefficient",
    ),
    (
        "pool: unknown cluster",
        of(fits, "pool", vcov="CR2", cluster="school"),
        DataError,
        r"cluster='school' is neither a grouping factor of the model \(g\) nor a column of its data",
    ),
    ("list: position out of range", lambda: fits()[7], IndexError, "tuple index out of range"),
    (
        "list: position of text",
        lambda: fits()["a"],
        DataError,
        r"fits are taken by position, 0 to 2, not by 'a'; see \.labels",
    ),
    (
        "predict: unknown column",
        lambda: fit().predict(base().drop(columns="x")),
        DataError,
        "newdata has no column 'x', which the fixed part needs; its columns are 'y', 'z', 'f', 'g', 'w', 'my",
    ),
    (
        "predict: group missing",
        lambda: fit().predict(base().drop(columns="g")),
        DataError,
        "newdata has no column 'g', which the grouping factor 'g' needs; its columns are 'y', 'x', 'z', 'f',",
    ),
    (
        "predict: new level",
        lambda: fit().predict(changed(g="new")),
        DataError,
        "newdata has the level 'new' of 'g', which the fit has not seen: use new_levels='mean' for the",
    ),
    (
        "predict: new category",
        lambda: fit().predict(changed(f="q")),
        DataError,
        "newdata: 'f' in the fixed part has the unseen category 'q'; the data of the fit have 'a', 'b', 'c'",
    ),
    (
        "predict: missing cell",
        lambda: fit().predict(changed(x=base()["gap"])),
        DataError,
        r"newdata: column 'x' in the fixed part has 9 missing cells \(the first at row 3\)",
    ),
    (
        "predict: text for numbers",
        lambda: fit().predict(changed(x=base()["text"])),
        DataError,
        "newdata: 'x' in the fixed part is categorical here and was numeric in the data of the fit",
    ),
    (
        "predict: dict",
        of(fit, "predict", {"x": [1.0]}),
        DataError,
        r"newdata is a dict of columns: give pandas\.DataFrame\(newdata\)",
    ),
    (
        "predict: polars",
        of(fit, "predict", Polars()),
        DataError,
        "newdata must be a DataFrame, or one per data set, not a Polars",
    ),
    ("predict: no rows", lambda: fit().predict(base().iloc[:0]), DataError, "newdata has no rows"),
    (
        "predict: level",
        of(fit, "predict", interval="confidence", conf_level=95),
        DataError,
        r"conf_level=95 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "predict: level of text",
        of(fit, "predict", interval="confidence", conf_level="a"),
        DataError,
        r"conf_level='a' must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "predict: level unknown group",
        of(fit, "predict", level="~(1 | school)"),
        FormulaError,
        r"level='~\(1 \| school\)' asks for 'Intercept' by 'school', which the model does not have; it has",
    ),
    (
        "predict: level with fixed terms",
        of(fit, "predict", level="~x"),
        FormulaError,
        r"level='~x': cannot read 'y ~ x': it has no random term; add one such as \(1 \| g\), where g names",
    ),
    (
        "predict: level a number",
        of(fit, "predict", level=3),
        DataError,
        r"level=3 is not known: use 'population', 'group', a list of grouping factors or a formula",
    ),
    (
        "predict: pooled unknown level",
        of(pooled, "predict", level="school"),
        DataError,
        "level='school' is not known: use 'population', 'group', a list of grouping factors or a formula",
    ),
    (
        "predict: pooled wrong number of frames",
        lambda: pooled().predict([base(), base()]),
        DataError,
        "newdata holds 2 frames for 3 fits: give one, or one for each fit",
    ),
    (
        "predict: pooled frames of other rows",
        lambda: pooled().predict([base(), base(), base().iloc[1:]]),
        DataError,
        "the frames of newdata have different numbers of rows: predictions are pooled row by row",
    ),
    (
        "predict_interval: no draws",
        of(fit, "predict_interval", n_sims=0),
        DataError,
        "n_sims=0 must be a whole number of at least 2",
    ),
    (
        "predict_interval: half a draw",
        of(fit, "predict_interval", n_sims=1.5),
        DataError,
        r"n_sims=1\.5 must be a whole number of at least 2",
    ),
    (
        "predict_interval: seed of text",
        of(fit, "predict_interval", seed="a"),
        DataError,
        "seed='a' must be a whole number of at least 0",
    ),
    (
        "model_table: a number",
        lambda: rx.model_table(3),
        DataError,
        "models must be a list or dict of fits or pooled models, not a int",
    ),
    (
        "model_table: nothing",
        lambda: rx.model_table([]),
        DataError,
        "there is no model: give at least one fit or pooled model",
    ),
    (
        "model_table: unpooled",
        lambda: rx.model_table([fits()]),
        DataError,
        "Model 1 is a LmerFitList, not a fit or a pooled model: pool it first",
    ),
    (
        "to_frame: digits",
        of(fit, "to_frame", digits="two"),
        DataError,
        "digits='two' must be a whole number between 0 and 6",
    ),
    (
        "to_markdown: labels",
        of(pooled, "to_markdown", labels="x"),
        DataError,
        "labels must be a dict from terms, variables or groups to the words to print",
    ),
    ("load: no file", with_file(lambda p: None), FileFormatError, r"cannot be read \(No such file or directory\)"),
    (
        "load: a csv",
        with_file(lambda p: base()[["x"]].to_csv(p)),
        FileFormatError,
        r"is not a file that remlax wrote: give one made by save\(\)",
    ),
    (
        "load: empty file",
        with_file(lambda p: p.touch()),
        FileFormatError,
        r"is not a file that remlax wrote: give one made by save\(\)",
    ),
    ("load: folder", with_file(lambda p: p.mkdir()), FileFormatError, r"cannot be read \(Is a directory\)"),
    ("load: NUL", lambda: rx.load("a\0b"), FileFormatError, r"'a\\x00b' is not the name of a file"),
    ("save: no name", of(fit, "save", ""), FileFormatError, "'' is not the name of a file"),
    ("fits: slice of nothing", lambda: fits()[9:], DataError, "positions 9:None hold none of the 3 fits"),
    ("load: None", lambda: rx.load(None), FileFormatError, "a path is needed, not a NoneType"),
    (
        "save: folder that is not there",
        of(fit, "save", "/no/such/folder/f"),
        FileFormatError,
        r"/no/such/folder/f cannot be written \(No such file or directory\): what was there before is",
    ),
    ("save: number", of(fits, "save", 3), FileFormatError, "a path is needed, not a int"),
]

POOLING: list[Case] = [
    (
        "pool_rubin: one imputation",
        lambda: pooling.pool_rubin(np.ones((1, 2)), np.ones((1, 2, 2))),
        PoolingError,
        "Pooling needs at least two imputations, and there is one: the spread between imputations cannot be",
    ),
    (
        "pool_rubin: shapes",
        lambda: pooling.pool_rubin(np.ones((3, 2)), np.ones((3, 3, 3))),
        PoolingError,
        r"The covariances have the shape \(3, 3, 3\); estimates of shape \(3, 2\) need \(3, 2, 2\)\.",
    ),
    (
        "pool_rubin: missing",
        lambda: pooling.pool_rubin(np.full((3, 1), np.nan), np.ones((3, 1, 1))),
        PoolingError,
        r"The estimates of imputations 1, 2, 3 \(counted from 1\) hold NaN or infinite values: that fit failed\.",
    ),
    (
        "pool_rubin: negative variance",
        lambda: pooling.pool_rubin(np.ones((3, 1)), -np.ones((3, 1, 1))),
        PoolingError,
        r"Imputations 1, 2, 3 \(counted from 1\): a variance is negative\.",
    ),
    (
        "pool_rubin: text",
        lambda: pooling.pool_rubin("a", "b"),
        PoolingError,
        r"The estimates cannot be read as one array of numbers: could not convert string to float: 'a'\.",
    ),
    (
        "pool_scalars: level",
        lambda: pooling.pool_scalars(np.ones((3, 1)), np.ones((3, 1)), conf_level=2),
        PoolingError,
        r"conf_level=2 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "pool_scalars: ragged",
        lambda: pooling.pool_scalars([[1.0], [1.0, 2.0]], np.ones((2, 1))),
        PoolingError,
        r"The estimates cannot be read as one array of numbers: setting an array element with a sequence\. The",
    ),
    (
        "d1: null",
        lambda: pooling.d1(np.ones((3, 2)), np.stack([np.eye(2)] * 3), np.ones(3)),
        PoolingError,
        r"q0 must be one finite number or 2 of them; it is \[1\. 1\. 1\.\]\.",
    ),
    (
        "d2: one statistic",
        lambda: pooling.d2(np.ones(1), 1),
        PoolingError,
        "Pooling needs at least two imputations, and there is one: the spread between imputations cannot be",
    ),
    (
        "d2: no df",
        lambda: pooling.d2(np.ones(3), 0),
        PoolingError,
        r"A test needs at least one component \(k >= 1\); k is 0\.",
    ),
]

MORE: list[Case] = [
    (
        "data: group with 1 and '1'",
        lmer(data=lambda: changed(g=["1", 1, "b", 2] * 15)),
        DataError,
        "two levels of the grouping factor 'g' are both written '1': rename one of them",
    ),
    (
        "data: lists as interaction group",
        lmer("y ~ x + (1 | g:lists)"),
        DataError,
        "the grouping column 'lists' holds Python objects of type list, which have no order: turn every cell",
    ),
    (
        "anova: terms of something else",
        lambda: rx.anova("y ~ x"),
        DataError,
        "anova needs a fit, a list of fits or a pooled model, not str",
    ),
    (
        "anova: likelihood tests of terms",
        lambda: rx.anova(fits(), method="D3"),
        DataError,
        "method='D3' compares two models: give the smaller one as well",
    ),
    (
        "anova: terms of a pooled model with other df",
        lambda: rx.anova(pooled(), dfcom=10),
        DataError,
        r"a pooled model has its degrees of freedom already: give dfcom= to pool\(\)",
    ),
    (
        "anova: redundant columns",
        lambda: rx.anova(rx.lmer("y ~ x + I(2*x) + (1 | g)", base())),
        DataError,
        r"the terms have no tests of their own, because other columns determine I\(2 \* x\): leave out",
    ),
    (
        "anova: intercept only",
        lambda: rx.anova(rx.lmer("y ~ 1 + (1 | g)", base())),
        DataError,
        r"y ~ 1 \+ \(1 \| g\) has no term besides the intercept: give a second model to compare it with",
    ),
    (
        "test: a term in an expression",
        of(fit, "test", "2*f - x"),
        FormulaError,
        r"'f' in the hypothesis '2\*f - x' is a term with the coefficients f\[T\.b\], f\[T\.c\]: name one of them",
    ),
    (
        "test: two terms equal",
        of(pooled, "test", "f = x"),
        FormulaError,
        "'f' in the hypothesis 'f = x' is a term with the coefficients",
    ),
    (
        "anova: fit and list",
        lambda: rx.anova(fit(), fits()),
        DataError,
        "anova compares two fits or two lists of fits, not LmerFit and LmerFitList: give the lists from",
    ),
    (
        "anova: text",
        lambda: rx.anova(fit(), "y ~ 1"),
        DataError,
        "anova compares two fits or two lists of fits, not LmerFit and str: give the lists from which pooled",
    ),
    (
        "anova: not nested",
        lambda: rx.anova(fits(), other()),
        DataError,
        r"the models are not nested: the fixed part of the smaller one \(y ~ z \+ \(1 \| g\)\) has 'z', which is no",
    ),
    (
        "anova: same model",
        lambda: rx.anova(fits(), fits()),
        DataError,
        r"both models have 6 parameters \(y ~ x \+ f \+ \(1 \| g\); y ~ x \+ f \+ \(1 \| g\)\): neither is within the",
    ),
    (
        "anova: mismatched K",
        lambda: rx.anova(fits(), smaller()[:2]),
        DataError,
        "the models were fitted to different numbers of data sets, 3 and 2: compare fits of the same",
    ),
    (
        "anova: pooled",
        lambda: rx.anova(pooled(), pooled()),
        DataError,
        "anova compares two fits or two lists of fits, not PooledLmer and PooledLmer: give the lists from",
    ),
    (
        "slopes: unknown variable",
        of(fit, "slopes", "q"),
        DataError,
        "'q' is no variable of the fixed part; they are 'x', 'f'",
    ),
    (
        "comparisons: one value",
        of(fit, "comparisons", {"x": (1, 1)}),
        DataError,
        "the values to compare of 'x' are the same, 1: give two",
    ),
    (
        "slopes: factor",
        of(fit, "slopes", "f"),
        DataError,
        r"'f' is no number, and has no slope: use comparisons\('f'\)",
    ),
    (
        "emmeans: unknown factor",
        of(fit, "emmeans", "q"),
        DataError,
        "'q' is no variable of the fixed part; there are x, f: name one of them",
    ),
    ("emmeans: number", of(fit, "emmeans", 3), DataError, "3 must be the name of a variable, or a list of names"),
    (
        "emmeans: unknown by",
        of(fit, "emmeans", "f", by="q"),
        DataError,
        "'q' is no variable of the fixed part; there are x, f: name one of them",
    ),
    (
        "emmeans: at unknown",
        of(fit, "emmeans", "f", at={"q": [1]}),
        DataError,
        "at= names 'q', which is no variable of the fixed part; there are x, f",
    ),
    (
        "emmeans: a covariate at its mean",
        of(fit, "emmeans", "x"),
        DataError,
        r"'x' has one value only in the reference grid \(-0\.\d+\): give values with at=\{'x': \[\.\.\.\]\}",
    ),
    (
        "emmeans: at new category",
        of(fit, "emmeans", "f", at={"f": ["q", "a"]}),
        DataError,
        "'f' in the fixed part has the unseen category 'q'; the data of the fit have 'a', 'b', 'c'",
    ),
    (
        "emmeans: at text",
        of(fit, "emmeans", "f", at={"x": ["a"]}),
        DataError,
        "'x' in the fixed part is categorical here and was numeric in the data of the fit",
    ),
    (
        "emmeans: level",
        of(fit, "emmeans", "f", conf_level=95),
        DataError,
        r"conf_level=95 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "emmeans: pooled unknown factor",
        of(pooled, "emmeans", "q"),
        DataError,
        "'q' is no variable of the fixed part; there are x, f: name one of them",
    ),
    (
        "icc: level",
        of(fit, "icc", conf_level=95),
        DataError,
        r"conf_level=95 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "r2: draws",
        of(fit, "r2", n_sims=1),
        DataError,
        "n_sims=1: the interval of a reduction of variance needs at least two simulated data sets",
    ),
    ("r2: draws as text", of(fit, "r2", n_sims="9"), DataError, "n_sims='9' must be a whole number of at least 0"),
    ("sim_fixef: draws", of(fit, "sim_fixef", n_sims=0), DataError, "n_sims=0 must be a whole number of at least 2"),
    (
        "sim_fixef: level",
        of(fit, "sim_fixef", conf_level="a"),
        DataError,
        r"conf_level='a' must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "sim_fixef: seed",
        of(fit, "sim_fixef", seed=1.5),
        DataError,
        r"seed=1\.5 must be a whole number of at least 0",
    ),
    (
        "sim_fixef: negative seed",
        of(fit, "sim_fixef", seed=-1),
        DataError,
        "seed=-1 must be a whole number of at least 0",
    ),
    (
        "sim_ranef: unknown group",
        of(fit, "sim_ranef", "school"),
        DataError,
        "group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "expected_rank: unknown group",
        of(fit, "expected_rank", "school"),
        DataError,
        "group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "expected_rank: unknown term",
        of(fit, "expected_rank", "g", "slope"),
        DataError,
        "term='slope' is not among the random effects of 'g'; they are 'Intercept'",
    ),
    ("re_quantile: 50", of(fit, "re_quantile", 50), DataError, "probs=50 must be numbers between 0 and 1"),
    (
        "re_quantile: text",
        of(fit, "re_quantile", "median"),
        DataError,
        "probs='median' must be numbers between 0 and 1",
    ),
    (
        "re_quantile: unknown group",
        of(fit, "re_quantile", 0.5, "school"),
        DataError,
        "group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "average_obs: unknown column",
        of(fit, "average_obs", {"q": 1}),
        DataError,
        "subset names 'q', which is no variable of the model; they are y, x, f, g",
    ),
    ("average_obs: nothing left", of(fit, "average_obs", {"f": "q"}), DataError, "no row of the data has f = 'q'"),
    (
        "draw_obs: no case",
        of(fit, "draw_obs", 0),
        DataError,
        "n=0 must be a whole number from 1 to 60, the number of rows",
    ),
    (
        "draw_obs: half a case",
        of(fit, "draw_obs", 1.5),
        DataError,
        r"n=1\.5 must be a whole number from 1 to 60, the number of rows",
    ),
    (
        "sub_boot: no function",
        of(fit, "sub_boot", "theta"),
        DataError,
        r"statistic='theta' must be a function of a fit, such as lambda fit: fit\.theta",
    ),
    (
        "sub_boot: no resample",
        of(fit, "sub_boot", len, n_boot=0),
        DataError,
        "n_boot=0 must be a whole number of at least 1",
    ),
    (
        "wiggle: unknown column",
        lambda: rx.wiggle(base(), {"q": [1]}),
        DataError,
        "values names 'q', which is no column of the data: y, x, z, f, g, w, my var, row, one, constant,",
    ),
    (
        "wiggle: no dict",
        lambda: rx.wiggle(base(), ["x"]),
        DataError,
        "values must be a dict from columns to lists of values, not a list",
    ),
    (
        "wiggle: no frame",
        lambda: rx.wiggle([1], {"x": [1]}),
        DataError,
        r"data is a list, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "wiggle: no values",
        lambda: rx.wiggle(base(), {"x": []}),
        DataError,
        "the values of 'x' must be a list with at least one value",
    ),
    (
        "how_many_imputations: fit",
        lambda: rx.how_many_imputations(fit()),
        DataError,
        "how_many_imputations takes a pooled model, not LmerFit: pool the fits first",
    ),
    (
        "how_many_imputations: se_cv",
        lambda: rx.how_many_imputations(pooled(), se_cv=0),
        PoolingError,
        "cv=0 must be a positive number",
    ),
    (
        "emb: no imputation",
        lambda: rx.impute.emb(base()[["y", "x", "gap"]], 0),
        ImputationError,
        "m=0 must be a whole number of at least 1",
    ),
    (
        "emb: unknown column",
        lambda: rx.impute.emb(base()[["y", "gap"]], nominal=["q"]),
        ImputationError,
        r"nominal= names 'q', not among the columns of the data \(y, gap\)\.",
    ),
    (
        "emb: text column",
        lambda: rx.impute.emb(base()[["y", "gap", "text"]]),
        ImputationError,
        "column 'text' is of type str, not numeric: list it in nominal=, ordinal= or id_vars=",
    ),
    (
        "emb: list",
        lambda: rx.impute.emb([1.0]),
        DataError,
        r"the data to impute is a list, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "emb: all missing",
        lambda: rx.impute.emb(base()[["y", "x", "empty"]]),
        ImputationError,
        "column 'empty' has no observed cell: drop it, or list it in id_vars=",
    ),
    (
        "emb: infinite",
        lambda: rx.impute.emb(base()[["y", "gap", "infinite"]]),
        ImputationError,
        "column 'infinite' has infinite values: make them missing or finite",
    ),
    (
        "add_missing: probability",
        lambda: rx.impute.add_missing(base(), 2.0),
        ImputationError,
        r"The probability for column 'y' is 2\.0; give a number in \[0, 1\]\.",
    ),
    (
        "add_missing: unknown column",
        lambda: rx.impute.add_missing(base(), 0.1, ["q"]),
        ImputationError,
        r"columns= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "read_imputations: no file",
        lambda: rx.read_imputations("/no/such/file.csv"),
        FileFormatError,
        r"there is no file '/no/such/file\.csv'",
    ),
    (
        "read_imputations: number",
        lambda: rx.read_imputations(3),
        FileFormatError,
        "a int holds no imputations that can be read: give a path, a data frame or a list",
    ),
    (
        "write_imputations: frame",
        with_file(lambda p: rx.write_imputations(base(), p.with_suffix(".csv"))),
        DataError,
        r"an ImputedData is needed, not a DataFrame: make one by ImputedData\.from_frames\(\)",
    ),
    (
        "enable_compilation_cache: a file",
        with_file(lambda p: (p.touch(), rx.enable_compilation_cache(p))),
        FileFormatError,
        r"compiled programs cannot be kept in .* \(File exists\): give another folder=",
    ),
    ("enable_compilation_cache: number", lambda: rx.enable_compilation_cache(3), DataError, "folder=3 must be the p"),
    (
        "pooling.linear: width",
        lambda: pooling.linear(pooled().rubin, np.ones((1, 2))),
        PoolingError,
        r"The contrast matrix L has the shape \(1, 2\); it needs 2 axes and 4 columns\.",
    ),
    (
        "pool_transformed: boundary",
        lambda: pooling.pool_transformed(-np.ones((3, 1)), np.ones((3, 1)), pooling.LOG),
        PoolingError,
        r"The scale 'log' holds values from 0 to inf; those of imputations 1, 2, 3 \(counted from 1\) lie",
    ),
    (
        "adjust_p_values: above 1",
        lambda: pooling.adjust_p_values([2.0]),
        PoolingError,
        r"P-values must lie between 0 and 1\.",
    ),
    (
        "chibar: more on the boundary than parameters",
        lambda: pooling.chibar_p_value(1.0, 2, 3),
        PoolingError,
        r"n_boundary must lie between 0 and k = 2; it is 3\.",
    ),
]

SIZES: list[Case] = [
    (
        "size: response too small",
        lmer(data=lambda: changed(y=base()["y"] * 1e-200)),
        DataError,
        "the response 'y' has values as small as 4.5e-200, too small for double precision: change the unit",
    ),
    (
        "size: response too large",
        lmer(data=lambda: changed(y=base()["y"] * 1e200)),
        DataError,
        r"the response 'y' has values as large as 4.5e\+200, too large",
    ),
    (
        "size: response of one imputation too large",
        lambda: rx.lmer_list("y ~ x + (1 | g)", [base(), changed(y=base()["y"] * 1e120), base()]),
        DataError,
        r"the response 'y' has values as large as 4.5e\+120 in imputation 2, too large for double precision",
    ),
    (
        "size: response far from zero",
        lmer(data=lambda: changed(y=base()["y"] + 1e14)),
        DataError,
        r"the response 'y' has a mean of 1e\+14 and a range of [\d.]+, for which double precision has too few digits: "
        "subtract a constant before they are lost",
    ),
    (
        "size: units that no coefficient bridges",
        lambda: rx.lmer_list("y ~ x + (1 | g)", [changed(y=base()["y"] * 1e-80, x=base()["x"] * 1e80)] * 2),
        DataError,
        "the coefficient of 'x' is of the order of [1-9]e-16[01] in imputation 1, which double precision cannot "
        "square: change its unit, or that of the response 'y'",
    ),
    (
        "size: predictor too large",
        lmer(data=lambda: changed(x=base()["x"] * 1e150)),
        DataError,
        r"the fixed-effects column 'x' has values as large as 2.71e\+150",
    ),
    (
        "size: random slope too small",
        lmer("y ~ x + (z | g)", lambda: changed(z=base()["z"] * 1e-150)),
        DataError,
        r"the random-effects column 'z' of \(z \| g\) has values as small as",
    ),
    (
        "size: offset too large",
        lmer(offset=base()["w"] * 1e300),
        DataError,
        r"the offset has values as large as .*e\+300, too large for double precision: change the unit",
    ),
    (
        "groups: infinite",
        lmer(data=lambda: changed(g=np.where(np.arange(60) == 4, np.inf, np.repeat(np.arange(12.0), 5)))),
        DataError,
        "^the grouping column 'g' has infinite cells: give these rows a level, or leave them out",
    ),
    (
        "groups: infinite in one data set",
        lmer_list(
            lambda: [
                changed(g=np.repeat(np.arange(12.0), 5)),
                changed(g=np.where(np.arange(60) == 4, np.inf, np.repeat(np.arange(12.0), 5))),
            ]
        ),
        DataError,
        "^imputation 2: the grouping column 'g' has infinite cells",
    ),
    (
        "size: weights too large",
        lmer(data=lambda: changed(w=base()["w"] * 1e30), weights="w"),
        DataError,
        "weights has values as large as",
    ),
]

CASES: list[Case] = [*SIZES, *FORMULAS, *FRAMES, *OPTIONS, *SETS, *RESULTS, *POOLING, *MORE]


def outcome(call: Callable[[], object]) -> tuple[BaseException | None, object]:
    """What a call raises, or returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        try:
            return None, call()
        except Exception as error:
            return error, None
