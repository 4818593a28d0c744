"""The page of a model: what it tabulates is what `predict` makes of the same rows, in Python and in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy

import remlax as rx
from remlax.explorer.export import page_content
from remlax.fitting.selection import Selection
from remlax.kernels.newton import NOT_FINITE

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
pytestmark = pytest.mark.filterwarnings("ignore::remlax.RemlaxWarning")


@cache
def frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    group, n = np.repeat([f"g{i:02d}" for i in range(15)], 8), 120
    x, z = rng.normal(size=n), rng.integers(0, 4, n)
    kind = pd.Categorical(rng.choice(["a", "b", "c"], n), ["b", "a", "c", "unused"])
    effects = dict(zip(sorted(set(group)), rng.normal(size=15), strict=True))
    eta = 0.5 * x + 0.3 * z - 0.4 * (kind == "a") + np.array([effects[g] for g in group])
    binary = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"g": group, "x": x, "z": z, "kind": kind, "y": eta + rng.normal(size=n), "b": binary})


MODELS: dict[str, Callable[[], Any]] = {
    "numbers and categories": lambda: rx.lmer("y ~ x * kind + I(z^2) + (1 + x | g)", frame()),
    "polynomials": lambda: rx.lmer("y ~ poly(x, 2) + scale(z) + x:z + (1 | g)", frame()),
    "binary": lambda: rx.glmer("b ~ x + kind + (1 | g)", frame(), "binomial"),
    "two terms and an offset": lambda: rx.lmer("y ~ x + offset(z) + (1 | g) + (0 + x | g) + (1 | kind)", frame()),
    "structured": lambda: rx.lmer("y ~ x + cs(1 + x | g)", frame()),
    "pooled": lambda: rx.lmer_list(
        "y ~ x + kind + (1 + x | g)", [frame().assign(x=frame()["x"] + 0.1 * frame(k)["y"]) for k in (1, 2, 3)]
    ).pool(),
}


@cache
def model(name: str) -> Any:
    return MODELS[name]()


def states(content: dict[str, Any], n: int = 12) -> list[list[int]]:
    """Positions of the controls, at random."""
    rng, controls = np.random.default_rng(3), content["prediction"]["controls"]
    return [[int(rng.integers(len(c["values"]))) for c in controls] for _ in range(n)]


def rows_at(name: str, content: dict[str, Any], at: list[list[int]]) -> pd.DataFrame:
    controls, data = content["prediction"]["controls"], frame()
    columns = {c["name"]: [c["values"][own[i]] for own in at] for i, c in enumerate(controls)}
    made = pd.DataFrame(columns)
    return made.astype({"kind": data["kind"].dtype}) if "kind" in made else made


def value(column: dict[str, Any], controls: list[dict[str, Any]], at: list[int]) -> float:
    place = 0
    for i in column["of"]:
        place = place * len(controls[i]["values"]) + at[i]
    return float(column["values"][place])


def predicted(name: str, new: pd.DataFrame, **options: Any) -> pd.DataFrame:
    if options.get("new_levels") == "draw":  # without their columns all rows are of one new group
        new = new.drop(columns=[c for c in ("g", "kind") if c in new and name.startswith("two")])
    given = [new] * model(name).selection.n_sets if name == "pooled" else new
    found: pd.DataFrame = model(name).predict(given, **options)
    return found


@pytest.mark.parametrize("name", list(MODELS))
def test_tables_of_columns_give_predictions(name: str) -> None:
    content = page_content(model(name))
    json.dumps(content, allow_nan=False)
    found, at = content["prediction"], states(content)
    new = rows_at(name, content, at)
    x = np.array([[value(c, found["controls"], own) for c in found["columns"]] for own in at])
    eta = x @ np.array(found["beta"])
    for column in found["offset"]:
        eta = eta + np.array([value(column, found["controls"], own) for own in at])
    expected = predicted(name, new, level="population")["estimate"]
    mean = 1 / (1 + np.exp(-eta)) if found["link"] == "logit" else eta
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    group = found["groups"][0]
    z = np.array([[value(c, found["controls"], own) for c in group["columns"]] for own in at])
    chosen = np.arange(len(at)) % len(group["levels"])
    eta = eta + np.sum(z * np.array(group["modes"]).T[chosen], axis=1)
    of_group = new.assign(**{group["name"]: np.array(group["levels"])[chosen]})
    expected = predicted(name, of_group, level=[group["name"]])["estimate"]
    mean = 1 / (1 + np.exp(-eta)) if found["link"] == "logit" else eta
    np.testing.assert_allclose(mean, expected, rtol=1e-9)


def run_in_browser(page: Path, script: str) -> Any:
    """What a script puts out in the page."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("there is no browser to run the page in")
    text = page.read_text(encoding="utf-8").replace(
        "</body>", f'<pre id="out"></pre><script>document.getElementById("out").textContent = {script};</script></body>'
    )
    copy = page.with_name("with_script.html")
    copy.write_text(text, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, f"--user-data-dir={page.parent / 'profile'}", copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-2000:]
    return json.loads(found.group(1))


