"""Text and HTML that imputed data print as."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

import pandas as pd

from ..errors import shortened


def imputed_text(
    frames: Sequence[pd.DataFrame], original: pd.DataFrame | None, differing: Collection[str] | None
) -> str:
    """Sizes, the columns that differ between imputations (None: their rows do), and missing cells, in one line."""
    sizes = sorted(len(frame) for frame in frames)
    rows = f"{sizes[0]} to {sizes[-1]}" if differing is None else str(sizes[0])
    columns = frames[0].columns
    text = f"{len(frames)} imputation{'s' * (len(frames) > 1)} of {rows} rows x {len(columns)} columns"
    if differing is not None:
        text += f"; differing: {shortened([name for name in columns if name in differing]) or 'none'}"
    if original is not None:
        text += f"; {int(original.isna().to_numpy().sum())} missing cells in the original"
    return text


def imputed_html(
    frames: Sequence[pd.DataFrame], original: pd.DataFrame | None, differing: Collection[str] | None
) -> str:
    """Table of the columns: type, whether they differ, missing cells."""
    summary = imputed_text(frames, original, differing)
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(str(column.dtype))}</td>"
        f"<td>{'yes' if name in (differing or ()) else ''}</td>"
        f"<td>{'' if original is None else int(original[name].isna().sum())}</td></tr>"
        for name, column in frames[0].items()
    )
    head = "<tr><th>variable</th><th>type</th><th>differs</th><th>missing in original</th></tr>"
    return f"<p><b>ImputedData</b>: {escape(summary)}</p><table>{head}{rows}</table>"
