"""Tables print what people read first: within the line, with even decimals; and stay data frames."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from fitted_cases import fit_case, fits_case
from remlax.tables.printing import significant
from remlax.tables.result_table import result_table, table_text

MAIN = ["estimate", "std_error", "statistic", "df", "p_value", "conf_low", "conf_high"]
RUBIN = ["riv", "lambda", "fmi", "ubar", "b", "t", "dfcom"]


@pytest.fixture
def pooled() -> rx.PooledLmer:
    return fits_case("hsb_vignette")[1].pool()


def decimals(lines: list[str], column: int) -> set[int]:
    return {len(line.split()[column].partition(".")[2]) for line in lines}


def test_columns_stand_in_the_order_in_which_they_are_read(pooled: rx.PooledLmer) -> None:
    assert pooled.tidy().columns.tolist() == ["term", *MAIN, *RUBIN]
    assert pooled.contrast("ses").columns.tolist() == ["term", *MAIN, *RUBIN]
    found = pooled.emmeans("minority")
    assert found.means.columns.tolist() == ["minority", "estimate", "std_error", "df", "conf_low", "conf_high", *RUBIN]
    assert found.differences().columns.tolist() == ["contrast", *MAIN[:5], "p_adjusted", *MAIN[5:], *RUBIN]
    assert rx.anova(pooled).columns[:5].tolist() == ["term", "statistic", "df1", "df2", "p_value"]


def test_nothing_is_cut_at_the_p_value(pooled: rx.PooledLmer) -> None:
    for table in (pooled.tidy(), pooled.contrast("ses"), pooled.emmeans("minority").differences()):
        lines = repr(table).splitlines()
        names = [name for name in table.columns if name not in RUBIN]
        assert lines[0].split()[: len(names)] == names
        assert "..." not in repr(table)
        hidden = next(line for line in lines if line.startswith("[not shown: "))
        assert set(lines[0].split()) | set(hidden[12:-1].split(", ")) == set(table.columns)
    text = repr(rx.anova(pooled))
    assert text.splitlines()[0].split()[:5] == ["term", "statistic", "df1", "df2", "p_value"]
    assert "..." not in text


def test_a_wider_line_has_more(pooled: rx.PooledLmer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pd.option_context("display.width", 200):
        lines = repr(pooled.tidy()).splitlines()
    assert lines[0].split() == ["term", *MAIN, *RUBIN]
    with pd.option_context("display.width", 95):
        assert "fmi" in repr(pooled.tidy()).splitlines()[0]
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert repr(pooled.tidy()).splitlines()[0].split() == ["term", *MAIN, *RUBIN]


def test_decimals_are_even_within_a_column() -> None:
    table = pd.DataFrame(
        {
            "contrast": ["a - b", "a - c"],
            "estimate": [45.517, 46.7876],
            "std_error": [0.2, 0.31649],
            "statistic": [227.585, 1.5],
            "df": [343.04, 20.0],
            "p_value": [1e-12, 0.0266545],
            "conf_low": [45.0, 46.1],
            "conf_high": [46.0, np.inf],
            "riv": [1.264893e-29, 0.3],
        }
    )
    with pd.option_context("display.width", 120):
        lines = table_text(table).splitlines()
    assert lines[1].split()[3:] == ["45.517", "0.200", "227.585", "343.0", "<0.0001", "45.000", "46.000", "0.000"]
    assert lines[2].split()[3:] == ["46.788", "0.316", "1.500", "20.0", "0.0267", "46.100", "inf", "0.300"]
    assert lines[1].index("45.517") == lines[2].index("46.788")
    assert table_text(table.assign(df=[12699891381.4, 20.5])).splitlines()[1].split()[6] == "inf"
    # whole numbers of degrees of freedom have none
    assert table_text(table.assign(df=[5.0, 20.0])).splitlines()[1].split()[6] == "5"


def test_numbers_of_any_size() -> None:
    sizes = {"estimate": [12345678.9, 1.5e-9, 0.0], "std_error": [1234.5, 3e-10, 0.0]}
    table = pd.DataFrame({"term": ["big", "small", "none"]} | sizes)
    lines = table_text(table).splitlines()
    assert lines[1].split() == ["big", "12345679", "1234"]
    assert lines[2].split() == ["small", "1.50e-09", "3.00e-10"]
    assert lines[3].split() == ["none", "0", "0"]
    # a difference that is zero up to rounding is zero, whatever its sign
    zero = pd.DataFrame({"term": ["x"], "estimate": [-1e-17], "std_error": [0.5]})
    assert table_text(zero).splitlines()[1].split() == ["x", "0.000", "0.500"]
    assert table_text(zero.assign(estimate=np.nan, std_error=np.nan)).splitlines()[1].split() == ["x", "NaN", "NaN"]


def test_factors_keep_their_values() -> None:
    found = fit_case("cake_numeric")[1].emmeans("recipe", by="temp", at={"temp": [175.5, 200.25]})
    lines = str(found).splitlines()
    assert lines[2].split()[:3] == ["recipe", "temp", "estimate"]
    assert {line.split()[1] for line in lines[3:9]} == {"175.5", "200.25"}
    assert decimals(lines[3:9], 2) == decimals(lines[3:9], 5)
    assert repr(found.means).splitlines()[0] == lines[2]


def test_long_tables_are_shortened() -> None:
    table = fits_case("hsb_vignette")[1].pool().tidy("ran_vals")
    lines = repr(table).splitlines()
    assert f"[{len(table)} rows]" in lines
    assert lines[6] == "..."
    assert lines[1].split()[:2] == table.iloc[0, :2].tolist()
    assert lines[11].split()[:2] == table.iloc[-1, :2].tolist()
    assert len(lines) < 20
    with pd.option_context("display.max_rows", None):
        assert len(repr(table).splitlines()) > len(table)


def test_notes_stand_below_the_table() -> None:
    frame = pd.DataFrame({"term": ["x", "z"], "statistic": [2.0, 3.0], "note": ["One thing.", "One thing."]})
    table = result_table(frame)
    table.attrs["notes"] = ["another <thing>"]
    assert repr(table).splitlines()[3:] == ["", "One thing.", "another <thing>"]
    html = table._repr_html_()
    assert html.endswith("<p>One thing.</p><p>another &lt;thing&gt;</p>")
    assert "<th>statistic</th>" in html
    assert "note" not in html


def test_tables_remain_data_frames(pooled: rx.PooledLmer) -> None:
    table = pooled.tidy()
    assert isinstance(table, pd.DataFrame)
    for made in (table.round(2), table[["term"]], table.copy(), table.query("df > 0"), pd.concat([table])):
        assert type(made) is pd.DataFrame
    again = pickle.loads(pickle.dumps(table))
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == table.attrs
    assert repr(again) == repr(table)
    pd.testing.assert_frame_equal(pd.DataFrame(table), table.copy())
    # numbers are not rounded
    assert table["estimate"][0] == pooled.fixef().iloc[0]
    # another index, columns of another kind, and no rows print as pandas has it
    table.index = pd.Index(table["term"])
    assert repr(table) == repr(pd.DataFrame(table))
    assert table._repr_html_() == pd.DataFrame(table)._repr_html_()
    empty = result_table(pd.DataFrame({"term": [], "estimate": []}))
    assert repr(empty) == repr(pd.DataFrame(empty))


def test_every_number_shows_two_significant_digits() -> None:
    assert significant(np.array([2568216.0, 0.1603, 0.0])) == ["2568216", "0.16", "0"]
    assert significant(np.array([12.6, 0.0004, -1e-14])) == ["12.60", "0.00040", "-1.0e-14"]
    assert significant(np.array([12.6, 2.399])) == ["12.600", "2.399"]
    table = pd.DataFrame({"term": list("ab"), "estimate": [62512.0, 1.193], "std_error": [15939.0, 3.269]})
    assert [line.split() for line in table_text(table).splitlines()[1:]] == [
        ["a", "62512", "15939"], ["b", "1.19", "3.27"]
    ]  # fmt: skip
