"""Model matrices against R's model.matrix, lme4's lFormula, and formulaic itself."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from formulaic import model_matrix as formulaic_matrix

from remlax.design.formula import parse_formula
from remlax.design.model_matrix import evaluate, model_matrix

REFERENCE = Path(__file__).resolve().parent.parent / "reference" / "model_matrix"


def load(name: str) -> list[dict]:
    return json.loads((REFERENCE / name).read_text())


def frame() -> pd.DataFrame:
    data = pd.read_csv(REFERENCE / "data.csv")
    data["o"] = pd.Categorical(data["o"], ["low", "mid", "high", "top", "peak"], ordered=True)
    return data


def plain(name: str) -> str:
    """One spelling for R's (Intercept), fb, poly(x, 2)1 and our Intercept, f[T.b], poly(x, 2)[1]."""
    name = name.replace("(Intercept)", "Intercept").replace("**", "^").replace('"', "'")
    name = name.replace("TRUE", "True").replace("raw=T)", "raw=True)").replace("T)", "True)")
    return re.sub(r"\[[TH]\.|[\[\] ]", "", name)


def close(ours: np.ndarray, theirs: list, tol: float = 1e-12) -> None:
    theirs = np.array(theirs, dtype=float).reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, rtol=tol, atol=tol * max(1.0, np.abs(theirs).max(initial=0.0)))


@pytest.mark.parametrize("case", load("lme4.json"), ids=lambda case: case["formula"])
def test_fixed_and_random_columns_are_lme4s(case):
    formula = parse_formula(case["formula"])
    data = frame().dropna(subset=list(formula.variables))
    assert (data.index + 1).tolist() == case["rows"]
    close(evaluate(formula.response, data), case["response"])
    offset = sum(evaluate(expr, data) for expr in formula.offsets)
    assert (case.get("offset") is None) == (not formula.offsets)
    if formula.offsets:
        close(offset, case["offset"])
    fixed = model_matrix(formula.fixed, data)
    assert [plain(name) for name in fixed.names] == [plain(name) for name in case["fixed"]["names"]]
    close(fixed.values, case["fixed"]["values"])
    for term, theirs in zip(formula.random, case["random"], strict=True):
        found = model_matrix(term.lhs, data)
        assert [plain(name) for name in found.names] == [plain(name) for name in theirs["names"]]
        close(found.values, theirs["values"])
        ours = data[list(term.group)].astype(str).agg(":".join, axis=1)
        assert ours.tolist() == [theirs["levels"][code - 1] for code in theirs["codes"]]


# R numbers the columns of these; formulaic names their categories.
NUMBERED = {"C(f, contr.sum)", "C(f, contr.helmert)", "C(o, contr.treatment)"}


@pytest.mark.parametrize("case", load("matrices.json"), ids=lambda case: case["rhs"])
def test_columns_are_those_of_model_matrix(case):
    found = model_matrix(case["rhs"], frame())
    if case["rhs"] not in NUMBERED:
        assert [plain(name) for name in found.names] == [plain(name) for name in case["names"]]
    close(found.values, case["values"], tol=1e-11 if "poly(t" in case["rhs"] else 1e-12)
    assert found.values.flags.f_contiguous
    assert found.values.dtype == np.float64
    assert np.array_equal(found.rebuild(frame()), found.values)


@pytest.mark.parametrize("case", load("newdata.json"), ids=lambda case: case["rhs"])
def test_new_data_get_the_state_of_the_old(case):
    new = pd.read_csv(REFERENCE / "newdata.csv")
    close(model_matrix(case["rhs"], frame()).rebuild(new), case["values"], tol=1e-11)


@pytest.mark.parametrize("case", load("contrasts.json"), ids=lambda case: str(case["levels"]))
def test_ordered_factors_get_contr_poly(case):
    k = case["levels"]
    data = pd.DataFrame({"o": pd.Categorical(np.arange(k)[::-1], categories=np.arange(k), ordered=True)})
    found = model_matrix("o", data)
    assert found.names == ("Intercept", *(f"o{name}" for name in case["names"]))
    close(found.values[::-1, 1:], case["values"])


# --- formulaic, asked directly, is the judge of coding, order and names

SIDES = [
    "1", "a", "a + b + c", "a*b", "a:b", "b:a", "a + b + a:b:c", "(a + b + c)^2", "a*b*c - a", "0 + a",
    "a - 1", "f", "0 + f", "0 + f*g", "f:g", "a:f", "f*g*a", "a + a:f", "0 + a:f", "0 + a + f", "f + f:g",
    "a/f", "f/a/g", "(f + g)/a", "poly(a, 2)*f", "scale(a) + C(f)", "center(a)", "C(f, contr.sum)*a",
    "C(f, contr.helmert):g", "bs(a, df=5):f", "cr(a, df=4)", "cs(a, df=4)", "cc(a, df=4)", "f:a:g",
    "cr(a, knots=[-0.5, 0.5])", "bs(a, df=5, lower_bound=-9, upper_bound=9)",
    "cr(a, df=4, constraints='center')",
]  # fmt: skip


def plain_frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    data = pd.DataFrame(rng.normal(size=(50, 3)), columns=list("abc"))
    return data.assign(f=rng.choice(list("uvw"), 50), g=rng.choice(list("xyz"), 50), k=np.arange(50))


@pytest.mark.parametrize("rhs", SIDES)
def test_columns_and_names_are_formulaics(rhs):
    data = plain_frame()
    theirs = formulaic_matrix(rhs, data)
    ours = model_matrix(rhs.replace("[", "c(").replace("]", ")"), data)
    assert [re.sub(r"c\((.*?)\)", r"[\1]", n) if "knots" in n else n for n in ours.names] == list(theirs.columns)
    close(ours.values, theirs.to_numpy(dtype=float), tol=1e-14)


