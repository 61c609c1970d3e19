"""The benchmarks run as their headings say. What they measure is not tested."""

import os
import subprocess
import sys

from servers import ROOT


def test_speed_prints_a_table_of_what_answers_took():
    command = [sys.executable, "-m", "benchmarks.speed", "--requests", "1 crop", "--tokens", "4", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    for words in ("image tower", "| transformers' defaults |", "| engine, image seen before |", "most memory in use"):
        assert words in done.stdout
