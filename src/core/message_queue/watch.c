/* Waiting for a message without taking it, for sysv_ipc.aio.
 *
 * msgrcv(2) with a size of 0 blocks until there is a message of the type, then
 * fails with E2BIG and leaves the message on the queue.  Only an empty message
 * is taken; the caller uses it or puts it back.  This file keeps no state. */
#include "core/message_queue/message_queue.h"

#include <errno.h>

/* _watch(queue, type, except_type): return True if there is a message, the
 * message itself if it is empty, or False after cancel(). */
PyObject *
core_messages_watch(PyObject *module, PyObject *args)
{
    CoreState *state = core_state_of_module(module);
    PyObject *op;
    struct core_message message = {0};
    struct core_deadline deadline = {OS_FOREVER, 0};
    struct os_call call = {
        .attempt = os_msg_receive_attempt,
        .message = &message,
    };
    int except_type;
    if (!PyArg_ParseTuple(args, "O!lp:_watch",
                          state->kinds[CORE_KIND_message_queue].type, &op,
                          &call.type, &except_type)) {
        return NULL;
    }
    call.id = core_handle_id(op);
    call.flags = except_type ? OS_MSG_EXCEPT : 0;
    ssize_t rc = core_wait(&core_handle(op)->waits, &call, &deadline);
    if (rc == -E2BIG || rc == -ECANCELED) {
        return PyBool_FromLong(rc == -E2BIG);
    }
    if (rc < 0) {
        return core_handle_raise_by_id(op, call.id, rc,
                                       CORE_OPERATION_RECEIVE);
    }
    PyObject *result = core_message_pair(&message, 0);
    if (result == NULL) {
        core_message_put_back(op, call.id, &message, 0);
    }
    return result;
}

/* _put_back(queue, message, type): put a message that no task has received at
 * the end of the queue. */
PyObject *
core_messages_put_back(PyObject *module, PyObject *args)
{
    CoreState *state = core_state_of_module(module);
    PyObject *op;
    const char *text;
    Py_ssize_t size;
    long type;
    struct core_buffer buffer;
    if (!PyArg_ParseTuple(args, "O!y#l:_put_back",
                          state->kinds[CORE_KIND_message_queue].type, &op,
                          &text, &size, &type) ||
        core_buffer_get(&buffer, (size_t)size) < 0) {
        return NULL;
    }
    buffer.message->type = type;
    memcpy(buffer.message->text, text, (size_t)size);
    core_message_put_back(op, core_handle_id(op), buffer.message,
                          (size_t)size);
    core_buffer_release(&buffer);
    Py_RETURN_NONE;
}
