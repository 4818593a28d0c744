"""Fits of a model to responses that share all rows of a design whose levels can be exchanged: see `repeated`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import scipy

from ...engine.batch import Batch, run
from ...engine.shapes import bucket, host_leaf
from ...fitting.assemble import Assembled
from ...fitting.find_redundancy import find_redundancies
from ...fitting.fit import Fitted, fit_assembled
from ...fitting.refit import ResponseProducts, z_matrices
from ...kernels.inference import variance_information
from ...kernels.newton import Newton
from ...kernels.problem import Structure
from .repeated import Repeated, RepeatedBlocks, RepeatedProducts

# effects up to which eigenvectors are worth their time
MOST_EFFECTS = 1024
# order of a block, and kinds of blocks, up to which the short way is taken
MOST_ORDER, MOST_KINDS = 8, 32
# numbers of a response in blocks up to which it is
MOST_NUMBERS = 2**14
# kinds and levels that a program has at least
LEAST_KINDS, LEAST_LEVELS = 4, 64
# eigenvalues below the first share of the largest are zero; between the two rounding decides about them
ZERO, DOUBTFUL = 1e-12, 1e-8
# distance of eigenvalues, relative to the largest, below which they are equal, and above which they are not
EQUAL, APART = 1e-9, 1e-6
# entry of a block, relative to the largest, that rounding error leaves
ROUNDING = 1e-8


@dataclass(frozen=True, eq=False)
class Symmetry:
    """What responses to one design share, in the basis in which V has small blocks that repeat.

    Parameters
    ----------
    model : Assembled
    to_basis : ndarray (p + effects, r)
        From [X Z]'y to coordinates.
    places : tuple of ndarray of int (b, copies)
        Per kind of block, the coordinates of every copy in columns.
    blocks : RepeatedBlocks
    coordinates : ndarray (r, p)
        Of X.
    squares : tuple of ndarray (q, levels)
    """

    model: Assembled
    to_basis: np.ndarray
    places: tuple[np.ndarray, ...]
    blocks: RepeatedBlocks
    coordinates: np.ndarray
    squares: tuple[np.ndarray, ...]

    def batch(self, found: ResponseProducts) -> Batch:
        """Responses (m,), whose products with the design are known."""
        m, p = len(found.wy), self.coordinates.shape[1]
        zy = [part.reshape(m, -1) for part in found.zy]
        y = np.concatenate([found.wy[:, :-1], *zy], axis=1) @ self.to_basis
        kinds, _, order, _ = self.blocks.bases.shape
        moments = np.zeros((m, kinds, order, order, p + 1, p + 1))
        for c, place in enumerate(self.places):
            b = len(place)
            x, own = self.coordinates[place], y[:, place]  # (b, copies, p), (m, b, copies)
            block = moments[:, c, :b, :b]
            block[..., :p, :p] = np.einsum("icv,jcw->ijvw", x, x)
            block[..., :p, p] = np.einsum("icv,mjc->mijv", x, own)
            block[..., p, :p] = np.einsum("mic,jcw->mijw", own, x)
            block[..., p, p] = np.einsum("mic,mjc->mij", own, own)
        ww = np.zeros((m, p + 1, p + 1))
        ww[:, p, p] = np.maximum(found.wy[:, -1] - np.einsum("mr,mr->m", y, y), 0.0)
        once = self.model.batch.one(0).products

        def all_of(number: Any) -> Any:
            return host_leaf(np.full(m, float(number)))

        products = RepeatedProducts(
            moments=host_leaf(moments),
            ww=host_leaf(ww),
            squares=tuple(host_leaf(np.broadcast_to(one, (m, *one.shape))) for one in self.squares),
            sums=tuple(host_leaf(_padded(part.swapaxes(1, 2))) for part in found.zy),
            n_obs=all_of(once.n_obs),
            n_fixed=all_of(once.n_fixed),
            constant=all_of(once.constant),
            constant_ml=all_of(once.constant_ml),
            log_scale=host_leaf(2 * np.log(found.scale)),
        )
        theta_map, reml = self.model.layout.structure.theta_map, self.model.layout.structure.reml
        return Batch(cast(Any, Repeated(Structure(theta_map, (kinds, order), p, reml), products, self.blocks)))

    def fitted(self, model: Assembled, found: ResponseProducts) -> Fitted:
        """Fit responses (m,), whose model is assembled and whose products with the design are known."""
        small = replace(model, batch=self.batch(found))
        fits = fit_assembled(small, Newton())
        information = fits.found_information
        if information is None:
            information = run(variance_information, small.batch, fits.inner)
        return replace(fits, model=model, found_information=information)


def symmetry(model: Assembled) -> Symmetry | None:
    """Find the basis; None where blocks are not small, or what is known of single fits only is needed."""
    structure, p = model.layout.structure, len(model.keep)
    z = z_matrices(model, 0)
    effects = sum(part.shape[1] for part in z)
    if effects > MOST_EFFECTS or p + effects >= model.rows.n_rows(0) or model.layout.parameters is not None:
        return None
    if find_redundancies(model).each[0] is not None:
        return None
    root = np.ones(model.rows.n_rows(0)) if model.rows.weights is None else np.sqrt(model.rows.weights.of(0))
    x = model.orthonormal(model.rows.x.of(0)[:, model.keep], 0) * root[:, None]
    columns = scipy.sparse.hstack([scipy.sparse.csr_array(x), *(part.multiply(root[:, None]) for part in z)]).tocsr()
    gram = (columns.T @ columns).toarray()
    values, vectors = np.linalg.eigh(gram)
    relative = values / values[-1]
    if ((np.abs(relative) > ZERO) & (relative < DOUBTFUL)).any():
        return None
    used = relative > ZERO
    to_range = vectors[:, used] / np.sqrt(values[used])
    bases = _bases(to_range.T @ gram, p, [part.shape[1] for part in z], structure.q)
    found = _equal_blocks([bases[e] for e in _in_use(model)])
    if found is None:
        return None
    turn, places = found
    order = max(map(len, places))
    if order > MOST_ORDER or len(places) > MOST_KINDS or 2 * order * len(places) > len(turn):
        return None
    turned = turn.T @ bases @ turn
    # programs serve again for other numbers of levels: what is padded adds nothing
    order = bucket(order, 2, per_octave=1)
    kinds = bucket(len(places), LEAST_KINDS, per_octave=1)
    if kinds * (order * (p + 1)) ** 2 > MOST_NUMBERS:
        return None
    blocks, copies = np.zeros((kinds, len(bases), order, order)), np.zeros(kinds)
    for c, place in enumerate(places):
        blocks[c, :, : len(place), : len(place)] = turned[:, place[:, :1], place[:, 0]]
        copies[c] = place.shape[1]
    blocks[:, [e for e in range(len(bases)) if e not in _in_use(model)]] = 0.0
    to_basis = to_range @ turn
    index = RepeatedBlocks(host_leaf(blocks), host_leaf(copies))
    diagonal, starts = np.diag(gram)[p:], np.cumsum([0, *(part.shape[1] for part in z)])
    squares = [
        _padded(diagonal[a:b].reshape(-1, q).T) for a, b, q in zip(starts, starts[1:], structure.q, strict=False)
    ]
    coordinates = (gram[:p] @ to_basis).T
    return Symmetry(model, to_basis, tuple(places), index, coordinates, tuple(squares))


def _bases(products: np.ndarray, p: int, widths: list[int], q: tuple[int, ...]) -> np.ndarray:
    """What every entry of the lower triangles of D is multiplied by (e, r, r), from R'[X Z], R a basis of its range."""
    out, start = [], p
    for width, own in zip(widths, q, strict=True):
        z = products[:, start : start + width].reshape(len(products), -1, own)
        for a, b in zip(*np.tril_indices(own), strict=True):
            once = z[:, :, a] @ z[:, :, b].T
            out.append(once if a == b else once + once.T)
        start += width
    return np.stack(out)


