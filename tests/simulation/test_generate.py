"""Moments of generated multilevel data against closed forms, layouts, padding and reproducibility.

Replications are independent, so the mean of a statistic over R replications has the Monte Carlo error sd /
sqrt(R), measured from the same replications. Seeds are fixed; 4 standard errors are allowed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from remlax.engine.programs import PROGRAMS
from remlax.errors import SimulationError
from remlax.simulation.design import Covariate, Distribution, Drawn, Factor, MultilevelDesign, RandomTerm
from remlax.simulation.from_formula import design_from_formula
from remlax.simulation.generate import SimulatedData, frames, generate_batch, simulate_frames
from remlax.simulation.keys import Stream, keys

TWO_LEVELS = MultilevelDesign(
    factors=[Factor("school", 40)],
    size=6,
    beta={"1": 2.0, "x": 0.5, "w": -1.0, "x:w": 0.3},
    random=[RandomTerm("school", {"1": 0.8, "x": 0.4}, correlation=-0.5)],
    sigma=1.5,
    covariates=[
        Covariate("x", mean=1.0, sd=2.0, icc={"school": 0.3}),
        Covariate("w", level="school", mean=0.5, sd=0.7),
    ],
)


def draw(design: MultilevelDesign, replications: int, seed: int = 11) -> SimulatedData:
    with jax.enable_x64(True):
        data = generate_batch(keys(seed, "0" * 16, range(replications), Stream.DATA), design)
        return jax.tree.map(np.asarray, data)


def close(per_replication: np.ndarray, expected: float, label: str = "") -> None:
    error = per_replication.std(ddof=1) / math.sqrt(len(per_replication))
    assert abs(per_replication.mean() - expected) < 4 * error, (
        label,
        per_replication.mean(),
        expected,
        error,
    )


@pytest.fixture(scope="module")
def two_levels() -> SimulatedData:
    return draw(TWO_LEVELS, 2000)


def test_covariates_have_their_mean_sd_and_intraclass_correlation(two_levels: SimulatedData) -> None:
    x = two_levels.columns["x"].reshape(2000, 40, 6)
    close(x.mean((1, 2)), 1.0)
    close(((x - 1) ** 2).mean((1, 2)), 4.0)
    close(((x[:, :, 0] - 1) * (x[:, :, 1] - 1)).mean(1), 0.3 * 4.0)
    close(((x[:, 0] - 1) * (x[:, 1] - 1)).mean(1), 0.0)
    w = two_levels.columns["w"].reshape(2000, 40, 6)
    assert (w == w[:, :, :1]).all()
    close(((w[:, :, 0] - 0.5) ** 2).mean(1), 0.49)
    close(((x[:, :, 0] - 1) * (w[:, :, 0] - 0.5)).mean(1), 0.0)


def test_random_effects_have_their_covariance(two_levels: SimulatedData) -> None:
    (b,) = two_levels.effects
    assert b.shape == (2000, 40, 2)
    close(b[..., 0].mean(1), 0.0)
    close((b[..., 0] ** 2).mean(1), 0.64)
    close((b[..., 1] ** 2).mean(1), 0.16)
    close((b[..., 0] * b[..., 1]).mean(1), -0.5 * 0.8 * 0.4)


def test_response_is_the_linear_model_with_errors_of_the_given_sd(two_levels: SimulatedData) -> None:
    c, (b,), code = two_levels.columns, two_levels.effects, two_levels.codes["school"][0]
    fitted = 2 + 0.5 * c["x"] - c["w"] + 0.3 * c["x"] * c["w"] + b[:, code, 0] + b[:, code, 1] * c["x"]
    residual = c["y"] - fitted
    close(residual.mean(1), 0.0)
    close((residual**2).mean(1), 2.25)
    close((residual * c["x"]).mean(1), 0.0)
    close((residual[:, :-1] * residual[:, 1:]).mean(1), 0.0)


def test_marginal_moments_of_the_response(two_levels: SimulatedData) -> None:
    # y = 2 + a w + (s + .3 w) x + b0 + b1 x + e with x, w independent: moments by hand
    y = two_levels.columns["y"].reshape(2000, 40, 6)
    mean = 2 + 0.5 * 1 - 0.5 + 0.3 * 0.5
    close(y.mean((1, 2)), mean)
    # variance of -w + .5x + .3xw given independence, plus E x^2 (= 5) for the slope's part
    fixed = 0.49 * (-1 + 0.3 * 1) ** 2 + 4 * (0.5 + 0.3 * 0.5) ** 2 + 0.09 * 0.49 * 4
    effects = 0.64 + 2 * (-0.16) * 1 + 0.16 * 5
    close(((y - mean) ** 2).mean((1, 2)), fixed + effects + 2.25)
    # two rows of one school: E x x' = 1 + .3 * 4
    shared = 0.49 * (-0.7) ** 2 + 1.2 * 0.65**2 + 0.09 * 0.49 * 1.2
    close(((y[:, :, 0] - mean) * (y[:, :, 1] - mean)).mean(1), shared + 0.64 - 0.32 + 0.16 * 2.2)


@pytest.mark.parametrize(
    ("law", "skewness", "kurtosis"),
    [
        (Distribution(), 0.0, 3.0),
        (Distribution("t", 12), 0.0, 3 + 6 / 8),
        (Distribution("gamma", 4.0), 1.0, 3 + 6 / 4),
    ],
    ids=["normal", "t", "gamma"],
)
def test_laws_of_effects_and_errors(law: Distribution, skewness: float, kurtosis: float) -> None:
    design = MultilevelDesign(
        [Factor("g", 50)], 4, {"1": 0.0}, [RandomTerm("g", {"1": 2.0}, distribution=law)], 3.0, error=law
    )
    data = draw(design, 2000)
    (b,) = data.effects
    error = data.columns["y"] - b[:, data.codes["g"][0], 0]
    for standard in (b[..., 0] / 2, error / 3):
        close(standard.mean(1), 0.0)
        close((standard**2).mean(1), 1.0)
        close((standard**3).mean(1), skewness, law.kind)
        close((standard**4).mean(1), kurtosis, law.kind)


def test_multivariate_t_effects_share_their_scale() -> None:
    # for the multivariate t with uncorrelated components E b0^2 b1^2 = (df-2)/(df-4), not 1
    term = RandomTerm("g", {"1": 1.0, "x": 1.0}, distribution=Distribution("t", 12))
    (b,) = draw(MultilevelDesign([Factor("g", 60)], 1, {}, [term], 1.0, [Covariate("x")]), 2000).effects
    close((b[..., 0] * b[..., 1]).mean(1), 0.0)
    close((b[..., 0] ** 2 * b[..., 1] ** 2).mean(1), 10 / 8)


def test_binary_covariates_have_their_probability_and_latent_correlation() -> None:
    design = MultilevelDesign(
        [Factor("g", 60)],
        3,
        {"x": 1.0},
        [],
        0.0,
        [
            Covariate("x", mean=0.3, kind="binary", icc={"g": 0.4}),
            Covariate("half", mean=0.5, kind="binary", icc={"g": 0.4}),
            Covariate("z", level="g", mean=0.8, kind="binary"),
        ],
    )
    data = draw(design, 1500)
    x, half, z = (data.columns[name].reshape(1500, 60, 3) for name in ("x", "half", "z"))
    assert set(np.unique(x)) == {0.0, 1.0}
    close(x.mean((1, 2)), 0.3)
    close(z.mean((1, 2)), 0.8)
    assert (z == z[:, :, :1]).all()
    tau = stats.norm.ppf(0.3)
    both = stats.multivariate_normal.cdf([tau, tau], cov=[[1, 0.4], [0.4, 1]])
    close((x[:, :, 0] * x[:, :, 1]).mean(1), both)
    close((half[:, :, 0] * half[:, :, 1]).mean(1), 0.25 + math.asin(0.4) / (2 * math.pi))  # Sheppard's formula
    np.testing.assert_array_equal(data.columns["y"].reshape(x.shape), x)


def test_three_levels_nested_covariances() -> None:
    design = MultilevelDesign(
        [Factor("school", 8), Factor("class", 3, within="school")],
        4,
        {"1": 1.0},
        [RandomTerm("school", {"1": 0.6}), RandomTerm("class", {"1": 0.9})],
        0.5,
        [
            Covariate("x", sd=2.0, icc={"school": 0.2, "class": 0.5}),
            Covariate("c", level="class", icc={"school": 0.3}),
        ],
    )
    data = draw(design, 3000)
    np.testing.assert_array_equal(data.codes["class"][0], np.repeat(np.arange(24), 4))
    np.testing.assert_array_equal(data.codes["school"][0], np.repeat(np.arange(8), 12))
    y = data.columns["y"].reshape(3000, 8, 3, 4) - 1
    x = data.columns["x"].reshape(y.shape)
    c = data.columns["c"].reshape(y.shape)
    close((y**2).mean((1, 2, 3)), 0.36 + 0.81 + 0.25)
    close((y[..., 0] * y[..., 1]).mean((1, 2)), 0.36 + 0.81)
    close((y[:, :, 0, 0] * y[:, :, 1, 0]).mean(1), 0.36)
    close((y[:, 0, 0, 0] * y[:, 1, 0, 0]), 0.0)
    close((x[..., 0] * x[..., 1]).mean((1, 2)), 4 * 0.7)
    close((x[:, :, 0, 0] * x[:, :, 1, 0]).mean(1), 4 * 0.2)
    assert (c == c[..., :1]).all()
    close((c[:, :, 0, 0] * c[:, :, 1, 0]).mean(1), 0.3)


def test_crossed_factors_cover_every_combination() -> None:
    design = MultilevelDesign(
        [Factor("subject", 10), Factor("item", 7)],
        2,
        {"1": 0.0},
        [RandomTerm("subject", {"1": 0.7}), RandomTerm("item", {"1": 0.4})],
        0.3,
    )
    data = draw(design, 3000)
    pairs = set(zip(data.codes["subject"][0], data.codes["item"][0], strict=True))
    assert len(pairs) == 70
    y = data.columns["y"].reshape(3000, 10, 7, 2)
    close((y[..., 0] * y[..., 1]).mean((1, 2)), 0.49 + 0.16)
    close((y[:, :, 0, 0] * y[:, :, 1, 0]).mean(1), 0.49)
    close((y[:, 0, :, 0] * y[:, 1, :, 0]).mean(1), 0.16)


def test_assigned_factor_is_uniform_and_differs_between_replications() -> None:
    design = MultilevelDesign(
        [Factor("school", 5), Factor("area", 4, assigned=True)],
        8,
        {"1": 0.0},
        [RandomTerm("area", {"1": 1.0})],
        0.0,
    )
    data = draw(design, 1500)
    area = data.codes["area"]
    for level in range(4):
        close((area == level).mean(1), 0.25)
    np.testing.assert_array_equal(data.columns["y"], np.take_along_axis(data.effects[0][..., 0], area, axis=1))


def test_drawn_sizes_and_levels_are_padding_with_weight_zero() -> None:
    size = Drawn(2, (1, 2, 1))
    design = MultilevelDesign(
        [Factor("school", 6), Factor("class", Drawn.uniform(1, 3), within="school")],
        size,
        {"1": 5.0},
        [],
        1.0,
    )
    data = draw(design, 3000)
    weights = data.weights.reshape(3000, 6, 3, 4)
    rows, classes = weights.sum(3), (weights.sum(3) > 0).sum(2)
    for count, probability in {1: 1 / 3, 2: 1 / 3, 3: 1 / 3}.items():
        close((classes == count).mean(1), probability)
    for count, probability in {2: 0.25, 3: 0.5, 4: 0.25}.items():
        close((rows[:, :, 0] == count).mean(1), probability)
    assert set(np.unique(data.columns["y"][data.weights == 0])) == {0.0}
    close(data.weights.sum(1), 6 * 2 * size.mean)
    for i, frame in zip(range(5), frames(data, design), strict=False):
        assert len(frame) == data.weights[i].sum()
        assert (frame.groupby("class").size() >= 2).all()


def test_poisson_sizes_follow_the_cut_poisson_law() -> None:
    drawn = Drawn.poisson(4.0, 1, 12)
    data = draw(MultilevelDesign([Factor("g", 30)], drawn, {}, [], 1.0), 1500)
    sizes = data.weights.reshape(1500, 30, 12).sum(2)
    law = stats.poisson(4.0)
    inside = law.cdf(12) - law.cdf(0)
    for count in (1, 4, 8):
        close((sizes == count).mean(1), law.pmf(count) / inside)
    close(sizes.mean(1), drawn.mean)


def test_draws_do_not_depend_on_chunks_order_or_numbers_of_the_design() -> None:
    with jax.enable_x64(True):
        everything = keys(5, "0" * 16, range(21), Stream.DATA)
        whole = generate_batch(everything, TWO_LEVELS)
        for size in (1, 7):
            for i in range(0, 21, size):
                part = generate_batch(everything[i : i + size], TWO_LEVELS)
                for name in ("x", "w", "y"):
                    # products of draws: the compiler may fuse multiply and add, or not, by the size of the
                    # batch
                    np.testing.assert_allclose(
                        part.columns[name], whole.columns[name][i : i + size], rtol=0, atol=1e-14
                    )
        backwards = generate_batch(everything[::-1], TWO_LEVELS)
        assert np.array_equal(backwards.columns["y"][::-1], whole.columns["y"])


def test_numbers_of_a_design_do_not_compile_anew() -> None:
    design = MultilevelDesign([Factor("g", 3)], 2, {"x": 1.0}, [RandomTerm("g", {"1": 1.0})], 1.0, [Covariate("x")])
    draw(design, 2)
    before = PROGRAMS.held
    draw(
        dataclasses.replace(design, beta={"x": 7.0}, sigma=0.1, covariates=[Covariate("x", mean=3.0, sd=9.0)]),
        2,
    )
    assert before == PROGRAMS.held


def test_frames_hold_the_arrays() -> None:
    first, second = simulate_frames(TWO_LEVELS, 2, seed=5)
    assert list(first.columns) == ["school", "x", "w", "y"]
    assert first["school"].dtype == np.int64
    assert first["school"].tolist() == list(np.repeat(np.arange(40), 6))
    data = draw(TWO_LEVELS, 2, seed=5)
    np.testing.assert_array_equal(second["y"], data.columns["y"][1])
    assert jnp.ones(1).dtype == jnp.float32  # the user's precision is left alone


def test_index_covariate_counts_rows_in_a_cell() -> None:
    design = MultilevelDesign([Factor("id", 3)], 4, {"time": 2.0}, [], 0.0, [Covariate("time", kind="index")])
    (frame,) = simulate_frames(design, seed=1)
    assert frame["time"].tolist() == [0, 1, 2, 3] * 3
    np.testing.assert_array_equal(frame["y"], 2.0 * frame["time"])


def test_errors_of_a_cell_have_their_covariance() -> None:
    matrix = np.array([[4.0, 3.0, 1.0], [3.0, 9.0, 4.0], [1.0, 4.0, 5.0]])
    factors = [Factor("site", 5), Factor("patient", 10, within="site")]
    visits = MultilevelDesign(factors, 3, {"1": 2.0}, [], error_covariance=matrix)
    errors = draw(visits, 400).columns["y"].reshape(400, 50, 3) - 2.0
    for t, s in itertools.combinations_with_replacement(range(3), 2):
        close((errors[:, :, t] * errors[:, :, s]).mean(axis=1), matrix[t, s], f"{t}, {s}")
    close((errors[:, :-1, 0] * errors[:, 1:, 0]).mean(axis=1), 0.0)
    assert pickle.loads(pickle.dumps(visits)) == visits
    again = dataclasses.replace(visits, error_covariance=np.eye(3))  # compiled already
    np.testing.assert_allclose(draw(again, 400).columns["y"].std(), 1.0, rtol=0.02)


def test_perfect_correlation_and_zero_sd_are_allowed() -> None:
    term = RandomTerm("g", {"1": 2.0, "x": 1.0}, correlation=1.0)
    (b,) = draw(MultilevelDesign([Factor("g", 30)], 1, {}, [term], 1.0, [Covariate("x")]), 3).effects
    np.testing.assert_allclose(b[..., 0], 2 * b[..., 1], rtol=0, atol=1e-7)  # root of a singular matrix: sqrt(eps)
    assert b[..., 0].std() > 1
    (b,) = draw(MultilevelDesign([Factor("g", 30)], 1, {}, [RandomTerm("g", {"1": 0.0})], 1.0), 3).effects
    assert (b == 0).all()


def test_designs_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(TWO_LEVELS)) == TWO_LEVELS


def design(**changes: object) -> MultilevelDesign:
    base = {"factors": [Factor("g", 3)], "size": 2, "beta": {"1": 1.0}, "random": [], "sigma": 1.0}
    return MultilevelDesign(**(base | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: design(beta={"x": 1.0}), "Term 'x' names 'x', and there are no covariates"),
        (
            lambda: design(random=[RandomTerm("h", {"1": 1.0})]),
            "A random term names 'h', which is not among 'g'",
        ),
        (
            lambda: design(factors=[Factor("a", 2, within="b"), Factor("b", 2)]),
            "Factor 'a': within= names 'b'",
        ),
        (lambda: design(covariates=[Covariate("g")]), "'g' is defined twice"),
        (lambda: design(covariates=[Covariate("x", icc={"g": 1.2})]), "add up to at most 1"),
        (lambda: design(covariates=[Covariate("x", level="g", icc={"g": 0.2})]), "names factors above"),
        (lambda: design(covariates=[Covariate("x", kind="binary")]), "probability of a 1"),
        (lambda: design(sigma=-1.0), "sigma=-1.0 must be 0 or more"),
        (lambda: design(size=0), "number of rows of every cell, must be a whole number of at least 1"),
        (
            lambda: design(factors=[Factor("a", Drawn.uniform(1, 2), assigned=True)]),
            "neither nested nor drawn",
        ),
        (lambda: RandomTerm("g", {"1": 1.0, "x": 1.0}, correlation=[[1.0]]), "symmetric 2 x 2 matrix"),
        (lambda: RandomTerm("g", {"1": 1, "x": 1, "z": 1}, correlation=-0.9), "contradict each other"),
        (lambda: RandomTerm("g", {"1": -1.0}), "SDs must be 0 or more"),
        (lambda: Distribution("t", 2.0), "above 2"),
        (lambda: Distribution("cauchy"), "Distribution: kind='cauchy' is not known: use 'normal', 't' or 'gamma'"),
        (lambda: Drawn(1, ()), "needs a weight above 0"),
        (lambda: design(error_covariance=np.eye(2)), "leave out sigma=, error= and outcome="),
        (lambda: design(sigma=None, error_covariance=np.eye(3)), "must be a symmetric 2 x 2 matrix"),
        (lambda: design(sigma=None, error_covariance=[[1.0, 2.0], [2.0, 1.0]]), "is no covariance matrix"),
        (lambda: design(sigma=None, size=Drawn.uniform(2, 3), error_covariance=np.eye(2)), "cells of one size="),
    ],
)
def test_mistakes_are_named(make: object, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        make()  # type: ignore[operator]


def test_designs_from_formulas() -> None:
    shape = {"factors": [Factor("g", 4)], "size": 3, "covariates": [Covariate("x"), Covariate("w", level="g")]}
    by_name = design_from_formula(
        "z ~ x * w + (1 + x | g)",
        beta={"x:w": 4.0, "w": 3.0, "x": 2.0, "Intercept": 1.0},
        sd={"g": [0.5, 0.25]},
        correlation={"g": -0.3},
        sigma=2.0,
        **shape,  # type: ignore[arg-type]
    )
    written = MultilevelDesign(
        beta={"1": 1.0, "x": 2.0, "w": 3.0, "x:w": 4.0},
        random=[RandomTerm("g", {"1": 0.5, "x": 0.25}, -0.3)],
        sigma=2.0,
        response="z",
        **shape,  # type: ignore[arg-type]
    )
    assert by_name == written
    for change, message in (
        ({"beta": [1.0]}, "beta= has 1 numbers; the terms are 'Intercept', 'x'"),
        ({"beta": {"Intercept": 1.0, "z": 2.0}}, "beta= has"),
        ({"sd": {}}, "no entry for the grouping factor 'g'"),
        ({"formula": "y ~ x + offset(w) + (1 | g)"}, "no offset"),
        ({"formula": "y ~ I(x^2) + (1 | g)"}, "not a covariate or a product"),
    ):
        given = {"formula": "y ~ x + (1 | g)", "beta": [1.0, 2.0], "sd": {"g": [0.5]}, "sigma": 1.0} | shape
        with pytest.raises(SimulationError, match=message):
            design_from_formula(**(given | change))  # type: ignore[arg-type]
