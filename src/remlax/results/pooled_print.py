"""What a pooled model prints, in lme4's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import MAX_NAMED, shortened
from ..fitting.fit import Fitted
from ..kernels.newton import STATUS_TEXT
from ..pooling import RubinPool
from .printing import INFINITE_DF, Summary, block, groups_line, p_value, random_effects_block, significant, span
from .redundancy_words import dropped_note, redundancy_notes


def pooled_text(
    stack: Fitted,
    lanes: Sequence[int],
    dropped: Sequence[int],
    pool: RubinPool,
    df_rule: str,
    varcorr: pd.DataFrame,
    *,
    full: bool,
) -> Summary:
    """Text of ``summary()`` (full) or ``display()``; ``varcorr`` holds the mean variance components."""
    parts = [
        *_head(stack, list(lanes), varcorr),
        _fixed_block(stack.model.fixed_names, pool, df_rule, full=full),
        _verdict(stack, lanes, dropped, full=full),
    ]
    return Summary("\n\n".join(parts))


def _head(stack: Fitted, lanes: list[int], varcorr: pd.DataFrame) -> list[str]:
    how = "REML" if stack.reml else "maximum likelihood"
    low, high = stack.criterion[lanes].min(), stack.criterion[lanes].max()
    name = "REML criterion" if stack.reml else "Deviance"
    n = span(np.array([stack.model.rows.n_rows(k) for k in lanes]))
    random = "Random effects (means over the fits):\n" + random_effects_block(varcorr)
    return [
        f"Linear mixed model fit by {how} to {len(lanes)} imputed data sets, pooled by Rubin's rules\n"
        f"Formula: {stack.model.rows.formula.text}",
        f"{name} at convergence: {low:.2f} to {high:.2f}",
        f"{random}\n{groups_line(n, _ngrps(stack, lanes))}",
    ]


def _ngrps(stack: Fitted, lanes: list[int]) -> dict[str, str]:
    rows, layout = stack.model.rows, stack.model.layout
    out = {}
    for f in dict.fromkeys(term.factor for term in layout.terms):
        codes = rows.factor_rows[layout.factor_source[f]]
        which = lanes if codes.offsets is not None else lanes[:1]
        out[layout.factors[f].label] = span(np.array([np.count_nonzero(np.bincount(codes.lane(k))) for k in which]))
    return out


def _fixed_block(terms: list[str], r: RubinPool, df_rule: str, *, full: bool) -> str:
    if not terms:
        return "No fixed effects"
    columns = {"": terms, "Estimate": significant(r.estimate), "Std. Error": significant(r.std_error)}
    if full:
        columns["df"] = ["inf" if v > INFINITE_DF else f"{v:.1f}" for v in r.df]
        columns["t"] = [f"{v:.3f}" for v in r.statistic]
        columns["p"] = [p_value(v) or "nan" for v in r.p_value]
        columns["riv"] = [f"{v:.3f}" for v in r.riv]
        columns["fmi"] = [f"{v:.3f}" for v in r.fmi]
    return "Fixed effects" + (f" ({df_rule}):\n" if full else ":\n") + block(columns)


def _verdict(stack: Fitted, lanes: Sequence[int], dropped: Sequence[int], *, full: bool) -> str:
    label = stack.model.rows.labels
    good = [k for k in lanes if stack.converged[k]]
    singular = [str(label[k]) for k in lanes if stack.singular[k]]
    lines = [f"Imputations: {len(lanes)} pooled, {len(good)} converged"]
    if dropped:
        lines.append("left out because they failed: " + shortened(label[k] for k in dropped))
    failed = [k for k in lanes if not stack.converged[k]]
    lines.extend(f"imputation {label[k]}: {STATUS_TEXT[int(stack.status[k])]}" for k in failed[:MAX_NAMED])
    if len(failed) > MAX_NAMED:
        lines.append(f"and {len(failed) - MAX_NAMED} more that did not converge")
    if singular:
        lines.append("singular fits: imputation " + shortened(singular))
        if full:
            lines.append("their degrees of freedom leave out the variance parameters on the boundary")
    elif full:
        lines.append("no singular fit")
    return "\n".join([*lines, *dropped_note(stack), *redundancy_notes(stack, lanes)])
