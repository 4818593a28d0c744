"""Imputed values beside observed ones: tables of moments, quantiles, densities, shares and clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import gaussian_kde

from ..data import ImputedData
from ..data.checks import Label
from ..errors import ImputationError
from .arguments import checks
from .clusters import check_cluster, cluster_labels, constant_in
from .columns import FloatArray, as_floats, is_continuous, sorted_levels
from .patterns import check_columns

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BoolArray = npt.NDArray[np.bool_]


def _original(data: ImputedData) -> pd.DataFrame:
    if not isinstance(data, ImputedData):
        raise ImputationError(
            f"imputations are needed, not a {type(data).__name__}: make them by ImputedData.from_frames(), "
            "or give the .data of an imputation result"
        )
    if data.original is None:
        raise ImputationError("the imputations do not know the incomplete data: add them using with_original()")
    return data.original


def _incomplete(data: ImputedData, columns: Sequence[str] | None, numeric: bool) -> dict[str, BoolArray]:
    """Missing cells of the numeric (or else categorical) columns that have any."""
    original = _original(data)
    named = list(original.columns) if columns is None else check_columns(original, columns, "columns=")
    gaps = {name: original[name].isna().to_numpy() for name in named if is_continuous(original[name]) == numeric}
    found = {name: gap for name, gap in gaps.items() if gap.any() and not gap.all()}
    if columns is not None and len(found) < len(named):
        kind = "numeric" if numeric else "categorical"
        other = next(name for name in named if name not in found)
        raise ImputationError(f"column {other!r} is not {kind}, or has no missing or no observed cell")
    return found


def _values(data: ImputedData, column: str, n_points: int) -> tuple[FloatArray, dict[Label, FloatArray]]:
    """Observed cells of a numeric column, and imputed ones by label."""
    checks.whole(n_points, "n_points=")
    gap = _incomplete(data, [column], numeric=True)[column]
    imputed = {label: as_floats(frame[column])[gap] for label, frame in zip(data.labels, data.frames, strict=True)}
    return as_floats(_original(data)[column])[~gap], imputed


def observed_vs_imputed(data: ImputedData, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Compare the imputed with the observed cells of numeric columns.

    Imputed values may differ from observed ones (that is what missingness at random allows): the table shows where to
    look, and is no test.

    Parameters
    ----------
    data
        Imputations with their original.
    columns
        Numeric columns with missing cells; default all of them.

    Returns
    -------
    pandas.DataFrame
        One row per column: `n_observed`, `n_imputed` (cells per imputation), `mean_observed`, `mean_imputed`,
        `sd_observed`, `sd_imputed`, `difference` (of means, in observed SDs), `variance_ratio` (imputed over observed),
        and quantiles `q05_observed`, `q05_imputed`, ... `q95_imputed`. Imputed moments are over all imputations.

    Raises
    ------
    ImputationError
        The imputations have no original, or a column is not numeric or has no missing cells.

    Examples
    --------
    >>> import remlax as rx
    >>> hsb = rx.datasets.hsb_imputed()
    >>> observed_vs_imputed(hsb, ["ses"])[["n_imputed", "mean_observed", "mean_imputed"]].round(3)
         n_imputed  mean_observed  mean_imputed
    ses        361          0.001        -0.013
    """
    rows = {}
    for name, gap in _incomplete(data, columns, numeric=True).items():
        seen = as_floats(_original(data)[name])[~gap]
        drawn = np.concatenate([as_floats(frame[name])[gap] for frame in data.frames])
        quantiles = {
            f"q{round(100 * q):02d}_{kind}": float(np.quantile(values, q))
            for q in QUANTILES
            for kind, values in (("observed", seen), ("imputed", drawn))
        }
        sd = float(np.std(seen, ddof=1))
        rows[name] = {
            "n_observed": len(seen),
            "n_imputed": int(gap.sum()),
            "mean_observed": float(seen.mean()),
            "mean_imputed": float(drawn.mean()),
            "sd_observed": sd,
            "sd_imputed": float(np.std(drawn, ddof=1)),
            "difference": float((drawn.mean() - seen.mean()) / sd),
            "variance_ratio": float(np.var(drawn, ddof=1) / sd**2),
            **quantiles,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def observed_vs_imputed_shares(data: ImputedData, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Compare the shares of the levels of categorical columns among the imputed and the observed cells.

    Returns
    -------
    pandas.DataFrame
        Columns `variable`, `level`, `observed`, `imputed` (shares, over all imputations), `n_observed`, `n_imputed`.

    Raises
    ------
    ImputationError
        As in `observed_vs_imputed`.

    Examples
    --------
    >>> original = pd.DataFrame({"k": pd.Categorical(["a", "b", None, "a"])})
    >>> data = ImputedData.from_frames([original.fillna({"k": v}) for v in ("a", "b")]).with_original(original)
    >>> observed_vs_imputed_shares(data)[["level", "observed", "imputed"]].round(2)
      level  observed  imputed
    0     a      0.67      0.5
    1     b      0.33      0.5
    """
    rows: list[dict[str, Any]] = []
    for name, gap in _incomplete(data, columns, numeric=False).items():
        seen = _original(data)[name][~gap].astype(object)
        drawn = pd.concat([frame.loc[gap, name].astype(object) for frame in data.frames])
        rows += [
            {
                "variable": name,
                "level": level,
                "observed": float((seen == level).mean()),
                "imputed": float((drawn == level).mean()),
                "n_observed": len(seen),
                "n_imputed": int(gap.sum()),
            }
            for level in sorted_levels(pd.concat([seen, drawn]))
        ]
    return pd.DataFrame(rows)


def density_table(data: ImputedData, column: str, n_points: int = 128) -> pd.DataFrame:
    """Kernel densities of the observed cells of a numeric column, and of the imputed ones in each imputation.

    Parameters
    ----------
    data
        Imputations with their original.
    column
        Numeric column with at least three missing cells.
    n_points
        Points of the grid, which spans all values.

    Returns
    -------
    pandas.DataFrame
        Columns `x`, `density` and `set`: "observed", or the label of the imputation. Gaussian kernels, Scott's width.

    Raises
    ------
    ImputationError
        As in `observed_vs_imputed`; or fewer than three missing cells.
    """
    observed, imputed = _values(data, column, n_points)
    count = len(imputed[data.labels[0]])
    if count < 3:
        raise ImputationError(f"column {column!r} has {count} missing cells: a density needs three or more")
    values: dict[Label, FloatArray] = {"observed": observed, **imputed}
    joined = np.concatenate(list(values.values()))
    grid = np.linspace(joined.min(), joined.max(), n_points)
    parts = [pd.DataFrame({"x": grid, "density": gaussian_kde(v)(grid), "set": label}) for label, v in values.items()]
    return pd.concat(parts, ignore_index=True)


def quantile_table(data: ImputedData, column: str, n_points: int = 99) -> pd.DataFrame:
    """Quantiles of the observed cells of a numeric column beside those of the imputed cells of each imputation.

    Returns
    -------
    pandas.DataFrame
        Columns `probability`, `observed`, `imputed`, `set` (label of the imputation).

    Raises
    ------
    ImputationError
        As in `observed_vs_imputed`.
    """
    observed, imputed = _values(data, column, n_points)
    at = np.arange(1, n_points + 1) / (n_points + 1)
    both = {"probability": at, "observed": np.quantile(observed, at)}
    parts = [pd.DataFrame({**both, "imputed": np.quantile(v, at), "set": label}) for label, v in imputed.items()]
    return pd.concat(parts, ignore_index=True)


def intraclass_correlation(values: npt.ArrayLike, clusters: npt.ArrayLike) -> float:
    """Intraclass correlation by one-way analysis of variance, clusters of any size; missing values are left out.

    (MSB - MSW) / (MSB + (n0 - 1) MSW) with n0 = (N - sum n_j^2 / N) / (J - 1): Donner (1986), Int Stat Rev 54:67-82.
    NaN with fewer than two clusters or no replication.

    Raises
    ------
    ImputationError
        The values are no numbers, or not as many as the clusters.

    Examples
    --------
    >>> round(intraclass_correlation([1.0, 2.0, 5.0, 6.0, 9.0, 10.0], [1, 1, 2, 2, 3, 3]), 4)
    0.9692
    """
    try:
        frame = pd.DataFrame({"x": np.asarray(values, dtype=float), "g": clusters}).dropna()
    except (TypeError, ValueError) as error:
        raise ImputationError(f"the values must be numbers, and as many as the clusters: {error}") from None
    groups = frame.groupby("g", observed=True)["x"]
    size, mean = groups.size().to_numpy(dtype=float), groups.mean().to_numpy(dtype=float)
    n, j = len(frame), len(size)
    if j < 2 or n <= j:
        return float("nan")
    between = float(size @ np.square(mean - frame["x"].mean())) / (j - 1)
    within = float(np.square(frame["x"] - groups.transform("mean")).sum()) / (n - j)
    n0 = (n - float(size @ size) / n) / (j - 1)
    return (between - within) / (between + (n0 - 1.0) * within)


def _clusters(data: ImputedData, cluster: str | Sequence[str]) -> list[str]:
    """Columns of the clusters, checked, the outermost first.

    With the inner clusters of a model of three levels are those that they lie in: their labels may repeat.
    """
    names = [cluster] if isinstance(cluster, str) else list(cluster)
    model = data.imputed_by
    if model is not None and model.top and names == [model.cluster]:
        names = [model.top, *names]
    for name in names:
        check_cluster(_original(data), name)
    if not names:
        raise ImputationError("cluster= is empty: name the column of the clusters, or columns as ['school', 'class']")
    return names


def icc_table(data: ImputedData, cluster: str | Sequence[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Compare intraclass correlations of the observed cells with those of the completed data.

    A model without clusters shrinks them, by more the more cells are missing.

    Parameters
    ----------
    data
        Imputations with their original.
    cluster
        Column that names the clusters; or several, the outermost first, where labels repeat, as ``["school",
        "class"]``. After `joint` with clusters in clusters, the inner column by itself means the same.
    columns
        Numeric columns with missing cells that vary within clusters; default all of them.

    Returns
    -------
    pandas.DataFrame
        One row per column: `observed`, then `completed` (mean over imputations), `least`, `greatest`, and
        `fraction_missing`.

    Raises
    ------
    ImputationError
        As in `observed_vs_imputed`; or the cluster column is incomplete.
    """
    original, clusters = _original(data), _clusters(data, cluster)
    labels = cluster_labels(original, clusters)
    own = [cluster_labels(frame, clusters) for frame in data.frames]
    rows = {}
    for name, gap in _incomplete(data, columns, numeric=True).items():
        if name in clusters or constant_in(pd.factorize(labels)[0], original[name]):
            continue
        each = [
            intraclass_correlation(as_floats(frame[name]), groups)
            for frame, groups in zip(data.frames, own, strict=True)
        ]
        rows[name] = {
            "observed": intraclass_correlation(as_floats(original[name]), labels),
            "completed": float(np.mean(each)),
            "least": min(each),
            "greatest": max(each),
            "fraction_missing": float(gap.mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def level2_consistency(
    data: ImputedData, cluster: str | Sequence[str], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Count the clusters in which a variable of the clusters has several values after imputation.

    Arguments are those of `icc_table`; by default `columns` are those whose observed cells never vary within a cluster.

    Returns
    -------
    pandas.DataFrame
        One row per column: `n_clusters`, `inconsistent` (clusters with several values, mean over imputations),
        `most` (in the worst imputation), `example` (a cluster where it is so, or None).

    Raises
    ------
    ImputationError
        The imputations have no original, the cluster column is incomplete, or a column is not there.
    """
    original, clusters = _original(data), _clusters(data, cluster)
    codes = pd.factorize(cluster_labels(original, clusters))[0]
    own = [cluster_labels(frame, clusters) for frame in data.frames]
    others = [c for c in original.columns if c not in clusters]
    if columns is None:
        columns = [c for c in others if original[c].notna().any() and constant_in(codes, original[c])]
    rows, examples = {}, {}
    for name in check_columns(original, columns, "columns="):
        frames = zip(data.frames, own, strict=True)
        counts = [frame[name].groupby(labels, observed=True).nunique() for frame, labels in frames]
        several = [count.index[count > 1] for count in counts]
        sizes = [len(found) for found in several]
        rows[name] = {"n_clusters": len(counts[0]), "inconsistent": float(np.mean(sizes)), "most": max(sizes)}
        examples[name] = next((found[0] for found in several if len(found)), None)
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.assign(example=pd.Series(examples, dtype=object))
