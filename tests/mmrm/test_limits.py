"""Profile and bootstrap limits of mixed models for repeated measures, against a dense likelihood and symmetries."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy
from mmrm_cases import dense_criterion, patients, trial

import remlax as rx
from remlax.errors import DataError

FORMULA = "y ~ x + arm + us(visit | id)"
CUT = scipy.stats.chi2.ppf(0.95, 1)


def columns(data: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(data)), data["x"], data["arm"] == "b"]).astype(float)


@cache
def profiled() -> pd.DataFrame:
    return rx.mmrm(FORMULA, trial()).confint("profile").set_index("term")


def dense_profile(hold: str) -> Callable[[float], tuple[float, np.ndarray]]:
    """ML deviance with a correlation, an SD or a coefficient held, minimised by scipy; SDs at the minimum."""
    rows = patients(trial(), columns(trial()))

    def deviance(psi: np.ndarray, value: float) -> float:
        # correlations of v1 with v3 and v2, and the partial one of v2 and v3: any psi is positive definite
        sd, (first, second, partial), own = np.exp(psi[:3]), np.tanh(psi[3:]), rows
        if hold == "cor":
            first = value
        elif hold == "sd":
            sd[2] = value
        else:
            own = [(visit, x[:, [0, 2]], y - value * x[:, 1], *rest) for visit, x, y, *rest in rows]
        third = first * second + partial * np.sqrt((1 - first**2) * (1 - second**2))
        cor = np.array([[1.0, second, first], [second, 1.0, third], [first, third, 1.0]])
        return dense_criterion(np.outer(sd, sd) * cor, own, 2 if hold == "beta" else 3, reml=False)[0]

    start = np.array([0.0, 0.2, -0.1, 0.5, 1.0, 0.8])

    def at(value: float) -> tuple[float, np.ndarray]:
        found = scipy.optimize.minimize(deviance, start, args=(value,), method="BFGS", options={"gtol": 1e-4})
        return float(found.fun), np.exp(found.x[:3])

    return at


@pytest.mark.parametrize(("hold", "term"), [("cor", "cor__v1.v3"), ("sd", "sd__v3"), ("beta", "x")])
def test_profile_limits_are_those_of_a_dense_likelihood(hold: str, term: str) -> None:
    row, at = profiled().loc[term], dense_profile(hold)
    lowest, sd = at(float(row["estimate"]))
    known = ["sd__v1", "sd__v2"] if hold == "sd" else ["sd__v1", "sd__v2", "sd__v3"]
    np.testing.assert_allclose(sd[: len(known)], profiled().loc[known, "estimate"], rtol=1e-4)
    for limit in (row["conf_low"], row["conf_high"]):
        np.testing.assert_allclose(at(limit)[0] - lowest, CUT, rtol=2e-4)


def test_profiles_do_not_depend_on_units_coding_or_the_order_of_rows() -> None:
    data = trial()
    other = data.assign(y=100 - 8 * data["y"], arm=np.where(data["arm"] == "a", "z", "b")).sample(
        frac=1, random_state=1
    )
    table = rx.mmrm(FORMULA, other).confint("profile").set_index("term")
    random = profiled().index[:6]
    scale = np.where(random.str.startswith("sd"), 8.0, 1.0)[:, None]
    limits = ["estimate", "conf_low", "conf_high"]
    np.testing.assert_allclose(table.loc[random, limits], profiled().loc[random, limits] * scale, rtol=1e-5, atol=1e-6)
    flipped = -8 * profiled().loc["x", ["estimate", "conf_high", "conf_low"]].to_numpy(float)
    np.testing.assert_allclose(table.loc["x", limits].to_numpy(float), flipped, rtol=1e-5)
    # arm b is the reference now, and y has changed its sign
    same = 8 * profiled().loc["arm[T.b]", limits].to_numpy(float)
    np.testing.assert_allclose(table.loc["arm[T.z]", limits].to_numpy(float), same, rtol=1e-5, atol=1e-6)


def test_profiles_of_several_fits_and_groups_are_those_of_each() -> None:
    data = trial(missing=0.0, n=24)
    formula = "y ~ x + ar1(visit | arm / id)"
    fits = rx.mmrm_list(formula, [data, data.assign(y=data["y"] ** 2)])
    table = fits.confint("profile")
    assert table["group"].unique().tolist() == ["a", "b", ""]
    own = fits[1].confint("profile")
    np.testing.assert_allclose(table.loc[table["imp"] == 2, "conf_low"], own["conf_low"], rtol=1e-5, atol=1e-6)
    zeta = fits[0].profile().table.query("term == 'cor' and group == 'a'")
    assert zeta["zeta"].is_monotonic_increasing


def test_bootstrap_limits_are_percentiles_of_refits_to_drawn_responses() -> None:
    fit = rx.mmrm(FORMULA, trial())
    table = fit.confint("boot", n_sims=19, seed=3, conf_level=0.9).set_index("term")
    again = rx.refit(fit, rx.simulate(fit, 19, seed=3))
    x = np.sort(again.fixef()["x"])
    np.testing.assert_allclose(table.loc["x", ["conf_low", "conf_high"]].to_numpy(float), x[[0, 18]], rtol=1e-9)
    cor = np.sort([one.residual_correlation().loc["v1", "v3"] for one in again])
    np.testing.assert_allclose(table.loc["cor__v1.v3", "conf_low"], cor[0], rtol=1e-9)
    assert table.attrs["n_sims"] == 19
    assert (table["n_defined"] == 19).all()


def test_a_singular_fit_has_no_profile() -> None:
    data = trial(missing=0.0)
    apart = data[((data["id"] > "p14") & (data["visit"] != "v1")) | ((data["id"] <= "p14") & (data["visit"] != "v3"))]
    with pytest.warns(rx.errors.SingularFitWarning):
        fit = rx.mmrm(FORMULA, apart)
    with pytest.raises(DataError, match="it is singular: no patient has both visits v1 and v3"):
        fit.confint("profile")
