"""Directions of variances and covariances that leave the marginal covariance as it is, found from the design."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.pairs import find_cells
from ..kernels.theta import ThetaMap
from .assemble import Assembled, z_columns
from .redundancy import Redundancies, Redundancy
from .unseen import hidden_lanes, with_unseen

# eigenvalue of the Gram matrix, of derivatives of unit length: of a tie where the rows were read, and of a data set
# whose rows have to be read
TIED, SUSPICIOUS = 1e-10, 1e-6
# pivot of columns of unit length: below the first they are combinations of each other, below the second cross-products
# have lost too many digits
COLLINEAR, ILL_CONDITIONED = 1e-12, 1e-4
# rounding error of a null vector, in units of that of a number over the least other eigenvalue
ROUNDING = 1e4 * np.finfo(float).eps
Products = dict[tuple[int, int], np.ndarray]


def find_redundancies(model: Assembled) -> Redundancies:
    """Find the undetermined directions of all data sets.

    Rows are read where the cross-products of the stack leave a doubt, and of crossed factors.
    """
    rows, n = model.rows, model.rows.n_lanes
    shared = [f.offsets is None for f in rows.factor_rows] + [not term.rows.differs for term in rows.terms]
    shared.append(rows.weights is None or rows.weights.offsets is None)
    lanes = np.arange(1 if all(shared) else n)
    each: list[Redundancy | None] = [None] * n
    for k in _suspects(model, lanes):
        each[k] = _redundancy(model, int(k))
    if all(shared):
        each = each[:1] * n
    for k in hidden_lanes(model):
        each[k] = with_unseen(model, k, each[k])
    return Redundancies(model.layout, tuple(each))


def _suspects(model: Assembled, lanes: np.ndarray) -> np.ndarray:
    """Data sets whose rows have to be read."""
    rows, structure = model.rows, model.layout.structure
    effects = sum(len(term.names) * rows.factors[term.factor].n_levels for term in rows.terms)
    # without weights, more effects than rows are refused for each term
    if rows.weights is not None and effects >= min(map(rows.n_rows, lanes)):
        return lanes
    if structure.n_dense:
        one = all(f.offsets is None for f in rows.factor_rows)
        samples = [_sample(model, 0)] * len(lanes) if one else [_sample(model, int(k)) for k in lanes]
        least = [_from_rows(model, int(k), use)[0][0] for k, use in zip(lanes, samples, strict=True)]
        return np.asarray(lanes[np.array(least) < SUSPICIOUS])
    if structure.q == (1,):
        return lanes[:0]
    found = _stack_products(model, lanes)
    if found is None:
        return lanes
    products, conditioned = found
    inner = [np.broadcast_to(np.eye(q), (len(lanes), q, q)) for q in structure.q]
    gram, scale = _gram(structure.theta_map, products, inner, np.asarray(model.batch.problem.products.n_obs)[lanes])
    unit = gram / (scale[:, :, None] * scale[:, None, :])
    return np.asarray(lanes[(np.linalg.eigvalsh(unit)[:, 0] < SUSPICIOUS) | ~conditioned])


def _stack_products(model: Assembled, lanes: np.ndarray) -> tuple[Products, np.ndarray] | None:
    """Products for nested factors from the stack, and whether the columns of each data set are well-conditioned (K,).

    The columns of every term are brought to an orthonormal basis; None where one is a combination of others.
    """
    structure, values = model.layout.structure, model.batch.problem.products
    bases, conditioned = [], np.ones(len(lanes), bool)
    for f, q in enumerate(structure.q):
        whole, basis = np.asarray(values.zz[f])[lanes].sum(axis=3), np.zeros((len(lanes), q, q))
        size = np.sqrt(np.diagonal(whole, axis1=1, axis2=2))
        size = np.where(size > 0, size, 1.0)
        for term in model.layout.terms:
            if term.factor == f:
                at = size[:, term.columns]
                unit = whole[:, term.columns, term.columns] / (at[:, :, None] * at[:, None, :])
                try:
                    lower = np.linalg.cholesky(unit)
                except np.linalg.LinAlgError:
                    return None
                well = np.diagonal(lower, axis1=1, axis2=2).min(axis=1) > ILL_CONDITIONED
                conditioned &= well
                lower[~well] = np.eye(term.q)
                basis[:, term.columns, term.columns] = np.linalg.inv(lower).swapaxes(1, 2) / at[:, :, None]
        bases.append(basis)
    out = {}
    for f in range(structure.n_factors):
        start = 0
        for g in range(f, structure.n_factors):
            q = structure.q[g]
            if g == f:
                block = np.asarray(values.zz[f])[lanes]
            else:
                block, start = np.asarray(values.zr[f])[lanes][:, :, start : start + q], start + q
            flat = block.reshape(len(lanes), structure.q[f] * q, -1)
            turn = np.einsum("kac,kbd->kabcd", bases[f], bases[g]).reshape(len(lanes), flat.shape[1], -1)
            moved = turn.swapaxes(1, 2) @ (flat @ flat.swapaxes(1, 2)) @ turn
            out[f, g] = moved.reshape(len(lanes), structure.q[f], q, structure.q[f], q)
    return out, conditioned


def _gram(
    theta_map: ThetaMap, products: Products, inner: Sequence[np.ndarray], n_obs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """tr(V_i V_j) of all parameters (K, d + 1, d + 1), and the lengths (K, d + 1) that they could have.

    Parameters
    ----------
    theta_map : ThetaMap
    products : dict
        (K, q_f, q_g, q_f, q_g) of every pair of factors f <= g: sums over pairs of levels of z_a'z_c z_b'z_d.
    inner : sequence of ndarray (K, q, q)
        z_a'z_b of every factor.
    n_obs : ndarray (K,)
    """
    entries = theta_map.factor, theta_map.row, theta_map.col
    factor, row, col = map(np.asarray, entries)
    r = len(factor)
    out = np.zeros((len(n_obs), r + 1, r + 1))
    # V of a variance is Z_a Z_a', that of a covariance Z_a Z_b' + Z_b Z_a'
    weight = np.where(row == col, 0.5, 1.0)
    for (f, g), m in products.items():
        at, to = np.flatnonzero(factor == f), np.flatnonzero(factor == g)
        left, right = (row[at][:, None], col[at][:, None]), (row[to], col[to])
        both = m[:, left[0], right[0], left[1], right[1]] + m[:, left[1], right[0], left[0], right[1]]
        block = 2 * weight[at][:, None] * weight[to] * both
        out[:, at[:, None], to] = block
        out[:, to[:, None], at] = block.swapaxes(1, 2)
    for i, (f, a, b) in enumerate(zip(*entries, strict=True)):
        out[:, i, -1] = out[:, -1, i] = 2 * weight[i] * inner[f][:, a, b]
    out[:, -1, -1] = n_obs
    own = {(f, a): np.sqrt(out[:, i, i]) for i, (f, a, b) in enumerate(zip(*entries, strict=True)) if a == b}
    size = [np.sqrt(own[f, a] * own[f, b]) for f, a, b in zip(*entries, strict=True)]
    scale = np.stack([*size, np.sqrt(n_obs)], axis=1)
    # a column without a value but zero in a data set
    return out, np.where(scale > 0, scale, 1.0)


def _sample(model: Assembled, lane: int) -> np.ndarray:
    """Some rows of the largest levels of every factor: mostly enough to tell all parameters apart."""
    out = []
    for source, q in zip(model.layout.factor_source, model.layout.structure.q, strict=True):
        codes = model.rows.factor_rows[source].lane(lane)
        for level in np.argsort(-np.bincount(codes), kind="stable")[: q * (q + 1) // 2 + 3]:
            inside = np.flatnonzero(codes == level)
            out.append(inside[:: -(-len(inside) // (2 * q + 4))])
    return np.unique(np.concatenate(out))


def _redundancy(model: Assembled, lane: int) -> Redundancy | None:
    """Undetermined directions of one data set, from its rows."""
    size, vectors, root = _from_rows(model, lane, np.arange(model.rows.n_rows(lane)))
    lost = int(np.count_nonzero(size < TIED))
    return Redundancy(root, vectors[:, :lost], lost, ROUNDING / size[lost]) if lost else None


def _from_rows(model: Assembled, lane: int, use: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of the Gram matrix of some rows, and phi as a function of its coordinates."""
    columns, root = _orthonormal(model, lane, use)
    inner = [(z.T @ z)[None] for z in columns]
    products = _row_products(model, lane, use, columns)
    gram, scale = _gram(model.layout.structure.theta_map, products, inner, np.array([float(len(use))]))
    size, vectors = np.linalg.eigh(gram[0] / (scale[0][:, None] * scale[0]))
    return size, vectors, root / scale[0]


