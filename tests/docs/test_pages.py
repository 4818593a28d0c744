"""Every block of Python in the README and the documentation runs and prints what is shown below it."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

import remlax as rx
from page_blocks import Block, blocks, difference, run

NAME = re.compile(r"(?<![-\w])(rx|fit|fits|pooled)\.((?:(?:plot|impute|sim)\.)?[A-Za-z]\w*)")
ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
FILES = {"docs/imputation-files.md": ["readers/mice_long.csv"]}
WITH_CODE = [page for page in PAGES if any(True for _ in blocks((ROOT / page).read_text(encoding="utf-8")))]


# pages of studies and imputations, which take a minute each, and others with many shapes of models
SLOW = {
    "docs/imputation.md",
    "docs/simulation.md",
    "docs/how-to/power.md",
    "docs/how-to/sample-size.md",
    "docs/comparing-models.md",
    "docs/how-to/visits.md",
    "docs/how-to/repeated-measures.md",
    "docs/how-to/singular-fit.md",
    "docs/imputation-diagnostics.md",
    "docs/inference.md",
    "docs/predictions.md",
    "docs/how-to/degrees-of-freedom.md",
    "docs/how-to/columns-far-from-normal.md",
    "docs/how-to/reference-based-imputation.md",
    "docs/how-to/three-levels.md",
    "docs/how-to/imputations-differ-in-size.md",
    "docs/how-to/which-p-value.md",
}


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page in SLOW else ()) for page in WITH_CODE]
)
@pytest.mark.filterwarnings("default")
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    for name in FILES.get(page, ()):
        shutil.copy(ROOT / "tests" / "reference" / name, tmp_path)
    names = {"__name__": "__page__"}
    found = [difference(block, run(block, names)) for block in blocks((ROOT / page).read_text(encoding="utf-8"))]
    assert not [line for line in found if line]


def test_tables_are_those_of_the_results():
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tables["exactness"]() in readme
    assert tables["exactness"]() in (ROOT / "docs" / "does-it-match.md").read_text(encoding="utf-8")
    assert tables["generalised"]() in (ROOT / "docs" / "does-it-match.md").read_text(encoding="utf-8")
    assert tables["speed"]() in readme
    assert readme.count("\n") <= 150


def test_every_name_of_a_table_of_names_is_there():
    """Names after rx., fit., fits. and pooled. in the pages for users of other packages exist."""
    # classes of generalised models, and of repeated measures, have the names of the linear ones, and some of their own
    kinds = {
        "rx": (rx,),
        "fit": (rx.GlmerFit, rx.MmrmFit, rx.SurveyFit),
        "fits": (rx.GlmerFitList, rx.MmrmFitList),
        "pooled": (rx.PooledGlmer, rx.PooledMmrm),
    }
    docs = ROOT / "docs"
    pages = [docs / "from-mertools.md", *(docs / "users").glob("*.md"), *(docs / "how-to").glob("*.md")]
    used = {found for page in pages for found in NAME.findall(page.read_text(encoding="utf-8"))}
    assert len(used) > 60
    missing = []
    for kind, path in used - {("fit", "scale")}:  # shown with the error that it gives
        if not any(_has(thing, path) for thing in kinds[kind]):
            missing.append(f"{kind}.{path}")
    assert not missing


def _has(thing, path):
    for part in path.split("."):
        thing = getattr(thing, part, getattr(thing, "__dataclass_fields__", {}).get(part))
    return thing is not None


def test_wrong_output_is_found():
    printed = Block("print(1.25, 'a')", "1.25 a\n", 1)
    assert difference(printed, run(printed, {})) is None
    for shown in ("1.35 a\n", "1.25 b\n", "1.25\n", "1.25 a a\n"):
        wrong = Block("print(1.25, 'a')", shown, 1)
        assert difference(wrong, run(wrong, {})) is not None
    part = Block("[1, 2.123456, 3]", "2.123 3", 1)
    assert difference(part, run(part, {})) is None
    assert difference(Block(part.code, "3 2.123", 1), run(part, {})) is not None


def test_errors_must_be_shown():
    code = "raise ValueError('no such column')"
    shown = Block(code, "ValueError: no such\ncolumn\n", 1)
    assert difference(shown, run(shown, {})) is None
    with pytest.raises(ValueError, match="no such column"):
        run(Block(code, None, 1), {})


def test_blocks_of_a_page():
    page = "```python\na = 1\n```\n\n```\n1\n```\n<!-- not run: needs a file -->\n```python\nb\n```\n"
    page += "```text\n>>> a\n1\n```\n"
    assert [(b.code, b.shown) for b in blocks(page)] == [("a = 1\n", "1\n"), ("a\n", "1\n")]
