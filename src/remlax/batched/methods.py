"""Methods that analyse many replications at once: all data, complete cases, multiple imputation and pooling."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..checks import Checks
from ..data.imputation_model import ImputationModel
from ..design.congenial import Lacking, as_terms
from ..design.tree import Name
from ..errors import SimulationError
from ..simulation.covariates import ZERO_ONE
from ..simulation.design import MultilevelDesign
from ..simulation.layout import layout_of, structure_of
from .array_columns import product_names
from .array_model import ArrayModel
from .batch import BatchData
from .imputation_terms import check_outcome, split_of, term_products, without_trials
from .mixed_method import MixedModelMethod as MixedModelMethod
from .pipeline import Treatment
from .treatments import EmbTreatment, JointTreatment, Listwise, Whole

checks = Checks(SimulationError)

MOST_INCOMPLETE = 8  # columns: there are 2 to that power patterns of missing cells


@dataclass(frozen=True, kw_only=True)
class CompleteData(MixedModelMethod):
    """The model fitted to the data before anything went missing: what imputation aims at.

    Examples
    --------
    >>> CompleteData(model="y ~ x + (1 | g)").reml
    True
    >>> CompleteData(model="y ~ x + (1 | g)", family="poisson").n_quad
    1
    """

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        return Whole()


@dataclass(frozen=True, kw_only=True)
class CompleteCases(MixedModelMethod):
    """The model fitted to all rows in which every column of the model is observed.

    Rows count, not subjects: a subject who leaves a trial keeps its rows up to then. If only responses are lost, at
    random given what the model has, this is the direct likelihood analysis, which is valid without imputation.

    Examples
    --------
    >>> CompleteCases(dfcom="residual").dfcom
    'residual'
    """

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        return Listwise(model.columns)


@dataclass(frozen=True, kw_only=True)
class EMB(MixedModelMethod):
    """Multiple imputation by EM with bootstrap, as of `remlax.impute.emb`; clusters are ignored.

    Parameters
    ----------
    m
        Number of imputations.
    columns
        Columns of the imputation model, by default those of the analysis model; products and powers of complete columns
        are terms of their own, as in ``["y", "x", "w", "x:w"]``. Binary covariates are drawn as zeros and ones.
    by
        A binary, balanced or categorical covariate, such as the arm of a trial: rows of each level are imputed by a
        model of their own.
    tolerance, max_iter, ridge
        Of EM.

    Examples
    --------
    >>> EMB(m=20).m
    20
    """

    m: int = 20
    columns: Sequence[str] | None = None
    by: str | None = None
    tolerance: float = 1e-4
    max_iter: int = 1000
    ridge: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole(self.m, "m=", 2)
        checks.number(self.tolerance, "tolerance=", 0)
        checks.whole(self.max_iter, "max_iter=")
        checks.number(self.ridge, "ridge=", 0)
        if self.columns is not None:
            checks.names(self.columns, "columns=")
        if self.by is not None:
            checks.text(self.by, "by=")

    def _names(self, design: MultilevelDesign, columns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Columns that enter as they are, and terms of complete ones."""
        used = without_trials(design, columns)
        given = [name for name in used if name != self.by] if self.columns is None else self.columns
        plain = {design.response, *(c.name for c in design.covariates if not c.levels)}
        return tuple(name for name in given if name in plain), tuple(name for name in given if name not in plain)

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        numbers, terms = self._names(batch.design, model.columns)
        for covariate in batch.design.covariates:
            if covariate.levels and covariate.name in batch.mask and covariate.name in (*model.columns, *terms):
                raise SimulationError(
                    f"Column {covariate.name!r} has levels and is incomplete: EMB for all replications at once imputes "
                    "numbers; impute it by remlax.impute.emb(nominal=...) in a function of yours."
                )
        split = split_of(batch.design, self.by, batch.mask)
        # together with the columns that enter as they are, which decide how categories are coded
        complete = [name for name in numbers if name not in batch.mask]
        products = term_products(
            batch.design, [*complete, *terms], batch.mask, "columns=", tuple(batch.complete.columns)
        )
        products = tuple(product for product in products if product not in [(Name(name),) for name in numbers])
        if split is not None and split.column in (*numbers, *product_names(products)):
            raise SimulationError(f"by= and columns= both name {self.by!r}: within a level it has one value.")
        _check_left(model, batch.mask, numbers, "columns=")
        incomplete = tuple(name for name in numbers if name in batch.mask)
        check_outcome(batch.design, incomplete, "EMB")
        if not incomplete:
            return Whole()
        if len(incomplete) > MOST_INCOMPLETE:
            raise SimulationError(
                f"{len(incomplete)} incomplete columns are too many: EMB for all replications at once takes up to "
                f"{MOST_INCOMPLETE}; leave columns out by columns=."
            )
        binary = tuple(c.name for c in batch.design.covariates if c.kind in ZERO_ONE and not c.levels)
        return EmbTreatment(
            self.m, numbers, incomplete, products, split, binary, self.tolerance, self.max_iter, self.ridge
        )

    def imputation_model(
        self, design: MultilevelDesign, columns: Sequence[str], incomplete: Collection[str]
    ) -> ImputationModel | None:
        numbers, terms = self._names(design, columns)
        imputed = tuple(name for name in numbers if name in incomplete)
        known = (design.response, *(c.name for c in design.covariates))
        return ImputationModel(imputed, numbers, as_terms(terms, known), by=self.by or "") if imputed else None

    def advice(self, model: ImputationModel, found: Lacking) -> str:
        return f"columns={list(dict.fromkeys([*model.targets, *model.fixed, *found.involved, *found.terms]))!r}"


