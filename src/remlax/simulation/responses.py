"""Responses drawn from a fitted model, and refits to other responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..checks import Checks
from ..data.checks import other_order
from ..design.columns import require_columns
from ..design.evaluate import evaluate
from ..design.syntax import variables
from ..errors import ConvergenceWarning, DataError, shortened, warn
from ..fitting.glmm import GlmmFitted
from ..fitting.mmrm.fit import MmrmFitted
from ..fitting.record import record
from ..fitting.refit import draw_responses, refit_to
from ..fitting.responses.refits import response_codes, response_columns
from ..fitting.selection import Selection
from ..results import GlmerFitList, LmerFit, LmerFitList, MmrmFitList
from ..tables.usable import warn_unconverged
from .truth import Fixef, Varcorr, read_truth

checks = Checks()


def simulate(
    fit: LmerFit,
    n_sims: int = 1,
    *,
    seed: int | None = None,
    given_modes: bool = False,
    fixef: Fixef | None = None,
    varcorr: Varcorr | None = None,
) -> pd.DataFrame:
    """Draw responses from a fitted model: y = X beta + offset + Z b + e (lme4: ``simulate``).

    Of a generalised linear mixed model random effects are drawn first, and then responses from their distribution:
    counts, positive numbers, successes of ``cbind(k, n - k)``, proportions, or categories as the data have them.

    Parameters
    ----------
    fit : LmerFit or GlmerFit
    n_sims : int, default 1
    seed : int, optional
        The same seed gives the same draws; the first ones do not depend on ``n_sims``.
    given_modes : bool, default False
        Keep the random effects at their conditional modes (lme4's ``use.u = TRUE``) rather than draw new ones.
    fixef : dict or Series, optional
        Coefficients by name, in the place of the estimates; those that are not named stay (simr: ``fixef(m)["x"] <-``).
    varcorr : dict or DataFrame, optional
        Variance components in the place of the estimates; those that are not named stay as they are, also where the
        residual SD is another. A dict has grouping factors, as `LmerFit.varcorr` writes them, as keys, and as values
        a number, the SD (where the factor has one column of random effects), or a covariance matrix (q, q): an array
        in the order of the columns, or a frame labelled by them. ``"Residual"`` is the SD of a residual of weight 1. A
        frame is laid out as `LmerFit.varcorr` returns it, with ``vcov``, ``sdcor`` or both, and has all rows of a
        factor that it names.

    Returns
    -------
    pandas.DataFrame
        (n, n_sims): columns ``sim_1``, ``sim_2``, ...; the index is that of the rows of the fit.

    Raises
    ------
    DataError
        ``n_sims`` is less than 1; a name is no coefficient or grouping factor; a value is no number, SD or covariance
        matrix; ``vcov`` and ``sdcor`` of a frame do not agree; varcorr names effects that ``given_modes`` keeps.

    Warns
    -----
    ConvergenceWarning

    See Also
    --------
    refit

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> rx.simulate(fit, 2, seed=1).shape
    (180, 2)

    Half the effect, and subjects who do not differ in it:

    >>> new = {"Subject": [[600.0, 0.0], [0.0, 0.0]], "Residual": 20.0}
    >>> weaker = rx.simulate(fit, 2, seed=1, fixef={"Days": 5.0}, varcorr=new)
    """
    check_fit(fit, "simulate")
    check_sims(n_sims, 1, seed)
    warn_unconverged(fit.selection, "simulate")
    rng = np.random.default_rng(seed)
    truth = read_truth(fit.selection, fixef, varcorr, given_modes=given_modes)
    drawn = draw_responses(fit.selection, n_sims, rng, given_modes=given_modes, truth=truth)
    index, fitted = fit.selection.rows.index[fit.selection.k], fit.selection.fitted
    names = [f"sim_{s + 1}" for s in range(n_sims)]
    if isinstance(fitted, GlmmFitted):
        return pd.DataFrame(dict(zip(names, response_columns(fitted, drawn), strict=True)), index=index)
    return pd.DataFrame(drawn.T, index=index, columns=names)


def refit(
    fit: LmerFit,
    ys: pd.DataFrame | pd.Series | npt.ArrayLike,
    *,
    weights: str | pd.DataFrame | pd.Series | npt.ArrayLike | None = None,
) -> LmerFitList:
    """Fit the same model to other responses, all at once (lme4: ``refit``).

    Rows, columns and offset stay as they are, and weights unless others are given: only the cross-products with the
    response are formed anew. Refits of a generalised linear mixed model start anew, all in one batch.

    Parameters
    ----------
    fit : LmerFit or GlmerFit
    ys : DataFrame (n, n_sims), Series (n,) or array_like
        Responses in columns, such as `simulate` returns, in the order of the rows of the fit; the offset not
        subtracted.
    weights : str, DataFrame (n, n_sims), Series (n,), array_like or list of them, optional
        Precision weights in the place of those of the fit: a column (or expression) of its data, values for all
        refits, or a column or an array for each.

    Returns
    -------
    LmerFitList
        One fit per response. Refits to different outcomes are not imputations: ``pool()`` refuses them.

    Raises
    ------
    DataError
        A wrong shape, rows in another order or rows that are not in the fit, values that are not finite, weights that
        are not positive, or a response that the fixed part explains without remainder.

    Warns
    -----
    ConvergenceWarning

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.sleepstudy()
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", data)
    >>> again = rx.refit(fit, 2 * data["Reaction"])
    >>> again[0].fixef().round(3).to_dict()
    {'Intercept': 502.81, 'Days': 20.935}
    """
    check_fit(fit, "refit")
    fitted = fit.selection.fitted
    given = response_codes(fitted, ys) if isinstance(fitted, GlmmFitted) else ys
    responses = _by_refit(fit, given, "the responses", "y")
    again = refit_to(fit.selection, responses, weights=_refit_weights(fit, weights))
    record(again)
    failed = [str(k + 1) for k in np.flatnonzero(~again.converged)]
    if failed:
        warn(f"the fit did not converge to response {shortened(failed)}: see convergence()", ConvergenceWarning)
    return list_of(Selection.all_of(again))


def list_of(fits: Selection) -> LmerFitList:
    """Fits as the list that they are, of linear or of generalised linear mixed models."""
    if isinstance(fits.fitted, MmrmFitted):
        return MmrmFitList(fits)
    return GlmerFitList(fits) if isinstance(fits.fitted, GlmmFitted) else LmerFitList(fits)


def _by_refit(fit: LmerFit, given: object, what: str, name: str) -> np.ndarray:
    """Values by refit and row of the fit, (n_sims, n)."""
    try:
        dtype = np.asarray(given).dtype
        if dtype.kind in "mMc":
            raise TypeError(f"they are of type {dtype}")
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be numbers: {error}") from None
    rows, k = fit.selection.rows, fit.selection.k
    if isinstance(given, pd.DataFrame | pd.Series) and other_order(given.index, rows.index[k]):
        raise DataError(f"the rows of {what} stand in another order than those of the fit: sort them by its index")
    columns = values[:, None] if values.ndim == 1 else values
    if columns.ndim != 2:
        raise DataError(f"{what} have the shape {values.shape}; they need one column per data set")
    lost = rows.n_dropped
    if lost and len(columns) == rows.n_rows(k) + lost:
        were = "row with missing cells was" if lost == 1 else "rows with missing cells were"
        raise DataError(f"{lost} {were} left out of the fit: give {name}.loc[fit.residuals().index]")
    return np.array(columns.T, order="C")  # a copy of the user's


def _refit_weights(fit: LmerFit, given: object) -> np.ndarray | None:
    """Weights of refits, (1, n) or (n_sims, n)."""
    if given is None:
        return None
    if isinstance(given, str):
        data = fit.selection.rows.data
        assert data is not None  # every fit keeps its data
        frame = data.frames[fit.selection.k]
        require_columns(variables(given), frame, "weights")
        return evaluate(given, frame, what="weights")[None]
    several = isinstance(given, list | tuple) and len(given) and np.ndim(given[0]) == 1
    parts = cast(Sequence[object], given) if several else [given]
    return np.concatenate([_by_refit(fit, part, "the weights", "weights") for part in parts])


def check_fit(fit: object, what: str) -> None:
    """Refuse what is not one fit."""
    if not isinstance(fit, LmerFit):
        hint = ": take one by position, as in fits[0]" if hasattr(fit, "pool") else " (of rx.lmer, rx.glmer or rx.mmrm)"
        raise DataError(f"{what}() needs one fit, not a {type(fit).__name__}{hint}")


def check_sims(n_sims: object, least: int, seed: object) -> None:
    """Refuse too few draws, and what is no seed."""
    checks.whole(n_sims, "n_sims=", least)
    if seed is not None:
        checks.seed(seed)
