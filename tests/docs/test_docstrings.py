"""The examples of all docstrings run and print what they show."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
LAYOUT = doctest.NORMALIZE_WHITESPACE

# these compile programs of their own, for a second or more
SLOW = {
    "remlax.api_many.lmer_many",
    "remlax.core",
    "remlax.impute.emb.emb",
    "remlax.impute.joint.joint",
    "remlax.impute.kernels.emb.emb_impute",
    "remlax.impute.kernels.joint_chain.joint_impute",
    "remlax.impute.overimpute.overimpute",
    "remlax.kernels.small.small_eigh",
    "remlax.many.result.LmerMany",
    "remlax.plot.estimates.forest",
    "remlax.plot.groups.impact",
    "remlax.plot.predictions.effect",
    "remlax.plot.profiles.zeta",
    "remlax.results.anova.anova",
    "remlax.results.fit.LmerFit.augment",
    "remlax.results.fit.LmerFit.confint",
    "remlax.results.fit.LmerFit.emmeans",
    "remlax.results.mertools.MerTools.re_impact",
    "remlax.results.mertools.MerTools.re_margins",
    "remlax.results.mertools.MerTools.sim_fixef",
    "remlax.results.mertools.MerTools.sim_ranef",
    "remlax.results.mertools.MerTools.sub_boot",
    "remlax.results.mmrm.fit.MmrmFit.confint",
    "remlax.results.pooled.PooledLmer.r2",
    "remlax.results.result.ModelResult.predict_interval",
    "remlax.simulation.amputation.ampute",
    "remlax.simulation.amputation.drop_out",
    "remlax.simulation.ampute.ampute_arrays",
    "remlax.simulation.ampute.ampute_clusters",
    "remlax.simulation.ampute.cluster_features",
    "remlax.simulation.ampute.drop_out_rows",
    "remlax.simulation.ampute.missing_probabilities",
    "remlax.simulation.bootstrap.bootstrap",
    "remlax.simulation.generate.generate",
    "remlax.simulation.generate.generate_batch",
    "remlax.simulation.generate.simulate_frames",
}


def documented(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Names and docstrings of a module and of what is defined in it; decorators hide none."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        yield name, ast.get_docstring(node) or ""
        for child in node.body:
            yield from documented(child, f"{name}.{getattr(child, 'name', '')}")


def examples(module: str) -> list[doctest.DocTest]:
    """The examples of a module's docstrings."""
    found = importlib.import_module(module)
    path = str(inspect.getsourcefile(found))
    parser, tree = doctest.DocTestParser(), ast.parse(Path(path).read_text(encoding="utf-8"))
    tests = [parser.get_doctest(text, vars(found), name, path, 0) for name, text in documented(tree, module)]
    return [test for test in tests if test.examples]


def failures(test: doctest.DocTest) -> str:
    """What the examples print otherwise than they show."""
    said: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=LAYOUT).run(test, out=said.append)
    plt.close("all")
    return "".join(said)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples write their files and figures nowhere else."""
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    assert "".join(failures(test) for test in examples(module) if test.name not in SLOW) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_slow_examples(name: str) -> None:
    (test,) = (test for module in MODULES if name.startswith(module) for test in examples(module) if test.name == name)
    assert failures(test) == ""


def test_all_examples_are_found() -> None:
    """As many as there are prompts in the files."""
    for module in MODULES:
        path = (SOURCE / module.replace(".", "/")).with_suffix(".py")
        assert sum(len(test.examples) for test in examples(module)) == path.read_text(encoding="utf-8").count(">>> ")


def test_wrong_output_is_found() -> None:
    right, wrong = (doctest.DocTestParser().get_doctest(f">>> 1 + 1\n{n}\n", {}, "sum", None, 0) for n in (2, 3))
    assert failures(right) == ""
    assert "Expected:\n    3" in failures(wrong)
