"""One design of every class of stress_designs.py against dense answers; `make stress` judges 500."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from dense_model import dense
from remlax.errors import ConvergenceWarning
from stress import Dense, Verdict, judge, page, row
from stress_designs import KINDS, RARE, base, design, finish

# the same few structures, so that little is compiled
STRUCTURES = ("(1 | g)", "(1 + x | g)")
FEW = [
    next((kind, seed) for seed in range(100) if design(kind, seed).structure in STRUCTURES)
    for kind in KINDS
    if kind not in ("n just above p", *RARE)
]


@pytest.mark.parametrize(("kind", "seed"), FEW, ids=[kind for kind, _ in FEW])
def test_answers_are_right_or_flagged(kind: str, seed: int) -> None:
    verdict = judge(design(kind, seed), starts=1)
    assert not verdict.refused
    assert not verdict.wrong, verdict.errors
    if kind == "ordinary":
        assert verdict.converged


@pytest.mark.slow
def test_fifty_terms_are_right_or_flagged() -> None:
    made = design("fifty random-effect terms", 0)
    assert len(made.terms) == 50
    verdict = judge(made, starts=0)
    assert not verdict.refused
    assert not verdict.wrong, verdict.errors


def test_a_response_without_residual_variance_is_flagged() -> None:
    rng = np.random.default_rng(5)
    made = finish("none", 5, rng, base(rng, 80), "(1 | g)", sigma=1e-6, weighted=False)
    with pytest.warns(ConvergenceWarning, match="the fit did not converge"):
        fit = rx.lmer(made.formula, made.frame)
    assert fit.opt.status == "no residual variance"
    assert not fit.converged


def test_a_likelihood_without_a_maximum_is_flagged() -> None:
    made = design("n just above p", 7)
    assert (made.structure, made.reml) == ("(1 | g)", False)
    # the dense criterion falls without end
    model = Dense.of(made, ("1", *made.fixed))
    values = [model.answer(model.lams(np.array([size]))).criterion for size in (1e2, 1e4, 1e6)]
    assert values[0] > values[1] + 20 > values[2] + 40
    verdict = judge(made, starts=0)
    assert not verdict.converged
    assert verdict.flagged


def test_the_dense_answer_is_that_of_the_marginal_model() -> None:
    made = design("ordinary", 3)
    model = Dense.of(made, ("1", *made.fixed))
    theta = np.random.default_rng(0).uniform(0.3, 1.5, sum(len(z) * (len(z) + 1) // 2 for z in model.z_size))
    lams = model.lams(theta)
    got = model.answer(lams)
    weights = made.frame["w"].to_numpy() if made.weighted else np.ones(len(made.frame))
    # the same by V = W^-1 + Z Lambda Lambda' Z' in units of the data
    unscaled = [lam / size[:, None] for lam, size in zip(lams, model.z_size, strict=True)]
    terms = [
        type(term)(made.columns(names), term.codes, term.n_levels)
        for term, (names, _) in zip(model.terms, made.terms, strict=True)
    ]
    want = dense(made.columns(("1", *made.fixed)), made.frame["y"].to_numpy(), terms, unscaled, weights)
    assert_allclose(got.criterion, want.reml if made.reml else want.ml, rtol=1e-11)
    assert_allclose(got.beta, want.beta, rtol=1e-9)
    assert_allclose(got.std_error, np.sqrt(np.diag(want.vcov_reml if made.reml else want.vcov_ml)), rtol=1e-9)
    for ours, theirs in zip(got.modes, want.modes, strict=True):
        assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    value, grad = model.value_and_grad(theta)
    assert_allclose(value, got.criterion, rtol=1e-11)
    steps = 1e-6 * np.eye(len(theta))
    slopes = [(model.value_and_grad(theta + h)[0] - model.value_and_grad(theta - h)[0]) / 2e-6 for h in steps]
    assert_allclose(grad, slopes, rtol=1e-5, atol=1e-6)


def test_a_wrong_answer_is_counted() -> None:
    made = design("ordinary", 0)
    right = Verdict(made, converged=True, errors={"sigma": 1e-9})
    wrong = Verdict(made, converged=True, errors={"sigma": 1e-3, "optimum": float("nan")})
    assert right.wrong == []
    assert wrong.wrong == ["sigma", "optimum"]
    assert not wrong.flagged
    full = [row(v) | {"errors": dict.fromkeys(("criterion", "optimum", "coefficients", "standard errors"), 0.0)
                      | dict.fromkeys(("sigma", "modes", "SDs of modes"), 1e-3)} for v in (right, wrong)]  # fmt: skip
    assert "**Wrong answers without a flag: 1.**" in page(full)
