"""Mutation testing of remlax.pooling, remlax.kernels and remlax.engine with the operators of cosmic-ray.

``python tests/mutants.py run`` tests the mutants that are not in the results yet and adds them; ``page`` writes the
table of docs/trust.md. A mutant lives in the memory of a process forked from one that has collected the tests and run
none: the files on disk stay as they are, and no program that was compiled before can stand in for a changed one.
Programs are not kept on disk, where a mutant would find those of the files.
"""

from __future__ import annotations

import argparse
import ast
import gc
import hashlib
import importlib
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

os.environ["REMLAX_CACHE"] = "off"

import formulaic  # noqa: F401  (loaded before the fork, as are the others that are slow to load)
import hypothesis.strategies  # noqa: F401
import jax  # noqa: F401
import jaxopt  # noqa: F401
import pandas  # noqa: F401
import parso
import pytest
import scipy.integrate
import scipy.stats  # noqa: F401
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "mutants.json"
PAGE = ROOT / "docs" / "trust.md"
SEED = 20240521
SAMPLES = {"pooling": 300, "kernels": 60, "engine": 40}
# its tests count the programs of their process, and a fork is refused to compute
LEFT_OUT = "programs.py"
CPU_SECONDS = {"pooling": 60, "kernels": 300, "engine": 300}

# replacements that can go unnoticed: no operator that the operands refuse, such as shifts of floats
BINARY = "Add_Sub Sub_Add Mul_Div Div_Mul Pow_Mul FloorDiv_Mul BitAnd_BitOr BitOr_BitAnd"
COMPARISON = "Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_Gt LtE_GtE Gt_Lt GtE_LtE Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is"
UNARY = "Delete_USub Delete_Not Delete_Invert"
OTHER = (
    "NumberReplacer AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd "
    "ReplaceBreakWithContinue ReplaceContinueWithBreak ExceptionReplacer ZeroIterationForLoop"
)
OPERATORS = [
    *(f"ReplaceBinaryOperator_{swap}" for swap in BINARY.split()),
    *(f"ReplaceComparisonOperator_{swap}" for swap in COMPARISON.split()),
    *(f"ReplaceUnaryOperator_{swap}" for swap in UNARY.split()),
    *OTHER.split(),
]
PLUGINS = "-p no:cacheprovider -p no:xdist -p no:cov -p no:unraisableexception -p no:threadexception -p no:terminal"
OPTIONS = [
    "-o",
    "addopts=",
    *f"-x --assert=plain {PLUGINS}".split(),
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
    "-m",
    "not slow",
]
PIECES = "engine/test_pieces.py"
DENSE, DERIVATIVES = "kernels/test_dense.py", "kernels/test_derivatives.py"
WHOLE, BATCHED = "test_reference.py", "batched/test_batched.py"
KERNEL = ["kernels/test_small_factors.py", DERIVATIVES, DENSE]
POSTERIOR = ["predict/test_draws.py", "predict/test_predict.py"]
# tests that judge a module, those that know it best in front
TESTS = {
    "pooling.adjust": ["pooling_adjust"],
    "pooling.montecarlo": ["pooling_montecarlo"],
    "pooling.rubin": ["pooling_rubin_reference"],
    "pooling.scales": ["pooling_scales"],
    "engine.batch": [
        PIECES,
        "engine/test_lapack_chunks.py",
        "kernels/test_dense_root.py",
        DENSE,
        "test_invariances.py",
        WHOLE,
    ],
    "kernels.small": [*KERNEL, "kernels/test_small_eigen.py", WHOLE],
    "kernels.estimates": [BATCHED],
    "kernels.row_products": [PIECES, BATCHED],
    "engine.queue": [BATCHED, "engine/test_other_starts.py", "engine/test_lowering_cuda.py", WHOLE],
    "kernels.restarts": [PIECES, "engine/test_other_starts.py", DENSE, "test_invariances.py"],
    "engine.conditioning": [PIECES, "engine/test_rows.py", DERIVATIVES, DENSE, WHOLE],
    "kernels.criterion": ["kernels/test_cost_model.py", DERIVATIVES, DENSE],
    "kernels.cross_products": [PIECES, "engine/test_rows.py", DERIVATIVES, DENSE, WHOLE],
    "kernels.dense": ["kernels/test_dense_root.py", DERIVATIVES, DENSE],
    "kernels.inference": [
        DENSE,
        WHOLE,
        "inference/test_kenward_roger.py",
        "inference/test_robust.py",
        "tables/test_modes.py",
    ],
    "kernels.newton": ["kernels/test_modified_solve.py", DENSE, "test_invariances.py", WHOLE],
    "engine.pairs": ["engine/test_pairs.py", DERIVATIVES, DENSE, WHOLE],
    "engine.placement": ["engine/test_devices.py", "engine/test_lapack_chunks.py"],
    "kernels.posterior": [PIECES, *POSTERIOR],
    "kernels.held": ["inference/test_constrained.py", "inference/test_confint.py"],
    "engine.rows": ["engine/test_rows.py", DERIVATIVES, DENSE, WHOLE],
    "engine.stack": ["engine/test_rows.py", DENSE, WHOLE],
}
Span = tuple[tuple[int, int], tuple[int, int]]