def _orthonormal(model: Assembled, lane: int, use: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Columns of every factor with an orthonormal basis in place of each term's, and phi as a function of theirs."""
    rows, layout = model.rows, model.layout
    columns = [z[use] for z in z_columns(rows, layout, lane)]
    if rows.weights is not None:
        columns = [z * np.sqrt(rows.weights.lane(lane))[use, None] for z in columns]
    out = [np.empty_like(z) for z in columns]
    root = np.eye(layout.structure.theta_map.n_theta + 1)
    for term in layout.terms:
        z = columns[term.factor][:, term.columns]
        size = np.linalg.norm(z, axis=0)
        size = np.where(size > 0, size, 1.0)
        basis, r = np.linalg.qr(z / size)
        if np.abs(np.diag(r)).min() < COLLINEAR:
            basis, r = z / size, np.eye(term.q)
        out[term.factor][:, term.columns] = basis
        root[term.theta, term.theta] = congruence(np.linalg.inv(r * size))
    return out, root


def congruence(matrix: np.ndarray) -> np.ndarray:
    """Map of the lower triangle of a symmetric S, column by column, to that of A S A'."""
    col, row = np.triu_indices(len(matrix))
    once = matrix[row][:, row] * matrix[col][:, col]
    return np.asarray(np.where(row == col, once, once + matrix[row][:, col] * matrix[col][:, row]))


def _row_products(model: Assembled, lane: int, use: np.ndarray, columns: list[np.ndarray]) -> Products:
    layout = model.layout
    codes = [model.rows.factor_rows[source].lane(lane)[use] for source in layout.factor_source]
    out = {}
    for f, left in enumerate(columns):
        for g in range(f, len(columns)):
            right = columns[g]
            cell = codes[f] if g == f else find_cells(codes[f], codes[g], layout.factors[g].n_levels).codes
            pairs = [np.bincount(cell, left[:, a] * c) for a in range(left.shape[1]) for c in right.T]
            flat = np.stack(pairs)
            shape = (1, left.shape[1], right.shape[1], left.shape[1], right.shape[1])
            out[f, g] = (flat @ flat.T).reshape(shape)
    return out
