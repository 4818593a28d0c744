"""The outcome's model of `joint(compatible_with=)`: its columns as polynomials in the incomplete targets."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..design.formula import MixedFormula, parse_formula
from ..design.model_matrix import model_matrix
from ..design.syntax import variables
from ..errors import ImputationError
from .columns import FloatArray, as_floats, is_continuous
from .patterns import check_columns

MAX_TARGETS = 4
NODES = (-1.0, 0.0, 1.0)
# values at the nodes to the coefficients of 1, u, u^2
TO_POWERS = np.array([[0.0, 1.0, 0.0], [-0.5, 0.0, 0.5], [0.5, -1.0, 0.5]])


@dataclass(frozen=True)
class OutcomeModel:
    """Mixed model of the outcome.

    y (n,) standardised, NaN where missing; fixed (n, p, M) and random (n, q, M) are the coefficients of the monomials
    with these powers (M, K) of the targets' model columns; columns are divided by their root mean squares.
    """

    name: str
    y: FloatArray
    centre: float
    scale: float
    columns: tuple[int, ...]
    powers: tuple[tuple[int, ...], ...]
    fixed: FloatArray
    random: FloatArray
    fixed_names: tuple[str, ...]
    random_names: tuple[str, ...]
    fixed_scale: FloatArray
    random_scale: FloatArray
    targets: FloatArray
    intercept: int | None


def _read(data: pd.DataFrame, text: str, cluster: str, targets: tuple[str, ...]) -> MixedFormula:
    parsed = parse_formula(text)
    check_columns(data, parsed.variables, "compatible_with=")
    if parsed.offsets or len(parsed.random) != 1 or len(parsed.random[0].group) != 1:
        raise ImputationError(f"compatible_with={text!r}: give one random term (... | {cluster}) and no offset")
    if parsed.random[0].group[0] != cluster:
        raise ImputationError(
            f"compatible_with={text!r} groups by {parsed.random[0].group[0]!r}, the imputation model by {cluster!r}"
        )
    name = parsed.response.strip("`")
    if name not in data.columns or not is_continuous(data[name]):
        raise ImputationError(f"compatible_with={text!r}: the outcome must be a numeric column, not {name!r}")
    if name in targets:
        raise ImputationError(f"the outcome {name!r} must not be in the formula of the covariates: take it out")
    return parsed


def _polynomials(
    build: Callable[[pd.DataFrame], FloatArray],
    frame: pd.DataFrame,
    names: list[str],
    centre: FloatArray,
    scale: FloatArray,
) -> FloatArray:
    """Coefficients (n, p, 3^K) of the monomials of the standardised targets; checked at another point."""

    def at(point: tuple[float, ...]) -> FloatArray:
        values = {name: c + s * u for name, c, s, u in zip(names, centre, scale, point, strict=True)}
        return build(frame.assign(**values))

    grid = np.stack([at(point) for point in product(NODES, repeat=len(names))], axis=-1)
    coef = grid.reshape(*grid.shape[:2], *(3,) * len(names))
    for axis in range(len(names)):
        coef = np.moveaxis(np.tensordot(coef, TO_POWERS, axes=([2 + axis], [1])), -1, 2 + axis)
    coef = coef.reshape(grid.shape)
    point = tuple(0.37 + 0.31 * k for k in range(len(names)))
    powers = np.array(list(product(range(3), repeat=len(names))))
    expected = coef @ np.prod(np.array(point) ** powers, axis=1)
    if not np.allclose(at(point), expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max()):
        raise ImputationError(
            f"compatible_with= uses {' or '.join(names)} in a function: incomplete columns may stand as they are, in "
            "products and squared, as I(x^2)"
        )
    return coef


def _incomplete(data: pd.DataFrame, text: str, used: Sequence[str], continuous: Container[str]) -> list[str]:
    """Find the targets in the outcome's model."""
    incomplete = [name for name in dict.fromkeys(used) if data[name].isna().any()]
    for name in incomplete:
        if name not in continuous:
            raise ImputationError(
                f"{name!r} in compatible_with= has missing cells and is no continuous target of the rows without a "
                "transform: put it left of '~' in formula="
            )
    if not 1 <= len(incomplete) <= MAX_TARGETS:
        raise ImputationError(
            f"compatible_with={text!r} uses no incomplete target: leave it out"
            if not incomplete
            else f"compatible_with= uses {len(incomplete)} incomplete targets; at most {MAX_TARGETS} are possible"
        )
    return incomplete


