"""Condition the cross-products of every data set by two rotations.

All data sets are rotated by the conditioning of the first, which makes their columns nearly orthonormal, and each then
by its own cross-products; a data set for which the first rotation does not serve gets one of its own. So the rows of
many data sets are one long table, summed by data set and level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels import cross_products
from ..kernels.cross_products import Conditioning, Rotation, Table
from .rows import ROWS_PER_PIECE, HostColumns, accumulate
from .shapes import host_leaf

# with more digits of a column than this lost to those before it, the cross-products cannot tell: look at the rows
SUSPICIOUS_LOSS = 1e5
ALIASED_PIVOT = 1e-7
# a data set's columns, rotated as the first one's, are nearly orthonormal and its residuals not much too large
CLOSE_PIVOT, CLOSE_RESIDUAL = 0.3, 0.03


@dataclass(frozen=True)
class Conditioned:
    """Finished cross-products of K data sets, before padding.

    ww (K, w, w); cubes per table (K, q, r, size); rotation with a leading axis of data sets; n_obs, log_w (K,).
    """

    ww: np.ndarray
    cubes: tuple[np.ndarray, ...]
    rotation: Rotation
    n_obs: np.ndarray
    log_w: np.ndarray


def aliased_columns(x: np.ndarray, least: float = ALIASED_PIVOT) -> list[int]:
    """Find columns that earlier ones determine, as R's ``qr(tol = 1e-7)`` does: later columns go first.

    Parameters
    ----------
    x : ndarray (n, p)
    least : float
        Smallest length, relative to its own, that columns before it leave of a column that is kept.

    Returns
    -------
    list of int
    """
    norms = np.sqrt(np.einsum("ij,ij->j", x, x))
    keep = [j for j in range(x.shape[1]) if norms[j] > 0]
    scaled = x / np.where(norms > 0, norms, 1.0)
    while keep:
        diagonal = np.abs(np.diag(np.linalg.qr(scaled[:, keep], mode="r")))
        full = np.zeros(len(keep))
        full[: len(diagonal)] = diagonal
        bad = np.flatnonzero(full < least)
        if not len(bad):
            break
        keep.pop(int(bad[0]))
    return sorted(set(range(x.shape[1])) - set(keep))


def condition_rows(
    rows: HostColumns, tables: tuple[Table, ...], q: tuple[int, ...], *, by_qr: bool = False, threads: int = 1
) -> Conditioned | None:
    """Form the conditioned cross-products of all data sets on the host.

    Parameters
    ----------
    by_qr : bool, default False
        Condition by QR of the rows where X'X cannot tell whether X has full rank. Otherwise None comes back.
    threads : int, default 1
        The rows are shared among so many threads.

    Returns
    -------
    Conditioned or None
    """
    first = _conditioning(rows.one(0), by_qr=by_qr)
    if first is None:
        return None
    found, close = _conditioned(rows, first, tables, q, threads)
    # the first data set has its own conditioning already
    for k in (np.flatnonzero(~close[1:]) + 1).tolist():
        own_rows = rows.one(k)
        first = _conditioning(own_rows, by_qr=by_qr)
        if first is None:
            return None
        own, _ = _conditioned(own_rows, first, tables, q, threads)
        for all_sets, one in zip(_arrays(found), _arrays(own), strict=True):
            all_sets[k] = one[0]
    return found


def _arrays(found: Conditioned) -> list[Any]:
    return [found.ww, *found.cubes, *found.rotation]


def _conditioned(
    rows: HostColumns, first: Conditioning, tables: tuple[Table, ...], q: tuple[int, ...], threads: int
) -> tuple[Conditioned, np.ndarray]:
    """Cross-products of all data sets from one first rotation, and for which of them it serves (K,)."""
    raw_ww, raw = accumulate(rows, first, tables, q, threads)
    n_obs = np.diff(rows.offsets).astype(np.float64)
    close = np.array([_factors(ww) for ww in raw_ww]) if not _factors(raw_ww) else np.ones(len(n_obs), bool)
    raw_ww[~close] = np.eye(raw_ww.shape[1])
    second = cross_products.condition(raw_ww, np)
    ww, transform, rotation = cross_products.second_rotation(raw_ww, first, second, n_obs, np)
    left = np.square(rotation.y_scale) * n_obs
    close &= (np.asarray(second.pivot) > CLOSE_PIVOT) & (left > CLOSE_RESIDUAL * raw_ww[:, -1, -1])
    cubes = tuple(_finished(cube, table, transform, rows.z_scale) for cube, table in zip(raw, tables, strict=True))
    return Conditioned(ww, cubes, rotation, n_obs, _log_weights(rows)), close


def _factors(ww: np.ndarray) -> bool:
    """Whether X'X has a Cholesky factor, of all data sets where there are several."""
    try:
        np.linalg.cholesky(ww[..., :-1, :-1])
    except np.linalg.LinAlgError:
        return False
    return True


