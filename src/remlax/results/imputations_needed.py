"""Number of imputations that is enough for a pooled model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError
from ..pooling import how_many_imputations as imputations_needed
from .pooled import PooledLmer


def how_many_imputations(pooled: PooledLmer, se_cv: float = 0.05, *, conf_level: float = 0.95) -> pd.DataFrame:
    """Number of imputations for standard errors that would hardly change if the data were imputed again.

    The pooled model is the pilot of von Hippel's two stages: the fraction of missing information of each coefficient
    has the upper confidence limit g with logit g = logit fmi + z sqrt(2 / K); then 1 + (g / se_cv)^2 / 2 imputations,
    rounded up.

    Parameters
    ----------
    pooled : PooledLmer
        Pooled fits of a pilot; von Hippel advises about 20 imputations.
    se_cv : float, default 0.05
        Accepted coefficient of variation of a standard error over repeated imputation.
    conf_level : float, default 0.95
        Level of the two-sided interval whose upper limit is used.

    Returns
    -------
    pandas.DataFrame
        One row per coefficient, ``term fmi fmi_upper n_imputations``; the largest number serves all. ``attrs`` holds
        it as ``n_needed``, and ``n_pilot``.

    Raises
    ------
    DataError
        Not a pooled model.
    PoolingError
        se_cv is not positive, or conf_level does not lie between 0 and 1.

    References
    ----------
    von Hippel, P. T. (2020). How many imputations do you need? A two-stage calculation using a quadratic rule. Sociol.
    Methods Res. 49, 699-718.

    Examples
    --------
    >>> import remlax as rx
    >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
    >>> rx.how_many_imputations(pooled)[["term", "n_imputations"]].values.tolist()
    [['Intercept', 2], ['ses', 6]]
    """
    if not isinstance(pooled, PooledLmer):
        raise DataError(f"how_many_imputations takes a pooled model, not {type(pooled).__name__}: pool the fits first")
    known = ~np.isnan(pooled.rubin.fmi)
    if not known.any():
        raise DataError("no coefficient of the pooled model has an identified variance: see the notes of its summary")
    found = imputations_needed(pooled.rubin.fmi[known], pooled.n_imputations, cv=se_cv, conf_level=conf_level)
    table = pd.DataFrame(
        {
            "term": pooled.fixef().index[known],
            "fmi": found.fmi,
            "fmi_upper": found.fmi_upper,
            "n_imputations": found.by_coefficient,
        }
    )
    table.attrs = {"n_needed": found.m, "n_pilot": found.m_pilot}
    return table
