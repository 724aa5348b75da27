/* Lets the system take memory back when it runs short. A page that is written to stays. */
#if defined(__linux__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#ifdef MADV_FREE
#include <stdint.h>
enum { CAN_RECLAIM = 1 };
static void let_reclaim(void *data, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)data + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)data + size) & ~(page - 1);
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_FREE);
}
#else
enum { CAN_RECLAIM = 0 };
static void let_reclaim(void *data, size_t size)
{
    (void)data, (void)size;
}
#endif
