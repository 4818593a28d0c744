"""Fit the designs of stress_designs.py and hold every answer against a dense one: python tests/stress.py docs/stress.md

The dense answer at the theta that a fit reports comes from one QR factorisation of the penalised least-squares problem
(Bates et al. 2015, eq. 12) in extended precision. Whether a lower criterion exists is asked of L-BFGS-B on the dense
criterion from several starts; only what the extended precision confirms counts.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

import remlax as rx
from dense_model import DenseTerm, lower
from stress_designs import KINDS, RARE, Design, design

Array = np.ndarray
LONG = np.longdouble

# what a fit that is called converged may differ by
TOLERANCES = {
    "criterion": 1e-6,
    "optimum": 1e-6,
    "coefficients": 5e-5,
    "standard errors": 5e-5,
    "sigma": 1e-6,
    "modes": 5e-5,
    "SDs of modes": 1e-5,
}
WORDS = {
    "criterion": "criterion at the theta found, relative",
    "optimum": "deviance above the lowest found from any start",
    "coefficients": "coefficients, in standard errors",
    "standard errors": "standard errors, relative",
    "sigma": "residual SD, relative",
    "modes": "conditional modes, in SDs of the effect",
    "SDs of modes": "their SDs, in SDs of the effect",
}


def triangular(matrix: Array) -> Array:
    """Reduce (n, c) to its (c, c) upper triangle by Householder reflections, in extended precision."""
    work, c = matrix.astype(LONG), matrix.shape[1]
    for j in range(c):
        v = work[j:, j].copy()
        size = np.sqrt(v @ v)
        if size > 0:
            v[0] += np.copysign(size, v[0])
            work[j:, j:] -= np.outer(v, (2 / (v @ v)) * (v @ work[j:, j:]))
    return np.triu(work[:c])


def solve_upper(r: Array, b: Array) -> Array:
    """Solve R x = b for upper triangular R and b (c, k), in extended precision."""
    x = np.zeros(b.shape, LONG)
    for i in reversed(range(len(r))):
        x[i] = (b[i] - r[i, i + 1 :] @ x[i + 1 :]) / r[i, i]
    return x


@dataclass(frozen=True)
class Answer:
    """What follows from one theta."""

    criterion: float
    beta: Array
    std_error: Array
    sigma: float
    modes: list[Array]
    mode_sds: list[Array]


@dataclass(frozen=True)
class Dense:
    """One model as dense matrices; rows already times the root of their weights, columns of X and Z of unit size."""

    x: Array
    y: Array
    terms: list[DenseTerm]
    log_weights: float
    reml: bool
    x_size: Array
    z_size: list[Array]

    @classmethod
    def of(cls, made: Design, fixed: tuple[str, ...]) -> Dense:
        """Write a design out; ``fixed`` are the columns that the fit has kept."""
        w = made.frame["w"].to_numpy() if made.weighted else np.ones(len(made.frame))
        root = np.sqrt(w)[:, None]
        x = made.columns(fixed) * root
        terms, sizes = [], []
        for names, group in made.terms:
            z = made.columns(names) * root
            size = np.sqrt((z**2).mean(axis=0))
            levels, code = made.levels(group)
            terms.append(DenseTerm(z / size, code, len(levels)))
            sizes.append(size)
        x_size = np.sqrt((x**2).sum(axis=0))
        return cls(
            x / x_size,
            made.frame["y"].to_numpy() * root[:, 0],
            terms,
            float(np.log(w).sum()),
            made.reml,
            x_size,
            sizes,
        )

    @property
    def degrees(self) -> int:
        """N: n - p under REML, n under ML."""
        n, p = self.x.shape
        return n - p if self.reml else n

    @cached_property
    def wide(self) -> list[Array]:
        """Z of every term, (n, levels * q)."""
        return [term.wide() for term in self.terms]

    def lams(self, theta: Array) -> list[Array]:
        """Lambda of every term from theta, in units of the scaled columns."""
        out, start = [], 0
        for term in self.terms:
            q = term.z.shape[1]
            d = q * (q + 1) // 2
            out.append(lower(theta[start : start + d], q))
            start += d
        return out

    def answer(self, lams: list[Array]) -> Answer:
        """Everything at one theta, in the user's units."""
        p = self.x.shape[1]
        parts = zip(self.wide, self.terms, lams, strict=True)
        zl = np.hstack([z.astype(LONG) @ np.kron(np.eye(t.n_levels), lam) for z, t, lam in parts])
        total = zl.shape[1]
        top = np.hstack([zl, self.x.astype(LONG), self.y.astype(LONG)[:, None]])
        bottom = np.hstack([np.eye(total), np.zeros((total, p + 1))])
        r = triangular(np.vstack([top, bottom]))
        inner, a = r[: total + p, : total + p], r[: total + p, [-1]]
        r2 = r[-1, -1] ** 2
        log_l2 = 2 * np.log(np.abs(np.diag(inner)[:total])).sum()
        log_rx2 = 2 * np.log(np.abs(np.diag(inner)[total:]) * self.x_size).sum() if self.reml else LONG(0)
        count = self.degrees
        value = log_l2 + log_rx2 - self.log_weights + count * (1 + np.log(2 * np.pi * r2 / count))
        sigma = np.sqrt(r2 / count)
        solution, inverse = solve_upper(inner, a)[:, 0], solve_upper(inner, np.eye(total + p, dtype=LONG))
        rx_inverse = inverse[total:, total:]
        modes, sds, start = [], [], 0
        for term, lam, size in zip(self.terms, lams, self.z_size, strict=True):
            q, count = term.z.shape[1], term.n_levels * term.z.shape[1]
            part = slice(start, start + count)
            # Lambda (L L')^-1 Lambda' given beta: the first block of R alone
            half = np.kron(np.eye(term.n_levels), lam) @ inverse[part, :total]
            modes.append(((solution[part].reshape(-1, q) @ lam.T) / size).astype(float))
            sds.append((np.sqrt((half**2).sum(axis=1)).reshape(-1, q) * sigma / size).astype(float))
            start += count
        errors = np.sqrt((rx_inverse**2).sum(axis=1)) * sigma / self.x_size
        beta = solution[total:] / self.x_size
        return Answer(float(value), beta.astype(float), errors.astype(float), float(sigma), modes, sds)

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Criterion and gradient through V = I + sum Z Lambda Lambda' Z', in double precision."""
        n, count = len(self.y), self.degrees
        lams = self.lams(theta)
        roots = [z @ np.kron(np.eye(t.n_levels), lam) for z, t, lam in zip(self.wide, self.terms, lams, strict=True)]
        try:
            factor = cho_factor(np.eye(n) + sum(root @ root.T for root in roots), lower=True)
            inner = cho_factor(self.x.T @ (vx := cho_solve(factor, self.x)), lower=True)
        except np.linalg.LinAlgError:
            return 1e300, np.zeros_like(theta)
        p_matrix = cho_solve(factor, np.eye(n)) - vx @ cho_solve(inner, vx.T)
        py = p_matrix @ self.y
        r2 = float(self.y @ py)
        if not r2 > 0:
            return 1e300, np.zeros_like(theta)
        weight = p_matrix if self.reml else cho_solve(factor, np.eye(n))
        value = 2 * np.log(np.diag(factor[0])).sum() - self.log_weights + count * (1 + np.log(2 * np.pi * r2 / count))
        value += 2 * np.log(np.diag(inner[0]) * self.x_size).sum() if self.reml else 0.0
        grad = []
        for z, term, lam in zip(self.wide, self.terms, lams, strict=True):
            q = lam.shape[0]
            full = (z.T @ weight @ z).reshape(term.n_levels, q, term.n_levels, q)
            e = (z.T @ py).reshape(term.n_levels, q)
            own = np.arange(term.n_levels)
            slope = full[own, :, own].sum(axis=0)
            slope = 2 * (slope - count / r2 * e.T @ e) @ lam
            grad.append(slope[np.triu_indices(q)[::-1]])
        return float(value), np.concatenate(grad)


def lowest(dense: Dense, found: Array, rng: np.random.Generator, starts: int) -> Iterator[Array]:
    """Thetas where L-BFGS-B ends, from the theta found and from others."""
    diagonal = np.concatenate([np.eye(t.z.shape[1])[np.triu_indices(t.z.shape[1])[::-1]] for t in dense.terms])
    drawn = [
        diagonal * 10.0 ** rng.uniform(-1.5, 1.5, len(found)) + (1 - diagonal) * rng.normal(size=len(found))
        for _ in range(starts)
    ]
    for start in [found, found + 0.1 * rng.normal(size=len(found)), diagonal, *drawn]:
        with np.errstate(all="ignore"):
            yield minimize(dense.value_and_grad, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x


@dataclass(frozen=True)
class Verdict:
    """What became of one design."""

    made: Design
    refused: str = ""
    converged: bool = False
    singular: bool = False
    warned: tuple[str, ...] = ()
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def flagged(self) -> bool:
        """Whether the fit says that something is the matter."""
        return bool(self.refused) or not self.converged or self.singular or bool(self.warned)

    @property
    def wrong(self) -> list[str]:
        """Quantities beyond their tolerance, of a fit that is called converged."""
        if self.refused or not self.converged:
            return []
        return [name for name, value in self.errors.items() if not value <= TOLERANCES[name]]


def judge(made: Design, starts: int = 4) -> Verdict:
    """Fit one design and compare."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = rx.lmer(made.formula, made.frame, reml=made.reml, weights="w" if made.weighted else None)
        except rx.RemlaxError as error:
            return Verdict(made, refused=f"{type(error).__name__}: {error}")
    names = tuple(sorted({type(w.message).__name__ for w in caught}))
    return Verdict(made, "", fit.converged, fit.is_singular, names, compare(made, fit, starts))


