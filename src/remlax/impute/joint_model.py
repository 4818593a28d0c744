"""From formulas and columns to the arrays of the joint model, standardised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from ..design.congenial import as_terms, right_side
from ..design.formula import RandomEffectsTerm, parse_formula
from ..design.model_matrix import model_matrix
from ..design.syntax import parse, variables
from ..design.terms import flatten
from ..design.tree import Name, columns_in
from ..errors import ImputationError
from .clusters import check_cluster, cluster_codes, constant_within, copy_within_clusters
from .columns import ColumnCode, FloatArray, check_values, encode, level_positions, model_names, plan_columns
from .joint_outcome import OutcomeModel, read_outcome
from .kernels.draws import LatentBlocks
from .patterns import check_columns

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class TopFormulas:
    """The third level in words: column of the top clusters, random part of the rows in them, targets, right side."""

    cluster: str
    random: str
    targets: tuple[str, ...]
    fixed: str


@dataclass(frozen=True)
class Formulas:
    """The model in words: targets and right sides of both levels, and the cluster column; and of a third level."""

    targets: tuple[str, ...]
    fixed: str
    random: str
    upper_targets: tuple[str, ...]
    upper_fixed: str
    cluster: str
    top: TopFormulas | None = None

    @property
    def all_targets(self) -> tuple[str, ...]:
        """Targets of all levels."""
        return (*self.targets, *self.upper_targets, *(self.top.targets if self.top else ()))

    @property
    def clusters(self) -> list[str]:
        """Columns of the clusters, the innermost first."""
        return [self.cluster, *([] if self.top is None else [self.top.cluster])]

    @property
    def group(self) -> str:
        """The clusters as a mixed model names them."""
        return self.cluster if self.top is None else f"{self.cluster}:{self.top.cluster}"


@dataclass(frozen=True)
class Predictors:
    """Predictor columns x (n, p) = raw columns @ transform (p, p), centred and scaled where there is an intercept."""

    names: tuple[str, ...]
    x: FloatArray
    transform: FloatArray
    intercept: int | None


@dataclass(frozen=True)
class Targets:
    """Targets of one level, nominal ones first, then ordinal, then continuous.

    y (n, r) standardised, NaN where a cell is missing; category (n, V) observed levels (-1 missing) of nominal,
    then ordinal variables, whose y are latents (NaN only where missing); y = centre + scale * standardised.
    """

    codes: tuple[ColumnCode, ...]
    y: FloatArray
    category: IntArray
    centre: FloatArray
    scale: FloatArray
    cuts: tuple[FloatArray, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the r model columns."""
        return tuple(model_names(self.codes))

    @property
    def blocks(self) -> LatentBlocks:
        """Where the latents are."""
        nominal = tuple(code.width for code in self.codes if code.kind == "nominal")
        first = sum(nominal)
        levels = [len(code.levels) for code in self.codes if code.kind == "ordinal"]
        return LatentBlocks(nominal, tuple((first + k, count) for k, count in enumerate(levels)))


@dataclass(frozen=True)
class TopModel:
    """Arrays of the third level: targets and predictors of the K top clusters, random part of the rows in them.

    parent (J,) is the top cluster of each cluster, codes (n,) that of each row.
    """

    targets: Targets
    fixed: Predictors
    random: Predictors
    parent: IntArray
    codes: IntArray


@dataclass(frozen=True)
class JointModel:
    """All arrays of the model; clusters are numbered as they appear; cells of `matched` come from donors."""

    formulas: Formulas
    data: pd.DataFrame
    lower: Targets
    upper: Targets
    fixed: Predictors
    random: Predictors
    upper_fixed: Predictors
    cluster: IntArray
    first_rows: IntArray
    outcome: OutcomeModel | None = None
    top: TopModel | None = None
    matched: tuple[str, ...] = ()


def _target_names(left: str, role: str) -> tuple[str, ...]:
    tree = parse(left)
    nodes = flatten(tree)
    if not all(sign > 0 and isinstance(node, Name) for sign, node in nodes):
        raise ImputationError(
            f"{role} has {left.strip()!r} left of '~': write the columns to impute, joined by +; transforms go in "
            "log=, sqrt= or logistic="
        )
    return columns_in(tree)


def split_sides(text: str, role: str) -> tuple[tuple[str, ...], str]:
    left, tilde, right = text.partition("~")
    if not tilde or not left.strip() or not right.strip():
        raise ImputationError(f"{role}={text!r} is no formula: write targets ~ predictors, e.g. 'y + x ~ 1 + (1 | g)'")
    if role != "formula" and "|" in right:
        raise ImputationError(f"{role}={text!r} has a random term: predictors of the clusters have none")
    return _target_names(left, role), right


