"""Directions of variances and covariances that leave the marginal covariance as it is, found from the design."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from ..engine.pairs import find_cells
from ..kernels.structured.parameters import ParameterMap
from ..kernels.theta import ThetaMap
from .assemble import Assembled, z_columns
from .redundancy import Redundancies, Redundancy
from .unseen import add_unseen

# eigenvalue of the Gram matrix, of derivatives of unit length: of a tie where the rows were read, and of a data set
# whose rows have to be read
TIED, SUSPICIOUS = 1e-10, 1e-6
# pivot of columns of unit length: below the first they are combinations of each other, below the second cross-products
# have lost too many digits
COLLINEAR, ILL_CONDITIONED = 1e-12, 1e-4
# angle of a correlation that is at no limit
INSIDE = 0.3
# rounding error of a null vector, in units of that of a number over the least other eigenvalue
ROUNDING = 1e4 * np.finfo(float).eps
Products = dict[tuple[int, int], np.ndarray]


def find_redundancies(model: Assembled, *, has_sigma: bool = True) -> Redundancies:
    """Find the undetermined directions of all data sets.

    Rows are read where the cross-products of the stack leave a doubt, of crossed factors, and where there are no
    cross-products: in generalised models, which have no residual variance (``has_sigma=False``).
    """
    rows, n = model.rows, model.rows.n_sets
    shared = [f.offsets is None for f in rows.factor_rows] + [not term.rows.differs for term in rows.terms]
    shared.append(rows.weights is None or rows.weights.offsets is None)
    which = np.arange(1 if all(shared) else n)
    each: list[Redundancy | None] = [None] * n
    for k in _suspects(model, which, stacked=has_sigma):
        each[k] = _redundancy(model, int(k), has_sigma=has_sigma)
    if all(shared):
        each = each[:1] * n
    return Redundancies(model.layout, tuple(add_unseen(model, each)), has_sigma)


def _suspects(model: Assembled, which: np.ndarray, *, stacked: bool) -> np.ndarray:
    """Data sets whose rows have to be read."""
    rows, structure = model.rows, model.layout.structure
    effects = sum(len(term.names) * rows.factors[term.factor].n_levels for term in rows.terms)
    # without weights, more effects than rows are refused for each term that has no structure
    unchecked = rows.weights is not None or model.layout.parameters is not None
    if unchecked and effects >= min(map(rows.n_rows, which)):
        return which
    if structure.q == (1,):
        return which[:0]
    if stacked and not structure.n_dense:
        least = _least(
            model, *_stack_products(model, which), np.asarray(model.data_batch.problem.products.n_obs)[which]
        )
    elif all(f.offsets is None for f in rows.factor_rows):
        least = _least(model, *_sample_products(model, which))
    else:
        least = np.concatenate([_least(model, *_sample_products(model, which[i : i + 1])) for i in range(len(which))])
    return np.asarray(which[~(least > SUSPICIOUS)])


def _stack_products(model: Assembled, which: np.ndarray) -> tuple[Products, list[np.ndarray]]:
    """Products for nested factors, and z_a'z_b of every factor, from the stack."""
    structure, values, out = model.layout.structure, model.data_batch.problem.products, {}
    for f in range(structure.n_factors):
        start = 0
        for g in range(f, structure.n_factors):
            if g == f:
                block = np.asarray(values.zz[f])[which]
            else:
                block = np.asarray(values.zr[f])[which][:, :, start : start + structure.q[g]]
                start += structure.q[g]
            flat = block.reshape(len(which), block.shape[1] * block.shape[2], -1)
            out[f, g] = flat @ flat.swapaxes(1, 2)
    return out, [np.asarray(zz)[which].sum(axis=3) for zz in values.zz]


def _sample_products(model: Assembled, which: np.ndarray) -> tuple[Products, list[np.ndarray], np.ndarray]:
    """The same, and the numbers of rows, from a few rows of data sets that share the grouping factors."""
    rows, layout = model.rows, model.layout
    use = _sample(model, int(which[0]))
    columns = [np.empty((len(which), len(use), q)) for q in layout.structure.q]
    stacked = rows.offsets[which][:, None] + use
    root = (
        1.0
        if rows.weights is None
        else np.sqrt(rows.weights.values[stacked if rows.weights.offsets is not None else use])
    )
    for term in layout.terms:
        matrix = rows.terms[term.source].rows
        for a, ((own, _), column) in enumerate(zip(matrix.place, matrix.columns(), strict=True)):
            columns[term.factor][:, :, term.start + a] = root * column[stacked if own else use]
    products = _row_products(model, int(which[0]), use, columns)
    return products, [z.swapaxes(1, 2) @ z for z in columns], np.full(len(which), float(len(use)))


