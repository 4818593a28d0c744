"""Studies: the same data however they are run, faults survived, failures recorded, replication again."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import remlax as rx
import studies
from remlax.errors import FileFormatError, SimulationError, SimulationWarning
from remlax.fitting.record import FitRecord, recorded
from remlax.simulation.measures import performance
from remlax.simulation.mechanisms import Amputation
from remlax.studies import cli
from remlax.studies.specification import FrameAmputer, FrameGenerator
from remlax.studies.store import read_store
from remlax.studies.study import Study

DRIVER = Path(studies.__file__)


def run(study: Study, folder: Path, **options: object) -> pd.DataFrame:
    study.run(folder, **({"progress": False} | options))  # type: ignore[arg-type]
    return study.results(folder)


def same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Equal in every column but the time taken."""
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))


@pytest.mark.slow
def test_block_sizes_give_the_same_data_bit_by_bit(tmp_path: Path) -> None:
    study = studies.study(scenarios={"J": [6], "sd": [0.5]}, replications=40)  # more than one chunk of 32
    results = {size: run(study, tmp_path / str(size), block_size=size) for size in (1, 7, 64)}
    assert len(results[64]) == 40 * 2
    bits = results[64].query("method == 'bits'")["estimate"]
    assert bits.nunique() == len(bits)  # no two data sets are equal
    same(results[1], results[64])
    same(results[7], results[64])
    assert (results[64].query("method == 'ls'")["df"] < 38).all()  # something is missing everywhere


@pytest.mark.slow
def test_other_scenarios_methods_and_replications_change_nothing(tmp_path: Path) -> None:
    whole = run(studies.study(replications=12), tmp_path / "whole")
    scenarios = pd.DataFrame({"sd": [0.9, 0.5], "J": [5, 8]})
    other = studies.study(scenarios=scenarios, methods={"bits": studies.fingerprint}, replications=9)
    part = run(other, tmp_path / "part")
    assert part["scenario"].unique()[1] == whole["scenario"].unique()[1]
    kept = "replication < 9 and J == 8 and method == 'bits'"
    columns = ["scenario", "replication", "estimate"]
    pd.testing.assert_frame_equal(
        part.query(kept)[columns].reset_index(drop=True), whole.query(kept)[columns].reset_index(drop=True)
    )
    reseeded = run(studies.study(replications=3, seed=21), tmp_path / "seed")
    assert not set(reseeded.query("method == 'bits'")["estimate"]) & set(whole["estimate"])


def test_batched_methods_see_the_same_data_as_methods_on_frames(tmp_path: Path) -> None:
    methods = {"batch": studies.BatchedLeastSquares(), "frame": studies.least_squares}
    study = studies.study(scenarios={"J": [6], "sd": [0.5]}, methods=methods, replications=40)
    results = run(study, tmp_path / "a", block_size=40)
    assert results["method"].tolist() == ["batch", "frame"] * 40
    batch, frame = (results[results["method"] == name].reset_index(drop=True) for name in methods)
    for column in ("estimate", "std_error", "df", "conf_low", "p_value"):
        np.testing.assert_allclose(batch[column], frame[column], rtol=1e-9)
    again = run(study, tmp_path / "b", block_size=20)
    np.testing.assert_allclose(again["estimate"], results["estimate"], rtol=1e-12)


def test_performance_of_the_mean(tmp_path: Path) -> None:
    study = studies.simple(replications=400)
    study.run(tmp_path, progress=False)
    table = study.performance(tmp_path)
    assert list(table)[:4] == ["scenario", "mu", "method", "term"]
    cell = table[table["summary"] == "all"].set_index(["mu", "measure"])
    for mu in (0.0, 1.0):
        assert abs(cell.loc[(mu, "bias"), "estimate"]) < 4 * cell.loc[(mu, "bias"), "mcse"]
        for measure, value in {"coverage": 0.95, "empirical_se": math.sqrt(0.1), "mse": 0.1}.items():
            assert abs(cell.loc[(mu, measure), "estimate"] - value) < 4 * cell.loc[(mu, measure), "mcse"]
    assert abs(cell.loc[(0.0, "type_1_error"), "estimate"] - 0.05) < 4 * cell.loc[(0.0, "type_1_error"), "mcse"]
    # power of the t test with n = 10: noncentral t
    cut = stats.t.ppf(0.975, 9)
    power = stats.nct.sf(cut, 9, math.sqrt(10)) + stats.nct.cdf(-cut, 9, math.sqrt(10))
    assert abs(cell.loc[(1.0, "power"), "estimate"] - power) < 4 * cell.loc[(1.0, "power"), "mcse"]


