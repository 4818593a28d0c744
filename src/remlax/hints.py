"""Names of lme4, merTools, mice and other packages that are asked for here, and what remlax calls them."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from .errors import UnknownArgumentError, UnknownNameError

P = ParamSpec("P")
R = TypeVar("R")

_TEST = "rx.anova(fits, smaller_fits, method=...) with 'D1', 'D2', 'D3' or 'D4'"
_MEANS = "fit.emmeans('f'), and .differences('tukey') of what it returns"
_DOCX = "to_html() and open the file in Word, or paste it from the browser"
_LINEAR = "not here: remlax fits linear mixed models; use lme4's glmer or glmmTMB"
_PREDICT = "fit.predict(new), where fit = rx.lmer(formula, data)"
_POWER = "rx.sim.Study: 'power' is a measure of study.performance(folder)"
_ROBUST = "fit.tidy('fixed', vcov='CR2')"
_HYPOTHESIS = "fit.test('x = 0'), or fit.contrast('a - b') for an estimate with limits"
_EXPORT = "fit.tidy().to_csv(file) and so on: tables are pandas data frames"
_CHAINED = "rx.impute.joint(data, ...), or read what mice wrote with rx.read_imputations(file)"

# without case, dots and underscores
NAMES = {
    "aic": "fit.aic",
    "amelia": "rx.impute.emb(data, m)",
    "ampute": "rx.sim.ampute(frame, prop)",
    "anova": "rx.anova(fit) for its terms, rx.anova(fit, smaller_fit) to compare; fit.test('f') for one factor",
    "apply": "[... for fit in fits]",
    "ascsv": _EXPORT,
    "asdataframe": "fit.to_frame(), or the data frames of fit.tidy()",
    "aslatex": "fit.to_latex()",
    "astext": "str(fit.summary())",
    "augment": "fit.augment()",
    "averageobs": "fit.average_obs()",
    "bic": "fit.bic",
    "blandaltmanplot": "rx.sim.bland_altman_plot(results, ...)",
    "bootmer": "rx.bootstrap(fit, n_sims, statistic=...)",
    "bootstrap": "rx.bootstrap(fit, n_sims, statistic=...)",
    "bse": "fit.tidy('fixed')['std_error']",
    "bsefe": "fit.tidy('fixed')['std_error']",
    "bsere": "fit.tidy('ran_pars')['std_error']",
    "bwplot": "rx.plot.imputed_quantile_plot(rx.impute.quantile_table(data, column))",
    "citation": "the file CITATION.cff, and fit.report() for the versions",
    "cite": "the file CITATION.cff, and fit.report() for the versions",
    "coef": "fit.fixef() for the coefficients, fit.tidy('ran_coefs') for those of each group (lme4's coef)",
    "coefficients": "fit.fixef() for the coefficients, fit.tidy('ran_coefs') for those of each group (lme4's coef)",
    "coefplot": "rx.plot.forest(fit)",
    "coefs": "fit.tidy('fixed')",
    "combine": "fits.pool()",
    "comparedensity": "rx.plot.imputed_density_plot(rx.impute.density_table(data, column))",
    "complete": "data[k - 1] of an ImputedData",
    "confint": "fit.confint('profile'), 'boot' or 'wald', or pooled.confint()",
    "convergence": "fit.opt, or fits.convergence() of a list of fits",
    "coverageplot": "rx.sim.coverage_plot(table, ...)",
    "covparams": "fit.vcov()",
    "covre": "fit.varcorr()",
    "d1": _TEST,
    "d2": _TEST,
    "d3": _TEST,
    "d4": _TEST,
    "data": "fit.augment(), which has the columns of the model",
    "densityplot": "rx.plot.imputed_density_plot(rx.impute.density_table(data, column))",
    "deviance": "fit.criterion()",
    "dfcom": "pooled.tidy('fixed')['dfcom']",
    "dfresid": "fit.tidy('fixed', ddf='residual')",
    "dfresidual": "fit.tidy('fixed', ddf='residual')",
    "dotplot": "rx.plot.caterpillar(fit)",
    "draw": "fit.average_obs() or fit.draw_obs()",
    "emmeans": _MEANS,
    "emtrends": "fit.contrast(...) of the coefficients that make the slope",
    "expectedrank": "fit.expected_rank()",
    "fastdisp": "fit.display()",
    "feparams": "fit.fixef()",
    "fesim": "fit.sim_fixef()",
    "fit": "rx.lmer(formula, data), which returns the fit",
    "fittedvalues": "fit.fitted()",
    "fixef": "fit.fixef()",
    "fmi": "pooled.tidy('fixed')['fmi']",
    "forestplot": "rx.plot.forest(fit), or rx.sim.forest_plot(table, measure) of a study",
    "fracmissinfo": "pooled.tidy('fixed')['fmi']",
    "ftest": _HYPOTHESIS,
    "getme": "fit.theta, fit.sigma, fit.vcov(); rx.core works on the matrices themselves",
    "getprediction": "fit.predict(new, interval='confidence')",
    "getrobustcovresults": _ROBUST,
    "glance": "fit.glance()",
    "glm": _LINEAR,
    "glmer": _LINEAR,
    "glmmtmb": _LINEAR,
    "hat": "fit.augment()['hat']",
    "hatvalues": "fit.augment()['hat']",
    "icc": "fit.icc()",
    "issingular": "fit.is_singular",
    "jomo": "rx.impute.joint(data, formula)",
    "jomoimpute": "rx.impute.joint(data, formula)",
    "llf": "fit.loglik",
    "lm": "not here: a model needs a random term; use statsmodels' ols",
    "lmermodlist": "rx.lmer_list(formula, frames)",
    "loglik": "fit.loglik",
    "lollipopplot": "rx.sim.lollipop_plot(table, measure)",
    "lollyplot": "rx.sim.lollipop_plot(table, measure)",
    "marginaleffects": _MEANS,
    "margins": _MEANS,
    "mdpattern": "rx.impute.pattern_table(data)",
    "mice": _CHAINED,
    "missmap": "rx.plot.missing_map(rx.impute.missing_flags(data))",
    "mixed": "rx.lmer(formula, data)",
    "mixedlm": "rx.lmer(formula, data)",
    "model": "fit.formula, and rx.core for the matrices",
    "modelfixedeff": "pooled.tidy('fixed')",
    "modelinfo": "fits.glance()",
    "modelrandeffstats": "pooled.tidy('ran_pars')",
    "multilevelr2": "pooled.r2()",
    "multisimsum": "rx.sim.performance(results, truth, by=...)",
    "nestedloop": "rx.sim.nested_loop_plot(table, measure, factors)",
    "nestedloopplot": "rx.sim.nested_loop_plot(table, measure, factors)",
    "ngroups": "fit.ngrps",
    "nlmer": "not here: remlax fits linear mixed models; use lme4's nlmer",
    "nobs": "fit.nobs",
    "pairs": "fit.emmeans('f').differences('tukey')",
    "pan": "rx.impute.joint(data, formula)",
    "panimpute": "rx.impute.joint(data, formula)",
    "params": "fit.fixef()",
    "plot": "the functions of rx.plot, such as rx.plot.caterpillar(fit)",
    "plotfesim": "rx.plot.forest(fit)",
    "plotmodel": "rx.plot.forest(fit) or rx.plot.effect(fit, x)",
    "plotresim": "rx.plot.caterpillar(fit)",
    "pool": "fits.pool(), where fits = rx.lmer_list(formula, frames)",
    "powercurve": _POWER,
    "powersim": _POWER,
    "predict": _PREDICT,
    "predictinterval": "fit.predict_interval(new)",
    "pvalues": "fit.tidy('fixed')['p_value']",
    "qqmath": "rx.plot.qq_modes(fit) or rx.plot.qq_residuals(fit)",
    "qqnorm": "rx.plot.qq_residuals(fit)",
    "qqplot": "rx.plot.qq_residuals(fit)",
    "r2": "fit.r2()",
    "randomeffects": "fit.ranef()",
    "randomeffectscov": "fit.tidy('ran_vals')['std_error']",
    "ranef": "fit.ranef() or fit.tidy('ran_vals'), which has standard errors too",
    "ranefvar": "fit.varcorr()",
    "readcsv": "pandas.read_csv for one data set, rx.read_imputations(file) for imputations",
    "readmice": "rx.read_imputations(file)",
    "readmids": "rx.read_imputations(file)",
    "readrds": "rx.load(file)",
    "reextract": "fit.tidy('ran_vals')",
    "reimpact": "fit.re_impact(cases)",
    "remlcrit": "fit.criterion()",
    "report": "fits.pool().report(), or fit.report() of a single fit",
    "requantile": "fit.re_quantile(0.9)",
    "resid": "fit.residuals()",
    "residuals": "fit.residuals()",
    "resim": "fit.sim_ranef()",
    "results": "fits[0], fits[1], ... for the single fits, fits.pool() for the pooled model",
    "rmsemermod": "fit.rmse()",
    "runsimulation": "rx.sim.Study(...), and .run(folder) of it",
    "saverds": "fit.save(file)",
    "scale": "fit.sigma ** 2",
    "se": "fit.tidy('fixed')['std_error']",
    "sigma": "fit.sigma",
    "simr": _POWER,
    "simsum": "rx.sim.performance(results, truth)",
    "simulate": "rx.simulate(fit, n_sims)",
    "smf": "rx.lmer(formula, data)",
    "stripplot": "rx.plot.imputed_density_plot(rx.impute.density_table(data, column))",
    "subboot": "fit.sub_boot(statistic)",
    "summary": "fit.summary()",
    "summaryframe": "fit.tidy()",
    "tables": "fit.tidy('fixed') and fit.tidy('ran_pars')",
    "testestimates": "pooled.tidy('fixed') and pooled.tidy('ran_pars')",
    "testmodels": _TEST,
    "thetaextract": "fit.theta",
    "tidy": "fit.tidy(), fits.pool().tidy(), or [fit.tidy() for fit in fits]",
    "tocsv": _EXPORT,
    "todocx": _DOCX,
    "toexcel": _EXPORT,
    "toword": _DOCX,
    "ttest": _HYPOTHESIS,
    "tvalues": "fit.tidy('fixed')['statistic']",
    "update": "rx.lmer(formula, data) with the other formula",
    "varcorr": "fit.varcorr()",
    "vcov": "fit.vcov()",
    "version": "rx.__version__, or rx.show_versions()",
    "waldtest": _HYPOTHESIS,
    "waldtestterms": "rx.anova(fit) for all terms, fit.test('f') for one factor",
    "with": "rx.lmer_list(formula, data)",
    "xyplot": "rx.plot.spaghetti(fit, x)",
    "zipper": "rx.sim.zip_plot(results, truth)",
    "zipplot": "rx.sim.zip_plot(results, truth)",
}

# arguments of what fits a model
OF_MODELS = {
    "family": "not here: remlax fits linear mixed models; use lme4's glmer or glmmTMB",
    "groups": "a random term in the formula, such as (1 | g)",
    "random": "a random term in the formula, such as (1 + x | g)",
    "reformula": "a random term in the formula, such as (1 + x | g)",
    "vcformula": "random terms in the formula, such as (1 | a / b)",
    "subset": "data.query('...') as the data",
    "naaction": "not needed: lmer leaves out rows with missing cells and says so",
    "contrasts": "C(f, contr.sum) or relevel(f, ref='b') in the formula",
    "control": "optimizer=, which is seldom needed: every optimum is certified",
    "correlation": "not here: residuals are independent; use nlme or glmmTMB",
    "start": "not needed: the search starts from the data",
    "ddf": "fit.tidy('fixed', ddf=...) or fits.pool(dfcom=...)",
    "missing": "not needed: lmer leaves out rows with missing cells and says so",
}

# arguments without case and underscores, some of one function only; a hint "x=" is for functions that have x
ARGUMENTS = {
    "alpha": "conf_level=, 0.95 by default",
    "anova.ddf": "dfcom='kenward-roger' or 'satterthwaite'",
    "anova.refit": "not needed: likelihoods are those of maximum-likelihood fits",
    "anova.type": "not needed: terms are adjusted for all others (type III)",
    "augment.data": "not needed: the rows are those of the fit",
    "augment.newdata": "fit.predict(newdata)",
    "bootstrap.fun": "statistic=, a function of a list of fits that returns a frame with one row per fit",
    "bootstrap.type": "given_modes=False (the default) or True; draws are from the model",
    "boottype": "bootstrap=True or False",
    "bycases": "by_cases=",
    "conditional": "given_modes=",
    "condvar": "cond_var=",
    "confint": "not needed: the table has conf_low and conf_high",
    "confint.oldnames": "not needed: rows are named by group and term",
    "confint.parm": "not needed: pick rows of the table that is returned",
    "contrast": ".differences('tukey') of what is returned",
    "covtype": "vcov='CR2'",
    "cs": "cluster=",
    "data": "datasets=",
    "dfcom": "ddf=",
    "digits": "not here: round the numbers of tidy(), or give digits= to to_markdown() and the like",
    "empri": "ridge=",
    "estvarname": "estimate=",
    "exog": "newdata=",
    "exponentiate": "not here: coefficients of a linear model are differences",
    "figsize": "ax=, such as that of plt.subplots(figsize=...)",
    "file": "path=",
    "fun": "statistic=",
    "idvars": "id_vars=",
    "level": "conf_level=",
    "lgstc": "logistic=",
    "logs": "log=",
    "maxit": "burn= and iter=, numbers of sweeps",
    "mech": "mechanism=",
    "method": "reml=False for maximum likelihood",
    "nburn": "burn=",
    "ncpus": "not needed: all data sets are fitted in one program",
    "niter": "iter=",
    "njobs": "not needed: all data sets are fitted in one program",
    "noms": "nominal=",
    "nsim": "n_sims=",
    "nsimulations": "n_sims=",
    "numiter": "iter=",
    "ords": "ordinal=",
    "parallel": "not needed: all data sets are fitted in one program",
    "pool.ddf": "dfcom=",
    "pool.df": "dfcom=",
    "pool.rule": "not needed: Rubin's rules, with dfcom= for the degrees of freedom",
    "predict.allownewlevels": "new_levels='mean' or 'draw'",
    "predict.level": "re_formula='~0' for the population; level= is of pooled models",
    "predict.reform": "re_formula='~0' of a fit, or level='population' of a pooled model",
    "predict.reformula": "level='population', 'group' or a list of grouping factors",
    "predict.sefit": "interval='confidence', which has std_error",
    "predictinterval.includeresidvar": "residual=True or False",
    "predictinterval.level": "conf_level=; level= is of pooled models",
    "predictinterval.reform": "re_formula='~0' of a fit, or level='population' of a pooled model",
    "predictinterval.reformula": "level='population', 'group' or a list of grouping factors",
    "predictormatrix": "not here: the formula says which variables are imputed and by what",
    "print": "not here: set the environment variable TQDM_DISABLE=1 for no progress bars",
    "ref": "reference_method=",
    "reml": "reml=True or False",
    "rhs": "q0=",
    "robust": "vcov='CR2'",
    "scaled": "type=",
    "sqrts": "sqrt=",
    "tidy.conflevel": "fits.pool(conf_level=...)",
    "tidy.ddf": "fits.pool(dfcom=...)",
    "tidy.level": "conf_level= of a fit's tidy() or of fits.pool()",
    "tidy.vcov": "fits.pool(vcov=...)",
    "title": "ax=, and ax.set_title(...)",
    "true": "truth=",
    "ts": "time=",
    "type": "kind=",
    "useu": "given_modes=True",
    "x": "data=",
}

# names that are too common for NAMES, by the last part of the module
IN_ROOM = {
    "impute.mi": "rx.impute.emb(data, m) or rx.impute.joint(data, formula)",
    "impute.impute": "rx.impute.emb(data, m) or rx.impute.joint(data, formula)",
    "impute.convergence": "the attributes rhat and parameters of what rx.impute.joint returned",
    "impute.plot": "rx.plot.chain_plot, imputed_density_plot, imputed_quantile_plot or missing_map",
    "plot.plot": "rx.plot.residual_fitted(fit), qq_residuals, caterpillar, forest or effect",
    "plot.density": "rx.plot.imputed_density_plot(rx.impute.density_table(data, column))",
    "plot.residuals": "rx.plot.residual_fitted(fit), rx.plot.scale_location(fit) or rx.plot.qq_residuals(fit)",
    "plot.profile": "rx.plot.zeta(fit.profile())",
    "plot.predictions": "rx.plot.effect(fit, x)",
    "plot.interaction": "rx.plot.effect(fit, x, by=...)",
    "sim.run": "rx.sim.Study(...), and .run(folder) of it",
    "sim.simulate": "rx.sim.generate(key, design), or rx.simulate(fit, n_sims) for new responses of a fit",
    "sim.coverage": "rx.sim.performance(results, truth)",
    "sim.bias": "rx.sim.performance(results, truth)",
    "sim.summary": "rx.sim.performance(results, truth)",
    "sim.nsim": "rx.sim.n_needed(measure, mcse)",
}


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace(".", "")


def _say(hint: str) -> str:
    return hint if hint.startswith("not ") else f"use {hint}"


def unknown_name(
    owner: str, name: str, known: Iterable[str] = (), obj: object = None, *, room: str = ""
) -> UnknownNameError:
    """Make the error for a name that is not there; it says what the thing is called here.

    Examples
    --------
    >>> print(unknown_name("'LmerFit' object", "VarCorr"))
    'LmerFit' object has no attribute 'VarCorr'; use fit.varcorr()
    """
    key = _key(name)
    hint = IN_ROOM.get(f"{room}.{key}", "")
    if not hint and isinstance(obj, Hints):
        hint = obj._own_hints.get(key, "") or obj._addressed(NAMES.get(key, ""))
    hint = hint or NAMES.get(key, "")
    if not hint:
        public = [other for other in known if not other.startswith("_")]
        begun = [other for other in public if len(name) > 1 and other.startswith(f"{name.lower()}_")]
        hint = " or ".join(begun or get_close_matches(name, public, n=2, cutoff=0.75))
    text = f"{owner} has no attribute {name!r}" + (f"; {_say(hint)}" if hint else "")
    return UnknownNameError(text, name=name, obj=obj)


def unknown_in(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module, which refuses what it does not have."""

    def refuse(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        here = vars(sys.modules[module])
        known = [other for other, value in here.items() if not inspect.ismodule(value)]
        raise unknown_name(f"module {module!r}", name, known, room=module.rpartition(".")[2])

    return refuse


class HintedMethods:
    """A class whose methods say what an argument of another package is called here."""

    def __init_subclass__(cls) -> None:
        """Make public methods, those of the parts of a class included, say what an argument is called here."""
        super().__init_subclass__()
        for name in dir(cls):
            method = inspect.getattr_static(cls, name)
            if name.startswith("_"):
                continue
            if inspect.isfunction(method) and method.__module__.startswith(__package__):
                setattr(cls, name, hinted(method))
            elif isinstance(method, classmethod):
                setattr(cls, name, classmethod(hinted(method.__func__)))


class Hints(HintedMethods):
    """A class whose objects say what a name of another package is called here."""

    _element: ClassVar[type | None] = None  # what a list holds
    _pooled: ClassVar[type | None] = None  # what a list is pooled to
    _called: ClassVar[str] = "fit"  # what messages call the object
    _own_hints: ClassVar[Mapping[str, str]] = {}  # where NAMES speaks of another class

    @classmethod
    def _addressed(cls, hint: str) -> str:
        """Put the hint for a fit in terms of this class: pooled.fixef(), fits.pool().tidy('fixed')."""

        def put(found: re.Match[str]) -> str:
            if hasattr(cls, found[1]):
                return f"{cls._called}.{found[1]}"
            if hasattr(cls._pooled, found[1]):
                return f"{cls._called}.pool().{found[1]}"
            return f"{cls._called}[0].{found[1]}" if hasattr(cls._element, found[1]) else found[0]

        return re.sub(r"\bfit\.(\w+)", put, hint)

    # hidden from type checkers, for which it would make every name exist
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Refuse a name that normal lookup has not found."""
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            owner = f"{type(self).__name__!r} object"
            if hasattr(self._element, name):
                one = f"[fit.{name} for fit in fits]"
                text = f"{owner} has no attribute {name!r}; each of its fits has: {one}"
                if hasattr(self._pooled, name):
                    text += f"; the pooled model has fits.pool().{name}"
                raise UnknownNameError(text, name=name, obj=self)
            raise unknown_name(owner, name, dir(type(self)), self)


def hinted(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that the function does not have, and say what does the same here."""
    signature = inspect.signature(function)
    known = [name for name in signature.parameters if name not in ("self", "cls")]
    if any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()):
        return function

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise _unknown_argument(function.__name__, name, known)
        try:
            return function(*args, **kwargs)
        except TypeError:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise UnknownArgumentError(f"{function.__name__}(): {error}; {_has(known)}") from None
            raise

    return called


def _unknown_argument(function: str, name: str, known: Sequence[str]) -> UnknownArgumentError:
    key, own = _key(name), _key(function)
    hint = ARGUMENTS.get(f"{own}.{key}") or (OF_MODELS.get(key, "") if "formula" in known else "")
    if not hint:
        general = ARGUMENTS.get(key, "")
        other = re.match(r"(\w+)=", general)
        hint = general if other is None or other.group(1) in known else ""
    if not hint:
        hint = " or ".join(f"{near}=" for near in get_close_matches(name, known))
    return UnknownArgumentError(f"{function}() has no argument {name!r}; " + (_say(hint) if hint else _has(known)))


def _has(known: Sequence[str]) -> str:
    return f"it has {', '.join(known)}" if known else "it takes none"
