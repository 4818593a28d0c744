"""From R's mice to a pooled model, through one csv file.

In R: write.csv(complete(m, "long", include = TRUE), "imputed.csv", row.names = FALSE)
Here: python examples/from_mice_csv.py imputed.csv "y ~ x + (1 | g)"

Without arguments the High School & Beyond imputations take that way, written as mice would.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import remlax as rx


def pool(path: Path, formula: str) -> None:
    data = rx.read_imputations(path)
    print(data)
    print(rx.impute.fraction_missing(data.original).round(3).loc[lambda share: share > 0].to_string())
    fits = rx.lmer_list(formula, data)
    pooled = fits.pool()
    print(f"\n{pooled.summary()}\n")
    print("Imputations needed for standard errors within 5%:")
    print(rx.how_many_imputations(pooled, se_cv=0.05).round(3).to_string(index=False))


def main() -> None:
    if len(sys.argv) == 3:
        pool(Path(sys.argv[1]), sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imputed.csv"
        rx.write_imputations(rx.datasets.hsb_imputed(), path)
        pool(path, "mathach ~ minority + female + ses + (1 | schid)")


if __name__ == "__main__":
    main()
