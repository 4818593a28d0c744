"""Studies whose imputation models lack what their analysis models have."""

from __future__ import annotations

from collections.abc import Iterator

from ..batched.imputation_terms import example_frame
from ..batched.mixed_method import MixedModelMethod
from ..batched.mmrm_model import is_mmrm
from ..data.imputation_model import ImputationModel
from ..design.build import needed_columns
from ..design.congenial import Lacking, lacking
from ..design.formula import MixedFormula, parse_formula
from ..errors import ImputationWarning, RemlaxError, warn
from ..fitting.mmrm.formula import parse_mmrm
from ..simulation.design import MultilevelDesign
from ..simulation.mechanisms import Amputation, DropOut, Mechanism
from .specification import FrameAmputer, FrameGenerator, StudySpec


def warn_uncongenial(study: StudySpec) -> None:
    """Warn once of each method that imputes without a product, a power or a random slope of the model."""
    if isinstance(study.generate, FrameGenerator) or isinstance(study.ampute, FrameAmputer):
        return
    for name, method in study.methods.items():
        formula = method.model or study.model if isinstance(method, MixedModelMethod) else None
        if not isinstance(method, MixedModelMethod) or formula is None:
            continue
        try:
            for model, found in _found(study, method, formula):
                warn(_text(name, method, formula, model, found), ImputationWarning)
                break
        except RemlaxError:
            continue


def _parsed(formula: str) -> tuple[MixedFormula, set[str]]:
    """The formula and its grouping factors; visits and groups of a covariance term are no random slopes."""
    if is_mmrm(formula):
        repeated = parse_mmrm(formula)
        return repeated, {repeated.covariance.patient}
    parsed = parse_formula(formula, counts=True, structures=True)
    return parsed, {column for term in parsed.random for column in term.group}


def _found(study: StudySpec, method: MixedModelMethod, formula: str) -> Iterator[tuple[ImputationModel, Lacking]]:
    """Imputation models of the scenarios that lack something, each kind of scenario once."""
    parsed, groups = _parsed(formula)
    columns = [name for name in needed_columns(parsed) if name not in groups]
    seen = set()
    for scenario in study.table().values():
        design = study.design(scenario)
        incomplete = {name for one in study.mechanisms(scenario) for name in _lost(one, design)}
        kind = (frozenset(incomplete), tuple((c.name, c.kind, c.levels) for c in design.covariates), design.size)
        model = method.imputation_model(design, columns, incomplete)
        if kind in seen or model is None:
            continue
        seen.add(kind)
        found = lacking(parsed, model, example_frame(design))
        if found:
            yield model, found


def _lost(mechanism: Mechanism, design: MultilevelDesign) -> list[str]:
    """Columns that may go missing; of a mechanism of the user's, the response."""
    if isinstance(mechanism, DropOut):
        return list(mechanism.columns)
    if not isinstance(mechanism, Amputation):
        return [design.response]
    if mechanism.patterns is not None:
        return [name for pattern in mechanism.patterns for name in pattern]
    every = [*(c.name for c in design.covariates), design.response]
    return list(every if mechanism.columns is None else mechanism.columns)


def _text(name: str, method: MixedModelMethod, formula: str, model: ImputationModel, found: Lacking) -> str:
    if found.of_imputed:
        advice = f"impute by remlax.impute.joint(..., compatible_with={formula!r}) in a function of yours"
    else:
        advice = f"give it {method.advice(model, found)}"
    imputed = ", ".join(map(repr, model.imputed))
    return (
        f"method {name!r} imputes {imputed} without {found.words(model.cluster)}, which the model has: estimates of "
        f"such terms are then biased, as a rule towards 0; {advice}"
    )
