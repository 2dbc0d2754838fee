/* Waiting in a system call, with a deadline and cancel(). */
#ifndef SYSV_IPC_CORE_WAIT_H
#define SYSV_IPC_CORE_WAIT_H

#include "core/handle.h"

/* The limit for all waits of a call; a timeout of 0 means that it does not
 * wait.  Its first wait sets ends_ns, which is 0 until then. */
struct core_deadline {
    int64_t timeout_ns, ends_ns;
};

/* block and timeout: a call that may not block has a timeout of 0. */
CORE_SELDOM int core_deadline_slow(CoreState *state, PyObject *block,
                                   PyObject *timeout,
                                   struct core_deadline *out);

/* Most calls have neither, or True: no function is called for them. */
static inline int
core_deadline(CoreState *state, PyObject *block, PyObject *timeout,
              struct core_deadline *out)
{
    *out = (struct core_deadline){OS_FOREVER, 0};
    return (block == NULL || block == Py_True) && timeout == NULL
               ? 0
               : core_deadline_slow(state, block, timeout, out);
}
/* The same for aio.py, and for a timeout alone: a float, or None for no
 * limit. */
PyObject *core_block_seconds(PyObject *module, PyObject *args);
PyObject *core_seconds(PyObject *module, PyObject *value);
/* For aio.py too, whose attempts do not wait: record in a BusyError how many
 * seconds the task waited, and for what. */
PyObject *core_timed_out(PyObject *module, PyObject *args);

/* Wait in a system call with the GIL released: its result, -errno (-EAGAIN or
 * -ENOMSG when the time was up, -ECANCELED after core_wait_cancel() of the
 * same object) or CORE_RAISED when a signal handler raised. */
CORE_SELDOM ssize_t core_wait(struct os_wait_owner *owner,
                              const struct os_call *call,
                              struct core_deadline *deadline);
/* End all waits in progress of an object: 0, or -1 with what a signal handler
 * raised meanwhile. */
int core_wait_cancel(struct os_wait_owner *owner);
/* Called when the interpreter ends: from then on its other threads take
 * nothing in a call from which they may not return. */
PyObject *core_finish_waits(PyObject *module, PyObject *unused);
/* The method cancel(later=False) and the attribute cancelled of the object
 * that owns these waits. */
PyObject *core_cancel(CoreState *state, struct os_wait_owner *owner,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *keywords);
int core_set_cancelled(struct os_wait_owner *owner, PyObject *value);
PyObject *core_handle_cancel(PyObject *op, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *keywords);
PyObject *core_handle_get_cancelled(PyObject *op, void *closure);
int core_handle_set_cancelled(PyObject *op, PyObject *value, void *closure);
extern const char core_handle_cancel_doc[];
extern const char core_cancelled_doc[];
#define CORE_CANCEL_METHOD(function, doc)                                   \
    {"cancel", _PyCFunction_CAST(function), METH_FASTCALL | METH_KEYWORDS, \
     doc}
#define CORE_HANDLE_CANCELLED                               \
    {"cancelled", core_handle_get_cancelled,                \
     core_handle_set_cancelled, core_cancelled_doc, NULL},
PyObject *core_set_wait_signal(PyObject *module, PyObject *value);
extern const char core_set_wait_signal_doc[];

#endif