@dataclass(frozen=True, kw_only=True)
class Joint(MixedModelMethod):
    """Multiple imputation by a multilevel joint model, as of `remlax.impute.joint`: rows of one cluster are alike.

    Parameters
    ----------
    m
        Number of imputations, and of chains.
    cluster
        Grouping factor of the imputation model; the design's first by default. Two of them, the outermost first, as
        ``["school", "class"]``, give random effects of both.
    targets
        Continuous columns of rows modelled together, with random intercepts: by default all columns of the analysis
        model that may have missing cells.
    fixed
        Complete columns with fixed coefficients for all targets; by default the other columns of the model. Products
        and powers are terms of their own, as in ``["time", "arm", "time:arm"]``: give those of the analysis model.
    random
        Complete columns, or such terms, with coefficients that vary between clusters: give the slopes of the analysis
        model.
    by
        As of `EMB`.
    sweeps
        Of each chain; the last one gives the imputation.

    Warns
    -----
    ImputationWarning
        When the study is run: the analysis model has a product, a power or a random slope that the imputation model
        lacks, which biases its estimates, as a rule towards 0.

    Examples
    --------
    >>> Joint(m=10, sweeps=200, fixed=["time", "arm", "time:arm"], random=["time"]).sweeps
    200
    """

    m: int = 20
    cluster: str | Sequence[str] | None = None
    targets: Sequence[str] | None = None
    fixed: Sequence[str] | None = None
    random: Sequence[str] = ()
    by: str | None = None
    sweeps: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole(self.m, "m=", 2)
        checks.whole(self.sweeps, "sweeps=")
        if self.by is not None:
            checks.text(self.by, "by=")
        if isinstance(self.cluster, list | tuple):
            checks.names(self.cluster, "cluster=")
            if len(self.cluster) > 2:
                raise SimulationError(
                    f"cluster={self.cluster!r}: give one grouping factor, or two, the outermost first."
                )
        elif self.cluster is not None:
            checks.text(self.cluster, "cluster=")
        for what, given in (("targets=", self.targets), ("fixed=", self.fixed), ("random=", self.random)):
            if given is not None and not (what != "targets=" and given in ((), [])):
                checks.names(given, what)

    def _cluster(self, batch: BatchData) -> str:
        return self._clusters(batch.design)[-1]

    def _clusters(self, design: MultilevelDesign) -> list[str]:
        """Grouping factors of the imputation model, the outermost first."""
        factors = {factor.name: factor for factor in design.factors}
        given = design.factors[0].name if self.cluster is None else self.cluster
        names = [given] if isinstance(given, str) else list(given)
        for name in names:
            if name not in factors:
                raise SimulationError(f"cluster= names {name!r}; the design has {', '.join(map(repr, factors))}.")
        if len(names) == 2 and factors[names[1]].within != names[0]:
            raise SimulationError(
                f"cluster={names!r}: {names[1]!r} is not within {names[0]!r} in the design; the outer comes first."
            )
        return names

    def _terms(self, columns: Sequence[str], incomplete: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Targets, and terms with fixed coefficients."""
        targets = [name for name in columns if name in incomplete] if self.targets is None else self.targets
        rest = [name for name in columns if name not in targets and name != self.by]
        return tuple(targets), tuple(rest if self.fixed is None else self.fixed)

    def _treatment(self, batch: BatchData, model: ArrayModel) -> Treatment:
        clusters = self._clusters(batch.design)
        targets, fixed = self._terms(without_trials(batch.design, model.columns), batch.mask)
        known = tuple(batch.complete.columns)
        checks.known(targets, known, "targets=")
        _check_left(model, batch.mask, targets, "targets=")
        split = split_of(batch.design, self.by, batch.mask)
        products = {
            what: term_products(batch.design, terms, batch.mask, what, known)
            for what, terms in (("fixed=", fixed), ("random=", self.random))
        }
        lost = tuple(name for name in targets if name in batch.mask)
        check_outcome(batch.design, lost, "Joint")
        if not lost:
            return Whole()
        for covariate in batch.design.covariates:
            if covariate.name in targets and (covariate.level is not None or covariate.kind != "normal"):
                raise SimulationError(
                    f"Column {covariate.name!r} cannot be a target: the batched joint model imputes continuous columns "
                    "of rows; impute others by remlax.impute.joint in a function of yours."
                )
        for what, own in products.items():
            if split is not None and split.column in product_names(own):
                raise SimulationError(f"by= and {what} both name {self.by!r}: within a level it has one value.")
        levels = layout_of(structure_of(batch.design)).levels
        places = {factor.name: size for factor, size in zip(batch.design.factors, levels, strict=True)}
        sides = (products["fixed="], products["random="])
        n_top = places[clusters[0]] if len(clusters) == 2 else 0
        return JointTreatment(self.m, self.sweeps, targets, lost, *sides, places[clusters[-1]], split, n_top)

    def imputation_model(
        self, design: MultilevelDesign, columns: Sequence[str], incomplete: Collection[str]
    ) -> ImputationModel | None:
        targets, fixed = self._terms(without_trials(design, columns), incomplete)
        imputed = tuple(name for name in targets if name in incomplete)
        if not imputed:
            return None
        clusters, random = self._clusters(design), tuple(self.random)
        top = (clusters[0], random) if len(clusters) == 2 else ("", ())
        return ImputationModel(
            imputed, targets, fixed, random, clusters[-1], by=self.by or "", top=top[0], top_random=top[1]
        )

    def advice(self, model: ImputationModel, found: Lacking) -> str:
        fixed = list(dict.fromkeys([*model.fixed, *found.involved, *found.terms]))
        random = [*(model.random or ()), *found.slopes]
        return f"fixed={fixed!r}" + (f" and random={random!r}" if random else "")


def _check_left(model: ArrayModel, incomplete: Collection[str], imputed: Collection[str], what: str) -> None:
    left = [name for name in model.columns if name in incomplete and name not in imputed]
    if left:
        raise SimulationError(f"Column {left[0]!r} of the model is incomplete and is not imputed: name it in {what}.")
