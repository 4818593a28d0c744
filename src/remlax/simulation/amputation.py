"""Making data frames incomplete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ..checks import Checks
from ..engine.programs import float64
from ..errors import DataError, SimulationError
from .keys import NO_SCENARIO, Stream, keys
from .mechanisms import Amputation, DropOut, Mechanism, Stack, mask_of
from .settings import Kind, MissingMechanism, Weights

checks = Checks(SimulationError)


@dataclass(frozen=True)
class Amputed:
    """A data frame made incomplete.

    Attributes
    ----------
    data
        The frame with missing cells.
    mask
        The same shape, True where missing.
    complete
        The frame before.
    """

    data: pd.DataFrame
    mask: pd.DataFrame
    complete: pd.DataFrame

    def also(self, other: Amputed) -> Amputed:
        """What is missing in this or in the other amputation; a SimulationError unless both are of the same frame."""
        checks.a(other, Amputed, "what is joined", "ampute() or drop_out()")
        if not self.complete.equals(other.complete):
            raise SimulationError("Only amputations of one and the same complete frame can be joined.")
        return blank(self.complete, self.mask | other.mask)


def ampute(
    frame: pd.DataFrame,
    prop: float = 0.5,
    patterns: Sequence[Sequence[str]] | None = None,
    *,
    freq: Sequence[float] | None = None,
    mechanism: MissingMechanism = "MAR",
    weights: Weights | Sequence[Weights] | None = None,
    between: Weights | Sequence[Weights] | None = None,
    types: Kind | Sequence[Kind] = "RIGHT",
    odds: Sequence[Sequence[float]] | None = None,
    by_cases: bool = True,
    columns: Sequence[str] | None = None,
    cluster: str | None = None,
    cluster_sd: float = 0.0,
    level2: bool = False,
    seed: int,
) -> Amputed:
    """Make a complete data frame incomplete.

    Every unit (row or, with ``level2``, cluster) becomes a candidate for one pattern; whether it becomes
    incomplete depends on the score of that pattern: the weighted sum of its standardised columns.

    Parameters
    ----------
    frame
        Complete data.
    prop
        Expected share of incomplete units, or, with ``by_cases=False``, of missing cells. The intercept of
        every pattern's probabilities is calibrated to it on the scores at hand.
    patterns
        For each pattern the columns that go missing together; one pattern per column if None.
    freq
        Share of the incomplete units by pattern; equal if None.
    mechanism
        "MCAR": completely at random. "MAR": the score weighs columns that the pattern leaves observed, all of
        them equally by default. "MNAR": it may weigh missing ones, by default these and only these.
    weights
        {column: weight} for all patterns, or one such mapping per pattern; other columns weigh 0.
    between
        With ``cluster``: weights of the clusters' means; ``weights`` then are those of the deviations from
        them. The two parts are standardised separately.
    types
        Where on the score cells go missing: "RIGHT", "LEFT", "MID", "TAIL"; for all patterns or one each.
    odds
        Instead of types, for each pattern the relative probability in quantile groups of the score.
    by_cases
        Whether ``prop`` is one of units (True) or of the cells of ``columns``.
    columns
        Columns that take part; all but ``cluster`` if None.
    cluster
        Column of the clusters.
    cluster_sd
        SD of normal effects of the clusters on the logit: clusters then differ in their share of incomplete
        rows.
    level2
        True: the units are clusters, scored by their means, and what goes missing does so in all their rows:
        level-2 variables, or clusters that drop out.
    seed
        Base seed, 0 to 2**64 - 1.

    Returns
    -------
    Amputed
        The incomplete frame, the mask, and the complete frame. Join several with `Amputed.also`.

    Raises
    ------
    SimulationError
        The settings contradict each other, name unknown columns, or ``prop`` cannot be reached.
    DataError
        The frame has missing cells, or a column of a score is not numeric.

    Notes
    -----
    Schouten, Lugtig & Vink (2018), Journal of Statistical Computation and Simulation 88:1909-1930; see
    `remlax.simulation.ampute` for what is calibrated differently.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> frame = pd.DataFrame(np.random.default_rng(1).normal(size=(500, 2)), columns=["x", "y"])
    >>> bool(abs(ampute(frame, 0.3, [["x"]], seed=1).mask["x"].mean() - 0.3) < 0.06)
    True
    """
    _check_frame(frame, "ampute()")
    settings = Amputation(
        prop,
        patterns,
        freq,
        mechanism,
        weights,
        between,
        types,
        odds,
        by_cases,
        [str(name) for name in frame if name != cluster] if columns is None else columns,
        cluster,
        cluster_sd,
        level2,
    )
    return apply([settings], frame, keys(seed, NO_SCENARIO, [0], Stream.AMPUTATION))


def drop_out(
    frame: pd.DataFrame,
    prop: float,
    columns: Sequence[str],
    *,
    subject: str,
    time: str,
    mechanism: MissingMechanism = "MAR",
    weights: Weights | None = None,
    types: Kind = "RIGHT",
    seed: int,
) -> Amputed:
    """Let subjects leave a longitudinal study: who has left does not come back.

    Parameters
    ----------
    frame
        Complete data in long form, one row per subject and occasion, in any order.
    prop
        Expected share of subjects, among those with two occasions or more, who have left by the end.
    columns
        Columns that are lost after leaving, such as the response.
    subject, time
        Columns of the subject and of the occasion.
    mechanism
        "MCAR": everybody leaves with the same probability at each occasion but the first. "MAR": it depends
        on the score at the occasion before. "MNAR": on that at the occasion itself.
    weights
        {column: weight} of the score; ``columns`` with equal weights if None.
    types
        "RIGHT": high scores leave; "LEFT": low ones; "MID", "TAIL".
    seed
        Base seed, 0 to 2**64 - 1.

    Raises
    ------
    SimulationError
        The settings contradict each other, or name unknown columns.
    DataError
        The frame has missing cells, or a column of the score is not numeric.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"id": [1, 1, 1, 2, 2, 2], "time": [0, 1, 2] * 2, "y": [3.0, 4, 5, 1, 2, 3]})
    >>> bool(drop_out(frame, 1.0, ["y"], subject="id", time="time", seed=1).mask["y"].sum() >= 2)
    True
    """
    _check_frame(frame, "drop_out()")
    settings = DropOut(prop, columns, subject, time, mechanism, weights, types)
    if {subject, time} <= set(frame) and frame.duplicated([subject, time]).any():
        twice = frame.loc[frame.duplicated([subject, time]), [subject, time]].iloc[0].to_dict()
        raise DataError(f"Occasion {twice} is there twice: give one row per subject and occasion.")
    return apply([settings], frame, keys(seed, NO_SCENARIO, [0], Stream.AMPUTATION))


def apply(mechanisms: Sequence[Mechanism], frame: pd.DataFrame, key: jax.Array) -> Amputed:
    """Apply mechanisms to one complete frame, in float64, with one key in an array (1,)."""
    for name in frame:
        missing = int(frame[name].isna().sum())
        if missing:
            raise DataError(f"Column {name!r} has {missing} missing cells; amputation starts from complete data.")
    factors = {name for mechanism in mechanisms for name in mechanism.factors}
    with float64():
        masks = mask_of(mechanisms, key, stack_of(frame, sorted(factors)))
        found = {name: np.asarray(mask[0]) for name, mask in masks.items()}
    return blank(frame, pd.DataFrame(False, frame.index, frame.columns).assign(**found))


def _check_frame(frame: pd.DataFrame, what: str) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise SimulationError(f"{what} needs a pandas DataFrame, not a {type(frame).__name__}.")
    if frame.empty:
        raise DataError(f"{what} needs rows and columns; the frame has the shape {frame.shape}.")
    odd = [name for name in frame if not isinstance(name, str)]
    if odd:
        raise DataError(f"Column {odd[0]!r} has no text as its name: rename it, as by frame.rename(columns=str).")
    if not frame.columns.is_unique:
        raise DataError(f"Column {frame.columns[frame.columns.duplicated()][0]!r} is there twice: rename one.")
    for name in (name for name in frame if pd.api.types.is_float_dtype(frame[name].dtype)):
        endless = int(np.isinf(frame[name].to_numpy(dtype=np.float64, na_value=np.nan)).sum())
        if endless:
            raise DataError(f"Column {name!r} has {endless} infinite values: a score needs numbers.")


def stack_of(frame: pd.DataFrame, factors: Sequence[str]) -> Stack:
    """One frame as a stack of one data set; ``factors`` become codes in order of appearance."""
    codes, levels = {}, {}
    for name in factors:
        if name not in frame:
            raise SimulationError(f"The data have no column {name!r}; they have {', '.join(map(repr, frame))}.")
        code, known = pd.factorize(frame[name])
        codes[name], levels[name] = jnp.asarray(code[None], dtype=jnp.int32), len(known)
    text = frozenset(str(name) for name in frame if not pd.api.types.is_any_real_numeric_dtype(frame[name].dtype))
    text -= {str(name) for name in frame if pd.api.types.is_bool_dtype(frame[name].dtype)}
    zeros = np.zeros(len(frame))
    columns = {
        str(name): jnp.asarray((zeros if name in text else frame[name].to_numpy(dtype=np.float64))[None])
        for name in frame
    }
    return Stack(columns, codes, levels, jnp.ones((1, len(frame)), dtype=bool), text)


def blank(complete: pd.DataFrame, mask: pd.DataFrame) -> Amputed:
    """A complete frame with the cells of a mask taken out."""
    lost = {str(name): complete[name].mask(mask[name]) for name in complete if mask[name].any()}
    return Amputed(complete.assign(**lost), mask, complete)
