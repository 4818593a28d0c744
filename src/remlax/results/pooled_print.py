"""What a pooled model prints, in lme4's order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import MAX_NAMED, shortened
from ..fitting.selection import Selection
from ..kernels.newton import STATUS_TEXT
from ..pooling import RubinPool
from .printing import Summary, block, groups_line, p_value, random_effects_block, significant, span
from .redundancy_words import redundancy_notes


def pooled_text(
    fits: Selection,
    pool: RubinPool,
    df_rule: str,
    varcorr: pd.DataFrame,
    *,
    full: bool,
) -> Summary:
    """Text of ``summary()`` (full) or ``display()``; ``varcorr`` holds the mean variance components."""
    parts = [
        *_head(fits, varcorr),
        _fixed_block(fits.model.fixed_names, pool, df_rule, full=full),
        _verdict(fits, full=full),
    ]
    return Summary("\n\n".join(parts))


def _head(fits: Selection, varcorr: pd.DataFrame) -> list[str]:
    how = "REML" if fits.fitted.reml else "maximum likelihood"
    criterion = fits.fitted.criterion[fits.index]
    name = "REML criterion" if fits.fitted.reml else "Deviance"
    random = "Random effects (means over the fits):\n" + random_effects_block(varcorr)
    return [
        f"Linear mixed model fit by {how} to {fits.n_sets} imputed data sets, pooled by Rubin's rules\n"
        f"Formula: {fits.formula}",
        f"{name} at convergence: {criterion.min():.2f} to {criterion.max():.2f}",
        f"{random}\n{groups_line(span(np.array(fits.n_rows)), _ngrps(fits))}",
    ]


def _ngrps(fits: Selection) -> dict[str, str]:
    layout, out = fits.model.layout, {}
    for f in dict.fromkeys(term.factor for term in layout.terms):
        codes = fits.rows.factor_rows[layout.factor_source[f]]
        which = fits.which if codes.offsets is not None else fits.which[:1]
        out[layout.factors[f].label] = span(np.array([np.count_nonzero(np.bincount(codes.lane(k))) for k in which]))
    return out


def _fixed_block(terms: list[str], r: RubinPool, df_rule: str, *, full: bool) -> str:
    if not terms:
        return "No fixed effects"
    columns = {"": terms, "Estimate": significant(r.estimate), "Std. Error": significant(r.std_error)}
    if full:
        columns["df"] = ["inf" if np.isinf(v) else f"{v:.1f}" for v in r.df]
        columns["t"] = [f"{v:.3f}" for v in r.statistic]
        columns["p"] = [p_value(v) or "nan" for v in r.p_value]
        columns["riv"] = [f"{v:.3f}" for v in r.riv]
        columns["fmi"] = [f"{v:.3f}" for v in r.fmi]
    return "Fixed effects" + (f" ({df_rule}):\n" if full else ":\n") + block(columns)


def _verdict(fits: Selection, *, full: bool) -> str:
    label = fits.rows.labels
    good = [k for k in fits.which if fits.fitted.converged[k]]
    lines = [f"Imputations: {fits.n_sets} pooled, {len(good)} converged"]
    if fits.dropped:
        lines.append("left out because they failed: " + shortened(fits.left_out))
    failed = [k for k in fits.which if not fits.fitted.converged[k]]
    lines.extend(f"imputation {label[k]}: {STATUS_TEXT[int(fits.fitted.status[k])]}" for k in failed[:MAX_NAMED])
    if len(failed) > MAX_NAMED:
        lines.append(f"and {len(failed) - MAX_NAMED} more that did not converge")
    if fits.singular:
        lines.append("singular fits: imputation " + shortened(fits.singular))
        if full:
            lines.append("their degrees of freedom leave out the variance parameters on the boundary")
    elif full:
        lines.append("no singular fit")
    return "\n".join([*lines, *redundancy_notes(fits)])
