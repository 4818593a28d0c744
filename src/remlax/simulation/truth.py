"""Parameters to simulate from, given by name in the place of a fit's estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..design.tokens import nearest
from ..errors import DataError, shortened
from ..fitting.assemble import Assembled
from ..fitting.layout import TermLayout
from ..fitting.refit import Truth
from ..fitting.selection import Selection
from ..kernels.theta import lower_root
from ..tables.varcorr import layout_labels

Fixef = Mapping[str, float] | pd.Series
Varcorr = Mapping[str, float | npt.ArrayLike | pd.DataFrame] | pd.DataFrame
RESIDUAL = "Residual"
# numbers that a table prints with seven digits, or that are the same but for rounding
RTOL = 1e-6


def read_truth(fit: Selection, fixef: Fixef | None, varcorr: Varcorr | None, *, given_modes: bool = False) -> Truth:
    """Put given parameters in the place of a fit's estimates; what is not named stays.

    Raises
    ------
    DataError
        An unknown name, a value that is no number, a matrix that is no covariance matrix.
    """
    if varcorr is not None and not fit.model.layout.terms:
        raise DataError("varcorr=: the model has no random effects; its visits keep their covariance matrix")
    given, residual = read_varcorr(fit.model, varcorr)
    if residual is not None and not fit.fitted.has_sigma:
        raise DataError(f"varcorr= names {RESIDUAL!r}, which a generalised linear mixed model does not have")
    if given and given_modes:
        raise DataError(
            f"given_modes=True keeps the random effects of {next(iter(given))!r} as they are: varcorr= can name "
            f"{RESIDUAL!r} only"
        )
    own = Truth.of_fit(fit)
    roots = dict(zip(layout_labels(fit.model.layout), own.roots, strict=True)) | given
    beta = own.beta if fixef is None else read_fixef(fit.model, own.beta, fixef)
    return Truth(beta, tuple(roots.values()), own.sigma if residual is None else residual)


def read_varcorr(model: Assembled, given: Varcorr | None) -> tuple[dict[str, np.ndarray], float | None]:
    """Roots of the covariance matrices that are given, by label of a term, and the residual SD if it is named.

    Raises
    ------
    DataError
    """
    if given is None:
        return {}, None
    read = _from_table if isinstance(given, pd.DataFrame) else _from_mapping
    found, residual = read(model, cast(Any, given))
    return {label: _root(label, cov) for label, cov in found.items()}, residual


def read_fixef(model: Assembled, beta: np.ndarray, given: Fixef) -> np.ndarray:
    """Coefficients (p,) with those that are given in the place of others.

    Raises
    ------
    DataError
    """
    if not isinstance(given, Mapping | pd.Series):
        raise DataError(f"fixef= must be a dict from coefficients to values, not a {type(given).__name__}")
    names, out = model.fixed_names, beta.copy()
    for name, value in given.items():
        if name not in names:
            raise DataError(f"fixef= names {name!r}, {_unknown_coefficient(model, str(name))}")
        out[names.index(str(name))] = _number(value, f"fixef= of {name!r}")
    return out


def _unknown_coefficient(model: Assembled, name: str) -> str:
    if name in model.rows.fixed.names:
        return "which was dropped from the model because other columns determine it"
    if name in model.term_names:
        return f"a term with the coefficients {shortened(map(repr, model.term_names[name]))}: name these"
    hint = nearest(name, model.fixed_names)
    return "which is no coefficient" + (hint or f"; they are {shortened(map(repr, model.fixed_names))}")


def _from_mapping(model: Assembled, given: Varcorr) -> tuple[dict[str, np.ndarray], float | None]:
    """Covariance matrices by label of a term, and the residual SD if it is named."""
    if not isinstance(given, Mapping):
        raise DataError(
            "varcorr= must be a dict from grouping factors to SDs or covariance matrices, or a table as of "
            f"fit.varcorr(), not a {type(given).__name__}"
        )
    layout = model.layout
    columns = dict(zip(layout_labels(layout), (term.names for term in layout.terms), strict=True))
    out, residual = dict[str, np.ndarray](), None
    for label, value in given.items():
        if label == RESIDUAL and RESIDUAL not in columns:
            residual = _sd(value, label, positive=True)
        elif label == RESIDUAL:
            raise DataError(
                f"a grouping factor is called {RESIDUAL!r}, too: give varcorr= as a table, see fit.varcorr()"
            )
        elif label not in columns:
            raise DataError(f"varcorr= names {label!r}, {_unknown_group(columns, str(label))}")
        else:
            out[label] = _matrix(label, value, columns[label])
    return out, residual


def _unknown_group(columns: Mapping[str, Any], label: str) -> str:
    known = [*columns, RESIDUAL]
    return "which is no grouping factor" + (nearest(label, known) or f"; there are {shortened(map(repr, known))}")


def _matrix(label: str, value: object, names: tuple[str, ...]) -> np.ndarray:
    """Covariance matrix of one term from an SD, or from a matrix with or without names."""
    q = len(names)
    if isinstance(value, pd.DataFrame):
        if set(value.index) != set(names) or set(value.columns) != set(names) or value.shape != (q, q):
            raise DataError(
                f"varcorr= of {label!r} must have the rows and columns {shortened(map(repr, names))}; it has "
                f"{shortened(map(repr, value.columns))}"
            )
        value = value.loc[list(names), list(names)]
    if np.ndim(cast(npt.ArrayLike, value)) == 0 and q == 1:
        return np.array([[_sd(value, label) ** 2]])
    try:
        cov = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        cov = np.empty(0)
    if cov.shape != (q, q):
        what = "an SD, or a 1 x 1 covariance matrix" if q == 1 else f"a {q} x {q} covariance matrix"
        raise DataError(f"varcorr= of {label!r} ({', '.join(names)}) must be {what}")
    return cov


def _from_table(model: Assembled, table: pd.DataFrame) -> tuple[dict[str, np.ndarray], float | None]:
    """The same from a table with the columns of ``fit.varcorr()``; ``vcov`` or ``sdcor`` may be missing."""
    needed = [name for name in ("group", "var1", "var2") if name not in table]
    kinds = [name for name in ("vcov", "sdcor") if name in table]
    if needed or not kinds:
        raise DataError(
            "varcorr= as a table needs the columns group, var1, var2 and one of vcov and sdcor, see fit.varcorr(); it "
            f"has {shortened(map(repr, table.columns))}"
        )
    labels, out, residual = layout_labels(model.layout), dict[str, np.ndarray](), None
    for label, rows in table.groupby("group", sort=False, dropna=False):
        if label == RESIDUAL and rows["var1"].isna().any():
            residual = _residual_of(rows[rows["var1"].isna()], kinds)
            rows = rows[rows["var1"].notna()]
        if not len(rows):
            continue
        if label not in labels:
            raise DataError(f"varcorr= names {label!r}, {_unknown_group(dict.fromkeys(labels), str(label))}")
        term = model.layout.terms[labels.index(str(label))]
        found = [_cov_of(term, str(label), rows, kind) for kind in kinds]
        _check_agree(str(label), found)
        out[str(label)] = found[0]
    return out, residual


def _residual_of(rows: pd.DataFrame, kinds: list[str]) -> float:
    values = [_number(rows[kind].iloc[0], f"varcorr= of {RESIDUAL!r}") for kind in kinds]
    found = [np.array([[v**2 if kind == "sdcor" else v]]) for kind, v in zip(kinds, values, strict=True)]
    _check_agree(RESIDUAL, found)
    return _sd(float(np.sqrt(max(found[0][0, 0], 0.0))), RESIDUAL, positive=True)


def _cov_of(term: TermLayout, label: str, rows: pd.DataFrame, kind: str) -> np.ndarray:
    """Covariance matrix of one term from one column of its rows."""
    names, values = term.names, {}
    for first, second, value in zip(rows["var1"], rows["var2"], rows[kind], strict=True):
        pair = (first, first) if pd.isna(second) else (first, second)
        values[frozenset(pair)] = value
    wanted = [*(frozenset((name,)) for name in names), *(frozenset((names[a], names[b])) for a, b in term.correlated)]
    if set(values) != set(wanted) or len(rows) != len(wanted):
        raise DataError(
            f"varcorr= of {label!r} needs one row for each variance and covariance of {', '.join(names)}, as in "
            "fit.varcorr()"
        )
    out = np.array([[float(values.get(frozenset((a, b)), 0.0)) for b in names] for a in names])
    if kind == "vcov":
        return out
    sd = np.diag(out).copy()
    np.fill_diagonal(out, 1.0)
    # an SD of 0 has no correlations
    return np.where(np.outer(sd, sd) == 0, 0.0, out * np.outer(sd, sd))


def _check_agree(label: str, found: list[np.ndarray]) -> None:
    size = RTOL * float(np.abs(found[0]).max())
    if not all(np.allclose(other, found[0], rtol=RTOL, atol=size) for other in found[1:]):
        raise DataError(
            f"the columns vcov and sdcor of varcorr= say different things about {label!r}: change both or drop one"
        )


def _root(label: str, cov: np.ndarray) -> np.ndarray:
    """Lower-triangular root of a covariance matrix."""
    what = f"varcorr= of {label!r}"
    if not np.isfinite(cov).all():
        raise DataError(f"{what} holds values that are not finite")
    sd = np.sqrt(np.maximum(np.diag(cov), 0.0))
    cor = cov / np.outer(np.where(sd > 0, sd, 1.0), np.where(sd > 0, sd, 1.0))
    if not np.allclose(cor, cor.T, rtol=0, atol=RTOL):
        raise DataError(f"{what} is no covariance matrix: it is not symmetric")
    if np.linalg.eigvalsh(cor)[0] < -RTOL:
        raise DataError(f"{what} is no covariance matrix: it has a negative eigenvalue")
    return np.asarray(sd[:, None] * lower_root((cor + cor.T) / 2))


def _sd(value: object, label: str, *, positive: bool = False) -> float:
    sd = _number(value, f"varcorr= of {label!r}")
    if sd < 0 or (positive and sd == 0):
        raise DataError(f"varcorr= of {label!r} is an SD and must be positive{'' if positive else ' or 0'}, not {sd:g}")
    return sd


def _number(value: object, what: str) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise DataError(f"{what} must be a finite number, not {value!r}")
    return float(value)
