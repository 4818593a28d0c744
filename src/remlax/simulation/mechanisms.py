"""What goes missing in terms of columns: settings of an amputation or a drop-out, applied to stacks of data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..checks import Checks
from ..engine.programs import program
from ..errors import DataError, SimulationError
from .ampute import AmputeSpec, ampute_arrays, ampute_clusters, cluster_features, drop_out_rows
from .settings import (
    Kind,
    MissingMechanism,
    Weights,
    check_weights,
    freq_of,
    indicator,
    odds_of,
    per_pattern,
    types_of,
)

checks = Checks(SimulationError)


@dataclass(frozen=True)
class Stack:
    """Columns of R data sets of n rows: what an amputation reads.

    Attributes
    ----------
    columns
        (R, n) numbers by name.
    codes
        (R, n) levels of grouping factors by name, from 0.
    levels
        Number of levels of each factor.
    rows
        (R, n) True for rows that exist.
    unscored
        Columns that are not numbers: they may go missing, but not decide what does.
    """

    columns: Mapping[str, jax.Array]
    codes: Mapping[str, jax.Array]
    levels: Mapping[str, int]
    rows: jax.Array
    unscored: frozenset[str] = frozenset()


class Mechanism(Protocol):
    """Anything that makes data sets incomplete: `Amputation`, `DropOut`."""

    @property
    def factors(self) -> Sequence[str]:
        """Grouping columns that it reads."""
        ...

    def masks(self, keys: jax.Array, stack: Stack) -> dict[str, jax.Array]:
        """(R, n) True where missing, for every column that can be."""
        ...


@dataclass(frozen=True)
class Amputation:
    """How to make data incomplete; `ampute` explains the fields and applies it to a frame.

    Examples
    --------
    >>> Amputation(0.4, patterns=[["x"], ["x", "w"]], mechanism="MAR").prop
    0.4
    """

    prop: float = 0.5
    patterns: Sequence[Sequence[str]] | None = None
    freq: Sequence[float] | None = None
    mechanism: MissingMechanism = "MAR"
    weights: Weights | Sequence[Weights] | None = None
    between: Weights | Sequence[Weights] | None = None
    types: Kind | Sequence[Kind] = "RIGHT"
    odds: Sequence[Sequence[float]] | None = None
    by_cases: bool = True
    columns: Sequence[str] | None = None
    cluster: str | None = None
    cluster_sd: float = 0.0
    level2: bool = False

    def __post_init__(self) -> None:
        self._check()
        if self.patterns is not None:
            found = checks.listed(self.patterns, "patterns=", "lists of columns, such as [['x'], ['x', 'w']]")
            if not found:
                raise SimulationError("patterns= is empty: give at least one list of columns, or None for one each.")
            for pattern in found:
                checks.names(pattern, "a pattern of patterns")
            types_of(self.types, len(found))
            freq_of(self.freq, len(found))
            odds_of(self.odds, len(found), self.prop)
        for what, weights in (("weights=", self.weights), ("between=", self.between)):
            if weights is not None:
                check_weights(weights, what)
        if self.columns is not None:
            checks.names(self.columns, "columns=")

    @property
    def factors(self) -> Sequence[str]:
        """Grouping columns that it reads."""
        return [self.cluster] if self.cluster else []

    def masks(self, keys: jax.Array, stack: Stack) -> dict[str, jax.Array]:
        """(R, n) True where missing, for every column of a pattern."""
        names = self._columns(stack.columns)
        matrix = jnp.stack([_known(name, stack.columns, "columns=") for name in names], axis=-1)
        spec = self.spec(names, matrix.dtype)
        used = np.abs(np.asarray(spec.weights)).max(0).reshape(-1, len(names)).max(0)
        _check_scored([name for name, weight in zip(names, used, strict=True) if weight > 0], stack)
        groups = _codes(stack, self.cluster) if self.cluster else jnp.zeros(stack.rows.shape, dtype=jnp.int32)
        mask = _ampute_batch(
            keys,
            matrix,
            groups,
            stack.rows,
            spec,
            None if self.cluster_sd == 0 else _array(self.cluster_sd, dtype=matrix.dtype),
            levels=stack.levels[self.cluster] if self.cluster else 1,
            level2=self.level2,
            split=self.between is not None,
        )
        lost = names if self.patterns is None else {name for pattern in self.patterns for name in pattern}
        return {name: mask[..., j] for j, name in enumerate(names) if name in lost}

    def spec(self, columns: Sequence[str], dtype: jnp.dtype) -> AmputeSpec:
        """The settings as arrays, for columns in this order.

        Raises
        ------
        SimulationError
            The settings contradict each other or name unknown columns.
        """
        patterns = [[name] for name in columns] if self.patterns is None else self.patterns
        amputed = np.array([indicator(pattern, columns, "patterns=") for pattern in patterns]) > 0
        freq = freq_of(self.freq, len(patterns))
        weights = self._weights(amputed, columns)
        odds, groups = odds_of(self.odds, len(patterns), self.prop)
        flat = self.mechanism == "MCAR"
        return AmputeSpec(
            prop=_array(self._share(amputed, freq, len(columns)), dtype=dtype),
            amputed=_array(amputed),
            freq=_array(freq, dtype=dtype),
            weights=_array(weights, dtype=dtype),
            types=_array(types_of(self.types, len(patterns), flat=flat)),
            odds=_array(odds, dtype=dtype),
            groups=_array(groups),
            discrete=self.odds is not None and not flat,
        )

    def _columns(self, known: Mapping[str, object]) -> list[str]:
        if self.columns is not None:
            return list(self.columns)
        return [name for name in known if name != self.cluster]

    def _check(self) -> None:
        checks.number(self.prop, "prop=", 0, 1)
        checks.choice(self.mechanism, MissingMechanism, "mechanism=")
        checks.number(self.cluster_sd, "cluster_sd=", 0)
        types_of(self.types, None)
        checks.flag(self.by_cases, "by_cases=")
        checks.flag(self.level2, "level2=")
        if self.cluster is not None:
            checks.text(self.cluster, "cluster=")
        if self.cluster is None and (self.between is not None or self.level2 or self.cluster_sd):
            raise SimulationError("between=, level2= and cluster_sd= need cluster=, the column of the clusters.")
        if self.level2 and (self.between is not None or self.cluster_sd):
            raise SimulationError(
                "With level2=True clusters are scored by their means: leave out between= and cluster_sd=."
            )
        if self.mechanism == "MCAR" and (self.weights is not None or self.between is not None):
            raise SimulationError("MCAR depends on nothing: leave out weights= and between=, or choose MAR or MNAR.")

    def _share(self, amputed: NDArray[np.bool_], freq: NDArray[np.float64], width: int) -> float:
        """Share of incomplete units; if ``prop`` is one of cells, the one that gives it."""
        if self.by_cases:
            return self.prop
        most = float(freq @ amputed.sum(1)) / width
        if self.prop > most:
            raise SimulationError(
                f"prop={self.prop} of the cells cannot be reached: with every unit incomplete these patterns "
                f"leave out {most:.3g} of them. Use larger patterns or a smaller prop."
            )
        return self.prop / most

    def _weights(self, amputed: NDArray[np.bool_], columns: Sequence[str]) -> NDArray[np.float64]:
        """(P, p) weights, or (P, 2 p) of deviations from the cluster's mean and of that mean."""
        given = per_pattern(self.weights, columns, len(amputed), "weights=")
        between = per_pattern(self.between, columns, len(amputed), "between=")
        if self.mechanism == "MCAR":
            return np.zeros(amputed.shape)
        if given is None and between is None:
            given = (~amputed if self.mechanism == "MAR" else amputed).astype(np.float64)
        parts = [np.zeros(amputed.shape) if given is None else given] + ([] if between is None else [between])
        used = np.abs(np.stack(parts)).max(0)
        if (used.max(1) == 0).any():
            raise SimulationError(
                f"Under {self.mechanism} every pattern needs a column with a weight other than 0; a pattern in which "
                "all columns are missing has none by default."
            )
        if self.mechanism == "MAR" and (used[amputed] > 0).any():
            names = sorted({columns[j] for _, j in np.argwhere(amputed & (used > 0))})
            raise SimulationError(
                f"Column {', '.join(map(repr, names))} is missing in a pattern whose score it weighs in: that is "
                "missing not at random; say so by mechanism='MNAR', or give it weight 0 there."
            )
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class DropOut:
    """How subjects leave a longitudinal study; `drop_out` explains the fields and applies it to a frame.

    Examples
    --------
    >>> DropOut(0.3, ["y"], subject="id", time="time").mechanism
    'MAR'
    """

    prop: float
    columns: Sequence[str]
    subject: str
    time: str
    mechanism: MissingMechanism = "MAR"
    weights: Weights | None = None
    types: Kind = "RIGHT"

    def __post_init__(self) -> None:
        checks.number(self.prop, "prop=", 0, 1)
        checks.choice(self.mechanism, MissingMechanism, "mechanism=")
        checks.text(self.subject, "subject=")
        checks.text(self.time, "time=")
        lost = checks.names(self.columns, "columns=")
        if self.subject in lost or self.time in lost:
            raise SimulationError(
                f"columns={lost} are lost after leaving: {self.subject!r} and {self.time!r} are always seen."
            )
        types_of(self.types, 1)
        if self.weights is not None:
            if self.mechanism == "MCAR":
                raise SimulationError("MCAR depends on nothing: leave out weights=, or choose MAR or MNAR.")
            checks.mapping(self.weights, "weights=", "{'y': 1.0}")
            check_weights(self.weights, "weights=")
            if not any(self.weights.values()):
                raise SimulationError(f"weights= needs a column with a weight other than 0, got {self.weights!r}.")

    @property
    def factors(self) -> Sequence[str]:
        """Grouping columns that it reads."""
        return [self.subject]

    def masks(self, keys: jax.Array, stack: Stack) -> dict[str, jax.Array]:
        """(R, n) True where missing, for every column that is lost."""
        flat = self.mechanism == "MCAR"
        for name in (self.time, *self.columns):
            _known(name, stack.columns, "columns= or time=")
        scored = list(self.weights or self.columns)
        _check_scored([self.time, *([] if flat else scored)], stack)
        matrix = jnp.stack([_known(name, stack.columns, "weights=") for name in scored], axis=-1)
        numbers = {
            "prop": _array(self.prop, dtype=matrix.dtype),
            "weights": _array([(self.weights or {}).get(name, 1.0) for name in scored], dtype=matrix.dtype),
            "kind": _array(types_of(self.types, 1, flat=flat)[0]),
        }
        lost = _drop_out_batch(
            keys,
            (matrix, _codes(stack, self.subject), stack.columns[self.time], stack.rows),
            numbers,
            subjects=stack.levels[self.subject],
            lagged=self.mechanism != "MNAR",
        )
        return dict.fromkeys(self.columns, lost)


