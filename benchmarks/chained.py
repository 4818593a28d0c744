"""Incomplete columns far from normal in clustered data: the joint normal model beside predictive mean matching.

Data sets of 50 clusters of 20 rows. x is semi-continuous (a third are 0, the others skewed), bounded (0 to 100, with
values at both ends) or skewed (log-normal); z is complete, y = x / 2 SD + 0.3 z + a cluster's effect + error. x is
missing in two fifths of the rows, more where z and y are large; m = 5.

Imputed by impute.joint: x as it is, clipped to its range, after a logarithm, or by predictive mean matching; by mice in
R: the normal model 2l.pan, and predictive mean matching with five donors on cluster means of y and z, on indicators of
the clusters, and on a linear mixed model, as in 2l.pmm of miceadds. Analyses are y ~ x + z + (1 | g),
x ~ z + (1 | g), and the SD, zeros and quantiles of x. Prints the tables of docs/how-to/columns-far-from-normal.md:

    python benchmarks/chained.py
    python benchmarks/chained.py --quick
"""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from common import arguments, has_r, report

import remlax as rx
from remlax import impute

CLUSTERS, SIZE, LOST, M, REPLICATIONS = 50, 20, 400, 5, 200
N = CLUSTERS * SIZE
G = np.repeat(np.arange(CLUSTERS), SIZE)
KINDS = ("semi-continuous", "bounded", "skewed")
TERMS = ("y ~ x: x", "y ~ x: z", "x ~ z: z", "x ~ z: mean")
OTHERS = ("y ~ x: SD of g", "x ~ z: SD of g", "x ~ z: ICC", "SD", "zeros", "top", "90th percentile", "median, z > 0.5")
R_METHODS = ("mice 2l.pan", "pmm, cluster means", "pmm, clusters", "pmm, random intercepts")
R_SCRIPT = r"""
suppressMessages({library(mice); library(lme4)})
args <- commandArgs(TRUE); n <- as.integer(args[3]); m <- as.integer(args[4]); first <- as.integer(args[5])
input <- file(args[1], "rb"); output <- file(args[2], "wb")
g <- rep(seq_len(as.integer(args[6])), each = n %/% as.integer(args[6]))
# as 2l.pmm of miceadds: a linear mixed model, coefficients and modes drawn, donors by the predicted means
mice.impute.mixed <- function(y, ry, x, type, wy = NULL, donors = 5L, ...) {
  if (is.null(wy)) wy <- !ry
  d <- data.frame(y = y, x[, type != -2, drop = FALSE]); d$cl <- x[, type == -2]
  rhs <- paste(setdiff(names(d), c("y", "cl")), collapse = " + ")
  fit <- lmer(as.formula(paste("y ~", rhs, "+ (1 | cl)")), d[ry, ])
  X <- cbind(1, as.matrix(d[, setdiff(names(d), c("y", "cl"))]))
  b <- fixef(fit); b.star <- as.vector(b + t(chol(as.matrix(vcov(fit)))) %*% rnorm(length(b)))
  modes <- ranef(fit, condVar = TRUE)$cl; var <- as.vector(attr(modes, "postVar"))
  u <- u.star <- setNames(rep(0, length(unique(d$cl))), unique(d$cl))
  u.star[] <- rnorm(length(u), sd = sqrt(as.vector(VarCorr(fit)$cl)))
  u[rownames(modes)] <- modes[, 1]; u.star[rownames(modes)] <- modes[, 1] + sqrt(var) * rnorm(length(var))
  cl <- as.character(d$cl)
  old <- as.vector(X[ry, ] %*% b) + u[cl[ry]]; new <- as.vector(X[wy, ] %*% b.star) + u.star[cl[wy]]
  y[ry][matchindex(old, new, donors)]
}
one <- function(d, method, type) {
  p <- make.predictorMatrix(d); p[,] <- 0; p["x", names(type)] <- type
  how <- setNames(rep("", ncol(d)), names(d)); how["x"] <- method
  done <- mice(d, m = m, maxit = 1, method = how, predictorMatrix = p, printFlag = FALSE)
  as.vector(as.matrix(done$imp$x))
}
set.seed(first)
repeat {
  v <- readBin(input, "double", 3 * n); if (length(v) < 3 * n) break
  d <- data.frame(x = v[1:n], y = v[n + 1:n], z = v[2 * n + 1:n], g = g)
  d$ym <- ave(d$y, g); d$zm <- ave(d$z, g); d$x[is.nan(d$x)] <- NA; f <- transform(d, g = factor(g))
  means <- c(y = 1, z = 1, ym = 1, zm = 1)
  suppressMessages(suppressWarnings({
    writeBin(one(d, "2l.pan", c(g = -2, means)), output)
    writeBin(one(d, "pmm", means), output)
    writeBin(one(f, "pmm", c(y = 1, z = 1, g = 1)), output)
    writeBin(one(d, "mixed", c(g = -2, means)), output)
  }))
}
close(output)
"""
Floats = npt.NDArray[np.float64]


