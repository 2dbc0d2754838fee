/* What the files of the core share: the handle that every object begins with,
 * arguments, errors and waiting; state.h has the module state.  Objects and
 * exceptions live here; system calls live in os/. */
#ifndef SYSV_IPC_CORE_H
#define SYSV_IPC_CORE_H

#include "core/state.h"

#include "os/os.h"

/* --------------------------------------------------------------- handles */

#define CORE_NO_KEY INT64_MIN

struct core_request;

/* One kind of object: its name, its record and its system calls. */
struct core_kind {
    const char *name;
    size_t name_object; /* the same for Python, an offset in CoreState */
    enum core_record record;
    size_t type;             /* the handles' type, an offset in CoreState */
    size_t spare;            /* a handle's memory, an offset in CoreState */
    const char *beside_mode; /* the argument behind mode, or NULL */
    int (*get)(key_t key, size_t size, int flags);
    /* Make a new object: its id, -errno or CORE_RAISED. */
    int (*create)(struct core_request *request, key_t key);
    /* Look at one that exists: 0; -EIDRM to ask again for what the key names;
     * -EBUSY for one that is not finished; or an error.  With quick, one whose
     * creator has no more to do than to set its mode will do.  May be NULL. */
    int (*accept)(CoreState *state, int id, bool quick);
    int (*stat)(int id, struct os_info *info);
    int (*set)(int id, const struct os_info *info);
    int (*remove)(int id);
    int (*list)(int place, struct os_info *info);
    int (*last_place)(void);
    /* Whether what the id names now can be the handle's object, whose critical
     * section it is called in; or NULL. */
    bool (*same)(PyObject *op, const struct os_info *now);
};

extern const struct core_kind core_semaphore_kind;
extern const struct core_kind core_semaphore_set_kind;
extern const struct core_kind core_shared_memory_kind;
extern const struct core_kind core_message_queue_kind;

/* The id, and the index of a member of a set. */
struct core_place {
    int id;
    unsigned short index;
};

/* What Semaphore, SharedMemory and MessageQueue begin with.  state, kind and
 * exact, which is false for a subclass, are set by tp_new and never change;
 * the others are set by tp_init, which may run again while others read, so
 * they are atomic.  id is -1 and key CORE_NO_KEY until the first tp_init has
 * succeeded. */
typedef struct {
    PyObject_HEAD
    CoreState *state;
    const struct core_kind *kind;
    PyObject *weak_references;
#ifdef Py_GIL_DISABLED
    core_shared_int64 place; /* struct core_place, in one */
#else
    struct core_place place;
#endif
    core_shared_int64 key;
    core_shared_int64 namespace; /* of an object without a key; or 0 */
    atomic_bool gone;            /* removed by this handle */
    bool exact;
    struct os_wait_owner waits;
} CoreHandle;

static inline CoreHandle *
core_handle(PyObject *op)
{
    return (CoreHandle *)op;
}

/* Both are read in one step: another thread may initialise the handle anew. */
static inline struct core_place
core_handle_place(PyObject *op)
{
#ifdef Py_GIL_DISABLED
    int64_t place = CORE_LOAD_INT64(&core_handle(op)->place);
    return (struct core_place){(int)(uint32_t)place,
                               (unsigned short)(place >> 32)};
#else
    return core_handle(op)->place;
#endif
}

static inline void
core_handle_set_place(CoreHandle *self, struct core_place place)
{
#ifdef Py_GIL_DISABLED
    CORE_STORE_INT64(&self->place,
                     (int64_t)place.index << 32 | (uint32_t)place.id);
#else
    self->place = place;
#endif
}

static inline int
core_handle_id(PyObject *op)
{
    return core_handle_place(op).id;
}

static inline int64_t
core_handle_key(PyObject *op)
{
    return CORE_LOAD_INT64(&core_handle(op)->key);
}

