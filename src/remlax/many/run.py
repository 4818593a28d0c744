"""Fit responses block by block, with a bar, and with a folder that a run goes on from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ..errors import DataError
from ..progress import progress, unseen
from .estimates import ResponseFits
from .fit import SharedDesign
from .folder import BlockFolder
from .responses import Responses

# responses of a block, and their weights
Block = tuple[Responses, Responses | None]
Fits = tuple[ResponseFits, ...]


def fit_blocks(
    designs: Sequence[SharedDesign],
    blocks: Iterable[Block],
    kept: np.ndarray | None,
    total: int | None,
    folder: BlockFolder | None,
) -> tuple[pd.Index, Fits]:
    """Fit blocks of responses to every design.

    Parameters
    ----------
    designs : sequence of SharedDesign
    blocks : iterable of Block
    kept : ndarray of bool, optional
        Rows of the data that are in the model.
    total : int, optional
        Number of responses, where it is known.
    folder : BlockFolder, optional
        Blocks that are there are read, not fitted; others are written.

    Returns
    -------
    pandas.Index (G,), tuple of ResponseFits
    """
    names: list[pd.Index] = []
    whole = None if total is None else tuple(design.none(total) for design in designs)
    parts: list[Fits] = []
    done = 0
    with unseen(total is None), progress(total or 0, "response") as advance:
        for number, block in enumerate(blocks):
            fits = _fit_block(designs, block, kept, number, folder)
            names.append(block[0].names)
            if whole is None:
                parts.append(fits)
            else:
                for room, part in zip(whole, fits, strict=True):
                    room.put(np.arange(done, done + len(block[0])), part)
            done += len(block[0])
            advance(len(block[0]))
    if not names:
        raise DataError("responses= gave no block: it needs at least one array with a column for each response")
    if whole is None:
        whole = tuple(ResponseFits.joined([part[k] for part in parts]) for k in range(len(designs)))
    return names[0].append(names[1:]) if len(names) > 1 else names[0], whole


def _fit_block(
    designs: Sequence[SharedDesign],
    block: Block,
    kept: np.ndarray | None,
    number: int,
    folder: BlockFolder | None,
) -> Fits:
    responses, own = block
    y = responses.block(slice(None), kept)
    weights = None if own is None else own.block(slice(None), kept)
    digest = "" if folder is None else folder.digest(responses.names, y, weights)
    found = None if folder is None else folder.load(number, digest)
    if found is None:
        found = tuple(design.fit(y, weights) for design in designs)
        if folder is not None:
            folder.save(number, digest, found)
    return found
