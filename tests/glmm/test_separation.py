"""Separation against known data sets and against all extreme directions of small ones."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit, log_expit

from remlax.fitting.responses.separation import find_separation
from remlax.glmm.families import Family

LOGIT = Family("binomial", "logit")
POISSON = Family("poisson", "log")
ORDINAL = Family("ordinal", "logit", n_shape=2)
LEVELS = ("low", "middle", "high")


def found(x, y, family=LOGIT, weight=None, **options):
    x, y = np.asarray(x, float), np.asarray(y, float)
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    names = tuple(f"x{j}" for j in range(x.shape[1]))
    return find_separation(x, y, weight, family, names, 3, **options)


def with_ones(*columns):
    return np.column_stack([np.ones(len(columns[0])), *columns])


def test_complete_separation_moves_intercept_and_slope() -> None:
    separated = found(with_ones([1, 2, 3, 4, 5, 6]), [0, 0, 0, 1, 1, 1])
    assert separated.columns == ("x0", "x1")
    assert separated.reason == (
        "a linear predictor separates the outcome in data set 3: estimates go to infinity (x0, x1); under a prior "
        "they are finite: fixef_prior='normal'"
    )


def test_overlap_by_one_row_is_no_separation() -> None:
    assert found(with_ones([1, 2, 3, 4, 5, 6]), [0, 0, 1, 0, 1, 1]) is None


def test_a_tie_at_the_border_is_quasi_complete_separation() -> None:
    assert found(with_ones([1, 2, 3, 3, 5, 6]), [0, 0, 0, 1, 1, 1]).columns == ("x0", "x1")


def test_a_group_without_events_moves_its_own_coefficient_only() -> None:
    z = np.repeat([0.0, 1.0], 6)
    x = np.tile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2)
    y = np.concatenate([[0, 1, 0, 1, 0, 1], np.ones(6)])
    assert found(with_ones(x, z), y).columns == ("x2",)


def test_two_numbers_of_a_year_that_differ_little_are_told_apart() -> None:
    year = np.arange(2001.0, 2021.0)
    late = (year > 2010).astype(float)
    assert found(with_ones(year), late).columns == ("x0", "x1")
    late[[9, 10]] = late[[10, 9]]
    assert found(with_ones(year), late) is None
    # a parabola has two crossings, not three
    parabola = with_ones(1e6 * year, 1e-6 * year**2)
    assert found(parabola, late) is None
    assert found(parabola, (year > 2004) & (year < 2013)).columns == ("x0", "x1", "x2")


def test_a_constant_response_has_its_own_sentence() -> None:
    separated = found(with_ones([1, 2, 4]), [1, 1, 1])
    assert separated.reason == "the response is constant in data set 3: no maximum of the likelihood exists"
    assert found(with_ones([1, 2, 4]), [0, 0, 0], POISSON).reason == separated.reason
    assert found(with_ones([1, 2, 4]), [2, 2, 2], POISSON) is None
    # without an intercept nothing separates ones on both sides
    assert found([[-1.0], [1.0]], [1, 1]) is None


def test_k_of_n_holds_its_rows_level() -> None:
    x = with_ones([0, 0, 1, 1], [0, 1, 0, 1])
    assert found(x, [0.5, 0.2, 1.0, 1.0]).columns == ("x1",)
    assert found(x, [0.5, 0.2, 1.0, 0.4]) is None
    assert found(x, [0.5, 0.2, 1.0, 0.0]) is None
    assert found(x, [0.5, 1.0, 1.0, 0.0]) is None
    assert found(x, [0.5, 0.0, 1.0, 0.0]).columns == ("x1", "x2")
    assert found(x, [0.5, 0.2, 1.0, 0.4], weight=[1, 1, 1, 0]).columns == ("x1",)


@pytest.mark.parametrize("family", [POISSON, Family("negative-binomial", "log", n_shape=1)])
def test_a_group_of_zero_counts(family: Family) -> None:
    z = np.repeat([0.0, 1.0], 3)
    assert found(with_ones(z), [0, 2, 5, 0, 0, 0], family).columns == ("x1",)
    assert found(with_ones(z), [0, 2, 5, 0, 1, 0], family) is None
    assert found(with_ones(z), [0, 0, 0, 4, 1, 2], family).columns == ("x0", "x1")


def test_gamma_never_separates() -> None:
    assert found(with_ones([1, 2, 3]), [1, 2, 3], Family("gamma", "log", n_shape=1)) is None


def test_ordinal_thresholds_move_with_the_slope() -> None:
    x = np.arange(6.0)[:, None]
    separated = found(x, [0, 0, 1, 1, 2, 2], ORDINAL, levels=LEVELS)
    assert separated.columns == ("x0", "low|middle", "middle|high")
    assert found(x, [0, 1, 0, 1, 2, 1], ORDINAL, levels=LEVELS) is None
    # only the upper threshold separates: x stays where the lower categories overlap
    z = np.array([[0.0], [1.0], [0.0], [1.0], [0.0], [1.0]])
    assert found(z, [0, 0, 1, 1, 2, 2], ORDINAL, levels=LEVELS) is None


def test_an_intercept_beside_thresholds_separates_nothing() -> None:
    assert found(with_ones([0, 1, 0, 1, 0, 1]), [0, 0, 1, 1, 2, 2], ORDINAL, levels=LEVELS) is None


def test_a_category_without_rows_has_its_own_sentence() -> None:
    x = np.array([[0.0], [1.0], [0.0], [1.0]])
    separated = found(x, [0, 0, 2, 2], ORDINAL, levels=LEVELS)
    assert separated.reason == ("no row of data set 3 has the response 'middle': no maximum of the likelihood exists")
    assert "constant" in found(x, [1, 1, 1, 1], ORDINAL, levels=LEVELS).reason


def test_two_categories_are_a_binary_response() -> None:
    rng = np.random.default_rng(1)
    two = Family("ordinal", "probit", n_shape=1)
    answers = set()
    for _ in range(60):
        x, y = rng.integers(0, 3, (7, 2)).astype(float), rng.integers(0, 2, 7)
        binary = found(with_ones(x[:, 0], x[:, 1]), y)
        ordinal = found(x, y, two, levels=("no", "yes"))
        answers.add(binary is None)
        assert (binary is None) == (ordinal is None)
        if binary is not None:
            slopes = [name for name in ordinal.columns if "|" not in name]
            assert [f"x{int(name[1:]) - 1}" for name in binary.columns if name != "x0"] == slopes
    assert answers == {True, False}


def extreme_directions(rising: np.ndarray, level: np.ndarray) -> list[np.ndarray]:
    """Directions of three coefficients, at two rows' right angles, along which no row falls and some row rises."""
    rows = np.concatenate([rising, level])
    out = []
    for a, b in combinations(np.unique(rows, axis=0), 2):
        normal = np.cross(a, b)
        up = [d for d in (normal, -normal) if (rising @ d >= 0).all() and (rising @ d > 0).any()]
        out.extend(d for d in up if (level @ d == 0).all())
    return out


