/* Operations on several members of a set at once, semop(2), and
 * sysv_ipc.SemaphoreOperations, their compiled form.  The fields of a compiled
 * object are set when it is made and never change. */
#include "core/semaphore/set.h"

#include <errno.h>

/* The set that a call operates on.  It is read from the handle when the call
 * begins, because converting arguments may run code that initializes the
 * handle again. */
struct operand {
    PyObject *op;
    int id;
    Py_ssize_t nsems;
};

static struct operand
operand_of(PyObject *op)
{
    return (struct operand){op, core_handle_id(op), semaphore_set(op)->nsems};
}

/* Longer lists of operations are converted in allocated memory. */
#define STACK_OPERATIONS 64

/* No kernel accepts more operations (SEMOPM is 500 by default). */
#define MOST_OPERATIONS 65536

/* A list of operations.  items points to stack, or to allocated memory if the
 * list is too long for it. */
struct operations {
    struct sembuf *items;
    size_t count;
    struct sembuf stack[STACK_OPERATIONS];
};

static int
operations_get(CoreState *state, struct operations *operations, size_t count)
{
    operations->items = operations->stack;
    operations->count = count;
    if (count == 0 || count > MOST_OPERATIONS) {
        (void)core_refuse(state, count == 0 ? EINVAL : E2BIG, CORE_NO_TARGET,
                          "%zu operations: semop(2) accepts from 1 to SEMOPM, "
                          "the third number in kernel.sem",
                          count);
        return -1;
    }
    if (count > STACK_OPERATIONS) {
        operations->items = PyMem_Calloc(count, sizeof(struct sembuf));
        if (operations->items == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

static void
operations_release(struct operations *operations)
{
    if (operations->items != operations->stack) {
        PyMem_Free(operations->items);
    }
}

/* Convert the index of a member.  A negative index counts from the end. */
static int
operations_convert_index(const struct operand *set, PyObject *value,
                         unsigned short *out)
{
    CoreState *state = core_handle(set->op)->state;
    Py_ssize_t nsems = set->nsems;
    PyObject *number = PyLong_CheckExact(value)
                           ? Py_NewRef(value)
                           : core_index_named(value, "index");
    if (number == NULL) {
        return -1;
    }
    int overflow, rc = -1;
    long long index = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (set->id < 0) {
        (void)core_handle_raise_by_id(set->op, set->id, 0,
                                      CORE_OPERATION_OPERATE);
    }
    else if (overflow != 0 || index < -nsems || index >= nsems) {
        (void)core_refuse(
            state, EFBIG, core_handle_target_by_id(set->op, set->id),
            "index %S is outside a set of %zd members", number, nsems);
    }
    else if (index < 0 ? index + nsems > USHRT_MAX : index > USHRT_MAX) {
        (void)core_refuse(state, EFBIG,
                          core_handle_target_by_id(set->op, set->id),
                          "index %S is too large: semop(2) can only operate "
                          "on members 0 to %d",
                          number, USHRT_MAX);
    }
    else {
        *out = (unsigned short)(index < 0 ? index + nsems : index);
        rc = 0;
    }
    Py_DECREF(number);
    return rc;
}

/* Convert an operation, which is (index, delta) or (index, delta, flags). */
static int
operations_convert_one(const struct operand *set, PyObject *value,
                       struct sembuf *out)
{
    CoreState *state = core_handle(set->op)->state;
    PyObject *items = core_tuple(
        state, value,
        "an operation must be (index, delta) or (index, delta, flags)");
    if (items == NULL) {
        return -1;
    }
    Py_ssize_t size = PyTuple_GET_SIZE(items);
    long long delta = 0, flags = 0;
    int rc = -1;
    if (size != 2 && size != 3) {
        PyErr_Format(PyExc_TypeError,
                     "an operation must be (index, delta) or (index, delta, "
                     "flags), not %zd items",
                     size);
    }
    else if (operations_convert_index(set, PyTuple_GET_ITEM(items, 0),
                                      &out->sem_num) == 0 &&
             core_integer(state, PyTuple_GET_ITEM(items, 1), "delta",
                          -OS_SEM_VALUE_MAX, OS_SEM_VALUE_MAX, &delta) == 0 &&
             core_integer(state, size == 3 ? PyTuple_GET_ITEM(items, 2) : NULL,
                          "flags", 0, INT_MAX, &flags) == 0) {
        rc = 0;
    }
    Py_DECREF(items);
    if (rc == 0 && (flags & ~(IPC_NOWAIT | SEM_UNDO))) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "the flags of an operation can be IPC_NOWAIT and "
                          "SEM_UNDO, not %lld",
                          flags);
        rc = -1;
    }
    out->sem_op = (short)delta;
    out->sem_flg = (short)flags;
    return rc;
}

/* Convert a list of operations.  On success the caller releases it. */
static int
operations_convert(const struct operand *set, PyObject *value,
                   struct operations *operations)
{
    CoreState *state = core_handle(set->op)->state;
    /* Use a tuple, because converting an item may run code that changes a
     * list. */
    PyObject *items = core_tuple(
        state, value, "operations must be a sequence of operations");
    if (items == NULL) {
        return -1;
    }
    size_t count = (size_t)PyTuple_GET_SIZE(items);
    int rc = operations_get(state, operations, count);
    if (rc == 0) {
        for (size_t i = 0; rc == 0 && i < count; i++) {
            rc = operations_convert_one(set, PyTuple_GET_ITEM(items, i),
                                        &operations->items[i]);
        }
        if (rc < 0) {
            operations_release(operations);
        }
    }
    Py_DECREF(items);
    return rc;
}

/* Raise rc as an exception.  The text for E2BIG and EFBIG names the limit. */
static PyObject *
operations_raise(const struct operand *set, ssize_t rc,
                 const struct sembuf *items, size_t count)
{
    CoreState *state = core_handle(set->op)->state;
    struct core_target target = core_handle_target_by_id(set->op, set->id);
    if (rc == -E2BIG) {
        struct os_limits limits = {0};
        (void)os_limits_get(&limits);
        return core_refuse(state, E2BIG, target,
                           "%zu operations in one call: the limit is SEMOPM, "
                           "the third number in kernel.sem, now %llu",
                           count, (unsigned long long)limits.semopm);
    }
    if (rc == -EFBIG) {
        return core_refuse(state, EFBIG, target,
                           "an index is past the end of a set of %zd members",
                           set->nsems);
    }
    bool undo = false;
    for (size_t i = 0; i < count; i++) {
        undo = undo || (items[i].sem_flg & SEM_UNDO) != 0;
    }
    return core_semaphore_raise(set->op, set->id, rc, CORE_OPERATION_OPERATE,
                                undo);
}

static PyObject *
operations_run(const struct operand *set, struct sembuf *items, size_t count,
               int64_t timeout_ns)
{
    ssize_t rc =
        core_semaphore_operate(set->op, set->id, items, count, timeout_ns);
    if (rc < 0) {
        (void)operations_raise(set, rc, items, count);
        core_error_set_timeout(core_handle(set->op)->state, rc,
                               (struct core_timeout){timeout_ns,
                                                     CORE_OPERATION_OPERATE, 0,
                                                     false});
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyObject *
core_semaphore_set_op(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *keywords)
{
    static const struct core_signature signature = {
        "op", 2, 2, 1, {CORE_ARG_operations, CORE_ARG_timeout}};
    struct operand set = operand_of(op);
    PyObject *given[2];
    int64_t timeout_ns = OS_FOREVER;
    struct operations operations;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_timeout_as_ns(core_handle(op)->state, given[1], &timeout_ns) <
            0 ||
        operations_convert(&set, given[0], &operations) < 0) {
        return NULL;
    }
    PyObject *result =
        operations_run(&set, operations.items, operations.count, timeout_ns);
    operations_release(&operations);
    return result;
}

/* Apply the same delta to each of these members. */
static PyObject *
operations_run_same(const struct operand *set, PyObject *const *indexes,
                    Py_ssize_t count, short delta, int64_t timeout_ns)
{
    CoreState *state = core_handle(set->op)->state;
    struct operations operations;
    if (operations_get(state, &operations, (size_t)count) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < count; i++) {
        operations.items[i] = (struct sembuf){.sem_op = delta};
        rc = operations_convert_index(set, indexes[i],
                                      &operations.items[i].sem_num);
    }
    if (rc == 0) {
        result = operations_run(set, operations.items, operations.count,
                                timeout_ns);
    }
    operations_release(&operations);
    return result;
}

/* The positional arguments are indexes.  timeout is the only keyword. */
static PyObject *
operations_run_timed(PyObject *op, const struct core_signature *signature,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *keywords, short delta)
{
    struct operand set = operand_of(op);
    PyObject *timeout[1];
    int64_t timeout_ns = OS_FOREVER;
    if (core_bind(core_handle(op)->state, signature, args + nargs, 0, keywords,
                  timeout) < 0 ||
        core_timeout_as_ns(core_handle(op)->state, timeout[0], &timeout_ns) <
            0) {
        return NULL;
    }
    return operations_run_same(&set, args, nargs, delta, timeout_ns);
}

PyObject *
core_semaphore_set_acquire(PyObject *op, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "acquire", 1, 0, 0, {CORE_ARG_timeout}};
    return operations_run_timed(op, &signature, args, nargs, keywords, -1);
}

PyObject *
core_semaphore_set_zero(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *keywords)
{
    static const struct core_signature signature = {
        "zero", 1, 0, 0, {CORE_ARG_timeout}};
    return operations_run_timed(op, &signature, args, nargs, keywords, 0);
}

PyObject *
core_semaphore_set_release(PyObject *op, PyObject *const *args,
                           Py_ssize_t nargs)
{
    struct operand set = operand_of(op);
    PyObject *result = operations_run_same(&set, args, nargs, 1, OS_FOREVER);
    Py_XDECREF(result);
    return result == NULL ? NULL : Py_NewRef(Py_None);
}

/* ---------------------------------------------------------- compiled lists */

typedef struct {
    PyObject_VAR_HEAD vectorcallfunc vectorcall;
    struct operand set; /* op is owned */
    struct sembuf items[];
} OperationsObject;

static PyObject *
operations_call(PyObject *op, PyObject *const *args, size_t nargsf,
                PyObject *keywords)
{
    static const struct core_signature signature = {
        "SemaphoreOperations", 1, 1, 0, {CORE_ARG_timeout}};
    OperationsObject *self = (OperationsObject *)op;
    CoreState *state = core_handle(self->set.op)->state;
    PyObject *given[1];
    int64_t timeout_ns = OS_FOREVER;
    if (core_bind(state, &signature, args, PyVectorcall_NARGS(nargsf),
                  keywords, given) < 0 ||
        core_timeout_as_ns(state, given[0], &timeout_ns) < 0) {
        return NULL;
    }
    return operations_run(&self->set, self->items, (size_t)Py_SIZE(self),
                          timeout_ns);
}

PyObject *
core_semaphore_set_compile(PyObject *op, PyObject *value)
{
    PyTypeObject *type =
        (PyTypeObject *)core_handle(op)->state->operations_type;
    struct operand set = operand_of(op);
    struct operations operations;
    if (operations_convert(&set, value, &operations) < 0) {
        return NULL;
    }
    OperationsObject *self =
        (OperationsObject *)type->tp_alloc(type, (Py_ssize_t)operations.count);
    if (self != NULL) {
        self->vectorcall = operations_call;
        self->set = set;
        Py_INCREF(op);
        memcpy(self->items, operations.items,
               operations.count * sizeof(struct sembuf));
    }
    operations_release(&operations);
    return (PyObject *)self;
}

static int
operations_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((OperationsObject *)op)->set.op);
    return 0;
}

