"""joint(match=): donors against dense computation, what imputed values keep, and messages."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from remlax.errors import ImputationError, ImputationWarning
from remlax.impute import JointPrior, JointResult, joint
from remlax.impute.joint_run import run_sweeps, start
from remlax.impute.kernels.matching import N_DONORS, nearest_donors
from remlax.impute.matched.donors import find_rows

Floats = npt.NDArray[np.float64]


def quiet(*args: Any, **kwargs: Any) -> JointResult:
    """Run joint without warnings about short chains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        return joint(*args, **kwargs)


def costs(n_clusters: int = 30, size: int = 8, seed: int = 0) -> pd.DataFrame:
    """Costs with a point mass at 0, a score from 0 to 10, complete z, and beds of the clusters, with missing cells."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_clusters), size)
    b, z = rng.normal(size=n_clusters), rng.normal(size=n_clusters * size)
    latent = 0.6 * z + 0.5 * b[g] + 0.6 * rng.normal(size=len(g))
    score = np.clip(np.round(5 + 3 * (latent + rng.normal(size=len(g)))), 0, 10)
    cost = np.where(latent < -0.3, 0.0, np.exp(latent))
    frame = pd.DataFrame({"g": g, "z": z, "cost": cost, "score": pd.array(score, "Int64"), "beds": np.exp(b)[g]})
    for name, share in (("cost", 0.3), ("score", 0.3)):
        frame.loc[rng.random(len(g)) < share, name] = None
    frame.loc[g % 5 == 0, "beds"] = np.nan
    return frame


MODEL: dict[str, Any] = {
    "level1": ["cost", "score"], "level2": ["beds"], "cluster": "g", "fixed": ["z"], "random": ["z"], "log": ["beds"],
    "match": ["cost", "score", "beds"], "burn": 40, "iter": 40, "seed": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return costs()


@pytest.fixture(scope="module")
def result(frame: pd.DataFrame) -> JointResult:
    return quiet(frame, m=2, **MODEL)


def dense_effects(model: Any, coef: Floats, coef2: Floats, residual: Floats, psi: Floats) -> Floats:
    """Mean of vec b given the observed cells of a cluster, from their joint normal distribution."""
    (n_clusters, _), r, q = model.upper.y.shape, model.lower.y.shape[1], model.random.x.shape[1]
    out = []
    for j in range(n_clusters):
        rows = np.flatnonzero(model.cluster == j)
        # targets one after the other: vec of (k, r) by columns
        load = np.kron(np.eye(r), model.random.x[rows])
        cross = np.concatenate([load @ psi[: r * q, : r * q], psi[r * q :, : r * q]])
        corner = load @ psi[: r * q, r * q :]
        rows_cov = load @ psi[: r * q, : r * q] @ load.T + np.kron(residual, np.eye(len(rows)))
        cov = np.block([[rows_cov, corner], [corner.T, psi[r * q :, r * q :]]])
        below = (model.lower.y[rows] - model.fixed.x[rows] @ coef).T.reshape(-1)
        gap = np.concatenate([below, model.upper.y[j] - model.upper_fixed.x[j] @ coef2])
        seen = ~np.isnan(gap)
        out.append(cross[seen].T @ np.linalg.solve(cov[np.ix_(seen, seen)], gap[seen]))
    return np.array(out).reshape(n_clusters, r, q)


def given_others(y: Floats, mean: Floats, cov: Floats, column: int) -> Floats:
    """Mean of a column given the others, by the regression on them."""
    others = [k for k in range(y.shape[1]) if k != column]
    slopes = np.linalg.solve(cov[np.ix_(others, others)], cov[others, column])
    return np.asarray(mean[:, column] + (y - mean)[:, others] @ slopes)


def test_donors_are_among_the_five_nearest_of_a_dense_computation(result: JointResult) -> None:
    model = result._model
    chains, draws = run_sweeps(start(model, 2, 0, JointPrior(), False, 5), 12, lambda _: None)
    found = find_rows(model, chains, draws)
    r, p, q, s = 2, 2, 2, 1
    size = r * q + s
    for k in range(2):
        state = jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), chains.joint)
        mean = draws[k].mean(axis=0)
        residual, psi = np.zeros((r, r)), np.zeros((size, size))
        residual[np.tril_indices(r)], psi[np.tril_indices(size)] = np.split(mean[p * r + s :], [3])
        residual, psi = (a + np.tril(a, -1).T for a in (residual, psi))
        coef, coef2 = mean[: p * r].reshape(r, p).T, mean[p * r : p * r + s].reshape(1, s)
        y = np.array(model.lower.y)
        y[chains.rows] = state.y[: len(chains.rows)]
        effects = dense_effects(model, coef, coef2, residual, psi)
        laws = []
        for b, own in ((effects, (coef, residual)), (state.random, (state.coef, state.residual[0]))):
            means = model.fixed.x @ own[0] + np.einsum("nrq,nq->nr", b[model.cluster], model.random.x)
            laws.append((means, own[1]))
        for column, name in enumerate(["cost", "score"]):
            gaps = np.isnan(model.lower.y[:, column])
            given, wanted = (given_others(y, *law, column) for law in laws)
            distance = np.where(gaps[None], np.inf, np.abs(wanted[:, None] - given[None]))
            fifth = np.sort(distance, axis=1)[:, N_DONORS - 1]
            donors = found[name][k]
            assert (distance[np.arange(len(y)), donors] <= fifth + 1e-6)[gaps].all()
            assert len(np.unique(donors[gaps])) > N_DONORS
            y[gaps, column] = y[donors[gaps], column]
        above = []
        for b, values, cov in ((effects, coef2, psi), (state.random, state.coef2, state.psi)):
            slope = np.linalg.solve(cov[: r * q, : r * q], cov[: r * q, r * q :])
            above.append((model.upper_fixed.x @ values + b.reshape(-1, r * q) @ slope)[:, 0])
        gaps = np.isnan(model.upper.y[:, 0])
        distance = np.where(gaps[None], np.inf, np.abs(above[1][:, None] - above[0][None]))
        donors = model.cluster[found["beds"][k][model.first_rows]]
        assert (distance[np.arange(len(gaps)), donors] <= np.sort(distance, axis=1)[:, N_DONORS - 1] + 1e-6)[gaps].all()


def test_all_five_donors_are_as_likely_and_equal_means_give_equal_chances() -> None:
    n, draws = 40, 4000
    given, gives = np.array([*range(20), *[1000] * 20], float), np.arange(n) % 2 == 0
    wanted = np.array([-50.0, 1000.0, *[7.2] * (n - 2)])
    with jax.enable_x64(True):
        keys, arrays = jax.random.split(jax.random.key(1), draws), [jnp.asarray(v) for v in (wanted, given, gives)]
        picks = np.asarray(jax.jit(jax.vmap(lambda key: nearest_donors(key, *arrays)))(keys))
    for row, expected in ((2, [4, 6, 8, 10, 12]), (0, [0, 2, 4, 6, 8])):
        values, counts = np.unique(picks[:, row], return_counts=True)
        assert values.tolist() == expected
        assert np.abs(counts / draws - 0.2).max() < 4 * np.sqrt(0.16 / draws)
    # ten donors have the same mean
    values, counts = np.unique(picks[:, 1], return_counts=True)
    assert values.tolist() == list(range(20, 40, 2))
    assert np.abs(counts / draws - 0.1).max() < 4 * np.sqrt(0.09 / draws)


def test_imputed_values_are_observed_ones_and_the_rest_stays(frame: pd.DataFrame, result: JointResult) -> None:
    for imputed in result.data.frames:
        assert imputed.dtypes.tolist() == frame.dtypes.tolist()
        for name in ("cost", "score", "beds"):
            gaps = frame[name].isna()
            assert imputed.loc[~gaps, name].equals(frame.loc[~gaps, name])
            assert set(imputed.loc[gaps, name]) <= set(frame.loc[~gaps, name])
        assert np.ptp(imputed["beds"].to_numpy().reshape(30, 8), axis=1).max() == 0.0


def test_only_matched_columns_change(frame: pd.DataFrame, result: JointResult) -> None:
    plain = quiet(frame, m=2, **MODEL | {"match": []})
    some = quiet(frame, m=2, **MODEL | {"match": ["cost"]})
    assert some.parameters.equals(plain.parameters)
    assert result.parameters.equals(plain.parameters)
    for a, b in zip(some.data.frames, plain.data.frames, strict=True):
        assert a["beds"].equals(b["beds"])
        assert a["score"].equals(b["score"])
        assert not a["cost"].equals(b["cost"])


def test_imputation_k_depends_on_the_seed_and_k_alone(frame: pd.DataFrame, result: JointResult) -> None:
    fewer = quiet(frame, m=1, **MODEL)
    assert all(a.equals(b) for a, b in zip(fewer.data.frames, result.data.frames[:1], strict=True))
    assert not fewer.data.frames[0].equals(quiet(frame, m=1, **MODEL | {"seed": 4}).data.frames[0])


def test_continued_chains_match_anew(frame: pd.DataFrame, result: JointResult) -> None:
    with pytest.warns(ImputationWarning, match="Rhat above"):
        further = result.continue_(more=20)
    assert further.n_sweeps == 100
    for old, new in zip(result.data.frames, further.data.frames, strict=True):
        gaps = frame["cost"].isna()
        assert set(new.loc[gaps, "cost"]) <= set(frame.loc[~gaps, "cost"])
        assert not old["cost"].equals(new["cost"])


@pytest.mark.slow
def test_levels_of_by_have_donors_of_their_own(frame: pd.DataFrame) -> None:
    halves = frame.assign(half=np.where(frame["g"] < 15, "a", "b")).drop(columns="beds")
    halves.loc[halves["half"] == "b", "cost"] += 100.0
    found = quiet(halves, m=2, **MODEL | {"level2": [], "log": [], "match": ["cost"], "by": "half"})
    for imputed in found.data.frames:
        assert (imputed.loc[halves["half"] == "a", "cost"] < 100.0).all()
        assert (imputed.loc[halves["half"] == "b", "cost"] >= 100.0).all()


@pytest.mark.slow
def test_zeros_and_associations_are_kept() -> None:
    complete = costs(80, 10, 1)
    rng = np.random.default_rng(2)
    b, z = rng.normal(size=80)[complete["g"]], complete["z"].to_numpy()
    latent = 0.6 * z + 0.5 * b + 0.6 * rng.normal(size=800)
    complete = complete[["g", "z"]].assign(cost=np.where(latent < -0.3, 0.0, np.exp(latent)))
    complete["score"] = 2.0 * latent + rng.normal(size=800)
    lost = complete.copy()
    lost.loc[rng.permutation(800)[:240], "cost"] = np.nan
    lost.loc[rng.permutation(800)[:240], "score"] = np.nan
    call: dict[str, Any] = {"cluster": "g", "m": 10, "burn": 100, "iter": 100, "seed": 1}

    def described(data: list[pd.DataFrame]) -> list[float]:
        return np.mean([[(d["cost"] <= 0).mean(), d["cost"].corr(d["score"])] for d in data], axis=0).tolist()

    zeros, correlation = described([complete])
    matched = described(list(quiet(lost, match=["cost", "score"], **call).data.frames))
    plain = described(list(quiet(lost, **call).data.frames))
    # three standard errors of a share and of a correlation of 240 of 800 rows, had they been observed
    assert abs(matched[0] - zeros) < 3 * np.sqrt(zeros * (1 - zeros) / 240) * 0.3
    assert abs(plain[0] - zeros) > abs(matched[0] - zeros)
    assert abs(matched[1] - correlation) < 3 * (1 - correlation**2) / np.sqrt(400)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"match": ["zz"]}, "match= names 'zz'"),
        ({"match": ["z"]}, "match= names 'z', which is not a target of the imputation model"),
        (
            {"match": ["score"], "ordinal": ["score"]},
            "match= names 'score', a categorical target, whose imputed values",
        ),
        ({"match": ["cost"], "residual": "cluster"}, "match= cannot be combined with residual='cluster'"),
        (
            {"match": ["cost"], "level1": ["cost"], "random": [], "compatible_with": "score ~ cost * z + (1 | g)"},
            "match= cannot be combined with compatible_with=",
        ),
        ({"match": ["cost"], "cluster": ["h", "g"]}, "match= cannot be combined with two columns in cluster="),
        ({"match": ["few"], "level1": ["cost", "few"]}, "match= names 'few', which has 4 observed values"),
    ],
)
def test_errors_say_what_and_where(frame: pd.DataFrame, change: dict[str, Any], message: str) -> None:
    few = np.where(np.arange(len(frame)) < 4, np.arange(len(frame)) * 1.0, np.nan)
    data = frame.assign(h=frame["g"] // 5, few=few)
    with pytest.raises(ImputationError, match=message):
        joint(data, **MODEL | {"level2": [], "log": []} | change)
