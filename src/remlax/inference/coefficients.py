"""Covariance of the coefficients of every data set and degrees of freedom of tests about them, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..checks import Checks
from ..errors import DataError
from ..fitting.selection import Selection
from .kenward_roger import Adjustment, adjust, contrast_df, joint_df
from .robust import ClusterScores, RobustKind, cluster_name, robust_scores
from .satterthwaite import satterthwaite_df, satterthwaite_joint_df

Ddf = Literal["satterthwaite", "kenward-roger", "residual"]
Vcov = Literal["model", "CR0", "CR2"]


class JointTest(NamedTuple):
    """F test of several contrasts in every data set: df1, df2 and a factor for the F statistic, each (K,).

    ``name`` is that of the test where it is not the F test of single contrasts' degrees of freedom.
    """

    df1: np.ndarray
    df2: np.ndarray
    scale: np.ndarray
    name: str | None = None


class CoefficientInference(Protocol):
    """What tables and tests need to know about the coefficients besides their estimates."""

    @property
    def vcov(self) -> np.ndarray:
        """Covariance matrices, (K, p, p)."""
        ...

    @property
    def rule(self) -> str:
        """How the degrees of freedom are found, for print-outs."""
        ...

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """Degrees of freedom of single contrasts (r, p), as (K, r)."""
        ...

    def joint(self, contrasts: np.ndarray) -> JointTest:
        """F test that all contrasts (r, p) are zero."""
        ...


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """Model-based covariance with Satterthwaite's degrees of freedom; F tests with lmerTest's denominator df."""

    fits: Selection
    rule: str = "Satterthwaite df"

    @property
    def vcov(self) -> np.ndarray:
        return self.fits.vcov

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        return satterthwaite_df(self.fits, contrasts)

    def joint(self, contrasts: np.ndarray) -> JointTest:
        df1, df2 = satterthwaite_joint_df(self.fits, contrasts)
        return JointTest(df1, df2, np.ones(len(df2)))


@dataclass(frozen=True, eq=False)
class KenwardRoger:
    """Kenward and Roger's adjusted covariance, degrees of freedom and scaled F statistic."""

    adjustment: Adjustment
    rule: str = "Kenward-Roger df"

    @property
    def vcov(self) -> np.ndarray:
        return self.adjustment.adjusted

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        return contrast_df(self.adjustment, contrasts)

    def joint(self, contrasts: np.ndarray) -> JointTest:
        df2, scale = joint_df(self.adjustment, contrasts)
        return JointTest(np.full(len(df2), len(contrasts)), df2, scale)


@dataclass(frozen=True, eq=False)
class ClusterRobust:
    """Sandwich covariance with Satterthwaite's degrees of freedom for it; F tests as Hotelling's T^2.

    For CR2 these degrees of freedom are those of Bell and McCaffrey (2002); the test is the HTZ of Pustejovsky and
    Tipton (2018).

    Parameters
    ----------
    each : list of ClusterScores
        One per data set.
    kind : {"CR0", "CR2"}
    cluster : str
        What the clusters are called.
    """

    each: list[ClusterScores]
    kind: RobustKind
    cluster: str

    @property
    def rule(self) -> str:
        return self.rule_with("Bell-McCaffrey df" if self.kind == "CR2" else "Satterthwaite df for the sandwich")

    def rule_with(self, df: str) -> str:
        """Name the covariance and a rule for the degrees of freedom."""
        return f"{self.kind} standard errors by {self.cluster}, {df}"

    @cached_property
    def vcov(self) -> np.ndarray:
        return np.stack([one.vcov() for one in self.each])

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        return np.stack([one.df(contrasts) for one in self.each])

    def joint(self, contrasts: np.ndarray) -> JointTest:
        q = len(contrasts)
        eta = np.array([one.wishart_df(contrasts) for one in self.each])
        # for one contrast eta is the df of the t test
        name = f"Hotelling's T2 (HTZ), {self.kind} covariance by {self.cluster}" if q > 1 else None
        return JointTest(np.full(len(eta), q), eta - q + 1, (eta - q + 1) / eta, name)


