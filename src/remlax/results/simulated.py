"""Coefficients and random effects summarised by draws from their joint posterior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..fitting.selection import Selection
from .draws import centre_spread, check_draws, draw_estimates
from .effects import choose_effects


class PooledDraws(NamedTuple):
    """Draws of every imputation: beta (K, S, p); effects per factor (K, S, q, levels)."""

    beta: np.ndarray
    effects: tuple[np.ndarray, ...]


def pooled_draws(fits: Selection, n_sims: int, seed: int | None) -> PooledDraws:
    """Draws of every imputation, moved so that those of all of them together have Rubin's total variance."""
    k = fits.index
    found = draw_estimates(fits.take(k), n_sims, seed)
    effects = tuple(
        np.asarray(e) + np.swapaxes(centre_spread(modes.modes[k]), 1, 2)[:, None]
        for e, modes in zip(found.effects, fits.fitted.factor_modes, strict=True)
    )
    return PooledDraws(np.asarray(found.gamma) + centre_spread(fits.fitted.beta[k])[:, None], effects)


def summary_columns(draws: np.ndarray, conf_level: float) -> dict[str, np.ndarray]:
    """Mean, median, SD and quantiles of draws (S, R), each (R,)."""
    tail = (1 - conf_level) / 2
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail], axis=0)
    return {
        "mean": draws.mean(axis=0),
        "median": middle,
        "sd": draws.std(axis=0, ddof=1),
        "conf_low": low,
        "conf_high": high,
    }


def sim_fixef_table(fits: Selection, n_sims: int, seed: int | None, conf_level: float) -> pd.DataFrame:
    """Summaries of draws of the coefficients; see ``Toolkit.sim_fixef``."""
    check_draws(n_sims, conf_level)
    beta = pooled_draws(fits, n_sims, seed).beta
    columns = summary_columns(beta.reshape(-1, beta.shape[2]), conf_level)
    return pd.DataFrame({"term": fits.model.fixed_names, **columns})


def sim_ranef_table(
    fits: Selection, group: str | None, n_sims: int, seed: int | None, conf_level: float
) -> pd.DataFrame:
    """Summaries of draws of the random effects; see ``Toolkit.sim_ranef``."""
    check_draws(n_sims, conf_level)
    chosen = choose_effects(fits.fitted, group, None)
    draws = pooled_draws(fits, n_sims, seed).effects
    parts = []
    for effect in chosen:
        values = draws[effect.factor][:, :, effect.column]
        columns = summary_columns(values.reshape(-1, values.shape[2]), conf_level)
        if fits.fitted.redundancies.effects(fits.which, effect.factor)[effect.column]:
            columns |= {name: np.full(len(effect.levels), np.nan) for name in ("sd", "conf_low", "conf_high")}
        labels = {"group": effect.group, "level": effect.levels, "term": effect.term}
        parts.append(pd.DataFrame({**labels, **columns}))
    return pd.concat(parts, ignore_index=True)
