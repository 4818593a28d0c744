"""Problems with one parameter held: what is held has its value, and the deviance is that of n x n algebra."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from random_models import random_frame, random_model
from remlax.inference.constrained import ConstrainedFits, parameters_of
from remlax.kernels.held import held_derivatives, held_deviance


@pytest.fixture(scope="module", params=["(1 + x + z | g)", "(1 + x | g) + (1 | h)"])
def case(request):
    frame = random_frame(3, 60, levels=8)
    model = random_model(request.param, frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rx.SingularFitWarning)
        return model, rx.lmer(model.formula, frame, weights="w", offset="off")


def dense_deviance(model, fit, covariances, sigma, held):
    """-2 log-likelihood at given covariances and sigma, coefficients at their best, one of them held where asked."""
    v = sigma**2 * np.diag(1 / model.frame["w"].to_numpy())
    for term, covariance in zip(fit.selection.model.layout.terms, covariances, strict=True):
        dense = model.term(term.group, term.names)
        v = v + dense.wide() @ np.kron(np.eye(dense.n_levels), covariance) @ dense.wide().T
    x, y = model.x, model.y
    if held is not None:
        j, value = held
        y, x = y - x[:, j] * value, np.delete(x, j, axis=1)
    inverse = np.linalg.inv(v)
    e = y - x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
    return np.linalg.slogdet(v)[1] + e @ inverse @ e


def test_every_parameter_is_held_where_it_is_asked(case):
    model, fit = case
    stack = ConstrainedFits(fit.selection)
    terms = fit.selection.model.layout.terms
    rng = np.random.default_rng(1)
    ours, dense = [], []
    values = {"sd": 0.7, "cor": -0.4, "sigma": 1.3, "beta": 0.9}
    problem = stack.batch.one(0)
    for parameter in [None, *parameters_of(fit.selection.fitted)]:
        value = 0.0 if parameter is None else values[parameter.kind]
        held = stack.held((0, parameter, value), 0.1)
        at = held.start + held.free * rng.normal(scale=0.3, size=len(held.start))
        with jax.enable_x64(True):
            ours.append(float(held_deviance(at, held, problem)))
        sigma = np.exp(at[-1]) * stack.scale[0]
        entries = np.where(held.square > 0, at**2, at)[:-1]
        covariances = []
        for term in terms:
            c = np.einsum("a,aij->ij", entries, held.maps[term.factor])[term.columns, term.columns]
            unit = stack.scale[0] / stack.z_scale(term)
            covariances.append(c @ c.T * np.outer(unit, unit))
        kind = None if parameter is None else parameter.kind
        if kind in ("sd", "cor"):
            size = np.sqrt(np.diag(covariances[parameter.term]))
            if kind == "sd":
                assert_allclose(size[parameter.a], value)
            else:
                found = covariances[parameter.term][parameter.a, parameter.b] / (size[parameter.a] * size[parameter.b])
                assert_allclose(found, value, rtol=1e-10)
        elif kind == "sigma":
            assert_allclose(sigma, value)
        beta = (parameter.a, value) if kind == "beta" else None
        dense.append(dense_deviance(model, fit, covariances, sigma, beta))
    # constants apart
    assert_allclose(np.array(ours) - ours[0], np.array(dense) - dense[0], rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_derivatives_are_those_of_automatic_differentiation(case):
    _, fit = case
    stack = ConstrainedFits(fit.selection)
    problem = stack.batch.one(0)
    rng = np.random.default_rng(2)
    values = {"sd": 0.7, "cor": -0.4, "sigma": 1.3, "beta": 0.9}
    with jax.enable_x64(True):
        plain = jax.jit(lambda at, held: _value_grad_hess(at, held, problem))
        exact = jax.jit(lambda at, held: held_derivatives(at, held, problem))
        for parameter in [None, *parameters_of(fit.selection.fitted)]:
            held = stack.held((0, parameter, 0.0 if parameter is None else values[parameter.kind]), 0.1)
            at = held.start + held.free * rng.normal(scale=0.3, size=len(held.start))
            for a, b in zip(exact(at, held), plain(at, held), strict=True):
                assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())


@pytest.mark.parametrize("case", ["(1 + x + z | g)"], indirect=True)
def test_derivatives_of_one_factor_are_differences(case):
    """Gradient against differences of the deviance, Hessian against those of the gradient; a correlation is held."""
    _, fit = case
    stack = ConstrainedFits(fit.selection)
    problem = stack.batch.one(0)
    parameter = next(one for one in parameters_of(fit.selection.fitted) if one.kind == "cor")
    held = stack.held((0, parameter, -0.4), 0.1)
    at = held.start + held.free * np.random.default_rng(2).normal(scale=0.3, size=len(held.start))
    assert held.square.any()
    assert abs(at[-1]) > 0.05
    with jax.enable_x64(True):
        exact = jax.jit(lambda at, held: held_derivatives(at, held, problem))
        near = [[exact(at + h * e, held) for h in (-2e-3, -1e-3, 1e-3, 2e-3)] for e in np.eye(len(at))]
        found = exact(at, held)
    for ours, name in ((found.grad, "value"), (found.hess, "grad")):
        below, low, high, above = (np.stack([getattr(row[i], name) for row in near]) for i in range(4))
        slope = (8 * (high - low) - (above - below)) / 12e-3
        assert_allclose(ours, slope, rtol=1e-6, atol=1e-7 * np.abs(slope).max())


def _value_grad_hess(at, held, problem):
    def deviance(t):
        return held_deviance(t, held, problem)

    return deviance(at), jax.grad(deviance)(at), jax.hessian(deviance)(at)
