"""Multilevel data in JAX: one replication per key, any number of them by vmap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.scipy.special import ndtri

from ..checks import Checks
from ..engine.programs import float64, program
from ..errors import ModelSizeError, SimulationError
from ..memory import available_bytes, human_bytes
from .design import MultilevelDesign
from .keys import NO_SCENARIO, Stream, keys
from .layout import DesignRows, DesignShape, Values, layout_of, structure_of, values_of
from .outcomes import COUNTS, TRIALS, draw_outcome

checks = Checks(SimulationError)

CHUNK = 32  # replications that a study makes at a time
FOR_OUTCOME = 4  # of the parts of a key; a Gaussian design has four


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["columns", "codes", "weights", "effects"],
    meta_fields=[],
)
@dataclass(frozen=True)
class SimulatedData:
    """Arrays of one replication, or of many with a leading axis R.

    Attributes
    ----------
    columns
        Covariates and response by name, (n,); 0 in rows that are padding. Of a covariate with levels: the place of
        the row's level among them, from 0; so of an ordinal response.
    codes
        Level of each grouping factor by name, (n,) integers from 0; unique over parents for nested factors.
    weights
        (n,) 1 for rows that exist, 0 for padding (only where numbers of rows or levels are drawn).
    effects
        For each random term, (levels, q) random effects.
    """

    columns: dict[str, jax.Array]
    codes: dict[str, jax.Array]
    weights: jax.Array
    effects: tuple[jax.Array, ...]


def generate(key: jax.Array, design: MultilevelDesign) -> SimulatedData:
    """Draw one replication: rows are sorted by the factors in their order.

    Pure, and may be transformed with jit and vmap over ``key``. The dtype is JAX's default float.

    Parameters
    ----------
    key
        A random key.
    design
        What to draw, ``design.n_rows`` rows; static.

    Examples
    --------
    >>> from remlax.simulation.design import *
    >>> design = MultilevelDesign([Factor("g", 4)], 5, {"1": 1.0}, [RandomTerm("g", {"1": 0.5})], 1.0)
    >>> generate(jax.random.key(1), design).columns["y"].shape
    (20,)
    """
    _check_design(design, 1)
    _check_keys(key, 0)
    with jax.transfer_guard("allow"):  # of the design's numbers
        return _generate(key, values_of(design), structure_of(design))


def generate_batch(keys: jax.Array, design: MultilevelDesign) -> SimulatedData:
    """Draw one replication per key, compiled once for all designs of the same shape.

    Draws are the same bit by bit whatever the number of keys; sums of products of draws, such as the
    response, to rounding (1e-14 relative).

    Parameters
    ----------
    keys
        (R,) random keys, such as `remlax.simulation.keys.keys` makes.
    design
        What to draw. Changing its numbers (effects, SDs, shares) does not compile anew; changing names,
        terms, laws, levels or sizes does.

    Returns
    -------
    SimulatedData
        Arrays with leading axis R.

    Examples
    --------
    >>> from remlax.simulation.design import *
    >>> design = MultilevelDesign([Factor("g", 4)], 5, {"1": 1.0}, [RandomTerm("g", {"1": 0.5})], 1.0)
    >>> generate_batch(jax.random.split(jax.random.key(1), 3), design).columns["y"].shape
    (3, 20)
    """
    _check_keys(keys, 1)
    _check_design(design, len(keys))
    with jax.transfer_guard("allow"):
        data: SimulatedData = _generate_batch(keys, values_of(design), structure_of(design))
    return data


def simulate_frames(design: MultilevelDesign, replications: int = 1, *, seed: int) -> list[pd.DataFrame]:
    """Draw data frames, in float64.

    Parameters
    ----------
    design
        What to draw.
    replications
        How many frames.
    seed
        Base seed, 0 to 2**64 - 1. The first frames are the same however many are drawn, up to rounding.

    Returns
    -------
    list of DataFrame
        Columns: factors (integers from 0), covariates (those with levels as categories), response; no rows of
        padding. Binary outcomes and counts are integers, ordinal ones ordered categories; a column ``trials`` stands
        beside successes.

    Raises
    ------
    SimulationError
        The seed is out of range, or a count has no finite mean.

    Examples
    --------
    >>> from remlax.simulation.design import *
    >>> design = MultilevelDesign([Factor("g", 4)], 5, {"1": 1.0}, [RandomTerm("g", {"1": 0.5})], 1.0)
    >>> [frame.shape for frame in simulate_frames(design, 2, seed=1)]
    [(20, 2), (20, 2)]
    """
    _check_design(design, checks.whole(replications, "replications="))
    with float64():
        data = generate_batch(keys(seed, NO_SCENARIO, range(replications), Stream.DATA), design)
        return list(frames(data, design))


def _check_design(design: object, replications: int) -> None:
    if not isinstance(design, MultilevelDesign):
        raise SimulationError(f"A MultilevelDesign is needed, not a {type(design).__name__}.")
    need = 8 * design.n_rows * (2 * len(design.covariates) + len(design.factors) + 3) * replications
    if need > available_bytes():
        raise ModelSizeError(
            f"{replications} replications of {design.n_rows} rows need about {human_bytes(need)} of memory, and there "
            f"are {human_bytes(available_bytes())}: draw fewer rows."
        )


def _check_keys(given: object, axes: int) -> None:
    """Typed keys, or the words of one by `jax.random.PRNGKey`."""
    dtype, shape = getattr(given, "dtype", None), getattr(given, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    legacy = dtype == np.uint32 and shape is not None and shape[-1:] == (2,)
    if shape is None or not (typed or legacy) or len(shape) - (not typed) != axes:
        what = "An array (R,) of random keys, made by sim.keys()," if axes else "One random key, made by sim.key(),"
        got = repr(given) if shape is None else f"an array {shape} of {dtype}"
        raise SimulationError(f"{what} is needed, got {got}.")


def frames(data: SimulatedData, design: MultilevelDesign) -> Iterator[pd.DataFrame]:
    """Turn a batch of arrays into data frames, one per replication, without rows of padding."""
    outcome, response = design.outcome, design.response
    beside = [TRIALS] if TRIALS in data.columns and outcome is not None else []
    order = [*(f.name for f in design.factors), *(c.name for c in design.covariates), response, *beside]
    arrays = {name: np.asarray((data.codes | data.columns)[name]) for name in order}
    whole = {c.name for c in design.covariates if c.kind != "normal"} | set(data.codes)
    levels = {c.name: c.levels for c in design.covariates if c.levels}
    if outcome is not None:
        if not np.isfinite(arrays[response]).all():
            raise SimulationError(f"Means of {response!r} are too large to draw counts: lower beta= or SDs.")
        whole |= {response, *beside} if outcome.family in COUNTS else set()
        levels |= {response: outcome.levels} if outcome.levels else {}
    for i, weights in enumerate(np.asarray(data.weights)):
        kept: dict[str, Any] = {name: x[i][weights > 0] for name, x in arrays.items()}
        kept |= {name: kept[name].astype(np.int64) for name in whole}
        kept |= {
            name: pd.Categorical.from_codes(kept[name].astype(np.int64), pd.Index(own), ordered=name == response)
            for name, own in levels.items()
        }
        yield pd.DataFrame(kept)


def _generate(key: jax.Array, values: Values, shape: DesignShape) -> SimulatedData:
    layout = layout_of(shape)
    n = layout.cell.size
    dtype = values.sigma.dtype
    for_normals, for_gammas, for_codes, for_counts = jax.random.split(key, 4)
    normals = _normals(for_normals, layout, shape, dtype)
    gammas = _gammas(for_gammas, values, layout, shape)
    codes = _codes(for_codes, layout, shape)
    real = _real_rows(for_counts, values, layout, shape)
    columns = _covariates(normals, values, codes, real, layout, shape)
    terms = columns | _dummies(columns, shape, dtype)
    effects = _effects(normals, gammas, values, layout, shape)
    if shape.outcome is None:
        y = _errors(_standard(normals, gammas, (n, 1), shape.error, values.laws[-1])[:, 0], values, shape)
    else:
        y = jnp.zeros(n, dtype)
    for term, beta in zip(shape.fixed, values.beta, strict=True):
        y = y + beta * _product(term, terms, n, dtype)
    for random, effect in zip(shape.random, effects, strict=True):
        for j, term in enumerate(random.terms):
            y = y + effect[codes[random.factor], j] * _product(term, terms, n, dtype)
    if shape.outcome is not None:
        y = draw_outcome(jax.random.fold_in(key, FOR_OUTCOME), y, values.outcome, shape.outcome)
        if shape.outcome.trials:
            columns = columns | {TRIALS: jnp.broadcast_to(values.outcome[-1], (n,))}
    columns = columns | {shape.response: y}
    return SimulatedData(
        columns={name: jnp.where(real, x, jnp.zeros((), dtype)) for name, x in columns.items()},
        codes={f.name: code for f, code in zip(shape.factors, codes, strict=True)},
        weights=real.astype(dtype),
        effects=tuple(effects),
    )


@program("shape")
def _generate_batch(keys: jax.Array, values: Values, shape: DesignShape) -> SimulatedData:
    return jax.vmap(lambda key: _generate(key, values, shape))(keys)


def _normals(key: jax.Array, layout: DesignRows, shape: DesignShape, dtype: jnp.dtype) -> Iterator[jax.Array]:
    """All standard normals of a replication, in pieces in the order of use; one draw compiles much faster."""
    n = layout.cell.size
    sizes = [
        n if place < 0 else layout.levels[place]
        for c in shape.covariates
        if c.kind not in ("index", "balanced")
        for place in (*c.above, c.level)
    ]
    sizes += [layout.levels[r.factor] * len(r.terms) for r in shape.random if r.kind != "gamma"]
    sizes += [n] * (shape.error != "gamma" and shape.outcome is None)
    draws = jax.random.normal(key, (sum(sizes),), dtype=dtype)
    return iter(jnp.split(draws, np.cumsum(sizes)))


def _gammas(key: jax.Array, values: Values, layout: DesignRows, shape: DesignShape) -> Iterator[jax.Array]:
    """All gamma draws of a replication, in pieces in the order of use: t laws take half a chi-square."""
    vectors = [(r.kind, layout.levels[r.factor], len(r.terms)) for r in shape.random]
    vectors.append((shape.error, layout.cell.size, 1))
    shapes = [
        jnp.full(levels * q, law) if kind == "gamma" else jnp.full(levels, law / 2)
        for (kind, levels, q), law in zip(vectors, values.laws, strict=True)
        if kind != "normal"
    ]
    if not shapes:
        return iter(())
    draws = jax.random.gamma(key, jnp.concatenate(shapes))
    return iter(jnp.split(draws, np.cumsum([part.size for part in shapes])))


def _codes(key: jax.Array, layout: DesignRows, shape: DesignShape) -> list[jax.Array]:
    n = layout.cell.size
    drawn = iter(jax.random.split(key, len(shape.factors) + 1))
    return [
        jax.random.randint(next(drawn), (n,), 0, f.most, dtype=jnp.int32) if code is None else jnp.asarray(code)
        for f, code in zip(shape.factors, layout.codes, strict=True)
    ]


def _real_rows(key: jax.Array, values: Values, layout: DesignRows, shape: DesignShape) -> jax.Array:
    """(n,) True for rows that are not padding."""
    drawn = iter(zip(jax.random.split(key, len(values.counts) + 1), values.counts, strict=False))
    real = jnp.ones(layout.cell.shape, dtype=bool)
    for f, number in zip(shape.factors, layout.within, strict=True):
        if f.drawn:
            part, weights = next(drawn)
            parents = layout.levels[f.parent] if f.parent >= 0 else 1
            count = jax.random.categorical(part, weights, shape=(parents,)).astype(jnp.int32)
            above = layout.codes[f.parent] if f.parent >= 0 else None
            real &= jnp.asarray(number) < count[np.zeros_like(layout.cell) if above is None else above]
    if shape.size_drawn:
        part, weights = next(drawn)
        count = jax.random.categorical(part, weights, shape=(int(layout.cell[-1]) + 1,)).astype(jnp.int32)
        real &= jnp.asarray(layout.position) < count[layout.cell]
    return real


def _covariates(
    normals: Iterator[jax.Array],
    values: Values,
    codes: list[jax.Array],
    real: jax.Array,
    layout: DesignRows,
    shape: DesignShape,
) -> dict[str, jax.Array]:
    rows = jnp.cumsum(real) - 1 if layout.turn is None else jnp.asarray(layout.turn)
    columns: dict[str, jax.Array] = {}
    for c, numbers in zip(shape.covariates, values.covariates, strict=True):
        if c.kind == "index":
            columns[c.name] = jnp.asarray(layout.position).astype(numbers.dtype)
            continue
        if c.kind == "balanced":
            turn = rows if c.level < 0 else codes[c.level]
            dealt = (turn % len(c.levels)).astype(numbers.dtype) if c.levels else _in_turn(turn, numbers[0])
            columns[c.name] = dealt
            continue
        latent = jnp.zeros(layout.cell.shape, dtype=numbers.dtype)
        places = (*c.above, c.level)
        for root, place in zip(numbers[2 : 2 + len(places)], places, strict=True):
            draws = next(normals)
            latent = latent + root * (draws if place < 0 else draws[codes[place]])
        if c.kind == "categorical":
            limits = numbers[2 + len(places) :]
            columns[c.name] = jnp.sum(latent[:, None] >= limits[None], axis=1).astype(numbers.dtype)
        elif c.kind == "binary":
            columns[c.name] = (latent < ndtri(numbers[0])).astype(numbers.dtype)
        else:
            columns[c.name] = numbers[0] + numbers[1] * latent
    return columns


def _dummies(columns: dict[str, jax.Array], shape: DesignShape, dtype: jnp.dtype) -> dict[str, jax.Array]:
    """Indicators of levels, by the names that terms have for them."""
    return {
        name: (columns[c.name] == place).astype(dtype)
        for c in shape.covariates
        for place, name in enumerate(c.dummies, 1)
    }


def _in_turn(number: jax.Array, share: jax.Array) -> jax.Array:
    """1 where the count of ones that are due, share times the number, goes up; rounding does not decide it."""
    number = number.astype(share.dtype)
    return jnp.floor((number + 1) * share + 1e-4) - jnp.floor(number * share + 1e-4)


def _effects(
    normals: Iterator[jax.Array],
    gammas: Iterator[jax.Array],
    values: Values,
    layout: DesignRows,
    shape: DesignShape,
) -> list[jax.Array]:
    effects = []
    for term, root, law in zip(shape.random, values.roots, values.laws, strict=False):
        q = len(term.terms)
        z = _standard(normals, gammas, (layout.levels[term.factor], q), term.kind, law)
        # written out, not a matrix product: q is small and the order of the sums is fixed
        effects.append(sum((z[:, j, None] * root[j][None] for j in range(q)), jnp.zeros_like(z)))
    return effects


def _errors(z: jax.Array, values: Values, shape: DesignShape) -> jax.Array:
    """Errors (n,) from independent ones; the rows of a cell stand together."""
    if not shape.errors_correlated:
        return values.sigma * z
    cells = z.reshape(-1, shape.size)
    return sum(
        (cells[:, j, None] * values.error_root[j][None] for j in range(shape.size)), jnp.zeros_like(cells)
    ).ravel()


def _standard(
    normals: Iterator[jax.Array],
    gammas: Iterator[jax.Array],
    shape: tuple[int, int],
    kind: str,
    law: jax.Array,
) -> jax.Array:
    """(levels, q) independent vectors with mean 0 and identity covariance."""
    if kind == "gamma":
        return (next(gammas).reshape(shape) - law) / jnp.sqrt(law)
    z = next(normals).reshape(shape)
    if kind == "normal":
        return z
    half_chi2 = next(gammas)[:, None]
    return z * jnp.sqrt((law / 2 - 1) / half_chi2)


def _product(term: tuple[str, ...], columns: dict[str, jax.Array], n: int, dtype: jnp.dtype) -> jax.Array:
    product = jnp.ones(n, dtype=dtype)
    for name in term:
        product = product * columns[name]
    return product
