"""What an analysis model has and its imputation model lacks."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.data.imputation_model import ImputationModel
from remlax.design.congenial import lacking, lost_levels
from remlax.design.formula import parse_formula
from remlax.errors import ImputationWarning

RNG = np.random.default_rng(5)
ROWS = pd.DataFrame(
    {
        "id": np.repeat(np.arange(60), 4),
        "time": np.tile(np.arange(4), 60),
        "year": np.tile(2010 + np.arange(4), 60),
        "arm": np.repeat(RNG.choice(["a", "b"], 60), 4),
        "x": RNG.normal(size=240),
        "z": RNG.normal(size=240),
        "k": RNG.integers(0, 3, 240),
        "y": RNG.normal(size=240),
    }
)
OUTCOME = ImputationModel(("y",), ("y",), ("time", "arm"), (), "id")


@pytest.mark.parametrize(
    ("formula", "terms", "slopes"),
    [
        ("y ~ time + arm + (1 | id)", (), ()),
        ("y ~ I(time / 10) + relevel(arm, ref='b') + (1 | id)", (), ()),
        ("y ~ year + scale(time) + (1 | id)", (), ()),  # year is time and a constant
        ("y ~ time * arm + (1 | id)", ("time:arm",), ()),
        ("y ~ time + I(time^2) + arm + (1 | id)", ("I(time^2)",), ()),
        ("y ~ I(year^2) + (1 | id)", ("I(year^2)",), ()),
        ("y ~ factor(time) + (1 | id)", ("factor(time)",), ()),
        ("y ~ poly(time, 1) + (1 | id)", (), ()),
        ("y ~ time + (1 + time | id)", (), ("time",)),
        ("y ~ time * arm + (1 + time || id)", ("time:arm",), ("time",)),
        ("y ~ time + (1 + time | arm)", (), ()),  # not the clusters of the imputation model
        ("x ~ time * arm + (1 + time | id)", (), ()),  # nothing imputed has to do with it
    ],
)
def test_an_imputed_outcome(formula: str, terms: tuple[str, ...], slopes: tuple[str, ...]) -> None:
    found = lacking(parse_formula(formula), OUTCOME, ROWS)
    assert (found.terms, found.slopes, found.of_imputed) == (terms, slopes, False)


@pytest.mark.parametrize(
    ("formula", "terms", "slopes"),
    [
        ("y ~ x + z + (1 | id)", (), ()),
        ("y ~ x * z + (1 | id)", ("x:z",), ()),
        ("y ~ x + I(x^2) + (1 + x | id)", ("I(x^2)",), ("x",)),
        ("y ~ log(x + 9) + factor(k) + (1 + z | id)", (), ()),
        ("y ~ z * arm + x + (1 + z | id)", (), ()),  # complete columns, complete outcome
    ],
)
def test_imputed_covariates(formula: str, terms: tuple[str, ...], slopes: tuple[str, ...]) -> None:
    model = ImputationModel(("x", "k"), ("x", "y", "k"), ("z", "arm"), (), "id", categories=("k",))
    found = lacking(parse_formula(formula), model, ROWS)
    assert (found.terms, found.slopes, found.of_imputed) == (terms, slopes, bool(terms))


def test_what_the_imputation_model_has_is_not_lacking() -> None:
    analysis = parse_formula("y ~ time * arm + (1 + time | id)")
    for model in (
        replace(OUTCOME, fixed=("time*arm",), random=("time",)),
        replace(OUTCOME, fixed=("time",), random=("time",), by="arm"),
        replace(OUTCOME, targets=("y", "time"), fixed=("arm", "time:arm"), random=("time",)),
    ):
        assert not lacking(analysis, model, ROWS)
    outcome = "y ~ x * z + (1 + x | id)"
    model = ImputationModel(("x",), ("x",), ("z",), (), "id", outcome)
    assert not lacking(parse_formula(outcome), model, ROWS)
    found = lacking(parse_formula("y ~ x * z + x:arm + (1 + x | id)"), model, ROWS)
    assert found.terms == ("x:arm",)
    assert found.words("id") == "the product 'x:arm'"
    independent = replace(OUTCOME, random=None, cluster="")
    assert lacking(analysis, independent, ROWS).slopes == ()


@pytest.fixture(scope="module")
def imputed() -> rx.ImputedData:
    original = ROWS.assign(y=ROWS["y"].mask(ROWS.index % 5 == 0))
    frames = [original.assign(y=original["y"].fillna(value)) for value in (0.0, 0.3)]
    return rx.ImputedData.from_frames(frames).with_original(original)


def test_lmer_list_warns_once_and_says_what_to_write(imputed: rx.ImputedData) -> None:
    formula = "y ~ time * arm + (1 | id)"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImputationWarning)
        warnings.simplefilter("ignore", rx.SingularFitWarning)
        rx.lmer_list(formula, imputed)  # nobody knows how they were imputed
        rx.lmer_list(formula, replace(imputed, imputed_by=replace(OUTCOME, by="arm", fixed=("time",))))
    known = replace(imputed, imputed_by=OUTCOME)
    message = (
        r"missing cells of 'y' were imputed without the product 'time:arm', which the model has: estimates of such "
        r"terms are then biased, as a rule towards 0\. Impute by remlax\.impute\.joint\(data, 'y ~ time \+ arm \+ "
        r"time:arm \+ \(1 \| id\)'\)"
    )
    for data in (known, known[:2], known.map(lambda d: d.assign(new=1)), known.with_original(None)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rx.SingularFitWarning)
            with pytest.warns(ImputationWarning, match=message):
                rx.lmer_list(formula, data)
    square = replace(imputed, imputed_by=ImputationModel(("x",), ("x", "y"), (), (), "id"))
    formula = "y ~ x + I(x^2) + (1 | id)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rx.SingularFitWarning)
        with pytest.warns(ImputationWarning, match=re.escape(f"joint(..., compatible_with={formula!r})")):
            rx.lmer_list(formula, square)
        coded = ImputationModel(("k",), ("k", "y"), (), (), "id", categories=("k",))
        with pytest.warns(ImputationWarning, match=r"For such terms of incomplete categories impute by mdmb"):
            rx.lmer_list("y ~ k:x + (1 | id)", replace(imputed, imputed_by=coded))


NESTED = ROWS.assign(site=ROWS["id"] // 6, sub=ROWS["id"] % 6)


@pytest.mark.parametrize(
    ("formula", "model", "lost"),
    [
        ("y ~ time + (1 | site / id)", OUTCOME, [("site",)]),
        ("y ~ time + (1 | site / sub)", OUTCOME, [("site",)]),  # the groups of id by other names
        ("y ~ time + (1 | site)", OUTCOME, [("site",)]),
        ("y ~ time + (1 | site / sub)", replace(OUTCOME, cluster="site"), [("sub", "site")]),
        ("y ~ time + (1 | site / sub)", replace(OUTCOME, cluster="sub", top="site"), []),
        ("y ~ time + (1 | site / id)", replace(OUTCOME, cluster="sub", top="site"), []),
        ("y ~ time + (1 | id)", replace(OUTCOME, cluster="sub", top="site"), []),
        ("y ~ time + (1 | id)", OUTCOME, []),
        ("y ~ time + (1 | id) + (1 | k)", OUTCOME, []),  # crossed
        ("y ~ time + (1 | site / id)", replace(OUTCOME, fixed=("time", "factor(site)")), []),
        ("x ~ z + (1 | site / id)", OUTCOME, []),  # nothing imputed has to do with it
        ("y ~ time + (1 | site / id)", replace(OUTCOME, random=None, cluster=""), []),
    ],
)
def test_levels_that_imputations_lack(formula: str, model: ImputationModel, lost: list[tuple[str, ...]]) -> None:
    assert lost_levels(parse_formula(formula), model, NESTED) == lost


def test_slopes_of_both_levels() -> None:
    model = replace(OUTCOME, cluster="sub", top="site", random=("time",), top_random=())
    found = lacking(parse_formula("y ~ time + (1 + time | site / sub)"), model, NESTED)
    assert found.slopes == ("time",)
    assert not lacking(parse_formula("y ~ time + (1 | site) + (1 + time | site:sub)"), model, NESTED)


@pytest.mark.filterwarnings("ignore:singular fit")
def test_a_lost_level_is_warned_of() -> None:
    data = rx.ImputedData.from_frames([NESTED, NESTED.assign(y=NESTED["y"] + NESTED["x"])])
    with pytest.warns(ImputationWarning, match=r"random effects of 'id', without those of 'site'.* cluster="):
        rx.lmer_list("y ~ time + (1 | site / id)", replace(data, imputed_by=OUTCOME))
