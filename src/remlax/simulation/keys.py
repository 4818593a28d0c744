"""Counter-based random keys: the randomness of a replication is a pure function of where it stands.

``key(seed, scenario, replication, stream)`` depends on these four and on nothing else: not on blocks, their order,
processes, sessions or other scenarios.

Promised bit by bit: the keys, on every device and platform (integer arithmetic: Threefry-2x32, Salmon et al.
2011); the draws made from a key with one version of JAX on one kind of device, for one dtype. Promised to
rounding only (1e-12 relative in float64): numbers computed from the draws with sums or matrix products, since
XLA orders these by the size of the batch. Draws in float32 and float64 are different numbers of the same law.
`versions` records what the draws depend on.
"""

from __future__ import annotations

import enum
import functools
import platform
from collections.abc import Sequence
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..checks import Checks
from ..engine.programs import float64
from ..errors import SimulationError
from .fingerprint import digest

checks = Checks(SimulationError)

IMPLEMENTATION = "threefry2x32"  # named, so that a user's jax_default_prng_impl does not change a study
NO_SCENARIO = "0" * 16  # for draws outside a study


class Stream(enum.IntEnum):
    """What a key is for; one replication has one key per stream."""

    DATA = 0
    AMPUTATION = 1
    METHOD = 2


def keys(
    seed: int,
    scenario: str,
    replications: Sequence[int] | NDArray[np.integer],
    stream: Stream,
    name: str = "",
) -> jax.Array:
    """Make the keys of many replications.

    Parameters
    ----------
    seed
        The study's base seed, 0 to 2**64 - 1.
    scenario
        The 16 hexadecimal digits of `scenario_id`.
    replications
        Numbers of the replications, 0 to 2**32 - 1, in any order.
    stream
        What the keys are for.
    name
        Name of the method, for `Stream.METHOD`: each method has keys of its own.

    Returns
    -------
    jax.Array
        (R,) typed keys.

    Raises
    ------
    SimulationError
        A number is out of range, or the scenario is not such a name.

    Examples
    --------
    >>> from remlax.simulation.fingerprint import scenario_id
    >>> three = keys(1, scenario_id({"J": 30}), [0, 1, 2], Stream.DATA)
    >>> two = keys(1, scenario_id({"J": 30}), [2, 1], Stream.DATA)
    >>> bool((three[::-1][:2] == two).all())
    True
    """
    number = np.asarray(replications)
    whole = number.size == 0 or np.issubdtype(number.dtype, np.integer)
    if number.ndim != 1 or not whole or (number.size and (number.min() < 0 or number.max() >= 2**32)):
        raise SimulationError(
            f"Replications are numbered from 0 to 2**32 - 1: give a list of such numbers, not {replications!r}."
        )
    checks.seed(seed, 64)
    if stream not in tuple(Stream):
        raise SimulationError(f"stream={stream!r} must be a Stream, such as Stream.DATA.")
    counters: list[int | NDArray[np.uint32]] = [*_words(_hexadecimal(scenario)), number.astype(np.uint32), int(stream)]
    if name:
        checks.text(name, "name=")
        counters += _words(int(digest(name), 16))
    words = tuple(np.full(number.shape, word, dtype=np.uint32) for word in _words(seed))
    for counter in counters:
        words = _fold_in(words, counter)
    with float64():
        made: jax.Array = jax.random.wrap_key_data(jnp.asarray(np.stack(words, axis=-1)), impl=IMPLEMENTATION)
        return made


def key(seed: int, scenario: str, replication: int, stream: Stream, name: str = "") -> jax.Array:
    """Make the key of one replication; see `keys`."""
    with float64():
        return keys(seed, scenario, [replication], stream, name)[0]


def integer_seed(key: jax.Array) -> int:
    """Turn a key into a seed for other generators: a whole number below 2**64.

    Examples
    --------
    >>> seed = integer_seed(key(1, "00000000000000ff", 0, Stream.METHOD, "emb"))
    >>> 0 <= seed < 2**64
    True
    """
    high, low = np.asarray(jax.random.key_data(key), dtype=np.uint64)
    return int(high) << 32 | int(low)


def generator(key: jax.Array) -> np.random.Generator:
    """Make a NumPy generator from a key, for methods written in NumPy.

    Examples
    --------
    >>> first, again = (generator(key(1, "00000000000000ff", 0, Stream.METHOD, "emb")) for _ in range(2))
    >>> bool(first.normal() == again.normal())
    True
    """
    return np.random.Generator(np.random.Philox(key=integer_seed(key)))


@functools.cache
def versions() -> dict[str, str]:
    """Record what draws and results depend on besides the key: versions, flags and platform."""
    packages = {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy", "pandas", "scipy")}
    return packages | {
        "remlax": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "backend": jax.default_backend(),
        "prng": IMPLEMENTATION,
        "threefry_partitionable": str(jax.config.values["jax_threefry_partitionable"]),
    }


ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
Words = tuple[NDArray[np.uint32], ...]


def _fold_in(keys: Words, counter: int | NDArray[np.uint32]) -> Words:
    """``jax.random.fold_in`` of many keys, on the host: Threefry-2x32 of (0, counter). Nothing is compiled for it."""
    schedule = (*keys, keys[0] ^ keys[1] ^ np.uint32(PARITY))
    a, b = schedule[0].copy(), np.asarray(counter, dtype=np.uint32) + schedule[1]
    for block in range(5):
        for turn in ROTATIONS[block % 2]:
            a = a + b
            b = (b << np.uint32(turn) | b >> np.uint32(32 - turn)) ^ a
        a = a + schedule[(block + 1) % 3]
        b = b + schedule[(block + 2) % 3] + np.uint32(block + 1)
    return a, b


def _words(number: int) -> tuple[int, int]:
    return number >> 32, number & 0xFFFFFFFF


def _hexadecimal(scenario: str) -> int:
    if not isinstance(scenario, str) or len(scenario) != 16 or not set(scenario) <= set("0123456789abcdef"):
        raise SimulationError(f"{scenario!r} is not a scenario's name; make it with scenario_id(parameters).")
    return int(scenario, 16)
