/* sysv_ipc.MessageQueue: msgsnd(2), msgrcv(2), msgctl(2).
 *
 * max_message_size is set by tp_init, which may run again while others read,
 * so it is atomic; all else is in the kernel. */
#include "core.h"

#include <errno.h>

/* Messages up to this many bytes pass through the stack. */
#define STACK_TEXT 8192

/* Longer than this no buffer can be. */
#define LARGEST_TEXT (PY_SSIZE_T_MAX - (long long)sizeof(struct message))

/* 1.2.0's default for max_message_size. */
#define DEFAULT_MAX_MESSAGE_SIZE 2048

typedef struct {
    CoreHandle handle;
    _Atomic Py_ssize_t max_message_size;
} MessageQueueObject;

/* What msgsnd(2) and msgrcv(2) take: a type, and the text behind it. */
struct message {
    long type;
    char text[];
};

/* Room for a message: on the stack, or where it is too long, not. */
struct room {
    struct message *message;
    union {
        struct message head;
        char bytes[sizeof(struct message) + STACK_TEXT];
    } stack;
};

static inline MessageQueueObject *
message_queue(PyObject *op)
{
    return (MessageQueueObject *)op;
}

static int
message_queue_get(key_t key, size_t Py_UNUSED(size), int flags)
{
    return os_msg_get(key, flags);
}

const struct core_kind core_message_queue_kind = {
    .name = "message queue",
    .get = message_queue_get,
    .stat = os_msg_stat,
    .set = os_msg_set,
    .remove = os_msg_remove,
};

static PyObject *
message_queue_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                  PyObject *Py_UNUSED(keywords))
{
    PyObject *op = core_handle_new(type, &core_message_queue_kind);
    if (op != NULL) {
        message_queue(op)->max_message_size = DEFAULT_MAX_MESSAGE_SIZE;
    }
    return op;
}

/* max_message_size as a C size, or -1 with an exception. */
static Py_ssize_t
convert_max_message_size(CoreState *state, PyObject *value)
{
    long long size = DEFAULT_MAX_MESSAGE_SIZE;
    if (core_integer(state, value, "max_message_size", 0, LARGEST_TEXT,
                     &size) < 0) {
        return -1;
    }
    return (Py_ssize_t)size;
}

static int
message_queue_init(PyObject *op, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"key", "flags", "mode", "max_message_size", NULL};
    CoreState *state = core_handle(op)->state;
    PyObject *key, *flags = NULL, *mode = NULL, *size = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|OOO:MessageQueue",
                                     names, &key, &flags, &mode, &size)) {
        return -1;
    }
    Py_ssize_t limit = convert_max_message_size(state, size);
    struct core_request request = {
        .kind = &core_message_queue_kind,
        .create = core_create,
    };
    struct core_opened opened;
    if (limit < 0 ||
        core_request_convert(state, &request, key, flags, mode) < 0 ||
        core_open(state, &request, &opened) < 0) {
        return -1;
    }
    message_queue(op)->max_message_size = limit;
    core_handle_open(core_handle(op), opened.key, opened.id);
    return 0;
}

/* ----------------------------------------------------------------- sending */

