/* Check that an id still names the object that a handle was opened for: the
 * kernel reuses ids, and in another IPC namespace the same id may exist at
 * once.  IPC_STAT, also without read permission.
 *
 * Calls that are rare, and that change or describe the object, check it:
 * remove(), attributes, info().  Calls in hot paths do not: a check is a
 * system call.  A pickle may be loaded in another process, so it contains all
 * facts that distinguish the object.
 *
 * core_handle_is_same() reads the fields of the handle together, in its
 * critical section, because __init__() may run again. */
#include "core/identity.h"

#include <errno.h>

/* Compare the facts that the handle knows.  *namespace is 0 if the handle does
 * not know its namespace. */
static bool
is_same_lock_held(PyObject *op, int id, const struct os_info *now,
                  uint64_t *namespace)
{
    const struct core_kind *kind = core_handle(op)->kind;
    int64_t key = core_handle_key(op);
    *namespace = 0;
    if (core_handle_id(op) != id) {
        /* The handle was initialised again after the call began. */
        return true;
    }
    *namespace = (uint64_t)CORE_LOAD_INT64(&core_handle(op)->namespace);
    int64_t creator = CORE_LOAD_INT64(&core_handle(op)->creator);
    bool has_lost_key = kind->is_marked != NULL && kind->is_marked(now);
    return !atomic_load(&core_handle(op)->gone) &&
           (creator == 0 || creator == core_creator(now)) &&
           (key == CORE_NO_KEY || now->key == key || has_lost_key) &&
           (kind->same == NULL || kind->same(op, now));
}

bool
core_handle_is_same(PyObject *op, int id, const struct os_info *now)
{
    bool same;
    uint64_t then;
    CORE_BEGIN_CRITICAL_SECTION(op);
    same = is_same_lock_held(op, id, now, &then);
    CORE_END_CRITICAL_SECTION();
    if (!same || then == 0) {
        return same;
    }
    /* After chroot(2) the number of the namespace may be unreadable; then
     * nothing is proven. */
    uint64_t namespace = os_namespace_number();
    return namespace == 0 || namespace == then;
}

int
core_handle_raise_another(PyObject *op, int id)
{
    struct core_target target = core_handle_target_by_id(op, id);
    (void)core_refuse_as(
        core_handle(op)->state, core_handle(op)->state->ExistentialError,
        EIDRM, target,
        "this %s was removed, or is in another IPC namespace: "
        "id %d names another object now",
        core_kind_name(target.kind), id);
    return -1;
}

int
core_handle_check_same(PyObject *op, int id)
{
    struct os_info now;
    int rc = core_kind_stat_any(core_handle(op)->kind, id, &now);
    return rc == 0 && !core_handle_is_same(op, id, &now)
               ? core_handle_raise_another(op, id)
               : 0;
}

/* Return true if the object was removed.  That includes an id that names
 * another object now, and a segment that exists only until it is detached
 * everywhere. */
static bool
is_removed(PyObject *op)
{
    const struct core_kind *kind = core_handle(op)->kind;
    struct os_info info;
    int id = core_handle_id(op);
    int rc = core_kind_stat_any(kind, id, &info);
    if (rc == 0) {
        return !core_handle_is_same(op, id, &info) ||
               (kind->is_marked != NULL && kind->is_marked(&info));
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
        return core_handle_raise_by_id(op, id, rc, CORE_OPERATION_REMOVE);
    }
    if (core_handle(op)->kind->is_marked == NULL && core_handle_id(op) == id) {
        atomic_store(&core_handle(op)->gone, true);
    }
    Py_RETURN_NONE;
}

int
core_handle_stat(PyObject *op, struct os_info *info)
{
    int id = core_handle_id(op);
    int rc = core_handle(op)->kind->stat(id, info);
    if (rc < 0) {
        (void)core_handle_raise_by_id(op, id, rc, CORE_OPERATION_STAT);
        return -1;
    }
    return core_handle_is_same(op, id, info)
               ? 0
               : core_handle_raise_another(op, id);
}

