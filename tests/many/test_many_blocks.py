"""Responses in blocks, sparse, or of an AnnData; folders that a run goes on from; files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import remlax as rx
from many_cases import FORMULA, design, draw
from remlax.errors import DataError, MissingExtraError
from remlax.many import fit as many_fit


def same(one: rx.LmerMany, other: rx.LmerMany) -> None:
    assert list(one.names) == list(other.names)
    ours, theirs = pd.DataFrame(one.tidy()), pd.DataFrame(other.tidy())
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-7)


def test_an_iterator_of_blocks_is_read_once():
    responses = draw(1, 10)
    whole = rx.lmer_many(FORMULA, design(), responses)

    def blocks() -> Iterator[pd.DataFrame]:
        for first in range(0, 10, 4):
            yield responses.iloc[:, first : first + 4]

    many = rx.lmer_many(FORMULA, design(), blocks(), block_size=3)
    same(many, whole)
    arrays = (block.to_numpy(np.float32) for block in blocks())
    named = rx.lmer_many(FORMULA, design(), arrays, names=list(responses))
    pd.testing.assert_frame_equal(named.fixef(), whole.fixef(), rtol=1e-4)
    assert list(rx.lmer_many(FORMULA, design(), (b.to_numpy() for b in blocks())).names) == list(range(10))
    with pytest.raises(DataError, match=r"read in a block and are not kept: pass them, .*many.fit_one\('y1', values\)"):
        many["y1"]


def test_values_of_a_response_that_are_not_kept():
    responses, data = draw(1, 4, missing=0.03), design().copy()
    data.loc[5, "x"] = np.nan
    with pytest.warns(rx.DroppedRowsWarning):
        many = rx.lmer_many(FORMULA, data, iter([responses.to_numpy(np.float32)]), names=list(responses))
    with pytest.warns(rx.DroppedRowsWarning):
        own = rx.lmer(f"y1 {FORMULA}", data.assign(y1=responses["y1"]))
    fit = many.fit_one("y1", responses["y1"])
    assert isinstance(fit, rx.LmerFit)
    assert fit.summary() == own.summary()
    assert many.fit_one("y1", responses["y1"].tolist()).summary() == own.summary()
    for values, message in (
        (responses["y2"], "values= are not those of 'y1' that were fitted: their mean is"),
        (responses["y1"].fillna(0.0), "over 59 rows, and that of 'y1' was"),
        (responses["y1"].iloc[1:], "must be 60 numbers, one for each row"),
        (["a"] * 60, "must be 60 numbers"),
        (responses["y1"].iloc[::-1], "are not those of 'y1'"),
        (responses["y1"].iloc[[1, 0, *range(2, 60)]], "stand in another order"),
    ):
        with pytest.raises(DataError, match=message):
            many.fit_one("y1", values)
    frames = [design(), design().assign(x=design()["x"] + 0.1 * design()["w"])]
    weights = pd.DataFrame(np.random.default_rng(2).uniform(0.5, 2, responses.shape), columns=responses.columns)
    fits = rx.lmer_many(FORMULA, frames, responses, weights=weights)["y1"]
    there = responses["y1"].notna()
    each = [frame.assign(y1=responses["y1"], w=weights["y1"])[there] for frame in frames]
    assert fits.pool().tidy().equals(rx.lmer_list(f"y1 {FORMULA}", each, weights="w").pool().tidy())


def test_blocks_that_cannot_be_used():
    y = draw(1, 2)
    for blocks, names, message in (
        ([], None, "gave no block"),
        ([y, y], None, "another block is called 'y0' too"),
        ([y, y.iloc[1:]], ["a", "b", "c", "d"], "block 2: responses= has 59 rows for 60"),
        ([y], ["a"], "names= has 1 names, and there are more responses"),
        ([y], ["a", "b", "c"], "names= has 3 names for 2 responses"),
    ):
        with pytest.raises(DataError, match=message):
            rx.lmer_many(FORMULA, design(), iter(blocks), names=names)
    with pytest.raises(DataError, match="not in blocks"):
        rx.lmer_many(FORMULA, design(), iter([y]), weights=np.ones((60, 2)))
    with pytest.raises(DataError, match="responses= is missing"):
        rx.lmer_many(FORMULA, design())


def test_sparse_counts_and_annotated_data():
    counts = np.random.default_rng(1).poisson(0.7, (60, 6))
    whole = rx.lmer_many(FORMULA, design(), counts, names=list("abcdef"))
    for matrix in (scipy.sparse.csr_matrix(counts), scipy.sparse.coo_array(counts.astype(np.float32))):
        same(rx.lmer_many(FORMULA, design(), matrix, names=list("abcdef"), block_size=4), whole)
    annotated = SimpleNamespace(X=scipy.sparse.csr_matrix(counts), var_names=pd.Index(list("abcdef")), obs=design())
    same(rx.lmer_many(FORMULA, annotated), whole)
    same(rx.lmer_many(FORMULA, design(), annotated), whole)
    annotated.obs = design().iloc[::-1]
    with pytest.raises(DataError, match="stand in another order"):
        rx.lmer_many(FORMULA, design(), annotated)


def test_a_run_goes_on_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    responses, folder = draw(1, 9), tmp_path / "fits"
    whole = rx.lmer_many(FORMULA, design(), responses, block_size=4)
    fitted, stop = [], 2
    fit = many_fit.SharedDesign.fit

    def counted(self: many_fit.SharedDesign, y: np.ndarray, weights: np.ndarray | None = None):
        if len(fitted) == stop:
            raise KeyboardInterrupt
        fitted.append(len(y))
        return fit(self, y, weights)

    monkeypatch.setattr(many_fit.SharedDesign, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        rx.lmer_many(FORMULA, design(), responses, block_size=4, out=folder)
    assert len(list(folder.iterdir())) == 2
    stop = 3
    many = rx.lmer_many(FORMULA, design(), responses, block_size=4, out=str(folder))
    assert fitted == [4, 4, 1]
    pd.testing.assert_frame_equal(pd.DataFrame(many.tidy()), pd.DataFrame(whole.tidy()))
    for given in ({"reml": False}, {"weights": "w"}, {"block_size": 5}):
        with pytest.raises(DataError, match="holds fits of other responses, or of another design"):
            rx.lmer_many(FORMULA, design(), responses, out=folder, **{"block_size": 4, **given})  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is no folder"):
        rx.lmer_many(FORMULA, design(), responses, out=tmp_path / "file")


def test_tables_are_written_to_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    many = rx.lmer_many(FORMULA, design(), draw(1, 3))
    many.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "table.parquet"), pd.DataFrame(many.tidy()), check_dtype=False
    )

    def missing(*_: object, **__: object) -> None:
        raise ImportError

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    with pytest.raises(MissingExtraError, match=r"pip install remlax\[io\]"):
        many.to_parquet(tmp_path / "other.parquet", "ran_pars")


def test_memory_is_looked_at_before_it_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("remlax.memory.available_bytes", lambda: 1000)
    with pytest.raises(rx.errors.ModelSizeError, match="the fits of 3 responses need about"):
        rx.lmer_many(FORMULA, design(), draw(1, 3))
