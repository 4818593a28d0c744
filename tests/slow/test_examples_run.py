"""The scripts in examples/ run as they are and say what they should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow


def run(name: str, *arguments: str, folder: Path) -> str:
    env = {**os.environ, "XDG_CACHE_HOME": str(folder), "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def test_hsb_vignette(tmp_path):
    assert "5 pooled, 5 converged" in run("hsb_vignette.py", folder=tmp_path)


def test_three_level_growth(tmp_path):
    said = run("three_level_growth.py", folder=tmp_path)
    assert "groups: pupil, 600; school, 40" in said
    assert "time:treated" in said


def test_crossed_ratings(tmp_path):
    said = run("crossed_ratings.py", folder=tmp_path)
    reliability = [float(x) for x in re.findall(r"k = \d: (\d\.\d+)", said)]
    # student SD 0.8, rater 0.6, residual 0.7: 0.43, 0.60, 0.75
    assert reliability == pytest.approx([0.43, 0.60, 0.75], abs=0.08)


def test_from_mice_csv(tmp_path):
    assert "Imputations: 5 pooled, 5 converged" in run("from_mice_csv.py", folder=tmp_path)


def test_jax_user(tmp_path):
    said = run("jax_user.py", folder=tmp_path)
    assert "1000 of 1000 fits converged" in said
    assert float(re.search(r"lowest point: (\d\.\d+)", said)[1]) <= 0.0051
    exact, refitted = map(float, re.search(r"derivative (\S+), by refitting (\S+)", said).groups())
    assert exact == pytest.approx(refitted, rel=1e-2)


def test_gpu_batch(tmp_path):
    assert "converged 64" in run("gpu_batch.py", "64", folder=tmp_path)


def test_many_genes(tmp_path):
    said = run("many_genes.py", folder=tmp_path)
    assert "Converged: 499 of 500" in said
    assert "Without estimates: 1 of 500 (constant response 1)" in said
    found = int(re.search(r"(\d+) genes answer", said)[1])
    assert 20 <= found <= 53  # 50 do


def test_sensors_and_times(tmp_path):
    said = run("sensors_and_times.py", folder=tmp_path)
    assert "Converged: 240 of 240" in said
    # the effect is there in 3 sensors at 10 times
    assert re.findall(r"^(\d)\s+400\s+760\s+10$", said, re.MULTILINE) == ["3", "4", "5"]


def test_trial_with_drop_out(tmp_path):
    said = run("trial_with_drop_out.py", folder=tmp_path)
    last = re.findall(r"^week 12 +(-\d\.\d+) +(\d\.\d+)", said, re.MULTILINE)
    assert len(last) == 2
    (observed, se), (pooled, _) = [tuple(map(float, pair)) for pair in last]
    assert abs(observed + 3) < 2.5 * se
    assert pooled == pytest.approx(observed, abs=0.3 * se)
    assert "All fits converged. No fit was singular." in said
    assert (tmp_path / "trial_means.png").exists()