# what is predicted in the page, and what `predict` calls it
KINDS: dict[str, dict[str, Any]] = {
    "mean": {"interval": "confidence"},
    "observation": {"interval": "prediction"},
    "new": {"interval": "prediction", "new_levels": "draw", "level": "group"},
}


def in_node(script: str, content: Any, tmp_path: Path) -> Any:
    """What a script makes of the content, with the arithmetic of the page as ``numbers``."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to run JavaScript in")
    source = Path(rx.__file__).parent / "explorer" / "numbers.js"
    (tmp_path / "content.json").write_text(json.dumps(content), encoding="utf-8")
    text = (
        f"const numbers = require({json.dumps(str(source))});"
        f"const content = JSON.parse(require('fs').readFileSync({json.dumps(str(tmp_path / 'content.json'))}));"
        f"console.log(JSON.stringify({script}))"
    )
    done = subprocess.run([node, "-e", text], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def check_limits(found: list[dict[str, Any]], expected: pd.DataFrame) -> None:
    # quadratic forms with 13 digits
    np.testing.assert_allclose([one["mean"] for one in found], expected["estimate"], rtol=1e-9)
    limits = np.array([one["limits"] for one in found])
    width = np.array(expected["conf_high"] - expected["conf_low"])
    assert np.abs(limits - expected[["conf_low", "conf_high"]].to_numpy()).max() < 1e-9 * width.min()
    df = [np.inf if one["df"] is None else one["df"] for one in found]  # JSON has no infinity
    np.testing.assert_allclose(df, expected["df"], rtol=1e-8)


@pytest.mark.parametrize("name", list(MODELS))
def test_limits_are_those_of_predict(name: str, tmp_path: Path) -> None:
    content = page_content(model(name))
    at = states(content, 6)
    new, groups = rows_at(name, content, at), content["prediction"]["groups"]
    kinds = list(KINDS) if content["prediction"]["limits"]["residual"] else ["mean"]
    average, third = [-1] * len(groups), [2] + [-1] * (len(groups) - 1)
    script = (
        f"(() => {{ const p = numbers.predictor(content); const at = {json.dumps(at)};"
        f"return {json.dumps(kinds)}.map((kind) => [{json.dumps(average)}, {json.dumps(third)}]"
        ".map((groups) => at.map((own) => p(own, groups, kind)))); })()"
    )
    for kind, (of_average, of_third) in zip(kinds, in_node(script, content["prediction"], tmp_path), strict=True):
        check_limits(of_average, predicted(name, new, **{"level": "population", **KINDS[kind]}))
        if kind != "new":
            chosen = new.assign(**{groups[0]["name"]: groups[0]["levels"][2]})
            check_limits(of_third, predicted(name, chosen, level=[groups[0]["name"]], **KINDS[kind]))


def test_quantiles_of_t_are_those_of_scipy(tmp_path: Path) -> None:
    df = [0.4, 1, 2, 3.3, 17, 60.5, 199, 200, 1234.5, 1e8]
    found = in_node("content.map(numbers.tQuantile)", df, tmp_path)
    np.testing.assert_allclose(found, scipy.stats.t.ppf(0.975, df), rtol=1e-11)


@pytest.mark.parametrize("name", ["numbers and categories", "binary", "pooled"])
def test_the_page_computes_what_predict_does(name: str, tmp_path: Path) -> None:
    page = rx.explore(model(name), tmp_path / "page.html")
    content = page_content(model(name))
    at = states(content, 6)
    script = (
        f"JSON.stringify([-1, 2].map((g) => {json.dumps(at)}.map((own) => window.remlaxPredict(own, [g], 'mean'))))"
    )
    average, third = run_in_browser(page, script)
    new = rows_at(name, content, at)
    check_limits(average, predicted(name, new, level="population", interval="confidence"))
    level = content["prediction"]["groups"][0]["levels"][2]
    check_limits(third, predicted(name, new.assign(g=level), level="group", interval="confidence"))


def test_the_page_shows_its_parts_and_finds_levels(tmp_path: Path) -> None:
    page = rx.explore(model("pooled"), tmp_path / "page.html")
    script = """(() => {
      const field = document.getElementById("search"); field.value = "g0"; field.dispatchEvent(new Event("input"));
      return JSON.stringify({count: document.getElementById("count").textContent,
        tables: [...document.querySelectorAll("table")].map((t) => t.rows.length),
        predicted: document.getElementById("predicted").textContent,
        hidden: document.getElementById("sets-section").hidden, options: document.getElementById("which").length});
    })()"""
    found = run_in_browser(page, script)
    assert found["count"] == "10 of 15"
    assert found["tables"] == [1 + 4, 1 + 4, 1 + 3]  # coefficients, variance components, imputations
    assert found["predicted"].startswith("Expected ")
    assert not found["hidden"]
    assert found["options"] == 2


def test_the_page_loads_nothing_and_is_not_broken_by_labels(tmp_path: Path) -> None:
    odd = frame().assign(g=frame()["g"].replace({"g00": '</script><b>"x"', "g01": "\u2028 ü"}))
    page = rx.explore(rx.lmer("y ~ x + (1 | g)", odd), tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert not re.findall(r"(?:src|href)=|@import|url\(", text)
    assert set(re.findall(r"https?://[^\"]*", text)) == {"http://www.w3.org/2000/svg"}
    braces = rx.explore(
        rx.lmer("y ~ `{data}` + (1 | g)", frame().assign(**{"{data}": frame()["x"]})), tmp_path / "b.html"
    )
    assert "<title>y ~ `{data}` + (1 | g)</title>" in braces.read_text(encoding="utf-8")
    levels = page_content(rx.lmer("y ~ x + (1 | g)", odd))["effects"][0]["level"]
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data
    assert json.loads(data.group(1))["effects"][0]["level"] == levels
    assert '</script><b>"x"' in levels


def test_without_predictions_the_page_says_why() -> None:
    offset = page_content(rx.lmer("y ~ x + (1 | g)", frame(), offset=np.arange(120.0)))
    assert offset["prediction"] == "Models with an offset that was given as an array are not predicted in this page."
    ordered = frame().assign(o=pd.cut(frame()["y"], 3, labels=["low", "middle", "high"]))
    fit = rx.glmer("o ~ x + (1 | g)", ordered, "ordinal")
    assert page_content(fit)["prediction"] == "Models of ordered categories are not predicted in this page."


def test_sliders_of_factors_stop_at_values_of_the_data() -> None:
    data = frame().assign(i=np.arange(120) // 2)  # 60 values, more than a slider has positions
    content = page_content(rx.lmer("y ~ factor(i) + (1 | g)", data))["prediction"]
    (control,) = content["controls"]
    assert len(control["values"]) == 41
    assert set(control["values"]) <= set(range(60))
    odd = page_content(rx.lmer("y ~ I(1 / w) + (1 | g)", frame().assign(w=np.linspace(-1, 1, 120))))["prediction"]
    assert 0.0 not in odd["controls"][0]["values"]


def test_where_the_data_determine_no_prediction_the_page_has_none(tmp_path: Path) -> None:
    data = frame().assign(other=np.where(frame()["kind"] == "a", "p", np.where(frame()["x"] > 0, "p", "q")))
    fit = rx.lmer("y ~ kind * other + (1 | g)", data)
    content = page_content(fit)["prediction"]
    cells = [[i, j] for i in range(3) for j in range(2)]
    found = in_node(
        f"{json.dumps(cells)}.map((at) => numbers.predictor(content)(at, [-1], 'mean').mean)", content, tmp_path
    )
    new = pd.DataFrame([[c["values"][at[i]] for i, c in enumerate(content["controls"])] for at in cells],
                       columns=[c["name"] for c in content["controls"]])  # fmt: skip
    expected = fit.predict(new.astype({"kind": data["kind"].dtype}), level="population")["estimate"]
    assert expected.isna().sum() == 1
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-9)


def test_every_imputation_says_how_its_fit_ended() -> None:
    noise = np.random.default_rng(8).normal(size=120)
    frames = [
        frame(),
        frame().assign(y=frame()["x"] + noise - pd.Series(noise).groupby(frame()["g"]).transform("mean")),
    ]
    pooled = rx.lmer_list("y ~ x + (1 | g)", frames).pool()
    content = page_content(pooled)
    assert content["sets"]["fit"] == ["converged", "singular"]
    assert any("singular" in note for note in content["notes"])


def test_a_fit_without_estimates_has_a_page_without_predictions(tmp_path: Path) -> None:
    found = rx.lmer("y ~ x + (1 | g)", frame()).selection
    status, vcov = found.fitted.status.copy(), np.full_like(found.fitted.vcov, np.nan)
    status[0] = NOT_FINITE
    fit = rx.LmerFit(Selection(replace(found.fitted, status=status, vcov=vcov), found.which))
    content = page_content(fit)
    assert content["prediction"] == "A fit has no estimates: there are no predictions in this page."
    assert any("not converge" in note.lower() for note in content["notes"])
    assert rx.explore(fit, tmp_path / "page.html").exists()


def test_many_thousand_groups_fit_in_a_page(tmp_path: Path) -> None:
    rng, n_groups = np.random.default_rng(2), 10_000
    group = np.repeat(np.arange(n_groups), 3)
    y = rng.normal(size=n_groups)[group] + rng.normal(size=len(group))
    page = rx.explore(rx.lmer("y ~ x + (1 | g)", pd.DataFrame({"g": group, "x": rng.normal(size=len(group)), "y": y})),
                      tmp_path / "many.html")  # fmt: skip
    assert page.stat().st_size < 3e6
    script = """(() => {
      const field = document.getElementById("search"); field.value = "999"; field.dispatchEvent(new Event("input"));
      const listed = document.getElementById("listed"); listed.open = true; listed.dispatchEvent(new Event("toggle"));
      return JSON.stringify([document.getElementById("count").textContent,
        document.querySelectorAll("#list tr").length, document.getElementById("predicted").textContent]);
    })()"""
    count, listed, said = run_in_browser(page, script)
    assert count == "19 of 10000"
    assert listed == 1 + 19
    assert "95% limits of the expected response" in said


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    fits = rx.lmer_list("y ~ x + (1 | g)", [frame(), frame(1)])
    with pytest.raises(rx.RemlaxError, match=r"not a list of fits: pool\(\) it"):
        rx.explore(fits, tmp_path / "page.html")  # type: ignore[arg-type]
    with pytest.raises(rx.RemlaxError, match="not DataFrame"):
        rx.explore(frame(), tmp_path / "page.html")  # type: ignore[arg-type]
    with pytest.raises(rx.RemlaxError, match="cannot be written"):
        rx.explore(model("polynomials"), tmp_path / "missing" / "page.html")
    with pytest.raises(rx.RemlaxError, match="path=5 must be the path of a file"):
        rx.explore(model("polynomials"), 5)  # type: ignore[arg-type]


def test_without_a_path_the_browser_opens_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = rx.explore(model("polynomials"))
    assert opened == [page.as_uri()]
    page.unlink()
