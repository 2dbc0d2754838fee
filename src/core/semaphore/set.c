/* sysv_ipc.SemaphoreSet: a whole set, semget(2), GETALL and SETALL of
 * semctl(2).  The operations are in set_operations.c.
 *
 * nsems is set by tp_init, which may run again while other threads read it, so
 * it is atomic.  Everything else is in the kernel. */
#include "core/semaphore/set.h"

#include <errno.h>

static bool
semaphore_set_same(PyObject *op, const struct os_info *now)
{
    return (uint64_t)semaphore_set(op)->nsems == now->sem.nsems;
}

/* The same objects as core_semaphore_kind.  It is another kind so that a
 * member is never equal to its set. */
const struct core_kind core_semaphore_set_kind = {
    .index = CORE_KIND_semaphore_set,
    .size_argument = "nsems",
    .sized = "semaphore set",
    .same = semaphore_set_same,
    CORE_SEMAPHORE_KIND,
};

static inline PyObject *
semaphore_set_make(CoreState *state, PyTypeObject *type)
{
    return core_handle_make(state, type, &core_semaphore_set_kind,
                            sizeof(SemaphoreSetObject));
}

/* --------------------------------------------------------------- opening */

/* Convert a sequence of values into a new array.  what is the name of the
 * argument, for error messages.  Set *count to the number of values.  Return
 * NULL with an exception on failure. */
static unsigned short *
semaphore_set_convert_values(CoreState *state, PyObject *sequence,
                             const char *what, size_t *count)
{
    /* Use a tuple, because converting an item may run code that changes a
     * list. */
    char text[64];
    (void)PyOS_snprintf(text, sizeof(text), "%s must be a sequence of values",
                        what);
    PyObject *items = core_tuple(state, sequence, text);
    if (items == NULL) {
        return NULL;
    }
    *count = (size_t)PyTuple_GET_SIZE(items);
    unsigned short *values = PyMem_Calloc(*count + 1, sizeof(*values));
    if (values == NULL) {
        (void)PyErr_NoMemory();
    }
    (void)PyOS_snprintf(text, sizeof(text), "a value in %s", what);
    for (size_t i = 0; values != NULL && i < *count; i++) {
        int value;
        if (core_semaphore_value(state, PyTuple_GET_ITEM(items, i), text,
                                 CORE_NO_TARGET, &value) < 0) {
            PyMem_Free(values);
            values = NULL;
            break;
        }
        values[i] = (unsigned short)value;
    }
    Py_DECREF(items);
    return values;
}

/* Convert nsems and initial_values to the size and the values of a new set.
 * If both are given, they must agree.  The caller frees *values. */
static int
semaphore_set_convert_members(CoreState *state, PyObject *nsems_value,
                              PyObject *initial_values,
                              struct core_request *request,
                              unsigned short **values)
{
    long long nsems = 0;
    if (core_integer(state, nsems_value, "nsems", 0, INT_MAX, &nsems) < 0) {
        return -1;
    }
    request->size = (size_t)nsems;
    if (initial_values != NULL && initial_values != Py_None) {
        size_t count = 0;
        *values = semaphore_set_convert_values(state, initial_values,
                                               "initial_values", &count);
        if (*values == NULL) {
            return -1;
        }
        if (nsems != 0 && count != (size_t)nsems) {
            (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                              "initial_values has %zu values, but nsems is "
                              "%lld",
                              count, nsems);
            return -1;
        }
        request->size = count;
    }
    else {
        *values = PyMem_Calloc((size_t)nsems + 1, sizeof(**values));
        if (*values == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
    }
    request->values = *values;
    if (request->size == 0 && ((request->flags & IPC_EXCL) ||
                               request->key.type == CORE_KEY_PRIVATE)) {
        if (request->key.type == CORE_KEY_VALUE &&
            core_semaphore_set_kind.get(request->key.value, 0, 0) >= 0) {
            (void)core_raise(state, -EEXIST, CORE_OPERATION_CREATE,
                             (struct core_target){&core_semaphore_set_kind,
                                                  request->key.value,
                                                  CORE_NO_ID});
            return -1;
        }
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "a new set needs nsems or initial_values");
        return -1;
    }
    return 0;
}

