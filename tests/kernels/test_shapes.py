"""The tests check the shapes that kernels and pooling promise."""

from __future__ import annotations

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from remlax.kernels.dense import CrossedParts, CrossedStructure, scale_parts
from remlax.kernels.small import solve_lower
from remlax.kernels.theta import ThetaMap, canonical_theta
from remlax.pooling.rubin import center

ONE = ThetaMap((1, 1), (0, 1), (0, 0), (0, 0))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="right"):
        solve_lower(jnp.eye(2), jnp.ones((3, 1)))
    with pytest.raises(jaxtyping.TypeCheckError, match="values"):
        center(np.ones(3))


def test_records_are_looked_into() -> None:
    structure = CrossedStructure(ONE, (4, 3), 1)
    good = CrossedParts(jnp.eye(3), jnp.ones((3, 2)), jnp.eye(2))
    assert scale_parts(good, (jnp.eye(1),), structure).block.shape == (3, 3)
    with pytest.raises(jaxtyping.TypeCheckError, match="parts"):
        scale_parts(good._replace(m=jnp.eye(3)), (jnp.eye(1),), structure)


def test_other_numbers_are_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="theta"):
        canonical_theta(np.array([1, 1]), ONE)
