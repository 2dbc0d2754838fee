/* SemaphoreSet objects, for set.c (the set itself) and set_operations.c
 * (semop(2) on several of its members). */
#ifndef SYSV_IPC_CORE_SEMAPHORE_SET_H
#define SYSV_IPC_CORE_SEMAPHORE_SET_H

#include "core/semaphore/semaphore.h"

extern const struct core_kind core_semaphore_set_kind;
extern PyType_Spec core_semaphore_set_spec;
extern PyType_Spec core_operations_spec;
PyObject *core_semaphore_set_call(PyObject *type, PyObject *const *args,
                                  size_t nargsf, PyObject *keywords);

typedef struct {
    CoreHandle handle;
    _Atomic Py_ssize_t nsems;
} SemaphoreSetObject;

static inline SemaphoreSetObject *
semaphore_set(PyObject *op)
{
    return (SemaphoreSetObject *)op;
}

/* Store the set in the handle.  Size and id change in one critical section,
 * because other threads compare both with the kernel's record. */
static inline void
core_semaphore_set_open(PyObject *op, int64_t key, int id,
                        const struct os_info *info)
{
    struct core_origin origin = core_origin(core_handle(op)->kind, key, id);
    CORE_BEGIN_CRITICAL_SECTION(op);
    semaphore_set(op)->nsems = (Py_ssize_t)info->sem.nsems;
    core_handle_open_lock_held(core_handle(op), key, origin,
                               (struct core_place){id, 0});
    CORE_END_CRITICAL_SECTION();
}

PyObject *core_semaphore_set_op(PyObject *op, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *keywords);
PyObject *core_semaphore_set_compile(PyObject *op, PyObject *operations);
PyObject *core_semaphore_set_acquire(PyObject *op, PyObject *const *args,
                                     Py_ssize_t nargs, PyObject *keywords);
PyObject *core_semaphore_set_release(PyObject *op, PyObject *const *args,
                                     Py_ssize_t nargs);
PyObject *core_semaphore_set_zero(PyObject *op, PyObject *const *args,
                                  Py_ssize_t nargs, PyObject *keywords);

#endif
