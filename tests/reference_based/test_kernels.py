"""Means, covariances and conditional normals against closed forms of two visits and dense algebra."""

from __future__ import annotations

import numpy as np
import pytest

from remlax.impute.reference_based.events import STRATEGIES
from remlax.impute.reference_based.kernels import given_observed, joint_covariance, joint_mean

RNG = np.random.default_rng(5)
T = 4
OWN, REFERENCE = RNG.normal(size=(3, T)), RNG.normal(size=(3, T))


def positive(n: int) -> np.ndarray:
    root = RNG.normal(size=(2, n, n + 2))
    return np.asarray(root @ root.mT)


@pytest.mark.parametrize("event", range(1, T))
def test_means_follow_carpenter_roger_and_kenward(event: int) -> None:
    for i, t in np.ndindex(len(OWN), T):
        after = t >= event
        want = {
            "mar": OWN[i, t],
            "jump-to-reference": REFERENCE[i, t] if after else OWN[i, t],
            "copy-reference": REFERENCE[i, t],
            "copy-increments": OWN[i, event - 1] + REFERENCE[i, t] - REFERENCE[i, event - 1] if after else OWN[i, t],
            "last-mean": OWN[i, event - 1] if after else OWN[i, t],
        }
        for strategy, value in want.items():
            assert joint_mean(OWN, REFERENCE, event, strategy)[i, t] == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_an_event_everything_is_of_the_own_arm(strategy: str) -> None:
    own, reference = positive(T), positive(T)
    np.testing.assert_array_equal(joint_mean(OWN, REFERENCE, T, strategy), OWN)
    np.testing.assert_array_equal(joint_covariance(own, reference, T, strategy), own)


@pytest.mark.parametrize("strategy", ["jump-to-reference", "copy-increments", "copy-reference"])
def test_an_event_before_all_visits_leaves_the_reference(strategy: str) -> None:
    own, reference = positive(T), positive(T)
    np.testing.assert_array_equal(joint_mean(OWN, REFERENCE, 0, strategy), REFERENCE)
    np.testing.assert_array_equal(joint_covariance(own, reference, 0, strategy), reference)


@pytest.mark.parametrize("event", range(1, T))
def test_covariance_has_the_past_of_one_arm_and_the_regressions_of_the_other(event: int) -> None:
    own, reference = positive(T), positive(T)
    found = joint_covariance(own, reference, event, "jump-to-reference")
    a, b = slice(None, event), slice(event, None)
    np.testing.assert_allclose(found[:, a, a], own[:, a, a])
    for k in range(2):
        past, slopes = np.linalg.inv(found[k, a, a]), np.linalg.inv(reference[k, a, a]) @ reference[k, a, b]
        np.testing.assert_allclose(past @ found[k, a, b], slopes, rtol=1e-9)
        left = found[k, b, b] - found[k, b, a] @ past @ found[k, a, b]
        np.testing.assert_allclose(left, reference[k, b, b] - reference[k, b, a] @ slopes, rtol=1e-8)
        assert np.linalg.eigvalsh(found[k])[0] > 0


@pytest.mark.parametrize("observed", [[True, False, True, False], [False] * 4, [False, True, True, True]])
def test_missing_visits_given_the_observed_ones(observed: list[bool]) -> None:
    sigma, seen = positive(T), np.array(observed)
    slopes, root = given_observed(sigma, seen)
    for k in range(2):
        precision = np.linalg.inv(sigma[k])[np.ix_(~seen, ~seen)]
        np.testing.assert_allclose(np.linalg.inv(root[k] @ root[k].T), precision, rtol=1e-8)
        np.testing.assert_allclose(slopes[k] @ sigma[k][np.ix_(seen, seen)], sigma[k][np.ix_(~seen, seen)], rtol=1e-9)
