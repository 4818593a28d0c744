"""Every block of Python in the README and the documentation runs and prints what is shown below it."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

from page_blocks import Block, blocks, difference, run

ROOT = Path(__file__).resolve().parents[2]
FAST = ["README.md", "docs/index.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs/how-to").glob("*.md"))]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if any(True for _ in blocks((ROOT / page).read_text(encoding="utf-8")))]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[] if page in FAST else pytest.mark.slow) for page in WITH_CODE]
)
@pytest.mark.filterwarnings("default")
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    folder = ROOT / "tests" / "docs" / "files" / Path(page).stem
    if folder.is_dir():
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    names = {"__name__": "__page__"}
    found = [difference(block, run(block, names)) for block in blocks((ROOT / page).read_text(encoding="utf-8"))]
    assert not [line for line in found if line]


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
