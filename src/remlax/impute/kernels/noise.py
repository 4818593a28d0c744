"""Fast standard normals and uniforms for samplers: unrolled Threefry, inversion in single precision.

JAX's own generator runs its rounds in a loop on CPUs, and draws float64 normals from 64 bits by a long polynomial;
a Gibbs sampler would spend most of its time there. Source: Salmon, Moraes, Dror & Shaw (2011) SC11, Parallel random
numbers: as easy as 1, 2, 3 (Threefry-2x32, 20 rounds).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry(key: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Encrypt counters (n,) of two 32-bit words each, with a key of two words (2,)."""
    words = [key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY)]
    a, b = first + words[0], second + words[1]
    for block in range(5):
        for bits in ROTATIONS[block % 2]:
            a = a + b
            b = lax.shift_left(b, jnp.full_like(b, bits)) | lax.shift_right_logical(b, jnp.full_like(b, 32 - bits))
            b = a ^ b
        a = a + words[(block + 1) % 3]
        b = b + (words[(block + 2) % 3] + np.uint32(block + 1))
    return a, b


def seeded(seed: int) -> Array:
    """The key of a seed, whatever the user's ``jax_default_prng_impl``."""
    made: Array = jax.random.key(seed, impl="threefry2x32")
    return made


def fold_in(key: Array, number: Array | int) -> Array:
    """``jax.random.fold_in``, the same bit by bit, without its loop: a program with many of them compiles sooner."""
    if str(jax.random.key_impl(key)) != "threefry2x32":
        return jax.random.fold_in(key, number)
    words = jax.random.key_data(key)
    counter = jnp.asarray(number).astype(jnp.uint32)
    first, second = threefry(words, jnp.zeros_like(counter), counter)
    made: Array = jax.random.wrap_key_data(jnp.stack([first, second], axis=-1), impl="threefry2x32")
    return made


def random_words(key: Array, shape: tuple[int, ...]) -> Array:
    """Random 32-bit words."""
    size = math.prod(shape)
    half = -(-size // 2)
    counter = lax.iota(jnp.uint32, half)
    pair = threefry(jax.random.key_data(key), counter, jnp.zeros_like(counter))
    return jnp.concatenate(pair)[:size].reshape(shape)


def uniforms(key: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Uniforms inside (0, 1): the midpoints of 2^32 intervals (2^23 if dtype is single precision)."""
    words = random_words(key, shape)
    if dtype == jnp.float32:
        return ((words >> np.uint32(9)).astype(dtype) + 0.5) * np.float32(2.0**-23)
    return (words.astype(dtype) + 0.5) * 2.0**-32


def normals(key: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Standard normals by inversion of 2^23 midpoints: symmetric, within 5.4 standard deviations."""
    u = uniforms(key, shape, jnp.dtype(jnp.float32))
    return (np.float32(math.sqrt(2.0)) * lax.erf_inv(2.0 * u - 1.0)).astype(dtype)
