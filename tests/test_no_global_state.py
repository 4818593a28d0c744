"""Importing and using remlax leaves the user's JAX as it was, and threads do not disturb each other."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax import sim
from remlax.errors import ImputationWarning
from remlax.impute.kernels.noise import seeded

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


@pytest.fixture
def setting() -> Iterator[Callable[[str, object], None]]:
    before: dict[str, object] = {}

    def change(name: str, value: object) -> None:
        before.setdefault(name, jax.config.values[name])
        jax.config.update(name, value)

    yield change
    for name, value in before.items():
        jax.config.update(name, value)


def _gaps() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("xyz")).assign(g=np.repeat(range(6), 10))
    frame.loc[rng.random(60) < 0.3, "x"] = np.nan
    return frame


def _imputed() -> list[pd.DataFrame]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)  # a chain so short has not converged
        joint = rx.impute.joint(_gaps(), "x ~ y + (1 | g)", 2, seed=1, burn=5, iter=4)
    return [*rx.impute.emb(_gaps()[["x", "y", "z"]], 2, seed=1).data, *joint.data]


def test_the_key_of_a_seed_is_threefrys_under_another_default_generator(
    setting: Callable[[str, object], None],
) -> None:
    setting("jax_default_prng_impl", "rbg")
    key = seeded(5)
    assert str(jax.random.key_impl(key)) == "threefry2x32"
    assert jax.random.key_data(key).tolist() == [0, 5]


@pytest.mark.slow  # the setting compiles all anew
def test_a_seed_means_the_same_under_another_default_generator(setting: Callable[[str, object], None]) -> None:
    expected = _imputed()
    setting("jax_default_prng_impl", "rbg")
    for found, wanted in zip(_imputed(), expected, strict=True):
        pd.testing.assert_frame_equal(found, wanted)


@pytest.mark.slow
def test_a_transfer_guard_of_the_user_does_not_reach_inside(setting: Callable[[str, object], None]) -> None:
    data = rx.datasets.sleepstudy()
    design = sim.MultilevelDesign([sim.Factor("g", 4)], 5, {"1": 1.0}, [sim.RandomTerm("g", {"1": 0.5})], 1.0)
    expected = _imputed()
    # of all threads, also of those that compute
    setting("jax_transfer_guard", "disallow")
    fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", data)
    assert fit.criterion() == pytest.approx(1743.6282719584906, abs=1e-9)
    assert np.isfinite(fit.tidy("fixed")["df"]).all()
    assert len(fit.ranef(cond_var=True)) > 0
    assert np.isfinite(fit.predict_interval(data, n_sims=20, seed=1)).all(axis=None)
    for found, wanted in zip(_imputed(), expected, strict=True):
        pd.testing.assert_frame_equal(found, wanted)
    assert sim.generate(sim.key(1, "0" * 16, 0, sim.Stream.DATA), design).columns["y"].shape == (20,)
    assert sim.ampute(data[["Reaction", "Days"]], 0.3, [["Days"]], seed=1).mask["Days"].any()
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        jnp.asarray(np.arange(3.0)) + np.arange(3.0)  # the user's own