def test_no_columns():
    found = model_matrix("0", plain_frame())
    assert (found.names, found.values.shape) == ((), (50, 0))
    assert found.rebuild(plain_frame().head(7)).shape == (7, 0)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "Int64", "Float64", "UInt8", "Float32"])
def test_numbers_of_any_type_become_float64(dtype):
    data = pd.DataFrame({"k": pd.array(range(9), dtype=dtype)})
    found = model_matrix("k + I(k^2)", data)
    close(found.values, [[1, k, k * k] for k in range(9)])
    close(evaluate("k/2", data), [k / 2 for k in range(9)])


@pytest.mark.parametrize("dtype", ["object", "string", "str", "category"])
def test_text_of_any_type_is_a_factor(dtype):
    data = pd.DataFrame({"f": pd.Series(["b", "c", "a", "b"], dtype=dtype)})
    found = model_matrix("f", data)
    assert found.names == ("Intercept", "f[T.b]", "f[T.c]")
    close(found.values, [[1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 0]])


@pytest.mark.parametrize("dtype", ["bool", "boolean", "object"])
def test_truth_values_are_rs_logicals(dtype):
    data = pd.DataFrame({"b": pd.Series([True, False, True], dtype=dtype)})
    assert model_matrix("b", data).names == ("Intercept", "b[T.True]")
    close(model_matrix("b", data).values[:, 1], [1, 0, 1])
    close(evaluate("b", data), [1, 0, 1])
    close(model_matrix("b", data.assign(b=data["b"] | True)).values, np.ones((3, 2)))


def test_unused_categories_are_dropped_and_the_first_is_the_base():
    f = pd.Categorical(["c", "a", "c", "d"], categories=["d", "x", "c", "y", "a"])
    found = model_matrix("f", pd.DataFrame({"f": f}))
    assert found.names == ("Intercept", "f[T.c]", "f[T.a]")
    close(found.values[:, 1:], [[1, 0], [0, 1], [1, 0], [0, 0]])


def test_numeric_categories_are_written_without_a_point():
    data = pd.DataFrame({"x": [2.0, 1.0, 2.5]})
    assert model_matrix("factor(x)", data).names == ("Intercept", "factor(x)[T.2]", "factor(x)[T.2.5]")


def test_odd_column_names():
    names = ["my var", "x:y", "x.1", "größe", "1", "log(x)", "x", "2nd", "class", "pi", "T", "Intercept "]
    data = pd.DataFrame(np.random.default_rng(0).uniform(1, 2, (9, len(names))), columns=names)
    rhs = "`my var` + `x:y` + x.1 + größe + `1` + `log(x)` + log(x) + `2nd` + class + pi + log(T)"
    found = model_matrix(rhs, data)
    expected = [
        "my var",
        "`x:y`",
        "x.1",
        "größe",
        "`1`",
        "`log(x)`",
        "log(x)",
        "2nd",
        "class",
        "pi",
        "log(T)",
    ]
    assert found.names == ("Intercept", *expected)
    columns = [
        data["my var"],
        data["x:y"],
        data["x.1"],
        data["größe"],
        data["1"],
        data["log(x)"],
        np.log(data["x"]),
    ]
    close(
        found.values[:, 1:],
        np.column_stack([*columns, data["2nd"], data["class"], data["pi"], np.log(data["T"])]),
    )
    assert found.spec.variables == (
        "my var",
        "x:y",
        "x.1",
        "größe",
        "1",
        "log(x)",
        "x",
        "2nd",
        "class",
        "pi",
        "T",
    )
    interaction = model_matrix("`my var`:x", data)
    assert interaction.names == ("Intercept", "my var:x")
    close(interaction.values[:, 1], data["my var"] * data["x"])


def test_one_state_for_stacked_frames_and_no_data_in_the_spec():
    data = plain_frame()
    spec = model_matrix("scale(a) + poly(b, 2) + f", data).spec
    parts = [spec.build(data.iloc[:20]), spec.build(data.iloc[20:])]
    close(np.vstack(parts), model_matrix("scale(a) + poly(b, 2) + f", data).values, tol=1e-15)
    before = repr(spec)
    spec.build(data.assign(a=data["a"] * 100))
    assert repr(spec) == before


def test_the_frame_is_neither_changed_nor_shared():
    data = plain_frame()
    copy = data.copy(deep=True)
    model_matrix("a*f + poly(b, 2)", data).values[:] = np.nan
    evaluate("a", data)[:] = np.nan
    pd.testing.assert_frame_equal(data, copy)


def test_a_factor_is_recoded_to_the_categories_of_the_fit():
    spec = model_matrix("f", pd.DataFrame({"f": list("abc")})).spec
    new = pd.DataFrame({"f": pd.Categorical(list("cac"), categories=list("xcba"))})
    close(spec.build(new), [[1, 0, 1], [1, 0, 0], [1, 0, 1]])


def test_relevel_keeps_its_base_on_new_data():
    found = model_matrix("relevel(f, 'b') + I(relevel(f, 'b') == 'c')", pd.DataFrame({"f": list("abc")}))
    assert found.names[1:3] == ("relevel(f, 'b')[T.a]", "relevel(f, 'b')[T.c]")
    close(found.rebuild(pd.DataFrame({"f": list("aa")})), [[1, 1, 0, 0]] * 2)


def test_the_spec_survives_pickling():
    data = plain_frame()
    found = model_matrix("scale(a) + poly(b, 2)*f + C(g, contr.sum)", data)
    again = pickle.loads(pickle.dumps(found.spec))
    assert np.array_equal(again.build(data.head(9)), found.rebuild(data.head(9)))
