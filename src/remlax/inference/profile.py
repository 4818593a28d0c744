"""Profile likelihood of SDs, correlations, sigma and coefficients: all parameters of all data sets in one batch.

As lme4's ``profile``, of the ML deviance, also of a REML fit. zeta is the signed square root of the rise of the
deviance when a parameter is held at a value and all others are at their best (Bates et al. 2015, section 5.1). Both
sides of every profile are walked at once, one value of each in a stage, and every search starts at its neighbour's end.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy

from ..fitting.selection import Selection
from ..progress import progress
from .constrained import LEAST_STARTS, ConstrainedFits, Question, parameters_of
from .profile_table import Parameter, ProfileTable, make_table
from .profile_walk import Side


def profile(fits: Selection, conf_level: float) -> list[list[ProfileTable]]:
    """Profile every parameter of some data sets, up to the limits of a confidence level and beyond.

    Parameters
    ----------
    fits : Selection
    conf_level : float

    Returns
    -------
    list of list of ProfileTable
        Per data set, in the order of `parameters_of`.
    """
    parameters, n = parameters_of(fits.fitted), fits.n_sets
    lost, _ = fits.fitted.redundancies.parameters(fits.index)
    lost = np.pad(lost, ((0, 0), (0, fits.fitted.beta.shape[1])))
    cut = float(np.sqrt(scipy.stats.chi2.ppf(conf_level, 1)))
    owner = [(k, j) for k in range(n) for j in range(len(parameters)) if not lost[k, j] for _ in (-1, 1)]
    with progress(len(owner), "sides") as tell:
        problems, lowest, estimate = _estimates(fits, parameters)
        sides = [
            _first_side(problems, (k, parameters[j], float(estimate[k, j])), (-1, 1)[i % 2], lowest[k])
            for i, (k, j) in enumerate(owner)
        ]
        while not all(side.settled for side in sides):
            before = sum(side.settled for side in sides)
            sides = _stage(problems, sides, owner, cut)
            tell(sum(side.settled for side in sides) - before)
    caps = _caps(sides, owner)
    nothing = np.empty(0)
    tables = [
        [
            ProfileTable(one, float(own), nothing, nothing, identified=False)
            for one, own in zip(parameters, row, strict=True)
        ]
        for row in estimate
    ]
    for i in range(0, len(sides), 2):
        k, j = owner[i]
        below, above = sides[i], sides[i + 1]
        value = np.concatenate([below.value[1:], above.value[1:]])
        rise = np.concatenate([below.deviance[1:], above.deviance[1:]]) - lowest[k]
        tables[k][j] = make_table(parameters[j], estimate[k, j], value, np.minimum(rise, caps[i] ** 2))
    return tables


def _estimates(fits: Selection, parameters: list[Parameter]) -> tuple[ConstrainedFits, np.ndarray, np.ndarray]:
    """Find the ML estimates from several starts: searches from there, deviance (K,) and all parameters (K, P)."""
    n, copies = fits.n_sets, 2 * len(parameters)
    problems = ConstrainedFits(fits)
    # as many copies as there will be sides, so that all stages are one compiled program
    asked: list[Question] = [(k, None, 0.0) for k in range(n) for _ in range(copies)]
    near = [problems.held(problem, LEAST_STARTS[i % len(LEAST_STARTS)]).start for i, problem in enumerate(asked)]
    found, coordinates = problems.solve(asked, np.stack(near))
    best = np.nan_to_num(found, nan=np.inf).reshape(n, copies).argmin(axis=1) + copies * np.arange(n)
    problems = ConstrainedFits(fits, coordinates[best])
    return problems, found[best], problems.estimates(parameters, coordinates[best])


def _first_side(problems: ConstrainedFits, problem: Question, sign: int, lowest: float) -> Side:
    """Start a walk at the estimate, with a step of about a third of a standard error of a balanced design."""
    i, parameter, estimate = problem
    assert parameter is not None  # a side is one of a parameter
    fits, k = problems.fits, problems.fits.which[i]
    if parameter.kind == "sigma":
        step = 1 / np.sqrt(2 * fits.n_rows[i])
    elif parameter.kind == "beta":
        step = float(np.sqrt(fits.fitted.vcov[k, parameter.a, parameter.a]))
    else:
        term = fits.model.layout.terms[parameter.term]
        levels = fits.model.layout.factors[term.factor].n_levels
        step = 1 / np.sqrt(levels)
        if parameter.kind == "sd":
            unit = fits.fitted.sigma[k] / problems.z_scale(term)[parameter.a]
            step = max(estimate, 0.05 * unit) * step
    at = np.asarray(problems.held(problem, 0.0).start)
    return Side(parameter, sign, step / 3, np.array([estimate]), np.array([lowest]), at[None])


def _stage(problems: ConstrainedFits, sides: list[Side], owner: list[tuple[int, int]], cut: float) -> list[Side]:
    """Look at one value of every side; those that are done are compared with searches from the estimates."""
    asked: list[Question] = []
    near, walking = [], []
    for side, (k, _), cap in zip(sides, owner, _caps(sides, owner), strict=True):
        wanted = None if side.settled else side.wanted(cut, cap)
        check = side.to_check(cut)
        value = float(side.value[check]) if wanted is None else wanted
        asked.append((k, side.parameter, value))
        walking.append(wanted is not None)
        near.append(side.near(value) if walking[-1] or side.settled else np.full(side.at.shape[1], np.nan))
    deviance, at = problems.solve(asked, np.stack(near))
    out = []
    for i, side in enumerate(sides):
        if side.settled:
            out.append(side)
        elif walking[i]:
            out.append(side.added(asked[i][2], deviance[i], at[i]))
        elif len(side.value) == 1:
            out.append(replace(side, settled=True))
        else:
            out.append(side.checked(asked[i][2], deviance[i], at[i]))
    return out


def _caps(sides: list[Side], owner: list[tuple[int, int]]) -> list[float]:
    """Largest zeta that a value of every parameter can have: leaving out an SD allows any correlation beside it.

    A search for the minimum beside such a correlation may end in another valley.
    """
    without = {}
    for side, (k, _) in zip(sides, owner, strict=True):
        if side.parameter.kind == "sd" and side.sign < 0 and side.value[-1] == 0:
            without[k, side.parameter.term, side.parameter.a] = float(side.zeta[-1])
    out = []
    for side, (k, _) in zip(sides, owner, strict=True):
        own = side.parameter
        columns = (own.a, own.b) if own.kind == "cor" else ()
        out.append(min((without.get((k, own.term, column), np.inf) for column in columns), default=np.inf))
    return out
