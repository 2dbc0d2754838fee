/* Semaphore objects, and the functions that the files of this folder share:
 * semaphore.c (one member of a set), semop.c (its operations), set.c (the
 * whole set), set_operations.c (operations on several members) and
 * create.c. */
#ifndef SYSV_IPC_CORE_SEMAPHORE_H
#define SYSV_IPC_CORE_SEMAPHORE_H

#include "core/info.h"
#include "core/open.h"
#include "core/wait.h"

typedef struct {
    CoreHandle handle;
    atomic_bool block;
    atomic_bool undo;
} SemaphoreObject;

static inline SemaphoreObject *
semaphore(PyObject *op)
{
    return (SemaphoreObject *)op;
}

extern const struct core_kind core_semaphore_kind;
extern PyType_Spec core_semaphore_spec;
CORE_WHOLE PyObject *core_semaphore_call(PyObject *type, PyObject *const *args,
                                         size_t nargsf, PyObject *keywords);

/* create.c: create sets so that other processes see creation and
 * initialization as one step. */
int core_semaphore_create(struct core_request *request, key_t key);
int core_semaphore_accept(CoreState *state, int id, bool quick);

/* semop.c: call semop(2) on the set with this id: first without waiting, while
 * the GIL is held; if that fails with EAGAIN, through core_wait(). */
ssize_t core_semaphore_operate(PyObject *op, int id, struct sembuf *operations,
                               size_t count, int64_t timeout_ns);
/* core_handle_raise_by_id(), with the text for ERANGE.  undo is true if an
 * operation had SEM_UNDO. */
CORE_SELDOM PyObject *core_semaphore_raise(PyObject *op, int id, ssize_t rc,
                                           enum core_operation operation,
                                           bool undo);
/* Convert a semaphore's value.  what is the name of the argument, for error
 * messages.  Return 0, or -1 with an exception. */
int core_semaphore_value(CoreState *state, PyObject *value, const char *what,
                         struct core_target target, int *out);

/* The methods of Semaphore that call semop(2). */
CORE_WHOLE PyObject *core_semaphore_acquire(PyObject *op,
                                            PyObject *const *args,
                                            Py_ssize_t nargs,
                                            PyObject *keywords);
CORE_WHOLE PyObject *core_semaphore_try_acquire(PyObject *op,
                                                PyObject *const *args,
                                                Py_ssize_t nargs,
                                                PyObject *keywords);
CORE_WHOLE PyObject *core_semaphore_release(PyObject *op,
                                            PyObject *const *args,
                                            Py_ssize_t nargs,
                                            PyObject *keywords);
PyObject *core_semaphore_zero(PyObject *op, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *keywords);
CORE_WHOLE PyObject *core_semaphore_enter(PyObject *op, PyObject *unused);
CORE_WHOLE PyObject *core_semaphore_exit(PyObject *op, PyObject *const *args,
                                         Py_ssize_t nargs);

/* Add the facts by which a set is distinguished from a later set with the same
 * id. */
static inline void
core_semaphore_add_facts(const struct os_info *info, struct core_facts *facts)
{
    facts->amount = (long long)info->sem.nsems;
    facts->first_time = info->sem.last_operation_time;
}

/* Make a Semaphore object for one member of a set. */
PyObject *core_semaphore_make(CoreState *state, int id, int64_t key,
                              unsigned short index);

/* The members of core_kind that a semaphore and its set share, because both
 * are the same object of the kernel. */
#define CORE_SEMAPHORE_KIND                                \
    .record = CORE_RECORD_SemaphoreInfo, .get = os_sem_get, \
    .create = core_semaphore_create,                       \
    .accept = core_semaphore_accept, .stat = os_sem_stat,  \
    .set = os_sem_set, .remove = os_sem_remove,            \
    .list = os_sem_list, .last_place = os_sem_last_place,  \
    .add_facts = core_semaphore_add_facts

#endif
