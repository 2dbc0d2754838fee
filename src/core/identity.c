/* What tells an object from another that gets its id later: an id is a number
 * that the kernel gives again, in another IPC namespace at once.
 *
 * A handle is compared with what its id names now before calls that are rare
 * and that change or tell of the object: removing it, setting its owner, its
 * attributes.  Calls in a hot path are not, because that would take a system
 * call.  A pickle, which may be opened in another process, carries all that
 * tells. */
#include "core/info.h"

#include <errno.h>

/* What the handle itself remembers; *namespace is 0 if it does not. */
static bool
is_same_lock_held(PyObject *op, int id, const struct os_info *now,
                  uint64_t *namespace)
{
    const struct core_kind *kind = core_handle(op)->kind;
    int64_t key = core_handle_key(op);
    *namespace = 0;
    if (core_handle_id(op) != id) {
        /* Initialised again since the call began. */
        return true;
    }
    *namespace = (uint64_t)CORE_LOAD_INT64(&core_handle(op)->namespace);
    bool removed_segment = kind == &core_shared_memory_kind &&
                           now->shm.marked_for_removal;
    return !atomic_load(&core_handle(op)->gone) &&
           (key == CORE_NO_KEY || now->key == key || removed_segment) &&
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
    /* It may be out of reach by now, after chroot(2): that proves nothing. */
    uint64_t namespace = os_namespace_number();
    return namespace == 0 || namespace == then;
}

int
core_handle_raise_another(PyObject *op, int id)
{
    struct core_subject subject = core_handle_subject_by_id(op, id);
    (void)core_refuse_as(core_handle(op)->state,
                         core_handle(op)->state->ExistentialError, EIDRM,
                         subject,
                         "this %s is gone, or in another IPC namespace: id %d "
                         "names another object now",
                         subject.kind->name, id);
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

/* ----------------------------------------------------------------- pickles */

/* The numbers of an identity: those that an object keeps, and those that only
 * grow. */
struct facts {
    long long namespace, namespace_id, user_namespace;
    long long key, amount, cuid, cgid;
    long long change_time, first_time, second_time;
    long long uid, gid, mode, max_size;
};

/* The time of change of an object that may not be looked at. */
#define UNKNOWN (-1)

#define FACT_COUNT (sizeof(struct facts) / sizeof(long long))

static void
get_facts(const struct core_kind *kind, const struct os_info *info,
          struct facts *facts)
{
    struct os_namespace namespace = os_namespace(OS_NAMESPACE_IPC);
    *facts = (struct facts){
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
    if (kind == &core_shared_memory_kind) {
        facts->amount = (long long)info->shm.size;
        facts->first_time = info->shm.last_attach_time;
        facts->second_time = info->shm.last_detach_time;
    }
    else if (kind == &core_message_queue_kind) {
        facts->max_size = (long long)info->msg.max_size;
        facts->first_time = info->msg.last_send_time;
        facts->second_time = info->msg.last_receive_time;
    }
    else {
        facts->amount = (long long)info->sem.nsems;
        facts->first_time = info->sem.last_operation_time;
    }
}

/* Raise it if the object is gone. */
static int
look(PyObject *op, struct facts *facts)
{
    CoreHandle *self = core_handle(op);
    int id = core_handle_id(op);
    struct os_info info = {.last_change_time = UNKNOWN};
    int rc = core_kind_stat_any(self->kind, id, &info);
    if (rc == 0 && !core_handle_is_same(op, id, &info)) {
        return core_handle_raise_another(op, id);
    }
    if (rc == -EINVAL || rc == -EIDRM) {
        (void)core_raise_gone(self->state, -EINVAL, "stat",
                              core_handle_subject_by_id(op, id));
        return -1;
    }
    get_facts(self->kind, &info, facts);
    if (rc < 0) {
        facts->key = core_handle_key(op);
    }
    return 0;
}

PyObject *
core_identity(PyObject *op)
{
    struct facts facts;
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
               : Py_BuildValue("(ssN)", core_handle(op)->kind->name, boot,
                               numbers);
}

/* The object's owner, mode or size was changed since, which explains a later
 * time of change. */
static bool
was_changed(const struct facts *then, const struct facts *now)
{
    return then->uid != now->uid || then->gid != now->gid ||
           then->mode != now->mode || then->max_size != now->max_size;
}

/* Why it is not the same object, or NULL. */
static const char *
difference(const struct core_kind *kind, const struct facts *then,
           const struct facts *now)
{
    bool known = then->namespace != 0 && now->namespace != 0;
    bool id_differs = then->namespace_id != 0 && now->namespace_id != 0 &&
                      then->namespace_id != now->namespace_id;
    if (id_differs || (known && then->namespace != now->namespace)) {
        return "it is in another IPC namespace";
    }
    bool key_differs =
        then->key != now->key && then->key != CORE_NO_KEY &&
        !(kind == &core_shared_memory_kind && now->key == IPC_PRIVATE);
    if (then->change_time == UNKNOWN || now->change_time == UNKNOWN) {
        return key_differs ? "its id names another object now" : NULL;
    }
    bool creator_differs =
        then->user_namespace == now->user_namespace &&
        (then->cuid != now->cuid || then->cgid != now->cgid);
    /* SETVAL and SETALL change that of a set too. */
    bool is_set = kind != &core_shared_memory_kind &&
                  kind != &core_message_queue_kind;
    bool time_differs = then->change_time != now->change_time &&
                        (!known || (!is_set && !was_changed(then, now)));
    if (key_differs || creator_differs || time_differs ||
        then->amount != now->amount || now->first_time < then->first_time ||
        now->second_time < then->second_time) {
        return "its id names another object now";
    }
    return NULL;
}

static const struct core_kind *
kind_of_name(const char *name)
{
    static const struct core_kind *const kinds[] = {
        &core_semaphore_kind,
        &core_shared_memory_kind,
        &core_message_queue_kind,
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(name, kinds[i]->name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

int
core_identity_check(CoreState *state, PyObject *identity, PyObject *id)
{
    const char *name, *boot;
    PyObject *numbers;
    struct facts then, now;
    struct os_info info;
    char boot_now[64];
    long long number = -1;
    if (!PyArg_ParseTuple(identity, "ssO!", &name, &boot, &PyTuple_Type,
                          &numbers) ||
        core_integer(state, id, "id", INT_MIN, INT_MAX, &number) < 0) {
        return -1;
    }
    const struct core_kind *kind = kind_of_name(name);
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
        if (rc == -EACCES) {
            info = (struct os_info){.last_change_time = UNKNOWN};
        }
        if (rc == 0 || rc == -EACCES) {
            get_facts(kind, &info, &now);
            now.key = rc == 0 ? now.key : then.key;
            why = difference(kind, &then, &now);
        }
    }
    if (why != NULL) {
        (void)core_refuse_as(
            state, state->ExistentialError, ENOENT,
            (struct core_subject){kind, then.key, (int)number},
            "the %s that was pickled, with key %lld and id %lld, is not here: "
            "%s",
            kind->name, then.key, number, why);
        return -1;
    }
    return 0;
}