void core_handle_free_spares(CoreState *state);
/* An object without a key is told by its namespace. */
static inline int64_t
core_namespace_to_note(int64_t key)
{
    return key == IPC_PRIVATE || key == CORE_NO_KEY
               ? (int64_t)os_namespace_number()
               : 0;
}

static inline void
core_handle_open_lock_held(CoreHandle *self, int64_t key, int64_t namespace,
                           struct core_place place)
{
    CORE_STORE_INT64(&self->key, key);
    CORE_STORE_INT64(&self->namespace, namespace);
    atomic_store_explicit(&self->gone, false, memory_order_relaxed);
    core_handle_set_place(self, place);
}

static inline void
core_handle_open_member(CoreHandle *self, int64_t key, int id,
                        unsigned short index)
{
    int64_t namespace = core_namespace_to_note(key);
    CORE_BEGIN_CRITICAL_SECTION(self);
    core_handle_open_lock_held(self, key, namespace,
                               (struct core_place){id, index});
    CORE_END_CRITICAL_SECTION();
}

static inline void
core_handle_open(CoreHandle *self, int64_t key, int id)
{
    core_handle_open_member(self, key, id, 0);
}

/* from_id(): 0 and *info where it may be read, or -1 with an exception. */
int core_handle_open_id(CoreHandle *self, PyObject *id, struct os_info *info);
int core_handle_traverse(PyObject *op, visitproc visit, void *arg);
void core_handle_free(PyObject *op);
PyObject *core_handle_compare(PyObject *a, PyObject *b, int operation);
Py_hash_t core_handle_hash(PyObject *op);
PyObject *core_handle_repr(PyObject *op, const char *extra);
PyObject *core_handle_info(PyObject *op, PyObject *unused);
PyObject *core_handle_remove(PyObject *op, PyObject *unused);
/* arguments for from_id() and a dict of what setattr() is to restore in the
 * copy, or NULL; both are new references, and taken over. */
PyObject *core_handle_reduce(PyObject *op, PyObject *arguments,
                             PyObject *attributes);
PyObject *core_reopen(PyObject *module, PyObject *args);
/* identity.c: whether the id that a call began with still names the object
 * that the handle was opened for; the same with IPC_STAT, and 0, or -1 with an
 * exception. */
bool core_handle_is_same(PyObject *op, int id, const struct os_info *now);
int core_handle_check_same(PyObject *op, int id);
CORE_SELDOM int core_handle_raise_another(PyObject *op, int id);
/* What a pickle carries to tell the object, or None; and whether what the id
 * names here is that object: 0, or -1 with an exception. */
PyObject *core_identity(PyObject *op);
int core_identity_check(CoreState *state, PyObject *identity, PyObject *id);
/* Checks, before the kernel is asked, that tp_init has run: 0, or -1. */
int core_handle_check(CoreHandle *self);
bool core_is_handle(CoreState *state, PyObject *op);
/* IPC_STAT: 0, or -1 with an exception. */
int core_handle_stat(PyObject *op, struct os_info *info);

int core_handle_refuse_delete(PyObject *value, const char *name);

PyObject *core_handle_get_key(PyObject *op, void *closure);
PyObject *core_handle_get_id(PyObject *op, void *closure);
int core_handle_set_id(PyObject *op, PyObject *value, void *closure);
PyObject *core_handle_get_removed(PyObject *op, void *closure);
PyObject *core_handle_get_field(PyObject *op, void *field);
int core_handle_set_field(PyObject *op, PyObject *value, void *field);

#define CORE_HANDLE_MEMBERS                                             \
    {                                                                   \
        "__weaklistoffset__", T_PYSSIZET,                               \
            offsetof(CoreHandle, weak_references), READONLY, NULL       \
    }

/* ---------------------------------------------------------------- errors */

/* An exception; about is (kind, key, id), detail a text or None. */
typedef struct {
    PyOSErrorObject base;
    PyObject *about;
    PyObject *detail;
    PyObject *weak_references;
} CoreError;

/* What an error is about; kind NULL, key CORE_NO_KEY, id CORE_NO_ID where
 * unknown. */
