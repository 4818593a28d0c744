"""Tables for print: the numbers in them, and that other programs can read them."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import warnings
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from fitted_cases import fit_case, studentratings
from reference_cases import REFERENCE
from remlax.errors import ConvergenceWarning, DataError, MissingExtraError, PoolingWarning, SingularFitWarning
from remlax.fitting.selection import Selection
from remlax.kernels.newton import MAX_ITER
from remlax.results.model_table import ModelTable
from remlax.tables.printing import decimals, interval, number, p_text, span_of, stars_of, term_words

PREAMBLE = r"""\documentclass{article}
\usepackage{booktabs, caption, longtable, colortbl, array}
\begin{document}
"""


def value(text: str) -> float:
    """The number in a printed cell."""
    return float(text.replace("\N{MINUS SIGN}", "-"))


@cache
def odd_pooled() -> rx.PooledLmer:
    """Names that HTML, LaTeX and Markdown could take for markup; categories; one singular fit."""
    rng, sets = np.random.default_rng(5), []
    n = 80
    base = pd.DataFrame(
        {
            "sex_at & birth": pd.Categorical(rng.choice(["<b>f</b>", "50%|m"], n)),
            "x^2_#": rng.normal(size=n),
            "a_group": np.repeat(np.arange(10), 8),
        }
    )
    for scale in (0.0, 0.3, 1.0, 1.5):
        effect = scale * np.repeat(rng.normal(size=10), 8)
        sets.append(base.assign(y=1e-3 * (effect - 2 * base["x^2_#"] + rng.normal(size=n))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        fits = rx.lmer_list("y ~ `x^2_#` * `sex_at & birth` + (1 | a_group)", sets)
    return fits.pool()


# -- numbers -----------------------------------------------------------------------------------------------------


def test_printed_numbers_are_those_of_mitml() -> None:
    about, fits = studentratings()
    table = fits.pool(dfcom=47).to_frame().loc["Fixed effects"]
    for name, theirs in zip(table.index, about["estimates_dfcom_47"].values(), strict=True):
        row = table.loc[name]
        for column, key, places in (("Estimate", "Estimate", 2), ("SE", "Std.Error", 2), ("t", "t.value", 2),
                                    ("df", "df", 1), ("FMI", "FMI", 2)):  # fmt: skip
            assert value(row[column]) == pytest.approx(theirs[key], abs=0.51 * 10.0**-places), (name, column)


def test_variance_components_are_those_of_tidy() -> None:
    _, fits = studentratings()
    pooled = fits.pool()
    printed = pooled.to_frame().loc["Random effects"]
    tidy = pooled.tidy("ran_pars")
    assert list(printed.index) == ["SD of intercept (ID)", "Residual SD"]
    np.testing.assert_allclose([value(v) for v in printed["Estimate"]], tidy["estimate"], atol=0.00501)
    np.testing.assert_allclose([value(v) for v in printed["SE"]], tidy["std_error"], atol=0.00501)
    for cell, low, high in zip(printed["95% CI"], tidy["conf_low"], tidy["conf_high"], strict=True):
        np.testing.assert_allclose([value(v) for v in cell.strip("[]").split(", ")], [low, high], atol=0.00501)


def test_counts() -> None:
    _, fits = studentratings()
    facts = fits.pool().to_frame().loc["Model", "Estimate"]
    assert facts["Observations"] == "750"
    assert facts["Groups: ID"] == "50"
    assert facts["Imputations"] == "5"
    fmi = fits.pool().tidy()["fmi"]
    assert facts["FMI of the coefficients"] == f"{fmi.min():.2f}\N{EN DASH}{fmi.max():.2f}"


@pytest.mark.slow
def test_shares_of_variance_are_those_of_icc_and_r2() -> None:
    _, fits = studentratings()
    for model in (fits[0], fits.pool()):
        facts = model.to_frame().loc["Model", "Estimate"]
        icc, r2 = model.icc().query("kind == 'adjusted'"), model.r2(n_sims=2, seed=1).set_index("measure")["estimate"]
        assert facts["ICC: ID"] == f"{icc['estimate'].iloc[0]:.2f}"
        for name in ("marginal", "conditional"):
            assert facts[f"R\N{SUPERSCRIPT TWO} ({name})"] == f"{r2[name]:.2f}"


def test_a_column_has_one_number_of_decimals() -> None:
    _, fits = studentratings()
    for digits in (2, 3):
        model = fits.pool().to_frame(digits=digits)
        rows = [cell for part in ("Fixed effects", "Random effects") for cell in model.loc[part, "Estimate"]]
        assert len({len(cell.partition(".")[2]) for cell in rows}) == 1
        assert all(len(model.loc["Model", "Estimate"][name].partition(".")[2]) == digits for name in ("ICC: ID",))


def test_a_caption_has_a_number_and_a_label() -> None:
    _, fits = studentratings()
    text = fits[0].to_latex(title="Reading & more", label="tab:reading")
    assert r"\caption{Reading \& more}\label{tab:reading}" in text
    assert "caption*" not in text
    assert "fontsize" not in text
    assert r"\caption" not in fits[0].to_latex()
    for title, label in ((None, "tab:x"), ("Title", "a b"), ("Title", "}")):
        with pytest.raises(DataError, match="needs a title, which is the caption, and letters, digits and"):
            fits[0].to_latex(title=title, label=label)


def test_notes_are_sentences() -> None:
    frame = rx.datasets.dyestuff().assign(Yield=lambda d: d["Yield"] - d.groupby("Batch")["Yield"].transform("mean"))
    with pytest.warns(rx.SingularFitWarning):
        fit = rx.lmer("Yield ~ 1 + (1 | Batch)", frame)
    notes = fit.to_frame().attrs["notes"]
    assert any(note.startswith("Singular fit: ") for note in notes)
    assert fit.to_frame().loc[("Random effects", "SD of intercept (Batch)"), "Estimate"] == "0.00"
    assert all(note.endswith(".") for note in notes)


def test_small_numbers_keep_two_digits_of_their_error() -> None:
    table = odd_pooled().to_frame()
    tidy = odd_pooled().tidy()
    for printed, exact in zip(table.loc["Fixed effects", "SE"], tidy["std_error"], strict=True):
        assert value(printed) == pytest.approx(exact, rel=0.051)


def test_one_fit_and_its_correlations() -> None:
    _, fit = fit_case("sleepstudy_corr")
    table = fit.to_frame()
    assert list(table.columns) == ["Estimate", "SE", "95% CI", "df", "t", "p"]
    assert table.loc[("Fixed effects", "Days")].tolist() == ["10.47", "1.55", "[7.21, 13.73]", "17.0", "6.77", "<0.001"]
    assert list(table.loc["Random effects"].index) == [
        "SD of intercept (Subject)",
        "SD of Days (Subject)",
        "Correlation of intercept and Days (Subject)",
        "Residual SD",
    ]
    assert table.loc[("Random effects", "Correlation of intercept and Days (Subject)"), "Estimate"] == "0.07"
    assert "REML" in table.attrs["notes"][0]


def test_numbers_in_words() -> None:
    assert [number(v, 2) for v in (-1.234, 0.0, -0.001, np.nan, np.inf, -np.inf)] == [
        "\N{MINUS SIGN}1.23", "0.00", "0.00", "", "\N{INFINITY}", "\N{MINUS SIGN}\N{INFINITY}"]  # fmt: skip
    assert number(1.5e-9, 10) == "1.50e\N{MINUS SIGN}09"
    assert number(3e8, 2) == "3.00e+08"
    assert [decimals(se, 1.0, 2) for se in (0.5, 0.02, 0.0013, 30.0, np.nan)] == [2, 3, 4, 2, 2]
    assert interval(-1.0, 2.0, 1) == "[\N{MINUS SIGN}1.0, 2.0]"
    assert interval(np.nan, 2.0, 1) == ""
    assert [p_text(p) for p in (0.0004, 0.0005, 0.04999, np.nan)] == ["<0.001", "0.001", "0.050", ""]
    assert [stars_of(p) for p in (0.0009, 0.001, 0.01, 0.049, 0.05, np.nan)] == ["***", "**", "*", "*", "", ""]
    assert [span_of([0.1, 0.1], 1), span_of([1, 3])] == ["0.1", "1\N{EN DASH}3"]


def test_terms_in_words() -> None:
    times = " \N{MULTIPLICATION SIGN} "
    assert term_words("sex[T.m]", {}) == "sex: m"
    assert term_words("sex[T.a:b]:x", {"sex": "Sex"}) == f"Sex: a:b{times}x"
    assert term_words("I(x:z):`a:b`", {"x": "no"}) == f"I(no:z){times}a:b"
    assert term_words("sex[T.m]", {"sex[T.m]": "Men"}) == "Men"
    assert term_words("poly(x, 2)1", {}) == "poly(x, 2)1"


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("relevel(arm, ref='placebo')[T.drug]", "Arm: drug (vs placebo)"),
        ("relevel(arm, 2)[T.1]", "Arm: 1 (vs 2)"),
        ("C(arm)[T.drug]:age", "Arm: drug \N{MULTIPLICATION SIGN} Age"),
        ("factor(`my var`)[T.1]", "Mine: 1"),
        ("C(arm, contr.sum)[S.drug]", "C(Arm, contr.sum): S.drug"),  # not against a base level
        ("I(age^2)", "Age\N{SUPERSCRIPT TWO}"),
        ("I(`my var`^3)", "Mine\N{SUPERSCRIPT THREE}"),
        ("scale(age)", "scale(Age)"),
        ("poly(age, 2)[1]", "poly(Age, 2): 1"),
        ("I(x * exp(x))", "I(X * exp(X))"),
        ("ifelse(kind == 'x', age, 0)", "ifelse(kind == 'x', Age, 0)"),
        ("agelong", "agelong"),
    ],
)
def test_labels_of_variables_inside_of_calls(term: str, words: str) -> None:
    assert term_words(term, {"arm": "Arm", "age": "Age", "my var": "Mine", "x": "X"}) == words


# -- several models ----------------------------------------------------------------------------------------------


def test_models_side_by_side() -> None:
    _, one = fit_case("sleepstudy_intercept")
    _, two = fit_case("sleepstudy_corr")
    table = rx.model_table({"A": one, "B": two}, labels={"Days": "Days awake", "Subject": "person"})
    cells = table.to_frame()
    assert cells.loc[("Fixed effects", "Days awake")].tolist() == ["10.47 (0.80)", "10.47 (1.55)"]
    assert cells.loc[("Random effects", "SD of Days awake (person)"), "A"] == ""
    assert list(cells.loc["Random effects"].index)[-1] == "Residual SD"
    assert cells.loc[("Model", "Groups: person")].tolist() == ["18", "18"]
    assert "*" not in cells.to_string()


def test_a_row_has_the_same_decimals_in_all_models() -> None:
    data = rx.datasets.sleepstudy()
    seconds = data.assign(Reaction=data["Reaction"] / 1000)
    each = {name: rx.lmer("Reaction ~ Days + (1 | Subject)", d) for name, d in (("ms", data), ("s", seconds))}
    for errors in ("se", "ci"):
        cells = rx.model_table(each, errors=errors).to_frame()
        for part in ("Fixed effects", "Random effects"):
            for row in cells.loc[part].to_numpy():
                assert len({len(cell.split()[0].partition(".")[2]) for cell in row}) == 1


def test_labels_that_label_nothing_are_named() -> None:
    _, one = fit_case("sleepstudy_intercept")
    _, two = fit_case("sleepstudy_corr")
    said = (
        r"labels names 'xx', which is no term, variable or grouping factor; they are 'Intercept', 'Days', 'Reaction',"
    )
    tables = {
        "markdown": lambda words: two.to_markdown(labels=words),
        "html": lambda words: two.to_html(labels=words),
        "latex": lambda words: two.to_latex(labels=words),
        "frame": lambda words: two.to_frame(labels=words),
        "models": lambda words: rx.model_table([one, two], labels=words),
        "pooled": lambda words: studentratings()[1].pool().to_markdown(labels=words),
    }
    for name, table in tables.items():
        with pytest.raises(
            DataError, match=said if name != "pooled" else "labels names 'xx', which is no term, variable"
        ):
            table({"xx": "Slope"})
    with pytest.raises(
        DataError, match=r"names 'days', which is no term, .*; did you mean 'Days'[?] They are 'Intercept', 'Days',"
    ):
        two.to_frame(labels={"Subject": "person", "days": "Days awake"})
    # a variable counts where its term has a label of its own, and so does the response
    words = {"Days": "Day", "Intercept": "Start", "Reaction": "Reaction time", "Subject": "person"}
    assert "Correlation of Start and Day (person)" in two.to_markdown(labels=words)
    data = rx.datasets.sleepstudy().assign(late=lambda d: (d["Days"] > 4).astype(int))
    fit = rx.lmer("Reaction ~ factor(late) * log(Days + 1) + (1 | Subject)", data, weights="Days + 1")
    words = {"late": "Late", "factor(late)[T.1]": "From day 5", "Days": "Day"}
    assert fit.to_frame(labels=words).loc["Fixed effects"].index.tolist()[1:3] == ["From day 5", "log(Day + 1)"]
    # one model of several is enough
    assert "Late: 1" in rx.model_table([one, fit], labels={"late": "Late"}).to_markdown()
    with pytest.raises(DataError, match="labels names 'late'"):
        one.to_markdown(labels={"late": "Late"})


def test_stars_and_limits() -> None:
    _, fit = fit_case("sleepstudy_corr")
    table = rx.model_table([fit], errors="ci", stars=True, title="Sleep")
    assert table.to_frame().loc[("Fixed effects", "Days"), "Model 1"] == "10.47*** [7.21, 13.73]"
    assert table.notes[:2] == (
        "Estimates with 95% confidence limits in brackets.",
        "* p < 0.05, ** p < 0.01, *** p < 0.001.",
    )
    assert repr(table).startswith("**Sleep**\n")


def test_fits_and_pooled_models_together_say_how_each_was_made() -> None:
    _, fits = studentratings()
    cells = rx.model_table([fits[0], fits.pool()]).to_frame()
    assert cells.loc[("Model", "Imputations")].tolist() == ["", "5"]
    assert list(cells.loc["Model"].index[-4:]) == [
        "Observations", "Groups: ID", "Imputations", "FMI of the coefficients"]  # fmt: skip
    assert any(note.startswith("Model 2: ") and "Rubin" in note for note in cells.attrs["notes"])


def test_singular_and_boundary_fits_are_in_the_notes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is warned about that the notes say
        notes = " ".join(odd_pooled().to_frame().attrs["notes"])
    assert "Singular fits: imputation 1." in notes
    assert "Variance parameters on the boundary" in notes


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3,), {}, "models must be a list or dict of fits or pooled models, not a int"),
        (([],), {}, "there is no model"),
        (([3],), {}, "Model 1 is a int, not a fit or a pooled model"),
        (("fits",), {}, "Model 1 is a LmerFitList, not a fit or a pooled model: pool it first"),
        (("fit",), {"errors": "sd"}, "errors='sd' is not known"),
        (("fit",), {"digits": 1.5}, r"digits=1\.5 must be a whole number"),
        (("fit",), {"labels": ["x"]}, "labels must be a dict"),
        (("fit",), {"labels": {"Days": "a", "Intercept": "a"}}, "two rows of one model are both called 'a'"),
        (("levels",), {"errors": "ci"}, r"limits of different levels \(0\.9, 0\.95\)"),
    ],
)
def test_mistakes_are_named(arguments: tuple, options: dict, message: str) -> None:
    _, fits = studentratings()
    known = {
        "fit": [fit_case("sleepstudy_corr")[1]],
        "fits": [fits],
        "levels": [fits.pool(), fits.pool(conf_level=0.9)],
    }
    arguments = tuple(known[a] if isinstance(a, str) else a for a in arguments)
    with pytest.raises(DataError, match=message):
        rx.model_table(*arguments, **options)


def test_without_great_tables_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "great_tables", None)
    _, fit = fit_case("sleepstudy_corr")
    with pytest.raises(MissingExtraError, match=r"pip install 'remlax\[tables\]'"):
        fit.to_latex()
    assert "10.47" in fit.to_markdown()
    assert rx.model_table([fit])._repr_html_().startswith("<pre>|  | Model 1 |")


# -- formats -----------------------------------------------------------------------------------------------------


class Cells(HTMLParser):
    """Rows of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open = False
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in ("br", "meta", "link"):
            self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.open = True

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag
        if tag in ("td", "th"):
            self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.rows[-1][-1] += data