static int
room_get(struct room *room, size_t size)
{
    room->message = &room->stack.head;
    if (size > STACK_TEXT) {
        room->message = PyMem_RawMalloc(sizeof(struct message) + size);
        if (room->message == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

static void
room_release(struct room *room)
{
    if (room->message != &room->stack.head) {
        PyMem_RawFree(room->message);
    }
}

/* 0, -errno or CORE_RAISED. */
static ssize_t
send_bytes(PyObject *op, const struct core_bytes *bytes, long type, bool block)
{
    Py_ssize_t limit = message_queue(op)->max_message_size;
    if (core_handle_check(core_handle(op)) < 0) {
        return CORE_RAISED;
    }
    if (bytes->size > limit) {
        (void)core_refuse(core_handle(op)->state, EINVAL,
                          core_handle_subject(op),
                          "the message has %zd bytes, and this handle's "
                          "max_message_size is %zd; nothing was sent",
                          bytes->size, limit);
        return CORE_RAISED;
    }
    struct room room;
    if (room_get(&room, (size_t)bytes->size) < 0) {
        return CORE_RAISED;
    }
    room.message->type = type;
    memcpy(room.message->text, bytes->data, (size_t)bytes->size);
    int id = core_handle_id(op);
    ssize_t rc =
        os_msg_send(id, room.message, (size_t)bytes->size, IPC_NOWAIT);
    if (rc == -EAGAIN && block) {
        struct os_call call = {
            .attempt = os_msg_send_attempt,
            .id = id,
            .size = (size_t)bytes->size,
            .message = room.message,
        };
        rc = core_wait(&call, OS_FOREVER);
    }
    room_release(&room);
    return rc;
}

static int
convert_send_type(CoreState *state, PyObject *value, long *out)
{
    long long type = 1;
    if (core_integer(state, value, "type", 1, LONG_MAX, &type) < 0) {
        return -1;
    }
    *out = (long)type;
    return 0;
}

/* The two ways to send; arguments are message, type and block. */
static ssize_t
send_arguments(PyObject *op, PyObject *const *given, bool block)
{
    long type;
    struct core_bytes bytes;
    if (convert_send_type(core_handle(op)->state, given[1], &type) < 0 ||
        core_bool(given[2], &block) < 0 ||
        core_bytes_get(given[0], &bytes) < 0) {
        return CORE_RAISED;
    }
    ssize_t rc = send_bytes(op, &bytes, type, block);
    core_bytes_release(&bytes);
    return rc;
}

static PyObject *
message_queue_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords)
{
    static const struct core_signature signature = {
        "send", 3, 3, 1, {"message", "block", "type"}};
    PyObject *given[3];
    if (core_bind(&signature, args, nargs, keywords, given) < 0) {
        return NULL;
    }
    PyObject *const ordered[] = {given[0], given[2], given[1]};
    ssize_t rc = send_arguments(op, ordered, true);
    if (rc < 0) {
        return core_handle_raise(op, rc, "send");
    }
    Py_RETURN_NONE;
}

static PyObject *
message_queue_try_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *keywords)
{
    static const struct core_signature signature = {
        "try_send", 2, 2, 1, {"message", "type"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (core_bind(&signature, args, nargs, keywords, given) < 0) {
        return NULL;
    }
    ssize_t rc = send_arguments(op, given, false);
    if (rc == -EAGAIN) {
        Py_RETURN_FALSE;
    }
    if (rc < 0) {
        return core_handle_raise(op, rc, "send");
    }
    Py_RETURN_TRUE;
}

/* --------------------------------------------------------------- receiving */

/* One receive into this room: at once with the GIL held, and if that would
 * have to wait and may, through the loop. */
static ssize_t
receive_once(int id, struct room *room, size_t size, long type, bool block)
{
    ssize_t rc = os_msg_receive(id, room->message, size, type, IPC_NOWAIT);
    if (rc == -ENOMSG && block) {
        struct os_call call = {
            .attempt = os_msg_receive_attempt,
            .id = id,
            .size = size,
            .type = type,
            .message = room->message,
        };
        rc = core_wait(&call, OS_FOREVER);
    }
    return rc;
}

/* (bytes, type) */
static PyObject *
pair(const struct message *message, ssize_t size)
{
    PyObject *text = PyBytes_FromStringAndSize(message->text, size);
    PyObject *type = PyLong_FromLong(message->type);
    PyObject *result = text != NULL && type != NULL ? PyTuple_New(2) : NULL;
    if (result == NULL) {
        Py_XDECREF(text);
        Py_XDECREF(type);
        return NULL;
    }
    PyTuple_SET_ITEM(result, 0, text);
    PyTuple_SET_ITEM(result, 1, type);
    return result;
}

/* A new (bytes, type), or NULL; *rc says why: -errno or CORE_RAISED. */
static PyObject *
receive_message(PyObject *op, long type, bool block, ssize_t *rc)
{
    size_t limit = (size_t)message_queue(op)->max_message_size;
    size_t size = limit < STACK_TEXT ? limit : STACK_TEXT;
    struct room room;
    (void)room_get(&room, size);
    *rc = receive_once(core_handle_id(op), &room, size, type, block);
    if (*rc == -E2BIG && limit > size) {
        /* It is still queued: take it with all the room this handle has. */
        if (room_get(&room, limit) < 0) {
            *rc = CORE_RAISED;
            return NULL;
        }
        *rc = receive_once(core_handle_id(op), &room, limit, type, block);
    }
    PyObject *result = NULL;
    if (*rc >= 0) {
        result = pair(room.message, *rc);
        *rc = result == NULL ? CORE_RAISED : *rc;
    }
    room_release(&room);
    return result;
}

static int
convert_receive_type(CoreState *state, PyObject *value, long *out)
{
    long long type = 0;
    if (core_integer(state, value, "type", LONG_MIN, LONG_MAX, &type) < 0) {
        return -1;
    }
    *out = (long)type;
    return 0;
}

static PyObject *
message_queue_receive(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *keywords)
{
    static const struct core_signature signature = {
        "receive", 2, 2, 0, {"block", "type"}};
    PyObject *given[2];
    long type;
    bool block = true;
    if (core_bind(&signature, args, nargs, keywords, given) < 0 ||
        convert_receive_type(core_handle(op)->state, given[1], &type) < 0 ||
        core_bool(given[0], &block) < 0) {
        return NULL;
    }
    ssize_t rc;
    PyObject *result = receive_message(op, type, block, &rc);
    return result != NULL ? result : core_handle_raise(op, rc, "receive");
}

static PyObject *
message_queue_try_receive(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "try_receive", 1, 1, 0, {"type"}};
    PyObject *given[1];
    long type;
    if (core_bind(&signature, args, nargs, keywords, given) < 0 ||
        convert_receive_type(core_handle(op)->state, given[0], &type) < 0) {
        return NULL;
    }
    ssize_t rc;
    PyObject *result = receive_message(op, type, false, &rc);
    if (rc == -ENOMSG) {
        Py_RETURN_NONE;
    }
    return result != NULL ? result : core_handle_raise(op, rc, "receive");
}

static PyObject *
message_queue_from_id(PyObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"id", "max_message_size", NULL};
    PyObject *id, *size = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:from_id", names, &id,
                                     &size)) {
        return NULL;
    }
    struct os_info info;
    PyObject *op = message_queue_new((PyTypeObject *)type, NULL, NULL);
    if (op == NULL) {
        return NULL;
    }
    Py_ssize_t limit = convert_max_message_size(core_handle(op)->state, size);
    if (limit < 0 || core_handle_open_id(core_handle(op), id, &info) < 0) {
        Py_DECREF(op);
        return NULL;
    }
    message_queue(op)->max_message_size = limit;
    return op;
}

