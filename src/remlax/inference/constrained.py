"""Constrained problems: one parameter held at a value, for all parameters of all data sets in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..engine.batch import run
from ..engine.fit import solve_batch
from ..engine.shapes import host_leaf
from ..fitting.fit import Fitted
from ..fitting.layout import TermLayout
from ..fitting.selection import Selection
from ..fitting.units import triangular
from ..kernels.held import Held, minimise_held
from ..kernels.newton import CONVERGED, Optimum

# starts at the estimates are at least this large, in units of sigma: at zero a search could sit on a saddle by symmetry
MOST_EVALUATIONS = 100
LEAST_STARTS = (0.1, 0.5, 0.2)
# the same for starts at a neighbour
LEAST_NEAR = 0.03


@dataclass(frozen=True)
class Parameter:
    """What is profiled: an SD (a = b) or a correlation of a term, sigma (term -1), or coefficient a (term -2)."""

    term: int
    a: int
    b: int

    @property
    def kind(self) -> str:
        """One of sd, cor, sigma, beta."""
        return {-1: "sigma", -2: "beta"}.get(self.term, "sd" if self.a == self.b else "cor")

    @property
    def bounds(self) -> tuple[float, float]:
        """Where values end."""
        ends = {"sd": (0.0, np.inf), "cor": (-1.0, 1.0), "sigma": (0.0, np.inf)}
        return ends.get(self.kind, (-np.inf, np.inf))

    def scaled(self, value: np.ndarray) -> np.ndarray:
        """Value on a scale where profiles are smooth up to the ends: the angle of a correlation, log sigma."""
        if self.kind == "cor":
            return np.asarray(np.arcsin(value))
        return np.asarray(np.log(value)) if self.kind == "sigma" else value

    def unscaled(self, value: float) -> float:
        """Undo `scaled`."""
        if self.kind == "cor":
            return float(np.sin(value))
        return float(np.exp(value)) if self.kind == "sigma" else value


# index of a data set, what is held there, and its value in the user's units
Question = tuple[int, Parameter | None, float]


def parameters_of(fitted: Fitted) -> list[Parameter]:
    """SDs, then correlations, of every term; sigma; the coefficients."""
    out = []
    for t, term in enumerate(fitted.model.layout.terms):
        out += [Parameter(t, a, a) for a in range(term.q)]
        out += [Parameter(t, a, b) for a, b in combinations(range(term.q), 2)]
    return [*out, Parameter(-1, 0, 0), *(Parameter(-2, j, j) for j in range(fitted.beta.shape[1]))]


class ConstrainedFits:
    """Held problems of some data sets, in the conditioned coordinates.

    Searches start at the estimates of the fits, or at ``coordinates`` (K, d + 1) of free problems.
    """

    def __init__(self, fits: Selection, coordinates: np.ndarray | None = None) -> None:
        self.fits = fits
        model = fits.model
        self.batch = model.batch.take(fits.index)
        structure = model.layout.structure
        self.d, self.p = structure.theta_map.n_theta, structure.n_fixed
        self.scale = model.y_scale[fits.index]
        # a root of the internal covariance of every term, (K, q, q)
        if coordinates is not None:
            self.log_sigma = coordinates[:, -1]
            self.root = [self._root(term, coordinates) for term in model.layout.terms]
            return
        self.log_sigma = np.log(fits.sigma / self.scale)
        sigma = np.exp(self.log_sigma)[:, None, None]
        self.root = [sigma * fits.fitted.inner_factor(t)[fits.index] for t in range(len(model.layout.terms))]

    @staticmethod
    def _root(term: TermLayout, coordinates: np.ndarray) -> np.ndarray:
        """Root (K, q, q) of the internal covariance of one term at the coordinates (K, d + 1) of free problems."""
        c = np.zeros((len(coordinates), term.q, term.q))
        col, row = np.triu_indices(term.q)
        c[:, row, col] = coordinates[:, :-1][:, term.theta]
        return c

    def outside(self, term: TermLayout) -> np.ndarray:
        """Matrix (q, q) from one term's effects inside to the user's."""
        return self.fits.model.units[term.factor].outside[term.columns, term.columns]

    def z_scale(self, term: TermLayout) -> np.ndarray:
        """Internal length of a unit of the user's effects, (q,)."""
        return np.asarray(1 / np.linalg.norm(self.outside(term), axis=1))

    def held(self, problem: Question, least: float) -> Held:
        """Hold one parameter of one data set at a value in the user's units; None holds nothing."""
        i, parameter, value = problem
        model, k = self.fits.model, self.fits.which[i]
        maps = [np.zeros((self.d, q, q)) for q in model.layout.structure.q]
        start, free, square = np.zeros(self.d + 1), np.ones(self.d + 1), np.zeros(self.d + 1)
        start[-1] = self.log_sigma[i]
        for t in range(len(model.layout.terms)):
            own = parameter if parameter is not None and parameter.term == t else None
            self._term(i, t, own, value, least, (maps, start, free, square))
        row, target, hold = np.zeros(self.p), 0.0, 0.0
        row[0] = 1.0
        if parameter is not None and parameter.kind == "sigma":
            start[-1], free[-1] = np.log(value / self.scale[i]), 0.0
        if parameter is not None and parameter.kind == "beta":
            row[: len(model.keep)] = model.inverse[k][parameter.a]
            target, hold = (value - model.ols[k][parameter.a]) / self.scale[i], 1.0
        return Held(
            tuple(host_leaf(m) for m in maps), *(host_leaf(v) for v in (start, free, square, row, target, hold))
        )

    def _term(
        self,
        place: int,
        t: int,
        own: Parameter | None,
        value: float,
        least: float,
        into: tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        """Lay out one term in a basis that begins with the effects of the parameter, and start at its covariance."""
        term = self.fits.model.layout.terms[t]
        maps, (start, free, square) = into[0][term.factor], into[1:]
        first = [] if own is None else list(dict.fromkeys((own.a, own.b)))
        basis = _completed((self.outside(term) * self.z_scale(term)[:, None])[first], term.q)
        inverse = np.linalg.inv(basis)
        root = triangular((basis @ self.root[t][place])[None])[0]
        smallest = least * np.exp(self.log_sigma[place])
        position = {}
        entries = [(i, j) for j in range(term.q) for i in range(j, term.q)]
        for a, (i, j) in enumerate(entries):
            at = position[i, j] = term.theta.start + a
            maps[at, term.columns, term.start + j] = inverse[:, i]
            start[at] = max(root[i, j], smallest) if i == j else root[i, j]
        if own is None:
            return
        if own.kind == "sd":
            at = position[0, 0]
            start[at], free[at] = value * self.z_scale(term)[own.a] / self.scale[place], 0.0
            return
        # rows (s_1, 0) and s_2 (rho, sqrt(1 - rho^2)) of the root: s_2 takes the place of its last entry
        gone, length = position[1, 0], position[1, 1]
        maps[gone], start[gone], free[gone] = 0.0, 0.0, 0.0
        start[length] = max(np.linalg.norm(root[1]), smallest)
        # an SD that changed its sign would turn the correlation around
        for at in (position[0, 0], length):
            square[at], start[at] = 1.0, np.sqrt(start[at])
        maps[length] = 0.0
        maps[length, term.columns, term.start] = value * inverse[:, 1]
        maps[length, term.columns, term.start + 1] = np.sqrt(max(1 - value**2, 0.0)) * inverse[:, 1]

    def first(self, question: Question) -> tuple[float, np.ndarray]:
        """About a standard error of a balanced design on the scale of a parameter, and coordinates at the estimates."""
        i, parameter, estimate = question
        assert parameter is not None  # what is asked for is a step of a parameter
        fits, k = self.fits, self.fits.which[i]
        if parameter.kind == "sigma":
            step = 1 / np.sqrt(2 * fits.n_rows[i])
        elif parameter.kind == "beta":
            step = float(np.sqrt(fits.fitted.vcov[k, parameter.a, parameter.a]))
        else:
            term = fits.model.layout.terms[parameter.term]
            step = 1 / np.sqrt(fits.model.layout.factors[term.factor].n_levels)
            if parameter.kind == "sd":
                unit = fits.fitted.sigma[k] / self.z_scale(term)[parameter.a]
                step = max(estimate, 0.05 * unit) * step
        return step, np.asarray(self.held(question, 0.0).start)

    def solve(self, asked: list[Question], near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minimise the ML deviance of every problem from coordinates (N, d + 1), or from the estimates where NaN.

        Searches that fail start again at the estimates. Deviance (N,), NaN where no start led to a minimum, and
        coordinates (N, d + 1).
        """
        which = np.array([i for i, _, _ in asked])
        best, where = np.full(len(asked), np.nan), near
        for least in LEAST_STARTS:
            parts = [self.held(problem, least) for problem in asked]
            held = Held(
                tuple(host_leaf(np.stack([part.maps[f] for part in parts])) for f in range(len(parts[0].maps))),
                *(host_leaf(np.stack([getattr(part, name) for part in parts])) for name in Held._fields[1:]),
            )
            start = self._start(np.where(np.isnan(where), held.start, where), held, which)
            most = np.full(len(which), MOST_EVALUATIONS, np.int32)
            held = held._replace(start=host_leaf(start))
            optimum: Optimum = run(minimise_held, self.batch.with_reml(False), held, most, which=which, some=True)
            value = np.asarray(optimum.value)
            better = (np.asarray(optimum.status) == CONVERGED) & ~(value >= best)
            best = np.where(better, value, best)
            failed = np.isnan(best)
            where = np.where(better[:, None], np.asarray(optimum.theta), np.where(failed[:, None], np.nan, where))
            if not failed.any():
                break
        return best, where

    def _start(self, at: np.ndarray, held: Held, which: np.ndarray) -> np.ndarray:
        """Lift free sizes away from zero, and put what is held at its value."""
        least = LEAST_NEAR * np.exp(self.log_sigma[which])[:, None]
        least = np.where(np.asarray(held.square) > 0, np.sqrt(least), least)
        sizes = np.append(self.batch.structure.theta_map.diagonal, False)
        lifted = np.where(sizes & (np.abs(at) < least), np.copysign(least, at), at)
        return np.where(np.asarray(held.free) > 0, lifted, held.start)

    def estimates(self, parameters: list[Parameter], coordinates: np.ndarray) -> np.ndarray:
        """Values of all parameters (K, P) at the coordinates (K, d + 1) of free problems."""
        model, index = self.fits.model, self.fits.index
        sigma = np.exp(coordinates[:, -1])
        out = []
        for parameter in parameters:
            if parameter.kind == "sigma":
                out.append(sigma * self.scale)
            elif parameter.kind != "beta":
                term = model.layout.terms[parameter.term]
                effects = self.outside(term) @ self._root(term, coordinates)
                size = np.linalg.norm(effects, axis=2)
                if parameter.kind == "sd":
                    out.append(size[:, parameter.a] * self.scale)
                    continue
                product = size[:, parameter.a] * size[:, parameter.b]
                both = np.einsum("kj,kj->k", effects[:, parameter.a], effects[:, parameter.b])
                out.append(np.clip(both / np.where(product > 0, product, np.inf), -1, 1))
        gamma = np.asarray(solve_batch(self.batch, coordinates[:, :-1] / sigma[:, None]).gamma)[:, : len(model.keep)]
        beta = model.ols[index] + np.einsum("kij,kj->ki", model.inverse[index], gamma) * self.scale[:, None]
        return np.concatenate([np.stack(out, axis=1), beta], axis=1)


def _completed(rows: np.ndarray, q: int) -> np.ndarray:
    """Complete rows (r, q) to a basis (q, q) by unit vectors, each time the one that is least in the span so far."""
    basis = list(rows)
    for _ in range(q - len(rows)):
        left = np.eye(q)
        if basis:
            span = np.linalg.qr(np.stack(basis, axis=1))[0]
            left = left - span @ span.T
        size = np.diag(left)
        # the first of those that are equal but for rounding
        basis.append(np.eye(q)[np.flatnonzero(size > size.max() - 1e-8)[0]])
    return np.stack(basis)