def test_failures_are_rows_and_can_be_replayed(tmp_path: Path) -> None:
    study = studies.simple(methods={"mean": studies.mean, "fragile": studies.fragile_mean})
    results = run(study, tmp_path)
    fragile = results[results["method"] == "fragile"].set_index(["mu", "replication"])
    failed = fragile[fragile["status"] == "failed"]
    assert failed.index.get_level_values("replication").tolist() == [3, 13] * 2
    assert set(failed["message"]) == {"ZeroDivisionError: nothing to divide by"}
    assert failed["estimate"].isna().all()
    assert set(fragile.query("replication in (4, 14)")["message"]) == {"UserWarning: look out"}
    same(results[results["method"] == "mean"].reset_index(drop=True), run(studies.simple(), tmp_path / "alone"))
    table = study.performance(tmp_path).set_index(["mu", "method", "summary", "measure"])["estimate"]
    assert table[0.0, "fragile", "all", "n_failed"] == 2
    assert table[0.0, "fragile", "converged", "convergence"] == 0.9
    replay = study.replay({"mu": 1.0}, 13)
    with pytest.raises(ZeroDivisionError):
        replay.run("fragile")
    found = replay.run("mean")
    stored = results.query("mu == 1 and replication == 13 and method == 'mean'")
    assert found["estimate"].item() == stored["estimate"].item() == replay.data["y"].mean()
    by_name = study.replay(stored["scenario"].item(), 13)
    pd.testing.assert_frame_equal(by_name.data, replay.data)


def test_replay_of_a_design_gives_complete_and_incomplete_data(tmp_path: Path) -> None:
    study = studies.study(
        methods={"bits": studies.fingerprint, "batch": studies.BatchedLeastSquares()}, replications=40
    )
    results = run(study, tmp_path)
    replay = study.replay({"J": 8, "sd": 0.5}, 37)
    seen = replay.data.notna()
    assert not seen.to_numpy().all()
    assert (replay.data == replay.complete).to_numpy()[seen.to_numpy()].all()
    stored = results.query("J == 8 and replication == 37").set_index("method")["estimate"]
    assert replay.run("bits")["estimate"].item() == stored["bits"]
    assert replay.run("batch")["estimate"].item() == pytest.approx(stored["batch"], rel=1e-12)


def test_singular_fits_in_functions_are_counted_whatever_they_do_with_warnings(tmp_path: Path) -> None:
    def draw(scenario: object, rng: np.random.Generator) -> pd.DataFrame:
        groups = np.repeat(np.arange(8.0), 5)  # without an effect, so that about half of the variances are 0
        return pd.DataFrame({"y": rng.normal(size=40), "g": groups})

    def loud(data: pd.DataFrame, context: studies.Context) -> pd.DataFrame:
        return rx.lmer("y ~ 1 + (1 | g)", data).tidy("fixed")

    def silent(data: pd.DataFrame, context: studies.Context) -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return loud(data, context)

    def again(data: pd.DataFrame, context: studies.Context) -> pd.DataFrame:
        varied = data["y"] + 9 * np.sin(3 * data["g"])  # so that this fit is not singular
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return rx.refit(rx.lmer("y ~ 1 + (1 | g)", data.assign(y=varied)), data["y"])[0].tidy("fixed")

    def own(data: pd.DataFrame, context: studies.Context) -> pd.DataFrame:
        return silent(data, context).assign(singular=False)

    def anova(data: pd.DataFrame, context: studies.Context) -> list[dict[str, object]]:
        between = data.groupby("g")["y"].mean().var() * 5
        within = data.groupby("g")["y"].var().mean()
        # the moment estimator is not positive where REML is 0 in a balanced one-way layout (Searle et al. 1992, 4.2)
        return [{"term": "Intercept", "estimate": data["y"].mean(), "n_iter": between <= within}]

    methods = {"loud": loud, "silent": silent, "again": again, "own": own, "anova": anova}
    study = studies.simple(
        scenarios={"case": [1]}, generate=FrameGenerator(draw), methods=methods, estimands={"Intercept": 0.0}
    )
    results = run(study, tmp_path).set_index(["method", "replication"])
    expected = results.loc["anova", "n_iter"]
    assert 5 < expected.sum() < 18
    for method in ("loud", "silent", "again"):
        assert (results.loc[method, "singular"] == expected).all()
        assert (results.loc[method, "status"] == np.where(expected == 1, "singular", "ok")).all()
        said = results.loc[method, "message"].str.startswith("SingularFitWarning: singular fit: a variance")
        assert (said == (expected if method != "again" else 0)).all()  # refit() has no such warning
    table = study.performance(tmp_path)
    share = table[(table["measure"] == "singular") & (table["summary"] == "all")].set_index("method")["estimate"]
    assert share.loc["silent"] == share.loc["loud"] == share.loc["again"] == expected.mean()
    assert share.loc["own"] == 0  # as it says
    assert math.isnan(share.loc["anova"])  # nothing is known of other programs
    first = int(expected.idxmax())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert study.replay({"case": 1}, first).run("loud")["status"].item() == "singular"


