"""Many fits in files: the same tables again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import remlax as rx
from many_cases import FORMULA, design, draw
from remlax.data.archive import read_archive, write_archive
from remlax.errors import FileFormatError


def again(many: rx.LmerMany, folder: Path) -> rx.LmerMany:
    many.save(folder / "many.rx")
    found = rx.load(folder / "many.rx")
    assert isinstance(found, rx.LmerMany)
    for name in ("tidy", "varcorr", "anova", "glance", "convergence", "varcorr_shares"):
        pd.testing.assert_frame_equal(pd.DataFrame(getattr(found, name)()), pd.DataFrame(getattr(many, name)()))
    assert repr(found) == repr(many)
    assert found.names.equals(many.names)
    return found


def test_a_file_gives_the_same_tables(tmp_path: Path):
    data, responses = design().assign(other=1.0), draw(21, 5, missing=0.02).assign(flat=2.0)
    data.loc[7, "x"] = np.nan
    with pytest.warns(rx.DroppedRowsWarning):
        many = rx.lmer_many("~ x + C(f, contr.sum) + (1 | g)", data, responses, weights="w")
    found = again(many, tmp_path)
    assert found["y1"].summary() == many["y1"].summary()
    pd.testing.assert_frame_equal(pd.DataFrame(found.random_tests()), pd.DataFrame(many.random_tests()))


def test_files_of_blocks_sparse_responses_and_imputed_designs(tmp_path: Path):
    responses = draw(22, 4)
    again(rx.lmer_many(FORMULA, design(), iter([responses.to_numpy()])), tmp_path)
    counts = scipy.sparse.csr_array(np.random.default_rng(1).poisson(0.7, (60, 3)))
    found = again(rx.lmer_many(FORMULA, design(), counts), tmp_path)
    assert found.source.responses is not None
    assert (found.source.responses.values.toarray() == counts.toarray()).all()
    own = pd.DataFrame(np.random.default_rng(2).uniform(0.5, 2, (60, 4)), columns=responses.columns)
    weighted = rx.lmer_many(FORMULA, design(), responses, weights=own, reml=False)
    assert again(weighted, tmp_path)["y2"].summary() == weighted["y2"].summary()
    frames = {name: design().assign(x=design()["x"] + shift) for name, shift in (("a", 0.0), ("b", design()["w"]))}
    found = again(rx.lmer_many(FORMULA, frames, responses, weights="w"), tmp_path)
    assert list(found.source.labels) == ["a", "b"]


def test_files_that_are_of_another_model(tmp_path: Path):
    rx.lmer_many(FORMULA, design(), draw(23, 3)).save(tmp_path / "many.rx")
    content = read_archive(tmp_path / "many.rx").content
    for change, message in (
        ({"fits": [content["fits"][0] | {"beta": np.zeros((3, 2))}]}, r"'beta' of float64 and shape \(3, 2\) is not"),
        ({"responses": {"values": np.zeros((60, 2))}}, r"responses of shape \(60, 2\) for 3 names"),
        ({"formula": "~ x + (1 | g)"}, "make other model columns"),
        ({"names": None}, "is damaged or truncated"),
    ):
        write_archive(tmp_path / "other.rx", "LmerMany", content | change)
        with pytest.raises(FileFormatError, match=message):
            rx.load(tmp_path / "other.rx")
