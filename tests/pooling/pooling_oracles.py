"""Independent computations that the pooling tests compare with."""

from __future__ import annotations

import json
from math import inf, log, pi

import numpy as np
from scipy.optimize import minimize_scalar

from reference_cases import REFERENCE

R_NUMBERS = json.loads((REFERENCE / "pooling" / "pooling.json").read_text())


def number(value):
    """A JSON number, in which infinity is a word and NaN is null."""
    return {"Inf": inf, "-Inf": -inf, None: np.nan}[value] if value in ("Inf", "-Inf", None) else float(value)


def stack_fits(case):
    """Fixed effects (m, p) and their covariances (m, p, p) of a reference case, and the names."""
    names = case["pooled"]["pooled_terms"]
    estimates = np.array([[fit["fixef"][name] for name in names] for fit in case["fits"]])
    covariances = []
    for fit in case["fits"]:
        index = [fit["vcov"]["names"].index(name) for name in names]
        covariances.append(np.array(fit["vcov"]["matrix"])[np.ix_(index, index)])
    return names, estimates, np.array(covariances)


def spread(mean, between, m):
    """m numbers whose mean and variance (divisor m - 1) are exactly those asked for."""
    z = np.arange(m) - (m - 1) / 2
    return mean + np.sqrt(between) * z / np.std(z, ddof=1)


def mice_df(m, lambda_, dfcom):
    """mice's degrees of freedom, which never let lambda fall below 1e-4."""
    floored = np.maximum(lambda_, 1e-4)
    old = (m - 1) / floored**2
    if np.isinf(dfcom):
        return old
    observed = (dfcom + 1) / (dfcom + 3) * dfcom * (1 - floored)
    return old * observed / (old + observed)


def mertools_table(estimates, standard_errors):
    """merTools 0.5.2 modelFixedEff: mean standard error plus a variance, and no root. Wrong."""
    m = len(estimates)
    within = standard_errors.mean(axis=0)
    between = (1 + 1 / m) * estimates.var(axis=0)
    return within + between, (m - 1) * (1 + within / between) ** 2


class RandomIntercept:
    """Maximum likelihood of y = X beta + intercept of the group + noise, by one-dimensional optimisation."""

    def __init__(self, y, X, groups):
        codes = np.unique(groups, return_inverse=True)[1]
        self.y, self.X, self.codes = y, X, codes
        self.sizes = np.bincount(codes).astype(float)
        self.group_y = np.bincount(codes, y)
        self.group_x = np.stack([np.bincount(codes, column) for column in X.T], axis=1)

    def loglik(self, beta, tau2, sigma2):
        """Log-likelihood at given parameters."""
        residual = self.y - self.X @ beta
        total = sigma2 + self.sizes * tau2
        log_det = ((self.sizes - 1) * log(sigma2) + np.log(total)).sum()
        quadratic = (residual @ residual - (tau2 / total * np.bincount(self.codes, residual) ** 2).sum()) / sigma2
        return -0.5 * (len(self.y) * log(2 * pi) + log_det + quadratic)

    def fit(self):
        """Estimates (beta, tau2, sigma2) and the log-likelihood there."""
        best = minimize_scalar(
            lambda log_ratio: -self.loglik(*self._profile(np.exp(log_ratio))),
            bounds=(-9.0, 3.0),
            method="bounded",
            options={"xatol": 1e-11},
        )
        parameters = self._profile(np.exp(best.x))
        return parameters, self.loglik(*parameters)

    def _profile(self, ratio):
        weight = ratio / (1 + self.sizes * ratio)
        xvx = self.X.T @ self.X - (self.group_x * weight[:, None]).T @ self.group_x
        xvy = self.X.T @ self.y - (self.group_x * weight[:, None]).T @ self.group_y
        beta = np.linalg.solve(xvx, xvy)
        residual = self.y - self.X @ beta
        rss = residual @ residual - (weight * np.bincount(self.codes, residual) ** 2).sum()
        sigma2 = rss / len(self.y)
        return beta, ratio * sigma2, sigma2
