"""`python app.py`, but 127.0.0.1 counts as an address of the internet, and `LOOPBACK_PORT` as the port of http.

So tests can be servers on the internet.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from phi3v.app.options import parse_options
from phi3v.inputs import fetch
from phi3v.serve import main

fetch.fetch_image.__kwdefaults__["allowed"] = lambda address: address == "127.0.0.1"
fetch.PORTS["http"] = int(os.environ["LOOPBACK_PORT"])
main(parse_options())
