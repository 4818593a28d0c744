"""PowerCurve: the power of designs of several sizes, and the smallest size that has enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy

from ..checks import Checks
from ..data.archive import write_archive
from ..errors import RemlaxError, SimulationError, shortened
from ..plot.power import power_plot
from ..progress import progress
from ..tables.printing import Summary
from .plan import PowerPlan, SizedTest
from .testing import WORDS, Verdicts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

checks = Checks(SimulationError)

KIND = "PowerCurve"
CONFIDENCE = 0.95
# columns of the table beside the sizes
MEASURES = (
    *("n_rows", "power", "power_low", "power_high", "type_1_error", "type_1_low", "type_1_high"),
    *("singular", "failed", "replications"),
)


@dataclass(frozen=True, eq=False, repr=False)
class PowerCurve:
    """Power of a test in designs of several sizes; made by `power`.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per size: a column for each factor that has several, ``n_rows`` of the first data set, ``power`` and
        ``type_1_error`` (shares of the replications with p <= alpha, with the effect and without) with exact 95 %
        Monte Carlo intervals (Clopper and Pearson 1934), the shares of ``singular`` and ``failed`` fits, and the number
        of ``replications``. Failed fits reject nothing.
    formula : str
        Of the analysis.
    effect : str
        What is tested, and what it is in truth: ``"cond = 0.3"``.
    method : str
    alpha : float
    assumptions : str
        Standard deviations that responses are drawn with.
    model : str
        Kind of the model.
    """

    table: pd.DataFrame
    formula: str
    effect: str
    method: str
    alpha: float
    assumptions: str
    model: str = "linear mixed model"
    _plan: PowerPlan | None = field(default=None, compare=False)

    @classmethod
    def of(cls, plan: PowerPlan, sizes: Sequence[Mapping[str, int]], alpha: float, replications: int) -> PowerCurve:
        """Compute the power at every size."""
        first = [plan.sized(size) for size in sizes]
        for one in first:
            _check_effect(one)
        with progress(len(sizes) * replications, "data set") as advance:
            rows = [_row(plan, size, one, alpha, replications, advance) for size, one in zip(sizes, first, strict=True)]
        table = pd.DataFrame(rows)
        formula = f"{plan.response} ~ {plan.formula.right_tree.text}"
        said, outcome = _effect(first[0]), plan.source.outcome
        model = "linear mixed model" if outcome is None else f"{outcome.family} mixed model ({outcome.link} link)"
        return cls(table, formula, said, plan.method, alpha, plan.source.assumptions, model, plan)

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> PowerCurve:
        """Take what `save` wrote."""
        return cls(**{**content, "table": pd.DataFrame(content["table"])})

    @property
    def sizes(self) -> list[str]:
        """Names of what differs in size."""
        return [str(name) for name in self.table if name not in MEASURES]

    def at(self, n: Mapping[str, int] | None = None) -> pd.Series:
        """Row of the table.

        Parameters
        ----------
        n : dict, optional
            The size, such as ``{"subject": 40}``; the last row by default.

        Raises
        ------
        SimulationError
            The table has no such row, or several.
        """
        given = {} if n is None else checks.mapping(n, "n=", '{"subject": 40}')
        checks.known(given, self.sizes, "n=", "sizes")
        rows = self.table[[all(row[name] == size for name, size in given.items()) for _, row in self.table.iterrows()]]
        if given and len(rows) != 1:
            said = "no row" if rows.empty else f"{len(rows)} rows"
            raise SimulationError(f"The table has {said} with n={n!r}: name one of its sizes.")
        found: pd.Series = rows.iloc[-1]
        return found

    def sentence(self, n: Mapping[str, int] | None = None) -> str:
        """Describe the design, the test and its power in a sentence for a grant or a preregistration.

        Parameters
        ----------
        n : dict, optional
            As for `at`.
        """
        row = self.at(n)
        sizes = " and ".join(f"{int(row[name])} levels of {name}" for name in self.sizes)
        start = (
            f"With {sizes} ({int(row['n_rows'])} observations)" if sizes else f"With {int(row['n_rows'])} observations"
        )
        return (
            f"{start}, the {WORDS[self.method]} of {self.effect} in the {self.model} {self.formula} has a power "
            f"of {_share(row, 'power')} at a significance level of {self.alpha:g}, and a type I error rate of "
            f"{_share(row, 'type_1')} (95 % Monte Carlo intervals, {int(row['replications']):,} simulated data sets; "
            f"standard deviations: {self.assumptions})."
        )

    def plot(self, target: float = 0.8, *, ax: Axes | None = None) -> Axes:
        """Draw power against size, with Monte Carlo intervals and, below, the type I error.

        The first size is on the axis; every other one, where there are two, has a line of its own.

        Parameters
        ----------
        target : float, default 0.8
            Power that is wanted, a dotted line.
        ax : matplotlib Axes, optional
            Axes to draw on, which are returned; new ones by default.
        """
        if not self.sizes:
            raise SimulationError("The power of one design makes no curve: give sizes, as in n={'subject': [20, 40]}.")
        return power_plot(self.table, self.sizes, alpha=self.alpha, target=target, ax=ax)

    def smallest_n(
        self,
        name: str | None = None,
        target: float = 0.8,
        *,
        n: Mapping[str, int] | None = None,
        multiple_of: int = 1,
        most: int = 10_000,
    ) -> SampleSize:
        """Find the smallest size with at least so much power, by bisection.

        All sizes share their random numbers: power grows with size but for little noise.

        Parameters
        ----------
        name : str, optional
            The factor whose number of levels is sought; the only one of the curve by default.
        target : float, default 0.8
        n : dict, optional
            The other sizes; of each the largest of the curve by default.
        multiple_of : int, default 1
            Sizes to choose from, such as multiples of the number of arms or lists.
        most : int, default 10_000
            The largest size to try.

        Returns
        -------
        SampleSize

        Raises
        ------
        SimulationError
            The target is not reached with ``most`` levels, or the curve was read from a file.
        """
        if self._plan is None:
            raise SimulationError(
                "smallest_n() draws data sets, and a curve read from a file has no design: call power()."
            )
        if name is None and len(self.sizes) != 1:
            raise SimulationError(f"Several sizes can be sought: name one of {shortened(map(repr, self.sizes))}.")
        name = self.sizes[0] if name is None else name
        checks.known([name], self.sizes, "name=", "sizes")
        target, step = checks.level(target, "target="), checks.whole(multiple_of, "multiple_of=")
        rest = {other: int(self.table[other].max()) for other in self.sizes if other != name}
        given = checks.mapping(n or {}, "n=", '{"item": 40}')
        checks.known(given, rest, "n=", "other sizes")
        rest |= given
        checks.whole(most, "most=", int(self.table[name].max()))
        return _search(self, name, rest, target, step, most)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table and what belongs to it to a file, for `remlax.load`.

        Parameters
        ----------
        path : path-like
            An existing file is replaced.

        Raises
        ------
        FileFormatError
            The file cannot be written.
        """
        write_archive(path, KIND, self._content())

    def _content(self) -> dict[str, Any]:
        texts = {name: getattr(self, name) for name in ("formula", "effect", "method", "alpha", "assumptions", "model")}
        return {"table": {name: self.table[name].to_numpy() for name in self.table}, **texts}

    def summary(self) -> Summary:
        """Print test, table and assumptions."""
        head = f"Power of {self.effect} in {self.formula}, {WORDS[self.method]}, alpha = {self.alpha:g}"
        return Summary(f"{head}\n{self.table.round(3).to_string(index=False)}\nStandard deviations: {self.assumptions}")

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


