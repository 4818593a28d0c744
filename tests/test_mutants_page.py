"""The table of mutants on the page is that of the kept results, and no mutant survives without a reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = json.loads((ROOT / "benchmarks" / "results" / "mutants.json").read_text(encoding="utf-8"))


def test_survivors_have_a_reason():
    for row in ROWS:
        if row["verdict"] == "survived":
            assert row.get("kind") in ("same", "minor"), row
            assert row["why"], row
        else:
            assert row["verdict"] in ("killed", "stopped", "no Python", "unchanged"), row


def test_page_counts_what_was_kept():
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    for package in {row["module"].split(".")[0] for row in ROWS}:
        counts = Counter(
            row.get("kind", row["verdict"])
            for row in ROWS
            if row["module"].startswith(package + ".") and row["verdict"] not in ("no Python", "unchanged")
        )
        found = re.search(rf"^\| `{package}` \|(.+)\|$", page, re.MULTILINE).group(1).split("|")
        tested, noticed, stopped, same, minor, unnoticed = map(int, found[1:7])
        assert tested == sum(counts.values())
        assert noticed == counts["killed"] + counts["stopped"]
        assert (stopped, same, minor, unnoticed) == (counts["stopped"], counts["same"], counts["minor"], 0)
        assert float(found[7].removesuffix(" % ")) == round(100 * noticed / (tested - same), 1)
