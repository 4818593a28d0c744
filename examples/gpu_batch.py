"""Many data sets in one batch on a GPU where there is one, else on the CPU: fits per second, compilation apart.

docs/gpu.md says what a GPU is good for; install jax with CUDA to have JAX see it (pip install "jax[cuda12]").
"""

from __future__ import annotations

import sys
import time

import jax
import numpy as np
import pandas as pd

import remlax as rx


def simulated(n_sets: int, seed: int = 1) -> list[pd.DataFrame]:
    """Data sets of 30 groups of 10 rows."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(30), 10)
    x = rng.normal(size=(n_sets, 300))
    effects = rng.normal(0, 0.5, (n_sets, 30))
    y = 1 + 0.5 * x + effects[:, group] + rng.normal(size=x.shape)
    return [pd.DataFrame({"y": y[k], "x": x[k], "g": group}) for k in range(n_sets)]


def main() -> None:
    n_sets = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    device = "gpu" if jax.default_backend() == "gpu" else None
    data = rx.ImputedData.from_frames(simulated(n_sets))
    for call in ("first call, with compilation", "second call"):
        start = time.perf_counter()
        fits = rx.lmer_list("y ~ x + (1 | g)", data, device=device)
        seconds = time.perf_counter() - start
        print(f"{call}: {n_sets} fits in {seconds:.2f} s ({n_sets / seconds:.0f} per second) on {jax.devices()[0]}")
    slopes, converged = fits.fixef()["x"], int(fits.convergence()["converged"].sum())
    print(f"mean slope {slopes.mean():.3f} (true 0.5), SD {slopes.std():.3f}, converged {converged}")


if __name__ == "__main__":
    main()
