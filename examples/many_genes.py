"""Expression of many genes in cells of donors, as pseudobulk: one mixed model for all, moderated tests, shares."""

from __future__ import annotations

import numpy as np
import pandas as pd

import remlax as rx


def pseudobulk(n_genes: int = 500) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples of 24 donors before and after a stimulus, and log expression; 50 genes answer to the stimulus."""
    rng = np.random.default_rng(1)
    donor = np.repeat(np.arange(24), 4)
    samples = pd.DataFrame(
        {
            "donor": [f"donor {d:02d}" for d in donor],
            "stimulated": np.tile([0, 0, 1, 1], 24),
            "age": rng.normal(45, 12, 24)[donor].round(),
            "batch": rng.choice(["a", "b", "c"], 96),
        }
    )
    between, within = rng.gamma(2, 0.2, n_genes), np.sqrt(4 * 0.3 / rng.chisquare(4, n_genes))
    effect = np.where(np.arange(n_genes) < 50, rng.normal(0, 0.6, n_genes), 0.0)
    log_counts = 6 + np.outer(samples["stimulated"], effect) + rng.normal(size=(24, n_genes))[donor] * between
    log_counts += rng.normal(size=(96, n_genes)) * within
    genes = [f"gene {g:03d}" for g in range(n_genes)]
    expression = pd.DataFrame(log_counts, columns=genes).round(4)
    expression.iloc[::7, 3] = np.nan  # a gene that some samples lack
    expression["gene 499"] = 0.0  # and one that is not expressed
    return samples, expression


def main() -> None:
    samples, expression = pseudobulk()
    many = rx.lmer_many("~ stimulated + age + batch + (1 | donor)", samples, responses=expression)
    print(many)

    table = many.tidy("fixed")
    found = table[(table["term"] == "stimulated") & (table["p_adjusted"] < 0.05)]
    print(f"{len(found)} genes answer to the stimulus at a false discovery rate of 5%")

    moderated = many.moderate()
    table = moderated.tidy("fixed")
    found = table[(table["term"] == "stimulated") & (table["p_adjusted"] < 0.05)]
    print(f"with moderated variances: {len(found)} (prior {moderated.s2_prior:.2f}, {moderated.df_prior:.1f} df)")

    print(many.varcorr_shares().mean().round(3).to_dict())
    print(many["gene 007"].summary())


if __name__ == "__main__":
    main()