def test_singular_and_failed_fits_of_a_list_are_counted() -> None:
    sleep = rx.datasets.sleepstudy()
    means = sleep.groupby("Subject")["Reaction"].transform("mean")
    flat = sleep.assign(Reaction=sleep["Reaction"] - means)
    noise = 1e-7 * np.sin(np.arange(180.0) ** 2)
    exact = sleep.assign(Reaction=means + noise)  # no residual variance, where the criterion falls without end
    with recorded() as fits, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rx.lmer_list("Reaction ~ 1 + (1 | Subject)", [sleep, flat, exact, sleep])
    assert fits == FitRecord(4, singular=1, nonconverged=1)
    assert found.convergence()["converged"].tolist() == [True, True, False, True]


def test_a_row_that_cannot_be_is_a_failed_one(tmp_path: Path) -> None:
    def odd(data: pd.DataFrame, context: studies.Context) -> list[dict[str, object]]:
        (row,) = studies.mean(data, context)
        return [{**row, "std_error": -1.0} if context.replication == 7 else row]

    study = studies.simple(methods={"odd": odd, "mean": studies.mean})
    results = run(study, tmp_path)
    failed = results[results["status"] == "failed"]
    assert failed[["method", "replication"]].drop_duplicates().to_numpy().tolist() == [["odd", 7]]
    assert failed["message"].str.contains("std_error=-1: give a finite number").all()
    table = study.performance(tmp_path).set_index(["mu", "method", "summary", "measure"])["estimate"]
    assert table[0.0, "odd", "all", "n_failed"] == 1


def test_a_run_in_which_everything_failed_says_so(tmp_path: Path) -> None:
    def some(data: pd.DataFrame, context: studies.Context) -> list[dict[str, object]]:
        if context.scenario["mu"]:
            raise ValueError("no means today")
        return studies.mean(data, context)

    def half(data: pd.DataFrame, context: studies.Context) -> list[dict[str, object]]:
        return [*studies.mean(data, context), {"term": "sd", "estimate": math.nan}]

    def none(data: pd.DataFrame, context: studies.Context) -> list[dict[str, object]]:
        raise ZeroDivisionError(f"nothing in replication {context.replication}")

    study = studies.simple(methods={"none": none, "mean": studies.mean})
    with pytest.warns(SimulationWarning) as caught:
        store = study.run(tmp_path / "a", block_size=8, progress=False)
    reason = "ZeroDivisionError: nothing in replication 0"
    assert [str(w.message) for w in caught] == [
        f"{tmp_path / 'a'}: 40 of 40 replications of method 'none' failed: {reason}"
    ]
    assert caught[0].filename == __file__
    assert str(store).endswith("6 of 6 blocks finished, 40 of 80 fits failed (50%)")
    assert store.summary()["failed_fits"].tolist() == [20, 20]
    with pytest.warns(SimulationWarning, match="40 of 40"):  # a finished run, too
        study.run(tmp_path / "a", block_size=8, progress=False)
    study = studies.simple(scenarios={"mu": [0.0, 1.0, 2.0]}, methods={"some": some})
    with pytest.warns(SimulationWarning) as caught:
        study.run(tmp_path / "b", progress=False)
    (text,) = [str(w.message) for w in caught]
    assert text.endswith(
        "40 of 40 replications of method 'some' failed in scenario {'mu': 1.0} and 1 more: ValueError: no means today"
    )
    study = studies.simple(methods={"half": half}, estimands={"mu": studies.truth, "sd": 1.0})
    with pytest.warns(SimulationWarning) as caught:
        store = study.run(tmp_path / "c", progress=False)
    (text,) = [str(w.message) for w in caught]
    assert text.endswith("40 of 40 estimates of 'sd' by method 'half' failed: no finite estimate")
    assert "failed" not in str(store)


