"""What `emb` returns, and its printed summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..data import ImputedData
from ..data.checks import Label
from ..data.imputation_model import ImputationModel
from ..names import UnknownNames
from .columns import ColumnCode, FloatArray
from .derive import Derivation, apply_derivations
from .patterns import fraction_missing, pattern_table

CODE_MESSAGES = {
    1: "Normal EM convergence.",
    2: "The resulting covariance matrix was not invertible.",
    3: "EM reached max_iter before it converged.",
}


@dataclass(frozen=True, eq=False)
class ImputationResult(UnknownNames):
    """Imputations made by `emb`, with the account of how they were made.

    Attributes
    ----------
    data
        The completed data sets, labelled 1..m; those with code 2 are left out.
    chain_lengths
        (m,) EM iterations of each imputation.
    codes
        (m,) 1 converged, 2 covariance not invertible (no imputation), 3 stopped at max_iter.
    fraction_missing
        Fraction of missing cells per column of the incomplete data.
    patterns
        Table of missing-data patterns: see `pattern_table`.
    n_rows, n_complete
        Rows, and rows without any missing cell.
    model_columns
        Names of the p columns of the normal model (dummies, transformed columns).
    means, covariances
        (m, p) and (m, p, p) EM estimates behind each imputation, in units of the model columns.
    plan
        How the columns of the data became columns of the model.
    encoded
        (n, p) model columns of the incomplete data, NaN where missing.
    """

    data: ImputedData
    chain_lengths: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    fraction_missing: pd.Series[float]
    patterns: pd.DataFrame
    n_rows: int
    n_complete: int
    model_columns: tuple[str, ...]
    means: FloatArray
    covariances: FloatArray
    plan: tuple[ColumnCode, ...]
    encoded: FloatArray

    @property
    def code(self) -> int:
        """1 if every imputation converged, else the code of the worst (2, then 3)."""
        present = set(self.codes.tolist())
        return next(code for code in (2, 3, 1) if code in present)

    @property
    def messages(self) -> tuple[str, ...]:
        """One sentence per imputation."""
        return tuple(CODE_MESSAGES[code] for code in self.codes.tolist())

    @property
    def message(self) -> str:
        """One sentence for all imputations."""
        bad = [str(k + 1) for k, code in enumerate(self.codes) if code == self.code]
        return CODE_MESSAGES[self.code] + (f" (imputation {', '.join(bad)})" if self.code != 1 else "")

    def __len__(self) -> int:
        return self.data.K

    def __repr__(self) -> str:
        return f"{type(self).__name__}: code {self.code}, {self.data!r}"

    def summary(self) -> str:
        """Return the text that Amelia prints for `summary(impute.out)`.

        Returns
        -------
        str
            Return code and message, chain lengths, rows after listwise deletion and after imputation,
            number of patterns, fraction missing of every variable; to be printed.
        """
        width = max(len(str(name)) for name in self.fraction_missing.index)
        chains = "".join(f"Imputation {k}:  {length}\n" for k, length in enumerate(self.chain_lengths, start=1))
        fractions = "".join(f"{name!s:<{width}} {value:16.8f}\n" for name, value in self.fraction_missing.items())
        return f"""
EMB output with {len(self.codes)} imputed datasets.
Return code:  {self.code}
Message:  {self.message}

Chain Lengths:
--------------
{chains}
Rows after Listwise Deletion:  {self.n_complete}
Rows after Imputation:  {self.n_rows}
Patterns of missingness in the data:  {len(self.patterns)}

Fraction Missing for original variables:
-----------------------------------------

{"":<{width}} Fraction Missing
{fractions}"""


def account(data: pd.DataFrame) -> dict[str, Any]:
    """What an `ImputationResult` says of the incomplete data."""
    return {
        "fraction_missing": fraction_missing(data),
        "patterns": pattern_table(data),
        "n_rows": len(data),
        "n_complete": int(data.notna().all(axis=1).sum()),
    }


def completed_data(
    frames: Mapping[Label, pd.DataFrame],
    incomplete: pd.DataFrame,
    derive: Mapping[str, Derivation] | None,
    model: ImputationModel | None,
) -> ImputedData:
    """Completed frames by label, and the incomplete one, with their derived columns."""
    derived = {label: apply_derivations(frame, derive) for label, frame in frames.items()}
    data = ImputedData.from_frames(derived).with_original(apply_derivations(incomplete, derive))
    return replace(data, imputed_by=model)
