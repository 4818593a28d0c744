"""Impact of group effects on chosen cases: predictions in other groups, of re_impact and re_margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..tables.checks import checks
from ..tables.coefficients import total_variance
from ..tables.notes import redundancy_notes
from .draws import DrawOptions, interval_table, pooled_draws, summary_columns
from .levels import Effect, choose_effect, choose_effects, choose_factor, rank_table, shares_of
from .newdata import PredictionRows, include_level, read_newdata
from .observations import move_to_levels
from .prediction import linear_predictor
from .undetermined import warn_undetermined


def cases_of(newdata: object) -> pd.DataFrame:
    """Cases, given as one data frame."""
    if not isinstance(newdata, pd.DataFrame) or not len(newdata):
        raise DataError("newdata must be a DataFrame with at least one case, such as average_obs() or draw_obs() give")
    return newdata


def bins_of(percentiles: np.ndarray, breaks: int) -> np.ndarray:
    """Cut percentiles, in whole numbers, into bins of equal width between the smallest and the largest (from 0)."""
    checks.whole(breaks, "breaks=", 2)
    whole = np.round(percentiles)
    edges = np.linspace(whole.min(), whole.max(), breaks + 1)[1:-1]
    return np.asarray(np.searchsorted(edges, whole, side="left"))


def impact_table(
    fits: Selection,
    newdata: pd.DataFrame,
    group: str | None,
    term: str | None,
    breaks: int,
    options: DrawOptions,
) -> pd.DataFrame:
    """Average predictions for cases over bins of levels; see ``LmerFit.re_impact``."""
    cases, effect = cases_of(newdata), choose_effect(fits.fitted, group, term)
    ranks = _ranked(fits, effect)
    bins = bins_of(ranks["percentile"].to_numpy(), breaks)
    shape = (len(effect.levels), len(cases))
    rows = _read(fits, cases, effect.group, list(effect.levels))
    warn_undetermined(rows.undetermined, rows.index)
    lost = np.zeros(shape, bool) if rows.undetermined is None else rows.undetermined.rows.reshape(shape)
    found = linear_predictor(fits, rows)
    error = np.sqrt(total_variance(found.estimate, found.variance)).reshape(shape)
    mean = found.estimate.mean(axis=0).reshape(shape)
    draws = _case_draws(fits, rows, effect, len(cases), options)
    tables = []
    for number in np.unique(bins):
        inside = np.flatnonzero(bins == number)
        weight = 1 / error[inside]
        weight = weight / weight.sum(axis=0)
        fixed, z, effects = draws
        total = fixed + np.einsum("cl,cq,sql->sc", weight.T, z, effects[:, :, inside])
        drawn = summary_columns(total, options.conf_level)
        tables.append(
            pd.DataFrame(
                {
                    "case": np.arange(1, len(cases) + 1),
                    "bin": int(number) + 1,
                    "percentile_low": ranks["percentile"].to_numpy()[inside].min(),
                    "percentile_high": ranks["percentile"].to_numpy()[inside].max(),
                    "n_levels": len(inside),
                    "estimate": (weight * mean[inside]).sum(axis=0),
                    "std_error": drawn["sd"],
                    "conf_low": drawn["conf_low"],
                    "conf_high": drawn["conf_high"],
                }
            )
        )
    out = pd.concat(tables, ignore_index=True)
    out.loc[np.tile(lost.any(axis=0), len(tables)), ["estimate", "std_error", "conf_low", "conf_high"]] = np.nan
    return out


def _ranked(fits: Selection, effect: Effect) -> pd.DataFrame:
    """Ranks of the levels of one effect."""
    found = rank_table(fits, effect.group, effect.term)
    if found["percentile"].isna().any():
        notes = "; ".join(redundancy_notes(fits))
        raise DataError(f"the effects of {effect.group} on {effect.term} are not identified: {notes}")
    return found


def _read(fits: Selection, cases: pd.DataFrame, group: str, levels: Sequence[object]) -> PredictionRows:
    """Rows of all cases in the first level, then in the next, and so on; they keep the labels of the cases."""
    frame = move_to_levels(fits.fitted, cases, group, levels)
    rows = read_newdata(fits, frame, include_level(fits.fitted, "group"), "error")
    return replace(rows, index=cases.index[np.tile(np.arange(len(cases)), len(levels))])


def _case_draws(
    fits: Selection, rows: PredictionRows, effect: Effect, n_cases: int, options: DrawOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws of the part of the cases that does not move (S, C), their columns of z (C, q), and effects (S, q, L)."""
    found = pooled_draws(fits, options.n_sims, options.seed)
    fixed = []
    for i in range(fits.n_sets):
        frame = rows.frame(i)
        # cases stand in blocks, one per level: the first block has all that does not move
        total = found.beta[i] @ frame.x[:n_cases].T + frame.offset[:n_cases]
        for f, (z, codes) in enumerate(zip(frame.z, frame.codes, strict=True)):
            if f != effect.factor:
                total = total + np.einsum("cq,sqc->sc", z[:n_cases], found.effects[f][i][:, :, codes[:n_cases]])
        fixed.append(total)
    z = rows.frame(0).z[effect.factor][:n_cases]
    moved = found.effects[effect.factor]
    return np.concatenate(fixed), z, moved.reshape(-1, *moved.shape[2:])


def margins_table(
    fits: Selection,
    newdata: pd.DataFrame,
    group: str | None,
    terms: str | Sequence[str] | None,
    percentiles: Sequence[float],
    options: DrawOptions,
) -> pd.DataFrame:
    """Predictions for cases in levels at given percentiles; see ``LmerFit.re_margins``."""
    cases, label = cases_of(newdata), fits.model.layout.factors[choose_factor(fits.fitted, group)].label
    at = shares_of(percentiles, "percentiles=", 100)
    picked = []
    for effect in choose_effects(fits.fitted, label, terms):
        ranks = _ranked(fits, effect)
        nearest = np.abs(np.round(ranks["percentile"].to_numpy())[None] - at[:, None]).argmin(axis=1)
        picked += [(effect.term, p, level) for p, level in zip(at, ranks["level"].to_numpy()[nearest], strict=True)]
    rows = _read(fits, cases, label, [level for _, _, level in picked])
    table = interval_table(fits, rows, options)
    row = np.arange(len(table)) % rows.n_rows
    block, case = row // len(cases), row % len(cases)
    where = pd.DataFrame(picked, columns=["term", "percentile", "level"]).iloc[block].reset_index(drop=True)
    where.insert(0, "case", case + 1)
    return pd.concat([where, table.reset_index(drop=True)], axis=1)
