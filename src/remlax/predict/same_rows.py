"""Same rows in every imputation, which what is pooled row by row needs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..data.row_match import rows_differ
from ..errors import DataError
from ..fitting.selection import Selection


def require_same_rows(fits: Selection, instead: str = "or give newdata, the same rows for all of them") -> None:
    """Refuse what is pooled row by row where the data sets have other rows, or the same in another order."""
    rows = fits.rows
    if fits.n_sets < 2 or rows.refitted:
        return  # refits share the rows of one data set
    assert rows.data is not None  # every fit keeps its data
    first = rows.index[fits.which[0]]
    other = next((k for k in fits.which[1:] if not rows.index[k].equals(first)), None)
    if other is not None:
        pair = f"imputation {rows.labels[other]}", f"imputation {rows.labels[fits.which[0]]}"
        if len(rows.index[other]) != len(first):
            reason = f"{pair[0]} has {len(rows.index[other])} rows and {pair[1]} {len(first)}"
        else:
            reason = (
                f"the row labels of {pair[0]} are not those of {pair[1]} (reset_index(drop=True) where they only "
                "count rows)"
            )
    else:
        frames, labels = [rows.data.frames[k] for k in fits.which], [rows.labels[k] for k in fits.which]
        groups = [name for term in rows.formula.random for name in term.group]
        reason = rows_differ(frames, labels, list(dict.fromkeys(groups)), rows.data.original)
    if reason:
        raise DataError(f"the data sets have different rows: {reason}; put the same rows in the same order, {instead}")


def require_same_new(fits: Selection, frames: Sequence[pd.DataFrame]) -> None:
    """Refuse frames of newdata that hold the same rows in another order: a column of the model is enough to see it."""
    used = fits.rows.formula.variables
    shared = [name for name in used if all(isinstance(frame.get(name), pd.Series) for frame in frames)]
    labels = fits.labels
    reason = rows_differ([frame[shared] for frame in frames], labels) if shared else ""
    if reason:
        raise DataError(f"the frames of newdata have different rows: {reason}; put the same rows in the same order")
