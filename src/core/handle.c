/* What the three kinds of object have in common: key, id, owner, mode,
 * equality, removal.  The kernel holds all but key and id, which are atomic
 * (core.h), so nothing here takes a lock. */
#include "core/info.h"
#include "core/open.h"

#include <errno.h>

/* Before the types go, which PyObject_GC_Del() looks at. */
void
core_handle_free_spares(CoreState *state)
{
    PyObject **spares[] = {
        &state->semaphore_spare,
        &state->semaphore_set_spare,
        &state->shared_memory_spare,
        &state->message_queue_spare,
    };
    for (size_t i = 0; i < sizeof(spares) / sizeof(spares[0]); i++) {
        if (*spares[i] != NULL) {
            PyObject_GC_Del(*spares[i]);
            *spares[i] = NULL;
        }
    }
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
        (void)core_raise_gone(
            self->state, rc, "open",
            (struct core_subject){self->kind, CORE_NO_KEY, (int)id});
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

/* Making and freeing an object of the garbage collector's costs as much as
 * the rest of opening: so of each type the memory of one handle is kept for
 * the next.  Not where threads would have to agree on it, nor where a
 * sanitizer is to see that memory was freed. */
#if defined(Py_GIL_DISABLED) || defined(__SANITIZE_ADDRESS__)
#define KEEPS_SPARES 0
#else
#define KEEPS_SPARES 1
#endif

/* Keep the memory of an object that is gone; false where it is to be freed.
 * Where the collector takes module, type and object together, the state may
 * be gone too: the type has let go of its module then.  A state that is
 * cleared has no types, and frees no more spares. */
static bool
keep_spare(PyObject *op, PyTypeObject *type)
{
    CoreHandle *self = core_handle(op);
    if (!self->exact || ((PyHeapTypeObject *)type)->ht_module == NULL) {
        return false;
    }
    PyObject **spare = core_state_object(self->state, self->kind->spare);
    if ((PyObject *)type !=
            *core_state_object(self->state, self->kind->type) ||
        *spare != NULL || !KEEPS_SPARES) {
        return false;
    }
    *spare = op;
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
    if (!keep_spare(op, type)) {
        type->tp_free(op);
    }
    Py_DECREF(type);
}

bool
core_is_handle(CoreState *state, PyObject *op)
{
    return PyObject_TypeCheck(op, (PyTypeObject *)state->semaphore_type) ||
           PyObject_TypeCheck(op, (PyTypeObject *)state->semaphore_set_type) ||
           PyObject_TypeCheck(op, (PyTypeObject *)state->shared_memory_type) ||
           PyObject_TypeCheck(op, (PyTypeObject *)state->message_queue_type);
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
    /* Ids of different kinds are equally small: keep them apart. */
    Py_uhash_t kind = (Py_uhash_t)((uintptr_t)core_handle(op)->kind >> 4);
    Py_uhash_t hash = (kind * 1000003) ^ (Py_uhash_t)core_handle_id(op) ^
                      ((Py_uhash_t)core_handle_place(op).index * 1000000007);
    return (Py_hash_t)hash == -1 ? -2 : (Py_hash_t)hash;
}

/* Gone, also if the id names another object now, or a segment that goes when
 * the last one detaches. */
static bool
is_removed(PyObject *op)
{
    const struct core_kind *kind = core_handle(op)->kind;
    struct os_info info;
    int id = core_handle_id(op);
    int rc = core_kind_stat_any(kind, id, &info);
    if (rc == 0) {
        return !core_handle_is_same(op, id, &info) ||
               (kind == &core_shared_memory_kind &&
                info.shm.marked_for_removal);
    }
    return rc == -EINVAL || rc == -EIDRM;
}

PyObject *
core_handle_repr(PyObject *op, const char *extra)
{
    int id = core_handle_id(op);
    const char *name = Py_TYPE(op)->tp_name;
    if (id < 0) {
        return PyUnicode_FromFormat("<%s: never initialised>", name);
    }
    const char *state = is_removed(op) ? ", removed" : "";
    int64_t key = core_handle_key(op);
    if (key == CORE_NO_KEY) {
        return PyUnicode_FromFormat("<%s key=?, id=%d%s%s>", name, id, extra,
                                    state);
    }
    return PyUnicode_FromFormat("<%s key=0x%x, id=%d%s%s>", name,
                                (unsigned int)key, id, extra, state);
}

PyObject *
core_handle_remove(PyObject *op, PyObject *Py_UNUSED(unused))
{
    int id = core_handle_id(op);
    if (core_handle_check_same(op, id) < 0) {
        return NULL;
    }
    int rc = core_handle(op)->kind->remove(id);
    if (rc < 0) {
        return core_handle_raise_by_id(op, id, rc, "remove");
    }
    /* A segment stays until the last one detaches. */
    if (core_handle(op)->kind != &core_shared_memory_kind &&
        core_handle_id(op) == id) {
        atomic_store(&core_handle(op)->gone, true);
    }
    Py_RETURN_NONE;
}

PyObject *
core_handle_reduce(PyObject *op, PyObject *arguments, PyObject *attributes)
{
    PyObject *make = NULL, *own = NULL, *reopen = NULL, *identity = NULL;
    if (attributes == NULL && !PyErr_Occurred()) {
        attributes = PyDict_New();
    }
    /* Making what is passed may have failed. */
    if (!PyErr_Occurred() && core_handle_check(core_handle(op)) == 0) {
        make = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "from_id");
        own = make == NULL ? NULL
                           : PyObject_CallMethod(op, "__getstate__", NULL);
        reopen = own == NULL
                     ? NULL
                     : PyObject_GetAttrString(
                           PyType_GetModuleByDef(Py_TYPE(op), &core_module),
                           "_reopen");
        identity = reopen == NULL ? NULL : core_identity(op);
    }
    /* It lets go of all of them, also if one is lacking. */
    return Py_BuildValue("(N(NNNN)N)", reopen, make, arguments, attributes,
                         identity, own);
}

