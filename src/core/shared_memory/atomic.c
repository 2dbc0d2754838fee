/* sysv_ipc.Atomic: a number in a segment that several processes change
 * atomically.  It uses C11's atomics, and futex(2) for the 32-bit types.
 *
 * All fields are set before other code sees the object and never change.  The
 * object holds an export until it is freed, so its address stays valid.  No
 * call takes a lock: only the number itself is shared, and its operations are
 * ordered by the processor (memory_order_seq_cst). */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>
#include <math.h>

/* A wait reads the number every POLL_NS by default, and only after a wake if
 * the interval is POLL_MAX_S seconds or more. */
#define POLL_NS 100000000
#define POLL_MAX_S 1e9

_Static_assert(ATOMIC_INT_LOCK_FREE == 2,
               "only a lock-free number can be shared with other processes");

/* Some 32-bit machines have no lock-free 64-bit numbers (ARMv6, MIPS).  There
 * atomic() refuses the 64-bit types, and the code for them is compiled with
 * 32-bit numbers, which avoids libatomic, and never runs. */
#if ATOMIC_LLONG_LOCK_FREE == 2
#define HAS_WIDE true
typedef uint64_t wide_bits;
#else
#define HAS_WIDE false
typedef uint32_t wide_bits;
#endif

struct number_type {
    const char *name;
    bool is_wide, is_signed;
    long long minimum;
    uint64_t maximum;
};

static const struct number_type number_types[] = {
    {"i32", false, true, INT32_MIN, INT32_MAX},
    {"u32", false, false, 0, UINT32_MAX},
    {"i64", true, true, INT64_MIN, INT64_MAX},
    {"u64", true, false, 0, UINT64_MAX},
};

typedef struct {
    PyObject_HEAD
    CoreState *state;
    PyObject *memory;
    PyObject *weak_references;
    const struct number_type *type;
    void *address;
    Py_ssize_t offset;
    bool readonly;
    struct os_wait_owner waits;
} AtomicObject;

static inline AtomicObject *
atomic(PyObject *op)
{
    return (AtomicObject *)op;
}

/* ---------------------------------------------------------------- numbers */

/* Convert a value that is not an exact int, or does not fit. */
static int
atomic_convert_slow(AtomicObject *self, PyObject *value, uint64_t *out)
{
    const struct number_type *type = self->type;
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError,
                         "an atomic %s takes an integer, not %.100s",
                         type->name, Py_TYPE(value)->tp_name);
        }
        return -1;
    }
    int overflow, rc = 0;
    long long small = PyLong_AsLongLongAndOverflow(number, &overflow);
    *out = (uint64_t)small;
    bool fits = overflow == 0 && small >= type->minimum &&
                (small < 0 || (uint64_t)small <= type->maximum);
    if (overflow > 0 && type->maximum == UINT64_MAX) {
        *out = PyLong_AsUnsignedLongLong(number);
        fits = !PyErr_Occurred();
        PyErr_Clear();
    }
    if (!fits) {
        (void)core_refuse(
            self->state, EINVAL, core_handle_target(self->memory),
            "an atomic %s can hold from %lld to %llu, not %S", type->name,
            type->minimum, (unsigned long long)type->maximum, number);
        rc = -1;
    }
    Py_DECREF(number);
    return rc;
}

/* Convert a value to the bits of the number, sign-extended.  Return 0, or -1
 * with an exception. */
static inline int
atomic_convert(AtomicObject *self, PyObject *value, uint64_t *out)
{
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0 && number >= self->type->minimum &&
            (number < 0 || (uint64_t)number <= self->type->maximum)) {
            *out = (uint64_t)number;
            return 0;
        }
    }
    return atomic_convert_slow(self, value, out);
}

static inline PyObject *
number_of_bits(const struct number_type *type, uint64_t bits)
{
    if (type->is_signed) {
        return PyLong_FromLongLong(type->is_wide ? (int64_t)bits
                                                 : (int32_t)(uint32_t)bits);
    }
    return PyLong_FromUnsignedLongLong(bits);
}

/* Convert the argument of an operation that writes to the number.  Raise
 * ReadOnlyError if the attachment is read-only. */
