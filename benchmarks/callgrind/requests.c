/* Requests to valgrind, for Python's ctypes; outside valgrind they do nothing. */

#include <valgrind/callgrind.h>

int is_counting_possible(void) { return RUNNING_ON_VALGRIND; }

/* Once: from here on everything is some ten times slower. */
void start_instrumentation(void) { CALLGRIND_START_INSTRUMENTATION; }

void start_counting(void) { CALLGRIND_ZERO_STATS; }

/* Writes what was counted to a file of its own, under a title. */
void stop_counting(const char *title) { CALLGRIND_DUMP_STATS_AT(title); }
