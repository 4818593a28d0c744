"""Columns that are computed from others: recomputed in every imputed data set, never imputed themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import ImputationError, ImputationWarning, warn
from .clusters import cluster_labels, constant_in
from .columns import FloatArray, as_floats, is_continuous
from .patterns import check_columns

Derivation = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class ClusterMean:
    """The mean of a column in each cluster, repeated on the cluster's rows: see `cluster_mean`."""

    column: str
    cluster: str | tuple[str, ...]

    def __call__(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Compute the means over the observed cells of the frame's clusters, (n,)."""
        groups = _listed(self.cluster)
        check_columns(frame, [self.column, *groups], "cluster_mean()")
        return frame.groupby(groups, observed=True)[self.column].transform("mean")


def _check_names(what: str, *names: object) -> None:
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong or not names:
        raise ImputationError(f"{what} needs names of columns{f', not {wrong[0]!r}' if wrong else ''}")


def _listed(cluster: str | Sequence[str]) -> list[str]:
    return [cluster] if isinstance(cluster, str) else list(cluster)


def _cluster(what: str, cluster: object) -> str | tuple[str, ...]:
    """Clusters of a derived column as they were given: one column, or several."""
    if isinstance(cluster, list | tuple):
        _check_names(what, *cluster)
        return tuple(cluster)
    _check_names(what, cluster)
    return str(cluster)


def cluster_mean(column: str, cluster: str | Sequence[str]) -> ClusterMean:
    """Mean of a column within clusters, for the `derive=` argument of the imputation functions.

    Parameters
    ----------
    column
        Numeric column to average.
    cluster
        Column that names the clusters; or several, where labels repeat, as ``["school", "class"]``. In `joint` with
        clusters in clusters, the inner column by itself means the same.

    Returns
    -------
    ClusterMean
        A function of a data frame (n rows) that gives the n means.

    Examples
    --------
    >>> frame = pd.DataFrame({"g": ["a", "a", "b"], "x": [1.0, 2.0, 5.0]})
    >>> cluster_mean("x", "g")(frame).tolist()
    [1.5, 1.5, 5.0]
    """
    _check_names("cluster_mean()", column)
    return ClusterMean(column, _cluster("cluster_mean()", cluster))


@dataclass(frozen=True)
class Centred:
    """A column minus its mean, over all rows or within clusters: see `centred`."""

    column: str
    cluster: str | tuple[str, ...] | None

    def __call__(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Compute the differences, (n,)."""
        check_columns(frame, [self.column], "centred()")
        if self.cluster is None:
            return frame[self.column] - frame[self.column].mean()
        return frame[self.column] - ClusterMean(self.column, self.cluster)(frame)


def centred(column: str, cluster: str | Sequence[str] | None = None) -> Centred:
    """Column minus its mean, for ``derive=``: over all rows, or within clusters, named as for `cluster_mean`.

    Examples
    --------
    >>> frame = pd.DataFrame({"g": ["a", "a", "b"], "x": [1.0, 2.0, 6.0]})
    >>> centred("x")(frame).tolist(), centred("x", "g")(frame).tolist()
    ([-2.0, -1.0, 3.0], [-0.5, 0.5, 0.0])
    """
    _check_names("centred()", column)
    return Centred(column, None if cluster is None else _cluster("centred()", cluster))


@dataclass(frozen=True)
class Product:
    """The product of columns: see `product`."""

    columns: tuple[str, ...]

    def __call__(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Compute the products, (n,)."""
        return frame[check_columns(frame, self.columns, "product()")].prod(axis=1, skipna=False)


def product(*columns: str) -> Product:
    """Product of columns (an interaction, or a square if one is named twice), for ``derive=``.

    Examples
    --------
    >>> product("x", "z")(pd.DataFrame({"x": [1.0, 2.0], "z": [3.0, 4.0]})).tolist()
    [3.0, 8.0]
    """
    _check_names("product()", *columns)
    return Product(columns)


@dataclass(frozen=True)
class ScaleScore:
    """Mean or sum of items, some of them reversed: see `scale_score`."""

    items: tuple[str, ...]
    reverse: Mapping[str, tuple[float, float]]
    total: bool

    def __call__(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Compute the scores, (n,); missing where an item is."""
        items = frame[check_columns(frame, [*self.items, *self.reverse], "scale_score()")].astype(float)
        for name, (low, high) in self.reverse.items():
            items[name] = low + high - items[name]
        return items.sum(axis=1, skipna=False) / (1 if self.total else items.shape[1])


def scale_score(
    items: Sequence[str], *, reverse: Mapping[str, tuple[float, float]] | None = None, total: bool = False
) -> ScaleScore:
    """Scale score of items, for ``derive=``: their mean, or their sum if `total`.

    Parameters
    ----------
    items
        Numeric columns.
    reverse
        Further items that point the other way, each with the least and the greatest value of its scale.
    total
        The sum rather than the mean.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [1.0, 5.0], "b": [2.0, 4.0], "c": [5.0, 1.0]})
    >>> scale_score(["a", "b"], reverse={"c": (1, 5)})(frame).round(3).tolist()
    [1.333, 4.667]
    """
    return ScaleScore(tuple(items), dict(reverse or {}), total)


def nested_derivations(
    derive: Mapping[str, Derivation] | None, clusters: Sequence[str]
) -> Mapping[str, Derivation] | None:
    """Derivations in which the inner of two clusters, the outermost first, lies in the outer: labels may repeat."""
    if derive is None or len(clusters) < 2:
        return derive
    return {
        name: replace(rule, cluster=tuple(clusters))
        if isinstance(rule, ClusterMean | Centred) and rule.cluster == clusters[-1]
        else rule
        for name, rule in derive.items()
    }


def apply_derivations(frame: pd.DataFrame, derive: Mapping[str, Derivation] | None) -> pd.DataFrame:
    """Return the frame with the derived columns, computed in order: a later one may use an earlier."""
    for name, rule in (derive or {}).items():
        try:
            values = rule(frame)
        except ImputationError:
            raise
        except Exception as error:
            raise ImputationError(
                f"derive= cannot compute {name!r}: {type(error).__name__}: {error}; its function gets the columns "
                f"{', '.join(map(str, frame.columns))}"
            ) from error
        if values is None:
            raise ImputationError(f"derive= computes nothing for {name!r}: its function must return the column")
        if np.shape(values) not in ((len(frame),), ()):
            raise ImputationError(
                f"derive= computes {np.shape(values)} values for {name!r}: it needs one for each of the "
                f"{len(frame)} rows"
            )
        frame = frame.assign(**{name: values})
    return frame


def warn_undeclared_means(
    data: pd.DataFrame, clusters: Sequence[str], declared: Sequence[str], *, nested: bool = False
) -> None:
    """Warn about columns that look like the cluster mean of an incomplete one and are not in `derive=`.

    A column that is constant within clusters counts as a mean of x when it differs from the mean of the
    observed x by no more than the cells missing from the cluster explain (twice the standard error, finite
    population), or by rounding. With `nested` each cluster lies in one of the column before.
    """
    numeric = {c: as_floats(data[c]) for c in data.columns if is_continuous(data[c])}
    sources = [c for c, x in numeric.items() if np.isnan(x).any()]
    for number, cluster in enumerate(clusters if sources else ()):
        codes, groups = pd.factorize(cluster_labels(data, clusters[: number + 1] if nested else [cluster]))
        quoted = ", ".join(f'"{own}"' for own in clusters[: number + 1])
        text = f"[{quoted}]" if nested and number else f'"{cluster}"'
        for name, x in numeric.items():
            if name in declared or name in clusters or not constant_in(codes, data[name]):
                continue
            values = np.full(len(groups), np.nan)
            seen = ~np.isnan(x) & (codes >= 0)
            values[codes[seen]] = x[seen]
            for source in sources:
                if source != name and _is_mean(codes, values, numeric[source]):
                    warn(
                        f"column {name!r} looks like the mean of {source!r} within {cluster!r}, and {source!r} is "
                        "incomplete: imputed data sets will keep its old values. Have it recomputed with "
                        f'derive={{"{name}": cluster_mean("{source}", {text})}}.',
                        ImputationWarning,
                    )


def _is_mean(codes: npt.NDArray[np.intp], values: FloatArray, x: FloatArray) -> bool:
    """Tell whether values (l,) are the means of x (n,), NaN where missing, in the clusters `codes` (n,)."""
    seen, size = ~np.isnan(x) & (codes >= 0), len(values)
    own, x = codes[seen], x[seen]
    n_all, n_seen = np.bincount(codes[codes >= 0], minlength=size), np.bincount(own, minlength=size)
    mean = np.bincount(own, x, size) / np.maximum(n_seen, 1)
    variance = np.bincount(own, np.square(x - mean[own]), size) / np.maximum(n_seen - 1, 1)
    known = (n_seen > 1) & np.isfinite(values)
    if known.sum() < 3 or np.var(mean[known]) == 0.0:
        return False
    off = np.square(values - mean)[known]
    by_chance = (variance * (n_all - n_seen) / (n_all * np.maximum(n_seen, 1.0)))[known]
    rounding = np.square(0.005) * np.var(mean[known])
    return bool(off.mean() <= 4.0 * by_chance.mean() + rounding)
