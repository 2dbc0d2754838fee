/* The base of all handles: memory, key and id, equality, errors.  Other
 * threads may read a handle while it is initialised again; its fields are
 * atomic (handle.h), so nothing here takes a lock. */
#include "core/handle.h"

/* Call this while the types still exist: PyObject_GC_Del() reads the type. */
void
core_handle_clear_free_lists(CoreState *state)
{
    for (size_t i = 0; i < CORE_KIND_COUNT; i++) {
        if (state->kinds[i].free_list != NULL) {
            PyObject_GC_Del(state->kinds[i].free_list);
            state->kinds[i].free_list = NULL;
        }
    }
}

struct core_origin
core_origin_slow(const struct core_kind *kind, int id)
{
    struct os_info info;
    return (struct core_origin){
        .namespace = (int64_t)os_namespace_number(),
        .creator =
            core_kind_stat_any(kind, id, &info) == 0 ? core_creator(&info) : 0,
    };
}

int
core_handle_open_id(CoreHandle *self, PyObject *argument, struct os_info *info)
{
    long long id = -1;
    if (core_integer(self->state, argument, "id", INT_MIN, INT_MAX, &id) < 0) {
        return -1;
    }
    int rc = core_kind_stat_any(self->kind, (int)id, info);
    if (rc < 0 && rc != -EACCES) {
        (void)core_raise_no_object(
            self->state, rc, CORE_OPERATION_OPEN,
            (struct core_target){self->kind, CORE_NO_KEY, (int)id});
        return -1;
    }
    core_handle_open(self, rc == 0 ? info->key : CORE_NO_KEY, (int)id);
    return 0;
}

int
core_handle_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

/* Making and freeing an object of the garbage collector takes as long as all
 * other work of opening.  So the memory of one handle of each type is kept for
 * the next handle.  Without a GIL there is no free list: threads would have to
 * lock it.  Under AddressSanitizer there is none either: it must notice every
 * use of freed memory. */
#if defined(Py_GIL_DISABLED) || defined(__SANITIZE_ADDRESS__)
#define HAS_FREE_LISTS 0
#else
#define HAS_FREE_LISTS 1
#endif

/* Put the memory of a dead object into the free list, and return true; return
 * false if it must be freed.  If the collector clears module, type and object
 * together, the module state may be freed already; ht_module is NULL then.  A
 * module state that has been cleared has no types, so it keeps no memory. */
static bool
handle_keep_memory(PyObject *op, PyTypeObject *type)
{
    CoreHandle *self = core_handle(op);
    if (!HAS_FREE_LISTS || !self->exact ||
        ((PyHeapTypeObject *)type)->ht_module == NULL) {
        return false;
    }
    struct core_kind_state *own = &self->state->kinds[self->kind->index];
    if ((PyObject *)type != own->type || own->free_list != NULL) {
        return false;
    }
    own->free_list = op;
    return true;
}

void
core_handle_free(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (core_handle(op)->weak_references != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (!handle_keep_memory(op, type)) {
        type->tp_free(op);
    }
    Py_DECREF(type);
}

bool
core_is_handle(CoreState *state, PyObject *op)
{
    for (size_t i = 0; i < CORE_KIND_COUNT; i++) {
        if (PyObject_TypeCheck(op, (PyTypeObject *)state->kinds[i].type)) {
            return true;
        }
    }
    return false;
}

PyObject *
core_handle_compare(PyObject *a, PyObject *b, int operation)
{
    if ((operation != Py_EQ && operation != Py_NE) ||
        !core_is_handle(core_handle(a)->state, b)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool equal = a == b ||
                 (core_handle(a)->kind == core_handle(b)->kind &&
                  core_handle_id(a) == core_handle_id(b) &&
                  core_handle_place(a).index == core_handle_place(b).index &&
                  core_handle_id(a) >= 0);
    return PyBool_FromLong(equal == (operation == Py_EQ));
}

Py_hash_t
core_handle_hash(PyObject *op)
{
    if (core_handle_check(core_handle(op)) < 0) {
        return -1;
    }
    /* Objects of different kinds often have equal ids: add the kind to the
     * hash. */
    Py_uhash_t kind = (Py_uhash_t)((uintptr_t)core_handle(op)->kind >> 4);
    Py_uhash_t hash = (kind * 1000003) ^ (Py_uhash_t)core_handle_id(op) ^
                      ((Py_uhash_t)core_handle_place(op).index * 1000000007);
    return (Py_hash_t)hash == -1 ? -2 : (Py_hash_t)hash;
}

int
core_handle_refuse_delete(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "attribute '%s' cannot be deleted",
                     name);
        return -1;
    }
    return 0;
}

/* ------------------------------------------------------------- attributes */

PyObject *
core_handle_get_key(PyObject *op, void *Py_UNUSED(closure))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    int64_t key = core_handle_key(op);
    if (key == CORE_NO_KEY) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong(key);
}

PyObject *
core_handle_get_id(PyObject *op, void *Py_UNUSED(closure))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyLong_FromLong(core_handle_id(op));
}

int
core_handle_set_id(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(value),
                   void *Py_UNUSED(closure))
{
    PyErr_SetString(PyExc_AttributeError, "readonly attribute");
    return -1;
}

/* ---------------------------------------------------------------- errors */

struct core_target
core_handle_target(PyObject *op)
{
    CoreHandle *self = core_handle(op);
    return (struct core_target){
        self->kind,
        core_handle_key(op),
        core_handle_id(op),
    };
}

struct core_target
core_handle_target_by_id(PyObject *op, int id)
{
    struct core_target target = core_handle_target(op);
    if (target.id != id) {
        target.id = id;
        target.key = CORE_NO_KEY;
    }
    return target;
}

static void
handle_raise_never_initialised(CoreHandle *self)
{
    (void)core_refuse_as(
        self->state, self->state->ExistentialError, 0,
        (struct core_target){self->kind, CORE_NO_KEY, CORE_NO_ID},
        "this %s was never initialised: %s.__init__() has "
        "not run or has failed",
        core_kind_name(self->kind), Py_TYPE(self)->tp_name);
}

int
core_handle_check(CoreHandle *self)
{
    if (core_handle_id((PyObject *)self) >= 0) {
        return 0;
    }
    handle_raise_never_initialised(self);
    return -1;
}

PyObject *
core_handle_raise(PyObject *op, ssize_t rc, enum core_operation operation)
{
    return core_handle_raise_by_id(op, core_handle_id(op), rc, operation);
}

PyObject *
core_handle_raise_by_id(PyObject *op, int id, ssize_t rc,
                        enum core_operation operation)
{
    CoreHandle *self = core_handle(op);
    if (rc == CORE_RAISED) {
        return NULL;
    }
    if (id < 0) {
        handle_raise_never_initialised(self);
        return NULL;
    }
    struct core_target target = core_handle_target_by_id(op, id);
    struct os_info info;
    if (rc == -EINVAL && self->kind->stat(target.id, &info) == -EINVAL) {
        return core_raise_gone(self->state, rc, operation, target);
    }
    return core_raise(self->state, rc, operation, target);
}
