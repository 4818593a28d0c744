"""Draw the figures of docs/gallery.md: pupils in schools, imputed five times, and reaction times of 18 subjects.

Needs matplotlib (`pip install remlax[plot]`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

import remlax as rx

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "gallery"


def main() -> None:
    fits = rx.lmer_list("mathach ~ minority + female + ses + meanses + (1 + ses | schid)", rx.datasets.hsb_imputed())
    pooled = fits.pool()
    sleep = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    pupils = pooled.draw_obs(3, seed=1)
    figures: dict[str, Callable[[], Axes]] = {
        "caterpillar": lambda: rx.plot.caterpillar(pooled),
        "caterpillar_names": lambda: rx.plot.caterpillar(sleep, term="Days"),
        "forest": lambda: rx.plot.forest(pooled),
        "variance_components": lambda: rx.plot.variance_components(pooled),
        "trace": lambda: rx.plot.trace(pooled, "minority"),
        "missing_information": lambda: rx.plot.missing_information(pooled),
        "spaghetti": lambda: rx.plot.spaghetti(sleep),
        "effect": lambda: rx.plot.effect(pooled, "ses", by="minority"),
        "impact": lambda: rx.plot.impact(pooled, pupils),
        "zeta": lambda: rx.plot.zeta(sleep, "sd__Days"),
        "residual_fitted": lambda: rx.plot.residual_fitted(sleep),
        "scale_location": lambda: rx.plot.scale_location(sleep),
        "qq_residuals": lambda: rx.plot.qq_residuals(sleep),
        "qq_modes": lambda: rx.plot.qq_modes(pooled),
    }
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, draw in figures.items():
        draw().figure.savefig(TARGET / f"{name}.png", dpi=110)
        plt.close("all")
        print(f"{name}.png")


if __name__ == "__main__":
    main()
