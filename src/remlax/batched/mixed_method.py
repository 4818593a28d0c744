"""The mixed model of a study, fitted to many replications at once and pooled."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ..checks import Checks
from ..data.imputation_model import ImputationModel
from ..design.congenial import Lacking
from ..errors import SimulationError
from ..fitting.responses.family import read_family
from ..glmm.families import Family
from ..simulation.design import MultilevelDesign
from ..simulation.fingerprint import LATER
from ..simulation.layout import DesignShape, structure_of
from ..simulation.measures import STATUSES
from .array_model import ArrayModel, Groups, read_model
from .batch import BatchData, BatchRows
from .chunks import Ddf, Job, in_chunks, make_job, programs
from .glmm_model import GlmmModel, TiledRows, read_glmm
from .mmrm_model import MmrmModel, TemplateRows, is_mmrm, read_mmrm
from .pipeline import Analysis, Findings, ReplicationColumns, Treatment

checks = Checks(SimulationError)


@dataclass(frozen=True, kw_only=True)
class MixedModelMethod:
    """Fits the study's model to every (completed) data set of a replication, and pools.

    Parameters
    ----------
    model
        A formula; that of the study if None. One with a covariance term, as in ``us(visit | patient)``, is a mixed
        model for repeated measures, as of `remlax.mmrm`.
    family, link
        Distribution of the response, as of `remlax.glmer`; by default those of the design's ``outcome``, or "gaussian"
        without one, which is a linear mixed model.
    n_quad
        Points of adaptive Gauss-Hermite quadrature of a generalised linear mixed model; 1 is the Laplace approximation.
    reml
        REML or maximum likelihood, of a linear mixed model.
    dfcom
        Complete-data degrees of freedom, as of ``pool``: "satterthwaite" (mean over the imputations), "residual"
        (n - p; with a family n less all parameters), or a number, such as ``math.inf`` for Rubin's (1987) rules. A
        generalised linear mixed model has no Satterthwaite df: there "satterthwaite" is ``math.inf``.

    Notes
    -----
    Terms are the names of the coefficients (``Intercept``, ``x``, ``x:w``) and of the other parameters
    (``sd__Intercept|g``, ``cor__Intercept.x|g``, ``sigma``; with a family ``size``, ``shape`` or thresholds such as
    ``low|high`` in the place of ``sigma``; of repeated measures ``sd__0|patient``, ``cor__0.1|patient``), which have no
    standard errors.
    """

    model: str | None = None
    family: str | None = field(default=None, metadata=LATER)
    link: str | None = field(default=None, metadata=LATER)
    n_quad: int = field(default=1, metadata=LATER)
    reml: bool = True
    dfcom: Ddf = "satterthwaite"

    def __post_init__(self) -> None:
        if self.model is not None:
            checks.text(self.model, "model=")
        checks.flag(self.reml, "reml=")
        checks.whole(self.n_quad, "n_quad=")
        if self.family is not None and not _is_gaussian(self.family):
            read_family(self.family, self.link)
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
        return _rows(in_chunks(batch.keys, job), job.analysis)

    def compile_ahead(self, batch: BatchData) -> None:
        """Begin to compile for batches of this shape, in other threads; only shapes of its arrays are looked at."""
        if len(jax.local_devices()) == 1:
            programs(batch.keys, self._job(batch))

    def _job(self, batch: BatchData) -> Job:
        formula = self.model or batch.model
        if formula is None:
            raise SimulationError("A batched method needs a model: Study(model=...) or model= of the method.")
        family, dfcom = self._kind(batch.design)
        shape, design = structure_of(batch.design), DesignOf(batch.design)
        model: ArrayModel
        groups: Groups | TiledRows | TemplateRows
        if is_mmrm(formula):
            if family is not None:
                raise SimulationError(
                    f"The model {formula!r} has a covariance term: it is for a Gaussian response, without family=."
                )
            model, groups = _cached_mmrm(shape, design, formula, self.reml)
        elif family is None:
            model, groups = _cached_model(shape, design, formula, self.reml)
        else:
            model, groups = _cached_glmm(shape, design, formula, family, self.n_quad)
        treatment = self._treatment(batch, model)
        names = dict.fromkeys((*model.columns, *getattr(treatment, "columns", ())))
        columns = ReplicationColumns(
            {name: batch.complete.columns[name] for name in names},
            {name: mask for name, mask in batch.mask.items() if name in names},
            batch.complete.weights,
            batch.complete.codes[self._cluster(batch)],
        )
        return make_job(columns, groups, model, treatment, dfcom, batch.full)

    def _kind(self, design: MultilevelDesign) -> tuple[Family | None, Ddf]:
        """Family of the model, None for a linear mixed model, and complete-data degrees of freedom."""
        outcome = design.outcome
        name = self.family or (None if outcome is None else outcome.family)
        if name is None or _is_gaussian(name):
            if self.link is not None or self.n_quad != 1:
                raise SimulationError(
                    "link= and n_quad= are for generalised linear mixed models: give family=, or the design an outcome."
                )
            return None, self.dfcom
        link = outcome.link if self.link is None and self.family is None and outcome is not None else self.link
        return read_family(name, link), math.inf if self.dfcom == "satterthwaite" else self.dfcom

    def _cluster(self, batch: BatchData) -> str:
        """Grouping factor of the imputation model, if it has one."""
        return batch.design.factors[0].name

    @abstractmethod
    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        """What is done about missing values."""

    def imputation_model(
        self, design: MultilevelDesign, columns: Sequence[str], incomplete: Collection[str]
    ) -> ImputationModel | None:
        """What missing cells are drawn from, in the words of formulas; None if nothing is imputed.

        columns: those of the analysis model; incomplete: those that may have missing cells.
        """
        return None

    def advice(self, model: ImputationModel, found: Lacking) -> str:
        """Arguments that give the imputation model what it lacks."""
        return ""


class DesignOf:
    """A design that does not take part in the look-up of models: its structure does."""

    def __init__(self, design: MultilevelDesign) -> None:
        self.design = design

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DesignOf)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=64)
def _cached_model(structure: DesignShape, design: DesignOf, formula: str, reml: bool) -> tuple[ArrayModel, Groups]:
    return read_model(design.design, formula, reml=reml)


@functools.lru_cache(maxsize=64)
def _cached_mmrm(structure: DesignShape, design: DesignOf, formula: str, reml: bool) -> tuple[MmrmModel, TemplateRows]:
    return read_mmrm(design.design, formula, reml=reml)


@functools.lru_cache(maxsize=64)
def _cached_glmm(
    structure: DesignShape, design: DesignOf, formula: str, family: Family, n_quad: int
) -> tuple[GlmmModel, TiledRows]:
    return read_glmm(design.design, formula, family, n_quad)


def _is_gaussian(family: object) -> bool:
    return isinstance(family, str) and family.lower() == "gaussian"


def _rows(found: Findings, analysis: Analysis) -> BatchRows:
    model, sets = analysis.model, analysis.treatment.sets
    nothing = np.full(found.parameters.shape, np.nan)
    pooled = found.pooled
    status = np.zeros(len(found.unusable), dtype=np.int64)
    nonconverged = np.asarray(found.unconverged) + np.asarray(found.exact)
    verdicts = (
        ("singular", (found.singular, found.poisson)),
        ("nonconverged", (nonconverged,)),
        ("failed", (found.unusable, found.endless)),
    )
    for name, kinds in verdicts:
        for counts in kinds:
            status[np.flatnonzero(np.asarray(counts))] = STATUSES.index(name)
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


def _messages(found: Findings, sets: int) -> list[str]:
    """What went wrong in each replication; empty where nothing did."""
    texts = (
        (found.endless, "no maximum"),
        (found.unusable, "no estimates (imputation or fit failed, or the model is not identified)"),
        (found.unconverged, "not converged"),
        (found.exact, "no residual variance"),
        (found.singular, "singular"),
        (found.poisson, "no overdispersion, so that the size is infinite"),
    )
    out = [""] * len(found.unusable)
    for counts, text in texts:
        for i in np.flatnonzero(np.asarray(counts)):
            said = text if sets == 1 else f"{text} in {counts[i]} of {sets} imputations"
            if text == "no maximum":
                said = f"{said}: {found.reasons[i]}"
            out[i] = f"{out[i]}; {said}" if out[i] else said
    return out
