"""Small data sets, many with an optimum on the boundary, end at the lowest value that ten random starts find."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
def test_no_small_set_ends_above_the_best_of_ten_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    small_sets = importlib.import_module("small_sets")
    own, best, converged = small_sets.criteria(1000, 10)
    assert converged.all()
    assert float(np.max(own - best)) <= 1e-6
    # the starts say something: they get to the same values
    assert np.mean(np.abs(own - best) < 1e-6) > 0.99
