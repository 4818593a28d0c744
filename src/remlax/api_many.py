"""lmer_many: one formula and many responses in, all fits out. Composition only."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from .api_rows import complete_rows, kept_rows, warn_formula
from .checks import Checks
from .data import ImputedData
from .data.checks import other_order
from .design.build import RowInput, check_order, read_rows, require_model_columns
from .design.congenial import warn_uncongenial
from .errors import DataError
from .fitting.checks import WEIGHT_MAGNITUDE, check_options
from .kernels.newton import Newton
from .many.cluster import Cluster
from .many.design import ManySource, each_set, parse_right_side, with_stand_in, without_stand_in
from .many.fit import assembled
from .many.folder import BlockFolder
from .many.responses import Responses, is_annotated, listed, read_blocks, read_responses
from .many.result import LmerMany
from .many.run import Block, fit_blocks
from .names import PRIOR_ARGUMENTS, refuse_arguments

DesignInput = pd.DataFrame | ImputedData | Sequence[pd.DataFrame] | Mapping[object, pd.DataFrame]
checks = Checks()
_log = logging.getLogger(__name__)


def lmer_many(
    formula: str,
    data: DesignInput,
    responses: pd.DataFrame | npt.ArrayLike | Iterator[pd.DataFrame | npt.ArrayLike] | Any = None,
    *,
    names: Sequence[object] | None = None,
    reml: bool = True,
    weights: RowInput | pd.DataFrame = None,
    block_size: int | None = None,
    out: str | os.PathLike[str] | None = None,
    client: Any = None,
    **others: object,
) -> LmerMany:
    """Fit one linear mixed model to many responses that share a design: genes, voxels, sensors, items.

    What the responses share is computed once, and they are fitted together, in blocks; each fit is that of `lmer` to
    this response alone.

    Parameters
    ----------
    formula : str
        lme4 syntax without a response: ``"~ age + batch + (1 | donor)"``.
    data : pandas.DataFrame, ImputedData, or list or dict of pandas.DataFrame
        The design, n rows. Rows with missing cells in the model's variables are left out, with a warning. Of an imputed
        design, K frames with the same rows, every response is fitted K times, and tables are pooled by Rubin's rules;
        there no cell may be missing.
    responses : DataFrame, array_like, scipy.sparse matrix or AnnData (n, G), or an iterator of these
        A column per response, in the order of the rows of the data. Where a cell is missing (NaN, or masked), this
        response goes without the row; columns of the design such as ``scale(x)`` are made from all rows. An iterator
        gives blocks of responses, all rows of each, which need not fit in memory together. Of an AnnData ``X`` and
        ``var_names`` are taken; where it stands in the place of `data`, ``obs`` is the design.
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
    out : path-like, optional
        A folder for the fits, a file for each block: a run that was stopped goes on where it was, if it is called again
        with the same design, responses and `block_size`.
    client : distributed.Client, optional
        Its workers, here or on a cluster, fit the blocks. A block whose worker dies is given to another one.
    **others
        None: arguments of `lmer` are refused that `lmer_many` has not.

    Returns
    -------
    LmerMany

    Raises
    ------
    FormulaError
        The formula cannot be read, has a response, or names a column that is not there.
    DataError
        Responses or weights that are no numbers, have the wrong shape or other rows, or names that are not unique.
    DesignError
        The model is not identified, whatever the response.
        Or not by all imputations alike.
    ModelSizeError
        The results do not fit in memory.
    FitError
        A block of responses kills the worker of a cluster every time.
    MissingExtraError
        dask.distributed, for ``client=``, is not installed.

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
    refuse_arguments("lmer_many", others, PRIOR_ARGUMENTS)
    check_options(reml, Newton())
    names = listed(names)
    start = time.perf_counter()
    if is_annotated(data):
        responses, data = data if responses is None else responses, cast(Any, data).obs
    if responses is None:
        raise DataError("responses= is missing: give a DataFrame or an array with a column for each response")
    with without_stand_in():
        source, given = _read(formula, data, responses, names, weights)
        designs = assembled(source.rows, reml=reml)
    size = designs[0].block_size() if block_size is None else checks.whole(block_size, "block_size=")
    total = len(names) if source.responses is None and names is not None else None
    total = total if source.responses is None else len(source.responses)
    designs[0].check_memory(total or 0, len(designs))
    folder = None if out is None else BlockFolder.at(out, source.text, source.rows, reml=reml)
    cluster = None if client is None else Cluster(client, designs)
    found, fits = fit_blocks(designs, _cut(given, source.weights, size), source.kept, total, folder, cluster)
    seconds, converged = time.perf_counter() - start, sum(int(fit.converged.sum()) for fit in fits)
    _log.info("%d responses x %d fitted in %.2f s: %d converged", len(found), len(fits), seconds, converged)
    return LmerMany(designs, found, fits, source)


