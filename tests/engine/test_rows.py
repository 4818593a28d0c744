"""Cross-products of many data sets in one pass, against sums over the rows of each."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from remlax.engine import conditioning
from remlax.engine import rows as summing
from remlax.engine.conditioning import Conditioned, condition_rows
from remlax.engine.rows import HostColumns
from remlax.kernels.cross_products import Table

LEVELS = 7
TABLES = (Table(0, (0, 1), True, LEVELS + 1), Table(1, (1,), True, 3))
Q = (2, 1)
SCALE = (np.array([1.0, 2.0]), np.array([0.5]))


def make(seed: int, sizes: list[int], *, weighted: bool = False, ordered: bool = False) -> HostColumns:
    """Data sets of their own rows; the second factor is coarser than the first."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    x = (np.ones(n), rng.normal(size=n) + 50, rng.normal(size=n))
    codes = rng.integers(0, LEVELS, n)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    if ordered:
        for a, b in itertools.pairwise(offsets):
            codes[a:b].sort()
    return HostColumns(
        offsets, x, x[1] * 0.3 + rng.normal(size=n) + 1000, ((x[0], x[1]), (x[0],)), SCALE,
        (codes.astype(np.int32), (codes % 3).astype(np.int32)), rng.uniform(0.5, 2, n) if weighted else None,
    )  # fmt: skip


