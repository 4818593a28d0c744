"""Data of impute/joint_nested.csv, standardised at their levels: ``python scripts/impute_nested.py`` in this folder's parent."""

from __future__ import annotations

import numpy as np
import pandas as pd

SCHOOLS, CLASSES, PUPILS = 25, 4, 4

rng = np.random.default_rng(20)
n_classes = SCHOOLS * CLASSES
school = np.repeat(np.arange(SCHOOLS), CLASSES * PUPILS)
klass = np.repeat(np.arange(n_classes), PUPILS)
n = len(school)
a = rng.multivariate_normal([0] * 4, 0.4 * np.eye(4) + 0.3 * np.ones((4, 4)), SCHOOLS)  # y, x, w, t
b = rng.multivariate_normal([0] * 3, 0.3 * np.eye(3) + 0.2 * np.ones((3, 3)), n_classes)
slope = 0.5 * rng.normal(size=SCHOOLS)
e = rng.multivariate_normal([0] * 2, [[1, 0.4], [0.4, 1]], n)
z = rng.normal(size=n) + 0.5 * rng.normal(size=n_classes)[klass]
frame = pd.DataFrame({"school": school, "cls": klass % CLASSES, "z": z})
frame["y"] = a[school, 0] + b[klass, 0] + (0.4 + slope[school]) * z + e[:, 0]
frame["x"] = a[school, 1] + b[klass, 1] + 0.2 * z + e[:, 1]
w = a[np.arange(n_classes) // CLASSES, 2] + b[:, 2]
t = a[:, 3].copy()
for name in ("y", "x"):
    frame.loc[rng.random(n) < 0.25, name] = np.nan
for values in (w, t):
    values[rng.random(len(values)) < 0.25] = np.nan
    values -= np.nanmean(values)
    values /= np.nanstd(values, ddof=1)
for name in ("y", "x"):
    frame[name] = (frame[name] - frame[name].mean()) / frame[name].std()
frame["z"] = (frame["z"] - frame["z"].mean()) / frame["z"].std(ddof=0)
frame["w"], frame["t"] = w[klass], t[school]
frame.to_csv("impute/joint_nested.csv", index=False, float_format="%.15g", na_rep="NA")
