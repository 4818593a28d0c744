"""A forest plot of pooled coefficients with plotnine: tidy() is the data frame that it wants.

Needs plotnine: pip install plotnine
"""

from __future__ import annotations

import sys

from plotnine import aes, coord_flip, geom_hline, geom_pointrange, ggplot, labs, theme_minimal

import remlax as rx


def main(path: str) -> None:
    fits = rx.lmer_list("mathach ~ minority + female + ses + (1 | schid)", rx.datasets.hsb_imputed())
    table = fits.pool().tidy("fixed").query("term != 'Intercept'")
    plot = (
        ggplot(table, aes("term", "estimate", ymin="conf_low", ymax="conf_high"))
        + geom_hline(yintercept=0, linetype="dashed", color="grey")
        + geom_pointrange()
        + coord_flip()
        + labs(y="Points of mathematics achievement (95% CI)", x="")
        + theme_minimal()
    )
    plot.save(path, width=5, height=2.5, dpi=150, verbose=False)
    print(f"{len(table)} coefficients in {path}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "coefficients.png")
