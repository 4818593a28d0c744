"""Intervals of predictions, and of coefficients and effects, from draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from ..engine.batch import run
from ..errors import DataError
from ..fitting.fit import Fitted
from ..fitting.memory import check_room
from ..kernels.posterior import Draws, draw, draw_rows
from ..progress import progress
from .checks import check_level
from .known_terms import IgnoredTerms, adjusted_rows
from .newdata import PredictionRows
from .prediction import Interval, conditioned_rows, estimate_parts
from .redundant_rows import warn_redundant_rows
from .undetermined import warn_undetermined

Which = Literal["full", "fixed", "random", "all"]
Stat = Literal["median", "mean"]
DrawsFrom = Literal["joint", "separate"]
IntervalMethod = Literal["simulate", "analytic"]

# numbers of draws held at once
CHUNK_DRAWS = 20_000_000


def check_draws(n_sims: int, conf_level: float) -> None:
    """Refuse fewer than two draws and a level outside (0, 1)."""
    if not (isinstance(n_sims, int | np.integer) and n_sims >= 2):
        raise DataError(f"n_sims={n_sims!r} must be a whole number of at least 2")
    check_level(conf_level)


def analytic(method: IntervalMethod, which: Which, **of_draws: bool) -> bool:
    """Tell whether the formulas are asked for.

    Raises
    ------
    DataError
        The method is not known, or cannot do ``which``, or what is asked for by other arguments.
    """
    if method not in ("simulate", "analytic"):
        raise DataError(f"method={method!r} is not known: use 'simulate' or 'analytic'")
    if method == "analytic" and which != "full":
        raise DataError(f"which={which!r} needs method='simulate'; for the fixed part use predict() without effects")
    asked = next((name for name, given in of_draws.items() if given), None)
    if method == "analytic" and asked is not None:
        raise DataError(f"{asked}= is about draws, and method='analytic' makes none: leave out one of the two")
    return method == "analytic"


def interval_name(residual: bool) -> Interval:
    """Name `predict` has for an interval with or without the residual."""
    return "prediction" if residual else "confidence"


def raw_keys(seed: int | None, lanes: Sequence[int], *purpose: int) -> np.ndarray:
    """Two raw numbers per data set, (K, 2); a data set's do not depend on which others there are."""
    return np.stack(
        [np.random.SeedSequence(seed, spawn_key=(*purpose, int(k))).generate_state(2, np.uint32) for k in lanes]
    )


def fresh_seed(seed: int | None) -> int:
    """Return the seed, or a new one where none is given.

    Raises
    ------
    DataError
        The seed is no whole number.
    """
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed={seed!r} must be a whole number that is not negative")
    return int(seed)


def draw_estimates(fitted: Fitted, lanes: Sequence[int], n_sims: int, seed: int | None) -> Draws:
    """Draws in the user's units: gamma becomes beta (K, S, p); effects per factor (K, S, q, levels); sigma (K, S)."""
    model, k = fitted.model, list(lanes)
    _check_room(fitted, len(k), n_sims)
    found = run(
        draw,
        model.batch.take(np.asarray(k)),
        raw_keys(fresh_seed(seed), k, 0),
        fitted.inner[k],
        lapack=True,
        n_sims=n_sims,
        joint=True,
    )
    scale = model.y_scale[k]
    gamma = np.asarray(found.gamma)[:, :, : len(model.keep)]
    beta = model.ols[k][:, None] + np.einsum("kij,ksj->ksi", model.inverse[k], gamma) * scale[:, None, None]
    effects = tuple(
        unit.effects(np.asarray(e)[:, :, :, : factor.n_levels].swapaxes(2, 3)).swapaxes(2, 3)
        * scale[:, None, None, None]
        for e, factor, unit in zip(found.effects, model.layout.factors, model.units, strict=True)
    )
    return Draws(beta, effects, np.asarray(found.sigma) * scale[:, None])


def _check_room(fitted: Fitted, n_lanes: int, n_sims: int) -> None:
    """Draws of coefficients and effects are held at once, some three times."""
    structure = fitted.model.layout.structure
    effects = sum(q * levels for q, levels in zip(structure.q, structure.n_levels, strict=True))
    what = f"{n_sims} draws of {structure.n_fixed} coefficients and {effects} effects"
    numbers = 3 * n_lanes * int(n_sims) * (structure.n_fixed + effects)
    check_room(numbers, f"{what} in {n_lanes} data sets" if n_lanes > 1 else what, "ask for fewer draws (n_sims)")