PyObject *
core_handle_get_removed(PyObject *op, void *Py_UNUSED(closure))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyBool_FromLong(is_removed(op));
}

/* ----------------------------------------------------------------- pickles */

/* The last_change_time of an object that the caller may not read. */
#define UNKNOWN (-1)

#define FACT_COUNT (sizeof(struct core_facts) / sizeof(long long))

static void
get_facts(const struct core_kind *kind, const struct os_info *info,
          struct core_facts *facts)
{
    struct os_namespace namespace = os_namespace(OS_NAMESPACE_IPC);
    *facts = (struct core_facts){
        .namespace = (long long)namespace.inode,
        .namespace_id = (long long)namespace.id,
        .user_namespace = (long long)os_namespace(OS_NAMESPACE_USER).inode,
        .key = info->key,
        .cuid = info->cuid,
        .cgid = info->cgid,
        .change_time = info->last_change_time,
        .uid = info->uid,
        .gid = info->gid,
        .mode = info->mode,
    };
    kind->add_facts(info, facts);
}

/* Collect the facts about the object of a handle.  Return 0, or -1 with an
 * exception if it no longer exists. */
static int
look(PyObject *op, struct core_facts *facts)
{
    CoreHandle *self = core_handle(op);
    int id = core_handle_id(op);
    struct os_info info = {.last_change_time = UNKNOWN};
    int rc = core_kind_stat_any(self->kind, id, &info);
    if (rc == 0 && !core_handle_is_same(op, id, &info)) {
        return core_handle_raise_another(op, id);
    }
    if (rc == -EINVAL || rc == -EIDRM) {
        (void)core_raise_gone(self->state, -EINVAL, CORE_OPERATION_STAT,
                              core_handle_target_by_id(op, id));
        return -1;
    }
    get_facts(self->kind, &info, facts);
    if (rc < 0) {
        facts->key = core_handle_key(op);
    }
    return 0;
}

static PyObject *
identity_of(PyObject *op)
{
    struct core_facts facts;
    char boot[64];
    if (look(op, &facts) < 0) {
        return NULL;
    }
    os_boot_id(boot, sizeof(boot));
    PyObject *numbers = PyTuple_New((Py_ssize_t)FACT_COUNT);
    for (size_t i = 0; numbers != NULL && i < FACT_COUNT; i++) {
        PyObject *number = PyLong_FromLongLong(((long long *)&facts)[i]);
        if (number == NULL) {
            Py_CLEAR(numbers);
            break;
        }
        PyTuple_SET_ITEM(numbers, (Py_ssize_t)i, number);
    }
    return numbers == NULL
               ? NULL
               : Py_BuildValue("(ssN)", core_kind_name(core_handle(op)->kind),
                               boot, numbers);
}

/* Return true if the owner, mode or size of the object has changed: that
 * explains a later last_change_time. */
static bool
was_changed(const struct core_facts *then, const struct core_facts *now)
{
    return then->uid != now->uid || then->gid != now->gid ||
           then->mode != now->mode || then->max_size != now->max_size;
}

/* Return the reason why it is not the same object, or NULL if it may be. */
static const char *
difference(const struct core_kind *kind, const struct core_facts *then,
           const struct core_facts *now)
{
    bool known = then->namespace != 0 && now->namespace != 0;
    bool id_differs = then->namespace_id != 0 && now->namespace_id != 0 &&
                      then->namespace_id != now->namespace_id;
    if (id_differs || (known && then->namespace != now->namespace)) {
        return "it is in another IPC namespace";
    }
    bool key_differs = then->key != now->key && then->key != CORE_NO_KEY &&
                       !(kind->is_marked != NULL && now->key == IPC_PRIVATE);
    if (then->change_time == UNKNOWN || now->change_time == UNKNOWN) {
        return key_differs ? "its id names another object now" : NULL;
    }
    bool creator_differs =
        then->user_namespace == now->user_namespace &&
        (then->cuid != now->cuid || then->cgid != now->cgid);
    bool time_differs =
        then->change_time != now->change_time &&
        (!known || (kind->keeps_change_time && !was_changed(then, now)));
    if (key_differs || creator_differs || time_differs ||
        then->amount != now->amount || now->first_time < then->first_time ||
        now->second_time < then->second_time) {
        return "its id names another object now";
    }
    return NULL;
}

