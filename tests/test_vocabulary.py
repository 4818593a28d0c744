"""One name, one meaning: no class is defined twice, and no room holds too many files."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src" / "remlax"
MOST_FILES = 20
# rooms that hold more, and how many they may: only ever fewer
LARGER: dict[str, int] = {}


def test_a_class_name_is_defined_once() -> None:
    where: dict[str, list[str]] = {}
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(str(path.relative_to(SRC)))
    assert not {name: files for name, files in where.items() if len(files) > 1}


def test_rooms_stay_small() -> None:
    files = Counter(path.parent.relative_to(SRC).as_posix() for path in SRC.rglob("*.py"))
    assert {room: n for room, n in files.items() if n > LARGER.get(room, MOST_FILES)} == {}
    assert {room for room in LARGER if files[room] <= MOST_FILES} == set(), "no exception is needed any more"
