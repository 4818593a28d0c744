"""A trial as it is imputed: patients, visits and arms, with a row for every visit of every patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ...design.groups import GroupingFactor, grouping_factor, level_name
from ...design.tree import columns_in
from ...errors import ImputationError, shortened
from ...fitting.mmrm.formula import MmrmFormula
from ..columns import FloatArray
from ..patterns import IntArray, check_columns


@dataclass(frozen=True, eq=False)
class Trial:
    """n patients at T visits, in the order in which they are in the data and in that of the visits.

    Attributes
    ----------
    frame : pandas.DataFrame
        The data, with a row for every visit of every patient.
    row : ndarray of int (n, T)
        Row of every patient's visit.
    response, arm_column, visit_column, patient_column : str
    patients, visits, arms : tuple of str
    arm : ndarray of int (n,)
    reference : int
        The reference arm.
    """

    frame: pd.DataFrame
    row: IntArray
    response: str
    arm_column: str
    visit_column: str
    patient_column: str
    patients: tuple[str, ...]
    visits: tuple[str, ...]
    arms: tuple[str, ...]
    arm: IntArray
    reference: int

    @property
    def shape(self) -> tuple[int, int]:
        """Patients and visits."""
        return len(self.patients), len(self.visits)

    @cached_property
    def y(self) -> FloatArray:
        """Responses (n, T), NaN where missing."""
        values: FloatArray = self.frame[self.response].to_numpy(dtype=float, na_value=np.nan)[self.row]
        return values

    def in_arm(self, arm: int) -> pd.DataFrame:
        """The data with all patients in one arm."""
        column = self.frame[self.arm_column]
        source = self.row[np.argmax(self.arm == arm), 0]
        return self.frame.assign(**{self.arm_column: column.take([source] * len(column)).set_axis(column.index)})

    def of_patient(self, column: str, what: str) -> pd.Series:
        """A column (n,) with one value in all rows of a patient, which may be missing."""
        values = self.frame[column]
        codes = pd.factorize(values)[0][self.row]
        changes = np.flatnonzero((codes != codes[:, :1]).any(axis=1))
        if len(changes):
            raise ImputationError(
                f"{what}{column!r} changes between the rows of patient {self.named(changes)}: it must have the same "
                "value in all rows of a patient"
            )
        return values.iloc[self.row[:, 0]]

    def named(self, which: IntArray) -> str:
        """Names of some patients, for messages."""
        return shortened(repr(self.patients[i]) for i in which)


def read_trial(data: pd.DataFrame, formula: MmrmFormula, arm: str, reference: object) -> Trial:
    """Find patients, visits and arms, and add the rows of visits that are not in the data.

    Raises
    ------
    ImputationError
        Columns that are not there or have missing cells, a visit that a patient has twice, a patient in several arms,
        an arm that is not in the formula, or no such reference.
    """
    term = formula.covariance
    check_columns(data, formula.variables, "formula=")
    check_columns(data, [term.patient, term.visit, *([term.group] if term.group else [])], "formula=")
    check_columns(data, [arm], "arm=")
    response = _response(data, formula)
    for name in (term.patient, term.visit, arm):
        _refuse_missing(data, name)
    if arm not in columns_in(formula.fixed_tree):
        raise ImputationError(
            f"arm={arm!r} is not in the fixed part of {formula.text!r}, so that all arms have the same means: add "
            f"{arm} * {term.visit}"
        )
    patient, visit, arms = (grouping_factor(data, (name,), name) for name in (term.patient, term.visit, arm))
    names = [str(name) for name in arms.levels]
    if len(names) < 2:
        raise ImputationError(f"all patients are in the arm {names[0]!r} of {arm!r}: there must be a reference arm too")
    if level_name(reference) not in names:
        raise ImputationError(f"reference={reference!r} is no arm of {arm!r}, which has {shortened(map(repr, names))}")
    _refuse_twice(patient, visit)
    first = np.unique(patient.codes, return_index=True)[1]
    order = np.argsort(first)
    frame, row = _with_all_rows(data, patient, visit, np.argsort(order), response)
    trial = Trial(
        frame, row, response, arm, term.visit, term.patient, tuple(str(name) for name in patient.levels[order]),
        tuple(str(name) for name in visit.levels), tuple(names), arms.codes[first[order]].astype(np.intp),
        names.index(level_name(reference)),
    )  # fmt: skip
    for name in (arm, *([term.group] if term.group else [])):
        trial.of_patient(name, "column ")
    _refuse_incomplete(trial, [name for name in formula.variables if name != response])
    return trial


def _response(data: pd.DataFrame, formula: MmrmFormula) -> str:
    """Name of the response, which must be a column of numbers."""
    name = formula.response.strip("`")
    if name not in data.columns:
        raise ImputationError(
            f"the response {formula.response!r} is no column: what is imputed must be one; compute it before, as a "
            "column of its own"
        )
    if not pd.api.types.is_numeric_dtype(data[name].dtype) or pd.api.types.is_bool_dtype(data[name].dtype):
        raise ImputationError(f"the response {name!r} holds {data[name].dtype}, not numbers: convert it first")
    if np.isinf(data[name].to_numpy(dtype=float, na_value=np.nan)).any():
        raise ImputationError(f"the response {name!r} has infinite cells: correct them, or leave them empty")
    return name


def _refuse_missing(data: pd.DataFrame, name: str) -> None:
    n_missing = int(data[name].isna().sum())
    if n_missing:
        raise ImputationError(f"column {name!r} has {n_missing} missing cells: fill them, or leave those rows out")


def _refuse_twice(patient: GroupingFactor, visit: GroupingFactor) -> None:
    key = pd.Series(patient.codes.astype(np.int64) * visit.n_levels + visit.codes)
    if key.duplicated().any():
        i, t = divmod(int(key[key.duplicated()].iloc[0]), visit.n_levels)
        raise ImputationError(
            f"patient {patient.levels[i]!r} has visit {visit.levels[t]!r} twice: a row is one visit of one patient"
        )


def _with_all_rows(
    data: pd.DataFrame, patient: GroupingFactor, visit: GroupingFactor, place: IntArray, response: str
) -> tuple[pd.DataFrame, IntArray]:
    """Add rows for visits that are not there, and find the row (n, T) of every patient's visit.

    An added row has what is the same in all rows of the patient, else what is the same for all at that visit. Where
    rows are added they stand patient by patient. ``place`` (patients,) is that of every level.
    """
    row = np.full((patient.n_levels, visit.n_levels), -1)
    row[place[patient.codes], visit.codes] = np.arange(len(data))
    if (row >= 0).all():
        return data, row
    added = row < 0
    of_patient, of_visit = np.zeros_like(row), np.zeros_like(row)
    of_patient[:] = row[np.arange(len(row)), np.argmax(row >= 0, axis=1)][:, None]
    of_visit[:] = row[np.argmax(row >= 0, axis=0), np.arange(row.shape[1])]
    columns = {}
    for name in data.columns:
        # -2 stands for rows that are not there
        codes = np.append(pd.factorize(data[name])[0], -2)[row]
        if name in (patient.label, visit.label):
            source = of_patient if name == patient.label else of_visit
        elif name == response:
            source = np.full(row.shape, -1)
        else:
            source = np.where(_same(codes, 1)[:, None], of_patient, np.where(_same(codes, 0), of_visit, -1))
        columns[name] = _taken(data[name], np.where(added, source, row).reshape(-1))
    return pd.DataFrame(columns), np.arange(row.size).reshape(row.shape)


def _same(codes: IntArray, axis: int) -> np.ndarray:
    """Whether all codes but those of absent rows are the same."""
    least = np.where(codes == -2, np.iinfo(np.int64).max, codes).min(axis=axis)
    return np.asarray(np.where(codes == -2, -2, codes).max(axis=axis) == least)


def _taken(column: pd.Series, source: IntArray) -> pd.Series:
    """MissingVisits of a column, missing where the source is -1."""
    if (source >= 0).all():
        return column.take(source).reset_index(drop=True)
    return column.reset_index(drop=True).reindex(np.where(source < 0, len(column), source)).reset_index(drop=True)


def _refuse_incomplete(trial: Trial, names: list[str]) -> None:
    """Refuse covariates with missing cells, as a baseline that a patient lacks."""
    for name in names:
        lacking = trial.frame[name].isna().to_numpy()[trial.row]
        if lacking.any():
            which = np.flatnonzero(lacking.any(axis=1))
            raise ImputationError(
                f"{name!r} is missing for {len(which)} patients ({trial.named(which)}): variables of the model must be "
                "complete, also at visits that were missed; fill it, impute it first, or leave these patients out"
            )