def compare(made: Design, fit: rx.LmerFit, starts: int) -> dict[str, float]:
    """Differences between a fit and the dense answer at its theta, and from the lowest criterion found."""
    kept = tuple("1" if name == "Intercept" else name for name in fit.fixef().index)
    dense = Dense.of(made, kept)
    lams = fit_lams(made, fit)
    scaled = [size[:, None] * lam for size, lam in zip(dense.z_size, lams, strict=True)]
    want = dense.answer(scaled)
    found = np.concatenate([lam[np.triu_indices(len(lam))[::-1]] for lam in scaled])
    rng = np.random.default_rng(made.seed)
    ends = (dense.answer(dense.lams(theta)).criterion for theta in lowest(dense, found, rng, starts))
    least = min(ends, default=np.inf)
    modes = sds = 0.0
    for lam, (names, group), mode, sd in zip(lams, made.terms, want.modes, want.mode_sds, strict=True):
        ours, spreads = fit_modes(made, fit, names, group)
        unit = np.maximum(fit.sigma * np.sqrt((lam**2).sum(axis=1)), 1e-300)
        modes = max(modes, float(np.max(np.abs(ours - mode) / unit)))
        sds = max(sds, float(np.max(np.abs(spreads - sd) / unit)))
    errors = np.sqrt(np.diag(fit.vcov()))
    return {
        "criterion": abs(fit.criterion() - want.criterion) / max(1.0, abs(want.criterion)),
        "optimum": max(want.criterion - least, 0.0),
        "coefficients": float(np.max(np.abs(fit.fixef() - want.beta) / want.std_error)),
        "standard errors": float(np.max(np.abs(errors / want.std_error - 1))),
        "sigma": abs(fit.sigma / want.sigma - 1),
        "modes": modes,
        "SDs of modes": sds,
    }


