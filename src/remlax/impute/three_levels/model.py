"""Arrays of the third level, and what the sampler needs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ...design.syntax import variables
from ...errors import ImputationError
from ..clusters import cluster_codes, copy_within_clusters
from ..joint_model import (
    Formulas,
    JointModel,
    TopFormulas,
    TopModel,
    build_model,
    make_predictors,
    make_targets,
    plan_targets,
)
from .formulas import nest


def build_nested(
    data: pd.DataFrame, formulas: Formulas, top: TopFormulas, roles: dict[str, Sequence[str]]
) -> JointModel:
    """Check the columns and make the arrays of all levels."""
    copied = list(dict.fromkeys([*top.targets, *variables(top.fixed)]))
    own = copy_within_clusters(nest(data, top.cluster, formulas.cluster), top.cluster, copied, "level3=")
    model = build_model(own, formulas, roles)
    codes, names = cluster_codes(own, top.cluster)
    if len(names) < 2:
        raise ImputationError(
            f"column {top.cluster!r} has one value only: there is no third level; write cluster={formulas.cluster!r}"
        )
    first = np.unique(codes, return_index=True)[1]
    groups = own.iloc[first]
    fixed = make_predictors(top.fixed, groups, f"part of {top.cluster!r}")
    targets = make_targets(groups, plan_targets(groups, top.targets, roles), fixed.intercept is not None)
    random = make_predictors(top.random, own, f"random part of {top.cluster!r}")
    third = TopModel(targets, fixed, random, codes[model.first_rows], codes)
    # the labels of the inner clusters as they were
    return replace(model, data=model.data.assign(**{formulas.cluster: data[formulas.cluster]}), top=third)
