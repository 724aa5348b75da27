/* Requests to valgrind, for Python's ctypes; outside valgrind they do nothing. */

#include <valgrind/callgrind.h>

int is_counting_possible(void) { return RUNNING_ON_VALGRIND; }

void start_counting(void)
{
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

/* Writes what was counted to a file of its own, under a title. */
void stop_counting(const char *title)
{
    CALLGRIND_DUMP_STATS_AT(title);
    CALLGRIND_STOP_INSTRUMENTATION;
}