struct core_subject {
    const struct core_kind *kind;
    int64_t key;
    int id;
};

/* In place of -errno: an exception is set already. */
#define CORE_RAISED INT_MIN

/* Every call that is made again because others changed what it was about, or
 * a sandbox says that they did, counts its attempts and looks for signals.
 * After an attempt that failed with rc: CORE_AGAIN, or what to give up with,
 * rc or CORE_RAISED. */
#define CORE_MOST_ATTEMPTS 1000
#define CORE_AGAIN (INT_MIN + 1)
CORE_SELDOM int core_try_again(int *attempts, ssize_t rc);

/* All return NULL with an exception set.  rc is -errno or CORE_RAISED;
 * operation is the system call's name. */
CORE_SELDOM PyObject *core_raise(CoreState *state, ssize_t rc,
                                 const char *operation,
                                 struct core_subject subject);
/* The same by id, where EINVAL means that the id names nothing. */
CORE_SELDOM PyObject *core_raise_gone(CoreState *state, ssize_t rc,
                                      const char *operation,
                                      struct core_subject subject);
CORE_SELDOM PyObject *core_handle_raise(PyObject *op, ssize_t rc,
                                        const char *operation);
/* The same for a call that began with this id: the handle may have been
 * initialised again since. */
CORE_SELDOM PyObject *core_handle_raise_by_id(PyObject *op, int id, ssize_t rc,
                                              const char *operation);
/* A refusal of our own: the class for this errno, with this text. */
CORE_SELDOM PyObject *core_refuse(CoreState *state, int error,
                                  struct core_subject subject,
                                  const char *format, ...);
/* The same for a class that its errno (0: none) does not stand for. */
PyObject *core_refuse_as(CoreState *state, PyObject *cls, int error,
                         struct core_subject subject, const char *format, ...);
/* Tell what the refusal that is set, of an argument, was about; any other
 * exception is left alone. */
CORE_SELDOM void core_error_set_subject(CoreState *state,
                                        struct core_subject subject);
struct core_subject core_handle_subject(PyObject *op);
CORE_SELDOM struct core_subject core_handle_subject_by_id(PyObject *op,
                                                          int id);
/* Make the exception that is set a note of another one: 0, or -1 with an
 * exception. */
int core_error_to_note(PyObject *other);
/* Tell with the exception that is set that CORE_MOST_ATTEMPTS were made. */
CORE_SELDOM void core_error_tell_attempts(CoreState *state);
/* Add a note to the exception that is set. */
CORE_SELDOM void core_error_add_note(const char *format, ...);
int core_error_init(CoreState *state);
int core_exceptions_init(PyObject *module, CoreState *state);
/* The class for an errno, borrowed. */
PyObject *core_exception_class(CoreState *state, int error);
/* What (kind, key, id) is called, in words; NULL, without an exception, where
 * there is nothing to call. */
PyObject *core_describe(PyObject *about);

#define CORE_NO_ID INT_MIN
#define CORE_NO_SUBJECT ((struct core_subject){NULL, CORE_NO_KEY, CORE_NO_ID})

/* ------------------------------------------------------------- arguments */

/* Bind the arguments of a METH_FASTCALL | METH_KEYWORDS call to names: out
 * holds one borrowed reference or NULL for each.  The first positional of
 * them may be given by position, the first required must be given. */
#define CORE_MOST_ARGUMENTS 6
struct core_signature {
    const char *function;
    int count, positional, required;
    enum core_argument arguments[CORE_MOST_ARGUMENTS];
};
int core_arguments_init(CoreState *state);
CORE_SELDOM int core_bind_keywords(CoreState *state,
                                   const struct core_signature *signature,
                                   PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *keywords, PyObject **out);
void core_bind_too_many(const struct core_signature *signature,
                        Py_ssize_t nargs);
/* The same for tp_init: a tuple, and a dict or NULL. */
int core_bind_dict(CoreState *state, const struct core_signature *signature,
                   PyObject *args, PyObject *keywords, PyObject **out);

