"""From row arrays to a stack of cross-products, with everything needed to go back to the user's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..design.build import ModelRows
from ..design.rows import RowArray, RowMatrix
from ..engine.batch import Batch, n_cores
from ..engine.conditioning import Conditioned, condition_rows
from ..engine.rows import HostColumns
from ..engine.stack import make_batch
from ..errors import DataError
from ..kernels.criterion import LOG_2PI, Criterion
from ..kernels.inference import Solution
from ..kernels.newton import PROFILED
from ..priors import CovPrior, Normal, StudentT
from ..priors.penalty import PenalisedDeviance, Penalty
from .checks import check_groups, check_magnitudes, independent_columns
from .estimable import Ties, find_ties
from .layout import Layout, make_layout
from .priors import with_fixef_prior
from .units import Units, centring, mean_squares, random_units, triangular, turned, turned_term

# range of a response relative to its mean below which it is rounding error to a large part
FEW_DIGITS = 1e-11
# standard error of a contrast, relative to those of its coefficients, that rounding error leaves 4 digits of
LEAST_SHARE = 1e-6
# size of a coefficient beyond which its variance overflows
COEFFICIENT = 1e140


@dataclass(frozen=True)
class Assembled:
    """A stack and the scales that conditioning took out.

    Parameters
    ----------
    rows : ModelRows
    layout : Layout
    batch : Batch
    keep : ndarray of int
        Fixed-effect columns in the model (aliased ones are left out).
    units : tuple of Units
        Random-effects columns inside, per factor.
    inverse : ndarray (K, p, p)
        beta = ols + inverse @ gamma * y_scale.
    ols : ndarray (K, p)
    y_scale : ndarray (K,)
    fixed_turn : ndarray (p, p), optional
        What centred the fixed-effects columns, where they were.
    inner_inverse : ndarray (K, p, p), optional
        ``inverse`` of the centred columns.
    penalty : Penalty, optional
        What a prior on the covariance matrices adds to the criterion.
    prior : CovPrior, optional
    fixef_prior : Normal or StudentT, optional
        Prior on the coefficients, which is in the batch as rows of its own.
    prior_weight : ndarray (K,), optional
        Factors of its precisions, which are those of a normal prior.
    rows_alone : Batch, optional
        The batch without these.
    """

    rows: ModelRows
    layout: Layout
    batch: Batch
    keep: np.ndarray
    units: tuple[Units, ...]
    inverse: np.ndarray
    ols: np.ndarray
    y_scale: np.ndarray
    fixed_turn: np.ndarray | None = None
    inner_inverse: np.ndarray | None = None
    penalty: Penalty | None = None
    prior: CovPrior | None = None
    fixef_prior: Normal | StudentT | None = None
    prior_weight: np.ndarray | None = None
    rows_alone: Batch | None = None

    @property
    def data_batch(self) -> Batch:
        """The batch without a prior on the coefficients."""
        return self.batch if self.rows_alone is None else self.rows_alone

    @property
    def prior_arguments(self) -> str:
        """Arguments that gave priors, as in ``cov_prior=``; empty without one."""
        given = {"cov_prior=": self.prior, "fixef_prior=": self.fixef_prior}
        return " and ".join(name for name, prior in given.items() if prior is not None)

    @property
    def criterion(self) -> Criterion:
        """What is minimised over theta inside."""
        return PROFILED if self.penalty is None else PenalisedDeviance(self.penalty)

    def criteria(self, solution: Solution) -> np.ndarray:
        """Criterion of every data set, (K,), without the density of the coefficients under their prior."""
        value = np.asarray(solution.value)
        if self.fixef_prior is None or self.prior_weight is None:
            return value
        sigma, beta = np.asarray(solution.sigma) * self.y_scale, self.coefficients(np.asarray(solution.gamma))
        n_own = np.isfinite(self.fixef_prior.scales(self.fixed_names)).sum()
        squares = self.prior_weight * self.fixef_prior.distance(self.fixed_names, beta / sigma[:, None])
        return np.asarray(value - n_own * (LOG_2PI + 2 * np.log(sigma)) - squares)

    def coefficients(self, gamma: np.ndarray) -> np.ndarray:
        """Coefficients (K, p) of the user's columns from those inside, perhaps padded."""
        moved = np.einsum("kij,kj->ki", self.inverse, gamma[:, : len(self.keep)])
        return np.asarray(self.ols + moved * self.y_scale[:, None])

    @property
    def fixed_names(self) -> list[str]:
        """Names of the coefficients in the model."""
        return [self.rows.fixed.names[j] for j in self.keep]

    @property
    def dropped_names(self) -> list[str]:
        """Names of the fixed-effect columns left out, as others determine them."""
        kept = set(self.keep.tolist())
        return [name for j, name in enumerate(self.rows.fixed.names) if j not in kept]

    @property
    def term_names(self) -> dict[str, list[str]]:
        """Coefficients in the model of every term of the fixed part that has some."""
        kept, names = set(self.keep.tolist()), self.rows.fixed.names
        found = {term: [names[j] for j in at if j in kept] for term, at in self.rows.fixed.term_columns.items()}
        return {term: own for term, own in found.items() if own}

    @cached_property
    def ties(self) -> Ties:
        """How the columns left out follow from the others.

        Every data set has the rank of all together (`independent_columns`), so that all have one row space.
        """
        full = len(self.keep) == len(self.rows.fixed.names)
        return find_ties(np.zeros((0, 0)) if full else self.rows.x.values, self.keep, self.rows.fixed.names)

    @property
    def theta_scale(self) -> np.ndarray:
        """Internal theta over the user's, where no column is centred, (d,)."""
        map_ = self.layout.structure.theta_map
        return np.array([self.units[f].scale[i] for f, i in zip(map_.factor, map_.row, strict=True)])

    def inner_theta(self, theta: np.ndarray) -> np.ndarray:
        """Theta (K, d) of the columns inside from that of the user's."""
        return self._turned(theta * self.theta_scale, theta, [unit.inside for unit in self.units])

    def outer_theta(self, theta: np.ndarray) -> np.ndarray:
        """Theta (K, d) of the user's columns from that of the columns inside."""
        return self._turned(theta / self.theta_scale, theta, [unit.outside for unit in self.units])

    def _turned(self, out: np.ndarray, theta: np.ndarray, by: list[np.ndarray]) -> np.ndarray:
        """Put the terms with centred columns into scaled theta: Lambda from the left by a matrix per factor."""
        for term in self.layout.terms:
            if self.units[term.factor].turn is not None:
                col, row = np.triu_indices(term.q)
                lam = np.zeros((len(theta), term.q, term.q))
                lam[:, row, col] = theta[:, term.theta]
                out[:, term.theta] = triangular(by[term.factor][term.columns, term.columns] @ lam)[:, row, col]
        return out

    def orthonormal(self, x: np.ndarray, k: int) -> np.ndarray:
        """Rows (n, p) of the user's columns in the orthonormal coordinates of data set k."""
        if self.fixed_turn is None or self.inner_inverse is None:
            return np.asarray(x @ self.inverse[k])
        return np.asarray((x @ self.fixed_turn) @ self.inner_inverse[k])

    def check_digits(self, contrasts: np.ndarray, *, joint: bool = False) -> None:
        """Refuse contrasts (r, p), each or jointly, of which the covariance of the user's coefficients tells nothing.

        Raises
        ------
        DataError
            Columns so far from zero that coefficients all but cancel in the contrasts.
        """
        if self.fixed_turn is None or self.inner_inverse is None:
            return
        # standard errors, but for a factor, of the coefficients of the columns inside and of the user's
        inner, outer = (np.linalg.norm(a[0], axis=1) for a in (self.inner_inverse, self.inverse))
        for rows in [contrasts] if joint else contrasts[:, None]:
            if np.linalg.matrix_rank(rows) < len(rows):
                continue  # what is wrong with these is said elsewhere
            relative = (rows @ self.fixed_turn * inner) / np.linalg.norm(rows * outer, axis=1, keepdims=True)
            if np.linalg.svd(relative, compute_uv=False)[-1] < LEAST_SHARE:
                far = np.flatnonzero((self.fixed_turn != np.eye(len(inner))).any(axis=0))
                raise DataError(
                    f"{', '.join(repr(self.fixed_names[j]) for j in far)} is so far from zero for its spread that "
                    "coefficients cancel and leave no digits of the standard error: fit the model with a constant "
                    "subtracted from it"
                )

    def of_sets(self, which: np.ndarray) -> Assembled:
        """Some of the data sets; the rows stay those of all and may not be read, but for their labels."""
        inner = None if self.inner_inverse is None else self.inner_inverse[which]
        return replace(
            self,
            rows=replace(self.rows, labels=tuple(self.rows.labels[k] for k in which)),
            batch=self.batch.take(which),
            inverse=self.inverse[which],
            ols=self.ols[which],
            y_scale=self.y_scale[which],
            inner_inverse=inner,
            rows_alone=None if self.rows_alone is None else self.rows_alone.take(which),
            prior_weight=None if self.prior_weight is None else self.prior_weight[which],
        )


