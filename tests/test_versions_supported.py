"""Versions are told in one place each, and the oldest supported ones are those that the packages are checked with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import remlax as rx

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_oldest_versions_are_those_that_are_checked() -> None:
    needed = dict(re.fullmatch(r"(\w+)>=([\d.]+)", line).groups() for line in PROJECT["dependencies"])
    pinned = dict(re.findall(r"^(\w+)==([\d.]+)$", (ROOT / ".ci" / "oldest.txt").read_text(), re.MULTILINE))
    assert pinned.pop("jaxlib") == pinned["jax"]
    assert pinned == needed


def test_pages_tell_the_oldest_versions() -> None:
    python = PROJECT["requires-python"].removeprefix(">=")
    jax = next(line for line in PROJECT["dependencies"] if line.startswith("jax>=")).removeprefix("jax>=")
    for page in ("README.md", "docs/index.md"):
        text = (ROOT / page).read_text()
        assert f"Python {python}" in text, page
        assert f"JAX {jax}" in text, page


def test_citation_has_the_version_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE).group(1) == rx.__version__


def test_versions_are_single_sourced() -> None:
    """hatchling reads it from the module; nothing else states it."""
    assert PROJECT["dynamic"] == ["version"]


@pytest.mark.parametrize("field", ["cff-version", "message", "title", "authors", "license", "version"])
def test_citation_is_complete(field: str) -> None:
    """What the citation file format requires, and what a citation is made of."""
    assert re.search(rf"^{field}: ?", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
