#!/usr/bin/env bash
# Sets up a virtual environment and a browser, then lints and runs all tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 -m venv .venv
.venv/bin/pip install --quiet --requirement requirements.txt --requirement tests/requirements.txt

if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update --quiet=2 && apt-get install --quiet=2 --yes chromium
    else
        .venv/bin/playwright install chromium # tests/test_browser.py takes it if there is no other
    fi
fi

.venv/bin/ruff check .
.venv/bin/ruff format --check .
HF_HUB_OFFLINE=1 .venv/bin/python -m pytest tests "$@"