/* Check that the set has as many members as were requested, and store it in
 * the handle.  Return 0, -1 with an exception, or CORE_AGAIN if the set no
 * longer exists and must be opened or created again. */
static int
semaphore_set_finish_open(PyObject *op, struct core_request *request,
                          const struct core_opened *opened)
{
    CoreState *state = core_handle(op)->state;
    struct core_target target = {request->kind, opened->key, opened->id};
    struct os_info info = {.sem.nsems = request->size};
    int rc = opened->created
                 ? 0
                 : core_kind_stat_any(request->kind, opened->id, &info);
    if (rc < 0) {
        rc = core_open_again(request, rc);
        return rc == CORE_AGAIN ? rc
                                : core_open_gone(state, request, rc,
                                                 CORE_OPERATION_OPEN, target);
    }
    if (request->size > info.sem.nsems) {
        (void)core_refuse(state, EINVAL, target,
                          "the set has %llu members, not %zu: leave nsems out "
                          "to open it as it is",
                          (unsigned long long)info.sem.nsems, request->size);
        return -1;
    }
    core_semaphore_set_open(op, opened->key, opened->id, &info);
    return 0;
}

static int
semaphore_set_open(PyObject *op, PyObject *const *given)
{
    CoreState *state = core_handle(op)->state;
    struct core_request request = {.size = 0};
    struct core_opened opened;
    unsigned short *values = NULL;
    int rc = -1;
    if (core_request_convert(state, &core_semaphore_set_kind, &request,
                             given[0], given[2], given[3]) == 0 &&
        semaphore_set_convert_members(state, given[1], given[4], &request,
                                      &values) == 0) {
        do {
            rc = core_open(state, &core_semaphore_set_kind, &request, &opened);
            if (rc == 0) {
                rc = semaphore_set_finish_open(op, &request, &opened);
            }
        } while (rc == CORE_AGAIN);
    }
    PyMem_Free(values);
    return rc;
}

CORE_CONSTRUCTOR(semaphore_set, "SemaphoreSet", 5, CORE_ARG_key,
                 CORE_ARG_nsems, CORE_ARG_flags, CORE_ARG_mode,
                 CORE_ARG_initial_values)

static PyObject *
semaphore_set_from_id(PyObject *type, PyObject *id)
{
    PyObject *op = semaphore_set_new((PyTypeObject *)type, NULL, NULL);
    struct os_info info = {.sem.nsems = 0};
    if (op == NULL) {
        return NULL;
    }
    if (core_handle_open_id(core_handle(op), id, &info) < 0) {
        Py_DECREF(op);
        return NULL;
    }
    semaphore_set(op)->nsems = (Py_ssize_t)info.sem.nsems;
    return op;
}

static PyObject *
semaphore_set_reduce(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return core_handle_reduce(op, Py_BuildValue("(i)", core_handle_id(op)),
                              NULL);
}

static PyObject *
semaphore_set_repr(PyObject *op)
{
    char extra[64];
    (void)PyOS_snprintf(extra, sizeof(extra), ", nsems=%zd",
                        (Py_ssize_t)semaphore_set(op)->nsems);
    return core_handle_repr(op, extra);
}

/* ---------------------------------------------------------------- members */

static Py_ssize_t
semaphore_set_length(PyObject *op)
{
    if (core_handle_check(core_handle(op)) < 0) {
        return -1;
    }
    return semaphore_set(op)->nsems;
}