class Broken:
    """A batched method that fails for some replications, or altogether."""

    def __init__(self, raises: bool) -> None:
        self.raises = raises

    def analyse_batch(self, batch: studies.BatchData) -> studies.BatchRows:
        if self.raises:
            raise MemoryError("too large")
        odd = batch.replications % 2
        value = np.where(odd[:, None] == 1, np.nan, 1.0)
        return studies.BatchRows(["x"], value, value, status=np.where(odd == 1, 3, 1), n_iter=odd + 5)


def test_batched_methods_report_status_by_replication(tmp_path: Path) -> None:
    study = studies.study(methods={"some": Broken(False), "all": Broken(True)}, replications=6)
    with pytest.warns(SimulationWarning, match=r"12 of 12 replications of method 'all' failed: MemoryError: too large"):
        results = run(study, tmp_path).query("J == 6").set_index("method")
    assert results.loc["some", "status"].tolist() == ["singular", "failed"] * 3
    assert results.loc["some", "n_iter"].tolist() == [5, 6] * 3
    assert set(results.loc["all", "message"]) == {"MemoryError: too large"}


def test_data_made_and_amputed_by_functions_of_the_user(tmp_path: Path) -> None:
    def take_out(frame: pd.DataFrame, scenario: object, rng: np.random.Generator) -> pd.DataFrame:
        return frame.mask(rng.uniform(size=frame.shape) < 0.3)

    def break_sometimes(scenario: object, rng: np.random.Generator) -> pd.DataFrame:
        frame = studies.draw({"mu": 0.0}, rng)
        if frame["y"][0] > 1:
            raise ValueError("not today")
        return frame.assign(z=1.0 * np.arange(10))

    def count(data: pd.DataFrame, context: object) -> list[dict[str, object]]:
        return [{"term": "mu", "estimate": float(data["y"].isna().sum())}]

    base = {"generate": FrameGenerator(break_sometimes), "methods": {"count": count}, "replications": 60}
    for name, ampute in (
        ("own", FrameAmputer(take_out)),
        ("ours", lambda scenario: Amputation(0.3, [["y"]], mechanism="MCAR")),
    ):
        results = run(studies.simple(ampute=ampute, **base), tmp_path / name)
        failed = results["status"] == "failed"
        assert 0.05 < failed.mean() < 0.3  # P(z > 1) = 0.16
        assert set(results[failed]["message"]) == {"generate: ValueError: not today"}
        counts = results[~failed]["estimate"]
        assert abs(counts.mean() - 3) < 4 * counts.std() / math.sqrt(len(counts))
    with pytest.raises(SimulationError, match="cannot be made: generate: ValueError"):
        studies.simple(ampute=ampute, **base).replay({"mu": 0.0}, int(results[failed]["replication"].iloc[0]))


def test_time_limit_and_resume(tmp_path: Path) -> None:
    study = studies.simple()
    assert len(study.run(tmp_path, block_size=5, max_time=0, progress=False).to_do()) == 8
    assert study.results(tmp_path).empty
    slow = studies.simple(methods={"mean": studies.slow_mean})
    store = slow.run(tmp_path / "slow", block_size=5, max_time=0.15, progress=False)
    assert 0 < len(store.to_do()) < 8
    same(run(slow, tmp_path / "slow", block_size=5), run(study, tmp_path / "whole", block_size=5))


