"""The functions of remlax.core inside one's own JAX: a criterion to differentiate, map and compile.

Three things that the labelled interface does not do: the REML criterion of many simulated data sets over a grid in one
call, the derivative of an estimate with respect to the data, and a fit inside a compiled function of one's own.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from remlax import core

GROUPS, SIZE = 30, 8
N = GROUPS * SIZE
# y ~ 1 + x + (1 | g): one factor with one column, so theta has one entry, the SD ratio
STRUCTURE = core.Structure(core.ThetaMap((1,), (0,), (0,), (0,)), n_levels=(GROUPS,), n_fixed=2)


def problem(y: jax.Array, x: jax.Array) -> core.Nested:
    """Cross-products of one data set: all that a fit needs of its rows."""
    design = jnp.stack([jnp.ones(N), x], axis=1)
    codes = jnp.repeat(jnp.arange(GROUPS), SIZE)
    products, _ = core.cross_products(design, y, (jnp.ones((N, 1)),), (codes,), STRUCTURE)
    return core.Nested(STRUCTURE, products)


def simulate(key: jax.Array, x: jax.Array) -> jax.Array:
    """One response: SDs 0.5 of groups and 1 of rows."""
    groups, rows = jax.random.split(key)
    effects = 0.5 * jax.random.normal(groups, (GROUPS,))
    return 2 + 0.3 * x + jnp.repeat(effects, SIZE) + jax.random.normal(rows, (N,))


@jax.jit
def simulate_and_fit(keys: jax.Array, x: jax.Array) -> core.Optimum:
    """Simulate a data set per key and fit all of them, in one program."""
    problems = jax.vmap(lambda key: problem(simulate(key, x), x))(keys)
    return core.fit_batch(jnp.full((len(keys), 1), jnp.nan), problems)


@jax.jit
def curves(thetas: jax.Array, keys: jax.Array, x: jax.Array) -> jax.Array:
    """REML criterion of every data set (rows) at every theta (columns)."""
    problems = jax.vmap(lambda key: problem(simulate(key, x), x))(keys)
    over_thetas = jax.vmap(lambda theta, one: core.reml_criterion(theta[None], one), (0, None))
    return jax.vmap(over_thetas, (None, 0))(thetas, problems)


@jax.jit
def influence(theta: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """d theta-hat / dy of every row, by the implicit function theorem: -H^-1 d(gradient)/dy."""

    def slope(response: jax.Array) -> jax.Array:
        return jax.grad(core.profiled_deviance)(theta, problem(response, x))[0]

    hessian = core.value_grad_hess(theta, problem(y, x)).hess
    return -jax.grad(slope)(y) / hessian[0, 0]


def main() -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(1).normal(size=N))
        keys = jax.random.split(jax.random.key(1), 1000)

        fits = simulate_and_fit(keys, x)
        converged = np.asarray(fits.status) == 0
        print(f"{converged.sum()} of {len(keys)} fits converged; mean theta {np.mean(fits.theta):.3f} (true 0.5)")

        thetas = jnp.linspace(0.0, 1.5, 151)
        lowest = thetas[jnp.argmin(curves(thetas, keys[:100], x), axis=1)]
        print(f"largest distance of a curve's lowest point: {np.abs(lowest - fits.theta[:100, 0]).max():.4f}")

        y = simulate(keys[0], x)
        rates = influence(fits.theta[0], y, x)
        row = int(jnp.argmax(jnp.abs(rates)))
        start = jnp.full((1, 1), jnp.nan)
        moved = problem(y.at[row].add(1e-4), x)
        again = core.fit_batch(start, jax.tree.map(lambda leaf: leaf[None], moved))
        print(
            f"row {row}: derivative {rates[row]:.5f}, by refitting {(again.theta[0, 0] - fits.theta[0, 0]) / 1e-4:.5f}"
        )


if __name__ == "__main__":
    main()