static void
operations_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_CLEAR(((OperationsObject *)op)->set.op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
operations_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<sysv_ipc.SemaphoreOperations: %zd on %R>",
                                Py_SIZE(op), ((OperationsObject *)op)->set.op);
}

/* Return ((index, delta, flags), ...), as passed to the kernel.  Make a list
 * first: making a tuple may run the garbage collector, and gc.callbacks may
 * run any code, which must not find an incomplete tuple. */
static PyObject *
operations_get_operations(PyObject *op, void *Py_UNUSED(closure))
{
    const struct sembuf *items = ((OperationsObject *)op)->items;
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; list != NULL && i < Py_SIZE(op); i++) {
        PyObject *one = Py_BuildValue("(Hhh)", items[i].sem_num,
                                      items[i].sem_op, items[i].sem_flg);
        if (one == NULL || PyList_Append(list, one) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(one);
    }
    PyObject *result = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return result;
}

static PyGetSetDef operations_getset[] = {
    {"operations", operations_get_operations, NULL,
     PyDoc_STR("The operations: a tuple of (index, delta, flags)."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    operations_doc,
    "Operations on a semaphore set, made by SemaphoreSet.compile().\n"
    "\n"
    "Calling the object, f(timeout=None), does the operations in one\n"
    "system call, like SemaphoreSet.op().  They are done on the set that\n"
    "the handle referred to when they were compiled.\n"
    "\n"
    ">>> pools = SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 5])\n"
    ">>> take = pools.compile([(0, -1), (1, -3)])\n"
    ">>> take(timeout=1)\n"
    "True\n"
    ">>> pools.remove()\n"
    "\n"
    "See semop(2).");

static PyMemberDef operations_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET,
     offsetof(OperationsObject, vectorcall), READONLY, NULL},
    {"set", T_OBJECT, offsetof(OperationsObject, set.op), READONLY,
     PyDoc_STR("The SemaphoreSet that the operations are done on.")},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot operations_slots[] = {
    {Py_tp_doc, (void *)operations_doc},   {Py_tp_dealloc, operations_dealloc},
    {Py_tp_traverse, operations_traverse}, {Py_tp_call, PyVectorcall_Call},
    {Py_tp_repr, operations_repr},         {Py_tp_members, operations_members},
    {Py_tp_getset, operations_getset},     {0, NULL},
};

PyType_Spec core_operations_spec = {
    .name = "sysv_ipc.SemaphoreOperations",
    .basicsize = offsetof(OperationsObject, items),
    .itemsize = sizeof(struct sembuf),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = operations_slots,
};
