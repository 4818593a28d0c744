"""What `joint` returns: imputations, the parameters of the model, and how well the chains have mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from ..data import ImputedData
from ..data.checks import Label
from ..data.imputation_model import ImputationModel
from ..errors import ImputationError, ImputationWarning, warn
from ..names import UnknownNames
from ..progress import progress
from .arguments import checks
from .columns import FloatArray
from .convergence import effective_size, split_rhat
from .derive import Derivation
from .joint_model import JointModel, Predictors, Targets
from .joint_outcome import outcome_in_units, outcome_names, pairs
from .joint_run import Chains, completed_frames, run_sweeps
from .matched.donors import find_rows
from .result import completed_data

RHAT_LIMIT = 1.05


@dataclass(frozen=True, eq=False)
class JointResult(UnknownNames):
    """Imputations made by `joint`, one from the end of each chain.

    Attributes
    ----------
    data
        The m completed data sets, labelled 1..m, with the incomplete data as `original`.
    draws
        (m, T, P) parameters after each of the T recorded sweeps of each chain, in units of the data, those that are
        fixed to identify the model included; `chain` gives one by its name.
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

    def chain(self, name: str) -> FloatArray:
        """Draws (m, T) of one parameter, for `remlax.plot.chain_plot` and the like.

        Parameters
        ----------
        name
            As in the index of `parameters`: "y ~ time", "y:Intercept | school".

        Raises
        ------
        ImputationError
            There is no such parameter.
        """
        known = [own for _, own in self._names]
        if name not in known:
            raise ImputationError(f"no parameter is called {name!r}: take a name from the index of .parameters")
        out: FloatArray = self.draws[:, :, known.index(name)]
        return out

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
            The same imputations as if the first call had asked for that many sweeps (with `match`, donors are found at
            the mean of the parameters over the recorded sweeps). Errors and warnings are those of `joint`.
        """
        checks.whole(more, "more=", 4)
        with progress(len(self.draws) * more, "sweep") as advance:
            chains, draws = run_sweeps(self._chains, more, advance)
        return make_result(self._model, chains, draws, self._incomplete, self._derive, self.data.imputed_by)

    def summary(self) -> str:
        """Return a text: sizes, sweeps, and the parameter table with its worst Rhat; to be printed."""
        m, length = self.draws.shape[:2]
        model, table = self._model, self.parameters
        targets = list(model.formulas.all_targets)
        if model.outcome is not None:
            targets.append(model.outcome.name)
        counts = ", ".join(f"{name} {int(self._incomplete[name].isna().sum())}" for name in targets)
        return f"""Joint multilevel imputation: {m} chains of {self.n_sweeps} sweeps, the last {length} recorded
{len(self._incomplete)} rows in {self._clusters}; missing cells: {counts}
Largest Rhat {self.rhat:.3f}, least effective sample size {table["ess"].min():.0f}

{table.round(3).to_string()}
"""

    @property
    def _clusters(self) -> str:
        model = self._model
        words = f"{len(model.first_rows)} clusters of {model.formulas.cluster!r}"
        if model.top is None or model.formulas.top is None:
            return words
        return f"{words} in {len(model.top.targets.y)} of {model.formulas.top.cluster!r}"

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
    completed = completed_frames(model, chains, find_rows(model, chains, draws))
    frames: dict[Label, pd.DataFrame] = dict(enumerate(completed, start=1))
    data = completed_data(frames, incomplete, derive, described)
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
    coef = np.einsum("...ka,ba,k->...kb", draws.reshape(*draws.shape[:-1], r, p), predictors.transform, targets.scale)
    if predictors.intercept is not None:
        coef[..., predictors.intercept] += targets.centre
    flat: FloatArray = coef.reshape(draws.shape)
    return flat


def _covariance(draws: FloatArray, transform: FloatArray) -> FloatArray:
    """Lower triangles (..., d (d + 1) / 2) of transform @ S @ transform'."""
    rows, columns = np.tril_indices(len(transform))
    full = np.empty((*draws.shape[:-1], len(transform), len(transform)))
    full[..., rows, columns] = draws
    full[..., columns, rows] = draws
    out: FloatArray = (transform @ full @ transform.T)[..., rows, columns]
    return out


def in_units(model: JointModel, chains: Chains, draws: FloatArray) -> tuple[tuple[tuple[str, str], ...], FloatArray]:
    """Names (part, parameter) and draws of all parameters in units of the data; the order of `parameters`."""
    lower, upper, top = model.lower, model.upper, model.top
    group = model.formulas.group
    effects, transform = _effects(lower, model.random, upper)
    own = np.diag(lower.scale)
    residual = pairs(lower.names)
    names = [
        _coefficient_names("fixed", lower, model.fixed),
        _coefficient_names("cluster fixed", upper, model.upper_fixed),
        [("residual", name) for name in residual],
        [("random", f"{name} | {group}") for name in pairs(effects)],
        [*_cut_names(lower), *_cut_names(upper)],
    ]
    units: list[Callable[[FloatArray], FloatArray]] = [
        lambda part: _fixed(part, lower, model.fixed),
        lambda part: _fixed(part, upper, model.upper_fixed),
        lambda part: _covariance(part, own),
        lambda part: _covariance(part, transform),
        lambda part: part,
    ]
    if chains.spec.specific:
        names += [[("residual law", "a")], [("residual law", f"A: {name}") for name in residual]]
        units += [lambda part: part, lambda part: _covariance(part, own)]
    if top is not None:
        above, transform3 = _effects(lower, top.random, upper, top.targets)
        names += [
            _coefficient_names("cluster fixed", top.targets, top.fixed),
            [("random", f"{name} | {model.formulas.clusters[1]}") for name in pairs(above)],
            _cut_names(top.targets),
        ]
        units += [
            lambda part: _fixed(part, top.targets, top.fixed),
            lambda part: _covariance(part, transform3),
            lambda part: part,
        ]
    if model.outcome is not None:
        outcome = model.outcome
        names.append(outcome_names(outcome, group))
        units.append(lambda part: outcome_in_units(outcome, part))
    parts = np.split(draws, np.cumsum([len(part) for part in names])[:-1], axis=-1)
    out = [unit(part) for unit, part in zip(units, parts, strict=True)]
    return tuple(name for part in names for name in part), np.concatenate(out, axis=-1)


def _effects(lower: Targets, random: Predictors, *levels: Targets) -> tuple[list[str], FloatArray]:
    """Names of random effects and of targets of clusters, and what turns them to units of the data."""
    slopes = np.kron(np.diag(lower.scale), random.transform)
    scale = np.concatenate([level.scale for level in levels])
    names = [f"{t}:{z}" for t in lower.names for z in random.names]
    if len(levels) > 1:
        # clusters of clusters have effects on the targets of these
        names += [f"{t}:Intercept" for level in levels[:-1] for t in level.names]
    return [*names, *levels[-1].names], block_diag(slopes, np.diag(scale))


def _coefficient_names(part: str, targets: Targets, predictors: Predictors) -> list[tuple[str, str]]:
    return [(part, f"{t} ~ {x}") for t in targets.names for x in predictors.names]


def _cut_names(targets: Targets) -> list[tuple[str, str]]:
    return [
        ("cut point", f"{code.name}: {low} | {high}")
        for code in targets.codes
        if code.kind == "ordinal"
        for low, high in zip(code.levels[:-1], code.levels[1:], strict=True)
    ]
