"""What `reference` returns: imputations, an account of events and imputed cells, and analyses of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ...data import ImputedData
from ...errors import ImputationError
from ...fitting.selection import Selection
from ...names import UnknownNames
from ...results import MmrmFit
from ...tables.result_table import ResultTable, result_table
from ..arguments import checks
from ..columns import FloatArray
from .ancova import Ancova, read_ancova
from .delta import Deltas, read_deltas
from .estimates import Imputations, Resampled, Resamples, Resampling, resample
from .model import ReferenceModel
from .words import described, strategies_text

NO_EVENT = "no event"


@dataclass(frozen=True, eq=False)
class ReferenceResult(UnknownNames):
    """Imputations made by `reference`.

    Attributes
    ----------
    data
        The completed data sets, labelled 1..m, with the incomplete data as `original`: for `mmrm_list`, `lmer_list`.
    draws
        Where the parameters behind each imputation are from.
    n_replaced
        Resamples of the patients whose fit failed and which were drawn again.
    """

    data: ImputedData
    draws: str
    n_replaced: int
    _model: ReferenceModel
    _y: FloatArray
    _delta: FloatArray

    @property
    def fit(self) -> MmrmFit:
        """The imputation model, fitted to what was observed before the events."""
        return MmrmFit(Selection.all_of(self._model.fitted))

    @property
    def events(self) -> pd.DataFrame:
        """Patients by arm (rows) and first visit after the event (columns), with those without an event."""
        trial, n_visits = self._model.trial, len(self._model.trial.visits)
        counts = np.zeros((len(trial.arms), n_visits + 1), int)
        np.add.at(counts, (trial.arm, self._model.events.before), 1)
        return self._by_arm(counts, [*trial.visits, NO_EVENT])

    @property
    def imputed(self) -> pd.DataFrame:
        """Imputed cells by arm (rows) and visit (columns)."""
        trial = self._model.trial
        counts = np.zeros((len(trial.arms), len(trial.visits)), int)
        np.add.at(counts, trial.arm, self._model.events.missing)
        return self._by_arm(counts, list(trial.visits))

    def _by_arm(self, counts: np.ndarray, columns: list[str]) -> pd.DataFrame:
        trial = self._model.trial
        index = pd.Index(trial.arms, name=trial.arm_column)
        return pd.DataFrame(counts, index=index, columns=pd.Index(columns, name=trial.visit_column))

    def ancova(
        self,
        formula: str,
        visit: object = None,
        *,
        se: Resampling | None = None,
        n_boot: int = 1000,
        conf_level: float = 0.95,
    ) -> ResultTable:
        """Analyse one visit by analysis of covariance: differences of the arms from the reference, and their means.

        Parameters
        ----------
        formula : str
            Least squares over the patients, as ``"y ~ base + arm"``.
        visit : optional
            By default the last.
        se : {"jackknife", "bootstrap"}, optional
            Only without draws, and the jackknife by default: imputation model, imputation and analysis are repeated
            without each patient in turn, or in ``n_boot`` resamples of the patients within arms. All refits run as
            one batch, once for all analyses.
        n_boot : int, default 1000
        conf_level : float, default 0.95

        Returns
        -------
        ResultTable
            ``term``, ``estimate``, ``std_error``, ``statistic``, ``df``, ``p_value``, ``conf_low``, ``conf_high``; of
            drawn imputations, pooled by Rubin's rules with the degrees of freedom of Barnard and Rubin (1999), also
            ``riv``, ``fmi`` and ``lambda``. Means of arms are at the covariates of all patients.

        Raises
        ------
        ImputationError
            One imputation with draws; `se` for imputations with draws; another response, no such visit, or covariates
            that cannot be used; a failed refit of the jackknife.

        Notes
        -----
        After jumping to the reference, Rubin's rules give standard errors that are larger than the variation over
        repeated trials; those of the jackknife and the bootstrap are not (Wolbers et al. 2022).
        """
        ancova, found = self._analysed(formula, visit, se, n_boot, conf_level)
        table = found.table(ancova, self._delta[:, ancova.visit], conf_level)
        return self._noted(table, formula, ancova, found.method)

    def tipping_point(
        self,
        formula: str,
        deltas: Deltas,
        visit: object = None,
        *,
        se: Resampling | None = None,
        n_boot: int = 1000,
        conf_level: float = 0.95,
    ) -> ResultTable:
        """Repeat the analysis with numbers added to imputed cells after the event: where does the conclusion change?

        Parameters
        ----------
        formula, visit, se, n_boot, conf_level
            As for `ancova`.
        deltas : list of float, or dict
            Numbers to add in the arm that is not the reference, or a dict of lists by arm, of which every combination
            is taken. They take the place of ``delta=`` of `reference`.

        Returns
        -------
        ResultTable
            A row for each combination and difference of arms: ``delta_<arm>`` for each arm, then the columns of
            `ancova`. `plot.tipping_point` draws it.

        Raises
        ------
        ImputationError
            As `ancova`; no numbers, or no such arm.
        """
        trial, events = self._model.trial, self._model.events
        arms, numbers = read_deltas(trial, deltas)
        ancova, found = self._analysed(formula, visit, se, n_boot, conf_level)
        cells = (events.missing & events.after)[:, ancova.visit]
        differences = len(trial.arms) - 1
        parts = []
        for own in numbers:
            by_arm = np.zeros(len(trial.arms))
            by_arm[arms] = own
            table = found.table(ancova, np.where(cells, by_arm[trial.arm], 0.0), conf_level)[:differences]
            columns = {f"delta_{trial.arms[a]}": value for a, value in zip(arms, own, strict=True)}
            parts.append(pd.concat([pd.DataFrame(columns, index=table.index), table], axis=1))
        whole = pd.concat(parts, ignore_index=True)
        return self._noted(whole, formula, ancova, found.method)

    def _analysed(
        self, formula: str, visit: object, se: Resampling | None, n_boot: int, conf_level: float
    ) -> tuple[Ancova, Imputations | Resampled]:
        checks.text(formula, "formula=")
        checks.level(conf_level)
        ancova = read_ancova(self._model.trial, formula, visit)
        if self.draws != "none":
            if se is not None:
                raise ImputationError(
                    f"se={se!r} is for conditional means, draws='none': these imputations were drawn, and are pooled "
                    "by Rubin's rules"
                )
            if len(self._y) < 2:
                raise ImputationError("one imputation has no standard error by Rubin's rules: take m=20 or more")
            return ancova, Imputations(self._y[:, :, ancova.visit])
        kind = "jackknife" if se is None else se
        checks.choice(kind, Resampling, "se=")
        n = checks.whole(n_boot, "n_boot=", 2)
        key = (kind, n if kind == "bootstrap" else 0)
        if key not in self._resamples:
            self._resamples[key] = resample(self._model, kind, n)
        return ancova, self._resamples[key].at(ancova.visit)

    @cached_property
    def _resamples(self) -> dict[tuple[str, int], Resamples]:
        """Refits that were made, by what they are."""
        return {}

    def _noted(self, table: pd.DataFrame, formula: str, ancova: Ancova, method: str) -> ResultTable:
        trial = self._model.trial
        sets = f" of {self.data.K} imputations" if self.draws != "none" else " of conditional means"
        table.attrs["notes"] = [
            f"{formula} at {trial.visit_column} {trial.visits[ancova.visit]}; standard errors by {method}{sets}",
            strategies_text(trial, self._model.events),
        ]
        return result_table(table)

    def summary(self) -> str:
        """Return a text: estimand, strategies, model, events and imputed cells by arm and visit; to be printed."""
        return described(self._model, self.draws, self.data.K, self.n_replaced, self._delta, self.events, self.imputed)

    def __len__(self) -> int:
        return self.data.K

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {strategies_text(self._model.trial, self._model.events)}; {self.data!r}"
