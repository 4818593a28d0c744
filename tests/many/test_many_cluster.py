"""Blocks of responses on the workers of a dask cluster: the same results, and a worker may die."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import remlax as rx
from many_cases import FORMULA, design, draw
from remlax.errors import DataError, MissingExtraError

distributed = pytest.importorskip("distributed")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # sockets and event loops of dask complain when they are closed
def test_workers_give_the_same_fits_and_one_may_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    responses = draw(1, 12, missing=0.01)
    whole = rx.lmer_many(FORMULA, design(), responses, block_size=3)
    monkeypatch.setenv("MANY_MARKER", str(tmp_path / "died"))
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import dying_workers

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(dying_workers.install)
        many = rx.lmer_many(FORMULA, design(), responses, block_size=3, client=client, out=tmp_path / "fits")
    assert (tmp_path / "died").exists()
    assert list(many.names) == list(whole.names)
    pd.testing.assert_frame_equal(pd.DataFrame(many.tidy()), pd.DataFrame(whole.tidy()), rtol=1e-8)
    # and what they fitted is in the folder
    again = rx.lmer_many(FORMULA, design(), responses, block_size=3, out=tmp_path / "fits")
    pd.testing.assert_frame_equal(pd.DataFrame(again.tidy()), pd.DataFrame(many.tidy()))


def test_what_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"client= must be a distributed\.Client, not 'a'"):
        rx.lmer_many(FORMULA, design(), draw(1, 2), client="a")
    closed = SimpleNamespace(get_executor=None, status="closed")
    with pytest.raises(DataError, match="client= is closed, and has no workers"):
        rx.lmer_many(FORMULA, design(), draw(1, 2), client=closed)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install remlax\[dask\]"):
        rx.lmer_many(FORMULA, design(), draw(1, 2), client=object())