static inline int
core_bind_positional(const struct core_signature *signature,
                     PyObject *const *args, Py_ssize_t nargs, PyObject **out)
{
    if (nargs > signature->positional) {
        core_bind_too_many(signature, nargs);
        return -1;
    }
    for (int i = 0; i < signature->count; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    return 0;
}

/* Most calls have no keywords: no function is called for them. */
static inline int
core_bind(CoreState *state, const struct core_signature *signature,
          PyObject *const *args, Py_ssize_t nargs, PyObject *keywords,
          PyObject **out)
{
    if (core_bind_positional(signature, args, nargs, out) < 0) {
        return -1;
    }
    return keywords == NULL && nargs >= signature->required
               ? 0
               : core_bind_keywords(state, signature, args, nargs, keywords,
                                    out);
}

/* Converters: 0, or -1 with an exception.  NULL, which most arguments are,
 * leaves *out as it is. */
CORE_SELDOM int core_timeout_given(CoreState *state, PyObject *value,
                                   int64_t *out);
CORE_SELDOM int core_integer_given(CoreState *state, PyObject *value,
                                   const char *what, long long minimum,
                                   long long maximum, long long *out);
int core_bool_given(PyObject *value, bool *out);

static inline int
core_timeout_as_ns(CoreState *state, PyObject *value, int64_t *out)
{
    return value == NULL ? 0 : core_timeout_given(state, value, out);
}

static inline int
core_integer(CoreState *state, PyObject *value, const char *what,
             long long minimum, long long maximum, long long *out)
{
    if (value == NULL) {
        return 0;
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0 && number >= minimum && number <= maximum) {
            *out = number;
            return 0;
        }
    }
    return core_integer_given(state, value, what, minimum, maximum, out);
}

static inline int
core_bool(PyObject *value, bool *out)
{
    if (value == NULL) {
        return 0;
    }
    if (value == Py_True) {
        *out = true;
        return 0;
    }
    return core_bool_given(value, out);
}

/* Whether float() takes it. */
bool core_is_real(PyObject *value);

/* ArgumentWarning, for what is legal and nearly always a slip (slips.c): 0, or
 * -1 where the warning is to be an exception. */
CORE_SELDOM int core_warn_of_block(CoreState *state, PyObject *value);
CORE_SELDOM int core_warn_of_timeout(CoreState *state, PyObject *value);
CORE_SELDOM int core_warn_of_flags(CoreState *state, long long flags);
bool core_mode_has_flags(long long mode);
CORE_SELDOM int core_warn_of_mode(CoreState *state,
                                  const struct core_request *request,
                                  long long mode);

/* PyNumber_Index(), for an argument of this name. */
PyObject *core_index_given(PyObject *value, const char *what);
/* PySequence_Tuple() for an argument of which "what" says what it must be. */
PyObject *core_tuple(CoreState *state, PyObject *value, const char *what);
int core_check_iterable(PyObject *value, const char *what);

/* PyNumber_Index(), without calls for what is an int already. */
static inline PyObject *
core_index(PyObject *value)
{
    return PyLong_CheckExact(value) ? Py_NewRef(value) : PyNumber_Index(value);
}

/* Bytes to write or send: a C-contiguous buffer, or a str as UTF-8. */
struct core_bytes {
    const char *data;
    Py_ssize_t size;
    Py_buffer buffer;
};
int core_bytes_get(PyObject *value, struct core_bytes *out);
void core_bytes_release(struct core_bytes *bytes);

/* --------------------------------------------------------------- waiting */

/* How long a call may wait in all, 0 for not at all; its first wait sets the
 * deadline, which is 0 until then. */
struct core_patience {
    int64_t timeout_ns, deadline_ns;
};

/* block and timeout: a call that may not block has a timeout of 0. */
CORE_SELDOM int core_patience_given(CoreState *state, PyObject *block,
                                    PyObject *timeout,
                                    struct core_patience *out);