def _padded(levels: np.ndarray) -> np.ndarray:
    """Numbers of levels, in the last axis, as those of more levels."""
    extra = bucket(levels.shape[-1], LEAST_LEVELS, per_octave=1) - levels.shape[-1]
    return np.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(0, extra)])


def _in_use(model: Assembled) -> list[int]:
    """Entries of the lower triangles of D that are not always zero."""
    out, start, theta_map = [], 0, model.layout.structure.theta_map
    for lam in theta_map.maps():
        filled = (lam != 0).any(axis=0)
        there = (filled @ filled.T)[np.tril_indices(len(filled))]
        out += [start + int(e) for e in np.flatnonzero(there)]
        start += len(there)
    return out


def _equal_blocks(matrices: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Basis (r, r) in which symmetric matrices (r, r) are block diagonal with equal blocks, and the places of these.

    The eigenspaces of a random combination are one coordinate each of all copies of one kind of block; between two of
    a kind every matrix is a number times one and the same rotation.
    """
    scaled = [matrix / max(np.abs(matrix).max(), np.finfo(float).tiny) for matrix in matrices]
    weights = np.random.default_rng(0).normal(size=len(scaled))
    values, vectors = np.linalg.eigh(sum(w * matrix for w, matrix in zip(weights, scaled, strict=True)))
    gaps = np.diff(values) / np.abs(values).max()
    if ((gaps > EQUAL) & (gaps < APART)).any():
        return None
    cuts = [0, *(np.flatnonzero(gaps > EQUAL) + 1), len(values)]
    spaces = [vectors[:, a:b].copy() for a, b in itertools.pairwise(cuts)]
    kinds, left = list[list[int]](), list(range(len(spaces)))
    while left:
        kind, waiting = list[int](), [left.pop(0)]
        while waiting:
            at = waiting.pop()
            kind.append(at)
            for other in list(left):
                link = max((spaces[at].T @ matrix @ spaces[other] for matrix in scaled), key=lambda a: np.abs(a).max())
                if np.abs(link).max() < ROUNDING:
                    continue
                if link.shape[0] != link.shape[1]:
                    return None
                left_turn, _, right_turn = np.linalg.svd(link)
                spaces[other] = spaces[other] @ (left_turn @ right_turn).T
                left.remove(other)
                waiting.append(other)
        kinds.append(kind)
    turn = np.concatenate([spaces[s] for kind in kinds for s in kind], axis=1)
    places, start = list[np.ndarray](), 0
    for kind in kinds:
        b, copies = len(kind), spaces[kind[0]].shape[1]
        places.append(start + np.arange(b * copies).reshape(b, copies))
        start += b * copies
    return (turn, places) if all(_is_repeated(turn.T @ matrix @ turn, places) for matrix in scaled) else None


def _is_repeated(matrix: np.ndarray, places: list[np.ndarray]) -> bool:
    """Whether a matrix consists of the same block in all copies of a kind, but for rounding error."""
    rebuilt = np.zeros_like(matrix)
    for place in places:
        block = matrix[place[:, :1], place[:, 0]]
        for copy in place.T:
            rebuilt[np.ix_(copy, copy)] = block
    return bool(np.abs(matrix - rebuilt).max() < ROUNDING)
