"""Figures of many responses show the numbers of their tables."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from remlax import plot
from remlax.errors import DataError

mpl.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    p = np.append(rng.uniform(size=98), [0.0, np.nan])
    one = pd.DataFrame({"response": [f"y${i}" for i in range(100)], "estimate": rng.normal(size=100), "p_value": p})
    one["p_adjusted"] = np.where(p < 1e-6, 0.0, 1.0)
    return pd.concat([one.assign(term="x"), one.assign(term="f", p_value=1.0)])


def test_volcano_colours_and_names_what_is_found():
    ax = plot.volcano(table(), "x", named=3)
    plain, found = ax.collections
    assert len(plain.get_offsets()) == 98  # a response without a p-value is not drawn
    assert len(found.get_offsets()) == 1
    assert found.get_offsets()[0][1] == pytest.approx(-np.log10(np.finfo(float).tiny))
    assert [text.get_text() for text in ax.texts] == [r"y\$98"]
    assert ax.get_legend().get_texts()[-1].get_text() == "adjusted p < 0.05: 1"
    assert ax.get_xlabel() == "Estimate of x"
    ax.figure.canvas.draw()
    with pytest.raises(DataError, match="several terms"):
        plot.volcano(table())
    with pytest.raises(DataError, match="level=2 must be"):
        plot.volcano(table(), "x", level=2)
    with pytest.raises(DataError, match="No column 'p_adjusted'"):
        plot.volcano(table().drop(columns="p_adjusted"), "x")


def test_histogram_counts_p_values():
    ax = plot.p_value_histogram(table(), "x", bins=10)
    heights = [patch.get_height() for patch in ax.patches]
    assert sum(heights) == 99
    assert heights == np.histogram(table().query("term == 'x'")["p_value"].dropna(), 10, (0, 1))[0].tolist()
    joint = pd.DataFrame({"hypothesis": "a = 0", "p_value": [0.2, 0.3]})
    assert plot.p_value_histogram(joint).get_xlabel() == "p of a = 0"


def test_violins_stand_in_the_order_of_their_medians():
    shares = pd.DataFrame({"a": [0.1, 0.2, 0.1, np.nan], "b": [0.5, 0.4, 0.3, 0.9], "Residual": [0.4, 0.4, 0.6, 0.1]})
    ax = plot.variance_share_violins(shares)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["b", "a", "Residual"]
    assert len(ax.collections) == 3
    assert ax.get_ylim() == (0, 1)
