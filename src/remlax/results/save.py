"""Fits in files: the data that the model uses, the formula, and every number that was estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, cast

import numpy as np

from ..data.columns import imputed_from_tree, imputed_tree
from ..design.build import ModelRows, RowInput, needed_columns, read_rows, require_model_columns
from ..design.formula import MixedFormula, parse_formula
from ..design.own_contrasts import contrasts_from_tree, contrasts_tree
from ..design.rows import RowArray
from ..engine.shapes import host_leaf
from ..errors import DataError, FileFormatError, RankDeficientWarning, quiet, shortened
from ..fitting.assemble import Assembled, assemble
from ..fitting.checks import check_options
from ..fitting.fit import Fitted
from ..fitting.glmm import GlmmFitted, assemble_glmm, without_padding
from ..fitting.glmm_rows import centre_of
from ..fitting.mmrm.fit import MmrmFitted, assemble_mmrm, read_formula
from ..fitting.mmrm.formula import parse_mmrm
from ..fitting.mmrm.visits import Visits
from ..fitting.priors import weighted_as_fitted, with_priors
from ..fitting.responses.family import read_family
from ..fitting.responses.response import read_response
from ..fitting.selection import Selection
from ..glmm.families import Family
from ..glmm.optimum import Description
from ..glmm.problem import GlmmStructure
from ..inference.coefficients import (
    ClusterRobust,
    CoefficientInference,
    GivenDf,
    KenwardRoger,
    Satterthwaite,
)
from ..inference.kenward_roger import Adjustment
from ..inference.robust import ClusterScores
from ..kernels.lbfgs import LBFGS
from ..kernels.newton import Newton, Optimum
from ..mmrm.problem import MmrmStructure
from ..priors.coefficients import fixef_prior_from_tree, fixef_prior_tree
from ..priors.distributions import prior_from_tree, prior_tree

ESTIMATES = ("status", "theta", "beta", "vcov", "sigma", "criterion", "gamma", "log_l2", "log_rx2", "singular")
# axes of the arrays in a file: k data sets, p coefficients, d entries of theta, w columns with padding, r variance
# parameters, j clusters; float64, but for those of KINDS
AXES = {
    "status": "k", "theta": "kd", "beta": "kp", "vcov": "kpp", "sigma": "k", "criterion": "k", "gamma": "kw",
    "log_l2": "k", "log_rx2": "k", "singular": "k", "inner": "kd",
    "value": "k", "grad": "kd", "hess": "kdd", "decrement": "k", "evaluations": "k", "iterations": "k", "starts": "k",
    "cov": "kpp", "adjusted": "kpp", "moved": "krpp", "weights": "krr",
    "scores": "jp", "hat": "jpp", "spread": "jpp", "bread": "pp", "inverse": "pp",
    "values": "p", "shape": "ks", "joint": "kmm", "vcov_rx": "kpp", "information": "kpp",
}  # fmt: skip
KINDS = {
    **dict.fromkeys(("status", "evaluations", "iterations", "starts"), (np.int32, np.int64)),
    "singular": (np.bool_,),
}
# those of a generalised model: m parameters and s of them for the shape; of each factor q columns and l levels
GLMM_ESTIMATES = ("shape", "joint", "vcov_rx")
EFFECTS = {"modes": "kql", "variances": "kqql", "moved": "kmql"}
# that of a mixed model for repeated measures: of g groups and t visits, and derivatives of vcov
COVARIANCE = {"sigmas": "kgtt", "moved": "kppd"}
OPTIMIZERS: dict[str, type[LBFGS | Newton]] = {"LBFGS": LBFGS, "Newton": Newton}
Tree = dict[str, Any]


def stack_tree(fitted: Fitted) -> Tree:
    """Write everything about K fits."""
    tree = _tree(fitted)
    if fitted.model.rows.refitted:
        try:
            stack_from_tree(tree)
        except FileFormatError:
            raise DataError(
                "these refits are of one of several data sets, over all of which the formula's scale() or poly() was "
                "decided, and a file keeps that one only: keep their numbers (fixef(), varcorr()), or save the fit and "
                "refit it when it is loaded"
            ) from None
    return tree


def _tree(fitted: Fitted) -> Tree:
    rows = fitted.model.rows
    assert rows.data is not None  # every fit keeps its data
    given = {"weights": rows.given_weights, "offset": rows.given_offset}
    names = (*ESTIMATES, "inner", *(GLMM_ESTIMATES if isinstance(fitted, GlmmFitted) else ()))
    tree = {
        "formula": rows.formula.text,
        "contrasts": contrasts_tree(rows.formula.contrasts),
        "reml": fitted.reml,
        "data": imputed_tree(rows.data, needed_columns(rows.formula, rows.given_weights, rows.given_offset)),
        "n_dropped": rows.n_dropped,
        "refitted": rows.refitted,
        "response": rows.y.values if rows.own_response else None,
        **{name: _row_input_tree(value) for name, value in given.items()},
        "optimizer": {"name": type(fitted.optimizer).__name__, "options": asdict(fitted.optimizer)},
        "cov_prior": prior_tree(fitted.model.prior),
        "fixef_prior": fixef_prior_tree(fitted.model.fixef_prior),
        "opt": fitted.opt._asdict(),
        "estimates": {name: getattr(fitted, name) for name in names}
        | {"gamma": fitted.gamma[:, : len(fitted.model.keep)]},
        "model": fingerprint(fitted.model),
    }
    if isinstance(fitted, MmrmFitted):
        return tree | {"visits": _visits_tree(fitted.visits), "covariance": {n: getattr(fitted, n) for n in COVARIANCE}}
    return tree | _glmm_tree(fitted) if isinstance(fitted, GlmmFitted) else tree


def _visits_tree(visits: Visits) -> Tree:
    """Visits and groups, and the number of patients of every data set."""
    patients = [visits.n_patients(k) for k in range(len(visits.offsets) - 1)]
    return {"names": list(visits.names), "groups": list(visits.groups), "patients": patients}


def _glmm_tree(fitted: GlmmFitted) -> Tree:
    """Family, and where the optima are described, without padding."""
    family, used, found = fitted.family, _used(fitted.model), fitted.description
    search = _used(fitted.model, searched=True)
    sizes = [factor.n_levels for factor in fitted.model.layout.factors]
    p = len(fitted.model.keep)
    opt = fitted.opt._replace(
        theta=fitted.opt.theta[:, search],
        grad=fitted.opt.grad[:, search],
        hess=fitted.opt.hess[:, search][:, :, search],
    )
    return {
        "family": {"name": family.name, "link": family.link, "expected": family.expected},
        "n_quad": fitted.structure.n_quad,
        "endless": [[int(k), reason] for k, reason in fitted.endless.items()],
        "opt": opt._asdict(),
        "effects": [
            {"modes": modes[..., :n], "variances": variances[..., :n], "moved": moved[:, used, :, :n]}
            for modes, variances, moved, n in zip(
                *(map(np.asarray, part) for part in (found.modes, found.variances, found.moved)), sizes, strict=True
            )
        ],
        "information": np.asarray(found.information)[:, :p, :p],
    }


def _used(model: Assembled, *, searched: bool = False) -> np.ndarray:
    """Places of the parameters of a generalised model that are no padding, psi for theta if they are searched over."""
    layout, structure = model.layout, cast(GlmmStructure, model.batch.structure)
    map_ = layout.parameters if searched and layout.parameters is not None else structure.theta_map
    return without_padding(structure, len(model.keep), map_.n_theta)


def stack_from_tree(tree: Tree) -> Fitted:
    """Build the model from its data again, and put the estimates that were saved into it."""
    optimizer = OPTIMIZERS[tree["optimizer"]["name"]](**tree["optimizer"]["options"])
    check_options(tree["reml"], optimizer)
    with quiet(RankDeficientWarning):
        # said when the model was fitted
        if "visits" in tree:
            return _mmrm(tree, cast(Newton, optimizer))
        family = _family(tree["family"]) if "family" in tree else None
        formula = parse_formula(tree["formula"], counts=family is not None, structures=True)
        rows = _rows(tree, formula, any_response=family is not None)
        response = None if family is None else read_response(rows, family)
        model = assemble(rows, reml=tree["reml"]) if response is None else assemble_glmm(rows, response, tree["n_quad"])
        priors = prior_from_tree(tree.get("cov_prior")), fixef_prior_from_tree(tree.get("fixef_prior"))
        model = with_priors(model, *priors, has_sigma=response is None)
    check_same(fingerprint(model), tree["model"])
    if response is None:
        n_theta, n_parameters = model.layout.structure.theta_map.n_theta, model.layout.n_parameters
        estimates = _estimates(tree, model, n_theta, n_parameters)
        model = weighted_as_fitted(model, estimates["beta"], estimates["sigma"])
        return Fitted(model=model, optimizer=optimizer, **estimates)
    endless = {int(k): str(reason) for k, reason in tree["endless"]}
    return GlmmFitted(
        model=model, optimizer=optimizer, response=response, endless=endless, **_glmm_estimates(tree, model)
    )


def _rows(tree: Tree, formula: MixedFormula, *, any_response: bool = False) -> ModelRows:
    """Read the model's columns from the data again."""
    formula = replace(formula, contrasts=contrasts_from_tree(tree.get("contrasts", {})))
    data = imputed_from_tree(tree["data"])
    require_model_columns(formula, data.frames[0], tree["weights"], tree["offset"])
    given = {name: tree[name] for name in ("weights", "offset", "n_dropped")}
    rows = replace(read_rows(formula, data, any_response=any_response, **given), refitted=tree.get("refitted", False))
    if rows.refitted and rows.labels != tuple(range(1, rows.n_sets + 1)):
        raise ValueError(f"refits are counted from 1, not {shortened(rows.labels)}")
    if not rows.own_response:
        return rows
    return replace(rows, y=RowArray(_own_response(tree["response"], rows), rows.offsets))


