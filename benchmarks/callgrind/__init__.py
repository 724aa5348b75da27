"""Instructions of single calls, counted by valgrind: the same every time, on every machine.

Counting starts and stops by requests to valgrind around the one call (`requests.c`), so that the
interpreter's start and the drawing of arrays neither count nor take long, and no function has to
be known by name. Nothing here knows what is counted, or imports the rest of ``benchmarks``.
"""

from .counting import Counts, count, unavailable_reason
from .profile import Origin

__all__ = ["Counts", "Origin", "count", "unavailable_reason"]
