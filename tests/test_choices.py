"""Every argument of a public function that is a choice of texts refuses another text, and says what there is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import matplotlib as mpl
import numpy as np
import pytest

import remlax as rx
from bad_input import base, fit, fits, outcome, pooled, smaller
from remlax import core, impute, plot, pooling, sim
from remlax.errors import RemlaxError

mpl.use("Agg")

MODULES = (rx, pooling, impute, sim, plot, core)
OBJECTS: dict[str, Callable[[], Any]] = {
    "LmerFit": fit,
    "LmerFitList": fits,
    "PooledLmer": pooled,
    "EstimatedMeans": lambda: fit().emmeans("f"),
}

# what calls need besides the choice, by the names of arguments
GIVEN: dict[str, Callable[[], Any]] = {
    "L": lambda: np.eye(4)[:1],
    "columns": lambda: ["y"],
    "constraints": lambda: "x = 0",
    "contrasts": lambda: {"x": (0, 1)},
    "data": base,
    "frame": lambda: base()[["y", "g", "row"]],
    "k": lambda: 1,
    "model": pooled,
    "models": lambda: [pooled()],
    "name": lambda: "x",
    "newdata": base,
    "null": pooled,
    "p_values": lambda: [0.5],
    "prop": lambda: 0.5,
    "seed": lambda: 1,
    "source": base,
    "specs": lambda: "f",
    "subject": lambda: "g",
    "time": lambda: "row",
}
GIVEN |= dict.fromkeys(("loglik", "loglik0", "statistics", "pooled_statistics"), lambda: [1.0, 2.0])
GIVEN |= dict.fromkeys(("stacked_loglik", "stacked_loglik0"), lambda: 1.0)
ANOVA: dict[str, Callable[[], Any]] = {"model": fits, "null": smaller}
MODEL: dict[str, Callable[[], Any]] = {"formula": lambda: "y ~ x + (1 | g)", "datasets": lambda: [base(), base()]}
# a trial: every row is one visit of one patient
TRIAL: dict[str, Callable[[], Any]] = {
    "data": lambda: base().assign(
        arm=base()["g"].isin(["g00", "g01"]).map({True: "a", False: "b"}), visit=base()["row"] % 5
    ),
    "formula": lambda: "y ~ arm + us(visit | g)",
    "arm": lambda: "arm",
    "reference": lambda: "a",
}
POWER: dict[str, Callable[[], Any]] = {"model": fit, "test": lambda: "x"}
ARMS: dict[str, Callable[[], Any]] = {"arm": lambda: "arm", "reference": lambda: "a", "analysis": lambda: "y ~ arm"}
CALLS = {"anova": ANOVA, "reference": TRIAL, "power": POWER, "ReferenceBased": ARMS} | dict.fromkeys(
    ("lmer", "lmer_list", "lmer_survey", "glmer", "glmer_list"), MODEL
)
# arguments that are read with some values of another only
ALSO = {("tidy", "scales"): {"effects": "ran_pars"}, ("tidy", "uncertainty"): {"effects": "ran_vals"}}


def texts(hint: object) -> tuple[str, ...]:
    """The choices of a Literal, perhaps one of several types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(one for part in get_args(hint) if get_origin(hint) in (Union, UnionType) for one in texts(part))


def choices(function: Callable[..., Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Arguments that are a choice."""
    function = inspect.unwrap(function)
    for name, annotation in getattr(function, "__annotations__", {}).items():
        try:
            # dataclasses have the annotations of their module
            known = texts(eval(annotation, vars(inspect.getmodule(function))))
        except (NameError, TypeError):  # what only a type checker can read: no Literal
            continue
        if known and name != "return":
            yield name, known


def cases() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Owner, function, argument and its choices."""
    for module in MODULES:
        for name in (name for name in getattr(module, "__all__", dir(module)) if name[0] != "_"):
            thing = getattr(module, name)
            if inspect.isfunction(thing) or (inspect.isclass(thing) and hasattr(thing, "__dataclass_fields__")):
                yield from ((module.__name__, name, *choice) for choice in choices(thing))
    for owner, make in OBJECTS.items():
        for name, method in inspect.getmembers(type(make()), inspect.isroutine):
            if name[0] != "_":
                yield from ((owner, name, *choice) for choice in choices(method))


CASES = [(".".join((owner, name, argument)), owner, name, argument, known) for owner, name, argument, known in cases()]


@pytest.mark.parametrize(("owner", "name", "argument", "known"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_other_texts_are_refused(owner: str, name: str, argument: str, known: tuple[str, ...]) -> None:
    module = next((module for module in MODULES if module.__name__ == owner), None)
    function = getattr(OBJECTS[owner]() if module is None else module, name)
    parameters = inspect.signature(function).parameters.values()
    known_calls = GIVEN | CALLS.get(name, {})
    needed = [p.name for p in parameters if p.default is p.empty or p.name in ("columns", "newdata", "null")]
    given = {one: known_calls[one]() for one in needed if one in known_calls} | ALSO.get((name, argument), {})
    error, result = outcome(lambda: function(**given | {argument: "no such"}))
    assert isinstance(error, RemlaxError), f"{error!r}, {result!r:.200}"
    assert "'no such'" in str(error)
    if (name, argument) == ("vcov", "kind"):
        known = tuple(text for text in known if text != "kenward-roger")
    if (name, argument) == ("residual_fitted", "type"):
        # the others are for generalised models, and for repeated measures
        known = tuple(text for text in known if text not in ("deviance", "quantile", "normalized"))
    lacking = [text for text in known if not re.search(rf"\b{text}\b", str(error))]
    assert not lacking, str(error)


def test_there_are_many_choices() -> None:
    assert len(CASES) >= 70
