"""Bad input to public functions that tests/bad_input.py does not reach: tables, figures, simulation, imputation."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd

import remlax as rx
from bad_input import Case, base, changed, fit, fits, pooled
from remlax import impute, plot, pooling, sim
from remlax.errors import DataError, FileFormatError, FormulaError, ImputationError, PoolingError, SimulationError

mpl.use("Agg")


def imputed() -> rx.ImputedData:
    frames = [changed(gap=base()["x"]), changed(gap=base()["x"] + 1)]
    return rx.ImputedData.from_frames(frames).with_original(base())


def design(**options: object) -> sim.MultilevelDesign:
    usual = {"factors": [sim.Factor("g", 10)], "size": 5, "beta": {"1": 1.0}, "sigma": 1.0}
    return sim.MultilevelDesign(**{**usual, "random": [sim.RandomTerm("g", {"1": 1.0})], **options})


TABLE = pd.DataFrame({"method": ["a", "b"], "bias": [0.1, 0.2], "x": [1, 2]})
RESULTS = pd.DataFrame(
    {
        "scenario": "s",
        "method": "a",
        "term": "x",
        "replication": range(4),
        "estimate": [1.0, 2.0, 3.0, 4.0],
        "std_error": 1.0,
        "df": 5.0,
        "conf_low": 0.0,
        "conf_high": 5.0,
        "p_value": 0.1,
        "status": "ok",
    }
)

PUBLIC: list[Case] = [
    (
        "mmrm: no covariance term",
        lambda: rx.mmrm("y ~ x + (1 | g)", base()),
        FormulaError,
        r"it has no covariance term; add one such as us\(visit \| id\)",
    ),
    (
        "mmrm_list: a visit twice",
        lambda: rx.mmrm_list("y ~ x + cs(f | g)", [base(), base()]),
        DataError,
        r"has visit '.*' twice in imputation 1",
    ),
    (
        "read_spss: no file",
        lambda: rx.read_spss("/no/such/file.sav"),
        FileFormatError,
        "there is no file '/no/such/file",
    ),
    ("read_spss: number", lambda: rx.read_spss(3), FileFormatError, "path=3 must be the path of a file of SPSS"),
    (
        "lmer_survey: weights",
        lambda: rx.lmer_survey("y ~ x + (1 | g)", base(), sampling_weights={"g": "x"}),
        DataError,
        "the sampling weights 'x' of 'g' are",
    ),
    (
        "explore: a frame",
        lambda: rx.explore(base()),  # type: ignore[arg-type]
        DataError,
        r"explore\(\) shows a fit or a pooled model with random effects, not DataFrame",
    ),
    (
        "lmer_many: rows",
        lambda: rx.lmer_many("~ x + (1 | g)", base(), np.ones((59, 2))),
        DataError,
        r"responses= has 59 rows for 60 rows of the data",
    ),
    (
        "volcano: terms",
        lambda: plot.volcano(pd.DataFrame(columns=["response", "term", "estimate", "p_value", "p_adjusted"]), "x"),
        DataError,
        r"term='x' is not in the table",
    ),
    (
        "p_value_histogram: several terms",
        lambda: plot.p_value_histogram(pd.DataFrame({"term": ["x", "f"], "p_value": 0.5})),
        DataError,
        r"several terms: name one of 'x', 'f', term=",
    ),
    (
        "mean_variance: no variances",
        lambda: plot.mean_variance(pd.DataFrame(columns=["average", "sigma2", "s2_prior", "df_prior"])),
        DataError,
        "none has a fit",
    ),
    (
        "variance_share_violins: no shares",
        lambda: plot.variance_share_violins(pd.DataFrame({"Residual": [np.nan]})),
        DataError,
        "none has a fit",
    ),
    (
        "marginal_means: no such factor",
        lambda: plot.marginal_means(
            pd.DataFrame({"arm": ["a"], "estimate": 1.0, "conf_low": 0.0, "conf_high": 2.0}), "x"
        ),
        DataError,
        r"x='x' is no factor of these means; they have 'arm'",
    ),
    (
        "visit_covariance: random effects",
        lambda: plot.visit_covariance(fit()),
        DataError,
        "the model has no covariance matrix of visits",
    ),
    (
        "tipping_point: table",
        lambda: plot.tipping_point(TABLE),
        DataError,
        "No column 'term', 'estimate', 'conf_low', 'conf_high', 'p_value'",
    ),
    (
        "tipping_point: no numbers added",
        lambda: plot.tipping_point(RESULTS),
        DataError,
        "the table has 0 columns delta_<arm>, and the figure has room for one or two",
    ),
    (
        "reference: list",
        lambda: impute.reference([1.0], "y ~ arm + us(visit | id)", arm="arm", reference="a"),
        DataError,
        "the data to impute is a list, not a pandas DataFrame",
    ),
    (
        "lmer_many: responses in rows",
        lambda: rx.lmer_many("~ x + (1 | g)", base(), np.ones((2, 60))),
        DataError,
        r"each stands in a column, so transpose responses",
    ),
    (
        "scale_score: unknown item",
        lambda: impute.scale_score(["x", "q"])(base()),
        ImputationError,
        r"scale_score\(\) names 'q', not among the columns of the data",
    ),
    (
        "chibar_weights: not positive definite",
        lambda: pooling.chibar_weights([[1.0, 2.0], [2.0, 1.0]]),
        PoolingError,
        r"positive definite",
    ),
    (
        "confint: level",
        lambda: fit().confint(conf_level=95),
        DataError,
        r"conf_level=95 must be a number between 0 and 1",
    ),
    (
        "confint: draws",
        lambda: fit().confint("boot", n_sims=0),
        DataError,
        r"n_sims=0 must be a whole number of at least 2",
    ),
    (
        "profile: level",
        lambda: fit().profile(conf_level=2),
        DataError,
        r"conf_level=2 must be a number between 0 and 1",
    ),
    (
        "re_impact: no frame",
        lambda: fit().re_impact(3),
        DataError,
        r"newdata must be a DataFrame with at least one case, such as average_obs\(\) or draw_obs\(\) give",
    ),
    (
        "re_impact: unknown group",
        lambda: fit().re_impact(base().iloc[:2], group="school"),
        DataError,
        r"group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "re_impact: breaks",
        lambda: fit().re_impact(base().iloc[:2], breaks=0),
        DataError,
        r"breaks=0 must be a whole number of at least 2",
    ),
    (
        "re_impact: pooled unknown term",
        lambda: pooled().re_impact(base().iloc[:2], term="slope"),
        DataError,
        r"term='slope' is not among the random effects of 'g'; they are 'Intercept'",
    ),
    (
        "re_margins: percentiles",
        lambda: fit().re_margins(base().iloc[:2], percentiles=[150]),
        DataError,
        r"percentiles=\[150\] must be numbers between 0 and 100",
    ),
    (
        "re_margins: unknown group",
        lambda: fit().re_margins(base().iloc[:2], group="school"),
        DataError,
        r"group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "to_html: digits",
        lambda: fit().to_html(digits=-1),
        DataError,
        r"digits=-1 must be a whole number between 0 and 6",
    ),
    (
        "to_latex: labels",
        lambda: fit().to_latex(labels=["x"]),
        DataError,
        r"labels must be a dict from terms, variables or groups to the words to print",
    ),
    ("to_html: pooled title", lambda: pooled().to_html(title=3), DataError, r"title=3 must be text"),
    (
        "bootstrap: no fit",
        lambda: rx.bootstrap("fit"),
        DataError,
        r"bootstrap\(\) needs one fit, not a str \(of rx\.lmer, rx\.glmer or rx\.mmrm\)",
    ),
    ("bootstrap: draws", lambda: rx.bootstrap(fit(), 0), DataError, "n_sims=0 must be a whole number of at least 2"),
    (
        "bootstrap: statistic",
        lambda: rx.bootstrap(fit(), 5, statistic="theta"),
        DataError,
        r"statistic='theta' must be a function of a list of fits that returns a data frame",
    ),
    (
        "cluster_mean: number",
        lambda: rx.cluster_mean(3, "g"),
        ImputationError,
        r"cluster_mean\(\) needs names of columns, not 3",
    ),
    ("centred: number", lambda: impute.centred(3), ImputationError, r"centred\(\) needs names of columns, not 3"),
    ("product: nothing", lambda: impute.product(), ImputationError, r"product\(\) needs names of columns"),
    ("product: number", lambda: impute.product("x", 3), ImputationError, r"product\(\) needs names of columns, not 3"),
    (
        "refit: list",
        lambda: rx.refit(fits(), base()["y"]),
        DataError,
        r"refit\(\) needs one fit, not a LmerFitList: take one by position, as in fits\[0\]",
    ),
    (
        "refit: rows",
        lambda: rx.refit(fit(), np.ones(3)),
        DataError,
        r"the responses have the shape \(1, 3\); they need one row per data set and 60 columns",
    ),
    (
        "refit: text",
        lambda: rx.refit(fit(), ["a"] * 60),
        DataError,
        r"the responses must be numbers: could not convert string to float: 'a'",
    ),
    (
        "refit: complex numbers",
        lambda: rx.refit(fit(), np.ones(60) + 1j),
        DataError,
        r"the responses must be numbers: they are of type complex128",
    ),
    (
        "refit: missing",
        lambda: rx.refit(fit(), np.full(60, np.nan)),
        DataError,
        r"response 1 of 1 holds values that are not finite",
    ),
    (
        "simulate: no fit",
        lambda: rx.simulate(3),
        DataError,
        r"simulate\(\) needs one fit, not a int \(of rx\.lmer, rx\.glmer or rx\.mmrm\)",
    ),
    ("simulate: draws", lambda: rx.simulate(fit(), 0), DataError, "n_sims=0 must be a whole number of at least 1"),
    (
        "simulate: seed",
        lambda: rx.simulate(fit(), 1, seed=-1),
        DataError,
        "seed=-1 must be a whole number of at least 0",
    ),
    (
        "at_boundary: no test",
        lambda: pooling.at_boundary(3.0),
        PoolingError,
        r"at_boundary needs a pooled test, such as d2\(\) gives, not a float\.",
    ),
    (
        "at_boundary: many",
        lambda: pooling.at_boundary(pooling.d2(np.ones(3), 1), 5),
        PoolingError,
        r"n_boundary must lie between 0 and k = 1; it is 5\.",
    ),
    (
        "d3: shapes",
        lambda: pooling.d3([1.0, 2.0], [1.0], 1),
        PoolingError,
        r"The statistics have the shape \(2,\) at own and \(1,\) at pooled parameters\.",
    ),
    (
        "d3: k",
        lambda: pooling.d3([1.0, 2.0], [1.0, 2.0], 0),
        PoolingError,
        r"A test needs at least one component \(k >= 1\); k is 0\.",
    ),
    (
        "d4: shapes",
        lambda: pooling.d4([1.0, 2.0], [1.0], 1.0, 1.0, 1),
        PoolingError,
        r"The log-likelihoods of the two models have the shapes \(2,\) and \(1,\)\.",
    ),
    (
        "d4: robust without parameters",
        lambda: pooling.d4([1.0, 2.0], [1.0, 0.5], 1.0, 1.0, 1, robust=True),
        PoolingError,
        r"The robust D4 needs n_parameters, the number of parameters of the larger model \(at least k = 1\); it",
    ),
    (
        "jackknife_error: shapes",
        lambda: pooling.jackknife_error(np.ones((3, 2)), np.ones((2, 2))),
        PoolingError,
        r"The variances have the shape \(2, 2\); estimates of shape \(3, 2\) need \(3, 2\)\.",
    ),
    (
        "jackknife_error: two",
        lambda: pooling.jackknife_error(np.ones((2, 2)), np.ones((2, 2))),
        PoolingError,
        r"The jackknife over imputations needs at least three of them, and there are two\.",
    ),
    (
        "jackknife_spread: one",
        lambda: pooling.jackknife_spread(np.ones((1, 2))),
        PoolingError,
        r"A jackknife needs values without each of two or more imputations; the shape is \(1, 2\)\.",
    ),
    (
        "mean_error: m",
        lambda: pooling.mean_error([1.0], 0),
        PoolingError,
        r"Pooling needs at least two imputations, and there is none: the spread between imputations cannot be",
    ),
    (
        "mean_error: negative",
        lambda: pooling.mean_error([-1.0], 5),
        PoolingError,
        r"The between-imputation variance is negative\.",
    ),
    (
        "tukey: means",
        lambda: pooling.tukey_p_value(1.0, 1, 5),
        PoolingError,
        r"Pairwise comparisons need at least two means; there are 1\.",
    ),
    (
        "dunnett: correlations",
        lambda: pooling.dunnett_p_value([1.0, 2.0], [[1.0]], 5),
        PoolingError,
        r"2 comparisons need correlations of shape \(2, 2\)",
    ),
    (
        "tukey: df",
        lambda: pooling.tukey_p_value(1.0, 3, -1),
        PoolingError,
        r"The degrees of freedom of a comparison must be positive\.",
    ),
    (
        "wald_statistics: shapes",
        lambda: pooling.wald_statistics(np.ones((3, 2)), np.ones((3, 3, 3))),
        PoolingError,
        r"The covariances have the shape \(3, 3, 3\); estimates of shape \(3, 2\) need \(3, 2, 2\)\.",
    ),
    (
        "density_table: no data",
        lambda: impute.density_table(base(), "x"),
        ImputationError,
        r"imputations are needed, not a DataFrame: make them by ImputedData\.from_frames\(\)",
    ),
    (
        "density_table: column",
        lambda: impute.density_table(imputed(), "q"),
        ImputationError,
        r"columns= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "density_table: points",
        lambda: impute.density_table(imputed(), "gap", 0),
        ImputationError,
        r"n_points=0 must be a whole number of at least 1",
    ),
    (
        "fraction_missing: no frame",
        lambda: impute.fraction_missing([1]),
        ImputationError,
        r"the data are a list, not a pandas DataFrame: convert them first",
    ),
    (
        "fraction_missing: column",
        lambda: impute.fraction_missing(base(), ["q"]),
        ImputationError,
        r"columns= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "icc_table: cluster",
        lambda: impute.icc_table(imputed(), "q"),
        ImputationError,
        r"cluster= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "icc_table: no data",
        lambda: impute.icc_table(base(), "g"),
        ImputationError,
        r"imputations are needed, not a DataFrame: make them by ImputedData\.from_frames\(\)",
    ),
    (
        "intraclass: lengths",
        lambda: impute.intraclass_correlation([1.0, 2.0], ["a"]),
        ImputationError,
        r"the values must be numbers, and as many as the clusters: All arrays must be of the same length",
    ),
    (
        "intraclass: text",
        lambda: impute.intraclass_correlation(["u", "v"], ["a", "b"]),
        ImputationError,
        r"the values must be numbers, and as many as the clusters: could not convert string to float: 'u'",
    ),
    (
        "joint: no frame",
        lambda: impute.joint(3, "gap ~ x + (1 | g)"),
        DataError,
        r"the data to impute is a int, not a pandas DataFrame: convert it with pandas\.DataFrame\(\.\.\.\) first",
    ),
    (
        "joint: formula",
        lambda: impute.joint(base(), "gap ~ q + (1 | g)"),
        ImputationError,
        r"fixed part: names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    ("joint: m", lambda: impute.joint(base(), "gap ~ x + (1 | g)", 0), ImputationError, "m=0 must be a whole number"),
    (
        "joint: match",
        lambda: impute.joint(base()[["gap", "x", "g"]], cluster="g", match=["f"]),
        ImputationError,
        r"match= names 'f'",
    ),
    (
        "joint: nothing",
        lambda: impute.joint(base()),
        ImputationError,
        r"joint\(\) needs cluster=, the column that names the clusters, or a formula with \(1 \| g\)",
    ),
    (
        "level2: cluster",
        lambda: impute.level2_consistency(imputed(), "q"),
        ImputationError,
        r"cluster= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "missing_flags: column",
        lambda: impute.missing_flags(base(), ["q"]),
        ImputationError,
        r"columns= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "observed_vs_imputed: no data",
        lambda: impute.observed_vs_imputed(base()),
        ImputationError,
        r"imputations are needed, not a DataFrame: make them by ImputedData\.from_frames\(\)",
    ),
    (
        "observed_vs_imputed: column",
        lambda: impute.observed_vs_imputed(imputed(), ["q"]),
        ImputationError,
        r"columns= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "shares: column",
        lambda: impute.observed_vs_imputed_shares(imputed(), ["q"]),
        ImputationError,
        r"columns= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "overimpute: no result",
        lambda: impute.overimpute(3, "x"),
        ImputationError,
        r"overimpute\(\) needs what impute\.emb\(\) returns, not a int",
    ),
    (
        "pattern_table: no frame",
        lambda: impute.pattern_table(3),
        ImputationError,
        r"the data are a int, not a pandas DataFrame: convert them first",
    ),
    (
        "quantile_table: column",
        lambda: impute.quantile_table(imputed(), "q"),
        ImputationError,
        r"columns= names 'q', not among the columns of the data \(y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "quantile_table: points",
        lambda: impute.quantile_table(imputed(), "gap", n_points=0),
        ImputationError,
        r"n_points=0 must be a whole number of at least 1",
    ),
    (
        "CellPrior: order",
        lambda: impute.emb(base()[["y", "gap"]], 1, priors=[impute.CellPrior("gap", 3.0, 1.0)]),
        ImputationError,
        r"the prior on 'gap' has low=3\.0 and high=1\.0: low < high",
    ),
    (
        "CellPrior: column",
        lambda: impute.emb(base()[["y", "gap"]], 1, priors=[impute.CellPrior("q", 1.0, 3.0)]),
        ImputationError,
        r"priors= names 'q', which is not in the imputation model: it can name continuous columns only",
    ),
    (
        "JointPrior: refused",
        lambda: impute.joint(
            base()[["gap", "x", "g"]], "gap ~ x + (1 | g)", 2, priors=impute.JointPrior(residual_df=-1.0)
        ),
        ImputationError,
        r"priors: residual_df=-1\.0 gives no proper prior of a 1 x 1 covariance: > 0",
    ),
    (
        "ampute: no frame",
        lambda: sim.ampute(3, seed=1),
        SimulationError,
        r"ampute\(\) needs a pandas DataFrame, not a int\.",
    ),
    (
        "ampute: prop",
        lambda: sim.ampute(base()[["y", "x"]], 2.0, seed=1),
        SimulationError,
        r"prop=2\.0 must lie between 0 and 1",
    ),
    (
        "ampute: patterns",
        lambda: sim.ampute(base()[["y", "x"]], 0.5, [["q"]], seed=1),
        SimulationError,
        r"patterns= has \['q'\]; give columns among 'y', 'x'\.",
    ),
    (
        "drop_out: column",
        lambda: sim.drop_out(base()[["y", "x", "g", "row"]], 0.5, ["y"], subject="q", time="row", seed=1),
        SimulationError,
        r"The data have no column 'q'; they have 'y', 'x', 'g', 'row'\.",
    ),
    (
        "drop_out: prop",
        lambda: sim.drop_out(base()[["y", "x", "g", "row"]], 2, ["y"], subject="g", time="row", seed=1),
        SimulationError,
        "prop=2 must lie between 0 and 1",
    ),
    (
        "intervals: column",
        lambda: sim.intervals(base()),
        DataError,
        r"The results have no column 'estimate', 'std_error'; they have y, x, z, f, g, w, my var, row, one,",
    ),
    (
        "intervals: level",
        lambda: sim.intervals(RESULTS[["estimate", "std_error"]], conf_level=95),
        DataError,
        r"conf_level=95 must be a number between 0 and 1, such as 0\.95",
    ),
    (
        "key: seed",
        lambda: sim.key(-1, "a", 0, sim.Stream.DATA),
        SimulationError,
        "seed=-1 must be a whole number of at least 0",
    ),
    (
        "keys: text",
        lambda: sim.keys("a", "a", [0], sim.Stream.DATA),
        SimulationError,
        r"seed='a' must be a whole number of at least 0",
    ),
    (
        "keys: scenario",
        lambda: sim.keys(1, "a", [0], sim.Stream.DATA),
        SimulationError,
        r"'a' is not a scenario's name; make it with scenario_id\(parameters\)\.",
    ),
    (
        "n_needed: measure",
        lambda: sim.n_needed("q", 0.01),
        DataError,
        r"No closed form for measure 'q': run a pilot study and use n_needed_from\. Closed forms: coverage,",
    ),
    ("n_needed: mcse", lambda: sim.n_needed("bias", 0, sd=1.0), DataError, "mcse=0 must be a positive number"),
    ("n_needed: sd", lambda: sim.n_needed("bias", 0.01), DataError, r"n_needed\('bias'\) needs sd=\."),
    (
        "n_needed_from: measure",
        lambda: sim.n_needed_from(TABLE, "q", 0.01),
        DataError,
        r"The table has no column 'measure': give what performance\(\) returns\.",
    ),
    (
        "performance: truth",
        lambda: sim.performance(RESULTS, truth="q"),
        DataError,
        r"The results have no column 'q'; they have scenario, method, term, replication, estimate, std_error,",
    ),
    (
        "performance: by",
        lambda: sim.performance(RESULTS, truth=1.0, by=["q"]),
        DataError,
        r"The results have no column 'q'; they have scenario, method, term, replication, estimate, std_error,",
    ),
    (
        "performance: no frame",
        lambda: sim.performance([1], truth=1.0),
        DataError,
        "the results must be a pandas DataFrame, not a list",
    ),
    (
        "read_store: none",
        lambda: sim.read_store("/no/such"),
        FileFormatError,
        r"/no/such holds no study: there is no manifest\.json\.",
    ),
    (
        "scenario_id: refused",
        lambda: sim.scenario_id(3),
        SimulationError,
        r"The parameters of a scenario are a dict, not a int\.",
    ),
    (
        "generate: scenario",
        lambda: sim.generate(sim.key(1, "a", 0, sim.Stream.DATA), 3),
        SimulationError,
        r"'a' is not a scenario's name; make it with scenario_id\(parameters\)\.",
    ),
    (
        "generate_batch: scenario",
        lambda: sim.generate_batch(sim.keys(1, "a", [0], sim.Stream.DATA), 3),
        SimulationError,
        r"'a' is not a scenario's name; make it with scenario_id\(parameters\)\.",
    ),
    (
        "simulate_frames: design",
        lambda: sim.simulate_frames(3, seed=1),
        SimulationError,
        r"A MultilevelDesign is needed, not a int\.",
    ),
    (
        "simulate_frames: seed",
        lambda: sim.simulate_frames(design(), 1, seed=-1),
        SimulationError,
        "seed=-1 must be a whole number of at least 0",
    ),
    (
        "Factor: within",
        lambda: design(factors=[sim.Factor("g", 10, within="q")]),
        SimulationError,
        r"Factor 'g': within= names 'q', and there are no factors before it",
    ),
    (
        "RandomTerm: sd",
        lambda: sim.RandomTerm("g", {"1": -1.0}),
        SimulationError,
        r"Random term of 'g': SDs must be 0 or more, got \{'\(Intercept\)': -1\.0\}\.",
    ),
    (
        "RandomTerm: factor",
        lambda: design(random=[sim.RandomTerm("q", {"1": 1.0})]),
        SimulationError,
        r"A random term names 'q', which is not among 'g'",
    ),
    ("Design: sigma", lambda: design(sigma=-1.0), SimulationError, r"sigma=-1\.0 must be 0 or more"),
    (
        "Design: beta",
        lambda: design(beta={"q": 1.0}),
        SimulationError,
        r"Term 'q' names 'q', and there are no covariates",
    ),
    (
        "Drawn: refused",
        lambda: sim.Drawn(3, ()),
        SimulationError,
        r"Drawn needs a weight above 0, got weights=\(\)\.",
    ),
    (
        "design_from_formula: refused",
        lambda: sim.design_from_formula("y ~ x", beta=[1.0], sd={}, sigma=1.0, factors=[sim.Factor("g", 5)], size=5),
        FormulaError,
        r"cannot read 'y ~ x': it has no random term; add one such as \(1 \| g\), where g names the groups",
    ),
    ("EMB: m", lambda: sim.EMB(m=0), SimulationError, "m=0 must be a whole number of at least 2"),
    ("Joint: m", lambda: sim.Joint(m=0), SimulationError, "m=0 must be a whole number of at least 2"),
    (
        "ReferenceBased: m",
        lambda: sim.ReferenceBased(arm="arm", reference="placebo", analysis="y ~ arm", draws="none", m=5),
        SimulationError,
        r"m=5: without draws all imputations are the same; leave out m=\.",
    ),
    (
        "Study: replications",
        lambda: sim.Study(
            {"n": [1]}, lambda n: design(), {"a": sim.CompleteData()}, {"x": 1.0}, 0, 1, model="y ~ 1 + (1 | g)"
        ),
        SimulationError,
        "replications=0 must be a whole number of at least 1",
    ),
    (
        "Study: methods",
        lambda: sim.Study({"n": [1]}, lambda n: design(), {}, {"x": 1.0}, 1, 1, model="y ~ 1 + (1 | g)"),
        SimulationError,
        r"A study needs at least one method and one estimand\.",
    ),
    (
        "bland: refused",
        lambda: sim.bland_altman_plot(RESULTS, method="a", reference="q"),
        DataError,
        r"method 'q' needs estimates, one per replication: choose one scenario and one term\.",
    ),
    (
        "coverage_plot: refused",
        lambda: sim.coverage_plot(TABLE, x="q"),
        DataError,
        r"No column 'measure', 'summary', 'estimate', 'mcse', 'q'; there are method, bias, x\.",
    ),
    (
        "density_plot: refused",
        lambda: sim.density_plot(RESULTS, estimate="q"),
        DataError,
        r"No column 'q'; there are scenario, method, term, replication, estimate, std_error, df, conf_low,",
    ),
    (
        "sim.forest: refused",
        lambda: sim.forest_plot(TABLE, "q", rows=["x"]),
        DataError,
        r"No column 'measure', 'summary', 'estimate', 'mcse'; there are method, bias, x\.",
    ),
    (
        "lollipop: refused",
        lambda: sim.lollipop_plot(TABLE, "q"),
        DataError,
        r"No column 'measure', 'summary', 'estimate', 'mcse'; there are method, bias, x\.",
    ),
    (
        "nested: refused",
        lambda: sim.nested_loop_plot(TABLE, "bias", factors=["q"]),
        DataError,
        r"No column 'measure', 'summary', 'estimate', 'mcse', 'q'; there are method, bias, x\.",
    ),
    (
        "zip: refused",
        lambda: sim.zip_plot(RESULTS, truth=1.0, estimate="q"),
        DataError,
        r"No column 'q'; there are scenario, method, term, replication, estimate, std_error, df, conf_low,",
    ),
    (
        "caterpillar: no fit",
        lambda: plot.caterpillar(3),
        DataError,
        r"a figure shows one fit or a pooled model, not a int \(of rx\.lmer, rx\.glmer or rx\.mmrm\)",
    ),
    (
        "caterpillar: group",
        lambda: plot.caterpillar(fit(), "school"),
        DataError,
        r"group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "chain_plot: refused",
        lambda: plot.chain_plot(np.ones(3)),
        DataError,
        r"chain_plot\(\) needs \(chains, iterations\) but got 1 axes: pick one parameter",
    ),
    (
        "effect: x",
        lambda: plot.effect(fit(), "q"),
        DataError,
        r"'q' is not a variable of the fixed part; they are 'x', 'f'",
    ),
    (
        "forest: no fit",
        lambda: plot.forest(3),
        DataError,
        r"a figure shows one fit or a pooled model, not a int \(of rx\.lmer, rx\.glmer or rx\.mmrm\)",
    ),
    (
        "impact: group",
        lambda: plot.impact(fit(), group="school"),
        DataError,
        r"group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "density plot: refused",
        lambda: plot.imputed_density_plot(TABLE),
        DataError,
        r"No column 'density', 'set'; there are method, bias, x\.",
    ),
    (
        "icc plot: refused",
        lambda: plot.imputed_icc_plot(TABLE),
        DataError,
        r"No column 'observed', 'completed', 'least', 'greatest'; there are method, bias, x\.",
    ),
    (
        "quantile plot: refused",
        lambda: plot.imputed_quantile_plot(TABLE),
        DataError,
        r"No column 'observed', 'imputed', 'set'; there are method, bias, x\.",
    ),
    (
        "missing_information: fit",
        lambda: plot.missing_information(fit()),
        DataError,
        r"missing information compares imputations, and this is a single fit: give a pooled model, fits\.pool\(\)",
    ),
    (
        "missing_map: refused",
        lambda: plot.missing_map(3),
        DataError,
        r"missing_map\(\) needs a table of truth values: give missing_flags\(data\)",
    ),
    (
        "overimp plot: refused",
        lambda: plot.overimputation_plot(TABLE),
        DataError,
        r"No column 'observed', 'median', 'low', 'high', 'covered'; there are method, bias, x\.",
    ),
    (
        "qq_modes: group",
        lambda: plot.qq_modes(fit(), "school"),
        DataError,
        r"group='school' is no grouping factor of the model; it has 'g'",
    ),
    (
        "qq_residuals: refused",
        lambda: plot.qq_residuals(3),
        DataError,
        r"a figure shows one fit or a pooled model, not a int \(of rx\.lmer, rx\.glmer or rx\.mmrm\)",
    ),
    (
        "residual_fitted: refused",
        lambda: plot.residual_fitted(fit(), type="q"),
        DataError,
        r"type='q' is not known: use 'response', 'pearson', 'scaled' or 'marginal'",
    ),
    (
        "scale_location: refused",
        lambda: plot.scale_location(3),
        DataError,
        r"a figure shows one fit or a pooled model, not a int \(of rx\.lmer, rx\.glmer or rx\.mmrm\)",
    ),
    (
        "spaghetti: refused",
        lambda: plot.spaghetti(fit(), "q"),
        DataError,
        r"'q' is not a variable of the fixed part or of a slope by g; they are 'x', 'f'",
    ),
    (
        "trace: fit",
        lambda: plot.trace(fit()),
        DataError,
        r"a trace compares imputations, and this is a single fit: give a pooled model, fits\.pool\(\)",
    ),
    (
        "trace: term",
        lambda: plot.trace(pooled(), "q"),
        DataError,
        r"term='q': no such estimate; there are 'sd__Intercept', 'sd__Observation'",
    ),
    (
        "zeta: term",
        lambda: plot.zeta(fit(), "q"),
        DataError,
        r"term='q': no such estimate; there are 'sd__Intercept', 'sd__Observation', 'Intercept', 'x',",
    ),
    (
        "zeta: refused",
        lambda: plot.zeta(3),
        DataError,
        r"a figure shows one fit or a pooled model, not a int \(of rx\.lmer, rx\.glmer or rx\.mmrm\)",
    ),
    (
        "pooling LOG: refused",
        lambda: pooling.pool_transformed("a", np.ones((3, 1)), pooling.LOG),
        PoolingError,
        r"The values cannot be read as one array of numbers: could not convert string to float: 'a'\.",
    ),
]
