/* Receiving: msgrcv(2).
 *
 * A call converts its arguments before its first system call, and never drops
 * a message that it has taken off the queue. */
#include "core/message_queue/message_queue.h"

#include <errno.h>

int
core_wanted_convert(PyObject *op, PyObject *type_value, PyObject *except_type,
                    PyObject *truncate, struct core_wanted *out)
{
    CoreState *state = core_handle(op)->state;
    long long type = 0;
    bool except = false, cut = false;
    out->id = core_handle_id(op);
    if (core_integer(state, type_value, "type", LONG_MIN, LONG_MAX, &type) <
            0 ||
        core_bool(except_type, &except) < 0 || core_bool(truncate, &cut) < 0) {
        return -1;
    }
    if (except && (type <= 0 || OS_MSG_EXCEPT == 0)) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          OS_MSG_EXCEPT == 0
                              ? "this system has no MSG_EXCEPT"
                              : "except_type needs a type above 0: the one "
                                "that is excluded");
        return -1;
    }
    out->type = (long)type;
    out->flags = (except ? OS_MSG_EXCEPT : 0) | (cut ? MSG_NOERROR : 0);
    out->deadline = (struct core_deadline){0, 0};
    return 0;
}

PyObject *
core_wanted_raise(PyObject *op, const struct core_wanted *wanted, ssize_t rc,
                  enum core_operation operation)
{
    (void)core_handle_raise_by_id(op, wanted->id, rc, operation);
    core_error_set_timeout(
        core_handle(op)->state, rc,
        (struct core_timeout){wanted->deadline.timeout_ns, operation,
                              wanted->type,
                              (wanted->flags & OS_MSG_EXCEPT) != 0});
    return NULL;
}

CORE_SELDOM static ssize_t
wait_for_message(PyObject *op, struct core_message *message, size_t size,
                 int flags, struct core_wanted *wanted)
{
    message->type = 0;
    struct os_call call = {
        .attempt = os_msg_receive_attempt,
        .id = wanted->id,
        .flags = flags,
        .size = size,
        .type = wanted->type,
        .message = message,
    };
    return core_wait(&core_handle(op)->waits, &call, &wanted->deadline);
}

/* Receive once into this memory: first without waiting, with the GIL held,
 * then through core_wait() if the call may wait.  The flags are those of
 * wanted, except MSG_NOERROR, which applies only to the caller's limit. */
static inline ssize_t
receive_once(PyObject *op, struct core_message *message, size_t size,
             int flags, struct core_wanted *wanted)
{
    bool may_wait = wanted->deadline.timeout_ns != 0;
    if (os_wait_is_finishing() && may_wait) {
        return wait_for_message(op, message, size, flags, wanted);
    }
    ssize_t rc = os_msg_receive(wanted->id, message, size, wanted->type,
                                flags | IPC_NOWAIT);
    if (rc == -ENOMSG && may_wait) {
        return wait_for_message(op, message, size, flags, wanted);
    }
    return rc;
}

/* The limit, or the size of the longest message that can exist, if that is
 * smaller. */
static size_t
longest(int id, size_t limit)
{
    struct os_info info;
    ssize_t msgmax = os_msg_max();
    if (msgmax < 0) {
        return limit;
    }
    uint64_t bytes = (uint64_t)msgmax;
    if (os_msg_stat(id, &info) == 0 && info.msg.current_bytes > bytes) {
        bytes = info.msg.current_bytes;
    }
    return limit < bytes ? limit : (size_t)bytes;
}

/* Receive a message that did not fit on the stack and is still queued, with a
 * buffer as long as any message can be.  In the meantime another process may
 * raise kernel.msgmax and send a longer message, which must not be truncated
 * before the limit.  There is no check for signals, because a call that
 * returns a list could not report them. */
