"""Programs of the joint model's chains: of two levels, with a mixed model of an outcome, of three levels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from ...engine.programs import program
from .compatible import CompatibleState, Monomials, OutcomeArrays, compatible_sweep, outcome_parameters, start_outcome
from .joint import JointState, SweepNoise, sweep
from .joint_chain import OUTCOME_STREAM, TOP_STREAM, parameters, run_chain, start_chain
from .joint_data import JointData, JointPriors, JointSpec
from .nested import NestedState, TopData, nested_sweep, start_nested, top_parameters

State = JointState | CompatibleState | NestedState
More = OutcomeArrays | TopData | None  # what there is beside rows and clusters


@program("spec")
def start_chains(
    keys: Array,
    data: JointData,
    more: More,
    cuts: tuple[Array, ...],
    cuts2: tuple[Array, ...],
    cuts3: tuple[Array, ...],
    *,
    spec: JointSpec,
) -> State:
    """Start one chain per key (m,)."""

    def one(key: Array) -> State:
        joint = start_chain(key, data, spec, cuts, cuts2)
        if isinstance(more, OutcomeArrays):
            return start_outcome(jax.random.fold_in(key, OUTCOME_STREAM), joint, more)
        if isinstance(more, TopData):
            return start_nested(jax.random.fold_in(key, TOP_STREAM), joint, more, spec, cuts3)
        return joint

    return jax.vmap(one)(keys)


@program("spec", "terms", "room")
def run_chains(
    keys: Array,
    states: State,
    data: JointData,
    more: More,
    priors: JointPriors,
    first: Array,
    count: Array,
    burn: Array,
    *,
    spec: JointSpec,
    terms: Monomials,
    room: int,
) -> tuple[State, Array]:
    """Map `run_chain` over chains (m,) of one data set: states, and all parameters (m, room, P)."""

    def move(key: Array, noise: SweepNoise, state: State, gain: Array) -> State:
        if isinstance(state, CompatibleState) and isinstance(more, OutcomeArrays):
            return compatible_sweep(key, noise, state, data, more, spec, terms, priors, gain)
        if isinstance(state, NestedState) and isinstance(more, TopData):
            return nested_sweep(key, noise, state, data, more, spec, priors, gain)
        assert isinstance(state, JointState)
        return sweep(key, noise, state, data, spec, priors, gain)

    def row(state: State) -> Array:
        if isinstance(state, CompatibleState):
            return jnp.concatenate([parameters(state.joint, spec), outcome_parameters(state)])
        if isinstance(state, NestedState):
            return jnp.concatenate([parameters(state.joint, spec), top_parameters(state)])
        return parameters(state, spec)

    def one(key: Array, state: State) -> tuple[State, Array]:
        return run_chain(key, state, data, first, count, burn, room, move, row)

    return jax.vmap(one)(keys, states)
