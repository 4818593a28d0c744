"""From columns of R replications to pooled mixed models for repeated measures: impute, R x K fits, pool.

Columns are made in one compiled program, and fitted together as data sets of `remlax.mmrm_list`.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax
import numpy as np
import pandas as pd
from jax import Array, lax

from ..design.build import ModelRows
from ..design.rows import RowArray, RowMatrix
from ..engine.placement import device_mesh
from ..engine.programs import prepare_aside, program, shape_of
from ..engine.shapes import host_leaf
from ..fitting.mmrm.fit import MmrmFitted, assemble_mmrm, fit_mmrm, read_formula
from ..fitting.selection import Selection
from ..inference.mmrm.choice import covariance_parameters, mmrm_inference
from ..kernels.estimates import Pooled, rubin
from ..kernels.newton import NO_RESIDUAL, Newton
from ..progress import unseen
from .mmrm_model import MmrmModel, TemplateRows
from .pipeline import Analysis, AnalysisOptions, Findings, ReplicationColumns, Treatment

# least eigenvalue of the columns [X y], of unit length, of a data set that identifies its coefficients
DEPENDENT = 1e-8


class AnalysedRows(NamedTuple):
    """Rows of m data sets: x (m, n, p), y (m, n), which are analysed (m, n), columns of visits and groups (m, n)."""

    x: Any
    y: Any
    present: Any
    places: tuple[Any, ...]


def analyse_mmrm(
    keys: Array,
    columns: ReplicationColumns,
    template: TemplateRows,
    analysis: Analysis,
    devices: tuple[jax.Device, ...] = (),
) -> Findings:
    """Analyse R replications: every array of ``columns`` has a leading axis R."""
    model = cast(MmrmModel, analysis.model)
    found: AnalysedRows = jax.tree.map(np.asarray, _completed(keys, columns, **_static(analysis)))
    fitted, usable = fit_analysed(found, place_codes(found, template), template, model, devices)
    if fitted is None:
        return _nothing(len(usable) // analysis.treatment.sets, model)
    return _pool(fitted, usable, analysis)


def fit_analysed(
    found: AnalysedRows,
    codes: list[np.ndarray],
    template: TemplateRows,
    model: MmrmModel,
    devices: tuple[jax.Device, ...] = (),
) -> tuple[MmrmFitted | None, np.ndarray]:
    """Fit all data sets; and which of them (m,) can be fitted: others have the fit of another, or there is none."""
    usable = _identified(found) & _enough_patients(found, codes, model)
    # one that cannot be fitted gives its place to another, so that all batches have one shape
    which = np.where(usable, np.arange(len(usable)), np.argmax(usable))
    if not usable.any():
        return None, usable
    with unseen():
        return _fitted(_model_rows(found, codes, which, template), model, devices), usable


def compile_mmrm_ahead(
    keys: Array, columns: ReplicationColumns, template: TemplateRows, analysis: Analysis
) -> list[Future[Any]]:
    """Begin to compile the first program of `analyse_mmrm`; of the arguments only shapes count."""
    return [prepare_aside(0.0, _completed, *jax.tree.map(shape_of, (keys, columns)), **_static(analysis))]


def _static(analysis: Analysis) -> dict[str, Any]:
    return {"model": analysis.model, "treatment": analysis.treatment, "at_once": analysis.options.at_once}


@program("model", "treatment", "at_once")
def _completed(
    keys: Array, columns: ReplicationColumns, *, model: MmrmModel, treatment: Treatment, at_once: int
) -> AnalysedRows:
    """Impute, and evaluate the columns of the model."""

    def of_replication(own: tuple[Array, ReplicationColumns]) -> AnalysedRows:
        key, given = own
        given = given._replace(rows=given.rows > 0)
        completed = treatment.complete(key, given)

        def one(imputed: Mapping[str, Array], _: Array) -> AnalysedRows:
            values = {**given.values, **imputed}
            places = tuple(values[name] for name in model.places)
            return AnalysedRows(model.fixed_of(values), model.response_of(values), completed.rows, places)

        made: AnalysedRows = jax.vmap(one)(completed.imputed, completed.n_sets)
        return made

    found = lax.map(of_replication, (keys, columns), batch_size=at_once)
    flat: AnalysedRows = jax.tree.map(lambda a: a.reshape(a.shape[0] * a.shape[1], *a.shape[2:]), found)
    return flat


def place_codes(found: AnalysedRows, template: TemplateRows) -> list[np.ndarray]:
    """Patients, visits and groups of all rows, (m, n) each."""
    patient = np.broadcast_to(template.rows.factor_rows[0].values, found.present.shape)
    places = zip(found.places, template.values, strict=True)
    return [patient, *(level[np.searchsorted(value, own)] for own, (value, level) in places)]


def _identified(found: AnalysedRows) -> np.ndarray:
    """Data sets (m,) whose numbers are finite, and which determine all coefficients and leave a residual."""
    columns = np.concatenate([found.x, found.y[:, :, None]], axis=2)
    columns = np.where(found.present[:, :, None], columns, 0.0)
    finite = np.isfinite(columns).all(axis=(1, 2))
    columns[~finite] = 0.0
    gram = columns.swapaxes(1, 2) @ columns
    size = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    size = np.where(size > 0, size, 1.0)
    return np.asarray(finite & (np.linalg.eigvalsh(gram / (size[:, :, None] * size[:, None]))[:, 0] > DEPENDENT))


def _enough_patients(found: AnalysedRows, codes: list[np.ndarray], model: MmrmModel) -> np.ndarray:
    """Data sets (m,) with as many patients in every group as an unstructured covariance matrix has rows."""
    m, n_groups = len(found.present), model.mmrm.n_groups
    group = codes[2] if len(codes) > 2 else np.zeros_like(codes[0])
    own = codes[0] * n_groups + group
    seen = np.zeros((m, int(codes[0].max() + 1) * n_groups), bool)
    data_set = np.broadcast_to(np.arange(m)[:, None], own.shape)
    seen[data_set[found.present], own[found.present]] = True
    counts = seen.reshape(m, -1, n_groups).sum(axis=1)
    return np.asarray((counts >= (model.mmrm.n_visits if model.mmrm.covariance == "us" else 1)).all(axis=1))


def _model_rows(found: AnalysedRows, codes: list[np.ndarray], which: np.ndarray, template: TemplateRows) -> ModelRows:
    """Rows that are analysed of some data sets, below each other."""
    present = found.present[which]
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    x = np.asfortranarray(found.x[which][present])
    stacked = [part[which][present].astype(np.int32) for part in codes]
    return replace(
        template.rows,
        labels=tuple(range(1, len(which) + 1)),
        offsets=offsets,
        x=RowMatrix(np.empty((0, 0)), tuple(x.T), tuple((True, j) for j in range(x.shape[1])), offsets),
        # offsets of the formula are taken off
        y=RowArray(found.y[which][present], offsets),
        offset=None,
        terms=(),
        term_specs=(),
        factors=tuple(replace(f, codes=own) for f, own in zip(template.rows.factors, stacked, strict=True)),
        factor_rows=tuple(RowArray(own, offsets) for own in stacked),
        index=tuple(pd.RangeIndex(n) for n in np.diff(offsets)),
        data=None,
    )


def _fitted(rows: ModelRows, model: MmrmModel, devices: tuple[jax.Device, ...]) -> MmrmFitted:
    keep = np.arange(len(model.names))
    assembled, visits = assemble_mmrm(rows, reml=model.mmrm.reml, keep=keep)
    batch = replace(assembled.batch, mesh=device_mesh(devices) if devices else None)
    return fit_mmrm(replace(assembled, rows=read_formula(rows), batch=batch), visits, Newton())


def _nothing(replications: int, model: MmrmModel) -> Findings:
    """Findings where no data set can be fitted."""

    def filled(value: float, *shape: int) -> Array:
        return host_leaf(np.full((replications, *shape), value))

    none, zero = filled(np.nan, len(model.names)), filled(0)
    pooled, parameters = Pooled(none, none, none, none), filled(np.nan, len(model.parameters))
    return Findings(pooled, parameters, zero, filled(1), zero, zero, zero)


def _pool(fitted: MmrmFitted, usable: np.ndarray, analysis: Analysis) -> Findings:
    k, options = analysis.treatment.sets, analysis.options
    fits, p = Selection.all_of(fitted), fitted.beta.shape[1]
    variance = np.diagonal(fitted.vcov, axis1=1, axis2=2)
    finite = np.isfinite(fitted.beta).all(axis=1) & np.isfinite(variance).all(axis=1)
    usable = np.asarray(usable & finite)
    df = _complete_data_df(fits, options).reshape(-1, k, p).mean(axis=1)
    sdcor = covariance_parameters(fits).sdcor
    complete = np.asarray(usable.reshape(-1, k).all(axis=1))[:, None]
    pooled = _pooled(*(host_leaf(a) for a in (fitted.beta.reshape(-1, k, p), variance.reshape(-1, k, p), df)))
    exact = fitted.status == NO_RESIDUAL
    unconverged = ~fitted.converged & ~exact

    def count(which: np.ndarray) -> Array:
        return host_leaf(which.reshape(-1, k).sum(axis=1))

    return Findings(
        pooled=jax.tree.map(lambda a: np.where(complete, np.asarray(a), np.nan), pooled),
        parameters=host_leaf(np.where(complete, sdcor.reshape(-1, k, sdcor.shape[1]).mean(axis=1), np.nan)),
        evaluations=host_leaf(np.asarray(fitted.opt.evaluations).reshape(-1, k).max(axis=1)),
        unusable=count(~usable),
        unconverged=count(usable & unconverged),
        exact=count(usable & exact),
        singular=count(usable & ~unconverged & ~exact & fitted.singular),
    )


def _complete_data_df(fits: Selection, options: AnalysisOptions) -> np.ndarray:
    """Degrees of freedom of the coefficients of every data set, (m, p)."""
    p = fits.beta.shape[1]
    if options.dfcom is not None:
        return np.full((fits.n_sets, p), options.dfcom)
    if options.satterthwaite:
        return mmrm_inference(fits, "satterthwaite").df(np.eye(p))
    return np.repeat(np.array(fits.n_rows, dtype=float)[:, None] - p, p, axis=1)


@program()
def _pooled(beta: Array, variance: Array, df: Array) -> Pooled:
    """Pool coefficients (R, K, p) with degrees of freedom (R, p)."""
    out: Pooled = jax.vmap(rubin)(beta, variance, df)
    return out