static PyObject *
semaphore_set_item(PyObject *op, Py_ssize_t index)
{
    CoreHandle *self = core_handle(op);
    if (core_handle_check(self) < 0) {
        return NULL;
    }
    Py_ssize_t nsems = semaphore_set(op)->nsems;
    if (index < 0 || index >= nsems) {
        PyErr_Format(PyExc_IndexError,
                     "index out of range for a set of %zd members", nsems);
        return NULL;
    }
    if (index > USHRT_MAX) {
        return core_refuse(self->state, EFBIG, core_handle_target(op),
                           "index %zd is too large: semop(2) can only operate "
                           "on members 0 to %d",
                           index, USHRT_MAX);
    }
    return core_semaphore_make(self->state, core_handle_id(op),
                               core_handle_key(op), (unsigned short)index);
}

static PyObject *
semaphore_set_subscript(PyObject *op, PyObject *index)
{
    if (!PyIndex_Check(index)) {
        PyErr_Format(PyExc_TypeError,
                     "a SemaphoreSet's index must be an integer, not %.100s; "
                     "the attribute values has the values of all members",
                     Py_TYPE(index)->tp_name);
        return NULL;
    }
    Py_ssize_t number = PyNumber_AsSsize_t(index, PyExc_IndexError);
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (number < 0) {
        number += semaphore_set(op)->nsems;
    }
    return semaphore_set_item(op, number);
}

/* A set is always true, even if the handle was never initialized. */
static int
semaphore_set_true(PyObject *Py_UNUSED(op))
{
    return 1;
}

/* Read the values of all members into a new array.  Return 0, -errno or
 * CORE_RAISED. */
static int
semaphore_set_read_values(int id, Py_ssize_t nsems, unsigned short **values)
{
    *values = PyMem_Malloc((size_t)nsems * sizeof(**values));
    if (*values == NULL) {
        (void)PyErr_NoMemory();
        return CORE_RAISED;
    }
    int rc = os_sem_get_all(id, *values, (size_t)nsems);
    if (rc < 0) {
        PyMem_Free(*values);
    }
    return rc;
}

static PyObject *
semaphore_set_values_as_tuple(const unsigned short *values, Py_ssize_t nsems)
{
    PyObject *result = PyTuple_New(nsems);
    for (Py_ssize_t i = 0; result != NULL && i < nsems; i++) {
        /* Adjacent values are often equal.  They share one int object. */
        PyObject *value = i > 0 && values[i] == values[i - 1]
                              ? Py_NewRef(PyTuple_GET_ITEM(result, i - 1))
                              : PyLong_FromLong(values[i]);
        if (value == NULL) {
            Py_CLEAR(result);
            break;
        }
        PyTuple_SET_ITEM(result, i, value);
    }
    return result;
}

static PyObject *
semaphore_set_get_values(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned short *values;
    int id, rc;
    Py_ssize_t nsems;
    do {
        nsems = semaphore_set(op)->nsems;
        id = core_handle_id(op);
        rc = semaphore_set_read_values(id, nsems, &values);
        /* Another thread may have initialized the handle between the reads of
         * size and id. */
    } while (rc == -EIDRM &&
             (nsems != semaphore_set(op)->nsems || id != core_handle_id(op)));
    if (rc < 0) {
        return core_handle_raise_by_id(op, id, rc, CORE_OPERATION_READ);
    }
    PyObject *result = semaphore_set_values_as_tuple(values, nsems);
    PyMem_Free(values);
    return result;
}

static int
semaphore_set_set_values(PyObject *op, PyObject *value,
                         void *Py_UNUSED(closure))
{
    CoreState *state = core_handle(op)->state;
    int id = core_handle_id(op);
    Py_ssize_t nsems = semaphore_set(op)->nsems;
    size_t count = 0;
    if (core_handle_refuse_delete(value, "values") < 0 ||
        core_handle_check(core_handle(op)) < 0) {
        return -1;
    }
    unsigned short *values =
        semaphore_set_convert_values(state, value, "values", &count);
    if (values == NULL) {
        return -1;
    }
    int rc = -1;
    if (count != (size_t)nsems) {
        (void)core_refuse(state, EINVAL, core_handle_target_by_id(op, id),
                          "%zu values for a set of %zd members", count, nsems);
    }
    else if (core_handle_check_same(op, id) == 0) {
        rc = os_sem_set_all(id, values, count);
        if (rc < 0) {
            (void)core_semaphore_raise(op, id, rc, CORE_OPERATION_CHANGE,
                                       false);
            rc = -1;
        }
    }
    PyMem_Free(values);
    return rc;
}

