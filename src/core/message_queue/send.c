/* Sending: msgsnd(2).
 *
 * A call converts its arguments before its first system call. */
#include "core/message_queue/message_queue.h"

#include <errno.h>

int
core_buffer_get_slow(struct core_buffer *buffer, size_t size)
{
    buffer->message = PyMem_RawMalloc(sizeof(struct core_message) + size);
    if (buffer->message == NULL) {
        buffer->message = &buffer->stack.head;
        (void)PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int
message_check_size(PyObject *op, Py_ssize_t size)
{
    Py_ssize_t limit = message_queue(op)->max_message_size;
    if (size <= limit) {
        return 0;
    }
    (void)core_refuse(core_handle(op)->state, EINVAL, core_handle_target(op),
                      "the message has %zd bytes, and this handle's "
                      "max_message_size is %zd; it was not sent",
                      size, limit);
    return -1;
}

/* Send one message to the queue with this id, which the handle had when the
 * call began: 0, -errno or CORE_RAISED. */
static ssize_t
send_bytes(PyObject *op, int id, const struct core_bytes *bytes, long type,
           struct core_deadline *deadline)
{
    struct core_buffer buffer;
    size_t size = (size_t)bytes->size;
    if (message_check_size(op, bytes->size) < 0 ||
        core_buffer_get(&buffer, size) < 0) {
        return CORE_RAISED;
    }
    buffer.message->type = type;
    memcpy(buffer.message->text, bytes->data, size);
    ssize_t rc = os_msg_send(id, buffer.message, size, IPC_NOWAIT);
    if (rc == -EAGAIN && deadline->timeout_ns != 0) {
        struct os_call call = {
            .attempt = os_msg_send_attempt,
            .id = id,
            .size = size,
            .message = buffer.message,
        };
        rc = core_wait(&core_handle(op)->waits, &call, deadline);
    }
    core_buffer_release(&buffer);
    return rc;
}

static int
convert_send_type(PyObject *op, PyObject *value, long *out)
{
    long long type = 1;
    if (core_integer(core_handle(op)->state, value, "type", 1, LONG_MAX,
                     &type) < 0) {
        return -1;
    }
    *out = (long)type;
    return 0;
}

static ssize_t
send_object(PyObject *op, int id, PyObject *message, PyObject *type_value,
            struct core_deadline deadline)
{
    long type;
    struct core_bytes bytes;
    if (convert_send_type(op, type_value, &type) < 0 ||
        core_bytes_get(message, &bytes) < 0) {
        return CORE_RAISED;
    }
    ssize_t rc = send_bytes(op, id, &bytes, type, &deadline);
    core_bytes_release(&bytes);
    return rc;
}

CORE_WHOLE PyObject *
core_messages_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords)
{
    static const struct core_signature signature = {
        "send",
        4,
        3,
        1,
        {CORE_ARG_message, CORE_ARG_block, CORE_ARG_type, CORE_ARG_timeout}};
    int id = core_handle_id(op);
    PyObject *given[4];
    struct core_deadline deadline;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_deadline(core_handle(op)->state, given[1], given[3], &deadline) <
            0) {
        return NULL;
    }
    ssize_t rc = send_object(op, id, given[0], given[2], deadline);
    if (rc < 0) {
        (void)core_handle_raise_by_id(op, id, rc, CORE_OPERATION_SEND);
        core_error_set_timeout(core_handle(op)->state, rc,
                               (struct core_timeout){deadline.timeout_ns,
                                                     CORE_OPERATION_SEND, 0,
                                                     false});
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
core_messages_try_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *keywords)
{
    static const struct core_signature signature = {
        "try_send", 2, 2, 1, {CORE_ARG_message, CORE_ARG_type}};
    int id = core_handle_id(op);
    PyObject *given[2];
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0) {
        return NULL;
    }
    ssize_t rc =
        send_object(op, id, given[0], given[1], (struct core_deadline){0, 0});
    if (rc == -EAGAIN) {
        Py_RETURN_FALSE;
    }
    if (rc < 0) {
        return core_handle_raise_by_id(op, id, rc, CORE_OPERATION_SEND);
    }
    Py_RETURN_TRUE;
}

/* Tell with the exception that is set how many messages went before it. */
static void
note_sent(Py_ssize_t sent)
{
    core_error_add_note(
        "%zd messages were sent before this; its attribute sent is that "
        "number.",
        sent);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *number = PyLong_FromSsize_t(sent);
    if (value != NULL && number != NULL) {
        (void)PyObject_SetAttrString(value, "sent", number);
    }
    Py_XDECREF(number);
    PyErr_Restore(type, value, traceback);
}

/* Check that a message of a list could be sent, and have it as it is now: what
 * others can change, such as a buffer that is filled again for each message,
 * is copied; bytes and str stay what they are. */
static int
take_message(PyObject *op, PyObject *list, Py_ssize_t index)
{
    PyObject *message = PyList_GET_ITEM(list, index);
    /* Most are bytes, for which nothing has to be called. */
    if (PyBytes_CheckExact(message) &&
        PyBytes_GET_SIZE(message) <= message_queue(op)->max_message_size) {
        return 0;
    }
    struct core_bytes bytes;
    int rc = core_bytes_get(message, &bytes);
    if (rc == 0) {
        rc = message_check_size(op, bytes.size);
        if (rc == 0 && bytes.buffer.obj != NULL) {
            PyObject *copy = PyBytes_FromStringAndSize(bytes.data, bytes.size);
            rc = copy == NULL ? -1 : PyList_SetItem(list, index, copy);
        }
        core_bytes_release(&bytes);
    }
    if (rc < 0) {
        core_error_add_note("This is messages[%zd]; none was sent.", index);
    }
    return rc;
}

