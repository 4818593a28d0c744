"""explore: a fit or pooled model in, one page of HTML out."""

from __future__ import annotations

import json
import os
import tempfile
import webbrowser
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import DataError
from .export import Model, check_model, page_content


def explore(model: Model, path: str | os.PathLike[str] | None = None) -> Path:
    """Write a page that explores a model: effects of groups, predictions under sliders, variance components.

    The page is one file that loads nothing. It shows the coefficients; the group effects in order, with a search; the
    prediction at the positions of sliders and menus, for an average group or for one that is chosen; the variance
    components; and, of a pooled model, the coefficients of every imputation.

    Parameters
    ----------
    model : LmerFit, PooledLmer, GlmerFit or PooledGlmer
    path : path-like, optional
        The file; without one it is a temporary file, which the browser opens.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    DataError
        The model has no random effects, or is a list of fits; the file cannot be written.

    Notes
    -----
    Predictions are those of `predict` at the positions of the controls. Their limits are 1.96 standard errors to each
    side, without the degrees of freedom of `predict`, and too narrow with few groups or imputations. Of an average
    group the standard error is that of the coefficients; for a chosen group there is none. Covariates of a
    pooled model have the values of its first data set. Models with an offset, and of ordered categories, have no
    predictions in the page.

    Examples
    --------
    >>> import tempfile
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> page = rx.explore(fit, f"{tempfile.mkdtemp()}/sleep.html")
    >>> page.read_text(encoding="utf-8").startswith("<!doctype html>")
    True
    """
    text = page_text(page_content(check_model(model)))
    if path is None:
        handle, name = tempfile.mkstemp(".html", "remlax-")
        os.close(handle)
        target = Path(name)
    else:
        target = Path(path)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{os.fspath(target)!r} cannot be written: {error.strerror or error}") from error
    if path is None:
        webbrowser.open(target.as_uri())
    return target


def page_text(content: dict[str, Any]) -> str:
    """Put the content into the page."""
    folder = files("remlax.explorer")
    parts = {
        name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "numbers.js", "page.js")
    }
    # in a script element only these letters could end it
    data = json.dumps(content, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    script = parts["numbers.js"] + parts["page.js"]
    out = parts["page.html"].replace("{title}", escape(content["formula"]))
    return out.replace("{css}", parts["page.css"]).replace("{js}", script).replace("{data}", data)
