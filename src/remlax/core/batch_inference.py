"""Small-sample inference about the coefficients of many data sets at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jax import Array
from jax.sharding import Mesh

from .batch import Stack, run_chunks
from .kenward_roger import KenwardRogerParts, kenward_roger_parts
from .optimize import Optimum
from .placement import over_lanes
from .profile import Held, minimise_held
from .programs import program
from .structure import Index, Structure, Values


@program("structure", "mesh")
def _kenward_roger_lanes(
    theta: Array, index: Index, values: Values, structure: Structure, mesh: Mesh | None = None
) -> KenwardRogerParts:
    def one(t: Array, i: Index, v: Values) -> KenwardRogerParts:
        return kenward_roger_parts(t, structure, i, v)

    return over_lanes(one, mesh)(theta, index, values)


def kenward_roger_stack(stack: Stack, theta: np.ndarray) -> KenwardRogerParts:
    """Pieces of Kenward and Roger's adjustment of every lane at its theta (m, d); arrays on the host."""

    def program(t: np.ndarray, part: Stack) -> KenwardRogerParts:
        return _kenward_roger_lanes(t, part.index, part.values, part.structure, mesh=part.mesh)

    return run_chunks(stack, theta, program)


@program("structure", "mesh")
def _held_lanes(
    held: Held, index: Index, values: Values, max_iter: Array, structure: Structure, mesh: Mesh | None = None
) -> Optimum:
    def one(h: Held, i: Index, v: Values) -> Optimum:
        return minimise_held(h, structure, i, v, max_iter)

    return over_lanes(one, mesh)(held, index, values)


def minimise_held_stack(stack: Stack, held: Held, which: np.ndarray, max_iter: int = 100) -> Optimum:
    """Minimise the ML deviance of lane ``which[i]`` with what problem i holds, for all problems; arrays on the host."""

    def program(h: Held, part: Stack) -> Optimum:
        structure = replace(part.structure, reml=False)
        return _held_lanes(h, part.index, part.values, np.int32(max_iter), structure, mesh=part.mesh)

    return run_chunks(stack, held, program, which, some=True)
