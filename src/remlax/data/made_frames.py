"""MadeFrames: the data frames of many data sets, each made where it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

import pandas as pd


class MadeFrames(Sequence[pd.DataFrame]):
    """Data frames that `make` makes again each time; a slice is a tuple of them."""

    @abstractmethod
    def make(self, k: int) -> pd.DataFrame:
        """Make the frame of data set k."""

    @overload
    def __getitem__(self, index: int) -> pd.DataFrame: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[pd.DataFrame, ...]: ...
    def __getitem__(self, index: int | slice) -> pd.DataFrame | tuple[pd.DataFrame, ...]:
        """Make the frame at a position (from 0), or those of a slice."""
        which = range(len(self))[index]
        return self.make(which) if isinstance(which, int) else tuple(map(self.make, which))
