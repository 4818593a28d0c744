"""parse_formula against lme4's own reading, and every sentence it says."""

from __future__ import annotations

import json
import pickle
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import remlax as rx
from remlax.design.formula import parse_formula
from remlax.design.model_matrix import model_matrix, variables
from remlax.errors import FormulaError

REFERENCE = Path(__file__).resolve().parent.parent / "reference"
LME4 = json.loads((REFERENCE / "model_matrix" / "lme4.json").read_text())
SYNTAX = json.loads((REFERENCE / "syntax" / "syntax.json").read_text())["reml_criterion"]


def random(text: str) -> list[tuple[str, str]]:
    return [(term.lhs, term.group_label) for term in parse_formula(text).random]


def test_the_reference_covers_every_pasted_formula():
    assert len(SYNTAX) == 21
    assert set(SYNTAX) <= {case["formula"] for case in LME4}


@pytest.mark.parametrize("case", LME4, ids=lambda case: case["formula"])
def test_random_terms_come_in_lme4s_order_with_its_labels(case):
    terms = parse_formula(case["formula"]).random
    assert [term.group_label for term in terms] == [term["group"] for term in case["random"]]
    assert all(term.correlated for term in terms)


def test_the_parts_of_a_formula():
    found = parse_formula("log(y) ~ x*z+offset(w) - 1 + (x||a/b) +offset( log(v) )\n + (1 | g:`my h`)")
    assert found.text == "log(y) ~ x * z + offset(w) - 1 + (x || a/b) + offset(log(v)) + (1 | g:`my h`)"
    assert found.response == "log(y)"
    assert found.fixed == "x * z - 1"
    assert found.offsets == ("w", "log(v)")
    assert [(term.lhs, term.group, term.correlated) for term in found.random] == [
        ("1", ("b", "a"), True),
        ("1", ("a",), True),
        ("0 + x", ("b", "a"), True),
        ("0 + x", ("a",), True),
        ("1", ("g", "my h"), True),
    ]
    assert found.variables == ("y", "x", "z", "w", "a", "b", "v", "g", "my h")


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("y ~ (1|g)", "1"),
        ("y ~ x + (1|g)", "1 + x"),
        ("y ~ 0 + (1|g)", "0"),
        ("y ~ -1 + x + (1|g)", "-1 + x"),
        ("y ~ (1|g) + x - 1", "x - 1"),
        ("y ~ (x + (1|g)) + z", "1 + x + z"),
        ("y ~ (x + z)^2 + (1|g)", "1 + (x + z)^2"),
        ("y ~ x - (z - 1) + (1|g)", "x - z + 1"),
        ("y ~ I(a | b) + (1|g)", "1 + I(a | b)"),
        ("y ~ poly(x, 2, raw = T) + (1|g)", "1 + poly(x, 2, raw=T)"),
    ],
)
def test_fixed_part(text, fixed):
    assert parse_formula(text).fixed == fixed


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("y ~ (x|g)", [("1 + x", "g")]),
        ("y ~ (-1+x|g)", [("-1 + x", "g")]),
        ("y ~ (1+x+f||g)", [("1", "g"), ("0 + x", "g"), ("0 + f", "g")]),
        ("y ~ (f*x||g)", [("1", "g"), ("0 + f", "g"), ("0 + x", "g"), ("0 + f:x", "g")]),
        ("y ~ (0+poly(x, 2)||g)", [("0 + poly(x, 2)", "g")]),
        ("y ~ (1|a/b/c/d)", [("1", "d:(c:(b:a))"), ("1", "c:(b:a)"), ("1", "b:a"), ("1", "a")]),
        # lme4 1.1-31 cannot read the next four; they mean what the operators mean
        ("y ~ (1|(a/b))", [("1", "b:a"), ("1", "a")]),
        ("y ~ (1|a/(b/c))", [("1", "c:(b:a)"), ("1", "b:a"), ("1", "a")]),
        ("y ~ (1|a:b/c)", [("1", "c:(a:b)"), ("1", "a:b")]),
        ("y ~ (1|((a):b))", [("1", "a:b")]),
        ("y ~ (1|factor(a)) + (1|as.factor(b):c)", [("1", "a"), ("1", "b:c")]),
        ("y ~ (((1|g)))", [("1", "g")]),
        ("y ~ (1|`a:b`)", [("1", "a:b")]),
        (
            "y ~ (1|class) + (1|größe) + (1|x.1) + (1|_id)",
            [(("1"), s) for s in ("class", "größe", "x.1", "_id")],
        ),
    ],
)
def test_random_terms(text, terms):
    assert random(text) == terms


def test_a_parsed_formula_reads_the_same_again():
    for case in LME4:
        found = parse_formula(case["formula"])
        assert parse_formula(found.text) == found


