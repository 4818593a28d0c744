"""What is pooled row by row needs the same rows in every imputation."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..data.row_match import rows_differ
from ..errors import DataError
from ..fitting.fit import Fitted


def require_same_rows(
    fitted: Fitted, lanes: Sequence[int], instead: str = "or give newdata, the same rows for all of them"
) -> None:
    """Refuse what is pooled row by row where the data sets of a stack have other rows, or the same in another order.

    Raises
    ------
    DataError
    """
    rows = fitted.model.rows
    if len(lanes) < 2 or rows.refitted:
        return  # refits share the rows of one data set
    assert rows.data is not None  # every fit keeps its data
    first = rows.index[lanes[0]]
    other = next((k for k in lanes[1:] if not rows.index[k].equals(first)), None)
    if other is not None:
        pair = f"imputation {rows.labels[other]}", f"imputation {rows.labels[lanes[0]]}"
        if len(rows.index[other]) != len(first):
            reason = f"{pair[0]} has {len(rows.index[other])} rows and {pair[1]} {len(first)}"
        else:
            reason = (
                f"the row labels of {pair[0]} are not those of {pair[1]} (reset_index(drop=True) where they only "
                "count rows)"
            )
    else:
        frames, labels = [rows.data.frames[k] for k in lanes], [rows.labels[k] for k in lanes]
        groups = [name for term in rows.formula.random for name in term.group]
        reason = rows_differ(frames, labels, list(dict.fromkeys(groups)), rows.data.original)
    if reason:
        raise DataError(f"the data sets have different rows: {reason}; put the same rows in the same order, {instead}")


def require_same_new(fitted: Fitted, lanes: Sequence[int], frames: Sequence[pd.DataFrame]) -> None:
    """Refuse frames of newdata that hold the same rows in another order: a column of the model is enough to see it."""
    used = fitted.model.rows.formula.variables
    shared = [name for name in used if all(isinstance(frame.get(name), pd.Series) for frame in frames)]
    labels = [fitted.model.rows.labels[k] for k in lanes]
    reason = rows_differ([frame[shared] for frame in frames], labels) if shared else ""
    if reason:
        raise DataError(f"the frames of newdata have different rows: {reason}; put the same rows in the same order")
