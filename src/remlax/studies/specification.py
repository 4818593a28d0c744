"""What a simulation study is: scenarios, how data come about, methods and what they estimate."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pandas as pd

from ..batched.batch import BatchMethod, Scenario
from ..checks import Checks
from ..errors import RemlaxError, SimulationError
from ..simulation.design import MultilevelDesign
from ..simulation.fingerprint import scenario_id
from ..simulation.keys import Stream, generator, integer_seed, key
from ..simulation.mechanisms import Mechanism
from ..simulation.rows import COLUMNS, Rows
from .manifest import StudyPlan

checks = Checks(SimulationError)

RESERVED = (*COLUMNS, "scenario", "summary", "measure", "mcse", "n_used", "n_planned")


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

    def __post_init__(self) -> None:
        _check_function(self.function, "FrameGenerator", "(scenario, rng)")


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

    def __post_init__(self) -> None:
        _check_function(self.function, "FrameAmputer", "(frame, scenario, rng)")


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
    """The parts of a `remlax.studies.study.Study`, which explains them."""

    scenarios: Mapping[str, Sequence[Any]] | pd.DataFrame
    generate: DesignFunction | FrameGenerator
    methods: Mapping[str, FrameMethod | BatchMethod]
    estimands: Mapping[str, Truth]
    replications: int
    seed: int
    ampute: MechanismFunction | FrameAmputer | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        self._check_parts()
        key(self.seed, "0" * 16, 0, Stream.DATA)  # checks the seed
        if isinstance(self.ampute, FrameAmputer) or isinstance(self.generate, FrameGenerator):
            batched = [name for name, method in self.methods.items() if isinstance(method, BatchMethod)]
            if batched:
                raise SimulationError(
                    f"Method {', '.join(map(repr, batched))} analyses arrays, but the data are made as frames: "
                    "generate from a MultilevelDesign and ampute with Amputation or DropOut."
                )
        self.table()

    def _check_parts(self) -> None:
        methods = checks.mapping(self.methods, "methods=", "{'emb': EMB(m=20)}")
        estimands = checks.mapping(self.estimands, "estimands=", "{'x': 0.5}")
        if not methods or not estimands:
            raise SimulationError("A study needs at least one method and one estimand.")
        for name, method in methods.items():
            if isinstance(method, type):
                raise SimulationError(f"Method {name!r} is a class: make an object of it, as {method.__name__}().")
            if not isinstance(method, BatchMethod) and not callable(method):
                raise SimulationError(
                    f"Method {name!r} must be a function of a data frame and a Context, or a batched method such as "
                    f"EMB(), got {method!r}."
                )
        for name, value in estimands.items():
            if not callable(value):
                checks.number(value, f"the true value of {name!r}, unless a function of the scenario,")
        checks.whole(self.replications, "replications=")
        if not callable(self.generate) and not isinstance(self.generate, FrameGenerator):
            raise SimulationError(
                f"generate= must be a function from a scenario to a MultilevelDesign, or a FrameGenerator around a "
                f"function of yours, got {self.generate!r}; for one design: lambda scenario: design."
            )
        if self.ampute is not None and not callable(self.ampute) and not isinstance(self.ampute, FrameAmputer):
            raise SimulationError(
                f"ampute= must be a function from a scenario to an Amputation or a DropOut, or a FrameAmputer around "
                f"a function of yours, got {self.ampute!r}; for one amputation: lambda scenario: amputation."
            )
        if self.model is not None:
            checks.text(self.model, "model=")

    def table(self) -> dict[str, dict[str, Any]]:
        """Parameters of every scenario by its name, in order.

        Raises
        ------
        SimulationError
            Two scenarios are equal, or a parameter has the name of a column of the results.
        """
        if isinstance(self.scenarios, pd.DataFrame):
            names = [str(name) for name in self.scenarios]
            if len(set(names)) < len(names):
                raise SimulationError(f"scenarios= has a column twice: {', '.join(map(repr, names))}.")
            rows = [tuple(row) for row in self.scenarios.itertuples(index=False)]
        else:
            given = checks.mapping(self.scenarios, "scenarios=, unless a frame,", "{'J': [30, 150]}")
            names = list(given)
            lists = [checks.listed(given[name], f"scenarios= of {name!r}", "values, as [30, 150]") for name in given]
            rows = list(itertools.product(*lists)) if given else []
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
            raise SimulationError(
                "A study needs at least one scenario; where nothing varies, give one parameter one value, such as "
                "scenarios={'J': [30]}."
            )
        return table

    def truth(self, scenario: Scenario) -> dict[str, float]:
        """True value of every estimand in a scenario."""
        return {
            term: checks.number(
                _called(value, f"the true value of {term!r}", scenario) if callable(value) else value,
                f"the true value of {term!r} in scenario {dict(scenario)}",
            )
            for term, value in self.estimands.items()
        }

    def design(self, scenario: Scenario) -> MultilevelDesign:
        """What a scenario's data are drawn from."""
        if isinstance(self.generate, FrameGenerator):
            raise SimulationError("The data are made by a function: there are no arrays.")
        found = _called(self.generate, "generate=", scenario)
        if not isinstance(found, MultilevelDesign):
            raise SimulationError(
                f"generate= gave {found!r} for scenario {dict(scenario)}: return a MultilevelDesign, or wrap a "
                "function that makes data frames as FrameGenerator(function)."
            )
        return found

    def mechanisms(self, scenario: Scenario) -> list[Mechanism]:
        """What makes a scenario's data incomplete; empty if nothing, or a function of the user's, does."""
        if self.ampute is None or isinstance(self.ampute, FrameAmputer):
            return []
        found = _called(self.ampute, "ampute=", scenario)
        several = list(found) if isinstance(found, Sequence) else [found]
        for one in several:
            if isinstance(one, type) or not hasattr(one, "masks"):
                raise SimulationError(
                    f"ampute= gave {one!r} for scenario {dict(scenario)}: return an Amputation, a DropOut, or a list "
                    "of such; or wrap a function on data frames as FrameAmputer(function)."
                )
        return several

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

    def plan(self) -> StudyPlan:
        """What a results folder is for."""
        return StudyPlan(self.fingerprint(), self.table(), self.replications)


def _check_function(function: object, what: str, arguments: str) -> None:
    if not callable(function):
        raise SimulationError(f"{what} needs a function of {arguments}, got {function!r}.")


def _called(function: Callable[[Scenario], Any], what: str, scenario: Scenario) -> Any:
    """What a user's function gives for a scenario."""
    try:
        return function(scenario)
    except RemlaxError:
        raise
    except Exception as error:
        raise SimulationError(
            f"{what} failed for scenario {dict(scenario)}: {type(error).__name__}: {error}; it is called with the "
            "parameters of one scenario as a dict."
        ) from error
