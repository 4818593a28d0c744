"""Write docs/tutorials/hsb.md as a notebook, and execute it: python examples/notebook.py hsb.ipynb

Needs nbformat, nbclient and ipykernel.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbclient
import nbformat

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorials" / "hsb.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)


def notebook(page: str) -> nbformat.NotebookNode:
    """One cell per block of Python, one per text between; shown output is left to the execution."""
    book = nbformat.v4.new_notebook()
    place = 0
    for block in BLOCK.finditer(page):
        text = page[place : block.start()].strip()
        place = block.end()
        if text:
            book.cells.append(nbformat.v4.new_markdown_cell(text))
        if block[1] == "python":
            book.cells.append(nbformat.v4.new_code_cell(block[2].rstrip()))
    book.cells.append(nbformat.v4.new_markdown_cell(page[place:].strip()))
    return book


def main(target: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    # figures and links of the page are relative to its folder
    book = notebook(re.sub(r"^!\[.*\n", "", page, flags=re.MULTILINE))
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3").execute()
    nbformat.write(book, target)
    print(f"{target.name}: {len(book.cells)} cells, executed")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("hsb.ipynb"))
