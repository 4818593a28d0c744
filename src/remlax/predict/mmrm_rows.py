"""Rows of mixed models for repeated measures: predictions, given a patient's observed visits or not, and residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ..design.groups import level_name
from ..engine.batch import run
from ..errors import DataError
from ..fitting.mmrm.patients import patient_rows
from ..fitting.selection import Selection
from ..inference.mmrm.choice import mmrm_fitted
from ..mmrm.parameters import jacobians
from ..tables.checks import checks
from ..tables.coefficients import estimate_columns, total_variance
from ..tables.usable import warn_unconverged
from .newdata import FrameRows, NewData, PredictionRows, new_frames, read_newdata
from .prediction import COLUMNS, Interval, LinearPredictor, estimates, satterthwaite_rows
from .residuals import data_columns, row_means
from .same_rows import require_same_rows
from .undetermined import blank, warn_undetermined

MmrmLevel = Literal["population", "patient"]
MmrmResidualType = Literal["response", "pearson", "normalized"]


@dataclass(frozen=True, eq=False)
class _RowPlaces:
    """Where the rows of one frame stand: visit, group and, where asked for, patient (R,)."""

    visit: np.ndarray
    group: np.ndarray
    patient: np.ndarray | None


def mmrm_predict_table(
    fits: Selection,
    newdata: NewData,
    level: MmrmLevel,
    interval: Interval | None,
    conf_level: float,
    dfcom: float | None = None,
) -> pd.DataFrame:
    """Table of predictions, pooled of several fits; see ``MmrmFit.predict``."""
    checks.choice(level, MmrmLevel, "level=")
    checks.choice(interval, Literal[None, "confidence", "prediction"], "interval=")
    checks.level(conf_level)
    warn_unconverged(fits, "predict")
    rows = read_newdata(fits, newdata, [], "error")
    warn_undetermined(rows.undetermined, rows.index)
    if interval is None and level == "population":
        table = pd.DataFrame({"estimate": estimates(fits, rows).mean(axis=0)})
        return blank(table.set_index(rows.index), rows.undetermined)
    found = _predictor(fits, rows, _frames(fits, newdata), level, interval)
    if interval is None:
        table = pd.DataFrame({"estimate": found.estimate.mean(axis=0)})
    else:
        df = satterthwaite_rows(fits, found).mean(axis=0) if dfcom is None else dfcom
        columns = estimate_columns(found.estimate, found.variance, df, conf_level)
        table = pd.DataFrame({name: columns[name] for name in COLUMNS if name in columns})
    return blank(table.set_index(rows.index), rows.undetermined)


def _frames(fits: Selection, newdata: NewData) -> list[pd.DataFrame]:
    """Frames that hold the columns of visits and patients: one, or one for each data set."""
    data = fits.rows.data
    assert data is not None  # every fit keeps its data
    return [data.frames[k] for k in fits.which] if newdata is None else new_frames(fits, newdata)[0]


def _predictor(
    fits: Selection, rows: PredictionRows, frames: list[pd.DataFrame], level: MmrmLevel, interval: Interval | None
) -> LinearPredictor:
    derivatives = np.asarray(run(jacobians, fits.model.batch.take(fits.index), fits.inner))
    derivatives = derivatives * (fits.model.y_scale[fits.index] ** 2)[:, None, None, None, None]
    parts = []
    for i, k in enumerate(fits.which):
        fit, frame = fits.one(k), frames[i if len(frames) > 1 else 0]
        places = _places(fit, frame, patients=level == "patient", visits=level == "patient" or interval == "prediction")
        parts.append(_of_fit(fit, rows.frame(i), places, derivatives[i], new=interval == "prediction"))
    estimate, variance, gradient = (np.stack(part) for part in zip(*parts, strict=True))
    return LinearPredictor(estimate, np.maximum(variance, 0.0), gradient, np.zeros_like(variance))


def _places(fit: Selection, frame: pd.DataFrame, *, patients: bool, visits: bool) -> _RowPlaces:
    fitted, n = mmrm_fitted(fit), len(frame)
    term, none = fitted.covariance_term, np.zeros(n, int)
    visit = _codes(frame, term.visit, fitted.visits.names, "visit") if visits else none
    group = none
    if visits and term.group is not None:
        group = _codes(frame, term.group, fitted.visits.groups, "group")
    if not patients:
        return _RowPlaces(visit, group, None)
    known = tuple(map(str, fit.rows.factors[0].levels))
    return _RowPlaces(visit, group, _codes(frame, term.patient, known, "patient"))


def _codes(frame: pd.DataFrame, column: str, known: tuple[str, ...], what: str) -> np.ndarray:
    """Numbers of the levels of a column, of which all must be known."""
    if column not in frame.columns:
        raise DataError(f"newdata has no column {column!r}, which says the {what} of a row")
    at = {name: i for i, name in enumerate(known)}
    names = [level_name(value) for value in frame[column]]
    unknown = [name for name in names if name not in at]
    if unknown:
        advice = "; use level='population'" if what == "patient" else ""
        raise DataError(f"newdata has the {what} {unknown[0]!r}, which the fit has not seen{advice}")
    return np.array([at[name] for name in names], int)


def _of_fit(
    fit: Selection, frame: FrameRows, places: _RowPlaces, derivative: np.ndarray, *, new: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, variance of its error (R,) and its derivatives (R, d), from those of Sigma (g, T, T, e)."""
    fitted, k = mmrm_fitted(fit), fit.k
    estimate = frame.x @ fitted.beta[k] + frame.offset
    x, n_each = np.array(frame.x), derivative.shape[-1]
    extra, gradient = np.zeros(len(x)), np.zeros((len(x), fitted.structure.n_parameters))
    if places.patient is None:
        if new:
            extra = fitted.sigmas[k, places.group, places.visit, places.visit]
            own = derivative[places.group, places.visit, places.visit]
            _add_own(gradient, own, places.group, n_each)
    else:
        observed = _observed(fit)
        for patient in np.unique(places.patient):
            own_rows = np.flatnonzero(places.patient == patient)
            if patient in observed:
                own_group, part = observed[patient]
                visit = places.visit[own_rows]
                moved = _given(fitted.sigmas[k, own_group], derivative[own_group], part, visit)
                x[own_rows] -= moved.weights.T @ part.x
                estimate[own_rows] += moved.weights.T @ part.residual
                extra[own_rows] = moved.left if new else 0.0
                # the rows' own x changes with the weights
                d_x = -np.einsum("rae,ap->rpe", moved.d_weights, part.x)
                slope = 2 * np.einsum("rpe,pq,rq->re", d_x, fit.vcov[0], x[own_rows])
                slope = slope + (moved.d_left if new else 0.0)
                columns = slice(own_group * n_each, (own_group + 1) * n_each)
                gradient[own_rows, columns] += slope
    variance = np.einsum("ri,ij,rj->r", x, fit.vcov[0], x) + extra
    gradient += np.einsum("ri,ijt,rj->rt", x, fitted.moved[k], x)
    return estimate, variance, gradient


