/* The module state, the list of kinds, and differences between compilers and
 * versions of CPython. */
#ifndef SYSV_IPC_CORE_STATE_H
#define SYSV_IPC_CORE_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Critical sections came with CPython 3.13; before it the GIL is one. */
#ifdef Py_BEGIN_CRITICAL_SECTION
#define CORE_BEGIN_CRITICAL_SECTION(op) Py_BEGIN_CRITICAL_SECTION(op)
#define CORE_END_CRITICAL_SECTION() Py_END_CRITICAL_SECTION()
#else
#define CORE_BEGIN_CRITICAL_SECTION(op) {
#define CORE_END_CRITICAL_SECTION() }
#endif

/* 64 bits that one thread may read while another writes them.  Some machines
 * (ARMv6, 32-bit MIPS) have no instructions for that, and compilers call
 * libatomic, which may not be installed.  There, only threads that hold the
 * GIL access the value. */
#if ATOMIC_LLONG_LOCK_FREE == 2
typedef _Atomic int64_t core_shared_int64;
#define CORE_LOAD_INT64(from) \
    atomic_load_explicit((from), memory_order_relaxed)
#define CORE_STORE_INT64(to, value) \
    atomic_store_explicit((to), (value), memory_order_relaxed)
#elif defined(Py_GIL_DISABLED)
#error "without a GIL, sysv_ipc needs lock-free 64-bit atomics"
#else
typedef int64_t core_shared_int64;
#define CORE_LOAD_INT64(from) (*(from))
#define CORE_STORE_INT64(to, value) ((void)(*(to) = (value)))
#endif

/* The subclasses of Error: name, base, another base or NULL, docstring.  A
 * base is listed before its subclasses. */
#define CORE_EXCEPTIONS(X) \
    X(PermissionsError, Error, PyExc_PermissionError, \
      "The caller may not create, open, use, change or remove the object.\n" \
      "\n" \
      "errno is EACCES or EPERM.  A note compares owner and mode of the\n" \
      "object with the ids of the caller.") \
    X(ExistentialError, Error, NULL, \
      "The object exists, does not exist, or was removed.\n" \
      "\n" \
      "errno is EEXIST, ENOENT or EIDRM, or EINVAL for an id.") \
    X(BusyError, Error, PyExc_TimeoutError, \
      "The call would block but may not, or its time is up.\n" \
      "\n" \
      "errno is EAGAIN, or ENOMSG if a queue has no such message.") \
    X(ArgumentError, Error, PyExc_ValueError, \
      "The kernel or this library rejects the value of an argument.\n" \
      "\n" \
      "errno is EINVAL, E2BIG, ERANGE or EFBIG.") \
    X(KeyTypeError, ArgumentError, PyExc_TypeError, \
      "A key is not an int.\n" \
      "\n" \
      "errno is EINVAL.") \
    X(LimitError, Error, NULL, \
      "A limit of the system was reached.\n" \
      "\n" \
      "errno is ENOSPC.  A note names the limit; see limits().") \
    X(OutOfMemoryError, Error, PyExc_MemoryError, \
      "There is not enough memory.\n" \
      "\n" \
      "errno is ENOMEM.") \
    X(NotAttachedError, Error, NULL, \
      "The segment is not attached by this handle.") \
    X(ReadOnlyError, Error, NULL, \
      "A write through a read-only attachment.") \
    X(CancelledError, Error, NULL, \
      "cancel() ended the wait (ECANCELED).")                                 \
    X(InternalError, Error, NULL, "A bug in this library.")

/* Return-address predictions are lost across a system call: each return
 * afterwards costs tens of nanoseconds.  So the hottest methods are one
 * function with everything they call (CORE_WHOLE), except functions that are
 * seldom called (CORE_SELDOM). */
#define CORE_WHOLE __attribute__((flatten))
#define CORE_SELDOM __attribute__((noinline))

