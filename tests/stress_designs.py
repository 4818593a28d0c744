"""Random designs that strain a mixed model, class by class, each from its own seed, with what they mean as matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from random_models import STRUCTURES

Term = tuple[tuple[str, ...], tuple[str, ...]]
Array = np.ndarray


@dataclass(frozen=True)
class Design:
    """A data set and its model: columns of the fixed part, and (columns, grouping columns) of every random term."""

    kind: str
    seed: int
    frame: pd.DataFrame
    fixed: tuple[str, ...]
    structure: str
    terms: list[Term]
    reml: bool
    weighted: bool

    @property
    def formula(self) -> str:
        """Formula of the model."""
        return f"y ~ {' + '.join(self.fixed)} + {self.structure}"

    def columns(self, names: tuple[str, ...]) -> Array:
        """Columns by name, (n, q); "1" is a column of ones."""
        ones = np.ones(len(self.frame))
        return np.column_stack([ones if name == "1" else self.frame[name].to_numpy() for name in names])

    def levels(self, group: tuple[str, ...]) -> tuple[Array, Array]:
        """Names of the levels of a grouping factor, and the code of every row."""
        labels = [":".join(parts) for parts in self.frame[list(group)].itertuples(index=False)]
        return np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)


USUAL = (
    "(1 | g)",
    "(1 + x | g)",
    "(1 | g) + (0 + x | g)",
    "(1 | b/a)",
    "(1 | g) + (1 | h)",
    "(1 + x | g) + (1 | h)",
)


def codes(rng: np.random.Generator, n: int, count: int) -> Array:
    """Unbalanced groups, every level at least once."""
    drawn = rng.choice(count, max(n - count, 0), p=rng.dirichlet(np.full(count, 2.0)))
    return rng.permutation(np.concatenate([np.arange(count), drawn])[:n])


def base(rng: np.random.Generator, n: int, levels: int = 10) -> dict[str, Array]:
    """Predictors and groups."""
    names = {"g": levels, "h": 5, "b": 4, "a": 3}
    out: dict[str, Array] = {name: rng.normal(size=n) for name in ("x", "z", "e")}
    out["w"] = rng.uniform(0.3, 3.0, n)
    for name, count in names.items():
        out[name] = np.array([f"{name}{c:02d}" for c in codes(rng, n, count)], dtype=object)
    return out


def effects(rng: np.random.Generator, data: dict[str, Array], terms: list[Term], roots: list[Array]) -> Array:
    """Z b with b = root u, u standard normal."""
    total = np.zeros(len(data["x"]))
    for (names, group), root in zip(terms, roots, strict=True):
        labels = [":".join(parts) for parts in zip(*(data[g] for g in group), strict=True)]
        levels, code = np.unique(labels, return_inverse=True)
        b = rng.normal(size=(len(levels), root.shape[1])) @ root.T
        for j, name in enumerate(names):
            total += b[code, j] * (1.0 if name == "1" else data[name])
    return total


def spread(rng: np.random.Generator, terms: list[Term]) -> list[Array]:
    """Lower-triangular roots with SDs between 0.2 and 3."""
    out = []
    for names, _ in terms:
        q = len(names)
        out.append(np.diag(rng.uniform(0.2, 3.0, q)) @ (np.eye(q) + np.tril(rng.normal(size=(q, q)), -1) * 0.5))
    return out


def finish(
    kind: str,
    seed: int,
    rng: np.random.Generator,
    data: dict[str, Array],
    structure: str,
    *,
    terms: list[Term] | None = None,
    roots: list[Array] | None = None,
    sigma: float = 1.0,
    fixed: tuple[str, ...] = ("x",),
    weighted: bool | None = None,
) -> Design:
    """Draw the response, and REML or ML, weights or none."""
    terms = STRUCTURES[structure] if terms is None else terms
    noise = rng.normal(size=len(data["x"])) * sigma
    data["y"] = 1.0 + sum(0.5 * data[name] for name in fixed) + noise
    data["y"] = data["y"] + effects(rng, data, terms, spread(rng, terms) if roots is None else roots)
    chosen = bool(rng.random() < 0.25) if weighted is None else weighted
    return Design(kind, seed, pd.DataFrame(data), fixed, structure, terms, bool(rng.random() < 0.75), chosen)


def ordinary(seed: int, rng: np.random.Generator) -> Design:
    """Unbalanced groups, SDs between 0.2 and 3 residual SDs."""
    data = base(rng, int(rng.integers(40, 120)))
    return finish("ordinary", seed, rng, data, str(rng.choice(USUAL)))


def boundary(seed: int, rng: np.random.Generator) -> Design:
    """No variance between groups; in half of them every group has the same mean, so that even less is there."""
    data = base(rng, int(rng.integers(40, 120)))
    structure = str(rng.choice(USUAL))
    terms = STRUCTURES[structure]
    keep = rng.random() < 0.5
    roots = [root * (keep and i > 0) for i, root in enumerate(spread(rng, terms))]
    design = finish("boundary", seed, rng, data, structure, roots=roots)
    if rng.random() < 0.5:
        by = design.terms[0][1][-1]
        centred = design.frame["y"] - design.frame.groupby(by)["y"].transform("mean")
        design.frame["y"] = centred + design.frame["x"]
    return design


def correlated(seed: int, rng: np.random.Generator) -> Design:
    """Slopes are a multiple of the intercepts."""
    structure = str(rng.choice(["(1 + x | g)", "(1 + x | g) + (1 | h)", "(1 + x + z | g)"]))
    data = base(rng, int(rng.integers(40, 120)))
    roots = [rng.normal(size=(len(names), 1)) * 2.0 for names, _ in STRUCTURES[structure]]
    return finish("perfectly correlated", seed, rng, data, structure, roots=roots)


def collinear(seed: int, rng: np.random.Generator) -> Design:
    """A predictor that differs from another one by 1e-2 to 1e-9 of its size."""
    data = base(rng, int(rng.integers(40, 120)))
    data["z"] = data["x"] + data["e"] * 10.0 ** rng.uniform(-9, -2)
    structure = str(rng.choice(USUAL))
    return finish("collinear predictors", seed, rng, data, structure, fixed=("x", "z"))


def collinear_random(seed: int, rng: np.random.Generator) -> Design:
    """A random slope of a predictor that hardly differs from 1, or of two that hardly differ."""
    data = base(rng, int(rng.integers(40, 120)))
    size = 10.0 ** rng.uniform(-6, -1)
    structure = str(rng.choice(["(1 + x | g)", "(1 + x + z | g)", "(1 + x | g) + (1 | h)"]))
    if structure == "(1 + x + z | g)":
        data["z"] = data["x"] + size * data["e"]
    else:
        data["x"] = 1.0 + size * data["e"]
    return finish("collinear random effects", seed, rng, data, structure)


def scales(seed: int, rng: np.random.Generator) -> Design:
    """Response and predictors in units between 1e-8 and 1e8."""
    structure = str(rng.choice(USUAL))
    design = finish("units of 1e-8 to 1e8", seed, rng, base(rng, int(rng.integers(40, 120))), structure)
    for name in ("x", "y"):
        design.frame[name] *= 10.0 ** rng.uniform(-8, 8)
    return design


def few_rows(seed: int, rng: np.random.Generator) -> Design:
    """One to six rows more than coefficients."""
    n = int(rng.integers(16, 34))
    p = n - int(rng.integers(1, 7))
    data = base(rng, n, 5)
    fixed = tuple(f"x{j}" for j in range(p - 1))
    for name in fixed:
        data[name] = rng.normal(size=n)
    return finish("n just above p", seed, rng, data, str(rng.choice(["(1 | g)", "(1 | g) + (1 | h)"])), fixed=fixed)


def singletons(seed: int, rng: np.random.Generator) -> Design:
    """Most groups have one row."""
    n = int(rng.integers(40, 80))
    data = base(rng, n)
    pairs = int(rng.integers(2, 8))
    code = rng.permutation(np.concatenate([np.arange(n - pairs), np.arange(pairs)]))
    data["g"] = np.array([f"g{c:02d}" for c in code], dtype=object)
    return finish("groups of size one", seed, rng, data, str(rng.choice(["(1 | g)", "(1 | g) + (1 | h)"])))


def weights(seed: int, rng: np.random.Generator) -> Design:
    """Weights between 1e-4 and 1e4."""
    data = base(rng, int(rng.integers(40, 120)))
    data["w"] = 10.0 ** rng.uniform(-4, 4, len(data["x"]))
    return finish("weights of 1e-4 to 1e4", seed, rng, data, str(rng.choice(USUAL)), weighted=True)


def little_noise(seed: int, rng: np.random.Generator) -> Design:
    """Residual SD 1e-3 to 1e-7 of the SDs of the random effects."""
    data = base(rng, int(rng.integers(40, 120)))
    sigma = 10.0 ** rng.uniform(-7, -3)
    return finish("little residual noise", seed, rng, data, str(rng.choice(USUAL)), sigma=sigma)


def much_noise(seed: int, rng: np.random.Generator) -> Design:
    """Residual SD 10 to 1,000 times the SDs of the random effects."""
    data = base(rng, int(rng.integers(40, 120)))
    sigma = 10.0 ** rng.uniform(1, 3)
    return finish("much residual noise", seed, rng, data, str(rng.choice(USUAL)), sigma=sigma)


def far_means(seed: int, rng: np.random.Generator) -> Design:
    """Response and predictor far from zero: means of 1e3 to 1e6 SDs."""
    data = base(rng, int(rng.integers(40, 120)))
    structure = str(rng.choice(["(1 | g)", "(1 | b/a)", "(1 | g) + (1 | h)"]))
    data["x"] = data["x"] + 10.0 ** rng.uniform(3, 6)
    design = finish("means of 1e3 to 1e6 SDs", seed, rng, data, structure)
    design.frame["y"] += 10.0 ** rng.uniform(3, 6)
    return design


def few_levels(seed: int, rng: np.random.Generator) -> Design:
    """Two or three levels."""
    data = base(rng, int(rng.integers(20, 60)), int(rng.integers(2, 4)))
    return finish("two or three levels", seed, rng, data, str(rng.choice(["(1 | g)", "(1 + x | g)"])))


def many_terms(seed: int, rng: np.random.Generator) -> Design:
    """Fifty independent terms of one factor of five levels, or one term of ten correlated columns: 50 or 55 thetas."""
    together = seed % 2 == 1
    data = base(rng, 300, 20 if together else 5)
    names = [f"v{j:02d}" for j in range(1, 10 if together else 50)]
    for name in names:
        data[name] = rng.normal(size=300)
    terms: list[Term] = [(("1", *names), ("g",))] if together else [((name,), ("g",)) for name in ("1", *names)]
    structure = " + ".join(f"({'' if '1' in columns else '0 + '}{' + '.join(columns)} | g)" for columns, _ in terms)
    return finish("fifty random-effect terms", seed, rng, data, structure, terms=terms)


KINDS: dict[str, Callable[[int, np.random.Generator], Design]] = {
    "ordinary": ordinary,
    "boundary": boundary,
    "perfectly correlated": correlated,
    "collinear predictors": collinear,
    "collinear random effects": collinear_random,
    "units of 1e-8 to 1e8": scales,
    "n just above p": few_rows,
    "groups of size one": singletons,
    "weights of 1e-4 to 1e4": weights,
    "little residual noise": little_noise,
    "much residual noise": much_noise,
    "means of 1e3 to 1e6 SDs": far_means,
    "two or three levels": few_levels,
    "fifty random-effect terms": many_terms,
}
# designs of the classes whose fits take long
RARE = {"fifty random-effect terms": 6}


def design(kind: str, seed: int) -> Design:
    """Make the design of a class that a seed stands for."""
    return KINDS[kind](seed, np.random.default_rng([seed, list(KINDS).index(kind)]))
