"""Importing and using remlax leaves the user's JAX as it was, and threads do not disturb each other."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import remlax as rx

SCRIPT = """
import threading
import jax.numpy as jnp
import remlax as rx
seen = [str(jnp.ones(1).dtype)]
data = rx.datasets.dyestuff()
worker = threading.Thread(target=lambda: rx.lmer("Yield ~ 1 + (1 | Batch)", data))
worker.start()
while worker.is_alive():
    seen.append(str(jnp.ones(1).dtype))
worker.join()
rx.lmer("Yield ~ 1 + (1 | Batch)", data)
seen.append(str(jnp.ones(1).dtype))
print(",".join(sorted(set(seen))))
"""


def test_default_dtype_of_the_user_is_untouched() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "float32"


def test_threads_give_the_serial_results() -> None:
    data = rx.datasets.sleepstudy()
    formulas = ["Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (1 + Days | Subject)"] * 3
    serial = [rx.lmer(f, data).theta for f in formulas]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda f: rx.lmer(f, data).theta, formulas))
    for a, b in zip(serial, found, strict=True):
        np.testing.assert_array_equal(a, b)
