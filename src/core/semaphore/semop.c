/* Operations on semaphores: semop(2) and semtimedop(2), and the methods of
 * Semaphore that call them.  This file also checks values and raises the
 * errors.
 *
 * No field is written here.  Each method reads the handle's id and index once,
 * when it begins. */
#include "core/semaphore/semaphore.h"

#include <errno.h>

static const char value_text[] =
    "The semaphore's value must remain between 0 and SEMVMX";

int
core_semaphore_value(CoreState *state, PyObject *value, const char *what,
                     struct core_target target, int *out)
{
    PyObject *number = core_index_named(value, what);
    if (number == NULL) {
        return -1;
    }
    int overflow;
    long result = PyLong_AsLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow != 0 || result < 0 || result > OS_SEM_VALUE_MAX) {
        (void)core_refuse_text(state, ERANGE, target, value_text);
        return -1;
    }
    *out = (int)result;
    return 0;
}

PyObject *
core_semaphore_raise(PyObject *op, int id, ssize_t rc,
                     enum core_operation operation, bool undo)
{
    if (rc == -ERANGE) {
        (void)core_refuse_text(core_handle(op)->state, ERANGE,
                               core_handle_target_by_id(op, id), value_text);
        if (undo) {
            core_error_add_note(
                "With SEM_UNDO the adjustment that the kernel records, to "
                "undo it when this process ends, must not exceed SEMVMX "
                "either: see semop(2).");
        }
        return NULL;
    }
    return core_handle_raise_by_id(op, id, rc, operation);
}

CORE_SELDOM static ssize_t
wait_for_semaphore(PyObject *op, int id, struct sembuf *operations,
                   size_t count, int64_t timeout_ns)
{
    struct os_call call = {
        .attempt = os_sem_op_attempt,
        .keeps_deadline = OS_SEM_KEEPS_DEADLINE,
        .id = id,
        .size = count,
        .operations = operations,
    };
    struct core_deadline deadline = {.timeout_ns = timeout_ns};
    return core_wait(&core_handle(op)->waits, &call, &deadline);
}

/* While the interpreter ends, it may end this thread as soon as the thread
 * asks for the GIL, and a permit that the thread has taken would be lost.  So
 * an operation that subtracts and may wait is left to core_wait(), which takes
 * that into account; other operations are tried at once. */
CORE_SELDOM static ssize_t
operate_while_finishing(PyObject *op, int id, struct sembuf *operations,
                        size_t count, int64_t timeout_ns)
{
    bool takes = false;
    for (size_t i = 0; i < count; i++) {
        takes |= operations[i].sem_op < 0;
    }
    if (takes && timeout_ns != 0) {
        return os_sem_get_pid(id, 0) == -EINVAL
                   ? -EINVAL
                   : wait_for_semaphore(op, id, operations, count, timeout_ns);
    }
    int rc = os_sem_op(id, operations, count, 0);
    return rc == -EAGAIN && timeout_ns != 0
               ? wait_for_semaphore(op, id, operations, count, timeout_ns)
               : rc;
}

ssize_t
core_semaphore_operate(PyObject *op, int id, struct sembuf *operations,
                       size_t count, int64_t timeout_ns)
{
    if (os_wait_is_finishing()) {
        return operate_while_finishing(op, id, operations, count, timeout_ns);
    }
    /* Longer lists are not tried while the GIL is held. */
    if (count <= OS_SEM_TRIED_MAX) {
        int rc = os_sem_try(id, operations, count);
        if (rc != -EAGAIN || timeout_ns == 0) {
            return rc;
        }
    }
    else if (os_sem_get_pid(id, 0) == -EINVAL) {
        return -EINVAL;
    }
    return wait_for_semaphore(op, id, operations, count, timeout_ns);
}

/* ------------------------------------------------ on one member: Semaphore */

/* Call semop(2) once on a member.  Return 0, -errno or CORE_RAISED.  The
 * caller has read id and index at its beginning, because converting arguments
 * may run code that initializes the handle again. */
static ssize_t
semaphore_operate(PyObject *op, struct core_place member, int delta,
                  int64_t timeout_ns)
{
    SemaphoreObject *self = semaphore(op);
    struct sembuf operation = {
        .sem_num = member.index,
        .sem_op = (short)delta,
    };
    /* Z() does not change the value, so there is nothing to undo. */
    if (delta != 0 &&
        atomic_load_explicit(&self->undo, memory_order_relaxed)) {
        operation.sem_flg = SEM_UNDO;
    }
    if (!atomic_load_explicit(&self->block, memory_order_relaxed)) {
        timeout_ns = 0;
    }
    return core_semaphore_operate(op, member.id, &operation, 1, timeout_ns);
}

static PyObject *
semaphore_raise(PyObject *op, struct core_place member, ssize_t rc,
                enum core_operation operation)
{
    return core_semaphore_raise(op, member.id, rc, operation,
                                semaphore(op)->undo);
}

/* semaphore_raise() for a call that may have waited. */
CORE_SELDOM static PyObject *
semaphore_raise_wait(PyObject *op, struct core_place member, ssize_t rc,
                     enum core_operation operation, int64_t timeout_ns)
{
    (void)semaphore_raise(op, member, rc, operation);
    if (semaphore(op)->block) {
        core_error_set_timeout(
            core_handle(op)->state, rc,
            (struct core_timeout){timeout_ns, operation, 0, false});
    }
    return NULL;
}

