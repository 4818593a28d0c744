"""Cross-products of all versions of the weights and all responses: what does not hold the response is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy

from ..design.build import ModelRows
from ..design.rows import RowMatrix
from ..engine.batch import Batch
from ..errors import DataError
from ..fitting.assemble import random_columns
from ..fitting.layout import Layout
from ..fitting.refit import EXACT_FIT
from ..fitting.units import Units
from .pseudo_likelihood import UnitRows, WeightedNested, WeightedProducts
from .weights import SamplingWeights


@dataclass(frozen=True, eq=False)
class SurveyBatch:
    """R x M data sets, versions of the weights by responses, with the way back to the user's units.

    Parameters
    ----------
    batch : Batch
        Version r of response m is data set r M + m.
    rows : UnitRows
        Of the M data sets with the weights of the sample, (M, ...); zeros where no scores are wanted.
    inverse : ndarray (M, p, p)
        beta = ols + inverse @ gamma * y_scale.
    ols : ndarray (M, p)
    y_scale : ndarray (M,)
    units : tuple of Units
        Columns of Z inside, per factor.
    x_spread : ndarray (R, M, p, p)
        Weighted covariance of the columns of X.
    z_squares : tuple of ndarray (R, M, q, q)
        Weighted mean of z z' per term, of the columns inside.
    """

    batch: Batch
    rows: UnitRows
    inverse: np.ndarray
    ols: np.ndarray
    y_scale: np.ndarray
    units: tuple[Units, ...]
    x_spread: np.ndarray
    z_squares: tuple[np.ndarray, ...]


class FixedColumns(NamedTuple):
    """Columns of X, perhaps centred, what centred those in the model (p, p), and which these are."""

    x: RowMatrix
    turn: np.ndarray | None
    keep: np.ndarray


def survey_batch(
    rows: ModelRows, layout: Layout, fixed: FixedColumns, weights: SamplingWeights, *, scores: bool
) -> SurveyBatch:
    """Form the products of every version of the weights and every response, and rows of the units for ``scores``.

    Raises
    ------
    DataError
        The fixed part explains a response exactly.
    """
    x = fixed.x.select(fixed.keep.tolist())
    columns, units = random_columns(rows, layout)
    shared = not x.differs and not any(own.differs for own in columns)
    parts = []
    for sets in [range(rows.n_sets)] if shared else [range(m, m + 1) for m in range(rows.n_sets)]:
        z = [_of_factor(layout, columns, f, sets[0]) / unit.scale for f, unit in enumerate(units)]
        y = np.stack([_response(rows, m) for m in sets], axis=1)
        part = _Part.of(x.of(sets[0]), y, z, layout, weights)
        exact = np.flatnonzero(part.y_scale <= EXACT_FIT * np.sqrt(np.mean(y**2, axis=0)))
        if len(exact):
            label = rows.labels[sets[exact[0]]]
            raise DataError(f"the fixed part explains {label} exactly: there is no residual variance to estimate")
        parts.append(part.products(scores=scores))
    return _joined(parts, layout, weights, units, fixed.turn)


def _of_factor(layout: Layout, columns: Sequence[RowMatrix], f: int, m: int) -> np.ndarray:
    """Columns (n, q) of a factor's terms."""
    places = {term.start: t for t, term in enumerate(layout.terms) if term.factor == f}
    return np.concatenate([columns[t].of(m) for _, t in sorted(places.items())], axis=1)


def _response(rows: ModelRows, m: int) -> np.ndarray:
    y = rows.y.of(m)
    return np.asarray(y if rows.offset is None else y - rows.offset.of(m))


