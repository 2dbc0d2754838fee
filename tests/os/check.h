/* For the tests of the system layer: an IPC namespace of their own, checks
 * that report their file and line, and the loop of a wait. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/wait/wait.h"

/* Report the check that failed, and end the test. */
static inline void
fail(const char *file, int line, const char *what, long long got,
     long long wanted)
{
    (void)fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, what,
                  got, wanted);
    exit(1);
}

#define CHECK_EQUAL(got, wanted)                                     \
    do {                                                             \
        long long got_value = (long long)(got);                      \
        long long wanted_value = (long long)(wanted);                \
        if (got_value != wanted_value) {                             \
            fail(__FILE__, __LINE__, #got, got_value, wanted_value); \
        }                                                            \
    } while (0)

#define CHECK(condition) CHECK_EQUAL((condition) != 0, 1)

/* Enter a new IPC namespace, so that the test does not change objects of the
 * machine and leaves none behind. */
static inline void
enter_namespace(void)
{
    int flags = CLONE_NEWIPC | (geteuid() == 0 ? 0 : CLONE_NEWUSER);
    CHECK_EQUAL(unshare(flags), 0);
}

/* Wait like core_wait(), without Python. */
static inline ssize_t
wait_for(struct os_wait_owner *owner, const struct os_call *call,
         int64_t timeout_ns)
{
    struct os_wait wait;
    int64_t deadline_ns = os_clock_ns() + timeout_ns;
    ssize_t rc;
    CHECK_EQUAL(os_wait_begin(&wait, owner, os_is_first_thread()), 0);
    do {
        int64_t left_ns = OS_FOREVER;
        if (timeout_ns != OS_FOREVER) {
            left_ns = deadline_ns - os_clock_ns();
            left_ns = left_ns < 0 ? 0 : left_ns;
        }
        rc = os_wait_call(&wait, call, left_ns);
        os_wait_back();
    } while (rc == -EINTR);
    return rc;
}

#endif