def _mmrm(tree: Tree, optimizer: Newton) -> MmrmFitted:
    """Build a mixed model for repeated measures from its data again, with the estimates that were saved."""
    rows = _rows(tree, parse_mmrm(tree["formula"]).with_factors)
    model, visits = assemble_mmrm(rows, reml=tree["reml"])
    model = replace(model, rows=read_formula(rows))
    check_same(fingerprint(model), tree["model"])
    if _visits_tree(visits) != tree["visits"]:
        raise ValueError(f"the visits are {shortened(visits.names)}, not {shortened(tree['visits']['names'])}")
    sizes = {"k": rows.n_sets, "p": len(model.keep), "d": cast(MmrmStructure, model.batch.structure).n_parameters}
    sizes |= {"g": visits.n_groups, "t": len(visits.names)}
    estimates = _estimates(tree, model, sizes["d"], sizes["d"]) | _read(
        tree["covariance"], tuple(COVARIANCE), sizes, COVARIANCE
    )
    return MmrmFitted(model=model, optimizer=optimizer, visits=visits, **estimates)


def _own_response(given: Any, rows: ModelRows) -> np.ndarray:
    """Response of refits, (n,), or (n, 2) for successes and failures."""
    response = np.asarray(given)
    if response.dtype != np.float64 or response.shape != (int(rows.offsets[-1]), *rows.y.values.shape[1:]):
        raise ValueError(f"'response' of {response.dtype} and shape {response.shape} is not of this model")
    return response


