"""Empirical covariances of mixed models for repeated measures: sandwiches over patients, or over groups of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ...checks import Checks
from ...errors import DataError
from ...fitting.mmrm.fit import MmrmFitted
from ...fitting.mmrm.patients import patient_rows
from ...fitting.selection import Selection
from ..coefficients import ClusterRobust, Vcov
from ..robust import ClusterScores, RobustKind, sums_of_clusters


def robust_inference(fits: Selection, vcov: Vcov, cluster: str | None) -> ClusterRobust | None:
    """Sandwich covariance over the patients, or over the levels of a column that contains whole patients.

    Raises
    ------
    DataError
        An unknown kind, or clusters that cannot be used.
    """
    Checks().choice(vcov, Vcov, "vcov=")
    if vcov == "model":
        if cluster is not None:
            raise DataError(f"cluster={cluster!r} belongs to an empirical covariance: use vcov='CR2' or 'CR0' with it")
        return None
    assert isinstance(fits.fitted, MmrmFitted)
    patient = fits.fitted.covariance_term.patient
    own = None if cluster in (None, patient) else cluster
    return ClusterRobust([_scores(fit, own, vcov) for fit in fits.each], vcov, own or patient)


def _scores(fit: Selection, cluster: str | None, kind: RobustKind) -> ClusterScores:
    model, p = fit.model, len(fit.model.keep)
    back = np.linalg.inv(model.inverse[fit.k])
    bread = back @ fit.vcov[0] @ back.T
    parts = [
        sums_of_clusters(v, x, residual, bread, kind)
        for v, x, residual in (_patient_blocks(fit) if cluster is None else _cluster_blocks(fit, cluster))
    ]
    scores, hat, spread = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert scores.shape[1] == p
    return ClusterScores(scores, hat, spread, bread, model.inverse[fit.k])


def _patient_blocks(fit: Selection) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Covariance (G, t, t), columns (G, t, p) in conditioned coordinates and residuals (G, t, 1) of patients."""
    x, residual = _rows(fit)
    for at, v in patient_rows(fit):
        yield np.asarray(v), x[at], residual[at][:, :, None]


def _rows(fit: Selection) -> tuple[np.ndarray, np.ndarray]:
    rows = fit.rows
    x = fit.model.orthonormal(rows.x.of(fit.k)[:, fit.model.keep], fit.k)
    return x, rows.y.of(fit.k) - fit.fitted.fitted_values(fit.k)


def _cluster_blocks(fit: Selection, cluster: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The same of every level of a column, whose patients are independent given the model."""
    rows = fit.rows
    assert rows.data is not None  # every fit keeps its data
    frame = rows.data.frames[fit.k]
    if cluster not in frame.columns:
        raise DataError(f"cluster={cluster!r} is neither the column of the patients nor another column of the data")
    codes = pd.factorize(frame[cluster])[0]
    if (codes < 0).any():
        raise DataError(f"the cluster column {cluster!r} has {int((codes < 0).sum())} missing cells")
    if codes.max() < 1:
        raise DataError(f"cluster={cluster!r} has a single cluster: empirical standard errors need several")
    patients = [(at, v) for own, own_v in patient_rows(fit) for at, v in zip(own, own_v, strict=True)]
    members: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for at, v in patients:
        if len(set(codes[at].tolist())) > 1:
            raise DataError(f"a patient lies in several clusters of {cluster!r}: clusters must contain whole patients")
        members.setdefault(int(codes[at[0]]), []).append((at, v))
    x, residual = _rows(fit)
    for own in members.values():
        at = np.concatenate([place for place, _ in own])
        v = np.zeros((len(at), len(at)))
        start = 0
        for place, block in own:
            stop = start + len(place)
            v[start:stop, start:stop] = block
            start = stop
        yield v[None], x[at][None], residual[at][None, :, None]
