/* Making handles: calling a type, keys, and what opens or creates by key. */
#ifndef SYSV_IPC_OPEN_H
#define SYSV_IPC_OPEN_H

#include "core.h"

#include <errno.h>

/* ------------------------------------------------------- calling a type */

/* How objects of a kind are made by calling their type: its tp_new, and
 * open(), which gets what is bound to the signature. */
struct core_constructor {
    struct core_signature signature;
    newfunc make;
    int (*open)(PyObject *op, PyObject *const *given);
};
int core_construct_init(const struct core_constructor *constructor,
                        PyObject *op, PyObject *args, PyObject *keywords);
PyObject *core_construct(const struct core_constructor *constructor,
                         PyObject *type, PyObject *const *args, size_t nargsf,
                         PyObject *keywords);
/* <kind>_init and core_<kind>_call of a type with <kind>_new and <kind>_open:
 * tp_init, and tp_vectorcall, which has no slot before CPython 3.14. */
#define CORE_CONSTRUCTOR(kind, name, count, ...)                             \
    static const struct core_constructor kind##_constructor = {              \
        {name, count, count, 1, {__VA_ARGS__}},                              \
        kind##_new,                                                          \
        kind##_open,                                                         \
    };                                                                       \
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

PyObject *core_semaphore_call(PyObject *type, PyObject *const *args,
                              size_t nargsf, PyObject *keywords);
PyObject *core_semaphore_set_call(PyObject *type, PyObject *const *args,
                                  size_t nargsf, PyObject *keywords);
PyObject *core_shared_memory_call(PyObject *type, PyObject *const *args,
                                  size_t nargsf, PyObject *keywords);
PyObject *core_message_queue_call(PyObject *type, PyObject *const *args,
                                  size_t nargsf, PyObject *keywords);

/* ------------------------------------------------------ keys and opening */

struct core_key {
    enum { CORE_KEY_VALUE, CORE_KEY_RANDOM, CORE_KEY_PRIVATE } type;
    key_t value;
};
int core_key_convert(CoreState *state, PyObject *value, struct core_key *out);

/* What a constructor asks for, and what it got. */
struct core_request {
    const struct core_kind *kind;
    struct core_key key;
    int flags;        /* IPC_CREAT, IPC_EXCL and those of the kind */
    int mode;         /* -1: not given */
    int created_mode; /* bits that a new object gets besides mode */
    size_t size;      /* bytes or members of a new object */
    size_t open_size; /* the same when asking for an existing one */
    const unsigned short *values; /* of the members of a new set */
};
struct core_opened {
    int id;
    key_t key;
    bool created;
    int access; /* the permission bits that were asked for */
};
/* flags and mode as the constructors take them; mode may be NULL. */
int core_request_convert(CoreState *state, struct core_request *request,
                         PyObject *key, PyObject *flags, PyObject *mode);
int core_open_or_create(CoreState *state, const struct core_request *request,
                        struct core_opened *opened);

/* 0, or -1 with an exception.  The usual case, an object that is there, is
 * inline: the compiler then knows which system calls the kind has. */
static inline int
core_open(CoreState *state, const struct core_kind *kind,
          struct core_request *request, struct core_opened *opened)
{
    request->kind = kind;
    if (request->key.type == CORE_KEY_VALUE && !(request->flags & IPC_CREAT)) {
        int access = request->mode < 0 ? 0600 : request->mode;
        int id = kind->get(request->key.value, request->open_size,
                           request->flags | access);
        int rc = id >= 0 && kind->accept != NULL ? kind->accept(id) : 0;
        if (rc == CORE_RAISED) {
            return -1;
        }
        if (id >= 0 && rc == 0) {
            *opened =
                (struct core_opened){id, request->key.value, false, access};
            return 0;
        }
    }
    return core_open_or_create(state, request, opened);
}

int core_create(const struct core_request *request, key_t key);
/* Whether rc of a call by id means that what was opened or created, the one
 * or the other, is gone: then core_open() is to be asked again. */
static inline bool
core_vanished(const struct core_request *request, int rc)
{
    return (rc == -EINVAL || rc == -EIDRM) &&
           (request->flags & (IPC_CREAT | IPC_EXCL)) == IPC_CREAT;
}

/* Semaphores are created and given their values in one step for others. */
int core_semaphore_create(const struct core_request *request, key_t key);
int core_semaphore_accept(int id);

#endif