/* Convert delta to its absolute value.  1.2.0 ignores the sign too. */
CORE_SELDOM static int
semaphore_delta_slow(CoreState *state, PyObject *value, int *out)
{
    long long delta = 1;
    if (core_integer(state, value, "delta", -OS_SEM_VALUE_MAX,
                     OS_SEM_VALUE_MAX, &delta) < 0) {
        return -1;
    }
    if (delta == 0) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "delta must not be 0: to wait for zero, call Z()");
        return -1;
    }
    *out = (int)(delta < 0 ? -delta : delta);
    return 0;
}

/* Most calls omit delta.  They need no function call here. */
static inline int
semaphore_delta(CoreState *state, PyObject *value, int *out)
{
    *out = 1;
    return value == NULL ? 0 : semaphore_delta_slow(state, value, out);
}

CORE_WHOLE PyObject *
core_semaphore_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *keywords)
{
    static const struct core_signature signature = {
        "acquire", 2, 2, 0, {CORE_ARG_timeout, CORE_ARG_delta}};
    CoreState *state = core_handle(op)->state;
    struct core_place member = core_handle_place(op);
    PyObject *given[2];
    int64_t timeout_ns = OS_FOREVER;
    int delta;
    if (core_bind(state, &signature, args, nargs, keywords, given) < 0 ||
        core_timeout_as_ns(state, given[0], &timeout_ns) < 0 ||
        semaphore_delta(state, given[1], &delta) < 0) {
        return NULL;
    }
    ssize_t rc = semaphore_operate(op, member, -delta, timeout_ns);
    if (rc < 0) {
        return timeout_ns == 0
                   ? semaphore_raise(op, member, rc, CORE_OPERATION_ACQUIRE)
                   : semaphore_raise_wait(op, member, rc,
                                          CORE_OPERATION_ACQUIRE, timeout_ns);
    }
    Py_RETURN_TRUE;
}

CORE_WHOLE PyObject *
core_semaphore_try_acquire(PyObject *op, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "try_acquire", 1, 1, 0, {CORE_ARG_delta}};
    struct core_place member = core_handle_place(op);
    PyObject *given[1];
    int delta;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        semaphore_delta(core_handle(op)->state, given[0], &delta) < 0) {
        return NULL;
    }
    ssize_t rc = semaphore_operate(op, member, -delta, 0);
    if (rc == -EAGAIN) {
        Py_RETURN_FALSE;
    }
    if (rc < 0) {
        return semaphore_raise(op, member, rc, CORE_OPERATION_ACQUIRE);
    }
    Py_RETURN_TRUE;
}

CORE_WHOLE PyObject *
core_semaphore_release(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *keywords)
{
    static const struct core_signature signature = {
        "release", 1, 1, 0, {CORE_ARG_delta}};
    struct core_place member = core_handle_place(op);
    PyObject *given[1];
    int delta;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        semaphore_delta(core_handle(op)->state, given[0], &delta) < 0) {
        return NULL;
    }
    ssize_t rc = semaphore_operate(op, member, delta, OS_FOREVER);
    if (rc < 0) {
        return semaphore_raise(op, member, rc, CORE_OPERATION_RELEASE);
    }
    Py_RETURN_NONE;
}

PyObject *
core_semaphore_zero(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *keywords)
{
    static const struct core_signature signature = {
        "Z", 1, 1, 0, {CORE_ARG_timeout}};
    struct core_place member = core_handle_place(op);
    PyObject *given[1];
    int64_t timeout_ns = OS_FOREVER;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_timeout_as_ns(core_handle(op)->state, given[0], &timeout_ns) <
            0) {
        return NULL;
    }
    ssize_t rc = semaphore_operate(op, member, 0, timeout_ns);
    if (rc < 0) {
        return semaphore_raise_wait(op, member, rc, CORE_OPERATION_ZERO,
                                    timeout_ns);
    }
    Py_RETURN_TRUE;
}

CORE_WHOLE PyObject *
core_semaphore_enter(PyObject *op, PyObject *Py_UNUSED(unused))
{
    struct core_place member = core_handle_place(op);
    ssize_t rc = semaphore_operate(op, member, -1, OS_FOREVER);
    if (rc < 0) {
        return semaphore_raise(op, member, rc, CORE_OPERATION_ACQUIRE);
    }
    return Py_NewRef(op);
}

/* An exception inside the block propagates.  If the semaphore cannot be
 * released then, for example because it was removed, that error becomes a
 * note. */
CORE_WHOLE PyObject *
core_semaphore_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    struct core_place member = core_handle_place(op);
    ssize_t rc = semaphore_operate(op, member, 1, OS_FOREVER);
    if (rc < 0) {
        (void)semaphore_raise(op, member, rc, CORE_OPERATION_RELEASE);
        PyObject *inside = nargs > 1 ? args[1] : Py_None;
        if (!PyExceptionInstance_Check(inside)) {
            return NULL;
        }
        if (core_error_to_note(inside, "release") < 0) {
            if (!PyErr_ExceptionMatches(PyExc_Exception)) {
                return NULL;
            }
            PyErr_Clear();
        }
    }
    Py_RETURN_NONE;
}
