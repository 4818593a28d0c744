"""Mmrm: one data set of a mixed model for repeated measures, its patients reduced to moments of patterns.

Patients who were seen at the same visits, a pattern, have the same covariance matrix, and all that the likelihood needs
of them is S = sum R_i outer R_i with R_i = [X_i y_i]: numbers over pairs of visits and pairs of columns. What is
multiplied with them is symmetric in the visits and in the columns, so that S is kept for pairs t <= s and a <= b, the
two orders of different visits added together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import Array

from ..kernels.problem import Stackable
from ..shapes import Float
from .structures import covariance, n_parameters


@dataclass(frozen=True)
class MmrmStructure:
    """The static shape of a model: the compile key, shared by all data sets.

    Parameters
    ----------
    covariance : str
        Name of the covariance structure.
    n_visits : int
    n_fixed : int
        Padded number p of fixed columns.
    n_groups : int, default 1
        Groups of patients with a covariance matrix of their own.
    reml : bool, default True
    """

    covariance: str
    n_visits: int
    n_fixed: int
    n_groups: int = 1
    reml: bool = True

    @property
    def q(self) -> tuple[int, ...]:
        """Random-effect columns per factor: none, of one factor."""
        return (0,)

    @property
    def n_dense(self) -> int:
        """Order of a dense block: none."""
        return 0

    @property
    def n_each(self) -> int:
        """Covariance parameters of a group."""
        return n_parameters(self.covariance, self.n_visits)

    @property
    def n_parameters(self) -> int:
        """Covariance parameters."""
        return self.n_groups * self.n_each

    def sigma(self, phi: Float[Array, " d"]) -> Float[Array, "T T"]:
        """Covariance matrix of one group at its parameters."""
        return covariance(phi, self.covariance, self.n_visits)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments:
    """One data set (a leading axis of data sets when stacked): g groups, m patterns.

    X is rotated to an orthonormal basis and y replaced by its scaled least-squares residual.

    Parameters
    ----------
    moments : Array (g, m, P, Q)
        S over pairs of visits (P, `visit_pairs`) and pairs of columns (Q, `column_pairs`) of [X y].
    counts : Array (g, m)
        Patients.
    padded : Array (p,)
        1 for padded fixed columns, 0 for the others.
    n_obs, n_fixed : Array, scalar
        Rows and fixed columns as numbers (padding does not count).
    constant : Array, scalar
        What conditioning took out of the REML criterion: -sum(log w) + 2 log|R|.
    constant_ml : Array, scalar
        The same for ML: -sum(log w).
    log_scale : Array, scalar
        log of the square of the scale taken out of y.
    """

    moments: Float[Array, "*k g m P Q"]
    counts: Float[Array, "*k g m"]
    padded: Float[Array, "*k p"]
    n_obs: Float[Array, "*k"]
    n_fixed: Float[Array, "*k"]
    constant: Float[Array, "*k"]
    constant_ml: Float[Array, "*k"]
    log_scale: Float[Array, "*k"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mmrm(Stackable):
    """One data set: what every kernel of the room takes.

    Parameters
    ----------
    structure : MmrmStructure
    products : Moments
    index : Array (m, T)
        1 for the visits of each pattern, 0 for the others; the same for all data sets of a batch.
    """

    structure: MmrmStructure = field(metadata={"static": True})
    products: Moments
    index: Any


def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second index of the pairs i <= j of n things."""
    return np.triu_indices(n)


def places(n: int) -> np.ndarray:
    """Place (n, n) of every pair among `pairs`, in either order."""
    out = np.zeros((n, n), int)
    first, second = pairs(n)
    out[first, second] = out[second, first] = np.arange(len(first))
    return out


def orders(n: int) -> np.ndarray:
    """In how many orders every pair occurs: 1 of equal things, 2 of others."""
    first, second = pairs(n)
    return np.where(first == second, 1.0, 2.0)
