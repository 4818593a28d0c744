"""Functions and operators of formulas, with R's meaning, and the kinds of value they pass around.

What works element by element is written once for arrays of NumPy and of JAX: see `namespace`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..errors import shortened
from .tokens import OWN_CONTRASTS

# columns of one call: a dense basis of more takes memory and hours, and means no curve
MAX_COLUMNS = 1_000
# decimals of a double: more of them would scale the numbers out of range
MAX_DIGITS = 15
CONTRASTS = ("contr.treatment", "contr.sum", "contr.helmert", "contr.poly")

Array: TypeAlias = NDArray[Any]
State: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class ContrastMatrix:
    """Contrasts of the caller's own: names of the columns, and a row for each level in the order of the levels."""

    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Categorical:
    """A categorical value: `codes` (n,) point into `levels`; `contrast` is one of `CONTRASTS`, or a matrix."""

    codes: NDArray[np.intp]
    levels: tuple[Any, ...]
    contrast: str | ContrastMatrix = "contr.treatment"
    logical: bool = False


@dataclass(frozen=True)
class NamedColumns:
    """Several numeric columns (n,) made by one call, by the name each gets in brackets."""

    parts: Mapping[str, Array]


# what an expression can be worth: numbers or truth values (n,), categories, columns, or a literal
Value: TypeAlias = "Array | jax.Array | Categorical | NamedColumns | float | bool | str | tuple[Any, ...]"


class CallError(Exception):
    """A function cannot do what is asked; the evaluator adds the term and makes it a FormulaError."""


@dataclass(frozen=True)
class RFunction:
    """An allowed function.

    A stateful one takes first a dict that it fills once and then obeys; an elementwise one takes arrays of JAX as well.
    """

    call: Callable[..., Value]
    stateful: bool = False
    elementwise: bool = False

    def check(self, args: Sequence[object], named: Mapping[str, object]) -> None:
        """Raise TypeError unless the function takes these arguments."""
        inspect.signature(self.call).bind(*([None] if self.stateful else []), *args, **named)


def namespace(*values: object) -> Any:
    """NumPy, or ``jax.numpy`` where one of the values is an array of JAX."""
    return jnp if any(isinstance(value, jax.Array) for value in values) else np


def numeric(value: Value) -> Any:
    """`value` as numbers, truth values as 0 and 1; categories and text are refused.

    Columns of NumPy become float64 and those of JAX keep their precision, which constants, as Python numbers, leave.
    """
    if isinstance(value, np.ndarray):
        return value if value.dtype == np.float64 else value.astype(np.float64)
    if isinstance(value, jax.Array):
        return jnp.where(value, 1.0, 0.0) if value.dtype == jnp.bool_ else value
    if isinstance(value, bool | int | float | np.bool_):
        return float(value)
    if isinstance(value, Categorical):
        raise CallError("numbers are needed and a categorical variable is given")
    if isinstance(value, NamedColumns):
        raise CallError(f"one column is needed and {len(value.parts)} are given")
    raise CallError(f"numbers are needed and {value!r} is given")


def vector(value: Value) -> Array:
    """`value` as a float64 column (n,)."""
    column = numeric(value)
    if not isinstance(column, np.ndarray):
        raise CallError("a column is needed and a constant is given")
    return column


