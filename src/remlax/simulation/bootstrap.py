"""The bootstrap: statistics of refits to responses drawn from the model, or to resampled clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..checks import Checks
from ..errors import DataError
from ..fitting.fit import Fitted
from ..fitting.glmm import GlmmFitted
from ..fitting.mmrm.fit import MmrmFitted
from ..fitting.mmrm.resample import find_patients, fit_resampled_patients
from ..fitting.redundancy import parameter_places
from ..fitting.refit import draw_responses, refit_to
from ..fitting.resample import draw_resamples, find_clusters, fit_resamples
from ..fitting.selection import Selection
from ..pooling import pool_scalars
from ..progress import progress
from ..results import LmerFit, LmerFitList
from ..tables.confint import parameter_frame, parameter_values
from ..tables.notes import redundancy_notes
from ..tables.usable import refuse_other_outcomes, require_converged
from ..tables.varcorr import term_labels
from ..tables.variance import RESPONSE
from .responses import check_fit, check_sims, list_of

checks = Checks()

Statistic = Callable[[LmerFitList], pd.DataFrame]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Bootstrap of K fits.

    Attributes
    ----------
    estimates
        (K, terms): the statistics of the fits themselves; index ``imp``.
    replicates
        (K * n_sims, terms): those of the refits; index ``imp``, ``sim``. A refit that did not converge, or a resample
        that does not identify the coefficients, is NaN.
    unidentified
        Terms that the data do not identify, of which `summary` gives no error and no limits.
    notes
        What the summary says about them.
    """

    estimates: pd.DataFrame
    replicates: pd.DataFrame
    unidentified: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self, conf_level: float = 0.95) -> pd.DataFrame:
        """Summarise over the bootstrap and, if there are several fits, over the imputations.

        Parameters
        ----------
        conf_level : float, default 0.95

        Returns
        -------
        pandas.DataFrame
            One row per term: ``estimate`` (mean over the fits); ``bias`` (mean of the refits minus the estimate);
            ``std_error`` (root of Rubin's total variance, the bootstrap variance of each fit in the place of its
            squared standard error; of one fit the bootstrap SD); ``conf_low``, ``conf_high`` (quantiles of the refits
            of all fits together: Schomaker & Heumann's "MI boot pooled"); ``n_failed`` refits. A term that the data
            do not identify has an estimate only, and ``attrs["notes"]`` says why.

        Raises
        ------
        DataError
            The level is not between 0 and 1.

        References
        ----------
        Schomaker, M. and Heumann, C. (2018). Bootstrap inference when using multiple imputation. Stat. Med. 37,
        2252-2266.
        """
        checks.level(conf_level)
        own, again = self.estimates, self.replicates
        variance = again.groupby(level="imp", sort=False).var()
        error = np.sqrt(variance.iloc[0])
        if len(own) > 1:
            known = own.notna().all() & variance.notna().all()
            pooled = pool_scalars(own.loc[:, known].to_numpy(), variance.loc[:, known].to_numpy())
            error = pd.Series(np.nan, index=own.columns)
            error[known] = pooled.std_error
        tail = (1 - conf_level) / 2
        table = pd.DataFrame(
            {
                "term": own.columns,
                "estimate": own.mean().to_numpy(),
                "bias": (again.mean() - own.mean()).to_numpy(),
                "std_error": error.to_numpy(),
                "conf_low": again.quantile(tail).to_numpy(),
                "conf_high": again.quantile(1 - tail).to_numpy(),
                "n_failed": again.isna().sum().to_numpy(),
            }
        )
        table.loc[table["term"].isin(self.unidentified), ["bias", "std_error", "conf_low", "conf_high"]] = np.nan
        table.attrs["notes"] = list(self.notes)
        return table


