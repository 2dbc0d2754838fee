/* Check that the id of a handle still names the object that it was opened for;
 * and the calls that depend on that: remove(), repr(), pickling. */
#ifndef SYSV_IPC_CORE_IDENTITY_H
#define SYSV_IPC_CORE_IDENTITY_H

#include "core/handle.h"

/* Numbers that distinguish an object from another one with its id: numbers
 * that never change, and numbers that only grow. */
struct core_facts {
    long long namespace, namespace_id, user_namespace;
    long long key, amount, cuid, cgid;
    long long change_time, first_time, second_time;
    long long uid, gid, mode, max_size;
};

/* Return true if the id that a call began with still names the object that the
 * handle was opened for. */
bool core_handle_is_same(PyObject *op, int id, const struct os_info *now);
/* Call IPC_STAT and check the result.  Return 0, or -1 with an exception if
 * the id names another object.  Errors of IPC_STAT are ignored. */
int core_handle_check_same(PyObject *op, int id);
CORE_SELDOM int core_handle_raise_another(PyObject *op, int id);
/* Call IPC_STAT for the object of the handle.  Return 0, or -1 with an
 * exception. */
int core_handle_stat(PyObject *op, struct os_info *info);

PyObject *core_handle_get_removed(PyObject *op, void *closure);
PyObject *core_handle_remove(PyObject *op, PyObject *unused);
PyObject *core_handle_repr(PyObject *op, const char *extra);
/* Implement __reduce__().  arguments are those of from_id(); attributes is a
 * dict of values to restore with setattr(), or NULL.  Both are new references
 * and are stolen. */
PyObject *core_handle_reduce(PyObject *op, PyObject *arguments,
                             PyObject *attributes);
/* Implement _reopen(), which loading a pickle calls. */
PyObject *core_reopen(PyObject *module, PyObject *args);

#endif
