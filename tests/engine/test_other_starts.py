"""Where the first start of a lane fails: an arc along which the covariance of the random effects hardly changes."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
import scipy

import remlax as rx
from remlax.engine.fit import solve_batch
from remlax.engine.queue import fit_queue
from remlax.kernels.newton import CONVERGED
from remlax.kernels.theta import ThetaMap, reversed_columns, reversed_theta

# of 20,000 small data sets those where a single Newton path ends above the optimum, at the limit of iterations or not
HARD = (1214, 2571, 16031, 17534)


def small(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(30), 10)
    x, u = rng.normal(size=300), rng.normal(size=(30, 2)) * [(0.7, 0.3), (0.7, 0.0), (0.2, 0.1), (0.0, 0.0)][seed % 4]
    return pd.DataFrame({"y": 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=300), "x": x, "g": g})


def dense_criterion(theta: np.ndarray, data: pd.DataFrame) -> float:
    """REML criterion by n x n algebra."""
    y, x, g = (data[name].to_numpy() for name in ("y", "x", "g"))
    z = np.zeros((300, 30, 2))
    z[np.arange(300), g, 0], z[np.arange(300), g, 1] = 1.0, x
    z = (z @ np.array([[theta[0], 0.0], [theta[1], theta[2]]])).reshape(300, 60)
    v = np.eye(300) + z @ z.T
    design = np.column_stack([np.ones(300), x])
    solved = np.linalg.solve(v, np.column_stack([design, y]))
    information = design.T @ solved[:, :2]
    residual = y - design @ np.linalg.solve(information, design.T @ solved[:, 2])
    rss = residual @ np.linalg.solve(v, residual)
    logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
    return float(logs + 298 * (1 + np.log(2 * np.pi * rss / 298)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
def test_fits_do_not_stop_on_an_arc() -> None:
    """Neither with steps on the host nor in one compiled program."""
    sets = [small(seed) for seed in HARD]
    fits = rx.lmer_list("y ~ x + (1 + x | g)", sets)
    for fit, data in zip(fits, sets, strict=True):
        assert fit.converged
        assert fit.criterion() == pytest.approx(dense_criterion(fit.theta, data), rel=1e-12)
        length = np.hypot(fit.theta[1], fit.theta[2])
        # from all over the arc nothing lower is found
        for angle in (0.4, -0.8, 3.0):
            start = np.array([fit.theta[0], length * np.cos(angle), length * np.sin(angle)])
            found = scipy.optimize.minimize(dense_criterion, start, (data,), "L-BFGS-B", options={"maxiter": 8})
            assert fit.criterion() < found.fun + 1e-6
    with jax.enable_x64(True):
        queued = jax.jit(fit_queue)(fits[0].selection.model.batch.problem)
    assert (np.asarray(queued.status) == CONVERGED).all()
    np.testing.assert_allclose(queued.value, [fit.criterion() for fit in fits], rtol=1e-12)


def test_theta_of_the_opposite_order_has_the_same_d() -> None:
    map_ = ThetaMap(
        q=(4, 2), factor=(0,) * 7 + (1,) * 3, row=(0, 1, 2, 1, 2, 2, 3, 0, 1, 1), col=(0, 0, 0, 1, 1, 2, 3, 0, 0, 1)
    )
    assert reversed_columns(map_, 0).tolist() == [2, 1, 0, 3]
    theta = np.random.default_rng(1).normal(size=(3, 10))
    theta[1, [0, 9]] = 0.0
    theta[2, 3:6] = 0.0
    reverse = reversed_theta(theta, map_)
    for k in range(3):
        for f in (0, 1):
            with jax.enable_x64(True):
                lam, lam_reverse = (np.asarray(map_.factors(t[k])[f]) for t in (theta, reverse))
            order = reversed_columns(map_, f)
            d = (lam @ lam.T)[order][:, order]
            np.testing.assert_allclose(lam_reverse @ lam_reverse.T, d, atol=1e-14)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
def test_criterion_does_not_depend_on_the_order_of_columns() -> None:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"y": rng.normal(size=240), "x": rng.normal(size=240)})
    data["fine"], data["coarse"] = np.arange(240) // 6, np.arange(240) // 24
    data["y"] += rng.normal(size=40)[data["fine"]] * (1 + data["x"])
    fit = rx.lmer("y ~ x + (1 + x | coarse) + (1 + x | fine)", data)
    batch = fit.selection.model.batch
    map_ = batch.structure.theta_map
    theta = rng.normal(size=(1, map_.n_theta))
    reverse = batch.with_products(batch.problem.reversed().products)
    ours = solve_batch(reverse, reversed_theta(theta, map_)).value
    np.testing.assert_allclose(ours, solve_batch(batch, theta).value, rtol=1e-12)
