"""Count what makes the code hard or easy to live in: python benchmarks/house.py

Static counts are read from src with `ast`. The path is one warm call of ``lmer_list(...).pool().tidy("fixed")`` under a
profiler: a move is a call from a function of one file to a function of another.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

SRC = Path(__file__).resolve().parent.parent / "src" / "remlax"
BUNDLES = {
    "(structure, index, values)": {"structure", "index", "values"},
    "(fitted, lanes)": {"fitted", "lanes"},
}


@dataclass
class Walk:
    """What one call went through."""

    functions: set[tuple[str, int]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    moves: int = 0
    room_moves: int = 0
    records: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the package with its tree."""
    for path in sorted(SRC.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def room(filename: str) -> str:
    """Folder of a file, relative to the package."""
    return str(Path(filename).relative_to(SRC).parent)


def watch(call: Callable[[], object]) -> Walk:
    """Follow one call through the functions of the package."""
    seen, home = Walk(), str(SRC)

    def follow(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(home) or code.co_name.startswith("<"):
            return
        seen.functions.add((code.co_filename, code.co_firstlineno))
        seen.files.add(code.co_filename)
        seen.calls[code.co_name] += 1
        if code.co_name in ("__init__", "__new__", "__post_init__"):
            seen.records.add(type(frame.f_locals.get("self")).__name__)
        back = frame.f_back
        while back is not None and not back.f_code.co_filename.startswith(home):
            back = back.f_back
        if back is not None and back.f_code.co_filename != code.co_filename:
            seen.moves += 1
            seen.room_moves += room(back.f_code.co_filename) != room(code.co_filename)

    sys.setprofile(follow)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


def made(call: Callable[[], object]) -> set[str]:
    """Names of the dataclasses and named tuples of the package that one call makes."""
    import remlax

    kinds: set[str] = set()
    undo: list[tuple[type, object]] = []
    for name, module in list(sys.modules.items()):
        if name != remlax.__name__ and not name.startswith("remlax."):
            continue
        for kind in vars(module).values():
            record = isinstance(kind, type) and (hasattr(kind, "__dataclass_fields__") or hasattr(kind, "_fields"))
            if not record or kind.__module__ != name:
                continue
            attribute = "__new__" if hasattr(kind, "_fields") else "__init__"
            original = vars(kind).get(attribute)
            if original is None:
                continue

            def noted(*args: Any, _original: Any = original, _name: str = kind.__name__, **kwargs: Any) -> Any:
                kinds.add(_name)
                return _original(*args, **kwargs)

            undo.append((kind, (attribute, original)))
            setattr(kind, attribute, noted)
    try:
        call()
    finally:
        for kind, (attribute, original) in undo:
            setattr(kind, attribute, original)
    return kinds


def main() -> None:
    """Print the counts."""
    import remlax as rx

    trees = list(modules())
    lines = {path: path.read_text().count("\n") for path, _ in trees}
    rooms = Counter(room(str(path)) for path, _ in trees)
    classes: dict[str, list[Path]] = {}
    bundles: Counter[str] = Counter()
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(path)
            if isinstance(node, ast.FunctionDef):
                names = {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
                for bundle, members in BUNDLES.items():
                    bundles[bundle] += members <= names
    doubles = {name: where for name, where in classes.items() if len(where) > 1}
    longest = max(lines, key=lambda path: lines[path])
    print(f"lines of src                 {sum(lines.values())}, longest module {longest.name} {lines[longest]}")
    print(f"files of a room, most        {rooms.most_common(1)[0][1]} ({rooms.most_common(1)[0][0]})")
    print(f"classes, names used twice    {len(classes)}, {len(doubles)} {sorted(doubles)}")
    for bundle, count in bundles.items():
        print(f"functions of {bundle:27s} {count}")
    words = Counter(re.findall(r"[a-z]+", " ".join(path.read_text().lower() for path, _ in trees).replace("_", " ")))
    print(f"'lane' or 'lanes'            {words['lane'] + words['lanes']}")

    data = rx.datasets.hsb_imputed()
    formula = "mathach ~ minority + female + ses + meanses + (1 + ses | schid)"

    def call() -> object:
        return rx.lmer_list(formula, data).pool().tidy("fixed")

    call()
    kinds = made(call)
    path = watch(call)
    print(f"functions, files on the path {len(path.functions)}, {len(path.files)}")
    print(f"moves between files, rooms   {path.moves}, {path.room_moves}")
    print(f"record types on the path     {len(kinds)} {sorted(kinds)}")
    # a formula that was read lately is kept: this one was not
    first = watch(lambda: rx.lmer_list(f"{formula} ", data).pool().tidy("fixed")).calls
    print(
        f"tokenised, parsed, deparsed  {[first['tokenize'], first['parse'] + first['parse_sides'], first['deparse']]}"
    )


if __name__ == "__main__":
    main()
