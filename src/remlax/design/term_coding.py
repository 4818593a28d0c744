"""Terms: the columns that those of a right side make, and their names."""

from __future__ import annotations

import itertools
from functools import lru_cache

from .coding import Coding, Selector, Shape, numeric_block


# bounded: refits of one formula, as in a bootstrap, ask the same question each time
@lru_cache(maxsize=128)
def code_terms(
    intercept: bool, terms: tuple[tuple[int, ...], ...], labels: tuple[str, ...], shapes: tuple[Shape, ...]
) -> Coding:
    """Find which columns the terms (positions of their factors) make.

    Where there are categories the rank of the others decides, and formulaic says which; numbers make their products.
    """
    if any(shape.levels is not None for shape in shapes):
        from .categorical_terms import code_with_categories  # formulaic, which takes long to import

        return code_with_categories(intercept, terms, labels, shapes)
    names, owners = ["Intercept"] * intercept, [-1] * intercept
    plan: list[tuple[tuple[int, Selector], ...]] = [()] * intercept
    for position, term in enumerate(terms):
        blocks = [[(labels[i] + end, (i, key)) for end, key in numeric_block(shapes[i]).items()] for i in term]
        # the first factor runs fastest, in R as in formulaic
        for parts in itertools.product(*reversed(blocks)):
            names.append(":".join(name for name, _ in parts[::-1]))
            plan.append(tuple(part for _, part in parts[::-1]))
            owners.append(position)
    return Coding(tuple(names), tuple(plan), tuple(owners))
