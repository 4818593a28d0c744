"""Random small data sets for every structure of random effects, with the dense terms that they mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dense_model import DenseAnswer, DenseTerm, dense, lower
from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.fitting.assemble import Assembled, assemble
from remlax.fitting.layout import Layout

# formula -> (columns of each term, grouping columns of each term); terms as a reader of the formula would list them
STRUCTURES: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "(1 | g)": [(("1",), ("g",))],
    "(1 + x | g)": [(("1", "x"), ("g",))],
    "(1 | g) + (0 + x | g)": [(("1",), ("g",)), (("x",), ("g",))],
    "(1 + x + z | g)": [(("1", "x", "z"), ("g",))],
    "(1 | b/a)": [(("1",), ("a", "b")), (("1",), ("b",))],
    "(1 + x | b/a)": [(("1", "x"), ("a", "b")), (("1", "x"), ("b",))],
    "(1 | c/b/a)": [(("1",), ("a", "b", "c")), (("1",), ("b", "c")), (("1",), ("c",))],
    "(1 | g) + (1 | h)": [(("1",), ("g",)), (("1",), ("h",))],
    "(1 + x | g) + (1 | h)": [(("1", "x"), ("g",)), (("1",), ("h",))],
    "(1 + x | g) + (1 + x | h)": [(("1", "x"), ("g",)), (("1", "x"), ("h",))],
    "(1 | g) + (0 + x | g) + (1 | h)": [(("1",), ("g",)), (("x",), ("g",)), (("1",), ("h",))],
    "(1 | b/a) + (1 | h)": [(("1",), ("a", "b")), (("1",), ("b",)), (("1",), ("h",))],
    "(1 | g) + (1 | h) + (1 | k)": [(("1",), ("g",)), (("1",), ("h",)), (("1",), ("k",))],
}


@dataclass(frozen=True)
class RandomModel:
    """A formula, a data set, and what they mean as matrices."""

    formula: str
    frame: pd.DataFrame
    x: np.ndarray
    terms: dict[tuple[str, tuple[str, ...]], DenseTerm]

    @property
    def y(self) -> np.ndarray:
        """Response minus offset."""
        return (self.frame["y"] - self.frame["off"]).to_numpy()

    def term(self, group: str, names: tuple[str, ...]) -> DenseTerm:
        """Find a term by lme4's name of its grouping factor and its columns."""
        return self.terms[group.replace("(", "").replace(")", ""), names]


def random_frame(seed: int, n: int, levels: int, *, singles: bool = True) -> pd.DataFrame:
    """Draw n rows: unbalanced groups, some of size one where `singles`, labels that sort unlike their order."""
    rng = np.random.default_rng(seed)

    def group(count: int, prefix: str) -> np.ndarray:
        share = rng.dirichlet(np.full(count, 1.5))
        codes = np.concatenate([np.arange(count), rng.choice(count, n - count, p=share)])
        if singles:
            # the last level keeps its one row
            codes[count:][codes[count:] == count - 1] = 0
        return np.array([f"{prefix}{(7 * c) % count}" for c in rng.permutation(codes)], dtype=object)

    a = rng.integers(0, 3, n)
    x, z = rng.normal(size=n), rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "x": x + 0.5,
            "z": z,
            "f": rng.choice(["u", "v", "w"], n),
            "w": rng.uniform(0.3, 3.0, n),
            "off": rng.normal(size=n),
            "g": group(levels, "g"),
            "h": group(5, "h"),
            "k": group(4, "k"),
            "b": group(4, "b"),
            "c": rng.choice(["c0", "c1", "c2"], n),
            "a": [f"a{v}" for v in a],
        }
    )
    effects = sum(rng.normal(size=len(frame))[frame[c].astype("category").cat.codes] for c in ("g", "h", "b"))
    frame["y"] = 1.0 + 0.7 * frame["x"] + effects + 0.8 * x * z + rng.normal(size=n) + frame["off"]
    return frame


def random_model(structure: str, frame: pd.DataFrame) -> RandomModel:
    """Write out the matrices of ``y ~ x + f + structure`` by hand."""
    n = len(frame)
    columns = {"1": np.ones(n), "x": frame["x"].to_numpy(), "z": frame["z"].to_numpy()}
    fixed = [columns["1"], columns["x"]]
    fixed += [(frame["f"] == level).to_numpy(float) for level in sorted(frame["f"].unique())[1:]]
    terms = {}
    for names, group in STRUCTURES[structure]:
        labels = [":".join(parts) for parts in frame[list(group)].itertuples(index=False)]
        levels, codes = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
        z = np.column_stack([columns[name] for name in names])
        shown = tuple("Intercept" if name == "1" else name for name in names)
        terms[":".join(group), shown] = DenseTerm(z, codes, len(levels))
    return RandomModel(f"y ~ x + f + {structure}", frame, np.column_stack(fixed), terms)


def assembled(formula: str, frames: list[pd.DataFrame], *, reml: bool = True, weights: str | None = None) -> Assembled:
    """Cross-products of some data sets, by the package's own way, with the offset of `random_frame`."""
    rows = read_rows(parse_formula(formula), ImputedData.from_frames(frames), weights=weights, offset="off")
    return assemble(rows, reml=reml)


def dense_at(model: RandomModel, layout: Layout, theta: np.ndarray, *, weighted: bool) -> DenseAnswer:
    """The dense answer at a theta in lme4's order and scale."""
    terms = [model.term(term.group, term.names) for term in layout.terms]
    lams = [lower(theta[term.theta], term.q) for term in layout.terms]
    weights = model.frame["w"].to_numpy() if weighted else None
    return dense(model.x, model.y, terms, lams, weights)