CORE_SELDOM static ssize_t
receive_long(PyObject *op, struct core_buffer *buffer, size_t limit,
             struct core_wanted *wanted)
{
    ssize_t rc = -E2BIG;
    for (int i = 0; rc == -E2BIG && i < CORE_MOST_ATTEMPTS; i++) {
        size_t size = longest(wanted->id, limit);
        core_buffer_release(buffer);
        if (core_buffer_get(buffer, size) < 0) {
            return CORE_RAISED;
        }
        bool shorter = size < limit;
        rc = receive_once(
            op, buffer->message, size,
            shorter ? wanted->flags & ~MSG_NOERROR : wanted->flags, wanted);
        if (!shorter) {
            break;
        }
    }
    return rc;
}

/* Receive a message of at most limit bytes: its size, -errno or CORE_RAISED.
 * The caller releases the buffer. */
static inline ssize_t
receive_into_buffer(PyObject *op, struct core_buffer *buffer, size_t limit,
                    struct core_wanted *wanted)
{
    (void)core_buffer_get(buffer, 0);
    if (limit <= CORE_STACK_TEXT) {
        return receive_once(op, buffer->message, limit, wanted->flags, wanted);
    }
    ssize_t rc = receive_once(op, buffer->message, CORE_STACK_TEXT,
                              wanted->flags & ~MSG_NOERROR, wanted);
    return rc == -E2BIG ? receive_long(op, buffer, limit, wanted) : rc;
}

/* Make the result for a message that was taken, a second time; if that fails
 * too, keep the message for the next call: NULL with an exception.  The text
 * is in a buffer, or in an object. */
CORE_SELDOM static PyObject *
pair_again(PyObject *op, int id, const struct core_message *message,
           ssize_t size, struct core_buffer *buffer, PyObject *owner,
           PyObject *(*make)(const struct core_message *, ssize_t))
{
    /* There may be memory now, because raising the exception has freed
     * some. */
    PyErr_Clear();
    PyObject *result = make(message, size);
    if (result == NULL) {
        core_keep(op, id, message, (size_t)size, buffer, owner);
    }
    return result;
}

/* (size, type) */
static PyObject *
pair_of_size(const struct core_message *message, ssize_t size)
{
    return core_make_pair(PyLong_FromSsize_t(size),
                          PyLong_FromLong(message->type));
}

static inline PyObject *
pair(PyObject *op, int id, struct core_buffer *buffer, ssize_t size)
{
    PyObject *result = core_message_pair(buffer->message, size);
    return result != NULL ? result
                          : pair_again(op, id, buffer->message, size, buffer,
                                       NULL, core_message_pair);
}

/* From this size on, a copy costs more than estimating the size. */
#define LONG_TEXT 1024

/* The probable size of the next message, which the last two long messages had;
 * 0 if it is unknown. */
static Py_ssize_t
expected_size(PyObject *op)
{
    Py_ssize_t size = atomic_load_explicit(&message_queue(op)->long_size,
                                           memory_order_relaxed);
    return size > 0 && size <= message_queue(op)->max_message_size ? size : 0;
}

static void
note_size(PyObject *op, ssize_t size)
{
    _Atomic Py_ssize_t *noted = &message_queue(op)->long_size;
    Py_ssize_t last = atomic_load_explicit(noted, memory_order_relaxed);
    Py_ssize_t now = size < LONG_TEXT ? 0 : -size;
    if (now != 0 && (last == size || last == now)) {
        now = size;
    }
    if (now != last) {
        atomic_store_explicit(noted, now, memory_order_relaxed);
    }
}

/* Receive a message of at most size bytes directly into the bytes object that
 * the caller gets.  The kernel writes the type into the long before the text;
 * that part of the object is restored before other code can see it.  *rc is
 * -E2BIG if the message is longer. */