@dataclass(frozen=True, eq=False)
class _Part:
    """Data sets with the same rows of X and Z: M responses, R versions of the weights."""

    u: np.ndarray  # orthonormal X, scaled residuals of the responses (n, p + M)
    z: list[np.ndarray]  # scaled
    x: np.ndarray
    inverse: np.ndarray
    ols: np.ndarray
    y_scale: np.ndarray
    layout: Layout
    weights: SamplingWeights
    total: np.ndarray  # (R, n)

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, z: list[np.ndarray], layout: Layout, weights: SamplingWeights) -> _Part:
        total = weights.total(layout.factors)
        root = np.sqrt(total[0])[:, None]
        size = np.sqrt(np.sum((root * x) ** 2, axis=0))
        basis, upper = np.linalg.qr(root * x / size)
        inverse = np.linalg.inv(upper) / size[:, None]
        ols = inverse @ (basis.T @ (root * y))
        residual = y - x @ ols
        y_scale = np.sqrt(np.maximum(total[0] @ residual**2 / total[0].sum(), 1e-300))
        u = np.concatenate([x @ inverse, residual / y_scale], axis=1)
        return cls(u, z, x, inverse, ols, y_scale, layout, weights, total)

    def products(self, *, scores: bool) -> dict[str, Any]:
        """Arrays with leading axes (R, M); those of the outermost units only where scores are wanted."""
        p, m = self.inverse.shape[0], len(self.y_scale)
        gram = np.stack([(self.u * own[:, None]).T @ self.u for own in self.total])
        blocks = [self._factor(f) for f in range(len(self.z))]
        top = self.layout.factors[-1]
        units, unit_n = np.zeros((m, p + 1, p + 1, 0)), np.zeros(0)
        if scores:
            by_unit = _indicator(top.codes, top.n_levels)
            pairs = (self.u[:, :, None] * self.u[:, None, :]).reshape(len(self.u), -1)
            gram_of = (by_unit @ (pairs * self.total[0][:, None])).reshape(-1, p + m, p + m)
            units, unit_n = np.moveaxis(_by_response(gram_of, p, m), 0, 3), by_unit @ self.total[0]
        return {
            "ww": _by_response(gram, p, m),
            "zz": [np.repeat(zz[:, None], m, axis=1) for zz, _ in blocks],
            "zr": [np.stack([zr[:, :, _columns(zr.shape[2], j, m)] for j in range(m)], axis=1) for _, zr in blocks],
            "units": units,
            "unit_n": unit_n,
            "part": self,
        }

    def _factor(self, f: int) -> tuple[np.ndarray, np.ndarray]:
        """Z_f'Z_f (R, q, q, L) and Z_f'[coarser Z, X, all y] (R, q, ., L), weighted as in `WeightedProducts`."""
        factor, q = self.layout.factors[f], self.z[f].shape[1]
        right = np.concatenate([*self.z[f:], self.u], axis=1)
        pairs = (self.z[f][:, :, None] * right[:, None, :]).reshape(len(right), -1)
        sums, levels = _indicator(factor.codes, factor.n_levels), self.weights.levels
        nu = self.weights.rows.copy()
        for finer in range(f):
            nu *= levels[finer][:, self.layout.factors[finer].codes]
        first = sums @ (pairs * nu[0][:, None])
        found = [first if np.array_equal(own, nu[0]) else sums @ (pairs * own[:, None]) for own in nu]
        table = np.stack(found).reshape(len(nu), factor.n_levels, q, -1)
        root, start = np.sqrt(levels[f]), q
        for g in range(f + 1, len(self.z)):
            stop = start + self.z[g].shape[1]
            table[..., start:stop] *= root[:, :, None, None]
            root = root * np.sqrt(levels[g])[:, factor.parents(self.layout.factors[g])]
            start = stop
        table[..., start:] *= root[:, :, None, None]
        table = np.moveaxis(table, 1, 3)
        pad = self.layout.structure.n_levels[f] - factor.n_levels
        table = np.pad(table, [(0, 0)] * 3 + [(0, pad)])
        return table[:, :, :q], table[:, :, q:]


def _columns(width: int, j: int, m: int) -> np.ndarray:
    """Columns of all but the responses, and of response j."""
    return np.append(np.arange(width - m), width - m + j)


def _by_response(gram: np.ndarray, p: int, m: int) -> np.ndarray:
    """[X y_j]'[X y_j] of every response, (R, M, w, w), from one of all of them (R, p + M, p + M)."""
    which = [_columns(p + m, j, m) for j in range(m)]
    return np.stack([gram[:, own[:, None], own] for own in which], axis=1)


