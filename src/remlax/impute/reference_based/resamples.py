"""Parameters behind each imputation: estimates of resamples of the patients, or draws from the posterior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...errors import ImputationError, ImputationWarning, warn
from ...fitting.mmrm.posterior import draw_parameters
from ..columns import FloatArray
from ..patterns import BoolArray, IntArray
from .cells import Parameters
from .model import ReferenceModel

# times that a resample whose fit failed is drawn anew
MOST_ATTEMPTS = 20
# what draws with one seed are for
WEIGHTS, NOISE, PARAMETERS = 0, 1, 2


def generator(seed: int, purpose: int, k: int, attempt: int = 0) -> np.random.Generator:
    """Draws of imputation k, which do not depend on how many there are."""
    return np.random.default_rng([seed, purpose, k, attempt])


def bootstrap_refits(model: ReferenceModel, n: int) -> tuple[FloatArray, Parameters, int]:
    """Resample patients within arms and fit the imputation model to each resample.

    Returns
    -------
    counts : ndarray (n, patients)
        How often every patient is in a resample.
    parameters : Parameters
    n_replaced : int
        Resamples whose fit failed, and which were drawn again.

    Raises
    ------
    ImputationError
        A fit failed in every resample that was drawn.
    """

    def draw(k: int, attempt: int) -> FloatArray:
        return drawn_counts(model.seed, model.trial.arm, k, attempt)

    def refit(counts: FloatArray, which: IntArray) -> tuple[FloatArray, FloatArray, BoolArray]:
        parameters, failed = model.refits(counts)
        return parameters.beta, parameters.sigmas, failed

    counts, beta, sigmas, n_replaced, failed = refit_resamples(draw, refit, n)
    if failed.any():
        raise ImputationError(
            f"the imputation model could not be fitted to resamples of the patients, {MOST_ATTEMPTS + 1} times in a "
            f"row{model.fitted.advice}; or impute without draws (draws='none')"
        )
    if n_replaced:
        warn(
            f"{n_replaced} resamples of the patients, beside the {n} used, had no fit that converged and is not "
            "singular, and were drawn again",
            ImputationWarning,
        )
    return counts, Parameters(beta, sigmas), n_replaced


def refit_resamples(
    draw: Callable[[int, int], FloatArray],
    refit: Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray, BoolArray]],
    n: int,
) -> tuple[FloatArray, FloatArray, FloatArray, int, BoolArray]:
    """Refit to n resamples, and draw those again whose fit failed.

    Parameters
    ----------
    draw : callable
        Number of the resample and of the attempt, to how often every patient counts.
    refit : callable
        Counts and numbers of some resamples, to coefficients, covariance matrices, and which fits failed.

    Returns
    -------
    counts, beta, sigmas : ndarray (n, ...)
    n_replaced : int
        Resamples that were drawn again.
    failed : ndarray of bool (n,)
        Resamples whose fit failed in every attempt.
    """
    counts = np.stack([draw(k, 0) for k in range(n)])
    given_beta, given_sigmas, lost = refit(counts, np.arange(n))
    beta, sigmas, n_replaced = given_beta.copy(), given_sigmas.copy(), 0
    which = np.flatnonzero(lost)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        if not len(which):
            break
        n_replaced += len(which)
        counts[which] = [draw(int(k), attempt) for k in which]
        beta[which], sigmas[which], lost = refit(counts[which], which)
        which = which[lost]
    failed = np.zeros(n, bool)
    failed[which] = True
    return counts, beta, sigmas, n_replaced, failed


def drawn_counts(seed: int, arm: IntArray, k: int, attempt: int = 0) -> FloatArray:
    """How often every patient is drawn in resample k, with replacement and within arms."""
    rng, out = generator(seed, WEIGHTS, k, attempt), np.zeros(len(arm))
    for a in range(int(arm.max()) + 1):
        own = np.flatnonzero(arm == a)
        out[own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)))
    return out


def jackknife_refits(model: ReferenceModel) -> tuple[FloatArray, Parameters]:
    """Leave out every patient in turn, and fit the imputation model to the others.

    Raises
    ------
    ImputationError
        A fit failed: without one of them there is no jackknife.
    """
    counts = 1.0 - np.eye(model.trial.shape[0])
    parameters, failed = model.refits(counts)
    bad: IntArray = np.flatnonzero(failed)
    if len(bad):
        raise ImputationError(
            f"without patient {model.trial.named(bad)} the imputation model has no fit that converges and is not "
            f"singular: the jackknife needs all of them{model.fitted.advice}; or use se='bootstrap'"
        )
    return counts, parameters


def noise(seed: int, sets: range, shape: tuple[int, int]) -> FloatArray:
    """Standard normal draws (K, n, T) of some imputations."""
    return np.stack([generator(seed, NOISE, k).standard_normal(shape) for k in sets])


def posterior_draws(model: ReferenceModel, n: int) -> Parameters:
    """Draw parameters from the normal approximation to their posterior distribution."""
    fitted = model.fitted
    d, p = fitted.theta.shape[1], fitted.beta.shape[1]
    z = np.stack([generator(model.seed, PARAMETERS, k).standard_normal(d + p) for k in range(n)])
    beta, sigmas = draw_parameters(fitted, z[:, :d], z[:, d:])
    return Parameters(beta[:, None], sigmas[:, None])
