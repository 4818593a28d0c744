"""The cost of one evaluation as docs/performance.md gives it, against what XLA counts in the compiled program."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
import pytest

from remlax.kernels import criterion
from remlax.kernels.nested import Nested
from remlax.kernels.problem import CrossProducts, Structure
from remlax.kernels.theta import ThetaMap

N_SETS = 4


def model(q: int, p: int, levels: int) -> tuple[float, float]:
    """Flops of an evaluation with gradient and Hessian, and bytes of the cross-products that it reads, per data set."""
    w = p + 1
    flops = levels * (2 * q**2 * w**2 + 4 * q * w**2 + 7 * q**2 * w + 2 * q**4 + 4 * q**3)
    return flops, 8 * (levels * (q**2 + q * w) + w**2)


@cache
def counted(q: int, p: int, levels: int) -> tuple[float, float]:
    row, col = np.tril_indices(q)
    theta_map = ThetaMap((q,), (0,) * len(row), tuple(map(int, row)), tuple(map(int, col)))
    structure, w = Structure(theta_map, (levels,), p), p + 1

    def leaf(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((N_SETS, *shape), np.float64)

    numbers = {name: leaf() for name in ("n_obs", "n_fixed", "constant", "constant_ml", "log_scale")}
    products = CrossProducts(zz=(leaf(q, q, levels),), zr=(leaf(q, w, levels),), ww=leaf(w, w), **numbers)  # type: ignore[arg-type]

    def one(theta: jax.Array, own: CrossProducts) -> criterion.Derivatives:
        return criterion.value_grad_hess(theta, Nested(structure, own))

    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(one)).lower(leaf(theta_map.n_theta), products).compile().cost_analysis()
    assert found is not None
    return found["flops"] / N_SETS, found["bytes accessed"] / N_SETS


@pytest.mark.parametrize(("q", "p", "levels"), [(1, 2, 100), (2, 2, 30), (2, 5, 160), (3, 5, 100)])
def test_flops_and_bytes_of_an_evaluation(q: int, p: int, levels: int) -> None:
    flops, bytes_read = model(q, p, levels)
    xla_flops, xla_bytes = counted(q, p, levels)
    # the formula leaves out terms below q^2 w per level and the work on w x w matrices; directions of theta are kept
    # apart longer than it says, which costs flops and saves temporaries
    assert 1.0 < xla_flops / flops < 1.7
    # XLA counts every temporary as if it were read from memory: 12 to 26 times what has to be read
    assert 10 < xla_bytes / bytes_read < 30


def test_cost_is_linear_in_levels() -> None:
    # XLA treats arrays of a few hundred levels in another way than longer ones
    one, two = counted(2, 5, 640), counted(2, 5, 1280)
    assert two[0] / one[0] == pytest.approx(2, rel=0.05)
    # temporaries of the work on w x w matrices do not grow with the levels
    assert two[1] / one[1] == pytest.approx(2, rel=0.1)
