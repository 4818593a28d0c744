"""Every structure of random effects against n x n linear algebra, on random small designs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_models import STRUCTURES, assembled, dense_at, random_frame, random_model
from remlax import Newton
from remlax.engine.fit import solve_batch
from remlax.fitting.fit import Fitted, solve_at
from remlax.kernels.newton import Optimum

# entries of theta: on the boundary, near it, and away from it on both sides
ENTRIES = st.one_of(st.just(0.0), st.just(1e-6), st.floats(-3.0, 3.0, allow_subnormal=False))


@pytest.mark.parametrize("structure", STRUCTURES)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data())
def test_criterion_is_the_dense_one(structure, data):
    """Two data sets of their own size and groups in one batch, each at its own theta."""
    seeds = data.draw(st.lists(st.integers(0, 10_000), min_size=2, max_size=2), label="seeds")
    sizes = data.draw(st.lists(st.integers(45, 64), min_size=2, max_size=2), label="rows")
    weighted = data.draw(st.booleans(), label="weights")
    reml = data.draw(st.booleans(), label="reml")
    frames = [random_frame(seed, n, levels=8) for seed, n in zip(seeds, sizes, strict=True)]
    model = assembled(random_model(structure, frames[0]).formula, frames, reml=reml, weights="w" if weighted else None)
    d = model.layout.structure.theta_map.n_theta
    theta = np.array(data.draw(st.lists(ENTRIES, min_size=2 * d, max_size=2 * d), label="theta")).reshape(2, d)
    ours = solve_batch(model.batch, theta * model.theta_scale).value
    for k, frame in enumerate(frames):
        answer = dense_at(random_model(structure, frame), model.layout, theta[k], weighted=weighted)
        assert ours[k] == pytest.approx(answer.reml if reml else answer.ml, rel=1e-9)


def at_theta(structure: str, theta: np.ndarray, *, reml: bool) -> Fitted:
    """A batch of two data sets solved at one theta, without an optimisation."""
    frames = [random_frame(seed, 60, levels=8) for seed in (1, 2)]
    model = assembled(random_model(structure, frames[0]).formula, frames, reml=reml, weights="w")
    d = len(theta)
    number, whole = np.zeros(2), np.zeros(2, np.int64)
    nowhere = Optimum(
        theta=np.zeros((2, d)), value=number, grad=np.zeros((2, d)), hess=np.zeros((2, d, d)), decrement=number,
        evaluations=whole, iterations=whole, status=whole, starts=whole,
    )  # fmt: skip
    return solve_at(model, Newton(), nowhere, np.stack([theta, 0.5 * theta]))


N_THETA = {"(1 + x | g)": 3, "(1 + x + z | g)": 6, "(1 + x | b/a)": 6, "(1 + x | g) + (1 + x | h)": 6,
           "(1 + x | g) + (1 | h)": 4}  # fmt: skip


@pytest.mark.parametrize("structure", STRUCTURES)
def test_estimates_at_a_theta_are_the_dense_ones(structure):
    d = N_THETA.get(structure, len(STRUCTURES[structure]))
    theta = np.linspace(0.4, 1.1, d) * np.where(np.arange(d) % 3 == 1, -1.0, 1.0)
    fitted = at_theta(structure, theta, reml=True)
    for k, seed in enumerate((1, 2)):
        model = random_model(structure, random_frame(seed, 60, levels=8))
        answer = dense_at(model, fitted.model.layout, fitted.theta[k], weighted=True)
        assert fitted.criterion[k] == pytest.approx(answer.reml, rel=1e-10)
        np.testing.assert_allclose(fitted.beta[k], answer.beta, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(fitted.vcov[k], answer.vcov_reml, rtol=1e-8, atol=1e-12)
        assert fitted.sigma[k] == pytest.approx(answer.sigma_reml, rel=1e-10)
        for i, term in enumerate(fitted.model.layout.terms):
            found = fitted.modes(i)
            present = np.isin(fitted.model.layout.factors[term.factor].levels, present_levels(model, term.group))
            np.testing.assert_allclose(found.modes[k][present], answer.modes[i], rtol=1e-8, atol=1e-10)
            wanted = answer.variances_over_sigma2[i] * answer.sigma_reml**2
            np.testing.assert_allclose(found.variances[k][present], wanted, rtol=1e-8, atol=1e-11)
            # a level that this data set lacks: mode 0, prior variance
            absent = int((~present).sum())
            prior = np.broadcast_to(fitted.covariance(i)[k], (absent, term.q, term.q))
            np.testing.assert_array_equal(found.modes[k][~present], np.zeros((absent, term.q)))
            np.testing.assert_allclose(found.variances[k][~present], prior, rtol=1e-12)


def present_levels(model, group: str) -> list[str]:
    columns = group.replace("(", "").replace(")", "").split(":")
    return sorted({":".join(parts) for parts in model.frame[columns].itertuples(index=False)})


@pytest.mark.parametrize("structure", ["(1 + x | g)", "(1 | b/a)", "(1 | g) + (1 | h)"])
def test_ml_estimates_divide_by_n(structure):
    d = N_THETA.get(structure, len(STRUCTURES[structure]))
    fitted = at_theta(structure, np.full(d, 0.7), reml=False)
    answer = dense_at(
        random_model(structure, random_frame(1, 60, levels=8)), fitted.model.layout, fitted.theta[0], weighted=True
    )
    assert fitted.criterion[0] == pytest.approx(answer.ml, rel=1e-10)
    assert fitted.sigma[0] == pytest.approx(answer.sigma_ml, rel=1e-10)
    np.testing.assert_allclose(fitted.vcov[0], answer.vcov_ml, rtol=1e-8, atol=1e-12)
