"""Names of lme4, merTools, mice and other packages that are asked for here, and what remlax calls them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from .errors import UnknownArgumentError, UnknownNameError

P = ParamSpec("P")
R = TypeVar("R")

_TEST = "rx.anova(fits, smaller_fits, method=...) with 'D1', 'D2', 'D3' or 'D4'"
_MEANS = "fit.emmeans('f'), and .differences('tukey') of what it returns"
_DOCX = "to_html() and open the file in Word, or paste it from the browser"
_LINEAR = "not here: remlax fits linear mixed models; use lme4's glmer or glmmTMB"
_CHAINED = "rx.impute.joint(data, ...), or read what mice wrote with rx.read_imputations(file)"

# without case, dots and underscores
NAMES = {
    "aic": "fit.aic",
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
    "citation": "the file CITATION.cff, and report() of a pooled model for the versions",
    "cite": "the file CITATION.cff, and report() of a pooled model for the versions",
    "coef": "fit.fixef() for the coefficients, fit.tidy('ran_coefs') for those of each group (lme4's coef)",
    "coefficients": "fit.fixef() for the coefficients, fit.tidy('ran_coefs') for those of each group (lme4's coef)",
    "complete": "data[k - 1] of an ImputedData",
    "confint": "fit.confint('profile'), 'boot' or 'wald', or pooled.confint()",
    "convergence": "fit.opt, or fits.convergence() of a list of fits",
    "covre": "fit.varcorr()",
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
    "fastdisp": "fit.display()",
    "feparams": "fit.fixef()",
    "fesim": "fit.sim_fixef()",
    "fit": "rx.lmer(formula, data), which returns the fit",
    "fixef": "fit.fixef()",
    "fmi": "pooled.tidy('fixed')['fmi']",
    "getme": "fit.theta, fit.sigma, fit.vcov(); rx.core works on the matrices themselves",
    "glance": "fit.glance()",
    "glm": _LINEAR,
    "glmer": _LINEAR,
    "glmmtmb": _LINEAR,
    "icc": "fit.icc()",
    "issingular": "fit.is_singular",
    "lm": "not here: a model needs a random term; use statsmodels' ols",
    "lmermodlist": "rx.lmer_list(formula, frames)",
    "loglik": "fit.loglik",
    "mdpattern": "rx.impute.pattern_table(data)",
    "mice": _CHAINED,
    "mixedlm": "rx.lmer(formula, data)",
    "modelfixedeff": "pooled.tidy('fixed')",
    "modelrandeffstats": "pooled.tidy('ran_pars')",
    "nlmer": "not here: remlax fits linear mixed models; use lme4's nlmer",
    "nobs": "fit.nobs",
    "pairs": "fit.emmeans('f').differences('tukey')",
    "panimpute": "rx.impute.joint(data, formula)",
    "jomoimpute": "rx.impute.joint(data, formula)",
    "params": "fit.fixef()",
    "plot": "the functions of rx.plot, such as rx.plot.caterpillar(fit)",
    "plotfesim": "rx.plot.forest(fit)",
    "plotresim": "rx.plot.caterpillar(fit)",
    "pool": "fits.pool(), where fits = rx.lmer_list(formula, frames)",
    "predict": "fit.predict(new), where fit = rx.lmer(formula, data)",
    "predictinterval": "fit.predict_interval(new)",
    "pvalues": "fit.tidy('fixed')['p_value']",
    "r2": "fit.r2()",
    "ranef": "fit.ranef() or fit.tidy('ran_vals'), which has standard errors too",
    "randomeffects": "fit.ranef()",
    "readcsv": "pandas.read_csv for one data set, rx.read_imputations(file) for imputations",
    "readrds": "rx.load(file)",
    "reimpact": "fit.re_impact(cases)",
    "remlcrit": "fit.criterion()",
    "requantile": "fit.re_quantile(0.9)",
    "report": "pooled.report() for the methods paragraph; a single fit has to_markdown() and summary()",
    "resid": "fit.residuals()",
    "residuals": "fit.residuals()",
    "resim": "fit.sim_ranef()",
    "rmsemermod": "fit.rmse()",
    "saverds": "fit.save(file)",
    "se": "fit.tidy('fixed')['std_error']",
    "sigma": "fit.sigma",
    "simulate": "rx.simulate(fit, n_sims)",
    "subboot": "fit.sub_boot(statistic)",
    "summary": "fit.summary()",
    "testestimates": "pooled.tidy('fixed') and pooled.tidy('ran_pars')",
    "testmodels": _TEST,
    "thetaextract": "fit.theta",
    "tidy": "fit.tidy(), fits.pool().tidy(), or [fit.tidy() for fit in fits]",
    "todocx": _DOCX,
    "toword": _DOCX,
    "update": "rx.lmer(formula, data) with the other formula",
    "varcorr": "fit.varcorr()",
    "vcov": "fit.vcov()",
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
    "predict.level": "re_formula='~0' for the population; level= is of pooled models",
    "predict.re_formula": "level='population', 'group' or a list of grouping factors",
    "predict.re_form": "re_formula='~0' of a fit, or level='population' of a pooled model",
    "predict.allow_new_levels": "new_levels='mean' or 'draw'",
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
    hint = NAMES.get(name.lower().replace("_", "").replace(".", ""), "")
    if not hint:
        public = [other for other in known if not other.startswith("_")]
        hint = " or ".join(get_close_matches(name, public, n=2, cutoff=0.75))
    text = f"{owner} has no attribute {name!r}" + (f"; {_say(hint)}" if hint else "")
    return UnknownNameError(text, name=name, obj=obj)


class Hints:
    """A class whose objects say what a name of another package is called here."""

    _element: ClassVar[type | None] = None  # what a list holds

    # hidden from type checkers, for which it would make every name exist
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Refuse a name that normal lookup has not found."""
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            owner = f"{type(self).__name__!r} object"
            if hasattr(self._element, name):
                text = f"{owner} has no attribute {name!r}; each of its fits has: [fit.{name} for fit in fits]"
                raise UnknownNameError(text, name=name, obj=self)
            raise unknown_name(owner, name, dir(type(self)), self)


def hinted(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that the function does not have, and say what does the same here."""
    known = inspect.signature(function).parameters

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
