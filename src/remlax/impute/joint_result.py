"""What `joint` returns: imputations, the parameters of the model, and how well the chains have mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from remlax.data import ImputedData
from remlax.data.imputation_model import ImputationModel
from remlax.errors import ImputationError, ImputationWarning, warn

from ..names import UnknownNames
from ..progress import progress
from .arguments import check_whole
from .columns import FloatArray
from .convergence import effective_size, split_rhat
from .derive import Derivation, apply_derivations
from .joint_model import JointModel, Predictors, Targets
from .joint_outcome import outcome_in_units, outcome_names
from .joint_run import Chains, advance, completed_frames

RHAT_LIMIT = 1.05


@dataclass(frozen=True, eq=False)
class JointResult(UnknownNames):
    """Imputations made by `joint`, one from the end of each chain.

    Attributes
    ----------
    data
        The m completed data sets, labelled 1..m, with the incomplete data as `original`.
    draws
        (m, T, P) parameters after each of the T recorded sweeps of each chain, in units of the data; the names
        are those of `parameters`.
    n_sweeps
        Sweeps made so far by each chain, burn-in included.
    """

    data: ImputedData
    draws: FloatArray
    n_sweeps: int
    _names: tuple[tuple[str, str], ...]
    _model: JointModel
    _chains: Chains
    _incomplete: pd.DataFrame
    _derive: Mapping[str, Derivation] | None

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """Posterior mean and SD, split Rhat, effective sample size and lag-1 autocorrelation per parameter.

        Columns `part` ("fixed", "residual", "random", "cluster fixed", "cut point", "residual law"), `mean`, `sd`,
        `rhat`, `ess`, `acf1`; the index names the parameter. Parameters that are fixed to identify the model are
        left out.
        """
        with np.errstate(invalid="ignore"):
            size, lag_one = effective_size(self.draws)
        table = pd.DataFrame(
            {
                "part": [part for part, _ in self._names],
                "mean": self.draws.mean(axis=(0, 1)),
                "sd": self.draws.std(axis=(0, 1)),
                "rhat": split_rhat(self.draws),
                "ess": size,
                "acf1": lag_one,
            },
            index=pd.Index([name for _, name in self._names], name="parameter"),
        )
        moving: pd.DataFrame = table.loc[np.ptp(self.draws, axis=(0, 1)) > 0.0]
        return moving

    @property
    def rhat(self) -> float:
        """Largest split Rhat over the parameters."""
        return float(self.parameters["rhat"].max())

    def continue_(self, more: int = 1000) -> JointResult:
        """Run every chain `more` sweeps further and impute anew from their ends.

        Parameters
        ----------
        more
            Sweeps, at least 4. The recorded draws are those of these sweeps; earlier ones count as burn-in.

        Returns
        -------
        JointResult
            The same imputations as if the first call had asked for that many sweeps.

        Raises
        ------
        ImputationError
            If `more` is below 4.

        Warns
        -----
        ImputationWarning
            If some Rhat is above 1.05.
        """
        check_whole("more", more, 4)
        with progress(len(self.draws) * more, "sweep") as tell:
            chains, draws = advance(self._chains, more, tell)
        return make_result(self._model, chains, draws, self._incomplete, self._derive, self.data.imputed_by)

    def summary(self) -> str:
        """Return a text: sizes, sweeps, and the parameter table with its worst Rhat; to be printed."""
        m, length = self.draws.shape[:2]
        targets = [*self._model.formulas.targets, *self._model.formulas.upper_targets]
        if self._model.outcome is not None:
            targets.append(self._model.outcome.name)
        counts = [f"{name} {int(self._incomplete[name].isna().sum())}" for name in targets]
        table = self.parameters
        return "\n".join(
            [
                f"Joint multilevel imputation: {m} chains of {self.n_sweeps} sweeps, the last {length} recorded",
                f"{len(self._incomplete)} rows in {len(self._model.first_rows)} clusters of "
                f"{self._model.formulas.cluster!r}; missing cells: {', '.join(counts)}",
                f"Largest Rhat {self.rhat:.3f}, least effective sample size {table['ess'].min():.0f}",
                "",
                table.round(3).to_string(),
                "",
            ]
        )

    def __len__(self) -> int:
        return self.data.K

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.n_sweeps} sweeps, largest Rhat {self.rhat:.3f}, {self.data!r}"


def make_result(
    model: JointModel,
    chains: Chains,
    draws: FloatArray,
    incomplete: pd.DataFrame,
    derive: Mapping[str, Derivation] | None,
    described: ImputationModel | None = None,
) -> JointResult:
    """Complete the data and account for the chains; warn where they have not mixed."""
    if not np.isfinite(draws).all():
        bad = np.flatnonzero(~np.isfinite(draws).all(axis=(1, 2))) + 1
        raise ImputationError(
            f"the sampler left the numbers in chain {', '.join(map(str, bad))}: targets may be collinear; leave one "
            "out, or set a stronger prior with priors=JointPrior(...)"
        )
    frames = [apply_derivations(frame, derive) for frame in completed_frames(model, chains)]
    data = ImputedData.from_frames(frames).with_original(apply_derivations(incomplete, derive))
    data = replace(data, imputed_by=described)
    names, draws = in_units(model, chains, draws)
    result = JointResult(data, draws, chains.done, names, model, chains, incomplete, derive)
    rhat = result.parameters["rhat"].dropna()
    over = rhat[rhat > RHAT_LIMIT].sort_values(ascending=False)
    if len(over):
        worst = ", ".join(f"{name} {value:.2f}" for name, value in over.iloc[:3].items())
        warn(
            f"{len(over)} of {len(rhat)} parameters have Rhat above {RHAT_LIMIT} after {chains.done} sweeps "
            f"(largest: {worst}): run longer with .continue_(more=...), or raise burn= and iter=",
            ImputationWarning,
        )
    return result


def _fixed(draws: FloatArray, targets: Targets, predictors: Predictors) -> FloatArray:
    """Coefficients (..., r * p) in units of the data."""
    r, p = len(targets.names), len(predictors.names)
    coef = np.einsum("...ka,ba,k->...kb", draws.reshape(*draws.shape[:-1], r, p), predictors.turn, targets.scale)
    if predictors.intercept is not None:
        coef[..., predictors.intercept] += targets.centre
    flat: FloatArray = coef.reshape(draws.shape)
    return flat


def _covariance(draws: FloatArray, turn: FloatArray) -> FloatArray:
    """Lower triangles (..., d (d + 1) / 2) of turn @ S @ turn'."""
    rows, columns = np.tril_indices(len(turn))
    full = np.empty((*draws.shape[:-1], len(turn), len(turn)))
    full[..., rows, columns] = draws
    full[..., columns, rows] = draws
    turned: FloatArray = (turn @ full @ turn.T)[..., rows, columns]
    return turned


