"""Deviances of many data sets at parameters that are not their own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import numpy as np
from jax import Array

from .batch import Stack, _over_lanes, run_chunks
from .inference import Bordered, bordered_derivatives
from .structure import Index, Structure, Values


@partial(jax.jit, static_argnames=("structure",))
def _bordered_lanes(theta: Array, index: Index, values: Values, structure: Structure) -> Bordered:
    def one(t: Array, i: Index, v: Values) -> Bordered:
        return bordered_derivatives(t, structure, i, v)

    return _over_lanes(one)(theta, index, values)  # type: ignore[no-any-return]


def bordered_stack(stack: Stack, theta: np.ndarray) -> Bordered:
    """log|V|, M and their derivatives of every lane at its theta (m, d); one program serves REML and ML."""

    def program(t: np.ndarray, part: Stack) -> Bordered:
        return _bordered_lanes(t, part.index, part.values, replace(part.structure, reml=True))  # type: ignore[no-any-return]

    return run_chunks(stack, theta, program)  # type: ignore[no-any-return]
