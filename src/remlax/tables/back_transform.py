"""Back from the scale of a transformed response, log(y) for instance, to that of y."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..design.evaluate import FrameEvaluator, evaluate
from ..design.functions import numeric
from ..design.tree import Binary, Call, Group, Name, Node, Sum, columns_in
from ..errors import DataError
from ..fitting.glmm import GlmmFitted
from ..fitting.responses.distribution import inverse_link
from ..fitting.selection import Selection

Array = npt.NDArray[np.float64]
Step = Callable[[Array], tuple[Array, Array]]  # the inverse of a function, and the derivative of the inverse


def _exponential(base: float) -> Step:
    def step(eta: Array) -> tuple[Array, Array]:
        value = base**eta
        return value, value * np.log(base)

    return step


def _linear(factor: float, constant: float) -> Step:
    """Inverse of factor * y + constant."""
    return lambda eta: ((eta - constant) / factor, np.full_like(eta, 1 / factor))


def _power(exponent: float) -> Step:
    """Inverse of y^exponent for positive y; what lies below the range of the power is its end."""

    def step(eta: Array) -> tuple[Array, Array]:
        root = np.maximum(eta, 0.0)
        return root ** (1 / exponent), np.abs(root ** (1 / exponent - 1) / exponent)

    return step


def _logarithm(below: float) -> Step:
    """Inverse of exp(y) - below; no y lies below the range."""

    def step(eta: Array) -> tuple[Array, Array]:
        inside = np.maximum(eta + below, 0.0)
        return np.log(inside), 1 / inside

    return step


INVERSES: dict[str, Step] = {
    "log": _exponential(math.e),
    "log2": _exponential(2.0),
    "log10": _exponential(10.0),
    "log1p": lambda eta: (np.expm1(eta), np.exp(eta)),
    "exp": _logarithm(0.0),
    "expm1": _logarithm(1.0),
    "sqrt": _power(0.5),
    "cbrt": lambda eta: (eta**3, 3 * eta**2),
}


@dataclass(frozen=True, eq=False)
class BackTransform:
    """The way back from a model's response to the column that it is made of.

    Parameters
    ----------
    response, column : str
        The response as the formula has it, or the link of its mean; and the column.
    steps : tuple of Step
        From the outermost function inwards.
    ratio : str
        What exponentiated differences are ratios of, where the response is the link of a mean: ``"odds"``, ``"means"``,
        or nothing.
    """

    response: str
    column: str
    steps: tuple[Step, ...]
    ratio: str = ""

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        """Transform estimates and limits, and standard errors by the delta method."""
        out = table.copy()
        with np.errstate(all="ignore"):  # an end of the range has an infinite limit, or an error of zero
            out["estimate"], slope = self._back(table["estimate"].to_numpy())
            out["std_error"] = np.abs(slope) * table["std_error"]
            limits = [self._back(table[name].to_numpy())[0] for name in ("conf_low", "conf_high")]
        out["conf_low"], out["conf_high"] = np.minimum(*limits), np.maximum(*limits)
        out.attrs = table.attrs
        return out

    def _back(self, eta: Array) -> tuple[Array, Array]:
        slope = np.ones_like(eta)
        for step in self.steps:
            eta, own = step(eta)
            slope = slope * own
        return eta, slope


def back_transform(fits: Selection) -> BackTransform | None:
    """Find the way back from the response of a model; None where the response is a column of the data."""
    if isinstance(fits.fitted, GlmmFitted):
        return _from_link(fits.fitted)
    rows = fits.rows
    text = rows.formula.response
    if rows.data is None or text in rows.data.frames[0].columns:
        return None
    node = rows.formula.response_tree
    steps: list[Step] = []
    while not isinstance(node, Name):
        found = _step(node)
        if found is None:
            raise DataError(
                f"type='response': the inverse of {node.text!r} in the response {text!r} is not known; it is that "
                f"of {', '.join(INVERSES)}, of powers, and of sums and products with numbers"
            )
        steps += found[0]
        if found[2] and not all((evaluate(found[1], rows.data.frames[k]) > 0).all() for k in fits.which):
            raise DataError(
                f"type='response': {node.text!r} in the response {text!r} has an inverse for positive values only, "
                f"and {found[1].text!r} has others"
            )
        node = found[1]
    return BackTransform(text, node.id, tuple(steps)) if steps else None


def _from_link(fitted: GlmmFitted) -> BackTransform:
    """The way back from the link of a generalised linear mixed model."""
    family, response = fitted.family, fitted.model.rows.formula.response
    if family.name == "ordinal":
        raise DataError(
            "type='response': an ordinal response has a probability for every category, which predict() gives"
        )

    def step(eta: Array) -> tuple[Array, Array]:
        found = inverse_link(family.link, eta)
        return found.mean, found.d1

    ratio = {"logit": "odds", "log": "means"}.get(family.link, "")
    return BackTransform(f"the {family.link} link", response, (step,), ratio)


def _step(node: Node) -> tuple[list[Step], Node, bool] | None:
    """The inverses of a node, what is inside it, and whether that must be positive."""
    match node:
        case Group(inner):
            return [], inner, False
        case Call(func, (inner,), ()):
            name = func.removeprefix("np.")
            if name == "I":
                return [], inner, False
            if name == "square":
                return [_power(2.0)], inner, True
            return ([INVERSES[name]], inner, False) if name in INVERSES else None
        case Call("log" | "np.log", (inner, base), ()) | Call("log" | "np.log", (inner,), (("base", base),)):
            number = _number(base)
            return None if number is None else ([_linear(1 / np.log(number), 0.0), INVERSES["log"]], inner, False)
        case Sum(items):
            return _of_sum(items)
        case Binary("*" | "/" | "^" as op, left, right):
            return _of_binary(op, left, right)
    return None


def _of_sum(items: tuple[tuple[int, Node], ...]) -> tuple[list[Step], Node, bool] | None:
    """Inverse of one piece with a column and numbers added to it."""
    inner = [(sign, item) for sign, item in items if _number(item) is None]
    if len(inner) != 1:
        return None
    constant = sum(sign * (_number(item) or 0.0) for sign, item in items)
    return [_linear(float(inner[0][0]), constant)], inner[0][1], False


def _of_binary(op: str, left: Node, right: Node) -> tuple[list[Step], Node, bool] | None:
    a, b = _number(left), _number(right)
    if op == "*" and (a is None) != (b is None):
        return [_linear(a if a is not None else b or 0.0, 0.0)], (right if a is not None else left), False
    if op == "/" and b is not None and a is None:
        return [_linear(1 / b, 0.0)], left, False
    if op == "/" and a is not None and b is None:
        return [_linear(a, 0.0), _power(-1.0)], right, True
    if op == "^" and b is not None and a is None:
        return [_power(b)], left, True
    return None


def _number(node: Node) -> float | None:
    """The value of an expression without columns; None for any other."""
    if columns_in(node):
        return None
    return float(numeric(FrameEvaluator(pd.DataFrame(index=[0]), {}, "response").value(node)))
