"""Every way in which a right side and a frame may not go together has its sentence."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from remlax.design.columns import require_columns
from remlax.design.functions import FUNCTIONS
from remlax.design.model_matrix import evaluate, model_matrix
from remlax.errors import DataError, FormulaError

BAD = pd.DataFrame(
    {
        "x": [1.0, -2.0, 3.0, 4.0],
        "big": [1e200, 1.0, 1.0, 1e200],
        "hole": [1.0, np.nan, 2.0, np.nan],
        "infinite": [1.0, 2.0, np.inf, 3.0],
        "f": ["a", "b", "b", "a"],
        "one": ["a"] * 4,
        "gap": ["a", None, "b", "a"],
        "day": pd.date_range("2020", periods=4),
        "span": pd.to_timedelta([1, 2, 3, 4], unit="D"),
        "cplx": [1j, 2, 3, 4],
        "mixed": ["a", 1, "b", 2.5],
        "objects": np.array([1, 2, 3, 4], dtype=object),
        "twin": pd.Categorical([1, "1", 1, "1"]),
        "ordered.L": [1.0, 2.0, 3.0, 4.0],
        "pi": [1.0, 2.0, 3.0, 4.0],
        "month": pd.period_range("2020-01", periods=4, freq="M"),
        "gapcat": pd.Categorical(["a", None, "b", "b"]),
        "gapbool": pd.array([True, None, False, True], dtype="boolean"),
        "constant": [2.0] * 4,
        "gapint": pd.array([1, None, 3, 4], dtype="Int64"),
        "ordered": pd.Categorical(["l", "h", "l", "h"], ["l", "h"], ordered=True),
    },
    index=["r1", "r2", "r3", "r4"],
)

ERRORS = [
    ("xx", FormulaError, "'xx' in the fixed part is not a column of the data; did you mean 'x'?"),
    (
        "zzzzzz",
        FormulaError,
        "'zzzzzz' in the fixed part is not a column of the data; the columns are 'x', 'big'",
    ),
    ("log(F)", FormulaError, "'F' in the fixed part is not a column of the data"),
    ("np.nan + x", FormulaError, "'np.nan' in the fixed part is not a column of the data"),
    (
        "log(x)",
        DataError,
        "'log(x)' in the fixed part is not finite in 1 of 4 rows (the first is row 'r2', where x = -2.0)",
    ),
    (
        "I(1/(x - 1)) + f",
        DataError,
        "'I(1/(x - 1))' in the fixed part is not finite in 1 of 4 rows (the first is row 'r1', where x = 1",
    ),
    ("I(x^1000)", DataError, "is not finite in 2 of 4 rows"),
    ("I(1/0*x)", DataError, "is not finite in 4 of 4 rows"),
    ("scale(constant)", DataError, "'scale(constant)' in the fixed part is not finite in 4 of 4 rows"),
    (
        "big:I(big + x)",
        DataError,
        "'big:I(big + x)' in the fixed part overflows: the product of its columns is not finite",
    ),
    ("hole", DataError, "column 'hole' in the fixed part has 2 missing cells (the first at row 'r2')"),
    ("ifelse(hole > 1, 1, 0)", DataError, "column 'hole' in the fixed part has 2 missing cells"),
    ("gap", DataError, "column 'gap' in the fixed part has 1 missing cell (the first at row 'r2')"),
    ("gapcat", DataError, "column 'gapcat' in the fixed part has 1 missing cell "),
    ("gapbool", DataError, "column 'gapbool' in the fixed part has 1 missing cell "),
    ("gapint", DataError, "column 'gapint' in the fixed part has 1 missing cell "),
    (
        "infinite",
        DataError,
        "column 'infinite' in the fixed part has 1 infinite cell (the first at row 'r3')",
    ),
    (
        "one",
        DataError,
        "'one' in the fixed part has only one category ('a') in these data; leave it out of the formula",
    ),
    (
        "twin",
        DataError,
        "'twin' in the fixed part has different categories that are written the same; rename them",
    ),
    ("day", DataError, "column 'day' in the fixed part is of type datetime64"),
    (
        "x + day",
        DataError,
        "neither numbers nor categories: turn it into a number first (days since a date, for example)",
    ),
    ("span", DataError, "column 'span' in the fixed part is of type timedelta64"),
    ("month", DataError, "column 'month' in the fixed part is of type period"),
    (
        "cplx",
        DataError,
        "column 'cplx' in the fixed part is of type complex128, neither numbers nor categories",
    ),
    (
        "mixed",
        DataError,
        "column 'mixed' in the fixed part holds Python objects of type float, int, str; make it numeric",
    ),
    (
        "objects",
        DataError,
        "'objects' in the fixed part holds Python objects of type int; make it numeric (pandas.to_numeric)",
    ),
    (
        "ordered.L + ordered",
        FormulaError,
        "two columns of the fixed part would be called 'ordered.L'; rename the data column",
    ),
    (
        "log(f)",
        FormulaError,
        "'log(f)' in the fixed part: numbers are needed and a categorical variable is given",
    ),
    (
        "I(f + 1)",
        FormulaError,
        "'f + 1' in the fixed part: numbers are needed and a categorical variable is given",
    ),
    (
        "I(f > 'a')",
        FormulaError,
        "\"f > 'a'\" in the fixed part: categories can be compared with == and !=, not with >",
    ),
    (
        "I(f == x)",
        FormulaError,
        "'f == x' in the fixed part: categories can be compared with categories and with literals only",
    ),
    (
        "as.numeric(f)",
        FormulaError,
        "'as.numeric(f)' in the fixed part: numbers are needed and a categorical variable is given",
    ),
    ("log('a')", FormulaError, "\"log('a')\" in the fixed part: numbers are needed and 'a' is given"),
    ("log(2)", FormulaError, "'log(2)' in the fixed part is a constant; it must use a column"),
    ("I('a')", FormulaError, "is a constant; it must use a column"),
    ("c(1, 2)", FormulaError, "is a constant; it must use a column"),
    ("c(x, 2)", FormulaError, "c() makes a list of literals"),
    ("scale(3)", FormulaError, "'scale(3)' in the fixed part: a column is needed and a constant is given"),
    ("scale(x, center=f)", FormulaError, "center and scale are TRUE, FALSE or a number"),
    (
        "I(2*pi*x)",
        FormulaError,
        "'pi' in the fixed part is a number here and also a column; write `pi` in backticks for the column",
    ),
    (
        "poly(x, 0)",
        FormulaError,
        "'poly(x, 0)' in the fixed part: degree must be a whole number of at least 1",
    ),
    ("poly(x, 1.5)", FormulaError, "degree must be a whole number of at least 1"),
    ("poly(x, x)", FormulaError, "degree must be a whole number of at least 1"),
    (
        "poly(x, 4)",
        FormulaError,
        "'poly(x, 4)' in the fixed part: degree 4 needs more than 4 different values",
    ),
    ("poly(x, 2, raw=3)", FormulaError, "raw must be TRUE or FALSE"),
    ("log(poly(x, 2))", FormulaError, "one column is needed and 2 are given"),
    ("poly(x, 1001, raw=TRUE)", FormulaError, "it would make 1001 columns, more than 1000: ask for fewer"),
    ("bs(x, df=1e8)", FormulaError, "'bs(x, df=1e8)' in the fixed part: it would make 1e+08 columns, more than 1000"),
    ("bs(x, degree=1e300)", FormulaError, "it would make 1e+300 columns, more than 1000"),
    ("bs(x, degree=4, intercept=TRUE)", FormulaError, "5 columns need at least as many different values"),
    ("bs(x, knots=c(2, 3))", FormulaError, "5 columns need at least as many different values; ask for fewer"),
    ("cr(x, df=5)", FormulaError, "'cr(x, df=5)' in the fixed part: 5 columns need at least as many different values"),
    ("cs(x, df=1e8, constraints='center')", FormulaError, "more than 1000: ask for fewer"),
    ("cc(x, knots=c(1.5, 2, 2.5, 3))", FormulaError, "columns need at least as many different values"),
    ("round(x, 1e300)", FormulaError, "digits must be at most 15, which is all that a number holds"),
    ("round(x, -1)", FormulaError, "digits must be a whole number of at least 0"),
    ("relevel(f, 'z')", FormulaError, "'z' is not a category (there are 'a', 'b')"),
    ("C(f, 'sum')", FormulaError, "the contrasts are contr.treatment, contr.sum, contr.helmert, contr.poly"),
    ("C(f, x)", FormulaError, "a matrix of your own is given beside the formula, as contrasts={'f': matrix}"),
    (
        "bs(x, df=4, upper_bound=1)",
        FormulaError,
        "2 of 4 values are outside the range of the curve, -2 to 1 (the first is 3): fit with extrapolation='extend'",
    ),
    ("factor(poly(x, 2))", FormulaError, "one column is needed and 2 are given"),
    ("bs(x, df=2)", FormulaError, "'bs(x, df=2)' in the fixed part: Invalid value for `df`"),
    ("bs(x, df=1.5)", FormulaError, "df must be a whole number of at least 1"),
    ("bs(x, knots=c('a', 2))", FormulaError, "a knot must be a number"),
    ("cr(x, df=4, lower_bound=TRUE)", FormulaError, "lower_bound must be a number"),
    ("I(offset(x=x))", FormulaError, "offset(): "),
    ("cr(x)", FormulaError, "'cr(x)' in the fixed part: Must specify either 'df' or 'knots'"),
    ("bs(x, df=3, extrapolation='no')", FormulaError, "'no' is not a valid SplineExtrapolation"),
    ("I(offset(x))", FormulaError, "offset() can only be added to the fixed part as a whole"),
    ("(1|f)", FormulaError, "the random term (1 | f) can only be added to the fixed part"),
]


@pytest.mark.parametrize(("rhs", "error", "message"), ERRORS, ids=[rhs for rhs, _, _ in ERRORS])
def test_every_error_names_the_culprit(rhs, error, message):
    with pytest.raises(error) as caught:
        model_matrix(rhs, BAD)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("expr", "error", "message"),
    [
        ("f", FormulaError, "the response 'f' is categorical; it must be numeric"),
        ("ordered", FormulaError, "the response 'ordered' is categorical; it must be numeric"),
        ("poly(x, 2)", FormulaError, "the response 'poly(x, 2)' makes 2 columns; it must be one"),
        ("log(x)", DataError, "'log(x)' in the response is not finite in 1 of 4 rows"),
        ("hole", DataError, "column 'hole' in the response has 2 missing cells"),
        ("yy", FormulaError, "'yy' in the response is not a column of the data"),
        ("day", DataError, "column 'day' in the response is of type datetime64"),
        ("x:big", FormulaError, "':' makes interactions and belongs outside function calls"),
        ("3", FormulaError, "'3' in the response is a constant; it must use a column"),
        ("", FormulaError, "cannot read '': it is empty"),
        ("x + ~x", FormulaError, "a '~' stands where a term is expected"),
        (3, FormulaError, "a formula is text such as 'y ~ x + (1 | g)', not int"),
    ],
)
def test_errors_of_evaluate(expr, error, message):
    with pytest.raises(error) as caught:
        evaluate(expr, BAD)
    assert message in str(caught.value)


def test_messages_say_which_part():
    with pytest.raises(FormulaError, match=r"'q' in the random term \(q \| g\) is not a column"):
        model_matrix("q", BAD, what="random term (q | g)")
    with pytest.raises(DataError, match="'log\\(x\\)' in the weights is not finite"):
        evaluate("log(x)", BAD, what="weights")


def test_errors_on_new_data():
    spec = model_matrix("f + x", BAD).spec
    with pytest.raises(
        DataError,
        match=r"'f' in the fixed part has the unseen category 'q' and 1 more; the data .* have 'a', 'b'",
    ):
        spec.build(BAD.assign(f=["a", "q", "r", "b"]))
    with pytest.raises(
        DataError, match="'f' in the fixed part is numeric here and was categorical in the data of the fit"
    ):
        spec.build(BAD.assign(f=1.0))
    with pytest.raises(
        DataError, match="'x' in the fixed part is categorical here and was numeric in the data of the fit"
    ):
        spec.build(BAD.assign(x="a"))
    with pytest.raises(FormulaError, match="'x' in the fixed part is not a column of the data"):
        spec.build(BAD.drop(columns="x"))
    with pytest.raises(FormulaError, match=r"4 of 4 values are outside the range of the curve, -2 to 4 \(the first"):
        model_matrix("bs(x, df=4)", BAD).rebuild(BAD.assign(x=9.0))


def test_empty_and_doubled_frames():
    with pytest.raises(DataError, match="the data have no rows to build the fixed part from"):
        model_matrix("x", BAD.head(0))
    assert model_matrix("x + f", BAD).rebuild(BAD.head(0)).shape == (0, 3)
    doubled = pd.concat([BAD[["x"]], BAD[["x"]]], axis=1)
    with pytest.raises(DataError, match="the data have several columns called 'x'; rename or drop all but one"):
        model_matrix("x", doubled)
    with pytest.raises(FormulaError, match="'1' in the formula is not a column of the data; the columns are none"):
        require_columns(("1",), pd.DataFrame({1: [1.0]}))


def test_too_many_ordered_categories():
    o = pd.Categorical(range(96), ordered=True)
    with pytest.raises(DataError, match="the ordered factor 'o' in the fixed part has 96 categories, too many"):
        model_matrix("o", pd.DataFrame({"o": o}))


PIECES = ["x", "z", "f", "b", "o", "1", "0", "-1", "2", "3", "1e400", "1.5", "'a'", "TRUE", "c(1, 2)"]
PIECES += [
    "c(-0.5, 0.5)",
    "'center'",
    "'clip'",
    "contr.sum",
    "pi",
    "x > 0",
    "f == 'a'",
    "!b",
    "x^2",
    "poly(x, 2)",
    "scale(z)",
    "factor(b)",
]
OPTIONS = ["df", "knots", "degree", "raw", "center", "scale", "base", "digits", "contr", "ref"]
OPTIONS += ["intercept", "lower_bound", "upper_bound", "constraints", "extrapolation", "x"]


def random_call(rng: random.Random) -> str:
    args = rng.choices(PIECES, k=rng.choice([1, 1, 1, 2, 3]))
    args += [f"{rng.choice(OPTIONS)}={rng.choice(PIECES)}" for _ in range(rng.choice([0, 0, 1, 2]))]
    call = f"{rng.choice(list(FUNCTIONS))}({', '.join(args)})"
    operator = rng.choice(["+", "*", "/", "^", "==", ">", "&", "%/%"])
    return rng.choice([call, call, f"I({call} {operator} {rng.choice(PIECES)})", f"f*{call}"])


def test_random_calls_are_evaluated_or_refused_and_rebuilt_alike():
    values = np.random.default_rng(0)
    data = pd.DataFrame({"x": values.normal(size=30), "z": values.uniform(1, 9, 30), "b": values.random(30) > 0.5})
    data["f"] = values.choice(list("abc"), 30)
    data["o"] = pd.Categorical(values.choice(list("lmh"), 30), ordered=True)
    rng = random.Random(1)
    built = 0
    for _ in range(4000):
        rhs = random_call(rng)
        try:
            found = model_matrix(rhs, data)
        except (FormulaError, DataError):
            continue
        assert np.isfinite(found.values).all(), rhs
        assert np.array_equal(found.rebuild(data), found.values), rhs
        built += 1
    assert built > 200