def silent(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes left out: annotations, decorators, text of errors, warnings and logs, `__all__`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from node.decorator_list
        if getattr(node, "returns", None) or getattr(node, "annotation", None):
            yield getattr(node, "returns", None) or node.annotation
        spoken = isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in ("warn", "logger", "log")
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if spoken or named or isinstance(node, ast.Raise | ast.JoinedStr):
            yield node


def span(node: Any) -> Span:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def mutants(package: str) -> list[dict[str, Any]]:
    """Every mutant of a package that Python compiles."""
    found = []
    for path in sorted((ROOT / "src" / "remlax" / package).glob("*.py")):
        if path.name == LEFT_OUT:
            continue
        text = path.read_text(encoding="utf-8")
        lines, left_out = text.split("\n"), [span(node) for node in silent(ast.parse(text))]
        nodes = list(ast_nodes(parso.parse(text)))
        for name in OPERATORS:
            operator = get_operator(f"core/{name}")()
            places = [start for node in nodes for start, _ in operator.mutation_positions(node)]
            for occurrence, (line, column) in enumerate(places):
                if any(low <= (line, column) < high for low, high in left_out):
                    continue
                row = {"module": f"{package}.{path.stem}", "operator": name, "occurrence": occurrence}
                found.append({**row, "line": line, "before": lines[line - 1].strip()})
    return found


def path_of(module: str) -> Path:
    return ROOT / "src" / "remlax" / (module.replace(".", "/") + ".py")


def innermost(value: Any) -> Any:
    """The function below jit, vmap and caches."""
    while not isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    while isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value


def change(old: dict[str, Any], new: dict[str, Any], home: str) -> None:
    """Give the functions, methods and constants of a module the bodies and values of its mutant."""
    for name, value in list(old.items()):
        ours, theirs = innermost(value), innermost(new.get(name))
        if isinstance(ours, FunctionType) and ours.__module__ == home and isinstance(theirs, FunctionType):
            ours.__code__, ours.__defaults__, ours.__kwdefaults__ = (
                theirs.__code__, theirs.__defaults__, theirs.__kwdefaults__,
            )  # fmt: skip
        elif isinstance(value, type) and value.__module__ == home:
            change(dict(vars(value)), dict(vars(new[name])), home)
        elif isinstance(value, property) and value.fget.__module__ == home:
            change({name: value.fget}, {name: new[name].fget}, home)
        elif isinstance(value, int | float | tuple) and not name.startswith("__"):
            old[name] = new[name]
        elif type(value).__module__ == home:
            vars(value).update(vars(new[name]))


def mutated(row: dict[str, Any]) -> CodeType | None:
    """Compile a mutant."""
    path = path_of(row["module"])
    text = mutate_code(path.read_text(encoding="utf-8"), get_operator(f"core/{row['operator']}")(), row["occurrence"])
    row["after"] = text.split("\n")[row["line"] - 1].strip()
    if "/," in row["after"]:  # the star of a signature is no operator
        return None
    try:
        return compile(text, str(path), "exec")
    except SyntaxError:
        return None


def judge(module: str, code: CodeType, items: list[pytest.Item]) -> str:
    """Run tests until one fails, with the code of a module replaced, in a process of its own."""
    child = os.fork()
    if child == 0:
        limit = CPU_SECONDS[module.split(".")[0]]
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        home = importlib.import_module(f"remlax.{module}")
        names = {name: getattr(home, name) for name in ("__name__", "__package__", "__file__")}
        try:
            exec(code, names)
            change(vars(home), names, home.__name__)
        except BaseException:
            os._exit(1)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.session.testsfailed:
                os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "survived"}.get(status, "killed" if status > 0 else "stopped")


def tests_of(module: str) -> list[Path]:
    """Files of tests that judge a module, in order."""
    if not module.startswith("pooling."):
        return [ROOT / "tests" / file for file in TESTS.get(module, KERNEL)]
    first = TESTS.get(module, ["pooling_tests"])[0]
    return sorted(ROOT.glob("tests/pooling/test_*.py"), key=lambda file: first not in file.stem)


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("module", "operator", "occurrence", "before"))


