"""Tables as journals print them: of one model, and of several side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from ..design.tokens import nearest
from ..errors import DataError, MissingExtraError, shortened
from ..names import UnknownNames
from ..tables.checks import checks
from ..tables.constraints import MANY
from ..tables.exponentiate import exponentiated
from ..tables.printing import INFINITE_DF, MINUS, decimals, interval, number, p_text, stars_of, term_words

Errors = Literal["se", "ci"]
PART = "Part"
ROW = "Row"
PARTS = FIXED, RANDOM, MODEL = ("Fixed effects", "Random effects", "Model")
RESIDUAL = "Residual SD"
NOT_IDENTIFIED = "not identified"
LAST = ("Observations", "Groups", "Imputations", "FMI")
# what great_tables writes of a title, and the size of letters, which are the document's own
CAPTION = re.compile(r"\\caption\*\{\s*\{\\large (.*?)\}\s*\} ?", re.DOTALL)
FONT_SIZE = re.compile(r"\n?\\fontsize\{[\d.]+pt\}\{[\d.]+pt\}\\selectfont\n")
LATEX = {MINUS: "$-$", "\N{SUPERSCRIPT TWO}": "$^2$", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{EN DASH}": "--",
         "\N{INFINITY}": r"$\infty$"}  # fmt: skip


@dataclass(frozen=True)
class ModelParts:
    """What a table says about one model.

    Attributes
    ----------
    fixed : DataFrame
        ``term estimate std_error df statistic p_value conf_low conf_high``, pooled also ``fmi``.
    random : DataFrame
        ``kind`` (sd, cor or residual), ``names`` (one or two columns), ``group``, ``identified``, ``estimate std_error
        conf_low conf_high``.
    facts : dict
        Shares of variance, which are printed with the digits of the table, and facts as they are printed: observations,
        groups, imputations.
    conf_level : float
    method : str
        Estimator, pooling and degrees of freedom in words.
    notes : list of str
        What must not be overlooked.
    variables : tuple of str
        Columns of the data that the model uses.
    link : str
    ratios : str
        What exponentiated coefficients are, such as ``odds ratios``; empty where they are no ratios.
    shape : DataFrame
        Shape parameters of the response: ``name estimate std_error conf_low conf_high``; empty where there are none.
    """

    fixed: pd.DataFrame
    random: pd.DataFrame
    facts: dict[str, str | float]
    conf_level: float
    method: str = ""
    notes: list[str] = field(default_factory=list)
    variables: tuple[str, ...] = ()
    link: str = "identity"
    ratios: str = ""
    shape: pd.DataFrame = field(default_factory=pd.DataFrame)

    def exponentiated(self) -> ModelParts:
        """The same with exponentiated coefficients, and a note that says what they are."""
        note = f"coefficients are exponentiated: {self.ratios}, with standard errors by the delta method"
        return replace(self, fixed=exponentiated(self.fixed, self.link), notes=[note, *self.notes])


class Reportable(Protocol):
    """A fit or a pooled model."""

    def _report_parts(self) -> ModelParts: ...


@dataclass(frozen=True, eq=False, repr=False)
class ModelTable(UnknownNames):
    """A table for print: texts in rows, with a heading per part and notes below.

    Attributes
    ----------
    cells : DataFrame
        Columns ``Part``, ``Row`` and those of the table.
    notes : tuple of str
    title : str or None
    """

    cells: pd.DataFrame
    notes: tuple[str, ...]
    title: str | None = None

    def __post_init__(self) -> None:
        if self.title is not None and not isinstance(self.title, str):
            raise DataError(f"title={self.title!r} must be text")

    def to_frame(self) -> pd.DataFrame:
        """Return the printed cells, indexed by ``Part`` and ``Row``; ``attrs["notes"]`` holds the notes."""
        out = self.cells.set_index([PART, ROW])
        out.attrs["notes"] = list(self.notes)
        return out

    def to_markdown(self) -> str:
        """Return the table in Markdown (with pipes, as GitHub and Quarto read it), notes below."""
        columns = list(self.cells.columns[2:])
        lines = [_pipes(["", *map(_plain, columns)]), _pipes([":--", *["--:"] * len(columns)])]
        for part, rows in self.cells.groupby(PART, sort=False):
            lines.append(_pipes([f"**{_plain(str(part))}**", *[""] * len(columns)]))
            lines.extend(_pipes(map(_plain, row)) for row in rows.drop(columns=PART).itertuples(index=False))
        head = [f"**{_plain(self.title)}**", ""] if self.title else []
        return "\n".join([*head, *lines, "", *(f"{_plain(note)}  " for note in self.notes)]).rstrip() + "\n"

    def to_html(self) -> str:
        """Return the table in HTML, with its style sheet (great_tables).

        Raises
        ------
        MissingExtraError
            great_tables is not installed.
        """
        return str(self._great_table().as_raw_html())

    def to_latex(self, *, label: str | None = None) -> str:
        r"""Return a ``table`` environment in LaTeX (great_tables), with the title as its numbered caption.

        The preamble needs ``\usepackage{booktabs, caption, longtable, colortbl, array}``.

        Parameters
        ----------
        label : str, optional
            For ``\ref``: ``"tab:models"``. It needs a title.

        Raises
        ------
        MissingExtraError
            great_tables is not installed.
        DataError
            A label without a title, or one that LaTeX cannot read.
        """
        if label is not None and (self.title is None or not re.fullmatch(r"[\w:./+-]+", str(label))):
            raise DataError(
                f"label={label!r} needs a title, which is the caption, and letters, digits and : . / + - _ alone"
            )
        text = str(self._great_table().as_latex())
        tag = "" if label is None else rf"\label{{{label}}}"
        text = CAPTION.sub(lambda found: rf"\caption{{{found[1]}}}{tag}", text)
        text = FONT_SIZE.sub("", text)
        for character, command in LATEX.items():
            text = text.replace(character, command)
        return text

    def _great_table(self) -> Any:
        try:
            import great_tables
        except ImportError:
            raise MissingExtraError(
                "HTML and LaTeX tables need great_tables: pip install 'remlax[tables]'; to_markdown() needs nothing"
            ) from None
        # column ids that no label can break; the labels go in as text
        ids = [f"c{i}" for i in range(self.cells.shape[1])]
        table = great_tables.GT(self.cells.set_axis(ids, axis=1), groupname_col=ids[0], id="remlax")
        table = table.cols_label(**dict(zip(ids[1:], ["", *self.cells.columns[2:]], strict=True)))
        table = table.cols_align("left", [ids[1]]).cols_align("center", ids[2:])
        if self.title:
            table = table.tab_header(self.title)
        for note in self.notes:
            table = table.tab_source_note(note)
        return table

    def __repr__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        try:
            return self.to_html()
        except MissingExtraError:
            return f"<pre>{escape(self.to_markdown())}</pre>"


def _plain(text: str) -> str:
    """Escape what Markdown, or the HTML that it lets through, would read as markup."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text)  # not every reader of Markdown knows a backslash before it
    return re.sub(r"([\\|*_`]|(?<=\])(?=\())", r"\\\1", text).replace("\n", " ")


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