/* -------------------------------------------------------------- the type */

PyDoc_STRVAR(
    semaphore_set_doc,
    "SemaphoreSet(key, nsems=0, flags=0, mode=0o600, initial_values=None)\n"
    "--\n\n"
    "A System V semaphore set: several semaphores in one object.\n"
    "\n"
    "key, flags and mode are those of Semaphore.  nsems is the number of\n"
    "members of a new set; an existing set must have at least as many.  0\n"
    "opens a set of any size.  initial_values, one for each member, are\n"
    "the values of a new set: other users of this library never see it\n"
    "without them.  len(), s[i] and iteration give the members as\n"
    "Semaphore objects.\n"
    "\n"
    ">>> pools = SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 5])\n"
    ">>> pools.op([(0, -1), (1, -3)], timeout=1)\n"
    "True\n"
    ">>> pools.values\n"
    "(0, 2)\n"
    ">>> pools.remove()\n"
    "\n"
    "Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),\n"
    "ArgumentError (EINVAL, ERANGE), LimitError (ENOSPC) or\n"
    "OutOfMemoryError (ENOMEM) on failure.  See semget(2).");

PyDoc_STRVAR(
    op_doc,
    "op($self, /, operations, timeout=None)\n--\n\n"
    "Do all of the operations, or none of them, in one system call.\n"
    "\n"
    "operations is a sequence of (index, delta) or (index, delta, flags).\n"
    "A positive delta is added.  A negative delta is subtracted, after\n"
    "waiting until the value is large enough.  0 waits until the value is\n"
    "zero.  flags are IPC_NOWAIT and SEM_UNDO.  timeout is in seconds;\n"
    "None means no limit.  Return True.\n"
    "\n"
    "Raise BusyError (EAGAIN) if the time is up; ArgumentError (E2BIG)\n"
    "for more operations than the limit SEMOPM in kernel.sem, (EFBIG) for\n"
    "an index that the set does not have, and (ERANGE) if a value would\n"
    "exceed SEMAPHORE_VALUE_MAX; ExistentialError (EINVAL, EIDRM) if the\n"
    "set was removed; CancelledError (ECANCELED) after cancel(); and\n"
    "PermissionsError (EACCES).  See semop(2).");
PyDoc_STRVAR(
    compile_doc,
    "compile($self, operations, /)\n--\n\n"
    "Return a callable that does these operations: f(timeout=None).\n"
    "\n"
    "The operations are converted once, not at each call.  Errors are\n"
    "those of op().");
PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, /, *indexes, timeout=None)\n--\n\n"
    "Subtract 1 from each member, or wait until that is possible.\n"
    "\n"
    "indexes are the members.  Either all values change or none does.\n"
    "Return True.  timeout and errors are those of op().");
PyDoc_STRVAR(release_doc,
             "release($self, /, *indexes)\n--\n\n"
             "Add 1 to each of these members: to all of them, or to none.\n"
             "\n"
             "indexes are the members.  Errors are those of op().");
PyDoc_STRVAR(
    zero_doc,
    "zero($self, /, *indexes, timeout=None)\n--\n\n"
    "Wait until all of these members are zero at the same time.\n"
    "\n"
    "indexes are the members.  This does not change the values.  Return\n"
    "True.  timeout and errors are those of op().");