def _estimates(tree: Tree, model: Assembled, n_theta: int, n_parameters: int) -> Tree:
    """Read what a fit of a linear model holds besides its model; the optimum is in ``n_parameters`` of them."""
    rows, n_fixed = model.rows, model.batch.structure.n_fixed
    sizes = {"k": rows.n_sets, "p": len(model.keep), "d": n_theta}
    estimates: Tree = _read(tree["estimates"], ESTIMATES, sizes)
    # files of version 0.1 have padding behind gamma, and theta of the user's columns only
    p = len(model.keep)
    if estimates["gamma"].shape[1] < p:
        raise ValueError("'gamma' is not of this model")
    estimates["gamma"] = np.pad(estimates["gamma"][:, :p], ((0, 0), (0, n_fixed - p)))
    if "inner" in tree["estimates"] and not (rows.refitted and model.units):
        estimates |= _read(tree["estimates"], ("inner",), sizes)
    else:
        # the columns inside of refits were scaled over all data sets of the fit, of which the file has one
        estimates["inner"] = model.inner_theta(estimates["theta"])
    found = _read(tree["opt"], Optimum._fields, sizes | {"d": n_parameters})
    return {"opt": Optimum(**{name: host_leaf(value) for name, value in found.items()}), **estimates}


def _family(tree: Tree) -> Family:
    """Read family and link as callers name them."""
    own = read_family(tree["name"], tree["link"])
    return replace(own, expected=bool(tree["expected"]))


