"""Variances and covariances that the design leaves undetermined, mostly because random terms repeat each other.

The marginal covariance sigma^2 W^-1 + sum_t Z_t Sigma_t Z_t' is linear in phi, the entries of all Sigma_t and sigma^2:
a direction of phi that leaves it as it is changes no likelihood. Such directions are the null space of the Gram matrix
tr(V_i V_j) of the derivatives V_i (``find_redundancy``). REML sees V after the fixed part is taken away, and may see
less (``unseen``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .layout import Layout, TermLayout


@dataclass(frozen=True, eq=False)
class Redundancy:
    """Undetermined directions of one data set.

    Parameters
    ----------
    root : ndarray (d + 1, d + 1)
        phi, in the user's units and the order of theta, then sigma^2, as a function of well-conditioned coordinates.
    null : ndarray (d + 1, k)
        Orthonormal basis of the undetermined directions in those coordinates. The first ``structural`` leave V as it
        is; the others change no more than the fixed part takes away before REML looks.
    structural : int
    tol : float
        Share of a determined function that rounding may leave in these directions.
    unseen : tuple of int
        Entries of phi that the fixed part hides from REML.
    """

    root: np.ndarray
    null: np.ndarray
    structural: int
    tol: float
    unseen: tuple[int, ...] = ()

    @property
    def of_terms(self) -> Redundancy | None:
        """The directions that leave V as it is."""
        if not self.structural:
            return None
        return Redundancy(self.root, self.null[:, : self.structural], self.structural, self.tol)

    def determined(self, functions: np.ndarray) -> np.ndarray:
        """Tell which linear functions of phi (..., d + 1) are determined, boolean (...)."""
        rows = functions @ self.root
        inside = np.linalg.norm(rows @ self.null, axis=-1)
        return np.asarray(inside <= self.tol * np.linalg.norm(rows, axis=-1))


def entry_places(term: TermLayout) -> np.ndarray:
    """Places in theta, and in phi, of the entries of a term's covariance matrix (q, q)."""
    out = np.zeros((term.q, term.q), dtype=int)
    col, row = np.triu_indices(term.q)
    out[row, col] = out[col, row] = np.arange(term.theta.start, term.theta.stop)
    return out


def parameter_places(layout: Layout) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """Term, columns and the entries of phi that an SD or a correlation is made of; SDs of a term, then correlations."""
    out = list[tuple[int, int, int, tuple[int, ...]]]()
    for t, term in enumerate(layout.terms):
        at = entry_places(term)
        for a, b in term.parameters:
            out.append((t, a, b, (int(at[a, a]),) if a == b else (int(at[a, a]), int(at[b, b]), int(at[a, b]))))
    return out


@dataclass(frozen=True, eq=False)
class Redundancies:
    """Undetermined directions of every data set; None where there are none.

    ``has_sigma``: whether the residual SD is a parameter; where it is not, its variance is known.
    """

    layout: Layout
    each: tuple[Redundancy | None, ...]
    has_sigma: bool = True

    def of_terms(self, which: Sequence[int] | np.ndarray) -> list[Redundancy | None]:
        """Directions that leave V as it is, each once that several of some data sets share."""
        distinct = {id(self.each[k]): self.each[k] for k in which}.values()
        return [None if found is None else found.of_terms for found in distinct]

    def n_lost(self, k: int) -> int:
        """Number of parameters by which a data set's model has fewer than theta and sigma are."""
        found = self.each[k]
        return 0 if found is None else found.structural

    def undetermined(self, which: Sequence[int] | np.ndarray, functions: np.ndarray | None = None) -> np.ndarray:
        """Tell which linear functions of phi are not determined.

        Parameters
        ----------
        which : sequence of int (K,)
        functions : ndarray (m, d + 1) or (K, m, d + 1), optional
            The entries of phi themselves by default.

        Returns
        -------
        ndarray of bool (K, m)
        """
        asked = np.eye(self.layout.structure.theta_map.n_theta + 1) if functions is None else functions
        each = np.broadcast_to(asked, (len(which), *asked.shape[-2:]))
        out = np.zeros(each.shape[:2], bool)
        for i, k in enumerate(which):
            found = self.each[k]
            if found is not None:
                out[i] = ~found.determined(each[i])
        return out

    def parameters(self, which: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tell which SDs and correlations, and which variances and covariances, are not identified.

        Returns
        -------
        tuple of ndarray of bool (K, r)
            In the order of `parameter_places`; sigma comes last, where it is one.
        """
        gone = self.undetermined(which)
        entries = [places for *_, places in parameter_places(self.layout)]
        if self.has_sigma:
            entries.append((gone.shape[1] - 1,))
        return np.stack([gone[:, places].any(axis=1) for places in entries], axis=1), gone[:, [e[-1] for e in entries]]

    def effects(self, which: Sequence[int] | np.ndarray, factor: int) -> np.ndarray:
        """Tell which random effects of a factor, a column each, depend on what is not identified in a data set.

        A conditional mode and its variance are linear in the row of the covariance matrix that belongs to the column.

        Returns
        -------
        ndarray of bool (q,)
        """
        gone = np.asarray(self.undetermined(which).any(axis=0))
        out = np.zeros(self.layout.structure.q[factor], bool)
        for term in self.layout.terms:
            if term.factor == factor:
                out[term.columns] = gone[entry_places(term)].any(axis=1)
        return out
