/* sysv_ipc.Semaphore: one member of a semaphore set, semget(2), semop(2) and
 * semctl(2).  The operations are in semop.c, creation is in create.c.
 *
 * block and undo are lone atomic flags.  The value is in the kernel, which
 * does its own locking. */
#include "core/semaphore/set.h"

#include <errno.h>

static bool
semaphore_same(PyObject *op, const struct os_info *now)
{
    return core_handle_place(op).index < now->sem.nsems;
}

const struct core_kind core_semaphore_kind = {
    .index = CORE_KIND_semaphore,
    .after_mode = "initial_value",
    .same = semaphore_same,
    CORE_SEMAPHORE_KIND,
};

static inline PyObject *
semaphore_make(CoreState *state, PyTypeObject *type)
{
    PyObject *op = core_handle_make(state, type, &core_semaphore_kind,
                                    sizeof(SemaphoreObject));
    if (op != NULL) {
        atomic_init(&semaphore(op)->block, true);
    }
    return op;
}

static int
semaphore_open(PyObject *op, PyObject *const *given)
{
    CoreState *state = core_handle(op)->state;
    PyObject *initial_value = given[3];
    int value = 0;
    if (initial_value != NULL &&
        core_semaphore_value(state, initial_value, "initial_value",
                             CORE_NO_TARGET, &value) < 0) {
        return -1;
    }
    unsigned short values[] = {(unsigned short)value};
    struct core_request request = {
        .size = 1,
        .open_size = 1,
        .values = values,
    };
    struct core_opened opened;
    if (core_request_convert(state, &core_semaphore_kind, &request, given[0],
                             given[1], given[2]) < 0 ||
        core_open(state, &core_semaphore_kind, &request, &opened) < 0) {
        return -1;
    }
    core_handle_open(core_handle(op), opened.key, opened.id);
    return 0;
}

CORE_CONSTRUCTOR(semaphore, "Semaphore", 4, CORE_ARG_key, CORE_ARG_flags,
                 CORE_ARG_mode, CORE_ARG_initial_value)

static PyObject *
semaphore_from_id(PyObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"id", "index", NULL};
    PyObject *id, *index_value = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:from_id", names, &id,
                                     &index_value)) {
        return NULL;
    }
    PyObject *op = semaphore_new((PyTypeObject *)type, NULL, NULL);
    if (op == NULL) {
        return NULL;
    }
    long long index = 0;
    struct os_info info = {.sem.nsems = USHRT_MAX};
    if (core_integer(core_handle(op)->state, index_value, "index", 0,
                     USHRT_MAX, &index) < 0 ||
        core_handle_open_id(core_handle(op), id, &info) < 0) {
        Py_CLEAR(op);
        return NULL;
    }
    core_handle_open_member(core_handle(op), core_handle_key(op),
                            core_handle_id(op), (unsigned short)index);
    if ((uint64_t)index >= info.sem.nsems) {
        (void)core_refuse(
            core_handle(op)->state, EINVAL, core_handle_target(op),
            "index %lld is past the end of a set of %llu members", index,
            (unsigned long long)info.sem.nsems);
        Py_CLEAR(op);
    }
    return op;
}

PyObject *
core_semaphore_make(CoreState *state, int id, int64_t key,
                    unsigned short index)
{
    PyObject *op = semaphore_make(
        state, (PyTypeObject *)state->kinds[CORE_KIND_semaphore].type);
    if (op != NULL) {
        core_handle_open_member(core_handle(op), key, id, index);
    }
    return op;
}

static PyObject *
semaphore_reduce(PyObject *op, PyObject *Py_UNUSED(unused))
{
    struct core_place place = core_handle_place(op);
    return core_handle_reduce(
        op, Py_BuildValue("(ii)", place.id, place.index),
        Py_BuildValue("{sOsO}", "block",
                      semaphore(op)->block ? Py_True : Py_False, "undo",
                      semaphore(op)->undo ? Py_True : Py_False));
}

static PyObject *
semaphore_repr(PyObject *op)
{
    char extra[64] = "";
    int length = 0;
    struct core_place place = core_handle_place(op);
    int index = place.index;
    if (index > 0) {
        length = PyOS_snprintf(extra, sizeof(extra), ", index=%d", index);
    }
    int value = os_sem_get_value(place.id, index);
    if (value >= 0) {
        (void)PyOS_snprintf(extra + length, sizeof(extra) - (size_t)length,
                            ", value=%d", value);
    }
    return core_handle_repr(op, extra);
}

