"""Reference fits and dense algebra for the tests of prediction."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import scipy.linalg

import remlax as rx
from reference_cases import REFERENCE, load_case
from remlax.errors import SingularFitWarning
from remlax.fitting.assemble import z_columns
from remlax.fitting.fit import Fitted
from remlax.predict.newdata import PredictionRows


@cache
def lme4_numbers() -> dict[str, Any]:
    return json.loads((REFERENCE / "predict" / "lme4.json").read_text())


@cache
def pooled_numbers() -> dict[str, Any]:
    return json.loads((REFERENCE / "predict" / "pooled.json").read_text())


@cache
def fits_of(case: str) -> rx.LmerFitList:
    """Fits of a reference case, one or K."""
    info, frames = load_case(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        return rx.lmer_list(info["formula"], frames, reml=info["reml"], weights=info["weights"], offset=info["offset"])


def new_frame(numbers: dict[str, Any], case: str | None = None) -> pd.DataFrame:
    """New data of a reference file, categories typed as in the case's data."""
    frame = pd.DataFrame(numbers)
    if case is None:
        return frame
    first = load_case(case)[1][0]
    for name in frame.columns.intersection(first.columns):
        if isinstance(first[name].dtype, pd.CategoricalDtype):
            frame[name] = pd.Categorical(frame[name].astype(str), dtype=first[name].dtype)
    return frame


def dense_blocks(fitted: Fitted, lane: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X (n, p), Z (n, Q), G (Q, Q) and the residual variances (n,) of one data set, all dense."""
    model, layout, rows = fitted.model, fitted.model.layout, fitted.model.rows
    x = rows.x.of(lane)[:, model.keep]
    zs, gs = [], []
    for f, z in enumerate(z_columns(rows, layout, lane)):
        levels, q = layout.factors[f].n_levels, z.shape[1]
        codes = rows.factor_rows[layout.factor_source[f]].of(lane)
        wide = np.zeros((len(x), levels, q))
        wide[np.arange(len(x)), codes] = z
        d = np.zeros((q, q))
        for t, term in enumerate(layout.terms):
            if term.factor == f:
                d[term.columns, term.columns] = fitted.covariance(t)[lane]
        zs.append(wide.reshape(len(x), -1))
        gs.append(np.kron(np.eye(levels), d))
    weights = np.ones(len(x)) if rows.weights is None else rows.weights.of(lane)
    return x, np.concatenate(zs, axis=1), scipy.linalg.block_diag(*gs), fitted.sigma[lane] ** 2 / weights


def dense_joint(fitted: Fitted, lane: int) -> np.ndarray:
    """Covariance of (beta-hat - beta, b-hat - b) from n x n matrices (Henderson 1975)."""
    x, z, g, residual = dense_blocks(fitted, lane)
    inverse = np.linalg.inv(z @ g @ z.T + np.diag(residual))
    c = np.linalg.inv(x.T @ inverse @ x)
    h = g @ z.T @ inverse
    cross = -h @ x @ c
    return np.block([[c, cross.T], [cross, g - h @ z @ g + h @ x @ c @ x.T @ h.T]])


def dense_variance(fitted: Fitted, lane: int, rows: PredictionRows) -> np.ndarray:
    """Variance of the error of predictions by dense algebra, (R,); new levels add their prior variance."""
    _, _, g, _ = dense_blocks(fitted, lane)
    frame = rows.frame(0)
    parts, extra, start = [frame.x], np.zeros(rows.n_rows), 0
    for f, (z, codes) in enumerate(zip(frame.z, frame.codes, strict=True)):
        levels, q = fitted.model.layout.factors[f].n_levels, z.shape[1]
        wide = np.zeros((len(z), levels, q))
        d = g[start : start + q, start : start + q]
        for row, code in enumerate(codes):
            if 0 <= code < levels:
                wide[row, code] = z[row]
            elif code >= levels:
                extra[row] += z[row] @ d @ z[row]
        parts.append(wide.reshape(len(z), -1))
        start += levels * q
    a = np.concatenate(parts, axis=1)
    return np.asarray(np.einsum("ri,ij,rj->r", a, dense_joint(fitted, lane), a) + extra)