static PyObject *
receive_expected(PyObject *op, Py_ssize_t size, struct core_wanted *wanted,
                 ssize_t *rc)
{
    static_assert(offsetof(PyBytesObject, ob_sval) >=
                      sizeof(PyObject) + sizeof(struct core_message),
                  "the long before the text of bytes must not be a reference");
    PyObject *text = PyBytes_FromStringAndSize(NULL, size);
    if (text == NULL) {
        *rc = CORE_RAISED;
        return NULL;
    }
    char *place = (char *)text + offsetof(PyBytesObject, ob_sval) -
                  sizeof(struct core_message);
    struct core_message *message = (struct core_message *)(void *)place;
    long before = message->type;
    *rc = receive_once(op, message, (size_t)size, wanted->flags & ~MSG_NOERROR,
                       wanted);
    PyObject *result = NULL;
    if (*rc >= 0) {
        note_size(op, *rc);
        PyObject *type = PyLong_FromLong(message->type);
        result = core_make_pair(
            *rc == size ? Py_NewRef(text)
                        : PyBytes_FromStringAndSize(message->text, *rc),
            type);
        if (result == NULL) {
            result = pair_again(op, wanted->id, message, *rc, NULL, text,
                                core_message_pair);
        }
        if (result == NULL) {
            *rc = CORE_RAISED;
        }
    }
    message->type = before;
    Py_DECREF(text);
    return result;
}

/* core_message_receive() for the messages that the handle keeps. */
CORE_SELDOM static PyObject *
receive_kept(PyObject *op, struct core_wanted *wanted, ssize_t *rc)
{
    struct core_buffer buffer;
    PyObject *result = NULL;
    *rc = core_kept_take(op, &buffer, wanted->id,
                         (size_t)message_queue(op)->max_message_size,
                         wanted->type, wanted->flags);
    if (*rc >= 0) {
        result = pair(op, wanted->id, &buffer, *rc);
        core_buffer_release(&buffer);
    }
    if (*rc >= 0 && result == NULL) {
        *rc = CORE_RAISED;
    }
    return result;
}

PyObject *
core_message_receive(PyObject *op, struct core_wanted *wanted, ssize_t *rc)
{
    struct core_buffer buffer;
    PyObject *result = NULL;
    if (core_keeps(op)) {
        result = receive_kept(op, wanted, rc);
        if (*rc != -ENOMSG) {
            return result;
        }
    }
    Py_ssize_t expected = expected_size(op);
    if (expected > 0) {
        result = receive_expected(op, expected, wanted, rc);
        if (*rc != -E2BIG) {
            return result;
        }
    }
    *rc = receive_into_buffer(
        op, &buffer, (size_t)message_queue(op)->max_message_size, wanted);
    if (*rc >= 0) {
        note_size(op, *rc);
        result = pair(op, wanted->id, &buffer, *rc);
        if (result == NULL) {
            *rc = CORE_RAISED;
        }
    }
    core_buffer_release(&buffer);
    return result;
}

CORE_WHOLE PyObject *
core_messages_receive(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *keywords)
{
    static const struct core_signature signature = {
        "receive",
        5,
        2,
        0,
        {CORE_ARG_block, CORE_ARG_type, CORE_ARG_timeout, CORE_ARG_except_type,
         CORE_ARG_truncate}};
    PyObject *given[5];
    struct core_wanted wanted;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_wanted_convert(op, given[1], given[3], given[4], &wanted) < 0 ||
        core_deadline(core_handle(op)->state, given[0], given[2],
                      &wanted.deadline) < 0) {
        return NULL;
    }
    ssize_t rc;
    PyObject *result = core_message_receive(op, &wanted, &rc);
    return result != NULL
               ? result
               : core_wanted_raise(op, &wanted, rc, CORE_OPERATION_RECEIVE);
}

PyObject *
core_messages_try_receive(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "try_receive",
        3,
        1,
        0,
        {CORE_ARG_type, CORE_ARG_except_type, CORE_ARG_truncate}};
    PyObject *given[3];
    struct core_wanted wanted;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_wanted_convert(op, given[0], given[1], given[2], &wanted) < 0) {
        return NULL;
    }
    ssize_t rc;
    PyObject *result = core_message_receive(op, &wanted, &rc);
    if (rc == -ENOMSG) {
        Py_RETURN_NONE;
    }
    return result != NULL
               ? result
               : core_wanted_raise(op, &wanted, rc, CORE_OPERATION_RECEIVE);
}

/* receive_into_buffer() with the size of the user's buffer as the limit.
 * If the message is probably too long for the stack, the heap is used at
 * once. */
