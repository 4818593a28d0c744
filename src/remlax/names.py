"""What remlax calls the names of lme4, merTools, mice, mitml, Amelia, simr, emmeans, statsmodels and others."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from .errors import UnknownNameError

_GLM = "rx.glmer(formula, data, family), with family 'binomial', 'poisson', 'negative-binomial', 'gamma' or 'ordinal'"
_PER_FIT = "not pooled: fits.glance() has one per data set; rx.anova(fits, smaller_fits, method='D4') compares models"
# those of one kind of object or of one module alone stand after its name and a dot
NAMES = {
    "lmerModList with data.with data.fit": "rx.lmer_list(formula, data)",
    "mixed MixedLM smf update fit": "rx.lmer(formula, data), which returns the fit",
    "glm logit probit clmm polr": _GLM,  # and every name with glm in it
    "dream lmFit fitExtractVarPartModel BLMM FEMA lmeEEG": "rx.lmer_many(formula, data, responses)",
    "eBayes topTable squeezeVar": "many.moderate().tidy('fixed'), where many = rx.lmer_many(formula, data, responses)",
    "many.fitExtractVarPartModel many.calcVarPart": "many.varcorr_shares()",
    "gls corSymm corAR1 corCompSymm": "rx.mmrm('y ~ x + us(visit | id)', data), or cs, ar1 and others for us",
    "lme": "rx.lmer('y ~ x + (x | g)', data)",
    "getVarCov": "residual_covariance() of a fit of rx.mmrm",
    "corMatrix rcorr": "residual_correlation() of a fit of rx.mmrm",
    "df_1d df_md": "fit.contrast(...) for one degree of freedom, fit.test(...) for several",
    "glmerModList": "rx.glmer_list(formula, frames, family)",
    "blmer": "rx.lmer(formula, data, cov_prior='wishart')",
    "blmerModList": "rx.lmer_list(formula, frames, cov_prior='wishart')",
    "bglmer": "rx.glmer(formula, data, family, cov_prior='wishart')",
    "bglmerModList": "rx.glmer_list(formula, frames, family, cov_prior='wishart')",
    "brm": "not here: nothing is sampled; use brms in R, or bambi in Python",
    "lm nlmer": "not here: a model is linear and has a random term; use statsmodels' ols or lme4's nlmer",
    "pool combine": "fits.pool(), where fits = rx.lmer_list(formula, frames)",
    "coef coefficients": "fit.fixef() for the coefficients, fit.tidy('ran_coefs') for those of each group, as in lme4",
    "params fe_params": "fit.fixef()",
    "random_effects REextract": "fit.ranef() or fit.tidy('ran_vals'), which has standard errors too",
    "cov_params cov_re": "fit.vcov() of the coefficients, fit.varcorr() of the random effects",
    "modelFixedEff testEstimates fmi": "pooled.tidy('fixed')",
    "modelRandEffStats": "pooled.tidy('ran_pars')",
    "modelInfo convergence": "fits.glance() and fits.convergence(), or fit.opt of a single fit",
    "tables summary_frame": "fit.tidy('fixed') and fit.tidy('ran_pars')",
    "se bse bse_fe tvalues pvalues df_resid": "fit.tidy('fixed'), with columns std_error, statistic, df and p_value",
    "get_robustcov_results": "fit.tidy('fixed', vcov='CR2')",
    "confint": "fit.confint('profile'), 'boot' or 'wald', or pooled.confint()",
    "pooled.conf_int": "pooled.confint() for the coefficients, pooled.tidy('ran_pars') for SDs and correlations",
    "t_test f_test wald_test": "fit.test('x = 0'), or fit.contrast('a - b') for an estimate with limits",
    "anova wald_test_terms": "rx.anova(fit) for its terms, rx.anova(fit, smaller_fit) to compare",
    "D1 D2 D3 D4 testModels": "rx.anova(fits, smaller_fits, method=...) with 'D1', 'D2', 'D3' or 'D4'",
    "emmeans emtrends pairs margins": "fit.emmeans('f'), and .differences('tukey') of what it returns",
    "means.contrast means.pairs": "differences(), or differences(reference='control') against a control",
    "multilevelR2": "pooled.r2()",
    "llf deviance REMLcrit": "fit.loglik or fit.criterion()",
    "cAIC cAIC4 conditional_aic AICc waic": "not available: the AIC of a fit is marginal and without correction",
    "pooled.aic pooled.bic pooled.logLik pooled.llf pooled.deviance pooled.REMLcrit pooled.criterion": _PER_FIT,
    "scale": "fit.sigma ** 2",
    "pooled.sigma pooled.scale": "pooled.glance()['sigma'], or pooled.tidy('ran_pars') with limits",
    "pooled.nobs pooled.ngrps": "pooled.glance()['nobs'], or fits[0].ngrps",
    "pooled.converged pooled.isSingular": "fits.convergence()",
    "getME thetaExtract": "fit.theta, fit.sigma, fit.vcov(); rx.core works on the matrices themselves",
    "fastdisp": "fit.display()",
    "fittedvalues resid hatvalues": "fit.fitted() or fit.residuals(), or the columns of fit.augment()",
    "superFactor": "new_levels='mean' or 'draw' of fit.predict_interval(new)",
    "FEsim REsim": "fit.sim_fixef() or fit.sim_ranef()",
    "draw": "fit.average_obs() or fit.draw_obs()",
    "RMSE_merMod": "fit.rmse()",
    "bootMer bootstrap": "rx.bootstrap(fit, n_sims, statistic=...)",
    "simulate": "rx.simulate(fit, n_sims), or rx.sim.generate(key, design) without a fit",
    "powerSim powerCurve sim.run": "rx.sim.Study(...), and .run(folder) and .performance(folder) of it",
    "plot plotREsim plotFEsim dotplot": "rx.plot.caterpillar(fit), rx.plot.forest(fit) and others of rx.plot",
    "qqmath qqnorm": "rx.plot.qq_residuals(fit), rx.plot.qq_modes(fit) or rx.plot.residual_fitted(fit)",
    "saveRDS readRDS": "fit.save(file), and rx.load(file) to read it",
    "mice jomo jomoImpute pan panImpute": "rx.impute.joint(data, formula), or rx.read_imputations(file) of mice's",
    "amelia impute.mi impute.impute": "rx.impute.emb(data, m) or rx.impute.joint(data, formula)",
    "md_pattern": "rx.impute.pattern_table(data)",
    "densityplot stripplot": "rx.plot.imputed_density_plot(rx.impute.density_table(data, column))",
    "complete data.data": "data[0], data[1], ... of an ImputedData, or data.to_long()",
    "concat rbind bind_rows data.append data.bind": "rx.ImputedData.concat([a, b])",
    "data.cbind": "data.map(lambda frame: frame.assign(...))",
    "data.m data.n data.imp": "data.K, or data.labels for what they are called",
    "data.summary data.where": "rx.impute.observed_vs_imputed(data), or data.original.isna()",
    "data.to_csv": "rx.write_imputations(data, file)",
    "ampute": "rx.sim.ampute(frame, prop)",
    "simsum sim.bias sim.coverage zip_plot": "rx.sim.performance(results, truth) or rx.sim.zip_plot(results, truth)",
}


# arguments of lme4's glmer, which have other names or no sense here
GLMM_ARGUMENTS = {
    "nAGQ": "use n_quad=",
    "reml REML": "reml= is for linear mixed models: a generalised one is fitted by maximum likelihood",
    "control start verbose": "use optimizer=rx.Newton(max_iter=...)",
    "sampling_weights replicates plausible_values": "models with sampling weights are linear ones, of rx.lmer",
}


# arguments of rx.lmer_survey, and of lme4 and WeMix, which rx.lmer may be given
SURVEY_ARGUMENTS = {
    "REML": "use reml=",
    "family link": "generalised models are those of rx.glmer",
    "replicate repweights": "use replicates=",
    "plausible_value pv pvs": "use plausible_values=",
    "sample_weights sampling_weight pweights": "use sampling_weights=",
    "cWeights": "use conditional=",
    "control start verbose": "use optimizer=rx.Newton(max_iter=...)",
    "na_action subset": "choose the rows of the data before",
}


# arguments of rx.lmer that others have not
PRIOR_ARGUMENTS = {
    "cov_prior fixef_prior": "priors are for rx.lmer, rx.lmer_list, rx.glmer and rx.glmer_list",
}


def refuse_arguments(function: str, given: Iterable[str], hints: Mapping[str, str]) -> None:
    """Raise TypeError for arguments that a function does not have, with what they are called here."""
    known = {name: hint for names, hint in hints.items() for name in names.split()}
    for name in given:
        said = f": {known[name]}" if name in known else ""
        raise TypeError(f"{function}() has no argument {name!r}{said}")


def _key(name: str) -> str:
    return name.lower().replace("_", "")


_HINTS = {_key(name): hint for names, hint in NAMES.items() for name in names.split()}


def _hint(name: str, where: str = "") -> str:
    return _HINTS.get(where + _key(name), _HINTS["glm"] if "glm" in name.lower() and not where else "")


def _of_fit(name: str, *kinds: type) -> str:
    alike = [(kind, known) for kind in kinds for known in dir(kind) if known[0] != "_" and _key(known) == _key(name)]
    return next((f"fit.{known}" + "()" * callable(getattr(kind, known)) for kind, known in alike), "")


def _unknown(owner: str, name: str, hint: str, known: Iterable[str], obj: object = None) -> UnknownNameError:
    if not hint:
        public = [other for other in known if not other.startswith("_")]
        begun = [other for other in public if len(name) > 1 and other.startswith(f"{name.lower()}_")]
        hint = " or ".join(begun or get_close_matches(name, public, n=2, cutoff=0.75))
    said = f"; {hint}" if hint.startswith(("not ", "each ")) else f"; use {hint}" if hint else ""
    return UnknownNameError(f"{owner} has no attribute {name!r}{said}", name=name, obj=obj)


def unknown_in(module: str, fit: type = object) -> Callable[[str], NoReturn]:
    """Make the ``__getattr__`` of a module, which refuses what it does not have; fits may have it."""

    def refuse(name: str) -> NoReturn:
        owner, here = f"module {module!r}", vars(sys.modules[module])
        if name.startswith("_"):
            raise AttributeError(f"{owner} has no attribute {name!r}")
        known = here.get("__all__") or [other for other, value in here.items() if not inspect.ismodule(value)]
        hint = _hint(name, f"{module.rpartition('.')[2]}.") or _hint(name) or _of_fit(name, fit)
        raise _unknown(owner, name, hint, known)

    return refuse


class UnknownNames:
    """A class whose objects say what a name of another package is called here."""

    _called: ClassVar[str] = "fit"  # what messages call the object
    _element: ClassVar[type] = object  # what a list holds
    _pooled: ClassVar[type] = object  # what a list is pooled to
    _fitted_by: ClassVar[str] = "rx.lmer"
    _each: ClassVar[str] = "each of its fits has: [fit.{0} for fit in fits]"
    _scope: ClassVar[str] = ""  # models that lack much of what others have

    @classmethod
    def _addressed(cls, hint: str) -> str:
        """Put the hint for a fit in terms of this class: pooled.fixef(), fits.pool().tidy('fixed')."""

        def put(call: re.Match[str]) -> str:
            name = call[1]
            if hasattr(cls, name):
                return f"{cls._called}.{name}"
            if hasattr(cls._pooled, name):
                return f"{cls._called}.pool().{name}"
            return f"{cls._called}[0].{name}" if hasattr(cls._element, name) else call[0]

        return re.sub(r"\bfit\.(\w+)", put, hint.replace("rx.lmer", cls._fitted_by))

    # hidden from type checkers, for which it would make every name exist
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Refuse a name that normal lookup has not found."""
            kind, owner = type(self), f"{type(self).__name__!r} object"
            if name.startswith("_"):
                raise AttributeError(f"{owner} has no attribute {name!r}", name=name, obj=self)
            hint = _hint(name, f"{self._called}.")
            if not hint and hasattr(self._element, name):
                hint = self._each.format(name)
                hint += f"; the pooled model has fits.pool().{name}" if hasattr(self._pooled, name) else ""
            hint = hint or kind._addressed(_hint(name) or _of_fit(name, kind, self._element))
            named = re.findall(r"\bfit\w*\.(?:pool\(\)\.)?(\w+)", hint)
            lost = not hint and not get_close_matches(name, dir(kind), 1, 0.75)
            if kind._scope and (lost or "rx." in hint or not all(hasattr(kind, own) for own in named)):
                hint = f"not available for {kind._scope}"
            raise _unknown(owner, name, hint, dir(kind), self)
