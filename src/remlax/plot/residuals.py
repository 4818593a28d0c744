"""Figures of residuals; of a pooled model, those of every imputation."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import scipy

from ..errors import DataError
from ..inference.glmm import glmm_fitted
from ..predict.glmm_residuals import GlmmResidualType, glmm_residual_values
from ..predict.mmrm_rows import MmrmResidualType, mmrm_residual_values
from ..predict.residuals import ResidualType, residual_values
from ..results import MmrmFit, PooledMmrm
from .marks import ACCENT, FAINT, MAIN, axes, legend
from .model import Model, family_of, normal_scores, selection_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {
    "deviance": "Deviance residual",
    "quantile": "Quantile residual",
    "response": "Residual",
    "pearson": "Pearson residual",
    "scaled": "Scaled residual",
    "marginal": "Marginal residual",
    "normalized": "Normalized residual",
}


def residual_fitted(
    model: Model,
    *,
    type: ResidualType | GlmmResidualType | MmrmResidualType = "pearson",  # noqa: A002 (R's name)
    ax: Axes | None = None,
) -> Axes:
    """Draw residuals against fitted values, with their mean along the fitted values.

    Single residuals of a binary response say little: look at the means in bins, or at quantile residuals.

    Parameters
    ----------
    model : LmerFit, GlmerFit or MmrmFit, or their pooled models
        Of a pooled model the residuals of all imputations are drawn, and a mean for each.
    type : {"pearson", "response", "scaled", "marginal", "deviance", "quantile", "normalized"}, default "pearson"
        As `LmerFit.residuals`, `GlmerFit.residuals` or `MmrmFit.residuals`. An ordinal response has ``"quantile"``
        alone, against the linear predictor.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Not a fit, or an unknown type.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> rx.plot.residual_fitted(fit).get_ylabel()
    'Pearson residual'
    """
    ax = _along_fitted(model, _sets(model, type), ax)
    ax.axhline(0, color="black", linewidth=0.8, zorder=1)
    ax.set_ylabel(NAMES[type])
    return ax


def scale_location(model: Model, *, ax: Axes | None = None) -> Axes:
    """Draw the root of the absolute scaled residuals against fitted values: does the spread depend on the mean?

    Of a generalised model they are quantile residuals, and of one for repeated measures normalized ones, which have one
    spread where the model holds.

    Parameters
    ----------
    model, ax
        As `residual_fitted`.

    Raises
    ------
    DataError
        Not a fit.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> rx.plot.scale_location(fit).get_xlabel()
    'Fitted value'
    """
    kind = _standard(model)
    sets = [(x, np.sqrt(np.abs(y))) for x, y in _sets(model, kind)]
    ax = _along_fitted(model, sets, ax)
    ax.set_ylabel(f"√|{kind} residual|")
    ax.set_ylim(bottom=0)
    return ax


def qq_residuals(model: Model, *, ax: Axes | None = None) -> Axes:
    """Draw the scaled residuals against normal quantiles.

    Residuals are standardised; of a model for repeated measures they are the normalized ones. Those of a generalised
    model are quantile residuals (Dunn and Smyth 1996), which are standard normal where it holds, and are drawn as they
    are. The band holds each of n independent normal numbers with probability 95 %.

    Parameters
    ----------
    model : LmerFit, PooledLmer, GlmerFit or PooledGlmer
        Of a pooled model the mean over the imputations is drawn, and a faint line for each.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Not a fit.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> rx.plot.qq_residuals(fit).get_xlabel()
    'Standard normal quantile'
    """
    kind = _standard(model)
    sets = [y for _, y in _sets(model, kind)]
    sets = sets if kind == "quantile" else [(y - y.mean()) / y.std() for y in sets]
    n = min(map(len, sets))
    prob = normal_scores(n)
    score = scipy.stats.norm.ppf(prob)
    each = np.stack([np.quantile(y, prob, method="hazen") for y in sets])
    rank = np.arange(1, n + 1)
    low, high = (scipy.stats.norm.ppf(scipy.stats.beta.ppf(p, rank, n + 1 - rank)) for p in (0.025, 0.975))
    ax = axes(ax)
    ax.fill_between(score, low, high, color="0.88", linewidth=0, zorder=0)
    ax.axline((0, 0), slope=1, color=ACCENT, linewidth=1.2, zorder=1)
    if len(sets) > 1:
        ax.plot(score, each.T, color=FAINT, linewidth=0.7, zorder=2)
    ax.plot(score, each.mean(axis=0), "o", color=MAIN, markersize=2.4, rasterized=True, zorder=3)
    ax.set(
        xlabel="Standard normal quantile", ylabel="Quantile residual" if kind == "quantile" else "Standardised residual"
    )
    return ax


def _standard(model: Model) -> ResidualType | GlmmResidualType | MmrmResidualType:
    """Residuals that have one distribution where the model holds."""
    if isinstance(model, MmrmFit | PooledMmrm):
        return "normalized"
    return "quantile" if family_of(model) else "scaled"


def _sets(
    model: Model, type_: ResidualType | GlmmResidualType | MmrmResidualType
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fitted values and residuals of every imputation; a figure drawn twice is the same."""
    fits = selection_of(model)
    if family_of(model):
        chosen = cast(GlmmResidualType, type_)
        return [(glmm_fitted(one).means(one.k), glmm_residual_values(one, chosen, one.k)) for one in fits.each]
    if isinstance(model, MmrmFit | PooledMmrm):
        of_visits = cast(MmrmResidualType, type_)
        return [(fits.fitted.fitted_values(one.k), mmrm_residual_values(one, of_visits)) for one in fits.each]
    if type_ in ("deviance", "quantile"):
        raise DataError(f"type={type_!r} is of generalised models: use 'pearson', 'response', 'scaled' or 'marginal'")
    type_ = cast(ResidualType, type_)
    return [(fits.fitted.fitted_values(one.k), residual_values(one, type_)) for one in fits.each]


def _along_fitted(model: Model, sets: list[tuple[np.ndarray, np.ndarray]], ax: Axes | None) -> Axes:
    """Points of all imputations, and the mean in bins of equal number for each and for all."""
    ax = axes(ax)
    x, y = (np.concatenate(part) for part in zip(*sets, strict=True))
    alpha = float(np.clip(400 / len(x), 0.04, 0.7))
    ax.plot(
        x, y, "o", color=MAIN, markersize=3 if len(x) < 2000 else 1.8, alpha=alpha, markeredgewidth=0, rasterized=True
    )
    if len(sets) > 1:
        for one in sets:
            ax.plot(*_binned(*one), color="0.35", linewidth=0.7, alpha=0.6)
    ax.plot(*_binned(x, y, len(sets)), color=ACCENT, linewidth=1.8, label="mean in bins")
    ax.set_xlabel("Fitted value")
    legend(ax)
    return ax


def _binned(x: np.ndarray, y: np.ndarray, n_sets: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Means of x and y in bins of equal number along x."""
    order = np.argsort(x, kind="stable")
    number = int(np.clip(len(x) // (20 * n_sets), 3, 20))
    groups = np.array_split(order, number)
    return np.array([x[g].mean() for g in groups]), np.array([y[g].mean() for g in groups])
