"""Files of fits: what comes back is what was saved, and a damaged file is refused."""

from __future__ import annotations

import io
import json
import math
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from fitted_cases import fits_case
from remlax.data.archive import read_archive, write_archive
from remlax.data.columns import column_from_tree, column_tree, index_from_tree, index_tree, label_from_tree, label_tree
from remlax.errors import DataError, DataWarning, FileFormatError, RemlaxWarning, SingularFitWarning

SAVED = Path(__file__).resolve().parent.parent / "reference" / "saved"


def frames(n_sets: int = 3, seed: int = 0) -> list[pd.DataFrame]:
    """Two crossed factors, categories of several types, weights, odd names and row labels."""
    rng = np.random.default_rng(seed)
    n = 60
    shared = pd.DataFrame(
        {
            "my group": np.repeat([f"g{i}" for i in range(10)], 6),
            "item": np.tile(np.arange(6), 10),
            "sex": pd.Categorical(rng.choice(["f", "m"], n)),
            "level": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"], ordered=True),
            "flag": rng.random(n) > 0.5,
            "whole": pd.array(rng.integers(0, 9, n), dtype="Int64"),
            "w": rng.uniform(0.5, 2.0, n),
            "area": np.repeat(list("vwxyz"), 12),
        },
        index=pd.Index([f"row {i}" for i in range(n)], name="who"),
    )
    effect = np.repeat(rng.normal(size=10), 6) + np.tile(rng.normal(size=6), 10)
    return [shared.assign(x=(x := rng.normal(size=n)), y=effect + 0.5 * x + rng.normal(size=n)) for _ in range(n_sets)]


FORMULA = "y ~ scale(x) * sex + level + flag + whole + (1 | `my group`) + (1 | item)"


@cache
def odd_fits() -> rx.LmerFitList:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        return rx.lmer_list(FORMULA, dict(zip("abc", frames(), strict=True)), weights="w")