static inline int
atomic_convert_for_write(AtomicObject *self, PyObject *value, uint64_t *bits)
{
    if (self->readonly) {
        (void)core_shared_bytes_raise_readonly(self->memory);
        return -1;
    }
    return atomic_convert(self, value, bits);
}

/* ------------------------------------------------------------- operations */

static PyObject *
atomic_load_(PyObject *op, PyObject *Py_UNUSED(unused))
{
    AtomicObject *self = atomic(op);
    uint64_t bits = self->type->is_wide
                        ? atomic_load((_Atomic wide_bits *)self->address)
                        : atomic_load((_Atomic uint32_t *)self->address);
    return number_of_bits(self->type, bits);
}

static PyObject *
atomic_store_(PyObject *op, PyObject *value)
{
    AtomicObject *self = atomic(op);
    uint64_t bits;
    if (atomic_convert_for_write(self, value, &bits) < 0) {
        return NULL;
    }
    if (self->type->is_wide) {
        atomic_store((_Atomic wide_bits *)self->address, (wide_bits)bits);
    }
    else {
        atomic_store((_Atomic uint32_t *)self->address, (uint32_t)bits);
    }
    Py_RETURN_NONE;
}

/* The operations that return the previous number: method, function of C11. */
#define NUMBER_BEFORE(X)        \
    X(exchange, atomic_exchange) \
    X(add, atomic_fetch_add)    \
    X(sub, atomic_fetch_sub)    \
    X(and, atomic_fetch_and)    \
    X(or, atomic_fetch_or)

#define DEFINE_METHOD(name, function)                                      \
    static PyObject *atomic_##name##_(PyObject *op, PyObject *value)       \
    {                                                                      \
        AtomicObject *self = atomic(op);                                   \
        uint64_t bits;                                                     \
        if (atomic_convert_for_write(self, value, &bits) < 0) {            \
            return NULL;                                                   \
        }                                                                  \
        bits = self->type->is_wide                                         \
                   ? function((_Atomic wide_bits *)self->address,          \
                              (wide_bits)bits)                             \
                   : function((_Atomic uint32_t *)self->address,           \
                              (uint32_t)bits);                             \
        return number_of_bits(self->type, bits);                           \
    }
NUMBER_BEFORE(DEFINE_METHOD)

static PyObject *
atomic_compare_exchange_(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *keywords)
{
    static const struct core_signature signature = {
        "compare_exchange", 2, 2, 2, {CORE_ARG_expected, CORE_ARG_desired}};
    AtomicObject *self = atomic(op);
    PyObject *given[2];
    uint64_t expected, desired;
    if (core_bind(self->state, &signature, args, nargs, keywords, given) < 0 ||
        atomic_convert_for_write(self, given[0], &expected) < 0 ||
        atomic_convert(self, given[1], &desired) < 0) {
        return NULL;
    }
    uint32_t narrow = (uint32_t)expected;
    wide_bits wide = (wide_bits)expected;
    bool done = self->type->is_wide ? atomic_compare_exchange_strong(
                                          (_Atomic wide_bits *)self->address,
                                          &wide, (wide_bits)desired)
                                    : atomic_compare_exchange_strong(
                                          (_Atomic uint32_t *)self->address,
                                          &narrow, (uint32_t)desired);
    return PyBool_FromLong(done);
}

/* ---------------------------------------------------------------- waiting */

static int
atomic_check_futex(AtomicObject *self, const char *method)
{
    if (!self->type->is_wide) {
        return 0;
    }
    (void)core_refuse(self->state, EINVAL, core_handle_target(self->memory),
                      "%s() needs an atomic i32 or u32, not %s: futex(2) "
                      "supports only 32-bit numbers",
                      method, self->type->name);
    return -1;
}

/* Convert interval, the time between two reads of the number. */
static int
atomic_convert_interval(AtomicObject *self, PyObject *value, int64_t *out)
{
    if (value == NULL || value == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(seconds > 0)) {
        (void)core_refuse(self->state, EINVAL,
                          core_handle_target(self->memory),
                          "interval must be None or a number of seconds above "
                          "0, not %R",
                          value);
        return -1;
    }
    *out = seconds < POLL_MAX_S ? (int64_t)ceil(seconds * 1e9) : OS_FOREVER;
    return 0;
}