def _random_part(text: str, right: str, cluster: str | None) -> tuple[str, RandomEffectsTerm]:
    if "|" not in right:
        if cluster is None:
            raise ImputationError(f"formula={text!r} has no random term: add (1 | g), or name the clusters in cluster=")
        right = f"{right} + (1 | `{cluster}`)"
    parsed = parse_formula(f"target ~ {right}")
    if parsed.offsets:
        raise ImputationError(f"formula={text!r} has an offset, which the imputation model does not take")
    if len(parsed.random) != 1 or len(parsed.random[0].group) != 1:
        raise ImputationError(
            f"formula={text!r}: the joint model has one random term with one grouping column, (1 + x | g); add higher "
            "or crossed levels as predictors"
        )
    term = parsed.random[0]
    if cluster not in (None, term.group[0]):
        raise ImputationError(f"cluster={cluster!r}, but the formula groups by {term.group[0]!r}: name one of them")
    return parsed.fixed, term


def read_formulas(
    data: pd.DataFrame,
    formula: str | None,
    level1: Sequence[str],
    level2: str | Sequence[str],
    cluster: str | None,
    ignored: Sequence[str],
    terms: Mapping[str, Sequence[str]] | None = None,
) -> Formulas:
    """Work out targets and right sides; without formula and lists, every other column is a target of its own level.

    terms are those of complete columns in "fixed" and "random", instead of a formula.
    """
    sides = {name: _right_side(data, given, f"{name}=") for name, given in (terms or {}).items()}
    for name, given in (("level1=", level1), *((f"{name}=", given) for name, given in (terms or {}).items())):
        if formula is not None and given:
            what = "targets" if name == "level1=" else "predictors"
            raise ImputationError(f"formula= and {name} both name the {what}: give one of them")
    if formula is not None:
        targets, right = split_sides(formula, "formula")
        fixed, term = _random_part(formula, right, cluster)
        cluster, random = term.group[0], term.lhs
    else:
        if cluster is None:
            raise ImputationError(
                "joint() needs cluster=, the column that names the clusters, or a formula with (1 | g)"
            )
        targets = tuple(check_columns(data, level1, "level1="))
        fixed, random = sides.get("fixed", "1"), sides.get("random", "1")
    check_cluster(data, cluster)
    if isinstance(level2, str) and "~" in level2:
        upper, upper_fixed = split_sides(level2, "level2")
    else:
        upper, upper_fixed = tuple(check_columns(data, level2, "level2=")), "1"
    if not targets and not upper:
        predictors = {*variables(fixed), *variables(random)}
        names = [c for c in data.columns if c != cluster and c not in ignored and c not in predictors]
        upper = tuple(c for c in names if constant_within(data, cluster, c))
        targets = tuple(c for c in names if c not in upper)
    if not targets:
        raise ImputationError("no column varies within clusters: impute a table with one row per cluster by emb()")
    both = [name for name in targets if name in upper]
    if both or cluster in (*targets, *upper):
        raise ImputationError(f"column {(both or [cluster])[0]!r} is named twice: a column has one role in the model")
    for level, right in ((targets, f"{fixed} + {random}"), (upper, upper_fixed)):
        twice = [name for name in level if name in variables(right)]
        if twice:
            raise ImputationError(f"column {twice[0]!r} is a target and a predictor of the same level: choose one")
    return Formulas(targets, fixed, random, upper, upper_fixed, cluster)


def _right_side(data: pd.DataFrame, terms: Sequence[str], what: str) -> str:
    """Right side of terms given one by one: columns, products such as "time:arm", functions."""
    given = [terms] if isinstance(terms, str) else list(terms)
    for term in given:
        if not isinstance(term, str) or (term not in data.columns and ("|" in term or "~" in term)):
            raise ImputationError(f"{what} has {term!r}: give columns or terms of them, as ['time', 'arm', 'time:arm']")
    listed = as_terms(given, data.columns)
    for term in listed:
        check_columns(data, variables(term), what)
    return right_side(listed)


def make_predictors(rhs: str, frame: pd.DataFrame, what: str) -> Predictors:
    for name in check_columns(frame, variables(rhs), f"{what}:"):
        check_values(frame[name])
        count = int(frame[name].isna().sum())
        if count:
            raise ImputationError(
                f"predictor {name!r} of the {what} has {count} missing cells: make it a target (left of '~')"
            )
    found = model_matrix(rhs, frame, what=what)
    x = found.values
    spread = x.std(axis=0)
    ones = np.flatnonzero((spread == 0.0) & (x[0] == 1.0))
    intercept = int(ones[0]) if len(ones) else None
    transform = np.diag(1.0 / np.where(spread > 0.0, spread, 1.0))
    if intercept is not None:
        shift = -np.where(spread > 0.0, x.mean(axis=0), 0.0) * np.diag(transform)
        transform[intercept] += shift
    standard = np.ascontiguousarray(x @ transform)
    if np.linalg.matrix_rank(standard) < standard.shape[1]:
        raise ImputationError(f"the columns of the {what} ({', '.join(found.names)}) are linearly dependent: drop one")
    return Predictors(found.names, standard, transform, intercept)


