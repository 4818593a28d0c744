"""Fit responses block by block, with a bar, with a folder that a run goes on from, here or on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import DataError
from ..progress import progress, unseen
from .cluster import Cluster, Fits, Unfitted
from .estimates import ResponseFits
from .fit import SharedDesign
from .folder import BlockFolder
from .responses import Responses

# responses of a block, and their weights
Block = tuple[Responses, Responses | None]


class Place(NamedTuple):
    """Names of a block, and its number, its digest and whether it has been read from its file."""

    names: pd.Index
    number: int
    digest: str
    read: bool


def fit_blocks(
    designs: Sequence[SharedDesign],
    blocks: Iterable[Block],
    kept: np.ndarray | None,
    total: int | None,
    folder: BlockFolder | None,
    cluster: Cluster | None,
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
    cluster : Cluster, optional
        Who fits them; this process unless given.

    Returns
    -------
    pandas.Index (G,), tuple of ResponseFits
    """
    names: list[pd.Index] = []
    whole = None if total is None else tuple(design.none(total) for design in designs)
    parts: list[Fits] = []
    done = 0
    work = _read(blocks, kept, folder)
    found = _here(designs, work) if cluster is None else cluster.fits(work)
    with unseen(total is None), progress(total or 0, "response") as advance:
        for place, fits in found:
            if folder is not None and not place.read:
                folder.save(place.number, place.digest, fits)
            names.append(place.names)
            if whole is None:
                parts.append(fits)
            else:
                for room, part in zip(whole, fits, strict=True):
                    room.put(np.arange(done, done + len(place.names)), part)
            done += len(place.names)
            advance(len(place.names))
    if not names:
        raise DataError("responses= gave no block: it needs at least one array with a column for each response")
    if whole is None:
        whole = tuple(ResponseFits.joined([part[k] for part in parts]) for k in range(len(designs)))
    return names[0].append(names[1:]) if len(names) > 1 else names[0], whole


def _read(
    blocks: Iterable[Block], kept: np.ndarray | None, folder: BlockFolder | None
) -> Iterator[tuple[Place, Unfitted | Fits]]:
    """Numbers of every block, or its fits where the folder has them."""
    for number, (responses, own) in enumerate(blocks):
        y = responses.block(slice(None), kept)
        weights = None if own is None else own.block(slice(None), kept)
        digest = "" if folder is None else folder.digest(responses.names, y, weights)
        fits = None if folder is None else folder.load(number, digest)
        place = Place(responses.names, number, digest, fits is not None)
        yield place, Unfitted(y, weights) if fits is None else fits


def _here(
    designs: Sequence[SharedDesign], work: Iterable[tuple[Place, Unfitted | Fits]]
) -> Iterator[tuple[Place, Fits]]:
    for place, block in work:
        yield place, block.fit(designs) if isinstance(block, Unfitted) else block