def covariate(kind: str, z: Floats, b: Floats, rng: np.random.Generator) -> Floats:
    """Draw x given z and the effects of the clusters."""
    part = 0.5 * z + 0.5 * b
    error = rng.normal(size=len(z)) * np.sqrt(0.5)
    latent = part + error
    if kind == "skewed":
        return np.asarray(np.exp(0.8 * latent))
    if kind == "bounded":
        return np.clip(60.0 + 35.0 * latent, 0.0, 100.0)
    other = part + 0.5 * error + np.sqrt(0.75 * 0.5) * rng.normal(size=len(z))
    return np.where(other < -0.43, 0.0, np.exp(0.8 * latent))


def truths(kind: str) -> dict[str, float]:
    """Population values, from two million rows of x: projections on z, moments and quantiles."""
    rng, clusters = np.random.default_rng(0), 100_000
    z = rng.normal(size=clusters * SIZE)
    x = covariate(kind, z, np.repeat(rng.normal(size=clusters), SIZE), rng)
    slope, sd = np.cov(x, z)[0, 1] / z.var(), x.std()
    rest = (x - slope * z).reshape(clusters, SIZE)
    within = rest.var(axis=1, ddof=1).mean()
    between = rest.mean(axis=1).var() - within / SIZE
    found = {"y ~ x: x": 0.5 / sd, "y ~ x: z": 0.3, "x ~ z: z": slope, "x ~ z: mean": x.mean(), "SD": sd}
    found |= {"y ~ x: SD of g": 0.5, "x ~ z: SD of g": np.sqrt(between), "x ~ z: ICC": between / (between + within)}
    return found | marginal(x, z)


def marginal(x: Floats, z: Floats) -> dict[str, float]:
    """What a description of x reports."""
    return {
        "SD": x.std(),
        "zeros": np.mean(x <= 0.0),
        "top": np.mean(x >= 100.0),
        "90th percentile": np.quantile(x, 0.9),
        "median, z > 0.5": np.median(x[z > 0.5]),
    }


def simulated(kind: str, truth: dict[str, float], number: int) -> tuple[pd.DataFrame, Floats]:
    """One data set, complete, and x with its missing cells."""
    rng = np.random.default_rng([number, KINDS.index(kind)])
    z = rng.normal(size=N)
    x = covariate(kind, z, rng.normal(size=CLUSTERS)[G], rng)
    y = truth["y ~ x: x"] * (x - truth["x ~ z: mean"]) + 0.3 * z + 0.5 * rng.normal(size=CLUSTERS)[G]
    y = y + 0.7 * rng.normal(size=N)
    incomplete = x.copy()
    # the same number in all data sets, which then share programs
    incomplete[np.argsort(0.7 * z + 0.7 * y + rng.logistic(size=N))[-LOST:]] = np.nan
    return pd.DataFrame({"g": G, "y": y, "z": z, "x": x}), incomplete


def analysed(frames: list[pd.DataFrame]) -> dict[str, tuple[float, float, float]]:
    """Estimates and intervals of all quantities, pooled; without intervals where there are none."""
    data = rx.ImputedData.from_frames(frames if len(frames) > 1 else frames * 2)
    found: dict[str, tuple[float, float, float]] = {}
    for model, names in (("y ~ x", {"x": "x", "z": "z"}), ("x ~ z", {"z": "z", "Intercept": "mean"})):
        pooled = rx.lmer_list(f"{model}{' + z' if model == 'y ~ x' else ''} + (1 | g)", data).pool()
        table = pooled.tidy("fixed").set_index("term")
        for term, name in names.items():
            found[f"{model}: {name}"] = tuple(map(float, table.loc[term, ["estimate", "conf_low", "conf_high"]]))
        variance = pooled.varcorr().set_index("group")["vcov"]
        found[f"{model}: SD of g"] = (float(np.sqrt(variance["g"])), np.nan, np.nan)
        if model == "x ~ z":
            found["x ~ z: ICC"] = (float(variance["g"] / variance.sum()), np.nan, np.nan)
    parts = [marginal(frame["x"].to_numpy(), frame["z"].to_numpy()) for frame in frames]
    return found | {name: (float(np.mean([p[name] for p in parts])), np.nan, np.nan) for name in parts[0]}


def start_mice(folder: Path, sets: list[tuple[pd.DataFrame, Floats]], seed: int) -> subprocess.Popen[bytes]:
    """Begin to impute all data sets by each method of mice."""
    (folder / "in").write_bytes(b"".join(np.concatenate([x, d["y"], d["z"]]).tobytes() for d, x in sets))
    (folder / "mice.R").write_text(R_SCRIPT, encoding="utf-8")
    numbers = [str(v) for v in (N, M, seed, CLUSTERS)]
    return subprocess.Popen(["Rscript", str(folder / "mice.R"), str(folder / "in"), str(folder / "out"), *numbers])