/* ------------------------------------------------------------- attributes */

/* GETVAL, GETPID, GETNCNT or GETZCNT: a system call that returns one
 * number. */
typedef int (*semaphore_number)(int id, int index);

static PyObject *
semaphore_get_number(PyObject *op, semaphore_number os_get)
{
    struct core_place place = core_handle_place(op);
    int number = os_get(place.id, place.index);
    if (number < 0) {
        return core_handle_raise_by_id(op, place.id, number,
                                       CORE_OPERATION_READ);
    }
    return PyLong_FromLong(number);
}

static PyObject *
semaphore_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    return semaphore_get_number(op, os_sem_get_value);
}

static int
semaphore_set_value(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CoreState *state = core_handle(op)->state;
    struct core_place member = core_handle_place(op);
    int number;
    if (core_handle_refuse_delete(value, "value") < 0 ||
        core_semaphore_value(state, value, "value", core_handle_target(op),
                             &number) < 0) {
        return -1;
    }
    int rc = os_sem_set_value(member.id, member.index, number);
    if (rc < 0) {
        (void)core_semaphore_raise(op, member.id, rc, CORE_OPERATION_SET_VALUE,
                                   false);
        return -1;
    }
    return 0;
}

static PyObject *
semaphore_get_last_pid(PyObject *op, void *Py_UNUSED(closure))
{
    return semaphore_get_number(op, os_sem_get_pid);
}

static PyObject *
semaphore_get_waiting_for_nonzero(PyObject *op, void *Py_UNUSED(closure))
{
    return semaphore_get_number(op, os_sem_get_ncnt);
}

static PyObject *
semaphore_get_waiting_for_zero(PyObject *op, void *Py_UNUSED(closure))
{
    return semaphore_get_number(op, os_sem_get_zcnt);
}

/* The getters and setters of block and undo: the closure points to the offset
 * of the flag in the object. */
static const size_t block_offset = offsetof(SemaphoreObject, block);
static const size_t undo_offset = offsetof(SemaphoreObject, undo);

static atomic_bool *
semaphore_flag_at(PyObject *op, const void *offset)
{
    return (atomic_bool *)(void *)((char *)op + *(const size_t *)offset);
}

static PyObject *
semaphore_get_flag(PyObject *op, void *offset)
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyBool_FromLong(atomic_load(semaphore_flag_at(op, offset)));
}

static int
semaphore_set_flag(PyObject *op, PyObject *value, void *offset)
{
    bool truth = false;
    const char *name = offset == &block_offset ? "block" : "undo";
    if (core_handle_refuse_delete(value, name) < 0 ||
        core_bool(value, &truth) < 0 ||
        core_handle_check(core_handle(op)) < 0) {
        return -1;
    }
    atomic_store(semaphore_flag_at(op, offset), truth);
    return 0;
}

static PyObject *
semaphore_get_index(PyObject *op, void *Py_UNUSED(closure))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyLong_FromLong(core_handle_place(op).index);
}

/* The set is made through its type, which is in the module's state, so that
 * this file needs nothing from set.c. */
static PyObject *
semaphore_get_set(PyObject *op, void *Py_UNUSED(closure))
{
    CoreHandle *self = core_handle(op);
    int id = core_handle_id(op);
    int64_t key = core_handle_key(op);
    struct os_info info;
    if (core_handle_check(self) < 0) {
        return NULL;
    }
    int rc = core_kind_stat_any(self->kind, id, &info);
    if (rc < 0) {
        return core_handle_raise_by_id(op, id, rc, CORE_OPERATION_OPEN);
    }
    PyTypeObject *type =
        (PyTypeObject *)self->state->kinds[CORE_KIND_semaphore_set].type;
    PyObject *set = type->tp_new(type, NULL, NULL);
    if (set != NULL) {
        core_semaphore_set_open(set, key, id, &info);
    }
    return set;
}

/* -------------------------------------------------------------- the type */