def mask_of(mechanisms: Sequence[Mechanism], keys: jax.Array, stack: Stack) -> dict[str, jax.Array]:
    """What is missing by any of several mechanisms, each with keys of its own: (R, n) by column."""
    union: dict[str, jax.Array] = {}
    for number, mechanism in enumerate(mechanisms):
        own = keys if number == 0 else jax.vmap(lambda key, i=number: jax.random.fold_in(key, i))(keys)
        for name, mask in mechanism.masks(own, stack).items():
            union[name] = union[name] | mask if name in union else mask
    return union


@program("levels", "level2", "split")
def _ampute_batch(
    keys: jax.Array,
    data: jax.Array,
    groups: jax.Array,
    rows: jax.Array,
    spec: AmputeSpec,
    cluster_sd: jax.Array | None,
    *,
    levels: int,
    level2: bool,
    split: bool,
) -> jax.Array:
    def one(key: jax.Array, x: jax.Array, cluster: jax.Array, real: jax.Array) -> jax.Array:
        if level2:
            return ampute_clusters(key, x, cluster, levels, spec, rows=real)[1]
        for_rows, for_effects = jax.random.split(key)
        features = cluster_features(x, cluster, levels, real) if split else x
        effects = None
        if cluster_sd is not None:
            effects = cluster_sd * jax.random.normal(for_effects, (levels,), dtype=x.dtype)[cluster]
        return ampute_arrays(for_rows, x, spec, features=features, rows=real, offset=effects)[1]

    return jax.vmap(one)(keys, data, groups, rows)