static const struct core_kind *
kind_of_name(const CoreState *state, const char *name)
{
    for (size_t i = 0; i < CORE_KIND_COUNT; i++) {
        if (strcmp(name, core_kind_name(state->kinds[i].kind)) == 0) {
            return state->kinds[i].kind;
        }
    }
    return NULL;
}

static int
identity_check(CoreState *state, PyObject *identity, PyObject *id)
{
    const char *name, *boot;
    PyObject *numbers;
    struct core_facts then, now;
    struct os_info info;
    char boot_now[64];
    long long number = -1;
    if (!PyArg_ParseTuple(identity, "ssO!", &name, &boot, &PyTuple_Type,
                          &numbers) ||
        core_integer(state, id, "id", INT_MIN, INT_MAX, &number) < 0) {
        return -1;
    }
    const struct core_kind *kind = kind_of_name(state, name);
    if (kind == NULL || PyTuple_GET_SIZE(numbers) != (Py_ssize_t)FACT_COUNT) {
        PyErr_SetString(PyExc_ValueError,
                        "this pickle was made by another version of sysv_ipc");
        return -1;
    }
    for (size_t i = 0; i < FACT_COUNT; i++) {
        ((long long *)&then)[i] =
            PyLong_AsLongLong(PyTuple_GET_ITEM(numbers, (Py_ssize_t)i));
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    const char *why = NULL;
    os_boot_id(boot_now, sizeof(boot_now));
    if (boot[0] != '\0' && boot_now[0] != '\0' &&
        strcmp(boot, boot_now) != 0) {
        why = "the machine has been started again, or is another one";
    }
    else {
        int rc = core_kind_stat_any(kind, (int)number, &info);
        if (rc < 0) {
            info = (struct os_info){.last_change_time = UNKNOWN};
        }
        get_facts(kind, &info, &now);
        now.key = rc == 0 ? now.key : then.key;
        why = difference(kind, &then, &now);
        if (why == NULL && (rc == -EINVAL || rc == -EIDRM)) {
            (void)core_raise_gone(
                state, -EINVAL, CORE_OPERATION_OPEN,
                (struct core_target){kind, then.key, (int)number});
            return -1;
        }
    }
    if (why != NULL) {
        (void)core_refuse_as(
            state, state->ExistentialError, ENOENT,
            (struct core_target){kind, then.key, (int)number},
            "the %s that was pickled, with key %lld and id %lld, cannot be "
            "opened here: %s",
            core_kind_name(kind), then.key, number, why);
        return -1;
    }
    return 0;
}

PyObject *
core_handle_reduce(PyObject *op, PyObject *arguments, PyObject *attributes)
{
    PyObject *make = NULL, *own = NULL, *reopen = NULL, *identity = NULL;
    if (attributes == NULL && !PyErr_Occurred()) {
        attributes = PyDict_New();
    }
    /* The caller may have failed to make the arguments. */
    if (!PyErr_Occurred() && core_handle_check(core_handle(op)) == 0) {
        make = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "from_id");
        own = make == NULL ? NULL
                           : PyObject_CallMethod(op, "__getstate__", NULL);
        reopen = own == NULL
                     ? NULL
                     : PyObject_GetAttrString(core_module_of_type(Py_TYPE(op)),
                                              "_reopen");
        identity = reopen == NULL ? NULL : identity_of(op);
    }
    /* N releases all of them, also if one is NULL. */
    return Py_BuildValue("(N(NNNN)N)", reopen, make, arguments, attributes,
                         identity, own);
}

/* Undo core_handle_reduce(): open the object by id if the id still names it,
 * then restore the attributes of the handle.  Pickles of version 2.0.0 have no
 * identity. */
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
        identity_check(core_state_of_module(module), identity,
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
