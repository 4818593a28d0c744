"""What `joint` was asked for, checked against the data, for all rows or for those of a level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.imputation_model import ImputationModel
from ..design.congenial import terms_of
from ..design.formula import parse_formula
from ..design.syntax import variables
from ..errors import ImputationError
from .columns import FloatArray, categories
from .joint_model import Formulas, JointModel, build_model
from .joint_run import Chains, JointPrior, run_sweeps
from .matched.donors import with_matching
from .patterns import check_columns
from .three_levels.model import build_nested


@dataclass(frozen=True)
class JointPlan:
    """Formulas, roles of the targets and settings of the chains; see `joint` for them."""

    formulas: Formulas
    roles: Mapping[str, Sequence[str]]
    compatible_with: str | None
    specific: bool
    m: int
    burn: int
    iter: int
    priors: JointPrior
    by: str
    match: Sequence[str] = ()

    @property
    def targets(self) -> list[str]:
        """Targets of all levels."""
        return list(self.formulas.all_targets)

    @property
    def used(self) -> list[str]:
        """Columns of the model but those of the clusters."""
        top = self.formulas.top
        sides = [self.formulas.fixed, self.formulas.random, self.formulas.upper_fixed]
        sides += [] if top is None else [top.fixed, top.random]
        outcome = parse_formula(self.compatible_with).variables if self.compatible_with else ()
        names = [*self.targets, *(name for side in sides for name in variables(side)), *outcome]
        return [name for name in dict.fromkeys(names) if name not in self.formulas.clusters]

    def lacks_cells(self, data: pd.DataFrame) -> bool:
        """Whether a target has a missing cell."""
        return bool(data[self.targets].isna().to_numpy().any())

    def check(self, data: pd.DataFrame) -> None:
        """Refuse data without anything to impute, and settings that contradict each other."""
        check_columns(data, self.targets, "formula:")
        if self.by and self.by in self.formulas.clusters:
            raise ImputationError(f"by= and the clusters are both {self.by!r}: clusters are modelled together")
        if not self.lacks_cells(data):
            raise ImputationError(f"no target ({', '.join(self.targets)}) has a missing cell: nothing to impute")
        if self.specific and self.compatible_with is not None:
            raise ImputationError("compatible_with= needs residual='common'")
        if self.formulas.top is not None and (self.specific or self.compatible_with is not None):
            name = "residual='cluster'" if self.specific else "compatible_with="
            raise ImputationError(
                f"{name} needs one column in cluster=: it has no third level; write cluster={self.formulas.cluster!r}, "
                f"and enter what differs between groups of {self.formulas.top.cluster!r} as predictors"
            )
        others = {
            "residual='cluster'": self.specific,
            "compatible_with=": self.compatible_with is not None,
            "two columns in cluster=": self.formulas.top is not None,
        }
        for name, given in others.items():
            if self.match and given:
                raise ImputationError(f"match= cannot be combined with {name}: leave one of them out")

    def model(self, data: pd.DataFrame) -> JointModel:
        """The model of some rows."""
        if self.formulas.top is not None:
            return build_nested(data, self.formulas, self.formulas.top, dict(self.roles))
        model = build_model(data, self.formulas, dict(self.roles), self.compatible_with)
        if self.specific and model.lower.category.shape[1]:
            raise ImputationError(
                "residual='cluster' needs continuous targets: categorical ones fix the scale of a residual"
            )
        return with_matching(model, check_columns(data, self.match, "match=")) if self.match else model

    def run(self, chains: Chains, advance: Callable[[int], None]) -> tuple[Chains, FloatArray]:
        """Make all sweeps; also the parameters after each that is recorded."""
        if self.burn:
            chains, _ = run_sweeps(chains, self.burn, advance)
        return run_sweeps(chains, self.iter, advance)

    def described(self, data: pd.DataFrame) -> ImputationModel:
        """The model in the words of formulas, for the imputations to keep."""
        outcome = () if self.compatible_with is None else (parse_formula(self.compatible_with).response.strip("`"),)
        imputed = tuple(name for name in (*self.targets, *outcome) if np.any(data[name].isna()))
        fixed, random = terms_of(self.formulas.fixed), terms_of(self.formulas.random)
        top = self.formulas.top
        return ImputationModel(
            imputed, tuple(self.targets), fixed, random, self.formulas.cluster, self.compatible_with or "", self.by,
            categories(data, self.roles), top.cluster if top else "", terms_of(top.random) if top else (),
        )  # fmt: skip
