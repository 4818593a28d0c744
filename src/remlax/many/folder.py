"""A folder with the fits of many responses, a file for each block: what a long run goes on from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.archive import read_archive, write_archive
from ..design.build import ModelRows
from ..errors import DataError, FileFormatError
from .estimates import ResponseFits

KIND = "many responses"


@dataclass(frozen=True)
class BlockFolder:
    """Files of fits, each with a digest of all that they depend on.

    Parameters
    ----------
    path : Path
    design : bytes
        Digest of formula, design and options.
    """

    path: Path
    design: bytes

    @classmethod
    def at(cls, path: str | os.PathLike[str], text: str, rows: Sequence[ModelRows], *, reml: bool) -> BlockFolder:
        """Open a folder, or make it.

        Raises
        ------
        DataError
            There is a file in its place, or it cannot be made.
        """
        if not isinstance(path, str | os.PathLike):
            raise DataError(f"out={path!r} must be the path of a folder")
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"out={os.fspath(path)!r} is no folder, and cannot be made one: {error}") from None
        # files of a version with other contents are not those of this one
        contents = " ".join(f.name for f in fields(ResponseFits))
        digest = hashlib.blake2b(f"{text}\n{reml}\n{contents}".encode())
        for one in rows:
            parts = [one.x, *(term.rows for term in one.terms)]
            arrays = [part.of(0) for part in parts] + [codes.of(0) for codes in one.factor_rows]
            arrays += [extra.of(0) for extra in (one.weights, one.offset) if extra is not None]
            for array in arrays:
                digest.update(repr(array.shape).encode())
                digest.update(np.ascontiguousarray(array).data)
        return cls(folder, digest.digest())

    def digest(self, names: pd.Index, y: np.ndarray, weights: np.ndarray | None) -> str:
        """Digest of a block: the design, names, responses (m, n) and their weights."""
        found = hashlib.blake2b(self.design)
        found.update("\0".join(map(repr, names)).encode())
        for array in (y, weights):
            if array is not None:
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    def _file(self, number: int) -> Path:
        return self.path / f"block_{number:06d}.rx"

    def load(self, number: int, digest: str) -> tuple[ResponseFits, ...] | None:
        """Fits of a block to every design; None where they are not there yet.

        Raises
        ------
        DataError
            The file is of other responses, of another design or of another size of blocks.
        FileFormatError
            It cannot be read.
        """
        file = self._file(number)
        if not file.exists():
            return None
        try:
            kind, content = read_archive(file)
        except FileFormatError as error:
            raise FileFormatError(
                f"{os.fspath(file)!r} cannot be read: delete it, and its responses are fitted again ({error})"
            ) from None
        if kind != KIND or content["digest"] != digest:
            raise DataError(
                f"{os.fspath(file)!r} holds fits of other responses, or of another design, weights or block_size=: "
                "name another folder with out=, or empty this one"
            )
        return tuple(ResponseFits.from_tree(part) for part in content["fits"])

    def save(self, number: int, digest: str, fits: Sequence[ResponseFits]) -> None:
        """Write the fits of a block, whole or not at all."""
        content = {"digest": digest, "fits": [fit.tree() for fit in fits]}
        write_archive(self._file(number), KIND, content)
