"""Subsamples of the rows: refits to them, and statistics of the refits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..data.imputed import ImputedData
from ..design.build import RowInput, read_rows
from ..design.rows import RowArray
from ..errors import DataError, DesignError, RankDeficientWarning, quiet
from ..fitting.assemble import assemble
from ..fitting.fit import Fitted, fit_assembled
from ..fitting.priors import with_priors
from ..fitting.selection import Selection
from ..memory import check_room
from ..predict.same_rows import require_same_rows
from ..progress import progress
from ..tables.checks import checks, fresh_seed


def check_subsample(fits: Selection, n: int | None, n_boot: int) -> int:
    """Rows per subsample."""
    sizes = set(fits.n_rows)
    if len(sizes) > 1:
        raise DataError("the data sets have different numbers of rows: subsamples take the same rows of all of them")
    for name, value in (("n", n), ("n_boot", n_boot)):
        if value is not None:
            checks.whole(value, f"{name}=")
    require_same_rows(fits, "for subsamples take the same rows of all of them")
    return sizes.pop() if n is None else int(n)


def refit_subsamples(fits: Selection, n: int, n_boot: int, seed: int) -> Fitted:
    """Fit the model to n rows drawn with replacement, n_boot times, the same rows in every data set.

    Data set r * K + k of what is returned is subsample r of data set k.
    """
    rows = fits.rows
    assert rows.data is not None  # every fit keeps its data
    numbers = 3 * n_boot * n * fits.n_sets * (len(fits.model.fixed_names) + 2)
    check_room(numbers, f"{n_boot} subsamples of {n} rows", "ask for fewer (n_boot)")
    random = np.random.default_rng(seed)
    taken = [random.integers(rows.n_rows(fits.which[0]), size=n) for _ in range(n_boot)]
    frames = [rows.data.frames[k].iloc[chosen].reset_index(drop=True) for chosen in taken for k in fits.which]
    own = rows.weights
    weights = None if own is None else [own.of(k)[chosen] for chosen in taken for k in fits.which]
    offset = _given_offset(fits, taken)
    small = "subsamples of n={n} rows do not identify the model ({why}): take a larger n"
    with quiet(RankDeficientWarning):
        try:
            read = read_rows(rows.formula, ImputedData.from_frames(frames), weights=weights, offset=offset)
            if rows.own_response:
                y = [rows.y.of(k)[chosen] for chosen in taken for k in fits.which]
                read = replace(read, y=RowArray(np.concatenate(y), read.offsets))
            model = with_priors(assemble(read, reml=fits.fitted.reml), fits.model.prior, fits.model.fixef_prior)
        except (DesignError, DataError) as error:
            raise DataError(small.format(n=n, why=str(error).replace("imputation", "subsample"))) from None
    if model.fixed_names != fits.model.fixed_names:
        lost = [name for name in fits.model.fixed_names if name not in model.fixed_names]
        raise DataError(small.format(n=n, why=f"no coefficient of {', '.join(lost)}" if lost else "other coefficients"))
    return fit_assembled(model, fits.fitted.optimizer)


def _given_offset(fits: Selection, taken: list[np.ndarray]) -> RowInput:
    """Offsets of the subsamples: the same column, or the chosen values of what was given."""
    given, rows = fits.rows.given_offset, fits.rows
    if given is None or isinstance(given, str):
        return given
    several = isinstance(given, list | tuple) and len(given) == rows.n_sets and np.ndim(given[0]) == 1
    arrays = [np.asarray(given[k] if several else given, dtype=float) for k in range(rows.n_sets)]
    return [arrays[k][chosen] for chosen in taken for k in fits.which]


def statistic_row(value: object) -> dict[str, float]:
    """Name the numbers that a statistic returned."""
    if isinstance(value, pd.Series | dict):
        return {str(name): float(v) for name, v in value.items()}
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        numbers = np.empty((0, 0))
    if numbers.ndim > 1:
        raise DataError(f"statistic must return a number, a vector, a Series or a dict, not a {type(value).__name__}")
    if numbers.ndim == 0:
        return {"statistic": float(numbers)}
    return {f"statistic_{i}": float(v) for i, v in enumerate(numbers, start=1)}


def sub_boot(
    model: Any,
    like: Callable[[Selection], Any],
    statistic: Callable[[Any], Any],
    n: int | None,
    n_boot: int,
    seed: int | None,
) -> pd.DataFrame:
    """Statistics of a fit or pooled model and of its refits to subsamples; see ``LmerFit.sub_boot``."""
    fits, n_sets = model.selection, model.selection.n_sets
    size = check_subsample(fits, n, n_boot)
    if not callable(statistic):
        raise DataError(f"statistic={statistic!r} must be a function of a fit, such as lambda fit: fit.theta")
    first = statistic_row(statistic(model))
    again = refit_subsamples(fits, size, n_boot, fresh_seed(seed))
    rows = [_verdict(0, fits) | first]
    with progress(n_boot, "subsample") as tell:
        for r in range(n_boot):
            part = Selection(again, tuple(range(r * n_sets, (r + 1) * n_sets)))
            rows.append(_verdict(r + 1, part) | statistic_row(statistic(like(part))))
            tell(1)
    return pd.DataFrame(rows)


def _verdict(replicate: int, fits: Selection) -> dict[str, Any]:
    return {
        "replicate": replicate,
        "converged": bool(fits.fitted.converged[fits.index].all()),
        "singular": bool(fits.fitted.singular[fits.index].any()),
    }