/* Undo core_handle_reduce(): open by id if it still names the object, then set
 * what is the handle's own.  Pickles of version 2.0.0 have no identity. */
PyObject *
core_reopen(PyObject *module, PyObject *args)
{
    PyObject *make, *arguments, *attributes, *identity = Py_None;
    PyObject *name, *value;
    Py_ssize_t position = 0;
    if (!PyArg_ParseTuple(args, "OO!O!|O:_reopen", &make, &PyTuple_Type,
                          &arguments, &PyDict_Type, &attributes, &identity)) {
        return NULL;
    }
    if (identity != Py_None && PyTuple_GET_SIZE(arguments) > 0 &&
        core_identity_check(core_state_of_module(module), identity,
                            PyTuple_GET_ITEM(arguments, 0)) < 0) {
        return NULL;
    }
    PyObject *op = PyObject_CallObject(make, arguments);
    while (op != NULL && PyDict_Next(attributes, &position, &name, &value)) {
        if (PyObject_SetAttr(op, name, value) < 0) {
            Py_CLEAR(op);
        }
    }
    return op;
}

int
core_handle_stat(PyObject *op, struct os_info *info)
{
    int id = core_handle_id(op);
    int rc = core_handle(op)->kind->stat(id, info);
    if (rc < 0) {
        (void)core_handle_raise_by_id(op, id, rc, "stat");
        return -1;
    }
    return core_handle_is_same(op, id, info)
               ? 0
               : core_handle_raise_another(op, id);
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

PyObject *
core_handle_get_removed(PyObject *op, void *Py_UNUSED(closure))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyBool_FromLong(is_removed(op));
}

PyObject *
core_handle_get_field(PyObject *op, void *field)
{
    struct os_info info;
    if (core_handle_stat(op, &info) < 0) {
        return NULL;
    }
    return core_field_value(field, &info);
}

PyObject *
core_handle_info(PyObject *op, PyObject *Py_UNUSED(unused))
{
    struct os_info info;
    if (core_handle_stat(op, &info) < 0) {
        return NULL;
    }
    return core_info_record(core_handle(op)->state, core_handle(op)->kind,
                            &info, core_handle_id(op));
}

/* IPC_SET takes all of uid, gid and mode: read them, change one, write. */
int
core_handle_set_field(PyObject *op, PyObject *value, void *closure)
{
    const struct core_field *field = closure;
    CoreHandle *self = core_handle(op);
    int id = core_handle_id(op);
    long long number = 0;
    if (core_handle_refuse_delete(value, field->name) < 0) {
        return -1;
    }
    if (core_integer(self->state, value, field->name, 0,
                     (long long)field->maximum, &number) < 0) {
        core_error_set_subject(self->state, core_handle_subject(op));
        return -1;
    }
    /* The owner may change also what the mode does not let it read. */
    struct os_info info;
    int rc = core_kind_stat_any(self->kind, id, &info);
    if (rc == 0 && !core_handle_is_same(op, id, &info)) {
        return core_handle_raise_another(op, id);
    }
    if (rc < 0) {
        (void)core_handle_raise_by_id(op, id, rc, "change");
        return -1;
    }
    char *place = (char *)&info + field->offset;
    if (field->type == CORE_UINT) {
        *(unsigned int *)(void *)place = (unsigned int)number;
    }
    else {
        *(uint64_t *)(void *)place = (uint64_t)number;
    }
    rc = self->kind->set(id, &info);
    if (rc < 0) {
        bool resize = field == &core_field_max_size;
        (void)core_handle_raise_by_id(op, id, rc,
                                      resize ? "resize" : "change");
        return -1;
    }
    return 0;
}