/* The kinds of objects: X(kind, class, name in messages).  State, free lists,
 * types and tables of kinds are made from this list.  The folder of a kind,
 * which two kinds may share, defines core_<kind>_kind, core_<kind>_spec and
 * core_<kind>_call. */
#define CORE_KINDS(X)                                                \
    X(semaphore, Semaphore, "semaphore", "semaphore")                \
    X(semaphore_set, SemaphoreSet, "semaphore", "semaphore set")     \
    X(shared_memory, SharedMemory, "shared memory", "shared memory") \
    X(message_queue, MessageQueue, "message queue", "message queue")

enum core_kind_index {
#define X(kind, ...) CORE_KIND_##kind,
    CORE_KINDS(X)
#undef X
        CORE_KIND_COUNT
};

struct core_kind;

/* The module state of one kind. */
struct core_kind_state {
    const struct core_kind *kind;
    PyObject *type, *name,
        *noun;           /* the attribute kind of errors, their text */
    PyObject *free_list; /* memory of a dead handle, for the next one */
};

/* The objects in the module state.  The struct, core_traverse() and
 * core_clear() are made from this list. */
#define CORE_STATE_OBJECTS(X) \
    X(Error)                  \
    CORE_EXCEPTIONS(X)        \
    X(operations_type)        \
    X(pin_type)               \
    X(atomic_type)            \
    X(message_iterator_type)  \
    X(busy_again)             \
    X(busy_no_message)        \
    X(ArgumentWarning)        \
    X(target_name)            \
    X(detail_name)            \
    CORE_RECORDS(X)

/* The names of arguments. */
#define CORE_ARGUMENTS(X) \
    X(block)              \
    X(buffer)             \
    X(byte_count)         \
    X(count)              \
    X(delta)              \
    X(desired)            \
    X(except_type)        \
    X(expected)           \
    X(flags)              \
    X(index)              \
    X(init_character)     \
    X(initial_value)      \
    X(initial_values)     \
    X(interval)           \
    X(key)                \
    X(later)              \
    X(limit)              \
    X(max_message_size)   \
    X(members)            \
    X(message)            \
    X(messages)           \
    X(mode)               \
    X(nsems)              \
    X(offset)             \
    X(operations)         \
    X(pids)               \
    X(s)                  \
    X(size)               \
    X(timeout)            \
    X(truncate)           \
    X(type)

enum core_argument {
#define X(name) CORE_ARG_##name,
    CORE_ARGUMENTS(X)
#undef X
        CORE_ARGUMENT_COUNT
};

/* The types of records (info.c). */
#define CORE_RECORDS(X)     \
    X(SemaphoreInfo)        \
    X(SemaphoreMemberInfo)  \
    X(SharedMemoryInfo)     \
    X(MessageQueueInfo)     \
    X(Limits)

enum core_record {
#define X(name) CORE_RECORD_##name,
    CORE_RECORDS(X)
#undef X
        CORE_RECORD_COUNT
};

struct core_kept;

typedef struct {
#define X(name, ...) PyObject *name;
    CORE_STATE_OBJECTS(X)
#undef X
    _Atomic(struct core_kept *) kept_reserve; /* message_queue/kept.c */
    PyObject *arguments[CORE_ARGUMENT_COUNT]; /* their names, interned */
    struct core_kind_state kinds[CORE_KIND_COUNT];
    /* Until then, creators give up waiting for their lock early
     * (semaphore/create.c). */
    core_shared_int64 lock_short_until_ns;
} CoreState;

extern PyModuleDef core_module;

static inline CoreState *
core_state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

/* Return the module of a type or of one of its bases, a borrowed reference. */
static inline PyObject *
core_module_of_type(PyTypeObject *type)
{
    return PyType_GetModuleByDef(type, &core_module);
}

static inline CoreState *
core_state_of_type(PyTypeObject *type)
{
    PyObject *module = core_module_of_type(type);
    return module == NULL ? NULL : core_state_of_module(module);
}

#endif
