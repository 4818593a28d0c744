"""Subpackages that come when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import remlax as rx

SCRIPT = """
import sys
import remlax as rx
ROOMS = ("impute", "many", "plot", "simulation", "batched", "studies", "data.readers")
LATER = tuple(f"remlax.{room}" for room in ROOMS)
before = [m for m in sys.modules if m.startswith(LATER)]
assert before == [], before
# what only some calls need, and takes as long as the rest
slow = {"scipy.stats", "scipy.optimize", "matplotlib", "jaxopt", "dask", "great_tables"} & set(sys.modules)
assert not slow, slow
rx.impute.emb, rx.impute.add_missing, rx.cluster_mean
rx.plot.caterpillar, rx.sim
assert "plot" in dir(rx)
assert "matplotlib" not in sys.modules
"""


def test_import_leaves_subpackages_alone_until_they_are_used() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)


def test_all_public_names_exist_and_others_are_refused() -> None:
    for name in rx.__all__:
        assert getattr(rx, name) is not None
        assert name in dir(rx)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rx.nonsense