def _add_own(gradient: np.ndarray, own: np.ndarray, group: np.ndarray, n_each: int) -> None:
    """Add derivatives in the parameters of each row's group."""
    columns = group[:, None] * n_each + np.arange(n_each)
    gradient[np.arange(len(own))[:, None], columns] += own


@dataclass(frozen=True, eq=False)
class _ObservedVisits:
    """What was observed of one patient: visits (t,), columns (t, p), residuals (t,), roots of the weights (t,)."""

    visit: np.ndarray
    x: np.ndarray
    residual: np.ndarray
    root: np.ndarray


def _observed(fit: Selection) -> dict[int, tuple[int, _ObservedVisits]]:
    """Group and observed visits of every patient of one data set, by the patient's number."""
    fitted, rows, k = mmrm_fitted(fit), fit.rows, fit.k
    visits, codes = fitted.visits, rows.factor_rows
    x, residual = rows.x.of(k)[:, fit.model.keep], rows.y.of(k) - fitted.fitted_values(k)
    root = np.ones(len(x)) if rows.weights is None else np.sqrt(rows.weights.of(k))
    patient, visit = codes[0].of(k), codes[1].of(k)
    out = {}
    for at in range(visits.offsets[k], visits.offsets[k + 1]):
        own = visits.order[visits.start[at] : visits.start[at] + visits.size[at]] - rows.offsets[k]
        part = _ObservedVisits(visit[own], x[own], residual[own], root[own])
        out[int(patient[own[0]])] = int(visits.group[at]), part
    return out


