"""Amputation: calibration, realised proportions, mechanisms against closed forms, multilevel variants, drop-out.

Statistics of independent replications are compared with their expectation within 4 Monte Carlo standard
errors, proportions within 3; seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

from remlax.errors import DataError, SimulationError
from remlax.simulation.amputation import ampute, drop_out
from remlax.simulation.ampute import TYPES, AmputeSpec, ampute_arrays, missing_probabilities
from remlax.simulation.keys import Stream, keys
from remlax.simulation.mechanisms import Amputation, DropOut, Mechanism, Stack, mask_of

NODES, HERMITE = np.polynomial.hermite_e.hermegauss(120)
NORMAL = HERMITE / math.sqrt(2 * math.pi)  # sum(NORMAL * f(NODES)) = E f(z), z ~ N(0, 1)
SHAPES = {
    "RIGHT": lambda z: z,
    "LEFT": lambda z: -z,
    "MID": lambda z: 0.75 - np.abs(z),
    "TAIL": lambda z: np.abs(z) - 0.75,
}


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def close(per_replication: np.ndarray, expected: float, errors: float = 4.0) -> None:
    error = per_replication.std(ddof=1) / math.sqrt(len(per_replication))
    assert abs(per_replication.mean() - expected) < errors * error, (per_replication.mean(), expected, error)


def stack(columns: dict[str, np.ndarray], rows: np.ndarray | None = None, **codes: np.ndarray) -> Stack:
    shape = next(iter(columns.values())).shape
    return Stack(
        {name: jnp.asarray(x) for name, x in columns.items()},
        {name: jnp.asarray(np.broadcast_to(x, shape), dtype=jnp.int32) for name, x in codes.items()},
        {name: int(np.max(x)) + 1 for name, x in codes.items()},
        jnp.ones(shape, dtype=bool) if rows is None else jnp.asarray(np.broadcast_to(rows, shape)),
    )


def masks(mechanism: Mechanism, data: Stack, seed: int = 3) -> dict[str, np.ndarray]:
    made = keys(seed, "0" * 16, range(data.rows.shape[0]), Stream.AMPUTATION)
    return {name: np.asarray(mask) for name, mask in mechanism.masks(made, data).items()}


def spec(kind: str = "RIGHT", prop: float = 0.3, weights: object = ((1.0, 0.0),), odds: object = None) -> AmputeSpec:
    weights = jnp.asarray(weights)
    patterns = weights.shape[0]
    return AmputeSpec(
        jnp.asarray(prop),
        jnp.asarray(np.eye(weights.shape[1])[-patterns:] > 0),
        jnp.full(patterns, 1 / patterns),
        weights,
        jnp.full(patterns, TYPES.index(kind)),
        jnp.asarray(odds) if odds is not None else jnp.ones((patterns, 1)),
        jnp.full(patterns, 1 if odds is None else len(odds[0]), dtype=jnp.int32),  # type: ignore[arg-type]
        odds is not None,
    )


probabilities = jax.jit(missing_probabilities)


def numpy_scores(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    z = (x - x.mean(0)) / x.std(0, ddof=1)
    score = z @ weights
    return (score - score.mean()) / score.std(ddof=1)


@pytest.mark.parametrize("prop", [0.02, 0.3, 0.95])
@pytest.mark.parametrize("kind", SHAPES)
def test_probabilities_are_the_calibrated_logistic_curve(kind: str, prop: float) -> None:
    rng = np.random.default_rng(8)
    x = np.column_stack([rng.gamma(0.7, size=200), rng.poisson(1.0, 200), rng.normal(size=200)])
    weights = np.array([1.0, -0.5, 2.0])
    found = np.asarray(
        probabilities(
            jnp.asarray(x), jnp.zeros(200, dtype=jnp.int32), spec(kind, prop, weights[None]), rows=jnp.ones(200, bool)
        )
    )
    logit = SHAPES[kind](numpy_scores(x, weights))
    b = optimize.brentq(lambda b: special.expit(logit + b).mean() - prop, -50, 50, xtol=1e-14)
    np.testing.assert_allclose(found, special.expit(logit + b), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["FLAT", *SHAPES])
def test_calibration_is_exact_for_every_pattern_on_awkward_scores(kind: str) -> None:
    rng = np.random.default_rng(2)
    n = 150
    x = np.column_stack([rng.standard_t(1.5, n), rng.integers(0, 2, n), np.full(n, 7.0)])  # heavy, binary, constant
    pattern = rng.integers(0, 3, n)
    rows = rng.uniform(size=n) < 0.8
    two = spec(kind, 0.4, [[1.0, 0.3, 5.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    p = np.asarray(
        probabilities(
            jnp.asarray(x), jnp.asarray(pattern), two, rows=jnp.asarray(rows), offset=jnp.asarray(rng.normal(size=n))
        )
    )
    assert (p[~rows] == 0).all()
    for k in range(3):
        assert p[rows & (pattern == k)].mean() == pytest.approx(0.4, rel=1e-12)


def test_nothing_and_everything_can_be_made_missing() -> None:
    x = jax.random.normal(jax.random.key(0), (1000, 2))
    function = jax.jit(ampute_arrays)
    for prop in (0.0, 1.0):
        incomplete, mask = function(jax.random.key(1), x, spec("RIGHT", prop))
        assert mask[:, 1].mean() == prop
        assert not mask[:, 0].any()
        np.testing.assert_array_equal(jnp.isnan(incomplete), mask)


def test_odds_by_quantile_group() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 1))
    odds = [[1.0, 2.0, 0.0, 5.0]]
    p = np.asarray(
        probabilities(
            jnp.asarray(x),
            jnp.zeros(400, dtype=jnp.int32),
            spec("RIGHT", 0.35, [[1.0]], odds),
            rows=jnp.ones(400, bool),
        )
    )
    quarter = np.argsort(np.argsort(x[:, 0])) // 100
    np.testing.assert_allclose(p, np.array(odds[0])[quarter] * 0.35 * 4 / 8, rtol=1e-10)
    # where a group would need more than probability 1 the others make up for it
    p = probabilities(
        jnp.asarray(x), jnp.zeros(400, dtype=jnp.int32), spec("RIGHT", 0.6, [[1.0]], odds), rows=jnp.ones(400, bool)
    )
    np.testing.assert_allclose(
        [float(p[quarter == k].mean()) for k in range(4)], [7 / 15, 14 / 15, 0, 1], rtol=1e-10
    )  # 1 c + 2 c + 1 = 4 * .6, c = 7 / 15


@pytest.mark.parametrize("kind", SHAPES)
def test_mechanism_moments_are_those_of_the_logistic_curve_on_a_normal_score(kind: str) -> None:
    prop = 0.3
    z, x, w = np.random.default_rng(1).normal(size=(3, 300, 1000))
    settings = Amputation(prop, [["x"]], weights={"z": 1}, types=kind)  # type: ignore[arg-type]
    found = masks(settings, stack({"z": z, "x": x, "w": w}))["x"]
    b = optimize.brentq(lambda b: NORMAL @ special.expit(SHAPES[kind](NODES) + b) - prop, -9, 9)
    p = special.expit(SHAPES[kind](NODES) + b)
    close(found.mean(1), prop, 3.0)
    score = (z - z.mean(1, keepdims=True)) / z.std(1, ddof=1, keepdims=True)
    for power in (1, 2):
        # the curve has a kink for MID and TAIL: Gauss-Hermite with 120 nodes is good to 1e-3 there
        close((score**power * found).mean(1), float(NORMAL @ (p * NODES**power)))


def test_mar_is_independent_of_the_missing_value_given_the_score_and_mnar_is_not() -> None:
    rng = np.random.default_rng(6)
    z = rng.normal(size=(400, 240))
    x = 0.8 * z + 0.6 * rng.normal(size=z.shape)
    data = stack({"z": z, "x": x, "w": rng.normal(size=z.shape)})
    score = np.array([numpy_scores(row[:, None], np.ones(1)) for row in z])
    b = [optimize.brentq(lambda b, s=s: special.expit(s + b).mean() - 0.4, -9, 9) for s in score]
    p = special.expit(score + np.array(b)[:, None])
    mar = masks(Amputation(0.4, [["x"]], weights={"z": 1}), data)["x"]
    close(((mar - p) * x).mean(1), 0.0)
    assert ((mar - 0.4) * x).mean() > 0.05  # but not independent of it marginally
    mnar = masks(Amputation(0.4, [["x"]], mechanism="MNAR"), data)["x"]
    left = ((mnar - p) * (x - 0.8 * z)).mean(1)
    assert left.mean() > 20 * left.std() / 20  # 20 standard errors (sqrt(400) = 20)


def test_mcar_is_independent_of_everything() -> None:
    rng = np.random.default_rng(7)
    z, w = rng.normal(size=(2, 400, 240))
    data = stack({"z": z, "x": rng.gamma(1.0, size=z.shape), "w": w})
    found = masks(Amputation(0.25, [["x"], ["z"]], mechanism="MCAR", freq=[3, 1]), data)
    close(found["x"].mean(1), 0.25 * 0.75, 3.0)
    close(found["z"].mean(1), 0.25 * 0.25, 3.0)
    for name in ("x", "z"):
        for column in ("x", "z"):
            value = np.asarray(data.columns[column])
            close(((found[name] - found[name].mean()) * (value - value.mean())).mean(1), 0.0)
    # the two halves of a data set know nothing of each other
    close((found["x"][:, :120] * found["x"][:, 120:]).mean(1), (0.25 * 0.75) ** 2)


def test_frequencies_patterns_and_shares_of_cells() -> None:
    rng = np.random.default_rng(3)
    data = stack({name: rng.normal(size=(400, 240)) for name in "abcd"})
    patterns = [["a"], ["a", "b"], ["b", "c", "d"]]
    found = masks(Amputation(0.5, patterns, freq=[1, 2, 2]), data)
    a, b, c, d = (found[name] for name in "abcd")
    close((a | b | c | d).mean(1), 0.5, 3.0)
    close((a & ~b).mean(1), 0.1, 3.0)
    close((a & b).mean(1), 0.2, 3.0)
    close((b & c & d & ~a).mean(1), 0.2, 3.0)
    assert not (c != d).any()
    cells = masks(Amputation(0.3, patterns, freq=[1, 2, 2], by_cases=False), data)
    close(np.mean([cells[name].mean(1) for name in "abcd"], axis=0), 0.3, 3.0)


CODE = np.repeat(np.arange(30), 8)


def clusters(seed: int, replications: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R, 240) z with ICC 1/2, a level-2 w, and cluster means of z."""
    rng = np.random.default_rng(seed)
    between, w = rng.normal(size=(2, replications, 30))[:, :, CODE]
    z = between + rng.normal(size=between.shape)
    return z, w, z.reshape(-1, 30, 8).mean(2)[:, CODE]


