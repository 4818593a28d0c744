"""Rows to predict that take apart what the data of the fit leave together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import IdentifiabilityWarning, warn
from ..fitting.assemble import z_columns
from ..fitting.redundancy import Redundancy, entry_places
from ..fitting.selection import Selection
from .newdata import FrameRows, PredictionRows
from .undetermined import named_rows

# share of a row's weight on a split of variances that is rounding error
ZERO = 1e-6


def warn_redundant_rows(fits: Selection, rows: PredictionRows) -> None:
    """Name the rows whose prediction depends on how random terms that repeat each other share their variance.

    The prediction of a row is sum_t z_t'Sigma_t Z_t' V^-1 (y - X beta), and the variance of its random effects
    sum_t z_t'Sigma_t z_t: both have to stay as they are in all directions that leave V as it is.
    """
    broken = np.zeros(rows.n_rows, bool)
    done = set[tuple[int, int]]()
    for i, k in enumerate(fits.which):
        whole, frame = fits.fitted.redundancies.each[k], rows.frame(i)
        found = None if whole is None else whole.of_terms
        if found is not None and (id(whole), id(frame)) not in done:
            done.add((id(whole), id(frame)))
            broken |= _broken(fits.one(k), found, frame)
    if broken.any():
        warn(
            f"the prediction for {named_rows(rows.index[broken])} depends on how random terms that repeat each "
            "other share their variance, which the data do not determine: predict for groups, and with terms, that "
            "belong together as in the data of the fit, or fit the model without what is repeated (see its summary)",
            IdentifiabilityWarning,
        )


def _broken(fit: Selection, found: Redundancy, frame: FrameRows) -> np.ndarray:
    """Tell which rows of a frame depend on undetermined directions, boolean (R,)."""
    model, layout = fit.model, fit.model.layout
    columns = z_columns(model.rows, layout, fit.k)
    codes = [model.rows.factor_rows[source].of(fit.k) for source in layout.factor_source]
    scale = [np.linalg.norm(z, axis=0) / np.sqrt(len(z)) for z in columns]
    # directions for columns of unit root mean square
    unit = np.ones(len(found.root))
    for term in layout.terms:
        z = scale[term.factor][term.columns]
        col, row = np.triu_indices(term.q)
        unit[term.theta] = z[row] * z[col]
    null, _ = np.linalg.qr((found.root @ found.null) * unit[:, None])
    out = np.zeros(len(frame.offset), bool)
    for new in _same_levels(frame.codes):
        left = [z[new] / size for z, size in zip(frame.z, scale, strict=True)]
        meets = [own == code[new[0]] for own, code in zip(codes, frame.codes, strict=True)]
        old = np.flatnonzero(np.any(meets, axis=0))
        moved, size = np.zeros((2, null.shape[1], len(new), 1 + len(old)))
        for term in layout.terms:
            f, part = term.factor, term.columns
            z, right = left[f][:, part], columns[f][old][:, part] / scale[f][part] * meets[f][old][:, None]
            places = entry_places(term)
            for d, direction in enumerate(null.T):
                s = direction[places]
                moved[d, :, 0] += np.einsum("ia,ab,ib->i", z, s, z)
                moved[d, :, 1:] += z @ s @ right.T
                size[d, :, 0] += np.einsum("ia,ab,ib->i", abs(z), abs(s), abs(z))
                size[d, :, 1:] += abs(z) @ abs(s) @ abs(right).T
        out[new] = (np.abs(moved) > ZERO * size + 1e-12).any(axis=(0, 2))
    return out


def _same_levels(codes: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows with the same levels of all factors."""
    _, which = np.unique(np.stack(codes), axis=1, return_inverse=True)
    return iter(np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1]))
