/* The one loop that every blocking call goes through, and what ends it from
 * elsewhere: cancel() and the signal that os/wait.c uses.
 *
 * Callers try at once with the GIL held, since most calls do not block and
 * giving up the GIL costs far more than the call where another thread is
 * busy.  What comes here has to wait, for an object that was there. */
#include "core.h"

#include <errno.h>

/* Between two looks whether all waits have noticed that they are cancelled:
 * from one to the other. */
#define CANCEL_NAP_MIN_NS 5000
#define CANCEL_NAP_MAX_NS 500000

/* Say once that a signal is the program's now: 0, or -1 where that raises. */
static int
warn_of_taken_signal(int number)
{
    return PyErr_WarnFormat(
        PyExc_RuntimeWarning, 1,
        "the program uses signal %d itself, with which sysv_ipc ends waits: "
        "from here on waits poll; sysv_ipc.set_wait_signal() gives them "
        "another one",
        number);
}

ssize_t
core_wait(PyObject *op, const struct os_call *call,
          struct core_patience *patience)
{
    bool for_ever = patience->timeout_ns == OS_FOREVER;
    if (!for_ever && patience->deadline_ns == 0) {
        patience->deadline_ns = os_clock_ns() + patience->timeout_ns;
    }
    struct os_wait wait;
    int taken = os_wait_begin(&wait, op);
    ssize_t rc = -EINTR;
    if (taken != 0 && warn_of_taken_signal(taken) < 0) {
        rc = CORE_RAISED;
    }
    while (rc == -EINTR) {
        /* A signal that came before the call would not interrupt it. */
        if (PyErr_CheckSignals() < 0) {
            rc = CORE_RAISED;
            break;
        }
        int64_t left_ns = OS_FOREVER;
        if (!for_ever) {
            left_ns = patience->deadline_ns - os_clock_ns();
            left_ns = left_ns < 0 ? 0 : left_ns;
        }
        Py_BEGIN_ALLOW_THREADS
        rc = os_wait_call(&wait, call, left_ns);
        Py_END_ALLOW_THREADS
    }
    os_wait_end(&wait);
    /* Removed between two attempts, of which only the second is told so. */
    return rc == -EINVAL ? -EIDRM : rc;
}

void
core_wait_cancel(PyObject *op)
{
    if (!os_wait_cancel(op)) {
        return;
    }
    int64_t nap_ns = CANCEL_NAP_MIN_NS;
    Py_BEGIN_ALLOW_THREADS
    while (os_wait_interrupt(op)) {
        (void)os_sleep_ns(nap_ns);
        nap_ns = nap_ns * 2 > CANCEL_NAP_MAX_NS ? CANCEL_NAP_MAX_NS
                                                : nap_ns * 2;
    }
    Py_END_ALLOW_THREADS
}

PyObject *
core_handle_cancel(PyObject *op, PyObject *Py_UNUSED(unused))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    core_wait_cancel(op);
    Py_RETURN_NONE;
}

static bool
set_waits_end(PyObject *module, PyObject *op, bool end)
{
    if (!core_is_handle(core_state_of_module(module), op)) {
        PyErr_SetString(PyExc_TypeError, "no handle");
        return false;
    }
    atomic_store(&core_handle(op)->waits_end, end);
    return true;
}

PyObject *
core_end_waits(PyObject *module, PyObject *op)
{
    if (!set_waits_end(module, op, true)) {
        return NULL;
    }
    core_wait_cancel(op);
    Py_RETURN_NONE;
}

PyObject *
core_allow_waits(PyObject *module, PyObject *op)
{
    if (!set_waits_end(module, op, false)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
core_set_wait_signal(PyObject *module, PyObject *value)
{
    CoreState *state = core_state_of_module(module);
    long long number = OS_WAIT_POLLS;
    if (value != Py_None &&
        core_integer(state, value, "signal number", 1, INT_MAX, &number) < 0) {
        return NULL;
    }
    int before = os_wait_get_signal();
    int rc = os_wait_set_signal((int)number);
    if (rc == -EBUSY) {
        return core_refuse(state, EINVAL, CORE_NO_SUBJECT,
                           "the program uses signal %lld itself: choose one "
                           "without a handler, such as a realtime signal",
                           number);
    }
    if (rc < 0) {
        return core_refuse(state, -rc, CORE_NO_SUBJECT,
                           "signal %lld means something to the system, or is "
                           "none: choose a realtime signal",
                           number);
    }
    if (before == OS_WAIT_POLLS) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLong(before);
}

ssize_t
core_semaphore_operate(PyObject *op, int id, struct sembuf *operations,
                       size_t count, int64_t timeout_ns)
{
    /* More are not tried with the GIL held. */
    if (count <= OS_SEM_TRIED_MAX) {
        int rc = os_sem_try(id, operations, count);
        if (rc != -EAGAIN || timeout_ns == 0) {
            return rc;
        }
    }
    else if (os_sem_get_pid(id, 0) == -EINVAL) {
        return -EINVAL;
    }
    struct os_call call = {
        .attempt = os_sem_op_attempt,
        .keeps_deadline = OS_SEM_KEEPS_DEADLINE,
        .id = id,
        .size = count,
        .operations = operations,
        .ended = &core_handle(op)->waits_end,
    };
    struct core_patience patience = {.timeout_ns = timeout_ns};
    return core_wait(op, &call, &patience);
}

/* ------------------------------------------------------------------- docs */

const char core_handle_cancel_doc[] = PyDoc_STR(
    "cancel($self, /)\n--\n\n"
    "End every wait that is in progress on this handle, from another thread.\n"
    "\n"
    "Each of them raises CancelledError (ECANCELED), unless it had succeeded\n"
    "already: then it reports success.  Nothing is lost.  The handle stays\n"
    "usable, and other handles of the same object are left alone.");
const char core_set_wait_signal_doc[] = PyDoc_STR(
    "set_wait_signal($module, signalnum, /)\n--\n\n"
    "Choose the signal that ends waits; returns the one before.\n"
    "\n"
    "Deadlines of queues and cancel() need a signal, which the library sends "
    "to\n"
    "threads that wait in it, and to no others.  It is a realtime signal that "
    "the\n"
    "program has no handler for, chosen at the first wait; its own handler "
    "does\n"
    "nothing and restarts system calls (SA_RESTART).  With None no signal is "
    "used:\n"
    "waits are attempts with naps of up to a millisecond between them.  "
    "Raises\n"
    "ArgumentError (EINVAL) for a signal that the program uses or that can "
    "have\n"
    "no handler.  See signal(7) and timer_create(2).");
