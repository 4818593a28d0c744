"""Loaders of the data sets: what each column means, and where the numbers come from."""

from __future__ import annotations

import gzip
from importlib.resources import files
from typing import TypeAlias

import numpy as np
import pandas as pd

from ..imputed import ImputedData

Kind: TypeAlias = type[str] | type[int] | type[float]
Cells: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray]]

HSB: dict[str, Kind] = {"schid": str, "minority": int, "female": int, "ses": float, "mathach": float}
HSB |= {"size": int, "schtype": int, "meanses": float}
HSB_IMPUTATIONS = 5


def hsb() -> pd.DataFrame:
    """High School & Beyond: mathematics achievement of 7,185 pupils in 160 schools, complete.

    Returns
    -------
    pandas.DataFrame
        7,185 rows, one per pupil, sorted by school:

        - ``schid``: school, 160 of them (text)
        - ``minority``: 1 for pupils of a minority, 0 for others
        - ``female``: 1 for girls, 0 for boys
        - ``ses``: socio-economic status of the pupil's family (standardised scale, points)
        - ``mathach``: score in a standardised mathematics test (points)
        - ``size``: size of the school (pupils)
        - ``schtype``: 1 for private (Catholic) schools, 0 for public ones
        - ``meanses``: mean of ``ses`` in the school (points)

    Notes
    -----
    A subsample of the 1982 High School and Beyond survey of the US National Center for Education Statistics, analysed
    throughout [1]_ and made available by the UCLA Institute for Digital Research and Education. The numbers are those
    of the data set ``hsb`` of the R package merTools 0.5.2 (GPL >= 2).

    References
    ----------
    .. [1] Raudenbush, S. W. and Bryk, A. S. (2002). Hierarchical Linear Models, 2nd ed. Sage.

    Examples
    --------
    >>> import remlax as rx
    >>> pupils = rx.datasets.hsb()
    >>> pupils.shape, pupils["schid"].nunique()
    ((7185, 8), 160)
    """
    return _table("hsb.csv.gz", HSB)


def hsb_incomplete() -> pd.DataFrame:
    """High School & Beyond with 5% of four variables missing completely at random.

    Returns
    -------
    pandas.DataFrame
        The rows, columns and units of `hsb`; missing are 353 cells of ``minority``, 370 of ``female``, 361 of
        ``ses`` and 338 of ``size``.

    Notes
    -----
    Made from `hsb` after the imputation vignette of the R package merTools, whose own random numbers are not known.

    Examples
    --------
    >>> import remlax as rx
    >>> int(rx.datasets.hsb_incomplete()["ses"].isna().sum())
    361
    """
    return _with_holes(hsb(), _hsb_cells())


def hsb_imputed() -> ImputedData:
    """High School & Beyond, its missing cells imputed five times by the R package Amelia.

    Returns
    -------
    ImputedData
        K = 5 data sets with the rows, columns and units of `hsb`; `original` is `hsb_incomplete`. Differing
        are ``minority`` and ``female`` (imputed as 0 or 1), ``ses`` and ``size``.

    Notes
    -----
    Amelia 1.8.1 [1]_: ``amelia(m = 5, idvars = c("schid", "meanses"), noms = c("minority", "female"))``. As in the
    vignette of merTools, the imputation model knows nothing of the schools, and some imputed school sizes are
    negative: data for examples, not for conclusions about schools.

    References
    ----------
    .. [1] Honaker, J., King, G. and Blackwell, M. (2011). Amelia II: A Program for Missing Data. Journal of
       Statistical Software 45(7).

    Examples
    --------
    >>> import remlax as rx
    >>> imp = rx.datasets.hsb_imputed()
    >>> imp.K, sorted(imp.varying)
    (5, ['female', 'minority', 'ses', 'size'])
    """
    cells = _hsb_cells()
    original = _with_holes(hsb(), cells)
    frames = []
    for imputation in range(HSB_IMPUTATIONS):
        frame = original.copy(deep=False)  # columns without a missing cell stay shared
        for name, (rows, imputed) in cells.items():
            values = original[name].to_numpy(copy=True)
            values[rows] = imputed[:, imputation]
            frame[name] = values
        frames.append(frame)
    return ImputedData.from_frames(frames).with_original(original)


