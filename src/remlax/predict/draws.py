"""Draws of coefficients, random effects and predictions, and their summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ..engine.batch import run
from ..errors import DataError
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..kernels.posterior import Draws, draw, draw_rows
from ..memory import check_room
from ..progress import progress
from ..tables.checks import check_draws, checks, fresh_seed
from .glmm_draws import draw_glmm, glmm_row_draws
from .known_terms import IgnoredTerms, adjusted_rows
from .levels import choose_effects
from .newdata import PredictionRows
from .prediction import conditioned_rows, estimate_parts
from .redundant_rows import warn_redundant_rows
from .undetermined import warn_undetermined

Which = Literal["full", "fixed", "random", "all"]
Stat = Literal["median", "mean"]
DrawsFrom = Literal["joint", "separate"]
IntervalMethod = Literal["simulate", "analytic"]

# numbers of draws held at once
CHUNK_DRAWS = 20_000_000


@dataclass(frozen=True)
class DrawOptions:
    """Which draws of predictions are made, and how they are summarised, as of ``LmerFit.predict_interval``.

    inverse: what takes them to another scale, such as an inverse link.
    """

    n_sims: int
    seed: int | None
    conf_level: float = 0.95
    which: Which = "full"
    stat: Stat = "median"
    residual: bool = True
    draws: DrawsFrom = "joint"
    return_draws: bool = False
    ignore_fixed_terms: IgnoredTerms = None
    fix_intercept_variance: bool = False
    inverse: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        for name, literal in (("which", Which), ("stat", Stat), ("draws", DrawsFrom)):
            checks.choice(getattr(self, name), literal, f"{name}=")
        check_draws(self.n_sims, self.conf_level)

    @property
    def corrections(self) -> list[str]:
        """What makes coefficients count as known, wholly or in part."""
        known = ["ignore_fixed_terms"] if self.ignore_fixed_terms is not None else []
        return known + ["fix_intercept_variance"] * bool(self.fix_intercept_variance)

    def analytic(self, method: IntervalMethod) -> bool:
        """Tell whether the formulas are asked for, and nothing that they do not know."""
        checks.choice(method, IntervalMethod, "method=")
        if method == "simulate":
            if self.draws != "separate" and self.corrections:
                raise DataError(
                    f"{self.corrections[0]}= makes up for what draws='separate' counts twice, which "
                    f"draws={self.draws!r} does not: leave it out, or give draws='separate'"
                )
            return False
        if self.which != "full":
            raise DataError(
                f"which={self.which!r} needs method='simulate'; for the fixed part use predict() without effects"
            )
        for name in ["return_draws"] * bool(self.return_draws) + self.corrections:
            raise DataError(f"{name}= is about draws, and method='analytic' makes none: leave out one of the two")
        return True


def raw_keys(seed: int | None, which: Sequence[int], *purpose: int) -> np.ndarray:
    """Two raw numbers per data set, (K, 2); a data set's do not depend on which others there are."""
    return np.stack(
        [np.random.SeedSequence(seed, spawn_key=(*purpose, int(k))).generate_state(2, np.uint32) for k in which]
    )


def draw_estimates(fits: Selection, n_sims: int, seed: int | None) -> Draws:
    """Draws in the user's units: gamma becomes beta (K, S, p); effects per factor (K, S, q, levels); sigma (K, S)."""
    model, k = fits.model, fits.index
    if not model.layout.terms:
        raise DataError("draws of coefficients and random effects are of models with random effects: use vcov()")
    _check_room(fits, n_sims)
    if isinstance(fits.fitted, GlmmFitted):
        return draw_glmm(fits, n_sims, fresh_seed(seed))
    keys = raw_keys(fresh_seed(seed), fits.which, 0)
    found = run(draw, model.batch.take(k), keys, fits.inner, lapack=True, n_sims=n_sims, joint=True)
    scale = model.y_scale[k]
    gamma = np.asarray(found.gamma)[:, :, : len(model.keep)]
    beta = model.ols[k][:, None] + np.einsum("kij,ksj->ksi", model.inverse[k], gamma) * scale[:, None, None]
    effects = tuple(
        unit.effects(np.asarray(e)[:, :, :, : factor.n_levels].swapaxes(2, 3)).swapaxes(2, 3)
        * scale[:, None, None, None]
        for e, factor, unit in zip(found.effects, model.layout.factors, model.units, strict=True)
    )
    return Draws(beta, effects, np.asarray(found.sigma) * scale[:, None])


def _check_room(fits: Selection, n_sims: int) -> None:
    """Draws of coefficients and effects are held at once, some three times, padded as programs have them."""
    layout, n_sets = fits.model.layout, fits.n_sets
    structure = layout.structure
    effects = sum(q * factor.n_levels for q, factor in zip(structure.q, layout.factors, strict=True))
    padded = sum(q * levels for q, levels in zip(structure.q, structure.n_levels, strict=True))
    what = f"{n_sims} draws of {len(fits.model.keep)} coefficients and {effects} effects"
    numbers = 3 * n_sets * int(n_sims) * (structure.n_fixed + padded)
    check_room(numbers, f"{what} in {n_sets} data sets" if n_sets > 1 else what, "ask for fewer draws (n_sims)")


