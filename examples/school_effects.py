"""Draw the figure of the README: what each school adds to the intercept, with all the uncertainty there is.

Intervals use the pooled total variance: the mean conditional variance within the fits plus the variance between the
imputations. Needs matplotlib (`pip install remlax[plot]`).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import remlax as rx

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "school_effects.png"


def main() -> None:
    fits = rx.lmer_list("mathach ~ minority + female + ses + meanses + (1 + ses | schid)", rx.datasets.hsb_imputed())
    modes = fits.pool().ranef(cond_var=True)["schid"]
    order = np.argsort(modes["Intercept"].to_numpy())
    values = modes["Intercept"].to_numpy()[order]
    total = 1.96 * np.sqrt(modes.attrs["cond_var"][order, 0, 0])
    place = np.arange(len(values))
    clear = np.abs(values) > total

    figure, axes = plt.subplots(figsize=(7.2, 2.9), dpi=150)
    for keep, color in ((~clear, "#9a9a9a"), (clear, "#0072b2")):
        axes.vlines(place[keep], (values - total)[keep], (values + total)[keep], color=color, lw=1.0)
        axes.plot(place[keep], values[keep], "o", color=color, ms=2.2)
    axes.axhline(0, color="black", lw=0.7)
    axes.set_xlim(-2, len(values) + 1)
    axes.set_xticks([])
    axes.set_xlabel("160 schools, ordered; blue: the 95% interval excludes 0")
    axes.set_ylabel("school effect on\nmath achievement")
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET)
    print(f"{TARGET.name}: {int(clear.sum())} of {len(values)} intervals exclude 0")


if __name__ == "__main__":
    main()
