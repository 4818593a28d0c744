"""The page of a model: what it tabulates is what `predict` makes of the same rows, in Python and in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.explorer.export import page_content

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
    expected = predicted(name, new, level="population")["estimate"]
    mean = 1 / (1 + np.exp(-eta)) if found["link"] == "logit" else eta
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    group = found["groups"][0]
    z = np.array([[value(c, found["controls"], own) for c in group["columns"]] for own in at])
    chosen = np.arange(len(at)) % len(group["levels"])
    eta = eta + np.sum(z * np.array(group["modes"]).T[chosen], axis=1)
    expected = predicted(name, new.assign(g=np.array(group["levels"])[chosen]), level="group")["estimate"]
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


@pytest.mark.parametrize("name", ["numbers and categories", "binary", "pooled"])
def test_the_page_computes_what_predict_does(name: str, tmp_path: Path) -> None:
    page = rx.explore(model(name), tmp_path / "page.html")
    content = page_content(model(name))
    at = states(content, 6)
    out = run_in_browser(page, f"JSON.stringify({json.dumps(at)}.map((at) => window.remlaxPredict(at, [-1])))")
    new = rows_at(name, content, at)
    expected = predicted(name, new, level="population", interval="confidence")
    np.testing.assert_allclose([one["mean"] for one in out], expected["estimate"], rtol=1e-9)
    if name != "binary":  # whose standard errors are of the mean
        np.testing.assert_allclose([one["error"] for one in out], expected["std_error"], rtol=1e-6)
    chosen = run_in_browser(page, f"JSON.stringify({json.dumps(at)}.map((at) => window.remlaxPredict(at, [2]).mean))")
    level = content["prediction"]["groups"][0]["levels"][2]
    np.testing.assert_allclose(chosen, predicted(name, new.assign(g=level), level="group")["estimate"], rtol=1e-9)


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
    levels = page_content(rx.lmer("y ~ x + (1 | g)", odd))["effects"][0]["level"]
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data
    assert json.loads(data.group(1))["effects"][0]["level"] == levels
    assert '</script><b>"x"' in levels


def test_without_predictions_the_page_says_why() -> None:
    offset = page_content(rx.lmer("y ~ x + offset(z) + (1 | g)", frame()))
    assert offset["prediction"] == "Models with an offset are not predicted in this page."
    ordered = frame().assign(o=pd.cut(frame()["y"], 3, labels=["low", "middle", "high"]))
    fit = rx.glmer("o ~ x + (1 | g)", ordered, "ordinal")
    assert page_content(fit)["prediction"] == "Models of ordered categories are not predicted in this page."


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    fits = rx.lmer_list("y ~ x + (1 | g)", [frame(), frame(1)])
    with pytest.raises(rx.RemlaxError, match=r"not a list of fits: pool\(\) it"):
        rx.explore(fits, tmp_path / "page.html")  # type: ignore[arg-type]
    with pytest.raises(rx.RemlaxError, match="not DataFrame"):
        rx.explore(frame(), tmp_path / "page.html")  # type: ignore[arg-type]
    with pytest.raises(rx.RemlaxError, match="cannot be written"):
        rx.explore(model("polynomials"), tmp_path / "missing" / "page.html")


def test_without_a_path_the_browser_opens_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = rx.explore(model("polynomials"))
    assert opened == [page.as_uri()]
    page.unlink()