static ssize_t
receive_for_buffer(PyObject *op, struct core_buffer *buffer,
                   const Py_buffer *into, struct core_wanted *wanted)
{
    Py_ssize_t expected = expected_size(op);
    (void)core_buffer_get(buffer, 0);
    if (core_keeps(op)) {
        ssize_t rc = core_kept_take(op, buffer, wanted->id, (size_t)into->len,
                                    wanted->type, wanted->flags);
        if (rc != -ENOMSG) {
            return rc;
        }
    }
    if (expected <= CORE_STACK_TEXT || expected > into->len) {
        return receive_into_buffer(op, buffer, (size_t)into->len, wanted);
    }
    if (core_buffer_get(buffer, (size_t)expected) < 0) {
        return CORE_RAISED;
    }
    bool whole = expected < into->len;
    ssize_t rc = receive_once(
        op, buffer->message, (size_t)expected,
        whole ? wanted->flags & ~MSG_NOERROR : wanted->flags, wanted);
    if (rc == -E2BIG && whole) {
        rc = receive_long(op, buffer, (size_t)into->len, wanted);
    }
    return rc;
}

PyObject *
core_messages_receive_into(PyObject *op, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "receive_into",
        6,
        3,
        1,
        {CORE_ARG_buffer, CORE_ARG_block, CORE_ARG_type, CORE_ARG_timeout,
         CORE_ARG_except_type, CORE_ARG_truncate}};
    PyObject *given[6];
    struct core_wanted wanted;
    Py_buffer into = {0};
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_wanted_convert(op, given[2], given[4], given[5], &wanted) < 0 ||
        core_deadline(core_handle(op)->state, given[1], given[3],
                      &wanted.deadline) < 0 ||
        PyObject_GetBuffer(given[0], &into, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    struct core_buffer buffer;
    PyObject *result = NULL;
    ssize_t rc = receive_for_buffer(op, &buffer, &into, &wanted);
    if (rc >= 0) {
        note_size(op, rc);
        result = pair_of_size(buffer.message, rc);
        if (result == NULL) {
            result = pair_again(op, wanted.id, buffer.message, rc, &buffer,
                                NULL, pair_of_size);
        }
        if (result == NULL) {
            rc = CORE_RAISED;
        }
        else {
            memcpy(into.buf, buffer.message->text, (size_t)rc);
        }
    }
    core_buffer_release(&buffer);
    PyBuffer_Release(&into);
    return result != NULL ? result
                          : core_wanted_raise(op, &wanted, rc,
                                              CORE_OPERATION_RECEIVE_INTO);
}

/* Reserve memory in a list for one more item, so that a message that is taken
 * off the queue cannot be lost because there is none: 0 or -1. */
static int
reserve(PyObject *list)
{
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (size < ((PyListObject *)list)->allocated) {
        return 0;
    }
    if (PyList_Append(list, Py_None) < 0) {
        return -1;
    }
    Py_SET_SIZE(list, size);
    Py_DECREF(Py_None);
    return 0;
}

/* A signal handler has raised: keep the messages taken for the next call. */
static void
keep_all(PyObject *op, int id, PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *pair = PyList_GET_ITEM(list, i);
        core_keep_bytes(op, id, PyLong_AsLong(PyTuple_GET_ITEM(pair, 1)),
                        PyTuple_GET_ITEM(pair, 0));
    }
}

/* Receive the messages that are queued, up to the limit: 0, or an error if
 * there was none. */
static ssize_t
fill_list(PyObject *op, struct core_wanted *wanted, PyObject *list,
          long long limit)
{
    ssize_t rc = 0;
    while (PyList_GET_SIZE(list) < limit) {
        Py_ssize_t place = PyList_GET_SIZE(list);
        if ((size_t)place % CORE_MESSAGES_AT_ONCE ==
                CORE_MESSAGES_AT_ONCE - 1 &&
            PyErr_CheckSignals() < 0) {
            keep_all(op, wanted->id, list);
            return CORE_RAISED;
        }
        rc = CORE_RAISED;
        PyObject *message =
            reserve(list) < 0 ? NULL : core_message_receive(op, wanted, &rc);
        if (message == NULL) {
            break;
        }
        Py_SET_SIZE(list, place + 1);
        PyList_SET_ITEM(list, place, message);
        wanted->deadline.timeout_ns = 0;
    }
    if (rc != -ENOMSG && PyList_GET_SIZE(list) == 0) {
        return rc;
    }
    /* The next call reports the error. */
    PyErr_Clear();
    return 0;
}