def in_units(model: JointModel, chains: Chains, draws: FloatArray) -> tuple[tuple[tuple[str, str], ...], FloatArray]:
    """Names (part, parameter) and draws of all parameters in units of the data; the order of `parameters`."""
    lower, upper, group = model.lower, model.upper, model.formulas.cluster
    effects = [f"{t}:{z}" for t in lower.names for z in model.random.names] + list(upper.names)
    turn = np.zeros((len(effects), len(effects)))
    n_random = len(lower.names) * len(model.random.names)
    turn[:n_random, :n_random] = np.kron(np.diag(lower.scale), model.random.turn)
    turn[n_random:, n_random:] = np.diag(upper.scale)
    names = [("fixed", f"{t} ~ {x}") for t in lower.names for x in model.fixed.names]
    names += [("cluster fixed", f"{t} ~ {x}") for t in upper.names for x in model.upper_fixed.names]
    sizes = [len(names) - len(upper.names) * len(model.upper_fixed.names)]
    sizes.append(len(names) - sizes[0])
    residual, random = _pairs(lower.names), _pairs(effects)
    names += [("residual", name) for name in residual] + [("random", f"{name} | {group}") for name in random]
    sizes += [len(residual), len(random)]
    cuts = [
        ("cut point", f"{code.name}: {low} | {high}")
        for level in (lower, upper)
        for code in level.codes
        if code.kind == "ordinal"
        for low, high in zip(code.levels[:-1], code.levels[1:], strict=True)
    ]
    names += cuts
    sizes.append(len(cuts))
    parts = np.split(draws, np.cumsum(sizes), axis=-1)
    own = np.diag(lower.scale)
    out = [
        _fixed(parts[0], lower, model.fixed),
        _fixed(parts[1], upper, model.upper_fixed),
        _covariance(parts[2], own),
        _covariance(parts[3], turn),
        parts[4],
    ]
    if chains.spec.specific:
        names += [("residual law", "a"), *(("residual law", f"A: {name}") for name in residual)]
        out += [parts[5][..., :1], _covariance(parts[5][..., 1:], own)]
    if model.outcome is not None:
        own_names = outcome_names(model.outcome, group)
        names += own_names
        out.append(outcome_in_units(model.outcome, draws[..., draws.shape[-1] - len(own_names) :]))
    return tuple(names), np.concatenate(out, axis=-1)


def _pairs(names: list[str] | tuple[str, ...]) -> list[str]:
    return [a if a == b else f"{a}, {b}" for i, a in enumerate(names) for b in names[: i + 1]]
