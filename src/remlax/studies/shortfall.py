"""What the results of a study fall short of: blocks that are missing and fits that failed, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def partial_note(blocks: Mapping[str, int], replications: Mapping[str, int], planned: int) -> str:
    """Say that results are partial, of how many ``planned`` replications of each scenario; empty if they are whole.

    Examples
    --------
    >>> partial_note({"finished": 3, "missing": 1, "damaged": 0}, {"a": 20, "b": 12}, 20)
    'partial results: 1 of 4 blocks missing; scenarios have 12 to 20 of 20 replications'
    """
    lacking = ", ".join(f"{blocks[what]} of {sum(blocks.values())} blocks {what}" for what in ("missing", "damaged")
                        if blocks[what])  # fmt: skip
    if not lacking:
        return ""
    low, high = min(replications.values()), max(replications.values())
    some = f"{low} to {high}" if low < high else f"{low}"
    return f"partial results: {lacking}; scenarios have {some} of {planned} replications"


def failed_fits(rows: pd.DataFrame) -> pd.Series:
    """For every scenario, method and replication, whether it gave no estimate at all."""
    failed = rows["status"] == "failed"
    return failed.groupby([rows["scenario"], rows["method"], rows["replication"]], sort=False).all()


def failure_notes(rows: pd.DataFrame, scenarios: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about methods, and estimands, that failed in every replication of a scenario."""
    lost = rows.assign(failed=rows["status"] == "failed")
    cells = lost.groupby(["method", "term", "scenario"], sort=False).agg(
        n=("failed", "size"), dead=("failed", "all"), reason=("message", "first")
    )
    notes = []
    for method, own in cells.groupby(level="method", sort=False):
        own = own.droplevel("method")
        whole = own["dead"].groupby(level="scenario", sort=False).transform("all")
        notes += _notes(
            own[whole].groupby(level="scenario", sort=False).first(),
            own,
            scenarios,
            f"replications of method {method!r}",
        )
        for term, part in own[own["dead"] & ~whole].groupby(level="term", sort=False):
            notes += _notes(part.droplevel("term"), own, scenarios, f"estimates of {term!r} by method {method!r}")
    return notes


def _notes(dead: pd.DataFrame, cells: pd.DataFrame, scenarios: Mapping[str, Mapping[str, Any]], what: str) -> list[str]:
    """One sentence about cells (n and reason by scenario) in which all failed; none if there are none."""
    if dead.empty:
        return []
    n, others = int(dead["n"].sum()), len(dead) - 1
    where = ""
    if len(dead) < cells.index.get_level_values("scenario").nunique():
        where = f" in scenario {dict(scenarios[str(dead.index[0])])}" + (f" and {others} more" if others else "")
    return [f"{n} of {n} {what} failed{where}: {dead['reason'].iloc[0] or 'no finite estimate'}"]