def filled(frame: pd.DataFrame, x: Floats, cells: Floats) -> list[pd.DataFrame]:
    lost = np.isnan(x)
    frames = []
    for row in cells:
        whole = x.copy()
        whole[lost] = row
        frames.append(frame.assign(x=whole))
    return frames


def by_joint(frame: pd.DataFrame, x: Floats, kind: str, number: int) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Data sets completed by impute.joint."""
    call = {"cluster": "g", "m": M, "burn": 100, "iter": 100, "seed": number}
    incomplete, clip = frame.assign(x=x), (0.0, 100.0 if kind == "bounded" else np.inf)
    plain = list(impute.joint(incomplete, **call).data.frames)
    yield "joint", plain
    yield "joint, clipped", [f.assign(x=f["x"].clip(*clip)) for f in plain]
    if kind != "bounded":
        yield "joint, log", list(impute.joint(incomplete, **call, log=["x"]).data.frames)
    yield "joint, match", list(impute.joint(incomplete, **call, match=["x"]).data.frames)


def study(kind: str, replications: int) -> list[dict[str, Any]]:
    """Rows of the table: one per method and quantity."""
    warnings.simplefilter("ignore")
    truth = truths(kind)
    sets = [simulated(kind, truth, number) for number in range(replications)]
    found: dict[str, list[dict[str, tuple[float, float, float]]]] = {}

    def add(method: str, frames: list[pd.DataFrame]) -> None:
        found.setdefault(method, []).append(analysed(frames))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = start_mice(folder, sets, KINDS.index(kind) + 1) if has_r("mice", "lme4", "pan") else None
        for number, (frame, x) in enumerate(sets):
            add("complete data", [frame])
            add("complete cases", [frame[~np.isnan(x)]])
            for method, frames in by_joint(frame, x, kind, number):
                add(method, frames)
        if peer is not None:
            if peer.wait():
                raise RuntimeError("R failed")
            cells = np.fromfile(folder / "out").reshape(len(sets), len(R_METHODS), M, LOST)
            for (frame, x), parts in zip(sets, cells, strict=True):
                for method, part in zip(R_METHODS, parts, strict=True):
                    add(method, filled(frame, x, part))
    return [
        summary(kind, method, name, truth[name], [r[name] for r in rows])
        for method, rows in found.items()
        for name in (*TERMS, *OTHERS)
    ]


def summary(
    kind: str, method: str, name: str, truth: float, values: list[tuple[float, float, float]]
) -> dict[str, Any]:
    """Bias, its Monte Carlo error, empirical SD and coverage."""
    estimate, low, high = np.array(values).T
    row = {"kind": kind, "method": method, "quantity": name, "truth": truth, "replications": len(values)}
    row |= {
        "bias": estimate.mean() - truth,
        "error": estimate.std(ddof=1) / np.sqrt(len(values)),
        "sd": estimate.std(ddof=1),
    }
    covered = None if np.isnan(low).any() else float(np.mean((low <= truth) & (truth <= high)))
    return row | {"coverage": covered}


def table(rows: list[dict[str, Any]], kind: str, names: tuple[str, ...]) -> str:
    """Markdown: relative bias in per cent with its error, and coverage."""
    by = {(r["method"], r["quantity"]): r for r in rows if r["kind"] == kind}
    methods = list(dict.fromkeys(method for method, _ in by))
    names = tuple(name for name in names if by[methods[0], name]["truth"] > 0.0)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines.append("| truth | " + " | ".join(f"{by[methods[0], name]['truth']:.3g}" for name in names) + " |")
    lines.extend(f"| {method} | " + " | ".join(cell(by[method, name]) for name in names) + " |" for method in methods)
    return "\n".join(lines)


def cell(row: dict[str, Any]) -> str:
    relative = [100.0 * row[key] / row["truth"] for key in ("bias", "error")]
    text = f"{relative[0]:+.1f} ({relative[1]:.1f})"
    return text if row["coverage"] is None else f"{text}, {row['coverage']:.2f}"


def main() -> None:
    """Run the study and print its tables."""
    replications = 20 if arguments(__doc__ or "").quick else REPLICATIONS
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(len(KINDS), get_context("spawn")) as pool:
        for kind, found in zip(KINDS, pool.map(study, KINDS, [replications] * len(KINDS)), strict=True):
            rows += found
            print(f"\n{kind}, {replications} data sets\n", flush=True)
            for names in (TERMS, OTHERS):
                print(table(rows, kind, names) + "\n", flush=True)
    report("chained", rows)


if __name__ == "__main__":
    main()