def test_score_of_cluster_means_and_of_deviations() -> None:
    z, w, mean = clusters(1)
    data = stack({"z": z, "x": z, "w": w}, g=CODE)

    def standard(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(1, keepdims=True)) / x.std(1, ddof=1, keepdims=True)

    for settings, score in (
        ({"weights": {"z": 1}, "between": {"z": 0}}, z - mean),
        ({"weights": {"z": 0}, "between": {"z": 1}}, mean),
        # the deviations of a level-2 column count 0
        ({"weights": {"z": 1, "w": 9}, "between": {"z": 2}}, standard(z - mean) + 2 * standard(mean)),
    ):
        found = masks(Amputation(0.4, [["x"]], cluster="g", **settings), data)["x"]  # type: ignore[arg-type]
        scores = standard(score)
        b = [optimize.brentq(lambda b, s=s: special.expit(s + b).mean() - 0.4, -20, 20) for s in scores]
        p = special.expit(scores + np.array(b)[:, None])
        close(found.mean(1), 0.4, 3.0)
        for statistic in (z, mean, z - mean, p):
            close(((found - p) * statistic).mean(1), 0.0)
        assert np.abs(((found - 0.4) * p).mean(1)).mean() > 0.01


def test_cluster_effects_spread_the_shares_of_clusters() -> None:
    z, w, _ = clusters(4)
    settings = Amputation(0.3, [["x"]], mechanism="MCAR", cluster="g", cluster_sd=1.5)
    found = masks(settings, stack({"z": z, "x": z, "w": w}, g=CODE))["x"]
    close(found.mean(1), 0.3, 3.0)
    b = optimize.brentq(lambda b: NORMAL @ special.expit(1.5 * NODES + b) - 0.3, -9, 9)
    both = float(NORMAL @ special.expit(1.5 * NODES + b) ** 2)  # two rows of one cluster
    pairs = found.reshape(400, 30, 8)
    observed = (pairs[:, :, 0] * pairs[:, :, 1]).mean(1)
    # calibrated on 30 clusters instead of their law, the products keep (1 - 1/30) of their excess over .3 **
    # 2
    assert abs(observed.mean() - both) < 4 * observed.std() / 20 + (both - 0.09) / 30
    assert observed.mean() - 0.09 > 20 * observed.std() / 20


