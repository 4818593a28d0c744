"""Means and covariances of patients under a strategy, and missing visits given the observed ones: arrays alone.

Arrays have any axes before those of visits: imputations, patients.
"""

from __future__ import annotations

import numpy as np

from ..columns import FloatArray
from ..patterns import BoolArray

JUMP, COPY, INCREMENTS, LAST_MEAN, MAR = (
    "jump-to-reference",
    "copy-reference",
    "copy-increments",
    "last-mean",
    "mar",
)


def joint_mean(own: FloatArray, reference: FloatArray, event: int, strategy: str) -> FloatArray:
    """Mean (..., T) of all visits of patients whose visits from the one at ``event`` on are after the event.

    Parameters
    ----------
    own, reference : ndarray (..., T)
        Means of the patient's own arm and of the reference arm, at the patient's covariates.
    event : int
        Number of visits before the event; T where there is none.
    strategy : str
        As of `reference`.

    References
    ----------
    Carpenter, J. R., Roger, J. H. and Kenward, M. G. (2013). J. Biopharm. Stat. 23, 1352-1371.

    Examples
    --------
    >>> own, reference = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.5, 1.0])
    >>> [joint_mean(own, reference, 2, name).tolist() for name in ("jump-to-reference", "copy-increments", "last-mean")]
    [[1.0, 2.0, 1.0], [1.0, 2.0, 1.5], [1.0, 2.0, 2.0]]
    """
    if strategy == MAR or event >= own.shape[-1]:
        return own
    if strategy == COPY or (event == 0 and strategy in (JUMP, INCREMENTS)):
        return reference
    out, last = own.copy(), own[..., event - 1 : event]
    if strategy == JUMP:
        out[..., event:] = reference[..., event:]
    elif strategy == INCREMENTS:
        out[..., event:] = last + reference[..., event:] - reference[..., event - 1 : event]
    else:
        out[..., event:] = last
    return out


def joint_covariance(own: FloatArray, reference: FloatArray, event: int, strategy: str) -> FloatArray:
    """Covariance (..., T, T) of all visits where arms have covariance matrices of their own.

    Under jump to reference and copy increments it is that of the patient's own arm before the event, and has the
    regressions of later visits on earlier ones, and what these leave, of the reference arm (Carpenter et al. 2013).
    The arguments are those of `joint_mean`.
    """
    if own is reference or strategy in (MAR, LAST_MEAN) or event >= own.shape[-1]:
        return own
    if strategy == COPY or event == 0:
        return reference
    a, b = slice(None, event), slice(event, None)
    slopes = np.linalg.solve(reference[..., a, a], reference[..., a, b]).mT
    out = own.copy()
    out[..., b, a] = slopes @ own[..., a, a]
    out[..., a, b] = out[..., b, a].mT
    left = reference[..., b, b] - slopes @ reference[..., a, b]
    out[..., b, b] = left + out[..., b, a] @ slopes.mT
    return out


def given_observed(sigma: FloatArray, observed: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Missing visits given the observed ones: regressions (..., u, o), Cholesky factor (..., u, u) of what is left.

    Parameters
    ----------
    sigma : ndarray (..., T, T)
    observed : ndarray of bool (T,)
        o visits are observed, u are not.
    """
    seen, unseen = np.flatnonzero(observed), np.flatnonzero(~observed)
    across = sigma[..., seen[:, None], unseen]
    slopes: FloatArray = np.asarray(np.linalg.solve(sigma[..., seen[:, None], seen], across).mT, np.float64)
    left = sigma[..., unseen[:, None], unseen] - slopes @ across
    return slopes, np.asarray(np.linalg.cholesky((left + left.mT) / 2), np.float64)
