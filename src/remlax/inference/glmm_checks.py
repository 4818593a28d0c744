"""Does the response vary more than the family allows, or have more zeros: observed and simulated statistics."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..engine.batch import run
from ..errors import DataError
from ..fitting.glmm import GlmmFitted
from ..fitting.glmm_rows import make_tiles
from ..fitting.refit import draw_responses
from ..fitting.responses.distribution import inverse_link
from ..fitting.selection import Selection
from ..glmm.optimum import predictor_at
from .glmm import glmm_fitted


def dispersion_table(fit: Selection, n_sims: int, seed: int) -> pd.DataFrame:
    """Pearson's sum of squares over its degrees of freedom, and its simulated p-value; see ``check_dispersion``."""
    fitted, k = glmm_fitted(fit), fit.k
    _require_number(fitted, k)
    observed = _pearson(fitted, k, fitted.response.y.of(k)[None], fitted.means(k)[None])[0]
    drawn = _drawn(fit, n_sims, seed)
    simulated = _pearson(fitted, k, drawn, _means_given(fitted, k, drawn))
    df = fit.n_rows[0] - fitted.n_parameters(k)
    row = {
        "statistic": observed,
        "df": df,
        "dispersion": observed / df,
        "expected": float(simulated.mean()) / df,
        "p_value": (1 + int(np.sum(simulated >= observed))) / (n_sims + 1),
    }
    return pd.DataFrame([row])


def zeros_table(fit: Selection, n_sims: int, seed: int) -> pd.DataFrame:
    """Observed and expected numbers of zeros, and a simulated p-value; see ``check_zeros``."""
    fitted, k = glmm_fitted(fit), fit.k
    if fitted.family.name in ("gamma", "ordinal"):
        raise DataError(f"{'a gamma' if fitted.family.name == 'gamma' else 'an ordinal'} response has no zeros")
    if _is_binary(fitted, k):
        raise DataError("zeros of a 0/1 response are what the model fits: there is nothing to check")
    observed = int(np.sum(fitted.response.y.of(k) == 0))
    drawn = np.sum(_drawn(fit, n_sims, seed) == 0, axis=1)
    fewer, more = int(np.sum(drawn <= observed)), int(np.sum(drawn >= observed))
    p_value = min(1.0, 2 * (1 + min(fewer, more)) / (n_sims + 1))
    expected = float(drawn.mean())
    ratio = observed / expected if expected else np.nan
    return pd.DataFrame([{"observed": observed, "expected": expected, "ratio": ratio, "p_value": p_value}])


def _drawn(fit: Selection, n_sims: int, seed: int) -> np.ndarray:
    """Draw responses with new random effects, (n_sims, n), numbers as `GlmmResponse` has them."""
    drawn = draw_responses(fit, n_sims, np.random.default_rng(seed))
    trials = glmm_fitted(fit).response.trials
    return drawn if trials is None or fit.rows.y.values.ndim == 1 else drawn / trials.of(fit.k)


def _require_number(fitted: GlmmFitted, k: int) -> None:
    """Refuse responses that are the same however much they vary."""
    if fitted.family.name == "ordinal":
        raise DataError("overdispersion cannot be seen in categories of one trial each")
    if _is_binary(fitted, k):
        raise DataError("overdispersion cannot be seen in 0/1 responses")


def _is_binary(fitted: GlmmFitted, k: int) -> bool:
    trials = fitted.response.trials
    return fitted.family.name == "binomial" and (trials is None or bool((trials.of(k) <= 1).all()))


def _pearson(fitted: GlmmFitted, k: int, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Pearson's sum of squares of responses (S, n)."""
    own = fitted.distribution(k)
    return np.asarray(np.sum(own.weight * (y - mean) ** 2 / own.variance(mean), axis=1))


def _means_given(fitted: GlmmFitted, k: int, responses: np.ndarray) -> np.ndarray:
    """Means (S, n) given the modes that other responses (S, n) have, the parameters at their estimates."""
    model, n_sims = fitted.model, len(responses)
    codes = model.rows.factor_rows[model.layout.factor_source[0]].of(k)
    products = model.batch.problem.products
    tiles = make_tiles(codes, *products.y.shape[1:])
    y = np.where(tiles.filled, responses[:, tiles.row], 0.0)
    at = fitted.parameters(fitted.inner[k], fitted.beta[k], fitted.shape[k])[k]
    found = run(predictor_at, model.batch, y, np.tile(at, (n_sims, 1)), which=np.full(n_sims, k))
    eta = np.empty_like(responses)
    eta[:, tiles.row[tiles.filled]] = np.asarray(found)[:, tiles.filled]
    return inverse_link(fitted.family.link, eta).mean
