"""Figures of imputations draw the numbers of their tables."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import DataError
from remlax.plot.imputation import (
    chain_plot,
    imputed_density_plot,
    imputed_icc_plot,
    imputed_quantile_plot,
    missing_map,
    overimputation_plot,
)


@pytest.fixture(autouse=True)
def _headless() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


def test_missing_map_orders_columns_and_marks_cells() -> None:
    flags = pd.DataFrame({"a": [True, True, False], "b": [False, False, False], "c": [True, False, False]})
    ax = missing_map(flags)
    np.testing.assert_array_equal(ax.images[0].get_array(), flags[["b", "c", "a"]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["b\n0.0 %", "c\n33.3 %", "a\n66.7 %"]
    ax.figure.canvas.draw()
    with pytest.raises(DataError, match=r"give missing_flags\(data\)"):
        missing_map(flags.astype(int))


def test_lines_are_the_rows_of_the_tables() -> None:
    data = rx.datasets.hsb_imputed()
    table = rx.impute.density_table(data, "ses", 16)
    ax = imputed_density_plot(table, name="ses")
    assert len(ax.lines) == 6
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), table.loc[table["set"] == "observed", "density"])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["imputed", "observed"]
    table = rx.impute.quantile_table(data, "ses", 9)
    ax = imputed_quantile_plot(table, name="ses")
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), table.loc[table["set"] == 2, "imputed"])
    assert ax.get_xlabel() == "Observed ses"
    table = rx.impute.icc_table(data, "schid")
    ax = imputed_icc_plot(table)
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), table["observed"])
    ax.figure.canvas.draw()


def test_overimputation_splits_by_coverage() -> None:
    table = pd.DataFrame({
        "observed": [0.0, 1.0, 2.0], "median": [0.1, 1.1, 5.0], "low": [-1.0, 0.0, 4.0], "high": [1.0, 2.0, 6.0],
        "covered": [True, True, False],
    })  # fmt: skip
    ax = overimputation_plot(table, name="x")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["inside (2)", "outside (1)"]
    assert ax.lines[1].get_ydata().tolist() == [5.0]
    with pytest.raises(DataError, match=r"a table with the columns observed, median, .* is needed, not a ImputedData"):
        overimputation_plot(rx.datasets.hsb_imputed())
    with pytest.raises(DataError, match="No column 'low'"):
        overimputation_plot(table.drop(columns="low"))


def test_chains_start_where_they_say() -> None:
    draws = np.arange(6.0).reshape(2, 3)
    ax = chain_plot(draws, name="sigma", start=100)
    assert ax.lines[1].get_xdata().tolist() == [100, 101, 102]
    assert ax.lines[1].get_ydata().tolist() == [3.0, 4.0, 5.0]
    with pytest.raises(DataError, match="got 3 axes: pick one parameter"):
        chain_plot(draws[None])