PyObject *
core_messages_receive_many(PyObject *op, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "receive_many",
        6,
        3,
        1,
        {CORE_ARG_limit, CORE_ARG_block, CORE_ARG_type, CORE_ARG_timeout,
         CORE_ARG_except_type, CORE_ARG_truncate}};
    PyObject *given[6];
    struct core_wanted wanted;
    long long limit = 0;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_wanted_convert(op, given[2], given[4], given[5], &wanted) < 0 ||
        core_integer(core_handle(op)->state, given[0], "limit", 1,
                     PY_SSIZE_T_MAX, &limit) < 0 ||
        core_deadline(core_handle(op)->state, given[1], given[3],
                      &wanted.deadline) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    /* Hide the list from gc.get_objects() while the call waits. */
    PyObject_GC_UnTrack(list);
    ssize_t rc = fill_list(op, &wanted, list, limit);
    if (rc < 0) {
        Py_DECREF(list);
        return core_wanted_raise(op, &wanted, rc, CORE_OPERATION_RECEIVE);
    }
    PyObject_GC_Track(list);
    return list;
}

/* ------------------------------------------------------------------- docs */

const char core_messages_receive_doc[] = PyDoc_STR(
    "receive($self, /, block=True, type=0, *, timeout=None, "
    "except_type=False,\n"
    "        truncate=False)\n--\n\n"
    "Take a message off the queue: (bytes, type).  Wait until there is one.\n"
    "\n"
    "type 0 selects the first message; a type above 0 the first one of that\n"
    "type or, with except_type, of any other type (MSG_EXCEPT); a type below\n"
    "0 the first one of the lowest type that is at most -type.\n"
    "timeout is in seconds; None means no limit.\n"
    "\n"
    "Raise BusyError (ENOMSG) if there is no such message and block is false\n"
    "or the time is up; CancelledError (ECANCELED) after cancel();\n"
    "ArgumentError (E2BIG) if the message is longer than max_message_size:\n"
    "it stays queued, unless truncate is true, which returns its beginning\n"
    "and discards the rest (MSG_NOERROR); ExistentialError (EINVAL, EIDRM)\n"
    "if the queue was removed, before or during the wait; and\n"
    "PermissionsError (EACCES).  See msgop(2).");
const char core_messages_try_receive_doc[] = PyDoc_STR(
    "try_receive($self, /, type=0, *, except_type=False, truncate=False)\n"
    "--\n\n"
    "Take a message if there is one: (bytes, type).  Otherwise return None.\n"
    "\n"
    "This never waits.  The other arguments and the exceptions are those of\n"
    "receive(), except BusyError.  See msgop(2).");
const char core_messages_receive_into_doc[] = PyDoc_STR(
    "receive_into($self, /, buffer, block=True, type=0, *, timeout=None,\n"
    "             except_type=False, truncate=False)\n--\n\n"
    "Take a message off the queue into a buffer.  Return (count, type).\n"
    "\n"
    "buffer is a writable C-contiguous buffer; count is the number of bytes\n"
    "of the message.  The buffer's size is the limit instead of\n"
    "max_message_size.  The other arguments and the exceptions are those of\n"
    "receive().  See msgop(2).");
const char core_messages_receive_many_doc[] = PyDoc_STR(
    "receive_many($self, /, limit, block=True, type=0, *, timeout=None,\n"
    "             except_type=False, truncate=False)\n--\n\n"
    "Wait for a message, then take up to limit messages that are queued.\n"
    "\n"
    "Return a list of (bytes, type).  It is empty if there is no message and\n"
    "block is false or the time is up.  The other arguments and the\n"
    "exceptions are those of receive().  An error after the first message\n"
    "ends the list; the next call reports it.  See msgop(2).");
