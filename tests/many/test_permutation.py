"""Permutation tests with max-T: every statistic is that of a refit, all relabellings are drawn alike."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from many_cases import design, draw
from remlax.errors import DataError
from remlax.many import permutation
from remlax.many.permutation import Exchange

CODES = np.repeat(np.arange(6), [2, 3, 4, 2, 3, 4])


def case() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Twelve groups of two kinds, two conditions within each; the first response tells the kinds apart."""
    kind = np.where(np.arange(12) % 3 == 0, "a", "b")
    data = design().assign(kind=kind[np.repeat(np.arange(12), 5)], condition=np.tile([0.5, -0.5], 30))
    responses = draw(1, 12)
    responses["y0"] += 4.0 * (data["kind"] == "a")
    responses.loc[3, "y2"] = np.nan
    return data, responses.assign(y11=1.0)


def test_labels_go_from_group_to_group_and_conditions_stay_in_theirs():
    rng, exchange = np.random.default_rng(1), Exchange("labels", "x", CODES)
    between = np.array([5, 1, 1, 0, 0, 0])[CODES]
    orders = {tuple(exchange.permuted(between, rng)) for _ in range(400)}
    assert len(orders) == 60  # 6! / (2! 3!)
    for order in orders:
        assert all(len(set(np.array(order)[g == CODES])) == 1 for g in range(6))
        assert sorted(np.array(order)[[0, 2, 5, 9, 11, 14]]) == [0, 0, 0, 1, 1, 5]
    within = np.arange(18)
    draws = np.array([exchange.permuted(within, rng) for _ in range(600)])
    for g in range(6):
        inside = np.flatnonzero(g == CODES)
        assert (np.sort(draws[:, inside], axis=1) == inside).all()
        assert_allclose((draws[:, inside[0]] == inside[0]).mean(), 1 / len(inside), atol=0.08)
    signs = {tuple(exchange.signs(rng)[[0, 2, 5, 9, 11, 14]]) for _ in range(600)}
    assert signs == set(product([-1.0, 1.0], repeat=6))


def test_statistics_are_those_of_refits(monkeypatch: pytest.MonkeyPatch):
    data, responses = case()
    many = rx.lmer_many("~ kind + condition + (1 | g)", data, responses, block_size=5)
    seen: list[np.ndarray] = []
    add = permutation._Counts.add
    monkeypatch.setattr(permutation._Counts, "add", lambda self, size: (seen.append(size), add(self, size))[1])
    table = many.permutation_test("kind[T.b]", "kind", n_permutations=19, seed=3)
    # the same relabellings, one by one
    rng = np.random.default_rng(3)
    exchange = permutation.read_exchange(many.design[0].rows, "labels", "kind", None)
    for size in seen[:2]:
        labels = np.array(["a", "b"])[exchange.permuted(np.unique(data["kind"], return_inverse=True)[1], rng)]
        other = rx.lmer_many("~ kind + condition + (1 | g)", data.assign(kind=labels), responses)
        t = other.tidy().query("term == 'kind[T.b]'")["statistic"].abs()
        assert_allclose(size[:, 0], t, rtol=1e-6)
    sizes = np.stack([np.nan_to_num(size[:, 0]) for size in seen])
    observed = table["statistic"].abs().to_numpy()
    assert_allclose(table["p_value"], np.where(np.isnan(observed), np.nan, (1 + (sizes >= observed).sum(0)) / 20))
    largest = sizes.max(axis=1)[:, None]
    assert_allclose(table["p_adjusted"], np.where(np.isnan(observed), np.nan, (1 + (largest >= observed).sum(0)) / 20))
    assert table["p_adjusted"].idxmin() == 0
    assert table["status"].iloc[11] == "constant response"
    again = many.permutation_test("kind[T.b]", "kind", n_permutations=19, seed=3)
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(table))


def test_signs_of_differences():
    data, responses = case()
    shifted = responses - responses.mean()
    shifted["y1"] += 3.0
    many = rx.lmer_many("~ 1 + (1 | g)", data, shifted)
    table = many.permutation_test("Intercept", scheme="signs", n_permutations=39, seed=1)
    assert table["p_adjusted"].iloc[1] == pytest.approx(1 / 40)
    assert table["p_adjusted"].drop([1, 11]).min() > 0.5


def test_what_cannot_be_permuted():
    data, responses = case()
    many = rx.lmer_many("~ kind + (1 | g)", data, responses)
    for given, message in (
        ({}, "column= is missing"),
        ({"column": "x"}, "is no variable of the fixed part; there are 'kind'"),
        ({"column": "g"}, "is no variable of the fixed part"),
        ({"column": "kind", "groups": "h"}, "groups='h' is no grouping factor"),
        ({"column": "kind", "scheme": "signs"}, "is permuted by scheme='labels'"),
        ({"column": "kind", "scheme": "rows"}, "scheme='rows' is not known"),
        ({"column": "kind", "n_permutations": 0}, "n_permutations=0 must be"),
    ):
        with pytest.raises(DataError, match=message):
            many.permutation_test("kind[T.b]", **given)  # type: ignore[arg-type]
    blocks = rx.lmer_many("~ kind + (1 | g)", data, iter([responses]))
    with pytest.raises(DataError, match="read in blocks and are not kept"):
        blocks.permutation_test("kind[T.b]", "kind")