def test_level_2_variables_and_whole_clusters_go_missing_by_cluster() -> None:
    z, w, mean = clusters(9)
    data = stack({"z": z, "x": z, "w": w}, g=CODE)
    found = masks(Amputation(0.4, [["w"]], weights={"z": 1}, cluster="g", level2=True), data)
    assert list(found) == ["w"]
    by_cluster = found["w"].reshape(400, 30, 8)
    assert (by_cluster == by_cluster[:, :, :1]).all()
    close(found["w"].mean(1), 0.4, 3.0)
    score = np.array([numpy_scores(row[:, None], np.ones(1)) for row in mean[:, ::8]])
    b = [optimize.brentq(lambda b, s=s: special.expit(s + b).mean() - 0.4, -9, 9) for s in score]
    p = special.expit(score + np.array(b)[:, None])
    close(((by_cluster[:, :, 0] - p) * score).mean(1), 0.0)
    dropped = masks(Amputation(0.2, [["z", "w"]], mechanism="MNAR", cluster="g", level2=True), data)
    np.testing.assert_array_equal(dropped["z"], dropped["w"])
    close(dropped["z"].mean(1), 0.2, 3.0)


def test_rows_of_padding_are_no_candidates() -> None:
    z, w, _ = clusters(4)
    rows = np.tile(np.arange(8) < 6, 30) & (CODE < 27)
    data = stack({"z": np.where(rows, z, 1e6), "x": np.where(rows, z, -1e6), "w": w}, rows, g=CODE)
    for settings in ({}, {"weights": {"z": 1}, "between": {"z": 1}}, {"level2": True}):
        found = masks(Amputation(0.4, [["x"]], cluster="g", **settings), data)["x"]  # type: ignore[arg-type]
        assert not found[:, ~rows].any()
        close(found[:, rows].mean(1), 0.4, 3.0)


