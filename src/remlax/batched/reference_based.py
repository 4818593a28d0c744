"""Reference-based imputation as a method of a study: fits, refits and analyses of many trials in one batch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, cast

import jax
import numpy as np

from ..checks import Checks
from ..design.formula import parse_formula
from ..design.groups import level_name
from ..design.model_matrix import model_matrix
from ..design.tree import Name, columns_in
from ..engine.batch import n_cores
from ..engine.programs import float64
from ..engine.shapes import bucket
from ..errors import SimulationError
from ..fitting.mmrm.formula import parse_mmrm
from ..impute.reference_based.ancova import read_ancova
from ..impute.reference_based.events import STRATEGIES, Strategy
from ..impute.reference_based.trial import Trial, read_trial
from ..simulation.design import MultilevelDesign
from ..simulation.layout import structure_of
from ..simulation.measures import STATUSES
from .array_columns import array_products, categories_of, product_names
from .array_model import template
from .batch import BatchData, BatchRows
from .mixed_method import DesignOf
from .mmrm_model import is_mmrm, read_mmrm
from .reference_trials import TrialColumns, TrialEstimates, TrialModel, TrialPlan, analyse_trials, trial_columns

checks = Checks(SimulationError)

# trials that are analysed together, and numbers of their completed data sets
MOST_TRIALS, BLOCK_NUMBERS = 128, 2**22
MESSAGE = "the imputation model, a refit of it, or the analysis has no estimate that can be used"


@dataclass(frozen=True, kw_only=True)
class ReferenceBased:
    """Reference-based imputation of a trial and the analysis of one visit, as of `remlax.impute.reference`.

    Parameters
    ----------
    arm, reference
        Covariate of the arms, and the arm from which others are imputed.
    analysis
        Analysis of covariance at one visit, such as ``"y ~ base + arm"``.
    model
        The imputation model, with a covariance term as in ``us(visit | patient)``; that of the study if None.
    strategy
        As of `remlax.impute.reference`: one for all patients, or a dict by arm. The event is after the last visit that
        was observed.
    visit
        Visit that is analysed, by default the last.
    draws
        ``"bootstrap"``: the parameters behind each imputation are estimates of a resample of the patients, and
        estimates are pooled by Rubin's rules. ``"none"``: conditional means, with standard errors by the jackknife.
    m
        Number of imputations: 20, and none without draws.
    reml
        Whether the imputation model is fitted by REML.

    Notes
    -----
    Terms are the differences from the reference arm (``drug - placebo``), and the means of the arms. A replication has
    what a function of a data frame with `remlax.impute.reference`, ``seed=context.seed``, would have found under this
    method's name. Replications are failures where that would be refused: the model or a refit has no usable estimate.

    Examples
    --------
    >>> ReferenceBased(arm="arm", reference="placebo", analysis="y ~ base + arm", draws="none").strategy
    'jump-to-reference'
    """

    arm: str
    reference: str
    analysis: str
    model: str | None = None
    strategy: Strategy | str | Mapping[str, str] = "jump-to-reference"
    visit: object = None
    draws: Literal["bootstrap", "none"] = "bootstrap"
    m: int | None = None
    reml: bool = True

    def __post_init__(self) -> None:
        for what, text in (("arm=", self.arm), ("analysis=", self.analysis), ("model=", self.model)):
            if text is not None or what != "model=":
                checks.text(text, what)
        by_arm = self.strategy if isinstance(self.strategy, Mapping) else {"": self.strategy}
        for name in by_arm.values():
            checks.choice(name, Strategy, "strategy=")
        checks.choice(self.draws, Literal["bootstrap", "none"], "draws=")
        checks.flag(self.reml, "reml=")
        if self.m is not None:
            checks.whole(self.m, "m=", 2)
            if self.draws == "none":
                raise SimulationError(f"m={self.m}: without draws all imputations are the same; leave out m=.")

    def analyse_batch(self, batch: BatchData) -> BatchRows:
        """Analyse all replications of a batch.

        Raises
        ------
        SimulationError
            There is no model; covariates are incomplete; trials whose patients do not all have every visit as a row.
        ImputationError
            As of `remlax.impute.reference`: no such arm, strategy or visit; models that cannot be used.
        """
        formula = self.model or batch.model
        if formula is None or not is_mmrm(formula):
            raise SimulationError(
                f"ReferenceBased imputes from a mixed model for repeated measures, such as 'y ~ base * visit + arm * "
                f"visit + us(visit | patient)', in model= or Study(model=...), got {formula!r}."
            )
        plan, names = _cached_plan(structure_of(batch.design), DesignOf(batch.design), formula, self._key())
        _check_trials(batch, plan)
        response = plan.model.response
        lost = [name for name in batch.mask if name in names and name != response]
        if lost:
            raise SimulationError(
                f"Column {lost[0]!r} is incomplete: reference-based imputation completes {response!r}, and takes "
                "covariates that are observed."
            )
        values = {name: np.asarray(batch.complete.columns[name]) for name in names}
        rows = np.asarray(batch.complete.weights)
        missing = np.asarray(batch.mask.get(response, np.zeros(rows.shape, bool)))
        # as the seed of a function's context
        seeds = np.asarray(jax.random.key_data(batch.keys))[:, 1].astype(np.int64)
        found = _in_chunks(values, missing, seeds, plan, max(batch.full, len(seeds)))
        return BatchRows(
            terms=plan.terms,
            estimate=found.estimate,
            std_error=found.std_error,
            df=found.df,
            fmi=found.fmi,
            status=np.where(found.failed, STATUSES.index("failed"), STATUSES.index("ok")),
            message=np.where(found.failed, MESSAGE, "").tolist(),
        )

    def _key(self) -> tuple[Any, ...]:
        """What a plan depends on beside design and model."""
        by_arm = tuple(self.strategy.items()) if isinstance(self.strategy, Mapping) else self.strategy
        sets = 0 if self.draws == "none" else self.m or 20
        return self.arm, self.reference, self.analysis, by_arm, self.visit, sets, self.reml


def _in_chunks(
    values: dict[str, np.ndarray], missing: np.ndarray, seeds: np.ndarray, plan: TrialPlan, full: int
) -> TrialEstimates:
    """Analyse trials in chunks of one size, the last filled up, on all cores."""
    n_trials, (n, n_visits) = len(seeds), plan.row.shape
    most = max(1, min(MOST_TRIALS, BLOCK_NUMBERS // ((plan.sets or n) * n * n_visits)))
    size = min(most, bucket(-(-full // n_cores()), per_octave=1))

    def one(start: int) -> TrialEstimates:
        which = np.minimum(np.arange(start, start + size), n_trials - 1)
        with float64():
            made = trial_columns({name: own[which] for name, own in values.items()}, model=plan.model)
            columns: TrialColumns = jax.tree.map(np.asarray, made)
            found = analyse_trials(columns, missing[which], seeds[which], plan)
        return cast(TrialEstimates, jax.tree.map(lambda part: part[: n_trials - start], found))

    with ThreadPoolExecutor(n_cores()) as pool:
        parts = list(pool.map(one, range(0, n_trials, size)))
    return cast(TrialEstimates, jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts))


@functools.lru_cache(maxsize=64)
def _cached_plan(
    structure: object, design: DesignOf, formula: str, key: tuple[Any, ...]
) -> tuple[TrialPlan, tuple[str, ...]]:
    return _read_plan(design.design, formula, *key)


def _read_plan(
    design: MultilevelDesign, formula: str, arm: str, reference: str, analysis: str, strategy: Any, visit: object,
    sets: int, reml: bool,
) -> tuple[TrialPlan, tuple[str, ...]]:  # fmt: skip
    """What all trials of a design share, and the columns that are read."""
    categories, frame = categories_of(design), template(design)
    if arm not in categories:
        raise SimulationError(f"arm={arm!r} is no covariate of the design with levels or of zeros and ones.")
    model, rows = read_mmrm(design, formula, reml=reml)
    trial = read_trial(frame, parse_mmrm(formula), arm, reference)
    ancova = read_ancova(trial, analysis, visit)
    tree = parse_formula(f"{analysis} + (1 | {Name(trial.patient_column).text})").fixed_tree
    matrix = model_matrix(tree, frame.iloc[trial.row[:, ancova.visit]], what="analysis=")
    products = array_products(matrix.spec, categories)
    values = {level_name(level): float(value) for level, value in categories[arm].items()}
    arms = tuple(values[name] for name in trial.arms)
    plan = TrialPlan(
        TrialModel(model, trial.response, arm, arms, arms[trial.reference], products),
        rows, trial.row, ancova.visit, ancova.terms, _strategies(trial, strategy), sets,
    )  # fmt: skip
    names = (*model.columns, *model.places, *product_names(products), *columns_in(tree), arm, trial.response)
    return plan, tuple(dict.fromkeys(names))


def _strategies(trial: Trial, given: Any) -> np.ndarray:
    """Place of the strategy of each arm."""
    if isinstance(given, str):
        return np.full(len(trial.arms), STRATEGIES.index(given))
    named = {level_name(arm): name for arm, name in given}
    checks.known(named, trial.arms, "strategy=")
    without = [arm for arm in trial.arms if arm not in named]
    if without:
        raise SimulationError(f"strategy= has none for the arm {without[0]!r}: name one for every arm.")
    return np.array([STRATEGIES.index(named[arm]) for arm in trial.arms])


def _check_trials(batch: BatchData, plan: TrialPlan) -> None:
    """Refuse trials whose rows do not stand as those of the template."""
    name = plan.model.mmrm.places[0]
    known, level = plan.template.values[0]
    rows = np.asarray(batch.complete.weights)
    own = level[np.searchsorted(known, np.asarray(batch.complete.columns[name]))]
    same = rows.shape[1] == plan.row.size and bool((rows > 0).all())
    if not same or (own != plan.template.rows.factor_rows[1].values).any():
        raise SimulationError(
            f"The trials of the design do not all have the same patients and visits {name!r}, row by row: "
            "ReferenceBased takes a covariate of kind 'index' as visits, and as many rows of every patient."
        )