def read_outcome(
    data: pd.DataFrame,
    text: str,
    cluster: str,
    names: tuple[str, ...],
    continuous: dict[str, tuple[int, float, float]],
    upper: tuple[str, ...],
) -> OutcomeModel:
    """Read the outcome's model.

    names are the targets of the joint model; continuous gives model column, centre and scale of those that enter
    without a transform; upper are the cluster-level targets.
    """
    parsed = _read(data, text, cluster, (*names, *upper))
    random = parsed.random[0].lhs_tree
    incomplete = _incomplete(data, text, [*variables(parsed.fixed_tree), *variables(random)], continuous)
    columns = tuple(continuous[name][0] for name in incomplete)
    centre, scale = (np.array([continuous[name][k] for name in incomplete]) for k in (1, 2))
    frame = data.assign(**{n: as_floats(data[n].fillna(c)) for n, c in zip(incomplete, centre, strict=True)})
    matrices = [model_matrix(rhs, frame, what="compatible_with=") for rhs in (parsed.fixed_tree, random)]
    coefs = [_polynomials(matrix.rebuild, frame, incomplete, centre, scale) for matrix in matrices]
    powers = np.array(list(product(range(3), repeat=len(incomplete))))
    needed = [k for k in range(len(powers)) if any(np.abs(coef[:, :, k]).max() > 1e-12 for coef in coefs)]
    # columns of about unit size: the mean square of a standardised target is 1, that of its square 3
    sizes = [np.sqrt(np.mean(coef**2, axis=0) @ np.prod(np.array([1.0, 1.0, 3.0])[powers], axis=1)) for coef in coefs]
    y = as_floats(data[parsed.response.strip("`")])
    ones = [k for k, name in enumerate(matrices[0].names) if name == "Intercept"]
    mean, sd = (float(np.nanmean(y)) if ones else 0.0), float(np.nanstd(y, ddof=1))
    fixed, effects = (coef[:, :, needed] / size[None, :, None] for coef, size in zip(coefs, sizes, strict=True))
    targets = np.column_stack([(as_floats(data[n]) - c) / s for n, c, s in zip(incomplete, centre, scale, strict=True)])
    monomials = tuple(tuple(int(p) for p in powers[k]) for k in needed)
    fixed_names, random_names = (matrix.names for matrix in matrices)
    return OutcomeModel(
        parsed.response.strip("`"), (y - mean) / sd, mean, sd, columns, monomials, fixed, effects, fixed_names,
        random_names, sizes[0], sizes[1], np.nan_to_num(targets), ones[0] if ones else None,
    )  # fmt: skip


def pairs(names: Sequence[str]) -> list[str]:
    """Names of the lower triangle of a covariance matrix, row by row."""
    return [a if a == b else f"{a}, {b}" for i, a in enumerate(names) for b in names[: i + 1]]


def outcome_names(model: OutcomeModel, cluster: str) -> list[tuple[str, str]]:
    """Part and name of the outcome's parameters."""
    effects = pairs([f"{model.name}:{name}" for name in model.random_names])
    return [
        *(("outcome fixed", f"{model.name} ~ {name}") for name in model.fixed_names),
        ("outcome residual", model.name),
        *(("outcome random", f"{pair} | {cluster}") for pair in effects),
    ]


def outcome_in_units(model: OutcomeModel, draws: FloatArray) -> FloatArray:
    """Draws (..., P) of the outcome's parameters in units of the data."""
    p, q = len(model.fixed_names), len(model.random_names)
    out = draws.copy()
    out[..., :p] *= model.scale / model.fixed_scale
    if model.intercept is not None:
        out[..., model.intercept] += model.centre
    out[..., p] *= model.scale**2
    rows, columns = np.tril_indices(q)
    out[..., p + 1 :] *= model.scale**2 / (model.random_scale[rows] * model.random_scale[columns])
    return out


def outcome_values(model: OutcomeModel, drawn: FloatArray, flags: npt.NDArray[np.bool_]) -> FloatArray:
    """Imputed cells of the outcome in units of the data."""
    values: FloatArray = drawn[flags] * model.scale + model.centre
    return values
