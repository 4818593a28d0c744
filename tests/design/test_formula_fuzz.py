"""Ten thousand generated formulas: each is read, or refused with a FormulaError."""

from __future__ import annotations

import contextlib
import random
import sys
import time

import pandas as pd
import pytest

from remlax.design.formula import parse_formula
from remlax.design.model_matrix import model_matrix
from remlax.errors import FormulaError, RemlaxError

PIECES = [
    "y", "x", "z", "f", "g", "a:b", "`my var`", "`", "x1", "1", "0", "-1", "2", "1e999", "0x1F", "3.5", ".5", ".", "..",
    "~", "~~", "+", "-", "*", "/", ":", "^", "**", "%in%", "%%", "%/%", "|", "||", "(", ")", "((", "))", ",", "=", "==",
    "!=", "<", ">", "&", "!", "$", "@", "#", ";", "\\", "'", '"', "'a'", '"b"', " ", "\t", "\n", "\0", "é", "変数",
    "I(", "log(", "poly(x, 2)", "poly(", "scale(x)", "factor(f)", "offset(z)", "offset(", "(1 | g)", "(x || g)",
    "(1 | a/b)", "(1 + x | g)", "(0 + f | g:h)", "__import__('os')", "x.__class__", "lambda", "[0]", "{}", "TRUE", "NA",
    "Inf", "pi", "if", "None", "x y", "T", "C(f)", "bs(x)", "df=3", "raw=TRUE",
]  # fmt: skip
GOOD = [
    "y ~ x + (1 | g)",
    "log(y) ~ poly(x, 2) * f + offset(z) + (1 + x || a/b)",
    "y ~ (x + z)^2 - x:z + (0 + f | g:h)",
]


def generated(rng: random.Random) -> str:
    """Pieces in a row, or a formula with a few of its characters changed."""
    if rng.random() < 0.6:
        body = "".join(rng.choice(PIECES) + rng.choice(["", " "]) for _ in range(rng.randint(1, 12)))
        return body if rng.random() < 0.3 else f"y ~ {body}" + rng.choice(["", " + (1 | g)"])
    text = list(rng.choice(GOOD))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        text[at : at + rng.randint(0, 2)] = rng.choice([rng.choice(PIECES), chr(rng.randrange(1, 0x3000)), ""])
        text = list("".join(text))
    return "".join(text)


@pytest.mark.slow
def test_ten_thousand_formulas_are_read_or_refused() -> None:
    rng, read, slowest = random.Random(20), 0, 0.0
    frame = pd.DataFrame({"y": [1.0, 2.0, 4.0], "x": [1.0, 0.5, 2.0], "z": [3.0, 1.0, 2.0], "f": ["a", "b", "a"]})
    for _ in range(10_000):
        text = generated(rng)
        start = time.perf_counter()
        with contextlib.suppress(FormulaError):
            formula = parse_formula(text)
            read += 1
            # what is read has a text that reads the same again, and is evaluated or refused
            assert parse_formula(formula.text) == formula, text
            with contextlib.suppress(RemlaxError):
                model_matrix(formula.fixed, frame)
        slowest = max(slowest, time.perf_counter() - start)
    assert read > 500
    assert slowest < 30.0


def test_work_to_read_a_long_sum_grows_with_its_length() -> None:
    def calls(n: int) -> int:
        names = [f"x{i}" for i in range(n)]
        text, count = f"y ~ {' + '.join(names)} - {' - '.join(names)} + (1 | g)", 0

        def on_event(_frame: object, event: str, _arg: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(on_event)
        try:
            assert parse_formula(text).random
        finally:
            sys.setprofile(None)
        return count

    # four times the terms: 16 times the calls if every one were compared with all before it
    assert calls(4_000) < 5 * calls(1_000)
