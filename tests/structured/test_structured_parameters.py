"""Lambda of a structure, and the criterion in its parameters: against definitions and differences."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from random_models import assembled
from remlax.kernels.criterion import profiled_deviance
from remlax.kernels.structured.criterion import StructuredCriterion
from remlax.kernels.structured.parameters import CovarianceStructure, ParameterMap
from structured_cases import correlations, frame


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("kind", ["cs", "ar1"])
@pytest.mark.parametrize("q", [2, 3, 5])
def test_factor_is_the_root_of_the_correlation_matrix(kind, q):
    """Between the limits of the angle, at them, and beyond."""
    structure = CovarianceStructure(kind, True)
    low, high = structure.angles(q)
    for angle in [*np.linspace(low, high, 7), low - 0.4, high + 2.0]:
        factor = structure.factor(np.array(angle), q)
        found = factor @ factor.T
        np.testing.assert_allclose(found, correlations(kind, found[1, 0], q), atol=1e-14)
        folded = structure.factor(structure.folded(np.array(angle), q), q)
        np.testing.assert_allclose(folded @ folded.T, found, atol=1e-14)
        assert np.all(np.diag(folded) > -1e-15)
    ends = [structure.factor(np.array(angle), q) for angle in (low, 0.0, high)]
    rho = [(factor @ factor.T)[1, 0] for factor in ends]
    np.testing.assert_allclose(rho, [structure.least(q), 0.0, 1.0], atol=1e-15)


def some_map(structure: CovarianceStructure | None) -> tuple[ParameterMap, jax.Array]:
    layout = assembled("y ~ x + (0 + t | g) + (0 + x | g)", [frame().assign(off=0.0)]).layout
    widths = tuple(term.q for term in layout.terms)
    parameters = ParameterMap(layout.structure.theta_map, tuple(structure if q > 1 else None for q in widths), widths)
    psi = np.where(parameters.diagonal, np.linspace(0.6, 1.1, parameters.n_theta), 0.35)
    return parameters, jnp.asarray(psi)


STRUCTURES = [CovarianceStructure(kind, hom) for kind in ("diag", "cs", "ar1") for hom in (False, True)]


@pytest.mark.parametrize(
    "structure",
    [pytest.param(s, id=s.words, marks=() if s.words == "cs" else pytest.mark.slow) for s in STRUCTURES],
)
def test_derivatives(structure):
    """Gradient and Hessian in psi against differences of the criterion of theta; a term without structure beside it."""
    model = assembled("y ~ x + (0 + t | g) + (0 + x | g)", [frame().assign(off=0.0)])
    parameters, psi = some_map(structure)
    problem, h = model.batch.one(0), 1e-4

    @jax.jit
    def value(at):
        return profiled_deviance(parameters.theta(at), problem)

    found = jax.jit(StructuredCriterion(parameters).derivatives)(psi, problem)
    assert float(found.value) == pytest.approx(float(value(psi)), rel=1e-13)
    steps = h * np.eye(len(psi))
    slope = np.array([(value(psi + e) - value(psi - e)) / (2 * h) for e in steps])
    np.testing.assert_allclose(found.grad, slope, rtol=1e-6, atol=1e-6)
    bent = [[(value(psi + a + b) - value(psi + a - b) - value(psi - a + b) + value(psi - a - b)) / (4 * h * h)
             for a in steps] for b in steps]  # fmt: skip
    np.testing.assert_allclose(found.hess, np.array(bent), rtol=1e-4, atol=1e-4 * np.abs(found.hess).max())


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.words)
def test_slopes_of_the_covariances(structure):
    """Complex steps against differences."""
    parameters, psi = some_map(structure)

    def entries(at: np.ndarray) -> np.ndarray:
        theta, out = parameters.theta(at), []
        for term in parameters.terms:
            col, row = np.triu_indices(term.q)
            lam = np.zeros((term.q, term.q))
            lam[row, col] = theta[slice(*term.theta)]
            out.append((lam @ lam.T)[row, col])
        return np.concatenate(out)

    at, h = np.asarray(psi), 1e-5
    slopes = [(entries(at + e) - entries(at - e)) / (2 * h) for e in h * np.eye(len(at))]
    np.testing.assert_allclose(parameters.covariance_slopes(at), np.transpose(slopes), atol=1e-9)


def test_canonical_psi_has_the_same_covariance():
    """Whatever the signs of equal SDs and the turns of the angle."""
    parameters, psi = some_map(CovarianceStructure("cs", True))
    other = np.asarray(psi)[None] * np.where(parameters.diagonal, -1.0, 1.0)
    other[0, 1] += 2 * np.pi
    canonical = parameters.canonical(other)
    np.testing.assert_allclose(canonical[0], psi, rtol=1e-12)
