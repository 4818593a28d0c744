"""Fits and pooled models from the content of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.archive import Archive
from ..errors import FileFormatError
from ..fitting.fit import Fitted
from ..fitting.glmm import GlmmFitted
from ..fitting.mmrm.fit import MmrmFitted
from ..fitting.selection import Selection
from ..inference.coefficients import Satterthwaite
from ..pooling import pool_rubin
from ..tables.coefficients import known_pool
from .fit import LmerFit
from .fits import LmerFitList
from .glmer import GlmerFit, GlmerFitList, PooledGlmer
from .mmrm import MmrmFit, MmrmFitList, PooledMmrm
from .pooled import PooledLmer
from .save import stack_from_tree, within_from_tree

Saved = LmerFit | LmerFitList | PooledLmer
# classes of results of every kind of model
CLASSES: dict[type[Fitted], tuple[type[LmerFit], type[LmerFitList], type[PooledLmer]]] = {
    Fitted: (LmerFit, LmerFitList, PooledLmer),
    GlmmFitted: (GlmerFit, GlmerFitList, PooledGlmer),
    MmrmFitted: (MmrmFit, MmrmFitList, PooledMmrm),
}


def built(archive: Archive) -> Saved:
    """Build a fit, a list of fits or a pooled model from what `save` wrote."""
    content = archive.content
    fitted = stack_from_tree(content["stack"])
    one, several, pooled = CLASSES[type(fitted)]
    if archive.kind == one.__name__:
        return one(Selection(fitted, _indices([content["lane"]], fitted.n_sets)))
    if not content["lanes"]:
        raise IndexError("no data set is named")
    dropped = content["dropped"] if archive.kind == pooled.__name__ else ()
    fits = Selection(fitted, _indices(content["lanes"], fitted.n_sets), _indices(dropped, fitted.n_sets))
    if archive.kind == several.__name__:
        return several(fits)
    if archive.kind == pooled.__name__:
        within = within_from_tree(content["within"], fits)
        if not isinstance(within, Satterthwaite):
            within.df(np.eye(fitted.beta.shape[1]))  # fails here, if ever
        rubin = pool_rubin(fits.beta, within.vcov, dfcom=content["dfcom"], conf_level=content["conf_level"])
        return pooled(fits, known_pool(rubin, fits.unknown_variance()), within)
    raise FileFormatError(f"it holds a {archive.kind!r}, which this remlax does not know: update remlax")


def _indices(given: Sequence[Any], n_sets: int) -> tuple[int, ...]:
    if not isinstance(given, list | tuple):
        raise TypeError(f"data sets are a list, not a {type(given).__name__}")
    which = tuple(int(k) for k in given)
    if any(not 0 <= k < n_sets for k in which):
        raise IndexError(f"data sets {which} of {n_sets}")
    return which