# -- one model ---------------------------------------------------------------------------------------------------


def one_model(
    parts: ModelParts,
    labels: Mapping[str, str] | None,
    digits: int,
    title: str | None = None,
    *,
    exponentiate: bool = False,
) -> ModelTable:
    """Lay out one model: estimate, SE, limits, df, t (or z), p and (pooled) FMI in columns."""
    parts = parts.exponentiated() if exponentiate else parts
    words = _checked(labels, digits, [parts])
    pooled = "fmi" in parts.fixed
    limits = f"{100 * parts.conf_level:g}% CI"
    tests = ["df", "t"] if pooled or np.isfinite(parts.fixed["df"]).any() else ["z"]
    columns = ["Estimate", "SE", limits, *tests, "p", *(["FMI"] if pooled else [])]
    common, rows = _places(parts, digits), []
    for part, name, row in _entries(parts, words):
        if not isinstance(row, pd.Series):
            cells = [_fact_text(row, digits)]
        else:
            cells = _estimate_cells(row, common) if row.get("identified", True) else [NOT_IDENTIFIED]
        if part == FIXED:
            df = row["df"] if row["df"] <= INFINITE_DF else np.inf
            cells += [number(df, 1)] * (len(tests) - 1) + [number(row["statistic"], 2), p_text(row["p_value"])]
            cells += [number(row["fmi"], 2)] if pooled else []
        rows.append([part, name, *cells, *[""] * (len(columns) - len(cells))])
    notes = (f"{parts.method}.", *map(_sentence, parts.notes))
    return ModelTable(pd.DataFrame(rows, columns=[PART, ROW, *columns]), notes, title)


