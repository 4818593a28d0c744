"""Simulation studies: generate, ampute, replicate, measure, draw; and ``python -m remlax.sim run-block DIR I``."""

from __future__ import annotations

import sys
import typing as _typing

from .hints import unknown_in as _unknown_in
from .plot.performance import coverage_plot as coverage_plot
from .plot.performance import forest_plot as forest_plot
from .plot.performance import lollipop_plot as lollipop_plot
from .plot.performance import nested_loop_plot as nested_loop_plot
from .plot.simulation import bland_altman_plot as bland_altman_plot
from .plot.simulation import density_plot as density_plot
from .plot.simulation import zip_plot as zip_plot
from .simulation.amputation import Amputed as Amputed
from .simulation.amputation import ampute as ampute
from .simulation.amputation import drop_out as drop_out
from .simulation.batch import BatchData as BatchData
from .simulation.batch import BatchMethod as BatchMethod
from .simulation.batch import BatchRows as BatchRows
from .simulation.cli import main as main
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
from .simulation.methods import EMB as EMB
from .simulation.methods import CompleteCases as CompleteCases
from .simulation.methods import CompleteData as CompleteData
from .simulation.methods import Joint as Joint
from .simulation.planning import n_needed as n_needed
from .simulation.planning import n_needed_from as n_needed_from
from .simulation.specification import Context as Context
from .simulation.specification import FrameAmputer as FrameAmputer
from .simulation.specification import FrameGenerator as FrameGenerator
from .simulation.store import ResultStore as ResultStore
from .simulation.store import read_store as read_store
from .simulation.study import Replay as Replay
from .simulation.study import Study as Study

# hidden from type checkers, for which it would make every name exist
if not _typing.TYPE_CHECKING:
    __getattr__ = _unknown_in(__name__)

if __name__ == "__main__":
    sys.exit(main())
