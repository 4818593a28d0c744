"""lmer_many: one formula and many responses in, all fits out. Composition only."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from .api import complete_rows, kept_rows, warn_formula
from .checks import Checks
from .data import ImputedData
from .design.build import RowInput, check_order, read_rows
from .errors import DataError
from .fitting.checks import check_options
from .kernels.newton import Newton
from .many.design import ManySource, parse_right_side, with_stand_in
from .many.fit import SharedDesign
from .many.responses import Responses, read_responses
from .many.result import LmerMany
from .progress import progress

checks = Checks()
_log = logging.getLogger(__name__)


def lmer_many(
    formula: str,
    data: pd.DataFrame,
    responses: pd.DataFrame | npt.ArrayLike,
    *,
    names: Sequence[object] | None = None,
    reml: bool = True,
    weights: RowInput | pd.DataFrame = None,
    block_size: int | None = None,
) -> LmerMany:
    """Fit one linear mixed model to many responses that share a design: genes, voxels, sensors, items.

    What the responses share is computed once, and they are fitted together, in blocks; each fit is that of `lmer` to
    this response alone.

    Parameters
    ----------
    formula : str
        lme4 syntax without a response: ``"~ age + batch + (1 | donor)"``.
    data : pandas.DataFrame
        The design, n rows. Rows with missing cells in the model's variables are left out, with a warning.
    responses : DataFrame (n, G) or array_like (n, G)
        A column per response, in the order of the rows of the data. Where a cell is missing, this response goes
        without the row.
    names : sequence of length G, optional
        What the responses are called; the columns of a DataFrame, or numbers from 0, unless given.
    reml : bool, default True
        REML or maximum likelihood.
    weights : str, array_like (n,), DataFrame (n, G) or array_like (n, G), optional
        Precision weights: a column (or expression) of the data or values, for all responses; or weights of each
        response (limma's voom), the columns of a DataFrame named as the responses. Where a weight is missing, the
        response goes without the row.
    block_size : int, optional
        Responses that are worked on at once; chosen for the size of the cache unless given.

    Returns
    -------
    LmerMany

    Raises
    ------
    FormulaError
        The formula cannot be read, has a response, or names a column that is not there.
    DataError
        Responses or weights that are no numbers or have the wrong shape, or names that are not unique.
    DesignError
        The model is not identified, whatever the response.
    ModelSizeError
        The results do not fit in memory.

    Warns
    -----
    DroppedRowsWarning, RankDeficientWarning, IdentifiabilityWarning, FormulaWarning
        As `lmer`. A response that cannot be fitted (constant, without values) is no reason for an error or a warning:
        its row in the tables says so.

    See Also
    --------
    refit : the model of a fit, with all that single fits have, to other responses.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import remlax as rx
    >>> rng = np.random.default_rng(1)
    >>> data = pd.DataFrame({"donor": np.repeat(np.arange(10), 4), "dose": np.tile([0, 1, 2, 3], 10)})
    >>> expression = rng.normal(size=(40, 100)) + rng.normal(size=(10, 100))[data["donor"]]
    >>> many = rx.lmer_many("~ dose + (1 | donor)", data, responses=expression)
    >>> len(many), many.tidy().shape
    (100, (200, 9))
    """
    check_options(reml, Newton())
    start = time.perf_counter()
    source, own_weights = _read(formula, data, responses, names, weights)
    assert source.responses is not None
    design = SharedDesign.of(source.rows[0], reml=reml)
    design.warn_redundant()
    n_responses = len(source.responses.names)
    design.check_memory(n_responses)
    size = design.block_size() if block_size is None else checks.whole(block_size, "block_size=")
    fits = design.none(n_responses)
    with progress(n_responses, "fit") as advance:
        for first in range(0, n_responses, size):
            which = np.arange(first, min(first + size, n_responses))
            given = None if own_weights is None else own_weights.block(which, source.kept)
            fits.put(which, design.fit(source.responses.block(which, source.kept), given))
            advance(len(which))
    seconds = time.perf_counter() - start
    _log.info("%d responses fitted in %.2f s: %d converged", n_responses, seconds, int(fits.converged.sum()))
    return LmerMany((design,), source.responses.names, (fits,), source)


def _read(
    formula: str, data: pd.DataFrame, responses: object, names: Sequence[object] | None, weights: object
) -> tuple[ManySource, Responses | None]:
    """Read design, responses and weights of each response."""
    parsed = parse_right_side(formula)
    warn_formula(parsed)
    each = _of_each(weights)
    shared: RowInput = None if each else weights  # type: ignore[assignment]
    frame, kept = complete_rows(with_stand_in(data), parsed, shared, None, "rx.lmer_many")
    check_order(shared, data.index, "weights")
    found = read_responses(responses, names, data.index)
    own = _weights(weights, found, data.index) if each else None
    n_dropped = 0 if kept is None else int((~kept).sum())
    rows = read_rows(parsed, ImputedData((frame,), (1,)), weights=kept_rows(shared, kept), n_dropped=n_dropped)
    return ManySource(f"~ {parsed.right_tree.text}", (rows,), found, own, kept), own


def _of_each(weights: object) -> bool:
    """Whether these are weights of each response, not of all."""
    if isinstance(weights, pd.DataFrame):
        return True
    return not (weights is None or isinstance(weights, str | pd.Series)) and np.ndim(weights) == 2  # type: ignore[arg-type]


def _weights(given: object, responses: Responses, index: pd.Index) -> Responses:
    """Weights of each response, in their order."""
    if isinstance(given, pd.DataFrame):
        if given.columns.has_duplicates or set(given.columns) != set(responses.names):
            raise DataError("the columns of weights= have other names than the responses: give a column for each")
        given = given[responses.names]
    found = read_responses(given, None, index, "weights=")
    if found.values.shape != responses.values.shape:
        raise DataError(
            f"weights= has the shape {found.values.shape} for responses of shape {responses.values.shape}: give a "
            "weight for each cell, or one column for all responses"
        )
    bad = ~((found.values > 0) & np.isfinite(found.values)) & ~np.isnan(found.values)
    if bad.any():
        at = responses.names[int(np.argmax(bad.any(axis=0)))]
        raise DataError(
            f"weights= holds values that are not positive and finite (first for {at!r}): make those cells NaN, and the "
            "response goes without these rows"
        )
    return replace(found, names=responses.names)
