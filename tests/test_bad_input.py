"""Bad input is refused with a sentence (tests/bad_input.py); odd but good input gives the right numbers."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from bad_input import CASES as OWN
from bad_input import Case, base, changed, fit, outcome
from bad_input_public import PUBLIC
from bad_input_simulation import SIMULATION
from remlax import core, impute, plot, pooling, sim
from remlax.errors import RemlaxError, RemlaxWarning
from test_choices import CASES as CHOICES

CASES = [*OWN, *PUBLIC, *SIMULATION]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_bad_input_is_named(case: Case) -> None:
    _, call, kind, pattern = case
    error, result = outcome(call)
    assert error is not None, f"returned {result!r:.200}"
    assert type(error) is kind, f"{type(error).__name__}: {error}"
    assert re.search(pattern, str(error)), str(error)


def test_the_catalogue_is_whole() -> None:
    ids = [case[0] for case in CASES]
    assert len(ids) >= 150
    assert len(set(ids)) == len(ids)
    # only what the language itself raises for a sequence is no error of remlax
    foreign = {case[0] for case in CASES if not issubclass(case[2], RemlaxError)}
    assert foreign == {"list: position out of range"}


# what can be given nothing wrong: no argument, truth values only, the frame or text that a case of another name covers,
# or a type that the language and jax check
NOTHING_TO_REFUSE = {
    "arrays",
    "confint",
    "continue_",
    "convergence",
    "cross_products",
    "display",
    "fit_batch",
    "fitted",
    "fixef",
    "generate",
    "glance",
    "icc",
    "main",
    "profiled_deviance",
    "ranef",
    "reml_criterion",
    "report",
    "rmse",
    "show_versions",
    "summary",
    "value_and_grad",
    "value_grad_hess",
    "varcorr",
    "varies",
}


def test_every_public_function_has_a_case() -> None:
    folder = Path(__file__).parent
    text = "".join(path.read_text() for path in folder.glob("bad_input*.py"))
    names = set()
    for module in (rx, pooling, impute, sim, plot, core):
        public = [getattr(module, name) for name in getattr(module, "__all__", dir(module)) if name[0] != "_"]
        names |= {f.__name__ for f in public if inspect.isfunction(f)}
    for kind in (rx.ImputedData, rx.LmerFit, rx.LmerFitList, rx.PooledLmer):
        methods = inspect.getmembers(kind, callable)
        names |= {name for name, _ in methods if name[0] != "_" and name not in ("count", "index", "iter")}
    names -= {case[2] for case in CHOICES}
    lacking = {name for name in names if not re.search(rf"\"{name}\"|\b{name}\(", text)}
    assert lacking <= NOTHING_TO_REFUSE


# -- odd input that must work ------------------------------------------------------------------------------------


def refit(formula: str, data: pd.DataFrame, **options: Any) -> rx.LmerFit:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RemlaxWarning)
        return rx.lmer(formula, data, **options)


@pytest.mark.parametrize(
    "name",
    ["my var", "x:y", "größe", "x.1", "if", "1x", "x+y", "(x)", "a|b", "x~y", "pi", "変数", "_", "x\ty"],
)
def test_odd_column_names_give_the_same_fit(name: str) -> None:
    odd = refit(f"y ~ `{name}` + f + (1 | g)", base().drop(columns="my var").rename(columns={"x": name}))
    np.testing.assert_array_equal(odd.fixef().to_numpy(), fit().fixef().to_numpy())


@pytest.mark.parametrize("name", ["my group", "g:h", "größe", "変数"])
def test_odd_group_names_give_the_same_fit(name: str) -> None:
    odd = refit(f"y ~ x + f + (1 | `{name}`)", base().rename(columns={"g": name}))
    np.testing.assert_array_equal(odd.fixef().to_numpy(), fit().fixef().to_numpy())
    assert list(odd.ranef()) == [name]


TYPES: dict[str, Callable[[], dict[str, Any]]] = {
    "Float64": lambda: {"x": base()["x"].astype("Float64"), "y": base()["y"].astype("Float64")},
    "arrow": lambda: {"x": base()["x"].astype("double[pyarrow]"), "g": base()["g"].astype("string[pyarrow]")},
    "string": lambda: {"f": base()["f"].astype("string"), "g": base()["g"].astype("string")},
    "objects": lambda: {"f": base()["f"].astype(object), "g": base()["g"].astype(object)},
    "category": lambda: {"f": base()["f"].astype("category"), "g": base()["g"].astype("category")},
    "unused categories": lambda: {"f": pd.Categorical(base()["f"], ["a", "b", "c", "unused"])},
    "group of time zones": lambda: {"g": pd.to_datetime(base()["g"].str[1:].astype(int), unit="D", utc=True)},
    "group of truth values and numbers": lambda: {"g": base()["g"].str[1:].astype("Int64")},
    "group of fractions": lambda: {"g": base()["g"].str[1:].astype(int) / 3},
    "Fortran order": lambda: {"y": np.asfortranarray(base()[["y"]].to_numpy())[:, 0]},
}


@pytest.mark.parametrize("name", TYPES)
def test_column_types_give_the_same_fit(name: str) -> None:
    odd = refit("y ~ x + f + (1 | g)", changed(**TYPES[name]()))
    np.testing.assert_array_equal(odd.fixef().to_numpy(), fit().fixef().to_numpy())


@pytest.mark.parametrize("scale", [1e-90, 1e-8, 1e8, 1e90])
def test_huge_and_tiny_scales_move_the_numbers_and_nothing_else(scale: float) -> None:
    odd = refit("y ~ x + f + (1 | g)", changed(y=base()["y"] * scale, x=base()["x"] * 1e8))
    want = fit().fixef() * scale
    want["x"] /= 1e8
    np.testing.assert_allclose(odd.fixef(), want, rtol=1e-9)
    np.testing.assert_allclose(odd.theta, fit().theta, rtol=1e-6)
    np.testing.assert_allclose(odd.sigma, fit().sigma * scale, rtol=1e-9)


def test_row_labels_may_repeat() -> None:
    odd = refit("y ~ x + f + (1 | g)", base().set_axis([7] * 60))
    np.testing.assert_array_equal(odd.fitted().to_numpy(), fit().fitted().to_numpy())


def test_many_levels_in_small_integer_types_do_not_overflow() -> None:
    # 300 x 300 levels in int8-sized codes: their interaction needs more than 16 bits
    rng = np.random.default_rng(0)
    a, b = np.repeat(np.arange(200), 6), np.tile(np.arange(6), 200)
    data = pd.DataFrame({"y": rng.normal(size=1200) + rng.normal(size=200)[a], "x": rng.normal(size=1200)})
    data["a"], data["b"] = pd.Categorical(a), pd.Series(b, dtype="int8")
    data = pd.concat([data, data.assign(y=data["y"] + rng.normal(size=1200))], ignore_index=True)
    one = refit("y ~ x + (1 | a:b)", data)
    two = refit("y ~ x + (1 | ab)", data.assign(ab=data["a"].astype(str) + ":" + data["b"].astype(str)))
    np.testing.assert_allclose(one.criterion(), two.criterion(), rtol=1e-12)


def test_polars_frames_are_refused_with_the_way_out() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"y": [1.0, 2.0], "g": ["a", "b"]})
    with pytest.raises(rx.errors.DataError, match=r"polars.*convert it with \.to_pandas\(\) first"):
        rx.lmer("y ~ 1 + (1 | g)", frame)