@dataclass(frozen=True, eq=False)
class _GivenVisits:
    """Conditional distribution of R visits given t observed ones: weights (t, R), variance left (R,), derivatives."""

    weights: np.ndarray
    left: np.ndarray
    d_weights: np.ndarray
    d_left: np.ndarray


def _given(sigma: np.ndarray, derivative: np.ndarray, part: _ObservedVisits, visit: np.ndarray) -> _GivenVisits:
    scale = part.root[:, None] * part.root
    at = np.ix_(part.visit, part.visit)
    inverse = np.linalg.inv(sigma[at] / scale)
    cross = sigma[np.ix_(part.visit, visit)] / part.root[:, None]
    d_own, d_cross = derivative[at] / scale[..., None], derivative[np.ix_(part.visit, visit)] / part.root[:, None, None]
    weights = inverse @ cross
    left = sigma[visit, visit] - np.sum(cross * weights, axis=0)
    d_weights = np.einsum("ab,bre->rae", inverse, d_cross - np.einsum("bce,cr->bre", d_own, weights))
    d_left = derivative[visit, visit] - 2 * np.einsum("are,ar->re", d_cross, weights)
    d_left = d_left + np.einsum("ar,abe,br->re", weights, d_own, weights)
    # a visit that was observed is known
    place = {int(v): i for i, v in enumerate(part.visit)}
    for r, own in enumerate(visit):
        if int(own) in place:
            weights[:, r] = np.eye(len(part.visit))[place[int(own)]]
            left[r], d_weights[r], d_left[r] = 0.0, 0.0, 0.0
    return _GivenVisits(weights, left, d_weights, d_left)


def mmrm_residual_series(fits: Selection, type_: MmrmResidualType) -> pd.Series[float]:
    """Residuals, means over several fits; see ``MmrmFit.residuals``."""
    return row_means(fits, [mmrm_residual_values(fit, type_) for fit in fits.each], "residual")


def mmrm_augment_table(fits: Selection, *, per_imputation: bool = False) -> pd.DataFrame:
    """Data with fitted means and residuals, means over several fits; see ``MmrmFit.augment``."""
    require_same_rows(fits)
    fitted, rows = np.stack([fits.fitted.fitted_values(k) for k in fits.which]), fits.rows
    x = (rows.x.of(k)[:, fits.model.keep] for k in fits.which)
    variance = np.stack([np.einsum("ri,ij,rj->r", own, v, own) for own, v in zip(x, fits.vcov, strict=True)])
    values = {"fitted": fitted, "std_error": np.sqrt(total_variance(fitted, variance))[None]}
    for kind in get_args(MmrmResidualType):
        name = "residual" if kind == "response" else f"{kind}_residual"
        values[name] = np.stack([mmrm_residual_values(fit, kind) for fit in fits.each])
    out = data_columns(fits, list(values))
    each = {name: own.mean(axis=0) for name, own in values.items()}
    if per_imputation:
        each |= {f"{name}_{v}": values[name][i] for name in ("fitted", "residual") for i, v in enumerate(fits.labels)}
    return pd.concat([out, pd.DataFrame(each, index=out.index)], axis=1)


def mmrm_residual_values(fit: Selection, type_: MmrmResidualType) -> np.ndarray:
    """Residuals of one data set, (n,)."""
    checks.choice(type_, MmrmResidualType, "type=")
    out = fit.rows.y.of(fit.k) - fit.fitted.fitted_values(fit.k)
    if type_ == "response":
        return np.asarray(out)
    for at, v in patient_rows(fit):
        if type_ == "pearson":
            out[at] /= np.sqrt(np.diagonal(v, axis1=1, axis2=2))
        else:
            out[at] = np.linalg.solve(np.linalg.cholesky(v), out[at][:, :, None])[:, :, 0]
    return np.asarray(out)
