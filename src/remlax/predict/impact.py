"""Impact of group effects on chosen cases: predictions in other groups, of re_impact and re_margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..tables.checks import check_draws
from ..tables.notes import redundancy_notes
from .draws import DrawsFrom, Which, interval_table, pooled_draws
from .levels import Effect, choose_effect, choose_effects, choose_factor, rank_table
from .newdata import PredictionRows, include_level, read_newdata
from .observations import move_to_levels
from .prediction import linear_predictor
from .undetermined import warn_undetermined


def cases_of(newdata: object) -> pd.DataFrame:
    """Check that cases were given as one data frame.

    Raises
    ------
    DataError
    """
    if not isinstance(newdata, pd.DataFrame) or not len(newdata):
        raise DataError("newdata must be a DataFrame with at least one case, such as average_obs() or draw_obs() give")
    return newdata


def bins_of(percentiles: np.ndarray, breaks: int) -> np.ndarray:
    """Cut percentiles, in whole numbers, into bins of equal width between the smallest and the largest (from 0)."""
    if not (isinstance(breaks, int | np.integer) and breaks >= 2):
        raise DataError(f"breaks={breaks!r} must be a whole number of at least 2")
    whole = np.round(percentiles)
    edges = np.linspace(whole.min(), whole.max(), breaks + 1)[1:-1]
    return np.asarray(np.searchsorted(edges, whole, side="left"))


def impact_table(
    fits: Selection,
    newdata: pd.DataFrame,
    *,
    group: str | None,
    term: str | None,
    breaks: int,
    n_sims: int,
    seed: int | None,
    conf_level: float,
) -> pd.DataFrame:
    """Average predictions for cases over bins of levels; see ``LmerFit.re_impact``."""
    check_draws(n_sims, conf_level)
    cases, effect = cases_of(newdata), choose_effect(fits.fitted, group, term)
    ranks = _ranked(fits, effect)
    bins = bins_of(ranks["percentile"].to_numpy(), breaks)
    shape = (len(effect.levels), len(cases))
    rows = _read(fits, cases, effect.group, list(effect.levels))
    warn_undetermined(rows.undetermined, rows.index)
    lost = np.zeros(shape, bool) if rows.undetermined is None else rows.undetermined.rows.reshape(shape)
    found = linear_predictor(fits, rows)
    k = fits.n_sets
    error = np.sqrt(found.variance.mean(axis=0) + (1 + 1 / k) * (found.estimate.var(axis=0, ddof=1) if k > 1 else 0.0))
    mean, error = found.estimate.mean(axis=0).reshape(shape), error.reshape(shape)
    draws = _case_draws(fits, rows, effect, len(cases), n_sims, seed)
    tables = []
    for number in np.unique(bins):
        inside = np.flatnonzero(bins == number)
        weight = 1 / error[inside]
        weight = weight / weight.sum(axis=0)
        fixed, z, effects = draws
        total = fixed + np.einsum("cl,cq,sql->sc", weight.T, z, effects[:, :, inside])
        tail = (1 - conf_level) / 2
        low, high = np.quantile(total, [tail, 1 - tail], axis=0)
        tables.append(
            pd.DataFrame(
                {
                    "case": np.arange(1, len(cases) + 1),
                    "bin": int(number) + 1,
                    "percentile_low": ranks["percentile"].to_numpy()[inside].min(),
                    "percentile_high": ranks["percentile"].to_numpy()[inside].max(),
                    "n_levels": len(inside),
                    "estimate": (weight * mean[inside]).sum(axis=0),
                    "std_error": total.std(axis=0, ddof=1),
                    "conf_low": low,
                    "conf_high": high,
                }
            )
        )
    out = pd.concat(tables, ignore_index=True)
    out.loc[np.tile(lost.any(axis=0), len(tables)), ["estimate", "std_error", "conf_low", "conf_high"]] = np.nan
    return out


def _ranked(fits: Selection, effect: Effect) -> pd.DataFrame:
    """Ranks of the levels of one effect.

    Raises
    ------
    DataError
        The effect is not identified.
    """
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
    fits: Selection,
    rows: PredictionRows,
    effect: Effect,
    n_cases: int,
    n_sims: int,
    seed: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws of the part of the cases that does not move (S, C), their columns of z (C, q), and effects (S, q, L)."""
    found = pooled_draws(fits, n_sims, seed)
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
    *,
    group: str | None,
    terms: str | Sequence[str] | None,
    percentiles: Sequence[float],
    n_sims: int,
    seed: int | None,
    conf_level: float,
    residual: bool,
    draws: DrawsFrom,
) -> pd.DataFrame:
    """Predictions for cases in levels at given percentiles; see ``LmerFit.re_margins``."""
    cases, label = cases_of(newdata), fits.model.layout.factors[choose_factor(fits.fitted, group)].label
    try:
        at = np.asarray(percentiles, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"percentiles={percentiles!r} must be numbers between 0 and 100") from None
    if at.ndim != 1 or not len(at) or not ((at >= 0) & (at <= 100)).all():
        raise DataError(f"percentiles={percentiles!r} must be numbers between 0 and 100")
    picked = []
    for effect in choose_effects(fits.fitted, label, terms):
        ranks = _ranked(fits, effect)
        nearest = np.abs(np.round(ranks["percentile"].to_numpy())[None] - at[:, None]).argmin(axis=1)
        picked += [(effect.term, p, level) for p, level in zip(at, ranks["level"].to_numpy()[nearest], strict=True)]
    rows = _read(fits, cases, label, [level for _, _, level in picked])
    which: Which = "all"
    table = interval_table(
        fits,
        rows,
        which=which,
        stat="median",
        n_sims=n_sims,
        seed=seed,
        conf_level=conf_level,
        residual=residual,
        draws=draws,
    )
    row = np.arange(len(table)) % rows.n_rows
    block, case = row // len(cases), row % len(cases)
    for i, (name, values) in enumerate(
        {
            "case": case + 1,
            "term": np.array([t for t, _, _ in picked], dtype=object)[block],
            "percentile": np.array([p for _, p, _ in picked])[block],
            "level": np.array([v for _, _, v in picked], dtype=object)[block],
        }.items()
    ):
        table.insert(i, name, values)
    return table.reset_index(drop=True)
