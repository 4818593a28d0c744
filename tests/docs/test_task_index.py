"""The API by task names every public function and method, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import remlax as rx

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "tasks.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([\w.]+)`", PAGE))
RESULTS = {"fit": rx.LmerFit, "fits": rx.LmerFitList, "pooled": rx.PooledLmer, "many": rx.LmerMany,
           "survey": rx.SurveyFit}  # fmt: skip
# parts of a package, what calls return, and what is for the inside
PARTS = {"core", "datasets", "errors", "impute", "plot", "priors", "sim"}
INSIDE = {"survey.combined", "survey.model", "rx.sim.main"}


def functions() -> set[str]:
    found = {f"rx.{name}" for name in rx.__all__ if name.islower() and name not in PARTS and not name.startswith("_")}
    for part in ("impute", "sim", "plot"):
        package = getattr(rx, part)
        names = getattr(package, "__all__", dir(package))
        found |= {
            f"rx.{part}.{name}" for name in names if not name.startswith("_") and callable(getattr(package, name))
        }
    results = re.compile(r"(Result|Within|ClusterMean|Overimputation)$")
    return {name for name in found if not results.search(name)} - INSIDE


def methods(head: str) -> set[str]:
    kind = RESULTS[head]
    names = {name for name in dir(kind) if not name.startswith("_")}
    if head == "fits":
        names -= set(dir(list))
    if head == "pooled":
        names -= set(dir(rx.LmerFit))
    return {f"{head}.{name}" for name in names} - INSIDE


@pytest.mark.parametrize("head", [None, *RESULTS])
def test_every_name_is_there(head: str | None) -> None:
    wanted = functions() if head is None else methods(head)
    assert sorted(wanted - NAMED) == []


def test_every_name_exists() -> None:
    for name in NAMED - set(RESULTS):
        head, _, rest = name.partition(".")
        found: object = RESULTS.get(head, rx)
        for part in rest.split("."):
            found = getattr(found, part)