@program("subjects", "lagged")
def _drop_out_batch(
    keys: jax.Array, arrays: tuple[jax.Array, ...], numbers: dict[str, jax.Array], *, subjects: int, lagged: bool
) -> jax.Array:
    """`drop_out_rows` of R data sets: arrays (R, n, ...) in its order, and numbers that they share."""

    def one(key: jax.Array, own: tuple[jax.Array, ...]) -> jax.Array:
        return drop_out_rows(key, *own, **numbers, subjects=subjects, lagged=lagged)

    return jax.vmap(one)(keys, arrays)


def _array(value: Any, dtype: Any = None) -> Any:
    """An array for compiled code: NumPy's, since JAX compiles a program to make one of its own."""
    return np.asarray(value, dtype=dtype)


def _known(name: str, known: Mapping[str, jax.Array], where: str) -> jax.Array:
    if name not in known:
        raise SimulationError(f"{where} names {name!r}; the data have {', '.join(map(repr, known))}.")
    return known[name]


def _codes(stack: Stack, name: str) -> jax.Array:
    return _known(name, stack.codes, "cluster= or subject=")


def _check_scored(names: Sequence[str], stack: Stack) -> None:
    text = [name for name in names if name in stack.unscored]
    if text:
        raise DataError(
            f"Column {', '.join(map(repr, text))} is not numeric and cannot be part of a score: code it as "
            "numbers, or name the columns of the score in weights=."
        )