def _glmm_estimates(tree: Tree, model: Assembled) -> Tree:
    """Read what a fit of a generalised linear mixed model holds besides its model."""
    structure, used, layout = cast(GlmmStructure, model.batch.structure), _used(model), model.layout
    p, m = len(model.keep), len(used)
    sizes = {"k": model.rows.n_sets, "p": p, "d": structure.theta_map.n_theta, "w": p, "m": m}
    sizes["s"] = structure.family.n_shape
    out: Tree = _read(tree["estimates"], (*ESTIMATES, "inner", *GLMM_ESTIMATES), sizes)
    out["gamma"] = np.pad(out["gamma"], ((0, 0), (0, structure.n_fixed - p)))
    out["centre"] = centre_of(model.rows.x.select(model.keep.tolist()), structure.family)
    search, whole = _used(model, searched=True), structure.n_parameters
    found = _read(tree["opt"], Optimum._fields, {"k": sizes["k"], "d": len(search)})
    n_searched = whole + len(search) - m
    for name, axes in (("theta", (1,)), ("grad", (1,)), ("hess", (1, 2))):
        found[name] = _spread(found[name], search, n_searched, axes)
    rest = np.setdiff1d(np.arange(n_searched), search)
    found["hess"][:, rest, rest] = 2.0  # what padded coefficients have
    out["opt"] = Optimum(**{name: host_leaf(value) for name, value in found.items()})
    each = []
    for of, q, factor, n in zip(tree["effects"], structure.q, layout.factors, structure.n_levels, strict=True):
        own = _read(of, tuple(EFFECTS), {"k": sizes["k"], "m": m, "q": q, "l": factor.n_levels}, EFFECTS)
        own = {name: _spread(value, np.arange(factor.n_levels), n, (-1,)) for name, value in own.items()}
        each.append(own | {"moved": _spread(own["moved"], used, whole, (1,))})
    information = _spread(
        _read(tree, ("information",), dict(sizes))["information"], np.arange(p), structure.n_fixed, (1, 2)
    )
    information[:, range(p, structure.n_fixed), range(p, structure.n_fixed)] = 1.0
    effects = {name: tuple(host_leaf(own[name]) for own in each) for name in EFFECTS}
    out["description"] = Description(information=host_leaf(information), **effects)
    return out


def _spread(values: np.ndarray, places: np.ndarray, size: int, axes: Sequence[int]) -> np.ndarray:
    """Put values at places of longer axes, among zeros."""
    for axis in axes:
        moved = np.moveaxis(values, axis, 0)
        out = np.zeros((size, *moved.shape[1:]))
        out[places] = moved
        values = np.moveaxis(out, 0, axis)
    return values


def _read(
    tree: Tree, names: Sequence[str], sizes: dict[str, int], axes_of: Mapping[str, str] = AXES
) -> dict[str, np.ndarray]:
    """Read arrays whose axes have the sizes; sizes that are not given are found, and must then agree."""
    out: dict[str, np.ndarray] = {}
    for name in names:
        array, axes = np.asarray(tree[name]), axes_of[name]
        wanted = tuple(sizes.setdefault(a, n) for a, n in zip(axes, array.shape, strict=False))
        if array.dtype not in KINDS.get(name, (np.float64,)) or array.ndim != len(axes) or array.shape != wanted:
            raise ValueError(f"{name!r} of {array.dtype} and shape {array.shape} is not of this model")
        out[name] = array
    return out


