"""Multiple imputation by EM with bootstrap (what Amelia does), all imputations at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..data.checks import check_frame
from ..errors import ImputationError
from .arguments import check_derive, checks
from .clusters import check_cluster, find_clusters, warn_flat_model
from .derive import Derivation, warn_undeclared_means
from .emb_run import EmbPlan, EmOptions
from .patterns import check_columns
from .priors import CellPrior, check_priors
from .result import ImputationResult
from .within import check_by, emb_within, split_rows


def emb(
    data: pd.DataFrame,
    m: int = 5,
    *,
    id_vars: Sequence[str] = (),
    nominal: Sequence[str] = (),
    ordinal: Sequence[str] = (),
    log: Sequence[str] = (),
    sqrt: Sequence[str] = (),
    logistic: Sequence[str] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
    priors: Sequence[CellPrior] | None = None,
    ridge: float = 0.0,
    time: str | Mapping[str, int] | None = None,
    cluster: str | None = None,
    cluster_vars: Sequence[str] = (),
    by: str | None = None,
    derive: Mapping[str, Derivation] | None = None,
    tolerance: float = 1e-4,
    bootstrap: bool = True,
    max_iter: int = 1000,
    seed: int = 0,
) -> ImputationResult:
    """Impute missing cells m times by EM with bootstrap, under a multivariate normal model of the rows.

    Each imputation resamples the rows, fits mean and covariance by EM, and draws the missing cells of the
    original rows given their observed ones. This is Amelia's algorithm and its defaults; it treats rows as
    independent, so for clustered data prefer `remlax.impute.joint`.

    Parameters
    ----------
    data
        Incomplete data, n rows. Columns must be numeric or logical, or be named in `nominal`, `ordinal`
        or `id_vars`.
    m
        Number of imputations.
    id_vars
        Columns kept as they are and left out of the model.
    nominal, ordinal
        Categorical columns. A nominal one enters as dummies against its first level; an ordinal one enters as its
        position and is drawn from a binomial. Logical columns are nominal.
    log, sqrt, logistic
        Columns that enter as log(x - min(0, least x) + 1), square root or logit.
    bounds
        Lowest and highest value of imputed cells per continuous column, in units of the data: rows are
        drawn again up to 100 times, then set to the bound.
    priors
        Normal priors on missing cells.
    ridge
        Pseudo-rows with uncorrelated columns, 0 = none: shrinks correlations by n / (n + ridge) and leaves
        means and variances alone.
    time
        Complete numeric column whose powers enter the model as further columns: squares for a name, or up to the degree
        that a mapping gives, as in ``{"year": 3}`` (Amelia's ``polytime``). Effects of time that differ between
        clusters need `remlax.impute.joint`.
    cluster
        Column that names the clusters; it stays out of the model.
    cluster_vars
        Columns with one value per cluster (needs `cluster`): copied to all rows of the cluster where observed in any;
        wholly empty clusters are imputed first, from a model of the clusters.
    by
        Complete column, such as the arm of a trial: the rows of each of its levels are imputed by a model of their
        own, from a seed of their own.
    derive
        Columns computed from others, by name; functions of a data frame such as `cluster_mean`. They stay out of the
        model and are recomputed in every imputed data set, in the given order.
    tolerance
        EM stops when no mean or covariance of the standardised columns moves by more than this.
    bootstrap
        False fits all imputations to the data as they are. They are then not proper: use it to look at EM.
    max_iter
        Most EM iterations; a fit that needs more gets code 3.
    seed
        Seed. Imputation k depends on the seed and on k, not on m.

    Returns
    -------
    ImputationResult
        `.data` holds the m completed data sets; `.summary()` is what Amelia prints. With `by`, `.parts` holds the
        results of the levels.

    Raises
    ------
    ImputationError
        Nothing to impute, or a column or argument that cannot be used as asked; the message names it.
    DataError
        The data are no data frame, empty, or have column names that are not text or not unique.

    Warns
    -----
    ImputationWarning
        Clustered rows, undeclared cluster means, rows without any observed cell, too many columns, failed
        imputations.

    Notes
    -----
    After two seconds a progress bar appears; ``TQDM_DISABLE=1`` in the environment turns it off.

    References
    ----------
    Honaker, King & Blackwell (2011), Amelia II, J Stat Softw 45(7). Honaker & King (2010), AJPS 54:561-581.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=100)
    >>> frame = pd.DataFrame({"x": x, "y": x + rng.normal(size=100)})
    >>> frame.loc[:19, "y"] = np.nan
    >>> imputed = emb(frame, m=3, seed=1)
    >>> imputed.data.K, int(imputed.data.frames[0].isna().to_numpy().sum())
    (3, 0)
    """
    check_frame(data, "the data to impute")
    options = EmOptions(m, tolerance, max_iter, ridge, bootstrap, seed)
    check_derive(derive)
    check_by(data, by)
    if bounds is not None:
        checks.mapping(bounds, "bounds=", "{'x': (0, 10)}")
    ids = check_columns(data, id_vars, "id_vars=")
    upper = check_columns(data, cluster_vars, "cluster_vars=")
    _check_upper(data, cluster, upper, priors)
    if by is not None and any(prior.row is not None for prior in check_priors(priors)):
        raise ImputationError("priors= of single rows count all rows of the data: leave out by=, or row=")
    roles = {"nominal": nominal, "ordinal": ordinal, "log": log, "sqrt": sqrt, "logistic": logistic}
    left_out = [*ids, *([] if by is None else [by])]
    plan = EmbPlan(left_out, roles, bounds, priors, time, cluster, upper, list(derive or {}), options)
    levels = None if by is None else split_rows(data, by, plan.names(data), seed)
    plan.check(data)
    incomplete = plan.incomplete(data)
    if not incomplete:
        raise ImputationError("no column of the imputation model has a missing cell: nothing to impute")
    clusters = find_clusters(data, ids, cluster)
    warn_flat_model(data, clusters, incomplete, upper)
    warn_undeclared_means(data, clusters, list(derive or {}))
    if by is not None and levels is not None:
        return emb_within(data, by, levels, plan, derive)
    return plan.impute(data, derive)


def _check_upper(
    data: pd.DataFrame, cluster: str | None, upper: Sequence[str], priors: Sequence[CellPrior] | None
) -> None:
    """Refuse cluster-level columns that cannot be imputed as such."""
    if cluster is not None:
        check_cluster(data, cluster)
        if cluster in upper:
            raise ImputationError(f"cluster_vars= names {cluster!r}, the column of the clusters itself: take it out")
    elif upper:
        raise ImputationError("cluster_vars= needs cluster=, the column that names the clusters")
    for prior in check_priors(priors):
        if prior.column in upper:
            raise ImputationError(f"priors= names {prior.column!r}, but cluster_vars= take no cell priors")
