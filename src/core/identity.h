/* Whether a handle's id still names the object that it was opened for, and
 * what depends on that: removing it, its text, its pickle. */
#ifndef SYSV_IPC_CORE_IDENTITY_H
#define SYSV_IPC_CORE_IDENTITY_H

#include "core/handle.h"

/* The numbers that tell an object from another with its id: those that it
 * keeps, and those that only grow. */
struct core_facts {
    long long namespace, namespace_id, user_namespace;
    long long key, amount, cuid, cgid;
    long long change_time, first_time, second_time;
    long long uid, gid, mode, max_size;
};

/* Whether the id that a call began with still names the object that the handle
 * was opened for. */
bool core_handle_is_same(PyObject *op, int id, const struct os_info *now);
/* The same with IPC_STAT: 0, or -1 with an exception. */
int core_handle_check_same(PyObject *op, int id);
CORE_SELDOM int core_handle_raise_another(PyObject *op, int id);
/* IPC_STAT of the same object: 0, or -1 with an exception. */
int core_handle_stat(PyObject *op, struct os_info *info);

PyObject *core_handle_get_removed(PyObject *op, void *closure);
PyObject *core_handle_remove(PyObject *op, PyObject *unused);
PyObject *core_handle_repr(PyObject *op, const char *extra);
/* __reduce__(): arguments for from_id() and a dict of what setattr() is to
 * restore in the copy, or NULL; both are new references, and taken over. */
PyObject *core_handle_reduce(PyObject *op, PyObject *arguments,
                             PyObject *attributes);
/* _reopen(), which a pickle calls. */
PyObject *core_reopen(PyObject *module, PyObject *args);

#endif
