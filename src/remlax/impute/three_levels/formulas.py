"""A model of three levels in words: which clusters lie in which, and which target belongs where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ...design.formula import RandomEffectsTerm, parse_formula
from ...design.syntax import variables
from ...design.tree import Name
from ...errors import ImputationError, ImputationWarning, RemlaxError, warn
from ..clusters import check_cluster, cluster_codes, cluster_labels, constant_in, constant_within
from ..joint_model import Formulas, TopFormulas, read_formulas, split_sides
from ..patterns import check_columns

Pair = tuple[str, str]


def clusters_of(cluster: object, formula: str | None) -> str | Pair | None:
    """Clusters as `joint` was told: one column, the outer and the inner one, or None, where a formula has to say."""
    if cluster is None:
        return None if formula is None else _nested_in(formula)
    if isinstance(cluster, str):
        return cluster
    names = list(cluster) if isinstance(cluster, Sequence) else []
    if not 1 <= len(names) <= 2 or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ImputationError(
            f"cluster={cluster!r}: give one column, or two with the outermost first, as cluster=['school', 'class']; "
            "more levels enter as predictors"
        )
    return names[0] if len(names) == 1 else (names[0], names[1])


def _nested_in(formula: str) -> Pair | None:
    """Clusters of a formula with (1 | school/class), or with both terms written out."""
    try:
        groups = [term.group for term in parse_formula(f"target ~{formula.partition('~')[2]}").random]
    except RemlaxError:
        return None
    outer = [group[0] for group in groups if len(group) == 1]
    inner = [group for group in groups if len(group) == 2]
    if len(outer) != 1 or len(inner) != 1 or outer[0] not in inner[0]:
        return None
    return outer[0], next(name for name in inner[0] if name != outer[0])


def nest(data: pd.DataFrame, outer: str, inner: str) -> pd.DataFrame:
    """Give the inner clusters labels of their own where labels repeat between outer clusters."""
    return data.assign(**{inner: cluster_labels(data, (outer, inner))})


def check_nested(data: pd.DataFrame, outer: str, inner: str) -> None:
    """Refuse clusters that do not lie in clusters, or in too few.

    Labels of the inner clusters may repeat between outer ones, as numbers within schools do. Where few of them
    repeat, these are rather clusters that lie in two outer ones.
    """
    for name in (outer, inner):
        check_cluster(data, name)
    pairs = data[[outer, inner]].drop_duplicates()
    n_outer, n_inner = pairs[outer].nunique(), pairs[inner].nunique()
    if n_outer < 2:
        raise ImputationError(f"column {outer!r} has one value only: there is no third level; write cluster={inner!r}")
    if n_outer == len(pairs):
        why = (
            f"write cluster=[{inner!r}, {outer!r}], the outermost first"
            if n_inner < n_outer
            else f"the two cannot be told apart; write cluster={outer!r}"
        )
        raise ImputationError(f"no {outer!r} has more than one {inner!r}: {why}")
    repeats = pairs[inner].duplicated(keep=False)
    if repeats.any() and repeats.mean() < 0.5:
        label = pairs.loc[repeats, inner].tolist()[0]
        where = " and ".join(map(repr, pairs.loc[pairs[inner] == label, outer].tolist()[:2]))
        raise ImputationError(
            f"{inner!r} is not nested in {outer!r}: {inner} {label!r} is in {outer} {where}; "
            f"{int(pairs.loc[repeats, inner].nunique())} of {n_inner} lie in several: correct the rows, or give "
            "different clusters different labels"
        )
    if repeats.all() and n_outer < n_inner:
        warn(
            f"every {inner!r} is in several {outer!r}, of which there are fewer: its labels are taken to repeat "
            f"between them. If {outer!r} lies within {inner!r}, write cluster=[{inner!r}, {outer!r}]",
            ImputationWarning,
        )


def _terms(formula: str, right: str, clusters: Pair) -> tuple[str, str, str]:
    """Fixed part, random part of the inner and of the outer clusters."""
    outer, inner = clusters
    if "|" not in right:
        return right, "1", "1"
    parsed = parse_formula(f"target ~ {right}")
    if parsed.offsets:
        raise ImputationError(f"formula={formula!r} has an offset, which the imputation model does not take")
    found: dict[str, RandomEffectsTerm] = {}
    for term in parsed.random:
        names = set(term.group)
        level = outer if names == {outer} else inner if names in ({inner}, {inner, outer}) else None
        if level is None or level in found:
            raise ImputationError(
                f"formula={formula!r}: the model has one random term of {outer!r} and one of {inner!r}, as "
                f"(1 + x | {outer}/{inner}); it has ({term.lhs} | {':'.join(term.group)}) as well"
            )
        found[level] = term
    if len(found) < 2:
        raise ImputationError(
            f"formula={formula!r} has a random term of {next(iter(found))!r} only: write (1 | {outer}/{inner}), or "
            "leave it out"
        )
    return parsed.fixed, found[inner].lhs, found[outer].lhs


def read_nested(
    data: pd.DataFrame,
    formula: str | None,
    levels: tuple[Sequence[str], str | Sequence[str], str | Sequence[str]],
    clusters: Pair,
    ignored: Sequence[str],
    terms: Mapping[str, Sequence[str]],
) -> Formulas:
    """Work out targets and right sides of three levels; see `read_formulas`.

    Raises ImputationError: clusters are not nested, a column has two roles, or a target never varies at its level.
    """
    outer, inner = clusters
    check_nested(data, outer, inner)
    own = nest(data, outer, inner)
    level1, level2, level3 = levels
    if isinstance(level3, str) and "~" in level3:
        targets, fixed = split_sides(level3, "level3")
    else:
        targets, fixed = tuple(check_columns(data, level3, "level3=")), "1"
    top = TopFormulas(outer, "1", targets, fixed)
    if formula is not None:
        left, tilde, right = formula.partition("~")
        if tilde:
            rest, random, top_random = _terms(formula, right, clusters)
            formula = f"{left}~ {rest} + ({random} | {Name(inner).text})"
            top = replace(top, random=top_random)
    elif not level1 and not level2 and not level3:
        predictors = {name for side in terms.values() for term in side for name in _columns(term, data)}
        rest_names = [c for c in data.columns if c not in (outer, inner, *ignored) and c not in predictors]
        top = replace(top, targets=tuple(c for c in rest_names if constant_within(own, outer, c)))
    found = read_formulas(own, formula, level1, level2, inner, [*ignored, outer, *top.targets], terms)
    if formula is None:
        top = replace(top, random=found.random)
    whole = replace(found, top=top)
    _check_roles(own, whole, top)
    return whole


def _columns(term: str, data: pd.DataFrame) -> Sequence[str]:
    return (term,) if term in data.columns else variables(term)


def _check_roles(data: pd.DataFrame, formulas: Formulas, top: TopFormulas) -> None:
    """Refuse columns with two roles, and targets that never vary at their level."""
    names = formulas.all_targets
    twice = [name for name in top.targets if name in (*formulas.targets, *formulas.upper_targets)]
    twice += [name for name in names if name in (top.cluster, formulas.cluster)]
    if twice:
        raise ImputationError(f"column {twice[0]!r} is named twice: a column has one role in the model")
    both = [name for name in top.targets if name in variables(top.fixed)]
    both += [name for name in formulas.targets if name in variables(top.random)]
    if both:
        raise ImputationError(f"column {both[0]!r} is a target and a predictor of the same level: choose one")
    upper_codes = cluster_codes(data, formulas.cluster)[0]
    top_codes = cluster_codes(data, top.cluster)[0]
    for targets, level in ((formulas.targets, "level1="), (formulas.upper_targets, "level2=")):
        for name in targets:
            if _constant(top_codes, data[name]):
                raise ImputationError(f"{name!r} never varies within {top.cluster!r}: name it in level3=, not {level}")
            if level == "level1=" and _constant(upper_codes, data[name]):
                raise ImputationError(f"{name!r} never varies within {formulas.cluster!r}: name it in level2=")


def _constant(codes: Any, column: pd.Series) -> bool:
    """Whether a column has one value in each cluster, of which some have several observed cells."""
    seen = codes[column.notna().to_numpy()]
    return len(np.unique(seen)) < len(seen) and constant_in(codes, column)