def _log_weights(rows: HostColumns) -> np.ndarray:
    """Sum of the logarithms of the weights (K,)."""
    if rows.weights is None:
        return np.zeros(rows.n_sets)
    logs = np.log(rows.weights)
    if len(logs) < rows.offsets[-1]:
        return np.full(rows.n_sets, np.sum(logs))
    return np.add.reduceat(logs, rows.offsets[:-1])


def _conditioning(rows: HostColumns, *, by_qr: bool) -> Conditioning | None:
    """Condition by the cross-products of one data set; where they cannot tell, by QR or not at all."""
    gram = _gram_conditioning(rows)
    return gram if gram is not None or not by_qr else _qr_conditioning(rows)


def _gram_conditioning(rows: HostColumns) -> Conditioning | None:
    """Condition by the cross-products; None where they cannot tell whether X has full rank."""
    w, n = len(rows.x) + 1, len(rows.y)
    total = np.zeros((w, w))
    for start in range(0, n, ROWS_PER_PIECE):
        part = slice(start, start + ROWS_PER_PIECE)
        columns = np.stack([column[part] for column in (*rows.x, rows.y)])
        total += columns @ (columns if rows.weights is None else columns * rows.weights[part]).T
    try:
        with np.errstate(invalid="ignore"):  # 0 / 0 of a column of zeros, for which NaN is the answer
            first = cross_products.condition(total, np)
    except np.linalg.LinAlgError:
        return None
    # a column is left with v'X'X v, v its weights on itself and those before it, which rounding knows to eps v'v:
    # a small pivot need not be seen in the last one, as v is large after it
    loss = np.linalg.norm(first.inverse * np.sqrt(np.diag(total))[:-1, None], axis=0)
    # written so that NaN counts as doubtful
    return first if np.max(loss, initial=0.0) < SUSPICIOUS_LOSS else None


def _qr_conditioning(rows: HostColumns) -> Conditioning:
    """Condition by Householder QR of the rows: for X so ill-conditioned that its cross-products are not enough."""
    root = np.ones(len(rows.y)) if rows.weights is None else np.sqrt(rows.weights)
    x, y = np.stack(rows.x, axis=1) * root[:, None], rows.y * root
    scale = np.sqrt(np.einsum("ij,ij->j", x, x))
    basis, r = np.linalg.qr(x / scale)
    inverse = np.linalg.inv(r) / scale[:, None]
    log_det = 2 * np.sum(np.log(np.abs(np.diag(r)) * scale))
    beta = inverse @ (basis.T @ y)
    return Conditioning(host_leaf(inverse), host_leaf(beta), host_leaf(log_det), host_leaf(1.0))


def _finished(raw: np.ndarray, table: Table, transform: np.ndarray, scales: tuple[np.ndarray, ...]) -> np.ndarray:
    """Turn W and scale Z in a table (K, q, r, size), in place."""
    rights = np.concatenate([scales[g] for g in table.rights])
    raw /= scales[table.left][:, None, None]
    raw[:, :, : len(rights)] /= rights[:, None]
    if table.with_w:
        raw[:, :, len(rights) :] = transform.swapaxes(1, 2)[:, None] @ raw[:, :, len(rights) :]
    return raw