def _whole(value: Value, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value < least:
        raise CallError(f"{name} must be a whole number of at least {least}")
    return int(value)


def _number(value: Value, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CallError(f"{name} must be a number")
    return float(value)


def _flag(value: Value, name: str) -> bool:
    if not isinstance(value, bool):
        raise CallError(f"{name} must be TRUE or FALSE")
    return value


def binary(op: str, left: Value, right: Value) -> Value:
    """Apply an arithmetic, comparing or logical operator; categories are compared by their names."""
    if op in COMPARISON and (isinstance(left, Categorical | str) or isinstance(right, Categorical | str)):
        if op not in ("==", "!="):
            raise CallError(f"categories can be compared with == and !=, not with {op}")
        return _apply(COMPARISON[op], _names(left), _names(right))
    return _apply(_OPERATORS[op], numeric(left), numeric(right))


def _names(value: Value) -> Any:
    if isinstance(value, Categorical):
        return np.array([level_name(level) for level in value.levels], dtype=object)[value.codes]
    if isinstance(value, str | bool | int | float):
        return level_name(value)
    raise CallError("categories can be compared with categories and with literals only")


def negation(value: Value) -> Value:
    """Logical 'not' of numbers."""
    return _apply("logical_not", numeric(value))


def _apply(name: str, *values: Any) -> Value:
    """Call a function that NumPy and JAX both have."""
    result: Value = getattr(namespace(*values), name)(*values)
    return result


def _elementwise(name: str) -> Callable[[Value], Value]:
    return lambda x: _apply(name, numeric(x))


def _log(x: Value, base: Value | None = None) -> Value:
    result = _apply("log", numeric(x))
    return result if base is None else binary("/", result, _apply("log", numeric(base)))


def _round(x: Value, digits: Value = 0.0) -> Value:
    places = _whole(digits, "digits", 0)
    if places > MAX_DIGITS:
        raise CallError(f"digits must be at most {MAX_DIGITS}, which is all that a number holds")
    return _apply("round", numeric(x), places)


def _ifelse(test: Value, yes: Value, no: Value) -> Value:
    condition = numeric(test)
    if isinstance(condition, float):
        raise CallError("a column is needed and a constant is given")
    return _apply("where", condition != 0, numeric(yes), numeric(no))


def _pmin(x: Value, y: Value) -> Value:
    return _apply("minimum", numeric(x), numeric(y))


def _pmax(x: Value, y: Value) -> Value:
    return _apply("maximum", numeric(x), numeric(y))


def _identity(x: Value) -> Value:
    return x


def _as_numeric(x: Value) -> Value:
    result: Value = numeric(x)
    return result


def _combine(*values: Value) -> Value:
    if not values or any(isinstance(value, np.ndarray | Categorical | NamedColumns | tuple) for value in values):
        raise CallError("c() makes a list of literals, e.g. c(1, 2.5)")
    return tuple(values)


def _offset(x: Value, /) -> Value:
    raise CallError("offset() can only be added to the fixed part as a whole")


def _factor(x: Value) -> Value:
    """R's factor(): levels in sorted order; an ordered or unordered factor stays what it is."""
    if isinstance(x, Categorical):
        return x
    column = x if isinstance(x, np.ndarray) and x.dtype == np.bool_ else vector(x)
    levels, codes = np.unique(column, return_inverse=True)
    return Categorical(codes.reshape(-1), tuple(levels.tolist()))


def _contrasts(x: Value, contr: Value | None = None) -> Value:
    factor = _factor(x)
    assert isinstance(factor, Categorical)
    if contr is None:
        return factor
    if not isinstance(contr, str) or contr not in CONTRASTS:
        raise CallError(f"the contrasts are {', '.join(CONTRASTS)}; {OWN_CONTRASTS}")
    return replace(factor, contrast=contr)


def _relevel(state: State, x: Value, ref: Value) -> Value:
    factor = _factor(x)
    assert isinstance(factor, Categorical)
    if state.setdefault("done", False):
        return factor  # the levels are fixed by now; new data are matched to them by value
    names = [level_name(level) for level in factor.levels]
    wanted = level_name(ref)
    if wanted not in names:
        raise CallError(f"{wanted!r} is not a category (there are {shortened(map(repr, names))})")
    state["done"] = True
    first = names.index(wanted)
    order = [first, *(k for k in range(len(names)) if k != first)]
    return replace(factor, codes=np.argsort(order)[factor.codes], levels=tuple(factor.levels[k] for k in order))


def transform(name: str) -> Callable[..., Any]:
    """Stateful transform of formulaic, which is imported when it is asked for: models without one start sooner."""
    found: Callable[..., Any] = getattr(import_module("formulaic.transforms"), name)
    return found


def _poly(state: State, x: Value, degree: Value = 1.0, raw: Value = False) -> Value:
    column, d = vector(x), _whole(degree, "degree", 1)
    if not state:
        _check_columns(d)
    if _flag(raw, "raw"):
        return NamedColumns({str(k): column**k for k in range(1, d + 1)})
    if "alpha" not in state and not _more_values_than(column, d):
        raise CallError(f"degree {d} needs more than {d} different values")
    basis = np.asarray(transform("poly")(column, d, _state=state))
    return NamedColumns({str(k + 1): basis[:, k] for k in range(d)})


def _check_columns(count: int) -> None:
    if count > MAX_COLUMNS:
        raise CallError(f"it would make {count:.6g} columns, more than {MAX_COLUMNS}: ask for fewer")


def _more_values_than(column: Array, count: int) -> bool:
    # the first rows settle it for all but strange columns
    return np.unique(column[: 100 + 10 * count]).size > count or np.unique(column).size > count


def _scale(state: State, x: Value, center: Value = True, scale: Value = True) -> Value:
    for option in (center, scale):
        if not isinstance(option, bool | int | float):
            raise CallError("center and scale are TRUE, FALSE or a number")
    result: Value = transform("scale")(vector(x), center=center, scale=scale, _state=state)
    return result


def _center(state: State, x: Value) -> Value:
    return _scale(state, x, scale=False)


def _spline(function: str, state: State, x: Value, options: dict[str, Any]) -> Value:
    column = vector(x)
    for name in ("df", "degree"):
        if options.get(name) is not None:
            options[name] = _whole(options[name], name, 0 if name == "degree" else 1)
    knots = options["knots"]
    if knots is not None:
        options["knots"] = [_number(k, "a knot") for k in (knots if isinstance(knots, tuple) else (knots,))]
    for name in ("lower_bound", "upper_bound"):
        if options[name] is not None:
            options[name] = _number(options[name], name)
    if "knots" not in state:
        inside = len(options["knots"] or ())
        # bs has one column less, cc one less or two: it is the order of magnitude that counts
        count = options["df"] or inside + options.get("degree", 2) + options.get("include_intercept", False)
        _check_columns(count)
        if not _more_values_than(column, count - 1):
            raise CallError(f"{count} columns need at least as many different values; ask for fewer")
    if options["extrapolation"] == "raise":
        ends = {"lower_bound": column.min(), "upper_bound": column.max()}
        given = {name: value for name, value in options.items() if name in ends and value is not None}
        _check_range(column, **{**ends, **given, **{name: state[name] for name in ends if name in state}})
    try:
        basis = transform(function)(column, _state=state, **options)
    except (ValueError, TypeError, np.linalg.LinAlgError) as error:
        raise CallError(str(error)) from None
    return NamedColumns({str(k + 1): np.asarray(part) for k, part in enumerate(basis.values())})


def _check_range(column: Array, lower_bound: float, upper_bound: float) -> None:
    """Refuse values beyond the ends of a spline, where nothing says how it goes on."""
    outside = (column < lower_bound) | (column > upper_bound)
    if outside.any():
        raise CallError(
            f"{int(outside.sum())} of {len(column)} values are outside the range of the curve, {lower_bound:.6g} to "
            f"{upper_bound:.6g} (the first is {column[outside][0]:.6g}): fit with extrapolation='extend' among the "
            "arguments to go on as R does, with 'clip' to stay at the ends"
        )


def _bs(
    state: State,
    x: Value,
    df: Value | None = None,
    knots: Value | None = None,
    degree: Value = 3.0,
    intercept: Value = False,
    *,
    include_intercept: Value = False,
    lower_bound: Value | None = None,
    upper_bound: Value | None = None,
    extrapolation: Value = "raise",
) -> Value:
    both = _flag(intercept, "intercept") or _flag(include_intercept, "include_intercept")
    options = {"df": df, "knots": knots, "degree": degree, "include_intercept": both}
    bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound, "extrapolation": extrapolation}
    return _spline("basis_spline", state, x, {**options, **bounds})


def _cubic(function: str) -> Callable[..., Value]:
    def call(
        state: State,
        x: Value,
        df: Value | None = None,
        knots: Value | None = None,
        *,
        lower_bound: Value | None = None,
        upper_bound: Value | None = None,
        constraints: Value | None = None,
        extrapolation: Value = "extend",
    ) -> Value:
        bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound, "extrapolation": extrapolation}
        options = {"df": df, "knots": knots, "constraints": constraints, **bounds}
        return _spline(function, state, x, options)

    return call


