/* The loop that every blocking call goes through, cancel(), and the end of the
 * interpreter.
 *
 * Callers first try once with the GIL held, because most calls do not block,
 * and if another thread is busy, releasing the GIL costs far more than the
 * call.  A call that comes here would block, on an object that existed. */
#include "core/wait.h"
#include "core/warning.h"

#include <errno.h>

/* The shortest and the longest sleep between two checks whether all waits have
 * ended. */
#define NAP_MIN_NS 5000
#define NAP_MAX_NS 500000

/* When the interpreter begins to end, it waits at most FINISH_LONGEST_NS
 * for the threads that are in a call, and then FINISH_GRACE_NS so that they
 * can use their results.  Other threads make no call for FINISH_PARK_MS,
 * and then try every FINISH_NAP_NS. */
#define FINISH_LONGEST_NS 1000000000
#define FINISH_GRACE_NS 10000000
#define FINISH_PARK_MS 1000
#define FINISH_NAP_NS 50000000

/* -------------------------------------------------------------- deadlines */

/* Return a text without the value if the value cannot be shown, because its
 * repr() raises or an int has too many digits: the call is legal nevertheless.
 * NULL with the exception if that is one that ends programs. */
static PyObject *
instead_of_value(const char *text)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) ||
        PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return NULL;
    }
    PyErr_Clear();
    return PyUnicode_FromString(text);
}

/* Warn if block is true but not the object True: 0 or -1. */
static int
warn_of_block(CoreState *state, PyObject *value)
{
    if (PyBool_Check(value) || !core_is_real(value)) {
        return 0;
    }
    PyObject *one = PyLong_FromLong(1);
    int equal = one == NULL ? -1 : PyObject_RichCompareBool(value, one, Py_EQ);
    Py_XDECREF(one);
    if (equal != 0) {
        return equal < 0 ? -1 : 0;
    }
    PyObject *number = PyLong_Check(value) ? PyNumber_Long(value)
                                           : Py_NewRef(value);
    PyObject *text =
        number == NULL ? NULL
        : PyLong_Check(value)
            ? PyUnicode_FromFormat("block=%R is true, like any number but 0: "
                                   "type=%R or timeout=%R was probably meant",
                                   number, number, number)
            : PyUnicode_FromFormat("block=%R is true, like any number but 0: "
                                   "timeout=%R was probably meant",
                                   number, number);
    Py_XDECREF(number);
    if (text == NULL) {
        text = instead_of_value("block is a number, and true, like any but 0: "
                                "type or timeout was probably meant");
    }
    return core_warn(state, CORE_SLIP_BLOCK, text);
}

int
core_deadline_slow(CoreState *state, PyObject *block, PyObject *timeout,
                   struct core_deadline *out)
{
    bool may_wait = true;
    if (core_bool(block, &may_wait) < 0 ||
        (may_wait && block != NULL && warn_of_block(state, block) < 0) ||
        core_timeout_as_ns(state, timeout, &out->timeout_ns) < 0) {
        return -1;
    }
    if (!may_wait) {
        out->timeout_ns = 0;
    }
    return 0;
}

static PyObject *
as_seconds(int64_t timeout_ns)
{
    if (timeout_ns == OS_FOREVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)timeout_ns / 1e9);
}

PyObject *
core_seconds(PyObject *module, PyObject *value)
{
    int64_t timeout_ns = OS_FOREVER;
    return core_timeout_as_ns(core_state_of_module(module), value,
                              &timeout_ns) < 0
               ? NULL
               : as_seconds(timeout_ns);
}

PyObject *
core_block_seconds(PyObject *module, PyObject *args)
{
    PyObject *block, *timeout;
    struct core_deadline deadline;
    return !PyArg_ParseTuple(args, "OO:_block_seconds", &block, &timeout) ||
                   core_deadline(core_state_of_module(module), block, timeout,
                                 &deadline) < 0
               ? NULL
               : as_seconds(deadline.timeout_ns);
}

PyObject *
core_timed_out(PyObject *module, PyObject *args)
{
    CoreState *state = core_state_of_module(module);
    PyObject *error, *seconds;
    int operation, except_type = 0;
    struct core_timeout timeout = {0};
    if (!PyArg_ParseTuple(args, "OOi|lp:_timed_out", &error, &seconds,
                          &operation, &timeout.type, &except_type) ||
        core_timeout_as_ns(state, seconds, &timeout.ns) < 0) {
        return NULL;
    }
    timeout.operation = (enum core_operation)operation;
    timeout.except = except_type != 0;
    if (state->BusyError != NULL && operation >= 0 &&
        operation < CORE_OPERATION_COUNT &&
        PyObject_TypeCheck(error, (PyTypeObject *)state->BusyError)) {
        ((CoreError *)error)->timeout = timeout;
    }
    Py_RETURN_NONE;
}

