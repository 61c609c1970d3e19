"""What only GPUs can show; skipped where there are none.

    python -m pytest tests/gpu -s

`-s` shows the tokens. Each runs in a process of its own: these tests' has Triton's kernels interpreted on the CPU, and
one of them loses the GPU.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
GPUS = torch.cuda.device_count()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("one_gpu.py", marks=pytest.mark.skipif(GPUS < 1, reason="needs a CUDA GPU")),
        pytest.param("second_gpu.py", marks=pytest.mark.skipif(GPUS < 2, reason=f"needs two CUDA GPUs, found {GPUS}")),
    ],
)
def test_on_gpus(script):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(HERE.parent.parent)
    assert subprocess.run([sys.executable, str(HERE / script)], env=environment).returncode == 0