def centre_spread(means: np.ndarray) -> np.ndarray:
    """Move the imputations' means apart so that the draws of all of them have Rubin's total variance.

    K sets of draws side by side have the variance W + (K - 1)/K B; Rubin's is W + (K + 1)/K B.

    Parameters
    ----------
    means : ndarray (K, ...)

    Returns
    -------
    ndarray (K, ...)
        What to add to the draws.
    """
    k = len(means)
    if k == 1:
        return np.zeros_like(means)
    return np.asarray((np.sqrt((k + 1) / (k - 1)) - 1) * (means - means.mean(axis=0)))


def row_draws(
    fitted: Fitted, lanes: Sequence[int], rows: PredictionRows, n_sims: int, seed: int, draws: DrawsFrom
) -> Iterator[tuple[slice, np.ndarray]]:
    """Draws of predictions, some rows at a time: (K, 2 + factors, S, R), the parts of `estimate_parts`, residual last.

    The draws of coefficients and effects are the same for all rows.
    """
    model, k = fitted.model, list(lanes)
    _check_room(fitted, len(k), n_sims)
    batch, scale = model.batch.take(np.asarray(k)), model.y_scale[k]
    means = estimate_parts(fitted, lanes, rows)
    shift = centre_spread(means)
    weights = np.stack([rows.frame(i).weights for i in range(len(k))])
    size = max(1, CHUNK_DRAWS // (len(k) * n_sims * (2 + len(model.layout.factors))))
    with progress(rows.n_rows, "row") as tell:
        for chunk, start in enumerate(range(0, rows.n_rows, size)):
            part = slice(start, min(start + size, rows.n_rows))
            keys = raw_keys(seed, k, 0), raw_keys(seed, k, 1, chunk)
            conditioned = conditioned_rows(fitted, lanes, rows, part)
            n_new = tuple(len(names) for names in rows.new)
            theta, joint = fitted.inner[k], draws == "joint"
            found = run(
                draw_rows, batch, *keys, theta, conditioned, lapack=True, n_sims=n_sims, n_new=n_new, joint=joint
            )
            out = np.asarray(found.parts)[:, :, :, : part.stop - part.start] * scale[:, None, None, None]
            for i in range(len(k)):
                frame = rows.frame(i)
                out[i, 0] += frame.x[part] @ model.ols[k[i]] + frame.offset[part]
            out[:, :-1] += shift[:, :, None, part]
            out[:, -1] /= np.sqrt(weights[:, None, part])
            yield part, out
            tell(part.stop - part.start)


def simulated_rows(
    fitted: Fitted,
    lanes: Sequence[int],
    rows: PredictionRows,
    *,
    which: Which,
    stat: Stat,
    n_sims: int,
    seed: int | None,
    conf_level: float,
    residual: bool,
    draws: DrawsFrom,
    return_draws: bool,
    ignore_fixed_terms: IgnoredTerms,
    fix_intercept_variance: bool,
) -> pd.DataFrame:
    """Table of simulated intervals, or of the draws; see ``LmerFit.predict_interval``."""
    if ignore_fixed_terms is not None or fix_intercept_variance:
        if draws != "separate":
            name = "fix_intercept_variance" if ignore_fixed_terms is None else "ignore_fixed_terms"
            raise DataError(
                f"{name}= makes up for what draws='separate' counts twice, which draws={draws!r} does not: leave it "
                "out, or give draws='separate'"
            )
        rows = adjusted_rows(fitted, lanes, rows, ignore_fixed_terms, fix_intercept_variance)
    if return_draws:
        return draw_table(fitted, lanes, rows, which=which, n_sims=n_sims, seed=seed, residual=residual, draws=draws)
    return interval_table(
        fitted,
        lanes,
        rows,
        which=which,
        stat=stat,
        n_sims=n_sims,
        seed=seed,
        conf_level=conf_level,
        residual=residual,
        draws=draws,
    )


def interval_table(
    fitted: Fitted,
    lanes: Sequence[int],
    rows: PredictionRows,
    *,
    which: Which,
    stat: Stat,
    n_sims: int,
    seed: int | None,
    conf_level: float,
    residual: bool,
    draws: DrawsFrom,
) -> pd.DataFrame:
    """Table of simulated intervals; see ``LmerFit.predict_interval``."""
    check_draws(n_sims, conf_level)
    _check_known("stat", stat, ("median", "mean"))
    if which != "fixed":
        warn_redundant_rows(fitted, lanes, rows)
    labels = [factor.label for factor in fitted.model.layout.factors]
    found: dict[str, np.ndarray] = {}
    for name, part, total in _totals(fitted, lanes, rows, which, n_sims, seed, residual, draws):
        each = found.setdefault(name, np.empty((3, rows.n_rows)))
        each[:, part] = _summarise(total.reshape(-1, total.shape[2]), stat, conf_level)
    tables = []
    for name, values in found.items():
        table = pd.DataFrame(dict(zip(("estimate", "conf_low", "conf_high"), values, strict=True)), index=rows.index)
        if name in labels and fitted.redundancies.effects(lanes, labels.index(name)).any():
            table[:] = np.nan  # how much of an effect is this factor's is not identified
        if which == "all":
            table.insert(0, "effect", name)
        tables.append(table)
    return tables[0] if which != "all" else pd.concat(tables)


def draw_table(
    fitted: Fitted,
    lanes: Sequence[int],
    rows: PredictionRows,
    *,
    which: Which,
    n_sims: int,
    seed: int | None,
    residual: bool,
    draws: DrawsFrom,
) -> pd.DataFrame:
    """Table of the draws themselves, a row per row of new data (and effect), a column per draw."""
    check_draws(n_sims, 0.95)
    k = len(lanes)
    parts = 2 + len(fitted.model.layout.factors) if which == "all" else 1
    check_room(parts * k * n_sims * rows.n_rows, f"{k * n_sims} draws of {parts * rows.n_rows} predictions",
               "ask for fewer draws (n_sims)")  # fmt: skip
    found: dict[str, np.ndarray] = {}
    for name, part, total in _totals(fitted, lanes, rows, which, n_sims, seed, residual, draws):
        each = found.setdefault(name, np.empty((rows.n_rows, k * n_sims)))
        each[part] = total.reshape(-1, total.shape[2]).T
    columns: pd.Index = pd.RangeIndex(1, n_sims + 1, name="draw")
    if k > 1:
        columns = pd.MultiIndex.from_product([[fitted.model.rows.labels[i] for i in lanes], columns],
                                             names=["imp", "draw"])  # fmt: skip
    tables = {name: pd.DataFrame(values, rows.index, columns) for name, values in found.items()}
    return pd.concat(tables, names=["effect"]) if which == "all" else next(iter(tables.values()))


def _totals(
    fitted: Fitted,
    lanes: Sequence[int],
    rows: PredictionRows,
    which: Which,
    n_sims: int,
    seed: int | None,
    residual: bool,
    draws: DrawsFrom,
) -> Iterator[tuple[str, slice, np.ndarray]]:
    """Draws (K, S, R) of every effect that is asked for, some rows at a time; NaN where there is no prediction."""
    _check_known("which", which, ("full", "fixed", "random", "all"))
    _check_known("draws", draws, ("joint", "separate"))
    if which != "random":
        warn_undetermined(rows.undetermined, rows.index)
    effects = _effects(which, [factor.label for factor in fitted.model.layout.factors])
    lost = np.zeros(rows.n_rows, bool) if rows.undetermined is None else rows.undetermined.rows
    for part, values in row_draws(fitted, lanes, rows, n_sims, fresh_seed(seed), draws):
        for name, parts in effects.items():
            total = values[:, parts].sum(axis=1)
            if residual:
                total += values[:, -1]
            if 0 in parts:
                total[:, :, lost[part]] = np.nan
            yield name, part, total


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DataError(f"{name}={value!r} is not known: use {', '.join(map(repr, known))}")


def _effects(which: Which, labels: list[str]) -> dict[str, list[int]]:
    """Names of the rows of the table, and the parts that each adds up."""
    everything, random = list(range(1 + len(labels))), list(range(1, 1 + len(labels)))
    if which == "all":
        each = {label: [1 + f] for f, label in enumerate(labels)}
        return {"combined": everything, "fixed": [0], **each}
    return {which: {"full": everything, "fixed": [0], "random": random}[which]}


def _summarise(draws: np.ndarray, stat: Stat, conf_level: float) -> np.ndarray:
    """Centre and limits of draws (S, R), as (3, R)."""
    tail = (1 - conf_level) / 2
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail], axis=0)
    return np.stack([draws.mean(axis=0) if stat == "mean" else middle, low, high])
