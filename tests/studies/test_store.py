"""The results directory: atomic parts, damage, growth, several processes, disk errors."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from remlax.batched.methods import EMB, CompleteCases, CompleteData, Joint
from remlax.errors import FileFormatError, MissingExtraError, RemlaxWarning, SimulationError, SimulationWarning
from remlax.fitting.record import FitRecord
from remlax.simulation.fingerprint import digest, scenario_id
from remlax.simulation.mechanisms import Amputation, DropOut
from remlax.simulation.rows import COLUMNS, failed_records, method_records, tidy_rows
from remlax.studies import folder as folder_module
from remlax.studies.manifest import StudyPlan
from remlax.studies.store import Block, ResultStore, driven, join_store, read_store

# of this module and of what it imports
FOLDERS = " ".join(str(folder) for folder in Path(__file__).resolve().parents[:2])
SCENARIOS = {scenario_id(values): values for values in ({"J": 30, "law": "t"}, {"J": 150, "law": "normal"})}
SPECIFICATION = {"seed": 1, "method a": "code"}


def open_here(folder: Path, replications: int = 10, block_size: int = 4, **changes: object) -> ResultStore:
    with driven(folder, StudyPlan(SPECIFICATION | changes, SCENARIOS, replications), block_size) as store:
        return store


def rows(block: Block) -> pd.DataFrame:
    place = {"method": "a", "truth": {"x": 0.5}, "seconds": 0.0}
    found = int(block.scenario[:4], 16)
    return tidy_rows(
        [
            record
            for r in range(block.start, block.stop)
            for record in method_records(
                [{"term": "x", "estimate": r + found, "std_error": 1.0}], replication=r, **place
            )  # type: ignore[arg-type]
        ]
    )


def fill(store: ResultStore) -> None:
    for block in store.to_do():
        store.write(block, rows(block))


def test_blocks_cover_every_replication_once(tmp_path: Path) -> None:
    store = open_here(tmp_path)
    seen = [(b.scenario, r) for b in store.blocks() for r in range(b.start, b.stop)]
    assert seen == [(s, r) for s in SCENARIOS for r in range(10)]
    assert store.to_do() == store.blocks()


def test_results_come_back_in_order_with_their_parameters(tmp_path: Path) -> None:
    store = open_here(tmp_path)
    for block in reversed(store.blocks()):
        store.write(block, rows(block))
    assert store.to_do() == []
    results = store.results()
    assert list(results) == ["scenario", "J", "law", *COLUMNS]
    assert results["scenario"].tolist() == [s for s in SCENARIOS for _ in range(10)]
    assert results["J"].tolist() == [30] * 10 + [150] * 10
    assert results["replication"].tolist() == list(range(10)) * 2
    expected = pd.concat([rows(block) for block in store.blocks()], ignore_index=True)
    pd.testing.assert_frame_equal(results[list(COLUMNS)], expected)
    pd.testing.assert_frame_equal(read_store(tmp_path).results(), results)


@pytest.mark.filterwarnings("ignore:.*was started under other versions")
def test_a_folder_of_version_0_1_can_be_read_and_joined() -> None:
    folder = Path(__file__).parent / "study_0_1"
    for store in (read_store(folder), join_store(folder, StudyPlan(SPECIFICATION, SCENARIOS, 3))):
        assert store.to_do() == []
        expected = pd.concat([rows(block) for block in store.blocks()], ignore_index=True)
        pd.testing.assert_frame_equal(store.results()[list(COLUMNS)], expected)


@pytest.mark.parametrize(
    ("part", "known"),
    [
        (Amputation(0.4, [["x"]]), "97b4cf1befc0d583"),
        (DropOut(0.3, ["y"], subject="id", time="t"), "d7507ede9a3efd02"),
        (EMB(m=5), "151a6920a52ddf02"),
        (Joint(random=["time"]), "af70eaed42384005"),
        (CompleteCases(), "0381f41229d332cb"),
        (CompleteData(), "bef134bcfbea1004"),
    ],
)
def test_parts_of_studies_have_the_hashes_of_version_0_1(part: object, known: str) -> None:
    assert digest(part) == known


def test_a_truncated_part_is_found_and_redone(tmp_path: Path) -> None:
    store = open_here(tmp_path)
    fill(store)
    whole = store.results()
    block = store.blocks()[1]
    content = store.path(block).read_bytes()
    for keep in (0, 4, len(content) // 2, len(content) - 1):
        store.path(block).write_bytes(content[:keep])
        assert store.status(block) == "damaged"
    assert store.to_do() == [block]
    assert store.summary()[["finished", "missing", "damaged"]].to_numpy().tolist() == [[2, 0, 1], [3, 0, 0]]
    with pytest.warns(SimulationWarning, match="partial results: 1 of 6 blocks damaged; scenarios have 6 to 10 of 10"):
        assert len(store.results()) == len(whole) - 4
    with pytest.raises(FileFormatError, match=block.name):
        store.read(block)
    fill(store)
    pd.testing.assert_frame_equal(store.results(), whole)


def test_a_flipped_byte_is_found_or_harmless(tmp_path: Path) -> None:
    store = open_here(tmp_path)
    block = store.blocks()[0]
    store.write(block, rows(block))
    content, good = store.path(block).read_bytes(), store.read(block)
    found = 0
    for place in np.linspace(0, len(content) - 1, 150).astype(int):
        store.path(block).write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        if store.status(block) == "damaged":
            found += 1
        else:
            pd.testing.assert_frame_equal(store.read(block), good)
    assert found > 75  # the rest are statistics and names that reading does not need


def test_parts_of_another_study_or_other_replications_are_not_taken(tmp_path: Path) -> None:
    ours, theirs = open_here(tmp_path / "ours"), open_here(tmp_path / "theirs", seed=2)
    block, other = ours.blocks()[:2]
    theirs.write(block, rows(block))
    ours.path(block).write_bytes(theirs.path(block).read_bytes())
    assert ours.status(block) == "damaged"
    ours.write(other, rows(other))
    ours.path(block).write_bytes(ours.path(other).read_bytes())
    assert ours.status(block) == "damaged"


def test_a_part_of_another_scenario_is_not_taken_and_redone(tmp_path: Path) -> None:
    store = open_here(tmp_path)
    fill(store)
    whole = store.results()
    first, last = store.blocks()[0], store.blocks()[3]
    assert (first.start, first.stop) == (last.start, last.stop)  # all but the scenario is the same
    store.path(last).write_bytes(store.path(first).read_bytes())
    assert store.status(last) == "damaged"
    with pytest.raises(FileFormatError, match=f"{last.name}.* another study, scenario or block"):
        store.read(last)
    with pytest.warns(SimulationWarning, match="1 of 6 blocks damaged"):
        pd.testing.assert_frame_equal(store.results(), whole.drop(range(10, 14)).reset_index(drop=True))
    assert store.to_do() == [last]
    fill(store)
    pd.testing.assert_frame_equal(store.results(), whole)


def test_a_directory_belongs_to_one_study_and_block_size(tmp_path: Path) -> None:
    assert open_here(tmp_path, **{"seed": 3}).hash != open_here(tmp_path).hash  # nothing is finished
    fill(open_here(tmp_path))
    with pytest.raises(SimulationError, match=r"another study: method b \(new\), seed differ\."):
        open_here(tmp_path, **{"seed": 3, "method b": "code"})
    with pytest.raises(SimulationError, match="block_size=4"):
        open_here(tmp_path, block_size=5)
    open_here(tmp_path)


def test_more_replications_and_scenarios_keep_what_is_there(tmp_path: Path) -> None:
    fill(open_here(tmp_path, replications=10))
    more = open_here(tmp_path, replications=13)
    todo = [(b.scenario, b.start, b.stop) for b in more.to_do()]
    assert todo == [(s, start, stop) for s in SCENARIOS for start, stop in ((8, 12), (12, 13))]
    fill(more)
    fewer = open_here(tmp_path, replications=9)
    assert fewer.to_do() == []
    assert fewer.results()["replication"].tolist() == list(range(9)) * 2
    assert read_store(tmp_path).replications == 13
    extra = {scenario_id({"J": 7, "law": "t"}): {"J": 7, "law": "t"}}
    with driven(tmp_path, StudyPlan(SPECIFICATION, extra | SCENARIOS, 13), 4) as wider:
        pass
    assert {block.scenario for block in wider.to_do()} == set(extra)
    assert list(read_store(tmp_path).scenarios) == [*SCENARIOS, *extra]


def test_other_versions_warn_and_other_random_numbers_are_refused(tmp_path: Path) -> None:
    open_here(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["versions"]["jax"] = "0.1"
    path.write_text(json.dumps(manifest))
    with pytest.warns(RemlaxWarning, match=r"jax 0\.1 -> "):
        open_here(tmp_path)
    manifest["versions"]["threefry_partitionable"] = "False"
    path.write_text(json.dumps(manifest))
    with pytest.raises(SimulationError, match="other random numbers"):
        open_here(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1, "hash": "a", "specification": {"a": "b"}}', r"is damaged \('scenarios'\)"),
        ('{"format": 1, "hash": 5}', "is damaged"),
        ('{"format": 99}', "newer version"),
        ("[" * 100_000, "is damaged"),
        (None, "no study"),
    ],
)
def test_an_unreadable_manifest_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(FileFormatError, match=message):
        read_store(tmp_path)


def work(folder: str, order: int) -> None:
    store = open_here(Path(folder), replications=30, block_size=1)
    for block in store.blocks()[::order]:
        store.write(block, rows(block))


def test_two_processes_on_one_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(str(tmp_path), order)) for order in (1, -1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    store = open_here(tmp_path, replications=30, block_size=1)
    assert store.to_do() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "parts"]
    assert len(list((tmp_path / "parts").iterdir())) == 60
    assert store.results()["replication"].tolist() == list(range(30)) * 2


def test_of_two_studies_that_begin_at_once_in_a_new_folder_one_is_refused(tmp_path: Path) -> None:
    for attempt in range(10):
        folder, barrier = tmp_path / str(attempt), threading.Barrier(2)
        if attempt % 2:  # a study was given up there
            open_here(folder, seed="given up")

        def begin(seed: int, folder: Path = folder, barrier: threading.Barrier = barrier) -> object:
            barrier.wait()
            try:
                with driven(folder, StudyPlan(SPECIFICATION | {"seed": seed}, SCENARIOS, 10), 4) as store:
                    fill(store)
                    return store
            except SimulationError as error:
                return str(error)

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(begin, (1, 2)))
        (store,) = [one for one in found if isinstance(one, ResultStore)]
        (refusal,) = [one for one in found if isinstance(one, str)]
        assert refusal.startswith(f"{folder} belongs to another study: seed differs.")
        assert len(store.results()) == 20  # with a warning if anything was lost
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "parts"]


def test_a_study_keeps_its_folder_while_it_works_and_a_dead_one_does_not(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2].split()\n"
        "import test_store as t\n"
        "with t.driven(sys.argv[1], t.StudyPlan(t.SPECIFICATION, t.SCENARIOS, 10), 4):\n"
        "    print('here', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), FOLDERS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "here\n"
        with pytest.raises(
            SimulationError, match=r"another study: seed differs\. .* delete the directory if it is no lon"
        ):
            open_here(tmp_path, seed=2)
        with pytest.raises(SimulationError, match=r"block_size=4.* delete the directory"):
            open_here(tmp_path, block_size=5)
        store = open_here(tmp_path)  # the same study
        owner.send_signal(signal.SIGKILL)
    other = open_here(tmp_path, seed=2)
    with pytest.raises(SimulationError, match=r"taken over by another study .* new directory"):
        store.write(store.blocks()[0], rows(store.blocks()[0]))
    fill(other)
    assert len(other.results()) == 20
    with pytest.raises(
        SimulationError, match=r"seed differs\. Use a new directory; data of the same seed are the same"
    ):
        open_here(tmp_path)


def test_without_locks_no_folder_is_taken_over_and_every_write_looks_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "fcntl", None)
    store = open_here(tmp_path)
    with pytest.raises(SimulationError, match="seed differs"):
        open_here(tmp_path, seed=2)
    fill(store)
    assert len(store.results()) == 20
    for name, message in (("hash", "taken over"), ("block_size", "taken over"), (None, "holds no study")):
        path = tmp_path / "manifest.json"
        content = path.read_text()
        path.write_text(json.dumps(json.loads(content) | {name: 7 if name == "block_size" else "0"}))
        if name is None:
            path.unlink()
        with pytest.raises((SimulationError, FileFormatError), match=message):
            store.write(store.blocks()[0], rows(store.blocks()[0]))
        path.write_text(content)


def test_a_folder_without_manifest_is_not_overwritten_by_another_study(tmp_path: Path) -> None:
    store = open_here(tmp_path)
    fill(store)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(SimulationError, match=r"no manifest\.json but results of another study"):
        open_here(tmp_path, seed=2)
    assert open_here(tmp_path).to_do() == []


def limited(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run code on a store in another process."""
    code = (
        "import sys, signal; sys.path[:0] = sys.argv[2].split()\n"
        "import test_store as t\n"
        "from pathlib import Path\n"
        "from remlax.errors import SimulationError\n"
        f"{body}"
    )
    here = FOLDERS
    command = [sys.executable, "-c", code, str(folder), here]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_is_named_and_earlier_parts_stay_whole(tmp_path: Path) -> None:
    # a limit on the size of files makes the write fail half way through, as a full disk does
    store = open_here(tmp_path)
    first, second = store.blocks()[:2]
    store.write(first, rows(first))
    before = store.path(first).read_bytes()
    done = limited(
        tmp_path,
        "import resource\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = t.open_here(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "for block in store.blocks()[:2]:\n"
        "    try:\n"
        "        store.write(block, t.rows(block))\n"
        "    except SimulationError as error:\n"
        "        print(error)\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Cannot write") == 2
    assert first.name in done.stdout
    assert "File too large. What was written before is whole" in done.stdout
    assert store.path(first).read_bytes() == before
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [f"{first.name}.parquet"]
    assert store.status(second) == "missing"


