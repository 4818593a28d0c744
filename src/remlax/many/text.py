"""Print-out of many fits: counts, never lists of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..tables.printing import Summary, groups_line, span

if TYPE_CHECKING:
    from .result import LmerMany


def many_text(many: LmerMany) -> Summary:
    """Formula, numbers of responses, rows and groups, and what became of the fits."""
    design, fits = many.design[0], many.fits
    how = "REML" if many.reml else "maximum likelihood"
    names = ", ".join(map(str, many.names[:3])) + (", ..." if len(many) > 3 else "")
    lines = [
        f"Linear mixed model fit by {how} to {len(many)} response{'s' * (len(many) > 1)} ({names})",
        f"Formula: {many.formula}",
    ]
    if many.n_imputations > 1:
        lines.append(f"Imputations of the design: {many.n_imputations}, pooled by Rubin's rules")
    there = fits[0].n_obs[fits[0].n_obs > 0]
    groups = {factor.label: str(factor.n_levels) for factor in design.rows.factors}
    lines.append(groups_line(span(there) if len(there) else "0", groups))
    lines.append(f"Coefficients: {', '.join(many.terms)}")
    converged = int(np.all([fit.converged for fit in fits], axis=0).sum())
    lines.append(f"Converged: {converged} of {len(many)}")
    return Summary("\n".join([*lines, *many._notes]))
