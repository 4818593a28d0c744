"""What would be predicted for chosen cases in other groups: re_impact and re_margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..errors import DataError
from ..fitting.fit import Fitted
from .cases import move_to_levels
from .draws import DrawsFrom, Which, check_draws, interval_table
from .effects import Effect, choose_effect, choose_effects, choose_factor
from .newdata import PredictionRows, include_level, read_newdata
from .prediction import linear_predictor
from .ranks import rank_table
from .redundancy_words import redundancy_notes
from .simulated import pooled_draws
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
    fitted: Fitted,
    lanes: Sequence[int],
    newdata: pd.DataFrame,
    *,
    group: str | None,
    term: str | None,
    breaks: int,
    n_sims: int,
    seed: int | None,
    conf_level: float,
) -> pd.DataFrame:
    """Average predictions for cases over bins of levels; see ``Toolkit.re_impact``."""
    check_draws(n_sims, conf_level)
    cases, effect = cases_of(newdata), choose_effect(fitted, group, term)
    ranks = _ranked(fitted, lanes, effect)
    bins = bins_of(ranks["percentile"].to_numpy(), breaks)
    shape = (len(effect.levels), len(cases))
    rows = _read(fitted, lanes, cases, effect.group, list(effect.levels))
    warn_undetermined(rows.undetermined, rows.index)
    lost = np.zeros(shape, bool) if rows.undetermined is None else rows.undetermined.rows.reshape(shape)
    found = linear_predictor(fitted, lanes, rows)
    k = len(lanes)
    error = np.sqrt(found.variance.mean(axis=0) + (1 + 1 / k) * (found.estimate.var(axis=0, ddof=1) if k > 1 else 0.0))
    mean, error = found.estimate.mean(axis=0).reshape(shape), error.reshape(shape)
    draws = _case_draws(fitted, lanes, rows, effect, len(cases), n_sims, seed)
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


def _ranked(fitted: Fitted, lanes: Sequence[int], effect: Effect) -> pd.DataFrame:
    """Ranks of the levels of one effect.

    Raises
    ------
    DataError
        The effect is not identified.
    """
    found = rank_table(fitted, lanes, effect.group, effect.term)
    if found["percentile"].isna().any():
        notes = "; ".join(redundancy_notes(fitted, lanes))
        raise DataError(f"the effects of {effect.group} on {effect.term} are not identified: {notes}")
    return found


def _read(
    fitted: Fitted, lanes: Sequence[int], cases: pd.DataFrame, group: str, levels: Sequence[object]
) -> PredictionRows:
    """Rows of all cases in the first level, then in the next, and so on; they keep the labels of the cases."""
    frame = move_to_levels(fitted, cases, group, levels)
    rows = read_newdata(fitted, lanes, frame, include_level(fitted, "group"), "error")
    return replace(rows, index=cases.index[np.tile(np.arange(len(cases)), len(levels))])


def _case_draws(
    fitted: Fitted,
    lanes: Sequence[int],
    rows: PredictionRows,
    effect: Effect,
    n_cases: int,
    n_sims: int,
    seed: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws of the part of the cases that does not move (S, C), their columns of z (C, q), and effects (S, q, L)."""
    found = pooled_draws(fitted, lanes, n_sims, seed)
    fixed = []
    for i in range(len(lanes)):
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
    fitted: Fitted,
    lanes: Sequence[int],
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
    """Predictions for cases in levels at given percentiles; see ``Toolkit.re_margins``."""
    cases, label = cases_of(newdata), fitted.model.layout.factors[choose_factor(fitted, group)].label
    try:
        at = np.asarray(percentiles, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"percentiles={percentiles!r} must be numbers between 0 and 100") from None
    if at.ndim != 1 or not len(at) or not ((at >= 0) & (at <= 100)).all():
        raise DataError(f"percentiles={percentiles!r} must be numbers between 0 and 100")
    picked = []
    for effect in choose_effects(fitted, label, terms):
        ranks = _ranked(fitted, lanes, effect)
        nearest = np.abs(np.round(ranks["percentile"].to_numpy())[None] - at[:, None]).argmin(axis=1)
        picked += [(effect.term, p, level) for p, level in zip(at, ranks["level"].to_numpy()[nearest], strict=True)]
    rows = _read(fitted, lanes, cases, label, [level for _, _, level in picked])
    which: Which = "all"
    table = interval_table(
        fitted,
        lanes,
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
