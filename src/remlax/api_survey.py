"""lmer_survey: formula, data and sampling weights in, a model of a survey out. Composition only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np
import pandas as pd

from .api_rows import complete_rows, kept_rows
from .checks import Checks
from .data import ImputedData
from .data.checks import check_frame
from .design.build import ModelRows, RowInput, read_rows, require_model_columns
from .design.formula import MixedFormula, parse_formula
from .design.own_contrasts import Contrasts, read_contrasts
from .design.tree import columns_in
from .errors import ConvergenceWarning, DataError, DesignError, SingularFitWarning, shortened, warn
from .fitting.assemble import centred_columns
from .fitting.checks import check_groups, check_magnitudes
from .fitting.layout import Layout, make_layout
from .kernels.dense import CrossedStructure
from .survey.combine import Combine
from .survey.design import SurveyDesign
from .survey.fit import SurveyEstimates, fit_survey
from .survey.products import FixedColumns
from .survey.replicates import Method, Replicates, check_sums, read_replicates, warn_method
from .survey.result import SurveyFit
from .survey.weights import Scale, read_weights, with_replicates

checks = Checks()
Frames = pd.DataFrame | ImputedData | Iterable[pd.DataFrame] | Mapping[object, pd.DataFrame]


class SurveyArguments(TypedDict, total=False):
    """What `lmer` hands on to `lmer_survey`."""

    sampling_weights: Mapping[str, str] | None
    conditional: bool
    scale: Scale
    strata: str | None
    replicates: pd.DataFrame | Sequence[str] | None
    method: Method | None
    fay: float
    replicate_factor: float | None
    plausible_values: Sequence[str] | None
    combine: Combine


def lmer_survey(
    formula: str,
    data: Frames,
    *,
    sampling_weights: Mapping[str, str] | None = None,
    conditional: bool = True,
    scale: Scale = None,
    strata: str | None = None,
    replicates: pd.DataFrame | Sequence[str] | None = None,
    method: Method | None = None,
    fay: float = 0.5,
    replicate_factor: float | None = None,
    plausible_values: Sequence[str] | None = None,
    combine: Combine = "rubin",
    offset: RowInput = None,
    contrasts: Contrasts | None = None,
) -> SurveyFit:
    """Fit a linear mixed model to a survey by maximum pseudo-likelihood.

    Every unit counts as often as its sampling weight says: w_j log of the integral over b of prod_i f(y_ij | b)^w_i|j,
    and so on with more levels. All plausible values and all replicates are fitted together.

    Parameters
    ----------
    formula : str
        lme4 syntax. Grouping factors must be nested, as in ``(1 | school/class)``.
    data : pandas.DataFrame, or ImputedData, list or dict of them
        One data set, or imputed ones with the same rows, groups and weights.
    sampling_weights : dict, optional
        Column of the weights of every level: ``{"school": "w_school", "pupil": "w_pupil"}``. Names of grouping factors
        stand for their levels, any other name for the rows. A level without has weights 1.
    conditional : bool, default True
        Weights are inverse probabilities within the level above, as in Stata. False: they are total weights, as
        agencies publish and WeMix expects them, and those of a level are divided by those of the level above.
    scale : {"size", "effective"}, optional
        Scale weights within each unit of the level above: to sum to the number of units in it, or to its effective
        size, the square of the sum of the weights over the sum of their squares.
    strata : str, optional
        Column of the strata of the outermost units, for the sandwich.
    replicates : list of str or DataFrame (n, R), optional
        Replicate weights of the rows, which take the place of the sandwich: columns of the data, or a frame with its
        rows. They replicate the product of the sampling weights.
    method : {"brr", "fay", "jk1", "jk2", "bootstrap"}, optional
        How they were made; needed with `replicates`.
    fay : float, default 0.5
        Coefficient of Fay's method.
    replicate_factor : float, optional
        What the sum of squared deviations from the estimate is multiplied with; that of the method unless given: 1/R
        (BRR), 1 / (R (1 - fay)^2), (R - 1) / R (JK1), 1 (JK2), 1 / (R - 1) (bootstrap). TIMSS has 1/2 where JK2 makes
        two replicates of every zone.
    plausible_values : list of str, optional
        Columns of plausible values, which take the place of the response; the name that the formula gives the response
        is free. Of imputed data one for each data set.
    combine : {"rubin", "pisa", "naep"}, default "rubin"
        Total variance U + (1 + 1/M) B. Rubin's rules have Barnard and Rubin's degrees of freedom; PISA's the same
        variance and normal limits; NAEP's has for U the sampling variance of the first plausible value.
    offset : str or array_like (n,), optional
    contrasts : dict, optional
        As in `lmer`.

    Returns
    -------
    SurveyFit

    Raises
    ------
    FormulaError, DesignError
        As `lmer`; crossed factors and covariance structures are not available.
    DataError
        Weights that are missing, not positive or vary within a level; replicates that do not belong to them; strata
        with one unit.
    FitError
        No maximum was found.

    Warns
    -----
    SingularFitWarning, ConvergenceWarning
    DataWarning
        Weights of the rows that look like total weights.

    Notes
    -----
    Standard errors come from the sandwich H^-1 (sum of squared scores of the outermost units) H^-1 in all parameters,
    with the factor J / (J - 1), by strata where there are some, and J - (number of strata) degrees of freedom; or from
    replicates, with rank - 1 degrees of freedom, as in R's survey. Level-1 weights are powers of densities, not
    precisions as ``weights=`` of `lmer`. Without weights the estimates are those of maximum likelihood.

    References
    ----------
    Asparouhov, T. (2006). Commun. Stat. Theory Methods 35, 439-460.
    Binder, D. A. (1983). Int. Stat. Rev. 51, 279-292.
    Rabe-Hesketh, S. and Skrondal, A. (2006). J. R. Stat. Soc. A 169, 805-827.

    Examples
    --------
    >>> import numpy as np
    >>> import remlax as rx
    >>> pupils = rx.datasets.hsb()
    >>> pupils["w_school"] = 1 + pupils["schid"].astype("category").cat.codes % 3
    >>> fit = rx.lmer_survey("mathach ~ ses + (1 | schid)", pupils, sampling_weights={"schid": "w_school"})
    >>> fit.tidy()["term"].tolist()
    ['Intercept', 'ses']
    """
    checks.flag(conditional, "conditional=")
    checks.choice(scale, Scale, "scale=")
    checks.choice(combine, Combine, "combine=")
    if scale is not None and not sampling_weights:
        raise DataError(f"scale={scale!r} is for weights: give them as sampling_weights=")
    parsed = replace(parse_formula(formula), contrasts=read_contrasts(contrasts))
    values = None if plausible_values is None else checks.names(plausible_values, "plausible_values=")
    if values is not None and len(set(values)) < len(values):
        raise DataError("plausible_values= names a column twice")
    levels = checks.mapping(sampling_weights or {}, "sampling_weights=", '{"school": "w_school", "pupil": "w_pupil"}')
    sets, kept = _data_sets(parsed, data, values)
    dropped = 0 if kept is None else int((~kept).sum())
    rows = read_rows(parsed, sets, offset=kept_rows(offset, kept), n_dropped=dropped)
    layout, fixed = _laid_out(rows)
    frame = sets.frames[0]
    weights = read_weights(levels, frame, layout, scale, conditional=conditional)
    units, words, df = _strata(frame, strata, layout)
    _same_in_all(sets, [*levels.values(), *([strata] if strata else [])])
    given = read_replicates(replicates, frame, kept, method, fay, replicate_factor)
    if given is not None:
        if strata is not None:
            raise DataError("strata= is for the sandwich, and replicates= has the strata in it: leave one of them out")
        assert method is not None  # replicates need one
        product = weights.product
        check_sums(given.weights, product)
        weights, words, df = with_replicates(weights, given.weights, layout), given.words, given.df
        warn_method(given.weights, product, method, fay)
    found = fit_survey(rows, layout, fixed, weights, units, given)
    _warn(found, rows, given)
    several = f"{rows.n_sets} plausible values" if values is not None else f"{rows.n_sets} imputed data sets"
    n_replicates = weights.n_versions - 1
    responses = several if rows.n_sets > 1 else ""
    design = SurveyDesign(weights.words, weights.size, n_replicates, words, df, combine, responses)
    return SurveyFit(rows, layout, fixed.keep, found, design, parsed.text)


def _data_sets(parsed: MixedFormula, data: Frames, values: list[str] | None) -> tuple[ImputedData, np.ndarray | None]:
    """Data sets, one per plausible value, and which rows of a single one are kept."""
    name = parsed.response_tree.text.strip("`")
    if values is not None and columns_in(parsed.response_tree) != (name,):
        raise DataError(
            f"plausible values take the place of the response, which must be a name such as 'score', not {name!r}"
        )
    if isinstance(data, pd.DataFrame):
        return _of_one(parsed, data, values, name)
    sets = data if isinstance(data, ImputedData) else ImputedData.from_frames(data)
    if values is not None:
        if len(values) != len(sets.frames):
            raise DataError(
                f"there are {len(values)} plausible values for {len(sets.frames)} imputed data sets: give one for each"
            )
        pairs = zip(sets.labels, sets.frames, values, strict=True)
        sets = ImputedData.from_frames({label: _with_value(frame, name, value) for label, frame, value in pairs})
    sets.check_complete(require_model_columns(parsed, sets.frames[0]))
    return sets, None


def _of_one(
    parsed: MixedFormula, data: pd.DataFrame, values: list[str] | None, name: str
) -> tuple[ImputedData, np.ndarray | None]:
    if values is None:
        check_frame(data, "data")
        values = [name]
    frames: dict[Hashable, pd.DataFrame] = {
        value: _with_value(data, name, value) if value != name else data for value in values
    }
    first = next(iter(frames.values()))
    holes = data[values].isna().any(axis=1) if all(value in data.columns for value in values) else None
    if holes is not None and holes.any():
        first = first.assign(**{name: first[name].mask(holes)})  # a row needs all of its plausible values
    first, kept = complete_rows(first, parsed, None, None)
    columns = require_model_columns(parsed, first)
    if kept is not None:
        frames = {label: frame.loc[kept] for label, frame in frames.items()}
    sets = ImputedData.from_frames(frames)
    sets.check_complete(columns)
    return sets, kept


def _with_value(frame: pd.DataFrame, name: str, value: str) -> pd.DataFrame:
    if value not in frame.columns:
        raise DataError(f"plausible_values= names {value!r}, which is no column of the data")
    return frame.assign(**{name: frame[value]})


def _laid_out(rows: ModelRows) -> tuple[Layout, FixedColumns]:
    """Layout of a model of nested factors, and its columns of X."""
    check_magnitudes(rows)
    check_groups(rows)
    layout = make_layout(rows, reml=False)
    if isinstance(layout.structure, CrossedStructure):
        labels = " and ".join(repr(factor.label) for factor in layout.factors)
        raise DesignError(f"{labels} are crossed, and sampling weights need factors that are nested in each other")
    if any(codes.offsets is not None for codes in rows.factor_rows):
        raise DataError("the imputed data sets differ in their groups, which a survey has in common")
    fixed = FixedColumns(*centred_columns(rows))
    if not len(fixed.keep):
        raise DesignError("the fixed part has no columns")
    return layout, fixed


def _same_in_all(sets: ImputedData, columns: list[str]) -> None:
    differing = [name for name in columns if len(sets.frames) > 1 and sets.varies(name)]
    if differing:
        raise DataError(f"{shortened(map(repr, differing))} differs between the imputed data sets; a design does not")


def _strata(frame: pd.DataFrame, strata: str | None, layout: Layout) -> tuple[np.ndarray | None, str, float]:
    """Strata of the outermost units, the sandwich in words, and its degrees of freedom."""
    top = layout.factors[-1]
    words = f"the sandwich over {top.n_levels} units of {top.label!r}"
    if strata is None:
        return None, words, float(top.n_levels - 1)
    if strata not in frame.columns:
        raise DataError(f"strata={strata!r} is not a column of the data")
    if frame[strata].isna().any():
        raise DataError(f"strata={strata!r} is missing in {int(frame[strata].isna().sum())} rows")
    codes, names = pd.factorize(frame[strata])
    units = np.zeros(top.n_levels, int)
    units[top.codes] = codes
    if (units[top.codes] != codes).any():
        level = top.levels[top.codes[np.flatnonzero(units[top.codes] != codes)[0]]]
        raise DataError(f"the strata {strata!r} vary within {level!r} of {top.label!r}: a unit lies in one stratum")
    alone = np.flatnonzero(np.bincount(units) == 1)
    if len(alone):
        raise DataError(
            f"the stratum {names[alone[0]]!r} of {strata!r} has a single unit of {top.label!r}, which has no variance: "
            "join it with another stratum"
        )
    return units, f"{words} in {len(names)} strata", float(top.n_levels - len(names))


def _warn(found: SurveyEstimates, rows: ModelRows, replicates: Replicates | None) -> None:
    if found.singular.any():
        of = shortened(str(rows.labels[k]) for k in np.flatnonzero(found.singular)) if rows.n_sets > 1 else ""
        warn(
            "singular fit"
            + (f" of {of}" if of else "")
            + ": a variance is estimated as 0 or a correlation as +-1"
            + ("; it has no standard error from the sandwich" if replicates is None else ""),
            SingularFitWarning,
        )
    failed = np.flatnonzero(found.failed[1:].any(axis=1)) if replicates is not None else np.zeros(0, int)
    if len(failed):
        warn(
            f"{len(failed)} of {len(found.failed) - 1} replicates could not be fitted and are left out of the standard "
            f"errors: {shortened(str(r + 1) for r in failed)}",
            ConvergenceWarning,
        )
