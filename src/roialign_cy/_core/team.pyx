"""Try the threads of a team before OpenMP starts them: where one is refused, it ends the process.

A limit on processes, on a cgroup's or on address space (for stacks) refuses them.
"""

cdef extern from *:
    """
    #if defined(_OPENMP) && !defined(_WIN32)
    #include <pthread.h>
    #include <stdlib.h>
    #ifdef __linux__
    #include <sched.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #endif

    typedef struct {
        pthread_mutex_t *gate; /* held until every thread has been started */
        pthread_t thread;
        long id;
    } Trial;

    static void *wait_at_gate(void *argument) {
        Trial *trial = argument;
    #ifdef __linux__
        trial->id = syscall(SYS_gettid);
    #endif
        pthread_mutex_lock(trial->gate);
        pthread_mutex_unlock(trial->gate);
        return NULL;
    }

    static void wait_until_gone(const Trial *trial) {
        pthread_join(trial->thread, NULL);
    #ifdef __linux__
        /* A thread that was joined still counts against the limits for a moment. */
        int tries = 1000;
        while (tries-- && syscall(SYS_tgkill, getpid(), trial->id, 0) == 0) sched_yield();
    #endif
    }

    /* What OpenMP allocates for a team and its threads, where a failure ends the process too. */
    enum { BYTES_OF_TEAM = 1 << 20, BYTES_OF_THREAD = 1 << 14 };

    /* Whether this many threads can be alive at once, besides those that are. */
    static int can_start(int number) {
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        Trial *trials = malloc(number * sizeof(Trial));
        void *room = malloc(BYTES_OF_TEAM + (size_t)number * BYTES_OF_THREAD);
        int started = 0, i;
        if (trials && room) {
            pthread_mutex_lock(&gate);
            for (; started < number; started++) {
                trials[started].gate = &gate;
                if (pthread_create(&trials[started].thread, NULL, wait_at_gate, &trials[started]))
                    break;
            }
            pthread_mutex_unlock(&gate);
            for (i = 0; i < started; i++) wait_until_gone(&trials[i]);
        }
        free(room);
        free(trials);
        return started == number;
    }

    /* Threads of this thread's last team. OpenMP keeps them for the next one of the thread, lets
       those go that a smaller one does not need, and starts what a larger one lacks. */
    static __thread int team_size = 1;

    static int granted_threads(int wanted) {
        if (wanted > team_size && !can_start(wanted - team_size)) return 1;
        if (wanted > 1) team_size = wanted;
        return wanted;
    }
    #else
    static int granted_threads(int wanted) { return wanted; }
    #endif
    """
    int granted_threads(int wanted) nogil


cdef int granted(int num_threads) noexcept nogil:
    """``num_threads``, or 1 where the system refuses to start that many.

    To be asked right before a team of that size is started.
    """
    return granted_threads(num_threads)
