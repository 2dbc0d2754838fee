/* What the kernel knows of an object: the fields, once for the attributes of
 * handles and for the items of records. */
#ifndef SYSV_IPC_CORE_INFO_H
#define SYSV_IPC_CORE_INFO_H

#include "core/identity.h"

/* A field of struct os_info, as an attribute and as an item of a record. */
struct core_field {
    const char *name;
    const char *doc;
    size_t offset;
    enum {
        CORE_END,
        CORE_UINT,
        CORE_INT,
        CORE_INT64,
        CORE_UINT64,
        CORE_BOOL,
        CORE_NONE, /* not the kernel's to tell: None until listing.py knows */
    } type;
    uint64_t maximum;              /* for IPC_SET; 0 if it cannot be set */
    enum core_operation operation; /* that setting it is */
};

/* The fields of each kind, in the order of its record: X(name, place in
 * struct os_info, type, maximum, operation, doc).  Attributes and records are
 * made from these lists, so that they have the same words. */
#define CORE_COMMON_FIELDS(X) \
    X(uid, uid, CORE_UINT, UINT32_MAX, CHANGE, \
      "The owner's user id.  Set by owner, creator or root (IPC_SET), else\n" \
      "PermissionsError (EPERM).") \
    X(gid, gid, CORE_UINT, UINT32_MAX, CHANGE, \
      "The owner's group id; set as uid is.") \
    X(cuid, cuid, CORE_UINT, 0, NONE, "The creator's user id.") \
    X(cgid, cgid, CORE_UINT, 0, NONE, "The creator's group id.") \
    X(mode, mode, CORE_UINT, OS_MODE_MASK, CHANGE, \
      "The permission bits, 0 to 0o777; set as uid is.") \
    X(last_change_time, last_change_time, CORE_INT64, 0, NONE, \
      "When it was created or last changed by IPC_SET, in seconds since\n" \
      "the epoch.")

#define CORE_SEMAPHORE_FIELDS(X) \
    X(nsems, sem.nsems, CORE_UINT64, \
      0, NONE, "How many members the set has.") \
    X(last_operation_time, sem.last_operation_time, CORE_INT64, 0, NONE, \
      "When semop(2) was last called on the set, in seconds since the\n" \
      "epoch; 0 for never.")

#define CORE_SHARED_MEMORY_FIELDS(X) \
    X(creator_pid, shm.creator_pid, CORE_INT, 0, NONE, \
      "The process that created the segment.") \
    X(last_pid, shm.last_pid, CORE_INT, 0, NONE, \
      "The process that last attached or detached.") \
    X(number_attached, shm.number_attached, CORE_UINT64, 0, NONE, \
      "How many attachments there are, in all processes.") \
    X(last_attach_time, shm.last_attach_time, CORE_INT64, 0, NONE, \
      "The last attach, in seconds since the epoch; 0 for never.") \
    X(last_detach_time, shm.last_detach_time, CORE_INT64, 0, NONE, \
      "The last detach; 0 for never.") \
    X(marked_for_removal, shm.marked_for_removal, CORE_BOOL, 0, NONE, \
      "True when it goes as soon as the last one detaches.") \
    X(locked, shm.locked, CORE_BOOL, 0, NONE, \
      "True when lock() keeps it from being swapped.")

#define CORE_MESSAGE_QUEUE_FIELDS(X) \
    X(current_messages, msg.current_messages, CORE_UINT64, 0, NONE, \
      "How many messages are queued.") \
    X(current_bytes, msg.current_bytes, CORE_UINT64, 0, NONE, \
      "How many bytes of text are queued.") \
    X(max_size, msg.max_size, CORE_UINT64, INT_MAX, RESIZE, \
      "The most bytes of text that the queue holds (msg_qbytes).  Raising\n" \
      "it above kernel.msgmnb needs CAP_SYS_RESOURCE.") \
    X(last_send_pid, msg.last_send_pid, CORE_INT, 0, NONE, \
      "The process that last sent; 0 for none.") \
    X(last_receive_pid, msg.last_receive_pid, CORE_INT, 0, NONE, \
      "The process that last received; 0 for none.") \
    X(last_send_time, msg.last_send_time, CORE_INT64, 0, NONE, \
      "When a message was last sent, in seconds since the epoch; 0 for\n" \
      "never.") \
    X(last_receive_time, msg.last_receive_time, CORE_INT64, 0, NONE, \
      "When a message was last received; 0 for never.")

#define CORE_DECLARE_FIELD(name, place, type, maximum, operation, doc) \
    extern const struct core_field core_field_##name;
CORE_COMMON_FIELDS(CORE_DECLARE_FIELD)
CORE_SEMAPHORE_FIELDS(CORE_DECLARE_FIELD)
CORE_SHARED_MEMORY_FIELDS(CORE_DECLARE_FIELD)
CORE_MESSAGE_QUEUE_FIELDS(CORE_DECLARE_FIELD)

/* A field as an attribute; the doc is the field's. */
#define CORE_FIELD_GETSET(name, place, type, maximum, operation, doc) \
    {#name, core_handle_get_field, \
     (maximum) != 0 ? core_handle_set_field : NULL, PyDoc_STR(doc), \
     (void *)&core_field_##name},

/* What all kinds have, to be followed by their own fields. */
#define CORE_HANDLE_GETSET \
    {"key", core_handle_get_key, NULL, \
     PyDoc_STR("The object's key, a signed 32-bit int; 0 is IPC_PRIVATE.\n" \
               "None where the object was opened by id and the key is\n" \
               "not to be had."), \
     NULL}, \
    {"id", core_handle_get_id, core_handle_set_id, \
     PyDoc_STR("The id that the kernel gave the object."), NULL}, \
    {"removed", core_handle_get_removed, NULL, \
     PyDoc_STR("True when the object no longer exists."), NULL}, \
    CORE_COMMON_FIELDS(CORE_FIELD_GETSET)

PyObject *core_handle_get_field(PyObject *op, void *field);
int core_handle_set_field(PyObject *op, PyObject *value, void *field);
PyObject *core_handle_info(PyObject *op, PyObject *unused);
PyObject *core_field_value(const struct core_field *field, const void *values);
PyObject *core_info_record(CoreState *state, const struct core_kind *kind,
                           struct os_info *info, int id);
PyObject *core_info_limits(CoreState *state, const struct os_limits *limits);
/* Make the records' types and add them to the module: 0, or -1. */
int core_info_init(PyObject *module, CoreState *state);

#endif