def test_interrupt_keeps_finished_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = studies.simple(methods={"mean": studies.interrupted_mean})
    monkeypatch.setenv("STUDY_INTERRUPT", "1")
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path, block_size=5, progress=False)
    with pytest.warns(SimulationWarning, match="6 of 8 blocks missing; scenarios have 0 to 10 of 20 replications"):
        assert len(read_store(tmp_path).results()) == 10
    assert len(list((tmp_path / "parts").iterdir())) == 2
    monkeypatch.delenv("STUDY_INTERRUPT")
    same(run(study, tmp_path, block_size=5), run(studies.simple(), tmp_path / "whole"))


def test_a_damaged_part_is_redone(tmp_path: Path) -> None:
    study = studies.simple()
    whole = run(study, tmp_path, block_size=5)
    part = sorted((tmp_path / "parts").iterdir())[3]
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.warns(SimulationWarning, match="partial results: 1 of 8 blocks damaged"):
        assert len(study.results(tmp_path)) == len(whole) - 5
    same(run(study, tmp_path, block_size=5), whole)


def test_tables_of_a_part_of_a_study_say_so(tmp_path: Path) -> None:
    study = studies.simple()
    store = study.run(tmp_path, block_size=5, progress=False)
    whole = study.performance(tmp_path)
    assert (whole["n_planned"] == 20).all()
    assert whole.attrs["note"] == study.results(tmp_path).attrs["note"] == ""
    first, second, *_, last = store.blocks()
    store.path(first).unlink()
    store.path(second).write_bytes(b"")
    store.path(last).unlink()
    note = "partial results: 2 of 8 blocks missing, 1 of 8 blocks damaged; scenarios have 10 to 15 of 20 replications"
    with pytest.warns(SimulationWarning, match=f"{tmp_path}: {note}; run the study again"):
        table = study.performance(tmp_path)
    assert table.attrs["note"] == note
    bias = table[(table["measure"] == "bias") & (table["summary"] == "all")]
    assert bias[["mu", "n_used", "n_planned"]].to_numpy().tolist() == [[0.0, 10, 20], [1.0, 15, 20]]
    with pytest.warns(SimulationWarning, match=note):
        results = read_store(tmp_path).results()
    assert results.attrs == {"n_planned": 20, "note": note}
    overall = performance(results, truth="truth", by=["method"]).set_index("measure")
    assert overall.loc["bias", ["n_used", "n_planned"]].to_numpy().tolist() == [[25, 40]] * 2
    assert read_store(tmp_path).summary()[["missing", "damaged"]].to_numpy().tolist() == [[1, 1], [1, 0]]
    more = dataclasses.replace(study, replications=30)  # more than the folder was made for
    with pytest.warns(SimulationWarning, match="10 to 15 of 30"):
        assert (more.performance(tmp_path)["n_planned"] == 30).all()
    study.run(tmp_path, block_size=5, progress=False)
    pd.testing.assert_frame_equal(study.performance(tmp_path), whole)


def test_reading_changes_nothing_in_the_folder(tmp_path: Path) -> None:
    study = studies.simple()
    study.run(tmp_path, block_size=5, max_time=0, progress=False)
    before = (tmp_path / "manifest.json").read_bytes()
    for other in (studies.simple(seed=6), studies.simple(replications=50)):
        with contextlib.suppress(SimulationError):
            assert other.results(tmp_path).empty
        assert (tmp_path / "manifest.json").read_bytes() == before


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(1200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def wait_for_parts(folder: Path, number: int) -> None:
    assert eventually(lambda: len(list(folder.glob("parts/[!.]*"))) >= number)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_kill_the_driver_and_resume(tmp_path: Path, workers: int) -> None:
    # between and during blocks: a block of 5 takes 0.1 s, and it is killed a little later each time
    orphans: list[str] = []
    for kills, wanted in enumerate((1, 3)):
        driver = subprocess.Popen([sys.executable, str(DRIVER), str(tmp_path), str(workers)], stderr=subprocess.DEVNULL)
        wait_for_parts(tmp_path, wanted)
        time.sleep(0.04 * kills)
        children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
        if children.exists():  # a kernel may have been built without it
            orphans = children.read_text().split()
            assert len(orphans) == (0 if workers == 1 else workers + 1)  # and multiprocessing's resource tracker
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert eventually(lambda pids=orphans: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids))
    assert driver.returncode == -signal.SIGKILL
    study = studies.simple(methods={"mean": studies.slow_mean})
    with pytest.warns(SimulationWarning, match=r"\d of 8 blocks missing"):
        assert study.results(tmp_path)["replication"].size < 40  # it was not done
    same(run(study, tmp_path, block_size=5), run(studies.simple(), tmp_path / "whole"))


