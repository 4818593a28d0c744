"""What every pooled table carries along: how many imputations, and which of them are doubtful."""

from __future__ import annotations

import pandas as pd

from ..errors import shortened
from ..fitting.selection import Selection
from .redundancy_words import redundancy_notes


def mark(table: pd.DataFrame, fits: Selection) -> pd.DataFrame:
    """Name singular, failed and left-out imputations in a table's ``attrs``.

    ``n_imputations``; ``singular_imputations``, ``failed_imputations`` and ``dropped_imputations``: labels; ``notes``:
    the same in sentences.
    """
    label = fits.rows.labels
    singular = [label[k] for k in fits.which if fits.fitted.singular[k]]
    failed = [label[k] for k in (*fits.which, *fits.dropped) if not fits.fitted.converged[k]]
    left_out = [label[k] for k in fits.dropped]
    notes = []
    if singular:
        notes.append(f"singular fits: imputation {shortened(singular)}")
    if failed:
        notes.append(f"fits that did not converge: imputation {shortened(failed)}")
    if left_out:
        notes.append(f"left out: imputation {shortened(left_out)}")
    table.attrs |= {
        "n_imputations": fits.n_sets,
        "singular_imputations": singular,
        "failed_imputations": failed,
        "dropped_imputations": left_out,
        "notes": [*table.attrs.get("notes", []), *notes, *redundancy_notes(fits)],
    }
    return table
