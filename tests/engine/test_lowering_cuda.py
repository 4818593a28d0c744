"""The whole batched fit, lowered for CUDA on a machine that has none: what a GPU would be asked to run."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from jax import export

import remlax as rx
from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.engine.batch import Batch, mapped
from remlax.engine.queue import fit_queue
from remlax.fitting.assemble import assemble
from remlax.kernels.inference import solve, variance_information
from remlax.kernels.lbfgs import lbfgs
from remlax.kernels.newton import newton

FORMULAS = {
    "one factor": "y ~ x + (1 + x | g)",
    "nested": "y ~ x + (1 + x | a / g)",
    "crossed": "y ~ x + (1 | g) + (1 | c)",
}
# what XLA calls by name and CUDA has: cuSOLVER's factorisations; all else is compiled from XLA's own operations
ON_CUDA = {"cusolver_potrf_ffi", "cusolver_syevd_ffi"}
# loops and kilobytes of each lowered program, as they were when this was written, sizes rounded up: more of either
# is more to compile on every machine, and a loop is a chain of kernel launches on a GPU
LIMITS = {
    ("one factor", "newton"): (2, 104),
    ("one factor", "lbfgs"): (8, 202),
    ("one factor", "solve"): (1, 41),
    ("one factor", "information"): (2, 122),
    ("one factor", "queue"): (4, 190),
    ("nested", "newton"): (5, 506),
    ("nested", "lbfgs"): (12, 635),
    ("nested", "solve"): (1, 63),
    ("nested", "information"): (5, 531),
    ("nested", "queue"): (7, 724),
    ("crossed", "newton"): (4, 290),
    ("crossed", "lbfgs"): (11, 309),
    ("crossed", "solve"): (2, 55),
    ("crossed", "information"): (4, 252),
    ("crossed", "queue"): (6, 360),
}
CASES = [
    pytest.param(*case, marks=[pytest.mark.slow] if case[0] != "one factor" and case[1] in ("lbfgs", "queue") else [])
    for case in sorted(LIMITS)
]


@cache
def batch(kind: str) -> Batch:
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(12), 6)
    frames = [
        pd.DataFrame({"y": rng.normal(size=72), "x": rng.normal(size=72), "g": g, "a": g // 3, "c": np.arange(72) % 5})
        for _ in range(4)
    ]
    return assemble(read_rows(parse_formula(FORMULAS[kind]), ImputedData.from_frames(frames)), reml=True).batch


def programs(part: Batch) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    theta = np.zeros((part.n_sets, part.structure.theta_map.n_theta))
    steps, options = np.full(part.n_sets, 100, np.int32), (("options", rx.LBFGS()),)
    return {
        "newton": (mapped(newton), ((theta, steps), part.problem)),
        "lbfgs": (mapped(lbfgs), ((theta, steps), part.problem, options)),
        "solve": (mapped(solve), ((theta,), part.problem)),
        "information": (mapped(variance_information), ((theta,), part.problem)),
        "queue": (jax.jit(fit_queue), (part.problem,)),
    }


def lowered(kind: str, name: str, platform: str = "cuda") -> str:
    with jax.enable_x64(True):
        program, arguments = programs(batch(kind))[name]
        module = export.export(program, platforms=[platform])(*arguments).mlir_module()
    # without the names of the Python functions that it came from
    module = re.sub(r" loc\(#?[^)]*\)|^#loc.*\n", "", module, flags=re.MULTILINE)
    for name in re.findall(r"decomposition = @([\w.]+)", module):
        # how a composite could be computed; XLA for CUDA has its own kernel (cumulative sums, since JAX 0.12)
        module = re.sub(rf"  func\.func private @{re.escape(name)}\(.*?\n  }}\n", "", module, flags=re.DOTALL)
    return module


def targets(module: str) -> set[str]:
    return set(re.findall(r"custom_call @([\w.$]+)", module)) | set(re.findall(r'call_target_name = "([^"]+)"', module))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_lowers_for_cuda_without_callback(kind: str, name: str) -> None:
    module = lowered(kind, name)
    assert targets(module) <= ON_CUDA
    assert "callback" not in module
    assert "f32" not in module
    loops, kilobytes = LIMITS[kind, name]
    assert module.count("stablehlo.while") <= loops
    assert len(module) <= 1000 * kilobytes


def test_check_sees_what_a_gpu_lacks() -> None:
    factor = export.export(jax.jit(jax.numpy.linalg.cholesky), platforms=["cpu"])(np.eye(3, dtype=np.float32))
    assert not targets(factor.mlir_module()) <= ON_CUDA

    def talks(x: jax.Array) -> jax.Array:
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), np.float32), x)

    with pytest.raises(ValueError, match="different from the lowering platform"):
        jax.jit(talks).trace(np.float32(1)).lower(lowering_platforms=("cuda",))