def assemble(rows: ModelRows, *, reml: bool, keep: np.ndarray | None = None) -> Assembled:
    """Stream the rows of all data sets into one stack.

    Parameters
    ----------
    rows : ModelRows
    reml : bool
    keep : ndarray of int, optional
        Columns of the fixed part in the model, where it is known that they are independent in every data set.

    Raises
    ------
    DesignError, DataError, ModelSizeError
    """
    check_magnitudes(rows)
    check_groups(rows)
    layout = make_layout(rows, reml=reml)
    # columns that cannot be divided by their size are found by what comes of it
    with np.errstate(all="ignore"):
        columns, units = random_columns(rows, layout)
        found, turn, keep = conditioned_fixed(rows, layout, units, columns, keep)
        return _assembled(rows, layout, units, keep, found, turn)


def conditioned_fixed(
    rows: ModelRows,
    layout: Layout,
    units: tuple[Units, ...],
    columns: Sequence[RowMatrix],
    known: np.ndarray | None = None,
) -> tuple[Conditioned, np.ndarray | None, np.ndarray]:
    """Cross-products in well-conditioned coordinates, what centred the fixed columns, and which are in the model.

    Raises
    ------
    DesignError
    """
    keep = np.arange(len(rows.fixed.names)) if known is None else known
    turn, found = None, _conditioned(rows, layout, units, (rows.x, columns), keep)
    if found is None:
        x, turn, keep = centred_columns(rows, known)
        found = _conditioned(rows, layout, units, (x, columns), keep, by_qr=True)
    assert found is not None  # QR always conditions
    return found, turn, keep


