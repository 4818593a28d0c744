"""What `emb` returns, and its printed summary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from remlax.data import ImputedData

from ..names import UnknownNames
from .columns import ColumnCode, FloatArray

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
        chains = [f"Imputation {k}:  {length}" for k, length in enumerate(self.chain_lengths, start=1)]
        fractions = [f"{name!s:<{width}} {value:16.8f}" for name, value in self.fraction_missing.items()]
        lines = [
            "",
            f"EMB output with {len(self.codes)} imputed datasets.",
            f"Return code:  {self.code}",
            f"Message:  {self.message}",
            "",
            "Chain Lengths:",
            "--------------",
            *chains,
            "",
            f"Rows after Listwise Deletion:  {self.n_complete}",
            f"Rows after Imputation:  {self.n_rows}",
            f"Patterns of missingness in the data:  {len(self.patterns)}",
            "",
            "Fraction Missing for original variables:",
            "-----------------------------------------",
            "",
            f"{'':<{width}} Fraction Missing",
            *fractions,
        ]
        return "\n".join(lines) + "\n"
