"""Lanes shared among several devices: four that XLA is told to make of one CPU, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from jax.sharding import Mesh

import remlax as rx
from remlax.engine.placement import device_mesh
from remlax.errors import DeviceError

SCRIPT = """
import json, sys
import jax, numpy as np, pandas as pd
from jax.sharding import Mesh
import remlax as rx

rng = np.random.default_rng(1)
g = np.repeat(np.arange(15), 6)
def frame():
    x, u = rng.normal(size=90), rng.normal(size=15)
    return pd.DataFrame({"y": x + u[g] + rng.normal(size=90), "x": x, "g": g, "c": np.arange(90) % 4})
frames = [frame() for _ in range(6)]

def numbers(formula, optimizer, device):
    fits = rx.lmer_list(formula, frames, optimizer=optimizer, device=device)
    own = fits.selection.fitted
    parts = [own.theta, own.beta, own.vcov, own.sigma, own.criterion, own.information.hess, own.factor_modes[0].modes]
    flat = np.concatenate([np.ravel(np.asarray(p)) for p in parts])
    return flat.tolist(), own.opt.status.tolist()

four = jax.devices()
out = {"devices": len(four)}
for name, formula, optimizer in json.loads(sys.argv[1]):
    given = getattr(rx, optimizer)()
    where = {"1": None, "2": four[:2], "4": Mesh(np.array(four).reshape(2, 2), ("a", "b"))}
    out[name] = {n: numbers(formula, given, device) for n, device in where.items()}
print(json.dumps(out))
"""
ONE = ["one factor", "y ~ x + (1 | g)", "Newton"]
OTHERS = [["crossed", "y ~ x + (1 | g) + (1 | c)", "Newton"], ["L-BFGS", "y ~ x + (1 | g)", "LBFGS"]]


def run(cases: list[list[str]]) -> dict[str, dict[str, tuple[list[float], list[int]]]]:
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(cases)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("devices") == 4
    return found  # type: ignore[no-any-return]


def check(cases: list[list[str]]) -> None:
    for found in run(cases).values():
        one, status = found["1"]
        assert np.isfinite(one).all()
        for n in ("2", "4"):
            # lanes are computed alone: only the order of sums inside a lane may differ between compiled programs
            np.testing.assert_allclose(found[n][0], one, rtol=1e-8, atol=1e-10)
            assert found[n][1] == status


def test_two_and_four_devices_give_the_numbers_of_one() -> None:
    check([ONE])


@pytest.mark.slow
def test_crossed_and_lbfgs_on_two_and_four_devices() -> None:
    check(OTHERS)


def test_one_named_device_gives_the_same_fit() -> None:
    data = rx.datasets.sleepstudy()
    formula = "Reaction ~ Days + (1 | Subject)"
    named = rx.lmer(formula, data, device=jax.devices("cpu")[0])
    assert named.criterion() == rx.lmer(formula, data).criterion()
    assert named.selection.model.batch.mesh is not None


def test_what_counts_as_a_device() -> None:
    cpu = jax.devices("cpu")
    assert device_mesh(None) is None
    for given in ("cpu", cpu, Mesh(np.array(cpu), ("x",))):
        assert list(device_mesh(given).devices) == cpu  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu", r"device='tpu': JAX sees no such device here, only .*(?i:cpu)"),
        ([], r"device=\[\]: give a platform such as 'gpu', a jax.Device, a list"),
        (3, r"device=3: give a platform such as 'gpu', a jax.Device, a list"),
        ([jax.devices("cpu")[0]] * 2, r"give different devices of one platform"),
    ],
)
def test_no_such_device(device: object, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        rx.lmer("y ~ 1 + (1 | g)", pd.DataFrame({"y": [1.0], "g": [1]}), device=device)  # type: ignore[arg-type]