def _entries(parts: ModelParts, words: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Part, name and numbers of every row."""
    for _, row in parts.fixed.iterrows():
        yield FIXED, term_words(row["term"], words), row
    for _, row in parts.random.iterrows():
        yield RANDOM, _random_words(row, words), row
    for _, row in parts.shape.iterrows():
        yield MODEL, row["name"], row
    for name, value in parts.facts.items():
        kind, colon, group = name.partition(": ")
        yield MODEL, f"{kind}{colon}{words.get(group, group)}", value


def _places(parts: ModelParts, digits: int) -> int:
    """Decimals of a column of estimates: those that its standard errors need, but at most two more than asked for.

    A row that needs more still has its own: a coefficient per unit of a large number would vanish.
    """
    rows = pd.concat([part[["std_error", "estimate"]] for part in (parts.fixed, parts.random)], ignore_index=True)
    needed = [decimals(error, estimate, digits) for error, estimate in rows.itertuples(index=False)]
    return max((places for places in needed if places <= digits + 2), default=digits)


def _estimate_cells(row: pd.Series[Any], common: int) -> list[str]:
    places = decimals(row["std_error"], row["estimate"], common)
    limits = interval(row["conf_low"], row["conf_high"], places)
    return [number(row["estimate"], places), number(row["std_error"], places), limits]


def _fact_text(value: str | float, digits: int) -> str:
    return value if isinstance(value, str) else number(value, digits)


def _sentence(note: str) -> str:
    """A note as a sentence: a capital and a full stop."""
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".")


def _random_words(row: pd.Series[Any], labels: Mapping[str, str]) -> str:
    if row["kind"] == "residual":
        return RESIDUAL
    group = labels.get(row["group"], row["group"])
    names = [term_words(name, labels) for name in row["names"]]
    names = ["intercept" if name == "Intercept" else name for name in names]
    what = f"SD of {names[0]}" if row["kind"] == "sd" else f"Correlation of {' and '.join(names)}"
    return f"{what} ({group})"


def _checked(labels: Mapping[str, str] | None, digits: int, models: Iterable[ModelParts]) -> Mapping[str, str]:
    if not isinstance(digits, int | np.integer) or not 0 <= digits <= 6:
        raise DataError(f"digits={digits!r} must be a whole number between 0 and 6")
    if labels is None:
        return {}
    if not isinstance(labels, Mapping) or not all(isinstance(t, str) for pair in labels.items() for t in pair):
        raise DataError("labels must be a dict from terms, variables or groups to the words to print")
    terms, known = dict[str, None](), dict[str, None]()
    for parts in models:
        terms |= dict.fromkeys([*parts.fixed["term"], *(name for row in parts.random["names"] for name in row)])
        known |= dict.fromkeys([*parts.variables, *filter(None, parts.random["group"])])
    for name in labels:
        # a variable in log(x) or factor(x) is one that a label reaches
        if name not in known and not any(term_words(term, {name: ""}) != term_words(term, {}) for term in terms):
            names = list(dict.fromkeys([*terms, *known]))
            hint = nearest(name, names)
            they = f"{hint} They" if hint else "; they"
            raise DataError(
                f"labels names {name!r}, which is no term, variable or grouping factor{they} are "
                f"{shortened(map(repr, names), MANY)}"
            )
    return labels


# -- several models ----------------------------------------------------------------------------------------------


def model_table(
    models: Sequence[Reportable] | Mapping[str, Reportable],
    *,
    errors: Errors = "se",
    stars: bool = False,
    exponentiate: bool = False,
    labels: Mapping[str, str] | None = None,
    digits: int = 2,
    title: str | None = None,
) -> ModelTable:
    """Put models side by side, one column each: estimates, variance components, measures and counts.

    Parameters
    ----------
    models : list or dict of LmerFit, PooledLmer, GlmerFit or PooledGlmer
        The keys of a dict head the columns; those of a list are ``Model 1``, ``Model 2``, ...
    errors : {"se", "ci"}, default "se"
        Standard errors in parentheses, or confidence limits in brackets, behind the estimates.
    stars : bool, default False
        Mark p < 0.05, 0.01 and 0.001 by stars, explained in a note.
    exponentiate : bool, default False
        Coefficients of generalised models as odds ratios (logit), rate ratios or ratios of means (log), with standard
        errors by the delta method; those of linear models stay as they are.
    labels : dict, optional
        Words for terms (``"sex[T.m]"``), variables (``"sex"``) and grouping factors.
    digits : int, default 2
        Least number of decimals; the estimates of all models have more, all of them the same, where a standard error
        would show fewer than two significant digits.
    title : str, optional

    Returns
    -------
    ModelTable
        With ``to_frame()``, ``to_markdown()``, ``to_html()`` and ``to_latex()``.

    Raises
    ------
    DataError
        Something is not a fit or a pooled model; an option is not known; labels has a name that no model has; the
        models have limits of different levels; no model has coefficients that can be exponentiated.

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.sleepstudy()
    >>> one = rx.lmer("Reaction ~ Days + (1 | Subject)", data)
    >>> two = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", data)
    >>> table = rx.model_table({"Intercepts": one, "Slopes": two})
    >>> table.to_frame().loc["Fixed effects"].values.tolist()
    [['251.41 (9.75)', '251.41 (6.82)'], ['10.47 (0.80)', '10.47 (1.55)']]
    """
    checks.choice(errors, Errors, "errors=")
    each = _named(models)
    found = {name: model._report_parts() for name, model in each.items()}
    if exponentiate:
        found = _exponentiated(found)
    words = _checked(labels, digits, found.values())
    levels = sorted({parts.conf_level for parts in found.values()})
    if errors == "ci" and len(levels) > 1:
        raise DataError(
            f"the models have confidence limits of different levels ({', '.join(f'{v:g}' for v in levels)}): pool them "
            "with one conf_level"
        )
    places = _row_places(found.values(), words, digits)
    columns = {name: _column(parts, words, errors, digits, places, stars=stars) for name, parts in found.items()}
    rows = sorted(dict.fromkeys(key for column in columns.values() for key in column), key=_place)
    cells = [[*key, *(column.get(key, "") for column in columns.values())] for key in rows]
    return ModelTable(pd.DataFrame(cells, columns=[PART, ROW, *columns]), _notes(found, errors, stars=stars), title)


def _exponentiated(found: dict[str, ModelParts]) -> dict[str, ModelParts]:
    """Exponentiate the coefficients of those models where they are logarithms of ratios."""
    if not any(parts.ratios for parts in found.values()):
        raise DataError(
            "exponentiate=True is for generalised models with a logit, log or cloglog link: none of these is one"
        )
    return {name: parts.exponentiated() if parts.ratios else parts for name, parts in found.items()}


def _named(models: Sequence[Reportable] | Mapping[str, Reportable]) -> dict[str, Reportable]:
    if isinstance(models, Mapping):
        each = {str(name): model for name, model in models.items()}
    elif isinstance(models, list | tuple):
        each = {f"Model {i}": model for i, model in enumerate(models, start=1)}
    else:
        raise DataError(f"models must be a list or dict of fits or pooled models, not a {type(models).__name__}")
    if not each:
        raise DataError("there is no model: give at least one fit or pooled model")
    for name, model in each.items():
        if not hasattr(model, "_report_parts"):
            hint = ": pool it first" if hasattr(model, "pool") else ""
            raise DataError(f"{name} is a {type(model).__name__}, not a fit or a pooled model{hint}")
    return each


def _place(key: tuple[str, str]) -> tuple[int, int]:
    """Order of the rows: by part, the residual last, measures before counts."""
    part, row = key
    last = next((i for i, name in enumerate(LAST, start=1) if row.startswith(name)), 0) if part == MODEL else 0
    return PARTS.index(part), last or int(part == RANDOM and row == RESIDUAL)


def _row_places(models: Iterable[ModelParts], labels: Mapping[str, str], digits: int) -> dict[str, int]:
    """Decimals of every row, the same in all models."""
    models = list(models)
    common, out = max(_places(parts, digits) for parts in models), dict[str, int]()
    for _, name, row in (entry for parts in models for entry in _entries(parts, labels)):
        if isinstance(row, pd.Series):
            out[name] = max(out.get(name, common), decimals(row["std_error"], row["estimate"], common))
    return out


def _column(
    parts: ModelParts, labels: Mapping[str, str], errors: str, digits: int, places: Mapping[str, int], *, stars: bool
) -> dict[tuple[str, str], str]:
    """Cells of one model, by part and row."""
    out: dict[tuple[str, str], str] = {}
    for part, name, row in _entries(parts, labels):
        if (part, name) in out:
            raise DataError(f"two rows of one model are both called {name!r}: give them different labels")
        if not isinstance(row, pd.Series):
            out[part, name] = _fact_text(row, digits)
        elif row.get("identified", True):
            mark = stars_of(row["p_value"]) if stars and part == FIXED else ""
            out[part, name] = _cell(row, errors, places[name], mark)
        else:
            out[part, name] = NOT_IDENTIFIED
    return out


def _cell(row: pd.Series[Any], errors: str, places: int, mark: str) -> str:
    estimate = number(row["estimate"], places) + mark
    if errors == "ci":
        return f"{estimate} {interval(row['conf_low'], row['conf_high'], places)}".strip()
    error = number(row["std_error"], places)
    return f"{estimate} ({error})" if error else estimate


def _notes(found: dict[str, ModelParts], errors: str, *, stars: bool) -> tuple[str, ...]:
    level = next(iter(found.values())).conf_level
    what = "standard errors in parentheses" if errors == "se" else f"{100 * level:g}% confidence limits in brackets"
    notes = [f"Estimates with {what}."]
    if stars:
        notes.append("* p < 0.05, ** p < 0.01, *** p < 0.001.")
    methods: dict[str, list[str]] = {}
    for name, parts in found.items():
        methods.setdefault(parts.method, []).append(name)
    for method, names in methods.items():
        notes.append(f"{method}." if len(methods) == 1 else f"{', '.join(names)}: {method}.")
    notes += [f"{name}: {_sentence(note)}" for name, parts in found.items() for note in parts.notes]
    return tuple(notes)