static PyObject *
message_queue_reduce(PyObject *op, PyObject *Py_UNUSED(unused))
{
    Py_ssize_t limit = message_queue(op)->max_message_size;
    return core_handle_reduce(
        op, Py_BuildValue("(in)", core_handle_id(op), limit), NULL);
}

static PyObject *
message_queue_repr(PyObject *op)
{
    char extra[64] = "";
    struct os_info info;
    if (os_msg_stat(core_handle_id(op), &info) == 0) {
        (void)PyOS_snprintf(extra, sizeof(extra), ", messages=%llu",
                            (unsigned long long)info.msg.current_messages);
    }
    return core_handle_repr(op, extra);
}

/* ------------------------------------------------------------- attributes */

static PyObject *
message_queue_get_max_message_size(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(message_queue(op)->max_message_size);
}

#define FIELD(name, type, maximum) \
    {#name, offsetof(struct os_info, msg.name), type, maximum}

static const struct core_field fields[] = {
    FIELD(max_size, CORE_UINT64, LLONG_MAX),
    FIELD(current_messages, CORE_UINT64, 0),
    FIELD(current_bytes, CORE_UINT64, 0),
    FIELD(last_send_time, CORE_INT64, 0),
    FIELD(last_receive_time, CORE_INT64, 0),
    FIELD(last_send_pid, CORE_INT, 0),
    FIELD(last_receive_pid, CORE_INT, 0),
};

/* -------------------------------------------------------------- the type */

PyDoc_STRVAR(
    message_queue_doc,
    "MessageQueue(key, flags=0, mode=0o600, max_message_size=2048)\n"
    "--\n"
    "\n"
    "A System V message queue.\n"
    "\n"
    "key, flags and mode are those of Semaphore.  max_message_size is the\n"
    "longest message, in bytes, that this handle sends or receives; it "
    "belongs\n"
    "to the handle, the kernel's own limits are kernel.msgmax for a message "
    "and\n"
    "max_size for the queue.\n"
    "\n"
    "Raises ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),\n"
    "ArgumentError (EINVAL), LimitError (ENOSPC), OutOfMemoryError (ENOMEM).\n"
    "See msgget(2).");

PyDoc_STRVAR(
    send_doc,
    "send($self, /, message, block=True, type=1)\n--\n\n"
    "Put a message on the queue, waiting while the queue is full.\n"
    "\n"
    "message is any C-contiguous buffer, or a str, sent as UTF-8.  type is a "
    "C\n"
    "long of at least 1.  Raises BusyError (EAGAIN) when the queue is full "
    "and\n"
    "block is false; ArgumentError (EINVAL) when the message is longer than\n"
    "max_message_size or kernel.msgmax; ExistentialError (EINVAL, EIDRM) "
    "when\n"
    "the queue is or gets removed; PermissionsError (EACCES).  See msgop(2).");
PyDoc_STRVAR(
    try_send_doc,
    "try_send($self, /, message, type=1)\n--\n\n"
    "Send if there is room: True, else False.  Never waits.\n"
    "\n"
    "A full queue is no error; all other errors are those of send().");
PyDoc_STRVAR(
    receive_doc,
    "receive($self, /, block=True, type=0)\n--\n\n"
    "Take a message off the queue, waiting until there is one: (bytes, "
    "type).\n"
    "\n"
    "type 0 takes the first message, above 0 the first of that type, below 0\n"
    "the first of the lowest type that is at most -type.  Raises BusyError\n"
    "(ENOMSG) when there is none and block is false; ArgumentError (E2BIG)\n"
    "when the message is longer than max_message_size: it stays queued;\n"
    "ExistentialError (EINVAL, EIDRM) when the queue is or gets removed;\n"
    "PermissionsError (EACCES).  See msgop(2).");
PyDoc_STRVAR(
    try_receive_doc,
    "try_receive($self, /, type=0)\n--\n\n"
    "Take a message if there is one: (bytes, type), else None.  Never waits.\n"
    "\n"
    "An empty queue is no error; all other errors are those of receive().");
PyDoc_STRVAR(
    remove_doc,
    "remove($self, /)\n--\n\n"
    "Remove the queue and its messages; all who wait get ExistentialError.\n"
    "\n"
    "Raises PermissionsError (EPERM) unless the caller is owner, creator or\n"
    "root, ExistentialError (EINVAL) when it is gone.  See msgctl(2), "
    "IPC_RMID.");
PyDoc_STRVAR(from_id_doc,
             "from_id($type, /, id, max_message_size=2048)\n--\n\n"
             "Open the queue with this id, as msgctl(2) takes it.\n"
             "\n"
             "Raises ExistentialError (EINVAL) where the id names nothing.");
PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\n"
                         "Pickle by id: the copy opens the same queue.");

