"""Made data of a survey of three levels: tests/reference/survey/pupils.csv.gz. Run with NumPy 2 and pandas."""

from pathlib import Path

import numpy as np
import pandas as pd


def pupils() -> pd.DataFrame:
    rng = np.random.default_rng(20)
    rows = []
    for school in range(24):
        effect, w3, stratum = rng.normal(0, [1.0, 0.4]), rng.uniform(1, 6), "ab"[school % 2]
        for room in range(int(rng.integers(2, 4))):
            own, w2 = rng.normal(0, 0.7), rng.uniform(1, 3)
            for _ in range(int(rng.integers(4, 8))):
                x, w1 = rng.normal() + 0.3 * effect[0], rng.uniform(1, 5)
                y = 10 + (0.5 + effect[1]) * x + effect[0] + own + rng.normal()
                values = y + rng.normal(0, 0.6, 5)
                rows.append((f"s{school:02d}", f"c{room}", stratum, w3, w3 * w2, w3 * w2 * w1, x, y, *values))
    names = ["school", "room", "stratum", "w3", "w2", "w1", "x", "y", *(f"pv{m}" for m in range(1, 6))]
    return pd.DataFrame(rows, columns=names).round(6)


if __name__ == "__main__":
    folder = Path(__file__).resolve().parents[1] / "survey"
    folder.mkdir(exist_ok=True)
    pupils().to_csv(folder / "pupils.csv.gz", index=False)
