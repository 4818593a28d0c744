"""Repeated: one response of a design whose covariance matrix has, in some basis, a few small blocks that repeat.

Z Lambda Lambda' Z' is a combination of matrices that depend on the design alone. Where levels can be exchanged, as in
crossed and balanced designs, an orthogonal basis makes all of them block diagonal with equal blocks (Murota, Kanno,
Kojima and Kojima 2010, Jpn. J. Ind. Appl. Math. 27:125). A response is then a sum of outer products per kind of block,
and neither levels nor rows are met again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ...kernels.problem import Border, Expansion, Stackable, Structure
from ...kernels.small import factor_inverse
from ...kernels.theta import mapped_factors
from ...shapes import Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RepeatedProducts:
    """What one response adds (a leading axis of responses when stacked); W = [X y] as in `CrossProducts`.

    Parameters
    ----------
    moments : Array (c, b, b, w, w)
        Per kind of block, the sum over its copies of outer products of the coordinates of W.
    ww : Array (w, w)
        W'W in the directions that Z does not reach.
    squares, sums : tuple of Array (q, levels)
        Z'z and z'y of every column of Z, per factor, for the start.
    n_obs, n_fixed, constant, constant_ml, log_scale : Array, scalar
        See `CrossProducts`.
    """

    moments: Float[Array, "*k c b b w w"]
    ww: Float[Array, "*k w w"]
    squares: tuple[Float[Array, "*k _q _levels"], ...]
    sums: tuple[Float[Array, "*k _q _levels"], ...]
    n_obs: Float[Array, "*k"]
    n_fixed: Float[Array, "*k"]
    constant: Float[Array, "*k"]
    constant_ml: Float[Array, "*k"]
    log_scale: Float[Array, "*k"]


class RepeatedBlocks(NamedTuple):
    """Blocks of Z D Z' per kind.

    bases (c, e, b, b): what each entry of the lower triangles of D, factor by factor, is multiplied by; copies (c,).
    """

    bases: Float[Array, "c e b b"]
    copies: Float[Array, " c"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Repeated(Stackable):
    """One response; what all share is the index. It has those parts of a `Problem` that fits and tests need."""

    structure: Structure = field(metadata={"static": True})
    products: RepeatedProducts
    index: RepeatedBlocks

    def reversed(self) -> None:
        """No: blocks have no order that would help."""

    def column_sums(self) -> list[tuple[Float[Array, "_q _levels"], Float[Array, "_q _levels"]]]:
        """See `Problem`."""
        return list(zip(self.products.squares, self.products.sums, strict=True))

    def marginal(
        self, lams: tuple[Float[Array, "_q _q"], ...], *, lower: bool = True
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """See `Problem`."""
        return self._at(_entries(lams))[:2]

    def marginal_near(
        self, lams: tuple[Float[Array, "_q _q"], ...], es: tuple[Float[Array, "_q _q"], ...]
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """See `Problem`."""
        return self._at(_entries(lams) + jnp.concatenate([e[np.tril_indices(len(e))] for e in es]))[:2]

    def _at(self, entries: Float[Array, " e"]) -> tuple[Array, Array, Array]:
        """log|V|, M, and the inverse of every block (c, b, b)."""
        blocks, own = self.index, self.products
        eye = jnp.eye(blocks.bases.shape[-1], dtype=entries.dtype)
        root, inverse_root = factor_inverse(eye[None] + jnp.einsum("e,ceij->cij", entries, blocks.bases))
        logs = jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), axis=1)
        inverse = jnp.einsum("cki,ckj->cij", inverse_root, inverse_root)
        m = own.ww + jnp.einsum("cij,cijvw->vw", inverse, own.moments)
        return 2 * jnp.sum(blocks.copies * logs), m, inverse

    def expansion(
        self,
        theta: Float[Array, " d"],
        maps: tuple[Float[Array, "d _q _q"], ...],
        border_of: Callable[[Array], Border],
        *,
        hessian: bool,
        lower: bool = True,
    ) -> Expansion:
        """See `Problem`; derivatives in the entries of D, carried to theta by the chain rule."""

        def entries_of(at: Array) -> Array:
            return _entries(mapped_factors(at, maps))

        blocks, moments = self.index, self.products.moments
        logdet, m, inverse = self._at(entries_of(theta))
        border = border_of(m)
        by_m = border.transform.T @ (border.slope[:, None] * border.transform)
        moved = jnp.einsum("cij,cejk->ceik", inverse, blocks.bases)
        through = jnp.einsum("ceik,ckj->ceij", moved, inverse)
        m_slope = -jnp.einsum("ceij,cijvw->evw", through, moments)
        traces = jnp.einsum("c,ceii->e", blocks.copies, moved)
        by_entry = traces + jnp.einsum("vw,evw->e", by_m, m_slope)
        to_theta = jax.jacfwd(entries_of)(theta)
        grad = by_entry @ to_theta
        if not hessian:
            none = jnp.zeros((0, 0), theta.dtype)
            return Expansion(logdet, m, border.value, grad, none, none)
        weighted = jnp.einsum("vw,cijvw->cij", by_m, moments)
        twice = jnp.einsum("ceij,cfjl->cefil", moved, through)
        second = 2 * jnp.einsum("cefij,cij->ef", twice, (weighted + jnp.swapaxes(weighted, 1, 2)) / 2)
        second -= jnp.einsum("c,ceij,cfji->ef", blocks.copies, moved, moved)
        d_m = border.transform @ jnp.einsum("evw,ea->avw", m_slope, to_theta) @ border.transform.T
        hess = to_theta.T @ second @ to_theta - jnp.einsum("ij,aij,bij->ab", border.curvature, d_m, d_m)
        hess += jnp.einsum("e,eab->ab", by_entry, jax.jacfwd(jax.jacfwd(entries_of))(theta))
        return Expansion(logdet, m, border.value, grad, (hess + hess.T) / 2, d_m)


def _entries(lams: tuple[Float[Array, "_q _q"], ...]) -> Float[Array, " e"]:
    """Lower triangles of D = Lambda Lambda' of every factor, one after the other."""
    return jnp.concatenate([(lam @ lam.T)[np.tril_indices(len(lam))] for lam in lams])
