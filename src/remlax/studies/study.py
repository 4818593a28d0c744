"""Simulation studies: scenarios times methods, replicated, stored, resumed."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..batched.batch import BatchMethod, Scenario, batch_rows
from ..checks import Checks
from ..engine.programs import float64
from ..errors import SimulationError, SimulationWarning, warn
from ..fitting.record import recorded
from ..names import UnknownNames
from ..simulation.fingerprint import scenario_id
from ..simulation.keys import Stream, key
from ..simulation.measures import performance
from ..simulation.rows import method_records, tidy_rows
from .congeniality import warn_uncongenial
from .replicate import FrameData, batch_data, frame_data
from .runner import run_blocks, save_study
from .specification import Context, StudySpec
from .store import Block, ResultStore, driven, join_store

checks = Checks(SimulationError)

BLOCK_SIZE = 64


@dataclass(frozen=True)
class Study(StudySpec, UnknownNames):
    """A simulation study.

    Parameters
    ----------
    scenarios
        {parameter: values}, of which every combination is a scenario, or a frame with one scenario per row. A
        scenario is known by its parameters, so that adding one changes nothing in the others.
    generate
        Function from a scenario (a dict of its parameters) to the `MultilevelDesign` that its data are drawn
        from, or a `FrameGenerator` around a function of yours that makes data frames.
    methods
        {name: method}. A method is a function (data frame, `Context`) -> rows with the columns term,
        estimate, std_error and, if there are any, df, conf_low, conf_high, p_value, fmi, status, singular,
        converged, message, n_iter; or a `BatchMethod`, which analyses many replications at once as arrays. A
        function that fits models by remlax need not say which are singular or did not converge: a replication
        counts as such if any fit of it is, unless its rows say otherwise. Of fits by others nothing is known.
    estimands
        {term: true value}; a value may be a function of the scenario.
    replications
        Replications of each scenario.
    seed
        Base seed, 0 to 2**64 - 1.
    ampute
        Function from a scenario to an `Amputation`, a `DropOut`, or a list of such; or a `FrameAmputer`
        around a function of yours; None: data stay complete.
    model
        A formula that methods find in their context.

    Raises
    ------
    SimulationError
        A part is missing or contradicts another.

    Notes
    -----
    The data of a replication depend on the seed, the parameters of its scenario and its number only: not on
    the size of blocks, their order, processes, or other scenarios, bit by bit, on one kind of device and with
    one version of JAX (see `remlax.simulation.keys`). Results of methods that take one data frame at a time
    then are equal as well; those of batched methods are equal to rounding for different sizes of blocks.

    Examples
    --------
    >>> import tempfile
    >>> from remlax.studies.specification import FrameGenerator
    >>> def draw(scenario, rng):
    ...     return pd.DataFrame({"y": rng.normal(1.0, 1.0, scenario["size"])})
    >>> def mean(data, context):
    ...     y, n = data["y"], len(data)
    ...     return [{"term": "mu", "estimate": y.mean(), "std_error": y.std() / n**0.5, "df": n - 1}]
    >>> study = Study(
    ...     scenarios={"size": [5, 20]}, generate=FrameGenerator(draw), methods={"mean": mean},
    ...     estimands={"mu": 1.0}, replications=200, seed=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = study.run(folder, progress=False)
    ...     table = study.performance(folder)
    >>> table[(table["measure"] == "coverage") & (table["summary"] == "all")]["estimate"].tolist()
    [0.97, 0.955]
    """

    def blocks(self, block_size: int = BLOCK_SIZE) -> list[Block]:
        """The blocks of the study, in the order of their numbers for ``run-block``."""
        size = checks.whole(block_size, "block_size=")
        return ResultStore(Path(), "", self.table(), self.replications, size).blocks()

    def run(
        self,
        out: str | os.PathLike[str],
        *,
        block_size: int = BLOCK_SIZE,
        workers: int = 1,
        client: Any = None,
        max_time: float | None = None,
        progress: bool = True,
    ) -> ResultStore:
        """Do what is missing in a results directory.

        Call it again, after an interruption or with more replications or scenarios, and it does the rest. Several
        processes may run the same study in one directory. Another study is refused there, unless nothing was finished
        and nobody works on it.

        Parameters
        ----------
        out
            The directory; made if need be.
        block_size
            Replications per block, the unit of work that is written whole or not at all; fixed per directory.
        workers
            Worker processes. With more than 1 the functions of the study must be importable (no lambdas) and
            a script must guard its main part by ``if __name__ == "__main__":``.
        client
            A `distributed.Client`: its workers, here or on a cluster, compute the blocks instead, and this process
            writes them. A block whose worker dies is given to another one.
        max_time
            Seconds after which no further block is begun; None: no limit.
        progress
            Whether to show a progress bar with failures and the time left; ``TQDM_DISABLE=1`` in the environment
            turns every bar off.

        Returns
        -------
        ResultStore
            The directory; ``to_do()`` is empty when the study is finished.

        Raises
        ------
        SimulationError
            The directory belongs to another study, cannot be written, or a block kills its worker every time.
        FileFormatError
            The manifest of the directory is damaged.
        MissingExtraError
            pyarrow or (with ``client=``) dask.distributed is not installed.

        Warns
        -----
        ImputationWarning
            A method imputes without a product, a power or a random slope that the model has.
        SimulationWarning
            Every replication of a method, or of an estimand of one, failed in some scenario; with the first reason.
        """
        checks.whole(workers, "workers=")
        if max_time is not None:
            checks.number(max_time, "max_time=", 0)
        warn_uncongenial(self)
        with driven(out, self.plan(), checks.whole(block_size, "block_size=")) as store:
            run_blocks(self, store, workers=workers, client=client, max_time=max_time, progress=progress)
        for failure in store.failures():
            warn(f"{store.directory}: {failure}", SimulationWarning)
        return store

    def prepare(self, out: str | os.PathLike[str], *, block_size: int = BLOCK_SIZE) -> list[Block]:
        """Make a results directory whose blocks are done by ``python -m remlax.sim run-block DIR I``.

        Parameters and errors are as of `run`; the functions of the study must be importable.

        Returns
        -------
        list of Block
            I runs from 0 to its length - 1, for example as the index of a SLURM array.
        """
        warn_uncongenial(self)
        with driven(out, self.plan(), checks.whole(block_size, "block_size=")) as store:
            save_study(self, store.directory)
        return store.blocks()

    def results(self, out: str | os.PathLike[str]) -> pd.DataFrame:
        """Rows of all finished blocks: scenario, its parameters, replication, method, term, estimate and so on.

        As `ResultStore.results`: with a warning, and a note in ``attrs``, if blocks are missing or damaged.
        """
        return join_store(out, self.plan()).results()

    def performance(self, out: str | os.PathLike[str], **options: Any) -> pd.DataFrame:
        """Performance by scenario, method and term; options as of `remlax.simulation.measures.performance`.

        The column ``n_planned`` says how many replications the finished study has. If blocks are missing or damaged,
        there is a warning, and ``attrs["note"]`` of the table says so.
        """
        parameters = list(next(iter(self.table().values())))
        by = ("scenario", *parameters, "method", "term")
        results = self.results(out)
        if results.empty:
            raise SimulationError(f"No block in {out} is finished yet: run the study first.")
        return performance(results, **({"truth": "truth", "by": by} | options))

    def replay(self, scenario: Scenario | str, replication: int) -> Replay:
        """Make one replication, a number, of a scenario (parameters, or name) again, to see what happened in it.

        Raises
        ------
        SimulationError
            The scenario or the replication is not part of the study, or its data cannot be made.
        """
        name = scenario if isinstance(scenario, str) else scenario_id(scenario)
        table = self.table()
        if name not in table or checks.whole(replication, "replication=", 0) >= self.replications:
            raise SimulationError(f"Replication {replication} of scenario {scenario!r} is not part of the study.")
        block = Block(name, 0, replication, replication + 1)
        (data,) = frame_data(self, block, table[name])
        if data.error:
            raise SimulationError(f"The data of this replication cannot be made: {data.error}")
        return Replay(self, block, table[name], data)


@dataclass(frozen=True, repr=False)
class Replay:
    """One replication made again.

    Attributes
    ----------
    study, block
        Its study, and a block that holds this replication alone.
    scenario
        Parameters of its scenario.
    frames
        Its number, complete data and data as the methods saw them.
    """

    study: Study
    block: Block
    scenario: Mapping[str, Any]
    frames: FrameData

    def __repr__(self) -> str:
        incomplete = int(self.data.isna().any(axis=1).sum())
        return (
            f"Replication {self.frames.replication} of {dict(self.scenario)}: {len(self.data)} rows, {incomplete} of "
            f"them incomplete; .data, .complete and .run() of {', '.join(map(repr, self.study.methods))}"
        )

    @property
    def data(self) -> pd.DataFrame:
        """The data as the methods saw them."""
        return self.frames.data

    @property
    def complete(self) -> pd.DataFrame:
        """The data before anything went missing."""
        return self.frames.complete

    def run(self, method: str) -> pd.DataFrame:
        """Rows of a method on this replication, as in the results; what it raises is not caught."""
        checks.known([checks.text(method, "Replay.run(): the method")], self.study.methods, "Replay.run()")
        truth = self.study.truth(self.scenario)
        function = self.study.methods[method]
        if isinstance(function, BatchMethod):
            batch = batch_data(self.study, self.block, self.scenario, method)
            with float64():
                arrays = function.analyse_batch(batch)
            return batch_rows(arrays, replications=batch.replications, method=method, truth=truth, seconds=math.nan)
        number = self.frames.replication
        own = key(self.study.seed, self.block.scenario, number, Stream.METHOD, method)
        context = Context(self.scenario, number, self.complete, self.study.model, own)
        with recorded() as fits:
            rows = function(self.data.copy(), context)
        records = method_records(rows, replication=number, method=method, truth=truth, seconds=math.nan, fits=fits)
        return tidy_rows(records)
