/* Call a type, and open or create an object by key. */
#ifndef SYSV_IPC_CORE_OPEN_H
#define SYSV_IPC_CORE_OPEN_H

#include "core/handle.h"
#include "core/key.h"

#include <errno.h>

/* ------------------------------------------------------- calling a type */

/* How calling a type makes an object: make() returns an empty one, open() gets
 * the arguments that were bound to the signature. */
struct core_constructor {
    struct core_signature signature;
    PyObject *(*make)(CoreState *state, PyTypeObject *type);
    int (*open)(PyObject *op, PyObject *const *given);
};
PyObject *core_construct_new(const struct core_constructor *constructor,
                             PyTypeObject *type);
int core_construct_init(const struct core_constructor *constructor,
                        PyObject *op, PyObject *args, PyObject *keywords);
/* Complete the exception after open() has failed. */
CORE_SELDOM void core_construct_failed(CoreHandle *self, PyObject *key);

/* Implement tp_vectorcall.  Subclasses do not inherit it, so type is the type
 * of the kind. */
static inline PyObject *
core_construct(const struct core_constructor *constructor, PyObject *type,
               PyObject *const *args, size_t nargsf, PyObject *keywords)
{
    PyObject *given[CORE_MOST_ARGUMENTS];
    CoreState *state = PyType_GetModuleState((PyTypeObject *)type);
    PyObject *op =
        state == NULL ? NULL : constructor->make(state, (PyTypeObject *)type);
    if (op == NULL) {
        return NULL;
    }
    if (core_bind(state, &constructor->signature, args,
                  PyVectorcall_NARGS(nargsf), keywords, given) == 0) {
        if (constructor->open(op, given) == 0) {
            return op;
        }
        core_construct_failed(core_handle(op), given[0]);
    }
    Py_DECREF(op);
    return NULL;
}

/* <kind>_new, <kind>_init and core_<kind>_call of a type with <kind>_make and
 * <kind>_open: tp_new, tp_init, and tp_vectorcall, which has no slot before
 * CPython 3.14. */
#define CORE_CONSTRUCTOR(kind, name, count, ...)                             \
    static const struct core_constructor kind##_constructor = {              \
        {name, count, count, 1, {__VA_ARGS__}},                              \
        kind##_make,                                                         \
        kind##_open,                                                         \
    };                                                                       \
    static PyObject *kind##_new(PyTypeObject *type,                          \
                                PyObject *Py_UNUSED(args),                   \
                                PyObject *Py_UNUSED(keywords))               \
    {                                                                        \
        return core_construct_new(&kind##_constructor, type);                \
    }                                                                        \
    static int kind##_init(PyObject *op, PyObject *args, PyObject *keywords)  \
    {                                                                        \
        return core_construct_init(&kind##_constructor, op, args, keywords); \
    }                                                                        \
    PyObject *core_##kind##_call(PyObject *type, PyObject *const *args,      \
                                 size_t nargsf, PyObject *keywords)          \
    {                                                                        \
        return core_construct(&kind##_constructor, type, args, nargsf,       \
                              keywords);                                     \
    }

/* --------------------------------------------------------------- opening */

/* The arguments of a constructor, and the object that was opened. */
struct core_request {
    CoreState *state; /* set before an object is created */
    const struct core_kind *kind;
    struct core_key key;
    int flags;        /* IPC_CREAT, IPC_EXCL and flags of the kind */
    int mode;         /* -1 if it was not passed */
    int created_mode; /* additional bits for a new object */
    size_t size;      /* bytes or members of a new object */
    size_t open_size; /* the same for an existing object */
    const unsigned short *values; /* of the members of a new set */
    int attempts;                 /* see core_try_again() */
    bool mode_has_flags;          /* mode contains IPC_CREAT or IPC_EXCL */
};
struct core_opened {
    int id;
    key_t key;
    bool created;
    int access; /* the permission bits that the call asked for */
};
/* Convert the arguments of a constructor.  Return 0, or -1 with an exception.
 * mode may be NULL. */
CORE_SELDOM int core_request_slow(CoreState *state,
                                  struct core_request *request, PyObject *key,
                                  PyObject *flags, PyObject *mode);

static inline int
core_request_convert(CoreState *state, const struct core_kind *kind,
                     struct core_request *request, PyObject *key,
                     PyObject *flags, PyObject *mode)
{
    request->kind = kind;
    request->flags = 0;
    request->mode = -1;
    return flags == NULL && mode == NULL && key != Py_None
               ? core_key(state, key, &request->key)
               : core_request_slow(state, request, key, flags, mode);
}

CORE_SELDOM int core_open_or_create(CoreState *state,
                                    struct core_request *request,
                                    struct core_opened *opened);
/* Raise the exception for a failed open or create.  Return -1. */
CORE_SELDOM int core_open_failed(CoreState *state,
                                 const struct core_request *request,
                                 const struct core_opened *opened, int rc);

/* Open or create an object.  Return 0, or -1 with an exception.  The common
 * case, an object that exists, is inline: the compiler then knows which system
 * calls the kind has. */
static inline int
core_open(CoreState *state, const struct core_kind *kind,
          struct core_request *request, struct core_opened *opened)
{
    if (request->key.type == CORE_KEY_VALUE && !(request->flags & IPC_CREAT)) {
        int access = request->mode < 0 ? 0600 : request->mode;
        int id = kind->get(request->key.value, request->open_size,
                           request->flags | access);
        int rc = id >= 0 && kind->accept != NULL
                     ? kind->accept(state, id, true)
                     : 0;
        if (id >= 0 && rc != -EIDRM) {
            *opened =
                (struct core_opened){id, request->key.value, false, access};
            return rc == 0 ? 0 : core_open_failed(state, request, opened, rc);
        }
    }
    return core_open_or_create(state, request, opened);
}

/* A call is repeated if another process has changed the object in between.  A
 * sandbox may report that each time, so attempts are counted, and each one
 * checks for signals.  core_try_again() is called after an attempt that failed
 * with rc.  It returns CORE_AGAIN to repeat the call; otherwise the error to
 * report: rc, or CORE_RAISED if a signal handler raised. */
#define CORE_MOST_ATTEMPTS 1000
#define CORE_AGAIN (INT_MIN + 1)
CORE_SELDOM int core_try_again(int *attempts, ssize_t rc);

/* Create an object with one system call: core_kind.create of most kinds. */
int core_create(struct core_request *request, key_t key);
/* Handle rc, an error of a call by id after core_open().  Return CORE_AGAIN if
 * the object was removed and core_open() must be called again, otherwise rc or
 * CORE_RAISED. */
CORE_SELDOM int core_open_again(struct core_request *request, int rc);
/* Raise the exception for such an error.  Return -1. */
CORE_SELDOM int core_open_gone(CoreState *state,
                               const struct core_request *request, int rc,
                               enum core_operation operation,
                               struct core_target target);

#endif