ERRORS = [
    (None, "a formula is text such as 'y ~ x + (1 | g)', not NoneType"),
    (["y ~ x"], "a formula is text such as 'y ~ x + (1 | g)', not list"),
    ("", "cannot read '': it has no '~'; write response ~ terms"),
    ("y + (1|g)", "it has no '~'"),
    ("~ x + (1|g)", "there is no response before the '~'"),
    ("y ~", "there is nothing after the '~'"),
    ("y ~ x ~ (1|g)", "it has more than one '~'"),
    ("y ~ x + (1|g) | z ~ w", "it has more than one '~'"),
    ("(y ~ x + (1|g))", "the '~' stands inside parentheses, or a parenthesis before it is never closed"),
    ("3 ~ x + (1|g)", "the response 3 names no column"),
    ("y ~ x", "it has no random term; add one such as (1 | g), where g names the groups"),
    ("y ~ 1|g", "the bar in 1 | g needs parentheses: write the random term as (1 | g)"),
    ("y ~ x + 1|g", "the bar in x + 1 | g needs parentheses: write the random term as (1 | g)"),
    ("y ~ x || g", "the bar in x || g needs parentheses: write the random term as (1 || g)"),
    ("y ~ (1|)", "no grouping factor follows the bar; write (1 | g), where g names the groups"),
    ("y ~ (1||)", "no grouping factor follows the bar; write (1 || g), where g names the groups"),
    ("y ~ ( |g)", "nothing stands before the bar; write (1 | g) for a random intercept"),
    ("y ~ (0|g)", "the random term (0 | g) has no column before the bar"),
    ("y ~ (x-x-1|g)", "the random term (x - x - 1 | g) has no column before the bar"),
    ("y ~ x + (1|g", "the parenthesis opened in '(1|g' is never closed"),
    ("y ~ log(x + (1|g", "the parenthesis opened in '(1|g' is never closed"),
    ("y ~ log(x", "the parenthesis opened in 'log(x' is never closed"),
    ("y ~ x) + (1|g)", "a parenthesis is closed that was never opened"),
    (
        "y ~ (1|g+h)",
        "'g + h' after the bar in (1 | g + h) is no grouping factor; for crossed factors write (... | g) + (... | h)",
    ),
    (
        "y ~ (1|g*h)",
        "'g * h' after the bar in (1 | g * h) is no grouping factor; write (... | g) + (... | h) + (... | g:h)",
    ),
    (
        "y ~ (1|log(g))",
        "'log(g)' after the bar in (1 | log(g)) is no grouping factor; "
        "write a column, an interaction a:b or a nesting a/b",
    ),
    ("y ~ (1|1)", "'1' after the bar in (1 | 1) is no grouping factor"),
    ("y ~ (1|g|h)", "the random term (1 | g) can only be added to the fixed part, and holds no other"),
    ("y ~ (1|(1|g))", "is no grouping factor; one random term has one bar"),
    ("y ~ (1 + (x|g)|h)", "the random term (x | g) can only be added to the fixed part, and holds no other"),
    ("y ~ x*(1|g)", "the random term (1 | g) can only be added to the fixed part"),
    ("y ~ x - (1|g)", "the random term (1 | g) is taken away; leave it out instead"),
    ("y ~ (1|g/g)", "the grouping factor in (1 | g/g) names a column twice"),
    ("y ~ (1|g) + x + (1|g)", "it has the random term (1 | g) twice"),
    ("y ~ . + (1|g)", "'.' (all other columns) is not available: write the columns out"),
    ("y ~ x + offset(z):x + (1|g)", "offset(z) can only be added to the fixed part as a whole"),
    ("y ~ x - offset(z) + (1|g)", "offset(z) is taken away; write offset(-(z))"),
    (
        "y ~ (1 + offset(z)|g)",
        "an offset belongs to the fixed part, not into the random term (1 + offset(z) | g)",
    ),
    ("y ~ offset() + (1|g)", "offset(): missing a required argument: 'x'"),
    ("y ~ x/10 + (1|g)", "10 is not a term: only 0 and 1 are"),
    ("y ~ 1:x + (1|g)", "1 (intercept or none) can only be added or taken away, not multiplied"),
    ("y ~ 'x' + (1|g)", "'x' is not a term"),
    ("y ~ TRUE + (1|g)", "TRUE is not a term"),
    ("y ~ (x == 1) + (1|g)", "x == 1 is not a term; for a logical column write I(x == 1)"),
    ("y ~ !x + (1|g)", "is not a term; for a logical column write I("),
    ("y ~ x:-z + (1|g)", "z is taken away from nothing; write arithmetic inside I()"),
    ("y ~ x^z + (1|g)", "the power in x^z must be a whole number; for arithmetic write I(x^z)"),
    (
        "y ~ x^0.5 + (1|g)",
        "the power in x^0.5 must be a whole number of at least 1; for arithmetic write I(x^0.5)",
    ),
    ("y ~ a %in% b + (1|g)", "write b:a for a %in% b"),
    ("y ~ a %o% b + (1|g)", "the operator '%o%' is not available"),
    ("y ~ I(a:b) + (1|g)", "':' makes interactions and belongs outside function calls"),
    ("y ~ I(a || b) + (1|g)", "write '|' for a logical 'or'"),
    ("y ~ I(a && b) + (1|g)", "write '&' for a logical 'and'"),
    ("y ~ I(a %in% b) + (1|g)", "'%in%' is not available"),
    ("y ~ lag(x) + (1|g)", "'lag' is not a function that a formula may use"),
    ("y ~ sclae(x) + (1|g)", "'sclae' is not a function that a formula may use; did you mean 'scale'"),
    ("y ~ log() + (1|g)", "log(): missing a required argument: 'x'"),
    ("y ~ poly(x, n=2) + (1|g)", "poly(): got an unexpected keyword argument 'n'"),
    ("y ~ poly(x, raw=T, 2) + (1|g)", "poly(): an argument without a name follows one with a name"),
    ("y ~ poly(x, raw=T, raw=F) + (1|g)", "poly(): the argument 'raw' is given twice"),
    ("y ~ poly(x, , 2) + (1|g)", "a term is missing before ','"),
    ("y ~ log(x = ) + (1|g)", "a term is missing before ')'"),
    ("y ~ log(x 2) + (1|g)", "'2' is unexpected after 'y ~ log(x'"),
    ("y ~ I(x = = 2) + (1|g)", "a term is missing before '='"),
    ("y ~ I(x+z = 2) + (1|g)", "'=' stands alone; write '==' to compare"),
    ("y ~ x z + (1|g)", "'z' is unexpected after 'y ~ x'"),
    ("y ~ x + (1|g) +", "it ends where a term is expected"),
    ("y ~ * x + (1|g)", "a term is missing before '*'"),
    (
        "y ~ 2x + (1|g)",
        "'2x' is neither a number nor a name; put a column name that starts with a digit in backticks",
    ),
    ("y ~ `x + (1|g)", "a quote (`) is opened and never closed, or is empty, or holds a backslash"),
    ("y ~ `` + (1|g)", "a quote (`) is opened and never closed, or is empty"),
    ("y ~ x; z + (1|g)", "';' has no meaning in a formula; put unusual column names in backticks"),
    ("y ~ x$z + (1|g)", "'$' has no meaning in a formula"),
    ("y ~ C(a, [[1], [2]]) + (1|g)", "a matrix of your own is given beside the formula, as contrasts={'f': matrix}"),
    ("y ~ C(a, matrix(c(1, 0), 2)) + (1|g)", "a matrix of your own is given beside the formula, as contrasts="),
    (
        "y ~ factor(a, levels=c('c', 'b')) + (1|g)",
        "'levels'; for the order of the categories make the column a pandas.",
    ),
    ("y ~ C(a, levels=['c', 'b']) + (1|g)", "make the column a pandas.Categorical(..., categories=[...]), for another"),
    ("y ~ factor(a, ordered=TRUE) + (1|g)", "make the column a pandas.Categorical(..., ordered=True)"),
    ("y ~ ordered(a) + (1|g)", "make the column a pandas.Categorical(..., ordered=True)"),
    ("y ~ x[1] + (1|g)", "'[' has no meaning in a formula (no subscripts, lists or code)"),
    ("y ~ " + "(" * 100 + "x" + ")" * 100 + " + (1|g)", "it is nested more than 60 deep"),
    ("y ~ " + ":".join(f"x{i}" for i in range(99)) + " + (1|g)", "it is nested more than 60 deep"),
    ("y ~ (" + "+".join(f"x{i}" for i in range(60)) + ")^5 + (1|g)", "it expands to more than 10000 terms"),
    ("y ~ " + "x" * 500, "..."),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=[str(text)[:40] for text, _ in ERRORS])
