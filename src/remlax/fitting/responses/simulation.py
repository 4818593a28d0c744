"""Responses drawn from a generalised linear mixed model, with new random effects."""

from __future__ import annotations

import numpy as np

from ..assemble import z_columns
from ..glmm import GlmmFitted
from .distribution import inverse_link


def draw_glmm_responses(fitted: GlmmFitted, k: int, n_sims: int, rng: np.random.Generator) -> np.ndarray:
    """Draw responses of data set k at its estimates, (n_sims, n): numbers as `GlmmResponse` has them.

    Simulation s uses the same draws however many there are.
    """
    model, own = fitted.model, fitted.distribution(k)
    fixed = fitted.fitted_values(k, random=False)
    z = z_columns(model.rows, model.layout, k)
    roots = [fitted.relative_factor(t)[k] for t in range(len(model.layout.terms))]
    out = np.empty((n_sims, len(fixed)))
    for s in range(n_sims):
        eta = fixed.copy()
        for term, root in zip(model.layout.terms, roots, strict=True):
            effects = rng.standard_normal((model.layout.factors[term.factor].n_levels, term.q)) @ root.T
            codes = model.rows.factor_rows[model.layout.factor_source[term.factor]].of(k)
            eta += np.einsum("nq,nq->n", z[term.factor][:, term.columns], effects[codes])
        mean = eta if fitted.family.name == "ordinal" else inverse_link(fitted.family.link, eta).mean
        out[s] = own.draw(mean, rng)
    return out
