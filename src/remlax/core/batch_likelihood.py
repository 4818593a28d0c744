"""Deviances of many data sets at parameters that are not their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jax import Array
from jax.sharding import Mesh

from .batch import Stack, run_chunks
from .inference import Bordered, bordered_derivatives
from .placement import over_lanes
from .programs import program
from .structure import Index, Structure, Values


@program("structure", "mesh")
def _bordered_lanes(
    theta: Array, index: Index, values: Values, structure: Structure, mesh: Mesh | None = None
) -> Bordered:
    def one(t: Array, i: Index, v: Values) -> Bordered:
        return bordered_derivatives(t, structure, i, v)

    return over_lanes(one, mesh)(theta, index, values)


def bordered_stack(stack: Stack, theta: np.ndarray) -> Bordered:
    """log|V|, M and their derivatives of every lane at its theta (m, d); one program serves REML and ML."""

    def program(t: np.ndarray, part: Stack) -> Bordered:
        return _bordered_lanes(t, part.index, part.values, replace(part.structure, reml=True), mesh=part.mesh)

    return run_chunks(stack, theta, program)
