"""Figures: what they draw equals the tables they are given; they render, headless, with labels."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from remlax.errors import DataError, MissingExtraError
from remlax.plot.marks import axes
from remlax.plot.performance import coverage_plot, forest_plot, lollipop_plot, nested_loop_plot
from remlax.plot.simulation import bland_altman_plot, density_plot, zip_plot
from remlax.simulation.intervals import intervals
from remlax.simulation.measures import performance

MISIM = Path(__file__).resolve().parents[1] / "reference" / "simulation" / "MIsim.csv"
RENAMED = {"b": "estimate", "se": "std_error", "dataset": "replication"}
METHODS = ("complete", "emb", "joint")


@pytest.fixture(autouse=True)
def headless() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    return intervals(pd.read_csv(MISIM).rename(columns=RENAMED))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Three methods in 2 x 2 x 2 scenarios, with and without bias."""
    rng = np.random.default_rng(1)
    parts = [
        pd.DataFrame({"estimate": rng.normal(icc * (name == "emb"), 1 / J**0.5, 60)}).assign(
            J=J, n=n, icc=icc, method=name, std_error=J**-0.5, replication=range(60)
        )
        for J, n, icc, name in itertools.product((30, 150), (5, 20), (0.1, 0.3), METHODS)
    ]
    return performance(pd.concat(parts), truth=0.0, by=("J", "n", "icc", "method"))


def ink(ax: Axes) -> int:
    """Number of pixels that are not white in the rendered figure."""
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=60)
    buffer.seek(0)
    return int((plt.imread(buffer)[..., :3].min(axis=2) < 0.95).sum())


DRAW: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Axes | None], Axes]] = {
    "zip": lambda r, t, ax: zip_plot(r[r["method"] == "CC"], truth=0.5, ax=ax),
    "density": lambda r, t, ax: density_plot(r, truth=0.5, ax=ax),
    "bland_altman": lambda r, t, ax: bland_altman_plot(r, method="MI_T", reference="CC", ax=ax),
    "nested_loop": lambda r, t, ax: nested_loop_plot(t, "bias", factors=["J", "n", "icc"], ax=ax),
    "lollipop": lambda r, t, ax: lollipop_plot(t.query("J == 30 and n == 5 and icc == .1"), "bias", ax=ax),
    "forest": lambda r, t, ax: forest_plot(t, "bias", rows=["J", "n", "icc"], ax=ax),
    "coverage": lambda r, t, ax: coverage_plot(t.query("n == 5 and icc == .1"), x="J", ax=ax),
}


@pytest.mark.parametrize("name", DRAW)
def test_figures_render_with_labels_on_new_or_given_axes(name: str, results: pd.DataFrame, table: pd.DataFrame) -> None:
    ax = DRAW[name](results, table, None)
    empty = ink(axes(None))
    assert ink(ax) > empty + 300  # text, lines and points
    assert ax.get_xlabel()
    assert ax.get_ylabel() or ax.get_yticklabels()
    own = plt.subplots()[1]
    assert DRAW[name](results, table, own) is own
    legend = ax.get_legend()
    shown = {text.get_text() for text in legend.get_texts()} if legend else set()
    shown |= {label.get_text() for label in ax.get_yticklabels()}
    if name in ("nested_loop", "forest", "coverage", "lollipop"):
        assert set(METHODS) <= shown