static PyObject *
atomic_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
            PyObject *keywords)
{
    static const struct core_signature signature = {
        "wait",
        3,
        2,
        1,
        {CORE_ARG_expected, CORE_ARG_timeout, CORE_ARG_interval}};
    AtomicObject *self = atomic(op);
    PyObject *given[3];
    uint64_t expected;
    struct core_deadline deadline = {.timeout_ns = OS_FOREVER};
    int64_t interval_ns = POLL_NS;
    if (core_bind(self->state, &signature, args, nargs, keywords, given) < 0 ||
        atomic_check_futex(self, "wait") < 0 ||
        atomic_convert(self, given[0], &expected) < 0 ||
        core_timeout_as_ns(self->state, given[1], &deadline.timeout_ns) < 0 ||
        atomic_convert_interval(self, given[2], &interval_ns) < 0) {
        return NULL;
    }
    struct os_call call = {
        .attempt = os_futex_wait_attempt,
        .keeps_deadline = OS_FUTEX_KEEPS_DEADLINE,
        .address = self->address,
        .expected = (uint32_t)expected,
        .interval_ns = interval_ns,
    };
    ssize_t rc = call.attempt(&call, 0);
    if (rc == -EAGAIN && deadline.timeout_ns != 0) {
        rc = core_wait(&self->waits, &call, &deadline);
    }
    if (rc < 0) {
        return core_raise_wait(self->state, rc, CORE_OPERATION_WAIT,
                               core_handle_target(self->memory),
                               deadline.timeout_ns);
    }
    Py_RETURN_TRUE;
}

static PyObject *
atomic_wake(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
            PyObject *keywords)
{
    static const struct core_signature signature = {
        "wake", 1, 1, 0, {CORE_ARG_count}};
    AtomicObject *self = atomic(op);
    PyObject *given[1];
    long long count = 1;
    if (core_bind(self->state, &signature, args, nargs, keywords, given) < 0 ||
        atomic_check_futex(self, "wake") < 0 ||
        core_integer(self->state, given[0], "count", 1, INT_MAX, &count) < 0) {
        return NULL;
    }
    if (self->readonly) {
        return core_shared_bytes_raise_readonly(self->memory);
    }
    int rc = os_futex_wake(self->address, (int)count);
    if (rc < 0) {
        return core_raise(self->state, rc, CORE_OPERATION_WAKE,
                          core_handle_target(self->memory));
    }
    return PyLong_FromLong(rc);
}

static PyObject *
atomic_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *keywords)
{
    return core_cancel(atomic(op)->state, &atomic(op)->waits, args, nargs,
                       keywords);
}

static PyObject *
atomic_get_cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(atomic_load(&atomic(op)->waits.cancelled));
}

static int
atomic_set_cancelled(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return core_set_cancelled(&atomic(op)->waits, value);
}

/* ------------------------------------------------------ making and freeing */

static const struct number_type *
atomic_convert_type(CoreState *state, PyObject *value)
{
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "type must be a str, not %.100s",
                     Py_TYPE(value)->tp_name);
        return NULL;
    }
    for (size_t i = 0; i < sizeof(number_types) / sizeof(number_types[0]);
         i++) {
        if (PyUnicode_CompareWithASCIIString(value, number_types[i].name) ==
            0) {
            return &number_types[i];
        }
    }
    (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                      "type must be 'i32', 'u32', 'i64' or 'u64', not %R",
                      value);
    return NULL;
}

/* Check that the number is aligned and inside the segment: 0, or -1. */
static int
atomic_check_range(PyObject *memory, const struct core_attachment *attachment,
                   const struct number_type *type, Py_ssize_t offset)
{
    Py_ssize_t size = type->is_wide ? 8 : 4;
    if (offset % size != 0) {
        (void)core_refuse(core_handle(memory)->state, EINVAL,
                          core_handle_target(memory),
                          "an atomic %s must be at a multiple of %zd, not at "
                          "offset %zd",
                          type->name, size, offset);
        return -1;
    }
    if (attachment->size < (size_t)size ||
        (size_t)offset > attachment->size - (size_t)size) {
        (void)core_shared_bytes_refuse_range(memory, "an atomic of", offset,
                                             size, attachment->size);
        return -1;
    }
    return 0;
}