def everything(found: Any) -> dict[str, Any]:
    """All tables of a fit, a list or a pooled model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        if isinstance(found, rx.LmerFitList):
            out = {"fixef": found.fixef(), "varcorr": found.varcorr(), "convergence": found.convergence()}
            return out | {"glance": found.glance(), "text": str(found.summary())}
        effects = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
        out = {name: found.tidy(name) for name in effects}
        out |= {"varcorr": found.varcorr(), "vcov": found.vcov(), "glance": found.glance()}
        out |= {"text": str(found.summary()), "augment": found.augment()}
        out["predict"] = found.predict(interval="prediction")
        first = found.fixef().index[-1]
        out |= {"test": found.test(first), "contrast": found.contrast(f"2 * {first}")}
        if isinstance(found, rx.LmerFit):
            out["at"] = [found.criterion(found.theta * s, reml=r) for s in (1.0, 0.5) for r in (True, False)]
        return out


def assert_identical(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equal to the last bit, with the same labels and types."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, other[name], check_exact=True, obj=name)
            assert value.attrs.get("notes") == other[name].attrs.get("notes")
        else:
            assert value == other[name], name


@pytest.mark.parametrize("what", ["fit", "list", "slice", "pooled", "pooled given df", "pooled Kenward-Roger"])
def test_everything_comes_back_to_the_last_bit(what: str, tmp_path: Path) -> None:
    fits = odd_fits()
    found = {
        "fit": lambda: fits[1],
        "list": lambda: fits,
        "slice": lambda: fits[1:],
        "pooled": lambda: fits.pool(conf_level=0.9),
        "pooled given df": lambda: fits[::-1].pool(dfcom=math.inf),
        "pooled Kenward-Roger": lambda: fits.pool(dfcom="kenward-roger"),
    }[what]()
    found.save(tmp_path / "saved")
    again = rx.load(tmp_path / "saved")
    assert type(again) is type(found)
    assert_identical(everything(found), everything(again))


def test_pooling_a_loaded_list_gives_the_same(tmp_path: Path) -> None:
    _, fits = fits_case("studentratings_k5")
    fits.save(tmp_path / "fits.remlax")
    again = rx.load(str(tmp_path / "fits.remlax"))
    assert isinstance(again, rx.LmerFitList)
    assert_identical(everything(fits.pool()), everything(again.pool()))


def test_robust_covariances_come_back(tmp_path: Path) -> None:
    _, fits = fits_case("studentratings_k5")
    robust = fits.pool(vcov="CR2")
    robust.save(tmp_path / "robust")
    again = rx.load(tmp_path / "robust")
    assert isinstance(again, rx.PooledLmer)
    assert again.df_rule == robust.df_rule
    names = list(robust.fixef().index[1:3])
    for one, other in ((robust.tidy(), again.tidy()), (robust.test(names), again.test(names))):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_arrays_of_weights_and_left_out_rows_come_back(tmp_path: Path) -> None:
    frame = rx.datasets.sleepstudy()
    frame.loc[3, "Days"] = np.nan
    weights = np.linspace(0.5, 1.5, len(frame))
    with pytest.warns(rx.DroppedRowsWarning):
        fit = rx.lmer("Reaction ~ Days + (1 | Subject)", frame, weights=weights, offset=weights, optimizer=rx.LBFGS())
    fit.save(tmp_path / "f")
    again = rx.load(tmp_path / "f")
    assert isinstance(again, rx.LmerFit)
    assert "1 rows with missing cells left out" in str(again.summary())
    assert again.opt.optimizer == "LBFGS"
    assert_identical({"at": fit.criterion([0.3])}, {"at": again.criterion([0.3])})
    pd.testing.assert_series_equal(fit.residuals("scaled"), again.residuals("scaled"), check_exact=True)


def test_data_sets_of_different_sizes_come_back(tmp_path: Path) -> None:
    base = frames(1)[0]
    sets = [base.sample(n, random_state=n) for n in (50, 55)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        weights = [frame["w"].to_numpy() for frame in sets]
        fits = rx.lmer_list("y ~ x + (1 | item)", sets, reml=False, weights=weights)
    fits.save(tmp_path / "f")
    again = rx.load(tmp_path / "f")
    assert isinstance(again, rx.LmerFitList)
    assert_identical(everything(fits), everything(again))
    pd.testing.assert_frame_equal(fits[1].augment(), again[1].augment(), check_exact=True)


@pytest.mark.parametrize("folder", ["0.1", "format_1"])
def test_files_of_earlier_versions_load(folder: str, tmp_path: Path) -> None:
    frame = rx.datasets.sleepstudy()
    fit = rx.load(SAVED / folder / "fit.remlax")
    assert isinstance(fit, rx.LmerFit)
    # lme4's numbers
    np.testing.assert_allclose(fit.fixef(), [251.405105, 10.467286], rtol=1e-7)
    np.testing.assert_allclose(fit.sigma, 25.591796, rtol=1e-6)
    data = fit.selection.model.rows.data
    assert data is not None
    pd.testing.assert_frame_equal(data[0], frame, check_exact=True)
    sets = [frame.assign(Reaction=frame["Reaction"] + k * np.sin(np.arange(180))) for k in range(3)]
    pooled = rx.load(SAVED / folder / "pooled.remlax")
    assert isinstance(pooled, rx.PooledLmer)
    assert pooled.df_rule.startswith("Kenward-Roger")
    refitted = rx.lmer_list(pooled.formula, sets).pool(dfcom="kenward-roger")
    pd.testing.assert_frame_equal(pooled.tidy(), refitted.tidy(), rtol=1e-6)
    pooled.save(tmp_path / "f")
    assert_identical({"tidy": pooled.tidy()}, {"tidy": rx.load(tmp_path / "f").tidy()})  # type: ignore[union-attr]


def test_dropped_columns_are_not_said_again(tmp_path: Path) -> None:
    frame = rx.datasets.sleepstudy().assign(twice=lambda d: 2.0 * d["Days"])
    with pytest.warns(rx.RankDeficientWarning):
        fit = rx.lmer("Reaction ~ Days + twice + (1 + Days | Subject)", frame)
    fit.save(tmp_path / "f")
    again = rx.load(tmp_path / "f")
    assert isinstance(again, rx.LmerFit)
    assert list(again.fixef().index) == list(fit.fixef().index)
    assert_identical(everything(fit), everything(again))


# -- columns -----------------------------------------------------------------------------------------------------

COLUMNS = {
    "floats": pd.Series([1.5, np.nan, -0.0, np.inf, 5e-324]),
    "float32": pd.Series([0.1, 0.2], dtype="float32"),
    "ints": pd.Series([2**62, -1]),
    "uint8": pd.Series([255, 0], dtype="uint8"),
    "bools": pd.Series([True, False]),
    "Int64": pd.Series([2**60 + 1, None], dtype="Int64"),
    "Float64": pd.Series([0.1, None], dtype="Float64"),
    "boolean": pd.Series([True, None], dtype="boolean"),
    "str": pd.Series(["a", None, "", "ü\x00`"], dtype="str"),
    "string": pd.Series(["a", None], dtype="string"),
    "objects": pd.Series(["1", 1, 1.0, True, None, pd.NA, float("nan"), (1, "a"), 2**70], dtype=object),
    "times": pd.Series(pd.to_datetime(["2020-01-01", None, "2021-06-01 12:00:00.000001"], format="ISO8601")),
    "zones": pd.Series(pd.to_datetime(["2020-01-01", None])).dt.tz_localize("Europe/Vienna"),
    "durations": pd.Series(pd.to_timedelta([1, None], unit="s")),
    "categories": pd.Series(pd.Categorical(["b", None, "a"], ["b", "a", "unused"])),
    "numbers as categories": pd.Series(pd.Categorical([2.5, 1.0], [2.5, 1.0], ordered=True)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_come_back(name: str, tmp_path: Path) -> None:
    column = COLUMNS[name]
    write_archive(tmp_path / "f", "column", {"it": column_tree(column, name)})
    again = pd.Series(column_from_tree(read_archive(tmp_path / "f").content["it"]))
    pd.testing.assert_series_equal(column, again, check_exact=True, check_freq=False)
    assert [type(v) for v in column.astype(object)] == [type(v) for v in again.astype(object)]


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(3, 30, 3, name="r"),
        pd.Index(["a", "b"]),
        pd.Index([1.5, 2.5], name=("a", 1)),
        pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None]),
        pd.date_range("2020-01-01", periods=2, tz="UTC"),
    ],
)
def test_row_labels_come_back(index: pd.Index) -> None:
    pd.testing.assert_index_equal(index, index_from_tree(index_tree(index)), exact=True, check_freq=False)


def test_labels_keep_their_types() -> None:
    for value in ("1", 1, 1.0, True, None, ("a", (2,))):
        again = label_from_tree(json.loads(json.dumps(label_tree(value, "a label"))))
        assert again == value
        assert type(again) is type(value)


@pytest.mark.parametrize("column", [pd.period_range("2020", periods=2), pd.arrays.SparseArray([1, 0])])
def test_a_column_that_cannot_be_kept_is_named(column: Any) -> None:
    with pytest.raises(DataError, match=r"column 'x': values of type .* cannot be kept in a file"):
        column_tree(pd.Series(column), "column 'x'")


def test_unused_columns_are_kept_or_named(tmp_path: Path) -> None:
    frame = frames(1)[0].assign(thing=[object()] * 60, day=pd.date_range("2020-01-01", periods=60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        fit = rx.lmer("y ~ x + (1 | item)", frame)
    with pytest.warns(DataWarning, match="left out of the file: column 'thing': a object cannot be kept in a file"):
        fit.save(tmp_path / "f")
    again = rx.load(tmp_path / "f")
    assert isinstance(again, rx.LmerFit)
    data = again.selection.model.rows.data
    assert data is not None
    pd.testing.assert_frame_equal(data[0], frame.drop(columns="thing"), check_exact=True, check_freq=False)


def test_an_object_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    sets = dict(zip([pd.Timestamp("2020-01-01"), 1], frames(2), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        fits = rx.lmer_list("y ~ x + (1 | item)", sets)
    with pytest.raises(DataError, match="the labels of the data sets: a Timestamp cannot be kept in a file"):
        fits.save(tmp_path / "f")
    assert not list(tmp_path.iterdir())


# -- files -------------------------------------------------------------------------------------------------------


@cache
def small_file() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        fit = rx.lmer("y ~ x + (1 | item)", frames(1)[0])
    return _bytes_of(fit)


def _bytes_of(fit: rx.LmerFit | rx.LmerFitList | rx.PooledLmer) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        fit.save(Path(folder) / "f")
        return (Path(folder) / "f").read_bytes()


def rewritten(change: Any, whole: bytes | None = None) -> bytes:
    """A file, by default the small one, with a changed manifest."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole or small_file())) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "manifest.json":
                manifest = json.loads(data)
                change(manifest)
                data = json.dumps(manifest).encode()
            target.writestr(name, data)
    return buffer.getvalue()


