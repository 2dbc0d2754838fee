/* What semaphore_set.c (the set) and operations.c (semop(2) on several of its
 * members) share. */
#ifndef SYSV_IPC_SEMAPHORE_SET_H
#define SYSV_IPC_SEMAPHORE_SET_H

#include "core/core.h"

typedef struct {
    CoreHandle handle;
    _Atomic Py_ssize_t nsems;
} SemaphoreSetObject;

static inline SemaphoreSetObject *
semaphore_set(PyObject *op)
{
    return (SemaphoreSetObject *)op;
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
