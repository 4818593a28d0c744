"""The criterion from moments against the dense one, patient by patient, with derivatives; where searches begin."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from mmrm_cases import dense_criterion, patients, slopes, trial

from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.fitting.mmrm.fit import assemble_mmrm
from remlax.fitting.mmrm.formula import parse_mmrm
from remlax.mmrm.criterion import deviance_given, evaluate
from remlax.mmrm.optimum import moment_start
from remlax.mmrm.parameters import LINEAR, sas_parameters, scaled_parameters
from remlax.mmrm.problem import Mmrm
from remlax.mmrm.structures import STRUCTURES, covariance, n_parameters, start


def problem_of(
    formula: str, data: pd.DataFrame, weights: str | None = None, *, reml: bool = True
) -> tuple[Mmrm, float]:
    """One data set as the kernels take it, and the unit of its response."""
    rows = read_rows(parse_mmrm(formula).with_factors, ImputedData((data,), (1,)), weights=weights)
    model, _ = assemble_mmrm(rows, reml=reml)
    problem: Mmrm = jax.tree.map(np.asarray, model.batch.one(0))  # type: ignore[assignment]
    return problem, float(model.y_scale[0])


CASES = [(name, True) for name in STRUCTURES] + [("us", False)]


@pytest.mark.parametrize(("structure", "reml"), CASES)
def test_derivatives_are_those_of_the_dense_criterion(structure: str, reml: bool) -> None:
    data = trial()
    x = np.column_stack([np.ones(len(data)), data["x"], data["arm"] == "b"]).astype(float)
    rows = patients(data, x, data["w"].to_numpy())
    with jax.enable_x64(True):
        problem, scale = problem_of(f"y ~ x + arm + {structure}(visit | id)", data, "w", reml=reml)
        sigma = jax.jit(lambda at: covariance(at, structure, 3))
        at_phi = jax.jit(lambda at: evaluate(at, problem))
        phi = np.random.default_rng(2).normal(size=n_parameters(structure, 3)) * 0.4
        found = at_phi(phi)[0]

        def dense(at: np.ndarray) -> float:
            return dense_criterion(np.asarray(sigma(at)) * scale**2, rows, 3, reml=reml)[0]

        np.testing.assert_allclose(found.value, dense(phi), rtol=1e-11)
        np.testing.assert_allclose(found.grad, slopes(dense, phi), rtol=1e-6, atol=1e-6)
        hess = slopes(lambda at: at_phi(at)[0].grad, phi)
        moved = slopes(lambda at: at_phi(at)[1].cov, phi)
        own = at_phi(phi)[1].moved()
    np.testing.assert_allclose(found.hess, hess, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(own, moved, rtol=1e-6, atol=1e-8)


def test_groups_have_their_own_parameters() -> None:
    data = trial()
    rows = patients(data, np.column_stack([np.ones(len(data)), data["x"]]))
    with jax.enable_x64(True):
        problem, scale = problem_of("y ~ x + ar1h(visit | arm / id)", data)
        sigma = jax.jit(lambda at: covariance(at, "ar1h", 3))
        at_phi = jax.jit(lambda at: evaluate(at, problem))
        phi = np.random.default_rng(3).normal(size=8) * 0.4
        found = at_phi(phi)[0]

        def dense(at: np.ndarray) -> float:
            own = {arm: np.asarray(sigma(at[4 * g : 4 * g + 4])) * scale**2 for g, arm in enumerate("ab")}
            return dense_criterion(own, rows, 2, reml=True)[0]

        np.testing.assert_allclose(found.value, dense(phi), rtol=1e-11)
        np.testing.assert_allclose(found.grad, slopes(dense, phi), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found.hess, slopes(lambda at: at_phi(at)[0].grad, phi), rtol=1e-6, atol=1e-6)


def test_deviance_at_given_parameters() -> None:
    data = trial()
    x = np.column_stack([np.ones(len(data)), data["x"]])
    with jax.enable_x64(True):
        problem, scale = problem_of("y ~ x + us(visit | id)", data, reml=False)
        phi = np.array([0.1, -0.2, 0.3, 0.2, 0.1, -0.3])
        value, coefficients = jax.jit(lambda at: evaluate(at, problem))(phi)
        sigma = np.asarray(covariance(phi, "us", 3))
        at = deviance_given(sigma[None], coefficients.gamma, problem)
        dense = dense_criterion(sigma * scale**2, patients(data, x), 2, reml=False)[0]
    np.testing.assert_allclose(at, value.value, rtol=1e-12)
    np.testing.assert_allclose(at, dense, rtol=1e-11)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_start_returns_a_covariance_of_its_structure(structure: str) -> None:
    with jax.enable_x64(True):
        phi = np.random.default_rng(4).normal(size=n_parameters(structure, 4)) * 0.3
        sigma = np.asarray(covariance(phi, structure, 4))
        again = np.asarray(covariance(start(sigma, np.full((4, 4), 9.0), np.ones(()), structure), structure, 4))
        scaled = np.asarray(scaled_parameters(sigma, structure))
        natural = np.asarray(sas_parameters(sigma, structure))
    assert np.linalg.eigvalsh(sigma)[0] > 0
    np.testing.assert_allclose(again, sigma, rtol=1e-8, atol=1e-10)
    assert len(scaled) == len(natural) == len(phi)
    assert structure not in LINEAR or structure == "cs" or np.isclose(natural[0], sigma[0, 0])


@pytest.mark.parametrize("structure", ["us", "csh", "toep"])
def test_a_start_is_positive_definite_where_moments_are_not(structure: str) -> None:
    moments = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    with jax.enable_x64(True):
        sigma = jax.jit(lambda by: covariance(start(moments, np.full((3, 3), 5.0), by, structure), structure, 3))
        for spread in (1.0, 0.2, 3.0):
            assert np.linalg.eigvalsh(np.asarray(sigma(np.array(spread))))[0] > 0


def test_the_start_is_the_optimum_of_complete_data() -> None:
    data = trial(missing=0.0)
    with jax.enable_x64(True):
        problem, _ = problem_of("y ~ visit * x + us(visit | id)", data, reml=False)
        phi = jax.jit(lambda at: moment_start(at, problem))(np.ones(()))
        found = jax.jit(lambda at: evaluate(at, problem))(phi)[0]
    np.testing.assert_allclose(found.grad, 0.0, atol=1e-9)
