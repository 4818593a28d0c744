"""Pure JAX: the profiled criterion of one data set, and its batch over many. No pandas, no labels.

The functions named here are pure and follow the dtype of their arguments (double precision needs
``jax.enable_x64(True)``): put them into your own ``jax.jit``, ``jax.vmap`` and ``jax.grad``. ``Structure`` and
``ThetaMap`` are static; ``Nested`` and ``CrossProducts`` are pytrees. ``examples/jax_user.py`` is a longer example.

Examples
--------
A random intercept for three groups of four rows: the REML criterion, its derivative, and the fit.

>>> import jax, jax.numpy as jnp
>>> from remlax import core
>>> structure = core.Structure(core.ThetaMap((1,), (0,), (0,), (0,)), n_levels=(3,), n_fixed=1)
>>> with jax.enable_x64(True):
...     y = jnp.asarray([3.1, 2.7, 3.4, 3.0, 5.2, 4.8, 5.9, 5.1, 4.1, 3.9, 4.4, 3.6])
...     ones, codes = jnp.ones((12, 1)), jnp.arange(12) // 4
...     products, _ = core.cross_products(ones, y, (ones,), (codes,), structure)
...     problem = core.Nested(structure, products)
...     at_one = core.reml_criterion(jnp.ones(1), problem)
...     slope = jax.grad(core.reml_criterion)(jnp.ones(1), problem)
...     batch = core.Nested(structure, jax.tree.map(lambda leaf: leaf[None], products))
...     optimum = core.fit_batch(jnp.full((1, 1), jnp.nan), batch)
>>> print(round(float(at_one), 4), round(float(slope[0]), 4), optimum.theta[0].round(4))
23.2969 -7.5543 [2.9303]
"""

from .engine.fit import fit_batch as fit_batch
from .kernels.criterion import Derivatives as Derivatives
from .kernels.criterion import profiled_deviance as profiled_deviance
from .kernels.criterion import reml_criterion as reml_criterion
from .kernels.criterion import value_and_grad as value_and_grad
from .kernels.criterion import value_grad_hess as value_grad_hess
from .kernels.cross_products import Rotation as Rotation
from .kernels.cross_products import cross_products as cross_products
from .kernels.nested import Nested as Nested
from .kernels.newton import Optimum as Optimum
from .kernels.problem import CrossProducts as CrossProducts
from .kernels.problem import Problem as Problem
from .kernels.problem import Structure as Structure
from .kernels.theta import ThetaMap as ThetaMap

__all__ = [
    "CrossProducts",
    "Derivatives",
    "Nested",
    "Optimum",
    "Problem",
    "Rotation",
    "Structure",
    "ThetaMap",
    "cross_products",
    "fit_batch",
    "profiled_deviance",
    "reml_criterion",
    "value_and_grad",
    "value_grad_hess",
]
