"""Imputed values of the joint model taken from donors: which columns, their rows as arrays, and the donors' rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array

from ...engine.programs import float64, program
from ...engine.shapes import bucket
from ...errors import ImputationError
from ..columns import FloatArray, slots
from ..joint_model import JointModel, Targets
from ..joint_run import Chains, padded_rows
from ..kernels.joint import JointState
from ..kernels.joint_chain import MATCH_STREAM
from ..kernels.matching import N_DONORS, JointValues, RowData, find_donors
from ..patterns import index_patterns

IntArray = npt.NDArray[np.intp]


def with_matching(model: JointModel, names: Sequence[str]) -> JointModel:
    """The model with columns whose imputed values come from donors, checked."""
    codes = {code.name: code for level in (model.lower, model.upper) for code in level.codes}
    for name in names:
        if name not in codes:
            raise ImputationError(f"match= names {name!r}, which is not a target of the imputation model")
        if codes[name].kind != "continuous":
            raise ImputationError(
                f"match= names {name!r}, a categorical target, whose imputed values are among its levels anyway: take "
                "it out of match="
            )
    for level, data in ((model.lower, model.data), (model.upper, model.data.iloc[model.first_rows])):
        for name in names:
            count = int(data[name].notna().sum())
            if name in slots(level.codes) and count < N_DONORS:
                raise ImputationError(
                    f"match= names {name!r}, which has {count} observed values: predictive mean matching chooses among "
                    f"{N_DONORS} donors"
                )
    return replace(model, matched=tuple(dict.fromkeys(names)))


def _columns(targets: Targets, names: Sequence[str]) -> dict[str, int]:
    """Model columns of the matched targets of a level that have missing cells."""
    found = slots(targets.codes)
    places = {name: found[name].start for name in names if name in found}
    return {name: place for name, place in places.items() if np.isnan(targets.y[:, place]).any()}


def _rows(model: JointModel, chains: Chains) -> RowData:
    """All rows, filled up to a size that data sets share with rows without an observed cell."""
    lower, upper = model.lower, model.upper
    n = len(lower.y)
    more = padded_rows(n) - n
    missing = np.isnan(lower.y)
    active = np.full(len(chains.data.y), n + more)
    active[: len(chains.rows)] = chains.rows

    def padded(values: FloatArray) -> FloatArray:
        return np.pad(values, ((0, more), (0, 0)))

    gaps = np.pad(missing, ((0, more), (0, 0)), constant_values=True)
    index = index_patterns(~gaps)
    observed = np.zeros((bucket(len(index.counts), per_octave=1), gaps.shape[1]))
    observed[: len(index.counts)] = index.observed
    arrays = (padded(np.nan_to_num(lower.y)), gaps, padded(model.fixed.x), padded(model.random.x))
    cluster = np.pad(model.cluster, (0, more)).astype(np.int32)
    above = (np.nan_to_num(upper.y), np.isnan(upper.y), model.upper_fixed.x)
    return RowData(
        *map(
            jnp.asarray,
            (*arrays, cluster, index.row_pattern.astype(np.int32), observed, active.astype(np.int32), *above),
        )
    )


def _estimates(draws: FloatArray, model: JointModel) -> JointValues:
    """Posterior means (m, ...) from the draws (m, T, P) of each chain, on the standardised scale."""
    r, p, q = len(model.lower.names), len(model.fixed.names), len(model.random.names)
    s, u = len(model.upper.names), len(model.upper_fixed.names)
    size = r * q + s
    lengths = [p * r, u * s, r * (r + 1) // 2, size * (size + 1) // 2]
    coef, coef2, residual, psi = np.split(draws.mean(axis=1), np.cumsum(lengths), axis=1)[:4]

    def full(triangles: FloatArray, d: int) -> Array:
        out, (rows, columns) = np.empty((len(triangles), d, d)), np.tril_indices(d)
        out[:, rows, columns] = triangles
        out[:, columns, rows] = triangles
        return jnp.asarray(out)

    coefs = [jnp.asarray(part.reshape(len(draws), d, w).mT) for part, d, w in ((coef, r, p), (coef2, s, u))]
    return JointValues(coefs[0], coefs[1], full(residual, r), full(psi, size))


@program("columns", "columns2")
def donors_of_chains(
    keys: Array,
    states: JointState,
    estimated: JointValues,
    data: RowData,
    done: Array,
    *,
    columns: tuple[int, ...],
    columns2: tuple[int, ...],
) -> tuple[Array, Array]:
    """Map `find_donors` over chains (m,)."""

    def one(key: Array, state: JointState, means: JointValues) -> tuple[Array, Array]:
        own = jax.random.fold_in(jax.random.fold_in(key, MATCH_STREAM), done)
        drawn = JointValues(state.coef, state.coef2, state.residual[0], state.psi)
        return find_donors(own, state.y, state.y2, state.random, drawn, means, data, columns, columns2)

    return jax.vmap(one)(keys, states, estimated)


def find_rows(model: JointModel, chains: Chains, draws: FloatArray) -> dict[str, IntArray]:
    """For the columns to be matched, the row that gives every row its value, (m, n); used in missing cells only."""
    columns, columns2 = (_columns(level, model.matched) for level in (model.lower, model.upper))
    if not columns and not columns2:
        return {}
    places = {"columns": tuple(columns.values()), "columns2": tuple(columns2.values())}
    with float64():
        done = jnp.asarray(chains.done, jnp.int32)
        arrays = (chains.keys, chains.joint, _estimates(draws, model), _rows(model, chains), done)
        rows, clusters = jax.device_get(donors_of_chains(*arrays, **places))
    n = len(model.data)
    found = {name: np.asarray(rows[:, k, :n], np.intp) for k, name in enumerate(columns)}
    above = {name: model.first_rows[clusters[:, k]][:, model.cluster] for k, name in enumerate(columns2)}
    return found | above