def _indicator(codes: np.ndarray, n_levels: int) -> Any:
    n = len(codes)
    return scipy.sparse.csr_matrix((np.ones(n), (codes, np.arange(n))), shape=(n_levels, n))


def _joined(
    parts: list[dict[str, Any]],
    layout: Layout,
    weights: SamplingWeights,
    units: tuple[Units, ...],
    turn: np.ndarray | None,
) -> SurveyBatch:
    """Put the parts side by side, and lay out versions by responses as data sets."""
    r, p = weights.n_versions, len(parts[0]["part"].inverse)
    m = sum(part["ww"].shape[1] for part in parts)

    def flat(arrays: list[np.ndarray]) -> np.ndarray:
        whole = np.concatenate(arrays, axis=1)
        return whole.reshape(r * m, *whole.shape[2:])

    total = np.repeat(parts[0]["part"].total.sum(axis=1), m)
    y_scale = np.concatenate([part["part"].y_scale for part in parts])
    level_weight = []
    for f, factor in enumerate(layout.factors):
        pad = layout.structure.n_levels[f] - factor.n_levels
        own = np.pad(weights.above(layout.factors, f), [(0, 0), (0, pad)], constant_values=1.0)
        level_weight.append(np.repeat(own, m, axis=0))
    host: dict[str, Any] = {
        "zz": tuple(flat([part["zz"][f] for part in parts]) for f in range(len(units))),
        "zr": tuple(flat([part["zr"][f] for part in parts]) for f in range(len(units))),
        "ww": flat([part["ww"] for part in parts]),
        "n_obs": total,
        "n_fixed": np.full(r * m, float(p)),
        "constant": np.zeros(r * m),
        "constant_ml": np.zeros(r * m),
        "log_scale": np.tile(2 * np.log(y_scale), r),
        "level_weight": tuple(level_weight),
    }
    structure = replace(layout.structure, n_fixed=p, reml=False)
    pad = structure.n_levels[-1] - parts[0]["unit_n"].size
    by_unit = UnitRows(
        np.pad(np.concatenate([part["units"] for part in parts]), [(0, 0)] * 3 + [(0, pad)]),  # type: ignore[arg-type]
        np.repeat(np.pad(parts[0]["unit_n"], (0, pad))[None], m, axis=0),  # type: ignore[arg-type]
    )
    counts = [part["ww"].shape[1] for part in parts]
    repeated = [part["part"] for part, count in zip(parts, counts, strict=True) for _ in range(count)]
    back = np.eye(p) if turn is None else turn
    forth = np.linalg.inv(back)
    spreads = [forth.T @ _spread(part["part"]) @ forth for part in parts]
    squares = [[_squares(part["part"], term) for part in parts] for term in layout.terms]
    return SurveyBatch(
        batch=Batch(WeightedNested(structure, WeightedProducts(**host), layout.index)),  # type: ignore[arg-type]
        rows=by_unit,
        inverse=back @ np.stack([part.inverse for part in repeated]),
        ols=np.concatenate([part["part"].ols.T for part in parts]) @ back.T,
        y_scale=y_scale,
        units=units,
        x_spread=np.concatenate([np.repeat(s[:, None], c, axis=1) for s, c in zip(spreads, counts, strict=True)], 1),
        z_squares=tuple(
            np.concatenate([np.repeat(s[:, None], c, axis=1) for s, c in zip(own, counts, strict=True)], 1)
            for own in squares
        ),
    )


def _spread(part: _Part) -> np.ndarray:
    """Weighted covariance of the columns of X in every version, (R, p, p); the divisor is n - 1 without weights."""
    n = len(part.x)
    share = part.total / part.total.sum(axis=1, keepdims=True)
    out = []
    for own in share:
        centred = part.x - own @ part.x
        out.append((centred * own[:, None]).T @ centred * n / (n - 1))
    return np.stack(out)


def _squares(part: _Part, term: Any) -> np.ndarray:
    """Weighted mean of z z' of a term in every version, (R, q, q), of the columns inside."""
    z = part.z[term.factor][:, term.columns]
    share = part.total / part.total.sum(axis=1, keepdims=True)
    return np.stack([(z * own[:, None]).T @ z for own in share])