def test_every_mistake_has_its_sentence(text, message):
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600


INJECTIONS = [
    "__import__('os').system('id')", "__import__('os')", "eval('1')", "exec('1')", "open('/etc/passwd')",
    "x.__class__.__mro__", "().__class__", "[].append(1)", "lambda: 0", "(lambda: x)()", "[i for i in x]",
    "{'a': 1}", "x[0]", "x if z else y", "f'{x}'", "getattr(x, 'sum')", "np.load('x')",
    "np.random.normal(3)", "np", "x := 3", "x; import os", "@x", "x.sum()", "x.values", "print(x)",
    "log.__globals__", "I(x).sum()", "log(x).real", "C(x).__wrapped__", "`x`.sum()", "'%s' % x",
    "x and z", "not x", "yield x", "await x", "*x", "**x", "log(*x)", "log(**x)", "x\\n", "\x00",
    "system('id')", "contr.sum.__init__", "globals()", "__builtins__", "ModelSpec", "hashed(x)", "lag(x)",
    "exp10(x)", "numpy.log(x)", "pd.read_pickle('x')", "c", "I", "poly",
]  # fmt: skip


@pytest.mark.parametrize("piece", INJECTIONS)
def test_python_in_a_formula_is_refused_before_or_at_the_column_check(piece):
    data = pd.DataFrame({"x": [1.0, 2.0], "z": [1.0, 0.5]})
    with pytest.raises(FormulaError):
        model_matrix(parse_formula(f"y ~ {piece} + (1 | g)").fixed, data)