def grid() -> tuple[rx.ModelTable, list[list[str]]]:
    """A table with odd names, and its rows as lists of texts."""
    table = rx.model_table({"50% & <i>all</i>": odd_pooled(), "b_1": odd_pooled()}, title="A_1 & <b>2</b>")
    frame = table.to_frame().reset_index()
    return table, frame.drop(columns="Part").to_numpy().tolist()


def test_html_holds_the_cells() -> None:
    table, rows = grid()
    parser = Cells()
    parser.feed(table.to_html())
    assert not parser.tags
    found = [[cell.strip() for cell in row] for row in parser.rows]
    assert found[0] == ["A_1 & <b>2</b>"]
    assert found[1] == ["", "50% & <i>all</i>", "b_1"]
    wanted = [row for row in found[2:] if len(row) == 3]
    assert wanted == rows
    assert [row[0] for row in found[2:] if len(row) == 1] == ["Fixed effects", "Random effects", "Model", *table.notes]
    assert table._repr_html_() == table.to_html()


def test_markdown_holds_the_cells() -> None:
    table, rows = grid()
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines]
    assert {len(row) for row in cells} == {3}
    plain = [[unescape(re.sub(r"\\(.)", r"\1", cell)) for cell in row] for row in cells]
    assert [row for row in plain[2:] if not row[0].startswith("**")] == rows
    assert plain[0] == ["", "50% & <i>all</i>", "b_1"]