/* Most calls have neither, or True: no function is called for them. */
static inline int
core_patience_get(CoreState *state, PyObject *block, PyObject *timeout,
                  struct core_patience *out)
{
    *out = (struct core_patience){OS_FOREVER, 0};
    return (block == NULL || block == Py_True) && timeout == NULL
               ? 0
               : core_patience_given(state, block, timeout, out);
}
/* The same for aio.py, and a timeout alone: a float, or None for ever. */
PyObject *core_patience(PyObject *module, PyObject *args);
PyObject *core_seconds(PyObject *module, PyObject *value);

/* Wait in a system call with the GIL released: its result, -errno (-EAGAIN or
 * -ENOMSG when the time was up, -ECANCELED after core_wait_cancel() of the
 * same object) or CORE_RAISED when a signal handler raised. */
CORE_SELDOM ssize_t core_wait(struct os_wait_owner *owner,
                              const struct os_call *call,
                              struct core_patience *patience);
/* Let all waits in progress of an object end: 0, or -1 with what a handler of
 * signals raised meanwhile. */
int core_wait_cancel(struct os_wait_owner *owner);
/* Called when the interpreter ends: from here on its other threads take
 * nothing in a call from which they may not come back. */
PyObject *core_finish_waits(PyObject *module, PyObject *unused);
/* The method cancel(later=False) and the attribute cancelled, of whatever has
 * this owner of waits. */
PyObject *core_cancel(CoreState *state, struct os_wait_owner *owner,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *keywords);
int core_set_cancelled(struct os_wait_owner *owner, PyObject *value);
PyObject *core_handle_cancel(PyObject *op, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *keywords);
PyObject *core_handle_get_cancelled(PyObject *op, void *closure);
int core_handle_set_cancelled(PyObject *op, PyObject *value, void *closure);
extern const char core_handle_cancel_doc[];
extern const char core_cancelled_doc[];
#define CORE_CANCEL_METHOD(function, doc)                                   \
    {"cancel", _PyCFunction_CAST(function), METH_FASTCALL | METH_KEYWORDS, \
     doc}
#define CORE_HANDLE_CANCELLED                               \
    {"cancelled", core_handle_get_cancelled,                \
     core_handle_set_cancelled, core_cancelled_doc, NULL},
PyObject *core_set_wait_signal(PyObject *module, PyObject *value);
extern const char core_set_wait_signal_doc[];

/* semop(2) on the set with this id: at once with the GIL held, then through
 * core_wait(). */
ssize_t core_semaphore_operate(PyObject *op, int id, struct sembuf *operations,
                               size_t count, int64_t timeout_ns);
/* The texts of semop(2)'s errors that core_handle_raise_by_id() cannot
 * know. */
CORE_SELDOM PyObject *core_semaphore_raise(PyObject *op, int id, ssize_t rc,
                                           const char *operation, bool undo);
/* A semaphore's value, an argument of this name: 0, or -1 with an
 * exception. */
int core_semaphore_convert_value(CoreState *state, PyObject *value,
                                 const char *what, struct core_subject subject,
                                 int *out);
/* A Semaphore for one member. */
PyObject *core_semaphore_make(CoreState *state, int id, int64_t key,
                              unsigned short index);
PyObject *core_semaphore_set_make(CoreState *state, int id, int64_t key);

/* -------------------------------------------------------------- the types */

extern PyType_Spec core_semaphore_spec;
extern PyType_Spec core_semaphore_set_spec;
extern PyType_Spec core_operations_spec;
extern PyType_Spec core_shared_memory_spec;
extern PyType_Spec core_pin_spec;
extern PyType_Spec core_atomic_spec;
extern PyType_Spec core_message_queue_spec;
extern PyType_Spec core_message_iterator_spec;

PyObject *core_shared_memory_from_id(PyObject *type, PyObject *args,
                                     PyObject *keywords);

/* Module functions about keys and names, key.c. */
PyObject *core_ftok(PyObject *module, PyObject *args, PyObject *keywords);
PyObject *core_key_from_name(PyObject *module, PyObject *name);

#endif