@dataclass(frozen=True, eq=False)
class SampleSize:
    """The smallest size of a design with enough power; made by `PowerCurve.smallest_n`.

    Attributes
    ----------
    name : str
        The factor.
    n : int
        The smallest number of its levels with so much power.
    target : float
    curve : PowerCurve
        All sizes that were tried.
    """

    name: str
    n: int
    target: float
    curve: PowerCurve

    def sentence(self) -> str:
        """See `PowerCurve.sentence`."""
        return self.curve.sentence({self.name: self.n})

    def __repr__(self) -> str:
        row = self.curve.at({self.name: self.n})
        return f"SampleSize({self.name} = {self.n}: power {_share(row, 'power')}, target {self.target:g})"


def _search(curve: PowerCurve, name: str, rest: Mapping[str, int], target: float, step: int, most: int) -> SampleSize:
    """Bisect between a size of the factor that is too small and one that is not; sizes are multiples of a step."""
    plan, table = curve._plan, curve.table
    assert plan is not None
    known = table[(table[list(rest)] == pd.Series(rest, dtype=int)).all(axis=1) & (table[name] % step == 0)]
    found = {int(row[name]) // step: dict(row) for _, row in known.iterrows()}
    replications = int(table["replications"].iloc[0])

    def enough(k: int) -> bool:
        if k not in found:
            sizes = {one: k * step if one == name else rest[one] for one in curve.sizes}
            try:
                sized = plan.sized(sizes)
            except RemlaxError:  # too few levels for the model; those of the curve were enough
                return False
            with progress(replications, "data set") as advance:
                found[k] = _row(plan, sizes, sized, curve.alpha, replications, advance)
        return bool(found[k]["power"] >= target)

    fits = [k for k in found if enough(k)]
    high = min(fits) if fits else max(1, int(table[name].max()) // step)
    low = max((k for k in found if k < high and not enough(k)), default=0)
    while not enough(high):
        low, high = high, min(2 * high, most // step)
        if high <= low:
            raise SimulationError(
                f"The power stays below {target:g} with {low * step} levels of {name!r}, and most={most}: are other "
                "sizes, or the effect, too small?"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    rows = pd.DataFrame([found[k] for k in sorted(found)])[list(table)]
    return SampleSize(name, high * step, target, replace(curve, table=rows.astype(table.dtypes)))


def _row(
    plan: PowerPlan,
    sizes: Mapping[str, int],
    first: SizedTest,
    alpha: float,
    replications: int,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Row of the table."""
    parts = list[Verdicts]()
    for block in plan.blocks(len(first.frame), replications):
        parts.append(plan.run(sizes, first, block))
        advance(len(block))
    found = Verdicts(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Verdicts)))
    return {
        **sizes,
        "n_rows": len(first.frame),
        **_rejected(found.p_value, alpha, ("power", "power_low", "power_high")),
        **_rejected(found.null_p_value, alpha, ("type_1_error", "type_1_low", "type_1_high")),
        "singular": float(found.singular.mean()),
        "failed": float(found.failed.mean()),
        "replications": replications,
    }


def _rejected(p_value: np.ndarray, alpha: float, names: tuple[str, str, str]) -> dict[str, float]:
    """Share of p-values of at most alpha, with its exact interval; NaN is no rejection."""
    test = scipy.stats.binomtest(int((p_value <= alpha).sum()), len(p_value))
    limits = test.proportion_ci(CONFIDENCE, method="exact")
    return dict(zip(names, (float(test.statistic), float(limits.low), float(limits.high)), strict=True))


def _check_effect(sized: SizedTest) -> None:
    """Refuse a hypothesis that is true."""
    linear = sized.test.linear
    if np.allclose(sized.effect, linear.null, rtol=0, atol=1e-12):
        said = ", ".join(map(repr, linear.labels))
        raise SimulationError(
            f"The tested effect of {said} is {linear.null[0]:g}, as the hypothesis has it: give the effect that the "
            'study is to find, in beta= of the design or fixef={"x": 0.3}. The type I error stands beside the power.'
        )


def _effect(sized: SizedTest) -> str:
    """What is tested and its size, in words."""
    pairs = zip(sized.test.linear.labels, sized.effect, strict=True)
    return ", ".join(f"{label} = {value:.3g}" for label, value in pairs)


def _share(row: pd.Series, name: str) -> str:
    """A share with its interval in words."""
    share = row[name if name == "power" else f"{name}_error"]
    return f"{share:.2f} ({row[f'{name}_low']:.2f} to {row[f'{name}_high']:.2f})"
