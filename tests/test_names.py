"""Names of other packages: the error says what the thing is called here, and points at what the user wrote."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import remlax as rx
from remlax import impute, plot, sim
from remlax.names import NAMES
from remlax.tables.emmeans import EstimatedMeans

MODEL = "Yield ~ 1 + (1 | Batch)"


@pytest.fixture(scope="module")
def fits() -> rx.LmerFitList:
    return rx.lmer_list(MODEL, [rx.datasets.dyestuff()] * 2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("VarCorr", r"module 'remlax' has no attribute 'VarCorr'; use fit\.varcorr\(\)$"),
        ("isSingular", "'isSingular'; use fit.is_singular$"),
        ("with_", r"'with_'; use rx\.lmer_list"),
        ("lmerModList", r"'lmerModList'; use rx\.lmer_list\(formula, data\)"),
        ("glmerModList", r"'glmerModList'; use rx\.glmer_list\(formula, frames, family\)$"),
        ("glmmTMB", r"'glmmTMB'; use rx\.glmer\(formula, data, family\), with family 'binomial', 'poisson'"),
        ("logit", r"'logit'; use rx\.glmer\(formula, data, family\)"),
        ("clmm", r"'clmm'; use rx\.glmer\(formula, data, family\)"),
        ("blmer", r"'blmer'; use rx\.lmer\(formula, data, cov_prior='wishart'\)$"),
        ("bglmerModList", r"'bglmerModList'; use rx\.glmer_list\(formula, frames, family, cov_prior='wishart'\)$"),
        ("brm", "'brm'; not here: nothing is sampled; use brms in R"),
        ("superFactor", r"'superFactor'; use new_levels='mean' or 'draw' of fit\.predict_interval\(new\)"),
        ("mice", r"'mice'; use rx\.impute\.joint"),
        ("lmer_lst", "'lmer_lst'; use lmer_list"),
        ("cAIC4", "'cAIC4'; not available: the AIC of a fit is marginal"),
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
    data = rx.ImputedData.from_frames([rx.datasets.dyestuff()] * 2)
    places = {
        "pooled": fits.pool(),
        "data": data,
        "means": EstimatedMeans,
        "many": rx.LmerMany,
        "impute": impute,
        "plot": plot,
        "sim": sim,
    }
    named = [name for names in NAMES for name in names.lower().replace("_", "").split()]
    assert len(named) == len(set(named)) > 100
    found = 0
    for names, hint in NAMES.items():
        for room, attribute in re.findall(r"\brx\.(plot|impute|sim)\.(\w+)", hint):
            assert hasattr(getattr(rx, room), attribute), (names, hint)
        for owner, attribute in re.findall(r"\b(rx|fit|fits|pooled)\.(\w+)", hint):
            assert hasattr(owners[owner], attribute), (names, hint)
            found += 1
        for place, name in re.findall(r"\b(\w+)\.(\w+)", names):
            assert not hasattr(places[place], name), (place, name)
    assert found > 60


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
    with pytest.raises(rx.errors.UnknownNameError, match=r"'tidi'; use tidy$") as caught:
        _ = fit.tidi  # type: ignore[attr-defined]
    assert caught.value.name == "tidi"
    assert caught.value.obj is fit


MISTAKES: list[tuple[str, Callable[[rx.LmerFitList], object]]] = [
    ("lmer", lambda fits: rx.lmer("Yield ~ (1 |", rx.datasets.dyestuff())),
    ("lmer_list", lambda fits: rx.lmer_list(MODEL, [])),
    ("predict", lambda fits: fits[0].predict({"Batch": ["A"]})),  # type: ignore[arg-type]
    ("predict", lambda fits: fits.pool().predict(level=3)),  # type: ignore[arg-type]
    ("pool", lambda fits: fits.pool(vcov="HC3")),  # type: ignore[arg-type]
    ("anova", lambda fits: rx.anova(3)),  # type: ignore[arg-type]
    ("simulate", lambda fits: rx.simulate(fits[0], -1)),
    ("ampute", lambda fits: sim.ampute(rx.datasets.dyestuff(), prop=2.0, seed=1)),
    ("emb", lambda fits: impute.emb(rx.datasets.dyestuff(), m=-1)),
    ("map", lambda fits: rx.ImputedData.from_frames([rx.datasets.dyestuff()] * 2).map(_fails)),
]


@pytest.mark.parametrize(("name", "mistake"), MISTAKES, ids=[name for name, _ in MISTAKES])
def test_tracebacks_start_in_the_function_that_was_called(
    fits: rx.LmerFitList, name: str, mistake: Callable[[rx.LmerFitList], object]
) -> None:
    with pytest.raises(rx.errors.RemlaxError) as caught:
        mistake(fits)
    home = str(Path(rx.__file__).parent)
    frames = [frame for frame in traceback.extract_tb(caught.tb) if frame.filename.startswith(home)]
    assert frames[0].name == name


def _fails(frame: pd.DataFrame) -> pd.DataFrame:
    raise rx.errors.DataError("inside")


def test_public_functions_and_methods_are_plain() -> None:
    found = 0
    for room in (rx, impute, sim):
        for name in getattr(room, "__all__", dir(room)):
            function = getattr(room, name)
            # figures of studies, too, are drawn with dollar signs as they are
            if inspect.isfunction(function) and not function.__module__.startswith("remlax.plot"):
                assert not hasattr(function, "__wrapped__"), name
                found += 1
    kinds = (rx.LmerFit, rx.LmerFitList, rx.PooledLmer, rx.ImputedData, rx.ModelTable, impute.JointResult, sim.Study)
    for kind in kinds:
        for name, method in inspect.getmembers(kind, inspect.isroutine):
            assert name[0] == "_" or not hasattr(method, "__wrapped__"), name
            found += name[0] != "_"
    assert found > 150


def test_unknown_arguments_are_refused_by_the_call() -> None:
    with pytest.raises(TypeError, match=r"^lmer\(\) has no argument 'REML': use reml=$"):
        rx.lmer(MODEL, rx.datasets.dyestuff(), REML=False)  # type: ignore[call-arg]
    data = rx.datasets.dyestuff()
    for function in (rx.lmer_many, rx.mmrm, rx.mmrm_list):
        with pytest.raises(TypeError, match=r"has no argument 'cov_prior': priors are for rx\.lmer, rx\.lmer_list"):
            function("~ 1 + (1 | Batch)", data, cov_prior="wishart")


@pytest.mark.parametrize(
    ("room", "name", "message"),
    [
        (impute, "mice", r"module 'remlax\.impute' has no attribute 'mice'; use rx\.impute\.joint"),
        (impute, "mi", r"use rx\.impute\.emb\(data, m\) or rx\.impute\.joint"),
        (impute, "amelia", r"use rx\.impute\.emb"),
        (impute, "pan", r"use rx\.impute\.joint"),
        (plot, "dotplot", r"'remlax\.plot' has no attribute 'dotplot'; use rx\.plot\.caterpillar"),
        (plot, "zip_plot", r"use .*rx\.sim\.zip_plot"),
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
        rx.lmer("Reaction ~ Days + twice + (1 | half)", frame)
    kinds = {warning.category for warning in caught}
    assert kinds == {rx.DroppedRowsWarning, rx.RankDeficientWarning, rx.SingularFitWarning}
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            "toep(Days | Subject)",
            r"'toep' .*structures of random terms are us, diag, cs and ar1; for others use glmmTMB",
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


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        (rx.glmer, {"nAGQ": 9}, r"^glmer\(\) has no argument 'nAGQ': use n_quad="),
        (rx.glmer_list, {"reml": True}, "reml= is for linear mixed models"),
        (rx.glmer, {"size": 9}, r"^glmer\(\) has no argument 'size'$"),
    ],
)
def test_arguments_of_glmer(function: Callable[..., object], given: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        function("y ~ x + (1 | g)", None, **given)
