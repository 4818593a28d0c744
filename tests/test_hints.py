"""Names and arguments of other packages: the error says what the thing is called here."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import warnings
from collections.abc import Callable
from types import ModuleType

import pandas as pd
import pytest

import remlax as rx
from remlax import impute, plot, sim
from remlax.hint_words import ARGUMENTS, IN_ROOM, NAMES, OF_MODELS
from remlax.hints import unknown_name

MODEL = "Yield ~ 1 + (1 | Batch)"


@pytest.fixture(scope="module")
def fits() -> rx.LmerFitList:
    return rx.lmer_list(MODEL, [rx.datasets.dyestuff()] * 2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("VarCorr", r"module 'remlax' has no attribute 'VarCorr'; use fit\.varcorr\(\)"),
        ("lmerModList", r"'lmerModList'; use rx\.lmer_list\(formula, frames\)"),
        ("glmer", "'glmer'; not here: remlax fits linear mixed models; use lme4's glmer"),
        (
            "glmer_list",
            r"'glmer_list'; not here: .* or bambi in Python: generalised models are not fitted by this version$",
        ),
        ("glmerModList", "'glmerModList'; not here: .* generalised models are not fitted"),
        ("glmmTMB", "'glmmTMB'; not here: .* generalised models are not fitted"),
        ("logit", "'logit'; not here: .* generalised models are not fitted"),
        ("blmer", "'blmer'; not here: this version knows no priors; use blme or brms in R, or bambi in Python"),
        ("superFactor", r"'superFactor'; use new_levels='mean' or 'draw' of fit\.predict_interval\(new\)"),
        ("mice", r"'mice'; use rx\.impute\.joint"),
        ("lmer_lst", "'lmer_lst'; use lmer_list"),
        ("cAIC4", "'cAIC4'; not available: the conditional AIC is another number than the AIC of a fit"),
        ("zzz", "module 'remlax' has no attribute 'zzz'$"),
    ],
)
def test_names_of_other_packages(name: str, hint: str) -> None:
    with pytest.raises(rx.errors.UnknownNameError, match=hint):
        getattr(rx, name)
    assert not hasattr(rx, name)


@pytest.mark.parametrize("name", ["isSingular", "coef", "getME"])
def test_results_know_the_names_too(fits: rx.LmerFitList, name: str) -> None:
    for result in (fits[0], fits, fits.pool()):
        with pytest.raises(rx.errors.UnknownNameError, match=f"{type(result).__name__}.*{name!r}; use .*(fit|pooled)"):
            getattr(result, name)


@pytest.mark.parametrize("name", ["caic", "cAIC", "conditional_aic", "AICc", "waic"])
def test_other_criteria_are_not_the_aic(fits: rx.LmerFitList, name: str) -> None:
    for result in (fits[0], fits, fits.pool()):
        with pytest.raises(
            rx.errors.UnknownNameError, match=f"{type(result).__name__}.*{name!r}; not available: "
        ) as caught:
            getattr(result, name)
        assert "use " not in str(caught.value)


def test_every_hint_names_what_exists(fits: rx.LmerFitList) -> None:
    owners = {"rx": rx, "fit": fits[0], "fits": fits, "pooled": fits.pool()}
    found = 0
    for name, hint in {**NAMES, **ARGUMENTS, **OF_MODELS, **IN_ROOM}.items():
        assert re.fullmatch(r"([a-z]+\.)?[a-z0-9]+", name), name
        for room, attribute in re.findall(r"\brx\.(plot|impute|sim)\.(\w+)", hint):
            assert hasattr(getattr(rx, room), attribute), (name, hint)
        for owner, attribute in re.findall(r"\b(rx|fit|fits|pooled)\.(\w+)", hint):
            assert hasattr(owners[owner], attribute), (name, hint)
            found += 1
    assert found > 80


def test_objects_without_a_hint_behave_as_before(fits: rx.LmerFitList) -> None:
    fit = fits[0]
    with pytest.raises(rx.errors.UnknownNameError, match=r"'LmerFitList' .* 'sigma'; .*\[fit\.sigma for fit in fits\]"):
        _ = fits.sigma  # type: ignore[attr-defined]
    for private in ("__array__", "_nothing"):
        with pytest.raises(AttributeError, match=f"'LmerFit' object has no attribute '{private}'$"):
            getattr(fit, private)
    for method in (rx.LmerFit.tidy, rx.PooledLmer.test, rx.LmerFitList.fixef, rx.simulate):
        assert pickle.loads(pickle.dumps(method)) is method
    assert copy.deepcopy(fit).sigma == pickle.loads(pickle.dumps(fit)).sigma == fit.sigma
    assert str(unknown_name("x", "tidi", ["tidy", "_tidi"])) == "x has no attribute 'tidi'; use tidy"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"REML": False}, r"lmer\(\) has no argument 'REML'; use reml=True or False"),
        ({"family": "binomial"}, "'family'; not here: remlax fits linear mixed models; use lme4's glmer"),
        ({"link": "logit"}, "'link'; not here: remlax fits linear mixed models; use lme4's glmer"),
        ({"correlation": "AR1"}, "'correlation'; not here: residuals are independent; use nlme or glmmTMB"),
        ({"weigths": "n"}, "'weigths'; use weights="),
        ({"zzz": 1}, "'zzz'; it has formula, data, reml, weights, offset, contrasts, optimizer, device"),
    ],
)
def test_arguments_of_other_packages(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(rx.errors.UnknownArgumentError, match=message):
        rx.lmer(MODEL, rx.datasets.dyestuff(), **arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"lmer_list.*'data'; use datasets="):
        rx.lmer_list(MODEL, data=[])  # type: ignore[call-arg]


def test_arguments_of_lme4_in_methods(fits: rx.LmerFitList) -> None:
    fit, pooled, frame = fits[0], fits.pool(), rx.datasets.dyestuff()
    calls: list[tuple[Callable[..., object], dict[str, object], str]] = [
        (fit.predict, {"re_form": None}, "'re_form'; use level='population'"),
        (fit.predict, {"allow_new_levels": True}, "use new_levels='mean' or 'draw'"),
        (pooled.predict, {"re_formula": "~0"}, "'re_formula'; use level='population'"),
        (fit.predict_interval, {"return_sims": True}, "'return_sims'; use return_draws=True, which gives the draws"),
        (pooled.predict_interval, {"returnSims": True}, "'returnSims'; use return_draws=True, which gives the draws"),
        (pooled.predict_interval, {"ignore.fixed.terms": "x"}, "use ignore_fixed_terms="),
        (fit.predict_interval, {"fix.intercept.variance": True}, "use fix_intercept_variance="),
        (rx.simulate, {"nsim": 2}, r"simulate\(\) has no argument 'nsim'; use n_sims="),
        (rx.bootstrap, {"FUN": len}, "'FUN'; use statistic=, a function of a list of fits"),
        (fit.confint, {"level": 0.9}, r"confint\(\) has no argument 'level'; use conf_level="),
        (fit.confint, {"nsim": 9}, "use n_sims="),
        (fit.confint, {"parm": "x"}, "'parm'; not needed: pick rows of the table"),
        (fit.tidy, {"conf_int": True}, "'conf_int'; not needed: the table has conf_low and conf_high"),
        (fit.tidy, {"exponentiate": True}, "'exponentiate'; not here: coefficients of a linear model are differences"),
        (fit.summary, {"digits": 3}, r"'digits'; not here: round the numbers of tidy\(\)"),
        (pooled.summary, {"colour": "red"}, r"summary\(\) has no argument 'colour'; it takes none$"),
        (fit.ranef, {"condVar": True}, "use cond_var="),
        (fit.vcov, {"type": "CR2"}, "use vcov="),
        (fit.test, {"rhs": 1}, "use q0="),
        (rx.anova, {"type": 2}, r"not needed: terms are adjusted for all others \(type III\)"),
        (rx.load, {"file": "x"}, "use path="),
        (impute.emb, {"noms": ["f"]}, "use nominal="),
        (impute.joint, {"maxit": 10}, "use burn= and iter="),
        (sim.performance, {"true": 0}, "use truth="),
        (sim.ampute, {"mech": "MAR"}, "use mechanism="),
        (plot.forest, {"figsize": (3, 4)}, "use ax=, such as that of"),
        (rx.ImputedData.from_frames([frame]).to_long, {"include": True}, "use include_original="),
    ]
    for call, arguments, message in calls:
        with pytest.raises(rx.errors.UnknownArgumentError, match=message):
            call(**arguments)


def test_every_public_function_refuses_what_it_has_no_argument_for() -> None:
    found = 0
    for room in (rx, impute, plot, sim):
        for name in getattr(room, "__all__", dir(room)):
            function = getattr(room, name)
            if name[0] != "_" and inspect.isfunction(function) and name not in ("main", "show_versions"):
                with pytest.raises(rx.errors.UnknownArgumentError, match="has no argument 'qqq'"):
                    function(qqq=1)
                found += 1
    kinds = (rx.LmerFit, rx.LmerFitList, rx.PooledLmer, rx.ImputedData, rx.ModelTable, impute.JointResult)
    for kind in (*kinds, impute.ImputationResult, sim.Study):
        for name, method in inspect.getmembers(kind, callable):
            # of an abstract sequence, and one that hands arguments on
            if name[0] != "_" and name not in ("count", "index", "performance"):
                with pytest.raises(rx.errors.UnknownArgumentError, match=rf"{name}\(\) has no argument 'qqq'"):
                    method(None, qqq=1)
                found += 1
    assert found > 150


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (sim.Study, {"nsim": 100}, r"Study\(\) has no argument 'nsim'; use replications="),
        (sim.Study, {"nrep": 100}, "'nrep'; use replications="),
        (sim.Amputation, {"mech": "MAR"}, r"Amputation\(\) has no argument 'mech'; use mechanism="),
        (sim.Joint, {"maxit": 10}, r"Joint\(\) has no argument 'maxit'; it has model, reml"),
        (sim.MultilevelDesign, {}, r"MultilevelDesign\(\): missing a required argument: "),
        (impute.JointPrior, {"qqq": 1}, r"JointPrior\(\) has no argument 'qqq'; it has "),
    ],
)
def test_constructors_too(make: Callable[..., object], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(rx.errors.UnknownArgumentError, match=message):
        make(**arguments)


def test_missing_arguments_are_named(fits: rx.LmerFitList) -> None:
    with pytest.raises(rx.errors.UnknownArgumentError, match=r"test\(\): missing a required argument: 'constr"):
        fits[0].test()  # type: ignore[call-arg]
    with pytest.raises(rx.errors.UnknownArgumentError, match=r"predict\(\): too many positional arguments; it has"):
        fits[0].predict(None, "~0")  # type: ignore[misc]
    # an error inside is none of the call
    with pytest.raises(TypeError, match="inside"):
        rx.bootstrap(fits[0], 2, statistic=_fails, seed=1)


def _fails(fits: object) -> pd.DataFrame:
    raise TypeError("inside")


@pytest.mark.parametrize(
    ("room", "name", "message"),
    [
        (impute, "mice", r"module 'remlax\.impute' has no attribute 'mice'; use rx\.impute\.joint"),
        (impute, "mi", r"use rx\.impute\.emb\(data, m\) or rx\.impute\.joint"),
        (impute, "amelia", r"use rx\.impute\.emb"),
        (impute, "pan", r"use rx\.impute\.joint"),
        (plot, "dotplot", r"'remlax\.plot' has no attribute 'dotplot'; use rx\.plot\.caterpillar"),
        (plot, "zip_plot", r"use rx\.sim\.zip_plot"),
        (plot, "qq", "use qq_modes or qq_residuals"),
        (sim, "run", r"use rx\.sim\.Study\(\.\.\.\), and \.run"),
        (sim, "simsum", r"use rx\.sim\.performance"),
        (sim, "amputed", "use ampute or Amputed"),
    ],
)
def test_names_asked_for_in_rooms(room: ModuleType, name: str, message: str) -> None:
    with pytest.raises(rx.errors.UnknownNameError, match=message):
        getattr(room, name)
    with pytest.raises(AttributeError, match=r"has no attribute '_x'$"):
        _ = room._x


def test_warnings_point_at_the_line_of_the_caller() -> None:
    frame = rx.datasets.sleepstudy()
    frame["twice"], frame["half"] = 2 * frame["Days"], (frame["Days"] % 2).astype(str)
    frame["Reaction"] = frame["Reaction"].where(frame["Reaction"] > 200)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rx.lmer("Reaction ~ Days + twice + (1 | Subject) + (1 | half)", frame)
    kinds = {warning.category for warning in caught}
    assert kinds == {rx.DroppedRowsWarning, rx.RankDeficientWarning, rx.SingularFitWarning}
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            "ar1(Days | Subject)",
            r"'ar1' .*covariances other than .* are not here; use glmmTMB",
        ),
        ("C(Days, Treatment(3))", r"'Treatment' .*relevel\(f, ref='b'\)"),
        ("ns(Days, 3)", r"'ns' .*cr\(x, df=k, constraints='center'\)"),
        ("s(Days)", "'s' .*gamm4 or mgcv"),
    ],
)
def test_functions_of_other_packages(term: str, message: str) -> None:
    with pytest.raises(rx.errors.FormulaError, match=message):
        rx.lmer(f"Reaction ~ {term} + (1 | Subject)", rx.datasets.sleepstudy())


@pytest.mark.parametrize(("df", "deviance"), [(2, 1793.098), (3, 1793.03)])
def test_cr_spans_natural_splines(df: int, deviance: float) -> None:
    """-2 logLik of lmer(Reaction ~ ns(Days, df) + (1 | Subject), sleepstudy, REML = FALSE), lme4 in R 4.2."""
    term = f"cr(Days, df={df}, constraints='center')"
    fit = rx.lmer(f"Reaction ~ {term} + (1 | Subject)", rx.datasets.sleepstudy(), reml=False)
    assert fit.criterion() == pytest.approx(deviance, abs=6e-3)


def test_means_do_not_take_a_formula() -> None:
    fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy())
    with pytest.raises(rx.errors.DataError, match=r"'~ Days' is a formula: name variables, as in emmeans"):
        fit.emmeans("~ Days")
