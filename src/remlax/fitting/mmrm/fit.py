"""Fit a mixed model for repeated measures to every data set, and express what was found in the user's units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, cast

import jax
import numpy as np

from ...design.build import ModelRows
from ...engine.batch import Batch
from ...engine.joint_fit import optimised
from ...engine.shapes import bucket, host_leaf
from ...errors import shortened
from ...kernels.inference import VarianceInformation
from ...kernels.newton import NO_RESIDUAL, NOT_FINITE, Newton, Optimum
from ...kernels.problem import Structure
from ...kernels.theta import ThetaMap
from ...mmrm.optimum import MmrmEnd, fit
from ...mmrm.problem import Mmrm, MmrmStructure, Moments
from ...mmrm.structures import STRUCTURES
from ..assemble import Assembled, assembled, check_conditioned, conditioned_fixed
from ..checks import check_magnitudes
from ..fit import Fitted
from ..layout import Layout
from ..redundancy import Redundancies
from .formula import CovarianceTerm
from .moments import RowRotation, sum_moments
from .visits import Visits, formula_of, read_visits

# data sets up to which sizes are rounded up, so that compiled programs serve again
FEW_SETS = 32
# least eigenvalue of a correlation matrix, and least SD relative to that of the least-squares residual
DEPENDENT, EXPLAINED = 1e-6, 1e-7
# curvature, relative to the largest, of a direction in which the criterion does not change
FLAT = 1e-9
# structures with ever fewer parameters, in the order in which they are usually tried
FALLBACK = ("us", "toeph", "ar1h", "csh", "toep", "ar1", "cs")


# special cases of every structure, itself included
WITHIN = {
    "us": frozenset(STRUCTURES),
    "toeph": frozenset(("toeph", "toep", "ar1h", "ar1", "csh", "cs", "diag")),
    "toep": frozenset(("toep", "ar1", "cs")),
    "ante1": frozenset(("ante1", "ar1h", "ar1", "diag")),
    "ar1h": frozenset(("ar1h", "ar1", "diag")),
    "csh": frozenset(("csh", "cs", "diag")),
    **{name: frozenset((name,)) for name in ("ar1", "cs", "diag")},
}


@dataclass(frozen=True, eq=False, kw_only=True)
class MmrmFitted(Fitted):
    """K fitted mixed models for repeated measures, in the user's units; `theta` holds the unconstrained parameters.

    Parameters
    ----------
    visits : Visits
    sigmas : ndarray (K, g, T, T)
        Covariance matrix of every group.
    moved : ndarray (K, p, p, d)
        Derivatives of the covariance of the coefficients in the covariance parameters.
    """

    visits: Visits
    sigmas: np.ndarray
    moved: np.ndarray

    @property
    def structure(self) -> MmrmStructure:
        """What is compiled."""
        return cast(MmrmStructure, self.model.batch.structure)

    @property
    def covariance_term(self) -> CovarianceTerm:
        """Structure of the covariance, and the columns of visits and patients."""
        return self.visits.term

    @property
    def kind(self) -> str:
        """What must be the same of models that are compared."""
        return "a mixed model for repeated measures"

    @property
    def has_sigma(self) -> bool:
        """No: every visit may have its own variance."""
        return False

    @property
    def theta_map(self) -> ThetaMap:
        """Layout of theta: there are no random effects."""
        return ThetaMap((), (), (), ())

    @cached_property
    def redundancies(self) -> Redundancies:
        """None: what the data do not identify is a singular fit, with its reason."""
        return Redundancies(self.model.layout, (None,) * self.n_sets, has_sigma=False)

    def unknown_variance(self, which: Any, contrasts: np.ndarray | None = None) -> np.ndarray:
        """None: every coefficient has a variance."""
        return np.zeros(len(self.model.keep) if contrasts is None else len(contrasts), bool)

    @cached_property
    def information(self) -> VarianceInformation:
        """Hessian of the criterion in the covariance parameters, and how vcov(beta) depends on them."""
        return VarianceInformation(host_leaf(np.asarray(self.opt.hess)), host_leaf(self.moved))

    def n_parameters(self, k: int) -> int:
        """Coefficients and covariance parameters."""
        return len(self.model.keep) + self.structure.n_parameters

    def sample_size(self, k: int) -> int:
        """Patients, as in SAS PROC MIXED."""
        return self.visits.n_patients(k)

    def lacks(self, smaller: Fitted) -> str:
        """Why the covariance of a smaller model is none of this one's, in words."""
        assert isinstance(smaller, MmrmFitted)  # models of one kind are compared
        own, other = self.covariance_term, smaller.covariance_term
        if (own.visit, own.patient) != (other.visit, other.patient):
            return "their visits or patients are different columns"
        if other.group not in (None, own.group):
            return f"the smaller one has covariance matrices by {other.group!r}, and the larger one does not"
        if other.structure not in WITHIN[own.structure]:
            return f"{other.structure!r} is no special case of {own.structure!r}: compare their AIC, fit.aic"
        return ""

    def of_sets(self, which: np.ndarray) -> MmrmFitted:
        """Fits to some of the data sets; the rows of the model stay those of all and may not be read."""
        arrays: dict[str, Any] = {
            own.name: part[which] for own in fields(self) if isinstance(part := getattr(self, own.name), np.ndarray)
        }
        opt = jax.tree.map(lambda part: np.asarray(part)[which], self.opt)
        return replace(self, model=self.model.of_sets(which), opt=opt, visits=self.visits.of_sets(which), **arrays)

    def by_maximum_likelihood(self, which: np.ndarray) -> MmrmFitted:
        """Fits to some of the data sets by maximum likelihood; those that were made so are taken as they are."""
        if not self.reml:
            return self.of_sets(which)
        model = self.model.of_sets(which)
        layout = replace(model.layout, structure=replace(model.layout.structure, reml=False))
        model = replace(model, layout=layout, batch=model.batch.with_reml(False))
        return fit_mmrm(model, self.visits.of_sets(which), cast(Newton, self.optimizer))

    def fitted_values(self, k: int, *, random: bool = True) -> np.ndarray:
        """X beta + offset of one data set, in row order."""
        rows = self.model.rows
        out = rows.x.of(k)[:, self.model.keep] @ self.beta[k]
        return np.asarray(out if rows.offset is None else out + rows.offset.of(k))

    @property
    def advice(self) -> str:
        """What to try where a fit failed or is singular: structures with fewer parameters."""
        own = self.covariance_term.structure
        fewer = FALLBACK[FALLBACK.index(own) + 1 :] if own in FALLBACK else ("toeph", "ar1h")
        return f"; structures with fewer parameters are, in this order, {', '.join(fewer)}" if fewer else ""

    def boundary(self, k: int) -> str:
        """What a singular fit has on the boundary of the parameters, in words."""
        reasons = [*self._unidentified(k), *self._dependent(k)]
        flat = "the data do not determine all covariance parameters"
        return ("; ".join(reasons) or flat) + self.advice

    def _unidentified(self, k: int) -> Iterator[str]:
        names = self.visits.names
        for g, together in enumerate(self.visits.together(k)):
            of = f" of {self.visits.groups[g]}" if self.visits.groups else ""
            never = np.flatnonzero(np.diag(together) == 0)
            if len(never):
                yield f"no patient{of} has visit {shortened(names[t] for t in never)}"
            if self.structure.covariance == "us":
                alone = [(t, s) for t, s in zip(*np.nonzero(np.triu(together == 0)), strict=True)]
                apart = [f"{names[t]} and {names[s]}" for t, s in alone if t not in never and s not in never]
                if apart:
                    yield f"no patient{of} has both visits {shortened(apart)}, whose covariance is not identified"

    def _dependent(self, k: int) -> Iterator[str]:
        for g in np.flatnonzero(least_eigenvalues(self.sigmas[[k]])[0] < DEPENDENT):
            of = f" of {self.visits.groups[g]}" if self.visits.groups else ""
            yield f"visits{of} determine each other: a correlation, or a multiple one, is estimated as +-1"


