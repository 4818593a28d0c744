"""Many responses with one design, beside loops over lmerTest and the glmm package, on the same data in one run.

20,000 responses x 200 samples of 50 donors, 7 columns, to the table with Satterthwaite's degrees of freedom; the same
with 8 plates that cross the donors; 1,000,000 voxels x 100 scans in blocks, with the peak of memory. Peers fit some of
the responses, which stand for all.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from common import arguments, median_seconds, report
from peers import Workload, compare

import remlax as rx

RIGHT = "age + dose + batch + (1 | donor)"
BLOCK = 20_000


def samples(n_responses: int, *, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    """200 samples of 50 donors on 8 plates, and responses (200, G), some without variance between donors."""
    rng = np.random.default_rng(seed)
    donor, plate, batch = np.repeat(np.arange(50), 4), rng.integers(0, 8, 200), rng.integers(0, 5, 200)
    age, dose = rng.normal(size=50)[donor], rng.normal(size=200)
    data = pd.DataFrame({"age": age, "dose": dose})
    for name, codes in (("batch", batch), ("donor", donor), ("plate", plate)):
        data[name] = np.char.add(name, codes.astype(str))
    size = rng.choice([0.0, 0.3, 0.6, 1.0], n_responses)
    y = rng.normal(size=(200, n_responses)) + np.outer(dose, 0.3 * rng.normal(size=n_responses))
    y += rng.normal(size=(50, n_responses))[donor] * size + 0.4 * rng.normal(size=(8, n_responses))[plate]
    return data, y


def beside_peers(n_responses: int, repeats: int, some: int) -> list[dict[str, Any]]:
    data, y = samples(n_responses)
    ours = median_seconds(lambda: rx.lmer_many(f"~ {RIGHT}", data, y).tidy(), repeats)
    many = rx.lmer_many(f"~ {RIGHT}", data, y)
    name = f"{n_responses} responses, 1 factor"
    rows: list[dict[str, Any]] = [
        {"what": name, "tool": "remlax", "seconds": ours},
        {"what": f"{name}: tidy() alone", "tool": "remlax", "seconds": median_seconds(many.tidy, repeats)},
    ]
    frames = [data.assign(y=y[:, g]) for g in range(some)]
    tools = ("lmerTest", "glmm")
    peers = Workload(name, f"y ~ {RIGHT}", frames, ("batch", "donor"), n_responses, tools, True)
    for row in compare(peers, 2, 120.0)[1:]:
        row["tool / remlax"] = None if row["seconds"] is None else row["seconds"] / ours
        rows.append(row)
    return rows


def crossed(n_responses: int, repeats: int) -> dict[str, Any]:
    data, y = samples(n_responses)
    seconds = median_seconds(lambda: rx.lmer_many(f"~ {RIGHT} + (1 | plate)", data, y).tidy(), repeats)
    return {"what": f"{n_responses} responses, donors x plates", "tool": "remlax", "seconds": seconds}


def voxels(n_voxels: int) -> dict[str, Any]:
    """Blocks that are drawn when they are asked for."""
    rng = np.random.default_rng(1)
    subject = np.repeat(np.arange(25), 4)
    data = pd.DataFrame({"time": np.tile(np.arange(4.0), 25), "age": rng.normal(size=25)[subject], "subject": subject})

    def blocks() -> Iterator[np.ndarray]:
        for first in range(0, n_voxels, BLOCK):
            own, m = np.random.default_rng(first), min(BLOCK, n_voxels - first)
            yield (own.normal(size=(100, m)) + own.normal(size=(25, m))[subject]).astype(np.float32)

    start = time.perf_counter()
    rx.lmer_many("~ time + age + (1 | subject)", data, blocks()).tidy()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - start
    return {"what": f"{n_voxels} voxels x 100 scans", "tool": "remlax", "seconds": seconds, "peak MB": peak}


def main() -> None:
    quick = arguments(__doc__ or "").quick
    rows = [voxels(60_000 if quick else 1_000_000)]  # first: the peak is that of the process
    rows += beside_peers(*((2_000, 2, 5) if quick else (20_000, 5, 40)))
    rows.append(crossed(500 if quick else 20_000, 1 if quick else 2))
    report("many_responses", rows)


if __name__ == "__main__":
    main()
