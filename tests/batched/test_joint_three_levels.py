"""Joint with clusters in clusters: its kernel against `impute.joint`, variances after it, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax import impute
from remlax.batched.batch import BatchData
from remlax.batched.methods import CompleteData, Joint
from remlax.errors import SimulationError
from remlax.impute.kernels import all_patterns
from remlax.impute.kernels.nested_impute import joint_impute_nested
from remlax.studies.replicate import batch_data
from remlax.studies.store import Block

sim = rx.sim
MODEL = "y ~ x + (1 | school) + (1 | class)"
NESTED = ["school", "class"]


def schools(scenario: Mapping[str, Any]) -> Any:
    return sim.MultilevelDesign(
        [sim.Factor("school", scenario["n"]), sim.Factor("class", 4, within="school")],
        5,
        {"1": 0.0, "x": 0.5},
        [sim.RandomTerm("school", {"1": 0.6}), sim.RandomTerm("class", {"1": 0.5})],
        0.9,
        [sim.Covariate("x")],
    )


def batch(n: int, replications: int) -> BatchData:
    made = sim.Study(
        scenarios={"n": [n]},
        generate=schools,
        ampute=lambda scenario: sim.Amputation(0.4, [["y"]], weights={"x": 1.0}),
        methods={"any": CompleteData()},
        model=MODEL,
        estimands={"x": 0.5},
        replications=replications,
        seed=6,
    )
    ((name, scenario),) = made.table().items()
    return batch_data(made, Block(name, 0, 0, replications), scenario, "any")


@pytest.mark.slow
def test_the_kernel_has_the_posterior_of_joint() -> None:
    rng = np.random.default_rng(2)
    klass = np.repeat(np.arange(60), 4)
    school, n = klass // 3, len(klass)
    y = 0.6 * rng.normal(size=(20, 2))[school] + 0.5 * rng.normal(size=(60, 2))[klass] + rng.normal(size=(n, 2))
    y[:, 1] += 0.5 * y[:, 0]
    missing = rng.random((n, 2)) < 0.25
    # on the scale of the observed cells, the units are those of the kernel
    for k in range(2):
        seen = y[~missing[:, k], k]
        y[:, k] = (y[:, k] - seen.mean()) / seen.std(ddof=1)
    frame = pd.DataFrame(np.where(missing, np.nan, y), columns=["y", "x"]).assign(school=school, klass=klass)
    table = impute.joint(frame, cluster=["school", "klass"], m=8, burn=500, iter=3000, seed=1).parameters
    with jax.enable_x64(True):
        ones, parent = jnp.ones((n, 1)), jnp.arange(60) // 3
        run = jax.jit(lambda key: joint_impute_nested(
            key, jnp.asarray(y), jnp.asarray(missing), ones, ones, jnp.asarray(klass), parent,
            all_patterns(2, [0, 1]), 20, 800, 100,
        ))  # fmt: skip
        completed, draws = (np.asarray(part) for part in run(jax.random.key(3)))
    assert (completed[:, ~missing] == y[~missing]).all()
    error = np.hypot(table["sd"] / np.sqrt(table["ess"]), draws.std(axis=0) / np.sqrt(len(draws)))
    assert (np.abs(draws.mean(axis=0) - table["mean"]) / error).max() < 4.5
    np.testing.assert_allclose(draws.std(axis=0), table["sd"], rtol=0.15)


@pytest.mark.slow
def test_variances_of_schools_and_classes_are_kept() -> None:
    data = batch(40, 40)
    variances: dict[str, np.ndarray] = {}
    methods = {
        "complete": CompleteData(),
        "three levels": Joint(m=5, sweeps=80, cluster=NESTED),
        "classes": Joint(m=5, sweeps=80, cluster="class"),
    }
    with jax.enable_x64(True):
        for name, method in methods.items():
            found = method.analyse_batch(data)
            terms = list(found.terms)
            places = [next(k for k, term in enumerate(terms) if group in term) for group in NESTED]
            variances[name] = found.estimate[:, places] ** 2

    def z(name: str) -> np.ndarray:
        gap = variances[name] - variances["complete"]
        return gap.mean(axis=0) / (gap.std(axis=0, ddof=1) / np.sqrt(len(gap)))

    assert np.abs(z("three levels")).max() < 4.0, z("three levels")
    # two levels give classes what they take from schools
    assert z("classes")[0] < -6.0
    assert z("classes")[1] > 6.0


def test_the_study_knows_all_levels() -> None:
    model = Joint(cluster=NESTED, random=["x"]).imputation_model(schools({"n": 3}), ["y", "x"], ["y"])
    assert model is not None
    assert (model.groups, model.top_random) == ("school/class", ("x",))
    assert Joint(cluster=NESTED).imputation_model(schools({"n": 3}), ["y", "x"], []) is None


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (["class", "school"], r"cluster=\['class', 'school'\]: 'school' is not within 'class' in the design"),
        (["school", "room"], "cluster= names 'room'; the design has 'school', 'class'"),
    ],
)
def test_clusters_that_the_design_lacks_are_refused(cluster: list[str], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        Joint(cluster=cluster).analyse_batch(batch(3, 2))


def test_three_clusters_are_refused() -> None:
    with pytest.raises(SimulationError, match="give one grouping factor, or two, the outermost first"):
        Joint(cluster=["a", "b", "c"])
