/* Looking at messages that stay queued: msgrcv(2) with MSG_COPY. */
#include "core/message_queue/message_queue.h"

#include <errno.h>

/* MSG_COPY needs a buffer as long as the message, and fails with E2BIG or
 * EINVAL if it is shorter.  No message has more bytes than the queue.  Another
 * process may replace the message by a longer one in the meantime; then the
 * call is made again. */
static ssize_t
peek_into_buffer(int id, struct core_buffer *buffer, long index, int *attempts)
{
    int flags = OS_MSG_COPY | IPC_NOWAIT;
    size_t size = CORE_STACK_TEXT;
    (void)core_buffer_get(buffer, 0);
    for (;;) {
        ssize_t rc = os_msg_receive(id, buffer->message, size, index, flags);
        struct os_info info;
        if ((rc != -E2BIG && rc != -EINVAL) || os_msg_stat(id, &info) < 0) {
            return rc;
        }
        rc = core_try_again(attempts, rc);
        if (rc != CORE_AGAIN) {
            return rc;
        }
        if (info.msg.current_bytes > size) {
            size = (size_t)info.msg.current_bytes;
            core_buffer_release(buffer);
            if (core_buffer_get(buffer, size) < 0) {
                return CORE_RAISED;
            }
        }
    }
}

PyObject *
core_messages_peek(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords)
{
    static const struct core_signature signature = {
        "peek", 1, 1, 0, {CORE_ARG_index}};
    PyObject *given[1];
    int id = core_handle_id(op);
    long long index = 0;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_integer(core_handle(op)->state, given[0], "index", 0, LONG_MAX,
                     &index) < 0) {
        return NULL;
    }
    if (OS_MSG_COPY == 0) {
        return core_raise(core_handle(op)->state, -ENOSYS, CORE_OPERATION_PEEK,
                          core_handle_target(op));
    }
    struct core_buffer buffer;
    PyObject *result = NULL;
    int attempts = 0;
    ssize_t rc = peek_into_buffer(id, &buffer, (long)index, &attempts);
    if (rc >= 0) {
        result = core_message_pair(buffer.message, rc);
    }
    core_buffer_release(&buffer);
    if (rc == -ENOMSG) {
        Py_RETURN_NONE;
    }
    if (rc < 0) {
        (void)core_handle_raise_by_id(op, id, rc, CORE_OPERATION_PEEK);
    }
    if (attempts == CORE_MOST_ATTEMPTS) {
        core_error_add_attempts(core_handle(op)->state, CORE_MOST_ATTEMPTS);
    }
    return result;
}

const char core_messages_peek_doc[] = PyDoc_STR(
    "peek($self, /, index=0)\n--\n\n"
    "Return a copy of the message at an index: (bytes, type).\n"
    "\n"
    "The first message has index 0.  The message stays queued.  Return None\n"
    "if the queue has fewer messages.  Raise Error (ENOSYS) on systems other\n"
    "than Linux, which lack MSG_COPY; the other errors are those of\n"
    "receive().  See msgop(2).");
