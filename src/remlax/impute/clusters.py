"""Clusters: their variables, copied and checked, and what a model without them does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import ImputationError, ImputationWarning, warn
from .columns import FloatArray, as_floats, check_values, is_continuous
from .patterns import check_columns


def check_cluster(data: pd.DataFrame, cluster: str) -> None:
    """Raise an ImputationError unless `cluster` is a complete column."""
    check_columns(data, [cluster], "cluster=")
    check_values(data[cluster])
    n_missing = int(data[cluster].isna().sum())
    if n_missing:
        raise ImputationError(
            f"cluster column {cluster!r} has {n_missing} missing cells: drop those rows, or say which "
            "cluster they belong to"
        )


def copy_within_clusters(
    data: pd.DataFrame, cluster: str, columns: Sequence[str], role: str = "cluster_vars="
) -> pd.DataFrame:
    """Fill the cells of cluster-level columns from the other rows of the same cluster; messages call the list ``role``.

    Only wholly empty clusters still have missing cells in the copy. Raises ImputationError: a column has several values
    in one cluster; the message names the first such cluster.

    Examples
    --------
    >>> frame = pd.DataFrame({"g": ["a", "a", "b"], "size": [100.0, None, None]})
    >>> copy_within_clusters(frame, "g", ["size"])["size"].tolist()
    [100.0, 100.0, nan]
    """
    result = data.copy(deep=False)
    groups = data.groupby(cluster, observed=True)
    for name in check_columns(data, columns, role):
        check_values(data[name])
        n_values = groups[name].nunique()
        several = n_values.index[n_values > 1]
        if len(several):
            values = sorted(map(str, groups[name].get_group(several[0]).dropna().unique()))
            raise ImputationError(
                f"{role} names {name!r}, which has several values in {len(several)} of the "
                f"{len(n_values)} clusters (in {cluster} {several[0]!r}: {', '.join(values[:3])}): correct "
                "the data, or treat it as a variable of the rows"
            )
        # Categories and nullable types survive a merge with the clusters' first observed value
        first = data.loc[data[name].notna(), [cluster, name]].drop_duplicates(cluster).set_index(cluster)[name]
        result[name] = first.reindex(data[cluster]).set_axis(data.index)
    return result


def constant_within(data: pd.DataFrame, cluster: str, name: str) -> bool:
    """Tell whether the observed cells of a column have one value in each cluster."""
    return constant_in(cluster_codes(data, cluster)[0], data[name])


def constant_in(codes: npt.NDArray[np.intp], column: pd.Series[Any]) -> bool:
    """Tell whether the observed cells of a column have one value in each of the clusters `codes` (n,)."""
    check_values(column)
    values = as_floats(column) if is_continuous(column) else pd.factorize(column)[0]
    seen = column.notna().to_numpy() & (codes >= 0)
    own, values = codes[seen], values[seen]
    last = np.empty(own.max(initial=-1) + 1, values.dtype)
    last[own] = values
    return bool((last[own] == values).all())


def cluster_labels(data: pd.DataFrame, clusters: Sequence[str]) -> pd.Series[Any]:
    """Labels (n,) of the last of some columns, the outermost first, with those of the others where they repeat.

    Examples
    --------
    >>> frame = pd.DataFrame({"school": list("aabb"), "class": [1, 2, 1, 2]})
    >>> cluster_labels(frame, ["school", "class"]).tolist()
    ['a / 1', 'a / 2', 'b / 1', 'b / 2']
    """
    inner = clusters[-1]
    pairs = data[[*clusters]].drop_duplicates()
    if not pairs[inner].duplicated().any():
        return data[inner]
    codes, names = pd.factorize(pd.MultiIndex.from_frame(data[[*clusters]]))
    labels = np.array([" / ".join(map(str, name)) for name in names], dtype=object)
    return pd.Series(labels[codes], data.index, name=inner)


def cluster_codes(data: pd.DataFrame, cluster: str) -> tuple[npt.NDArray[np.intp], pd.Index]:
    """Number the clusters 0, 1, ... in order of appearance: codes (n,) and their names (l,)."""
    codes, names = pd.factorize(data[cluster])
    return codes, pd.Index(names)


def observed_means(x: FloatArray, codes: npt.NDArray[np.intp], n_clusters: int) -> FloatArray:
    """Cluster means (l, p) of the observed cells of x (n, p); NaN where a cluster has none."""
    seen = ~np.isnan(x)
    total, count = np.zeros((n_clusters, x.shape[1])), np.zeros((n_clusters, x.shape[1]))
    np.add.at(total, codes, np.where(seen, x, 0.0))
    np.add.at(count, codes, seen)
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def find_clusters(data: pd.DataFrame, id_vars: Sequence[str], cluster: str | None) -> list[str]:
    """Columns that say which rows belong together: `cluster`, else id columns with repeated values.

    Numbers with fractions identify nothing, unless there is nothing else.
    """
    if cluster is not None:
        return [cluster]
    for name in id_vars:
        check_values(data[name])
    repeated = [c for c in id_vars if 1 < data[c].nunique() < len(data)]
    named = [c for c in repeated if not pd.api.types.is_float_dtype(data[c].dtype)]
    return named or repeated[:1]


def warn_flat_model(
    data: pd.DataFrame, clusters: Sequence[str], incomplete: Sequence[str], declared: Sequence[str]
) -> None:
    """Warn that a model without clusters shrinks the intraclass correlation of what it imputes."""
    if not clusters or not [c for c in incomplete if c not in declared]:
        return
    names = " and ".join(map(repr, clusters))
    codes = [cluster_codes(data, c)[0] for c in clusters]
    text = (
        f"the rows are clustered by {names}, but emb() treats them as independent: imputed values do not "
        "know their cluster, so the intraclass correlation of imputed variables shrinks, and with it "
        "random-effect variances. Use remlax.impute.joint(), which keeps it."
    )
    constant = [
        name
        for name in incomplete
        if name not in declared and is_continuous(data[name]) and any(constant_in(c, data[name]) for c in codes)
    ]
    if constant:
        listed = ", ".join(map(repr, constant))
        text += (
            f" In addition, {listed} never varies within a cluster: name it in cluster_vars= (with "
            "cluster=), or imputed rows of one cluster will differ in it."
        )
    warn(text, ImputationWarning)
