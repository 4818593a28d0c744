"""Simulation studies: generate, ampute, replicate, measure, draw; and ``python -m remlax.sim run-block DIR I``."""

from __future__ import annotations

import sys

from .plot.performance import coverage_plot as coverage_plot
from .plot.performance import forest_plot as forest_plot
from .plot.performance import lollipop_plot as lollipop_plot
from .plot.performance import nested_loop_plot as nested_loop_plot
from .plot.simulation import bland_altman_plot as bland_altman_plot
from .plot.simulation import density_plot as density_plot
from .plot.simulation import zip_plot as zip_plot
from .simulate.amputation import Amputed as Amputed
from .simulate.amputation import ampute as ampute
from .simulate.amputation import drop_out as drop_out
from .simulate.batch import BatchData as BatchData
from .simulate.batch import BatchMethod as BatchMethod
from .simulate.batch import BatchRows as BatchRows
from .simulate.cli import main as main
from .simulate.design import Covariate as Covariate
from .simulate.design import Distribution as Distribution
from .simulate.design import Drawn as Drawn
from .simulate.design import Factor as Factor
from .simulate.design import MultilevelDesign as MultilevelDesign
from .simulate.design import RandomTerm as RandomTerm
from .simulate.fingerprint import scenario_id as scenario_id
from .simulate.generate import SimulatedData as SimulatedData
from .simulate.generate import generate as generate
from .simulate.generate import generate_batch as generate_batch
from .simulate.generate import simulate_frames as simulate_frames
from .simulate.intervals import intervals as intervals
from .simulate.keys import Stream as Stream
from .simulate.keys import key as key
from .simulate.keys import keys as keys
from .simulate.measures import performance as performance
from .simulate.mechanisms import Amputation as Amputation
from .simulate.mechanisms import DropOut as DropOut
from .simulate.planning import n_needed as n_needed
from .simulate.planning import n_needed_from as n_needed_from
from .simulate.specification import Context as Context
from .simulate.specification import FrameAmputer as FrameAmputer
from .simulate.specification import FrameGenerator as FrameGenerator
from .simulate.store import ResultStore as ResultStore
from .simulate.store import read_store as read_store
from .simulate.study import Replay as Replay
from .simulate.study import Study as Study

if __name__ == "__main__":
    sys.exit(main())
