"""Responses simulated from other parameters than the estimates: exact differences, scaling, moments, names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import DataError, RankDeficientWarning

FORMULA = "Reaction ~ Days + (1 + Days | Subject)"
NEW = np.array([[400.0, -30.0], [-30.0, 9.0]])


@pytest.fixture(scope="module")
def fit() -> rx.LmerFit:
    return rx.lmer(FORMULA, rx.datasets.sleepstudy(), weights=np.tile([1.0, 4.0], 90))


def test_other_coefficients_move_the_mean_exactly(fit: rx.LmerFit) -> None:
    days = rx.datasets.sleepstudy()["Days"].to_numpy()
    own = rx.simulate(fit, 3, seed=1).to_numpy()
    for fixef in ({"Days": 4.0}, pd.Series({"Days": 4.0}), fit.fixef().mul([1.0, 0.0]).add([0.0, 4.0])):
        moved = rx.simulate(fit, 3, seed=1, fixef=fixef).to_numpy()
        np.testing.assert_allclose(moved - own, np.tile((4.0 - fit.fixef()["Days"]) * days, (3, 1)).T, atol=1e-9)
    both = rx.simulate(fit, 2, seed=1, fixef={"Intercept": 0.0, "Days": 0.0}, given_modes=True)
    kept = rx.simulate(fit, 2, seed=1, given_modes=True)
    np.testing.assert_allclose(kept - both, np.tile(fit.fixef()["Intercept"] + fit.fixef()["Days"] * days, (2, 1)).T)
    np.testing.assert_array_equal(rx.simulate(fit, 3, seed=1, fixef={}, varcorr={}).to_numpy(), own)


def test_the_estimates_in_any_layout_change_nothing_and_scale(fit: rx.LmerFit) -> None:
    table, cov = fit.varcorr(), fit.fitted_stack.covariance(0)[0]
    own = rx.simulate(fit, 3, seed=2).to_numpy()
    mean = fit.fitted_stack.fitted_values(0, random=False)[:, None]
    named = pd.DataFrame(cov, index=["Intercept", "Days"], columns=["Intercept", "Days"])
    same = [table, table.drop(columns="vcov"), table.drop(columns="sdcor").iloc[::-1], {"Subject": cov}]
    same += [{"Subject": named.iloc[::-1, ::-1], "Residual": fit.sigma}, table[table["group"] == "Subject"]]
    for given in same:
        np.testing.assert_allclose(rx.simulate(fit, 3, seed=2, varcorr=given), own, rtol=1e-10)
    # twice every SD is twice every deviation
    twice = {"Subject": 4 * cov, "Residual": 2 * fit.sigma}
    np.testing.assert_allclose(rx.simulate(fit, 3, seed=2, varcorr=twice) - mean, 2 * (own - mean), rtol=1e-9)
    larger = table.assign(vcov=9 * table["vcov"], sdcor=table["sdcor"] * np.where(table["var2"].isna(), 3, 1))
    np.testing.assert_allclose(rx.simulate(fit, 3, seed=2, varcorr=larger) - mean, 3 * (own - mean), rtol=1e-9)


def test_responses_have_the_moments_that_are_asked_for(fit: rx.LmerFit) -> None:
    n = 4000
    new = rx.simulate(fit, n, seed=3, fixef={"Days": 0.0}, varcorr={"Subject": NEW, "Residual": 5.0}).to_numpy()
    z = np.column_stack([np.ones(10), np.arange(10)])
    v = z @ NEW @ z.T + np.diag(25.0 / np.tile([1.0, 4.0], 5))
    block = new[:10]
    assert np.abs((block.mean(axis=1) - fit.fixef()["Intercept"]) / np.sqrt(np.diag(v) / n)).max() < 4.5
    error = np.sqrt((np.outer(np.diag(v), np.diag(v)) + v**2) / n)
    assert np.abs((np.cov(block) - v) / error).max() < 4.5
    # a variance of 0 leaves nothing of it, other factors stay, and so does the residual
    none = rx.simulate(fit, 2, seed=3, varcorr={"Subject": np.zeros((2, 2))})
    kept = rx.simulate(fit, 2, seed=3, given_modes=True, varcorr={"Residual": fit.sigma})
    noise = kept.to_numpy() - fit.fitted().to_numpy()[:, None]
    drawn = np.random.default_rng(3).standard_normal((2, 216))[:, 36:] * fit.sigma / np.sqrt(np.tile([1.0, 4.0], 90))
    np.testing.assert_allclose(none.to_numpy().T - fit.fitted_stack.fitted_values(0, random=False), drawn, rtol=1e-9)
    assert noise.std() == pytest.approx(drawn.std(), rel=0.2)


def test_terms_of_one_factor_and_single_sds() -> None:
    fit = rx.lmer("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", rx.datasets.sleepstudy())
    assert fit.varcorr()["group"].tolist() == ["Subject", "Subject.1", "Residual"]
    given = {"Subject": 7.0, "Subject.1": [[4.0]], "Residual": 1e-6}
    y = rx.simulate(fit, 1, seed=4, varcorr=given)["sim_1"].to_numpy() - fit.fitted_stack.fitted_values(0, random=False)
    line = np.polyfit(np.arange(10), y.reshape(18, 10).T, 1)
    slopes, intercepts = line
    drawn = np.random.default_rng(4).standard_normal((1, 216))[0, :36].reshape(18, 2)
    np.testing.assert_allclose(np.column_stack([intercepts / 7, slopes / 2]), drawn, atol=1e-5)


MISTAKES: list[tuple[str, Callable[[rx.LmerFit], dict[str, object]], str]] = [
    (
        "coefficient",
        lambda f: {"fixef": {"Dayz": 1}},
        "names 'Dayz', which is no coefficient; did you mean 'Days'",
    ),
    ("other name", lambda f: {"fixef": {"q": 1}}, "which is no coefficient; they are 'Intercept', 'Days'"),
    ("no number", lambda f: {"fixef": {"Days": "1"}}, "fixef= of 'Days' must be a finite number, not '1'"),
    ("missing", lambda f: {"fixef": {"Days": np.nan}}, "fixef= of 'Days' must be a finite number, not nan"),
    ("array", lambda f: {"fixef": [1, 2]}, "fixef= must be a dict from coefficients to values, not a list"),
    ("group", lambda f: {"varcorr": {"subject": 1}}, "varcorr= names 'subject', .*did you mean 'Subject'"),
    ("other group", lambda f: {"varcorr": {"q": 1}}, "which is no grouping factor; there are 'Subject', 'Residual'"),
    ("SD of two", lambda f: {"varcorr": {"Subject": 3.0}}, r"'Subject' \(Intercept, Days\) must be a 2 x 2 covariance"),
    ("SDs", lambda f: {"varcorr": {"Subject": [3.0, 1.0]}}, "must be a 2 x 2 covariance matrix"),
    ("text", lambda f: {"varcorr": {"Subject": [["a", "b"]] * 2}}, "must be a 2 x 2 covariance matrix"),
    (
        "labels",
        lambda f: {"varcorr": {"Subject": pd.DataFrame(NEW)}},
        "must have the rows and columns 'Intercept'",
    ),
    ("asymmetric", lambda f: {"varcorr": {"Subject": [[4, 1], [0, 4]]}}, "no covariance matrix: it is not symmetric"),
    ("negative", lambda f: {"varcorr": {"Subject": [[4, 5], [5, 4]]}}, "it has a negative eigenvalue"),
    ("variance", lambda f: {"varcorr": {"Subject": [[-4, 0], [0, 4]]}}, "it has a negative eigenvalue"),
    ("inf", lambda f: {"varcorr": {"Subject": [[np.inf, 0], [0, 4]]}}, "holds values that are not finite"),
    ("residual", lambda f: {"varcorr": {"Residual": 0}}, "varcorr= of 'Residual' is an SD and must be positive, not 0"),
    ("number", lambda f: {"varcorr": 3.0}, r"must be a dict from grouping factors .*, not a float"),
    (
        "columns",
        lambda f: {"varcorr": f.varcorr()[["group", "vcov"]]},
        "needs the columns group, var1, var2 and",
    ),
    (
        "one column",
        lambda f: {"varcorr": f.varcorr().assign(sdcor=1.0)},
        "vcov and sdcor of varcorr= say different",
    ),
    (
        "part",
        lambda f: {"varcorr": f.varcorr().iloc[:1]},
        "'Subject' needs one row for each variance",
    ),
    (
        "row",
        lambda f: {"varcorr": f.varcorr().replace("Subject", "s")},
        "names 's', which is no grouping factor",
    ),
    ("modes", lambda f: {"varcorr": {"Subject": NEW}, "given_modes": True}, "keeps the random effects of 'Subject'"),
]


@pytest.mark.parametrize(("given", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistakes_are_sentences(fit: rx.LmerFit, given: Callable[[rx.LmerFit], dict[str, object]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        rx.simulate(fit, 1, seed=1, **given(fit))  # type: ignore[arg-type]


def test_names_of_other_models(fit: rx.LmerFit) -> None:
    data = rx.datasets.sleepstudy().assign(arm=lambda d: np.where(d["Days"] > 4, "b", "a"))
    with pytest.warns(RankDeficientWarning):
        tied = rx.lmer("Reaction ~ Days + I(2 * Days) + arm + (1 | Subject)", data)
    with pytest.raises(DataError, match=r"names 'arm', a term with the coefficients 'arm\[T.b\]': name these"):
        rx.simulate(tied, fixef={"arm": 1.0})
    with pytest.raises(DataError, match="which was dropped from the model because other columns determine it"):
        rx.simulate(tied, fixef={tied.fitted_stack.model.rows.fixed.names[2]: 1.0})
    with pytest.raises(DataError, match="must be an SD, or a 1 x 1 covariance matrix"):
        rx.simulate(tied, varcorr={"Subject": NEW})
    with pytest.raises(DataError, match="varcorr= of 'Subject' is an SD and must be positive or 0, not -1"):
        rx.simulate(tied, varcorr={"Subject": -1})
    odd = rx.lmer("Reaction ~ Days + (1 | Residual)", data.rename(columns={"Subject": "Residual"}))
    with pytest.raises(DataError, match="a grouping factor is called 'Residual', too: give varcorr= as a table"):
        rx.simulate(odd, varcorr={"Residual": 1.0})
    np.testing.assert_allclose(rx.simulate(odd, seed=1, varcorr=odd.varcorr()), rx.simulate(odd, seed=1), rtol=1e-10)
