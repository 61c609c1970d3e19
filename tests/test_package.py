"""The wheel: built, installed, and used from another folder, where nothing of the repository is in reach."""

import os
import shutil
import subprocess
import sys
from email.parser import Parser

import httpx
import pytest
from packaging.requirements import Requirement
from servers import ROOT, Server

import phi3v

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed wheel. It is built of a copy, since setuptools leaves files in what it builds."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "source").mkdir()
    for name in ("app.py", "pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        shutil.copy(ROOT / name, folder / "source")
    for name in ("assets", "phi3v"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    wheel = [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*wheel, str(folder / "source")], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", folder / "target", wheel], check=True)
    shutil.rmtree(folder / "source")
    return folder / "target"


def run(installed, tmp_path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_is_in_it(installed):
    source = {path.relative_to(ROOT) for path in (ROOT / "phi3v").rglob("*") if path.is_file()}
    wanted = {"phi3v_app/app.py"} | {str(path) for path in source if path.suffix not in (".pyc", ".pyi")}
    for folder in ("examples", "preview-model"):
        wanted |= {f"phi3v/assets/{folder}/{path.name}" for path in (ROOT / "assets" / folder).iterdir()}
    there = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    there = {name for name in there if not name.endswith(".pyc") and ".dist-info" not in name}
    assert there == wanted | {"bin/phi3v"}


def test_metadata(installed):
    (file,) = installed.glob("phi3v-*.dist-info/METADATA")
    metadata = Parser().parsestr(file.read_text())
    assert metadata["Version"] == phi3v.__version__
    assert metadata["Requires-Python"] == "<3.14,>=3.10"
    required = {Requirement(each) for each in metadata.get_all("Requires-Dist") if "extra ==" not in each}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert required == {Requirement(line) for line in lines if not line.startswith("#")}


def test_a_question_is_answered(installed, tmp_path):
    script = (
        "import phi3v\n"
        "from phi3v import Phi3Vision, open_image\n"
        "from phi3v.app.tasks import EXAMPLES\n"
        "engine = Phi3Vision.from_pretrained()\n"
        "print(phi3v.__file__)\n"
        "print(engine.answer('What does the sign say?', [open_image(EXAMPLES / 'street_sign.png')]).text)\n"
    )
    where, answer = run(installed, tmp_path, sys.executable, "-c", script).split("\n", 1)
    assert where == str(installed / "phi3v" / "__init__.py")
    assert "Maple Avenue" in answer


def test_the_command(installed, tmp_path):
    assert run(installed, tmp_path, str(installed / "bin" / "phi3v"), "--help").startswith("usage: phi3v [")


def test_the_page_of_the_command_has_its_examples(installed, tmp_path):
    """Gradio hands out files of the working folder and the temporary one only, unless it is told."""
    (tmp_path / "temporary").mkdir()
    environment = {"PYTHONPATH": str(installed), "TMPDIR": str(tmp_path / "temporary")}
    command = str(installed / "bin" / "phi3v")
    server = Server(tmp_path / "log.txt", "--no-preload", script=command, environment=environment)
    try:
        page = httpx.get(f"{server.url}/config").json()
        examples = next(part["id"] for part in page["components"] if part["type"] == "dataset")
        event = next(event["id"] for event in page["dependencies"] if event["targets"][:1] == [[examples, "click"]])
        request = {"data": [0], "fn_index": event, "session_hash": "visitor"}
        filled = httpx.post(f"{server.url}/gradio_api/run/predict", json=request).json()
        assert httpx.get(filled["data"][0]["url"]).headers["content-type"] == "image/png"
    finally:
        server.stop()
