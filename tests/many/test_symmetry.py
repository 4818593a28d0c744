"""Where levels can be exchanged, responses are fitted in small blocks: the numbers are those of the whole algebra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.engine.programs import float64
from remlax.fitting.refit import products_of_responses, z_matrices
from remlax.kernels.criterion import expansion, profiled_deviance
from remlax.many.design import parse_right_side, with_stand_in
from remlax.many.fit import SharedDesign
from remlax.many.symmetry.basis import Symmetry

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
SLOPES = "~ cond + (1 + cond | subj) + (1 + cond | item)"


def latin_square(subjects: int, items: int) -> pd.DataFrame:
    """Every subject meets every item in one of two conditions."""
    subj, item = np.repeat(np.arange(subjects), items), np.tile(np.arange(items), subjects)
    return pd.DataFrame({"subj": subj, "item": item, "cond": (subj + item) % 2 - 0.5, "list": subj % 3})


def draw(data: pd.DataFrame, n: int) -> np.ndarray:
    """Responses (n, rows) with effects of both factors."""
    rng, rows = np.random.default_rng(5), len(data)
    y = 0.3 * data["cond"].to_numpy() + rng.normal(size=(n, rows))
    for name, sd in (("subj", 0.8), ("item", 0.6)):
        code = data[name].to_numpy()
        effects = sd * rng.normal(size=(n, code.max() + 1, 2))
        y += effects[:, code, 0] + effects[:, code, 1] * data["cond"].to_numpy()
    return y


def shared(data: pd.DataFrame, formula: str, *, reml: bool = True, weights: np.ndarray | None = None) -> SharedDesign:
    rows = read_rows(parse_right_side(formula), ImputedData((with_stand_in(data),), (1,)), weights=weights)
    return SharedDesign.of(rows, reml=reml)


@pytest.mark.parametrize(
    ("formula", "reml", "kinds"),
    [
        pytest.param(SLOPES, True, 4, marks=pytest.mark.slow),
        pytest.param("~ cond + (1 + cond || subj) + (1 | item)", False, 6, marks=pytest.mark.slow),
        ("~ 1 + (1 | list / subj)", True, 3),
    ],
)
@pytest.mark.parametrize("weighted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_blocks_have_the_determinant_and_the_form_of_the_dense_matrix(
    formula: str, reml: bool, kinds: int, weighted: bool
):
    data = latin_square(9, 6) if "list" in formula else latin_square(8, 6)
    weights = np.where(data["cond"] > 0, 2.0, 0.5) if weighted else np.ones(len(data))
    design, y = shared(data, formula, reml=reml, weights=weights if weighted else None), draw(data, 2)
    model, short = design.model, design.symmetry
    assert isinstance(short, Symmetry)
    assert weighted or len(short.places) <= kinds
    found = products_of_responses(model, 0, y)
    problem = short.batch(found).one(1)
    theta_map = model.layout.structure.theta_map
    theta = np.linspace(0.4, 0.9, theta_map.n_theta)
    root = np.sqrt(weights)
    x = model.orthonormal(model.rows.x.of(0)[:, model.keep], 0) * root[:, None]
    rest = (root * y[1] - x @ np.linalg.lstsq(x, root * y[1], rcond=None)[0]) / found.scale[1]
    v = np.eye(len(data))
    with float64():
        lams = [np.asarray(lam) for lam in theta_map.factors(jax.numpy.asarray(theta))]
        logdet, m = (np.asarray(part) for part in problem.marginal(theta_map.factors(jax.numpy.asarray(theta))))
        exact = expansion(jax.numpy.asarray(theta), problem, hessian=True)

        def gradient(at: np.ndarray) -> np.ndarray:
            return np.asarray(expansion(jax.numpy.asarray(at), problem, hessian=False).grad)

        def value(at: np.ndarray) -> float:
            return float(profiled_deviance(jax.numpy.asarray(at), problem))

        steps = 1e-5 * np.eye(len(theta))
        slope = [(value(theta + step) - value(theta - step)) / 2e-5 for step in steps]
        curvature = [(gradient(theta + step) - gradient(theta - step)) / 2e-5 for step in steps]
    for z, lam in zip(z_matrices(model, 0), lams, strict=True):
        whole = root[:, None] * z.toarray() @ np.kron(np.eye(z.shape[1] // len(lam)), lam)
        v += whole @ whole.T
    w = np.column_stack([x, rest])
    assert_allclose(logdet, np.linalg.slogdet(v)[1], rtol=1e-11)
    assert_allclose(m, w.T @ np.linalg.solve(v, w), rtol=1e-9, atol=1e-11)
    assert_allclose(exact.grad, slope, rtol=1e-6, atol=1e-7)
    assert_allclose(exact.hess, curvature, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "reml"),
    [(SLOPES, True), ("~ cond + (1 + cond || subj) + (1 | item)", False), ("~ 1 + (1 | list / subj)", True)],
)
def test_fits_are_those_of_the_whole_algebra(formula: str, reml: bool):
    data = latin_square(9, 6) if "list" in formula else latin_square(8, 6)
    y = draw(data, 12)
    many = rx.lmer_many(formula, data, y.T, reml=reml)
    design = shared(data, formula, reml=reml)
    design.__dict__["symmetry"] = None  # where the cached property is kept
    ours, whole = many.fits[0], design.fit(y)
    assert ours.converged.all()
    assert 0 < ours.singular.sum() < 12
    for name in ("beta", "vcov", "d_cov", "theta", "sigma", "criterion", "error", "average"):
        assert_allclose(getattr(ours, name), getattr(whole, name), rtol=1e-7, atol=1e-9, err_msg=name)
    assert_allclose(many.tidy()["df"], replace(many, fits=(whole,)).tidy()["df"], rtol=1e-6)


@pytest.mark.slow
def test_kenward_rogers_method_takes_the_small_blocks():
    data = latin_square(8, 6)
    y = draw(data, 2)
    table = rx.lmer_many(SLOPES, data, y.T).tidy(ddf="kenward-roger")
    own = rx.lmer(f"y {SLOPES}", data.assign(y=y[0])).tidy(ddf="kenward-roger")
    columns = ["estimate", "std_error", "df", "p_value"]
    assert_allclose(table.loc[table["response"] == 0, columns], own[columns], rtol=1e-6)


def without_rows(data: pd.DataFrame) -> pd.DataFrame:
    return data.drop(index=[3, 11, 17, 29]).reset_index(drop=True)


def with_a_covariate(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(cond=np.random.default_rng(2).normal(size=len(data)))


def with_one_factor_twice(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(item=data["subj"])


@pytest.mark.parametrize("change", [without_rows, with_a_covariate, with_one_factor_twice])
def test_other_designs_keep_the_whole_algebra(change: Callable[[pd.DataFrame], pd.DataFrame]):
    assert shared(change(latin_square(8, 6)), SLOPES).symmetry is None
