"""Methods that analyse many replications at once: all data, complete cases, multiple imputation and pooling."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..errors import SimulationError
from ..hints import hinted_class
from . import checks
from .array_model import ArrayModel, Groups, read_model
from .batch import BatchData, BatchRows
from .chunks import Ddf, Job, in_chunks, plan, programs
from .covariates import ZERO_ONE
from .design import MultilevelDesign
from .layout import Structure, layout_of, structure_of
from .measures import STATUSES
from .pipeline import Columns, Estimates, Treatment
from .treatments import EmbTreatment, JointTreatment, Listwise, Whole

MOST_INCOMPLETE = 8  # columns: there are 2 to that power patterns of missing cells


@dataclass(frozen=True, kw_only=True)
class MixedModelMethod:
    """Fits the study's model to every (completed) data set of a replication by REML, and pools.

    Parameters
    ----------
    model
        A formula; that of the study if None.
    reml
        REML or maximum likelihood.
    dfcom
        Complete-data degrees of freedom, as of ``pool``: "satterthwaite" (mean over the imputations),
        "residual" (n - p), or a number, such as ``math.inf`` for Rubin's (1987) rules.

    Notes
    -----
    Terms are the names of the coefficients (``Intercept``, ``x``, ``x:w``) and of the variance parameters
    (``sd__Intercept|g``, ``cor__Intercept.x|g``, ``sigma``), which have no standard errors.
    """

    model: str | None = None
    reml: bool = True
    dfcom: Ddf = "satterthwaite"

    def __post_init__(self) -> None:
        if self.model is not None:
            checks.text(self.model, "model=")
        checks.flag(self.reml, "reml=")
        named = isinstance(self.dfcom, str) and self.dfcom in ("satterthwaite", "residual")
        number = isinstance(self.dfcom, int | float | np.number) and not isinstance(self.dfcom, bool)
        if not named and not (number and float(self.dfcom) > 0):
            raise SimulationError(
                f"dfcom={self.dfcom!r} must be 'satterthwaite', 'residual' or a positive number, such as math.inf."
            )

    def analyse_batch(self, batch: BatchData) -> BatchRows:
        """Analyse all replications of a batch.

        Raises
        ------
        SimulationError
            There is no model, or one that cannot be evaluated on arrays; or a column that is not there.
        """
        job = self._job(batch)
        found = in_chunks(batch.keys, job, self.dfcom)
        return _rows(found, job.model, job.treatment.sets)

    def compile_ahead(self, batch: BatchData) -> None:
        """Begin to compile for batches of this shape, in other threads; only shapes of its arrays are looked at."""
        if len(jax.local_devices()) == 1:
            job = self._job(batch)
            programs(batch.keys, job, plan(job, self.dfcom))

    def _job(self, batch: BatchData) -> Job:
        formula = self.model or batch.model
        if formula is None:
            raise SimulationError("A batched method needs a model: Study(model=...) or model= of the method.")
        model, groups = _cached_model(structure_of(batch.design), _Design(batch.design), formula, self.reml)
        treatment = self._treatment(batch, model)
        names = dict.fromkeys((*model.columns, *getattr(treatment, "columns", ())))
        columns = Columns(
            {name: batch.complete.columns[name] for name in names},
            {name: mask for name, mask in batch.mask.items() if name in names},
            batch.complete.weights,
            batch.complete.codes[self._cluster(batch)],
        )
        return Job(columns, groups, model, treatment, batch.full)

    def _cluster(self, batch: BatchData) -> str:
        """Grouping factor of the imputation model, if it has one."""
        return batch.design.factors[0].name

    @abstractmethod
    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        """What is done about missing values."""


@hinted_class
@dataclass(frozen=True, kw_only=True)
class CompleteData(MixedModelMethod):
    """The model fitted to the data before anything went missing: what imputation aims at.

    Examples
    --------
    >>> CompleteData(model="y ~ x + (1 | g)").reml
    True
    """

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        return Whole()


@hinted_class
@dataclass(frozen=True, kw_only=True)
class CompleteCases(MixedModelMethod):
    """The model fitted to the rows in which every column of the model is observed.

    Examples
    --------
    >>> CompleteCases(dfcom="residual").dfcom
    'residual'
    """

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        return Listwise(model.columns)


@hinted_class
@dataclass(frozen=True, kw_only=True)
class EMB(MixedModelMethod):
    """Multiple imputation by EM with bootstrap, as of `remlax.impute.emb`; clusters are ignored.

    Parameters
    ----------
    m
        Number of imputations.
    columns
        Columns of the imputation model; those of the analysis model by default.
    tolerance, max_iter, ridge
        Of EM.

    Notes
    -----
    The j-th imputation depends on the key of the replication and on j. Binary covariates with missing cells are
    drawn as zeros and ones.

    Examples
    --------
    >>> EMB(m=20).m
    20
    """

    m: int = 20
    columns: Sequence[str] | None = None
    tolerance: float = 1e-4
    max_iter: int = 1000
    ridge: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_m(self.m)
        checks.number(self.tolerance, "tolerance=", 0)
        checks.whole(self.max_iter, "max_iter=")
        checks.number(self.ridge, "ridge=", 0)
        if self.columns is not None:
            checks.names(self.columns, "columns=")

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        columns = imputation_columns(batch, model, self.columns)
        incomplete = tuple(name for name in columns if name in batch.mask)
        if not incomplete:
            return Whole()
        if len(incomplete) > MOST_INCOMPLETE:
            raise SimulationError(
                f"{len(incomplete)} incomplete columns are too many: EMB for all replications at once takes up to "
                f"{MOST_INCOMPLETE}; leave columns out by columns=."
            )
        binary = tuple(c.name for c in batch.design.covariates if c.kind in ZERO_ONE)
        return EmbTreatment(self.m, columns, incomplete, binary, self.tolerance, self.max_iter, self.ridge)


@hinted_class
@dataclass(frozen=True, kw_only=True)
class Joint(MixedModelMethod):
    """Multiple imputation by a multilevel joint model, as of `remlax.impute.joint`: rows of one cluster are alike.

    Parameters
    ----------
    m
        Number of imputations, and of chains.
    cluster
        Grouping factor of the imputation model; the design's first by default.
    targets
        Columns modelled together, with random intercepts: by default all columns of the analysis model that may
        have missing cells.
    fixed
        Complete columns with fixed coefficients for all targets; by default the other columns of the model.
    random
        Complete columns with coefficients that vary between clusters.
    sweeps
        Of each chain; the last one gives the imputation.

    Notes
    -----
    Targets are continuous columns of rows. Priors are those of `remlax.impute.joint`.

    Examples
    --------
    >>> Joint(m=10, sweeps=200).sweeps
    200
    """

    m: int = 20
    cluster: str | None = None
    targets: Sequence[str] | None = None
    fixed: Sequence[str] | None = None
    random: Sequence[str] = ()
    sweeps: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_m(self.m)
        checks.whole(self.sweeps, "sweeps= of a chain")
        if self.cluster is not None:
            checks.text(self.cluster, "cluster=")
        for what, given in (("targets=", self.targets), ("fixed=", self.fixed), ("random=", self.random)):
            if given is not None and not (what != "targets=" and given in ((), [])):
                checks.names(given, what)

    def _cluster(self, batch: BatchData) -> str:
        name = super()._cluster(batch) if self.cluster is None else self.cluster
        known = [factor.name for factor in batch.design.factors]
        if name not in known:
            raise SimulationError(f"cluster= names {name!r}; the design has {', '.join(map(repr, known))}.")
        return name

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        cluster = self._cluster(batch)
        incomplete = [name for name in model.columns if name in batch.mask]
        if not incomplete:
            return Whole()
        targets = tuple(incomplete if self.targets is None else self.targets)
        rest = [name for name in model.columns if name not in targets]
        fixed = tuple(rest if self.fixed is None else self.fixed)
        imputation_columns(batch, model, (*targets, *fixed, *self.random))
        for name in (*fixed, *self.random):
            if name in batch.mask:
                raise SimulationError(f"Column {name!r} is incomplete: the joint model takes it among its targets.")
        for covariate in batch.design.covariates:
            if covariate.name in targets and (covariate.level is not None or covariate.kind != "normal"):
                raise SimulationError(
                    f"Column {covariate.name!r} cannot be a target: the batched joint model imputes continuous columns "
                    "of rows; impute others by remlax.impute.joint in a function of yours."
                )
        levels = layout_of(structure_of(batch.design)).levels
        places = {factor.name: size for factor, size in zip(batch.design.factors, levels, strict=True)}
        lost = tuple(name for name in targets if name in batch.mask)
        return JointTreatment(self.m, self.sweeps, targets, lost, fixed, tuple(self.random), places[cluster])


def imputation_columns(batch: BatchData, model: ArrayModel, given: Sequence[str] | None) -> tuple[str, ...]:
    """Columns of an imputation model: the analysis model's, or those asked for.

    Raises
    ------
    SimulationError
        A column is not there, or an incomplete column of the analysis model would not be imputed.
    """
    columns = model.columns if given is None else tuple(given)
    unknown = [name for name in columns if name not in batch.complete.columns]
    if unknown:
        raise SimulationError(
            f"columns= names {unknown[0]!r}; the data have {', '.join(map(repr, batch.complete.columns))}."
        )
    left = [name for name in model.columns if name in batch.mask and name not in columns]
    if left:
        raise SimulationError(f"Column {left[0]!r} of the model is incomplete: it belongs into columns=.")
    return columns


def _check_m(m: object) -> None:
    if isinstance(m, bool) or not isinstance(m, int | np.integer) or m < 2:
        raise SimulationError(f"Multiple imputation needs m of 2 or more, got {m!r}.")


class _Design:
    """A design that does not take part in the look-up of models: its structure does."""

    def __init__(self, design: MultilevelDesign) -> None:
        self.design = design

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Design)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=64)
def _cached_model(structure: Structure, design: _Design, formula: str, reml: bool) -> tuple[ArrayModel, Groups]:
    return read_model(design.design, formula, reml=reml)


def _rows(found: Estimates, model: ArrayModel, sets: int) -> BatchRows:
    nothing = np.full(found.parameters.shape, np.nan)
    pooled = found.pooled
    status = np.zeros(len(found.unusable), dtype=np.int64)
    nonconverged = np.asarray(found.unconverged) + np.asarray(found.exact)
    for name, counts in (("singular", found.singular), ("nonconverged", nonconverged), ("failed", found.unusable)):
        status[np.asarray(counts) > 0] = STATUSES.index(name)
    return BatchRows(
        terms=[*model.names, *model.parameters],
        estimate=_beside(pooled.estimate, found.parameters),
        std_error=_beside(pooled.std_error, nothing),
        df=_beside(pooled.df, nothing),
        fmi=_beside(pooled.fmi, nothing),
        status=status,
        n_iter=found.evaluations,
        message=_messages(found, sets),
    )


def _beside(left: Any, right: Any) -> np.ndarray:
    return np.concatenate([np.asarray(left), np.asarray(right)], axis=1)


def _messages(found: Estimates, sets: int) -> list[str]:
    """What went wrong in each replication; empty where nothing did."""
    texts = (
        (found.unusable, "no estimates (imputation or fit failed, or the model is not identified)"),
        (found.unconverged, "not converged"),
        (found.exact, "no residual variance"),
        (found.singular, "singular"),
    )
    out = [""] * len(found.unusable)
    for counts, text in texts:
        for i in np.flatnonzero(np.asarray(counts)):
            said = text if sets == 1 else f"{text} in {counts[i]} of {sets} imputations"
            out[i] = f"{out[i]}; {said}" if out[i] else said
    return out
