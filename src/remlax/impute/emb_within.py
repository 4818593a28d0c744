"""`emb` within the levels of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from remlax.data import ImputedData
from remlax.errors import ImputationError, about

from .derive import Derivation, apply_derivations
from .emb_plan import EmbPlan
from .patterns import fraction_missing, pattern_table
from .result import ImputationResult
from .within import Level, bind_rows


@dataclass(frozen=True, eq=False, repr=False)
class ImputationWithin(ImputationResult):
    """Imputations made by `emb(by=...)`: the rows of each level by a model of their own.

    Attributes
    ----------
    data
        The completed data sets, all rows in their order; those that failed in a level are left out.
    parts
        What `emb` returned for the rows of each level that has missing cells, by "arm = a" and the like.
    chain_lengths, codes
        (m,) the longest and the worst of any level.
    model_columns, means, covariances
        As of `ImputationResult`, the columns of all levels side by side.
    """

    parts: Mapping[str, ImputationResult]

    def summary(self) -> str:
        """Return a text: the summaries of the levels, one below the other; to be printed."""
        return "\n".join(f"{name}\n{part.summary()}" for name, part in self.parts.items())


def emb_within(
    data: pd.DataFrame, by: str, levels: Sequence[Level], plan: EmbPlan, derive: Mapping[str, Derivation] | None
) -> ImputationWithin:
    """Impute within the levels of a column.

    Raises
    ------
    ImputationError
        A column of the model has one value within a level.
    """
    parts = {}
    for level in levels:
        if plan.incomplete(level.frame):
            constant = [name for name in plan.names(data) if len(level.frame[name].dropna().unique()) == 1]
            if constant:
                raise ImputationError(
                    f"by={by!r} leaves column {constant[0]!r} one value in the rows with {level.name}: split by a "
                    "column with fewer levels, or list the other one in id_vars="
                )
            with about(level.name):
                parts[level.name] = plan.impute(level.frame, None, level.seed)
    sets = [parts[level.name].data if level.name in parts else None for level in levels]
    frames = {label: apply_derivations(frame, derive) for label, frame in bind_rows(levels, sets, data).items()}
    bound = ImputedData.from_frames(frames).with_original(apply_derivations(data, derive))
    results = list(parts.values())
    codes = np.stack([part.codes for part in results])
    return ImputationWithin(
        data=replace(bound, imputed_by=plan.described(data, by)),
        chain_lengths=np.stack([part.chain_lengths for part in results]).max(axis=0),
        codes=np.where((codes == 2).any(axis=0), 2, codes.max(axis=0)),
        fraction_missing=fraction_missing(data),
        patterns=pattern_table(data),
        n_rows=len(data),
        n_complete=int(data.notna().all(axis=1).sum()),
        model_columns=tuple(f"{name}: {own}" for name, part in parts.items() for own in part.model_columns),
        means=np.concatenate([part.means for part in results], axis=1),
        covariances=np.stack([block_diag(*own) for own in zip(*(part.covariances for part in results), strict=True)]),
        plan=results[0].plan,
        encoded=results[0].encoded,
        parts=parts,
    )
