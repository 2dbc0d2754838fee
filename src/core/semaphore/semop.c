/* semop(2), for one member and for several: values, waiting, errors. */
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
                "With SEM_UNDO it may also be the adjustment that is to be "
                "undone at this process's end that would go beyond SEMVMX: "
                "see semop(2).");
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

/* While the interpreter ends, only what takes nothing that others may be left
 * without is done at once. */
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
    return wait_for_semaphore(op, id, operations, count, timeout_ns);
}