/* ---------------------------------------------------------------- waiting */

/* Warn once that the program has installed a handler for the signal: 0, or -1
 * if the warning is an exception. */
static int
warn_of_taken_signal(int number)
{
    return PyErr_WarnFormat(
        PyExc_RuntimeWarning, 1,
        "signal %d, used by sysv_ipc to interrupt blocking calls, now has "
        "another handler; falling back to polling.  Use "
        "sysv_ipc.set_wait_signal() to choose another signal",
        number);
}

/* Return true if this thread may run Python's signal handlers; a wait in it
 * must check for signals.  It is the thread that made the main interpreter,
 * which has the interpreter's first thread state, or in a forked child the
 * thread that forked. */
static bool
runs_handlers(void)
{
    PyThreadState *state = PyThreadState_Get();
    return PyThreadState_GetInterpreter(state) == PyInterpreterState_Main() &&
           (PyThreadState_GetID(state) == 1 || os_is_first_thread());
}

/* While the interpreter ends, it may end this thread whenever the thread asks
 * for the GIL.  Therefore the thread makes no call for a while, and then only
 * with the GIL held. */
static ssize_t
attempt_while_finishing(const struct os_wait *wait, const struct os_call *call,
                        int64_t left_ns)
{
    int64_t nap_ns = left_ns == OS_FOREVER || left_ns > FINISH_NAP_NS
                         ? FINISH_NAP_NS
                         : left_ns;
    Py_BEGIN_ALLOW_THREADS(void)
    os_sleep_ns(nap_ns);
    Py_END_ALLOW_THREADS
    if (os_wait_is_cancelled(wait)) {
        return -ECANCELED;
    }
    if (left_ns != 0 && os_wait_finishing_ms() < FINISH_PARK_MS) {
        return -EINTR;
    }
    ssize_t rc = call->attempt(call, 0);
    return (rc == -EAGAIN || rc == -ENOMSG) && left_ns != 0 ? -EINTR : rc;
}

ssize_t
core_wait(struct os_wait_owner *owner, const struct os_call *call,
          struct core_deadline *deadline)
{
    bool for_ever = deadline->timeout_ns == OS_FOREVER;
    if (!for_ever && deadline->ends_ns == 0) {
        deadline->ends_ns = os_clock_ns() + deadline->timeout_ns;
    }
    struct os_wait wait;
    int taken = os_wait_begin(&wait, owner, runs_handlers());
    ssize_t rc = -EINTR;
    if (taken != 0 && warn_of_taken_signal(taken) < 0) {
        rc = CORE_RAISED;
    }
    while (rc == -EINTR) {
        /* A signal that arrived before the call does not interrupt it. */
        if (PyErr_CheckSignals() < 0) {
            return CORE_RAISED;
        }
        int64_t left_ns = OS_FOREVER;
        if (!for_ever) {
            left_ns = deadline->ends_ns - os_clock_ns();
            left_ns = left_ns < 0 ? 0 : left_ns;
        }
        if (!os_wait_may_block(&wait)) {
            rc = attempt_while_finishing(&wait, call, left_ns);
            continue;
        }
        Py_BEGIN_ALLOW_THREADS
        rc = os_wait_call(&wait, call, left_ns);
        Py_END_ALLOW_THREADS
        os_wait_back();
    }
    /* EINVAL means that the object was removed between two attempts. */
    return rc == -EINVAL ? -EIDRM : rc;
}

/* Sleep without the GIL; the next sleep is twice as long. */
static void
nap(int64_t *nap_ns)
{
    Py_BEGIN_ALLOW_THREADS(void)
    os_sleep_ns(*nap_ns);
    Py_END_ALLOW_THREADS
    *nap_ns = *nap_ns * 2 > NAP_MAX_NS ? NAP_MAX_NS : *nap_ns * 2;
}

int
core_wait_cancel(struct os_wait_owner *owner)
{
    int64_t nap_ns = NAP_MIN_NS;
    os_wait_cancel(owner);
    while (os_wait_interrupt(owner)) {
        nap(&nap_ns);
        if (PyErr_CheckSignals() < 0) {
            os_wait_interrupt_later(owner);
            return -1;
        }
    }
    return 0;
}