def _sample(model: Assembled, k: int) -> np.ndarray:
    """Some rows of the largest levels of every factor: mostly enough to tell all parameters apart."""
    out = []
    for source, q in zip(model.layout.factor_source, model.layout.structure.q, strict=True):
        codes = model.rows.factor_rows[source].of(k)
        for level in np.argsort(-np.bincount(codes), kind="stable")[: q * (q + 1) // 2 + 3]:
            inside = np.flatnonzero(codes == level)
            out.append(inside[:: -(-len(inside) // (2 * q + 4))])
    return np.unique(np.concatenate(out))


def _least(model: Assembled, products: Products, inner: Sequence[np.ndarray], n_obs: np.ndarray) -> np.ndarray:
    """Least eigenvalue of the Gram matrix of every data set (K,); NaN where digits were lost.

    The columns of every term are brought to an orthonormal basis first.
    """
    structure, bases = model.layout.structure, [np.zeros_like(z) for z in inner]
    well = np.ones(len(n_obs), bool)
    for term in model.layout.terms:
        part = (slice(None), term.columns, term.columns)
        size = np.sqrt(np.diagonal(inner[term.factor][part], axis1=1, axis2=2))
        size = np.where(size > 0, size, 1.0)
        try:
            lower = np.linalg.cholesky(inner[term.factor][part] / (size[:, :, None] * size[:, None, :]))
        except np.linalg.LinAlgError:
            return np.full(len(n_obs), np.nan)
        regular = np.diagonal(lower, axis1=1, axis2=2).min(axis=1) > ILL_CONDITIONED
        well &= regular
        lower[~regular] = np.eye(term.q)
        bases[term.factor][part] = np.linalg.inv(lower).swapaxes(1, 2) / size[:, :, None]
    moved = {}
    for (f, g), m in products.items():
        turn = np.einsum("kac,kbd->kabcd", bases[f], bases[g]).reshape(m.shape)
        moved[f, g] = turn.swapaxes(1, 2) @ m @ turn
    identity = [np.broadcast_to(np.eye(q), (len(n_obs), q, q)) for q in structure.q]
    gram, scale = _gram(structure.theta_map, moved, identity, n_obs)
    least = np.linalg.eigvalsh(gram / (scale[:, :, None] * scale[:, None, :]))[:, 0]
    return np.where(well, least, np.nan)


def _gram(
    theta_map: ThetaMap, products: Products, inner: Sequence[np.ndarray], n_obs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """tr(V_i V_j) of all parameters (K, d + 1, d + 1), and the lengths (K, d + 1) that they could have.

    Parameters
    ----------
    theta_map : ThetaMap
    products : dict
        (K, q_f q_g, q_f q_g) of every pair of factors f <= g: sums over pairs of levels of z_a'z_c z_b'z_d.
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
    for (f, g), flat in products.items():
        q = len(inner[f][0]), len(inner[g][0])
        m = flat.reshape(len(n_obs), *q, *q)
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


def _redundancy(model: Assembled, k: int, *, has_sigma: bool) -> Redundancy | None:
    """Undetermined directions of one data set, from its rows."""
    n = model.rows.n_rows(k)
    columns, root = _orthonormal(model, k)
    products = _row_products(model, k, np.arange(n), [z[None] for z in columns])
    gram, scale = _gram(
        model.layout.structure.theta_map, products, [(z.T @ z)[None] for z in columns], np.array([float(n)])
    )
    used = len(scale[0]) - (not has_sigma)
    unit = gram[0] / (scale[0][:, None] * scale[0])
    if model.layout.parameters is not None:
        within = _structured_directions(model, model.layout.parameters, root / scale[0])
        size, vectors = np.linalg.eigh(within.T @ unit @ within)
        vectors = within @ vectors
    else:
        size, vectors = np.linalg.eigh(unit[:used, :used])
    lost = int(np.count_nonzero(size < TIED))
    null = np.concatenate([vectors[:, :lost], np.zeros((len(scale[0]) - used, lost))])
    return Redundancy(root / scale[0], null, lost, ROUNDING / size[lost]) if lost else None


def _structured_directions(model: Assembled, parameters: ParameterMap, root: np.ndarray) -> np.ndarray:
    """Orthonormal basis (d + 1, m) of where phi can go from a place inside, in coordinates that phi is root times of.

    A term with a covariance structure has fewer parameters than covariances. Whether they are determined is the same in
    almost all places.
    """
    d, m = len(root) - 1, parameters.n_theta
    inside = np.where(parameters.diagonal, np.linspace(1.0, 1.5, m), INSIDE)
    ways = np.zeros((d + 1, m + 1))
    ways[:d, :m], ways[d, m] = parameters.covariance_slopes(inside), 1.0
    for term in model.layout.terms:
        units = model.units[term.factor].outside[term.columns, term.columns]
        ways[term.theta] = congruence(units) @ ways[term.theta]
    ways = np.linalg.solve(root, ways)
    return np.asarray(np.linalg.qr(ways / np.linalg.norm(ways, axis=0))[0])


def _orthonormal(model: Assembled, k: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Columns of every factor with an orthonormal basis in place of each term's, and phi as a function of theirs."""
    rows, layout = model.rows, model.layout
    columns = z_columns(rows, layout, k)
    if rows.weights is not None:
        columns = [z * np.sqrt(rows.weights.of(k))[:, None] for z in columns]
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


def _row_products(model: Assembled, k: int, use: np.ndarray, columns: Sequence[np.ndarray]) -> Products:
    """Products from the columns (K, m, q) of some rows, whose grouping factors are those of one data set."""
    layout, out = model.layout, {}
    codes = [model.rows.factor_rows[source].of(k)[use] for source in layout.factor_source]
    for f, left in enumerate(columns):
        for g in range(f, len(columns)):
            cell = codes[f] if g == f else find_cells(codes[f], codes[g], layout.factors[g].n_levels).codes
            cells = scipy.sparse.csr_array((np.ones(len(use)), cell, np.arange(len(use) + 1)))
            pairs = left[:, :, :, None] * columns[g][:, :, None, :]
            flat = cells.T @ pairs.swapaxes(0, 1).reshape(len(use), -1)
            by_set = flat.reshape(flat.shape[0], len(left), -1).swapaxes(0, 1)
            out[f, g] = by_set.swapaxes(1, 2) @ by_set
    return out