def test_a_read_only_directory_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which only its owner may enter
        Path(folder).chmod(0o755)
        store = open_here(Path(folder) / "study")
        fill(store)
        for place in (store.directory, store.directory / "parts"):
            place.chmod(0o555)
        done = limited(
            store.directory,
            "import os, pyarrow.parquet\n"
            "store = t.open_here(Path(sys.argv[1]))\n"
            "if os.getuid() == 0:\n"  # root may write anywhere
            "    os.setuid(65534)\n"
            "store = t.open_here(Path(sys.argv[1]))\n"  # joining needs no writing
            "print(len(store.results()))\n"
            "block = store.blocks()[0]\n"
            "for make in (lambda: store.write(block, t.rows(block)), lambda: t.open_here(Path(sys.argv[1]) / 'new')):\n"
            "    try:\n"
            "        make()\n"
            "    except SimulationError as error:\n"
            "        print(error)\n",
        )
        for place in (store.directory, store.directory / "parts"):
            place.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "20"
    assert done.stdout.count("Permission denied. What was written before is whole") == 2


def test_an_interrupt_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_here(tmp_path)
    block = store.blocks()[0]
    store.write(block, rows(block))
    before = store.path(block).read_bytes()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    for other in store.blocks()[:2]:
        with pytest.raises(KeyboardInterrupt):
            store.write(other, rows(other).assign(estimate=0.0))
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [f"{block.name}.parquet"]
    assert store.path(block).read_bytes() == before


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_here(tmp_path)
    block = store.blocks()[0]
    made = rows(block)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install remlax\[sim\]"):
        store.write(block, made)