def longitudinal(replications: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    subject, time = np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40)
    order = rng.permutation(200)
    y = rng.normal(size=(replications, 40)).repeat(5, axis=1) + rng.normal(size=(replications, 200))
    return subject[order], time[order], y


def by_subject(x: np.ndarray, subject: np.ndarray, time: np.ndarray) -> np.ndarray:
    """(R, 40, 5) in order of time."""
    return x[:, np.lexsort((time, subject))].reshape(-1, 40, 5)


@pytest.mark.parametrize("mechanism", ["MCAR", "MAR", "MNAR"])
def test_drop_out_is_monotone_and_follows_its_hazard(mechanism: str) -> None:
    subject, time, y = longitudinal(300, 5)
    data = stack({"y": y, "time": np.broadcast_to(time * 1.0, y.shape)}, id=subject)
    settings = DropOut(0.6, ["y"], "id", "time", mechanism, types="LEFT")  # type: ignore[arg-type]
    lost = by_subject(masks(settings, data)["y"], subject, time)
    assert not lost[:, :, 0].any()
    assert (lost[:, :, 1:] >= lost[:, :, :-1]).all()
    close(lost[:, :, -1].mean(1), 0.6, 3.0)
    values = by_subject(y, subject, time)
    if mechanism == "MCAR":
        for occasion in (1, 2, 3):
            close(lost[:, :, occasion].mean(1), 1 - 0.4 ** (occasion / 4))
        return
    scored = values[:, :, :-1] if mechanism == "MAR" else values[:, :, 1:]
    residual = []
    for one, gone in zip(scored, lost, strict=True):
        logit = -(one - one.mean()) / one.std(ddof=1)
        b = optimize.brentq(lambda b, f=logit: 1 - special.expit(-f - b).prod(1).mean() - 0.6, -20, 20)
        there = ~gone[:, :-1]  # at risk of leaving at the next occasion
        residual.append(((gone[:, 1:] - special.expit(logit + b)) * one)[there].mean())
    close(np.array(residual), 0.0)
    assert ((lost[:, :, 1] - lost[:, :, 1].mean()) * scored[:, :, 0]).mean() < -0.02  # low values leave


