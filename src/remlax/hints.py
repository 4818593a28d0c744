"""Names of lme4, merTools, mice and other packages that are asked for here, and what remlax calls them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
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
    "ascsv": _EXPORT,
    "aslatex": "fit.to_latex()",
    "astext": "str(fit.summary())",
    "amelia": "rx.impute.emb(data, m)",
    "anova": "rx.anova(fit) for its terms, rx.anova(fit, smaller_fit) to compare; fit.test('f') for one factor",
    "apply": "[... for fit in fits]",
    "asdataframe": "fit.to_frame(), or the data frames of fit.tidy()",
    "augment": "fit.augment()",
    "averageobs": "fit.average_obs()",
    "bic": "fit.bic",
    "bootmer": "rx.bootstrap(fit, n_sims, statistic=...)",
    "bootstrap": "rx.bootstrap(fit, n_sims, statistic=...)",
    "bse": "fit.tidy('fixed')['std_error']",
    "bsefe": "fit.tidy('fixed')['std_error']",
    "bsere": "fit.tidy('ran_pars')['std_error']",
    "citation": "the file CITATION.cff, and report() of a pooled model for the versions",
    "cite": "the file CITATION.cff, and report() of a pooled model for the versions",
    "coef": "fit.fixef() for the coefficients, fit.tidy('ran_coefs') for those of each group (lme4's coef)",
    "coefs": "fit.tidy('fixed')",
    "combine": "fits.pool()",
    "coefficients": "fit.fixef() for the coefficients, fit.tidy('ran_coefs') for those of each group (lme4's coef)",
    "complete": "data[k - 1] of an ImputedData",
    "confint": "fit.confint('profile'), 'boot' or 'wald', or pooled.confint()",
    "convergence": "fit.opt, or fits.convergence() of a list of fits",
    "covparams": "fit.vcov()",
    "covre": "fit.varcorr()",
    "data": "fit.augment(), which has the columns of the model",
    "d1": _TEST,
    "d2": _TEST,
    "d3": _TEST,
    "d4": _TEST,
    "deviance": "fit.criterion()",
    "dfresid": "fit.tidy('fixed', ddf='residual')",
    "dfresidual": "fit.tidy('fixed', ddf='residual')",
    "dfcom": "pooled.tidy('fixed')['dfcom']",
    "draw": "fit.average_obs() or fit.draw_obs()",
    "emmeans": _MEANS,
    "emtrends": "fit.contrast(...) of the coefficients that make the slope",
    "expectedrank": "fit.expected_rank()",
    "fittedvalues": "fit.fitted()",
    "fracmissinfo": "pooled.tidy('fixed')['fmi']",
    "ftest": _HYPOTHESIS,
    "fastdisp": "fit.display()",
    "feparams": "fit.fixef()",
    "fesim": "fit.sim_fixef()",
    "fit": "rx.lmer(formula, data), which returns the fit",
    "fixef": "fit.fixef()",
    "fmi": "pooled.tidy('fixed')['fmi']",
    "getprediction": "fit.predict(new, interval='confidence')",
    "getrobustcovresults": _ROBUST,
    "getme": "fit.theta, fit.sigma, fit.vcov(); rx.core works on the matrices themselves",
    "glance": "fit.glance()",
    "glm": _LINEAR,
    "glmer": _LINEAR,
    "glmmtmb": _LINEAR,
    "hat": "fit.augment()['hat']",
    "hatvalues": "fit.augment()['hat']",
    "icc": "fit.icc()",
    "issingular": "fit.is_singular",
    "lm": "not here: a model needs a random term; use statsmodels' ols",
    "llf": "fit.loglik",
    "lmermodlist": "rx.lmer_list(formula, frames)",
    "loglik": "fit.loglik",
    "margins": _MEANS,
    "marginaleffects": _MEANS,
    "mdpattern": "rx.impute.pattern_table(data)",
    "mice": _CHAINED,
    "mixed": "rx.lmer(formula, data)",
    "mixedlm": "rx.lmer(formula, data)",
    "model": "fit.formula, and rx.core for the matrices",
    "modelinfo": "fits.glance()",
    "multilevelr2": "pooled.r2()",
    "modelfixedeff": "pooled.tidy('fixed')",
    "modelrandeffstats": "pooled.tidy('ran_pars')",
    "nlmer": "not here: remlax fits linear mixed models; use lme4's nlmer",
    "ngroups": "fit.ngrps",
    "nobs": "fit.nobs",
    "pairs": "fit.emmeans('f').differences('tukey')",
    "panimpute": "rx.impute.joint(data, formula)",
    "jomoimpute": "rx.impute.joint(data, formula)",
    "params": "fit.fixef()",
    "plot": "the functions of rx.plot, such as rx.plot.caterpillar(fit)",
    "plotfesim": "rx.plot.forest(fit)",
    "plotresim": "rx.plot.caterpillar(fit)",
    "pool": "fits.pool(), where fits = rx.lmer_list(formula, frames)",
    "powersim": _POWER,
    "powercurve": _POWER,
    "predict": _PREDICT,
    "predictinterval": "fit.predict_interval(new)",
    "pvalues": "fit.tidy('fixed')['p_value']",
    "r2": "fit.r2()",
    "ranef": "fit.ranef() or fit.tidy('ran_vals'), which has standard errors too",
    "randomeffects": "fit.ranef()",
    "randomeffectscov": "fit.tidy('ran_vals')['std_error']",
    "ranefvar": "fit.varcorr()",
    "readcsv": "pandas.read_csv for one data set, rx.read_imputations(file) for imputations",
    "readmice": "rx.read_imputations(file)",
    "readmids": "rx.read_imputations(file)",
    "readrds": "rx.load(file)",
    "reextract": "fit.tidy('ran_vals')",
    "reimpact": "fit.re_impact(cases)",
    "remlcrit": "fit.criterion()",
    "requantile": "fit.re_quantile(0.9)",
    "report": "pooled.report() for the methods paragraph; a single fit has to_markdown() and summary()",
    "resid": "fit.residuals()",
    "residuals": "fit.residuals()",
    "resim": "fit.sim_ranef()",
    "rmsemermod": "fit.rmse()",
    "results": "fits[0], fits[1], ... for the single fits, fits.pool() for the pooled model",
    "scale": "fit.sigma ** 2",
    "saverds": "fit.save(file)",
    "se": "fit.tidy('fixed')['std_error']",
    "sigma": "fit.sigma",
    "simr": _POWER,
    "smf": "rx.lmer(formula, data)",
    "simulate": "rx.simulate(fit, n_sims)",
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
    "ttest": _HYPOTHESIS,
    "tvalues": "fit.tidy('fixed')['statistic']",
    "toword": _DOCX,
    "update": "rx.lmer(formula, data) with the other formula",
    "varcorr": "fit.varcorr()",
    "vcov": "fit.vcov()",
    "version": "rx.__version__, or rx.show_versions()",
    "waldtest": _HYPOTHESIS,
    "waldtestterms": "rx.anova(fit) for all terms, fit.test('f') for one factor",
    "with": "rx.lmer_list(formula, data)",
}

ARGUMENTS = {
    "REML": "reml=True or False",
    "method": "reml=False for maximum likelihood",
    "family": "not here: remlax fits linear mixed models; use lme4's glmer or glmmTMB",
    "groups": "a random term in the formula, such as (1 | g)",
    "re_formula": "a random term in the formula, such as (1 + x | g)",
    "vc_formula": "random terms in the formula, such as (1 | a / b)",
    "subset": "data.query('...') as the data",
    "na_action": "not needed: lmer leaves out rows with missing cells and says so",
    "contrasts": "C(f, contr.sum) or relevel(f, ref='b') in the formula",
    "control": "optimizer=, which is seldom needed: every optimum is certified",
    "correlation": "not here: residuals are independent; use nlme or glmmTMB",
    "start": "not needed: the search starts from the data",
    "data": "datasets=",
    "nsim": "n_sims=",
    "FUN": "statistic=, a function of a list of fits that returns a frame with one row per fit",
    "alpha": "conf_level=, 0.95 by default",
    "conf_int": "not needed: the table has conf_low and conf_high",
    "conf.int": "not needed: the table has conf_low and conf_high",
    "contrast": ".differences('tukey') of what is returned",
    "exog": "newdata=",
    "missing": "not needed: lmer leaves out rows with missing cells and says so",
    "pool.ddf": "dfcom=",
    "pool.df": "dfcom=",
    "pool.rule": "not needed: Rubin's rules, with dfcom= for the degrees of freedom",
    "predict.level": "re_formula='~0' for the population; level= is of pooled models",
    "predict.re_formula": "level='population', 'group' or a list of grouping factors",
    "predict.re_form": "re_formula='~0' of a fit, or level='population' of a pooled model",
    "predict.allow_new_levels": "new_levels='mean' or 'draw'",
    "robust": "vcov='CR2'",
    "cov_type": "vcov='CR2'",
    "tidy.conf_level": "fits.pool(conf_level=...)",
    "tidy.level": "conf_level= of a fit's tidy() or of fits.pool()",
    "tidy.ddf": "fits.pool(dfcom=...)",
    "tidy.vcov": "fits.pool(vcov=...)",
    "random": "a random term in the formula, such as (1 + x | g)",
    "ddf": "fit.tidy('fixed', ddf=...) or fits.pool(dfcom=...)",
}


def _say(hint: str) -> str:
    return hint if hint.startswith("not ") else f"use {hint}"


def unknown_name(owner: str, name: str, known: Iterable[str] = (), obj: object = None) -> UnknownNameError:
    """Make the error for a name that is not there; it says what the thing is called here.

    Examples
    --------
    >>> print(unknown_name("'LmerFit' object", "VarCorr"))
    'LmerFit' object has no attribute 'VarCorr'; use fit.varcorr()
    """
    plain = name.lower().replace("_", "").replace(".", "")
    hint = obj._own_hints.get(plain, "") if isinstance(obj, Hints) else ""
    if not hint:
        hint = NAMES.get(plain, "")
        hint = obj._addressed(hint) if isinstance(obj, Hints) else hint
    if not hint:
        public = [other for other in known if not other.startswith("_")]
        hint = " or ".join(get_close_matches(name, public, n=2, cutoff=0.75))
    text = f"{owner} has no attribute {name!r}" + (f"; {_say(hint)}" if hint else "")
    return UnknownNameError(text, name=name, obj=obj)


class Hints:
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
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                hint = (
                    ARGUMENTS.get(f"{function.__name__}.{name}")
                    or ARGUMENTS.get(name)
                    or " or ".join(f"{near}=" for near in get_close_matches(name, known))
                )
                raise UnknownArgumentError(
                    f"{function.__name__}() has no argument {name!r}; "
                    + (_say(hint) if hint else f"it has {', '.join(known)}")
                )
        return function(*args, **kwargs)

    return called
