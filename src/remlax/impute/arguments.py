"""What arguments of the imputation functions must be, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..checks import Checks
from ..errors import ImputationError

checks = Checks(ImputationError)


def check_derive(derive: Mapping[str, Callable[..., Any]] | None) -> None:
    """Raise an ImputationError unless `derive` maps names of columns to functions."""
    if derive is None:
        return
    for name, rule in checks.mapping(derive, "derive=", "{'x_mean': cluster_mean('x', 'g')}").items():
        if not callable(rule):
            raise ImputationError(
                f"derive= has {rule!r} for {name!r}: give a function of a data frame, such as cluster_mean('x', 'g') "
                "or lambda d: d['x'] ** 2"
            )