# by their names in NumPy and in jax.numpy
ARITHMETIC = {"*": "multiply", "/": "divide", "^": "power", "%%": "mod", "%/%": "floor_divide"}
COMPARISON = {
    "==": "equal", "!=": "not_equal", "<": "less", ">": "greater", "<=": "less_equal", ">=": "greater_equal",
}  # fmt: skip
_OPERATORS = {**ARITHMETIC, **COMPARISON, "&": "logical_and", "|": "logical_or"}
_ELEMENTWISE = (
    "log2", "log10", "log1p", "exp", "exp2", "expm1", "sqrt", "abs", "sign", "floor", "ceiling", "ceil",
    "sin", "cos", "tan", "asin", "acos", "atan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "square", "cbrt",
)  # fmt: skip
_IN_R = {"ceiling": "ceil", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_NUMPY = {name: RFunction(_elementwise(_IN_R.get(name, name)), elementwise=True) for name in _ELEMENTWISE} | {
    "log": RFunction(_log, elementwise=True),
    "round": RFunction(_round, elementwise=True),
}

FUNCTIONS: dict[str, RFunction] = {
    "I": RFunction(_identity, elementwise=True),
    **_NUMPY,
    "pmin": RFunction(_pmin, elementwise=True),
    "pmax": RFunction(_pmax, elementwise=True),
    "ifelse": RFunction(_ifelse, elementwise=True),
    "as.numeric": RFunction(_as_numeric, elementwise=True),
    "factor": RFunction(_factor),
    "as.factor": RFunction(_factor),
    "C": RFunction(_contrasts),
    "relevel": RFunction(_relevel, stateful=True),
    "poly": RFunction(_poly, stateful=True),
    "scale": RFunction(_scale, stateful=True),
    "center": RFunction(_center, stateful=True),
    "bs": RFunction(_bs, stateful=True),
    "cr": RFunction(_cubic("natural_cubic_spline"), stateful=True),
    "cs": RFunction(_cubic("natural_cubic_spline"), stateful=True),
    "cc": RFunction(_cubic("cyclic_cubic_spline"), stateful=True),
    "c": RFunction(_combine),
    "offset": RFunction(_offset),
    **{f"np.{name}": function for name, function in _NUMPY.items()},
}


def level_name(level: object) -> str:
    """A category as it is written in coefficient names: whole numbers without a decimal point, as in R."""
    if isinstance(level, float | np.floating):
        return f"{level:.15g}"
    return str(level)
