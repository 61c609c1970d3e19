"""Who may import whom: rooms know those below them, and `--help` needs nothing heavy."""

import ast
import subprocess
import sys

import pytest
from servers import ROOT

PACKAGE = ROOT / "phi3v"
# room: what it may import of this package and of the two that are heavy, besides itself and `paths`
MAY = {
    "model": {"torch"},
    "engine": {"model", "torch"},
    "inputs": set(),
    "app": {"engine", "inputs", "model", "torch"},
    "server": {"gradio"},
    "ui": {"app", "engine", "inputs", "model", "server", "gradio"},
}


@pytest.mark.parametrize("room", MAY)
def test_imports_run_down_only(room):
    known, found = {*MAY, "serve", "torch", "gradio"}, set()
    for file in (PACKAGE / room).rglob("*.py"):
        folder = file.relative_to(ROOT).parent.parts
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [name.name.split(".") for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                start = folder[: len(folder) + 1 - node.level] if node.level else ()
                whole = [*start, *(node.module or "").split(".")]
                names = [[*filter(None, whole), name.name] for name in node.names]
            else:
                continue
            found |= {name[1] if name[0] == "phi3v" else name[0] for name in names}
    assert found & known <= MAY[room] | {room}


def test_help_imports_neither_torch_nor_gradio():
    command = [sys.executable, "-X", "importtime", "app.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "phi3v.app.options" in imported
    assert not imported & {"torch", "gradio", "transformers", "phi3v.serve"}
    assert "--model" in done.stdout
