"""Fits of one model to several data sets: what merTools calls a merModList."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.coefficients import Ddf, Vcov, coefficient_inference
from ..names import UnknownNames
from ..tables.confint import ConfintMethod, confint_tables
from ..tables.notes import redundancy_notes
from ..tables.printing import Summary
from ..tables.usable import OnFailure, choose_fits
from ..tables.varcorr import varcorr_frame
from .convergence import convergence_table
from .fit import LmerFit
from .pooled import PooledLmer, pool_selection
from .result import Result
from .save import stack_tree
from .text import fits_text

# fits that are shown where nobody asked for all of them
MOST_SHOWN = 30


@dataclass(frozen=True, eq=False, repr=False)
class LmerFitList(Sequence[LmerFit], Result, UnknownNames):
    """K fits of one formula, made by `lmer_list`; a sequence of `LmerFit` whose slices are lists of fits again.

    Parameters
    ----------
    selection : Selection
        The fits of a batch that are in this list.
    """

    selection: Selection
    _element: ClassVar[type[LmerFit]] = LmerFit
    _pooled = PooledLmer
    _called = "fits"

    def __len__(self) -> int:
        return self.selection.n_sets

    @overload
    def __getitem__(self, index: int) -> LmerFit: ...
    @overload
    def __getitem__(self, index: slice) -> LmerFitList: ...
    def __getitem__(self, index: int | slice) -> LmerFit | LmerFitList:
        if isinstance(index, slice):
            if not self.selection.which[index]:
                raise DataError(f"positions {index.start}:{index.stop} hold none of the {len(self)} fits")
            return type(self)(self.selection.take(self.selection.which[index]))
        if isinstance(index, str | float | tuple | list):
            raise DataError(f"fits are taken by position, 0 to {len(self) - 1}, not by {index!r}; see .labels")
        return self._element(self.selection.one(self.selection.which[index]))

    def __iter__(self) -> Iterator[LmerFit]:
        return (LmerFit(one) for one in self.selection.each)

    @property
    def labels(self) -> list[object]:
        """Labels of the data sets."""
        return self.selection.labels

    def fixef(self) -> pd.DataFrame:
        """Coefficients of every fit: one row per data set, one column per term (K, p)."""
        index = pd.Index(self.labels, name="imp")
        return pd.DataFrame(self.selection.beta, index=index, columns=self.selection.model.fixed_names)

    def varcorr(self) -> pd.DataFrame:
        """Variance components of every fit, long: imp, group, var1, var2, vcov, sdcor."""
        table = varcorr_frame(self.selection)
        table.attrs["notes"] = redundancy_notes(self.selection)
        return table

    def convergence(self) -> pd.DataFrame:
        """How every optimisation went, one row per data set: status, Newton decrement, evaluations, singularity."""
        return convergence_table(self.selection)

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
        [['Intercept', 12.654], ['ses', 2.399]]
        """
        used = choose_fits(self.selection, on_failure)
        return pool_selection(used, coefficient_inference(used, dfcom, vcov, cluster), conf_level)

    def _content(self) -> tuple[str, dict[str, Any]]:
        return type(self).__name__, {"stack": stack_tree(self.selection.fitted), "lanes": list(self.selection.which)}

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

        The profiles of all fits are found in one batch. Each fit's bootstrap draws are its own.

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
        tables = confint_tables(self.selection, method, conf_level, ddf, n_sims, seed)
        for table, label in zip(tables, self.labels, strict=True):
            table.insert(0, "imp", [label] * len(table))
        return pd.concat(tables, ignore_index=True)

    def summary(self) -> Summary:
        """Print criterion, residual SD, coefficients and verdict of every fit."""
        return self._shown(len(self))

    def _shown(self, most: int) -> Summary:
        return fits_text(self.selection, most)

    def __repr__(self) -> str:
        return str(self._shown(MOST_SHOWN))

    def _repr_html_(self) -> str:
        return self._shown(MOST_SHOWN)._repr_html_()
