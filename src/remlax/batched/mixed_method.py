"""The mixed model of a study, fitted to many replications at once and pooled."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..checks import Checks
from ..data.imputation_model import ImputationModel
from ..design.congenial import Lacking
from ..errors import SimulationError
from ..simulation.design import MultilevelDesign
from ..simulation.layout import DesignShape, structure_of
from ..simulation.measures import STATUSES
from .array_model import ArrayModel, Groups, read_model
from .batch import BatchData, BatchRows
from .chunks import Ddf, Job, in_chunks, make_job, programs
from .pipeline import Analysis, Findings, ReplicationColumns, Treatment

checks = Checks(SimulationError)


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
        return _rows(in_chunks(batch.keys, job), job.analysis)

    def compile_ahead(self, batch: BatchData) -> None:
        """Begin to compile for batches of this shape, in other threads; only shapes of its arrays are looked at."""
        if len(jax.local_devices()) == 1:
            programs(batch.keys, self._job(batch))

    def _job(self, batch: BatchData) -> Job:
        formula = self.model or batch.model
        if formula is None:
            raise SimulationError("A batched method needs a model: Study(model=...) or model= of the method.")
        model, groups = _cached_model(structure_of(batch.design), _Design(batch.design), formula, self.reml)
        treatment = self._treatment(batch, model)
        names = dict.fromkeys((*model.columns, *getattr(treatment, "columns", ())))
        columns = ReplicationColumns(
            {name: batch.complete.columns[name] for name in names},
            {name: mask for name, mask in batch.mask.items() if name in names},
            batch.complete.weights,
            batch.complete.codes[self._cluster(batch)],
        )
        return make_job(columns, groups, model, treatment, self.dfcom, batch.full)

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


class _Design:
    """A design that does not take part in the look-up of models: its structure does."""

    def __init__(self, design: MultilevelDesign) -> None:
        self.design = design

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Design)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=64)
def _cached_model(structure: DesignShape, design: _Design, formula: str, reml: bool) -> tuple[ArrayModel, Groups]:
    return read_model(design.design, formula, reml=reml)


def _rows(found: Findings, analysis: Analysis) -> BatchRows:
    model, sets = analysis.model, analysis.treatment.sets
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


def _messages(found: Findings, sets: int) -> list[str]:
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
