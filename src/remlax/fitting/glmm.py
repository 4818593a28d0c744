"""Fit a generalised linear mixed model to every data set, and express what was found in the user's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, cast

import jax
import numpy as np

from ..design.build import ModelRows
from ..engine.batch import Batch, run
from ..engine.joint_fit import optimised
from ..engine.shapes import host_leaf
from ..glmm.families import MOST_LOG_SIZE, Family
from ..glmm.optimum import Description, deviance_at
from ..glmm.problem import GlmmStructure
from ..kernels.inference import VarianceInformation
from ..kernels.lbfgs import LBFGS
from ..kernels.newton import NO_MAXIMUM, NOT_FINITE, Newton, Optimum
from ..kernels.restarts import on_boundary
from ..kernels.structured.criterion import StructuredInformation
from ..kernels.structured.parameters import ParameterMap
from ..kernels.theta import ThetaMap, canonical_theta
from ..priors.penalty import CoefficientPenalty
from .assemble import Assembled, random_columns
from .checks import check_levels, check_magnitudes
from .find_redundancy import find_redundancies
from .fit import Fitted, Modes
from .glmm_rows import centre_of, fixed_columns, glmm_batch, glmm_structure, make_cells
from .layout import make_layout
from .no_maximum import JudgedSets, without_maximum
from .redundancy import Redundancies
from .responses.distribution import RowDistribution, inverse_link
from .responses.nodes import check_nodes
from .responses.response import GlmmResponse

# an SD that is zero
BOUNDARY = 1e-8
# eigenvalue of the Hessian, relative to its largest, of a direction in which the criterion does not change
FLAT = 1e-9
# share of such a direction that may be of other parameters, and the least eigenvalue that is believed
OUTSIDE, LEAST_VALUE = 1e-3, 1e-15
# logarithm of a size that cannot be told from infinity
LARGE_LOG_SIZE = MOST_LOG_SIZE - 0.5
NO_OVERDISPERSION = "the size is infinite (no overdispersion), which is the Poisson model"


@dataclass(frozen=True, eq=False, kw_only=True)
class GlmmFitted(Fitted):
    """K fitted generalised linear mixed models, in the user's units; `Fitted` with a dispersion of one.

    Parameters
    ----------
    shape : ndarray (K, s)
        Shape parameters: log size, log shape, or thresholds.
    joint : ndarray (K, d + p + s, d + p + s)
        Covariance matrix of theta inside, coefficients inside and shape parameters, from the Hessian.
        Thresholds are those of the centred columns.
    vcov_rx : ndarray (K, p, p)
        Covariance matrix of the coefficients given theta, as lme4's RX has it.
    centre : ndarray (K, p)
        What is taken from the fixed columns inside: their means where thresholds take it up, otherwise zero.
    description : Description
        Modes and their derivatives, inside.
    """

    shape: np.ndarray
    joint: np.ndarray
    vcov_rx: np.ndarray
    centre: np.ndarray
    description: Description
    response: GlmmResponse
    endless: Mapping[int, str]

    @property
    def structure(self) -> GlmmStructure:
        """What is compiled."""
        return cast(GlmmStructure, self.model.batch.structure)

    @property
    def family(self) -> Family:
        """Distribution and link."""
        return self.structure.family

    def verdict(self, k: int) -> str:
        """What became of the fit of one data set; why there is no maximum."""
        return self.endless.get(k, super().verdict(k))

    def boundary(self, k: int) -> str:
        """What a singular fit has on the boundary of the parameters, in words."""
        if not self.endless_size[k]:
            return super().boundary(k)
        both = on_boundary(self.inner[[k]], self.theta_map)[0]
        return NO_OVERDISPERSION + (f", and {super().boundary(k)}" if both else "")

    @property
    def endless_size(self) -> np.ndarray:
        """Data sets (K,) in which a negative binomial size is infinite."""
        return endless_size(self.family, self.shape)

    @property
    def has_thresholds(self) -> bool:
        """Of an ordinal response."""
        return self.family.name == "ordinal"

    def inner_shape(self, k: int) -> np.ndarray:
        """Shape parameters (s,) of one data set inside: thresholds of the centred columns."""
        return np.asarray(self.shape[k] - self.centre[k] @ self.beta[k])

    def distribution(self, k: int) -> RowDistribution:
        """Distribution of the rows of one data set given their means."""
        own = self.response
        trials = None if own.trials is None else own.trials.of(k)
        return RowDistribution(self.family, self.shape[k], own.weight.of(k), trials)

    def means(self, k: int, *, random: bool = True) -> np.ndarray:
        """Means of the rows of one data set given the modes; of an ordinal response the linear predictors."""
        eta = self.fitted_values(k, random=random)
        return eta if self.family.name == "ordinal" else inverse_link(self.family.link, eta).mean

    @property
    def kind(self) -> str:
        """Family, link and approximation of the likelihood; the information where it makes a difference."""
        family, information = self.family, "expected" if self.family.expected else "observed"
        kind = f"{family.name} with {family.link} link, n_quad={self.structure.n_quad}"
        return kind if family.canonical else f"{kind}, {information} information"

    @property
    def has_sigma(self) -> bool:
        """No: the family decides the variance of the response."""
        return False

    @property
    def has_df(self) -> bool:
        """No: tests of coefficients are Wald z tests."""
        return False

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Names of the shape parameters."""
        return self.response.shape_names

    @cached_property
    def redundancies(self) -> Redundancies:
        """Variances and covariances that leave the distribution of the linear predictor as it is."""
        return find_redundancies(self.model, has_sigma=False)

    @cached_property
    def information(self) -> VarianceInformation:
        """Information about theta; none about sigma, which is known, and no derivatives of vcov(beta): NaN."""
        n, d, p = self.n_sets, self.theta_map.n_theta, len(self.model.keep)
        hess = np.zeros((n, d + 1, d + 1))
        hess[:, :d, :d] = 2 * inverse_information(self.joint[:, :d, :d], d)
        return VarianceInformation(host_leaf(hess), host_leaf(np.full((n, p, p, d + 1), np.nan)))

    @property
    def psi(self) -> np.ndarray:
        """What theta inside is a function of, (K, d), where a term has a covariance structure."""
        parameters = self.model.layout.parameters
        assert parameters is not None  # else there is nothing but theta
        return parameters.canonical(np.asarray(self.opt.theta)[:, : parameters.n_theta])

    @cached_property
    def structured_information(self) -> StructuredInformation:
        """Information about psi, where a term has a covariance structure; none about sigma, which is known."""
        parameters, n = self.model.layout.parameters, self.n_sets
        assert parameters is not None  # else there is nothing but theta
        m, d = parameters.n_theta, self.theta_map.n_theta
        hess, jacobian = np.zeros((n, m + 1, m + 1)), np.zeros((n, d + 1, m + 1))
        hess[:, :m, :m] = 2 * inverse_information(joint_of_psi(self.model, self.opt)[:, :m, :m], m)
        jacobian[:, :d, :m] = np.stack([parameters.slopes(psi) for psi in self.psi])
        return StructuredInformation(host_leaf(hess), host_leaf(jacobian))

    def unknown_variance(self, which: Sequence[int], contrasts: np.ndarray | None = None) -> np.ndarray:
        """None: the response tells every coefficient."""
        return np.zeros(len(self.model.keep) if contrasts is None else len(contrasts), bool)

    def n_parameters(self, k: int) -> int:
        """Coefficients, theta and shape parameters of one data set."""
        return len(self.model.keep) + self.model.layout.n_parameters + self.family.n_shape - self.redundancies.n_lost(k)

    def curvature(self, k: int) -> np.ndarray:
        """Hessian of -2 log L of one data set in theta, coefficients and shape parameters, in internal units."""
        d = (self.model.layout.parameters or self.theta_map).n_theta
        used = without_padding(self.structure, len(self.model.keep), d)
        return np.asarray(np.asarray(self.opt.hess[k])[np.ix_(used, used)])

    def of_sets(self, which: np.ndarray) -> GlmmFitted:
        """Fits to some of the data sets; the rows of the model stay those of all and may not be read."""
        arrays: dict[str, Any] = {
            own.name: part[which] for own in fields(self) if isinstance(part := getattr(self, own.name), np.ndarray)
        }
        opt, description = jax.tree.map(lambda part: np.asarray(part)[which], (self.opt, self.description))
        endless = {i: self.endless[k] for i, k in enumerate(which.tolist()) if k in self.endless}
        own = {"opt": opt, "description": description, "endless": endless}
        return replace(self, model=self.model.of_sets(which), **own, **arrays)

    def by_maximum_likelihood(self, which: np.ndarray) -> GlmmFitted:
        """Fits to some of the data sets by maximum likelihood, as all are."""
        return self.of_sets(which)

    def parameters(self, theta: np.ndarray, beta: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """What the kernels take, (K, parameters), from theta inside (d,), coefficients (p,) and shape (s,) of all."""
        gamma = np.linalg.solve(self.model.inverse, (beta - self.model.ols)[:, :, None])[:, :, 0]
        return _parameters(
            self.structure, np.tile(theta, (self.n_sets, 1)), gamma, shape - (self.centre @ beta)[:, None]
        )

    def at(self, k: int, theta: np.ndarray, beta: np.ndarray) -> float:
        """-2 log L of one data set at theta (d,) and coefficients (p,) in the user's order and scale."""
        model = self.model
        gamma = np.linalg.solve(model.inverse[k], beta - model.ols[k])
        shape = self.shape[k] - self.centre[k] @ beta
        parameters = _parameters(self.structure, model.inner_theta(theta[None]), gamma[None], shape[None])
        return float(run(deviance_at, model.batch.take(np.array([k])), parameters)[0])

    def deviance(self, k: int, theta: np.ndarray, *, reml: bool) -> float:
        """-2 log L of one data set at a theta, the coefficients at their estimates."""
        return self.at(k, theta, self.beta[k])

    @cached_property
    def factor_modes(self) -> tuple[Modes, ...]:
        """Conditional modes and variances per factor (elimination order), all terms of the factor together."""
        out = []
        found = zip(self.description.modes, self.description.variances, strict=True)
        for f, (modes, variances) in enumerate(found):
            levels, unit = self.model.layout.factors[f].n_levels, self.model.units[f]
            user = unit.effects(np.moveaxis(np.asarray(modes)[:, :, :levels], 1, 2))
            out.append(Modes(user, unit.variances(np.moveaxis(np.asarray(variances)[..., :levels], 3, 1))))
        return tuple(out)


def _parameters(structure: GlmmStructure, theta: np.ndarray, gamma: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Parameters inside, with padded coefficients of zero."""
    padding = np.zeros((len(gamma), structure.n_fixed - gamma.shape[1]))
    return np.concatenate([theta, gamma, padding, shape], axis=1)


def without_padding(structure: GlmmStructure, p: int, d: int) -> np.ndarray:
    """Places of theta or psi (d,), of p coefficients and of the shape parameters."""
    behind = d + structure.n_fixed
    return np.asarray(np.r_[np.arange(d + p), np.arange(behind, behind + structure.family.n_shape)])


def assemble_glmm(rows: ModelRows, response: GlmmResponse, n_quad: int) -> Assembled:
    """Put the rows of all data sets into a batch.

    Raises
    ------
    DesignError, DataError
    """
    check_magnitudes(rows)
    check_levels(rows)
    layout = make_layout(rows, reml=False)
    check_nodes(n_quad, layout.structure.q[0], [factor.label for factor in layout.factors])
    columns, units = random_columns(rows, layout)
    keep, inverse = fixed_columns(rows, response)
    x = rows.x.select(keep.tolist())
    x = x.minus(centre_of(x, response.family))
    cells = make_cells(rows, layout)
    structure = glmm_structure(rows, layout, cells, len(keep), response.family, n_quad)
    scales = [unit.scale for unit in units]
    problem = glmm_batch(rows, layout, cells, structure, (x, columns, scales), inverse, response)
    return Assembled(
        rows=rows,
        layout=layout,
        batch=Batch(cast(Any, problem)),  # a batch asks for structure, rows and axes alone
        keep=keep,
        units=units,
        inverse=inverse,
        ols=np.zeros(inverse.shape[:2]),
        y_scale=np.ones(rows.n_sets),
    )


def fit_glmm(model: Assembled, response: GlmmResponse, optimizer: LBFGS | Newton) -> GlmmFitted:
    """Fit all data sets, and express what was found in the user's units."""
    ends = optimised(model.batch, optimizer, penalty=model.penalty, structured=model.layout.parameters)
    return described(model, response, optimizer, *ends)


def described(
    model: Assembled, response: GlmmResponse, optimizer: LBFGS | Newton, opt: Optimum, description: Description
) -> GlmmFitted:
    """Express the optima in the user's units."""
    structure, p = cast(GlmmStructure, model.batch.structure), len(model.keep)
    d = structure.theta_map.n_theta
    theta, parameters, joint, moved = _oriented(model, opt, description.moved)
    description = description._replace(moved=cast(Any, moved))
    inverse = model.inverse
    vcov = np.einsum("kia,kab,kjb->kij", inverse, joint[:, d : d + p, d : d + p], inverse)
    rx = np.einsum(
        "kia,kab,kjb->kij", inverse, inverse_information(np.asarray(description.information)[:, :p, :p]), inverse
    )
    beta = np.einsum("kij,kj->ki", inverse, parameters[:, d : d + p])
    centre = centre_of(model.rows.x.select(model.keep.tolist()), structure.family)
    shape = parameters[:, d + structure.n_fixed :] + np.sum(centre * beta, axis=1, keepdims=True)
    value, none = np.asarray(opt.value), np.zeros(len(parameters))
    gamma = parameters[:, d : d + structure.n_fixed]
    endless = _endless(model, response, opt._replace(theta=host_leaf(parameters)), joint)
    status = np.where(np.isfinite(value), np.asarray(opt.status), NOT_FINITE)
    status[list(endless)] = NO_MAXIMUM
    return GlmmFitted(
        model=model,
        optimizer=optimizer,
        opt=opt,
        theta=model.outer_theta(theta),
        inner=theta,
        beta=beta,
        vcov=(vcov + vcov.swapaxes(1, 2)) / 2,
        sigma=np.ones(len(value)),
        criterion=_unpenalised(model, value, parameters[:, :d], gamma),
        gamma=gamma,
        log_l2=none,
        log_rx2=none,
        status=status,
        singular=on_boundary(theta, structure.theta_map) | endless_size(structure.family, shape),
        shape=shape,
        joint=joint,
        vcov_rx=rx,
        centre=centre,
        description=description,
        response=response,
        endless=endless,
    )


def _oriented(
    model: Assembled, opt: Optimum, moved: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[Any]]:
    """Theta, all parameters, their joint covariance and ``moved``, with the diagonals of Lambda not negative."""
    structure, structured = cast(GlmmStructure, model.batch.structure), model.layout.parameters
    d = structure.theta_map.n_theta
    if structured is not None:
        theta = structured.theta(structured.canonical(np.asarray(opt.theta)[:, : structured.n_theta]))
        parameters = np.concatenate([theta, np.asarray(opt.theta)[:, structured.n_theta :]], axis=1)
        return theta, parameters, _from_psi(structured, np.asarray(opt.theta), joint_of_psi(model, opt)), moved
    parameters = np.asarray(opt.theta)
    theta, sign = _signed(parameters[:, :d], structure.theta_map)
    sign = np.concatenate([sign, np.ones_like(parameters[:, d:])], axis=1)
    used = without_padding(structure, len(model.keep), d)
    hess = np.asarray(opt.hess) * sign[:, :, None] * sign[:, None, :]
    joint = inverse_information(hess[:, used][:, :, used] / 2, d)
    return theta, parameters, joint, tuple(np.asarray(part) * sign[:, :, None, None] for part in moved)


def joint_of_psi(model: Assembled, opt: Optimum) -> np.ndarray:
    """Covariance matrices of psi, coefficients inside and shape parameters; SDs that end at zero have no variance."""
    structured = model.layout.parameters
    assert structured is not None  # else there is nothing but theta
    m = structured.n_theta
    used = without_padding(cast(GlmmStructure, model.batch.structure), len(model.keep), m)
    hess, at = np.asarray(opt.hess)[:, used][:, :, used], np.asarray(opt.theta)[:, used]
    lower = np.concatenate([structured.lower, np.full(len(used) - m, -np.inf)])
    free = ~(at < lower + BOUNDARY)
    return inverse_information(hess * free[:, :, None] * free[:, None, :] / 2, m)


def _from_psi(structured: ParameterMap, at: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """The same (K, d + p + s, d + p + s) of theta, of lower rank."""
    m, d = structured.n_theta, structured.terms[-1].theta[1]
    rest = joint.shape[1] - m
    by = np.zeros((len(joint), d + rest, m + rest))
    by[:, :d, :m] = np.stack([structured.slopes(psi) for psi in at[:, :m]])
    by[:, d:, m:] = np.eye(rest)
    return np.asarray(by @ joint @ by.swapaxes(1, 2))


def _unpenalised(model: Assembled, value: np.ndarray, theta: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """-2 log L (K,) from what was minimised."""
    own: CoefficientPenalty | None = cast(Any, model.batch.problem.products).prior
    value = value if model.penalty is None else value - model.penalty.value(theta)
    return value if own is None else value - own.value(gamma)


def _endless(model: Assembled, response: GlmmResponse, opt: Optimum, joint: np.ndarray) -> dict[int, str]:
    """Data sets without a maximum, with the reason."""
    structure = cast(GlmmStructure, model.batch.structure)
    d = structure.theta_map.n_theta
    last = None if structure.family.name == "ordinal" else d + len(model.keep)
    variances = np.einsum("kii->ki", joint)[:, d:last]

    # what has a prior does not go to infinity
    prior, names = model.fixef_prior, np.array(model.fixed_names, dtype=object)
    free = np.ones(len(names), bool) if prior is None else np.isinf(prior.scales(model.fixed_names))

    def own_rows(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return model.rows.x.of(k)[:, model.keep[free]], response.y.of(k), response.weight.of(k)

    labels = model.rows.labels
    sets = JudgedSets(model.batch, tuple(names[free]), response.levels, labels, own_rows, model.penalty)
    return without_maximum(sets, opt, np.sqrt(np.where(variances >= 0, variances, np.nan)))


def endless_size(family: Family, shape: np.ndarray) -> np.ndarray:
    """Data sets (K,) in which a negative binomial size went to infinity: there is no overdispersion."""
    if family.name != "negative-binomial":
        return np.zeros(len(shape), bool)
    return np.asarray(shape[:, 0] > LARGE_LOG_SIZE)


def _signed(theta: np.ndarray, theta_map: ThetaMap) -> tuple[np.ndarray, np.ndarray]:
    """Theta in its canonical form, and the signs (K, d) that take it there; 1 where its columns were rotated."""
    out = canonical_theta(theta, theta_map)
    return out, np.where(np.isclose(out, -theta, rtol=1e-12, atol=0.0) & (theta != 0), -1.0, 1.0)


def inverse_information(matrices: np.ndarray, n_theta: int = 0) -> np.ndarray:
    """Inverses of symmetric matrices (K, n, n); NaN where not finite.

    Directions among the first ``n_theta`` parameters in which the matrix is flat, as where a covariance matrix is zero
    and its factor may turn, are left out. In others a small eigenvalue means a large variance.
    """
    finite = np.isfinite(matrices).all(axis=(1, 2))
    size = np.sqrt(np.abs(np.einsum("kii->ki", matrices)))
    size[~(size > 0)] = 1.0
    scaled = matrices / size[:, :, None] / size[:, None, :]
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], scaled, 0.0))
    flat = np.abs(values) <= FLAT * np.max(np.abs(values), axis=1, initial=0.0)[:, None]
    flat &= np.linalg.norm(vectors[:, n_theta:], axis=1) < OUTSIDE
    inverses = np.where(flat, 0.0, 1 / np.where(np.abs(values) > LEAST_VALUE, values, LEAST_VALUE))
    half = vectors / size[:, :, None]
    out: np.ndarray = (half * inverses[:, None]) @ half.swapaxes(1, 2)
    out[~finite] = np.nan
    return out
