"""Print the tables of the README and of docs/does-it-match.md from benchmarks/results; ``--write`` puts them there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def rows_of(name: str) -> list[dict[str, Any]]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def exactness() -> str:
    """Largest difference from R for every quantity of linear models."""
    return _differences("linear models", "exactness")


def generalised() -> str:
    """The same of generalised linear models."""
    return _differences("generalised models", "exactness-generalised")


def _differences(models: str, name: str) -> str:
    head = [f"| {models} | largest difference | in case | cases |", "| :-- | --: | :-- | --: |"]
    rows = rows_of(name)
    body = [f"| {r['quantity']} | {r['largest difference']:.1e} | {r['case']} | {r['cases']} |" for r in rows]
    return "\n".join([*head, *body])


def speed() -> str:
    """Seconds of warm calls: remlax, the fastest other tool with the right answer, lme4 and merTools."""
    head = [
        "| seconds | remlax | its first call | fastest other | lme4 | merTools |",
        "| :-- | --: | --: | :-- | --: | --: |",
    ]
    body = []
    rows = [row for name in ("suite-hsb", "suite-simulation") for row in rows_of(name)]
    for what in dict.fromkeys(row["what"] for row in rows):
        found = {row["tool"]: row for row in rows if row["what"] == what and row["verdict"] == "ok" and row["seconds"]}
        if "remlax" not in found:
            continue
        ours = found.pop("remlax")
        best = min(found.values(), key=lambda row: row["seconds"])
        peers = [f"{found[name]['seconds']:.3g}" if name in found else "" for name in ("lme4", "merTools")]
        other = f"{best['seconds']:.3g} ({best['tool']})"
        cells = [what, f"{ours['seconds']:.2g}", f"{ours['first call']:.1f}", other, *peers]
        body.append(f"| {' | '.join(cells)} |")
    return "\n".join([*head, *body])


def put(page: Path, table: str) -> None:
    """Replace the table of a page that has the same first line."""
    lines, head = page.read_text(encoding="utf-8").split("\n"), table.split("\n", 1)[0]
    start = lines.index(head)
    stop = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    page.write_text("\n".join([*lines[:start], table, *lines[stop:]]), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        root = RESULTS.parent.parent
        put(root / "README.md", speed())
        for page in (root / "README.md", root / "docs" / "does-it-match.md"):
            put(page, exactness())
        put(root / "docs" / "does-it-match.md", generalised())
    else:
        print(exactness(), generalised(), speed(), sep="\n\n")
