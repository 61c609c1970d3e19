"""Where the preview model and the example images are: `assets/`, beside this package in a source checkout, inside it
once installed."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_INSTALLED = _PACKAGE / "assets"
ASSETS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "assets"
PREVIEW_MODEL = ASSETS / "preview-model"
EXAMPLES = ASSETS / "examples"