def assemble_as(model: Assembled, rows: ModelRows) -> Assembled:
    """Stream other rows of the same columns and groups into a stack like that of a model.

    Raises
    ------
    DataError
    """
    check_magnitudes(rows)
    columns = [
        turned_term(rows.terms[term.source].rows, model.units[term.factor], term.columns) for term in model.layout.terms
    ]
    turn, x = model.fixed_turn, rows.x
    if turn is not None:
        whole = np.eye(len(rows.fixed.names))
        whole[np.ix_(model.keep, model.keep)] = turn
        x = turned(x, whole)
    found = _conditioned(rows, model.layout, model.units, (x, columns), model.keep, by_qr=turn is not None)
    if found is None:
        found = _conditioned(rows, model.layout, model.units, (x, columns), model.keep, by_qr=True)
    out = _assembled(rows, model.layout, model.units, model.keep, found, turn)
    return with_fixef_prior(replace(out, penalty=model.penalty, prior=model.prior), model.fixef_prior)


def _conditioned(
    rows: ModelRows,
    layout: Layout,
    units: tuple[Units, ...],
    columns: tuple[RowMatrix, Sequence[RowMatrix]],
    keep: np.ndarray,
    *,
    by_qr: bool = False,
) -> Conditioned | None:
    """Cross-products in well-conditioned coordinates; None where that needs QR."""
    named = host_columns(rows, layout, units, columns, keep)
    return condition_rows(named, layout.tables, layout.structure.q, by_qr=by_qr, threads=n_cores())


def _assembled(
    rows: ModelRows,
    layout: Layout,
    units: tuple[Units, ...],
    keep: np.ndarray,
    found: Conditioned | None,
    turn: np.ndarray | None,
) -> Assembled:
    assert found is not None  # QR always conditions
    check_conditioned(rows, keep, found)
    batch = make_batch(found, layout.structure, layout.tables, layout.index)
    return assembled(rows, layout, units, keep, found, turn, batch)


def check_conditioned(rows: ModelRows, keep: np.ndarray, found: Conditioned) -> None:
    """Refuse a response without residuals, and units that leave double precision.

    Raises
    ------
    DataError
    """
    _check_residual(rows, found)
    _check_units(rows, keep, found)


def assembled(
    rows: ModelRows,
    layout: Layout,
    units: tuple[Units, ...],
    keep: np.ndarray,
    found: Conditioned,
    turn: np.ndarray | None,
    batch: Batch,
) -> Assembled:
    """Put a batch together with the way back to the user's units."""
    inverse, ols = np.asarray(found.rotation.inverse), np.asarray(found.rotation.ols)
    return Assembled(
        rows=rows,
        layout=layout,
        batch=batch,
        keep=keep,
        units=units,
        inverse=inverse if turn is None else turn @ inverse,
        ols=ols if turn is None else ols @ turn.T,
        y_scale=np.asarray(found.rotation.y_scale),
        fixed_turn=turn,
        inner_inverse=None if turn is None else inverse,
    )


def host_columns(
    rows: ModelRows,
    layout: Layout,
    units: tuple[Units, ...],
    columns: tuple[RowMatrix, Sequence[RowMatrix]],
    keep: np.ndarray,
) -> HostColumns:
    """Name the columns of X and of every term of all data sets; nothing is copied unless there is an offset."""
    z: list[list[np.ndarray]] = [[] for _ in layout.factors]
    for term, own in zip(layout.terms, columns[1], strict=True):
        z[term.factor] += own.columns()
    x = columns[0].columns()
    return HostColumns(
        offsets=rows.offsets,
        x=tuple(x[j] for j in keep),
        y=rows.y.values if rows.offset is None else rows.y.minus(rows.offset),
        z=tuple(map(tuple, z)),
        z_scale=tuple(unit.scale for unit in units),
        codes=layout.table_codes,
        weights=None if rows.weights is None else rows.weights.values,
    )