def sleepstudy() -> pd.DataFrame:
    """Reaction times of 18 subjects over ten days of sleep restriction.

    Returns
    -------
    pandas.DataFrame
        180 rows, one per subject and day:

        - ``Reaction``: mean reaction time on that day (milliseconds)
        - ``Days``: day of the study, 0 to 9; days 0 and 1 were training, day 2 the baseline, restriction
          began after it
        - ``Subject``: subject, 18 of them (text)

    Notes
    -----
    The group with three hours in bed of [1]_. The numbers are those of the data set ``sleepstudy`` of the R package
    lme4 1.1-31 (GPL >= 2).

    References
    ----------
    .. [1] Belenky, G. et al. (2003). Patterns of performance degradation and restoration during sleep
       restriction and subsequent recovery: a sleep dose-response study. Journal of Sleep Research 12, 1-12.

    Examples
    --------
    >>> import remlax as rx
    >>> rx.datasets.sleepstudy().head(2)
       Reaction  Days Subject
    0  249.5600     0     308
    1  258.7047     1     308
    """
    return _table("sleepstudy.csv.gz", {"Reaction": float, "Days": int, "Subject": str})


def dyestuff() -> pd.DataFrame:
    """Yield of dyestuff from six batches of an intermediate product.

    Returns
    -------
    pandas.DataFrame
        30 rows, five preparations of each of six batches:

        - ``Batch``: batch of the intermediate product, A to F (text)
        - ``Yield``: yield of a preparation (grams of standard colour)

    Notes
    -----
    From [1]_, section 6.4. The numbers are those of the data set ``Dyestuff`` of the R package lme4 1.1-31 (GPL >=
    2).

    References
    ----------
    .. [1] Davies, O. L. and Goldsmith, P. L. (1972). Statistical Methods in Research and Production, 4th ed.
       Oliver and Boyd.

    Examples
    --------
    >>> import remlax as rx
    >>> rx.datasets.dyestuff()["Yield"].mean()
    np.float64(1527.5)
    """
    return _table("dyestuff.csv.gz", {"Batch": str, "Yield": int})


def _table(name: str, kinds: dict[str, Kind]) -> pd.DataFrame:
    columns = _read(name)
    return pd.DataFrame({column: _convert(columns[column], kind) for column, kind in kinds.items()})


def _convert(cells: list[str], kind: Kind) -> list[str] | np.ndarray:
    # Python's own reading of decimal text is exact in every version of pandas.
    return cells if kind is str else np.array([kind(cell) for cell in cells])


def _read(name: str) -> dict[str, list[str]]:
    text = gzip.decompress(files(__package__).joinpath(name).read_bytes()).decode()
    header, *rows = (line.split(",") for line in text.splitlines())
    return {column: list(cells) for column, cells in zip(header, zip(*rows, strict=True), strict=True)}


def _hsb_cells() -> Cells:
    """Per variable: the rows (from 0) missing in hsb_incomplete, and their imputations [row, K]."""
    columns = _read("hsb_imputed_cells.csv.gz")
    variable = np.array(columns["variable"])
    rows = np.array([int(row) for row in columns["row"]])
    imputed = np.array([[float(cell) for cell in columns[str(k + 1)]] for k in range(HSB_IMPUTATIONS)]).T
    return {name: (rows[variable == name], imputed[variable == name]) for name in dict.fromkeys(columns["variable"])}


def _with_holes(complete: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    incomplete = complete.copy(deep=False)
    for name, (rows, _) in cells.items():
        values = complete[name].to_numpy(dtype=np.float64, copy=True)
        values[rows] = np.nan
        incomplete[name] = values
    return incomplete