def bootstrap(
    fits: LmerFit | LmerFitList,
    n_sims: int = 200,
    *,
    statistic: Statistic | None = None,
    seed: int | None = None,
    given_modes: bool = False,
    resample: str | Sequence[str] | None = None,
) -> Bootstrap:
    """Bootstrap fits: draw responses from the model (lme4: bootMer) or clusters from the data, refit, keep a statistic.

    Parameters
    ----------
    fits : LmerFit, LmerFitList, or those of `glmer` and `mmrm`
        One fit, or one per imputation.
    n_sims : int, default 200
        Draws per fit; all refits of a fit are one batch.
    statistic : function, optional
        From an `LmerFitList` to a frame with one row per fit and one column per term; by default coefficients, SDs,
        correlations (``sd__x|g``, ``cor__x.z|g``) and ``sigma``.
    seed : int, optional
        The draws for a fit depend on the seed and on its place.
    given_modes : bool, default False
        As of `simulate`.
    resample : str or list of str, optional
        Draw clusters of the data with replacement (the case bootstrap) in the place of responses from the model: names
        of grouping factors, whose levels are drawn within the level of the next coarser factor that they lie in, and
        ``"rows"`` for rows within the finest levels. ``"school"`` draws whole schools, ``["school", "class"]`` schools
        and classes within these. Levels of factors that are not named are kept whole. Of a mixed model for repeated
        measures the column of the patients, who are drawn with all visits, within the groups of the covariance term.

    Returns
    -------
    Bootstrap

    Raises
    ------
    DataError
        Fewer than two draws, or the statistic does not have one row per fit; a fit that responses would be drawn from
        did not converge; resample names no grouping factor, or grouping factors are crossed.
    PoolingError
        Refits to different outcomes, which are not imputations.

    Notes
    -----
    A cluster that is drawn twice is two clusters. Columns of the model, ``scale(x)`` for instance, stay what they are
    in the data of the fit. As in all uses of the cluster bootstrap, drawing the lower levels as well adds their
    variance to that which the drawn clusters already have: with many clusters draw the highest level only. Resamples
    that do not identify all coefficients count as failed.

    References
    ----------
    Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge, section 3.8.
    Ren, S. et al. (2010). Nonparametric bootstrapping for hierarchical data. J. Appl. Stat. 37, 1487-1498.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Yield ~ 1 + (1 | Batch)", rx.datasets.dyestuff())
    >>> table = rx.bootstrap(fit, 100, seed=1).summary()
    >>> table["term"].tolist()
    ['Intercept', 'sd__Intercept|Batch', 'sigma']
    >>> by_batch = rx.bootstrap(fit, 100, seed=1, resample="Batch")
    """
    if not isinstance(fits, LmerFitList):
        check_fit(fits, "bootstrap")
    check_sims(n_sims, 2, seed)
    if statistic is not None and not callable(statistic):
        raise DataError(f"statistic={statistic!r} must be a function of a list of fits that returns a data frame")
    if resample is not None and given_modes:
        raise DataError(
            "given_modes=True is about responses drawn from the model, and resample= draws clusters: use one"
        )
    if resample is not None and isinstance(fits.selection.fitted, GlmmFitted):
        raise DataError(
            "resample= is for linear mixed models and models for repeated measures: a generalised linear mixed model "
            "is refitted to responses only"
        )
    several = fits if isinstance(fits, LmerFitList) else list_of(fits.selection)
    refuse_other_outcomes(several.selection)
    if resample is None:
        require_converged(several.selection, "cannot be simulated from")
    compute = estimates_of if statistic is None else statistic
    own = _checked(compute(several), len(several))
    parts = []
    with progress(len(several), "fit") as tell:
        for place, fit in enumerate(several):
            rng = np.random.default_rng(None if seed is None else [seed, place])
            fitted, good = _refits(fit.selection, n_sims, rng, resample, given_modes=given_modes)
            found = _checked(compute(list_of(Selection.all_of(fitted))), fitted.n_sets)
            found.loc[~fitted.converged] = np.nan
            parts.append(found.set_axis(np.flatnonzero(good)).reindex(range(n_sims)))
            tell(1)
    labels = list(several.labels)
    index = pd.MultiIndex.from_product([labels, range(1, n_sims + 1)], names=["imp", "sim"])
    default = statistic is None
    return Bootstrap(
        own.set_axis(pd.Index(labels, name="imp"), axis=0),
        pd.concat(parts, ignore_index=True).set_axis(index, axis=0),
        _unidentified(several) if default else (),
        tuple(redundancy_notes(several.selection)) if default else (),
    )


def _refits(
    fit: Selection, n_sims: int, rng: np.random.Generator, resample: str | Sequence[str] | None, *, given_modes: bool
) -> tuple[Fitted, np.ndarray]:
    """Refits of one fit, and which of the draws they are of, boolean (n_sims,)."""
    if resample is None:
        drawn = draw_responses(fit, n_sims, rng, given_modes=given_modes)
        return refit_to(fit, drawn), np.ones(n_sims, bool)
    if isinstance(fit.fitted, MmrmFitted):
        patients = find_patients(fit, resample)
        return fit_resampled_patients(fit, patients, draw_resamples(fit, patients, n_sims, rng))
    clusters = find_clusters(fit, resample)
    return fit_resamples(fit, clusters, draw_resamples(fit, clusters, n_sims, rng))


def _unidentified(fits: LmerFitList) -> tuple[str, ...]:
    """SDs and correlations, by the names of `estimates_of`, that the data of some fit do not identify."""
    chosen = fits.selection
    if not chosen.model.layout.terms:
        return ()
    layout, terms = chosen.model.layout, term_labels(chosen.fitted)
    lost, _ = chosen.fitted.redundancies.parameters(chosen.which)
    out = []
    places = parameter_places(layout)
    for (t, a, b, _), gone in zip(places, np.asarray(lost.any(axis=0))[: len(places)], strict=True):
        if gone:
            out.append(f"{layout.terms[t].label(a, b)}|{terms[t]}")
    return (*out, "sigma") if lost[:, len(places) :].any() else tuple(out)


def estimates_of(fits: LmerFitList) -> pd.DataFrame:
    """Coefficients, SDs, correlations, the residual SD and shape parameters: one row per fit."""
    chosen = fits.selection
    frame, values = parameter_frame(chosen.fitted), parameter_values(chosen.fitted)[chosen.index]
    random = np.flatnonzero(frame["effect"] == "ran_pars")
    names = [_name(*row) for row in frame.loc[random, ["group", "term"]].to_numpy()]
    wide = pd.DataFrame(values[:, random], columns=names)
    return pd.concat([fits.fixef().reset_index(drop=True), wide], axis=1)


def _name(group: str, term: str) -> str:
    if group == "Residual" and term == "sd__Observation":
        return "sigma"
    return term if group == RESPONSE and not term.startswith(("sd__", "cor__")) else f"{term}|{group}"


def _checked(found: pd.DataFrame, rows: int) -> pd.DataFrame:
    if not isinstance(found, pd.DataFrame) or len(found) != rows:
        shape = getattr(found, "shape", type(found).__name__)
        raise DataError(f"the statistic gave {shape} for {rows} fits: return a DataFrame with one row per fit")
    return found.reset_index(drop=True).astype(float)