def load_bytes(data: bytes, tmp_path: Path) -> Any:
    (tmp_path / "f").write_bytes(data)
    return rx.load(tmp_path / "f")


def test_equal_objects_make_equal_files(tmp_path: Path) -> None:
    fit = load_bytes(small_file(), tmp_path)
    assert _bytes_of(fit) == small_file()


def test_nothing_in_a_file_is_pickled() -> None:
    with zipfile.ZipFile(io.BytesIO(small_file())) as members:
        for name in members.namelist():
            if name.endswith(".npy"):
                np.load(io.BytesIO(members.read(name)), allow_pickle=False)
            else:
                json.loads(members.read(name))


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    whole = small_file()
    for size in np.linspace(0, len(whole) - 1, 60).astype(int):
        with pytest.raises(FileFormatError, match=r"is damaged or truncated|is not a file that remlax wrote"):
            load_bytes(whole[:size], tmp_path)


def test_flipped_bytes_are_refused_or_change_nothing(tmp_path: Path) -> None:
    whole, rng, refused = small_file(), np.random.default_rng(3), 0
    for position in rng.integers(0, len(whole), 250):
        broken = bytearray(whole)
        broken[position] ^= 1 << rng.integers(8)
        try:
            again = load_bytes(bytes(broken), tmp_path)
        except FileFormatError:
            refused += 1
        else:
            assert _bytes_of(again) == whole  # a date or another field that means nothing
    assert refused > 200


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    newer = rewritten(lambda m: m.update(version=99, remlax="9.9"))
    with pytest.raises(FileFormatError, match=r"written by remlax 9\.9 in file format 99.*update remlax"):
        load_bytes(newer, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["content"].update(lanes=[]),
        lambda m: m["content"].update(lanes={}),
        lambda m: m["content"]["stack"]["data"]["labels"].__setitem__(0, ["int", -1]),
        lambda m: m["content"]["stack"]["data"]["labels"].__setitem__(0, ["float", 1e308]),
    ],
)
def test_refits_of_no_number_are_refused(change: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        fit = rx.lmer("y ~ x + (1 | item)", frames(1)[0])
        refits = rx.refit(fit, rx.simulate(fit, 2, seed=1))
    assert isinstance(load_bytes(rewritten(lambda m: None, _bytes_of(refits)), tmp_path), rx.LmerFitList)
    with pytest.raises(FileFormatError, match="is damaged or truncated"):
        load_bytes(rewritten(change, _bytes_of(refits)), tmp_path)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="holds a 'GlmerFit', which this remlax does not know"):
        load_bytes(rewritten(lambda m: m.update(kind="GlmerFit", content=m["content"] | {"lanes": [0]})), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("content"),
        lambda m: m["content"].pop("lane"),
        lambda m: m["content"].update(lane=7),
        lambda m: m["content"]["stack"].pop("formula"),
        lambda m: m["content"]["stack"].update(formula="y ~"),
        lambda m: m["content"]["stack"]["estimates"].pop("beta"),
        lambda m: m["content"]["stack"]["optimizer"].update(name="os.system"),
        lambda m: m["content"]["stack"]["estimates"].update(beta={"array": "arrays/9999.npy"}),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(change: Any, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="is damaged or truncated"):
        load_bytes(rewritten(change), tmp_path)


def test_an_array_that_was_changed_is_named(tmp_path: Path) -> None:
    write_archive(tmp_path / "f", "numbers", {"it": np.random.default_rng(1).random(1000)})
    data = bytearray((tmp_path / "f").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"is damaged or truncated \(Bad CRC-32 for file 'arrays/0000\.npy'"):
        read_archive(tmp_path / "f")


def with_array(data: bytes, name: str, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """A file with one array changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w") as target:
        for part in source.namelist():
            content = source.read(part)
            if part == name:
                out = io.BytesIO()
                np.save(out, change(np.load(io.BytesIO(content))))
                content = out.getvalue()
            target.writestr(part, content)
    return buffer.getvalue()


def arrays_of(tree: Any) -> list[str]:
    """Names of the arrays below some part of a manifest."""
    if isinstance(tree, dict):
        return [tree["array"]] if list(tree) == ["array"] else [n for part in tree.values() for n in arrays_of(part)]
    return [n for part in tree for n in arrays_of(part)] if isinstance(tree, list) else []


@cache
def pooled_file(what: str) -> bytes:
    options = {"KR": {"dfcom": "kenward-roger"}, "CR2": {"vcov": "CR2"}, "given": {"dfcom": 30.0}}[what]
    return _bytes_of(fits_case("studentratings_k5")[1][:2].pool(**options))  # type: ignore[arg-type]


WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "complex": lambda a: a + 1j,
    "text": lambda a: np.full(a.shape, "x"),
    "single": lambda a: a.astype(np.float32),
    "short": lambda a: a[:-1],
    "deep": lambda a: a[..., None],
    "scalar": lambda a: np.array(1.0),
}


@pytest.mark.parametrize("what", ["estimates", "opt", "KR", "CR2", "given"])
@pytest.mark.parametrize("change", WRONG)
def test_arrays_that_no_such_model_has_are_refused(what: str, change: str, tmp_path: Path) -> None:
    data = small_file() if what in ("estimates", "opt") else pooled_file(what)
    with zipfile.ZipFile(io.BytesIO(data)) as members:
        content = json.loads(members.read("manifest.json"))["content"]
    names = arrays_of(content["stack"][what] if what in content["stack"] else content["within"])
    assert names
    for name in names:
        with pytest.raises(FileFormatError, match="is damaged or truncated"):
            load_bytes(with_array(data, name, WRONG[change]), tmp_path)


def test_a_manifest_without_content_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f", "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("manifest.json", b" " * 1000)
    with pytest.raises(FileFormatError, match="is damaged or truncated"):
        rx.load(tmp_path / "f")


def test_arrays_that_shrink_a_lot_are_kept_in_full(tmp_path: Path) -> None:
    write_archive(tmp_path / "f", "zeros", {"it": np.zeros(10**6)})
    assert np.array_equal(read_archive(tmp_path / "f").content["it"], np.zeros(10**6))


def test_columns_that_come_out_otherwise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"make other model columns \(fixed: .*fit the model again"):
        load_bytes(rewritten(lambda m: m["content"]["stack"]["model"].update(fixed=["Intercept", "x2"])), tmp_path)
    with pytest.raises(FileFormatError, match=r"give model columns other values .*fit the model again"):
        load_bytes(rewritten(lambda m: m["content"]["stack"]["model"]["sums"].reverse()), tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("y,x\n1,2\n")
    with pytest.raises(FileFormatError, match="is not a file that remlax wrote: give one made by save"):
        rx.load(tmp_path / "text")
    np.savez(tmp_path / "a.npz", x=np.ones(2))
    with pytest.raises(FileFormatError, match=r"is not a file that remlax wrote: it has no manifest\.json"):
        rx.load(tmp_path / "a.npz")
    with pytest.raises(FileFormatError, match=r"its manifest\.json is of another program"):
        load_bytes(rewritten(lambda m: m.update(format="other")), tmp_path)
    with pytest.raises(FileFormatError, match=r"nothing cannot be read \(No such file"):
        rx.load(tmp_path / "nothing")
    with pytest.raises(FileFormatError, match="a path is needed, not a int"):
        rx.load(3)  # type: ignore[arg-type]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = load_bytes(small_file(), tmp_path)
    with pytest.raises(FileFormatError, match="cannot be written"):
        fit.save(tmp_path / "no such folder" / "f")

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(FileFormatError, match="No space left on device"):
        fit.save(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == small_file()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = load_bytes(small_file(), tmp_path)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zipfile.ZipFile.writestr", stop)
    with pytest.raises(KeyboardInterrupt):
        fit.save(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == small_file()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
