"""List the error and warning messages that no test mentions: python tests/unmatched_messages.py

A message counts as mentioned where some stretch of its fixed text stands in a test, escapes of patterns left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT.parent / "src" / "remlax"
ROOMS = ("fitting", "inference", "api.py", "results", "design", "data")
STRETCH = 16


def messages(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and pieces of fixed text of every message that a module raises, returns as an error or warns."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = ast.unparse(node.func).split(".")[-1]
        if not (re.fullmatch(r"[A-Z]\w*Error|problem|damaged", name) or name == "warn"):
            continue
        texts = [n.value for a in node.args for n in ast.walk(a) if isinstance(n, ast.Constant)]
        pieces = [t.strip() for t in texts if isinstance(t, str) and len(t.strip()) >= 6]
        if pieces:
            yield node.lineno, pieces


def mentioned(pieces: list[str], tests: str) -> bool:
    """Whether a stretch of one of the pieces stands in the tests."""
    for piece in pieces:
        size = min(STRETCH, len(piece))
        if any(piece[i : i + size] in tests for i in range(len(piece) - size + 1)):
            return True
    return False


def main() -> None:
    """Print what is unmatched."""
    tests = "\n".join(path.read_text() for path in ROOT.rglob("*.py") if path != Path(__file__)).replace("\\", "")
    found = unmatched = 0
    for room in ROOMS:
        start = SOURCE / room
        for path in sorted(start.rglob("*.py") if start.is_dir() else [start]):
            for line, pieces in messages(path):
                found += 1
                if not mentioned(pieces, tests):
                    unmatched += 1
                    print(f"{path.relative_to(SOURCE)}:{line}: {' ... '.join(pieces)[:110]}")
    print(f"{unmatched} of {found} messages are in no test")


if __name__ == "__main__":
    main()