def test_drop_out_with_padding_and_unequal_series() -> None:
    subject, time, y = longitudinal(300, 6)
    rows = ~((subject % 4 == 0) & (time >= 2)) & ~((subject == 7) & (time >= 1))
    data = stack({"y": np.where(rows, y, 1e9), "time": np.broadcast_to(time * 1.0, y.shape)}, rows, id=subject)
    lost = masks(DropOut(0.5, ["y"], "id", "time"), data)["y"]
    assert not lost[:, ~rows].any()
    gone = by_subject(lost, subject, time).any(2)
    assert not gone[:, 7].any()  # a single occasion is never lost
    close(np.delete(gone, 7, axis=1).mean(1), 0.5, 3.0)


def test_masks_do_not_depend_on_chunks_and_mechanisms_have_keys_of_their_own() -> None:
    z, w, _ = clusters(1, 28)
    data = stack({"z": z, "x": z, "w": w}, g=CODE)
    both = [Amputation(0.4, [["x"]], mechanism="MCAR", cluster="g", cluster_sd=1.0)] * 2
    made = keys(3, "0" * 16, range(28), Stream.AMPUTATION)
    whole = np.asarray(mask_of(both, made, data)["x"])
    for size in (1, 7):
        for i in range(0, 28, size):
            part = Stack(
                {name: np.asarray(x)[i : i + size] for name, x in data.columns.items()},
                {"g": np.asarray(data.codes["g"])[i : i + size]},
                data.levels,
                np.asarray(data.rows)[i : i + size],
            )
            own = keys(3, "0" * 16, range(i, i + size), Stream.AMPUTATION)
            np.testing.assert_array_equal(mask_of(both, own, part)["x"], whole[i : i + size])
    close(whole.mean(1), 1 - 0.6**2)  # union of two independent amputations


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(12)
    return pd.DataFrame(
        {
            "school": np.repeat(list("abcdefghij"), 30),
            "y": rng.normal(size=300),
            "x": rng.integers(0, 9, 300),
            "sex": rng.choice(["f", "m"], 300),
            "yes": rng.uniform(size=300) < 0.5,
        },
        index=np.arange(300) * 2 + 5,
    )


def test_ampute_a_frame() -> None:
    before = frame()
    kept = before.copy()
    result = ampute(before, 0.5, [["x", "sex"]], weights={"y": 1, "yes": 1}, seed=4)
    pd.testing.assert_frame_equal(before, kept)
    assert result.complete is before
    assert result.data.index.equals(before.index)
    assert list(result.data) == list(before)
    pd.testing.assert_frame_equal(result.data.isna(), result.mask)
    assert result.mask["x"].equals(result.mask["sex"].rename("x"))
    assert abs(result.mask["x"].mean() - 0.5) < 3 * math.sqrt(0.25 / 300)
    for name in before:
        seen = ~result.mask[name]
        assert (result.data[name][seen] == before[name][seen]).all()
    pd.testing.assert_frame_equal(
        ampute(before, 0.5, [["x", "sex"]], weights={"y": 1, "yes": 1}, seed=4).mask, result.mask
    )
    assert not ampute(before, 0.5, [["x", "sex"]], weights={"y": 1, "yes": 1}, seed=5).mask.equals(result.mask)
    with jax.enable_x64(False):
        again = ampute(before, 0.5, [["x", "sex"]], weights={"y": 1, "yes": 1}, seed=4)
        assert again.mask.equals(result.mask)
        assert jnp.ones(1).dtype == jnp.float32


