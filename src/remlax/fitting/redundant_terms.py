"""Parameters that are tied to each other, sorted by the terms they belong to, and the terms that could be left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from .assemble import Assembled
from .redundancy import Redundancy

# singular value of a part of a null space that is zero
ZERO = 1e-6


@dataclass(frozen=True, eq=False)
class RedundantTerms:
    """Parameters of the same terms that are tied to each other in one data set.

    Parameters
    ----------
    places : ndarray of int (s,)
        Entries of phi.
    null : ndarray (s, k)
        Basis of their undetermined directions, rows of any length.
    terms : tuple of int
        Places in the layout; the residual is none.
    """

    places: np.ndarray
    null: np.ndarray
    terms: tuple[int, ...]


def redundant_terms(model: Assembled, found: Redundancy) -> list[RedundantTerms]:
    """Sort the undetermined parameters of a data set into groups, one for every set of terms."""
    size = np.linalg.norm(found.root, axis=1)
    null = (found.root @ found.null) / size[:, None]
    lost = np.flatnonzero(~found.determined(np.eye(len(size))))
    count, connected = scipy.sparse.csgraph.connected_components(
        np.abs(null[lost] @ null[lost].T) > found.tol, directed=False
    )
    owner = np.full(len(size), -1)
    for t, term in enumerate(model.layout.terms):
        owner[term.theta] = t
    out: dict[tuple[int, ...], RedundantTerms] = {}
    for i in range(count):
        places = lost[connected == i]
        own = null[places]
        left, length, _ = np.linalg.svd(own / np.abs(own).max(axis=1, keepdims=True), full_matrices=False)
        basis = left[:, length > ZERO * length[0]]
        terms = tuple(sorted({int(t) for t in owner[places]} - {-1}))
        if terms in out:
            places, basis = np.append(out[terms].places, places), scipy.linalg.block_diag(out[terms].null, basis)
        out[terms] = RedundantTerms(places, basis, terms)
    return list(out.values())


def group_width(model: Assembled, t: int) -> int:
    """Columns of the data that make the grouping factor of a term."""
    return len(model.rows.formula.random[model.layout.terms[t].source].group)


def superfluous(model: Assembled, group: RedundantTerms) -> tuple[list[int], bool]:
    """Terms without which the model is the same, and whether it is free of the tie without them.

    Terms with few parameters go first, of two that are as large the one of more columns, or the later one.
    """
    terms, null = model.layout.terms, group.null
    place = {int(p): i for i, p in enumerate(group.places)}
    out = list[int]()

    def order(t: int) -> tuple[int, int, int]:
        return terms[t].theta.stop - terms[t].theta.start, -group_width(model, t), -terms[t].source

    for t in sorted(group.terms, key=order):
        entries = range(terms[t].theta.start, terms[t].theta.stop)
        if null.shape[1] and all(p in place for p in entries):
            own = null[[place[p] for p in entries]]
            _, size, turn = np.linalg.svd(own)
            if len(size) == len(own) and size[-1] > ZERO:
                out.append(t)
                null = null @ turn[len(own) :].T
    return sorted(out, key=lambda t: terms[t].source), null.shape[1] == 0


def count_variances(model: Assembled, found: Redundancy | None) -> int | None:
    """Number of variances of random effects without superfluous terms; None where that leaves a tie."""
    left_out = set[int]()
    for group in [] if found is None else redundant_terms(model, found):
        without, resolved = superfluous(model, group)
        if not resolved:
            return None
        left_out.update(without)
    return sum(term.q for t, term in enumerate(model.layout.terms) if t not in left_out)
