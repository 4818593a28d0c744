"""Responses drawn from a fitted model, and the same model fitted to other responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from ..data.imputed import ImputedData
from ..data.made_frames import MadeFrames
from ..design.build import ModelRows, RowInput
from ..design.rows import RowArray, RowMatrix
from ..engine.shapes import host_leaf
from ..errors import DataError
from ..kernels.lbfgs import LBFGS
from ..kernels.newton import Newton
from ..memory import check_room
from .assemble import Assembled, assemble_as, inner_columns
from .fit import Fitted, fit_assembled
from .glmm import GlmmFitted
from .mmrm.fit import MmrmFitted
from .mmrm.patients import draw_visits, refit_mmrm
from .priors import with_fixef_prior
from .responses.refits import draw_from, refit_glmm
from .selection import Selection

# a residual below this share of the response is rounding error
EXACT_FIT = 1e-13
# numbers of the responses that are worked on at once
BLOCK_NUMBERS = 2**21


def z_matrices(model: Assembled, k: int) -> list[scipy.sparse.csr_array]:
    """Z of each factor, in elimination order, as it is inside: sparse (n, levels * q), level by level."""
    out = []
    for f, z in enumerate(inner_columns(model, k)):
        codes = model.rows.factor_rows[model.layout.factor_source[f]].of(k).astype(np.int64)
        n, q = z.shape
        columns = (codes[:, None] * q + np.arange(q)).reshape(-1)
        shape = (n, model.layout.factors[f].n_levels * q)
        out.append(scipy.sparse.csr_array((z.reshape(-1), columns, np.arange(n + 1) * q), shape=shape))
    return out


@dataclass(frozen=True)
class Truth:
    """Parameters to simulate from.

    beta (p,); root of the covariance of each term's effects (q, q), lower triangular; residual SD.
    """

    beta: np.ndarray
    roots: tuple[np.ndarray, ...]
    sigma: float

    @classmethod
    def of_fit(cls, fit: Selection) -> Truth:
        """Estimates of one data set."""
        sigma = float(fit.fitted.sigma[fit.k])
        terms = range(len(fit.model.layout.terms))
        return cls(fit.fitted.beta[fit.k], tuple(sigma * fit.fitted.relative_factor(t)[fit.k] for t in terms), sigma)


def draw_responses(
    fit: Selection,
    n_sims: int,
    rng: np.random.Generator,
    *,
    given_modes: bool = False,
    truth: Truth | None = None,
) -> np.ndarray:
    """Draw responses from the model: y = X beta + offset + Z b + e.

    Parameters
    ----------
    fit : Selection
    n_sims : int
    rng : numpy.random.Generator
        Simulation s uses the same draws however many there are.
    given_modes : bool, default False
        Keep the random effects at their conditional modes (lme4's ``use.u = TRUE``) rather than draw new ones.
    truth : Truth, optional
        Other parameters than the estimates.

    Returns
    -------
    ndarray (n_sims, n)
    """
    if isinstance(fit.fitted, MmrmFitted):
        if given_modes:
            raise DataError("given_modes=True: a mixed model for repeated measures has no random effects to keep")
        return draw_visits(fit, n_sims, rng, None if truth is None else truth.beta)
    model = fit.model
    own = Truth.of_fit(fit)
    truth = own if truth is None else truth
    mean = fit.fitted.fitted_values(fit.k, random=given_modes)
    mean = mean + model.rows.x.of(fit.k)[:, model.keep] @ (truth.beta - own.beta)
    z = z_matrices(model, fit.k)
    widths = [0 if given_modes else part.shape[1] for part in z]
    numbers = 3 * int(n_sims) * (sum(widths) + len(mean))
    check_room(numbers, f"{n_sims} responses of {len(mean)} rows", "draw fewer (n_sims)")
    if isinstance(fit.fitted, GlmmFitted):
        own_rng = rng.spawn(n_sims)
        eta = np.tile(mean, (n_sims, 1))
        _add_effects(eta, model, z, np.stack([each.standard_normal(sum(widths)) for each in own_rng]), truth)
        return draw_from(fit.fitted, fit.k, eta, own_rng)
    drawn = rng.standard_normal((n_sims, sum(widths) + len(mean)))
    noise = drawn[:, sum(widths) :] * truth.sigma
    if model.rows.weights is not None:
        noise = noise / np.sqrt(model.rows.weights.of(fit.k))
    out = mean + noise
    _add_effects(out, model, z, drawn[:, : sum(widths)], truth)
    return np.asarray(out)


def _add_effects(
    out: np.ndarray, model: Assembled, z: list[scipy.sparse.csr_array], drawn: np.ndarray, truth: Truth
) -> None:
    """Add Z b to rows (n_sims, n), b from standard normal numbers (n_sims, effects), or nothing without them."""
    layout, n_sims, start = model.layout, len(out), 0
    for f, part in enumerate(z if drawn.shape[1] else []):
        q, width = layout.structure.q[f], part.shape[1]
        root = np.zeros((q, q))
        for t, term in enumerate(layout.terms):
            if term.factor == f:
                inside = model.units[f].inside[term.columns, term.columns]
                root[term.columns, term.columns] = inside @ truth.roots[t]
        effects = drawn[:, start : start + width].reshape(-1, q) @ root.T
        out += (part @ effects.reshape(n_sims, width).T).T
        start += width


def refit_to(
    fit: Selection,
    responses: npt.ArrayLike,
    *,
    weights: np.ndarray | None = None,
    optimizer: LBFGS | Newton | None = None,
) -> Fitted:
    """Fit the model of one data set to other responses, all at once.

    Rows, columns, weights and offset stay as they are, so that only the blocks of the cross-products that hold the
    response are formed; the others are shared. With other weights all are formed.

    Parameters
    ----------
    fit : Selection
    responses : array_like (n_sims, n)
        Rows in the order of the model's rows, the offset not subtracted.
    weights : ndarray (1, n) or (n_sims, n), optional
        Other weights, for all refits or for each.
    optimizer : LBFGS or Newton, optional
        That of the fit by default.

    Returns
    -------
    Fitted
        One data set per row of ``responses``, labelled 1 to n_sims.

    Raises
    ------
    DataError
        A wrong shape, values that are not finite, weights that are not positive, or a response that the fixed part
        explains without remainder.
    """
    y = _checked(responses, fit.rows.n_rows(fit.k))
    if isinstance(fit.fitted, GlmmFitted):
        if weights is not None:
            raise DataError("weights= of refits are for linear mixed models: fit the model again with other weights")
        return refit_glmm(fit.fitted, _repeated_rows(fit.rows, fit.k, y), y, k=fit.k)
    if isinstance(fit.fitted, MmrmFitted):
        if weights is not None:
            raise DataError("weights= of refits are for linear mixed models: fit the model again with other weights")
        return refit_mmrm(fit.fitted, _repeated_rows(fit.rows, fit.k, y))
    model = with_responses(fit.model, fit.k, y)
    if weights is not None:
        model = _with_weights(model, weights)
    return fit_assembled(model, fit.fitted.optimizer if optimizer is None else optimizer)


def _checked(responses: npt.ArrayLike, n: int) -> np.ndarray:
    y = np.asarray(responses, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] != n or not len(y):
        raise DataError(f"the responses have the shape {y.shape}; they need one row per data set and {n} columns")
    bad = np.flatnonzero(~np.isfinite(y).all(axis=1))
    if len(bad):
        raise DataError(f"response {bad[0] + 1} of {len(y)} holds values that are not finite")
    return y


def _with_weights(model: Assembled, weights: np.ndarray) -> Assembled:
    """Replace the weights of refits by others (1, n) or (n_sims, n)."""
    n_sims, n = model.rows.n_sets, model.rows.n_rows(0)
    if weights.shape not in ((1, n), (n_sims, n)):
        raise DataError(
            f"weights= has {len(weights)} columns of {weights.shape[1]} rows for {n_sims} responses of {n}: give one "
            "column for all refits, or one for each"
        )
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)).all(axis=1))
    if len(bad):
        where = f" in column {bad[0] + 1}" if len(weights) > 1 else ""
        raise DataError(f"weights= holds values that are not positive and finite{where}: leave those rows out")
    own = RowArray(weights[0], None) if len(weights) == 1 else RowArray(weights.reshape(-1), model.rows.offsets)
    given = weights[0] if len(weights) == 1 else list(weights)
    return assemble_as(model, replace(model.rows, weights=own, given_weights=given))


class ResponseProducts(NamedTuple):
    """Products of responses (m, n) with the design of one data set.

    gamma (m, p): coordinates in the basis of X; scale (m,): size of the residuals; wy (m, p + 1): products of the
    scaled residuals with the basis and with themselves; zy (m, levels, q) per factor: products with Z.
    """

    gamma: np.ndarray
    scale: np.ndarray
    wy: np.ndarray
    zy: tuple[np.ndarray, ...]

    def take(self, which: np.ndarray) -> ResponseProducts:
        """Some of the responses."""
        return ResponseProducts(
            self.gamma[which], self.scale[which], self.wy[which], tuple(part[which] for part in self.zy)
        )


def with_responses(model: Assembled, k: int, y: np.ndarray) -> Assembled:
    """Replace the response of one data set by others (n_sims, n), one data set each; the design is shared."""
    found = products_of_responses(model, k, y)
    exact = np.flatnonzero(explained_exactly(found, y))
    if len(exact):
        raise DataError(
            f"the fixed part explains response {exact[0] + 1} of {len(y)} exactly: there is no residual variance to "
            "estimate"
        )
    return with_products(model, k, y, found)


def explained_exactly(found: ResponseProducts, y: np.ndarray) -> np.ndarray:
    """Whether the fixed part explains responses (m, n) but for rounding error, boolean (m,)."""
    return np.asarray(~(found.scale > EXACT_FIT * np.sqrt(np.einsum("sn,sn->s", y, y) / y.shape[1])))


def with_products(model: Assembled, k: int, y: np.ndarray, found: ResponseProducts) -> Assembled:
    """Replace the response of one data set by others (n_sims, n), whose products are known."""
    n_sims, scale = len(y), found.scale
    own, inverse, inner = model.data_batch.one(k), model.inverse[k], model.inner_inverse
    ww = np.repeat(np.asarray(own.products.ww)[None], n_sims, axis=0)
    ww[:, -1] = 0.0  # of padded columns
    ww[:, -1, [*range(len(model.keep)), -1]] = found.wy
    ww[:, :, -1] = ww[:, -1]
    products = replace(own.with_zy(found.zy), ww=host_leaf(ww), log_scale=host_leaf(2 * np.log(scale)))
    out = replace(
        model,
        rows=_repeated_rows(model.rows, k, y),
        layout=replace(model.layout, table_codes=_table_codes_of(model, k)),
        batch=model.data_batch.with_products(products),
        inverse=np.broadcast_to(inverse, (n_sims, *inverse.shape)),
        inner_inverse=None if inner is None else np.broadcast_to(inner[k], (n_sims, *inverse.shape)),
        ols=found.gamma @ inverse.T,
        y_scale=scale,
    )
    return with_fixef_prior(out, model.fixef_prior)


def products_of_responses(model: Assembled, k: int, y: np.ndarray) -> ResponseProducts:
    """Multiply responses (m, n) by the design of one data set, block by block."""
    block = max(1, BLOCK_NUMBERS // y.shape[1])
    product = _product(model, k)
    blocks = [product(y[start : start + block]) for start in range(0, len(y), block)]
    gamma, scale, wy, *zy = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return ResponseProducts(gamma, scale, wy, tuple(zy))


def _product(model: Assembled, k: int) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """Make the function from responses (m, n) to the parts of their `ResponseProducts`."""
    rows, z, widths = model.rows, z_matrices(model, k), model.layout.structure.q
    offset = 0.0 if rows.offset is None else rows.offset.of(k)
    root = np.ones(rows.n_rows(k)) if rows.weights is None else np.sqrt(rows.weights.of(k))
    basis = model.orthonormal(rows.x.of(k)[:, model.keep], k) * root[:, None]

    def product(y: np.ndarray) -> tuple[np.ndarray, ...]:
        centred = (y - offset) * root
        # projected twice, as the conditioning of a data set is: the first pass leaves rounding error of the size of y
        gamma = centred @ basis
        residual = centred - gamma @ basis.T
        again = residual @ basis
        residual -= again @ basis.T
        scale = np.sqrt(np.einsum("sn,sn->s", residual, residual) / len(root))
        with np.errstate(divide="ignore", invalid="ignore"):  # a scale of zero is refused
            residual /= scale[:, None]
        wy = np.column_stack([residual @ basis, np.einsum("sn,sn->s", residual, residual)])
        residual *= root
        zy = ((part.T @ residual.T).T.reshape(len(y), -1, q) for part, q in zip(z, widths, strict=True))
        return gamma + again, scale, wy, *zy

    return product


def _table_codes_of(model: Assembled, k: int) -> tuple[np.ndarray, ...]:
    """Codes of one data set's rows per table."""
    rows = model.rows
    if all(f.offsets is None for f in rows.factor_rows):
        return model.layout.table_codes
    part = slice(rows.offsets[k], rows.offsets[k + 1])
    return tuple(codes[part] for codes in model.layout.table_codes)


def _repeated_rows(rows: ModelRows, k: int, y: np.ndarray) -> ModelRows:
    """Rows of one data set, shared by as many data sets as there are responses."""

    def one(values: RowArray) -> RowArray:
        return RowArray(values.of(k), None)

    n_sims, n = y.shape
    offsets, labels = np.arange(n_sims + 1) * n, tuple(range(1, n_sims + 1))
    data = None
    if rows.data is not None:
        data = ImputedData(RefitFrames(rows.data.frames[k], rows.formula.response, y), labels)
    return replace(
        rows,
        labels=labels,
        offsets=offsets,
        x=RowMatrix.of_all(rows.x.of(k), offsets),
        y=RowArray(y.reshape(-1), offsets),
        terms=tuple(replace(t, rows=RowMatrix.of_all(t.rows.of(k), offsets)) for t in rows.terms),
        factor_rows=tuple(one(f) for f in rows.factor_rows),
        weights=None if rows.weights is None else one(rows.weights),
        offset=None if rows.offset is None else one(rows.offset),
        index=(rows.index[k],) * n_sims,
        data=data,
        given_weights=of_set(rows.given_weights, k),
        given_offset=of_set(rows.given_offset, k),
        refitted=True,
    )


def of_set(given: RowInput, k: int) -> RowInput:
    """Weights or offset of one data set, where each has an array of its own."""
    if isinstance(given, list | tuple) and len(given) and np.ndim(given[0]) == 1:
        return np.asarray(given[k])
    return given


@dataclass(frozen=True, eq=False)
class RefitFrames(MadeFrames):
    """The data set with each response (n_sims, n) in place of its own, where the response is a column."""

    frame: pd.DataFrame
    response: str
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def make(self, k: int) -> pd.DataFrame:
        """See `MadeFrames`; memory is shared with the frame."""
        frame = self.frame.copy(deep=False)
        if self.response in frame:
            frame[self.response] = self.y[k]
        return frame
