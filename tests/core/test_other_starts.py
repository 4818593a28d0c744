"""Where the first start of a lane fails: a curved valley on the way to a covariance matrix of less rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.core.structure import ThetaMap


def test_fewer_ranks_keeps_variances_and_loses_small_diagonals() -> None:
    map_ = ThetaMap(q=(2, 1), factor=(0, 0, 0, 1), row=(0, 1, 1, 0), col=(0, 0, 1, 0))
    theta = np.array([[0.001, -0.12, 0.03, 0.2], [0.4, 0.1, 0.3, 0.0], [0.4, 0.0, 0.0, 1.0]])
    found = map_.fewer_ranks(theta)
    np.testing.assert_array_equal(found[1:], theta[1:])
    np.testing.assert_array_equal(found[0, [0, 2, 3]], [0.001, 0.0, 0.2])
    assert found[0, 1] == pytest.approx(-np.hypot(0.12, 0.03), rel=1e-15)


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
def test_a_curved_valley_is_followed_to_its_floor() -> None:
    """Variance of the intercept almost zero, correlation at -1: Newton steps from most starts end on the way."""
    rng = np.random.default_rng(1214)
    g = np.repeat(np.arange(30), 10)
    x, u = rng.normal(size=300), rng.normal(size=(30, 2)) * (0.2, 0.1)
    y = 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=300)
    fit = rx.lmer("y ~ x + (1 + x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    theta = np.asarray(fit.theta)
    dense_z = np.zeros((300, 60))
    dense_z[np.arange(300), 2 * g], dense_z[np.arange(300), 2 * g + 1] = 1.0, x

    def criterion(t: np.ndarray) -> float:
        """REML criterion by dense algebra."""
        lam = np.array([[t[0], 0.0], [t[1], t[2]]])
        z = dense_z @ np.kron(np.eye(30), lam)
        v = np.eye(300) + z @ z.T
        design = np.column_stack([np.ones(300), x])
        information = design.T @ np.linalg.solve(v, design)
        beta = np.linalg.solve(information, design.T @ np.linalg.solve(v, y))
        rss = (y - design @ beta) @ np.linalg.solve(v, y - design @ beta)
        logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return float(logs + 298 * (1 + np.log(2 * np.pi * rss / 298)))

    assert fit.converged
    assert theta[2] == 0.0
    assert fit.criterion() == pytest.approx(criterion(theta), rel=1e-12)
    # steps along the valley and across it lead up
    for turn in (0.05, 0.2):
        along = np.array([theta[0], theta[1] * np.cos(turn), theta[1] * np.sin(turn)])
        assert criterion(along) > fit.criterion()
    for change in (-0.02, 0.02):
        assert criterion(theta + np.array([change, 0, 0])) > fit.criterion()
        assert criterion(theta + np.array([0, change, 0])) > fit.criterion()