@dataclass(frozen=True, eq=False)
class GivenDf:
    """Any covariance with given degrees of freedom (p,): of a test, the smallest of the coefficients in it."""

    vcov: np.ndarray
    values: np.ndarray
    rule: str

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        by_row = np.where(contrasts != 0, self.values, np.inf).min(axis=1, initial=np.inf)
        return np.broadcast_to(by_row, (len(self.vcov), len(contrasts)))

    def joint(self, contrasts: np.ndarray) -> JointTest:
        n, df2 = len(self.vcov), float(self.df(contrasts)[0].min(initial=np.inf))
        rank = np.linalg.matrix_rank(contrasts)
        return JointTest(np.full(n, rank), np.full(n, df2), np.ones(n))


def coefficient_inference(
    fits: Selection, ddf: Ddf | npt.ArrayLike, vcov: Vcov = "model", cluster: str | None = None
) -> CoefficientInference:
    """Choose the inference about the coefficients.

    Parameters
    ----------
    fits : Selection
    ddf : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,)
        With a robust covariance, Satterthwaite's are those of Bell and McCaffrey.
    vcov : {"model", "CR0", "CR2"}, default "model"
        Covariance of the coefficients: the model's, or a cluster-robust one.
    cluster : str, optional
        The clusters: a grouping factor or a column of the data, the outermost grouping factor by default.

    Raises
    ------
    DataError
        An unknown name, the wrong number of degrees of freedom, Kenward-Roger for a fit by maximum likelihood or with a
        robust covariance, or clusters that cannot be used.
    ModelSizeError
        Kenward-Roger's second derivatives do not fit in memory.
    """
    return chosen_inference(fits, ddf, _robust(fits, vcov, cluster))


def chosen_inference(fits: Selection, ddf: Ddf | npt.ArrayLike, robust: ClusterRobust | None) -> CoefficientInference:
    """Choose the degrees of freedom, with the model's covariance of the coefficients or a robust one."""
    p = fits.fitted.beta.shape[1]
    covariance, rule = (fits.vcov, str) if robust is None else (robust.vcov, robust.rule_with)
    if isinstance(ddf, str):
        if ddf == "satterthwaite":
            return Satterthwaite(fits) if robust is None else robust
        if ddf == "kenward-roger":
            if robust is not None:
                raise DataError(
                    f"Kenward-Roger's method has a covariance of its own: leave out either it or vcov={robust.kind!r}"
                )
            return KenwardRoger(adjust(fits))
        if ddf == "residual":
            n = float(np.mean(fits.n_rows))
            return GivenDf(covariance, np.full(p, n - p), rule("residual df n - p"))
        raise DataError(
            f"degrees of freedom {ddf!r} are not known: use 'satterthwaite', 'kenward-roger', 'residual', a number, "
            "or one per coefficient"
        )
    try:
        values = np.asarray(ddf, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"degrees of freedom {ddf!r} are not numbers: give one, or {p}, one per coefficient") from None
    if not (values > 0).all():
        raise DataError(f"degrees of freedom must be positive (math.inf for z tests), not {ddf!r}")
    if values.shape not in ((), (p,)):
        raise DataError(f"degrees of freedom of shape {values.shape}: give one number, or {p}, one per coefficient")
    name = "df of Rubin 1987" if np.isposinf(values).all() else "given df"
    return GivenDf(covariance, np.broadcast_to(values, (p,)), rule(name))


def _robust(fits: Selection, vcov: Vcov, cluster: str | None) -> ClusterRobust | None:
    Checks().choice(vcov, Vcov, "vcov=")
    if vcov == "model":
        if cluster is not None:
            raise DataError(f"cluster={cluster!r} belongs to a robust covariance: use vcov='CR2' or 'CR0' with it")
        return None
    Checks().choice(vcov, Vcov, "vcov=")
    name = cluster_name(fits.fitted, cluster)
    return ClusterRobust(robust_scores(fits, vcov, name), vcov, name)