@pytest.mark.parametrize("family", [LOGIT, POISSON])
def test_the_answer_is_that_of_all_extreme_directions(family: Family) -> None:
    """Whole numbers: the cone is spanned by normals of pairs of rows, which are computed without rounding."""
    rng = np.random.default_rng(7)
    seen = []
    for _ in range(150):
        x = with_ones(*rng.integers(-2, 3, (2, 9)))
        y = rng.choice([0.0, 0.5, 1.0], 9, p=[0.45, 0.1, 0.45]) if family == LOGIT else rng.poisson(0.4, 9) * 1.0
        if np.linalg.matrix_rank(x) < 3:
            continue
        if family == LOGIT:
            rising, level = np.concatenate([x[y == 1], -x[y == 0]]), x[y == 0.5]
        else:
            rising, level = -x[y == 0], x[y > 0]
        directions = extreme_directions(rising, level)
        separated = found(x, y, family)
        moving = np.any([d != 0 for d in directions], axis=0) if directions else np.zeros(3, bool)
        assert (() if separated is None else separated.columns) == tuple(f"x{j}" for j in np.flatnonzero(moving))
        seen.append(moving.sum())
    assert set(seen) >= {0, 3}
    assert any(0 < n < 3 for n in seen)


def test_ordinal_answers_are_those_of_all_extreme_directions() -> None:
    """Every row is above or below every threshold, each of which is a binary response with an intercept of its own."""
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(150):
        x, y = rng.integers(-2, 3, (8, 1)), rng.permutation([0, 1, 2, *rng.integers(0, 3, 5)])
        if rng.random() < 0.5:
            y = np.clip(np.sort(y)[np.argsort(np.argsort(x[:, 0]))], 0, 2)
        if len(np.unique(x)) < 2:
            continue
        sign = np.where(y[:, None] > [0, 1], 1.0, -1.0)
        splits = [
            sign[:, j, None] * np.column_stack([x, -np.ones(8) * (j == 0), -np.ones(8) * (j == 1)]) for j in (0, 1)
        ]
        directions = extreme_directions(np.concatenate(splits), np.empty((0, 3)))
        moving = np.any([d != 0 for d in directions], axis=0) if directions else np.zeros(3, bool)
        separated = found(x, y, ORDINAL, levels=LEVELS)
        expected = np.array(["x0", "low|middle", "middle|high"])[moving]
        assert (() if separated is None else separated.columns) == tuple(expected)
        seen.add(tuple(moving.tolist()))
    assert len(seen) >= 3


def test_many_rows_of_few_kinds() -> None:
    rng = np.random.default_rng(5)
    x = with_ones(*rng.integers(0, 2, (6, 20_000)))
    y = (rng.random(20_000) < expit(x @ rng.normal(size=7))) * 1.0
    assert found(x, y) is None
    y[x[:, 3] == 1] = 1.0
    assert found(x, y).columns == ("x3",)


def test_the_likelihood_rises_along_the_direction_and_has_no_end() -> None:
    """Newton's method ends where `find_separation` finds none, and walks on where it does."""
    rng = np.random.default_rng(11)
    answers = set()
    for _ in range(40):
        x, y = with_ones(rng.normal(size=12), rng.integers(0, 2, 12)), rng.integers(0, 2, 12)
        beta, sign = np.zeros(3), 2 * y - 1
        for _ in range(60):
            mu = expit(x @ beta)
            step = np.linalg.solve(x.T @ (x * (mu * (1 - mu))[:, None]) + 1e-13 * np.eye(3), x.T @ (y - mu))
            while log_expit(sign * (x @ (beta + step))).sum() < log_expit(sign * (x @ beta)).sum() - 1e-13:
                step /= 2
            beta = beta + step
        separated = found(x, y)
        answers.add(separated is None)
        assert (separated is None) == (np.abs(beta).max() < 15)
    assert answers == {True, False}
