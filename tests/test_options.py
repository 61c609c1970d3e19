"""The command line and the environment."""

import subprocess
import sys

import pytest
from servers import ROOT

from phi3v.app.loading import check_device, resolve_model
from phi3v.app.options import Options, parse_options
from phi3v.engine.engine import PREVIEW_MODEL


def test_defaults():
    assert parse_options([], {}) == Options()
    assert Options().server_name is None
    assert not Options().share


def test_flag_wins_over_environment():
    environment = {"PHI3V_MODEL": "from-environment", "PHI3V_SHARE": "yes", "PHI3V_NUM_CROPS": "4"}
    options = parse_options(["--model", "from-flag", "--no-share"], environment)
    assert (options.model, options.share, options.num_crops) == ("from-flag", False, 4)


def test_an_empty_variable_is_none():
    assert parse_options([], {"PHI3V_NUM_CROPS": ""}).num_crops is None


def test_login():
    assert parse_options(["--auth", "ann:secret:with:colons"], {}).auth == ("ann", "secret:with:colons")


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--num-crops", "17"], {}, ["--num-crops", "from 1 to 16"]),
        (["--dtype", "int3"], {}, ["--dtype", "bfloat16"]),
        (["--quantize", "int2"], {}, ["--quantize", "int8"]),
        (["--server-port", "http"], {}, ["--server-port", "whole number from 1 to 65535"]),
        (["--auth", "nobody"], {}, ["--auth", "USER:PASSWORD"]),
        ([], {"PHI3V_ATTN_IMPLEMENTATION": "fast"}, ["PHI3V_ATTN_IMPLEMENTATION", "sdpa"]),
        (["--model", "/nonexistent/folder"], {}, ["--model", "no folder"]),
        ([], {"PHI3V_SHARE": "maybe"}, ["PHI3V_SHARE", "true"]),
        ([], {"PHI3V_MAX_TIME": "0"}, ["PHI3V_MAX_TIME", "from 1 to 3600"]),
    ],
)
def test_wrong_value_is_refused_with_the_right_ones_named(arguments, environment, words, capsys):
    with pytest.raises(SystemExit) as exit:
        parse_options(arguments, environment)
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("arguments", "environment", "where"),
    [
        (["--device", "banana"], {}, "argument --device:"),
        (["--device", "cpu:x"], {"PHI3V_DEVICE": "cpu"}, "argument --device:"),
        ([], {"PHI3V_DEVICE": "banana"}, "environment variable PHI3V_DEVICE:"),
    ],
)
def test_a_device_that_is_not_there_is_refused(arguments, environment, where, capsys, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit:
        check_device(parse_options(arguments))
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert where in message
    assert "(available: " in message


def test_the_app_does_not_start_on_a_device_that_is_not_there():
    done = subprocess.run([sys.executable, "app.py", "--device", "banana"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "app.py: error: argument --device: Device 'banana' is not available here" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_flags_and_variables(capsys):
    with pytest.raises(SystemExit) as exit:
        parse_options(["--help"], {})
    assert exit.value.code == 0
    text = capsys.readouterr().out
    for words in ("--attn-implementation", "PHI3V_MODEL", "(default: auto)", "--share"):
        assert words in text


def test_model_names():
    assert resolve_model(Options(model="preview")) == str(PREVIEW_MODEL)
    assert resolve_model(Options(model="auto", device="cpu")) == str(PREVIEW_MODEL)
    assert resolve_model(Options(model="me/mine")) == "me/mine"