def test_markdown_lets_no_name_become_markup() -> None:
    bad = '**<script>alert(1)</script>"><img src=x onerror=alert(1)>&lt;b&gt; [a](javascript:x)'
    cells = pd.DataFrame({"Part": [bad], "Row": [bad], bad: [bad]})
    text = ModelTable(cells, (bad,), title=bad).to_markdown()
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(text)
    assert not tags
    shown = unescape(re.sub(r"\\(.)", r"\1", text))
    assert shown.count(bad) == 6  # title, heading, part, row, cell and note
    assert "](" not in text


def test_latex_is_booktabs_with_every_cell() -> None:
    table, rows = grid()
    text = table.to_latex()
    assert text.isascii()
    assert [text.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]
    assert r"\hline" not in text
    assert "|" not in re.search(r"\\begin{tabular\*}(.*)", text).group(1)  # type: ignore[union-attr]
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if re.search(r"(?<!\\)&", line)]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {2}
    assert len(lines) == len(rows) + 1
    depth = 0
    for char in re.sub(r"\\.", "", text):
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    table, _ = grid()
    _, fit = fit_case("sleepstudy_corr")
    (tmp_path / "t.tex").write_text(PREAMBLE + table.to_latex() + fit.to_latex(title="100% $x_1$") + r"\end{document}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000


# -- words -------------------------------------------------------------------------------------------------------


def test_report_states_the_facts() -> None:
    _, fits = studentratings()
    text = fits.pool().report()
    for fact in (
        "ReadAchiev ~ ReadDis + SES + (1 | ID)",
        "restricted maximum likelihood (REML) to each of 5 imputed data sets",
        "750 observations in 50 groups of ID",
        "Rubin's rules (Rubin, 1987)",
        "Barnard and Rubin (1999), with Satterthwaite degrees of freedom for complete data",
        "Confidence limits have level 0.95",
        "All fits converged. No fit was singular.",
        f"remlax {rx.__version__}",
    ):
        assert fact in text, fact
    fmi = fits.pool().tidy()["fmi"]
    assert f"{fmi.min():.2f} to {fmi.max():.2f}" in text
    assert "\n" not in text


def test_report_of_one_fit() -> None:
    _, fits = studentratings()
    assert (
        "was fitted by restricted maximum likelihood (REML). The data have 750 observations in 50 groups of ID. Tests "
        "and confidence limits of the coefficients use Satterthwaite's degrees of freedom. The fit converged. It "
        f"is not singular. Computed with remlax {rx.__version__} "
    ) in fits[0].report()
    stack = fits.selection.fitted
    rows = dataclasses.replace(stack.model.rows, n_dropped=3)
    model = dataclasses.replace(stack.model, rows=rows)
    odd = {"status": np.full_like(stack.status, MAX_ITER), "singular": np.ones_like(stack.singular), "model": model}
    text = rx.LmerFit(Selection(dataclasses.replace(stack, **odd), (2,))).report()
    assert "groups of ID. 3 rows with missing cells were left out. Tests" in text
    assert "(iteration limit). It is singular: a variance is estimated as 0 or a correlation as +-1. Comp" in text


def test_report_names_the_rule_that_was_asked_for() -> None:
    _, fits = studentratings()
    assert "degrees of freedom are those of Rubin (1987)." in fits.pool(dfcom=np.inf, conf_level=0.9).report()
    assert "with given degrees of freedom for complete data" in fits.pool(dfcom=47).report()
    assert "level 0.9." in fits.pool(conf_level=0.9).report()


def test_report_names_singular_failed_and_left_out_fits() -> None:
    assert "1 of 4 pooled fits are singular (a variance is estimated as 0 or a correlation as +-1): imputation 1." in (
        odd_pooled().report()
    )
    _, fits = studentratings()
    status = fits.selection.fitted.status.copy()
    status[2] = MAX_ITER
    broken = rx.LmerFitList(Selection(dataclasses.replace(fits.selection.fitted, status=status), fits.selection.which))
    with pytest.warns(ConvergenceWarning):
        dropped = broken.pool(on_failure="drop")
    text = dropped.report()
    assert "1 of 5 fits did not converge: imputation 3 (iteration limit)." in text
    assert "Left out of the pooled model: imputation 3." in text
    assert "each of 5 imputed data sets" in text
    assert dropped.to_frame().loc[("Model", "Imputations"), "Estimate"] == "4"
    assert any("Left out: imputation 3" in note for note in dropped.to_frame().attrs["notes"])


# -- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effects", ["fixed", "ran_pars", "ran_vals", "ran_coefs"])
def test_columns_have_the_names_of_broom_mixed(effects: str) -> None:
    names = json.loads((REFERENCE / "report" / "broom_names.json").read_text())["tidy"][effects]
    theirs = [name.replace(".", "_") for name in names if name != "effect"]
    _, fit = fit_case("sleepstudy_corr")
    _, fits = studentratings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoolingWarning)
        for table in (fit.tidy(effects), fits.pool().tidy(effects)):
            assert set(theirs) <= set(table.columns)
            assert [name for name in table.columns if name in theirs][: len(theirs)][:2] == theirs[:2]
