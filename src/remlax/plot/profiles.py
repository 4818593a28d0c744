"""Figures of profile likelihoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from ..errors import DataError
from ..results import LmerFit
from ..tables.confint import Profile, make_profiles
from .estimates import component_label, one_row
from .marks import ACCENT, FAINT, MAIN, axes, legend, plain
from .model import Model, level_of, selection_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# zeta beyond which nothing is drawn: limits of 99.7 % and more
WIDEST = 3.0


def zeta(model: Model | Profile, term: str | None = None, *, group: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the signed root of the rise of the deviance over a parameter: a straight line where it is quadratic.

    Of one profile: the Wald approximation (dashed) is its tangent at the estimate, the vertical lines are the
    confidence limits. ML, also for a REML fit, as lme4 has it.

    Parameters
    ----------
    model : LmerFit, Profile or PooledLmer
        A profile is made where none is given; of a pooled model one for each imputation.
    term : str, optional
        A coefficient, or a variance parameter such as ``"sd__Intercept"``; the first variance parameter by default.
    group : str, optional
        Grouping factor of a variance parameter, where several have one of that name.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Neither a fit nor a profile; no such term, or several.

    References
    ----------
    Bates, D., Maechler, M., Bolker, B. and Walker, S. (2015). J. Stat. Softw. 67(1), sec. 5.1.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Yield ~ 1 + (1 | Batch)", rx.datasets.dyestuff())
    >>> rx.plot.zeta(fit.profile()).get_xlabel()
    'SD Intercept | Batch'
    """
    profiles, level = _profiles(model)
    estimates = profiles[0].estimates
    chosen = str(estimates["term"].iloc[0]) if term is None else term
    own = estimates if group is None else estimates[estimates["group"] == group]
    # the first of all, though nested or crossed factors have others of its name
    row = own.iloc[0] if term is None and len(own) else one_row(estimates, chosen, group)
    chosen = str(row["term"])
    curves = [_curve(one, row) for one in profiles]
    ax = axes(ax)
    cut = float(np.sqrt(scipy.stats.chi2.ppf(level, 1)))
    several = len(curves) > 1
    for i, (value, rise) in enumerate(curves):
        smooth = scipy.interpolate.PchipInterpolator(value, rise)
        grid = np.linspace(value[0], value[-1], 200)
        words = None if i else f"{len(curves)} imputations" if several else "profile"
        ax.plot(grid, smooth(grid), color=FAINT if several else MAIN, linewidth=1.0 if several else 1.8, label=words)
        if not several:
            _limits(ax, smooth, grid, cut, level)
            slope = float(smooth.derivative()(float(_estimate(profiles[0], row))))
            ax.axline(
                (_estimate(profiles[0], row), 0), slope=slope, color=ACCENT, linestyle="--", linewidth=1, label="Wald"
            )
    ax.axhline(0, color="black", linewidth=0.8, zorder=0)
    for height in (-cut, cut):
        ax.axhline(height, color="0.8", linewidth=0.8, zorder=0)
    spread = np.concatenate([value for value, _ in curves])
    pad = 0.04 * (spread.max() - spread.min())
    ax.set(xlim=(spread.min() - pad, spread.max() + pad), ylim=(-WIDEST - 0.2, WIDEST + 0.2))
    ax.set_ylabel("ζ", rotation=0)
    name = chosen if row["effect"] == "fixed" else component_label(str(row["group"]), chosen, long=True)
    ax.set_xlabel(plain(name))
    ax.text(ax.get_xlim()[0], cut, f" {level:.0%}", va="bottom", fontsize="small", color="0.35")
    legend(ax, above=True)
    return ax


def _profiles(model: Model | Profile) -> tuple[list[Profile], float]:
    if isinstance(model, Profile):
        return [model], model.conf_level
    fits = selection_of(model)
    if isinstance(model, LmerFit):
        return [model.profile()], level_of(model)
    return make_profiles(fits, level_of(model)), level_of(model)


def _same(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    names = ["effect", "group", "term"]
    return table.loc[(table[names] == row[names]).all(axis=1)]


def _estimate(profile: Profile, row: pd.Series) -> float:
    return float(_same(profile.estimates, row)["estimate"].iloc[0])


def _curve(profile: Profile, row: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Values and zeta around the estimate, as far as zeta rises and is drawn; DataError where there are none."""
    part = _same(profile.table, row).sort_values("value")
    value, height = part["value"].to_numpy(dtype=float), part["zeta"].to_numpy(dtype=float)
    known = np.isfinite(value) & np.isfinite(height)
    value, height = value[known], height[known]
    # an SD that is zero but for rounding has zeta 0 at zero and at itself
    known = np.append(np.diff(height) != 0, True)[: len(height)]
    value, height = value[known], height[known]
    middle = int(np.abs(height).argmin()) if len(height) else 0
    first, last = middle, middle
    while first > 0 and height[first - 1] < height[first] and height[first - 1] >= -WIDEST:
        first -= 1
    while last < len(height) - 1 and height[last + 1] > height[last] and height[last + 1] <= WIDEST:
        last += 1
    if last == first:
        raise DataError(f"the profile of {row['term']!r} has no values around its estimate to draw")
    return value[first : last + 1], height[first : last + 1]


def _limits(ax: Axes, smooth: scipy.interpolate.PchipInterpolator, grid: np.ndarray, cut: float, level: float) -> None:
    """Vertical lines from zero to the curve at the limits that lie on it."""
    height = smooth(grid)
    for target in (-cut, cut):
        if height[0] <= target <= height[-1]:
            at = float(np.interp(target, height, grid))
            ax.plot([at, at], [0, target], color=MAIN, linewidth=1)