PLACE = {"replication": 3, "method": "a", "seconds": 0.25}


def test_rows_fill_in_limits_and_status() -> None:
    columns = {"term": ["z", "other", "x"], "estimate": [math.nan, 1.0, 2.0], "std_error": 0.5, "df": 10.0, "extra": 1}
    records = method_records(pd.DataFrame(columns), truth={"x": 1.0, "z": 0.0}, message="hm", **PLACE)  # type: ignore[arg-type]
    given = {"term": "x", "estimate": 2.0, "std_error": 0.5, "conf_low": 0.0, "conf_high": 9.0, "status": "singular"}
    records += method_records([given], truth={"x": 1.0}, **PLACE)  # type: ignore[arg-type]
    records += method_records(
        [{"term": "x", "estimate": 2.0, "std_error": 0.5, "df": math.nan}], truth={"x": 1.0}, **PLACE
    )  # type: ignore[arg-type]
    records += failed_records("it broke", truth={"x": 1.0}, **PLACE)  # type: ignore[arg-type]
    made = tidy_rows(records)
    assert list(made) == list(COLUMNS)
    assert made["term"].tolist() == ["x", "z", "x", "x", "x"]
    assert made["status"].tolist() == ["ok", "failed", "singular", "ok", "failed"]
    assert made["truth"].tolist() == [1.0, 0.0, 1.0, 1.0, 1.0]
    assert made["message"].tolist() == ["hm", "hm", "", "", "it broke"]
    assert made["conf_low"][0] == pytest.approx(2 - 2.2281388519649385 * 0.5)  # t table, 10 df
    assert made["p_value"][2] == pytest.approx(6.334248366623996e-05)  # 2 (1 - Phi(4))
    assert made.loc[2, ["conf_low", "conf_high"]].tolist() == [0.0, 9.0]
    assert made.loc[[1, 3, 4], "conf_low"].isna().all()  # no estimate, unknown df, no result
    assert (made["replication"] == 3).all()
    assert made["seconds"].tolist()[:4] == [0.25] * 4
    np.testing.assert_array_equal(made["singular"], [math.nan, math.nan, 1.0, math.nan, math.nan])
    assert made.dtypes.equals(tidy_rows(records[:1]).dtypes)
    assert made.dtypes.equals(tidy_rows(records[-1:]).dtypes)


