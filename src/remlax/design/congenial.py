"""Congeniality: does an imputation model have the products, powers, random slopes and levels of the analysis model?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..data.imputation_model import ImputationModel
from ..data.imputed import ImputedData
from ..errors import ImputationWarning, RemlaxError, warn
from .formula import MixedFormula, parse_formula
from .model_matrix import model_matrix
from .syntax import parse, variables
from .terms import expand
from .tree import Call, Expression, Name, Node, columns_in

FloatArray = npt.NDArray[np.float64]

IN_SPAN = 1e-6  # what is left of a column that others determine, relative to its length
MOST_ROWS = 5000
# transforms of one column, which a model of the column itself comes close to
SMOOTH = frozenset(
    prefix + name for prefix in ("", "np.") for name in ("log", "log2", "log10", "log1p", "sqrt", "exp", "expm1")
)


class Lacking(NamedTuple):
    """Terms and random slopes of an analysis model that the imputation model lacks; ``of_imputed``: of imputed columns.

    terms: as the formula has them; slopes: likewise, of the clusters of the imputation model.
    """

    terms: tuple[str, ...]
    slopes: tuple[str, ...]
    of_imputed: bool

    def __bool__(self) -> bool:
        return bool(self.terms or self.slopes)

    @property
    def involved(self) -> tuple[str, ...]:
        """Columns that the terms and slopes are made of, as formulas have them."""
        names = (name for term in (*self.terms, *self.slopes) for name in variables(term))
        return quoted(dict.fromkeys(names))

    def words(self, cluster: str) -> str:
        """Name the terms and slopes in a sentence."""
        words = [f"the {'product' if ':' in term else 'term'} {term!r}" for term in self.terms]
        words += [f"the random slope of {slope!r} in {cluster!r}" for slope in self.slopes]
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def quoted(names: Iterable[str]) -> tuple[str, ...]:
    """Names of columns as a formula has them."""
    return tuple(Name(name).text for name in names)


def as_terms(given: Iterable[str], columns: Collection[str]) -> tuple[str, ...]:
    """Columns, whatever their names, and terms of columns, as formulas have them."""
    return tuple(Name(text).text if text in columns else text for text in given)


def terms_of(rhs: str) -> tuple[str, ...]:
    """Terms of a right side, without the intercept."""
    written = expand(parse(rhs), rhs)
    return tuple(written.text(term) for term in written.terms)


def right_side(terms: Iterable[str]) -> str:
    """Right side of a formula with an intercept and these terms."""
    return " + ".join(("1", *terms))


def lacking(analysis: MixedFormula, model: ImputationModel, frame: pd.DataFrame) -> Lacking:
    """Find products, powers and random slopes of an analysis that its imputations know nothing of.

    A term counts as known if the columns of the imputation model determine its columns. Only terms count that an
    imputed column has to do with: as the response, or as a part of the term.

    Parameters
    ----------
    analysis
        The analysis model.
    model
        The imputation model.
    frame
        Complete rows with the columns of both.
    """
    response = [name for name in columns_in(analysis.response_tree) if name in model.imputed]
    within = _indicators(frame, model.by)
    targets = [f"factor({name})" if name in model.categories else name for name in quoted(model.targets)]
    fixed: list[Expression] = [right_side([*targets, *model.fixed])]
    random: list[Expression] = [right_side(model.random or ())]
    if model.outcome:
        outcome = parse_formula(model.outcome)
        if outcome.response == analysis.response:
            fixed.append(outcome.fixed_tree)
            random += [term.lhs_tree for term in outcome.random]
    terms = _unknown(analysis.fixed_tree, frame, _basis(fixed, frame, within))
    wanted = [term for term in terms if _counts(term, model.imputed, bool(response))]
    sides = {frozenset((model.cluster,)): random}
    if model.top:
        sides |= {
            frozenset((model.cluster, model.top)): random,
            frozenset((model.top,)): [right_side(model.top_random)],
        }
    slopes: list[str] = []
    for part in analysis.random if model.random is not None else ():
        own = sides.get(frozenset(part.group))
        if own:
            slopes += _unknown(part.lhs_tree, frame, _basis(own, frame, within), single=True)
    slopes = [slope for slope in slopes if response or set(variables(slope)) & set(model.imputed)]
    involved = {name for term in (*wanted, *slopes) for name in variables(term)}
    return Lacking(tuple(wanted), tuple(dict.fromkeys(slopes)), bool(involved & set(model.imputed)))


def _counts(term: str, imputed: Collection[str], response: bool) -> bool:
    own = set(variables(term)) & set(imputed)
    node = parse(term)
    if own and isinstance(node, Call) and node.func in SMOOTH:
        return False
    return response or bool(own)


def _unknown(rhs: Node, frame: pd.DataFrame, basis: FloatArray, *, single: bool = False) -> list[str]:
    """Terms of a right side that are products or functions (with ``single``: any) and not in the span of the basis."""
    matrix = model_matrix(rhs, frame)
    x = matrix.values - matrix.values.mean(axis=0)
    far = np.linalg.norm(x - basis @ (basis.T @ x), axis=0) > IN_SPAN * np.linalg.norm(x, axis=0)
    written = expand(rhs)
    columns = list(matrix.spec.term_columns.values())
    return [
        written.text(term)
        for term, own in zip(written.terms, columns, strict=True)
        if (single or len(term) > 1 or not isinstance(written.factors[term[0]], Name)) and far[list(own)].any()
    ]


def _basis(sides: Sequence[Expression], frame: pd.DataFrame, within: FloatArray) -> FloatArray:
    """Orthonormal basis of the right sides, in each group of rows by themselves; within (n, G): a column per group."""
    whole = np.concatenate([model_matrix(side, frame).values for side in sides], axis=1)
    # years and their squares differ enough only when they are centred
    whole = whole - whole.mean(axis=0)
    size = np.linalg.norm(whole, axis=0)
    whole = np.column_stack([np.ones(len(frame)), whole[:, size > 0] / size[size > 0]])
    u, size, _ = np.linalg.svd((whole[:, :, None] * within[:, None, :]).reshape(len(frame), -1), full_matrices=False)
    return u[:, size > IN_SPAN * size[0]]


def _indicators(frame: pd.DataFrame, by: str) -> FloatArray:
    if not by:
        return np.ones((len(frame), 1))
    codes, levels = pd.factorize(frame[by])
    indicators: FloatArray = np.asarray(codes[:, None] == np.arange(len(levels)), dtype=np.float64)
    return indicators


def warn_uncongenial(analysis: MixedFormula, data: ImputedData) -> None:
    """Warn where imputations are analysed by a model with terms that theirs lacks.

    Data that do not say how they were imputed, or no longer have the columns, are not looked at.
    """
    model = data.imputed_by
    if model is None:
        return
    frame = data.frames[0]
    if len(frame) > MOST_ROWS:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, MOST_ROWS).astype(int)]
    warn_lost_levels(analysis, model, frame)
    try:
        lacks = lacking(analysis, model, frame)
    except RemlaxError:
        return
    if lacks:
        imputed = ", ".join(map(repr, model.imputed))
        warn(
            f"missing cells of {imputed} were imputed without {lacks.words(model.groups)}, which the model has: "
            f"estimates of such terms are then biased, as a rule towards 0. {_advice(analysis, model, lacks)}",
            ImputationWarning,
        )


def _advice(analysis: MixedFormula, model: ImputationModel, lacks: Lacking) -> str:
    """What gives the imputation model what it lacks."""
    if set(lacks.involved) & set(quoted(model.categories)) & set(quoted(model.imputed)):
        return "For such terms of incomplete categories impute by mdmb, Blimp or jomo.lmer"
    if lacks.of_imputed:
        return f"Impute by remlax.impute.joint(..., compatible_with={analysis.text!r})"
    targets = [name for name in quoted(model.targets) if name not in lacks.involved]
    slopes = list(dict.fromkeys([*(model.random or ()), *lacks.slopes]))
    cluster = "/".join(Name(name).text for name in (model.groups or analysis.random[0].group[0]).split("/"))
    right = [*dict.fromkeys([*model.fixed, *lacks.involved, *lacks.terms]), f"({right_side(slopes)} | {cluster})"]
    return f"Impute by remlax.impute.joint(data, {' + '.join(targets) + ' ~ ' + ' + '.join(right)!r})"


def lost_levels(analysis: MixedFormula, model: ImputationModel, frame: pd.DataFrame) -> list[tuple[str, ...]]:
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
    seen = [
        _group_codes(frame, own) for own in ((model.cluster,), (model.top, model.cluster), (model.top,)) if all(own)
    ]
    fixed = {name for term in model.fixed for name in variables(term)}
    codes = {group: _group_codes(frame, group) for group in groups.values()}
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


def _group_codes(frame: pd.DataFrame, group: tuple[str, ...]) -> pd.Series:
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
