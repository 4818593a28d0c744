"""Which patients were seen at which visits: names, checks, and patterns of observed visits in all data sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ...design.build import ModelRows
from ...errors import DataError, DataWarning, DesignError, shortened, warn
from ...mmrm.structures import SPACED
from .formula import CovarianceTerm, MmrmFormula

# visits whose pattern fits into one number
MOST_BITS = 62


@dataclass(frozen=True, eq=False)
class Visits:
    """Rows by patient, patients by pattern; the rows of all data sets stand below each other.

    Parameters
    ----------
    term : CovarianceTerm
    names : tuple of str
        The T visits in their order.
    groups : tuple of str
        Groups with a covariance matrix of their own; empty where all patients share one.
    order : ndarray of int (rows,)
        Rows patient by patient, each one's visits in their order.
    start, size : ndarray of int (patients,)
        First row of every patient in that order, and number of rows; patients of all data sets, those of the first one
        first.
    data_set, group, pattern : ndarray of int (patients,)
    masks : ndarray (m, T)
        1 for the visits of each pattern.
    offsets : ndarray of int (K + 1,)
        First patient of every data set.
    """

    term: CovarianceTerm
    names: tuple[str, ...]
    groups: tuple[str, ...]
    order: np.ndarray
    start: np.ndarray
    size: np.ndarray
    data_set: np.ndarray
    group: np.ndarray
    pattern: np.ndarray
    masks: np.ndarray
    offsets: np.ndarray

    @property
    def n_groups(self) -> int:
        """Number of covariance matrices."""
        return max(1, len(self.groups))

    def n_patients(self, k: int) -> int:
        """Patients of one data set."""
        return int(self.offsets[k + 1] - self.offsets[k])

    def of_sets(self, which: np.ndarray) -> Visits:
        """Patients of some data sets; their rows stay places among those of all."""
        parts = [np.arange(self.offsets[k], self.offsets[k + 1]) for k in which]
        sizes = [len(part) for part in parts]
        own = np.concatenate(parts)
        chosen = {name: getattr(self, name)[own] for name in ("start", "size", "group", "pattern")}
        data_set, offsets = np.repeat(np.arange(len(which)), sizes), np.cumsum([0, *sizes])
        return replace(self, data_set=data_set, offsets=offsets, **chosen)

    def together(self, k: int) -> np.ndarray:
        """Patients of one data set who have both visits, (groups, T, T)."""
        own = slice(self.offsets[k], self.offsets[k + 1])
        counts = np.zeros((self.n_groups, len(self.masks)))
        np.add.at(counts, (self.group[own], self.pattern[own]), 1.0)
        return np.asarray(np.einsum("gm,mt,ms->gts", counts, self.masks, self.masks))


def formula_of(rows: ModelRows) -> MmrmFormula:
    """Formula of the rows as one with a covariance term."""
    assert isinstance(rows.formula, MmrmFormula)
    return rows.formula


def read_visits(rows: ModelRows) -> Visits:
    """Find the patterns of all data sets.

    Parameters
    ----------
    rows : ModelRows
        Its factors are patients, visits and groups (`CovarianceTerm.factors`).

    Raises
    ------
    DataError
        A patient has a visit twice, or is in several groups.
    DesignError
        There is one visit only, or fewer patients than an unstructured covariance matrix has rows.
    """
    term = formula_of(rows).covariance
    names = tuple(map(str, rows.factors[1].levels))
    if len(names) < 2:
        raise DesignError(
            f"the visits {term.visit!r} are all {names[0]!r}: with one visit for a patient there is nothing to "
            "correlate, and least squares (statsmodels' ols) fit the model"
        )
    n_rows = np.diff(rows.offsets)
    sets = np.repeat(np.arange(rows.n_sets), n_rows)
    patient, visit, *groups = (_stacked(rows, f) for f in range(len(rows.factors)))
    key = (sets * rows.factors[0].n_levels + patient) * len(names) + visit
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    _refuse_twice(rows, term, order, ordered)
    owner = ordered // len(names)
    start = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    size = np.diff(np.r_[start, len(owner)])
    data_set = sets[order[start]]
    group = np.zeros(len(start), int)
    if groups:
        group = groups[0][order[start]]
        _refuse_changes(rows, term, np.repeat(group, size) != groups[0][order], order)
    pattern, masks = _patterns(ordered % len(names), start, len(names))
    offsets = np.searchsorted(data_set, np.arange(rows.n_sets + 1))
    labels = tuple(map(str, rows.factors[2].levels)) if groups else ()
    found = Visits(term, names, labels, order, start, size, data_set, group, pattern, masks, offsets)
    _refuse_few(rows, found)
    return found


def _stacked(rows: ModelRows, factor: int) -> np.ndarray:
    """Codes of all data sets below each other."""
    codes = rows.factor_rows[factor]
    values = codes.values.astype(np.int64)
    return np.tile(values, rows.n_sets) if codes.offsets is None else values


def _where(rows: ModelRows, at: int) -> str:
    """Imputation of a stacked row."""
    k = int(np.searchsorted(rows.offsets, at, side="right")) - 1
    return f" in imputation {rows.labels[k]}" if rows.n_sets > 1 else ""


def _level(rows: ModelRows, factor: int, at: int) -> str:
    return str(rows.factors[factor].levels[_stacked(rows, factor)[at]])


def _refuse_twice(rows: ModelRows, term: CovarianceTerm, order: np.ndarray, ordered: np.ndarray) -> None:
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        at = int(order[twice[0] + 1])
        more = f" ({len(twice)} rows repeat a visit)" if len(twice) > 1 else ""
        raise DataError(
            f"patient {_level(rows, 0, at)!r} has visit {_level(rows, 1, at)!r} twice{_where(rows, at)}{more}: a row "
            f"is one visit ({term.visit!r}) of one patient ({term.patient!r}); take the mean of them, or number the "
            "patients of all sites differently"
        )


def _refuse_changes(rows: ModelRows, term: CovarianceTerm, changed: np.ndarray, order: np.ndarray) -> None:
    if changed.any():
        at = int(order[np.argmax(changed)])
        raise DataError(
            f"patient {_level(rows, 0, at)!r} is in several groups of {term.group!r}{_where(rows, at)}: a patient has "
            "one covariance matrix"
        )


def _refuse_few(rows: ModelRows, found: Visits) -> None:
    if found.term.structure != "us":
        return
    n_visits, where = len(found.names), found.data_set * found.n_groups + found.group
    counts = np.bincount(where, minlength=rows.n_sets * found.n_groups)
    few = np.flatnonzero(counts < n_visits)
    if len(few):
        k, g = divmod(int(few[0]), found.n_groups)
        of = f" of {found.groups[g]}" if found.groups else ""
        place = f" in imputation {rows.labels[k]}" if rows.n_sets > 1 else ""
        raise DesignError(
            f"{counts[few[0]]} patients{of}{place} are too few for an unstructured covariance matrix of {n_visits} "
            "visits: use a structure with fewer parameters, such as 'toeph', 'ar1h' or 'csh'"
        )


def _patterns(visit: np.ndarray, start: np.ndarray, n_visits: int) -> tuple[np.ndarray, np.ndarray]:
    """Pattern of every patient, and the visits of every pattern (m, T)."""
    if n_visits <= MOST_BITS:
        bits = np.add.reduceat(1 << visit, start)
        known, pattern = np.unique(bits, return_inverse=True)
        return pattern.reshape(-1), ((known[:, None] >> np.arange(n_visits)) & 1).astype(float)
    seen = np.zeros((len(start), n_visits), bool)
    seen[np.repeat(np.arange(len(start)), np.diff(np.r_[start, len(visit)])), visit] = True
    masks, pattern = np.unique(seen, axis=0, return_inverse=True)
    return pattern.reshape(-1), masks.astype(float)


def warn_visits(rows: ModelRows, visits: Visits) -> None:
    """Warn of levels that are never observed, and of an order or a spacing that may not be meant."""
    term, names = visits.term, visits.names
    assert rows.data is not None  # every fit keeps its data
    column = rows.data.frames[0][term.visit]
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [str(level) for level in column.cat.categories]
        unused = [level for level in levels if level not in names]
        if unused:
            beside = (
                "; visits before and after them count as neighbours" if term.structure in SPACED | {"ante1"} else ""
            )
            warn(f"no patient has visit {shortened(unused)}, which {_is(unused)} left out{beside}", DataWarning)
        return
    if term.structure not in SPACED | {"ante1"}:
        return
    if pd.api.types.is_numeric_dtype(column.dtype):
        gaps = np.diff(np.array(names, float))
        if term.structure in SPACED and np.ptp(gaps) > 1e-9 * np.max(gaps):
            warn(
                f"the visits {shortened(names)} of {term.visit!r} are not equally spaced, and {term.structure!r} takes "
                "them for neighbours at the same distance: use 'us', 'ante1' or 'csh' if that is not meant",
                DataWarning,
            )
        return
    numbers = [re.findall(r"\d+", name) for name in names]
    if all(numbers) and len(set(map(len, numbers))) == 1:
        values = [tuple(map(int, own)) for own in numbers]
        if values != sorted(values):
            warn(
                f"the visits of {term.visit!r} stand in the order {shortened(names)}, as texts sort, and "
                f"{term.structure!r} depends on it: make {term.visit!r} an ordered pandas.Categorical",
                DataWarning,
            )


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
