"""ImputedData: K completed copies of one data set, checked once and handed on as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import pandas as pd

from ..errors import DataError, shortened
from .checks import (
    ColumnArray,
    Label,
    check_frames,
    conform_original,
    frame_array,
    missing_cells,
    n_missing,
    refuse_missing,
    same_arrays,
)
from .coerce import FrameNames, as_list, as_parts, refuse_original
from .imputation_model import ImputationModel
from .imputed_print import imputed_html, imputed_text
from .imputed_rows import bind_sets, map_sets
from .long import ID, IMP, read_long, stack_long


@dataclass(frozen=True, eq=False, repr=False)
class ImputedData(FrameNames):
    """K completed data sets with equal columns: what mice calls a mids object.

    Build it with `from_frames` or `from_long`, which check the data. It behaves as a sequence of K DataFrames; a slice
    is an ImputedData again. The data sets need not have the same number of rows (bootstrap resamples do not).

    Parameters
    ----------
    frames : sequence of pandas.DataFrame
        The K data sets. They share memory with the frames they were made from: do not write into them.
    labels : tuple
        What each data set is called in tables and messages; 1..K where nothing else is given.
    original : pandas.DataFrame or None
        The incomplete data, where known.
    imputed_by : ImputationModel or None
        What missing cells were drawn from, where remlax imputed them.

    Notes
    -----
    Integers and floating-point numbers count as one type of column, as do strings of any storage.

    Examples
    --------
    >>> import pandas as pd
    >>> import remlax as rx
    >>> one = pd.DataFrame({"y": [1.0, 2.0, 3.0], "g": ["a", "a", "b"]})
    >>> imp = rx.ImputedData.from_frames([one, one.assign(y=[1.0, 2.5, 3.0])])
    >>> imp
    ImputedData: 2 imputations of 3 rows x 2 columns; differing: y
    >>> imp[1]["y"].tolist()
    [1.0, 2.5, 3.0]
    """

    frames: Sequence[pd.DataFrame]
    labels: tuple[Label, ...]
    original: pd.DataFrame | None = None
    imputed_by: ImputationModel | None = None

    @classmethod
    def from_frames(cls, frames: Iterable[pd.DataFrame] | Mapping[Label, pd.DataFrame]) -> ImputedData:
        """Check K data frames and keep them together.

        Parameters
        ----------
        frames : list or dict of pandas.DataFrame
            At least one. The keys of a dict become the labels; those of a list are 1..K. Columns and
            categories are put in the order of the first frame; the rows stay as they are.

        Returns
        -------
        ImputedData

        Raises
        ------
        DataError
            No frame, or an empty one; duplicated column names; columns, column types or sets of categories that differ
            between the frames; the incomplete original (``.imp`` or ``_mi_m`` is 0) among several.

        Examples
        --------
        >>> import pandas as pd
        >>> import remlax as rx
        >>> sets = {"a": pd.DataFrame({"y": [1.0]}), "b": pd.DataFrame({"y": [2.0]})}
        >>> rx.ImputedData.from_frames(sets).labels
        ('a', 'b')
        """
        if isinstance(frames, Mapping):
            labels, given = tuple(frames), list(frames.values())
        else:
            given = as_list(frames)
            labels = tuple(range(1, len(given) + 1))
        if not given:
            raise DataError("there is no data set: give at least one DataFrame")
        names = [f"imputation {label}" for label in labels]
        try:
            conformed = check_frames(given, names)
        except DataError:
            refuse_original(given, names)  # says what is wrong where there is one
            raise
        refuse_original(conformed, names, conformed[0].columns)
        return cls(conformed, labels)

    @classmethod
    def from_long(cls, frame: pd.DataFrame, imp: str = IMP, id: str | None = ID) -> ImputedData:
        """Split one long frame, as ``mice::complete(..., "long")`` makes it, into its imputations.

        Parameters
        ----------
        frame : pandas.DataFrame
            The imputations below each other.
        imp : str, default ".imp"
            Column that numbers the imputations. Rows where it is 0 are the incomplete original.
        id : str or None, default ".id"
            Column that names the rows of a set: they are put in the order of the first set, and the names become the
            index unless they are just 1, 2, 3, ... None, or a column that is not there: rows stay as they stand.

        Returns
        -------
        ImputedData
            Labels are the values of `imp`, sorted where these are whole numbers, else as they first appear.

        Raises
        ------
        DataError
            `imp` is not a column or has missing cells; there is nothing but an original; as in `from_frames`.

        Examples
        --------
        >>> import pandas as pd
        >>> import remlax as rx
        >>> long = pd.DataFrame({".imp": [0, 0, 1, 1, 2, 2], "x": [5.0, None, 5.0, 3.0, 5.0, 4.0]})
        >>> imp = rx.ImputedData.from_long(long)
        >>> imp.labels, int(imp.original["x"].isna().sum())
        ((1, 2), 1)
        """
        sets, original = read_long(frame, imp, id)
        return cls.from_frames(sets).with_original(original)

    @classmethod
    def concat(cls, parts: Iterable[ImputedData]) -> ImputedData:
        """Put the rows of several imputed data sets below each other, as mice's rbind does.

        Parameters
        ----------
        parts : list of ImputedData
            Imputations of other rows each, such as the arms of a trial imputed one by one: the same labels, columns,
            types and categories, and an original in all or in none. The first gives the order of the columns.

        Returns
        -------
        ImputedData
            Imputation k holds the rows of imputation k of each part, in their order, and the original likewise. Row
            labels stay, unless all parts just count their rows, which are counted on then.
            ``.map(lambda frame: frame.sort_index())`` puts split rows back in order.

        Raises
        ------
        DataError
            No parts; the numbers of imputations, their labels, columns, types or categories differ between parts; some
            have an original and some have none; a row label stands in two parts.

        Examples
        --------
        >>> import remlax as rx
        >>> imp = rx.datasets.hsb_imputed()
        >>> public, catholic = (imp.map(lambda d, kind=kind: d[d["schtype"] == kind]) for kind in (0, 1))
        >>> public.n_rows, catholic.n_rows, rx.ImputedData.concat([public, catholic]).n_rows
        (3642, 3543, 7185)
        """
        given = as_parts(parts, cls)
        sets, original = bind_sets([dict(part.iter()) for part in given], [part.original for part in given])
        return cls.from_frames(sets).with_original(original)

    @property
    def K(self) -> int:
        """Number of imputations."""
        return len(self.frames)

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names, the same in every imputation."""
        return tuple(self.frames[0].columns)

    @cached_property
    def aligned(self) -> bool:
        """Whether all imputations have the same number of rows, so that row i is the same unit in each."""
        return len({len(frame) for frame in self.frames}) == 1

    @property
    def n_rows(self) -> int:
        """Number of rows of each imputation; a DataError where they differ in it."""
        if not self.aligned:
            sizes = sorted(len(frame) for frame in self.frames)
            raise DataError(
                f"the imputations have between {sizes[0]} and {sizes[-1]} rows, "
                "so there is no one number of rows: take len() of each"
            )
        return len(self.frames[0])

    @cached_property
    def varying(self) -> frozenset[str]:
        """Columns that differ between imputations, as `varies` tells; a DataError where their numbers of rows do."""
        if not self.aligned:
            raise DataError(
                "imputations with different numbers of rows cannot be compared row by row: check .aligned first"
            )
        return frozenset(str(name) for name in self.columns if self.varies(name))

    def varies(self, column: str) -> bool:
        """Tell whether a column differs between aligned imputations; a missing cell equals a missing cell."""
        if column not in self._known_to_vary:
            first, *rest = self.arrays(column)
            self._known_to_vary[column] = not all(same_arrays(first, other) for other in rest)
        return self._known_to_vary[column]

    def arrays(self, column: str) -> list[ColumnArray]:
        """Values of a column in every imputation, as arrays that share memory with the frames."""
        if column not in self._known_arrays:
            position = self.columns.index(column)
            self._known_arrays[column] = [frame_array(frame, position) for frame in self.frames]
        return self._known_arrays[column]

    @cached_property
    def _known_to_vary(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _known_arrays(self) -> dict[str, list[ColumnArray]]:
        return {}

    def check_complete(self, columns: Iterable[str]) -> None:
        """Raise where one of `columns` has a missing cell in any imputation.

        Parameters
        ----------
        columns : iterable of str
            The variables that a model uses.

        Raises
        ------
        DataError
            Names columns, imputations and numbers of missing cells, or a column that is not there.
        """
        problems = {}
        for name in dict.fromkeys(columns):
            if name not in self.frames[0].columns:
                raise DataError(
                    f"the imputations have no column {name!r}; they have "
                    f"{shortened([repr(column) for column in self.columns])}"
                )
            arrays = self.arrays(name)
            if not self.aligned or self.varies(name) or n_missing(arrays[0]):
                problems[name] = missing_cells(arrays, self.labels)
        refuse_missing(problems)

    def with_original(self, original: pd.DataFrame | None) -> ImputedData:
        """Return the same imputations with another incomplete original, or with none.

        Parameters
        ----------
        original : pandas.DataFrame or None
            The data before imputation: the same columns and, where the imputations are aligned, the same rows.

        Raises
        ------
        DataError
            Columns, column types or number of rows do not fit the imputations.
        """
        if original is None:
            return replace(self, original=None)
        n_rows = self.n_rows if self.aligned else None
        conformed = conform_original(original, self.frames[0], f"imputation {self.labels[0]}", n_rows)
        return replace(self, original=conformed)

    def map(self, fn: Callable[[pd.DataFrame], pd.DataFrame]) -> ImputedData:
        """Apply a function to every imputation, and to the original if there is one.

        Parameters
        ----------
        fn : callable
            Takes a DataFrame and returns a new one. It must not write into the frame that it is given, and meets the
            missing cells of the original, unless that is left out first: ``data.with_original(None).map(fn)``.

        Returns
        -------
        ImputedData
            With the same labels, checked as by `from_frames`.

        Raises
        ------
        DataError
            The function raised, or what it returned does not fit together.

        Examples
        --------
        >>> import remlax as rx
        >>> imp = rx.datasets.hsb_imputed().map(lambda d: d.assign(ses2=d["ses"] ** 2))
        >>> "ses2" in imp.varying
        True
        """
        if not callable(fn):
            raise DataError(f"map() needs a function of a data frame, not a {type(fn).__name__}")
        mapped, original = map_sets(fn, dict(self.iter()), self.original)
        return replace(ImputedData.from_frames(mapped).with_original(original), imputed_by=self.imputed_by)

    def iter(self) -> Iterator[tuple[Label, pd.DataFrame]]:
        """Iterate over pairs of label and data set.

        Examples
        --------
        >>> import remlax as rx
        >>> {label: round(float(d["ses"].mean()), 4) for label, d in rx.datasets.hsb_imputed()[:2].iter()}
        {1: 0.0007, 2: 0.0009}
        """
        return zip(self.labels, self, strict=True)

    def to_long(self, include_original: bool = False) -> pd.DataFrame:
        """Put the imputations below each other; the inverse of `from_long`.

        Parameters
        ----------
        include_original : bool, default False
            Put the incomplete original first, as imputation 0.

        Returns
        -------
        pandas.DataFrame
            Columns ``.imp`` (the label), ``.id`` (1, 2, 3, ... where the index of a set is the default one,
            else its index), then the variables.

        Raises
        ------
        DataError
            A variable is called ``.imp`` or ``.id``; there is no original to include.
        """
        if include_original and self.original is None:
            raise DataError("there is no original to include: add it using with_original()")
        sets = dict(zip(self.labels, self.frames, strict=True))
        return stack_long(sets, self.original if include_original else None)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return (frame.copy(deep=False) for frame in self.frames)

    @overload
    def __getitem__(self, index: int) -> pd.DataFrame: ...
    @overload
    def __getitem__(self, index: slice) -> ImputedData: ...
    def __getitem__(self, index: int | slice) -> pd.DataFrame | ImputedData:
        """Return the imputation at a position (from 0), or an ImputedData of a slice."""
        if isinstance(index, slice):
            if not self.frames[index]:
                raise DataError(f"positions {index.start}:{index.stop} hold none of the {self.K} imputations")
            return ImputedData(self.frames[index], self.labels[index], self.original, self.imputed_by)
        if not -self.K <= index < self.K:
            raise DataError(f"there is no data[{index}]: the {self.K} data sets are data[0] to data[{self.K - 1}]")
        return self.frames[index].copy(deep=False)

    def __repr__(self) -> str:
        return f"ImputedData: {imputed_text(self)}"

    def _repr_html_(self) -> str:
        return imputed_html(self)
