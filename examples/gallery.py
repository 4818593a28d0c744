"""Draw the figures of docs/gallery.md: of fits, imputations, many responses, trials and studies.

Needs matplotlib (`pip install remlax[plot]`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import remlax as rx

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "gallery"


Figures = dict[str, Callable[[], Axes]]


def of_fits() -> Figures:
    fits = rx.lmer_list("mathach ~ minority + female + ses + meanses + (1 + ses | schid)", rx.datasets.hsb_imputed())
    pooled = fits.pool()
    sleep = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    pupils = pooled.draw_obs(3, seed=1)
    return {
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


def of_imputations() -> Figures:
    data = rx.datasets.hsb_incomplete()
    clustered = data[data["schid"].isin(data["schid"].unique()[:60])][["schid", "mathach", "ses"]]
    found = rx.impute.joint(clustered, cluster="schid", m=5, burn=200, iter=100, seed=1)
    by_rows = rx.impute.emb(data[["mathach", "ses"]].head(150), 5, seed=1)
    flags = rx.impute.missing_flags(data)
    density, quantiles = (table(found.data, "ses") for table in (rx.impute.density_table, rx.impute.quantile_table))
    return {
        "missing_map": lambda: rx.plot.missing_map(flags[["size", "minority", "ses", "female"]]),
        "imputed_density": lambda: rx.plot.imputed_density_plot(density, name="ses"),
        "imputed_quantile": lambda: rx.plot.imputed_quantile_plot(quantiles, name="ses"),
        "imputed_icc": lambda: rx.plot.imputed_icc_plot(rx.impute.icc_table(found.data, "schid")),
        "overimputation": lambda: rx.plot.overimputation_plot(rx.impute.overimpute(by_rows, "ses").table, name="ses"),
        "chain": lambda: rx.plot.chain_plot(found.draws[:, :, 0], name=str(found.parameters.index[0])),
    }


def of_responses() -> Figures:
    rng, donor = np.random.default_rng(1), np.repeat(np.arange(40), 3)
    samples = pd.DataFrame({"donor": donor, "dose": np.tile([0.0, 1.0, 2.0], 40)})
    scale, effect = rng.gamma(5, 0.2, 400), np.where(np.arange(400) < 60, rng.normal(0, 0.4, 400), 0.0)
    genes = 5 + rng.normal(0, 0.7, (40, 400))[donor] + samples["dose"].to_numpy()[:, None] * effect
    many = rx.lmer_many("~ dose + (1 | donor)", samples, genes + scale * rng.normal(size=genes.shape))
    table = many.tidy("fixed")
    return {
        "volcano": lambda: rx.plot.volcano(table, "dose"),
        "p_value_histogram": lambda: rx.plot.p_value_histogram(table, "dose"),
        "mean_variance": lambda: rx.plot.mean_variance(many.moderate().variances()),
        "variance_share_violins": lambda: rx.plot.variance_share_violins(many.varcorr_shares()),
    }


def trial() -> pd.DataFrame:
    rng, n, t = np.random.default_rng(1), 120, np.arange(4)
    drug, base = np.arange(n) % 2, rng.normal(20, 4, n)
    sigma = 0.7 ** abs(t[:, None] - t) * np.outer(3 + t / 2, 3 + t / 2)
    y = 0.6 * base[:, None] - t - 0.8 * drug[:, None] * t + rng.multivariate_normal(np.zeros(4), sigma, n)
    y[t >= np.where(rng.random(n) < 0.25, rng.integers(1, 4, n), 4)[:, None]] = np.nan
    data = pd.DataFrame({"id": np.repeat(np.arange(n), 4), "base": np.repeat(base, 4), "y": y.ravel()})
    weeks = [f"week {4 * (i + 1)}" for i in t]
    arm = pd.Categorical(np.repeat(np.where(drug, "drug", "placebo"), 4), ["placebo", "drug"])
    return data.assign(arm=arm, visit=pd.Categorical(np.tile(weeks, n), weeks))


def of_studies() -> Figures:
    data, model = trial(), "y ~ base * visit + arm * visit + us(visit | id)"
    fit = rx.mmrm(model, data.dropna())
    imputed = rx.impute.reference(data, model, arm="arm", reference="placebo", draws="none")
    tipping = imputed.tipping_point("y ~ base + arm", np.arange(0.0, 13.0, 2.0).tolist())
    crossed = rx.sim.MultilevelDesign(
        [rx.sim.Factor("subject", 20), rx.sim.Factor("item", 20)],
        1,
        {"1": 0.0, "cond": 0.4},
        [rx.sim.RandomTerm("subject", {"1": 0.6, "cond": 0.4}), rx.sim.RandomTerm("item", {"1": 0.5, "cond": 0.3})],
        1.0,
        [rx.sim.Covariate("cond", kind="balanced", mean=0.5)],
    )
    analysis = "y ~ cond + (1 + cond | subject) + (1 + cond | item)"
    curve = rx.sim.power(analysis, crossed, test="cond", n={"subject": [10, 20, 30, 40], "item": [16, 32]}, seed=1)
    return {
        "marginal_means": lambda: rx.plot.marginal_means(fit.emmeans("arm", by="visit")),
        "visit_covariance": lambda: rx.plot.visit_covariance(fit),
        "tipping_point": lambda: rx.plot.tipping_point(tipping),
        "power": lambda: curve.plot(),
    }


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    figures = of_fits() | of_imputations() | of_responses() | of_studies()
    for name, draw in figures.items():
        draw().figure.savefig(TARGET / f"{name}.png", dpi=110)
        plt.close("all")
        print(f"{name}.png")


if __name__ == "__main__":
    main()
