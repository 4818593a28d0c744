"""Where designs of any size, and the laws of their responses, come from: a multilevel design, a frame, or a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np
import pandas as pd

from ..checks import Checks
from ..engine.programs import float64
from ..errors import DataError, DesignError, SimulationError, shortened
from ..fitting.assemble import Assembled
from ..fitting.refit import Truth
from ..simulation.design import INTERCEPT, MultilevelDesign, columns_of
from ..simulation.generate import frames, generate_batch
from ..simulation.keys import NO_SCENARIO, Stream, keys
from ..simulation.laws import Drawn
from ..simulation.outcomes import Outcome
from ..simulation.truth import Fixef, Varcorr, read_fixef, read_varcorr
from ..tables.varcorr import layout_labels
from .extension import extended
from .generalised import OutcomeLaw
from .responses import EffectLaw, Law, ResponseLaw

checks = Checks(SimulationError)

SIZE = "size"  # rows of every cell of a MultilevelDesign
# a column (n,) of the fixed part, and its coefficient
FixedEffect = tuple[np.ndarray, float]


class DesignSource(Protocol):
    """Anything that makes designs of given sizes."""

    @property
    def redrawn(self) -> bool:
        """Whether covariates or groups are random, so that a design of one size is not like another."""
        ...

    @property
    def assumptions(self) -> str:
        """Standard deviations that responses are drawn with, in words."""
        ...

    def frame(self, sizes: Mapping[str, int], seed: int, draw: int) -> pd.DataFrame:
        """Rows of a design, without its response."""
        ...

    @property
    def outcome(self) -> Outcome | None:
        """Distribution of the response given the linear predictor, where it is not Gaussian."""
        ...

    def law(self, frame: pd.DataFrame, model: Assembled) -> Law:
        """Distribution of the response in these rows, which a model was assembled of."""
        ...

    def effects(self, frame: pd.DataFrame, model: Assembled) -> list[FixedEffect]:
        """Columns (n,) of the fixed part that responses are drawn from, and their coefficients."""
        ...


@dataclass(frozen=True)
class FromDesign:
    """Designs and responses of a `MultilevelDesign`.

    Parameters
    ----------
    design : MultilevelDesign
    """

    design: MultilevelDesign

    @property
    def redrawn(self) -> bool:
        """See `DesignSource`."""
        design = self.design
        drawn = [design.size, *(factor.levels for factor in design.factors)]
        return (
            any(covariate.kind not in ("balanced", "index") for covariate in design.covariates)
            or any(factor.assigned for factor in design.factors)
            or any(isinstance(number, Drawn) for number in drawn)
        )

    @property
    def assumptions(self) -> str:
        """See `DesignSource`."""
        parts = [(part.factor, dict(part.sd)) for part in self.design.random]
        return _in_words(parts, self.design.sigma, self.outcome)

    @property
    def outcome(self) -> Outcome | None:
        """See `DesignSource`."""
        return self.design.outcome

    def frame(self, sizes: Mapping[str, int], seed: int, draw: int) -> pd.DataFrame:
        """See `DesignSource`."""
        design = self._of_size(sizes)
        with float64():
            data = generate_batch(keys(seed, NO_SCENARIO, [draw], Stream.DATA), design)
            (frame,) = frames(data, design)
        return frame.drop(columns=design.response)

    def _of_size(self, sizes: Mapping[str, int]) -> MultilevelDesign:
        factors = {factor.name: factor for factor in self.design.factors}
        checks.known(sizes, [*factors, SIZE], "n=", "factors")
        given = [replace(f, levels=sizes[name]) if name in sizes else f for name, f in factors.items()]
        size = sizes.get(SIZE, self.design.size) if SIZE not in factors else self.design.size
        return replace(self.design, factors=given, size=size)

    def law(self, frame: pd.DataFrame, model: Assembled) -> Law:
        """See `DesignSource`."""
        effects = tuple(
            EffectLaw(
                pd.factorize(frame[part.factor])[0],
                np.column_stack([_product(frame, term) for term in part.sd]),
                _root(part.covariance),
                part.distribution,
            )
            for part in self.design.random
        )
        mean = np.sum([value * column for column, value in self.effects(frame, model)], axis=0)
        if self.outcome is not None:
            return OutcomeLaw(mean, effects, self.outcome)
        return ResponseLaw(mean, effects, cast(float, self.design.sigma), self.design.error)

    def effects(self, frame: pd.DataFrame, model: Assembled) -> list[FixedEffect]:
        """See `DesignSource`."""
        return [(_product(frame, term), value) for term, value in self.design.beta.items()]


def _root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric root: exists for singular covariances too."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def _product(frame: pd.DataFrame, term: str) -> np.ndarray:
    """Column (n,) of a term of a design: a product of covariates and indicators such as ``arm[T.low]``."""
    out = np.ones(len(frame))
    for name in () if term == INTERCEPT else columns_of(term):
        if name in frame:
            out = out * frame[name].to_numpy(dtype=np.float64)
        else:
            column, level = name.removesuffix("]").split("[T.", 1)
            out = out * (frame[column] == level).to_numpy()
    return out


@dataclass(frozen=True, eq=False)
class FromFrame:
    """Copies of the rows of a frame; responses of a model with given parameters.

    Parameters
    ----------
    data : pandas.DataFrame
    groups, used : tuple of str
        Columns of the grouping factors, and those that enter the model otherwise.
    fixef : dict
        Coefficients by name.
    roots : dict
        Root (q, q) of the covariance matrix of every random term, by its label.
    names : dict
        Columns of every random term.
    sigma : float
    """

    data: pd.DataFrame
    groups: tuple[str, ...]
    used: tuple[str, ...]
    fixef: Mapping[str, float]
    roots: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, ...]]
    sigma: float
    outcome: Outcome | None = None

    @classmethod
    def of(cls, model: Assembled, data: pd.DataFrame, truth: Truth, outcome: Outcome | None = None) -> FromFrame:
        """Take the rows and the parameters of a model."""
        layout, formula = model.layout, model.rows.formula
        labels = layout_labels(layout)
        groups = dict.fromkeys(name for term in formula.random for name in term.group)
        specs = [model.rows.fixed, *model.rows.term_specs]
        used = dict.fromkeys(name for spec in specs for name in spec.variables)
        return cls(
            data,
            tuple(groups),
            tuple(used),
            dict(zip(model.fixed_names, truth.beta.tolist(), strict=True)),
            dict(zip(labels, truth.roots, strict=True)),
            dict(zip(labels, (term.names for term in layout.terms), strict=True)),
            truth.sigma,
            outcome,
        )

    @property
    def redrawn(self) -> bool:
        """See `DesignSource`."""
        return False

    @property
    def assumptions(self) -> str:
        """See `DesignSource`."""
        sds = {label: np.sqrt((root**2).sum(axis=1)) for label, root in self.roots.items()}
        return _in_words(
            [(label, dict(zip(self.names[label], sd, strict=True))) for label, sd in sds.items()],
            self.sigma,
            self.outcome,
        )

    def frame(self, sizes: Mapping[str, int], seed: int, draw: int) -> pd.DataFrame:
        """See `DesignSource`."""
        return extended(self.data, sizes, self.groups, self.used)

    def law(self, frame: pd.DataFrame, model: Assembled) -> Law:
        """See `DesignSource`."""
        rows, effects = model.rows, []
        for label, term in zip(layout_labels(model.layout), model.layout.terms, strict=True):
            codes = rows.factor_rows[rows.terms[term.source].factor].of(0)
            effects.append(EffectLaw(pd.factorize(codes)[0], rows.terms[term.source].rows.of(0), self.roots[label]))
        mean = np.sum([value * column for column, value in self.effects(frame, model)], axis=0)
        offset = 0.0 if rows.offset is None else rows.offset.of(0)
        if self.outcome is not None:
            return OutcomeLaw(mean + offset, tuple(effects), self.outcome)
        return ResponseLaw(mean + offset, tuple(effects), self.sigma)

    def effects(self, frame: pd.DataFrame, model: Assembled) -> list[FixedEffect]:
        """See `DesignSource`."""
        lost = set(self.fixef) ^ set(model.fixed_names)
        if lost:
            raise DesignError(
                "a design of this size has other coefficients than the data given (not in both: "
                f"{shortened(map(repr, sorted(lost)))}): choose a larger size"
            )
        x = model.rows.x.of(0)[:, model.keep]
        return [(x[:, j], self.fixef[name]) for j, name in enumerate(model.fixed_names)]


def truth_of_frame(
    model: Assembled, fixef: Fixef | None, varcorr: Varcorr | None, outcome: Outcome | None = None
) -> Truth:
    """All parameters of a model, as they are given; coefficients that are not named are 0.

    Raises
    ------
    DataError
    """
    beta = np.zeros(len(model.fixed_names))
    beta = beta if fixef is None else read_fixef(model, beta, fixef)
    roots, sigma = read_varcorr(model, varcorr)
    if outcome is not None:
        if sigma is not None:
            raise DataError(f"varcorr= has a residual SD, and {outcome.family} responses have none: leave it out")
        sigma = 1.0
    lacking = [label for label in layout_labels(model.layout) if label not in roots]
    lacking += ["Residual"] if sigma is None else []
    if lacking or sigma is None:
        raise DataError(
            f"varcorr= has no entry for {shortened(map(repr, lacking))}: without a fit all standard deviations must be "
            'given, as in varcorr={"subject": 0.5' + (', "Residual": 1.0}' if outcome is None else "}")
        )
    return Truth(beta, tuple(roots[label] for label in layout_labels(model.layout)), sigma)


def _in_words(parts: list[tuple[str, dict[str, float]]], sigma: float | None, outcome: Outcome | None) -> str:
    """Standard deviations as a list: ``subject 0.5 (Intercept) and 0.2 (x), residual 1``."""
    said = [
        f"{group} " + " and ".join(f"{sd:.3g} ({name.strip('()')})" for name, sd in sds.items()) for group, sds in parts
    ]
    own = {"residual": cast(float, sigma)} if outcome is None else outcome.parameters
    return ", ".join([*said, *(f"{name} {value:.3g}" for name, value in own.items())])