NONE, BOTH, NEITHER = FitRecord(), FitRecord(5, singular=1, nonconverged=1), FitRecord(5)


@pytest.mark.parametrize(
    ("said", "fits", "status", "singular"),
    [
        ({}, NONE, "ok", math.nan),  # made by another program
        ({}, NEITHER, "ok", 0.0),
        ({}, FitRecord(5, singular=1), "singular", 1.0),
        ({}, BOTH, "nonconverged", 1.0),
        ({"singular": False}, FitRecord(5, singular=1), "ok", 0.0),  # a fit on the way to the one that counts
        ({"singular": np.True_}, NONE, "singular", 1.0),
        ({"singular": None, "converged": math.nan}, NEITHER, "ok", 0.0),
        ({"converged": False}, NONE, "nonconverged", math.nan),
        ({"converged": 1, "singular": 0}, BOTH, "ok", 0.0),
        ({"status": "ok"}, BOTH, "ok", 0.0),
        ({"status": "singular"}, NONE, "singular", 1.0),
    ],
)
def test_what_rows_say_of_their_fits_comes_before_what_was_seen(
    said: dict[str, object], fits: FitRecord, status: str, singular: float
) -> None:
    given = {"term": "x", "estimate": 1.0, **said}
    for found in ([given], pd.DataFrame([given])):
        made = tidy_rows(method_records(found, truth={"x": 1.0}, fits=fits, **PLACE))  # type: ignore[arg-type]
        assert made["status"].item() == status
        np.testing.assert_array_equal(made["singular"], [singular])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([{"term": "x"}], "without column 'estimate'"),
        ([], "without column 'term', 'estimate'"),
        ([{"term": "y", "estimate": 1.0}], "no row for the estimand 'x'"),
        ([{"term": "x", "estimate": 1.0}] * 2, "a term twice"),
        ([{"term": "x", "estimate": 1.0, "status": "fine"}], "status 'fine'"),
        ([{"term": "x", "estimate": 1.0, "singular": "yes"}], "singular='yes': give True or False"),
        ([{"term": "x", "estimate": 1.0, "converged": 0.5}], "converged=0.5: give True or False"),
    ],
)
def test_bad_rows_of_a_method_are_named(found: list[dict[str, object]], message: str) -> None:
    with pytest.raises(SimulationError, match=f"'a' returned.*{message}"):
        method_records(found, truth={"x": 1.0}, **PLACE)  # type: ignore[arg-type]
