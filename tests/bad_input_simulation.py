"""Bad input to simulation studies: designs, amputations, methods, studies, measures and figures."""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd

from bad_input import Case, base
from bad_input_public import RESULTS, TABLE, design
from remlax import sim
from remlax.batched import batch
from remlax.errors import DataError, DesignError, FileFormatError, ModelSizeError, SimulationError
from remlax.simulation import rows


def study(**changes: object) -> sim.Study:
    usual = {"scenarios": {"J": [1]}, "generate": lambda scenario: design(), "methods": {"all": sim.CompleteData()}}
    usual |= {"estimands": {"Intercept": 1.0}, "replications": 2, "seed": 1, "model": "y ~ 1 + (1 | g)"}
    return sim.Study(**(usual | changes))


def one_design(scenario: object) -> sim.MultilevelDesign:
    return design()


def ran(with_client: object = None, **changes: object) -> object:
    with tempfile.TemporaryDirectory() as folder:
        return study(**changes).run(folder, progress=False, client=with_client)


SIMULATION: list[Case] = [
    (
        "generate: key",
        lambda: sim.generate(3, design()),
        SimulationError,
        r"One random key, made by .* is needed, got 3\.",
    ),
    (
        "generate: many keys",
        lambda: sim.generate(sim.keys(1, "0" * 16, [0, 1], sim.Stream.DATA), design()),
        SimulationError,
        r"One random key, made by sim\.key\(\), is needed, got an array \(2,\)",
    ),
    (
        "generate: no design",
        lambda: sim.generate(sim.key(1, "0" * 16, 0, sim.Stream.DATA), 3),
        SimulationError,
        r"A MultilevelDesign is needed, not a int\.",
    ),
    (
        "generate_batch: one key",
        lambda: sim.generate_batch(sim.key(1, "0" * 16, 0, sim.Stream.DATA), design()),
        SimulationError,
        r"An array \(R,\) of random keys, made by sim\.keys\(\), is needed, got an array \(\)",
    ),
    (
        "simulate_frames: none",
        lambda: sim.simulate_frames(design(), 0, seed=1),
        SimulationError,
        "replications=0 must be a whole number of at least 1",
    ),
    (
        "simulate_frames: too large",
        lambda: sim.simulate_frames(design(size=10**12), 1, seed=1),
        ModelSizeError,
        r"1 replications of 10000000000000 rows need about .* TB of memory, and there are .*: draw fewer rows\.",
    ),
    (
        "key: stream",
        lambda: sim.key(1, "0" * 16, 0, 7),
        SimulationError,
        r"stream=7 must be a Stream, such as Stream\.DATA\.",
    ),
    (
        "key: replication",
        lambda: sim.key(1, "0" * 16, 0.5, sim.Stream.DATA),
        SimulationError,
        r"Replications are numbered from 0 to 2\*\*32 - 1: give a list of such numbers, not \[0\.5\]\.",
    ),
    ("key: scenario", lambda: sim.key(1, 3, 0, sim.Stream.DATA), SimulationError, r"^3 is not a scenario's name"),
    ("Covariate: name", lambda: sim.Covariate(3), SimulationError, "the name of a covariate must be a text, got 3"),
    ("Covariate: colon", lambda: sim.Covariate("a:b"), SimulationError, r"Covariate 'a:b': a name has no colon,"),
    ("Covariate: sd", lambda: sim.Covariate("x", sd=-1), SimulationError, r"Covariate 'x': sd=-1 must be 0 or more"),
    (
        "Covariate: mean",
        lambda: sim.Covariate("x", mean=float("nan")),
        SimulationError,
        r"Covariate 'x': mean=nan must be a finite number",
    ),
    (
        "Covariate: icc",
        lambda: sim.Covariate("x", icc=0.2),
        SimulationError,
        r"Covariate 'x': icc=0\.2 must be a dict such as \{'school': 0\.2\}",
    ),
    (
        "Covariate: index",
        lambda: sim.Covariate("t", level="g", kind="index"),
        SimulationError,
        r"Covariate 't' of kind 'index' differs from row to row: leave out level=\.",
    ),
    (
        "Covariate: icc below its level",
        lambda: design(
            factors=[sim.Factor("s", 3), sim.Factor("g", 3, within="s")],
            covariates=[sim.Covariate("x", level="s", icc={"g": 0.2})],
        ),
        SimulationError,
        r"Covariate 'x' is constant in 's': icc= names factors above that, and 'g' is none\.",
    ),
    (
        "Outcome: family",
        lambda: sim.Outcome("weibull"),
        SimulationError,
        r"Outcome: family='weibull' is not known: use 'binomial', .*\.",
    ),
    (
        "Outcome: link",
        lambda: sim.Outcome("poisson", link="probit"),
        SimulationError,
        r"Outcome: family='poisson' has no link 'probit': use 'log'\.",
    ),
    (
        "Outcome: Gaussian",
        lambda: sim.Outcome("gaussian"),
        SimulationError,
        r"A Gaussian response needs no outcome=: give the SD of its errors, sigma=\.",
    ),
    (
        "Outcome: size of another family",
        lambda: sim.Outcome("poisson", size=2.0),
        SimulationError,
        r"Outcome 'poisson' has no size=, which is one of family='negative-binomial'\.",
    ),
    (
        "Outcome: no size",
        lambda: sim.Outcome("negative-binomial"),
        SimulationError,
        r"Outcome 'negative-binomial' needs size=, as in variance mu \+ mu\^2 / size\.",
    ),
    (
        "Outcome: no thresholds",
        lambda: sim.Outcome("ordinal"),
        SimulationError,
        r"Outcome 'ordinal' needs thresholds=, one fewer than there are categories\.",
    ),
    (
        "Outcome: shape",
        lambda: sim.Outcome("gamma", shape=-1),
        SimulationError,
        r"Outcome 'gamma': shape=-1 must be",
    ),
    (
        "Outcome: trials",
        lambda: sim.Outcome(trials=0),
        SimulationError,
        "Outcome 'binomial': trials=0 must be a whole number of at least 1",
    ),
    (
        "Outcome: order of thresholds",
        lambda: sim.Outcome("ordinal", thresholds=[1.0, 0.0]),
        SimulationError,
        r"Outcome 'ordinal': thresholds= are increasing numbers, at most 11, got \(1\.0, 0\.0\)\.",
    ),
    (
        "Outcome: names of categories",
        lambda: sim.Outcome("ordinal", thresholds=[1.0], levels=["a"]),
        SimulationError,
        r"Outcome 'ordinal': 1 thresholds separate 2 categories; levels= needs as many different names, got \['a'\]\.",
    ),
    (
        "Outcome: categories of a count",
        lambda: sim.Outcome("poisson", levels=["a"]),
        SimulationError,
        r"Outcome 'poisson' has no levels=, which are those of family='ordinal'\.",
    ),
    (
        "MultilevelDesign: no SD of the errors",
        lambda: design(sigma=None),
        SimulationError,
        r"A Gaussian response needs sigma=, the SD of its errors; others have an outcome=\.",
    ),
    (
        "MultilevelDesign: errors of an outcome",
        lambda: design(outcome=sim.Outcome("poisson")),
        SimulationError,
        r"An outcome of family 'poisson' has no errors: leave out sigma= and error=\.",
    ),
    (
        "MultilevelDesign: outcome",
        lambda: design(sigma=None, outcome="poisson"),
        SimulationError,
        r"outcome='poisson' must be .*Outcome\('binomial'\) or the like",
    ),
    (
        "MultilevelDesign: intercept and thresholds",
        lambda: design(sigma=None, outcome=sim.Outcome("ordinal", thresholds=[0.0])),
        SimulationError,
        r"An ordinal outcome has thresholds in the place of an intercept: leave it out of beta=\.",
    ),
    (
        "design_from_formula: failures",
        lambda: sim.design_from_formula(
            "cbind(y, n - y) ~ 1 + (1 | g)",
            beta=[0.0],
            sd={"g": [1.0]},
            factors=[sim.Factor("g", 3)],
            size=2,
            outcome=sim.Outcome(trials=3),
        ),
        SimulationError,
        r"A design draws successes, .* in the column 'trials': write cbind\(y, trials - y\)\.",
    ),
    ("EMB: n_quad", lambda: sim.EMB(n_quad=0), SimulationError, "n_quad=0 must be a whole number of at least 1"),
    ("EMB: family", lambda: sim.EMB(family="weibull"), DesignError, "family='weibull' is not known"),
    (
        "Factor: levels",
        lambda: sim.Factor("g", 0),
        SimulationError,
        r"Factor 'g': levels=0 must be a whole number of at least 1",
    ),
    ("Factor: name", lambda: sim.Factor(3, 3), SimulationError, "the name of a factor must be a text, got 3"),
    (
        "Factor: itself",
        lambda: sim.Factor("g", 3, within="g"),
        SimulationError,
        r"Factor 'g' cannot be nested in itself: within= names another factor\.",
    ),
    (
        "Factor: assigned",
        lambda: sim.Factor("g", 3, assigned="yes"),
        SimulationError,
        r"Factor 'g': assigned='yes' must be True or False",
    ),
    ("Drawn: weights", lambda: sim.Drawn(1, 3), SimulationError, "Drawn: weights=3 must be a list of numbers"),
    (
        "Drawn.uniform: order",
        lambda: sim.Drawn.uniform(5, 3),
        SimulationError,
        "Drawn: high= after low=5 must be a whole number of at least 5, got 3",
    ),
    (
        "Drawn.poisson: mean",
        lambda: sim.Drawn.poisson(-3, 1, 3),
        SimulationError,
        r"Drawn\.poisson: mean=-3 must be 0 or more",
    ),
    ("Distribution: t", lambda: sim.Distribution("t", "a"), SimulationError, r"'t' needs a finite parameter above 2,"),
    (
        "RandomTerm: a number",
        lambda: sim.RandomTerm("g", 1.0),
        SimulationError,
        r"Random term of 'g': sd=1\.0 must be a dict such as \{'1': 1\.0, 'x': 0\.5\}",
    ),
    (
        "RandomTerm: correlation",
        lambda: sim.RandomTerm("g", {"1": 1, "x": 1}, "a"),
        SimulationError,
        r"give a number or a symmetric 2 x 2 matrix with ones on the diagonal as correlation, not 'a'\.",
    ),
    (
        "RandomTerm: distribution",
        lambda: sim.RandomTerm("g", {"1": 1}, distribution="t"),
        SimulationError,
        r"Random term of 'g': distribution='t' must be made by Distribution\('t', 5\) or the like",
    ),
    (
        "Design: factors",
        lambda: design(factors=sim.Factor("g", 3)),
        SimulationError,
        r"factors=Factor\(.* must be a list of Factor\(\.\.\.\)",
    ),
    (
        "Design: covariates",
        lambda: design(covariates=["x"]),
        SimulationError,
        r"a member of covariates must be made by Covariate\(\.\.\.\), got 'x'",
    ),
    (
        "Design: size",
        lambda: design(size=1.5),
        SimulationError,
        r"size=, the number of rows of every cell, must be a whole number of at least 1, got 1\.5",
    ),
    (
        "Design: no row ever",
        lambda: design(size=sim.Drawn(0, [1.0])),
        SimulationError,
        r"size=, .* must be 1 or more now and then, got Drawn",
    ),
    ("Design: beta list", lambda: design(beta=[1.0]), SimulationError, r"beta=\[1\.0\] must be a dict such as \{'1':"),
    (
        "Design: effect twice",
        lambda: design(random=[sim.RandomTerm("g", {"1": 1.0})] * 2),
        SimulationError,
        r"The random effect '\(Intercept\) of g' is defined twice\.",
    ),
    (
        "design_from_formula: sd",
        lambda: sim.design_from_formula(
            "y ~ 1 + (1 | g)", beta=[1.0], sd={"g": [1.0], "h": [1.0]}, sigma=1.0, factors=[sim.Factor("g", 5)], size=5
        ),
        SimulationError,
        r"sd= names 'h', which is not among 'g'",
    ),
    (
        "design_from_formula: beta",
        lambda: sim.design_from_formula(
            "y ~ 1 + (1 | g)", beta=1.0, sd={"g": [1.0]}, sigma=1.0, factors=[sim.Factor("g", 5)], size=5
        ),
        SimulationError,
        r"beta=1\.0 must be a list of numbers, one per term",
    ),
    ("Amputation: prop", lambda: sim.Amputation(prop=2), SimulationError, "prop=2 must lie between 0 and 1"),
    (
        "Amputation: pattern",
        lambda: sim.Amputation(0.4, ["x"]),
        SimulationError,
        r"a pattern of patterns must be a list of texts, such as \['x', 'w'\], got 'x'",
    ),
    ("Amputation: no pattern", lambda: sim.Amputation(0.4, []), SimulationError, r"patterns= is empty: give at least"),
    (
        "Amputation: freq",
        lambda: sim.Amputation(0.4, [["x"]], freq=[0.5, 0.5]),
        SimulationError,
        r"freq= needs 1 numbers of 0 or more, one per pattern, got \[0\.5, 0\.5\]\.",
    ),
    (
        "DropOut: weights",
        lambda: sim.DropOut(0.4, ["y"], "g", "row", weights={"y": 0.0}),
        SimulationError,
        r"weights= needs a column with a weight other than 0, got \{'y': 0\.0\}\.",
    ),
    (
        "Amputation: weights",
        lambda: sim.Amputation(0.4, [["x"]], weights={"y": "a"}),
        SimulationError,
        r"weights= of 'y' must be a finite number, got 'a'",
    ),
    ("Amputation: types", lambda: sim.Amputation(0.4, types="FLAT"), SimulationError, r"types= needs RIGHT, LEFT, MID"),
    (
        "Amputation: odds",
        lambda: sim.Amputation(0.4, [["x"]], odds=[3]),
        SimulationError,
        "a row of odds must be a list of numbers, got 3",
    ),
    (
        "Amputation: cluster_sd",
        lambda: sim.Amputation(0.4, cluster="g", cluster_sd=-1),
        SimulationError,
        "cluster_sd=-1 must be 0 or more",
    ),
    (
        "ampute: infinite",
        lambda: sim.ampute(base()[["y", "infinite"]], 0.4, [["y"]], seed=1),
        DataError,
        r"Column 'infinite' has 1 infinite values: a score needs numbers\.",
    ),
    (
        "ampute: empty",
        lambda: sim.ampute(base()[["y", "x"]].iloc[:0], 0.4, seed=1),
        DataError,
        r"ampute\(\) needs rows and columns; the frame has the shape \(0, 2\)\.",
    ),
    (
        "ampute: names",
        lambda: sim.ampute(base()[["y", "x"]].set_axis([0, 1], axis=1), 0.4, seed=1),
        DataError,
        r"Column 0 has no text as its name: rename it, as by frame\.rename\(columns=str\)\.",
    ),
    (
        "ampute: twins",
        lambda: sim.ampute(base()[["y", "y"]], 0.4, seed=1),
        DataError,
        r"Column 'y' is there twice: rename one\.",
    ),
    (
        "ampute: also",
        lambda: sim.ampute(base()[["y", "x"]], 0.4, seed=1).also(3),
        SimulationError,
        r"what is joined must be made by ampute\(\) or drop_out\(\), got 3",
    ),
    (
        "DropOut: columns",
        lambda: sim.DropOut(0.2, "y", "g", "row"),
        SimulationError,
        r"columns='y' must be a list of texts, such as \['x', 'w'\]",
    ),
    (
        "DropOut: the subject",
        lambda: sim.DropOut(0.2, ["g"], "g", "row"),
        SimulationError,
        r"columns=\['g'\] are lost after leaving: 'g' and 'row' are always seen\.",
    ),
    (
        "drop_out: no frame",
        lambda: sim.drop_out(3, 0.2, ["y"], subject="g", time="t", seed=1),
        SimulationError,
        r"not a int",
    ),
    (
        "drop_out: occasion twice",
        lambda: sim.drop_out(base()[["y", "g", "zero"]], 0.2, ["y"], subject="g", time="zero", seed=1),
        DataError,
        r"Occasion \{'g': 'g00', 'zero': 0\.0\} is there twice: give one row per subject and occasion\.",
    ),
    ("EMB: tolerance", lambda: sim.EMB(tolerance=-1), SimulationError, "tolerance=-1 must be 0 or more"),
    ("EMB: columns", lambda: sim.EMB(columns="xy"), SimulationError, r"columns='xy' must be a list of texts, such as"),
    (
        "EMB: dfcom",
        lambda: sim.EMB(dfcom="kenward-roger"),
        SimulationError,
        r"dfcom='kenward-roger' must be 'satterthwaite', 'residual' or a positive number, such as math\.inf\.",
    ),
    ("EMB: reml", lambda: sim.EMB(reml="yes"), SimulationError, r"reml='yes' must be True or False"),
    (
        "ReferenceBased: strategy",
        lambda: sim.ReferenceBased(arm="arm", reference="a", analysis="y ~ arm", strategy="J2R"),
        SimulationError,
        r"strategy='J2R' is not known: use 'jump-to-reference', .* or 'mar'",
    ),
    (
        "ReferenceBased: draws",
        lambda: sim.ReferenceBased(arm="arm", reference="a", analysis="y ~ arm", draws="posterior"),
        SimulationError,
        r"draws='posterior' is not known: use 'bootstrap' or 'none'",
    ),
    (
        "ReferenceBased: arm",
        lambda: sim.ReferenceBased(arm=1, reference="a", analysis="y ~ arm"),
        SimulationError,
        r"arm=1 must be a text",
    ),
    (
        "Joint: sweeps",
        lambda: sim.Joint(sweeps=1.5),
        SimulationError,
        r"sweeps=1\.5 must be a whole number of at least 1",
    ),
    ("Joint: random", lambda: sim.Joint(random="x"), SimulationError, r"random='x' must be a list of texts, such as"),
    (
        "FrameGenerator: no function",
        lambda: sim.FrameGenerator("a"),
        SimulationError,
        r"needs a function of \(scenario, rng\)",
    ),
    (
        "FrameAmputer: no function",
        lambda: sim.FrameAmputer("a"),
        SimulationError,
        r"a function of \(frame, scenario, rng\)",
    ),
    (
        "Study: no scenario",
        lambda: study(scenarios={}),
        SimulationError,
        r"A study needs at least one scenario; where nothing varies, give one parameter one value, such as",
    ),
    (
        "Study: scenarios",
        lambda: study(scenarios=[{"J": 1}]),
        SimulationError,
        r"scenarios=, unless a frame, must be a dict such as \{'J': \[30, 150\]\}, got \[\{'J': 1\}\]",
    ),
    (
        "Study: values",
        lambda: study(scenarios={"J": "abc"}),
        SimulationError,
        r"scenarios= of 'J' must be a list of values, as \[30, 150\], got 'abc'",
    ),
    (
        "Study: columns twice",
        lambda: study(scenarios=pd.DataFrame([[1, 2]], columns=["J", "J"])),
        SimulationError,
        r"scenarios= has a column twice: 'J', 'J'\.",
    ),
    (
        "Study: generate",
        lambda: study(generate=design()),
        SimulationError,
        r"generate= must be a function from a scenario to .* for one design: lambda scenario: design",
    ),
    (
        "Study: ampute",
        lambda: study(ampute=sim.Amputation(0.4)),
        SimulationError,
        r"ampute= must be a function from a scenario .* for one amputation: lambda scenario: amputation\.",
    ),
    ("Study: method list", lambda: study(methods=[sim.EMB()]), SimulationError, r"methods=\[EMB\(.* must be a dict s"),
    (
        "Study: method class",
        lambda: study(methods={"a": sim.EMB}),
        SimulationError,
        r"Method 'a' is a class: make an object of it, as EMB\(\)\.",
    ),
    (
        "Study: method",
        lambda: study(methods={"a": "emb"}),
        SimulationError,
        r"Method 'a' must be a function of a data frame",
    ),
    (
        "Study: estimand",
        lambda: study(estimands={"x": "a"}),
        SimulationError,
        r"the true value of 'x', unless a function of the scenario, must be a finite number, got 'a'",
    ),
    (
        "Study: 1.5 replications",
        lambda: study(replications=1.5),
        SimulationError,
        r"replications=1\.5 must be a whole number of at least 1",
    ),
    ("Study: model", lambda: study(model=3), SimulationError, "model=3 must be a text"),
    (
        "run: generate gives something else",
        lambda: ran(generate=lambda scenario: 3),
        SimulationError,
        r"generate= gave 3 for scenario \{'J': 1\}: return a MultilevelDesign, or wrap",
    ),
    (
        "run: generate raises",
        lambda: ran(generate=lambda scenario: scenario["q"]),
        SimulationError,
        r"generate= failed for scenario \{'J': 1\}: KeyError: 'q'; it is called with the parameters of one scenario",
    ),
    (
        "run: ampute gives something else",
        lambda: ran(ampute=lambda scenario: 3),
        SimulationError,
        r"ampute= gave 3 for scenario \{'J': 1\}: return an Amputation, a DropOut, or a list of such",
    ),
    (
        "run: truth",
        lambda: ran(estimands={"Intercept": lambda scenario: "a"}),
        SimulationError,
        r"the true value of 'Intercept' in scenario \{'J': 1\} must be a finite number, got 'a'",
    ),
    (
        "run: block_size",
        lambda: study().run("/no", block_size=0),
        SimulationError,
        "block_size=0 must be a whole number of at least 1",
    ),
    (
        "run: workers",
        lambda: study().run("/no", workers=0),
        SimulationError,
        "workers=0 must be a whole number of at least 1",
    ),
    (
        "run: max_time",
        lambda: study().run("/no", max_time=-1),
        SimulationError,
        "max_time=-1 must be 0 or more",
    ),
    (
        "run: client",
        lambda: ran(generate=one_design, with_client=3),
        SimulationError,
        r"client= must be a distributed\.Client, got 3\.",
    ),
    (
        "run: out",
        lambda: study().run(3),
        SimulationError,
        "the directory of the results must be the path of a folder, got 3",
    ),
    ("run: no name", lambda: study().run(""), SimulationError, "the directory of the results must be the path of a"),
    ("prepare: no name", lambda: study().prepare(""), SimulationError, "the directory of the results must be the pa"),
    ("run: NUL", lambda: study().run("a\0b"), SimulationError, "the directory of the results must be the path of a"),
    (
        "run: half a letter",
        lambda: study().run("a\ud800"),
        SimulationError,
        r"must be the path of a folder, got 'a\\ud",
    ),
    ("results: no name", lambda: study().results(""), SimulationError, "the directory of the results must be the pa"),
    (
        "blocks: size",
        lambda: study().blocks(0),
        SimulationError,
        "block_size=0 must be a whole number of at least 1",
    ),
    ("replay: text", lambda: study().replay({"J": 1}, "a"), SimulationError, r"replication='a' must be a whole numbe"),
    (
        "replay: method",
        lambda: study().replay({"J": 1}, 0).run("q"),
        SimulationError,
        r"Replay\.run\(\) names 'q', which is",
    ),
    (
        "batch: no rows",
        lambda: batch.batch_rows(3, replications=np.arange(2), method="b", truth={"x": 1.0}, seconds=1.0),
        SimulationError,
        r"Method 'b' returned a int: return BatchRows\.",
    ),
    (
        "batch: status",
        lambda: batch.batch_rows(
            sim.BatchRows(["x"], np.ones((2, 1)), np.ones((2, 1)), status=[0, 8]),
            replications=np.arange(2),
            method="b",
            truth={"x": 1.0},
            seconds=1.0,
        ),
        SimulationError,
        r"Method 'b' gave a status that is no place in \('ok', 'singular', 'nonconverged', 'failed'\)\.",
    ),
    (
        "method: no rows",
        lambda: rows.method_records(3.0, replication=0, method="p", truth={"x": 1.0}, seconds=1.0),
        SimulationError,
        r"Method 'p' returned a float: return a DataFrame or a list of dicts, with the columns term and estimate\.",
    ),
    (
        "method: text",
        lambda: rows.method_records(
            [{"term": "x", "estimate": "a"}], replication=0, method="p", truth={"x": 1.0}, seconds=1.0
        ),
        SimulationError,
        r"Method 'p' returned estimate='a' for 'x': give a number\.",
    ),
    (
        "method: negative standard error",
        lambda: rows.method_records(
            [{"term": "x", "estimate": 1.0, "std_error": -1.0}],
            replication=0,
            method="p",
            truth={"x": 1.0},
            seconds=1.0,
        ),
        SimulationError,
        r"Method 'p' returned for 'x' std_error=-1: give a finite number of at least 0, or NaN\.",
    ),
    (
        "method: infinite standard error",
        lambda: rows.method_records(
            [{"term": "x", "estimate": 1.0, "std_error": np.inf}],
            replication=0,
            method="p",
            truth={"x": 1.0},
            seconds=1.0,
        ),
        SimulationError,
        r"Method 'p' returned for 'x' std_error=inf: give a finite number",
    ),
    (
        "method: p-value",
        lambda: rows.method_records(
            [{"term": "x", "estimate": 1.0, "p_value": 7}], replication=0, method="p", truth={"x": 1.0}, seconds=1.0
        ),
        SimulationError,
        r"Method 'p' returned for 'x' p_value=7: give a number from 0 to 1, or NaN\.",
    ),
    (
        "method: limits",
        lambda: rows.method_records(
            [{"term": "x", "estimate": 1.0, "conf_low": 0.7, "conf_high": 0.3}],
            replication=0,
            method="p",
            truth={"x": 1.0},
            seconds=1.0,
        ),
        SimulationError,
        r"Method 'p' returned for 'x' conf_low=0\.7 above conf_high=0\.3: give the lower limit first\.",
    ),
    (
        "performance: truth None",
        lambda: sim.performance(RESULTS, truth=None),
        DataError,
        r"must be a finite number, got None",
    ),
    (
        "performance: alpha",
        lambda: sim.performance(RESULTS, truth=1.0, alpha=5),
        DataError,
        "alpha=5 must lie between 0 and 1",
    ),
    (
        "performance: empty",
        lambda: sim.performance(RESULTS.iloc[:0], truth=1.0),
        DataError,
        r"The results have no rows",
    ),
    (
        "performance: standard errors",
        lambda: sim.performance(RESULTS.assign(std_error=-1.0), truth=1.0),
        DataError,
        r"Column 'std_error' of the results holds negative standard errors: -1\.",
    ),
    (
        "intervals: null",
        lambda: sim.intervals(RESULTS, null="a"),
        DataError,
        r"null='a' must be a finite number",
    ),
    (
        "n_needed: proportion",
        lambda: sim.n_needed("coverage", 0.005, proportion=95),
        DataError,
        "proportion=95 must lie between 0 and 1",
    ),
    (
        "n_needed: correlation",
        lambda: sim.n_needed("relative_precision", 1, variance_ratio=1.2, correlation=2),
        DataError,
        "correlation=2 must lie between -1 and 1",
    ),
    (
        "n_needed_from: no frame",
        lambda: sim.n_needed_from(None, "bias", 0.01),
        DataError,
        "the table must be a pandas DataFrame, not a NoneType",
    ),
    ("read_store: no name", lambda: sim.read_store(""), FileFormatError, "the directory of the results must be the"),
    (
        "read_store: NUL",
        lambda: sim.read_store("a\0"),
        FileFormatError,
        r"the directory of the results must be the path of a folder, got 'a\\x00'",
    ),
    ("read_store: no path", lambda: sim.read_store(3), FileFormatError, "the directory of the results must be the p"),
    (
        "bland: the same",
        lambda: sim.bland_altman_plot(RESULTS, method="a", reference="a"),
        DataError,
        r"method='a' and reference= are the same: give two methods to compare\.",
    ),
    (
        "zip: level",
        lambda: sim.zip_plot(RESULTS, truth=1.0, conf_level=95),
        DataError,
        r"conf_level=95 must be a number between 0 and 1, such as 0\.95",
    ),
    ("zip: truth", lambda: sim.zip_plot(RESULTS, truth=None), DataError, "truth=None must be a finite number"),
    (
        "zip: no frame",
        lambda: sim.zip_plot(3, truth=1.0),
        DataError,
        r"a table with the columns .* is needed, not a int",
    ),
    (
        "nested: no factor",
        lambda: sim.nested_loop_plot(TABLE, "bias", factors=[]),
        DataError,
        r"must be a list of columns,",
    ),
]