def least_eigenvalues(sigmas: np.ndarray) -> np.ndarray:
    """Least eigenvalue (...) of the correlations of covariance matrices (..., T, T); NaN where not finite."""
    finite = np.isfinite(sigmas).all(axis=(-2, -1))
    usable = np.where(finite[..., None, None], sigmas, np.eye(sigmas.shape[-1]))
    sd = np.sqrt(np.diagonal(usable, axis1=-2, axis2=-1))
    least = np.linalg.eigvalsh(usable / sd[..., :, None] / sd[..., None, :])[..., 0]
    return np.asarray(np.where(finite, least, np.nan))


def flat(hess: np.ndarray) -> np.ndarray:
    """Whether a criterion does not change in some direction, from Hessians (K, d, d)."""
    finite = np.isfinite(hess).all(axis=(1, 2))
    usable = np.where(finite[:, None, None], hess, np.eye(hess.shape[1]))
    size = np.sqrt(np.abs(np.diagonal(usable, axis1=1, axis2=2)))
    size = np.maximum(size, FLAT * size.max(axis=1, keepdims=True))
    size = np.where(size > 0, size, 1.0)
    values = np.abs(np.linalg.eigvalsh(usable / size[:, :, None] / size[:, None, :]))
    return np.asarray(finite & (values.min(axis=1) <= FLAT * values.max(axis=1)))


