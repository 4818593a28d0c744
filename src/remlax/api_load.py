"""load: a file in, what was saved out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .data.archive import Archive, damaged, read_archive
from .errors import FileFormatError
from .results.load import Saved, built
from .survey import SurveyFit
from .survey.content import survey_from_content

if TYPE_CHECKING:
    from .many.result import LmerMany
    from .power.curve import PowerCurve


def load(path: str | os.PathLike[str]) -> Saved | SurveyFit | LmerMany | PowerCurve:
    """Read what ``save`` wrote: a fit, a list of fits, a pooled model, many responses, a survey, a power curve.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    LmerFit, GlmerFit, MmrmFit, or a list of them or a pooled model; LmerMany, SurveyFit or PowerCurve
        It does all that the saved object did, with the same numbers: estimates are read, not estimated again.

    Raises
    ------
    FileFormatError
        There is no such file; it is damaged or truncated, not written by remlax, or written by a newer version; or the
        installed libraries make other model columns of the saved data.

    Notes
    -----
    The file is a zip of ``.npy`` arrays and a JSON manifest. Nothing in it is ever executed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import remlax as rx
    >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fits.pool().save(Path(folder) / "model.remlax")
    ...     again = rx.load(Path(folder) / "model.remlax")
    >>> again.fixef().round(3).to_dict()
    {'Intercept': 12.654, 'ses': 2.399}
    """
    archive = read_archive(path)
    try:
        if archive.kind == "PowerCurve":
            return _power(archive)
        if archive.kind == "SurveyFit":
            return survey_from_content(archive.content)
        return _many(archive) if archive.kind == "LmerMany" else built(archive)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except Exception as error:  # content may be wrong in any way
        raise damaged(path, f"{type(error).__name__}: {error}") from error


def _many(archive: Archive) -> LmerMany:
    """Build fits to many responses; their modules are imported when they are asked for."""
    from .many.content import many_parts
    from .many.result import LmerMany

    return LmerMany(*many_parts(archive.content))


def _power(archive: Archive) -> PowerCurve:
    """Build a power curve, which draws no more data sets."""
    from .power.curve import PowerCurve

    return PowerCurve.from_content(archive.content)
