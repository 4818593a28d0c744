"""Shares of variance of the terms of a model, for many responses."""

from __future__ import annotations

import numpy as np

from ..pooling.rubin import ratio
from ..tables.varcorr import layout_labels
from .estimates import ResponseFits
from .fit import SharedDesign


def variance_shares(design: SharedDesign, fits: ResponseFits) -> tuple[list[str], np.ndarray]:
    """Labels (t,) and shares of variance (G, t) of fixed terms, random terms and the residual."""
    model, names = design.model, design.model.fixed_names
    x = design.rows.x.of(0)[:, model.keep]
    moments = np.cov(x, rowvar=False, bias=True).reshape(x.shape[1], x.shape[1])
    # what a response without rows for a coefficient lacks
    beta = np.nan_to_num(fits.beta)
    beta[np.isfinite(fits.beta).sum(axis=1) < fits.rank] = np.nan
    fixed = {}
    for term, own in model.term_names.items():
        at = np.array([names.index(name) for name in own])
        fixed[term] = np.einsum("gi,ij,gj->g", beta[:, at], moments[np.ix_(at, at)], beta[:, at])
    total = np.einsum("gi,ij,gj->g", beta, moments, beta)
    scale = ratio(total, sum(fixed.values(), np.zeros(len(beta))), 0.0)
    parts = {term: own * scale for term, own in fixed.items()}
    for random, label in zip(model.layout.terms, layout_labels(model.layout), strict=True):
        z = design.rows.terms[random.source].rows.of(0)
        lam = np.zeros((len(beta), random.q, random.q))
        col, row = np.triu_indices(random.q)
        lam[:, row, col] = fits.theta[:, random.theta]
        parts[label] = fits.sigma**2 * np.einsum("gia,ij,gja->g", lam, z.T @ z / len(z), lam)
    parts["Residual"] = fits.sigma**2
    values = np.stack(list(parts.values()), axis=1)
    return list(parts), np.asarray(values / values.sum(axis=1, keepdims=True))
