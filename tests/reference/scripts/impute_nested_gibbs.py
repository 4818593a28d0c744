"""Posterior of the model "levels" of impute_nested.R by a plain Gibbs sampler: impute/joint_nested_gibbs.json.

``python scripts/impute_nested_gibbs.py`` in this folder's parent; five minutes. NumPy alone, one conditional distribution
after the other, as JAGS has them: random effects of classes and schools are centred at the level above, B is drawn given
them. 300 chains of 3,000 sweeps after 300; Monte Carlo errors from the means of the chains.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

CHAINS, BURN, SWEEPS, SEED = 300, 300, 3000, 1

rng = np.random.default_rng(SEED)
normal = rng.standard_normal
frame = pd.read_csv("impute/joint_nested.csv")
school, z = frame["school"].to_numpy(), frame["z"].to_numpy()
klass = pd.factorize(pd.MultiIndex.from_frame(frame[["school", "cls"]]))[0]
N, J, K = len(frame), klass.max() + 1, school.max() + 1
parent = school[np.unique(klass, return_index=True)[1]]
# four pupils in a class, four classes in a school, in order
assert (np.bincount(klass) == 4).all() and (np.diff(klass) >= 0).all()
assert (np.bincount(parent) == 4).all() and (np.diff(parent) >= 0).all()
w, t = frame["w"].to_numpy()[::4], frame["t"].to_numpy()[::16]
w_seen, w_gone = np.flatnonzero(~np.isnan(w)), np.flatnonzero(np.isnan(w))
t_seen, t_gone = np.flatnonzero(~np.isnan(t)), np.flatnonzero(np.isnan(t))
observed = frame[["y", "x"]].to_numpy()
gone = np.isnan(observed)


def inverse_wishart(df: int, scale: np.ndarray) -> np.ndarray:
    """One covariance for each scale matrix (C, p, p), from Bartlett's factor of the precision."""
    p = scale.shape[-1]
    factor = np.zeros(scale.shape)
    for i in range(p):
        factor[:, i, i] = np.sqrt(rng.chisquare(df - i, len(scale)))
        for j in range(i):
            factor[:, i, j] = normal(len(scale))
    root = np.linalg.cholesky(np.linalg.inv(scale)) @ factor
    return np.linalg.inv(root @ root.transpose(0, 2, 1))


def drawn(precision: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Normals with precision P (C, p, p) and means P^-1 linear, linear (C, n, p)."""
    cov = np.linalg.inv(precision)
    return linear @ cov + normal(linear.shape) @ np.linalg.cholesky(cov).transpose(0, 2, 1)


def drawn_but_last(precision: np.ndarray, linear: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The same given the last coordinate (n,)."""
    rest = linear[:, :, :-1] - last[None, :, None] * precision[:, None, :-1, -1]
    found = drawn(precision[:, :-1, :-1], rest)
    return np.concatenate([found, np.broadcast_to(last[None, :, None], (*found.shape[:2], 1))], axis=-1)


def lower(cov: np.ndarray) -> np.ndarray:
    return cov[:, *np.tril_indices(cov.shape[-1])]


def crossed(residuals: np.ndarray) -> np.ndarray:
    return residuals.transpose(0, 2, 1) @ residuals


yx = np.where(gone, 0.0, observed)[None].repeat(CHAINS, 0)
yx[:, gone] = normal((CHAINS, int(gone.sum())))
bw, act = 0.5 * normal((CHAINS, J, 3)), 0.5 * normal((CHAINS, K, 4))
bw[:, w_seen, 2], act[:, t_seen, 3] = w[w_seen], t[t_seen]
mean, slope = np.zeros((CHAINS, 4)), np.zeros((CHAINS, 2))
spread = np.exp(rng.uniform(-1, 1, CHAINS))[:, None, None]
s1, s2, s3 = spread * np.eye(2), 0.5 * spread * np.eye(3), 0.5 * spread * np.eye(4)
total, squares = np.zeros((CHAINS, 25)), np.zeros((CHAINS, 25))

for sweep in range(BURN + SWEEPS):
    of_z = slope[:, None, :] * z[None, :, None]
    centre = bw[:, klass, :2] + of_z
    both = np.flatnonzero(gone.all(axis=1))
    yx[:, both] = centre[:, both] + normal((CHAINS, len(both), 2)) @ np.linalg.cholesky(s1).transpose(0, 2, 1)
    for lost, seen in ((0, 1), (1, 0)):
        rows = np.flatnonzero(gone[:, lost] & ~gone[:, seen])
        gain = (s1[:, 0, 1] / s1[:, seen, seen])[:, None]
        sd = np.sqrt(s1[:, lost, lost] - gain[:, 0] * s1[:, 0, 1])[:, None]
        gap = yx[:, rows, seen] - centre[:, rows, seen]
        yx[:, rows, lost] = centre[:, rows, lost] + gain * gap + sd * normal((CHAINS, len(rows)))
    p1, p2, p3 = map(np.linalg.inv, (s1, s2, s3))
    precision = p2.copy()
    precision[:, :2, :2] += 4 * p1
    linear = act[:, parent, :3] @ p2
    linear[:, :, :2] += (yx - of_z).reshape(CHAINS, J, 4, 2).sum(axis=2) @ p1
    bw[:, w_gone] = drawn(precision, linear[:, w_gone])
    bw[:, w_seen] = drawn_but_last(precision, linear[:, w_seen], w[w_seen])
    precision = p3.copy()
    precision[:, :3, :3] += 4 * p2
    linear = np.repeat(mean[:, None] @ p3, K, axis=1)
    linear[:, :, :3] += bw.reshape(CHAINS, K, 4, 3).sum(axis=2) @ p2
    act[:, t_gone] = drawn(precision, linear[:, t_gone])
    act[:, t_seen] = drawn_but_last(precision, linear[:, t_seen], t[t_seen])
    mean = act.mean(axis=1) + (np.linalg.cholesky(s3 / K) @ normal((CHAINS, 4, 1)))[:, :, 0]
    residual = yx - bw[:, klass, :2]
    noise = (np.linalg.cholesky(s1 / (z @ z)) @ normal((CHAINS, 2, 1)))[:, :, 0]
    slope = np.einsum("cnk,n->ck", residual, z) / (z @ z) + noise
    s1 = inverse_wishart(2 + N, np.eye(2) + crossed(residual - slope[:, None, :] * z[None, :, None]))
    s2 = inverse_wishart(3 + J, np.eye(3) + crossed(bw - act[:, parent, :3]))
    s3 = inverse_wishart(4 + K, np.eye(4) + crossed(act - mean[:, None]))
    if sweep >= BURN:
        first = [mean[:, :1], slope[:, :1], mean[:, 1:2], slope[:, 1:], mean[:, 2:3], lower(s1), lower(s2)]
        row = np.concatenate([*first, mean[:, 3:], lower(s3)], axis=1)
        total, squares = total + row, squares + row**2

chains = total / SWEEPS
means = chains.mean(axis=0)
numbers = {
    "numpy": np.__version__,
    "mean": means.tolist(),
    "sd": np.sqrt(squares.mean(axis=0) / SWEEPS - means**2).tolist(),
    "mcse": (chains.std(axis=0, ddof=1) / np.sqrt(CHAINS)).tolist(),
}
with open("impute/joint_nested_gibbs.json", "w", encoding="utf-8") as file:
    json.dump(numbers, file, indent=1)
    file.write("\n")
