"""Simulation studies: generate, ampute, replicate, measure, draw; and ``python -m remlax.sim run-block DIR I``."""

from __future__ import annotations

import sys
import typing as _typing

from .batched.batch import BatchData as BatchData
from .batched.batch import BatchMethod as BatchMethod
from .batched.batch import BatchRows as BatchRows
from .batched.methods import EMB as EMB
from .batched.methods import CompleteCases as CompleteCases
from .batched.methods import CompleteData as CompleteData
from .batched.methods import Joint as Joint
from .batched.reference_based import ReferenceBased as ReferenceBased
from .names import unknown_in as _unknown_in
from .plot.performance import coverage_plot as coverage_plot
from .plot.performance import forest_plot as forest_plot
from .plot.performance import lollipop_plot as lollipop_plot
from .plot.performance import nested_loop_plot as nested_loop_plot
from .plot.simulation import bland_altman_plot as bland_altman_plot
from .plot.simulation import density_plot as density_plot
from .plot.simulation import zip_plot as zip_plot
from .power.curve import PowerCurve as PowerCurve
from .power.curve import SampleSize as SampleSize
from .power.power import power as power
from .simulation.amputation import Amputed as Amputed
from .simulation.amputation import ampute as ampute
from .simulation.amputation import drop_out as drop_out
from .simulation.covariates import Covariate as Covariate
from .simulation.design import Factor as Factor
from .simulation.design import MultilevelDesign as MultilevelDesign
from .simulation.design import RandomTerm as RandomTerm
from .simulation.fingerprint import scenario_id as scenario_id
from .simulation.from_formula import design_from_formula as design_from_formula
from .simulation.generate import SimulatedData as SimulatedData
from .simulation.generate import generate as generate
from .simulation.generate import generate_batch as generate_batch
from .simulation.generate import simulate_frames as simulate_frames
from .simulation.intervals import intervals as intervals
from .simulation.keys import Stream as Stream
from .simulation.keys import key as key
from .simulation.keys import keys as keys
from .simulation.laws import Distribution as Distribution
from .simulation.laws import Drawn as Drawn
from .simulation.measures import performance as performance
from .simulation.mechanisms import Amputation as Amputation
from .simulation.mechanisms import DropOut as DropOut
from .simulation.outcomes import Outcome as Outcome
from .studies.cli import main as main
from .studies.planning import n_needed as n_needed
from .studies.planning import n_needed_from as n_needed_from
from .studies.specification import Context as Context
from .studies.specification import FrameAmputer as FrameAmputer
from .studies.specification import FrameGenerator as FrameGenerator
from .studies.store import ResultStore as ResultStore
from .studies.store import read_store as read_store
from .studies.study import Replay as Replay
from .studies.study import Study as Study

# hidden from type checkers, for which it would make every name exist
if not _typing.TYPE_CHECKING:
    __getattr__ = _unknown_in(__name__)

if __name__ == "__main__":
    sys.exit(main())
