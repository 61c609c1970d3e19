"""Every setting of the app, once: its flag, its environment variable, its default."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NoReturn

from ..engine.settings import ATTENTION, BITS, BOUNDS, DTYPES

SHORTEST_PASSWORD = 8
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _option(default, help: str, kind=str, choices: Sequence[str] | None = None, metavar: str | None = None):
    settings = {"help": help, "kind": kind, "choices": choices, "metavar": metavar}
    return field(default=default, metadata=settings)


def _between(lowest: int, highest: int):
    def whole_number(text: str) -> int:
        if not (text.isdecimal() and len(text) < 10 and lowest <= int(text) <= highest):
            raise argparse.ArgumentTypeError(f"it must be a whole number from {lowest} to {highest}, not {text!r}")
        return int(text)

    return whole_number


def _model(text: str) -> str:
    if text.startswith(("/", ".", "~")) and not Path(text).expanduser().is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return str(Path(text).expanduser()) if text.startswith("~") else text


def _login(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("it must be USER:PASSWORD")
    if len(password) < SHORTEST_PASSWORD:
        raise argparse.ArgumentTypeError(f"the password must have at least {SHORTEST_PASSWORD} characters")
    return user, password


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


def _switch(text: str) -> bool:
    if text.lower() not in TRUE + FALSE:
        raise argparse.ArgumentTypeError(f"{text!r} is neither of {', '.join(TRUE)} nor of {', '.join(FALSE[:-1])}")
    return text.lower() in TRUE


@dataclass(frozen=True)
class Options:
    """The app's settings. Each is a flag (`num_crops`: `--num-crops`) and a variable (`PHI3V_NUM_CROPS`)."""

    model: str = _option(
        "auto",
        "name on the Hub or folder; `preview` is the bundled model; `auto` is "
        "microsoft/Phi-3-vision-128k-instruct where a GPU holds it, else the bundled one",
        kind=_model,
    )
    revision: str | None = _option(None, "branch, tag or commit of a model on the Hub")
    device: str = _option("auto", "auto, cuda, cuda:N, mps or cpu")
    dtype: str = _option("auto", "precision of the weights", choices=("auto", *DTYPES))
    attn_implementation: str = _option("auto", "attention; auto takes flash-attn where it is", choices=ATTENTION)
    quantize: str | None = _option(
        None, "the decoder's weights in 8 or 4 bits, for less memory and somewhat other answers", choices=(*BITS,)
    )
    preload: bool = _option(True, "load the model at the start; otherwise when the first question comes", kind=_switch)
    num_crops: int | None = _option(None, "crops an image takes at most", kind=_between(*BOUNDS["num_crops"]))
    max_new_tokens: int = _option(
        1000, "most tokens an answer may be asked for", kind=_between(*BOUNDS["max_new_tokens"])
    )
    max_time: int = _option(300, "seconds after which a request ends", kind=_between(1, 3600), metavar="SECONDS")
    max_file_size: int = _option(20, "megabytes an uploaded file may have", kind=_between(1, 1000), metavar="MB")
    max_disk: int = _option(
        2000, "megabytes that all uploads may take together; the oldest are deleted beyond", kind=_between(100, 10**6)
    )
    max_images: int = _option(8, "images that a question or comparison may have", kind=_between(2, 64))
    max_pages: int = _option(50, "pages of PDFs and images that are read at once", kind=_between(1, 1000))
    web: bool = _option(
        True, "let visitors name an image's public address, which this machine then fetches", kind=_switch
    )
    max_queue: int = _option(32, "requests that may wait", kind=_between(1, 10_000))
    concurrency: int = _option(
        4, "requests whose images are held in memory at once; the model answers one at a time", kind=_between(1, 64)
    )
    hosts: tuple[str, ...] = _option(
        (),
        "names that the page is reached by, comma-separated; others are refused. Without it any but for MCP tools, "
        "which take only local names and numbers",
        kind=_names,
        metavar="NAMES",
    )
    share: bool = _option(False, "make a public link", kind=_switch)
    server_name: str | None = _option(None, "address to listen on (127.0.0.1; 0.0.0.0 for all)", metavar="HOST")
    server_port: int | None = _option(None, "port to listen on (7860)", kind=_between(1, 65535))
    auth: tuple[str, str] | None = _option(
        None, "login that visitors must give; there are no MCP tools then", kind=_login, metavar="USER:PASSWORD"
    )

    @property
    def max_file_bytes(self) -> int:
        """`max_file_size` in bytes, counted as Gradio counts uploads."""
        return self.max_file_size * 2**20


def parse_options(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Options:
    """Options from the command line, then the environment, then the defaults.

    Exits with the usual message and status 2 on a wrong value, of a variable too.
    """
    return Options(**vars(_parser(environment).parse_args(arguments)))


def refuse(name: str, value: str, words: str, environment: Mapping[str, str] = os.environ) -> NoReturn:
    """Exit as `parse_options` does, for a wrong value that is only found out later."""
    variable = _variable(name)
    where = f"environment variable {variable}" if environment.get(variable) == value else f"argument {_flag(name)}"
    _parser(environment).error(f"{where}: {words}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return f"PHI3V_{name.upper()}"


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python app.py" if sys.argv[0].endswith(".py") else "phi3v",
        description="Phi-3-Vision in the browser: describe, read and compare images.",
    )
    for option in fields(Options):
        settings, variable = dict(option.metadata), _variable(option.name)
        kind, choices = settings["kind"], settings["choices"]
        default = option.default
        if environment.get(variable):
            default = _from_environment(parser, variable, environment[variable], kind, choices)
        shown = {None: "", True: " (default: on)", False: " (default: off)"}
        shown = shown[option.default] if kind is _switch or option.default is None else f" (default: {option.default})"
        common = {"default": default, "help": f"{settings['help']}{shown} [{variable}]"}
        flag = _flag(option.name)
        if kind is _switch:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
        else:
            metavar = None if choices else settings["metavar"] or option.name.split("_")[-1].upper()
            parser.add_argument(flag, type=kind, choices=choices, metavar=metavar, **common)
    return parser


def _from_environment(parser: argparse.ArgumentParser, variable: str, text: str, kind, choices):
    try:
        value = kind(text)
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(f"environment variable {variable}: {error}")
    if choices and value not in choices:
        parser.error(f"environment variable {variable}: {text!r} is not one of {', '.join(choices)}")
    return value
