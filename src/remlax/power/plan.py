"""PowerPlan: what is drawn, fitted and tested, for designs of any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from ..data.archive import read_archive, write_archive
from ..data.imputed import ImputedData
from ..design.build import read_rows, require_model_columns
from ..design.formula import MixedFormula
from ..engine.programs import float64
from ..errors import DataError, RankDeficientWarning, RemlaxError, SimulationError, quiet
from ..many.design import with_stand_in, without_stand_in
from ..many.fit import SharedDesign
from ..simulation.amputation import stack_of
from ..simulation.fingerprint import digest
from ..simulation.keys import NO_SCENARIO, Stream, keys
from ..simulation.mechanisms import Mechanism, Stack, mask_of
from ..tables.constraints import Constraints, Linear, read_constraints
from ..tables.hypotheses import check_rank
from .bootstrap import N_BOOT, BootstrapTest
from .generalised import OutcomeTest
from .responses import Law
from .sources import DesignSource
from .testing import RATIOS, DesignTest, PowerMethod, PowerTest, Verdicts

# replications that are fitted at once, and numbers of their responses
BLOCK, NUMBERS = 250, 2**24
# replications with the same covariates, where these are drawn
ALIKE = 20
# share of a column that rounding error leaves where others determine it
ROUNDING = 1e-8
KIND = "power"


class SizedTest(NamedTuple):
    """A test in one design: its rows, what L beta is (r,), and the law of its responses."""

    frame: pd.DataFrame
    test: PowerTest
    effect: np.ndarray
    law: Law

    @property
    def without_effect(self) -> np.ndarray:
        """What is taken from responses (n,) so that the hypothesis is true."""
        linear, model = self.test.linear, self.test.design.model
        x = model.rows.x.of(0)[:, model.keep]
        return np.asarray(x @ np.linalg.pinv(linear.matrix) @ (self.effect - linear.null))


@dataclass(frozen=True, eq=False)
class PowerPlan:
    """Designs, responses, model and test.

    Parameters
    ----------
    source : DesignSource
    formula : MixedFormula
        Of the analysis, with the stand-in as its response.
    response : str
    hypothesis : str, list of str, dict, DataFrame or array_like
    method : PowerMethod
    missing : sequence of Mechanism
    seed : int
    n_boot : int
        Draws of the bootstrap for every replication.
    folder : Path, optional
        For finished blocks.
    """

    source: DesignSource
    formula: MixedFormula
    response: str
    hypothesis: Constraints
    method: PowerMethod
    missing: Sequence[Mechanism]
    seed: int
    n_boot: int = N_BOOT
    folder: Path | None = None

    def sized(self, sizes: Mapping[str, int], draw: int = 0) -> SizedTest:
        """Make the design of one size.

        Raises
        ------
        RemlaxError
            The design cannot be made, or the test cannot be done in it.
        """
        frame = self.source.frame(sizes, self.seed, draw)
        design = shared_design(frame, self.formula, reml=self.method not in RATIOS)
        model = design.model
        linear = read_constraints(
            self.hypothesis, model.fixed_names, terms=model.term_names, dropped=model.dropped_names
        )
        check_rank(linear)
        effect = linear.matrix @ self._coefficients(frame, design)
        return SizedTest(frame, self._test(design, linear), effect, self.source.law(frame, model))

    def _test(self, design: SharedDesign, linear: Linear) -> PowerTest:
        outcome = self.source.outcome
        if outcome is not None:
            return OutcomeTest(design, linear, self.method, outcome)
        if self.method == "bootstrap":
            return BootstrapTest(design, linear, self.method, self.n_boot, self.seed)
        return DesignTest(design, linear, self.method)

    def _coefficients(self, frame: pd.DataFrame, design: SharedDesign) -> np.ndarray:
        """Coefficients (p,) of the analysis that responses are drawn with.

        What the analysis leaves out has none, even where it is correlated with what is there.
        """
        model = design.model
        x = model.rows.x.of(0)[:, model.keep]
        beta = np.zeros(x.shape[1])
        for column, value in self.source.effects(frame, model):
            found = np.linalg.lstsq(x, column, rcond=None)[0]
            if np.linalg.norm(column - x @ found) <= ROUNDING * np.linalg.norm(column):
                beta += value * found
        return beta

    def blocks(self, n_rows: int, replications: int) -> Iterator[range]:
        """Cut replications into those that are fitted at once."""
        size = ALIKE if self.source.redrawn else max(1, min(BLOCK, NUMBERS // n_rows))
        yield from (range(at, min(at + size, replications)) for at in range(0, replications, size))

    def run(self, sizes: Mapping[str, int], first: SizedTest, replications: range) -> Verdicts:
        """Draw, fit and test some replications of one size, or read what was made of them before.

        Parameters
        ----------
        sizes : mapping
        first : SizedTest
            The design of this size; where covariates are drawn, the first one.
        replications : range
            A block of `blocks`.
        """
        file = None if self.folder is None else self.folder / f"{self._name(sizes, first, replications)}.power"
        if file is not None and file.exists():
            return Verdicts(**read_archive(file).content)
        found = self._run(self._drawn(sizes, first, replications), replications)
        if file is not None:
            write_archive(file, KIND, {f.name: getattr(found, f.name) for f in fields(found)})
        return found

    def _drawn(self, sizes: Mapping[str, int], first: SizedTest, replications: range) -> SizedTest | None:
        """Design of a block; None where drawn covariates do not determine what is tested."""
        draw = replications.start // ALIKE if self.source.redrawn else 0
        if draw == 0:
            return first
        try:
            with quiet(RankDeficientWarning):
                return self.sized(sizes, draw)
        except RemlaxError:
            return None

    def _run(self, sized: SizedTest | None, replications: range) -> Verdicts:
        if sized is None:
            return Verdicts.none(len(replications))
        test, null = sized.test, sized.test.linear.null
        y = sized.law.draw(self.seed, replications)
        observed = self._observed(sized.frame, y, replications)
        fits = test.fit(observed)
        if test.shifts and not self.missing:
            # a response without the effect differs by columns of X: coefficients differ, and nothing else
            p_value, null_p_value = test.p_values(fits, null), test.p_values(fits, sized.effect)
        else:
            without = sized.law.draw(self.seed, replications, sized.without_effect)
            without = self._observed(sized.frame, without, replications)
            again = test.fit(without)
            both = ((fits, observed), (again, without))
            p_value, null_p_value = (
                test.ratio_p_values(fit, of, replications) if self.method in RATIOS else test.p_values(fit, null)
                for fit, of in both
            )
        return Verdicts(p_value, null_p_value, fits.singular & fits.converged, np.isnan(p_value))

    def _observed(self, frame: pd.DataFrame, y: np.ndarray, replications: range) -> np.ndarray:
        """Responses (R, n), NaN where they are missing."""
        if not self.missing:
            return y
        factors = {name for mechanism in self.missing for name in mechanism.factors}
        with float64():
            one = stack_of(frame.assign(**{self.response: y[0]}), sorted(factors))
            shape = y.shape
            columns = {name: jnp.broadcast_to(column, shape) for name, column in one.columns.items()}
            codes = {name: jnp.broadcast_to(code, shape) for name, code in one.codes.items()}
            stack = Stack(
                columns | {self.response: jnp.asarray(y)}, codes, one.levels, jnp.ones(shape, bool), one.unscored
            )
            own = keys(self.seed, NO_SCENARIO, replications, Stream.AMPUTATION)
            masks = mask_of(self.missing, own, stack)
            if set(masks) != {self.response}:
                lost = min(set(masks) - {self.response}, default="nothing")
                raise SimulationError(
                    f"missing= takes out {lost!r}: power() is for missing values of the response, {self.response!r}; "
                    "for incomplete covariates use sim.Study with a method that imputes them"
                )
            return np.where(np.asarray(masks[self.response]), np.nan, y)

    def _name(self, sizes: Mapping[str, int], first: SizedTest, replications: range) -> str:
        """Name of a block by all that it depends on."""
        law, linear = first.law, first.test.linear
        parts = [[part.codes, part.z, part.root, part.distribution] for part in law.effects]
        own = [getattr(law, f.name) for f in fields(law) if f.name not in ("mean", "effects")]
        numbers = [law.mean, *own, parts, linear.matrix, linear.null]
        method = [self.method, self.n_boot] if self.method == "bootstrap" else self.method
        said = [self.formula.text, self.response, method, list(self.missing), self.seed]
        return digest([said, dict(sizes), replications.start, len(replications), first.frame, numbers])


def shared_design(frame: pd.DataFrame, formula: MixedFormula, *, reml: bool) -> SharedDesign:
    """Read and assemble a design frame.

    Raises
    ------
    RemlaxError
    """
    with without_stand_in():
        data = with_stand_in(frame)
        needed = require_model_columns(formula, data)
        absent = [name for name in needed if data[name].isna().any()]
        if absent:
            raise DataError(f"column {absent[0]!r} of the design has missing cells: a design has none")
        return SharedDesign.of(read_rows(formula, ImputedData((data,), (1,))), reml=reml)
