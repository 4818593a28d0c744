"""Write docs/benchmarks.md from what the suite kept in benchmarks/results; nothing in that page is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common import RESULTS
from suite import WORKLOADS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `benchmarks/page.py` from `benchmarks/results`, which `make bench` measures.

Seconds are medians of the calls after the first one, for all fits of the line, warm: data frames in memory, formula
handling included. The first call, which compiles or loads, stands apart. "times remlax" is the time of a tool over that
of remlax on the same line. Peers fit one data set after the other; where fewer fits were timed than the line has, their
time is scaled. Peak memory is that of the whole process, interpreter and libraries included. A tool whose criterion
differs from lme4's by more than 0.001 in one of the fits is shown and not ranked; lme4::refit is such a tool, its
criterion has a wrong constant.
"""
# scripts of their own
SCRIPTS = {
    "glmm": "Generalised linear mixed models: `benchmarks/glmm.py`",
    "many_responses": "Many responses with one design: `benchmarks/many_responses.py`",
    "mmrm": "Mixed models for repeated measures: `benchmarks/mmrm.py`",
    "power": "Power of designs: `benchmarks/power.py`",
    "surveys": "Surveys: `benchmarks/surveys.py`",
}
COLUMNS = ("tool", "seconds", "times remlax", "first call", "calls", "fits timed", "peak MB", "verdict")


def cell(row: dict[str, Any], column: str) -> str:
    value = row.get("tool / remlax") if column == "times remlax" else row.get(column)
    if value is None:
        return ""
    if column == "peak MB":
        return f"{value:,.0f}"
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def extras(row: dict[str, Any]) -> str:
    names = ("microseconds a fit", "evaluations a fit", "reads / copies a second")
    return ", ".join(f"{name} {row[name]:.3g}" for name in names if name in row)


def section(words: str, kept: dict[str, Any]) -> str:
    """One workload: a table for each of its lines."""
    machine = kept["machine"]
    out = [f"## {words}\n"]
    where = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']} at the end"
    out.append(f"{where}; {machine['date']}.\n")
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in kept["rows"]:
        lines.setdefault(row["what"], []).append(row)
    for what, rows in lines.items():
        used = [c for c in COLUMNS if any(cell(row, c) for row in rows)]
        best = rows[0].get("best peer / remlax")
        note = "" if best is None else f": the best peer takes {best:.3g} times as long"
        out += [f"**{what}**{note}\n", "| " + " | ".join(used) + " |", "|" + "---|" * len(used)]
        out += ["| " + " | ".join(cell(row, c) for c in used) + " |" for row in rows]
        notes = [f"{row['tool']}: {extras(row)}." for row in rows if extras(row)]
        out.append("\n" + " ".join(notes) + "\n" if notes else "")
    return "\n".join(out)


def main() -> None:
    parts, versions = [HEAD], {}
    for name in WORKLOADS:
        path = RESULTS / f"suite-{name}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            versions |= kept["versions"]
            parts.append(section((WORKLOADS[name].__doc__ or name).strip().rstrip("."), kept))
    for name, words in SCRIPTS.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            parts.append(section(words, json.loads(path.read_text(encoding="utf-8"))))
    parts.insert(1, "Versions: " + ", ".join(f"{tool} {version}" for tool, version in versions.items()) + ".\n")
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
