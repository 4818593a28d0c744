"""Conditional modes, and coefficients plus modes, as tables of one fit and pooled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ..fitting.selection import Selection
from ..inference.modes import coefficient_of_column, error_variances
from .checks import checks
from .coefficients import RUBIN, estimate_table
from .varcorr import factor_columns, factors_in_order, without_effects

Uncertainty = Literal["conditional", "prediction"]
COLUMNS = ("estimate", "std_error", "conf_low", "conf_high", "df", *RUBIN[:-1])


@dataclass(frozen=True)
class FactorModes:
    """Modes of one grouping factor: values (K, levels, q) and the variances of their errors (K, levels, q).

    ``lost`` (q,): columns whose variances are not identified, so that the modes are not either.
    """

    factor: int
    group: str
    levels: np.ndarray
    columns: list[str]
    values: np.ndarray
    variances: np.ndarray
    lost: np.ndarray

    def labels(self) -> dict[str, object]:
        """Label columns of a table with one row per level and column."""
        return {
            "group": self.group,
            "level": np.repeat(self.levels, len(self.columns)),
            "term": np.tile(np.asarray(self.columns, dtype=object), len(self.levels)),
        }


def find_modes(fits: Selection, *, coefficients: bool, uncertainty: Uncertainty) -> Iterator[FactorModes]:
    """Modes of every grouping factor in lme4's order, with the variances that were asked for."""
    checks.choice(uncertainty, Uncertainty, "uncertainty=")
    index, plain = fits.index, uncertainty == "conditional" and not coefficients
    full = None if plain else error_variances(fits.take(index), coefficients=coefficients)
    for f, factor in factors_in_order(fits.fitted):
        modes = fits.fitted.factor_modes[f]
        values = modes.modes[index]
        if coefficients:
            values = values + (fits.fitted.beta[index] @ coefficient_of_column(fits.fitted, f).T)[:, None, :]
        variances = modes.variances[index] if full is None else full[f]
        diagonal = np.diagonal(variances, axis1=2, axis2=3)
        lost = fits.fitted.redundancies.effects(index, f)
        yield FactorModes(f, factor.label, factor.levels, factor_columns(fits.fitted, f), values, diagonal, lost)


def modes_table(fits: Selection, conf_level: float, *, coefficients: bool, uncertainty: Uncertainty) -> pd.DataFrame:
    """Modes with standard errors and limits, normal ones of one fit, by Rubin's rules of several."""
    parts, n = [], fits.n_sets
    for part in find_modes(fits, coefficients=coefficients, uncertainty=uncertainty):
        found = estimate_table(part.values.reshape(n, -1), part.variances.reshape(n, -1), np.inf, conf_level)
        found.loc[np.tile(part.lost, len(part.levels)), found.columns.drop("estimate")] = np.nan
        names = COLUMNS if n > 1 else COLUMNS[:4]
        table = pd.DataFrame({**part.labels(), **found[[*names]]})
        if n > 1:
            table["n_present"] = np.repeat(_present(fits, part.factor), len(part.columns))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _present(fits: Selection, factor: int) -> np.ndarray:
    """In how many of the data sets each level has rows."""
    layout = fits.model.layout
    codes = fits.rows.factor_rows[layout.factor_source[factor]]
    size = layout.factors[factor].n_levels
    if codes.offsets is None:
        return np.full(size, fits.n_sets)
    return np.asarray(np.sum([np.bincount(codes.of(k), minlength=size) > 0 for k in fits.which], axis=0))


def ranef_frames(fits: Selection, *, cond_var: bool) -> dict[str, pd.DataFrame]:
    """Conditional modes, per grouping factor, and their means over several fits; see ``LmerFit.ranef``."""
    out = {}
    for f, factor in factors_in_order(fits.fitted):
        found, columns = fits.fitted.factor_modes[f], factor_columns(fits.fitted, f)
        modes, n = found.modes[fits.index], fits.n_sets
        frame = pd.DataFrame(modes.mean(axis=0), index=pd.Index(factor.levels, name=factor.label), columns=columns)
        if cond_var:
            within = found.variances[fits.index].mean(axis=0)
            parts = {"cond_var": within}
            if n > 1:
                centred = modes - modes.mean(axis=0)
                between = np.einsum("kli,klj->lij", centred, centred) / (n - 1)
                parts = {"within": within, "between": between, "cond_var": within + (1 + 1 / n) * between}
            lost = fits.fitted.redundancies.effects(fits.which, f)
            frame.attrs |= {name: without_effects(part, lost) for name, part in parts.items()}
        out[factor.label] = frame
    return out