def test_zip_plot_shows_every_interval_and_the_coverage(results: pd.DataFrame) -> None:
    ax = zip_plot(results[results["method"] == "CC"], truth=0.5)
    covers, misses = ax.collections
    assert (len(covers.get_segments()), len(misses.get_segments())) == (943, 57)  # rsimsum: coverage 0.943
    assert all(not (segment[0, 0] <= 0.5 <= segment[1, 0]) for segment in misses.get_segments())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["covers (94.3%)", "misses (5.7%)"]
    dashed = sorted(line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(dashed, [100 * (0.943 - 1.96 * 0.00733), 100 * (0.943 + 1.96 * 0.00733)], atol=0.01)


def test_nested_loop_plot_draws_the_table(table: pd.DataFrame) -> None:
    ax = nested_loop_plot(table, "bias", factors=["J", "n", "icc"])
    bias = table.query("measure == 'bias' and summary == 'all'").sort_values(["J", "n", "icc"])
    for patch, name in zip(ax.patches[:3], METHODS, strict=True):
        np.testing.assert_allclose(patch.get_data().values, bias[bias["method"] == name]["estimate"])
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["J: 30, 150", "n: 5, 20", "icc: 0.1, 0.3"]
    steps = [np.unique(patch.get_data().values, return_inverse=True)[1] for patch in ax.patches[3:]]
    np.testing.assert_array_equal(steps, [[0] * 4 + [1] * 4, [0, 0, 1, 1] * 2, [0, 1] * 4])


def test_forest_and_coverage_plots_draw_the_table_with_its_errors(table: pd.DataFrame) -> None:
    ax = forest_plot(table, "bias", rows=["J", "n", "icc"])
    bias = table.query("measure == 'bias' and summary == 'all'")
    assert [t.get_text() for t in ax.get_yticklabels()][:2] == ["J = 30, n = 5, icc = 0.1", "J = 30, n = 5, icc = 0.3"]
    for container, name in zip(ax.containers, METHODS, strict=True):
        own = bias[bias["method"] == name]
        np.testing.assert_allclose(container[0].get_xdata().astype(float), own["estimate"])
        ends = np.array([segment[:, 0] for segment in container[2][0].get_segments()])
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * 1.959964 * own["mcse"], rtol=1e-6)
    part = table.query("n == 5 and icc == .1")
    ax = coverage_plot(part, x="J")
    for container, name in zip(ax.containers, METHODS, strict=True):
        own = part[(part["measure"] == "coverage") & (part["summary"] == "all") & (part["method"] == name)]
        np.testing.assert_allclose(container[0].get_ydata().astype(float), own["estimate"])
        np.testing.assert_allclose(container[0].get_xdata().astype(float), own["J"], atol=0.04 * 120)  # side by side
    assert [label.get_text() for label in ax.get_xticklabels()] == ["30", "150"]


def test_coverage_against_a_parameter_that_is_not_a_number(table: pd.DataFrame) -> None:
    part = table.query("n == 5 and icc == .1").assign(law=lambda t: np.where(t["J"] == 30, "t", "normal"))
    ax = coverage_plot(part, x="law")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["normal", "t"]


@pytest.mark.parametrize(("measure", "target"), [("bias", 0.0), ("coverage", 0.95), ("empirical_se", 0.0)])
def test_lollipop_stems_run_from_the_target(table: pd.DataFrame, measure: str, target: float) -> None:
    part = table.query("J == 150 and n == 5 and icc == .3")
    ax = lollipop_plot(part, measure)
    own = part[(part["measure"] == measure) & (part["summary"] == "all")]
    stems = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2.5]
    np.testing.assert_allclose(stems, [[target, value] for value in own["estimate"]])


def test_density_integrates_to_one_and_bland_altman_limits_are_right(results: pd.DataFrame) -> None:
    ax = density_plot(results, truth=0.5)
    for line in ax.lines[:3]:
        x, y = line.get_data()
        assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)  # the tails end 10 % beyond the estimates
    ax = bland_altman_plot(results, method="MI_T", reference="CC")
    first, second = (results[results["method"] == name]["estimate"].to_numpy() for name in ("MI_T", "CC"))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), first - second)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), (first + second) / 2)
    limits = [line.get_ydata()[0] for line in ax.lines[2:]]
    middle, spread = (first - second).mean(), 1.96 * (first - second).std(ddof=1)
    np.testing.assert_allclose(limits, [middle, middle - spread, middle + spread])


def test_methods_differ_in_more_than_colour(table: pd.DataFrame) -> None:
    ax = coverage_plot(table.query("n == 5 and icc == .1"), x="J")
    styles = [(c[0].get_marker(), c[0].get_linestyle()) for c in ax.containers]
    assert len({marker for marker, _ in styles}) == len({line for _, line in styles}) == 3


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda r, t: zip_plot(r, truth=0.5), "column 'method' has several values"),
        (lambda r, t: zip_plot(r.drop(columns="conf_low"), truth=0.5), "No column 'conf_low'"),
        (lambda r, t: zip_plot(r.assign(std_error=np.nan, method="a"), truth=0.5), "No replication has an interval"),
        (lambda r, t: nested_loop_plot(t, "bias", factors=["J"]), "'complete' has several values in one scenario"),
        (lambda r, t: nested_loop_plot(t, "charm", factors=["J"]), "no measure 'charm'"),
        (lambda r, t: lollipop_plot(t, "bias"), "one value per method"),
        (lambda r, t: forest_plot(t, rows=["J"]), "name more columns in rows="),
        (lambda r, t: coverage_plot(t, x="J"), "choose one term"),
        (lambda r, t: density_plot(r.head(1)), "no density to draw"),
        (lambda r, t: bland_altman_plot(r, method="MI_T", reference="?"), "needs estimates, one per replication"),
    ],
)
def test_mistakes_are_named(
    draw: Callable[[pd.DataFrame, pd.DataFrame], Axes], message: str, results: pd.DataFrame, table: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match=message):
        draw(results, table)


def test_without_matplotlib_the_extra_is_named(results: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"pip install remlax\[plot\]"):
        density_plot(results)
