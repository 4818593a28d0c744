"""Congeniality of levels: were cells imputed with the clusters that the analysis has random effects of?"""

from __future__ import annotations

import pandas as pd

from ..data.imputation_model import ImputationModel
from ..errors import ImputationWarning, warn
from .formula import MixedFormula
from .syntax import variables

Group = tuple[str, ...]


def lost_levels(analysis: MixedFormula, model: ImputationModel, frame: pd.DataFrame) -> list[Group]:
    """Grouping factors of an analysis of nested groups that its imputations know nothing of.

    A factor is known if its groups are those of a level of the imputation model, whatever the column is called, or if
    it is in the fixed part. Crossed factors, which no imputation model here has, do not count.
    """
    groups = {frozenset(part.group): part.group for part in analysis.random}
    columns = {name for group in groups for name in group}
    used = {*analysis.variables}
    if (
        model.random is None
        or not columns <= set(frame.columns)
        or not used & set(model.imputed)
        or model.by in columns
    ):
        return []
    seen = [_codes(frame, own) for own in ((model.cluster,), (model.top, model.cluster), (model.top,)) if all(own)]
    fixed = {name for term in model.fixed for name in variables(term)}
    codes = {group: _codes(frame, group) for group in groups.values()}
    if not any(_within(a, b) for a in seen for b in codes.values()):
        return []
    return [
        group
        for group, own in codes.items()
        if not any(_within(own, other) and _within(other, own) for other in seen)
        and not set(group) <= fixed
        and own.max() + 1 < len(frame)
        and any(_within(own, other) or _within(other, own) for other in seen)
    ]


def _codes(frame: pd.DataFrame, group: Group) -> pd.Series:
    return frame.groupby(list(group), observed=True, dropna=False).ngroup()


def _within(inner: pd.Series, outer: pd.Series) -> bool:
    """Whether every inner group lies in one outer group."""
    return len(pd.DataFrame({"inner": inner, "outer": outer}).drop_duplicates()) == len(inner.unique())


def warn_lost_levels(analysis: MixedFormula, model: ImputationModel, frame: pd.DataFrame) -> None:
    """Warn where imputations of two levels are analysed by a model with a third."""
    lost = lost_levels(analysis, model, frame)
    if not lost:
        return
    names = " and ".join(repr(":".join(group)) for group in lost)
    imputed = ", ".join(map(repr, model.imputed))
    warn(
        f"missing cells of {imputed} were imputed with random effects of {model.groups!r}, without those of {names}, "
        "which the model has: variances between such groups are then biased, as a rule towards 0. Impute by "
        "remlax.impute.joint(..., cluster=[outer, inner]), as cluster=['school', 'class']",
        ImputationWarning,
    )
