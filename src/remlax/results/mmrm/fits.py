"""K mixed models for repeated measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NoReturn, overload

import numpy.typing as npt
import pandas as pd

from ...errors import DataError
from ...inference.coefficients import Vcov
from ...inference.mmrm.choice import MmrmDdf, mmrm_inference
from ...tables.confint import ConfintMethod, confint_tables
from ...tables.printing import Summary
from ...tables.usable import OnFailure, choose_fits
from ..fit import LmerFit
from ..fits import LmerFitList
from ..pooled import PooledLmer, pool_selection
from .fit import MmrmFit
from .pooled import PooledMmrm
from .rows import COVARIANCES, NO_EFFECTS
from .words import mmrm_fits_text


@dataclass(frozen=True, eq=False, repr=False)
class MmrmFitList(LmerFitList):
    """K fits of one mixed model for repeated measures, made by `mmrm_list`; a sequence of `MmrmFit`."""

    _element: ClassVar[type[LmerFit]] = MmrmFit
    _pooled: ClassVar[type[PooledLmer]] = PooledMmrm
    _fitted_by = "rx.mmrm"

    @overload
    def __getitem__(self, index: int) -> MmrmFit: ...
    @overload
    def __getitem__(self, index: slice) -> MmrmFitList: ...
    def __getitem__(self, index: int | slice) -> MmrmFit | MmrmFitList:
        found = super().__getitem__(index)
        assert isinstance(found, MmrmFit | MmrmFitList)
        return found

    def __iter__(self) -> Iterator[MmrmFit]:
        return (MmrmFit(one) for one in self.selection.each)

    def varcorr(self) -> NoReturn:
        """Refused: see `MmrmFit.residual_covariance`."""
        raise DataError(f"varcorr(): {NO_EFFECTS}; {COVARIANCES}")

    def pool(
        self,
        dfcom: MmrmDdf | npt.ArrayLike = "satterthwaite",
        conf_level: float = 0.95,
        on_failure: OnFailure = "raise",
        *,
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> PooledMmrm:
        """Pool the fits by Rubin's rules.

        Parameters
        ----------
        dfcom : str, float or array_like (p,), default "satterthwaite"
            Complete-data degrees of freedom: what `MmrmFit.tidy` takes as ``ddf``, averaged over the fits;
            ``math.inf`` gives those of Rubin (1987). Kenward and Roger's come with their adjusted covariance.
        conf_level : float, default 0.95
        on_failure : {"raise", "warn", "drop"}, default "raise"
            As in `LmerFitList.pool`.
        vcov, cluster
            Covariance of the coefficients in each fit, as in `MmrmFit.tidy`.

        Raises
        ------
        PoolingError
            Fewer than two fits, or a failed fit under ``on_failure="raise"``.

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
        Barnard, J. and Rubin, D. B. (1999). Biometrika 86, 948-955.
        """
        used = choose_fits(self.selection, on_failure)
        found = pool_selection(used, mmrm_inference(used, dfcom, vcov, cluster), conf_level)
        return PooledMmrm(found.selection, found.rubin, found.within)

    def confint(
        self,
        method: ConfintMethod = "wald",
        *,
        conf_level: float = 0.95,
        ddf: MmrmDdf | npt.ArrayLike = "satterthwaite",
        n_sims: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Confidence limits of all parameters of every fit; see `MmrmFit.confint`.

        The profiles of all fits are found in one batch. Each fit's bootstrap draws are its own.

        Returns
        -------
        pandas.DataFrame
            ``imp effect group term estimate conf_low conf_high``.
        """
        if method == "wald":
            tables = [fit.confint(conf_level=conf_level, ddf=ddf) for fit in self]
        else:
            tables = confint_tables(self.selection, method, conf_level, "satterthwaite", n_sims, seed)
        for table, label in zip(tables, self.labels, strict=True):
            table.insert(0, "imp", [label] * len(table))
        return pd.concat(tables, ignore_index=True)

    def _shown(self, most: int) -> Summary:
        return mmrm_fits_text(self.selection, most)
