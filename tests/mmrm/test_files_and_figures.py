"""Files, figures, tables for print and terms of mixed models for repeated measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from mmrm_cases import trial

import remlax as rx
from remlax.data.archive import read_archive, write_archive
from remlax.errors import DataError, FileFormatError, TwoValuedResponseWarning

mpl.use("Agg")

FORMULA = "y ~ x + arm * visit + us(visit | id)"


@cache
def fit() -> rx.MmrmFit:
    return rx.mmrm(FORMULA, trial(), weights="w")


@cache
def fits() -> rx.MmrmFitList:
    """Data sets with different missing visits and a covariance matrix of each arm."""
    data = trial(missing=0.0)
    rng = np.random.default_rng(5)
    noise = [data.assign(y=(data["y"] + 0.4 * rng.normal(size=len(data))).mask(data.index % 7 == k)) for k in range(3)]
    return rx.mmrm_list(
        "y ~ x + arm * visit + csh(visit | arm / id)", [one.dropna() for one in noise], offset="0.1 * x"
    )


def everything(found: Any) -> dict[str, Any]:
    """All tables of a fit, a list or a pooled model."""
    if isinstance(found, rx.MmrmFitList):
        out = {"fixef": found.fixef(), "convergence": found.convergence(), "glance": found.glance()}
        return out | {"text": str(found), "pooled": found.pool("kenward-roger").tidy()}
    out = {name: found.tidy(name) for name in ("fixed", "ran_pars")}
    out |= {"covariance": found.residual_covariance(), "vcov": found.vcov(), "glance": found.glance()}
    out["text"] = str(found.summary())
    out |= {"means": found.emmeans("arm", by="visit").means, "test": found.test("x"), "report": found.report()}
    if isinstance(found, rx.MmrmFit):
        out |= {f"ddf {ddf}": found.tidy(ddf=ddf) for ddf in ("kenward-roger", "kenward-roger-second", "residual")}
        out |= {"patients": found.predict(level="patient", interval="prediction")}
        out |= {"residuals": found.residuals("normalized").to_frame()}
        out |= {"sas": found.covariance_parameters(), "CR2": found.vcov(vcov="CR2"), "aic": found.aic}
    return out


def assert_identical(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, other[name], check_exact=True, obj=name)
        else:
            assert value == other[name], name


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(fit, id="fit"),
        pytest.param(lambda: fits()[1], id="fit of several"),
        pytest.param(fits, id="list"),
        pytest.param(lambda: fits()[1:], id="slice"),
        pytest.param(lambda: rx.refit(fit(), rx.simulate(fit(), 2, seed=1) * 3)[1], id="refit"),
        pytest.param(lambda: fits().pool(conf_level=0.9), id="pooled"),
        pytest.param(lambda: fits().pool(math.inf), id="pooled, given df"),
        pytest.param(lambda: fits().pool("kenward-roger-second"), id="pooled, Kenward-Roger"),
        pytest.param(lambda: fits().pool(vcov="CR2"), id="pooled, CR2"),
    ],
)
def test_everything_comes_back_to_the_last_bit(make: Callable[[], Any], tmp_path: Path) -> None:
    found = make()
    found.save(tmp_path / "saved")
    again = rx.load(tmp_path / "saved")
    assert type(again) is type(found)
    assert_identical(everything(found), everything(again))


def test_files_whose_visits_are_others_are_refused(tmp_path: Path) -> None:
    fit().save(tmp_path / "saved")
    archive = read_archive(tmp_path / "saved")
    archive.content["stack"]["visits"]["names"] = ["v1", "v2", "v4"]
    write_archive(tmp_path / "changed", archive.kind, archive.content)
    with pytest.raises(FileFormatError, match="the visits are v1, v2, v3, not v1, v2, v4"):
        rx.load(tmp_path / "changed")


# -- figures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_means_are_drawn_by_visit_with_a_line_for_each_arm() -> None:
    means = fit().emmeans("arm", by="visit")
    ax = rx.plot.marginal_means(means, labels={"a": "placebo", "v1": "week 1"})
    assert ax.get_xlabel() == "visit"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["week 1", "v2", "v3"]
    assert ax.get_legend_handles_labels()[1] == ["placebo", "b"]
    for arm, container in zip("ab", ax.containers, strict=True):
        own = means.means[means.means["arm"] == arm]
        np.testing.assert_allclose(container.lines[0].get_ydata(orig=False), own["estimate"])
        ends = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()])
        np.testing.assert_allclose(ends, own[["conf_low", "conf_high"]])
    assert rx.plot.marginal_means(means, "arm").get_xlabel() == "arm"
    differences = rx.plot.marginal_means(means.differences(reference="a"))
    assert (differences.get_xlabel(), differences.get_ylabel()) == ("visit", "Difference of means")
    pooled = rx.plot.marginal_means(fits().pool().emmeans("visit"))
    assert len(pooled.containers) == 1
    with pytest.raises(DataError, match="x='x' is no factor of these means; they have 'arm', 'visit'"):
        rx.plot.marginal_means(means, "x")


@pytest.mark.usefixtures("closed")
def test_visits_that_are_numbers_stand_where_they_belong() -> None:
    table = pd.DataFrame({"week": [1, 8, 2], "estimate": 1.0, "conf_low": 0.0, "conf_high": 2.0})
    line = rx.plot.marginal_means(table).containers[0].lines[0]
    assert line.get_xdata().tolist() == [1, 8, 2]
    assert rx.plot.marginal_means(table.iloc[:1]).get_xlabel() == "week"


@pytest.mark.usefixtures("closed")
def test_heat_map_of_visits() -> None:
    ax = rx.plot.visit_covariance(fit())
    np.testing.assert_allclose(ax.images[0].get_array(), fit().residual_correlation())
    ax = rx.plot.visit_covariance(fits().pool(), correlation=False, group="b")
    np.testing.assert_allclose(ax.images[0].get_array(), fits().pool().residual_covariance().loc["b"])
    with pytest.raises(DataError, match="each group has a covariance matrix: name one of 'a', 'b'"):
        rx.plot.visit_covariance(fits()[0])
    with pytest.raises(DataError, match="all patients have one covariance matrix"):
        rx.plot.visit_covariance(fit(), group="a")
    with pytest.raises(DataError, match=r"fits of rx\.mmrm"):
        rx.plot.visit_covariance(rx.lmer("y ~ x + (1 | id)", trial()))  # type: ignore[arg-type]


@pytest.mark.usefixtures("closed")
def test_figures_of_other_models_draw_these_or_say_why_not() -> None:
    ax = rx.plot.residual_fitted(fit())
    np.testing.assert_allclose(ax.lines[0].get_ydata(orig=False), fit().residuals("pearson"))
    points = rx.plot.qq_residuals(fit()).lines[-1].get_ydata()
    normalized = fit().residuals("normalized")
    np.testing.assert_allclose(points, np.sort((normalized - normalized.mean()) / normalized.std(ddof=0)))
    assert rx.plot.scale_location(fit()).get_ylabel() == "√|normalized residual|"
    curve = rx.plot.effect(fit(), "x").lines[0]
    at = fit().average_obs().assign(x=curve.get_xdata()[0])
    np.testing.assert_allclose(curve.get_ydata()[0], fit().predict(at)["estimate"].iloc[0])
    pooled = fits().pool()
    assert rx.plot.forest(pooled).get_xlabel().endswith("(95% CI)")
    assert len(rx.plot.missing_information(pooled).patches) == len(pooled.tidy()) + len(pooled.tidy("ran_pars"))
    drawn = rx.plot.trace(pooled, "sd__v1", group="a").containers[0].lines[0].get_ydata(orig=False)
    np.testing.assert_allclose(drawn, [one.tidy("ran_pars")["estimate"].iloc[0] for one in fits()])
    for draw in (rx.plot.caterpillar, rx.plot.qq_modes, rx.plot.spaghetti, rx.plot.variance_components):
        with pytest.raises(DataError, match=r"no random effects to draw: rx\.plot\.visit_covariance"):
            draw(fit())


# -- tests of terms, and tables for print --------------------------------------------------------------------------


@pytest.mark.parametrize("ddf", ["kenward-roger", "kenward-roger-second"])
def test_terms_are_tested_as_hypotheses_are(ddf: str) -> None:
    table = rx.anova(fit(), dfcom=ddf).set_index("term")  # type: ignore[arg-type]
    both = "arm[T.b]:visit[T.v2] = 0, arm[T.b]:visit[T.v3] = 0"
    alone = fit().test(both, ddf=ddf)  # type: ignore[arg-type]
    for column in ("statistic", "df1", "df2", "p_value"):
        np.testing.assert_allclose(table.loc["arm:visit", column], alone[column].iloc[0], rtol=1e-10)


def test_tables_for_print_stand_beside_those_of_other_models() -> None:
    mixed = rx.lmer("y ~ x + arm * visit + (1 | id)", trial(), weights="w")
    simpler = rx.mmrm("y ~ x + arm * visit + ar1(visit | id)", trial(), weights="w")
    table = rx.model_table({"Mixed": mixed, "us": fit(), "ar1": simpler, "Pooled": fits().pool()}).to_markdown()
    assert "|  | Mixed | us | ar1 | Pooled |" in table
    assert "Mixed model for repeated measures (unstructured)" in table
    assert "Mixed model for repeated measures (first-order autoregressive)" in table
    assert "(heterogeneous compound symmetry, by arm)" in table
    residual = next(line for line in table.splitlines() if line.startswith("| Residual SD"))
    assert residual.endswith("|  |  |  |")


def test_degrees_of_freedom_and_responses_that_are_not_meant() -> None:
    with pytest.raises(DataError, match="'kr' are not known: use 'satterthwaite', 'kenward-roger', 'kenward-roger-s"):
        fit().tidy(ddf="kr")
    with pytest.warns(TwoValuedResponseWarning, match=r"'y > 2' has two values \(0 and 1\)"):
        rx.mmrm("y > 2 ~ x + cs(visit | id)", trial())
