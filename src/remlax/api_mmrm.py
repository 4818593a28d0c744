"""mmrm and mmrm_list: mixed models for repeated measures. Composition only."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import pandas as pd
from jax.sharding import Mesh

from .api import warn_of_fits
from .api_rows import complete_rows, kept_rows, warn_formula, warn_two_values
from .data import ImputedData
from .data.checks import frame_array, n_missing
from .design.build import ModelRows, RowInput, check_order, read_rows, require_model_columns
from .design.congenial import warn_uncongenial
from .design.own_contrasts import Contrasts, read_contrasts
from .design.tree import columns_in
from .engine.placement import Device, device_mesh
from .errors import DataError, DroppedRowsWarning, shortened, warn
from .fitting.checks import check_options
from .fitting.mmrm.fit import MmrmFitted, assemble_mmrm, fit_mmrm, read_formula
from .fitting.mmrm.formula import MmrmFormula, parse_mmrm
from .fitting.mmrm.visits import warn_visits
from .fitting.record import record
from .fitting.selection import Selection
from .kernels.newton import Newton
from .names import PRIOR_ARGUMENTS, refuse_arguments
from .results.mmrm import MmrmFit, MmrmFitList

_log = logging.getLogger(__name__)


def mmrm(
    formula: str,
    data: pd.DataFrame,
    *,
    reml: bool = True,
    weights: RowInput = None,
    offset: RowInput = None,
    contrasts: Contrasts | None = None,
    optimizer: Newton | None = None,
    device: Device | None = None,
    **others: object,
) -> MmrmFit:
    """Fit a mixed model for repeated measures to one data frame: y_i = X_i beta + e_i, e_i ~ N(0, Sigma_i).

    Sigma_i has the rows and columns of one covariance matrix of all visits that patient i was seen at. Rows with
    missing cells in the model's variables are left out, with a warning that counts them: a missing response is a visit
    that was not observed.

    Parameters
    ----------
    formula : str
        A fixed part and one covariance term, as in ``"y ~ base + arm * visit + us(visit | id)"``. Structures: ``us``
        (unstructured), ``cs`` and ``csh`` (compound symmetry, with one variance or one of each visit), ``ar1`` and
        ``ar1h`` (first-order autoregressive), ``toep`` and ``toeph`` (Toeplitz), ``ante1`` (antedependence) and
        ``diag`` (uncorrelated). ``us(visit | arm / id)`` has a covariance matrix of each arm. Visits are categories in
        their order, texts sorted; numbers are taken in their order too. Autoregressive and Toeplitz structures take
        visits for equally spaced.
    data : pandas.DataFrame
        A row for each visit of each patient.
    reml : bool, default True
        REML or maximum likelihood.
    weights : str or array_like (n,), optional
        Precision weights: a row's variance is that of its visit divided by its weight.
    offset : str or array_like (n,), optional
        Known part of the response.
    contrasts : dict, optional
        As in `lmer`.
    optimizer : Newton, default ``Newton()``
        Safeguarded Newton with exact Hessians.
    device : str, jax.Device, list of jax.Device or jax.sharding.Mesh, optional
        As in `lmer`.
    **others
        None: arguments of `lmer` are refused that a model without random effects has not.

    Returns
    -------
    MmrmFit

    Raises
    ------
    FormulaError, DataError, DesignError, ModelSizeError, DeviceError
        As `lmer`; DataError also for a patient with a visit twice.

    Warns
    -----
    DroppedRowsWarning, RankDeficientWarning, SingularFitWarning, ConvergenceWarning, FormulaWarning,
    TwoValuedResponseWarning
    DataWarning
        Visits that nobody has, or whose order or spacing may not be meant.

    References
    ----------
    Mallinckrodt, C. H., Clark, W. S. and David, S. R. (2001). J. Biopharm. Stat. 11, 9-21.
    Jennrich, R. I. and Schluchter, M. D. (1986). Biometrics 42, 805-820.

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.sleepstudy().assign(Day=lambda d: d["Days"] // 3)
    >>> means = data.groupby(["Subject", "Day"], observed=True, as_index=False)["Reaction"].mean()
    >>> fit = rx.mmrm("Reaction ~ Day + us(Day | Subject)", means)
    >>> fit.residual_correlation().round(2).loc["0"].tolist()
    [1.0, 0.7, 0.51, 0.56]
    """
    refuse_arguments("mmrm", others, PRIOR_ARGUMENTS)
    mesh = device_mesh(device)
    parsed = _parsed(formula, contrasts)
    frame, kept = complete_rows(data, parsed, weights, offset, "rx.mmrm")
    for what, given in (("weights", weights), ("offset", offset)):
        check_order(given, data.index, what)
    rows = read_rows(
        parsed.with_factors,
        ImputedData((frame.copy(deep=False),), (1,)),
        weights=kept_rows(weights, kept),
        offset=kept_rows(offset, kept),
        n_dropped=0 if kept is None else int((~kept).sum()),
    )
    return MmrmFit(Selection.all_of(_fit(rows, reml=reml, optimizer=optimizer, mesh=mesh)))


def mmrm_list(
    formula: str,
    datasets: ImputedData | Iterable[pd.DataFrame] | Mapping[object, pd.DataFrame],
    *,
    reml: bool = True,
    weights: str | None = None,
    offset: str | None = None,
    contrasts: Contrasts | None = None,
    optimizer: Newton | None = None,
    device: Device | None = None,
    **others: object,
) -> MmrmFitList:
    """Fit one mixed model for repeated measures to several data sets at once: imputations, or simulated trials.

    Parameters
    ----------
    formula : str
        As in `mmrm`.
    datasets : ImputedData, or list or dict of pandas.DataFrame
        K data sets with the same columns; rows, patients and visits may differ. Rows without a response are visits that
        were not observed, and are left out with a warning; any other missing cell is an error.
    reml : bool, default True
    weights, offset : str, optional
        A column (or expression).
    contrasts, optimizer, device, **others
        As in `mmrm`.

    Returns
    -------
    MmrmFitList

    Raises
    ------
    FormulaError, DataError, DesignError, ModelSizeError, DeviceError
        As `mmrm`; the message names the imputation.

    Warns
    -----
    DroppedRowsWarning, RankDeficientWarning, SingularFitWarning, ConvergenceWarning, FormulaWarning, DataWarning,
    ImputationWarning, TwoValuedResponseWarning

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.sleepstudy().query("Days < 4")
    >>> later = data.assign(Reaction=data["Reaction"] + 1)
    >>> fits = rx.mmrm_list("Reaction ~ Days + ar1h(Days | Subject)", [data, later])
    >>> fits.fixef().round(1).values.tolist()
    [[250.7, 7.6], [251.7, 7.6]]
    """
    refuse_arguments("mmrm_list", others, PRIOR_ARGUMENTS)
    mesh = device_mesh(device)
    parsed = _parsed(formula, contrasts)
    data = datasets if isinstance(datasets, ImputedData) else ImputedData.from_frames(datasets)
    columns = require_model_columns(parsed, data.frames[0], weights, offset)
    data, n_dropped = _observed(data, parsed)
    data.check_complete(columns)
    rows = read_rows(parsed.with_factors, data, weights=weights, offset=offset, n_dropped=n_dropped)
    warn_uncongenial(parsed, data)
    return MmrmFitList(Selection.all_of(_fit(rows, reml=reml, optimizer=optimizer, mesh=mesh)))


def _parsed(formula: str, contrasts: Contrasts | None) -> MmrmFormula:
    parsed = replace(parse_mmrm(formula), contrasts=read_contrasts(contrasts))
    warn_formula(parsed)
    return parsed


def _observed(data: ImputedData, parsed: MmrmFormula) -> tuple[ImputedData, int]:
    """Data sets without the rows whose response is missing, and how many those are."""
    names = list(columns_in(parsed.response_tree))
    places = [[cast(int, frame.columns.get_loc(name)) for name in names] for frame in data.frames]
    whole = [[n_missing(frame_array(frame, at)) for at in own] for frame, own in zip(data.frames, places, strict=True)]
    if not any(map(any, whole)):
        return data, 0
    kept = [frame[names].notna().all(axis=1).to_numpy() for frame in data.frames]
    lost = [int((~own).sum()) for own in kept]
    where = [label for label, own, n in zip(data.labels, kept, lost, strict=True) if n == len(own)]
    if where:
        raise DataError(f"no row of data set {shortened(where)} has a response: nothing is left to fit")
    several = sum(n > 0 for n in lost)
    warn(
        f"{sum(lost)} rows of {several} data sets have no response and are left out, as visits that were not observed",
        DroppedRowsWarning,
    )
    frames = [frame.loc[own] if n else frame for frame, own, n in zip(data.frames, kept, lost, strict=True)]
    return ImputedData.from_frames(dict(zip(data.labels, frames, strict=True))), sum(lost)


def _fit(rows: ModelRows, *, reml: bool, optimizer: Newton | None, mesh: Mesh | None) -> MmrmFitted:
    chosen = Newton() if optimizer is None else optimizer
    check_options(reml, chosen)
    if not isinstance(chosen, Newton):
        raise DataError(f"optimizer={chosen!r}: a mixed model for repeated measures is fitted by rx.Newton() alone")
    start = time.perf_counter()
    model, visits = assemble_mmrm(rows, reml=bool(reml))
    warn_visits(rows, visits)
    warn_two_values(rows)
    model = replace(model, rows=read_formula(rows), batch=replace(model.batch, mesh=mesh))
    fitted = fit_mmrm(model, visits, chosen)
    seconds = time.perf_counter() - start
    converged, singular = int(fitted.converged.sum()), int(fitted.singular.sum())
    _log.info("%d data sets fitted in %.2f s: %d converged, %d singular", fitted.n_sets, seconds, converged, singular)
    record(fitted)
    warn_of_fits(fitted)
    return fitted
