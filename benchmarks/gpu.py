"""Fits per second by device and number of data sets: what one accelerator, and all of them together, give.

Run it where JAX sees a GPU (``pip install "jax[cuda12]"``); without one it runs on the CPU. Data sets are of two
shapes, J = 30 groups x 10 rows and High School & Beyond, their cross-products in the memory of the host, so that the
time includes what the host sends to the device. The last column compares the rate at which cross-products are read with
that of a copy of the same arrays on the device.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pandas as pd
from common import arguments, median_seconds, report

import remlax as rx
from remlax.engine.batch import Batch
from remlax.engine.fit import fit
from remlax.engine.placement import device_mesh


def small(seed: int = 1) -> pd.DataFrame:
    """J = 30 groups x 10 rows with a random slope."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(30), 10)
    x, u = rng.normal(size=300), rng.normal(size=(30, 2)) * [0.7, 0.3]
    return pd.DataFrame({"y": 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=300), "x": x, "g": g})


def shapes() -> dict[str, Batch]:
    few = rx.lmer_list("y ~ x + (1 + x | g)", [small(seed) for seed in range(64)])
    hsb = rx.lmer_list("mathach ~ minority + female + ses + meanses + (1 + ses | schid)", rx.datasets.hsb_imputed())
    return {"J=30 x 10": few.selection.model.batch, "hsb": hsb.selection.model.batch}


def copy_rate(batch: Batch, device: jax.Device) -> float:
    """Bytes per second, read and written, of a copy of the cross-products on one device."""
    with jax.enable_x64(True):
        here = jax.device_put(batch.problem.products, device)
        add = jax.jit(lambda values: jax.tree.map(lambda a: a + 1.0, values))
        jax.block_until_ready(add(here))
        seconds = median_seconds(lambda: jax.block_until_ready(add(here)), 7)
    return 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(batch.problem.products)) / seconds


def line(what: str, batch: Batch, n_sets: int, devices: list[jax.Device], repeats: int) -> dict[str, Any]:
    many = replace(batch.take(np.arange(n_sets) % batch.n_sets), mesh=device_mesh(devices))
    start = time.perf_counter()
    found = fit(many, rx.Newton())
    first = time.perf_counter() - start
    seconds = median_seconds(lambda: fit(many, rx.Newton()), repeats)
    read = sum(leaf.nbytes for leaf in jax.tree.leaves(many.problem.products)) / n_sets * float(found.evaluations.sum())
    return {
        "what": what,
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "data sets": n_sets,
        "seconds": seconds,
        "first call": first,
        "microseconds a fit": 1e6 * seconds / n_sets,
        "evaluations a fit": float(found.evaluations.mean()),
        "not converged": int((found.status != 0).sum()),
        "% of a copy's rate": 100 * read / seconds / (copy_rate(many, devices[0]) * len(devices)),
    }


def main() -> None:
    args = arguments(__doc__ or "")
    sizes = [1000] if args.quick else [1000, 10_000, 100_000]
    repeats = 3 if args.quick else 5
    everything = jax.devices()
    warnings.simplefilter("ignore", rx.SingularFitWarning)
    rows = []
    for what, batch in shapes().items():
        for n_sets in sizes[: 2 if what == "hsb" else 3]:
            rows.append(line(what, batch, n_sets, everything[:1], repeats))
            if len(everything) > 1:
                rows.append(line(what, batch, n_sets, everything, repeats))
    print(f"jax {jax.__version__}, backend {jax.default_backend()}\n")
    report("gpu", rows)


if __name__ == "__main__":
    main()