def sample(package: str, known: set[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """A random sample of the mutants of a package: those judged before, and more in the order of their hashes.

    A hash does not depend on the other mutants, so a change of the code leaves the rest of the sample as it is.
    """
    found = sorted(mutants(package), key=lambda row: hashlib.sha256(repr((SEED, *key(row))).encode()).digest())
    found.sort(key=lambda row: key(row) not in known)
    return found[: SAMPLES[package]]


class Judge:
    """A plugin of pytest that runs the collected tests once per mutant."""

    def __init__(self, left: list[dict[str, Any]], rows: list[dict[str, Any]], seconds: float) -> None:
        self.left, self.rows, self.seconds = left, rows, seconds

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        gc.freeze()
        start, sound = time.monotonic(), {row["module"] for row in self.rows if row["verdict"] == "unchanged"}
        while self.left and time.monotonic() - start < self.seconds:
            row, began = self.left.pop(0), time.monotonic()
            module, tests = row["module"], tests_of(row["module"])
            items = sorted((item for item in session.items if item.path in tests), key=lambda i: tests.index(i.path))
            if module not in sound:
                text = path_of(module).read_text(encoding="utf-8")
                verdict = judge(module, compile(text, str(path_of(module)), "exec"), items)
                assert verdict == "survived", f"the tests of {module} fail without a mutant: {verdict}"
                sound.add(module)
                self.rows.append(
                    {"module": module, "operator": "", "occurrence": 0, "before": "", "verdict": "unchanged"}
                )
            code = mutated(row)
            row["verdict"] = judge(module, code, items) if code else "no Python"
            self.rows.append(row)
            told = f"{row['verdict']} {time.monotonic() - began:.1f} s {module}:{row['line']} {row['after']}"
            os.write(2, f"{told}\n".encode())
            text = ",\n".join(map(json.dumps, self.rows))
            RESULTS.write_text(f"[\n{text}\n]\n", encoding="utf-8")
        return True


def run(seconds: float, again: bool) -> int:
    """Judge mutants that are not in the results yet for some time, those that survived too; say how many are left."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    rows = [row for row in rows if not again or row["verdict"] != "survived" or "why" in row]
    known = {key(row) for row in rows}
    drawn = [row for package in SAMPLES for row in sample(package, known)]
    left = [row for row in drawn if key(row) not in known]
    current = {key(row) for row in drawn}
    rows = [row for row in rows if row["verdict"] == "unchanged" or key(row) in current]
    left.sort(key=lambda row: (not row["module"].startswith("pooling"), row["module"]))
    files = dict.fromkeys(str(file) for row in left[:1] for file in tests_of(row["module"]))
    mine = [row for row in left if set(map(str, tests_of(row["module"]))) <= set(files)]
    before = len(mine)
    if left:
        pytest.main([*OPTIONS, *files], plugins=[Judge(mine, rows, seconds)])
    return len(left) - before + len(mine)


HEAD = "| package | mutants | tested | noticed | by the time limit | same numbers | minor | unnoticed | score |"


def table() -> str:
    """Counts of the verdicts for the page; the score leaves out mutants that compute the same numbers."""
    rows = [
        row
        for row in json.loads(RESULTS.read_text(encoding="utf-8"))
        if row["verdict"] not in ("no Python", "unchanged")
    ]
    lines = [HEAD, "| :-- | --: | --: | --: | --: | --: | --: | --: | --: |"]
    for package in SAMPLES:
        mine = [row for row in rows if row["module"].startswith(f"{package}.")]
        kinds = Counter(row.get("kind", row["verdict"]) for row in mine)
        noticed = kinds["killed"] + kinds["stopped"]
        score = noticed / max(1, len(mine) - kinds["same"])
        cells = [len(mutants(package)), len(mine), noticed, kinds["stopped"], kinds["same"], kinds["minor"]]
        lines.append(f"| `{package}` | {' | '.join(map(str, cells))} | {kinds['survived']} | {100 * score:.1f} % |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "page"])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after this time")
    parser.add_argument("--again", action="store_true", help="judge anew the survivors that have no reason")
    options = parser.parse_args()
    if options.what == "run":
        while (count := run(options.seconds, options.again)) and options.seconds == float("inf"):
            pass
        print(count, "left")
    else:
        lines = PAGE.read_text(encoding="utf-8").split("\n")
        start = lines.index(HEAD)
        PAGE.write_text("\n".join([*lines[:start], table(), *lines[start + 2 + len(SAMPLES) :]]), encoding="utf-8")


if __name__ == "__main__":
    main()