def test_amputations_of_one_frame_can_be_joined() -> None:
    whole = frame()
    rows = ampute(whole, 0.3, [["x"]], weights={"y": 1.0}, seed=1)
    schools = ampute(whole, 0.3, [["yes"]], weights={"y": 1.0}, cluster="school", level2=True, seed=2)
    both = rows.also(schools)
    pd.testing.assert_frame_equal(both.mask, rows.mask | schools.mask)
    pd.testing.assert_frame_equal(both.data.isna(), both.mask)
    assert both.mask.groupby(whole["school"])["yes"].nunique().max() == 1
    with pytest.raises(SimulationError, match="one and the same complete frame"):
        rows.also(ampute(whole.iloc[:-1], 0.3, [["x"]], weights={"y": 1.0}, seed=1))


def test_drop_out_of_a_frame_in_any_order() -> None:
    subject, time, y = longitudinal(1, 8)
    data = pd.DataFrame({"id": [f"s{i}" for i in subject], "time": time, "y": y[0]})
    result = drop_out(data, 0.5, ["y"], subject="id", time="time", seed=6)
    ordered = result.mask.assign(id=data["id"], time=data["time"]).sort_values(["id", "time"])
    assert ordered.groupby("id")["y"].is_monotonic_increasing.all()
    assert 0 < result.mask["y"].mean() < 0.6
    assert not result.mask["time"].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: ampute(f, 1.5, seed=1), "prop=1.5 must lie"),
        (lambda f: ampute(f, 0.5, [["nope"]], seed=1), "patterns= has"),
        (lambda f: ampute(f, 0.5, ["x"], seed=1), "a pattern of patterns must be a list of texts"),
        (lambda f: ampute(f, 0.5, [["x"]], freq=[1, 1], seed=1), "freq= needs 1 numbers"),
        (lambda f: ampute(f, 0.5, [["x"]], weights={"x": 1}, seed=1), "mechanism='MNAR'"),
        (lambda f: ampute(f, 0.5, [["x"]], weights={"y": 0}, seed=1), "a column with a weight other than 0"),
        (lambda f: ampute(f, 0.5, [["x"]], weights={"why": 1}, seed=1), "weights= has"),
        (lambda f: ampute(f, 0.5, [["x"]], weights=[{"y": 1}, {"y": 1}], seed=1), "2 mappings for 1 patterns"),
        (lambda f: ampute(f, 0.5, [["x"]], mechanism="MCAR", weights={"y": 1}, seed=1), "MCAR depends on nothing"),
        (
            lambda f: ampute(f, 0.5, [["x"]], mechanism="MARS", seed=1),
            "mechanism='MARS' is not known: use 'MCAR', 'MAR' or 'MNAR'",
        ),
        (lambda f: ampute(f, 0.5, [["x"]], weights={"y": 1}, types="UP", seed=1), "types= needs"),
        (lambda f: ampute(f, 0.5, [["x"]], weights={"y": 1}, odds=[[0, 0, 1]], seed=1), "cannot be reached"),
        (lambda f: ampute(f, 0.5, [["x"]], weights={"y": 1}, odds=[[0, 0]], seed=1), "odds= needs 1 lists"),
        (lambda f: ampute(f, 0.5, [["x"]], weights={"y": 1}, by_cases=False, seed=1), "of the cells cannot be"),
        (lambda f: ampute(f, 0.5, [["x"]], between={"y": 1}, seed=1), "need cluster="),
        (lambda f: ampute(f, 0.5, [["x"]], cluster="class", seed=1), "no column 'class'"),
        (lambda f: ampute(f, 0.5, [["x"]], cluster="school", level2=True, cluster_sd=1, seed=1), "leave out between"),
        (lambda f: drop_out(f, 0.5, ["y"], subject="school", time="when", seed=1), "'when'; the data have"),
        (lambda f: drop_out(f, -0.5, ["y"], subject="school", time="x", seed=1), "prop=-0.5 must lie"),
    ],
)
def test_mistakes_in_settings_are_named(call: object, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        call(frame())  # type: ignore[operator]


def test_mistakes_in_data_are_named() -> None:
    with pytest.raises(DataError, match=r"Column 'school', 'sex' is not numeric"):
        ampute(frame(), 0.5, [["x"]], seed=1)
    with pytest.raises(DataError, match="'y' has 1 missing cells"):
        ampute(frame().assign(y=[math.nan] + [0.0] * 299), 0.5, [["x"]], seed=1)