def assemble_mmrm(rows: ModelRows, *, reml: bool, keep: np.ndarray | None = None) -> tuple[Assembled, Visits]:
    """Reduce the patients of all data sets to moments.

    Parameters
    ----------
    rows : ModelRows
        Its factors are patients, visits and groups.
    reml : bool
    keep : ndarray of int (p,), optional
        Fixed columns in the model, where these are known.

    Raises
    ------
    DesignError, DataError, ModelSizeError
    """
    check_magnitudes(rows)
    visits = read_visits(rows)
    none = ThetaMap((), (), (), ())
    layout = Layout((), (), (), Structure(none, (), len(rows.fixed.names), reml), (), (), ())
    found, turn, keep = conditioned_fixed(rows, layout, (), (), keep)
    check_conditioned(rows, keep, found)
    few = rows.n_sets <= FEW_SETS
    n_fixed = bucket(len(keep), 8, 2) if few else len(keep)
    structure = MmrmStructure(visits.term.structure, len(visits.names), n_fixed, visits.n_groups, reml)
    rotation = found.rotation
    by = RowRotation(turn, *(np.asarray(part) for part in (rotation.inverse, rotation.ols, rotation.y_scale)))
    moments, counts = sum_moments(rows, visits, keep, by, n_fixed + 1)
    masks = visits.masks
    if few:
        extra = bucket(len(masks), 4, 1) - len(masks)
        masks = np.pad(masks, ((0, extra), (0, 0)))
        counts = np.pad(counts, ((0, 0), (0, 0), (0, extra)))
        moments = np.pad(moments, ((0, 0), (0, 0), (0, extra), (0, 0), (0, 0)))
    products = Moments(
        moments=host_leaf(moments),
        counts=host_leaf(counts),
        padded=host_leaf(np.tile(np.r_[np.zeros(len(keep)), np.ones(n_fixed - len(keep))], (rows.n_sets, 1))),
        n_obs=host_leaf(found.n_obs),
        n_fixed=host_leaf(np.full(rows.n_sets, float(len(keep)))),
        constant=host_leaf(np.asarray(rotation.log_det) - found.log_w),
        constant_ml=host_leaf(-found.log_w),
        log_scale=host_leaf(2 * np.log(by.y_scale)),
    )
    batch = Batch(cast(Any, Mmrm(structure, products, host_leaf(masks))))
    return assembled(rows, layout, (), keep, found, turn, batch), visits


def fit_mmrm(model: Assembled, visits: Visits, optimizer: Newton) -> MmrmFitted:
    """Fit all data sets, and express what was found in the user's units."""
    opt, end = optimised(model.batch, optimizer, cast(Any, fit))
    return described(model, visits, optimizer, opt, end)


def described(model: Assembled, visits: Visits, optimizer: Newton, opt: Optimum, end: MmrmEnd) -> MmrmFitted:
    """Express the optima in the user's units."""
    p, inverse, scale = len(model.keep), model.inverse, model.y_scale
    gamma, cov, moved = (np.asarray(part) for part in (end.gamma, end.cov, end.moved))
    square, transposed = scale[:, None, None] ** 2, inverse.swapaxes(1, 2)
    vcov = inverse @ cov[:, :p, :p] @ transposed * square
    moved = inverse[:, None] @ moved[:, :, :p, :p] @ transposed[:, None] * square[:, None]
    inner = np.asarray(end.sigma)
    phi, value = np.asarray(opt.theta), np.asarray(opt.value)
    with np.errstate(invalid="ignore"):
        explained = (np.sqrt(np.diagonal(inner, axis1=-2, axis2=-1)) < EXPLAINED).any(axis=(1, 2))
        singular = ((least_eigenvalues(inner) < DEPENDENT).any(axis=1) | flat(np.asarray(opt.hess))) & ~explained
    status = np.where(explained, NO_RESIDUAL, np.asarray(opt.status))
    status = np.where(np.isfinite(value) & np.isfinite(vcov).all(axis=(1, 2)), status, NOT_FINITE)
    none = np.zeros(len(phi))
    found = MmrmFitted(
        model=model,
        optimizer=optimizer,
        opt=opt,
        theta=phi,
        inner=phi,
        beta=model.ols + np.einsum("kij,kj->ki", inverse, gamma[:, :p]) * scale[:, None],
        vcov=(vcov + vcov.swapaxes(1, 2)) / 2,
        sigma=np.ones(len(phi)),
        criterion=value,
        gamma=gamma,
        log_l2=none,
        log_rx2=none,
        status=status,
        singular=singular,
        visits=visits,
        sigmas=inner * square[..., None],
        moved=np.ascontiguousarray(np.moveaxis(moved, 1, -1)),
    )
    incomplete = [k for k in range(len(phi)) if any(found._unidentified(k))]
    singular[incomplete] = True
    return found


def read_formula(rows: ModelRows) -> ModelRows:
    """Rows whose formula has lost the factors that stood in the place of random terms."""
    formula = formula_of(rows)
    return replace(rows, formula=replace(formula, random=()), terms=(), term_specs=())
