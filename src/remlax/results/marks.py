"""What every pooled table carries along: how many imputations, and which of them are doubtful."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..errors import shortened
from ..fitting.fit import Fitted
from .redundancy_words import redundancy_notes


def mark(table: pd.DataFrame, fitted: Fitted, lanes: Sequence[int], dropped: Sequence[int] = ()) -> pd.DataFrame:
    """Name singular, failed and left-out imputations in a table's ``attrs``.

    ``n_imputations``; ``singular_imputations``, ``failed_imputations`` and ``dropped_imputations``: labels; ``notes``:
    the same in sentences.
    """
    label = fitted.model.rows.labels
    singular = [label[k] for k in lanes if fitted.singular[k]]
    failed = [label[k] for k in (*lanes, *dropped) if not fitted.converged[k]]
    left_out = [label[k] for k in dropped]
    notes = []
    if singular:
        notes.append(f"singular fits: imputation {shortened(singular)}")
    if failed:
        notes.append(f"fits that did not converge: imputation {shortened(failed)}")
    if left_out:
        notes.append(f"left out: imputation {shortened(left_out)}")
    table.attrs |= {
        "n_imputations": len(lanes),
        "singular_imputations": singular,
        "failed_imputations": failed,
        "dropped_imputations": left_out,
        "notes": [*table.attrs.get("notes", []), *notes, *redundancy_notes(fitted, lanes)],
    }
    return table