def _cut(blocks: Iterable[Responses], weights: Responses | None, size: int) -> Iterator[Block]:
    """Blocks of at most so many responses, with the weights of each."""
    for block in blocks:
        cut = block.pieces(size)
        if weights is None:
            yield from ((piece, None) for piece in cut)
        else:
            yield from zip(cut, weights.pieces(size), strict=True)


def _read(
    formula: str, data: DesignInput, responses: object, names: Sequence[object] | None, weights: RowInput | pd.DataFrame
) -> tuple[ManySource, Iterable[Responses]]:
    """Read design and weights of each response; responses come in one block or as many as there are."""
    parsed = parse_right_side(formula)
    warn_formula(parsed)
    given = _GivenWeights.of(weights)
    shared, kept = given.shared, None
    if isinstance(data, pd.DataFrame):
        index = data.index
        frame, kept = complete_rows(with_stand_in(data), parsed, shared, None, "rx.lmer_many")
        check_order(shared, index, "weights")
        n_dropped = 0 if kept is None else int((~kept).sum())
        of_kept = kept_rows(shared, kept)
        rows = read_rows(parsed, ImputedData((frame,), (1,)), weights=of_kept, n_dropped=n_dropped)
    else:
        sets = _imputed(data)
        index = sets.frames[0].index
        sets.check_complete(require_model_columns(parsed, sets.frames[0], shared))
        rows = read_rows(parsed, sets, weights=shared)
        warn_uncongenial(parsed, sets)
    text = f"~ {parsed.right_tree.text}"
    if isinstance(responses, Iterator):
        if given.of_each is not None:
            raise DataError("weights= of each response need responses= as one frame or array, not in blocks")
        return ManySource(text, each_set(rows), None, None, kept), read_blocks(responses, names, index)
    found = read_responses(responses, names, index)
    own = None if given.of_each is None else _weights(given.of_each, found, index)
    return ManySource(text, each_set(rows), found, own, kept), [found]


def _imputed(given: ImputedData | Sequence[pd.DataFrame] | Mapping[object, pd.DataFrame]) -> ImputedData:
    """Imputations of the design, with numbers in the place of the response; they have the same rows."""
    if not isinstance(given, ImputedData | Mapping | Sequence):
        raise DataError(
            f"data is a {type(given).__name__}: give a pandas.DataFrame, or imputations as ImputedData or a list"
        )
    data = given if isinstance(given, ImputedData) else ImputedData.from_frames(given)
    sizes = {len(frame) for frame in data.frames}
    if len(sizes) > 1:
        raise DataError(
            f"the imputations have {min(sizes)} to {max(sizes)} rows: responses belong to rows that all of them have"
        )
    first = data.frames[0].index
    for label, frame in zip(data.labels, data.frames, strict=True):
        if other_order(frame.index, first):
            raise DataError(
                f"the rows of imputation {label} stand in another order than those of the first: sort all by index"
            )
    return data.map(with_stand_in)


class _GivenWeights(NamedTuple):
    """Weights that all responses share, or those of each; None where there are none."""

    shared: RowInput
    of_each: object

    @classmethod
    def of(cls, given: RowInput | pd.DataFrame) -> _GivenWeights:
        """Tell the two apart by their shape."""
        if isinstance(given, pd.DataFrame):
            return cls(None, given)
        if given is None or isinstance(given, str | pd.Series) or np.ndim(given) != 2:
            return cls(given, None)
        return cls(None, given)


def _weights(given: object, responses: Responses, index: pd.Index) -> Responses:
    """Weights of each response, in their order."""
    if isinstance(given, pd.DataFrame):
        if given.columns.has_duplicates or set(given.columns) != set(responses.names):
            raise DataError("the columns of weights= have other names than the responses: give a column for each")
        given = given[responses.names]
    if scipy.sparse.issparse(given):
        raise DataError("weights= is sparse, and weights of 0 are not allowed: give a dense array")
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
    there = found.values[~np.isnan(found.values)]
    if there.size and not (there.min() >= 1 / WEIGHT_MAGNITUDE and there.max() <= WEIGHT_MAGNITUDE):
        raise DataError(
            f"weights= holds values from {there.min():.3g} to {there.max():.3g}, which double precision cannot hold "
            "apart: change their unit, or make those of no account NaN"
        )
    return replace(found, names=responses.names)