TOKENS = [
    "y", "x", "z", "g", "`my var`", "x.1", ".", "1", "0", "-1", "2", "1e3", "3L", " ", "\n", "+", "-",
    "*", "/", ":", "^", "**", "(", ")", "(", ")", "|", "||", "~", "~", ",", "=", "==", "<", "!", "&",
    "%in%", "%%", "log(", "I(", "poly(x, 2)", "offset(", "factor(", "(1|g)", "(x||g/h)", "TRUE", "'a'",
    '"', "`", "[", "]", "{", "\\", "$", "é", "²", "٣", "😀", "\ud800", "lambda ", "__import__", "pi",
    "...", "raw=", "#",
]  # fmt: skip


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=14), min_size=20, max_size=20))
def test_no_string_of_tokens_raises_anything_but_formula_error(strings):
    for number, string in enumerate(strings):  # 500 x 20 = 10,000 formulas
        text = "".join(TOKENS[byte % len(TOKENS)] for byte in string)
        text = f"y ~ {text} + (1|g)" if number % 2 else text
        try:
            found = parse_formula(text)
        except FormulaError:
            continue
        assert parse_formula(found.text) == found
        assert found.random
        assert set(variables(found.fixed)) <= set(found.variables)


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(max_size=30))
def test_no_unicode_raises_anything_but_formula_error(text):
    for candidate in (text, f"y ~ {text} + (1|g)", f"{text} ~ (1|g)"):
        try:
            parse_formula(candidate)
        except FormulaError:
            continue


@pytest.mark.parametrize("word", TOKENS)
def test_very_long_repetitions_are_read_or_refused_in_a_few_words(word):
    longest = 0
    for text in (word * 3000, f"y ~ {'x + ' * 3000}{word} + (1|g)"):
        try:
            parse_formula(text)
        except FormulaError as error:
            longest = max(longest, len(str(error)))
    assert longest < 900


def test_variables_of_an_expression():
    assert variables("log(x^2) + poly(z, 2):`my var` + sin(2*pi*x) + C(f, contr.sum)") == (
        "x",
        "z",
        "my var",
        "f",
    )
    assert variables("1") == ()
    with pytest.raises(FormulaError, match="it is empty"):
        variables("  ")


def test_a_fit_reads_its_formula_and_looks_for_its_columns_once():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0, 5.0, 4.5] * 2, "x": [0.5, 1.0, 2.0] * 4, "g": list("aabbcc") * 2})
    calls = Counter[str]()

    def on_event(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and "remlax" in frame.f_code.co_filename:
            calls[frame.f_code.co_name] += 1

    sys.setprofile(on_event)
    try:
        rx.lmer_list("log(y) ~ x + I(x^2) + offset(x/10) + (1 | g)", [data, data.assign(x=data["x"] + 1.0)])
    finally:
        sys.setprofile(None)
    assert {name: calls[name] for name in ("tokenize", "parse", "parse_sides", "require_columns")} == {
        "tokenize": 1,
        "parse": 0,
        "parse_sides": 1,
        "require_columns": 1,
    }


def test_a_formula_that_was_read_is_kept():
    text = "y ~ kept + (1 + kept | g)"
    assert parse_formula(text) is parse_formula(text)
    for other in (None, 3, ["y ~ x + (1 | g)"]):
        with pytest.raises(FormulaError, match="a formula is text"):
            parse_formula(other)  # type: ignore[arg-type]


def test_pieces_that_read_the_same_are_equal():
    one, other = (parse_formula(text) for text in ("y~x +I( z^2 )+ (1+x|g)", "y ~ x + I(z**2) + (1 + x | g)"))
    assert one == other
    assert hash(one.fixed_tree) == hash(other.fixed_tree)
    assert one != parse_formula("y ~ x + I(z^3) + (1 + x | g)")
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert again.text == "y ~ x + I(z^2) + (1 + x | g)"