def shown(name: str) -> str:
    """Name of a column of a random term as remlax prints it."""
    return "Intercept" if name == "1" else name


def fit_lams(made: Design, fit: rx.LmerFit) -> list[Array]:
    """Lambda of every term in the design's order, the user's units."""
    layout, relative_factor = fit.selection.model.layout, fit.selection.fitted.relative_factor
    by_name = {
        (term.group.replace("(", "").replace(")", ""), term.names): relative_factor(i)[fit.selection.k]
        for i, term in enumerate(layout.terms)
    }
    return [by_name[":".join(group), tuple(map(shown, names))] for names, group in made.terms]


def fit_modes(made: Design, fit: rx.LmerFit, names: tuple[str, ...], group: tuple[str, ...]) -> tuple[Array, Array]:
    """Modes and their SDs of one term, levels in the design's order."""
    table = fit.tidy("ran_vals")
    table = table[(table["group"] == ":".join(group)) & table["term"].isin([shown(name) for name in names])]
    levels = made.levels(group)[0]
    out = []
    for column in ("estimate", "std_error"):
        wide = table.pivot(index="level", columns="term", values=column)
        out.append(wide.loc[levels, [shown(name) for name in names]].to_numpy())
    return out[0], out[1]


def designs(total: int) -> Iterator[Design]:
    """The first designs of every class, as many of each, the classes in turn; last those that take long."""
    often = [kind for kind in KINDS if kind not in RARE]
    for i in range(total - sum(RARE.values())):
        yield design(often[i % len(often)], i // len(often))
    for kind, count in RARE.items():
        yield from (design(kind, seed) for seed in range(count))


def row(verdict: Verdict) -> dict[str, Any]:
    """What the report needs, as JSON."""
    return {
        "kind": verdict.made.kind,
        "seed": verdict.made.seed,
        "formula": verdict.made.structure,
        "refused": verdict.refused,
        "converged": verdict.converged,
        "singular": verdict.singular,
        "rank": "RankDeficientWarning" in verdict.warned,
        "flagged": verdict.flagged,
        "errors": {name: float(value) for name, value in verdict.errors.items()},
        "wrong": verdict.wrong,
    }


def page(rows: list[dict[str, Any]]) -> str:
    """Write the report."""
    head = ["designs", "converged", "of these singular", "column dropped", "not converged", "refused", "wrong"]
    lines = [f"| class | {' | '.join(head)} |", "| :-- |" + " --: |" * len(head)]
    for name, part in [*by_kind(rows), ("all", rows)]:
        good = [r for r in part if r["converged"]]
        counts = [
            len(part),
            len(good),
            sum(r["singular"] for r in good),
            sum(r["rank"] for r in good),
            sum(not r["converged"] and not r["refused"] for r in part),
            sum(bool(r["refused"]) for r in part),
            sum(bool(r["wrong"]) for r in good),
        ]
        lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    worst = [f"| class | {' | '.join(SHORT.values())} |", "| :-- |" + " --: |" * len(SHORT)]
    for name, part in [*by_kind(rows), ("all", rows)]:
        good = [r for r in part if r["converged"]]
        cells = [f"{max((r['errors'][key] for r in good), default=0.0):.0e}" for key in SHORT]
        worst.append(f"| {name} | {' | '.join(cells)} |")
    allowed = [f"| {WORDS[key]} | {value:.0e} |" for key, value in TOLERANCES.items()]
    limits = "\n".join(["| quantity | a fit called converged may differ by |", "| :-- | --: |", *allowed])
    return PAGE.format(
        count=len(rows),
        unflagged=sum(bool(r["wrong"]) and not r["flagged"] for r in rows),
        counts="\n".join(lines),
        worst="\n".join(worst),
        limits=limits,
        classes="\n".join(f"- **{kind}**: {(make.__doc__ or '').strip()}" for kind, make in KINDS.items()),
    )


def by_kind(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of each class, in the order of the classes."""
    return [(kind, part) for kind in KINDS if (part := [r for r in rows if r["kind"] == kind])]


SHORT = {
    "criterion": "criterion",
    "optimum": "above the lowest",
    "coefficients": "coefficients",
    "standard errors": "SEs",
    "sigma": "sigma",
    "modes": "modes",
    "SDs of modes": "SDs of modes",
}
PAGE = """# Numerical stress

{count} random designs, fitted by remlax and held against a dense answer that shares nothing with it: the penalised
least-squares problem solved by one QR factorisation in extended precision, at the theta that the fit reports. Whether a
lower criterion exists is searched by L-BFGS-B on the dense criterion from seven starts, wherever that leads.

**Wrong answers without a flag: {unflagged}.** Flags are: an error that refuses the model, `converged` false,
`is_singular` true, the warning about a dropped column.

{counts}

Worst difference of the fits that are called converged, in the units of the last table:

{worst}

{limits}

Fits that do not converge say why in `fit.opt.status`. Where random effects explain the response to its last digits, or
fixed and random effects together can explain every row, it is `no residual variance`: the criterion has no minimum
there, or none that double precision can tell.

Classes:

{classes}

REML in three of four designs, else ML; weights in one of four. `make stress` repeats all of it and writes this page;
a part runs with the everyday tests.
"""


def main() -> None:
    """Judge the designs that are not in the results yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--designs", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="JSON lines: results so far, to go on from")
    options = parser.parse_args()
    kept = options.keep.read_text().splitlines() if options.keep and options.keep.exists() else []
    rows = [json.loads(line) for line in kept]
    known = {(r["kind"], r["seed"]) for r in rows}
    for made in designs(options.designs):
        if (made.kind, made.seed) in known:
            continue
        rows.append(row(judge(made)))
        if options.keep:
            with options.keep.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    options.page.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
