"""Confidence limits of every parameter of fits: Wald, profile likelihood, parametric bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from ..errors import ConvergenceWarning, DataError, shortened, warn
from ..fitting.fit import Fitted
from ..fitting.mmrm.fit import MmrmFitted
from ..fitting.refit import draw_responses, refit_to
from ..fitting.selection import Selection
from ..inference.coefficients import Ddf
from ..inference.glmm import inference_of
from ..inference.mmrm.choice import covariance_parameters, parameter_labels
from ..inference.mmrm.profile import mmrm_profile
from ..inference.profile import ProfileTable, profile
from ..progress import progress
from .checks import check_draws, checks, fresh_seed
from .coefficients import fit_table
from .notes import redundancy_notes
from .usable import require_converged
from .varcorr import term_labels
from .variance import RESPONSE, ran_pars_table, shape_values

NO_PROFILE = (
    "profiles are for linear mixed models: use confint('wald') or confint('boot'), or test a term with "
    "rx.anova(fit, smaller_fit)"
)
NO_STRUCTURED_PROFILE = (
    "profiles are not available for random terms with a covariance structure: use confint('wald') or confint('boot'), "
    "or test a term with rx.anova(fit, smaller_fit)"
)
ConfintMethod = Literal["wald", "profile", "boot"]

# simulated responses held at once
CHUNK_RESPONSES = 10_000_000


@dataclass(frozen=True, eq=False)
class Profile:
    """Profile likelihood of every parameter of one fit, made by ``fit.profile()``.

    Attributes
    ----------
    table : pandas.DataFrame
        ``effect group term value zeta``: values of each parameter in order, and the signed square root of the rise of
        the ML deviance there. Where the deviance is quadratic, zeta is a straight line.
    estimates : pandas.DataFrame
        ``effect group term estimate``: ML estimates, where zeta is zero.
    conf_level : float
        Level around whose limits the values lie most densely.
    """

    table: pd.DataFrame
    estimates: pd.DataFrame
    conf_level: float
    _tables: tuple[ProfileTable, ...]
    _notes: tuple[str, ...] = ()

    def confint(self, conf_level: float | None = None) -> pd.DataFrame:
        """Limits where the deviance has risen by the quantile of chi-square with one degree of freedom.

        Parameters
        ----------
        conf_level : float, optional
            That of the profile by default; limits of other levels are interpolated between fewer values.

        Returns
        -------
        pandas.DataFrame
            ``effect group term estimate conf_low conf_high``. An SD whose lower limit is 0 and a correlation whose
            limit is -1 or 1 have a likelihood that does not fall far enough before the end of the scale.

        Warns
        -----
        ConvergenceWarning
            Limits that were not found, by name.
        """
        level = self.conf_level if conf_level is None else conf_level
        checks.level(level)
        cut = float(scipy.special.ndtri((1 + level) / 2))
        out = self.estimates.copy()
        out["conf_low"] = [one.limit(cut, -1) for one in self._tables]
        out["conf_high"] = [one.limit(cut, 1) for one in self._tables]
        known = np.array([one.identified for one in self._tables])
        lost = out.loc[known & out[["conf_low", "conf_high"]].isna().any(axis=1), "term"]
        if len(lost):
            warn(
                f"the profile did not reach the {level:.0%} limits of {shortened(lost)}: they are NaN; use "
                "method='boot'",
                ConvergenceWarning,
            )
        out.attrs["notes"] = list(self._notes)
        return out


def parameter_frame(fitted: Fitted) -> pd.DataFrame:
    """``effect group term`` of SDs and correlations per term, the residual SD, shape parameters and coefficients.

    Of a mixed model for repeated measures: of SDs and correlations of the visits, and coefficients.
    """
    rows = parameter_labels(fitted) if isinstance(fitted, MmrmFitted) else list[tuple[str, str]]()
    for label, term in zip(term_labels(fitted), fitted.model.layout.terms, strict=True):
        rows += [(label, term.label(a, b)) for a, b in term.parameters]
    if fitted.has_sigma:
        rows.append(("Residual", "sd__Observation"))
    rows += [(RESPONSE, name) for name in fitted.shape_names]
    frame = pd.DataFrame(rows, columns=["group", "term"])
    fixed = pd.DataFrame({"group": "", "term": fitted.model.fixed_names})
    out = pd.concat([frame, fixed], ignore_index=True)
    out.insert(0, "effect", ["ran_pars"] * len(frame) + ["fixed"] * len(fixed))
    return out


def parameter_values(fitted: Fitted) -> np.ndarray:
    """Estimates of all parameters of every data set, (K, P); a correlation with a zero SD is NaN."""
    if isinstance(fitted, MmrmFitted):
        return np.concatenate([covariance_parameters(Selection.all_of(fitted)).sdcor, fitted.beta], axis=1)
    out = []
    for t, term in enumerate(fitted.model.layout.terms):
        covariance = fitted.covariance(t)
        size = np.sqrt(np.einsum("kii->ki", covariance))
        for a, b in term.parameters:
            with np.errstate(divide="ignore", invalid="ignore"):
                cor = np.clip(covariance[:, a, b] / (size[:, a] * size[:, b]), -1, 1)
            out.append(size[:, a] if a == b else cor)
    sigma = [fitted.sigma] if fitted.has_sigma else []
    return np.stack([*out, *sigma, *shape_values(Selection.all_of(fitted)).T, *fitted.beta.T], axis=1)


def make_profiles(fits: Selection, conf_level: float) -> list[Profile]:
    """Profiles of some data sets, all in one batch."""
    of_visits = isinstance(fits.fitted, MmrmFitted)
    if not (of_visits or fits.fitted.has_sigma):
        raise DataError(NO_PROFILE)
    if fits.model.layout.parameters is not None:
        raise DataError(NO_STRUCTURED_PROFILE)
    checks.level(conf_level)
    require_converged(fits, "has no profile and cannot be simulated from")
    labels, out = parameter_frame(fits.fitted), []
    found = mmrm_profile(fits, conf_level) if of_visits else profile(fits, conf_level)
    for fit, tables in zip(fits.each, found, strict=True):
        parts = [
            pd.DataFrame({**labels.iloc[j].to_dict(), "value": one.value, "zeta": one.zeta})
            for j, one in enumerate(tables)
        ]
        estimates = labels.assign(estimate=[one.estimate for one in tables])
        notes = tuple(redundancy_notes(fit))
        out.append(Profile(pd.concat(parts, ignore_index=True), estimates, conf_level, tuple(tables), notes))
    return out


def wald_limits(fit: Selection, conf_level: float, ddf: Ddf | npt.ArrayLike) -> pd.DataFrame:
    """Limits from standard errors: on the log, Fisher-z and natural scales."""
    out = parameter_frame(fit.fitted)
    fixed = fit_table(fit, inference_of(fit, ddf), conf_level)
    random = ran_pars_table(fit, conf_level, "sdcor")
    for name in ("estimate", "conf_low", "conf_high"):
        out[name] = np.concatenate([random[name].to_numpy(), fixed[name].to_numpy()])
    out.attrs["notes"] = [*redundancy_notes(fit), *random.attrs.get("notes", [])]
    return out


def boot_limits(fit: Selection, conf_level: float, n_sims: int, seed: int | None) -> pd.DataFrame:
    """Percentiles of the estimates from responses drawn from the fit."""
    check_draws(n_sims, conf_level)
    require_converged(fit, "has no profile and cannot be simulated from")
    seed = fresh_seed(seed)
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK_RESPONSES // fit.rows.n_rows(fit.k))
    parts, singular = [], 0
    with progress(-(-n_sims // chunk), "chunk") as tell:
        for start in range(0, n_sims, chunk):
            again = refit_to(fit, draw_responses(fit, min(chunk, n_sims - start), rng))
            parts.append(np.where(again.converged[:, None], parameter_values(again), np.nan))
            singular += int((again.singular & again.converged).sum())
            tell(1)
    values = np.concatenate(parts)
    failed = int(np.isnan(values[:, -1]).sum())
    if failed:
        warn(f"{failed} of {n_sims} bootstrap refits did not converge and are left out", ConvergenceWarning)
    out = parameter_frame(fit.fitted)
    out["estimate"] = parameter_values(fit.fitted)[fit.k]
    # (n + 1) alpha-th order statistics, interpolated: R's boot.ci(type = "perc") up to its scale of interpolation
    tail = (1 - conf_level) / 2
    out["conf_low"], out["conf_high"] = np.nanquantile(values, [tail, 1 - tail], axis=0, method="weibull")
    out.loc[np.flatnonzero(_unidentified(fit)), ["conf_low", "conf_high"]] = np.nan
    out["n_defined"] = (~np.isnan(values)).sum(axis=0)
    out.attrs |= {"notes": redundancy_notes(fit), "n_sims": n_sims, "n_failed": failed, "n_singular": singular}
    out.attrs["seed"] = seed
    return out


def _unidentified(fit: Selection) -> np.ndarray:
    """Parameters (P,) that the data of one fit do not identify."""
    fitted = fit.fitted
    if isinstance(fitted, MmrmFitted):
        random = np.full(fitted.structure.n_parameters, fitted.singular[fit.k])
    else:
        random = fitted.redundancies.parameters([fit.k])[0][0]
    return np.concatenate([random, [False] * len(fitted.shape_names), fit.unknown_variance()])


def confint_tables(
    fits: Selection,
    method: ConfintMethod,
    conf_level: float,
    ddf: Ddf | npt.ArrayLike,
    n_sims: int,
    seed: int | None,
) -> list[pd.DataFrame]:
    """Limits of all parameters of every fit; see ``LmerFit.confint``."""
    checks.choice(method, ConfintMethod, "method=")
    if method == "profile":
        return [found.confint() for found in make_profiles(fits, conf_level)]
    tables = []
    first = None if seed is None else fresh_seed(seed)
    with progress(fits.n_sets, "fit") as tell:
        for i, fit in enumerate(fits.each):
            own = None if first is None else first + i
            wald = method == "wald"
            tables.append(wald_limits(fit, conf_level, ddf) if wald else boot_limits(fit, conf_level, n_sims, own))
            tell(1)
    return tables
