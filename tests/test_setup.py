"""What is installed, what is logged, and the one setting that turns progress bars off."""

from __future__ import annotations

import logging

import jax
import pandas as pd

import remlax as rx
from remlax.studies import runner
from remlax.studies.schedulers import BlockResult
from remlax.studies.store import Block


def test_versions_are_printed(capsys):
    rx.show_versions()
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["remlax"] == rx.__version__
    assert lines["jax"] == jax.__version__
    assert "cpu" in lines["devices"]


def test_missing_extra_is_said(capsys, monkeypatch):
    def version(name: str) -> str:
        raise rx.versions.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(rx.versions.metadata, "version", version)
    rx.show_versions()
    assert "matplotlib    not installed" in capsys.readouterr().out


def test_fits_are_logged(caplog):
    with caplog.at_level(logging.INFO, logger="remlax"):
        rx.lmer("Yield ~ 1 + (1 | Batch)", rx.datasets.dyestuff())
    (record,) = caplog.records
    assert record.name == "remlax.api"
    assert "1 data sets fitted in" in record.getMessage()
    assert "1 converged, 0 singular" in record.getMessage()


def test_blocks_are_logged(caplog):
    with caplog.at_level(logging.INFO, logger="remlax"), runner._bar(1, 1, False) as tell:
        tell(BlockResult(Block("a", 0, 0, 10), pd.DataFrame({"status": ["ok"] * 19 + ["failed"]}), 0.5))
    assert caplog.messages == ["block a-000000: 20 rows, 1 failed, 0.50 s"]


def test_logging_is_silent_until_configured():
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("remlax").handlers)
