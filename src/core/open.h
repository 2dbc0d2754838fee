/* Calling a type, and opening or creating an object by key. */
#ifndef SYSV_IPC_CORE_OPEN_H
#define SYSV_IPC_CORE_OPEN_H

#include "core/handle.h"
#include "core/key.h"

#include <errno.h>

/* ------------------------------------------------------- calling a type */

/* How objects of a kind are made by calling their type: make() gives an empty
 * one, open() gets what is bound to the signature. */
struct core_constructor {
    struct core_signature signature;
    PyObject *(*make)(CoreState *state, PyTypeObject *type);
    int (*open)(PyObject *op, PyObject *const *given);
};
PyObject *core_construct_new(const struct core_constructor *constructor,
                             PyTypeObject *type);
int core_construct_init(const struct core_constructor *constructor,
                        PyObject *op, PyObject *args, PyObject *keywords);
/* open() has failed. */
CORE_SELDOM void core_construct_failed(CoreHandle *self, PyObject *key);

/* tp_vectorcall, which is not inherited: type is the kind's own. */
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

/* What a constructor asks for, and what it got. */
struct core_request {
    CoreState *state; /* once something is to be created */
    const struct core_kind *kind;
    struct core_key key;
    int flags;        /* IPC_CREAT, IPC_EXCL and those of the kind */
    int mode;         /* -1: not given */
    int created_mode; /* bits that a new object gets besides mode */
    size_t size;      /* bytes or members of a new object */
    size_t open_size; /* the same when asking for an existing one */
    const unsigned short *values; /* of the members of a new set */
    int attempts;                 /* core_try_again() */
    bool mode_has_flags;          /* creation flags were given in mode */
};
struct core_opened {
    int id;
    key_t key;
    bool created;
    int access; /* the permission bits that were asked for */
};
/* flags and mode as the constructors take them; mode may be NULL. */
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
/* Raise what rc of opening or creating means: -1. */
CORE_SELDOM int core_open_failed(CoreState *state,
                                 const struct core_request *request,
                                 const struct core_opened *opened, int rc);

/* 0, or -1 with an exception.  The usual case, an object that is there, is
 * inline: the compiler then knows which system calls the kind has. */
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

/* Every call that is made again because others changed its object, or because
 * a sandbox says that they did, counts its attempts and looks for signals.
 * After an attempt that failed with rc: CORE_AGAIN, or what to give up with,
 * rc or CORE_RAISED. */
#define CORE_MOST_ATTEMPTS 1000
#define CORE_AGAIN (INT_MIN + 1)
CORE_SELDOM int core_try_again(int *attempts, ssize_t rc);

/* Make a new object with one system call: core_kind.create of most kinds. */
int core_create(struct core_request *request, key_t key);
/* What to make of rc, an error of a call by id: CORE_AGAIN where it means that
 * what was opened or created, the one or the other, is gone, so that
 * core_open() is to be asked again; else rc, or CORE_RAISED. */
CORE_SELDOM int core_open_again(struct core_request *request, int rc);
/* Raise such an error: -1. */
CORE_SELDOM int core_open_gone(CoreState *state,
                               const struct core_request *request, int rc,
                               enum core_operation operation,
                               struct core_target target);

#endif
