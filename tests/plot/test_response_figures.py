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


def test_trend_of_variances_is_that_of_lowess():
    x = np.array([1, 2, 2.5, 3, 4, 5, 5.5, 7, 8, 9])
    y = np.array([2, 1, 3, 2.5, 4, 3, 5, 6, 4, 7])
    variances = pd.DataFrame({"average": x, "sigma2": y**4, "s2_prior": 81.0, "df_prior": 5.0})
    variances.loc[9, "df_prior"] = 0.5
    variances.loc[10] = np.nan
    ax = plot.mean_variance(variances)
    points, outliers = ax.collections
    assert points.get_offsets().data.tolist() == np.column_stack([x, y])[:9].tolist()
    assert outliers.get_offsets().data.tolist() == [[9, 7]]
    trend, prior = ax.get_lines()
    # R 4.2.2: lowess(x, y, f = 0.5, iter = 0)$y
    lowess = [
        1.68010685239738, 2.01380545979900, 2.19868697000091, 2.82136718347362, 3.48661716715068,
        4.02136512059238, 4.48529065406022, 5.32358809962780, 5.61611125881610, 6.21594757123134,
    ]  # fmt: skip
    np.testing.assert_allclose(trend.get_xydata(), np.column_stack([x, lowess]), rtol=1e-7)
    assert prior.get_ydata()[0] == pytest.approx(3.0)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["outliers: 1", "trend", "prior"]
    same = plot.mean_variance(variances.assign(average=2.0, df_prior=np.inf))
    np.testing.assert_allclose(same.get_lines()[0].get_ydata(), y.mean())
    with pytest.raises(DataError, match="No column 's2_prior'"):
        plot.mean_variance(variances.drop(columns="s2_prior"))
    with pytest.raises(DataError, match="no response has a residual variance"):
        plot.mean_variance(variances.iloc[10:])
