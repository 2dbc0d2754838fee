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
    if (timeout_ns != OS_FOREVER) {
        deadline_ns = os_clock_ns() + timeout_ns;
    }
    ssize_t (*os_attempt)(const struct os_call *, int64_t) = call->attempt;
    ssize_t rc;
    do {
        /* A signal that came before the call would not interrupt it. */
        if (PyErr_CheckSignals() < 0) {
            return CORE_RAISED;
        }
        int64_t left_ns = OS_FOREVER;
        if (deadline_ns != OS_FOREVER) {
            left_ns = deadline_ns - os_clock_ns();
            left_ns = left_ns < 0 ? 0 : left_ns;
        }
        Py_BEGIN_ALLOW_THREADS
        rc = os_attempt(call, left_ns);
        Py_END_ALLOW_THREADS
    } while (rc == -EINTR);
    return rc;
}

/* More operations than this are not tried with the GIL held. */
#define TRIED_OPERATIONS 64

ssize_t
core_semaphore_operate(int id, struct sembuf *operations, size_t count,
                       int64_t timeout_ns)
{
    struct sembuf tried[TRIED_OPERATIONS];
    if (count <= TRIED_OPERATIONS) {
        for (size_t i = 0; i < count; i++) {
            tried[i] = operations[i];
            tried[i].sem_flg = (short)(tried[i].sem_flg | IPC_NOWAIT);
        }
        int rc = os_sem_op(id, tried, count, OS_FOREVER);
        if (rc != -EAGAIN || timeout_ns == 0) {
            return rc;
        }
    }
    struct os_call call = {
        .attempt = os_sem_op_attempt,
        .id = id,
        .size = count,
        .operations = operations,
    };
    return core_wait(&call, timeout_ns);
}