PyDoc_STRVAR(info_doc,
             "info($self, /)\n--\n\n"
             "Return a SemaphoreInfo of the set, from one system call.\n"
             "\n"
             "See semctl(2), IPC_STAT.");
PyDoc_STRVAR(
    remove_doc,
    "remove($self, /)\n--\n\n"
    "Remove the set.  Blocked calls raise ExistentialError (EIDRM).\n"
    "\n"
    "Raise PermissionsError (EPERM) if the caller is not the owner, the\n"
    "creator or root, and ExistentialError (EINVAL) if the set no longer\n"
    "exists.  See semctl(2), IPC_RMID.");
PyDoc_STRVAR(from_id_doc,
             "from_id($type, id, /)\n--\n\n"
             "Open the set with this id.\n"
             "\n"
             "A set that may not be read is opened too; its calls then\n"
             "fail.  Raise ExistentialError (EINVAL) if no set has this id.\n"
             "See semctl(2).");
PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\n"
                         "Pickle by id: the copy opens the same set.");

static PyMethodDef semaphore_set_methods[] = {
    CORE_CANCEL_METHOD(core_handle_cancel, core_handle_cancel_doc),
    {"op", _PyCFunction_CAST(core_semaphore_set_op),
     METH_FASTCALL | METH_KEYWORDS, op_doc},
    {"compile", core_semaphore_set_compile, METH_O, compile_doc},
    {"acquire", _PyCFunction_CAST(core_semaphore_set_acquire),
     METH_FASTCALL | METH_KEYWORDS, acquire_doc},
    {"release", _PyCFunction_CAST(core_semaphore_set_release), METH_FASTCALL,
     release_doc},
    {"zero", _PyCFunction_CAST(core_semaphore_set_zero),
     METH_FASTCALL | METH_KEYWORDS, zero_doc},
    {"info", core_handle_info, METH_NOARGS, info_doc},
    {"remove", core_handle_remove, METH_NOARGS, remove_doc},
    {"from_id", semaphore_set_from_id, METH_O | METH_CLASS, from_id_doc},
    {"__reduce__", semaphore_set_reduce, METH_NOARGS, reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_set_getset[] = {
    CORE_HANDLE_GETSET CORE_HANDLE_CANCELLED CORE_SEMAPHORE_FIELDS(
        CORE_FIELD_GETSET){"o_time", core_handle_get_field, NULL,
                           PyDoc_STR("The same as last_operation_time."),
                           (void *)&core_field_last_operation_time},
    {"values", semaphore_set_get_values, semaphore_set_set_values,
     PyDoc_STR("The values of all members (GETALL, SETALL).\n"
               "Reading or writing all of them is one system call.  Writing\n"
               "discards the undo records of all processes."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef semaphore_set_members[] = {
    CORE_HANDLE_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot semaphore_set_slots[] = {
    {Py_tp_doc, (void *)semaphore_set_doc},
    {Py_tp_new, semaphore_set_new},
    {Py_tp_init, semaphore_set_init},
    {Py_tp_dealloc, core_handle_free},
    {Py_tp_traverse, core_handle_traverse},
    {Py_tp_repr, semaphore_set_repr},
    {Py_tp_richcompare, core_handle_compare},
    {Py_tp_hash, core_handle_hash},
    {Py_tp_methods, semaphore_set_methods},
    {Py_tp_getset, semaphore_set_getset},
    {Py_tp_members, semaphore_set_members},
    {Py_tp_iter, PySeqIter_New},
    {Py_sq_length, semaphore_set_length},
    {Py_sq_item, semaphore_set_item},
    {Py_mp_length, semaphore_set_length},
    {Py_mp_subscript, semaphore_set_subscript},
    {Py_nb_bool, semaphore_set_true},
    {0, NULL},
};

PyType_Spec core_semaphore_set_spec = {
    .name = "sysv_ipc.SemaphoreSet",
    .basicsize = sizeof(SemaphoreSetObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = semaphore_set_slots,
};
