/* The fields that the kernel has for an object: as attributes of handles, and
 * as items of records. */
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
        CORE_NONE, /* not from the kernel: None, or set by listing.py */
    } type;
    uint64_t maximum;              /* the largest value to set; 0: read-only */
    enum core_operation operation; /* of setting it, for errors */
};

/* The fields of each kind, in the order of its record: X(name, place in struct
 * os_info, type, maximum, operation, docstring).  Attributes and records are
 * made from these lists, so they have the same names and docstrings. */
#define CORE_COMMON_FIELDS(X) \
    X(uid, uid, CORE_UINT, UINT32_MAX, CHANGE, \
      "The owner's user id.  Owner, creator and root may set it (IPC_SET);\n" \
      "others get PermissionsError (EPERM).") \
    X(gid, gid, CORE_UINT, UINT32_MAX, CHANGE, \
      "The owner's group id; writable like uid.") \
    X(cuid, cuid, CORE_UINT, 0, NONE, "The creator's user id.") \
    X(cgid, cgid, CORE_UINT, 0, NONE, "The creator's group id.") \
    X(mode, mode, CORE_UINT, OS_MODE_MASK, CHANGE, \
      "The permission bits, 0 to 0o777; writable like uid.") \
    X(last_change_time, last_change_time, CORE_INT64, 0, NONE, \
      "The time of the creation or of the last IPC_SET, in seconds since\n" \
      "the epoch.")

#define CORE_SEMAPHORE_FIELDS(X) \
    X(nsems, sem.nsems, CORE_UINT64, \
      0, NONE, "The number of members of the set.") \
    X(last_operation_time, sem.last_operation_time, CORE_INT64, 0, NONE, \
      "The time of the last semop(2) on the set, in seconds since the\n" \
      "epoch; 0 if there was none.")

#define CORE_SHARED_MEMORY_FIELDS(X) \
    X(creator_pid, shm.creator_pid, CORE_INT, 0, NONE, \
      "The process that created the segment.") \
    X(last_pid, shm.last_pid, CORE_INT, 0, NONE, \
      "The process that last attached or detached the segment.") \
    X(number_attached, shm.number_attached, CORE_UINT64, 0, NONE, \
      "The number of attachments in all processes.") \
    X(last_attach_time, shm.last_attach_time, CORE_INT64, 0, NONE, \
      "The time of the last attach, in seconds since the epoch; 0 if\n" \
      "there was none.") \
    X(last_detach_time, shm.last_detach_time, CORE_INT64, 0, NONE, \
      "The time of the last detach; 0 if there was none.") \
    X(marked_for_removal, shm.marked_for_removal, CORE_BOOL, 0, NONE, \
      "True if the segment is removed with its last attachment.") \
    X(locked, shm.locked, CORE_BOOL, 0, NONE, \
      "True if lock() prevents swapping.")

#define CORE_MESSAGE_QUEUE_FIELDS(X) \
    X(current_messages, msg.current_messages, CORE_UINT64, 0, NONE, \
      "The number of messages in the queue.") \
    X(current_bytes, msg.current_bytes, CORE_UINT64, 0, NONE, \
      "The number of bytes of all messages in the queue.") \
    X(max_size, msg.max_size, CORE_UINT64, INT_MAX, RESIZE, \
      "The largest number of bytes that the queue may hold (msg_qbytes).\n" \
      "Raising it above kernel.msgmnb requires CAP_SYS_RESOURCE.") \
    X(last_send_pid, msg.last_send_pid, CORE_INT, 0, NONE, \
      "The process that last sent a message; 0 if there was none.") \
    X(last_receive_pid, msg.last_receive_pid, CORE_INT, 0, NONE, \
      "The process that last received a message; 0 if there was none.") \
    X(last_send_time, msg.last_send_time, CORE_INT64, 0, NONE, \
      "The time of the last send, in seconds since the epoch; 0 if there\n" \
      "was none.") \
    X(last_receive_time, msg.last_receive_time, CORE_INT64, 0, NONE, \
      "The time of the last receive; 0 if there was none.")

#define CORE_DECLARE_FIELD(name, place, type, maximum, operation, doc) \
    extern const struct core_field core_field_##name;
CORE_COMMON_FIELDS(CORE_DECLARE_FIELD)
CORE_SEMAPHORE_FIELDS(CORE_DECLARE_FIELD)
CORE_SHARED_MEMORY_FIELDS(CORE_DECLARE_FIELD)
CORE_MESSAGE_QUEUE_FIELDS(CORE_DECLARE_FIELD)

/* A field as an attribute, with the docstring of the field. */
#define CORE_FIELD_GETSET(name, place, type, maximum, operation, doc) \
    {#name, core_handle_get_field, \
     (maximum) != 0 ? core_handle_set_field : NULL, PyDoc_STR(doc), \
     (void *)&core_field_##name},

/* The attributes of all kinds.  Those of the kind follow. */
#define CORE_HANDLE_GETSET \
    {"key", core_handle_get_key, NULL, \
     PyDoc_STR("The object's key, a signed 32-bit int; 0 is IPC_PRIVATE.\n" \
               "None if the object was opened by id and its key is\n" \
               "unknown."), \
     NULL}, \
    {"id", core_handle_get_id, core_handle_set_id, \
     PyDoc_STR("The id that the kernel assigned."), NULL}, \
    {"removed", core_handle_get_removed, NULL, \
     PyDoc_STR("True if the object no longer exists."), NULL}, \
    CORE_COMMON_FIELDS(CORE_FIELD_GETSET)

PyObject *core_handle_get_field(PyObject *op, void *field);
int core_handle_set_field(PyObject *op, PyObject *value, void *field);
PyObject *core_handle_info(PyObject *op, PyObject *unused);
PyObject *core_field_value(const struct core_field *field, const void *values);
PyObject *core_info_record(CoreState *state, const struct core_kind *kind,
                           struct os_info *info, int id);
PyObject *core_info_limits(CoreState *state, const struct os_limits *limits);
/* Make the types of records and add them to the module.  Return 0, or -1 with
 * an exception. */
int core_info_init(PyObject *module, CoreState *state);

#endif
