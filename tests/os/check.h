/* What the tests of the system layer share: an IPC namespace of their own,
 * and a check that says where it failed. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

/* Say what failed, and end the test. */
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

/* An IPC namespace of this process's own: nothing of the machine's is
 * touched, and nothing is left behind. */
static inline void
enter_namespace(void)
{
    int flags = CLONE_NEWIPC | (geteuid() == 0 ? 0 : CLONE_NEWUSER);
    CHECK_EQUAL(unshare(flags), 0);
}

#endif