PyDoc_STRVAR(
    semaphore_doc,
    "Semaphore(key, flags=0, mode=0o600, initial_value=0)\n--\n\n"
    "A System V semaphore: member 0 of the set that has this key.\n"
    "\n"
    "key is an int, IPC_PRIVATE, or None for a random unused key (with\n"
    "IPC_CREX).  flags is 0 to open, IPC_CREAT to open or create, IPC_CREX\n"
    "to create or fail.  initial_value, from 0 to SEMAPHORE_VALUE_MAX, is\n"
    "the value of a new semaphore: other users of this library never see\n"
    "it without that value.  Opening an existing semaphore never changes\n"
    "its value.  Without a mode, opening requests the best access that\n"
    "the caller has.\n"
    "\n"
    ">>> semaphore = Semaphore(None, IPC_CREX, initial_value=1)\n"
    ">>> with semaphore:\n"
    "...     print(semaphore.value)\n"
    "0\n"
    ">>> semaphore.remove()\n"
    "\n"
    "Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),\n"
    "ArgumentError (EINVAL, ERANGE), LimitError (ENOSPC) or\n"
    "OutOfMemoryError (ENOMEM) on failure.  See semget(2).");

#define ACQUIRE_DOC                                                           \
    "Subtract delta from the value.  Wait while the value is smaller.\n"     \
    "\n"                                                                     \
    "Return True.  timeout is in seconds; None means no limit, and 0\n"      \
    "means do not wait.  The sign of delta is ignored.  After a signal\n"    \
    "handler returns, the wait continues with the remaining time\n"          \
    "(PEP 475).\n"                                                           \
    "\n"                                                                     \
    "Raise BusyError (EAGAIN) if the time is up, or at once if block is\n"   \
    "False; ExistentialError (EINVAL, EIDRM) if the semaphore was\n"         \
    "removed, before or during the wait; CancelledError (ECANCELED)\n"       \
    "after cancel(); PermissionsError (EACCES); or ArgumentError\n"          \
    "(EINVAL).  See semop(2)."

#define RELEASE_DOC \
    "Add delta to the value.\n" \
    "\n" \
    "This never waits.  The sign of delta is ignored.  Raise ArgumentError\n" \
    "(ERANGE) if the value would exceed SEMAPHORE_VALUE_MAX,\n" \
    "ExistentialError (EINVAL) if the semaphore no longer exists, and\n" \
    "PermissionsError (EACCES).  See semop(2)."

PyDoc_STRVAR(acquire_doc,
             "acquire($self, /, timeout=None, delta=1)\n--\n\n" ACQUIRE_DOC);
PyDoc_STRVAR(p_doc, "P($self, /, timeout=None, delta=1)\n--\n\n" ACQUIRE_DOC);
PyDoc_STRVAR(release_doc, "release($self, /, delta=1)\n--\n\n" RELEASE_DOC);
PyDoc_STRVAR(v_doc, "V($self, /, delta=1)\n--\n\n" RELEASE_DOC);
PyDoc_STRVAR(
    z_doc, "Z($self, /, timeout=None)\n--\n\n"
           "Wait until the value is zero.  Return True.\n"
           "\n"
           "This does not change the value.  timeout and errors are those of\n"
           "acquire().  See semop(2).");
PyDoc_STRVAR(
    try_acquire_doc,
    "try_acquire($self, /, delta=1)\n--\n\n"
    "Subtract delta and return True, or return False if value < delta.\n"
    "\n"
    "This never waits.  The sign of delta is ignored.  See semop(2).");
PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\n"
                        "Call acquire() and return self.");
PyDoc_STRVAR(
    exit_doc,
    "__exit__($self, /, *exception)\n--\n\n"
    "Call release().\n"
    "\n"
    "An exception inside the block propagates.  If release() fails then,\n"
    "its error becomes a note of that exception.");
PyDoc_STRVAR(info_doc,
             "info($self, /)\n--\n\n"
             "Return a SemaphoreInfo of the whole set, from one system call.\n"
             "\n"
             "See semctl(2), IPC_STAT.");
PyDoc_STRVAR(
    remove_doc,
    "remove($self, /)\n--\n\n"
    "Remove the whole set.  Blocked calls raise ExistentialError (EIDRM).\n"
    "\n"
    "Raise PermissionsError (EPERM) if the caller is not the owner, the\n"
    "creator or root, and ExistentialError (EINVAL) if the set no longer\n"
    "exists.  See semctl(2), IPC_RMID.");
