/* Records: what IPC_STAT and the _INFO commands tell, as struct sequences.
 *
 * The fields are listed once (info.h): the attributes of the objects and the
 * items of their records are made from the same lists. */
#include "core/info.h"
#include "core/open.h"

#include <errno.h>

#define DEFINE_FIELD(name, place, type, maximum, doc) \
    const struct core_field core_field_##name = {     \
        #name, doc, offsetof(struct os_info, place), type, maximum};
CORE_COMMON_FIELDS(DEFINE_FIELD)
CORE_SEMAPHORE_FIELDS(DEFINE_FIELD)
CORE_SHARED_MEMORY_FIELDS(DEFINE_FIELD)
CORE_MESSAGE_QUEUE_FIELDS(DEFINE_FIELD)

#define FIELD(name, place, type, maximum, doc) \
    {#name, doc, offsetof(struct os_info, place), type, maximum},
#define NONE(name, doc) {#name, doc, 0, CORE_NONE, 0}
#define END {NULL, NULL, 0, CORE_END, 0}
#define NAMES                                                             \
    FIELD(key, key, CORE_INT, 0, "The key; 0 is IPC_PRIVATE.")            \
    FIELD(id, id, CORE_INT, 0, "The id.")

static const struct core_field semaphore_fields[] = {
    NAMES CORE_COMMON_FIELDS(FIELD) CORE_SEMAPHORE_FIELDS(FIELD)
        NONE(members, "One SemaphoreMemberInfo a member, where asked for and\n"
                      "readable; else None."),
    END,
};
static const struct core_field shared_memory_fields[] = {
    NAMES CORE_COMMON_FIELDS(FIELD)
        FIELD(size, shm.size, CORE_UINT64, 0, "The size in bytes.")
            CORE_SHARED_MEMORY_FIELDS(FIELD)
                NONE(resident,
                     "Bytes in memory; None where info() made the record."),
    NONE(swapped, "Bytes swapped out; None where info() made the record."),
    NONE(pids, "The processes that have it attached, where asked for; else\n"
               "None."),
    NONE(pids_complete, "True when pids accounts for all of number_attached."),
    END,
};
static const struct core_field message_queue_fields[] = {
    NAMES CORE_COMMON_FIELDS(FIELD) CORE_MESSAGE_QUEUE_FIELDS(FIELD) END,
};

#define NUMBER(name, doc) \
    {#name, doc, offsetof(struct os_limits, name), CORE_UINT64, 0}
static const struct core_field limits_fields[] = {
    NUMBER(semmsl, "kernel.sem, first: the most members of a set."),
    NUMBER(semmns, "kernel.sem, second: the most semaphores in all sets."),
    NUMBER(semopm, "kernel.sem, third: the most operations of a semop(2)."),
    NUMBER(semmni, "kernel.sem, fourth: the most sets."),
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
    NUMBER(resident_pages, "Those of them that are in memory."),
    NUMBER(swapped_pages, "Those of them that are swapped out."),
    NUMBER(queues, "Queues that exist; msgmni limits them."),
    NUMBER(messages, "Messages in all queues."),
    NUMBER(message_bytes, "Bytes of text in all queues."),
    END,
};

/* Made by listing.py, so the offsets mean nothing. */
static const struct core_field member_fields[] = {
    NONE(value, "The value."),
    NONE(last_pid, "The process that last changed the value; 0 for none."),
    NONE(waiting_for_nonzero, "How many wait for a larger value."),
    NONE(waiting_for_zero, "How many wait for zero."),
    END,
};

const struct core_kind core_semaphore_kind = {
    .name = "semaphore",
    .name_object = offsetof(CoreState, semaphore_name),
    .record = CORE_RECORD_SemaphoreInfo,
    .type = offsetof(CoreState, semaphore_type),
    .spare = offsetof(CoreState, semaphore_spare),
    .beside_mode = "initial_value",
    .get = os_sem_get,
    .create = core_semaphore_create,
    .accept = core_semaphore_accept,
    .stat = os_sem_stat,
    .set = os_sem_set,
    .remove = os_sem_remove,
    .list = os_sem_list,
    .last_place = os_sem_last_place,
    .same = core_semaphore_same,
};

/* The same objects, seen whole: a member is never equal to its set. */
const struct core_kind core_semaphore_set_kind = {
    .name = "semaphore",
    .name_object = offsetof(CoreState, semaphore_name),
    .record = CORE_RECORD_SemaphoreInfo,
    .type = offsetof(CoreState, semaphore_set_type),
    .spare = offsetof(CoreState, semaphore_set_spare),
    .get = os_sem_get,
    .create = core_semaphore_create,
    .accept = core_semaphore_accept,
    .stat = os_sem_stat,
    .set = os_sem_set,
    .remove = os_sem_remove,
    .list = os_sem_list,
    .last_place = os_sem_last_place,
    .same = core_semaphore_set_same,
};

const struct core_kind core_shared_memory_kind = {
    .name = "shared memory",
    .name_object = offsetof(CoreState, shared_memory_name),
    .record = CORE_RECORD_SharedMemoryInfo,
    .type = offsetof(CoreState, shared_memory_type),
    .spare = offsetof(CoreState, shared_memory_spare),
    .beside_mode = "size",
    .get = os_shm_get,
    .create = core_create,
    .stat = os_shm_stat,
    .set = os_shm_set,
    .remove = os_shm_remove,
    .list = os_shm_list,
    .last_place = os_shm_last_place,
    .same = core_shared_memory_same,
};

static int
message_queue_get(key_t key, size_t Py_UNUSED(size), int flags)
{
    return os_msg_get(key, flags);
}

const struct core_kind core_message_queue_kind = {
    .name = "message queue",
    .name_object = offsetof(CoreState, message_queue_name),
    .record = CORE_RECORD_MessageQueueInfo,
    .type = offsetof(CoreState, message_queue_type),
    .spare = offsetof(CoreState, message_queue_spare),
    .beside_mode = "max_message_size",
    .get = message_queue_get,
    .create = core_create,
    .stat = os_msg_stat,
    .set = os_msg_set,
    .remove = os_msg_remove,
    .list = os_msg_list,
    .last_place = os_msg_last_place,
};

int
core_kind_stat_any(const struct core_kind *kind, int id, struct os_info *info)
{
    int rc = kind->stat(id, info);
    if (rc != -EACCES) {
        return rc;
    }
    /* An object's place is the low 15 bits of its id, or 24 where the kernel
     * was booted with ipcmni_extend. */
    if (kind->list(id & 0x7fff, info) == id ||
        kind->list(id & 0xffffff, info) == id) {
        return 0;
    }
    return -EACCES;
}

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
    const char *hidden; /* from this field on, none is in the sequence */
    size_t type;        /* an offset in CoreState */
} records[] = {
#define RECORD(name, fields, hidden, doc) \
    [CORE_RECORD_##name] = {"sysv_ipc." #name, doc, fields, hidden,           \
                            offsetof(CoreState, name)}
    RECORD(SemaphoreInfo, semaphore_fields, "members",
           "What the kernel knows of a semaphore set; see semctl(2)."),
    RECORD(SemaphoreMemberInfo, member_fields, NULL,
           "One member of a semaphore set; see semctl(2)."),
    RECORD(SharedMemoryInfo, shared_memory_fields, "pids",
           "What the kernel knows of a segment; see shmctl(2)."),
    RECORD(MessageQueueInfo, message_queue_fields, NULL,
           "What the kernel knows of a message queue; see msgctl(2)."),
    RECORD(Limits, limits_fields, NULL,
           "The limits of the IPC namespace, by the names of their sysctls, "
           "and\nwhat is in use; see proc(5)."),
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

int
core_info_init(PyObject *module, CoreState *state)
{
    for (size_t i = 0; i < CORE_RECORD_COUNT; i++) {
        PyObject *type = make_type(&records[i]);
        if (type == NULL && !PyErr_Occurred()) {
            /* CPython sets no exception when memory is lacking. */
            (void)PyErr_NoMemory();
        }
        if (type == NULL ||
            PyModule_AddType(module, (PyTypeObject *)type) < 0) {
            Py_XDECREF(type);
            return -1;
        }
        *core_state_object(state, records[i].type) = type;
    }
    return 0;
}

/* A record with these values. */
static PyObject *
make_record(CoreState *state, enum core_record which, const void *values)
{
    const struct core_field *fields = records[which].fields;
    PyObject *type = *core_state_object(state, records[which].type);
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