def z_columns(rows: ModelRows, layout: Layout, k: int) -> list[np.ndarray]:
    """Random-effects columns of one data set per factor, in elimination order and the user's units."""
    parts: list[list[np.ndarray]] = [[] for _ in layout.factors]
    for term in layout.terms:
        parts[term.factor].append(rows.terms[term.source].rows.of(k))
    return [np.concatenate(p, axis=1) if len(p) > 1 else p[0] for p in parts]


def inner_columns(model: Assembled, k: int) -> list[np.ndarray]:
    """Random-effects columns (n, q) of one data set per factor, in elimination order, as they are inside."""
    return [unit.columns(z) for unit, z in zip(model.units, z_columns(model.rows, model.layout, k), strict=True)]


def random_columns(rows: ModelRows, layout: Layout) -> tuple[list[RowMatrix], tuple[Units, ...]]:
    """Columns of every term inside, in the layout's order, and the units of every factor.

    Raises
    ------
    DataError
        A column is zero everywhere.
    """
    given = [rows.terms[term.source].rows for term in layout.terms]
    squares = [mean_squares(matrix) for matrix in given]
    for term, own in zip(layout.terms, squares, strict=True):
        for name, size in zip(term.names, own, strict=True):
            if not size > 0:
                raise DataError(f"the random-effects column {name!r} of ({name} | {term.group}) is zero in every row")
    units = []
    for f in range(len(layout.factors)):
        own_terms = [t for t, term in enumerate(layout.terms) if term.factor == f]
        structures = [layout.terms[t].structure for t in own_terms]
        columns, unit = random_units([given[t] for t in own_terms], [squares[t] for t in own_terms], structures)
        units.append(unit)
        for t, matrix in zip(own_terms, columns, strict=True):
            given[t] = matrix
    return given, tuple(units)


def centred_columns(
    rows: ModelRows, known: np.ndarray | None = None
) -> tuple[RowMatrix, np.ndarray | None, np.ndarray]:
    """Columns of X, centred where they are far from zero, what centred those in the model, and which these are."""
    turn, noise = centring(rows.x, mean_squares(rows.x))
    if turn is not None:
        x = turned(rows.x, turn)
        keep = independent_columns(rows, x, noise) if known is None else known
        left_out = np.setdiff1d(np.arange(len(turn)), keep)
        if not turn[np.ix_(left_out, keep)].any():
            return x, turn[np.ix_(keep, keep)], keep
    # what was to be subtracted is not in the model
    return rows.x, None, independent_columns(rows, rows.x) if known is None else known


def _check_residual(rows: ModelRows, found: Conditioned) -> None:
    """Refuse a response that the fixed part explains without remainder."""
    squares = rows.y.values**2
    if rows.weights is not None:
        squares = RowArray(squares, rows.y.offsets).times(rows.weights)
    shared = len(squares) < rows.offsets[-1]
    totals = np.sum(squares) if shared else np.add.reduceat(squares, rows.offsets[:-1])
    sizes = np.sqrt(totals / np.diff(rows.offsets))
    for k in np.flatnonzero(~(np.asarray(found.rotation.y_scale) > 1e-13 * sizes)):
        where = f" in imputation {rows.labels[k]}" if rows.n_sets > 1 else ""
        y = rows.y.of(int(k))
        spread, middle = float(np.ptp(y)), float(np.mean(y))
        if 0 < spread < FEW_DIGITS * abs(middle):
            raise DataError(
                f"the response {rows.formula.response!r} has a mean of {middle:.3g} and a range of {spread:.3g}{where}"
                ", for which double precision has too few digits: subtract a constant before they are lost"
            )
        raise DataError(
            f"the fixed part explains the response {rows.formula.response!r} exactly{where}: there is no residual "
            "variance to estimate"
        )


def _check_units(rows: ModelRows, keep: np.ndarray, found: Conditioned) -> None:
    """Refuse units of response and columns that together take variances of coefficients out of double precision."""
    rotation = found.rotation
    size = np.abs(np.einsum("kii->ki", rotation.inverse)) * np.asarray(rotation.y_scale)[:, None]
    for k, j in np.argwhere((size > COEFFICIENT) | (size < 1 / COEFFICIENT)).tolist():
        where = f" in imputation {rows.labels[k]}" if rows.n_sets > 1 else ""
        raise DataError(
            f"the coefficient of {rows.fixed.names[keep[j]]!r} is of the order of {size[k, j]:.0e}{where}, which "
            f"double precision cannot square: change its unit, or that of the response {rows.formula.response!r}"
        )
