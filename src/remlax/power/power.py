"""power: a design, a model and a test in, power by size out. Composition only."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..checks import Checks
from ..design.formula import MixedFormula, parse_formula
from ..design.tree import Name
from ..errors import SimulationError
from ..many.design import STAND_IN
from ..results import GlmerFit, LmerFit, MmrmFit
from ..simulation.design import MultilevelDesign
from ..simulation.mechanisms import Amputation, DropOut, Mechanism
from ..simulation.outcomes import Outcome
from ..simulation.truth import Fixef, Varcorr, read_truth
from ..tables.constraints import Constraints
from .bootstrap import N_BOOT
from .curve import MEASURES, PowerCurve
from .generalised import check_outcome, outcome_of
from .plan import PowerPlan, shared_design
from .sources import DesignSource, FromDesign, FromFrame, truth_of_frame
from .testing import PowerMethod

checks = Checks(SimulationError)


def power(
    model: str | LmerFit,
    design: MultilevelDesign | pd.DataFrame | None = None,
    *,
    test: Constraints,
    n: Mapping[str, int | Sequence[int]] | None = None,
    fixef: Fixef | None = None,
    varcorr: Varcorr | None = None,
    outcome: Outcome | None = None,
    method: PowerMethod | None = None,
    n_boot: int | None = None,
    alpha: float = 0.05,
    missing: Mechanism | Sequence[Mechanism] | None = None,
    replications: int = 1000,
    seed: int,
    out: str | os.PathLike[str] | None = None,
) -> PowerCurve:
    """Compute the power of a test in a mixed model by simulation, for one size of a design or several.

    Responses are drawn, fitted and tested. All replications of a design are fitted together, as `remlax.lmer_many`
    fits many responses. The same replications with the tested effect taken out give the type I error.

    Parameters
    ----------
    model : str or LmerFit
        The analysis: a formula, or a fit to pilot data.
    design : MultilevelDesign or pandas.DataFrame, optional
        What is drawn. A design has effects and SDs of its own, which the formula need not agree with. A frame has the
        rows of a study without the response; its parameters are ``fixef`` and ``varcorr``. Left out with a fit, whose
        data and estimates are taken.
    test : str, list of str, dict, DataFrame or array_like (r, p)
        The hypothesis, as `LmerFit.test` takes it: a coefficient, a term (all its coefficients), ``"a - b"``, a list
        of these, or a matrix.
    n : dict, optional
        Sizes: numbers of levels by factor, one or several; all combinations are computed. Of a design a factor within
        another has so many levels in each level of that, and ``"size"`` is the number of rows of every cell. Of a
        frame or fit the rows of the levels that there are are taken in turn, with their covariates; levels of factors
        nested in them are new in every copy.
    fixef : dict or Series, optional
        With a frame, the coefficients by name, 0 where not named; with a fit, those in the place of estimates.
    varcorr : dict or DataFrame, optional
        As of `remlax.simulate`: SDs or covariance matrices of the random effects, and ``"Residual"``. With a frame
        all are needed, with a fit those in the place of estimates.
    outcome : Outcome, optional
        With a frame, the distribution of binary responses, counts or amounts given the linear predictor, as in
        ``sim.Outcome("poisson")``; Gaussian unless given. Designs and fits have their own.
    method : {"satterthwaite", "kenward-roger", "lrt", "wald", "bootstrap"}, optional
        F test with Satterthwaite's or Kenward and Roger's degrees of freedom (REML), likelihood-ratio test (ML), Wald
        chi-square test, which for one coefficient is the z test (REML), or likelihood-ratio test by parametric
        bootstrap: each replication's ratio among those of data sets drawn from its own fit under the hypothesis.
        Satterthwaite's unless given. Generalised models are fitted as by `remlax.glmer`: "lrt" or "wald" (default).
    n_boot : int, optional
        With "bootstrap", the data sets drawn for every replication, 199 unless given. Rejections are as frequent as
        alpha says where alpha (n_boot + 1) is a whole number.
    alpha : float, default 0.05
        Significance level.
    missing : DropOut or Amputation, or list of these, optional
        Which values of the response are missing. They are left out of the analysis.
    replications : int, default 1000
        Data sets of each size.
    seed : int
        The same seed gives the same replications, whatever their number. Designs of all sizes share the random effects
        of the levels that they have in common.
    out : path-like, optional
        A folder for finished blocks of replications: a call that was stopped goes on where it was, as do calls with
        more replications or other sizes.

    Returns
    -------
    PowerCurve

    Raises
    ------
    SimulationError
        Arguments that do not belong together, a tested effect of zero, or ordinal responses or several trials.
    FormulaError, DesignError, DataError
        The formula cannot be read or does not fit the data, or the hypothesis names what is not there.

    Notes
    -----
    Covariates that a `MultilevelDesign` draws (``kind`` "normal", "binary" or "categorical"), drawn numbers of levels
    or rows and assigned factors are drawn anew for every 20 replications; all else is fixed.

    With the effect taken out all else in a response stays as it is. Estimated variances and degrees of freedom are then
    the same, so that the type I error comes from the same fits; likelihood ratios, data with missing values and
    generalised models are fitted again. Responses of these are quantiles of uniform numbers that stay the same.

    References
    ----------
    Clopper, C. J. and Pearson, E. S. (1934). Biometrika 26, 404-413.
    Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, section 4.2: tests by draws.
    Green, P. and MacLeod, C. J. (2016). Methods Ecol. Evol. 7, 493-498: simr.

    Examples
    --------
    >>> from remlax import sim
    >>> trial = sim.MultilevelDesign(
    ...     [sim.Factor("clinic", 20)], 5, {"1": 0.0, "arm": 0.6}, [sim.RandomTerm("clinic", {"1": 0.3})], 1.0,
    ...     [sim.Covariate("arm", level="clinic", kind="balanced", mean=0.5)])
    >>> curve = sim.power("y ~ arm + (1 | clinic)", trial, test="arm", n={"clinic": [20, 40]}, seed=1)
    >>> bool(curve.table["power"].is_monotonic_increasing)
    True
    """
    alpha = checks.level(alpha, "alpha=", 0.05)
    source, analysis, response = _read(model, design, fixef, varcorr, outcome)
    plan = PowerPlan(
        source,
        analysis,
        response,
        hypothesis=test,
        method=_method(method, source.outcome),
        missing=_mechanisms(missing, method),
        seed=checks.seed(seed, 64),
        n_boot=_n_boot(n_boot, method, alpha),
        folder=None if out is None else _folder(out),
    )
    sizes = _sizes(n)
    return PowerCurve.of(plan, sizes, alpha, checks.whole(replications, "replications="))


def _method(given: PowerMethod | None, outcome: Outcome | None) -> PowerMethod:
    """The test, by default the usual one of the model."""
    if given is None:
        return "satterthwaite" if outcome is None else "wald"
    checks.choice(given, PowerMethod, "method=")
    if outcome is not None and given not in ("wald", "lrt"):
        said = "draws of Gaussian responses" if given == "bootstrap" else "degrees of freedom"
        raise SimulationError(
            f"method={given!r} has {said}, which models of {outcome.family} responses do not have: use 'wald' or 'lrt'"
        )
    return given


def _n_boot(given: int | None, method: PowerMethod | None, alpha: float) -> int:
    """Draws of the bootstrap, with which a p-value can be as small as alpha."""
    if given is None:
        given = N_BOOT
    elif method != "bootstrap":
        raise SimulationError("n_boot= is the number of draws of method='bootstrap': leave it out, or ask for that.")
    draws = checks.whole(given, "n_boot=")
    if method == "bootstrap" and 1 / (1 + draws) > alpha:
        raise SimulationError(
            f"Of n_boot={draws} draws no p-value is below {1 / (1 + draws):.3g}, and alpha is {alpha:g}: take at least "
            f"{math.ceil(1 / alpha) - 1}."
        )
    return draws


def _read(
    model: str | LmerFit,
    design: MultilevelDesign | pd.DataFrame | None,
    fixef: Fixef | None,
    varcorr: Varcorr | None,
    outcome: Outcome | None,
) -> tuple[DesignSource, MixedFormula, str]:
    """Where designs come from, the formula of the analysis without its response, and the column of the response."""
    if outcome is not None:
        checks.a(outcome, Outcome, "outcome=", "sim.Outcome('binomial') or the like")
        check_outcome(outcome)
        if not isinstance(design, pd.DataFrame):
            raise SimulationError("outcome= is for a DataFrame: a MultilevelDesign and a fit have one of their own.")
    if isinstance(model, LmerFit):
        if design is not None:
            raise SimulationError(
                "A fit has data of its own: leave out design=, or give a formula in the place of the fit."
            )
        return _of_fit(model, fixef, varcorr)
    formula = parse_formula(model)
    if not isinstance(formula.response_tree, Name):
        raise SimulationError(f"The response {formula.response!r} must be a column: its values are drawn.")
    analysis = _without_response(formula)
    if isinstance(design, MultilevelDesign):
        if fixef is not None or varcorr is not None:
            raise SimulationError("A MultilevelDesign has effects and SDs of its own: leave out fixef= and varcorr=.")
        if design.outcome is not None:
            check_outcome(design.outcome)
        if design.response != formula.response:
            raise SimulationError(f"The design draws {design.response!r}, and the formula has {formula.response!r}.")
        return FromDesign(design), analysis, formula.response
    if not isinstance(design, pd.DataFrame):
        raise SimulationError(
            f"design= must be a MultilevelDesign or a DataFrame, not a {type(design).__name__}; only a fit needs none."
        )
    base = shared_design(design, analysis, reml=True).model
    truth = truth_of_frame(base, fixef, varcorr, outcome)
    return FromFrame.of(base, design, truth, outcome), analysis, formula.response


def _of_fit(fit: LmerFit, fixef: Fixef | None, varcorr: Varcorr | None) -> tuple[DesignSource, MixedFormula, str]:
    """The data and the estimates of a fit."""
    selection = fit.selection
    rows = selection.rows
    if isinstance(fit, MmrmFit):
        raise SimulationError(
            "power() is for models with random effects: draw from this fit with rx.simulate, and use rx.refit."
        )
    outcome = outcome_of(fit.selection) if isinstance(fit, GlmerFit) else None
    if rows.weights is not None or rows.given_offset is not None:
        raise SimulationError(
            "The fit has weights= or offset=, of which rows of a larger design have none: fit it without, or write "
            "offset() in the formula."
        )
    if selection.model.prior_arguments:
        raise SimulationError(f"The fit has {selection.model.prior_arguments}, and power() fits without a prior.")
    assert rows.data is not None  # every fit keeps its data
    truth = read_truth(selection, fixef, varcorr)
    source = FromFrame.of(selection.model, rows.data.frames[selection.k], truth, outcome)
    return source, _without_response(rows.formula), rows.formula.response


def _without_response(formula: MixedFormula) -> MixedFormula:
    return replace(formula, response_tree=Name(STAND_IN.strip("`")))


def _sizes(given: Mapping[str, int | Sequence[int]] | None) -> list[dict[str, int]]:
    """All combinations of sizes."""
    sizes = dict[str, list[int]]()
    for name, values in checks.mapping(given or {}, "n=", '{"subject": [20, 40]}').items():
        several = (
            [values] if isinstance(values, int | np.integer) else checks.listed(values, f"n= of {name!r}:", "sizes")
        )
        sizes[name] = sorted({checks.whole(value, f"n= of {name!r}") for value in several})
        if not sizes[name] or name in MEASURES:
            said = "holds no size" if not sizes[name] else "has the name of a column of the table: rename the factor"
            raise SimulationError(f"n= of {name!r} {said}.")
    return [dict(zip(sizes, values, strict=True)) for values in itertools.product(*sizes.values())]


def _mechanisms(given: Mechanism | Sequence[Mechanism] | None, method: PowerMethod | None) -> list[Mechanism]:
    found: list[Any] = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    for mechanism in found:
        checks.a(mechanism, (Amputation, DropOut), "missing=", "sim.DropOut(...) or sim.Amputation(...)")
    if found and method == "bootstrap":
        raise SimulationError("method='bootstrap' draws whole responses: leave out missing=, or use 'kenward-roger'.")
    return found


def _folder(given: str | os.PathLike[str]) -> Path:
    path = checks.path(given, "out=")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimulationError(f"out={os.fspath(path)!r} cannot be made a folder: {error.strerror or error}.") from error
    return path