@pytest.mark.slow
def test_interrupt_signal_to_the_driver_keeps_finished_blocks(tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, str(DRIVER), str(tmp_path), "1"], stderr=subprocess.PIPE, text=True)
    wait_for_parts(tmp_path, 2)
    driver.send_signal(signal.SIGINT)
    _, error = driver.communicate()
    assert "KeyboardInterrupt" in error
    assert not list(tmp_path.glob("parts/.*"))
    study = studies.simple(methods={"mean": studies.slow_mean})
    with pytest.warns(SimulationWarning, match="blocks missing"):
        assert len(study.results(tmp_path)) >= 10
    same(run(study, tmp_path, block_size=5), run(studies.simple(), tmp_path / "whole"))


@pytest.mark.slow
def test_worker_processes_and_the_death_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(studies.simple(), tmp_path / "whole")
    monkeypatch.setenv("STUDY_MARKER", str(tmp_path / "marker"))
    study = studies.simple(methods={"mean": studies.dying_mean})
    survived = run(study, tmp_path / "once", block_size=5, workers=2)
    assert (tmp_path / "marker").exists()
    same(survived, whole)


@pytest.mark.slow
def test_a_block_that_kills_its_worker_every_time_is_named(tmp_path: Path) -> None:
    study = studies.simple(methods={"mean": studies.dying_mean})
    with pytest.raises(SimulationError, match=r"died 2 times in block \w+-000002 \(replications 10 to 14\)"):
        study.run(tmp_path, block_size=5, workers=2, progress=False)


@pytest.mark.slow
def test_designs_in_worker_processes_are_the_same(tmp_path: Path) -> None:
    same(run(studies.study(), tmp_path / "two", workers=2, block_size=16), run(studies.study(), tmp_path / "one"))


