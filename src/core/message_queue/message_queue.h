/* What message_queue.c (the queue), send.c, receive.c, iterate.c, watch.c,
 * kept.c and peek.c share. */
#ifndef SYSV_IPC_CORE_MESSAGE_QUEUE_H
#define SYSV_IPC_CORE_MESSAGE_QUEUE_H

#include "core/info.h"
#include "core/open.h"
#include "core/wait.h"

extern const struct core_kind core_message_queue_kind;
extern PyType_Spec core_message_queue_spec;
extern PyType_Spec core_message_iterator_spec;
CORE_WHOLE PyObject *core_message_queue_call(PyObject *type,
                                             PyObject *const *args,
                                             size_t nargsf,
                                             PyObject *keywords);

struct core_kept;

typedef struct {
    CoreHandle handle;
    _Atomic Py_ssize_t max_message_size;
    /* The size n of the last long message that was received, if the message
     * before it had the same size; -n if not; 0 after a short message. */
    _Atomic Py_ssize_t long_size;
    _Atomic(struct core_kept *) kept; /* kept.c; NULL for none */
} MessageQueueObject;

static inline MessageQueueObject *
message_queue(PyObject *op)
{
    return (MessageQueueObject *)op;
}

/* Messages up to this many bytes pass through the stack. */
#define CORE_STACK_TEXT 8192

/* The message format of msgsnd(2) and msgrcv(2): a type, then the text. */
struct core_message {
    long type;
    char text[];
};

/* Memory for a message: on the stack, or on the heap if it is too long. */
struct core_buffer {
    struct core_message *message;
    union {
        struct core_message head;
        char bytes[sizeof(struct core_message) + CORE_STACK_TEXT];
    } stack;
};

int core_buffer_get_slow(struct core_buffer *buffer, size_t size);

/* Provide memory for size bytes of text: 0, or -1 with an exception.  The
 * buffer may be released in both cases. */
static inline int
core_buffer_get(struct core_buffer *buffer, size_t size)
{
    buffer->message = &buffer->stack.head;
    return size > CORE_STACK_TEXT ? core_buffer_get_slow(buffer, size) : 0;
}

static inline void
core_buffer_release(struct core_buffer *buffer)
{
    if (buffer->message != &buffer->stack.head) {
        PyMem_RawFree(buffer->message);
    }
}

/* Keep a message that was taken for the next call that selects it.  Its
 * text is in a buffer, or in an object. */
struct core_buffer;
CORE_SELDOM void core_keep(PyObject *op, int id,
                           const struct core_message *message, size_t size,
                           struct core_buffer *buffer, PyObject *owner);
/* The same for a message whose text is a bytes object. */
void core_keep_bytes(PyObject *op, int id, long type, PyObject *text);
/* Send a message that was taken to the end of its queue; the handle keeps it
 * if the queue is full or may not be written. */
CORE_SELDOM void core_message_put_back(PyObject *op, int id,
                                       const struct core_message *message,
                                       size_t size);
/* Take the kept message that msgrcv(2) would take with these arguments, of at
 * most limit bytes: its size, -ENOMSG, -E2BIG or CORE_RAISED. */
CORE_SELDOM ssize_t core_kept_take(PyObject *op, struct core_buffer *buffer,
                                   int id, size_t limit, long type, int flags);
/* When the handle is freed: send the kept messages to the end of their
 * queue. */
CORE_SELDOM void core_kept_free(PyObject *op);

int core_kept_init(CoreState *state);
void core_kept_clear(CoreState *state);

static inline bool
core_keeps(PyObject *op)
{
    return atomic_load_explicit(&message_queue(op)->kept,
                                memory_order_relaxed) != NULL;
}

/* A new tuple of two new references, which it takes over; NULL if one of them
 * is NULL. */
static inline PyObject *
core_make_pair(PyObject *first, PyObject *second)
{
    PyObject *result = first != NULL && second != NULL ? PyTuple_New(2) : NULL;
    if (result == NULL) {
        Py_XDECREF(first);
        Py_XDECREF(second);
        return NULL;
    }
    PyTuple_SET_ITEM(result, 0, first);
    PyTuple_SET_ITEM(result, 1, second);
    return result;
}

/* (bytes, type) */
static inline PyObject *
core_message_pair(const struct core_message *message, ssize_t size)
{
    return core_make_pair(PyBytes_FromStringAndSize(message->text, size),
                          PyLong_FromLong(message->type));
}

/* The selection of a message, for every receiving call.  The id is the queue's
 * at the beginning of the call, because other threads may initialise the
 * handle again while arguments are converted or while the call waits. */
struct core_wanted {
    int id;
    long type;
    int flags; /* MSG_EXCEPT, MSG_NOERROR */
    struct core_deadline deadline;
};
/* 0, or -1 with an exception. */
int core_wanted_convert(PyObject *op, PyObject *type_value,
                        PyObject *except_type, PyObject *truncate,
                        struct core_wanted *out);
/* Raise what rc of receiving means, with the timeout. */
CORE_SELDOM PyObject *core_wanted_raise(PyObject *op,
                                        const struct core_wanted *wanted,
                                        ssize_t rc,
                                        enum core_operation operation);
/* A new (bytes, type), or NULL; *rc says why: -errno or CORE_RAISED. */
PyObject *core_message_receive(PyObject *op, struct core_wanted *wanted,
                               ssize_t *rc);

/* send_many() and receive_many() check for signals after this number of
 * messages. */
#define CORE_MESSAGES_AT_ONCE ((size_t)64)

#define CORE_MESSAGES_FUNCTIONS(X) \
    X(send)                        \
    X(try_send)                    \
    X(send_many)                   \
    X(receive)                     \
    X(try_receive)                 \
    X(receive_into)                \
    X(receive_many)                \
    X(iterate)                     \
    X(peek)

#define CORE_MESSAGES_DECLARE(name)                                           \
    PyObject *core_messages_##name(PyObject *op, PyObject *const *args,       \
                                   Py_ssize_t nargs, PyObject *keywords);     \
    extern const char core_messages_##name##_doc[];
CORE_MESSAGES_FUNCTIONS(CORE_MESSAGES_DECLARE)

#define CORE_MESSAGES_METHOD(name)                          \
    {#name, _PyCFunction_CAST(core_messages_##name),        \
     METH_FASTCALL | METH_KEYWORDS, core_messages_##name##_doc},
#define CORE_MESSAGES_METHODS CORE_MESSAGES_FUNCTIONS(CORE_MESSAGES_METHOD)

/* Functions of the module for sysv_ipc.aio, watch.c. */
PyObject *core_messages_watch(PyObject *module, PyObject *args);
PyObject *core_messages_put_back(PyObject *module, PyObject *args);

PyObject *core_messages_iter(PyObject *op);
PyObject *core_messages_next(PyObject *op);

#endif