def check(rows: HostColumns, found: Conditioned | None, tol: float = 1e-9) -> None:
    assert found is not None
    for k in range(rows.n_sets):
        one = rows.one(k)
        omega = np.ones(len(one.y)) if one.weights is None else one.weights
        x = np.stack(one.x, axis=1)
        size = np.linalg.norm(x, axis=0)
        beta = np.linalg.lstsq(x / size * np.sqrt(omega)[:, None], one.y * np.sqrt(omega), rcond=None)[0] / size
        # coefficients of columns of unit length; atol: rounding of a response that is far longer than its residuals
        rounding = 1e-14 * np.linalg.norm(one.y)
        np.testing.assert_allclose(found.rotation.ols[k] * size, beta * size, rtol=1e-7, atol=rounding)
        residual = one.y - x @ found.rotation.ols[k]
        assert found.rotation.y_scale[k] == pytest.approx(np.sqrt(np.mean(omega * residual**2)), rel=tol)
        w = np.column_stack([x @ found.rotation.inverse[k], residual / found.rotation.y_scale[k]])
        np.testing.assert_allclose(found.ww[k], (w * omega[:, None]).T @ w, atol=tol * len(w))
        np.testing.assert_allclose(found.ww[k][:-1, :-1], np.eye(x.shape[1]), atol=tol)
        log_det = 2 * np.sum(np.log(np.abs(np.diag(np.linalg.qr(x * np.sqrt(omega)[:, None])[1]))))
        assert found.rotation.log_det[k] == pytest.approx(log_det, rel=tol)
        assert found.log_w[k] == pytest.approx(np.sum(np.log(omega)), abs=1e-10)
        z = [np.stack(columns, axis=1) / scale for columns, scale in zip(one.z, one.z_scale, strict=True)]
        for table, codes, cube in zip(TABLES, one.codes, found.cubes, strict=True):
            right = np.concatenate([*(z[g] for g in table.rights), w], axis=1)
            for level in range(table.size):
                here = codes == level
                dense = (z[table.left][here] * omega[here, None]).T @ right[here]
                np.testing.assert_allclose(cube[k, :, :, level], dense, atol=tol * len(w) * np.abs(right).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", [[60], [60, 60, 60, 60], [40, 75, 61]])
@pytest.mark.parametrize(("per_chunk", "ordered"), [(1000, False), (150, True), (64, False), (16, True), (16, False)])
def test_tables_are_sums_over_rows(monkeypatch, sizes, weighted, per_chunk, ordered):
    monkeypatch.setattr(summing, "ROWS_PER_CHUNK", per_chunk)
    monkeypatch.setattr(summing, "ROWS_PER_PIECE", per_chunk)
    monkeypatch.setattr(conditioning, "ROWS_PER_PIECE", per_chunk)
    rows = make(1, sizes, weighted=weighted, ordered=ordered)
    check(rows, condition_rows(rows, TABLES, Q))


def test_columns_and_codes_that_all_share():
    rows = make(2, [50, 50, 50])
    first = rows.one(0)
    shared = HostColumns(
        rows.offsets, (first.x[0], rows.x[1], first.x[2]), rows.y, ((first.x[0], rows.x[1]), (first.x[0],)), SCALE,
        first.codes, np.linspace(0.5, 2, 50),
    )  # fmt: skip
    check(shared, condition_rows(shared, TABLES, Q))


def test_threads_change_nothing_beyond_rounding(monkeypatch):
    monkeypatch.setattr(summing, "ROWS_PER_CHUNK", 32)
    monkeypatch.setattr(summing, "ROWS_PER_PIECE", 32)
    monkeypatch.setattr(conditioning, "ROWS_PER_PIECE", 32)
    monkeypatch.setattr(summing, "ROWS_PER_THREAD", 20)
    for sizes in ([300], [90, 90, 90], [200, 90]):
        rows = make(3, sizes, weighted=True)
        check(rows, condition_rows(rows, TABLES, Q, threads=3))


def test_data_sets_that_are_not_alike_get_a_rotation_of_their_own():
    """Other units, other correlations, other coefficients, and a data set whose X the cross-products do not settle."""
    rng = np.random.default_rng(5)
    n = 80
    rows = make(4, [n] * 4)
    x1, x2, y = rows.x[1].copy(), rows.x[2].copy(), rows.y.copy()
    x1[n : 2 * n] *= 1e6
    x2[2 * n : 3 * n] = x1[2 * n : 3 * n] + 1e-3 * rng.normal(size=n)
    y[3 * n :] += 1e5 * x1[3 * n :]
    odd = HostColumns(rows.offsets, (rows.x[0], x1, x2), y, ((rows.x[0], x1), (rows.x[0],)), SCALE, rows.codes)
    check(odd, condition_rows(odd, TABLES, Q), tol=3e-8)

    x2[2 * n : 3 * n] = x1[2 * n : 3 * n] + 1e-5 * rng.normal(size=n)
    assert condition_rows(odd, TABLES, Q) is None
    assert condition_rows(odd, TABLES, Q, by_qr=True) is not None
    x2[2 * n : 3 * n] = x1[2 * n : 3 * n]
    assert condition_rows(odd, TABLES, Q) is None


def test_a_batch_is_its_data_sets_one_by_one():
    rows = make(6, [64] * 5, weighted=True)
    batch = condition_rows(rows, TABLES, Q)
    assert batch is not None
    for k in range(5):
        one = condition_rows(rows.one(k), TABLES, Q)
        assert one is not None
        assert one.rotation.y_scale[0] == pytest.approx(batch.rotation.y_scale[k], rel=1e-13)
        assert one.rotation.log_det[0] == pytest.approx(batch.rotation.log_det[k], rel=1e-13)
        # W is the same up to an orthogonal turn of X's part; what does not depend on it is equal
        np.testing.assert_allclose(one.cubes[0][0, :, :3], batch.cubes[0][k, :, :3], rtol=1e-12)
        np.testing.assert_allclose(one.cubes[0][0, :, -1], batch.cubes[0][k, :, -1], atol=1e-10)


@pytest.mark.parametrize("high", [100, 2**15, 2**16 + 5, 2**24, 2**35])
def test_codes_of_any_size_are_sorted_stably(high):
    labels = np.random.default_rng(1).integers(0, high, 500)
    labels[:7] = high - 1
    np.testing.assert_array_equal(summing._order(labels), np.argsort(labels, kind="stable"))
