"""What the log says of a request that failed: where, and nothing of what was sent."""

import logging
import traceback

log = logging.getLogger("phi3v")


def log_failure(error: Exception) -> None:
    """One line with the kind of an error and where it came from; its words may have a visitor's in them."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.warning("A request failed: %s in %s, line %d", type(error).__name__, place.name, place.lineno)
