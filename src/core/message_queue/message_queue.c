/* sysv_ipc.MessageQueue: opening a queue, and its attributes; msgget(2),
 * msgctl(2).  Messages are in send.c and receive.c.
 *
 * max_message_size is atomic, because tp_init sets it and may run again while
 * other threads read it.  long_size is atomic: an estimate on which no other
 * field depends.  Everything else is in the kernel. */
#include "core/message_queue/message_queue.h"

#include <errno.h>

/* No buffer can be longer. */
#define LARGEST_TEXT (PY_SSIZE_T_MAX - (long long)sizeof(long))

/* 1.2.0's default for max_message_size. */
#define DEFAULT_MAX_MESSAGE_SIZE 2048

static int
message_queue_get(key_t key, size_t Py_UNUSED(size), int flags)
{
    return os_msg_get(key, flags);
}

static void
message_queue_add_facts(const struct os_info *info, struct core_facts *facts)
{
    facts->max_size = (long long)info->msg.max_size;
    facts->first_time = info->msg.last_send_time;
    facts->second_time = info->msg.last_receive_time;
}

const struct core_kind core_message_queue_kind = {
    .index = CORE_KIND_message_queue,
    .record = CORE_RECORD_MessageQueueInfo,
    .after_mode = "max_message_size",
    .get = message_queue_get,
    .create = core_create,
    .stat = os_msg_stat,
    .set = os_msg_set,
    .remove = os_msg_remove,
    .list = os_msg_list,
    .last_place = os_msg_last_place,
    .add_facts = message_queue_add_facts,
    .keeps_change_time = true,
};

static inline PyObject *
message_queue_make(CoreState *state, PyTypeObject *type)
{
    PyObject *op = core_handle_make(state, type, &core_message_queue_kind,
                                    sizeof(MessageQueueObject));
    if (op != NULL) {
        atomic_init(&message_queue(op)->max_message_size,
                    DEFAULT_MAX_MESSAGE_SIZE);
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
message_queue_open(PyObject *op, PyObject *const *given)
{
    CoreState *state = core_handle(op)->state;
    Py_ssize_t limit = convert_max_message_size(state, given[3]);
    struct core_request request = {.size = 0};
    struct core_opened opened;
    if (limit < 0 ||
        core_request_convert(state, &core_message_queue_kind, &request,
                             given[0], given[1], given[2]) < 0 ||
        core_open(state, &core_message_queue_kind, &request, &opened) < 0) {
        return -1;
    }
    atomic_store_explicit(&message_queue(op)->max_message_size, limit,
                          memory_order_relaxed);
    core_handle_open(core_handle(op), opened.key, opened.id);
    return 0;
}

CORE_CONSTRUCTOR(message_queue, "MessageQueue", 4, CORE_ARG_key,
                 CORE_ARG_flags, CORE_ARG_mode, CORE_ARG_max_message_size)

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

static void
message_queue_dealloc(PyObject *op)
{
    if (core_keeps(op)) {
        /* It runs code of the program, which must not find the object. */
        PyObject_GC_UnTrack(op);
        core_kept_free(op);
    }
    core_handle_free(op);
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
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyLong_FromSsize_t(message_queue(op)->max_message_size);
}

/* -------------------------------------------------------------- the type */

PyDoc_STRVAR(
    message_queue_doc,
    "MessageQueue(key, flags=0, mode=0o600, max_message_size=2048)\n--\n\n"
    "A System V message queue.\n"
    "\n"
    "key, flags and mode are those of Semaphore.  max_message_size is the\n"
    "size in bytes of the longest message that this handle sends or\n"
    "receives.  It belongs to the handle; the kernel's limits are\n"
    "kernel.msgmax for a message and max_size for the queue.\n"
    "\n"
    ">>> queue = MessageQueue(None, IPC_CREX)\n"
    ">>> queue.send(b\"the job is done\", type=7)\n"
    ">>> queue.receive(timeout=1)\n"
    "(b'the job is done', 7)\n"
    ">>> queue.remove()\n"
    "\n"
    "Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),\n"
    "ArgumentError (EINVAL), LimitError (ENOSPC) or OutOfMemoryError\n"
    "(ENOMEM) on failure.  See msgget(2).");

PyDoc_STRVAR(info_doc, "info($self, /)\n"
                       "--\n"
                       "\n"
                       "Return a MessageQueueInfo, from one system call.\n"
                       "\n"
                       "See msgctl(2), IPC_STAT.");
PyDoc_STRVAR(
    remove_doc,
    "remove($self, /)\n--\n\n"
    "Remove the queue and its messages.  Blocked calls raise an error.\n"
    "\n"
    "The error is ExistentialError (EIDRM).  Raise PermissionsError (EPERM)\n"
    "if the caller is not the owner, the creator or root, and\n"
    "ExistentialError (EINVAL) if the queue no longer exists.  See\n"
    "msgctl(2), IPC_RMID.");
PyDoc_STRVAR(
    from_id_doc,
    "from_id($type, /, id, max_message_size=2048)\n--\n\n"
    "Open the queue with this id.\n"
    "\n"
    "max_message_size is in bytes, as for the constructor.  Raise\n"
    "ExistentialError (EINVAL) if no queue has this id, and PermissionsError\n"
    "(EACCES).  See msgctl(2).");
PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\n"
                         "Pickle by id: the copy opens the same queue.");

static PyMethodDef message_queue_methods[] = {
    CORE_CANCEL_METHOD(core_handle_cancel, core_handle_cancel_doc),
    CORE_MESSAGES_METHODS{"info", core_handle_info, METH_NOARGS, info_doc},
    {"remove", core_handle_remove, METH_NOARGS, remove_doc},
    {"from_id", _PyCFunction_CAST(message_queue_from_id),
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, from_id_doc},
    {"__reduce__", message_queue_reduce, METH_NOARGS, reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef message_queue_getset[] = {
    CORE_HANDLE_GETSET CORE_HANDLE_CANCELLED CORE_MESSAGE_QUEUE_FIELDS(
        CORE_FIELD_GETSET){
        "max_message_size", message_queue_get_max_message_size, NULL,
        PyDoc_STR(
            "The longest message that this handle sends or receives, in\n"
            "bytes."),
        NULL},
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
    {Py_tp_dealloc, message_queue_dealloc},
    {Py_tp_traverse, core_handle_traverse},
    {Py_tp_repr, message_queue_repr},
    {Py_tp_richcompare, core_handle_compare},
    {Py_tp_hash, core_handle_hash},
    {Py_tp_methods, message_queue_methods},
    {Py_tp_iter, core_messages_iter},
    {Py_tp_iternext, core_messages_next},
    {Py_tp_getset, message_queue_getset},
    {Py_tp_members, message_queue_members},
    {0, NULL},
};

PyType_Spec core_message_queue_spec = {
    .name = "sysv_ipc.MessageQueue",
    .basicsize = sizeof(MessageQueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = message_queue_slots,
};