def make_targets(data: pd.DataFrame, codes: Sequence[ColumnCode], centred: bool) -> Targets:
    order = {"nominal": 0, "ordinal": 1, "continuous": 2}
    codes = tuple(sorted(codes, key=lambda code: order[code.kind]))
    if not codes:
        none = np.zeros(0)
        return Targets((), np.zeros((len(data), 0)), np.zeros((len(data), 0), np.intp), none, none, ())
    y = encode(data, codes)
    categorical = [code for code in codes if code.kind != "continuous"]
    category = np.zeros((len(data), len(categorical)), np.intp)
    cuts = []
    for number, code in enumerate(categorical):
        category[:, number] = level_positions(data[code.name], code.levels)
        if code.kind == "ordinal":
            counts = np.bincount(category[:, number][category[:, number] >= 0], minlength=len(code.levels))
            cuts.append(ndtri(np.cumsum(counts)[:-1] / counts.sum()))
    centre, scale = np.zeros(y.shape[1]), np.ones(y.shape[1])
    first = sum(code.width for code in categorical)
    if first < y.shape[1]:
        centre[first:] = np.nanmean(y[:, first:], axis=0) if centred else 0.0
        scale[first:] = np.nanstd(y[:, first:], axis=0, ddof=1)
    return Targets(codes, (y - centre) / scale, category, centre, scale, tuple(cuts))


def plan_targets(data: pd.DataFrame, names: Sequence[str], roles: dict[str, Sequence[str]]) -> list[ColumnCode]:
    own = {role: [name for name in listed if name in names] for role, listed in roles.items()}
    codes = []
    for code in plan_columns(data, names, **own):
        if code.kind == "ordinal":
            # levels that nobody has get no cut point; two levels are a binary variable
            seen = tuple(level for level in code.levels if (data[code.name] == level).any())
            code = replace(code, levels=seen, kind="ordinal" if len(seen) > 2 else "nominal")
        codes.append(code)
    return codes


def build_model(
    data: pd.DataFrame, formulas: Formulas, roles: dict[str, Sequence[str]], compatible_with: str | None = None
) -> JointModel:
    """Check the columns and make the arrays."""
    listed = [(role, name) for role, names in roles.items() for name in check_columns(data, names, f"{role}=")]
    for role, name in listed:
        if name not in formulas.all_targets:
            raise ImputationError(f"{role}= names {name!r}, which is not a target of the imputation model")
    check_columns(data, formulas.all_targets, "formula:")
    cluster, names = cluster_codes(data, formulas.cluster)
    upper_columns = [*formulas.upper_targets, *variables(formulas.upper_fixed)]
    data = copy_within_clusters(data, formulas.cluster, list(dict.fromkeys(upper_columns)), "level2=")
    _, first_rows = np.unique(cluster, return_index=True)
    groups = data.iloc[first_rows]
    if len(names) < 2:
        raise ImputationError(f"column {formulas.cluster!r} names one cluster only: impute with emb()")
    fixed = make_predictors(formulas.fixed, data, "fixed part")
    upper_fixed = make_predictors(formulas.upper_fixed, groups, "cluster-level part")
    lower = make_targets(data, plan_targets(data, formulas.targets, roles), fixed.intercept is not None)
    upper = make_targets(groups, plan_targets(groups, formulas.upper_targets, roles), upper_fixed.intercept is not None)
    random = make_predictors(formulas.random, data, "random part")
    model = JointModel(formulas, data, lower, upper, fixed, random, upper_fixed, cluster, first_rows)
    if compatible_with is None:
        return model
    if lower.category.shape[1]:
        raise ImputationError("compatible_with= needs continuous targets of the rows")
    continuous = {
        code.name: (k, float(lower.centre[k]), float(lower.scale[k]))
        for k, code in enumerate(lower.codes)
        if code.transform == "none"
    }
    outcome = read_outcome(
        data, compatible_with, formulas.cluster, formulas.targets, continuous, formulas.upper_targets
    )
    if outcome.name in {*variables(formulas.fixed), *variables(formulas.random), *variables(formulas.upper_fixed)}:
        raise ImputationError(f"the outcome {outcome.name!r} must not be in the formula of the covariates: take it out")
    return replace(model, outcome=outcome)
