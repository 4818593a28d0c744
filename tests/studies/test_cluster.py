"""Studies on several processes, workers of a dask cluster, and several devices: the same results, deaths survived."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import studies
from remlax.errors import MissingExtraError, SimulationError
from remlax.studies.study import Study

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # sockets and event loops of dask complain when they are closed
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    marker = tmp_path_factory.mktemp("marker") / "died"
    os.environ["STUDY_MARKER"] = str(marker)
    paths = os.pathsep.join([str(Path(studies.__file__).parent), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTHONPATH"] = paths
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found
    del os.environ["STUDY_MARKER"]


def results(study: Study, folder: Path, **options: object) -> pd.DataFrame:
    study.run(folder, block_size=5, progress=False, **options)  # type: ignore[arg-type]
    return study.results(folder).drop(columns="seconds")


def test_dask_workers_give_the_same_results_and_one_may_die(client: object, tmp_path: Path) -> None:
    whole = results(studies.simple(), tmp_path / "here")
    dying = studies.simple(methods={"mean": studies.dying_mean})
    survived = results(dying, tmp_path / "dask", client=client)
    assert Path(os.environ["STUDY_MARKER"]).exists()  # a worker did die
    pd.testing.assert_frame_equal(survived, whole)
    # what is there is not done again, and failures are rows there as here
    assert (
        studies.simple(methods={"mean": studies.dying_mean})
        .run(tmp_path / "dask", block_size=5, progress=False, client=client)
        .to_do()
        == []
    )
    fragile = results(studies.simple(methods={"mean": studies.fragile_mean}), tmp_path / "fragile", client=client)
    assert fragile.query("status == 'failed'")["replication"].tolist() == [3, 13] * 2


def test_time_limit_and_mistakes_on_dask(client: object, tmp_path: Path) -> None:
    store = studies.simple().run(tmp_path, block_size=5, progress=False, max_time=0, client=client)
    assert len(store.to_do()) == 8
    study = studies.simple(methods={"mean": lambda data, context: 1})
    with pytest.raises(SimulationError, match="top level of a module"):
        study.run(tmp_path / "lambda", progress=False, client=client)
    with pytest.raises(SimulationError, match="needs a model"):
        studies.study(methods={"cc": studies.complete_cases()}, replications=3).run(
            tmp_path / "mistake", progress=False, client=client
        )


def test_without_dask_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install remlax\[dask\]"):
        studies.simple().run(tmp_path, progress=False, client=object())


DEVICES = """
import sys
import jax, numpy as np
import studies
from remlax.batched.mixed_method import _cached_model, _Design
from remlax.simulation.layout import structure_of
from remlax.batched.pipeline import Analysis, AnalysisOptions, ReplicationColumns, analyse_on
from remlax.batched.treatments import Whole
assert len(jax.devices()) == int(sys.argv[2])
study = studies.batched()
study.run(sys.argv[1], progress=False)
if len(jax.devices()) > 1:
    from remlax.studies.replicate import batch_data
    from remlax.studies.store import Block
    (name, scenario), = study.table().items()
    batch = batch_data(study, Block(name, 0, 0, 4), scenario, "emb")
    with jax.enable_x64(True):
        model, groups = _cached_model(structure_of(batch.design), _Design(batch.design), study.model, True)
        whole = batch.complete
        values = {n: whole.columns[n] for n in model.columns}
        columns = ReplicationColumns(values, {}, whole.weights > 0, whole.codes["g"])
        found = analyse_on(batch.keys, columns, groups, devices=tuple(jax.devices()),
                           analysis=Analysis(model, Whole(), AnalysisOptions(True, None, 1)))
    assert len(found.pooled.estimate.sharding.device_set) == 2
"""


def test_two_devices_share_the_replications(tmp_path: Path) -> None:
    for count in (1, 2):
        environment = os.environ | {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
            "PYTHONPATH": os.pathsep.join([str(Path(studies.__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        folder = str(tmp_path / str(count))
        done = subprocess.run(
            [sys.executable, "-c", DEVICES, folder, str(count)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    study = studies.batched()
    one, two = (study.results(tmp_path / str(count)) for count in (1, 2))
    for column in ("estimate", "std_error", "df", "conf_low"):
        np.testing.assert_allclose(one[column], two[column], rtol=1e-7)
    assert one["status"].tolist() == two["status"].tolist()


def test_worker_processes_share_compiled_programs(tmp_path: Path) -> None:
    environment = {**os.environ, "REMLAX_CACHE": str(tmp_path / "programs")}
    code = (
        "import sys, studies\n"
        "if __name__ == '__main__':\n"
        "    studies.batched(replications=4).run(sys.argv[1], block_size=2, workers=2, progress=False)\n"
    )
    script = tmp_path / "driver.py"
    script.write_text(code)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(studies.__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "programs").glob("*.program"))  # written by a worker, for the others
