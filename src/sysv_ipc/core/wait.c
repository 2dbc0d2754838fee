/* The one loop that every blocking call goes through.
 *
 * Callers try at once with the GIL held, since most calls do not block and
 * giving up the GIL costs far more than the call where another thread is
 * busy.  What comes here has to wait. */
#include "core.h"

#include <errno.h>

ssize_t
core_wait(const struct os_call *call, int64_t timeout_ns)
{
    int64_t deadline_ns = OS_FOREVER;
    int64_t left_ns = timeout_ns;
    if (timeout_ns != OS_FOREVER) {
        deadline_ns = os_clock_ns() + timeout_ns;
    }
    for (;;) {
        ssize_t (*os_attempt)(const struct os_call *, int64_t) = call->attempt;
        ssize_t rc;
        Py_BEGIN_ALLOW_THREADS
        rc = os_attempt(call, left_ns);
        Py_END_ALLOW_THREADS
        if (rc != -EINTR) {
            return rc;
        }
        if (PyErr_CheckSignals() < 0) {
            return CORE_RAISED;
        }
        if (deadline_ns != OS_FOREVER) {
            left_ns = deadline_ns - os_clock_ns();
            left_ns = left_ns < 0 ? 0 : left_ns;
        }
    }
}