def within_tree(within: CoefficientInference) -> Tree:
    """Write how the coefficients of the fits are tested."""
    if isinstance(within, Satterthwaite):
        return {"name": "Satterthwaite"}
    if isinstance(within, KenwardRoger):
        return {"name": "KenwardRoger", "rule": within.rule, **_arrays(within.adjustment)}
    if isinstance(within, ClusterRobust):
        each = [_arrays(one) for one in within.each]
        return {"name": "ClusterRobust", "each": each, "kind": within.kind, "cluster": within.cluster}
    assert isinstance(within, GivenDf)  # there is no other
    return {"name": "GivenDf", "vcov": within.vcov, "values": np.array(within.values), "rule": within.rule}


def within_from_tree(tree: Tree, fits: Selection) -> CoefficientInference:
    """Read it again."""
    name, sizes = tree["name"], {"k": fits.n_sets, "p": fits.fitted.beta.shape[1]}
    if name == "Satterthwaite":
        return Satterthwaite(fits)
    if name == "KenwardRoger":
        adjustment = Adjustment(**_read(tree, _names(Adjustment), sizes))
        # files of version 0.1 have one rule
        return KenwardRoger(adjustment, str(tree.get("rule", KenwardRoger.rule)))
    if name == "ClusterRobust":
        each = [ClusterScores(**_read(one, _names(ClusterScores), dict(sizes))) for one in tree["each"]]
        if len(each) != fits.n_sets:
            raise ValueError(f"there are scores of {len(each)} data sets, not {fits.n_sets}")
        return ClusterRobust(each, tree["kind"], tree["cluster"])
    given = _read(tree, ("vcov", "values"), sizes)
    return GivenDf(given["vcov"], given["values"], tree["rule"])


def _names(held: type) -> list[str]:
    return [field.name for field in fields(held)]


def _arrays(held: Any) -> Tree:
    """Arrays of a dataclass by name."""
    return {field.name: np.asarray(getattr(held, field.name)) for field in fields(held)}


def _row_input_tree(given: RowInput) -> Any:
    """Weights or offset: None, text, one array, or a list of arrays."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, list | tuple) and len(given) and np.ndim(given[0]) == 1:
        return [np.asarray(part, dtype=np.float64) for part in given]
    return np.asarray(given, dtype=np.float64)


def fingerprint(model: Assembled) -> Tree:
    """What must come out the same when the model is built from its data again."""
    rows, layout = model.rows, model.layout
    columns = [rows.y.values, rows.x.values, *(rows.terms[term.source].rows.values for term in layout.terms)]
    return {
        "fixed": model.fixed_names,
        "terms": [[term.group, *term.names] for term in layout.terms],
        "levels": [int(factor.n_levels) for factor in layout.factors],
        "rows": [rows.n_rows(k) for k in range(rows.n_sets)],
        # sums of squares and weighted sums of all columns: values and their order
        "sums": [np.stack([_sums(c), _sums(c, ordered=True)]) for c in columns],
    }


def _sums(values: np.ndarray, *, ordered: bool = False) -> np.ndarray:
    columns = values.reshape(len(values), -1)
    weights = np.linspace(1.0, 2.0, len(columns)) if ordered else np.ones(len(columns))
    return np.asarray(weights @ columns**2)


def check_same(built: Tree, saved: Tree) -> None:
    """Raise FileFormatError where a model is not built from its data as it was when it was saved."""
    for name in ("fixed", "terms", "levels", "rows"):
        if built[name] != saved[name]:
            raise FileFormatError(
                f"the versions of remlax, formulaic and pandas that are installed make other model columns ({name}: "
                f"{built[name]}) of the saved data than those that saved the fit ({saved[name]}): fit the model again"
            )
    for one, other in zip(built["sums"], saved["sums"], strict=True):
        if not np.allclose(one, other, rtol=1e-8, atol=0.0):
            raise FileFormatError(
                "the versions of remlax, formulaic and pandas that are installed give model columns other values than "
                "those that saved the fit: fit the model again"
            )
