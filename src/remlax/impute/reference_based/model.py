"""The imputation model: a mixed model for repeated measures, and the cells that its parameters complete."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from ...data import ImputedData
from ...design.build import read_rows
from ...design.evaluate import evaluate
from ...design.groups import level_name
from ...errors import ImputationError, shortened
from ...fitting.mmrm.fit import MmrmFitted, assemble_mmrm, fit_mmrm, read_formula
from ...fitting.mmrm.formula import MmrmFormula
from ...fitting.mmrm.reweighted import refit_weighted
from ...kernels.newton import STATUS_TEXT, Newton
from ..columns import FloatArray
from ..patterns import BoolArray, IntArray
from .cells import MissingVisits, Parameters
from .events import Events
from .trial import Trial


@dataclass(frozen=True, eq=False)
class ReferenceModel:
    """A trial, its events, and the imputation model fitted to what was observed before them.

    Attributes
    ----------
    trial : Trial
    events : Events
    fitted : MmrmFitted
    patient : ndarray of int
        Place in the trial of every patient of the fit.
    cells : MissingVisits
    seed : int
    """

    trial: Trial
    events: Events
    fitted: MmrmFitted
    patient: IntArray
    cells: MissingVisits
    seed: int

    @cached_property
    def estimates(self) -> Parameters:
        """Parameters of all patients."""
        return Parameters(self.fitted.beta[:, None], self.fitted.sigmas[:, None])

    def refits(self, counts: FloatArray) -> tuple[Parameters, BoolArray]:
        """Parameters with every patient of the trial counted (B, n) times, and which fits failed."""
        found = refit_weighted(self.fitted, counts[:, self.patient])
        return Parameters(found.beta[:, None], found.sigmas[:, None]), found.failed


def fit_reference_model(
    trial: Trial, events: Events, formula: MmrmFormula, seed: int, *, reml: bool = True
) -> ReferenceModel:
    """Fit the imputation model.

    Raises
    ------
    ImputationError
        A visit without observed values, coefficients that cannot be estimated, or a fit that failed or is singular.
    """
    modelled = events.modelled
    _refuse_unseen(trial, modelled)
    at = trial.row[modelled]
    frame = trial.frame.iloc[at]
    rows = read_rows(formula.with_factors, ImputedData((frame,), (1,)))
    model, visits = assemble_mmrm(rows, reml=reml)
    if model.dropped_names:
        raise ImputationError(
            f"the coefficients {shortened(map(repr, model.dropped_names))} of the imputation model cannot be estimated "
            "from what was observed before the events: take their terms out of the formula, or merge visits or arms"
        )
    fitted = fit_mmrm(replace(model, rows=read_formula(rows)), visits, Newton())
    if not fitted.converged[0]:
        raise ImputationError(
            f"the imputation model did not converge ({STATUS_TEXT[int(fitted.status[0])]}){fitted.advice}"
        )
    if fitted.singular[0]:
        raise ImputationError(f"the fit of the imputation model is singular: {fitted.boundary(0)}")
    owner = np.repeat(np.arange(len(trial.row)), modelled.sum(axis=1))
    patient = owner[visits.order[visits.start]]
    return ReferenceModel(trial, events, fitted, patient, _cells(trial, events, fitted), seed)


def _refuse_unseen(trial: Trial, modelled: BoolArray) -> None:
    never = np.flatnonzero(~modelled.any(axis=0))
    if len(never):
        raise ImputationError(
            f"nobody has an observed {trial.response!r} before the event at visit "
            f"{shortened(repr(trial.visits[t]) for t in never)}: there is no mean to impute from; leave the visit out"
        )


def _cells(trial: Trial, events: Events, fitted: MmrmFitted) -> MissingVisits:
    rows, row = fitted.model.rows, trial.row
    reference = trial.in_arm(trial.reference)
    own, other = (rows.fixed.build(frame)[row] for frame in (trial.frame, reference))
    offset = sum((evaluate(tree, trial.frame, what="offset") for tree in rows.formula.offset_trees), np.zeros(row.size))
    group, other_group = (_groups(frame, trial, fitted) for frame in (trial.frame, reference))
    one = np.zeros(len(row), np.intp)
    return MissingVisits(events, own, other, np.asarray(offset)[row], group, other_group, one)


def _groups(frame: pd.DataFrame, trial: Trial, fitted: MmrmFitted) -> IntArray:
    """Which covariance matrix every patient has (n,)."""
    column, names = fitted.covariance_term.group, list(fitted.visits.groups)
    if column is None:
        return np.zeros(len(trial.row), np.intp)
    values = [level_name(value) for value in frame[column].iloc[trial.row[:, 0]]]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ImputationError(f"nobody in {column} = {unknown[0]!r} has an observed value before the event")
    return np.array([names.index(value) for value in values])
