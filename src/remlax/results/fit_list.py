"""Fits of one model to several data sets: what merTools calls a merModList."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.fit import Fitted
from ..inference.coefficients import Ddf, Vcov
from ..kernels.newton import STATUS_TEXT
from ..names import UnknownNames
from ..progress import progress
from .draws import fresh_seed
from .files import stack_tree
from .fit import LmerFit
from .intervals import ConfintMethod, make_profiles
from .pool import pool_fits
from .pooled import OnFailure, PooledLmer
from .printing import Summary, block, significant
from .redundancy_words import dropped_note, redundancy_notes
from .result import Result
from .tables import varcorr_frame

# fits that are shown where nobody asked for all of them
MOST_SHOWN = 30


@dataclass(frozen=True, eq=False, repr=False)
class LmerFitList(Sequence[LmerFit], Result, UnknownNames):
    """K fits of one formula, made by `lmer_list`; a sequence of `LmerFit` whose slices are lists of fits again.

    Parameters
    ----------
    fitted_stack : Fitted
    lanes : tuple of int
        The data sets of the stack that are in this list.
    """

    fitted_stack: Fitted
    lanes: tuple[int, ...]
    _element = LmerFit
    _pooled = PooledLmer
    _called = "fits"

    def __len__(self) -> int:
        return len(self.lanes)

    @overload
    def __getitem__(self, index: int) -> LmerFit: ...
    @overload
    def __getitem__(self, index: slice) -> LmerFitList: ...
    def __getitem__(self, index: int | slice) -> LmerFit | LmerFitList:
        if isinstance(index, slice):
            if not self.lanes[index]:
                raise DataError(f"positions {index.start}:{index.stop} hold none of the {len(self)} fits")
            return LmerFitList(self.fitted_stack, self.lanes[index])
        if isinstance(index, str | float | tuple | list):
            raise DataError(f"fits are taken by position, 0 to {len(self) - 1}, not by {index!r}; see .labels")
        return LmerFit(self.fitted_stack, self.lanes[index])

    def __iter__(self) -> Iterator[LmerFit]:
        return (LmerFit(self.fitted_stack, lane) for lane in self.lanes)

    @property
    def labels(self) -> list[object]:
        """Labels of the data sets."""
        return [self.fitted_stack.model.rows.labels[k] for k in self.lanes]

    def fixef(self) -> pd.DataFrame:
        """Coefficients of every fit: one row per data set, one column per term (K, p)."""
        index = pd.Index(self.labels, name="imp")
        return pd.DataFrame(
            self.fitted_stack.beta[list(self.lanes)], index=index, columns=self.fitted_stack.model.fixed_names
        )

    def varcorr(self) -> pd.DataFrame:
        """Variance components of every fit, long: imp, group, var1, var2, vcov, sdcor."""
        table = varcorr_frame(self.fitted_stack, self.lanes)
        table.attrs["notes"] = redundancy_notes(self.fitted_stack, self.lanes)
        return table

    def convergence(self) -> pd.DataFrame:
        """How every optimisation went: status, Newton decrement, evaluations, singularity.

        Returns
        -------
        pandas.DataFrame
            One row per data set.
        """
        stack, k = self.fitted_stack, np.asarray(self.lanes)
        return pd.DataFrame(
            {
                "converged": stack.converged[k],
                "status": [STATUS_TEXT[int(s)] for s in stack.status[k]],
                "singular": stack.singular[k],
                "criterion": stack.criterion[k],
                "decrement": stack.opt.decrement[k],
                "gradient_norm": np.max(np.abs(stack.opt.grad[k]), axis=1),
                "iterations": stack.opt.iterations[k],
                "evaluations": stack.opt.evaluations[k],
                "starts": stack.opt.starts[k],
            },
            index=pd.Index(self.labels, name="imp"),
        )

    def glance(self) -> pd.DataFrame:
        """One row of facts per fit (merTools: ``lapply(modList, modelInfo)``)."""
        table = pd.concat([fit.glance() for fit in self], ignore_index=True)
        table.insert(0, "imp", self.labels)
        return table

    def pool(
        self,
        dfcom: Ddf | npt.ArrayLike = "satterthwaite",
        conf_level: float = 0.95,
        on_failure: OnFailure = "raise",
        *,
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> PooledLmer:
        """Pool the fits by Rubin's rules.

        Parameters
        ----------
        dfcom : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), default "satterthwaite"
            Complete-data degrees of freedom: Satterthwaite's, averaged over the fits, per coefficient; Kenward and
            Roger's, with their adjusted covariance; n - p; a number, or one per coefficient; ``math.inf`` gives Rubin
            (1987).
        conf_level : float, default 0.95
        on_failure : {"raise", "warn", "drop"}, default "raise"
            What to do when a fit did not converge: raise an error; warn and pool all fits whose numbers are finite;
            leave the failed ones out, which changes K and is said in every print-out.
        vcov : {"model", "CR0", "CR2"}, default "model"
            Covariance of the coefficients in each fit: the model's, or a cluster-robust one, for which Satterthwaite's
            df are those of Bell and McCaffrey.
        cluster : str, optional
            Clusters of a robust covariance: a grouping factor or a column of the data; the outermost grouping factor by
            default.

        Returns
        -------
        PooledLmer

        Raises
        ------
        PoolingError
            Fewer than two fits, a failed fit under ``on_failure="raise"``, or refits to different outcomes.

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
        Barnard, J. and Rubin, D. B. (1999). Biometrika 86, 948-955.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.pool().tidy("fixed")[["term", "estimate"]].round(3).values.tolist()
        [['Intercept', 12.657], ['ses', 2.383]]
        """
        return pool_fits(self.fitted_stack, self.lanes, dfcom, conf_level, on_failure, vcov, cluster)

    def _content(self) -> tuple[str, dict[str, Any]]:
        return "LmerFitList", {"stack": stack_tree(self.fitted_stack), "lanes": list(self.lanes)}

    def confint(
        self,
        method: ConfintMethod = "wald",
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        n_sims: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Confidence limits of all parameters of every fit; see `LmerFit.confint`.

        The profiles of all fits are found in one stack. Each fit's bootstrap draws are its own.

        Returns
        -------
        pandas.DataFrame
            ``imp effect group term estimate conf_low conf_high``.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.confint().shape
        (20, 7)
        """
        if method == "profile":
            tables = [found.confint() for found in make_profiles(self.fitted_stack, self.lanes, conf_level)]
        else:
            seeds = [None if seed is None else fresh_seed(seed) + i for i in range(len(self))]
            tables = []
            with progress(len(self), "fit") as tell:
                for fit, one in zip(self, seeds, strict=True):
                    tables.append(fit.confint(method, conf_level=conf_level, ddf=ddf, n_sims=n_sims, seed=one))
                    tell(1)
        for table, label in zip(tables, self.labels, strict=True):
            table.insert(0, "imp", [label] * len(table))
        return pd.concat(tables, ignore_index=True)

    def summary(self) -> Summary:
        """Print criterion, residual SD, coefficients and verdict of every fit."""
        return self._printed(self)

    def _printed(self, shown: LmerFitList) -> Summary:
        """Text about some of the fits, the first of them, and how many there are."""
        table = shown.convergence()
        columns = {
            "imp": [str(v) for v in shown.labels],
            "criterion": [f"{v:.2f}" for v in table["criterion"]],
            "sigma": significant(self.fitted_stack.sigma[list(shown.lanes)]),
        }
        for name, values in shown.fixef().items():
            columns[str(name)] = significant(values.to_numpy())
        columns["status"] = [
            s + (", singular" if g else "") for s, g in zip(table["status"], table["singular"], strict=True)
        ]
        title = f"{len(self)} linear mixed models\nFormula: {self.formula}"
        more = [f"and {len(self) - len(shown)} more"] if len(shown) < len(self) else []
        found = "\n".join([block(columns), *more])
        notes = [*dropped_note(self.fitted_stack), *redundancy_notes(self.fitted_stack, self.lanes)]
        return Summary("\n\n".join([title, found, *notes]))

    def __repr__(self) -> str:
        return str(self._printed(self[:MOST_SHOWN]))

    def _repr_html_(self) -> str:
        return self._printed(self[:MOST_SHOWN])._repr_html_()
