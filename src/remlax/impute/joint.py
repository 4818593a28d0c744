"""Multiple imputation of data in two and three levels by a joint multilevel model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd

from ..data.checks import check_frame
from ..errors import ImputationError
from ..progress import progress
from .arguments import check_derive, checks
from .derive import Derivation, nested_derivations, warn_undeclared_means
from .joint_model import Formulas, read_formulas
from .joint_plan import JointPlan
from .joint_result import JointResult, make_result
from .joint_run import JointPrior, start
from .patterns import check_columns
from .three_levels.formulas import clusters_of, read_nested
from .within import check_by, joint_within

Residual = Literal["common", "cluster"]


def joint(
    data: pd.DataFrame,
    formula: str | None = None,
    m: int = 5,
    *,
    level1: Sequence[str] = (),
    level2: str | Sequence[str] = (),
    level3: str | Sequence[str] = (),
    cluster: str | Sequence[str] | None = None,
    fixed: Sequence[str] = (),
    random: Sequence[str] = (),
    by: str | None = None,
    id_vars: Sequence[str] = (),
    nominal: Sequence[str] = (),
    ordinal: Sequence[str] = (),
    log: Sequence[str] = (),
    sqrt: Sequence[str] = (),
    logistic: Sequence[str] = (),
    match: Sequence[str] = (),
    residual: Residual = "common",
    compatible_with: str | None = None,
    derive: Mapping[str, Derivation] | None = None,
    burn: int = 1000,
    iter: int = 1000,  # noqa: A002
    priors: JointPrior | None = None,
    seed: int = 0,
) -> JointResult:
    """Impute missing cells m times under a multivariate linear mixed model, by Gibbs sampling.

    The targets of a row are normal around B'x + b z with residual covariance S; the random effects b of a cluster
    and its cluster-level targets are jointly normal; clusters may lie in clusters, as classes in schools. Imputed
    values thus know their cluster: intraclass correlations and effects between clusters are kept. Each imputation is
    the end of a chain of its own.

    Parameters
    ----------
    data
        Incomplete data, n rows.
    formula
        "y + x ~ 1 + w + (1 + w | g)": targets left of the tilde, complete predictors and one random term right of
        it. Without a random term, `cluster` gets a random intercept.
    m
        Number of imputations, and of chains.
    level1
        Instead of `formula`: columns that are targets, with an intercept and a random intercept.
    level2
        Targets with one value per cluster: columns, or a formula "s ~ 1 + w" with predictors of the clusters. Their
        values are copied within clusters first; only clusters without any are drawn.
    level3
        As `level2`, with one value per outer cluster; see `cluster`.
    cluster
        Column that names the clusters, complete. Given alone, every column but `id_vars`, predictors and derived ones
        is a target: of the clusters if it never varies within one, else of the rows. Two columns, the outermost first,
        as ``["school", "class"]``, give random effects of both; labels of the inner clusters may repeat between outer
        ones. The formula has then both terms, ``(1 + x | school/class)``, or none.
    fixed, random
        Without `formula`: complete columns that all targets of the rows depend on, the same in all clusters, and those
        whose coefficients vary between clusters, inner and outer. Products and powers are terms of their own, as in
        ``["time", "arm", "time:arm"]``.
    by
        Complete column, such as the arm of a trial: the rows of each of its levels are imputed by a model of their
        own, from a seed of their own: effects, variances and slopes may differ between levels.
    id_vars
        Columns that are not targets when `cluster` is given alone.
    nominal, ordinal
        Categorical targets. A nominal one with L levels (logical columns are such) is L - 1 latent normals with
        residual covariance 1 on and 0.5 off the diagonal: the level of the largest positive one, or the first
        level if all are negative. An ordinal one is one latent normal with cut points.
    log, sqrt, logistic
        Targets that enter as log(x - min(0, least x) + 1), square root or logit.
    match
        Continuous targets whose imputed values are observed ones (predictive mean matching): each missing cell takes
        the value of one of the five rows, or clusters, whose means under the model, given the other targets and the
        random effects, are nearest to its own. For columns with a point mass, bounds, or a long tail.
    residual
        "common": one residual covariance. "cluster": one for each cluster, S_j ~ IW(a, A) with a and A unknown;
        continuous targets only.
    compatible_with
        Mixed model of an outcome that has products, squares or random slopes of incomplete targets, as
        "y ~ x * z + (1 + x | g)" or "y ~ x + I(x^2) + (1 | g)". `formula` describes the covariates without the numeric
        outcome, whose missing cells are drawn too. All targets of the rows must be continuous; up to 4 incomplete ones,
        without a transform, may be in it.
    derive
        Columns computed from others, recomputed in every imputed data set: see `cluster_mean`.
    burn, iter
        Sweeps of each chain before the record begins, and recorded. The imputations are taken after the last.
    priors
        Default: flat coefficients, inverse Wishart covariances with df equal to their dimension and identity scale
        on the standardised columns (pan's and jomo's defaults there).
    seed
        Seed. Imputation k depends on the seed and on k, not on m.

    Returns
    -------
    JointResult
        `.data` holds the completed data sets, `.parameters` the posterior and the mixing of every parameter;
        `.continue_()` runs the chains further. With `by`, `.parts` holds the results of the levels.

    Raises
    ------
    ImputationError
        Nothing to impute, an incomplete predictor, a column or argument that cannot be used as asked.
    DataError
        The data are no data frame, empty, or have column names that are not text or not unique.

    Warns
    -----
    ImputationWarning
        Rhat above 1.05; columns that look like cluster means and are not in `derive`.

    Notes
    -----
    After two seconds a progress bar appears; ``TQDM_DISABLE=1`` in the environment turns it off.
    Ctrl-C ends the chains after the sweeps that are under way.

    References
    ----------
    Schafer & Yucel (2002), J Comput Graph Stat 11:437-457. Goldstein, Carpenter, Kenward & Levin (2009), Stat
    Modelling 9:173-197. Yucel (2011), Stat Modelling 11:351-370. Bartlett, Seaman, White & Carpenter (2015), Stat
    Methods Med 24:462-487. Little (1988), J Bus Econ Stat 6:287-296.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> g = np.repeat(np.arange(20), 5)
    >>> frame = pd.DataFrame({"g": g, "y": rng.normal(size=20)[g] + rng.normal(size=100), "x": rng.normal(size=100)})
    >>> frame.loc[::4, "y"] = np.nan
    >>> imputed = joint(frame, "y ~ x + (1 | g)", m=3, burn=200, iter=400, seed=1)
    >>> imputed.data.K, int(imputed.data.frames[0].isna().to_numpy().sum())
    (3, 0)
    """
    check_frame(data, "the data to impute")
    for name, value, least in (("m", m, 1), ("burn", burn, 0), ("iter", iter, 4)):
        checks.whole(value, f"{name}=", least)
    checks.seed(seed, 63)
    check_derive(derive)
    check_by(data, by)
    _check_model({"formula": formula, "compatible_with": compatible_with}, priors, residual)
    ignored = {*check_columns(data, id_vars, "id_vars="), *(derive or {}), *([] if by is None else [by])}
    terms = {"fixed": fixed, "random": random}
    formulas = _read(data, formula, (level1, level2, level3), cluster, sorted(ignored), terms)
    roles = {"nominal": nominal, "ordinal": ordinal, "log": log, "sqrt": sqrt, "logistic": logistic}
    specific, law = residual == "cluster", priors or JointPrior()
    plan = JointPlan(formulas, roles, compatible_with, specific, m, burn, iter, law, by or "", match)
    model = plan.model(data) if by is None else None
    plan.check(data)
    outermost_first = formulas.clusters[::-1]
    derive = nested_derivations(derive, outermost_first)
    warn_undeclared_means(data, outermost_first, list(derive or {}), nested=True)
    if model is None:
        return joint_within(data, plan, derive, seed)
    chains = start(model, m, burn, plan.priors, plan.specific, seed)
    with progress(m * (burn + iter), "sweep") as advance:
        chains, draws = plan.run(chains, advance)
    return make_result(model, chains, draws, data, derive, plan.described(data))


def _read(
    data: pd.DataFrame,
    formula: str | None,
    levels: tuple[Sequence[str], str | Sequence[str], str | Sequence[str]],
    cluster: str | Sequence[str] | None,
    ignored: Sequence[str],
    terms: Mapping[str, Sequence[str]],
) -> Formulas:
    """Read the model of two levels, or of three."""
    found = clusters_of(cluster, formula)
    if isinstance(found, tuple):
        return read_nested(data, formula, levels, found, ignored, terms)
    if levels[2]:
        raise ImputationError("level3= needs two columns in cluster=, as cluster=['school', 'class']")
    return read_formulas(data, formula, levels[0], levels[1], found, ignored, terms)


def _check_model(texts: Mapping[str, object], priors: object, residual: object) -> None:
    """Refuse parts of the model that are of the wrong type."""
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise ImputationError(f"{name}= is a {type(text).__name__}: write it as text, e.g. 'y + x ~ 1 + (1 | g)'")
    if priors is not None and not isinstance(priors, JointPrior):
        raise ImputationError(f"priors= is a {type(priors).__name__}: give a JointPrior(...)")
    checks.choice(residual, Residual, "residual=")