def centre_spread(means: np.ndarray) -> np.ndarray:
    """Move the imputations' means apart so that the draws of all of them have Rubin's total variance.

    K sets of draws side by side have the variance W + (K - 1)/K B; Rubin's is W + (K + 1)/K B.

    means (K, ...); returned is what to add to the draws (K, ...).
    """
    k = len(means)
    if k == 1:
        return np.zeros_like(means)
    return np.asarray((np.sqrt((k + 1) / (k - 1)) - 1) * (means - means.mean(axis=0)))


def row_draws(
    fits: Selection, rows: PredictionRows, n_sims: int, seed: int, draws: DrawsFrom
) -> Iterator[tuple[slice, np.ndarray]]:
    """Draws of predictions, some rows at a time: (K, 2 + factors, S, R), the parts of `estimate_parts`, residual last.

    The draws of coefficients and effects are the same for all rows.
    """
    model, k = fits.model, fits.index
    _check_room(fits, n_sims)
    batch, scale = model.batch.take(k), model.y_scale[k]
    means = estimate_parts(fits, rows)
    shift = centre_spread(means)
    if isinstance(fits.fitted, GlmmFitted):
        yield from glmm_row_draws(fits, rows, n_sims, seed, shift, joint=draws == "joint")
        return
    weights = np.stack([rows.frame(i).weights for i in range(len(k))])
    size = max(1, CHUNK_DRAWS // (len(k) * n_sims * (2 + len(model.layout.factors))))
    static: dict[str, Any] = {"n_sims": n_sims, "n_new": tuple(map(len, rows.new)), "joint": draws == "joint"}
    with progress(rows.n_rows, "row") as tell:
        for chunk, start in enumerate(range(0, rows.n_rows, size)):
            part = slice(start, min(start + size, rows.n_rows))
            keys = raw_keys(seed, fits.which, 0), raw_keys(seed, fits.which, 1, chunk)
            given = conditioned_rows(fits, rows, part)
            found = run(draw_rows, batch, *keys, fits.inner, given, lapack=True, **static)
            out = np.asarray(found.parts)[:, :, :, : part.stop - part.start] * scale[:, None, None, None]
            for i in range(len(k)):
                frame = rows.frame(i)
                out[i, 0] += frame.x[part] @ model.ols[k[i]] + frame.offset[part]
            out[:, :-1] += shift[:, :, None, part]
            out[:, -1] /= np.sqrt(weights[:, None, part])
            yield part, out
            tell(part.stop - part.start)


def simulated_rows(fits: Selection, rows: PredictionRows, options: DrawOptions) -> pd.DataFrame:
    """Table of simulated intervals, or of the draws; see ``LmerFit.predict_interval``."""
    if options.corrections:
        rows = adjusted_rows(fits, rows, options.ignore_fixed_terms, options.fix_intercept_variance)
    return draw_table(fits, rows, options) if options.return_draws else interval_table(fits, rows, options)


def interval_table(fits: Selection, rows: PredictionRows, options: DrawOptions) -> pd.DataFrame:
    """Table of simulated intervals."""
    if options.which != "fixed":
        warn_redundant_rows(fits, rows)
    labels = [factor.label for factor in fits.model.layout.factors]
    found: dict[str, np.ndarray] = {}
    for name, part, total in _totals(fits, rows, options):
        each = found.setdefault(name, np.empty((3, rows.n_rows)))
        columns = summary_columns(total.reshape(-1, total.shape[2]), options.conf_level)
        each[:, part] = columns[options.stat], columns["conf_low"], columns["conf_high"]
    tables = []
    for name, values in found.items():
        table = pd.DataFrame(dict(zip(("estimate", "conf_low", "conf_high"), values, strict=True)), index=rows.index)
        if name in labels and fits.fitted.redundancies.effects(fits.which, labels.index(name)).any():
            table[:] = np.nan  # how much of an effect is this factor's is not identified
        if options.which == "all":
            table.insert(0, "effect", name)
        tables.append(table)
    return pd.concat(tables)


def draw_table(fits: Selection, rows: PredictionRows, options: DrawOptions) -> pd.DataFrame:
    """Table of the draws themselves, a row per row of new data (and effect), a column per draw."""
    k, n_sims, every = fits.n_sets, options.n_sims, options.which == "all"
    parts = 2 + len(fits.model.layout.factors) if every else 1
    what = f"{k * n_sims} draws of {parts * rows.n_rows} predictions"
    check_room(parts * k * n_sims * rows.n_rows, what, "ask for fewer draws (n_sims)")
    found: dict[str, np.ndarray] = {}
    for name, part, total in _totals(fits, rows, options):
        each = found.setdefault(name, np.empty((rows.n_rows, k * n_sims)))
        each[part] = total.reshape(-1, total.shape[2]).T
    columns: pd.Index = pd.RangeIndex(1, n_sims + 1, name="draw")
    if k > 1:
        columns = pd.MultiIndex.from_product([fits.labels, columns], names=["imp", "draw"])
    tables = {name: pd.DataFrame(values, rows.index, columns) for name, values in found.items()}
    return pd.concat(tables, names=["effect"]) if every else next(iter(tables.values()))


def _totals(fits: Selection, rows: PredictionRows, options: DrawOptions) -> Iterator[tuple[str, slice, np.ndarray]]:
    """Draws (K, S, R) of every effect that is asked for, some rows at a time; NaN where there is no prediction."""
    if options.which != "random":
        warn_undetermined(rows.undetermined, rows.index)
    effects = _effects(options.which, [factor.label for factor in fits.model.layout.factors])
    lost = np.zeros(rows.n_rows, bool) if rows.undetermined is None else rows.undetermined.rows
    for part, values in row_draws(fits, rows, options.n_sims, fresh_seed(options.seed), options.draws):
        for name, parts in effects.items():
            total = values[:, parts].sum(axis=1)
            if options.residual:
                total += values[:, -1]
            if options.inverse is not None:
                total = options.inverse(total)
            if 0 in parts:
                total[:, :, lost[part]] = np.nan
            yield name, part, total


def _effects(which: Which, labels: list[str]) -> dict[str, list[int]]:
    """Names of the rows of the table, and the parts that each adds up."""
    everything, random = list(range(1 + len(labels))), list(range(1, 1 + len(labels)))
    if which == "all":
        each = {label: [1 + f] for f, label in enumerate(labels)}
        return {"combined": everything, "fixed": [0], **each}
    return {which: {"full": everything, "fixed": [0], "random": random}[which]}


class PooledDraws(NamedTuple):
    """Draws of every imputation: beta (K, S, p); effects per factor (K, S, q, levels)."""

    beta: np.ndarray
    effects: tuple[np.ndarray, ...]


def pooled_draws(fits: Selection, n_sims: int, seed: int | None) -> PooledDraws:
    """Draws of every imputation, moved so that those of all of them together have Rubin's total variance."""
    found = draw_estimates(fits, n_sims, seed)
    effects = tuple(
        np.asarray(e) + np.swapaxes(centre_spread(modes.modes[fits.index]), 1, 2)[:, None]
        for e, modes in zip(found.effects, fits.fitted.factor_modes, strict=True)
    )
    return PooledDraws(np.asarray(found.gamma) + centre_spread(fits.beta)[:, None], effects)


def summary_columns(draws: np.ndarray, conf_level: float) -> dict[str, np.ndarray]:
    """Mean, median, SD and limits, which are quantiles, of draws (S, R), each (R,)."""
    tail = (1 - conf_level) / 2
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail], axis=0)
    return {
        "mean": draws.mean(axis=0),
        "median": middle,
        "sd": draws.std(axis=0, ddof=1),
        "conf_low": low,
        "conf_high": high,
    }


