/* Iterating over a queue: for message, type in queue, and queue.iterate().
 *
 * An iterator is set when it is made; afterwards only ended changes, a lone
 * atomic.  Its queue may be initialised again, and the next message then comes
 * from the new one. */
#include "core/message_queue/message_queue.h"

#include <errno.h>

/* The next message; NULL without an exception if the queue has been removed,
 * or has been cancelled for later. */
static PyObject *
next_message(PyObject *op, struct core_wanted wanted)
{
    struct os_info info;
    ssize_t rc;
    PyObject *result = core_message_receive(op, &wanted, &rc);
    if (result != NULL) {
        return result;
    }
    bool removed = rc == -EIDRM || (rc == -EINVAL && wanted.id >= 0 &&
                                    os_msg_stat(wanted.id, &info) == -EINVAL);
    if (removed ||
        (rc == -ECANCELED && atomic_load(&core_handle(op)->waits.cancelled))) {
        return NULL;
    }
    return core_wanted_raise(op, &wanted, rc, CORE_OPERATION_RECEIVE);
}

PyObject *
core_messages_iter(PyObject *op)
{
    return core_handle_check(core_handle(op)) < 0 ? NULL : Py_NewRef(op);
}

PyObject *
core_messages_next(PyObject *op)
{
    return next_message(op, (struct core_wanted){
                                .id = core_handle_id(op),
                                .deadline = {OS_FOREVER, 0},
                            });
}

/* --------------------------------------------------------------- iterate() */

typedef struct {
    PyObject_HEAD
    PyObject *queue;
    struct core_wanted wanted;
    atomic_bool ended; /* an iterator that has ended never continues */
} MessageIteratorObject;

static MessageIteratorObject *
message_iterator(PyObject *op)
{
    return (MessageIteratorObject *)op;
}

PyObject *
core_messages_iterate(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *keywords)
{
    static const struct core_signature signature = {
        "iterate",
        3,
        3,
        0,
        {CORE_ARG_type, CORE_ARG_timeout, CORE_ARG_except_type}};
    CoreState *state = core_handle(op)->state;
    PyObject *given[3];
    struct core_wanted wanted;
    if (core_bind(state, &signature, args, nargs, keywords, given) < 0 ||
        core_handle_check(core_handle(op)) < 0 ||
        core_wanted_convert(op, given[0], given[2], NULL, &wanted) < 0 ||
        core_deadline(state, NULL, given[1], &wanted.deadline) < 0) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)state->message_iterator_type;
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        message_iterator(self)->queue = Py_NewRef(op);
        message_iterator(self)->wanted = wanted;
    }
    return self;
}

static PyObject *
message_iterator_next(PyObject *op)
{
    MessageIteratorObject *self = message_iterator(op);
    struct core_wanted wanted = self->wanted;
    if (atomic_load(&self->ended)) {
        return NULL;
    }
    wanted.id = core_handle_id(self->queue);
    PyObject *result = next_message(self->queue, wanted);
    if (result == NULL && !PyErr_Occurred()) {
        atomic_store(&self->ended, true);
    }
    return result;
}

static int
message_iterator_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(message_iterator(op)->queue);
    return 0;
}

static void
message_iterator_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_XDECREF(message_iterator(op)->queue);
    type->tp_free(op);
    Py_DECREF(type);
}

const char core_messages_iterate_doc[] = PyDoc_STR(
    "iterate($self, /, type=0, timeout=None, except_type=False)\n--\n\n"
    "Return an iterator that receives messages: (bytes, type).\n"
    "\n"
    "It ends when the queue is removed or cancelled for later, like an\n"
    "iteration over the queue itself.  timeout is the limit for each\n"
    "message, in seconds; None means no limit.  The iterator raises\n"
    "BusyError (ENOMSG) when the time is up.  type, except_type and the\n"
    "other exceptions are those of receive().  See msgop(2).");

static PyType_Slot message_iterator_slots[] = {
    {Py_tp_dealloc, message_iterator_dealloc},
    {Py_tp_traverse, message_iterator_traverse},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, message_iterator_next},
    {0, NULL},
};

PyType_Spec core_message_iterator_spec = {
    .name = "sysv_ipc.MessageIterator",
    .basicsize = sizeof(MessageIteratorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = message_iterator_slots,
};
