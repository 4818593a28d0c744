"""Run the code of a Markdown page, block by block in one namespace, and compare what it prints with what is shown.

``python tests/page_blocks.py PAGE`` rewrites the shown output of blocks that print.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

FENCE = re.compile(r"^(?P<mark>```+)(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=mark)[ ]*$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: [^>]+ -->\s*$")
NUMBER = re.compile(r"^[-+−]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$")
TOKEN = re.compile(r"[-+−]?\d+(?:\.\d+)*(?:e[-+]?\d+)?|[^\W\d]\w*|[^\s\w]")
VERSIONS = re.compile(r"\b(remlax|JAX|jax|Python|python) \d[\w.]*")


@dataclass(frozen=True)
class Block:
    """One fenced block of code and the output shown below it (None: nothing is shown)."""

    code: str
    shown: str | None
    line: int
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Ran:
    """What a block printed; ``displayed`` is true where the value of an expression is part of it."""

    text: str
    displayed: bool


def blocks(page: str) -> Iterator[Block]:
    """Blocks of Python in a page, each with the plain block that follows it; sessions with >>> are split."""
    found = list(FENCE.finditer(page))
    for here, after in zip(found, [*found[1:], None][: len(found)], strict=True):
        language, text = here["language"].strip(), here["text"]
        line = page.count("\n", 0, here.start()) + 2
        if NOT_RUN.search(page[: here.start()]):
            continue
        if text.lstrip().startswith(">>>"):
            for example in doctest.DocTestParser().get_examples(text):
                yield Block(example.source, example.want or None, line + example.lineno)
        elif language == "python":
            plain = (
                after is not None and after["language"].strip() in ("", "text") and not after["text"].startswith(">>>")
            )
            shown = after["text"] if plain and not NOT_RUN.search(page[: after.start()]) else None
            yield Block(text, shown, line, after.span("text") if shown is not None else None)


def run(block: Block, names: dict[str, Any]) -> Ran:
    """Execute a block as an interactive session would: values of expressions are shown, errors and warnings too."""
    out, displayed = io.StringIO(), False
    wide = ("display.width", 10_000, "display.max_columns", None, "display.max_rows", None, "display.precision", 10)
    with contextlib.redirect_stdout(out), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for statement in ast.parse(block.code).body:
                if not isinstance(statement, ast.Expr):
                    exec(compile(ast.Module([statement], []), "<page>", "exec"), names)
                    continue
                value = eval(compile(ast.Expression(statement.value), "<page>", "eval"), names)
                if value is not None:
                    displayed = True
                    with pd.option_context(*wide):
                        print(value)
        except Exception as error:
            if block.shown is None or type(error).__name__ not in block.shown:
                raise
            print(f"{type(error).__name__}: {error}")
    told = [f"{w.category.__name__}: {w.message}\n" for w in caught]
    return Ran("".join([*told, out.getvalue()]), displayed)


def same_number(shown: str, actual: str) -> bool:
    """Equal but for one unit in the last decimal that is shown."""
    decimals = len(shown.partition("e")[0].partition(".")[2])
    exponent = int(shown.partition("e")[2] or 0)
    return abs(float(shown) - float(actual)) <= 1.001 * 10.0 ** (exponent - decimals)


def same(shown: str, actual: str) -> bool:
    shown, actual = shown.replace("−", "-"), actual.replace("−", "-")
    if NUMBER.match(shown) and NUMBER.match(actual):
        return shown == actual or ("." in shown + actual and same_number(shown, actual))
    return shown == actual


def tokens(text: str) -> list[str]:
    return TOKEN.findall(VERSIONS.sub(r"\1 *", text))


def difference(block: Block, ran: Ran) -> str | None:
    """Say where the shown output departs from what was printed, or None.

    Printed text must be equal word by word. Of displayed values a part may be shown (columns and digits left out).
    """
    if block.shown is None:
        return None
    wanted = re.sub(r"[ ]{3,}\([^)]*\)$|^\.\.\.$", "", block.shown, flags=re.MULTILINE)
    left, right = tokens(wanted), tokens(ran.text)
    if not ran.displayed:
        if len(left) == len(right) and all(map(same, left, right)):
            return None
        first = next(
            (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if not same(a, b)), min(len(left), len(right))
        )
        return f"line {block.line}: shown {left[first : first + 8]}, printed {right[first : first + 8]}"
    place = 0
    for i, token in enumerate(left):
        after = next((j for j in range(place, len(right)) if same(token, right[j])), None)
        if after is None:
            shown, printed = left[max(0, i - 4) : i + 4], right[place : place + 40]
            return f"line {block.line}: {shown} is shown, not found in what follows {printed}"
        place = after + 1
    return None


def rewrite(path: Path) -> None:
    """Put what the blocks print below them."""
    page, names, changes = path.read_text(encoding="utf-8"), {"__name__": "__page__"}, []
    for block in blocks(page):
        ran = run(block, names)
        if block.span and (not ran.displayed or not (block.shown or "").strip()):
            text = "\n".join(line.rstrip() for line in ran.text.rstrip().splitlines()) + "\n"
            changes.append((block.span, text))
    for (start, end), text in reversed(changes):
        page = page[:start] + text + page[end:]
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name))