static PyMethodDef message_queue_methods[] = {
    {"send", _PyCFunction_CAST(message_queue_send),
     METH_FASTCALL | METH_KEYWORDS, send_doc},
    {"try_send", _PyCFunction_CAST(message_queue_try_send),
     METH_FASTCALL | METH_KEYWORDS, try_send_doc},
    {"receive", _PyCFunction_CAST(message_queue_receive),
     METH_FASTCALL | METH_KEYWORDS, receive_doc},
    {"try_receive", _PyCFunction_CAST(message_queue_try_receive),
     METH_FASTCALL | METH_KEYWORDS, try_receive_doc},
    {"remove", core_handle_remove, METH_NOARGS, remove_doc},
    {"from_id", _PyCFunction_CAST(message_queue_from_id),
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, from_id_doc},
    {"__reduce__", message_queue_reduce, METH_NOARGS, reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef message_queue_getset[] = {
    CORE_HANDLE_GETSET,
    {"max_message_size", message_queue_get_max_message_size, NULL,
     PyDoc_STR("The longest message that this handle sends or receives, in\n"
               "bytes."),
     NULL},
    {"max_size", core_handle_get_field, core_handle_set_field,
     PyDoc_STR("The most bytes of text that the queue holds (msg_qbytes).\n"
               "Raising it above kernel.msgmnb needs CAP_SYS_RESOURCE."),
     (void *)&fields[0]},
    {"current_messages", core_handle_get_field, NULL,
     PyDoc_STR("How many messages are queued."), (void *)&fields[1]},
    {"current_bytes", core_handle_get_field, NULL,
     PyDoc_STR("How many bytes of text are queued."), (void *)&fields[2]},
    {"last_send_time", core_handle_get_field, NULL,
     PyDoc_STR("When a message was last sent, in seconds since the epoch; 0\n"
               "for never."),
     (void *)&fields[3]},
    {"last_receive_time", core_handle_get_field, NULL,
     PyDoc_STR("When a message was last received; 0 for never."),
     (void *)&fields[4]},
    {"last_send_pid", core_handle_get_field, NULL,
     PyDoc_STR("The process that last sent; 0 for none."), (void *)&fields[5]},
    {"last_receive_pid", core_handle_get_field, NULL,
     PyDoc_STR("The process that last received; 0 for none."),
     (void *)&fields[6]},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef message_queue_members[] = {
    CORE_HANDLE_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot message_queue_slots[] = {
    {Py_tp_doc, (void *)message_queue_doc},
    {Py_tp_new, message_queue_new},
    {Py_tp_init, message_queue_init},
    {Py_tp_dealloc, core_handle_free},
    {Py_tp_traverse, core_handle_traverse},
    {Py_tp_repr, message_queue_repr},
    {Py_tp_richcompare, core_handle_compare},
    {Py_tp_hash, core_handle_hash},
    {Py_tp_methods, message_queue_methods},
    {Py_tp_getset, message_queue_getset},
    {Py_tp_members, message_queue_members},
    {0, NULL},
};

PyType_Spec core_message_queue_spec = {
    .name = "sysv_ipc.MessageQueue",
    .basicsize = sizeof(MessageQueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = message_queue_slots,
};
