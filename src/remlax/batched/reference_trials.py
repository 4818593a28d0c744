"""Reference-based imputation of many trials at once: fits, refits, imputation and analysis as of `impute.reference`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..engine.programs import program
from ..fitting.mmrm.fit import MmrmFitted
from ..fitting.mmrm.reweighted import refit_weighted
from ..impute.columns import FloatArray
from ..impute.patterns import BoolArray, IntArray
from ..impute.reference_based.ancova import Ancova
from ..impute.reference_based.cells import MissingVisits, Parameters
from ..impute.reference_based.estimates import resampling_error
from ..impute.reference_based.events import STRATEGIES, Events
from ..impute.reference_based.kernels import LAST_MEAN, MAR
from ..impute.reference_based.resamples import drawn_counts, noise, refit_resamples
from ..pooling import pool_scalars
from ..progress import unseen
from .array_columns import Product, product_columns
from .mmrm_model import MmrmModel, TemplateRows
from .mmrm_pipeline import AnalysedRows, fit_analysed, place_codes


@dataclass(frozen=True)
class TrialModel:
    """What the compiled program depends on.

    Attributes
    ----------
    mmrm
        The imputation model.
    response, arm
        Columns.
    arms, reference
        What arrays hold for each arm, and for the reference arm.
    analysis
        Columns of the analysis of covariance.
    """

    mmrm: MmrmModel
    response: str
    arm: str
    arms: tuple[float, ...]
    reference: float
    analysis: tuple[Product, ...]


@dataclass(frozen=True, eq=False)
class TrialPlan:
    """Trials of one design.

    Attributes
    ----------
    model, template
        The imputation model; its rows.
    row
        (n, T) row of every patient's visit.
    visit, terms
        Visit that is analysed, and the names of what is estimated there: differences of arms, then arms.
    strategies
        Place of the strategy of each arm among all.
    sets
        Number of imputations; 0 for conditional means and the jackknife.
    """

    model: TrialModel
    template: TemplateRows
    row: IntArray
    visit: int
    terms: tuple[str, ...]
    strategies: IntArray
    sets: int


class TrialColumns(NamedTuple):
    """Rows of S trials: columns of the imputation model (S, rows, p) in a patient's own arm and in the reference arm.

    y and offset (S, rows); columns (S, rows, q) of the analysis, and (S, arms, rows, q) with all patients in one arm;
    arm (S, rows); columns of visits and groups (S, rows).
    """

    own: Any
    reference: Any
    y: Any
    offset: Any
    x: Any
    by_arm: Any
    arm: Any
    places: tuple[Any, ...]


class TrialEstimates(NamedTuple):
    """Estimates, standard errors, degrees of freedom and fractions of missing information (S, r); failed (S,)."""

    estimate: FloatArray
    std_error: FloatArray
    df: FloatArray
    fmi: FloatArray
    failed: BoolArray


@program("model")
def trial_columns(values: dict[str, Array], *, model: TrialModel) -> TrialColumns:
    """Evaluate the columns of both models; every array has a leading axis of trials."""

    def one(values: Mapping[str, Array]) -> TrialColumns:
        def in_arm(value: float) -> dict[str, Array]:
            return {**values, model.arm: jnp.full_like(values[model.arm], value)}

        y = values[model.response]
        return TrialColumns(
            own=model.mmrm.fixed_of(values),
            reference=model.mmrm.fixed_of(in_arm(model.reference)),
            y=y,
            offset=y - model.mmrm.response_of(values),
            x=product_columns(model.analysis, values, y),
            by_arm=jnp.stack([product_columns(model.analysis, in_arm(value), y) for value in model.arms]),
            arm=values[model.arm],
            places=tuple(values[name] for name in model.mmrm.places),
        )

    made: TrialColumns = jax.vmap(one)(values)
    return made


def analyse_trials(columns: TrialColumns, missing: BoolArray, seeds: IntArray, plan: TrialPlan) -> TrialEstimates:
    """Impute and analyse S trials of which some rows (S, rows) have no response."""
    found = AnalysedRows(columns.own, columns.y - columns.offset, ~missing, columns.places)
    codes = place_codes(found, plan.template)
    fitted, fits = fit_analysed(found, codes, plan.template, plan.model.mmrm)
    arm = np.argmax(columns.arm[:, plan.row[:, 0], None] == np.array(plan.model.arms), axis=2)
    cells, lacking = _cells(columns, missing, codes, arm, plan)
    ancova, identified = _ancova(columns, plan)
    usable = fits & ~lacking & identified
    if fitted is not None:
        usable &= fitted.converged & ~fitted.singular
    if fitted is None or not usable.any():
        nothing = np.full((len(usable), len(plan.terms)), np.nan)
        return TrialEstimates(nothing, nothing, nothing, nothing, ~usable)
    places = _places(fitted, ~missing, np.where(fits, np.arange(len(fits)), np.argmax(fits)), plan.row)
    trials = Trials(fitted, usable, cells, ancova, arm, places)
    with unseen():
        parts, failed = trials.drawn(seeds, plan.sets) if plan.sets else trials.left_out()
    failed = failed | ~usable
    estimate, std_error, df, fmi = (np.where(failed[:, None], np.nan, part) for part in parts)
    return TrialEstimates(estimate, std_error, df, fmi, failed)


@dataclass(frozen=True, eq=False)
class Trials:
    """S trials of n patients with their imputation models.

    Attributes
    ----------
    fitted
        One data set per trial.
    usable
        (S,) trials with a fit that can be used.
    cells, ancova
        Of all trials.
    arm
        (S, n) place of the patient's arm.
    places
        (S, patients) place in the trial of every patient of the fit; whatever, beyond their number.
    """

    fitted: MmrmFitted
    usable: BoolArray
    cells: MissingVisits
    ancova: Ancova
    arm: IntArray
    places: IntArray

    def drawn(self, seeds: IntArray, m: int) -> tuple[tuple[FloatArray, ...], BoolArray]:
        """Impute each trial m times, parameters from resamples, and pool by Rubin's rules; and which trials failed."""
        n_trials, n = self.arm.shape

        def draw(lane: int, attempt: int) -> FloatArray:
            s, k = divmod(lane, m)
            return drawn_counts(int(seeds[s]), self.arm[s], k, attempt)

        def refit(counts: FloatArray, which: IntArray) -> tuple[FloatArray, FloatArray, BoolArray]:
            return self._refits(counts, which // m)

        _, beta, sigmas, _, lost = refit_resamples(draw, refit, n_trials * m)
        shape = n, self.cells.events.y.shape[1]
        z = np.stack([noise(int(seed), range(m), shape) for seed in seeds])
        y = self._at_visit(beta, sigmas, np.concatenate(list(z), axis=1))
        pooled = pool_scalars(
            self.ancova.estimates(y), np.maximum(self.ancova.variances(y), 0.0), dfcom=float(self.ancova.dfcom)
        )
        failed = np.asarray(lost.reshape(n_trials, m).any(axis=1))
        return (pooled.estimate, pooled.std_error, pooled.df, pooled.fmi), failed

    def left_out(self) -> tuple[tuple[FloatArray, ...], BoolArray]:
        """Conditional means and the jackknife; and which trials failed."""
        n_trials, n = self.arm.shape
        counts = 1.0 - np.eye(n)
        beta, sigmas, lost = self._refits(np.tile(counts, (n_trials, 1)), np.repeat(np.arange(n_trials), n))
        own = self._in_place_of(~self.usable, self.fitted.beta, self.fitted.sigmas)
        estimate = self.ancova.estimates(self._at_visit(*own))[:, 0]
        failed = lost.reshape(n_trials, n).any(axis=1)
        y, counts = self._at_visit(beta, sigmas), np.broadcast_to(counts, (n_trials, n, n))
        weighted = counts[..., None, :] @ self.ancova.squares[:, None]
        q = self.ancova.x.shape[-1]
        failed = failed | (np.abs(np.linalg.det(weighted.reshape(n_trials, n, q, q))).min(axis=1) == 0)
        others = np.full((n_trials, n, estimate.shape[1]), np.nan)
        if not failed.all():
            others[~failed] = self.ancova.take(~failed).estimates(y[~failed], counts[~failed])
        error = resampling_error(others, "jackknife")
        return (estimate, error, np.full_like(error, np.inf), np.full_like(error, np.nan)), np.asarray(failed)

    def _refits(self, counts: FloatArray, trials: IntArray) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Refits of some trials, every patient of a trial counted (lanes, n) times."""
        found = refit_weighted(self.fitted, np.take_along_axis(counts, self.places[trials], axis=1), trials)
        usable = self.usable[trials]
        # a trial that cannot be used has nothing to be drawn again
        return *self._in_place_of(found.failed | ~usable, found.beta, found.sigmas), found.failed & usable

    def _in_place_of(self, failed: BoolArray, beta: FloatArray, sigmas: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Parameters of some fits, those that failed replaced by others, which can be computed with."""
        one = int(np.argmax(self.usable))
        return (
            np.where(failed[:, None], self.fitted.beta[one], beta),
            np.where(failed[:, None, None, None], self.fitted.sigmas[one], sigmas),
        )

    def _at_visit(self, beta: FloatArray, sigmas: FloatArray, z: FloatArray | None = None) -> FloatArray:
        """Completed responses (S, K, n) of the visit that is analysed, from parameters (S * K, ...), trial by trial."""
        n_trials, n = self.arm.shape

        def by_set(values: FloatArray) -> FloatArray:
            return np.moveaxis(values.reshape(n_trials, -1, *values.shape[1:]), 1, 0)

        y = self.cells.completed(Parameters(by_set(beta), by_set(sigmas)), z)[:, :, self.ancova.visit]
        return np.moveaxis(y.reshape(len(y), n_trials, n), 0, 1)


def _cells(
    columns: TrialColumns, missing: BoolArray, codes: list[np.ndarray], arm: IntArray, plan: TrialPlan
) -> tuple[MissingVisits, BoolArray]:
    """Missing visits of the patients of all trials; and trials (S,) where a patient has no mean to carry forward."""
    n_trials, (n, n_visits) = len(arm), plan.row.shape

    def by_patient(values: Any) -> Any:
        return np.asarray(values)[:, plan.row].reshape(n_trials * n, n_visits, *values.shape[2:])

    y = np.where(by_patient(missing), np.nan, by_patient(columns.y))
    seen = ~np.isnan(y)
    before = np.where(seen.any(axis=1), n_visits - np.argmax(seen[:, ::-1], axis=1), 0)
    strategy = plan.strategies[arm.reshape(-1)]
    lacking = (before == 0) & (strategy == STRATEGIES.index(LAST_MEAN))
    strategy = np.where(lacking, STRATEGIES.index(MAR), strategy)
    own_group = np.zeros((n_trials, n), np.intp) if len(codes) < 3 else codes[2][:, plan.row[:, 0]]
    reference_group = own_group
    if plan.model.arm in plan.model.mmrm.places[1:]:
        known, level = plan.template.values[1]
        reference_group = np.full_like(own_group, level[np.searchsorted(known, plan.model.reference)])
    cells = MissingVisits(
        Events(before, strategy, y),
        by_patient(columns.own),
        by_patient(columns.reference),
        by_patient(columns.offset),
        own_group.reshape(-1),
        reference_group.reshape(-1),
        np.repeat(np.arange(n_trials), n),
    )
    return cells, lacking.reshape(n_trials, n).any(axis=1)


def _ancova(columns: TrialColumns, plan: TrialPlan) -> tuple[Ancova, BoolArray]:
    """Analysis of all trials; and trials (S,) that determine its coefficients."""
    rows = plan.row[:, plan.visit]
    x, arms = np.asarray(columns.x)[:, rows], np.asarray(columns.by_arm)[:, :, rows]
    reference = plan.model.arms.index(plan.model.reference)
    others = [a for a in range(arms.shape[1]) if a != reference]
    by_arm = np.concatenate([arms[:, others] - arms[:, [reference]], arms], axis=1)
    size = np.linalg.norm(x, axis=1, keepdims=True)
    identified = np.linalg.matrix_rank(x / np.where(size > 0, size, 1.0)) == x.shape[2]
    # one that does not gives its place to another
    which = np.where(identified, np.arange(len(x)), np.argmax(identified))
    return Ancova(plan.visit, plan.terms, x[which], by_arm[which]), identified


def _places(fitted: MmrmFitted, present: BoolArray, which: IntArray, row: IntArray) -> IntArray:
    """Place in its trial of every patient of the fits (S, patients), which are of the data sets ``which``."""
    visits = fitted.visits
    patient = np.empty(row.size, np.intp)
    patient[row.reshape(-1)] = np.repeat(np.arange(len(row)), row.shape[1])
    of_row = np.broadcast_to(patient, present.shape)[present[which]]
    number = np.arange(len(visits.start)) - visits.offsets[visits.data_set]
    out = np.zeros((len(which), int(number.max()) + 1), np.intp)
    out[visits.data_set, number] = of_row[visits.order[visits.start]]
    return out
