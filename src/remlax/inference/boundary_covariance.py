"""Covariance of the estimates of variances that are zero under a null hypothesis."""

from __future__ import annotations

import numpy as np

from ..engine.batch import run
from ..fitting.memory import available_bytes
from ..fitting.selection import Selection
from ..kernels.inference import kenward_roger_parts
from .kenward_roger import needed_bytes


def boundary_covariance(large: Selection, small: Selection) -> np.ndarray | None:
    """Asymptotic covariance, up to a factor, of the variances that only the larger model has, at the smaller one's fit.

    From the expected information about all variances and covariances, those of the smaller model being nuisance
    parameters. Given where the larger model adds terms of one column and nothing else to the random part, so that the
    variances may take any values from zero on.

    Parameters
    ----------
    large, small : Selection
        Fits of the same data sets, the smaller model nested in the larger.

    Returns
    -------
    ndarray (K, m, m) or None
        None where the larger model differs otherwise, a fit of the smaller model is singular (its own parameters are
        then on a boundary too), or the information cannot be had.
    """
    kept = {(term.group, term.names): term for term in small.model.layout.terms}
    theta = np.zeros((large.n_sets, large.fitted.theta.shape[1]))
    added = []
    for term in large.model.layout.terms:
        same = kept.pop((term.group, term.names), None)
        if same is not None:
            theta[:, term.theta] = small.theta[:, same.theta]
        elif term.q == 1:
            added.append(term.theta.start + 1)  # behind the scale of V
        else:
            return None
    if kept or small.singular or needed_bytes(large.fitted) > available_bytes():
        return None
    model = large.model
    found = run(kenward_roger_parts, model.batch.take(large.index), model.inner_theta(theta))
    information = np.asarray(found.information)
    if not (np.isfinite(information).all() and (np.linalg.eigvalsh(information) > 0).all()):
        return None
    return np.asarray(np.linalg.inv(information)[:, added][:, :, added])
