"""Kenward and Roger's method for many responses: what `inference.kenward_roger` does of each, from its estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..engine.batch import Batch, run
from ..errors import DataError
from ..fitting.assemble import Assembled
from ..fitting.find_redundancy import find_redundancies
from ..inference.kenward_roger import Adjustment, adjustment_of, check_defined, contrast_df, joint_df
from ..kernels.inference import kenward_roger_parts
from ..memory import check_room
from .design import ManySource
from .estimates import ResponseFits
from .fit import SharedDesign, patterns


@dataclass(frozen=True, eq=False)
class KenwardRogerFits(ResponseFits):
    """Fits whose coefficients are tested by Kenward and Roger's method.

    Parameters
    ----------
    adjustment : Adjustment
        Of every response; NaN where it has no estimate.
    """

    adjustment: Adjustment

    def combinations(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `ResponseFits.combinations`; the variances are adjusted."""
        if not len(matrix):
            return super().combinations(matrix)
        found = []
        for row in matrix:  # each by itself: a coefficient that takes no part must not take its NaN there
            used, own = self._used(row[None])
            part = row[used][None]
            variance = np.einsum("ri,kij,rj->kr", part, own.adjusted, part)
            found.append((self.beta[:, used] @ part.T, variance, contrast_df(own, part)))
        estimate, variance, df = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
        return estimate, variance, df

    def joint(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `ResponseFits.joint`; the factor is that of the scaled F statistic."""
        used, own = self._used(matrix)
        rows = matrix[:, used]
        covariance = np.asarray(rows @ own.adjusted @ rows.T)
        there = np.flatnonzero(np.isfinite(covariance).all(axis=(1, 2)))
        df2, scale = np.full(len(covariance), np.nan), np.ones(len(covariance))
        of_these = (own.cov, own.adjusted, own.moved, own.weights)
        df2[there], scale[there] = joint_df(Adjustment(*(part[there] for part in of_these)), rows)
        return covariance, df2, scale

    def _used(self, matrix: np.ndarray) -> tuple[np.ndarray, Adjustment]:
        """Coefficients that take part, and what is known of them: others may be NaN."""
        used, own = np.flatnonzero((matrix != 0).any(axis=0)), self.adjustment
        square = (used[:, None], used)
        cov, adjusted, moved = (part[(..., *square)] for part in (own.cov, own.adjusted, own.moved))
        return used, Adjustment(cov, adjusted, moved, own.weights)


def kenward_roger_fits(design: SharedDesign, fits: ResponseFits, source: ManySource) -> KenwardRogerFits:
    """Adjust the covariances of all responses, a block at a time.

    Raises
    ------
    DataError
        Fits by maximum likelihood, or responses that lack rows and were read in blocks.
    ModelSizeError
        The second derivatives, or the adjustments, do not fit in memory.
    """
    check_defined(design.model.layout.structure)
    (n, p), r = fits.beta.shape, fits.theta.shape[1] + 1
    check_room(
        n * (p * p * (r + 2) + r * r), f"Kenward-Roger's adjustments of {n} responses", "use ddf='satterthwaite'"
    )
    found = Adjustment(*(np.full((n, *shape), np.nan) for shape in ((p, p), (p, p), (r, p, p), (r, r))))
    for which, model in _models(design, fits, source):
        here = np.flatnonzero(np.isin(design.model.keep, model.keep))
        batch = design.small_batch if model is design.model else model.batch
        own = _adjustment(model, batch, fits.theta[which], fits.sigma[which])
        found.weights[which] = own.weights
        at = (which[:, None, None], here[:, None], here)
        found.cov[at], found.adjusted[at] = own.cov, own.adjusted
        for i in range(r):
            found.moved[:, i][at] = own.moved[:, i]
    # variances that are not identified have none here either
    found.adjusted[np.isnan(fits.vcov)] = np.nan
    return KenwardRogerFits(**fits.tree(), adjustment=found)


def _models(design: SharedDesign, fits: ResponseFits, source: ManySource) -> Iterator[tuple[np.ndarray, Assembled]]:
    """Responses and their model: one data set that they share, or a data set for each."""
    own = fits.converged & ((fits.n_obs < design.rows.n_rows(0)) | (source.weights is not None))
    shared = np.flatnonzero(fits.converged & ~own)
    size = design.block_size()
    yield from ((shared[start : start + size], design.model) for start in range(0, len(shared), size))
    if own.any() and source.responses is None:
        raise DataError(
            f"{int(own.sum())} responses lack rows, and the responses were read in blocks and are not kept: "
            "Kenward-Roger's method needs to know which rows; use ddf='satterthwaite'"
        )
    for which in design.pieces(np.flatnonzero(own)):
        y, weights, used = source.numbers(which)
        rest = np.ones(len(which), bool)
        if weights is None:
            for pattern, alike in patterns(used, np.arange(len(which)), np.asarray(used.all(axis=1))):
                part = design.of_pattern(pattern)
                assert part is not None  # they have fits
                rest[alike] = False
                yield which[alike], part.model
        left = np.flatnonzero(rest)
        if len(left):
            given = None if weights is None else weights[left]
            for piece, model in design.own_models(y[left], None if used[left].all() else used[left], given):
                assert model is not None
                yield which[left[piece]], model


def _adjustment(model: Assembled, batch: Batch, theta: np.ndarray, sigma: np.ndarray) -> Adjustment:
    """Adjust (m,) responses to the one data set of a model, or to one each."""
    m = len(sigma)
    sets = np.arange(m) if batch.n_sets == m else np.zeros(m, dtype=int)
    parts = run(kenward_roger_parts, batch, model.inner_theta(theta), which=sets)
    found = find_redundancies(model)
    return adjustment_of(parts, model.inverse[sets], sigma, [found.each[k] for k in sets])