PyDoc_STRVAR(
    from_id_doc,
    "from_id($type, /, id, index=0)\n--\n\n"
    "Open the member of the set with this id that has this index.\n"
    "\n"
    "A set that may not be read is opened too; its calls then fail.  Raise\n"
    "ExistentialError (EINVAL) if no set has this id, and ArgumentError\n"
    "(EINVAL) if the set has no such member.  See semctl(2).");
PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\n"
                         "Pickle by id: the copy opens the same semaphore.");

static PyMethodDef semaphore_methods[] = {
    CORE_CANCEL_METHOD(core_handle_cancel, core_handle_cancel_doc),
    {"acquire", _PyCFunction_CAST(core_semaphore_acquire),
     METH_FASTCALL | METH_KEYWORDS, acquire_doc},
    {"P", _PyCFunction_CAST(core_semaphore_acquire),
     METH_FASTCALL | METH_KEYWORDS, p_doc},
    {"try_acquire", _PyCFunction_CAST(core_semaphore_try_acquire),
     METH_FASTCALL | METH_KEYWORDS, try_acquire_doc},
    {"release", _PyCFunction_CAST(core_semaphore_release),
     METH_FASTCALL | METH_KEYWORDS, release_doc},
    {"V", _PyCFunction_CAST(core_semaphore_release),
     METH_FASTCALL | METH_KEYWORDS, v_doc},
    {"Z", _PyCFunction_CAST(core_semaphore_zero),
     METH_FASTCALL | METH_KEYWORDS, z_doc},
    {"__enter__", core_semaphore_enter, METH_NOARGS, enter_doc},
    {"__exit__", _PyCFunction_CAST(core_semaphore_exit), METH_FASTCALL,
     exit_doc},
    {"info", core_handle_info, METH_NOARGS, info_doc},
    {"remove", core_handle_remove, METH_NOARGS, remove_doc},
    {"from_id", _PyCFunction_CAST(semaphore_from_id),
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, from_id_doc},
    {"__reduce__", semaphore_reduce, METH_NOARGS, reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_getset[] = {
    CORE_HANDLE_GETSET CORE_HANDLE_CANCELLED CORE_SEMAPHORE_FIELDS(
        CORE_FIELD_GETSET){
        "value", semaphore_get_value, semaphore_set_value,
        PyDoc_STR("The value, 0 to SEMAPHORE_VALUE_MAX (GETVAL, SETVAL).\n"
                  "Setting it discards the undo records of all processes."),
        NULL},
    {"block", semaphore_get_flag, semaphore_set_flag,
     PyDoc_STR("If False, acquire() and Z() never wait (IPC_NOWAIT)."),
     (void *)&block_offset},
    {"undo", semaphore_get_flag, semaphore_set_flag,
     PyDoc_STR("If True, operations are undone when the process ends.\n"
               "The kernel does that (SEM_UNDO).  On Linux the record\n"
               "belongs to the process, not to the thread."),
     (void *)&undo_offset},
    {"last_pid", semaphore_get_last_pid, NULL,
     PyDoc_STR("The pid of the process that last changed the value (GETPID)."),
     NULL},
    {"waiting_for_nonzero", semaphore_get_waiting_for_nonzero, NULL,
     PyDoc_STR("The number of threads that wait for a larger value.\n"
               "They may be in any process (GETNCNT)."),
     NULL},
    {"waiting_for_zero", semaphore_get_waiting_for_zero, NULL,
     PyDoc_STR("The number of threads that wait for zero.\n"
               "They may be in any process (GETZCNT)."),
     NULL},
    {"o_time", core_handle_get_field, NULL,
     PyDoc_STR("The same as last_operation_time."),
     (void *)&core_field_last_operation_time},
    {"index", semaphore_get_index, NULL,
     PyDoc_STR("The index of this member in the set."), NULL},
    {"set", semaphore_get_set, NULL,
     PyDoc_STR("The SemaphoreSet that contains this member."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef semaphore_members[] = {
    CORE_HANDLE_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_new, semaphore_new},
    {Py_tp_init, semaphore_init},
    {Py_tp_dealloc, core_handle_free},
    {Py_tp_traverse, core_handle_traverse},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_richcompare, core_handle_compare},
    {Py_tp_hash, core_handle_hash},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {Py_tp_members, semaphore_members},
    {0, NULL},
};

PyType_Spec core_semaphore_spec = {
    .name = "sysv_ipc.Semaphore",
    .basicsize = sizeof(SemaphoreObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = semaphore_slots,
};