@pytest.mark.slow
def test_blocks_by_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # the functions are pickled from a script, as a user's would be
    subprocess.run([sys.executable, str(DRIVER), str(tmp_path), "prepare"], check=True)
    first = subprocess.run(
        [sys.executable, "-m", "remlax.sim", "run-block", str(tmp_path), "4"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert first.returncode == 0, first.stderr
    assert "block 4 of 6" in first.stdout
    assert "8 rows, 0 failed" in first.stdout
    assert read_store(tmp_path).summary()["finished"].tolist() == [0, 1]
    study = studies.simple()
    study.prepare(tmp_path / "here", block_size=8)
    for index in range(6):
        assert cli.main(["run-block", str(tmp_path / "here"), str(index)]) == 0
    assert cli.main(["run-block", str(tmp_path / "here"), "0"]) == 0
    assert "finished already" in capsys.readouterr().out
    same(read_store(tmp_path / "here").results(), run(study, tmp_path / "whole"))
    assert cli.main(["status", str(tmp_path / "here")]) == 0
    assert capsys.readouterr().out.split()[-3:] == ["3", "0", "0"]
    assert cli.main(["run-block", str(tmp_path / "here"), "6"]) == 1
    assert "has blocks 0 to 5; there is no 6" in capsys.readouterr().err
    kept = (tmp_path / "here" / "study.pickle").read_bytes()
    # nonsense, a text that is not UTF-8, an attribute of another name
    damaged = b"nonsense", kept.replace(b"study", b"st\xffdy", 1), kept.replace(b"generate", b"renerate")
    for content in damaged:
        (tmp_path / "here" / "study.pickle").write_bytes(content)
        assert cli.main(["run-block", str(tmp_path / "here"), "0"]) == 1
        assert "cannot be read" in capsys.readouterr().err
    assert cli.main(["run-block", str(tmp_path / "whole"), "0"]) == 1
    assert "study.prepare" in capsys.readouterr().err
    for command in (["status", ""], ["run-block", "", "0"]):  # a variable of the shell that is not set
        assert cli.main(command) == 1
        assert "must be the path of a folder, got ''" in capsys.readouterr().err


def test_changed_code_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = studies.simple()
    study.prepare(tmp_path, block_size=8)
    assert cli.main(["run-block", str(tmp_path), "0"]) == 0
    with pytest.raises(SimulationError, match="another study: method mean differs"):
        studies.simple(methods={"mean": studies.slow_mean}).run(tmp_path, block_size=8)
    monkeypatch.setattr(studies, "mean", studies.fragile_mean)
    assert cli.main(["run-block", str(tmp_path), "1"]) == 1
    assert "has changed" in capsys.readouterr().err


def test_a_changed_helper_of_another_module_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def analysis(data: pd.DataFrame, context: object) -> list[dict[str, object]]:
        return studies.mean(data, context)  # type: ignore[arg-type]

    study = studies.simple(methods={"mean": analysis})
    store = study.run(tmp_path, block_size=5, progress=False)
    store.path(store.blocks()[0]).unlink()
    monkeypatch.setattr(studies, "mean", studies.fragile_mean)
    for go_on in (study.run, study.results, study.performance):
        with pytest.raises(
            SimulationError, match=r"method mean differs \(code counts with the functions and data that it"
        ):
            go_on(tmp_path, **({"block_size": 5} if go_on == study.run else {}))
    monkeypatch.undo()
    assert study.run(tmp_path, block_size=5, progress=False).to_do() == []


def test_functions_that_other_processes_cannot_import_are_named(tmp_path: Path) -> None:
    study = studies.simple(methods={"mean": lambda data, context: studies.mean(data, context)})
    assert len(run(study, tmp_path)) == 40
    with pytest.raises(SimulationError, match="top level of a module"):
        study.run(tmp_path / "two", workers=2, progress=False)
    with pytest.raises(SimulationError, match="top level of a module"):
        study.prepare(tmp_path / "three")


def test_progress_bar_shows_blocks_and_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studies.simple(methods={"mean": studies.fragile_mean}).run(tmp_path, block_size=5)
    shown = capsys.readouterr().err
    assert "8/8" in shown
    assert "failed_rows=4" in shown


def test_blocks_and_reading_a_directory_that_is_not_there(tmp_path: Path) -> None:
    study = studies.simple()
    assert [(b.start, b.stop) for b in study.blocks(8)] == [(0, 8), (8, 16), (16, 20)] * 2
    with pytest.raises(FileFormatError, match="holds no study"):
        study.results(tmp_path / "nothing")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {}}, "at least one method"),
        ({"estimands": {}}, "one estimand"),
        ({"replications": 0}, "replications=0 must be a whole number of at least 1"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"scenarios": {"term": [1]}}, "Rename the parameter 'term'"),
        ({"scenarios": {"mu": [1, 1.0]}}, "is there twice"),
        ({"scenarios": {"mu": []}}, "at least one scenario"),
        ({"scenarios": {}}, "where nothing varies, give one parameter one value"),
        ({"methods": {"batch": studies.BatchedLeastSquares()}}, "'batch' analyses arrays"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        studies.simple(**changes)


def test_one_scenario_in_which_nothing_varies(tmp_path: Path) -> None:
    study = studies.simple(
        scenarios={"case": ["only"]},
        generate=FrameGenerator(lambda s, rng: studies.draw({"mu": 2.0}, rng)),
        estimands={"mu": 2.0},
    )
    assert run(study, tmp_path)["truth"].tolist() == [2.0] * 20
    with pytest.raises(SimulationError, match="is not part of the study"):
        study.replay({"case": "only"}, 20)
    study.run(tmp_path / "none", max_time=0, progress=False)
    with pytest.raises(SimulationError, match=r"No block in .* is finished yet"):
        study.performance(tmp_path / "none")
