"""What a fit, a list of fits and a pooled model have in common."""

from __future__ import annotations

import os
from typing import Any

from ..data.archive import write_archive
from ..fitting.fit import Fitted


class Result:
    """Formula, names and file of whatever comes from a stack of fits."""

    fitted_stack: Fitted

    @property
    def formula(self) -> str:
        """The model formula."""
        return self.fitted_stack.model.rows.formula.text

    @property
    def _names(self) -> list[str]:
        return self.fitted_stack.model.fixed_names

    @property
    def _dropped(self) -> list[str]:
        return self.fitted_stack.model.dropped_names

    @property
    def _term_names(self) -> dict[str, list[str]]:
        return self.fitted_stack.model.term_names

    def _content(self) -> tuple[str, dict[str, Any]]:
        """Kind and content of the file."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write this, with its fits, to a file, for `remlax.load`.

        Parameters
        ----------
        path : path-like
            An existing file is replaced, in one step.

        Raises
        ------
        FileFormatError
            The file cannot be written.
        DataError
            A column of the model is of a type that a file cannot keep.

        Warns
        -----
        DataWarning
            A column that the model does not use is of such a type, and left out.

        Notes
        -----
        The file holds the data, of all data sets that were fitted together.

        See Also
        --------
        remlax.load
        """
        write_archive(path, *self._content())