/* Take each message from an iterable before it gives the next one. */
static int
take_iterable(PyObject *op, PyObject *list, PyObject *iterable)
{
    PyObject *iterator = PyObject_GetIter(iterable), *message;
    int rc = iterator == NULL ? -1 : 0;
    while (rc == 0 && (message = PyIter_Next(iterator)) != NULL) {
        rc = PyList_Append(list, message);
        Py_DECREF(message);
        if (rc == 0) {
            rc = take_message(op, list, PyList_GET_SIZE(list) - 1);
        }
        /* The iterable may never end. */
        if (rc == 0 &&
            (size_t)PyList_GET_SIZE(list) % CORE_MESSAGES_AT_ONCE == 0) {
            rc = PyErr_CheckSignals();
        }
    }
    Py_XDECREF(iterator);
    return PyErr_Occurred() ? -1 : rc;
}

/* A list of all messages, each of which has been checked. */
static PyObject *
take_messages(PyObject *op, PyObject *messages)
{
    if (core_check_iterable(messages,
                            "messages must be a sequence of messages") < 0) {
        return NULL;
    }
    bool all = PyList_CheckExact(messages);
    PyObject *list = all ? PyList_GetSlice(messages, 0, PY_SSIZE_T_MAX)
                         : PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    /* Hide the list from gc.get_objects() while code of the program runs, in
     * iterables and buffers. */
    PyObject_GC_UnTrack(list);
    int rc = all ? 0 : take_iterable(op, list, messages);
    for (Py_ssize_t i = 0; all && rc == 0 && i < PyList_GET_SIZE(list); i++) {
        rc = take_message(op, list, i);
    }
    if (rc < 0) {
        Py_CLEAR(list);
    }
    return list;
}

PyObject *
core_messages_send_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *keywords)
{
    static const struct core_signature signature = {
        "send_many",
        4,
        3,
        1,
        {CORE_ARG_messages, CORE_ARG_type, CORE_ARG_block, CORE_ARG_timeout}};
    int id = core_handle_id(op);
    PyObject *given[4];
    struct core_deadline deadline;
    long type;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_deadline(core_handle(op)->state, given[2], given[3], &deadline) <
            0 ||
        convert_send_type(op, given[1], &type) < 0 ||
        core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    if (PyBytes_Check(given[0]) || PyUnicode_Check(given[0])) {
        PyErr_SetString(PyExc_TypeError,
                        "messages must be a sequence of messages, not one: "
                        "use send() or a list");
        return NULL;
    }
    PyObject *messages = take_messages(op, given[0]);
    if (messages == NULL) {
        return NULL;
    }
    Py_ssize_t sent = 0;
    ssize_t rc = 0;
    while (sent < PyList_GET_SIZE(messages)) {
        struct core_bytes bytes;
        rc = CORE_RAISED;
        if ((size_t)sent % CORE_MESSAGES_AT_ONCE ==
                CORE_MESSAGES_AT_ONCE - 1 &&
            PyErr_CheckSignals() < 0) {
            break;
        }
        if (core_bytes_get(PyList_GET_ITEM(messages, sent), &bytes) == 0) {
            rc = send_bytes(op, id, &bytes, type, &deadline);
            core_bytes_release(&bytes);
        }
        if (rc < 0) {
            break;
        }
        sent++;
    }
    Py_DECREF(messages);
    if (rc < 0 && rc != -EAGAIN) {
        (void)core_handle_raise_by_id(op, id, rc, CORE_OPERATION_SEND);
        note_sent(sent);
        return NULL;
    }
    return PyLong_FromSsize_t(sent);
}

/* ------------------------------------------------------------------- docs */

const char core_messages_send_doc[] = PyDoc_STR(
    "send($self, /, message, block=True, type=1, *, timeout=None)\n--\n\n"
    "Put a message on the queue.  Wait while the queue is full.\n"
    "\n"
    "message is any C-contiguous buffer, or a str, which is encoded as\n"
    "UTF-8.  type is a C long of at least 1.  timeout is in seconds; None\n"
    "means no limit.  A message longer than the queue's max_size never fits:\n"
    "send() waits until its timeout, or without end.\n"
    "\n"
    "Raise BusyError (EAGAIN) if the queue is full and block is false or the\n"
    "time is up; CancelledError (ECANCELED) after cancel(); ArgumentError\n"
    "(EINVAL) if the message is longer than max_message_size or\n"
    "kernel.msgmax; ExistentialError (EINVAL, EIDRM) if the queue was\n"
    "removed, before or during the wait; and PermissionsError (EACCES).  See\n"
    "msgop(2).");
const char core_messages_try_send_doc[] = PyDoc_STR(
    "try_send($self, /, message, type=1)\n--\n\n"
    "Send a message and return True, or return False if the queue is full.\n"
    "\n"
    "This never waits.  The other exceptions are those of send().  See\n"
    "msgop(2).");
const char core_messages_send_many_doc[] = PyDoc_STR(
    "send_many($self, /, messages, type=1, block=True, *, timeout=None)\n"
    "--\n\n"
    "Send messages in order.  Return the number of messages sent.\n"
    "\n"
    "All messages are taken from the iterable and checked before the first\n"
    "one is sent.  If the queue becomes full and block is false, or if the\n"
    "time for all of them is up, the remaining messages are not sent.  If\n"
    "an exception is raised in the middle, its attribute sent is the number\n"
    "of messages sent.  The exceptions are those of send().  See msgop(2).");
