"""Checks of options that many methods share."""

from __future__ import annotations

import numpy as np

from ..checks import Checks

checks = Checks()


def check_draws(n_sims: object, conf_level: object) -> None:
    """At least two draws, and a confidence level."""
    checks.whole(n_sims, "n_sims=", 2)
    checks.level(conf_level)


def fresh_seed(seed: object) -> int:
    """Return the seed, or a new one where none is given."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) if seed is None else checks.seed(seed)
