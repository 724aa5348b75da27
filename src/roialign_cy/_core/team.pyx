"""How many threads a team gets: what a busy machine has room for, and what the system grants.

OpenMP waits for all threads of a team, and where other tasks keep one from running, for the length
of their time slices: several milliseconds in which a small call could have been done many times.
And where the system refuses a thread, OpenMP ends the process. A limit on processes, on a
cgroup's or on address space (for stacks) refuses them, so the threads are tried before it does.
"""

import os

cdef extern from *:
    """
    #if defined(_OPENMP) && !defined(_WIN32)
    #include <pthread.h>
    #include <stdlib.h>
    #ifdef __linux__
    #include <dirent.h>
    #include <sched.h>
    #include <stdio.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <time.h>
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

    static int load_file = -1; /* a descriptor of /proc/loadavg; -1: the load is not heeded */
    static int cpus_online = 0; /* of the machine */

    #ifdef __linux__
    /* CPU time of a thread in nanoseconds: the system's encoding of its clock. */
    static long long cpu_time(int thread) {
        struct timespec time;
        if (clock_gettime((clockid_t)(~(unsigned)thread << 3 | 6), &time)) return 0;
        return time.tv_sec * 1000000000LL + time.tv_nsec;
    }

    /* Other threads of this process that are on a CPU: their clocks go on. `most` are enough, and
       if there cannot be as many as `least`, none matter. */
    static int own_running(int least, int most) {
        const int self = (int)syscall(SYS_gettid);
        int running = 0;
        struct dirent *entry;
        struct stat folder; /* whose links are ".", "..", this thread and the others */
        DIR *threads;
        if (stat("/proc/self/task", &folder) || (int)folder.st_nlink - 3 < least) return 0;
        if (!(threads = opendir("/proc/self/task"))) return 0;
        while (running < most && (entry = readdir(threads))) {
            int thread = atoi(entry->d_name);
            long long before = cpu_time(thread);
            if (thread && thread != self) running += cpu_time(thread) > before;
        }
        closedir(threads);
        return running;
    }

    /* As many threads as there are CPUs that no other process's task runs on or waits for. Own
       threads that run are those of pools, mostly, which spin for a moment after their work. */
    static int undisturbed_threads(int wanted) {
        char text[128];
        int running, too_many;
        ssize_t length = wanted > 1 ? pread(load_file, text, sizeof(text) - 1, 0) : 0;
        if (length <= 0) return wanted;
        text[length] = 0;
        if (sscanf(text, "%*s %*s %*s %d/", &running) != 1) return wanted;
        running--; /* this thread */
        too_many = wanted + running - cpus_online;
        if (too_many > 0) {
            too_many -= own_running(too_many - wanted + 2, too_many < running ? too_many : running);
        }
        return too_many <= 0 ? wanted : too_many < wanted ? wanted - too_many : 1;
    }
    #else
    static int undisturbed_threads(int wanted) { return wanted; }
    #endif

    /* Threads of this thread's last team. OpenMP keeps them for the next one of the thread, lets
       those go that a smaller one does not need, and starts what a larger one lacks. */
    static __thread int team_size = 1;

    static int granted_threads(int wanted) {
        wanted = undisturbed_threads(wanted);
        if (wanted > team_size && !can_start(wanted - team_size)) return 1;
        if (wanted > 1) team_size = wanted;
        return wanted;
    }
    #else
    static int load_file, cpus_online;
    static int granted_threads(int wanted) { return wanted; }
    #endif
    """
    int load_file
    int cpus_online
    int granted_threads(int wanted) nogil


cdef int granted(int num_threads) noexcept nogil:
    """How many threads to start where ``num_threads`` are wanted.

    Fewer on a busy machine, and 1 where the system refuses to start them. To be asked right
    before a team is started, of the size that is answered.
    """
    return granted_threads(num_threads)


def heed_load(path, online):
    """Have teams leave room for the tasks that a file like /proc/loadavg says are running.

    ``online`` is the list of the machine's CPUs, as in "0-3,8". Where one of the files cannot be
    read, teams have any size.
    """
    global load_file, cpus_online
    if load_file >= 0:
        os.close(load_file)
    load_file = -1
    try:
        with open(online) as file:
            spans = [span.partition("-") for span in file.read().split(",")]
        cpus_online = sum(int(last or first) - int(first) + 1 for first, _, last in spans)
        load_file = os.open(path, os.O_RDONLY)
    except (OSError, ValueError):
        pass


if os.environ.get("ROIALIGN_IGNORE_LOAD") != "1":
    heed_load("/proc/loadavg", "/sys/devices/system/cpu/online")
