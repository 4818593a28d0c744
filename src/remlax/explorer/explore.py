"""explore: a fit or pooled model in, one page of HTML out."""

from __future__ import annotations

import json
import os
import re
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
    Predictions and their 95 percent limits are those of `predict` at the positions of the controls, with its degrees of
    freedom: of the expected response, of a new observation, and of one in groups that the data do not have. For a
    group that is chosen there are limits while the page stays small (60,000 numbers), and where it is the only one.
    Covariates of a pooled model have the values of its first data set. A slider has 41 positions, fewer where three
    variables meet in a column. Models of ordered categories, or with an offset that is an array, have no predictions.

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
    elif isinstance(path, str | os.PathLike):
        target = Path(path)
    else:
        raise DataError(f"path={path!r} must be the path of a file")
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
    inserted = {"title": escape(content["formula"]), "css": parts["page.css"], "js": script, "data": data}
    # in one pass: what is inserted may hold braces
    return re.sub(r"\{(title|css|js|data)\}", lambda found: inserted[found[1]], parts["page.html"])
