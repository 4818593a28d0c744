"""Reference-based multiple imputation of trials."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ...data import ImputedData
from ...data.checks import Label, check_frame
from ...design.tree import Name
from ...errors import ImputationError
from ...fitting.mmrm.formula import MmrmFormula, parse_mmrm
from ..arguments import checks
from ..columns import FloatArray
from .cells import Parameters
from .delta import Delta, read_delta
from .events import AfterEvent, Strategy, read_events
from .model import ReferenceModel, fit_reference_model
from .resamples import bootstrap_refits, noise, posterior_draws
from .result import ReferenceResult
from .trial import read_trial

Draws = Literal["bootstrap", "posterior", "none"]
MANY = 20


def reference(
    data: pd.DataFrame,
    formula: str,
    *,
    arm: str,
    reference: object,
    visit: str | None = None,
    id: str | None = None,
    strategy: Strategy | str | dict[str, str] = "jump-to-reference",
    event: str | None = None,
    after_event: AfterEvent = "kept",
    delta: Delta = None,
    draws: Draws = "bootstrap",
    m: int | None = None,
    reml: bool = True,
    seed: int = 0,
) -> ReferenceResult:
    """Impute what a trial did not observe after an event, from what its reference arm shows.

    The imputation model is a mixed model for repeated measures, fitted to what was observed before the events. A
    patient's visits are jointly normal. Their mean is that of the patient's arm before the event, and what `strategy`
    says after it; missing visits are drawn given the patient's observed ones.

    Parameters
    ----------
    data : pandas.DataFrame
        A row for each visit of each patient. Visits that were missed may be rows without a response, or no rows.
    formula : str
        The imputation model as for `mmrm`: ``"y ~ base * visit + arm * visit + us(visit | id)"``. A structure of each
        arm, ``us(visit | arm / id)``, gives arms covariance matrices of their own.
    arm : str
        Column of the arms.
    reference : str
        The arm to which others are compared and from which they are imputed.
    visit, id : str, optional
        Columns of visits and patients, where the formula has no covariance term: it is unstructured then.
    strategy : str or dict, default "jump-to-reference"
        What is assumed after the event. ``"jump-to-reference"``: the mean of the reference arm;
        ``"copy-increments"``: the last mean before the event and the changes of the reference arm from there;
        ``"copy-reference"``: the mean of the reference arm, also before the event; ``"last-mean"``: the last mean
        before the event; ``"mar"``: the mean of the patient's own arm. One for all, one for each arm (a dict), or a
        column with one for each patient, where an empty cell is ``"mar"``.
    event : str, optional
        Column with the first visit after the event, empty where there was none; among visits that are numbers also a
        time between. By default the event is after the last visit that was observed. Visits that are missing before it
        are missing at random.
    after_event : {"kept", "missing"}, default "kept"
        What was observed after the event stays in the data and takes no part in the fit (under ``"mar"`` it does), or
        is imputed like what is missing.
    delta : float or dict, optional
        Added to imputed cells after the event: one number, a dict by visit, or a dict by arm of either.
    draws : {"bootstrap", "posterior", "none"}, default "bootstrap"
        Parameters behind each imputation: estimates of a resample of the patients within arms, whose refits run as one
        batch; draws from the normal approximation to the posterior; or the estimates themselves. With ``"none"`` cells
        have their conditional means, and standard errors come from ``ancova(se=)``.
    m : int, optional
        Number of imputations: 20, and 1 without draws.
    reml : bool, default True
        Whether the imputation model is fitted by REML.
    seed : int, default 0
        Imputation k depends on the seed and on k, not on m.

    Returns
    -------
    ReferenceResult
        ``.data`` holds the completed data sets; ``.ancova`` and ``.tipping_point`` analyse them.

    Raises
    ------
    ImputationError
        Arms, visits, strategies or columns that are not there; incomplete covariates; nothing to impute; an imputation
        model that cannot be fitted.
    FormulaError, DesignError, DataError
        As `mmrm`.

    Warns
    -----
    ImputationWarning
        Patients without an observed response; resamples that were drawn again, as their fit failed.

    References
    ----------
    Carpenter, J. R., Roger, J. H. and Kenward, M. G. (2013). J. Biopharm. Stat. 23, 1352-1371.
    Wolbers, M., Noci, A., Delmar, P., Gower-Page, C., Yiu, S. and Bartlett, J. W. (2022). Pharm. Stat. 21, 1246-1257.

    Examples
    --------
    >>> import numpy as np
    >>> import remlax as rx
    >>> rng, n = np.random.default_rng(1), 60
    >>> y = rng.normal(size=(n, 1)) + rng.normal(size=(n, 3))
    >>> y[:20, 2] = np.nan
    >>> trial = pd.DataFrame({"id": np.repeat(np.arange(n), 3), "week": np.tile([1, 2, 3], n), "y": y.ravel()})
    >>> trial["arm"] = np.where(trial["id"] % 2, "drug", "placebo")
    >>> model = "y ~ arm * factor(week) + us(week | id)"
    >>> imputed = rx.impute.reference(trial, model, arm="arm", reference="placebo", draws="none")
    >>> imputed.imputed.values.tolist()
    [[0, 0, 10], [0, 0, 10]]
    """
    check_frame(data, "the data to impute")
    checks.choice(draws, Draws, "draws=")
    checks.flag(reml, "reml=")
    checks.seed(seed, 63)
    n_sets = _number(m, draws)
    parsed = _parsed(formula, visit, id)
    checks.text(arm, "arm=")
    trial = read_trial(data, parsed, arm, reference)
    events = read_events(trial, event, strategy, after_event)
    added = read_delta(trial, events, delta)
    model = fit_reference_model(trial, events, parsed, seed, reml=reml)
    parameters, n_replaced = _parameters(model, draws, n_sets)
    z = None if draws == "none" else noise(seed, range(n_sets), trial.shape)
    y = model.cells.completed(parameters, z)
    return ReferenceResult(_imputed(model, y + added), draws, n_replaced, model, y, added)


def _number(m: int | None, draws: Draws) -> int:
    if m is None:
        return 1 if draws == "none" else MANY
    n_sets = checks.whole(m, "m=", 1)
    if draws == "none" and n_sets > 1:
        raise ImputationError(f"m={n_sets}: without draws all imputations are the same; leave out m=, or draws='none'")
    return n_sets


def _parsed(formula: str, visit: str | None, patient: str | None) -> MmrmFormula:
    if visit is None and patient is None:
        return parse_mmrm(formula)
    for value, what in ((visit, "visit="), (patient, "id=")):
        checks.text(value, what)
    assert visit is not None  # a text
    assert patient is not None
    checks.text(formula, "formula=")
    return parse_mmrm(f"{formula} + us({Name(visit).text} | {Name(patient).text})")


def _parameters(model: ReferenceModel, draws: Draws, n_sets: int) -> tuple[Parameters, int]:
    """Parameters behind each imputation, and how many resamples were drawn again."""
    if draws == "none":
        return model.estimates, 0
    if draws == "posterior":
        return posterior_draws(model, n_sets), 0
    _, parameters, n_replaced = bootstrap_refits(model, n_sets)
    return parameters, n_replaced


def _imputed(model: ReferenceModel, y: FloatArray) -> ImputedData:
    """The trial with its response completed (m, n, T), and as it was."""
    trial = model.trial
    place = np.empty(trial.row.size, np.intp)
    place[trial.row.reshape(-1)] = np.arange(trial.row.size)
    values = y.reshape(len(y), -1)[:, place]
    frames: dict[Label, pd.DataFrame] = {
        k + 1: trial.frame.assign(**{trial.response: own}) for k, own in enumerate(values)
    }
    seen = model.events.y.reshape(-1)[place]
    return ImputedData.from_frames(frames).with_original(trial.frame.assign(**{trial.response: seen}))
