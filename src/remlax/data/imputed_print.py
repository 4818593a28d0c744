"""Text and HTML that imputed data print as."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..errors import shortened

if TYPE_CHECKING:
    from .imputed import ImputedData


def imputed_text(data: ImputedData) -> str:
    """Sizes, the columns that differ between imputations, and missing cells, in one line."""
    sizes = sorted(len(frame) for frame in data.frames)
    rows = str(sizes[0]) if data.aligned else f"{sizes[0]} to {sizes[-1]}"
    text = f"{data.K} imputation{'s' * (data.K > 1)} of {rows} rows x {len(data.columns)} columns"
    if data.aligned:
        text += f"; differing: {shortened(name for name in data.columns if data.varies(name)) or 'none'}"
    if data.original is not None:
        text += f"; {int(data.original.isna().to_numpy().sum())} missing cells in the original"
    return text


def imputed_html(data: ImputedData) -> str:
    """Table of the columns: type, whether they differ, missing cells."""
    original = data.original
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(str(column.dtype))}</td>"
        f"<td>{'yes' if data.aligned and data.varies(str(name)) else ''}</td>"
        f"<td>{'' if original is None else int(original[name].isna().sum())}</td></tr>"
        for name, column in data.frames[0].items()
    )
    head = "<tr><th>variable</th><th>type</th><th>differs</th><th>missing in original</th></tr>"
    return f"<p><b>ImputedData</b>: {escape(imputed_text(data))}</p><table>{head}{rows}</table>"
