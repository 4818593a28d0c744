"""Programs of the joint model's chains, with and without a mixed model of an outcome."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from ...engine.programs import program
from .compatible import CompatibleState, Monomials, OutcomeArrays, compatible_sweep, outcome_parameters, start_outcome
from .joint import JointState, SweepNoise, sweep
from .joint_chain import OUTCOME_STREAM, parameters, run_chain, start_chain
from .joint_data import JointData, JointPriors, JointSpec

State = JointState | CompatibleState


@program("spec")
def start_chains(
    keys: Array,
    data: JointData,
    outcome: OutcomeArrays | None,
    cuts: tuple[Array, ...],
    cuts2: tuple[Array, ...],
    *,
    spec: JointSpec,
) -> State:
    """Start one chain per key (m,)."""

    def one(key: Array) -> State:
        joint = start_chain(key, data, spec, cuts, cuts2)
        return joint if outcome is None else start_outcome(jax.random.fold_in(key, OUTCOME_STREAM), joint, outcome)

    return jax.vmap(one)(keys)


@program("spec", "terms", "room")
def run_chains(
    keys: Array,
    states: State,
    data: JointData,
    outcome: OutcomeArrays | None,
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
        if isinstance(state, JointState):
            return sweep(key, noise, state, data, spec, priors, gain)
        assert outcome is not None  # its state has one
        return compatible_sweep(key, noise, state, data, outcome, spec, terms, priors, gain)

    def row(state: State) -> Array:
        if isinstance(state, CompatibleState):
            return jnp.concatenate([parameters(state.joint, spec), outcome_parameters(state)])
        return parameters(state, spec)

    def one(key: Array, state: State) -> tuple[State, Array]:
        return run_chain(key, state, data, first, count, burn, room, move, row)

    return jax.vmap(one)(keys, states)
