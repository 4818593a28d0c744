"""What a simulation study is: scenarios, how data come about, methods and what they estimate."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pandas as pd

from ..errors import SimulationError
from .batch import BatchMethod, Scenario
from .design import MultilevelDesign
from .fingerprint import scenario_id
from .keys import Stream, generator, integer_seed, key
from .mechanisms import Mechanism
from .rows import COLUMNS, Rows

RESERVED = (*COLUMNS, "scenario", "summary", "measure", "mcse", "n_used")


@dataclass(frozen=True)
class FrameGenerator:
    """Data made by a function of yours: (scenario, NumPy generator) -> complete DataFrame.

    Examples
    --------
    >>> def make(scenario, rng):
    ...     return pd.DataFrame({"x": rng.normal(size=scenario["n"])})
    >>> len(FrameGenerator(make).function({"n": 5}, np.random.default_rng(1)))
    5
    """

    function: Callable[[Scenario, np.random.Generator], pd.DataFrame]


@dataclass(frozen=True)
class FrameAmputer:
    """Cells taken out by a function of yours: (complete frame, scenario, NumPy generator) -> incomplete DataFrame.

    Examples
    --------
    >>> def take_out(frame, scenario, rng):
    ...     return frame.mask(rng.uniform(size=frame.shape) < scenario["prop"])
    >>> amputer = FrameAmputer(take_out)
    """

    function: Callable[[pd.DataFrame, Scenario, np.random.Generator], pd.DataFrame]


@dataclass(frozen=True)
class Context:
    """What a method may want to know beside its data.

    Attributes
    ----------
    scenario
        Its parameters.
    replication
        Number of the replication.
    complete
        The data before anything went missing.
    model
        The study's formula, if it has one.
    key
        Random key of this method in this replication.
    """

    scenario: Scenario
    replication: int
    complete: pd.DataFrame
    model: str | None
    key: jax.Array = field(repr=False)

    @property
    def seed(self) -> int:
        """A seed for other generators, below 2**32 (as scikit-learn wants it)."""
        return integer_seed(self.key) % 2**32

    def rng(self) -> np.random.Generator:
        """A NumPy generator; every call gives the same one anew."""
        return generator(self.key)


FrameMethod = Callable[[pd.DataFrame, Context], Rows]
DesignFunction = Callable[[Scenario], MultilevelDesign]
MechanismFunction = Callable[[Scenario], Mechanism | Sequence[Mechanism]]
Truth = float | Callable[[Scenario], float]


@dataclass(frozen=True)
class StudySpec:
    """The parts of a `remlax.simulation.study.Study`, which explains them."""

    scenarios: Mapping[str, Sequence[Any]] | pd.DataFrame
    generate: DesignFunction | FrameGenerator
    methods: Mapping[str, FrameMethod | BatchMethod]
    estimands: Mapping[str, Truth]
    replications: int
    seed: int
    ampute: MechanismFunction | FrameAmputer | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if not self.methods or not self.estimands:
            raise SimulationError("A study needs at least one method and one estimand.")
        if self.replications < 1:
            raise SimulationError(f"A study needs at least one replication, got {self.replications}.")
        key(self.seed, "0" * 16, 0, Stream.DATA)  # checks the seed
        if isinstance(self.ampute, FrameAmputer) or isinstance(self.generate, FrameGenerator):
            batched = [name for name, method in self.methods.items() if isinstance(method, BatchMethod)]
            if batched:
                raise SimulationError(
                    f"Method {', '.join(map(repr, batched))} analyses arrays, but the data are made as frames: "
                    "generate from a MultilevelDesign and ampute with Amputation or DropOut."
                )
        self.table()

    def table(self) -> dict[str, dict[str, Any]]:
        """Parameters of every scenario by its name, in order.

        Raises
        ------
        SimulationError
            Two scenarios are equal, or a parameter has the name of a column of the results.
        """
        if isinstance(self.scenarios, pd.DataFrame):
            names = [str(name) for name in self.scenarios]
            rows = [tuple(row) for row in self.scenarios.itertuples(index=False)]
        else:
            names = list(self.scenarios)
            rows = list(itertools.product(*self.scenarios.values()))
        clash = [name for name in names if name in RESERVED]
        if clash:
            raise SimulationError(f"Rename the parameter {', '.join(map(repr, clash))}: results have such a column.")
        table = {}
        for row in rows:
            values = {
                name: value.item() if isinstance(value, np.generic) else value
                for name, value in zip(names, row, strict=True)
            }
            if scenario_id(values) in table:
                raise SimulationError(f"Scenario {values} is there twice.")
            table[scenario_id(values)] = values
        if not table:
            raise SimulationError("A study needs at least one scenario; scenarios={} makes one without parameters.")
        return table

    def truth(self, scenario: Scenario) -> dict[str, float]:
        """True value of every estimand in a scenario."""
        return {term: float(value(scenario) if callable(value) else value) for term, value in self.estimands.items()}

    def mechanisms(self, scenario: Scenario) -> list[Mechanism]:
        """What makes a scenario's data incomplete; empty if nothing, or a function of the user's, does."""
        if self.ampute is None or isinstance(self.ampute, FrameAmputer):
            return []
        found = self.ampute(scenario)
        return list(found) if isinstance(found, Sequence) else [found]

    def fingerprint(self) -> dict[str, object]:
        """What decides the rows of a replication, other than its scenario and number, by parts."""
        return {
            "seed": self.seed,
            "generate": self.generate,
            "ampute": self.ampute,
            "model": self.model,
            "estimands": dict(self.estimands),
            **{f"method {name}": method for name, method in self.methods.items()},
        }
