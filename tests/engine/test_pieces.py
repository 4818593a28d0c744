"""Small functions of the core, each against what its definition says."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dense_model import DenseTerm, dense, lower
from remlax import core
from remlax.engine.batch import MAX_CHUNK, Batch, chunk_size
from remlax.engine.conditioning import aliased_columns
from remlax.engine.fit import take_better
from remlax.kernels.cross_products import nested_tables
from remlax.kernels.nested import Nested
from remlax.kernels.newton import CONVERGED, MAX_ITER, SADDLE, Optimum
from remlax.kernels.posterior import _noise
from remlax.kernels.problem import CrossProducts, Structure
from remlax.kernels.restarts import next_start
from remlax.kernels.row_products import RowLayout, finished_rows, row_products
from remlax.kernels.theta import ThetaMap, reversed_columns


def test_aliased_columns_are_the_later_ones() -> None:
    rng = np.random.default_rng(1)
    a, b, noise = rng.normal(size=(3, 40))
    one, nothing = np.ones(40), np.zeros(40)
    assert aliased_columns(np.stack([one, nothing, a, a + 3, b, a - 2 * b], axis=1)) == [1, 3, 5]
    # the tolerance is that of R's qr, relative to the length of each column
    nearly = 1e8 * (a + 2 * np.linalg.norm(a) / np.linalg.norm(noise) * np.outer([1e-8, 1e-6], noise))
    assert aliased_columns(np.stack([one, a, nearly[0]], axis=1)) == [2]
    assert aliased_columns(np.stack([one, a, nearly[1]], axis=1)) == []
    # more columns than rows
    assert aliased_columns(rng.normal(size=(3, 5))) == [3, 4]


def test_products_of_reversed_columns_are_those_of_reordered_columns() -> None:
    rng = np.random.default_rng(2)
    map_ = ThetaMap(q=(3, 2), factor=(0,) * 4 + (1,) * 3, row=(0, 1, 1, 2, 0, 1, 1), col=(0, 0, 1, 2, 0, 0, 1))
    orders = [reversed_columns(map_, f) for f in (0, 1)]
    assert [order.tolist() for order in orders] == [[1, 0, 2], [1, 0]]
    z, w = (rng.normal(size=(20, 3)), rng.normal(size=(20, 2))), rng.normal(size=(20, 4))

    def products(z: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        zz = [np.einsum("ni,nj->ij", part, part)[None, ..., None] for part in z]
        rights = [np.concatenate([z[1], w], axis=1), w]
        return zz, [np.einsum("ni,nj->ij", part, right)[None, ..., None] for part, right in zip(z, rights, strict=True)]

    zz, zr = products(z)
    given = CrossProducts(**dict.fromkeys(CrossProducts.__dataclass_fields__) | {"zz": tuple(zz), "zr": tuple(zr)})
    reverse = Nested(Structure(map_, (1, 1), 3), given).reversed().products
    zz, zr = products(tuple(part[:, order] for part, order in zip(z, orders, strict=True)))
    for found, wanted in zip([*reverse.zz, *reverse.zr], [*zz, *zr], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


def fits(value: list[float], status: list[int], theta: np.ndarray | None = None) -> Optimum:
    m = len(value)
    hess = np.tile(np.diag([4.0, -1.0, 2.0]), (m, 1, 1))
    theta = np.zeros((m, 3)) if theta is None else theta
    whole = np.full(m, 5)
    return Optimum(theta, np.array(value), np.zeros((m, 3)), hess, np.zeros(m), whole, whole, np.array(status), whole)


def test_another_start_leaves_a_saddle_or_lies_elsewhere() -> None:
    best = fits([1.0, 1.0, 1.0], [MAX_ITER, SADDLE, MAX_ITER], np.array([[1.0, 2, 3], [1, 2, 3], [np.nan] * 3]))
    theta_map = ThetaMap((2,), (0, 0, 0), (0, 1, 1), (0, 0, 1))
    unit = theta_map.start()
    for attempt in range(3):
        tries = np.full(3, attempt + 1)
        found = next_start(best, tries, np.linalg.eigh(best.hess), theta_map)
        ratio = found[0][unit > 0] / unit[unit > 0]
        assert ratio[0] == ratio[1]
        assert found[0][1] == 0
        assert [0.01 < ratio[0] < 0.1, ratio[0] > 5, 0.1 < ratio[0] < 0.9][attempt]
        # downhill on both sides of the saddle, farther every time
        step = found[1] - [1, 2, 3]
        assert np.abs(step[1]) == pytest.approx(0.2 * (attempt + 1))
        assert step[[0, 2]].tolist() == [0, 0]


def test_the_better_of_two_fits_is_kept() -> None:
    nan, ok, no = np.nan, CONVERGED, MAX_ITER
    cases = [
        # before, after: value and status of each; is the second one kept?
        (10.0, ok, 9.0, ok, True),
        (10.0, ok, 10.0 - 1e-13, ok, False),
        (10.0, ok, 9.0, no, False),
        (10.0, no, 10.0 + 1e-7, ok, True),
        (10.0, no, 10.1, ok, False),
        (10.0, no, 9.0, no, True),
        (10.0, no, 11.0, no, False),
        (nan, no, 11.0, no, True),
        (nan, no, 11.0, ok, True),
        (10.0, ok, nan, no, False),
        (np.inf, no, np.inf, no, False),
    ]
    value, status, other_value, other_status, kept = map(list, zip(*cases, strict=True))
    best = fits([0.0, *value], [ok, *status])
    which = np.arange(1, len(cases) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = take_better(best, which, fits(other_value, other_status, np.ones((len(cases), 3))))
    assert (after.theta[1:, 0] == 1).tolist() == kept
    assert after.theta[0, 0] == 0
    assert after.starts.tolist() == [5] + [6] * len(cases)
    assert after.evaluations.tolist() == [5] + [10] * len(cases)


@pytest.mark.parametrize("reml", [pytest.param(True, marks=pytest.mark.slow), False])
def test_weighted_cross_products_give_the_dense_criterion(reml: bool) -> None:
    """A row of weight 0 does not count."""
    rng = np.random.default_rng(4)
    x = np.stack([np.ones(40), rng.normal(size=40)], axis=1)
    z, y, codes = x.copy(), 3 + x[:, 1] + rng.normal(size=40), rng.integers(0, 6, 40)
    weights = np.where(np.arange(40) % 8 == 3, 0.0, rng.uniform(0.2, 3, 40))
    structure = core.Structure(core.ThetaMap((2,), (0,) * 3, (0, 1, 1), (0, 0, 1)), (6,), 2, reml=reml)
    theta = np.array([0.8, -0.3, 0.5])
    with jax.enable_x64(True):
        products, rotation = core.cross_products(
            jnp.asarray(x), jnp.asarray(y), (jnp.asarray(z),), (jnp.asarray(codes),), structure, jnp.asarray(weights)
        )
        problem = core.Nested(structure, products)
        found = float(core.profiled_deviance(jnp.asarray(theta), problem))
        by_reml = float(core.reml_criterion(jnp.asarray(theta), problem))
    kept = weights > 0
    root = np.sqrt(weights[kept])
    answer = dense(x[kept], y[kept], [DenseTerm(z[kept], codes[kept], 6)], [lower(theta, 2)], weights[kept])
    assert found == pytest.approx(answer.reml if reml else answer.ml, rel=1e-12)
    assert by_reml == pytest.approx(answer.reml, rel=1e-12)
    ols = np.linalg.lstsq(x[kept] * root[:, None], y[kept] * root, rcond=None)[0]
    np.testing.assert_allclose(rotation.ols, ols, rtol=1e-11)


@pytest.mark.parametrize("layout", ["level by level", "mixed"])
def test_products_by_layout_are_those_of_the_rows(layout: str) -> None:
    """Whatever the order of rows; one that is absent does not count, whatever stands in it."""
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(8), 5)
    if layout == "mixed":
        codes = rng.permutation(codes)
    upper = codes // 4
    x = np.stack([np.ones(40), rng.normal(size=40)], axis=1)
    y, present = 2 + x[:, 1] + rng.normal(size=40), np.arange(40) % 9 != 4
    theta_map = core.ThetaMap((2, 1), (0, 0, 0, 1), (0, 1, 1, 0), (0, 0, 1, 0))
    structure = core.Structure(theta_map, (8, 2), 2)
    rows = RowLayout(nested_tables(structure), (5, 20) if layout == "level by level" else (0, 0))
    with jax.enable_x64(True):
        levels = (jnp.asarray(codes), jnp.asarray(upper))
        whole = [jnp.asarray(np.where(present[:, None], x, np.nan)), jnp.asarray(np.where(present, y, np.inf))]
        z = (whole[0], whole[0][:, :1])
        found = row_products(finished_rows(*whole, z, jnp.asarray(present), levels, structure, rows), structure)
        wanted, rotation = core.cross_products(
            jnp.asarray(x), jnp.asarray(y), (jnp.asarray(x), jnp.asarray(x[:, :1])), levels, structure,
            jnp.asarray(present, float),
        )  # fmt: skip
    for a, b in zip(
        jax.tree.leaves((found.products, found.rotation)), jax.tree.leaves((wanted, rotation)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    assert 0 < float(found.pivot) <= 1


@pytest.mark.parametrize(("n_sets", "threads"), [(5, 2), (700, 2), (1025, 1), (4096, 4), (100_000, 2)])
def test_chunks_are_equal_shares_that_fit(n_sets: int, threads: int) -> None:
    """Few more places than data sets, and as many chunks as threads once there is work for them."""
    leaf = np.zeros((n_sets, 40))
    structure = core.Structure(core.ThetaMap((1,), (0,), (0,), (0,)), (3,), 1)
    given = CrossProducts(**dict.fromkeys(CrossProducts.__dataclass_fields__) | {"n_obs": leaf[:, 0], "ww": leaf})
    batch = Batch(Nested(structure, given))
    size = chunk_size(batch, threads)
    chunks = -(-n_sets // size)
    assert size <= MAX_CHUNK
    assert size * chunks < n_sets * 1.25 + 1
    assert chunks == 1 if n_sets < 10 else chunks >= threads
    if n_sets > 2 * threads * MAX_CHUNK:
        assert size > MAX_CHUNK / 2
    assert chunk_size(batch, threads, some=True).bit_count() == 1


def test_groups_and_new_levels_have_draws_of_their_own() -> None:
    structure = core.Structure(core.ThetaMap((1, 1), (0, 1), (0, 0), (0, 0)), (4, 4), 4)
    noise = _noise(jax.random.key(1), 3, (4, 4), structure, jnp.float32)
    drawn = np.concatenate([np.ravel(part) for part in (noise.gamma, *noise.effects, *noise.new)])
    assert len(np.unique(drawn)) == len(drawn) == 3 * 4 * 5
