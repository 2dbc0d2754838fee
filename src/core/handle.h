/* The struct that the objects of all kinds begin with. */
#ifndef SYSV_IPC_CORE_HANDLE_H
#define SYSV_IPC_CORE_HANDLE_H

#include "core/args.h"
#include "os/wait/wait.h"

/* The id of an object, and the index of a member of a set. */
struct core_place {
    int id;
    unsigned short index;
};

/* The beginning of Semaphore, SemaphoreSet, SharedMemory and MessageQueue
 * objects.  tp_new sets state, kind and exact, which is false for a subclass;
 * they never change.  tp_init sets the other fields.  It may run again while
 * other threads read them, so they are atomic.  id is -1 and key is
 * CORE_NO_KEY until tp_init has succeeded. */
typedef struct {
    PyObject_HEAD
    CoreState *state;
    const struct core_kind *kind;
    PyObject *weak_references;
#ifdef Py_GIL_DISABLED
    core_shared_int64 place; /* a struct core_place */
#else
    struct core_place place;
#endif
    core_shared_int64 key;
    core_shared_int64 namespace; /* if the object has no key, or 0 */
    core_shared_int64 creator;   /* the same: core_creator() */
    atomic_bool gone;            /* removed by this handle */
    bool exact;
    struct os_wait_owner waits;
} CoreHandle;

static inline CoreHandle *
core_handle(PyObject *op)
{
    return (CoreHandle *)op;
}

/* Read id and index in one step: another thread may initialise the handle
 * again. */
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

/* ---------------------------------------------------- making and opening */

/* Programs open objects often.  After a system call the processor has lost its
 * predictions of indirect calls, also of those in the interpreter.  So the
 * path from the call of the type to the system call is inline, and calls the
 * interpreter as little as possible. */

/* Make an object of a kind whose objects have this size.  Everything but the
 * handle is zero; the handle has id -1 and no key.  The memory may be that of
 * an earlier handle (core_handle_free()). */
static inline PyObject *
core_handle_make(CoreState *state, PyTypeObject *type,
                 const struct core_kind *kind, size_t size)
{
    struct core_kind_state *own = &state->kinds[kind->index];
    PyObject *op = own->free_list;
    bool exact = (PyObject *)type == own->type;
    if (exact && op != NULL) {
        own->free_list = NULL;
        memset(op + 1, 0, size - sizeof(*op));
        (void)PyObject_Init(op, type);
        PyObject_GC_Track(op);
    }
    else {
        op = type->tp_alloc(type, 0);
    }
    if (op != NULL) {
        CoreHandle *self = core_handle(op);
        self->state = state;
        self->kind = kind;
        self->exact = exact;
        core_handle_set_place(self, (struct core_place){-1, 0});
        CORE_STORE_INT64(&self->key, CORE_NO_KEY);
    }
    return op;
}

/* Facts that distinguish an object without a key from a later object with the
 * same id. */
struct core_origin {
    int64_t namespace, creator;
};

/* Combine the uid and gid of the creator, which never change, in a number
 * other than 0. */
static inline int64_t
core_creator(const struct os_info *info)
{
    return (int64_t)(((uint64_t)info->cuid + 1) << 32 ^ info->cgid);
}
CORE_SELDOM struct core_origin core_origin_slow(const struct core_kind *kind,
                                                int id);

static inline struct core_origin
core_origin(const struct core_kind *kind, int64_t key, int id)
{
    return key == IPC_PRIVATE || key == CORE_NO_KEY
               ? core_origin_slow(kind, id)
               : (struct core_origin){0, 0};
}

static inline void
core_handle_open_lock_held(CoreHandle *self, int64_t key,
                           struct core_origin origin, struct core_place place)
{
    CORE_STORE_INT64(&self->key, key);
    CORE_STORE_INT64(&self->namespace, origin.namespace);
    CORE_STORE_INT64(&self->creator, origin.creator);
    atomic_store_explicit(&self->gone, false, memory_order_relaxed);
    core_handle_set_place(self, place);
}

static inline void
core_handle_open_member(CoreHandle *self, int64_t key, int id,
                        unsigned short index)
{
    struct core_origin origin = core_origin(self->kind, key, id);
    CORE_BEGIN_CRITICAL_SECTION(self);
    core_handle_open_lock_held(self, key, origin,
                               (struct core_place){id, index});
    CORE_END_CRITICAL_SECTION();
}

static inline void
core_handle_open(CoreHandle *self, int64_t key, int id)
{
    core_handle_open_member(self, key, id, 0);
}

/* Open the object with an id, for from_id().  Return 0, or -1 with an
 * exception.  *info is set if the caller may read the object. */
int core_handle_open_id(CoreHandle *self, PyObject *id, struct os_info *info);

int core_handle_traverse(PyObject *op, visitproc visit, void *arg);
void core_handle_free(PyObject *op);
/* Free the memory in the free lists. */
void core_handle_clear_free_lists(CoreState *state);
bool core_is_handle(CoreState *state, PyObject *op);
PyObject *core_handle_compare(PyObject *a, PyObject *b, int operation);
Py_hash_t core_handle_hash(PyObject *op);

/* ---------------------------------------------------------------- errors */

/* Return 0, or -1 with an exception if tp_init has not run or has failed. */
int core_handle_check(CoreHandle *self);
struct core_target core_handle_target(PyObject *op);
/* The same for a call that began with this id: the handle may have been
 * initialised again since then. */
CORE_SELDOM struct core_target core_handle_target_by_id(PyObject *op, int id);
/* Call core_raise() for the object of a handle.  EINVAL raises
 * ExistentialError if no object has the id any more. */
CORE_SELDOM PyObject *core_handle_raise(PyObject *op, ssize_t rc,
                                        enum core_operation operation);
CORE_SELDOM PyObject *core_handle_raise_by_id(PyObject *op, int id, ssize_t rc,
                                              enum core_operation operation);

/* ------------------------------------------------------------ attributes */

int core_handle_refuse_delete(PyObject *value, const char *name);
PyObject *core_handle_get_key(PyObject *op, void *closure);
PyObject *core_handle_get_id(PyObject *op, void *closure);
int core_handle_set_id(PyObject *op, PyObject *value, void *closure);

#define CORE_HANDLE_MEMBERS                                             \
    {                                                                   \
        "__weaklistoffset__", T_PYSSIZET,                               \
            offsetof(CoreHandle, weak_references), READONLY, NULL       \
    }

#endif
