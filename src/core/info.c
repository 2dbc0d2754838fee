/* Records: the results of IPC_STAT and of the _INFO commands, as struct
 * sequences; and the attributes with the same values.  Setting an attribute
 * calls IPC_SET.
 *
 * Each field is listed once, in info.h: the attributes of handles and the
 * items of records are made from the same lists.  The types of records are set
 * once, when the module is made.  Nothing here is shared by threads. */
#include "core/info.h"

#include <errno.h>

#define DEFINE_FIELD(name, place, type, maximum, operation, doc) \
    const struct core_field core_field_##name = {     \
        #name, doc, offsetof(struct os_info, place), type, maximum,          \
        CORE_OPERATION_##operation};
CORE_COMMON_FIELDS(DEFINE_FIELD)
CORE_SEMAPHORE_FIELDS(DEFINE_FIELD)
CORE_SHARED_MEMORY_FIELDS(DEFINE_FIELD)
CORE_MESSAGE_QUEUE_FIELDS(DEFINE_FIELD)

#define FIELD(name, place, type, maximum, operation, doc) \
    {#name, doc, offsetof(struct os_info, place), type, maximum,              \
     CORE_OPERATION_##operation},
#define NONE(name, doc) {#name, doc, 0, CORE_NONE, 0, CORE_OPERATION_NONE}
#define END {NULL, NULL, 0, CORE_END, 0, CORE_OPERATION_NONE}
#define NAMES                                                             \
    FIELD(key, key, CORE_INT, 0, NONE, "The key; 0 is IPC_PRIVATE.") \
    FIELD(id, id, CORE_INT, 0, NONE, "The id.")

static const struct core_field semaphore_fields[] = {
    NAMES CORE_COMMON_FIELDS(FIELD) CORE_SEMAPHORE_FIELDS(FIELD)
        NONE(members, "A SemaphoreMemberInfo for each member, or None if not\n"
                      "requested or not readable."),
    END,
};
static const struct core_field shared_memory_fields[] = {
    NAMES CORE_COMMON_FIELDS(FIELD) FIELD(size, shm.size, CORE_UINT64, 0, NONE,
                                          "The size in bytes.")
        CORE_SHARED_MEMORY_FIELDS(FIELD)
            NONE(resident, "Bytes in memory; None in the record of info()."),
    NONE(swapped, "Bytes swapped out; None in the record of info()."),
    NONE(pids, "The processes that have it attached, or None if not\n"
               "requested."),
    NONE(pids_complete, "True if pids accounts for all of number_attached."),
    END,
};
static const struct core_field message_queue_fields[] = {
    NAMES CORE_COMMON_FIELDS(FIELD) CORE_MESSAGE_QUEUE_FIELDS(FIELD) END,
};

#define NUMBER(name, doc) \
    {#name,  doc, offsetof(struct os_limits, name), CORE_UINT64, 0,          \
     CORE_OPERATION_NONE}
static const struct core_field limits_fields[] = {
    NUMBER(semmsl, "kernel.sem, first number: the most members of a set."),
    NUMBER(semmns,
           "kernel.sem, second number: the most semaphores in all sets."),
    NUMBER(semopm,
           "kernel.sem, third number: the most operations in one semop(2)."),
    NUMBER(semmni, "kernel.sem, fourth number: the most sets."),
    NUMBER(shmmax, "kernel.shmmax: the most bytes of a segment."),
    NUMBER(shmall, "kernel.shmall: the most pages of all segments."),
    NUMBER(shmmni, "kernel.shmmni: the most segments."),
    NUMBER(msgmax, "kernel.msgmax: the most bytes of a message."),
    NUMBER(msgmnb, "kernel.msgmnb: max_size of a new queue, in bytes."),
    NUMBER(msgmni, "kernel.msgmni: the most queues."),
    NUMBER(semaphore_sets, "Sets that exist; semmni limits them."),
    NUMBER(semaphores, "Semaphores in all sets; semmns limits them."),
    NUMBER(segments, "Segments that exist; shmmni limits them."),
    NUMBER(pages, "Pages of all segments; shmall limits them."),
    NUMBER(resident_pages, "Pages of segments that are in memory."),
    NUMBER(swapped_pages, "Pages of segments that are swapped out."),
    NUMBER(queues, "Queues that exist; msgmni limits them."),
    NUMBER(messages, "Messages in all queues."),
    NUMBER(message_bytes, "Bytes of text in all queues."),
    END,
};

/* listing.py makes these records, so the offsets are not used. */
static const struct core_field member_fields[] = {
    NONE(value, "The value."),
    NONE(last_pid,
         "The process that last changed the value; 0 if there was none."),
    NONE(waiting_for_nonzero,
         "The number of threads that wait for a larger value."),
    NONE(waiting_for_zero, "The number of threads that wait for zero."),
    END,
};

PyObject *
core_field_value(const struct core_field *field, const void *values)
{
    const void *value = (const char *)values + field->offset;
    switch (field->type) {
    case CORE_UINT:
        return PyLong_FromUnsignedLong(*(const unsigned int *)value);
    case CORE_INT:
        return PyLong_FromLong(*(const int *)value);
    case CORE_INT64:
        return PyLong_FromLongLong(*(const int64_t *)value);
    case CORE_UINT64:
        return PyLong_FromUnsignedLongLong(*(const uint64_t *)value);
    case CORE_BOOL:
        return PyBool_FromLong(*(const bool *)value);
    case CORE_NONE:
    case CORE_END:
        break;
    }
    Py_RETURN_NONE;
}

/* --------------------------------------------------------------- records */

static const struct record {
    const char *name, *doc;
    const struct core_field *fields;
    const char *hidden; /* the first field that is only an attribute */
    size_t type;        /* an offset in CoreState */
} records[] = {
#define RECORD(name, fields, hidden, doc) \
    [CORE_RECORD_##name] = {"sysv_ipc." #name, doc, fields, hidden,           \
                            offsetof(CoreState, name)}
    RECORD(SemaphoreInfo, semaphore_fields, "members",
           "A semaphore set as the kernel describes it; see semctl(2).\n"
           "\n"
           ">>> for record in semaphores():\n"
           "...     print(record.id, oct(record.mode), record.nsems)"),
    RECORD(
        SemaphoreMemberInfo, member_fields, NULL,
        "One member of a semaphore set; see semctl(2).\n"
        "\n"
        ">>> for record in semaphores(members=True):\n"
        "...     print(record.id, [m.value for m in record.members or ()])"),
    RECORD(SharedMemoryInfo, shared_memory_fields, "pids",
           "A segment as the kernel describes it; see shmctl(2).\n"
           "\n"
           ">>> for record in shared_memories(pids=True):\n"
           "...     print(record.id, record.size, record.pids)"),
    RECORD(MessageQueueInfo, message_queue_fields, NULL,
           "A message queue as the kernel describes it; see msgctl(2).\n"
           "\n"
           ">>> for record in message_queues():\n"
           "...     print(record.id, record.current_messages, "
           "record.last_send_pid)"),
    RECORD(Limits, limits_fields, NULL,
           "The limits of the IPC namespace and how much is in use.\n"
           "\n"
           "Limits have the names of their sysctls; see proc(5).\n"
           "\n"
           ">>> now = limits()\n"
           ">>> now.queues < now.msgmni\n"
           "True"),
};

static PyObject *
make_type(const struct record *record)
{
    PyStructSequence_Field items[32] = {{NULL, NULL}};
    const struct core_field *fields = record->fields;
    int count = 0, visible = -1;
    for (; fields[count].type != CORE_END; count++) {
        items[count].name = fields[count].name;
        items[count].doc = fields[count].doc;
        if (record->hidden != NULL &&
            strcmp(record->hidden, fields[count].name) == 0) {
            visible = count;
        }
    }
    PyStructSequence_Desc description = {
        .name = record->name,
        .doc = record->doc,
        .fields = items,
        .n_in_sequence = visible < 0 ? count : visible,
    };
    return (PyObject *)PyStructSequence_NewType(&description);
}

/* Return the place of a record's type in the module state. */
static PyObject **
record_type(CoreState *state, enum core_record record)
{
    return (PyObject **)(void *)((char *)state + records[record].type);
}

int
core_info_init(PyObject *module, CoreState *state)
{
    for (size_t i = 0; i < CORE_RECORD_COUNT; i++) {
        PyObject *type = make_type(&records[i]);
        if (type == NULL && !PyErr_Occurred()) {
            /* CPython sets no exception if there is no memory. */
            (void)PyErr_NoMemory();
        }
        if (type == NULL ||
            PyModule_AddType(module, (PyTypeObject *)type) < 0) {
            Py_XDECREF(type);
            return -1;
        }
        *record_type(state, (enum core_record)i) = type;
    }
    return 0;
}

/* Make a record with these values. */
static PyObject *
make_record(CoreState *state, enum core_record which, const void *values)
{
    const struct core_field *fields = records[which].fields;
    PyObject *type = *record_type(state, which);
    PyObject *record = PyStructSequence_New((PyTypeObject *)type);
    if (record == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; fields[i].type != CORE_END; i++) {
        PyObject *value = core_field_value(&fields[i], values);
        if (value == NULL) {
            Py_DECREF(record);
            return NULL;
        }
        PyStructSequence_SetItem(record, i, value);
    }
    return record;
}

PyObject *
core_info_record(CoreState *state, const struct core_kind *kind,
                 struct os_info *info, int id)
{
    info->id = id;
    return make_record(state, kind->record, info);
}

PyObject *
core_info_limits(CoreState *state, const struct os_limits *limits)
{
    return make_record(state, CORE_RECORD_Limits, limits);
}

/* ------------------------------------------------------------- attributes */

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

/* IPC_SET sets uid, gid and mode together: read them, change one, write
 * all. */
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
        core_error_set_target(self->state, core_handle_target(op));
        return -1;
    }
    /* The owner may change an object even if its mode does not allow reading
     * it. */
    struct os_info info;
    int rc = core_kind_stat_any(self->kind, id, &info);
    if (rc == 0 && !core_handle_is_same(op, id, &info)) {
        return core_handle_raise_another(op, id);
    }
    if (rc < 0) {
        (void)core_handle_raise_by_id(op, id, rc, field->operation);
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
        (void)core_handle_raise_by_id(op, id, rc, field->operation);
        return -1;
    }
    return 0;
}
