"""Columns that are computed from others: recomputed in every imputed data set, never imputed themselves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remlax.errors import ImputationError, ImputationWarning

from .clusters import constant_within
from .columns import as_floats, is_continuous
from .patterns import check_columns

Derivation = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class ClusterMean:
    """The mean of a column in each cluster, repeated on the cluster's rows: see `cluster_mean`."""

    column: str
    cluster: str

    def __call__(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Compute the means over the observed cells of the frame's clusters, (n,)."""
        check_columns(frame, [self.column, self.cluster], "cluster_mean()")
        return frame.groupby(self.cluster, observed=True)[self.column].transform("mean")


def cluster_mean(column: str, cluster: str) -> ClusterMean:
    """Mean of a column within clusters, for the `derive=` argument of the imputation functions.

    Parameters
    ----------
    column
        Numeric column to average.
    cluster
        Column that names the clusters.

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
    return ClusterMean(column, cluster)


def apply_derivations(frame: pd.DataFrame, derive: Mapping[str, Derivation] | None) -> pd.DataFrame:
    """Return the frame with the derived columns, computed in order: a later one may use an earlier."""
    for name, rule in (derive or {}).items():
        values = rule(frame)
        if np.shape(values) not in ((len(frame),), ()):
            raise ImputationError(
                f"derive= computes {np.shape(values)} values for {name!r}: it needs one for each of the "
                f"{len(frame)} rows"
            )
        frame = frame.assign(**{name: values})
    return frame


def warn_undeclared_means(data: pd.DataFrame, clusters: Sequence[str], declared: Sequence[str]) -> None:
    """Warn about columns that look like the cluster mean of an incomplete one and are not in `derive=`.

    A column that is constant within clusters counts as a mean of x when it differs from the mean of the
    observed x by no more than the cells missing from the cluster explain (twice the standard error, finite
    population), or by rounding.
    """
    numeric = [c for c in data.columns if is_continuous(data[c])]
    sources = [c for c in numeric if data[c].isna().any()]
    for cluster in clusters:
        groups = data.groupby(cluster, observed=True)
        for name in numeric:
            if name in declared or name in clusters or not constant_within(data, cluster, name):
                continue
            for source in sources:
                if source != name and _is_mean(groups[source], as_floats(groups[name].first())):
                    warnings.warn(
                        f"column {name!r} looks like the mean of {source!r} within {cluster!r}, and "
                        f"{source!r} is incomplete: imputed data sets will keep its old values. Have it "
                        "recomputed with "
                        f'derive={{"{name}": cluster_mean("{source}", "{cluster}")}}.',
                        ImputationWarning,
                        stacklevel=3,
                    )


def _is_mean(groups: Any, values: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    mean, n_seen, n_all = as_floats(groups.mean()), as_floats(groups.count()), as_floats(groups.size())
    variance = as_floats(groups.var())
    known = (n_seen > 1) & np.isfinite(values)
    if known.sum() < 3 or np.var(mean[known]) == 0.0:
        return False
    off = np.square(values - mean)[known]
    by_chance = (variance * (n_all - n_seen) / (n_all * np.maximum(n_seen, 1.0)))[known]
    rounding = np.square(0.005) * np.var(mean[known])
    return bool(off.mean() <= 4.0 * by_chance.mean() + rounding)