static PyObject *
atomic_make(PyObject *memory, const struct number_type *type,
            Py_ssize_t offset)
{
    CoreState *state = core_handle(memory)->state;
    PyTypeObject *cls = (PyTypeObject *)state->atomic_type;
    struct core_attachment attachment;
    if (cls == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "sysv_ipc has been unloaded");
        return NULL;
    }
    if (core_shared_bytes_acquire(memory, false, &attachment) < 0) {
        return NULL;
    }
    AtomicObject *self = NULL;
    if (atomic_check_range(memory, &attachment, type, offset) == 0) {
        self = (AtomicObject *)cls->tp_alloc(cls, 0);
    }
    if (self == NULL) {
        core_shared_bytes_release(memory);
        return NULL;
    }
    self->state = state;
    self->memory = Py_NewRef(memory);
    self->type = type;
    self->address = (char *)attachment.address + offset;
    self->offset = offset;
    self->readonly = attachment.readonly;
    return (PyObject *)self;
}

PyObject *
core_shared_memory_atomic(PyObject *memory, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "atomic", 2, 2, 2, {CORE_ARG_offset, CORE_ARG_type}};
    CoreState *state = core_handle(memory)->state;
    PyObject *given[2];
    long long offset = 0;
    if (core_bind(state, &signature, args, nargs, keywords, given) < 0 ||
        core_integer(state, given[0], "offset", 0, PY_SSIZE_T_MAX, &offset) <
            0) {
        return NULL;
    }
    const struct number_type *type = atomic_convert_type(state, given[1]);
    if (type != NULL && type->is_wide && !HAS_WIDE) {
        return core_refuse(state, ENOSYS, core_handle_target(memory),
                           "this machine has no atomic instructions for 64 "
                           "bits, which %s needs: use i32 or u32",
                           type->name);
    }
    return type == NULL ? NULL : atomic_make(memory, type, (Py_ssize_t)offset);
}

/* There is no tp_clear, so that the fields never change.  A reference cycle
 * can lead back to an atomic only through the dict of a subclass of
 * SharedMemory, which is cleared. */
static int
atomic_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(atomic(op)->memory);
    return 0;
}

