"""One evaluator for columns of NumPy and of JAX."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from remlax.batched.array_columns import check_expression, evaluate_expression
from remlax.design.evaluate import Evaluator, evaluate
from remlax.design.functions import ARITHMETIC, COMPARISON, FUNCTIONS
from remlax.design.syntax import parse
from remlax.engine.programs import float64
from remlax.errors import SimulationError

ROWS = {
    "x": np.array([0.1, 0.25, 0.5, 0.75, 0.9]),
    "z": np.array([2.0, 0.5, 3.0, 1.25, 0.75]),
    "b": np.array([1.0, 0.0, 1.0, 1.0, 0.0]),
}
ARGUMENTS = {"ifelse": "b, x, z", "pmin": "x, z", "pmax": "x, z"}
CALLS = [f"{name}({ARGUMENTS.get(name, 'x')})" for name, function in FUNCTIONS.items() if function.elementwise]
OPERATIONS = [f"x {op} z" for op in (*ARITHMETIC, *COMPARISON)] + ["b & x", "b | x"]
OTHERS = [
    "-x + z - 3",
    "log(x, 2)",
    "log(z, base=10)",
    "round(x, 1)",
    "x^2",
    "2^x",
    "x / (10/4)",
    "(x > 0.3) * z",
    "!b",
]


@pytest.mark.parametrize("text", [*CALLS, *OPERATIONS, *OTHERS, "sin(2*pi*x)", "ifelse(x > 0.3, 1, 0)", "I(x == z)"])
def test_arrays_of_numpy_and_of_jax_have_the_same_values(text):
    node = parse(text, arithmetic=True)
    frame = evaluate(node, pd.DataFrame(ROWS))
    with float64():
        columns = {name: jnp.asarray(values) for name, values in ROWS.items()}
        arrays = np.asarray(Evaluator(columns).value(node))
    assert arrays.dtype in (np.float64, np.bool_)
    np.testing.assert_allclose(arrays, frame, rtol=1e-14)
    np.testing.assert_array_equal(evaluate(text, pd.DataFrame(ROWS)), frame)


@pytest.mark.parametrize(
    "text", [*CALLS, *OTHERS[:7], *(f"x {op} z" for op in ARITHMETIC), "x * (2 > 1)", "(x > 0.3) * z"]
)
def test_constants_leave_arrays_their_precision(text):
    with float64():
        columns = {name: jnp.asarray(values, jnp.float32) for name, values in ROWS.items()}
        assert evaluate_expression(parse(text, arithmetic=True), columns).dtype == jnp.float32


@pytest.mark.parametrize("text", [*CALLS, *OTHERS[:7], *(f"x {op} z" for op in ARITHMETIC)])
def test_models_of_arrays_may_use_elementwise_functions(text):
    check_expression(parse(text, arithmetic=True))


@pytest.mark.parametrize(
    "text",
    [
        "scale(x)",
        "poly(x, 2)",
        "factor(x)",
        "relevel(x, 1)",
        "offset(x)",
        "bs(x, df=4)",
        "x > 1",
        "!x",
        "exp(x == 'a')",
        "x & z",
    ],
)
def test_models_of_arrays_may_not_learn_from_the_data_or_compare(text):
    with pytest.raises(SimulationError, match="cannot be evaluated for all replications at once"):
        check_expression(parse(text, arithmetic=True))
