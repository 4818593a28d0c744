"""Missing cells of all patients at given parameters: patients with the same covariance matrix together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..columns import FloatArray
from ..patterns import BoolArray, IntArray
from .events import STRATEGIES, Events
from .kernels import given_observed, joint_covariance, joint_mean


@dataclass(frozen=True, eq=False)
class Parameters:
    """K sets of parameters of the imputation models of S trials: beta (K, S, p), sigmas (K, S, g, T, T)."""

    beta: FloatArray
    sigmas: FloatArray

    def take(self, which: slice) -> Parameters:
        """Some of the sets."""
        return Parameters(self.beta[which], self.sigmas[which])


@dataclass(frozen=True, eq=False)
class MissingVisits:
    """What the missing cells of n patients at T visits, of one trial or several, depend on beside parameters.

    Attributes
    ----------
    events : Events
    own, reference : ndarray (n, T, p)
        Columns of the fixed part in the patient's own arm and in the reference arm.
    offset : ndarray (n, T)
        Known part of the response.
    own_group, reference_group : ndarray of int (n,)
        Which covariance matrix the patient has, and which one in the reference arm.
    trial : ndarray of int (n,)
        Which trial the patient is in.
    """

    events: Events
    own: FloatArray
    reference: FloatArray
    offset: FloatArray
    own_group: IntArray
    reference_group: IntArray
    trial: IntArray

    def completed(self, parameters: Parameters, noise: FloatArray | None = None) -> FloatArray:
        """Responses (K, n, T) with missing cells imputed.

        Parameters
        ----------
        parameters : Parameters
        noise : ndarray (K, n, T), optional
            Standard normal draws; without them cells have their conditional means.
        """
        out = np.repeat(self.events.y[None], len(parameters.beta), axis=0)
        for patients, observed in self._alike():
            one = patients[0]
            event, strategy = int(self.events.before[one]), STRATEGIES[self.events.strategy[one]]
            own = parameters.sigmas[:, :, self.own_group[one]]
            same = self.own_group[one] == self.reference_group[one]
            other = own if same else parameters.sigmas[:, :, self.reference_group[one]]
            means = [self._mean(columns, patients, parameters.beta) for columns in (self.own, self.reference)]
            mean = joint_mean(means[0], means[1], event, strategy)
            slopes, root = given_observed(joint_covariance(own, other, event, strategy), observed)
            unseen, trial = np.flatnonzero(~observed), self.trial[patients]
            away = self.events.y[patients][:, observed] - mean[..., observed]
            values = mean[..., unseen] + _times(slopes[:, trial], away)
            if noise is not None:
                values = values + _times(root[:, trial], noise[:, patients[:, None], unseen])
            out[:, patients[:, None], unseen] = values
        return out

    def _mean(self, columns: FloatArray, patients: IntArray, beta: FloatArray) -> FloatArray:
        """Means (K, G, T)."""
        of_trial = np.moveaxis(beta, 0, -1)[self.trial[patients]]
        mean: FloatArray = np.moveaxis(columns[patients] @ of_trial, -1, 0) + self.offset[patients]
        return mean

    def _alike(self) -> Iterator[tuple[IntArray, BoolArray]]:
        """Patients with missing cells who share a covariance matrix, and which visits are observed."""
        missing = self.events.missing
        which = np.flatnonzero(missing.any(axis=1))
        kinds = (self.events.before, self.events.strategy, self.own_group, self.reference_group)
        keys = np.column_stack([missing, *kinds])[which]
        distinct, place = np.unique(keys, axis=0, return_inverse=True)
        for i in range(len(distinct)):
            patients = which[place.reshape(-1) == i]
            yield patients, ~missing[patients[0]]


def _times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Products (..., u) of matrices (..., u, o) and vectors (..., o)."""
    product: FloatArray = (matrices @ vectors[..., None])[..., 0]
    return product