def sim_fixef_table(
    fits: Selection, n_sims: int, seed: int | None, conf_level: float, *, exponentiate: bool = False
) -> pd.DataFrame:
    """Summaries of draws of the coefficients; see ``LmerFit.sim_fixef``."""
    check_draws(n_sims, conf_level)
    beta = pooled_draws(fits, n_sims, seed).beta
    if exponentiate:
        beta = np.exp(beta)
    columns = summary_columns(beta.reshape(-1, beta.shape[2]), conf_level)
    return pd.DataFrame({"term": fits.model.fixed_names, **columns})


def sim_ranef_table(
    fits: Selection,
    group: str | None,
    n_sims: int,
    seed: int | None,
    conf_level: float,
    *,
    exponentiate: bool = False,
) -> pd.DataFrame:
    """Summaries of draws of the random effects; see ``LmerFit.sim_ranef``."""
    check_draws(n_sims, conf_level)
    chosen = choose_effects(fits.fitted, group, None)
    draws = pooled_draws(fits, n_sims, seed).effects
    parts = []
    for effect in chosen:
        values = draws[effect.factor][:, :, effect.column]
        values = np.exp(values) if exponentiate else values
        columns = summary_columns(values.reshape(-1, values.shape[2]), conf_level)
        if fits.fitted.redundancies.effects(fits.which, effect.factor)[effect.column]:
            columns |= {name: np.full(len(effect.levels), np.nan) for name in ("sd", "conf_low", "conf_high")}
        labels = {"group": effect.group, "level": effect.levels, "term": effect.term}
        parts.append(pd.DataFrame({**labels, **columns}))
    return pd.concat(parts, ignore_index=True)