static void
atomic_dealloc(PyObject *op)
{
    AtomicObject *self = atomic(op);
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weak_references != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (self->memory != NULL) {
        core_shared_bytes_release(self->memory);
        Py_DECREF(self->memory);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
atomic_repr(PyObject *op)
{
    AtomicObject *self = atomic(op);
    return PyUnicode_FromFormat("<sysv_ipc.Atomic %s at offset %zd of %R>",
                                self->type->name, self->offset, self->memory);
}

static PyObject *
atomic_get_type(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(atomic(op)->type->name);
}

const char core_shared_memory_atomic_doc[] = PyDoc_STR(
    "atomic($self, /, offset, type)\n--\n\n"
    "Return an Atomic, a number that processes can change atomically.\n"
    "\n"
    "type is 'i32', 'u32', 'i64' or 'u64'.  offset is in bytes, a\n"
    "multiple of the size of the type.  While the atomic exists, detach()\n"
    "raises BufferError.  Raise ArgumentError (EINVAL) for another type or\n"
    "an offset that is unaligned or not in the segment; NotAttachedError;\n"
    "and Error (ENOSYS) for 'i64' and 'u64' without 64-bit atomics.");

PyDoc_STRVAR(
    atomic_doc,
    "A number in a segment, made by SharedMemory.atomic().\n"
    "\n"
    "Each operation is atomic for all processes and threads, in any\n"
    "language, and all of them see all operations in one order (C11's\n"
    "seq_cst).  None takes a lock; only wait() and wake() make system\n"
    "calls.  Raise ArgumentError (EINVAL) for a number that the type cannot\n"
    "hold, and ReadOnlyError if the attachment is read-only.\n"
    "\n"
    ">>> memory = SharedMemory(None, IPC_CREX, init_character=None)\n"
    ">>> counter = memory.atomic(0, 'u32')\n"
    ">>> counter.add(5), counter.load()\n"
    "(0, 5)\n"
    ">>> memory.remove()");
PyDoc_STRVAR(load_doc, "load($self, /)\n--\n\nReturn the number.");
PyDoc_STRVAR(store_doc, "store($self, value, /)\n--\n\nSet the number.");
PyDoc_STRVAR(exchange_doc, "exchange($self, value, /)\n--\n\n"
                           "Set the number.  Return the previous one.");
PyDoc_STRVAR(add_doc,
             "add($self, value, /)\n--\n\n"
             "Add to the number; it wraps around.  Return the previous one.");
PyDoc_STRVAR(sub_doc,
             "sub($self, value, /)\n--\n\n"
             "Subtract; the number wraps around.  Return the previous one.");
PyDoc_STRVAR(and_doc,
             "and_($self, value, /)\n--\n\n"
             "Keep the bits that value has too.  Return the previous number.");
PyDoc_STRVAR(or_doc,
             "or_($self, value, /)\n--\n\n"
             "Set the bits that value has.  Return the previous number.");
PyDoc_STRVAR(
    compare_exchange_doc,
    "compare_exchange($self, /, expected, desired)\n--\n\n"
    "Set the number to desired if it is expected.  Return True if it was.");
PyDoc_STRVAR(
    wait_doc,
    "wait($self, /, expected, timeout=None, *, interval=None)\n--\n\n"
    "Wait while the number is expected.  Return True after it changed.\n"
    "\n"
    "A program that changes the number calls wake(), or FUTEX_WAKE in C.  A\n"
    "change without a wake is noticed when the wait next reads the number:\n"
    "every interval seconds, or by default about ten times a second.  A wake\n"
    "while the number is still expected, or is expected again, does not end\n"
    "the wait.  timeout is in seconds; None means no limit.  Raise BusyError\n"
    "(EAGAIN) if the time is up, CancelledError (ECANCELED) after cancel(),\n"
    "and ArgumentError (EINVAL) for a 64-bit type or an interval that is not\n"
    "above 0.  See futex(2), FUTEX_WAIT.");
PyDoc_STRVAR(
    wake_doc,
    "wake($self, /, count=1)\n--\n\n"
    "Wake up to count threads, in any process, that wait for a change.\n"
    "\n"
    "Return their number.  Raise ArgumentError (EINVAL) for a 64-bit type or\n"
    "a count below 1, and ReadOnlyError.  See futex(2), FUTEX_WAKE.");
static PyMethodDef atomic_methods[] = {
    {"load", atomic_load_, METH_NOARGS, load_doc},
    {"store", atomic_store_, METH_O, store_doc},
    {"exchange", atomic_exchange_, METH_O, exchange_doc},
    {"add", atomic_add_, METH_O, add_doc},
    {"sub", atomic_sub_, METH_O, sub_doc},
    {"and_", atomic_and_, METH_O, and_doc},
    {"or_", atomic_or_, METH_O, or_doc},
    {"compare_exchange", _PyCFunction_CAST(atomic_compare_exchange_),
     METH_FASTCALL | METH_KEYWORDS, compare_exchange_doc},
    {"wait", _PyCFunction_CAST(atomic_wait), METH_FASTCALL | METH_KEYWORDS,
     wait_doc},
    {"wake", _PyCFunction_CAST(atomic_wake), METH_FASTCALL | METH_KEYWORDS,
     wake_doc},
    CORE_CANCEL_METHOD(atomic_cancel, core_handle_cancel_doc),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef atomic_members[] = {
    {"memory", T_OBJECT, offsetof(AtomicObject, memory), READONLY,
     PyDoc_STR("The SharedMemory that contains the number.")},
    {"offset", T_PYSSIZET, offsetof(AtomicObject, offset), READONLY,
     PyDoc_STR("The offset of the number in the segment, in bytes.")},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(AtomicObject, weak_references),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef atomic_getset[] = {
    {"type", atomic_get_type, NULL,
     PyDoc_STR("The type: 'i32', 'u32', 'i64' or 'u64'."), NULL},
    {"cancelled", atomic_get_cancelled, atomic_set_cancelled,
     core_cancelled_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot atomic_slots[] = {
    {Py_tp_doc, (void *)atomic_doc},   {Py_tp_dealloc, atomic_dealloc},
    {Py_tp_traverse, atomic_traverse}, {Py_tp_repr, atomic_repr},
    {Py_tp_methods, atomic_methods},   {Py_tp_members, atomic_members},
    {Py_tp_getset, atomic_getset},     {0, NULL},
};

PyType_Spec core_atomic_spec = {
    .name = "sysv_ipc.Atomic",
    .basicsize = sizeof(AtomicObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = atomic_slots,
};
