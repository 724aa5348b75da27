"""Instructions of single calls, counted by valgrind: the same every time, on every machine.

Counting starts and stops by requests to valgrind around the one call (`requests.c`), so that the
interpreter's start and the drawing of arrays neither count nor take long, and no function has to
be known by name.
"""

from .counting import ROOT, VARIANT, Counts, count, environment, unavailable_reason
from .profile import Origin

__all__ = ["ROOT", "VARIANT", "Counts", "Origin", "count", "environment", "unavailable_reason"]
