"""Optimisation and convergence of fits, in the user's units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..fitting.selection import Selection
from ..kernels.newton import STATUS_TEXT


@dataclass(frozen=True)
class OptSummary:
    """How the optimisation of one data set went.

    Attributes
    ----------
    optimizer : str
    theta0, theta : ndarray (d,)
        Start and optimum, lme4's order and scale. The start of a generalised model is found by its program: NaN.
    criterion : float
        REML criterion or ML deviance; -2 log-likelihood of a generalised model.
    gradient_norm : float
        Largest absolute derivative at the optimum, over all coordinates of the scaled theta; of a generalised model
        also over those of coefficients and shape parameters.
    decrement : float
        Newton decrement g'H^-1 g in units of deviance: how far above its minimum the quadratic model of the criterion
        stands. Converged means at most 1e-8. The last step is not evaluated where Newton's convergence is quadratic
        beyond doubt; then this and ``gradient_norm`` are what that convergence leaves of the values before the step.
    min_eigenvalue : float
        Smallest eigenvalue of the exact Hessian over its largest: not negative at a minimum.
    iterations, evaluations : int
    starts : int
        Starting points tried.
    status : str
        ``converged``, ``iteration limit``, ``saddle point``, ``not finite``, ``no residual variance``: the random
        effects explain the response, exactly or to so few digits that standard errors would be wrong; or ``no
        maximum``: the likelihood of a generalised model rises without end.
    """

    optimizer: str
    theta0: np.ndarray
    theta: np.ndarray
    criterion: float
    gradient_norm: float
    decrement: float
    min_eigenvalue: float
    iterations: int
    evaluations: int
    starts: int
    status: str


def opt_summary(fit: Selection) -> OptSummary:
    """Summarise the optimisation of one data set."""
    hess = fit.fitted.curvature(fit.k)
    size = np.linalg.eigvalsh(hess) if np.isfinite(hess).all() else np.array([np.nan])
    return OptSummary(
        optimizer=type(fit.fitted.optimizer).__name__,
        theta0=_start(fit),
        theta=np.array(fit.fitted.theta[fit.k]),
        criterion=float(fit.fitted.criterion[fit.k]),
        gradient_norm=float(np.max(np.abs(fit.fitted.opt.grad[fit.k]))),
        decrement=float(fit.fitted.opt.decrement[fit.k]),
        min_eigenvalue=float(size[0] / max(abs(size[-1]), np.finfo(float).tiny)),
        iterations=int(fit.fitted.opt.iterations[fit.k]),
        evaluations=int(fit.fitted.opt.evaluations[fit.k]),
        starts=int(fit.fitted.opt.starts[fit.k]),
        status=STATUS_TEXT[int(fit.fitted.status[fit.k])],
    )


def _start(fit: Selection) -> np.ndarray:
    if not fit.fitted.has_sigma:
        return np.full(fit.fitted.theta_map.n_theta, np.nan)
    return np.asarray(fit.model.outer_theta(fit.fitted.theta_map.start()[None])[0])


def convergence_table(fits: Selection) -> pd.DataFrame:
    """How every optimisation went, one row per data set; see ``LmerFitList.convergence``."""
    found, k = fits.fitted, fits.index
    return pd.DataFrame(
        {
            "converged": found.converged[k],
            "status": [STATUS_TEXT[int(s)] for s in found.status[k]],
            "singular": found.singular[k],
            "criterion": found.criterion[k],
            "decrement": found.opt.decrement[k],
            "gradient_norm": np.max(np.abs(found.opt.grad[k]), axis=1),
            "iterations": found.opt.iterations[k],
            "evaluations": found.opt.evaluations[k],
            "starts": found.opt.starts[k],
        },
        index=pd.Index(fits.labels, name="imp"),
    )