PyObject *
core_finish_waits(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    int64_t nap_ns = NAP_MIN_NS;
    int64_t end_ns = os_clock_ns() + FINISH_LONGEST_NS;
    os_wait_finish(true);
#ifdef Py_GIL_DISABLED
    /* A thread may be between two calls and run at the same time. */
    bool any = true;
#else
    bool any = false;
#endif
    while (os_wait_interrupt_others() && os_clock_ns() < end_ns) {
        any = true;
        nap(&nap_ns);
    }
    if (any) {
        /* Let the threads use their results. */
        nap_ns = FINISH_GRACE_NS;
        nap(&nap_ns);
    }
    Py_RETURN_NONE;
}

/* A wait enters the list of calls before it reads the flag, and the flag is
 * set before the calls are interrupted.  So either the wait sees the flag,
 * or this function finds the wait. */
static int
cancel(struct os_wait_owner *owner, bool later)
{
    if (later) {
        atomic_store(&owner->cancelled, true);
    }
    return core_wait_cancel(owner);
}

PyObject *
core_cancel(CoreState *state, struct os_wait_owner *owner,
            PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "cancel", 1, 1, 0, {CORE_ARG_later}};
    PyObject *given[1];
    bool later = false;
    if (core_bind(state, &signature, args, nargs, keywords, given) < 0 ||
        core_bool(given[0], &later) < 0 || cancel(owner, later) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

int
core_set_cancelled(struct os_wait_owner *owner, PyObject *value)
{
    bool cancelled = false;
    if (core_handle_refuse_delete(value, "cancelled") < 0 ||
        core_bool(value, &cancelled) < 0) {
        return -1;
    }
    if (cancelled) {
        return cancel(owner, true);
    }
    atomic_store(&owner->cancelled, false);
    return 0;
}

PyObject *
core_handle_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords)
{
    CoreHandle *self = core_handle(op);
    return core_handle_check(self) < 0
               ? NULL
               : core_cancel(self->state, &self->waits, args, nargs, keywords);
}

PyObject *
core_handle_get_cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyBool_FromLong(atomic_load(&core_handle(op)->waits.cancelled));
}

int
core_handle_set_cancelled(PyObject *op, PyObject *value,
                          void *Py_UNUSED(closure))
{
    return core_handle_check(core_handle(op)) < 0
               ? -1
               : core_set_cancelled(&core_handle(op)->waits, value);
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
        return core_refuse(state, EINVAL, CORE_NO_TARGET,
                           "the program uses signal %lld itself: choose one "
                           "without a handler, such as a realtime signal",
                           number);
    }
    if (rc < 0) {
        return core_refuse(state, -rc, CORE_NO_TARGET,
                           "signal %lld has a meaning for the system, or does "
                           "not exist: choose a realtime signal",
                           number);
    }
    if (before == OS_WAIT_POLLS) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLong(before);
}

/* ------------------------------------------------------------------- docs */

const char core_handle_cancel_doc[] = PyDoc_STR(
    "cancel($self, /, later=False)\n--\n\n"
    "End every wait that is in progress on this object.\n"
    "\n"
    "Each wait raises CancelledError (ECANCELED), unless it had already\n"
    "succeeded: then it returns its result.  No message and no permit is\n"
    "lost.  Other handles of the same object are not affected.  If later is\n"
    "true, each wait that begins afterwards also ends as soon as it would\n"
    "block, until the attribute cancelled is set to False.  cancel() may be\n"
    "called from another thread, or from a signal handler in the same one.");
const char core_cancelled_doc[] = PyDoc_STR(
    "True after cancel(later=True): calls that would block raise\n"
    "CancelledError.  Set it to False to allow them to block again; setting\n"
    "it to True is the same as cancel(later=True).");
const char core_set_wait_signal_doc[] = PyDoc_STR(
    "set_wait_signal($module, signalnum, /)\n--\n\n"
    "Set the signal that interrupts waits.  Return the previous one.\n"
    "\n"
    "Deadlines of queues and cancel() need a signal, which the library sends\n"
    "only to threads that wait in it.  By default it is a realtime signal\n"
    "for which the program has no handler, chosen at the first wait.  The\n"
    "library's handler does nothing and restarts system calls (SA_RESTART).\n"
    "With None, no signal is used: waits try repeatedly and sleep for at\n"
    "most a millisecond in between.  Raise ArgumentError (EINVAL) for a\n"
    "signal that the program uses or that cannot have a handler.  See\n"
    "signal(7) and timer_create(2).");
