"""Imputed data sets as texts, numbers and arrays, for files: a column that all sets share is kept once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..errors import DataError, DataWarning, shortened, warn
from .columns import Tree, column_from_tree, column_tree, index_from_tree, index_tree, label_from_tree, label_tree
from .imputed import ImputedData


def imputed_tree(data: ImputedData, needed: Sequence[str]) -> Tree:
    """Write all data sets, with their labels and row labels.

    Raises
    ------
    DataError
        A label or a column that is needed is of a type that a file cannot keep.

    Warns
    -----
    DataWarning
        Other such columns, by name: they are left out.
    """
    first = data.frames[0]
    same_rows = all(frame.index.identical(first.index) for frame in data.frames)
    columns, left_out = [], []
    for name in data.columns:
        try:
            columns.append([name, _column(data, name)])
        except DataError as error:
            if name in needed:
                raise
            left_out.append(str(error))
    if left_out:
        warn(f"columns that the model does not use are left out of the file: {shortened(left_out)}", DataWarning)
    return {
        "labels": [label_tree(label, "the labels of the data sets") for label in data.labels],
        "index": [index_tree(frame.index) for frame in (data.frames[:1] if same_rows else data.frames)],
        "columns": columns,
    }


def _column(data: ImputedData, name: str) -> list[Tree]:
    frames = data.frames
    same_type = all(frame[name].dtype == frames[0][name].dtype for frame in frames)
    shared = data.aligned and name not in data.varying and same_type
    return [column_tree(frame[name], f"column {name!r}") for frame in (frames[:1] if shared else frames)]


def imputed_from_tree(tree: Tree) -> ImputedData:
    """Read the data sets again."""
    labels = tuple(label_from_tree(label) for label in tree["labels"])
    indexes = [index_from_tree(index) for index in tree["index"]]
    columns: dict[str, list[Any]] = {name: [column_from_tree(one) for one in each] for name, each in tree["columns"]}
    frames = []
    for k in range(len(labels)):
        index = indexes[k if len(indexes) > 1 else 0]
        values = {name: each[k if len(each) > 1 else 0] for name, each in columns.items()}
        frames.append(pd.DataFrame(values, index=index, copy=False))
    return ImputedData(tuple(frames), labels)
