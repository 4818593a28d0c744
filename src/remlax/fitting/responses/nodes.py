"""Which numbers of quadrature nodes a model may have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DesignError

# nodes of one column whose weights double precision holds, and nodes of a level: 25 a column for two columns
MOST_NODES, MOST_POINTS = 100, 625


def check_nodes(n_quad: int, q: int, groups: Sequence[str]) -> None:
    """Refuse adaptive quadrature where it cannot be done.

    Parameters
    ----------
    n_quad : int
        Nodes per random-effects column; 1 is the Laplace approximation, which every model has.
    q : int
        Random-effects columns of the first grouping factor.
    groups : sequence of str
        Names of the grouping factors.

    Raises
    ------
    DesignError
        More than one grouping factor, or too many nodes.

    Examples
    --------
    >>> check_nodes(9, 1, ["herd"])
    """
    if isinstance(n_quad, bool) or not isinstance(n_quad, int | np.integer):
        raise DesignError(f"n_quad={n_quad!r} must be a whole number of quadrature nodes")
    if n_quad == 1:
        return
    if not 1 <= n_quad <= MOST_NODES:
        raise DesignError(f"n_quad is a number of quadrature nodes from 1 to {MOST_NODES}, not {n_quad}")
    if len(groups) > 1:
        raise DesignError(
            f"n_quad is for one grouping factor: this model has {len(groups)} ({', '.join(groups)}); "
            "use n_quad=1, or GLMMadaptive for one of them"
        )
    if n_quad**q > MOST_POINTS:
        fewer = max(n for n in range(1, n_quad) if n**q <= MOST_POINTS)
        raise DesignError(
            f"n_quad={n_quad} with {q} random-effects columns takes {n_quad**q:,} points a level; "
            f"at most {MOST_POINTS} are allowed: use n_quad={fewer}"
        )
