"""Figures of models: what they draw equals the tables; they render, headless, with labels, on given or new axes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from scipy import stats

import remlax as rx
from fitted_cases import fit_case, fits_case
from plot_cases import ink, visible_text
from remlax.errors import DataError, MissingExtraError
from remlax.plot.marks import COLOURS, axes

plot = rx.plot
ON_ONE: dict[str, Callable[..., Axes]] = {
    "caterpillar": plot.caterpillar,
    "forest": plot.forest,
    "variance_components": plot.variance_components,
    "qq_modes": plot.qq_modes,
    "residual_fitted": plot.residual_fitted,
    "scale_location": plot.scale_location,
    "qq_residuals": plot.qq_residuals,
    "spaghetti": plot.spaghetti,
    "effect": plot.effect,
    "zeta": plot.zeta,
    "impact": lambda model, ax=None: plot.impact(model, n_sims=50, ax=ax),
}
ON_POOLED: dict[str, Callable[..., Axes]] = {
    **ON_ONE,
    "trace": plot.trace,
    "missing_information": plot.missing_information,
}


@pytest.fixture(autouse=True)
def headless() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


@cache
def pooled() -> rx.PooledLmer:
    return fits_case("studentratings_k5")[1].pool()


def sleep() -> rx.LmerFit:
    return fit_case("sleepstudy_corr")[1]


def _check(draw: Callable[..., Axes], model: rx.LmerFit | rx.PooledLmer) -> Axes:
    ax = draw(model)
    texts = visible_text(ax)
    assert ax.get_xlabel() in texts
    assert ax.get_ylabel() in texts or any(label.get_text() in texts for label in ax.get_yticklabels())
    if ax.get_legend() is not None:
        assert {t.get_text() for t in ax.get_legend().get_texts()} <= set(texts)
    width, height = ax.figure.get_size_inches()
    assert ink(ax) > ink(axes(None, size=(width, height))) + 200
    assert not ax.spines["top"].get_visible()
    own = plt.subplots()[1]
    assert draw(model, ax=own) is own
    return ax


@cache
def dollars() -> rx.PooledLmer:
    rng, sets = np.random.default_rng(3), []
    for _ in range(2):
        data = pd.DataFrame({"$b_{$": rng.normal(size=60), "g$^$": [f"$l_{{{i // 10}$" for i in range(60)]})
        data["f"] = rng.choice(["$a{$", "$\\b$"], 60)
        level, slope = np.repeat(2 * rng.normal(size=(6, 2)), 10, axis=0).T
        data["$y_{$"] = level + data["$b_{$"] * slope + rng.normal(size=60)
        sets.append(data)
    return rx.lmer_list("`$y_{$` ~ `$b_{$` + f + (1 + `$b_{$` | `g$^$`)", sets).pool()


@pytest.mark.parametrize("name", sorted(set(ON_POOLED) - {"zeta"}))
def test_dollar_signs_in_names_begin_no_formula(name):
    ax = plt.subplots()[1]
    ax.set_title("$\\alpha$")  # the user's own is a formula
    ON_POOLED[name](dollars(), ax=ax)
    ax.figure.draw_without_rendering()
    assert ax.get_title() == "$\\alpha$"
    if ax.get_legend_handles_labels()[0]:
        ax.legend()  # drawn anew by the user
    texts = [text.get_text() for text in ax.findobj(mpl.text.Text)]
    assert not any(is_math_text(text) for text in texts if text != "$\\alpha$")
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("name", ON_POOLED)
def test_figures_of_a_pooled_model_render(name):
    _check(ON_POOLED[name], pooled())


@pytest.mark.parametrize("name", ON_ONE)
def test_figures_of_a_fit_render(name):
    _check(ON_ONE[name], sleep())


def test_matplotlib_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"pip install remlax\[plot\]"):
        plot.forest(sleep())


def _points(ax: Axes, marker: str = "o") -> np.ndarray:
    """Coordinates of all points with a marker, (n, 2)."""
    return np.concatenate(
        [line.get_xydata() for line in ax.lines if line.get_marker() == marker and len(line.get_xdata())]
    )


def test_caterpillar_draws_the_modes_with_total_variance():
    table = pooled().tidy("ran_vals").sort_values("estimate", ignore_index=True)
    ax = plot.caterpillar(pooled())
    drawn = _points(ax)
    assert np.allclose(np.sort(drawn[:, 1]), table["estimate"])
    segments = np.concatenate([c.get_segments() for c in ax.collections])
    order = np.argsort(segments[:, 0, 0])
    assert np.allclose(segments[order, 0, 1], table["conf_low"])
    assert np.allclose(segments[order, 1, 1], table["conf_high"])
    clear = int(((table["conf_low"] > 0) | (table["conf_high"] < 0)).sum())
    assert f"excludes 0 ({clear})" in visible_text(ax)
    few = plot.caterpillar(sleep(), "Subject", "Days")
    assert [t.get_text() for t in few.get_yticklabels()] == sleep().ranef()["Subject"][
        "Days"
    ].sort_values().index.tolist()
    every = plot.caterpillar(fit_case("dyestuff2_singular")[1])
    assert len(every.get_yticklabels()) == 6
    assert every.get_legend() is None


def test_forest_draws_estimates_intervals_and_imputations():
    table = pooled().tidy("fixed")
    ax = plot.forest(pooled(), intercept=True)
    assert np.allclose(_points(ax)[:, 0], table["estimate"])
    segments = np.array(ax.collections[0].get_segments())
    assert np.allclose(segments[:, 0, 0], table["conf_low"])
    assert np.allclose(segments[:, 1, 0], table["conf_high"])
    faint = _points(ax, "|")[:, 0].reshape(5, -1)
    assert np.allclose(faint, fits_case("studentratings_k5")[1].fixef())
    words = [term.replace("[T.", ": ").replace("]", "") for term in table["term"]]
    assert [t.get_text() for t in ax.get_yticklabels()] == words
    assert ax.yaxis_inverted()
    with pytest.raises(DataError, match="no coefficient besides the intercept"):
        plot.forest(fit_case("dyestuff")[1])


def test_variance_components_are_those_of_the_table():
    table = pooled().tidy("ran_pars")
    ax = plot.variance_components(pooled())
    assert np.allclose(_points(ax)[:, 0], table["estimate"])
    assert np.allclose(_points(ax, "|")[:, 0].reshape(5, -1)[:, 1], pooled().selection.fitted.sigma)
    cor = plot.variance_components(sleep(), kind="cor")
    assert [t.get_text() for t in cor.get_yticklabels()] == ["Intercept, Days | Subject"]
    boundary = plot.variance_components(fit_case("dyestuff2_singular")[1])
    assert _points(boundary)[:, 0].min() < 1e-12
    with pytest.raises(DataError, match="kind='var' is not known"):
        plot.variance_components(sleep(), kind="var")
    with pytest.raises(DataError, match="no correlation of random effects"):
        plot.variance_components(pooled(), kind="cor")


def test_trace_draws_every_fit_and_the_pooled_band():
    fits = fits_case("studentratings_k5")[1]
    ax = plot.trace(pooled(), "SES")
    assert np.allclose(_points(ax)[:, 1], fits.fixef()["SES"])
    row = pooled().tidy("fixed").set_index("term").loc["SES"]
    box = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert np.allclose([box.y0, box.y1], [row["conf_low"], row["conf_high"]])
    sd = plot.trace(pooled(), "sd__Intercept")
    assert sd.get_ylabel() == "SD Intercept | ID"
    assert np.allclose(_points(sd)[:, 1], [fit.varcorr()["sdcor"].iloc[0] for fit in fits])
    with pytest.raises(DataError, match="term='ses': no such estimate; there are"):
        plot.trace(pooled(), "ses")
    crossed = fits_case("star_crossed_k5")[1].pool()
    with pytest.raises(DataError, match="2 of that name: add group="):
        plot.trace(crossed, "sd__Intercept")
    assert plot.trace(crossed, "sd__Intercept", group="tch").get_ylabel() == "SD Intercept | tch"
    with pytest.raises(DataError, match="a trace compares imputations, and this is a single fit"):
        plot.trace(sleep())


@pytest.mark.parametrize("measure", ["fmi", "riv", "lambda"])
def test_missing_information_is_that_of_the_tables(measure):
    ax = plot.missing_information(pooled(), measure=measure)
    expected = [*pooled().tidy("fixed")[measure], *pooled().tidy("ran_pars")[measure]]
    assert np.allclose([bar.get_width() for bar in ax.patches], expected)
    with pytest.raises(DataError, match="measure='FMI' is not known"):
        plot.missing_information(pooled(), measure="FMI")


def test_residual_figures_draw_the_residuals():
    fit = sleep()
    drawn = _points(plot.residual_fitted(fit, type="scaled"))
    assert np.allclose(drawn, np.stack([fit.fitted(), fit.residuals("scaled")], axis=1))
    assert np.allclose(_points(plot.scale_location(fit))[:, 1] ** 2, np.abs(fit.residuals("scaled")))
    assert len(_points(plot.residual_fitted(pooled()))) == 5 * 750
    qq = _points(plot.qq_residuals(fit))
    values = np.sort(fit.residuals("scaled"))
    assert np.allclose(qq[:, 1], (values - values.mean()) / values.std())
    assert np.allclose(qq[:, 0], stats.norm.ppf((np.arange(180) + 0.5) / 180))
    modes = _points(plot.qq_modes(fit, term="Days"))
    assert np.allclose(modes[:, 1], np.sort(fit.ranef()["Subject"]["Days"]))
    with pytest.raises(DataError, match="type='deviance' is of generalised models"):
        plot.residual_fitted(fit, type="deviance")


def test_lines_by_group_are_predictions():
    fit = sleep()
    ax = plot.spaghetti(fit)
    lines = [line.get_xydata() for line in ax.lines if len(line.get_xdata())]
    assert len(lines) == 19
    ends = pd.DataFrame({"Days": [0.0, 9.0]})
    for line, level in zip(lines[:18], fit.selection.model.layout.factors[0].levels, strict=True):
        assert np.allclose(line[[0, -1], 1], fit.predict(ends.assign(Subject=level))["estimate"])
    assert np.allclose(lines[18][[0, -1], 1], fit.predict(ends, level="population")["estimate"])
    with pytest.raises(DataError, match="x='Subject' is not a variable of the fixed part or of a slope by Subject"):
        plot.spaghetti(fit, "Subject")
    with pytest.raises(DataError, match="the fixed part has no predictor to draw along"):
        plot.spaghetti(fit_case("dyestuff")[1])


@cache
def by_part_of_day():
    data = rx.datasets.sleepstudy()
    data["late"] = np.where(data["Days"] > 4, "late", "early")
    data["kind"] = pd.Categorical(data["Subject"].astype(int).mod(4).map(dict(enumerate(KINDS))))
    # one subject was seen early alone
    data = data[(data["Subject"] != data["Subject"].iloc[0]) | (data["late"] == "early")]
    return rx.lmer("Reaction ~ late * kind + (1 + late | Subject)", data)


KINDS = ("catholic school", "protestant school", "public school", "some other school")


def test_lines_by_group_join_categories():
    fit = by_part_of_day()
    ax = plot.spaghetti(fit, labels={"late": "Part of the day", "early": "Morning"})
    assert ax.get_xlabel() == "Part of the day"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["Morning", "late"]
    lines = [line.get_ydata() for line in ax.lines if len(line.get_xdata())]
    case = pd.concat([fit.average_obs()] * 2, ignore_index=True).assign(late=["early", "late"])
    for line, level in zip(lines, fit.selection.model.layout.factors[0].levels, strict=False):
        there = np.isfinite(line)
        assert np.allclose(line[there], fit.predict(case.assign(Subject=level))["estimate"].to_numpy()[there])
    assert sum(np.isnan(line).any() for line in lines) == 1
    assert np.allclose(lines[-1], fit.predict(case, level="population")["estimate"])


def test_lines_of_four_categories_leave_room_for_the_axes():
    ax = plot.effect(by_part_of_day(), "late", by="kind")
    figure = ax.figure
    figure.canvas.draw()
    assert ax.get_position().width > 0.7
    edge = ax.get_legend().get_window_extent()
    assert edge.x0 > 0
    assert edge.x1 <= figure.bbox.width
    means = by_part_of_day().emmeans("late", by="kind")
    joined = [container.lines[0] for container in ax.containers]
    assert all(line.get_linestyle() != "None" for line in joined)
    drawn = np.concatenate([line.get_ydata() for line in joined])
    assert np.allclose(np.sort(drawn), np.sort(means.means["estimate"]))


def test_values_and_words_of_an_effect():
    fit = sleep()
    ax = plot.effect(fit, "Days", at={"Days": [0, 2, 7]}, labels={"Days": "Days awake", "Reaction": "Time (ms)"})
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Days awake", "Time (ms) (95% CI)")
    drawn = ax.lines[0].get_xydata()
    assert np.allclose(drawn[:, 0], [0, 2, 7])
    assert np.allclose(drawn[:, 1], fit.predict(pd.DataFrame({"Days": [0, 2, 7]}), level="population")["estimate"])
    lines = plot.effect(pooled(), "Sex", by="SES", at={"SES": [40, 60]})
    assert [text.get_text() for text in lines.get_legend().get_texts()] == ["SES = 40", "SES = 60"]
    assert plot.forest(fit, labels={"Days": "Days awake"}).get_yticklabels()[0].get_text() == "Days awake"
    shown = plot.variance_components(fit, labels={"Subject": "Person", "Intercept": "Level"}).get_yticklabels()
    assert [text.get_text() for text in shown] == ["Level | Person", "Days | Person", "Residual"]
    assert plot.caterpillar(fit, labels={"Subject": "Person"}).get_xlabel() == "Intercept by Person (95% interval)"
    with pytest.raises(DataError, match="labels has words for 'Dais', which the figure does not show; it shows"):
        plot.effect(fit, "Days", labels={"Dais": "Days"})
    with pytest.raises(DataError, match="at= needs a list of values for 'Days', not 3"):
        plot.effect(fit, "Days", at={"Days": 3})
    with pytest.raises(DataError, match="'Dais' is not a variable of the fixed part"):
        plot.effect(fit, "Days", at={"Dais": 3})
    with pytest.raises(DataError, match="labels must be a dict from variables, terms or groups to the words to print"):
        plot.forest(fit, labels=["Days"])


def test_effects_are_population_predictions():
    ax = plot.effect(pooled(), "SES", by="Sex")
    line = ax.lines[1].get_xydata()
    case = pooled().average_obs({"Sex": "Girl"}).loc[[0, 0]]
    case = case.assign(SES=line[[0, -1], 0], ReadDis=pooled().average_obs()["ReadDis"].iloc[0])
    expected = pooled().predict(case, level="population", interval="confidence")
    assert np.allclose(line[[0, -1], 1], expected["estimate"])
    band = ax.collections[1].get_paths()[0].vertices
    assert np.isclose(band[:, 1].max(), expected["conf_high"].max())
    categorical = plot.effect(pooled(), "Sex", by="SES")
    assert [t.get_text() for t in categorical.get_xticklabels()] == ["Boy", "Girl"]
    assert len(categorical.containers) == 3
    assert plot.effect(pooled()).get_xlabel() == "SES"  # the first that is no category
    with pytest.raises(DataError, match="'ID' is not a variable of the fixed part"):
        plot.effect(pooled(), "ID")


def test_impact_is_the_table():
    cases = sleep().draw_obs(2, seed=1)
    ax = plot.impact(sleep(), cases, term="Days", breaks=4)
    table = sleep().re_impact(cases, term="Days", breaks=4, seed=0)
    assert np.allclose(_points(ax, "o")[:, 1], table.loc[table["case"] == 1, "estimate"])
    assert ax.get_xlabel() == "Percentile of Subject by Days"
    with pytest.raises(DataError, match="8 cases are too many for one figure"):
        plot.impact(sleep(), sleep().draw_obs(8, seed=1))


def test_zeta_draws_the_profile_and_its_limits():
    profile = sleep().profile()
    ax = plot.zeta(profile, "sd__Days")
    limits = profile.confint().set_index("term").loc["sd__Days"]
    drawn = [line.get_xydata() for line in ax.lines if line.get_color() == COLOURS[0]]
    table = profile.table[(profile.table["term"] == "sd__Days") & (profile.table["zeta"].abs() < 2.5)]
    curve = drawn[0]
    assert np.allclose(np.interp(table["value"], *curve.T), table["zeta"], atol=2e-3)
    assert np.allclose([line[0, 0] for line in drawn[1:]], limits[["conf_low", "conf_high"]].astype(float), rtol=1e-3)
    assert plot.zeta(sleep()).get_xlabel() == "SD Intercept | Subject"
    assert plot.zeta(profile, "Days").get_xlabel() == "Days"
    almost = profile.table.assign(zeta=profile.table["zeta"].where(profile.table["zeta"].abs() > 0.4, 0.0))
    assert len(plot.zeta(replace(profile, table=almost)).lines) == len(ax.lines)
    twice = profile.estimates.replace({"sd__Days": "sd__Intercept"})  # as nested factors have it
    assert plot.zeta(replace(profile, estimates=twice)).get_xlabel() == "SD Intercept | Subject"
    each = [line for line in plot.zeta(pooled(), "SES").lines if len(line.get_xdata()) == 200]
    assert len(each) == 5
    for line, fit in zip(each, fits_case("studentratings_k5")[1], strict=True):
        ml = fit.profile().estimates.set_index("term")["estimate"]["SES"]
        assert np.isclose(np.interp(0, *line.get_xydata()[:, ::-1].T), ml, rtol=1e-3)
    with pytest.raises(DataError, match="term='sd__days': no such estimate"):
        plot.zeta(profile, "sd__days")


def test_a_list_of_fits_is_no_model():
    with pytest.raises(DataError, match=r"not a LmerFitList: use fits.pool\(\) or fits\[0\]"):
        plot.forest(fits_case("studentratings_k5")[1])


def _works(model: rx.LmerFit | rx.PooledLmer, skip: tuple[str, ...] = ()) -> None:
    """Tables, predictions and figures of a model are finite and have their rows."""
    for effects in ("fixed", "ran_pars", "ran_vals", "ran_coefs"):
        assert len(model.tidy(effects))
    case = model.average_obs()
    for interval in ("confidence", "prediction"):
        assert np.isfinite(model.predict(case, interval=interval)).all(axis=None)
    assert np.isfinite(model.predict_interval(case, n_sims=50, seed=1)).all(axis=None)
    assert np.isfinite(model.augment()["std_error"]).all()
    for name, draw in (ON_POOLED if isinstance(model, rx.PooledLmer) else ON_ONE).items():
        if name not in skip:
            ax = draw(model)
            assert ax.get_xlabel() in visible_text(ax)
            plt.close("all")


NO_PREDICTOR = ("forest", "spaghetti", "effect")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.RemlaxWarning")
@pytest.mark.parametrize("case", ["pastes_nested", "penicillin_crossed", "dyestuff2_singular"])
def test_everything_works_for_nested_crossed_and_singular_fits(case):
    _works(fit_case(case)[1], NO_PREDICTOR)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.RemlaxWarning")
@pytest.mark.parametrize("k", range(1, 21))
def test_everything_works_for_one_to_twenty_imputations(k):
    fits = fits_case("studentratings_k20")[1]
    _works(fits[0] if k == 1 else fits[:k].pool())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.RemlaxWarning")
def test_everything_works_for_pooled_crossed_and_singular_models():
    _works(fits_case("star_crossed_k5")[1][:2].pool(), ("spaghetti",))
    frame = fit_case("dyestuff2_singular")[1].selection.model.rows.data.frames[0]
    several = [frame.assign(Yield=frame["Yield"] * (1 + 0.01 * k)) for k in range(3)]
    _works(rx.lmer_list("Yield ~ 1 + (1 | Batch)", several).pool(), NO_PREDICTOR)


def test_a_level_of_zero_is_refused_not_replaced():
    with pytest.raises(DataError, match="conf_level=0 must be a number between 0 and 1"):
        plot.effect(sleep(), "Days", conf_level=0)
