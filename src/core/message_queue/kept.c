/* Messages that were taken off a queue and could not be returned to the
 * program, because there was no memory, because a signal handler raised, or
 * because no task wants them and the queue is full.  The handle keeps them
 * for its next receiving call.
 *
 * The handle's critical section protects the list.  A thread may test without
 * it whether the list is empty, as it nearly always is.  A forked child does
 * not get the messages of its parent. */
#include "core/message_queue/message_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct core_kept {
    struct core_kept *next; /* was taken later */
    pid_t pid;
    int id;
    int64_t key;
    uint64_t namespace;
    long type;
    size_t size;
    const char *text; /* in own, heap or owner */
    void *heap;
    PyObject *owner;
    bool is_reserve;
    char own[];
};

/* If there is no memory at all, the reserve keeps one message that would fit
 * on the stack. */
int
core_kept_init(CoreState *state)
{
    struct core_kept *reserve = malloc(sizeof(*reserve) + CORE_STACK_TEXT);
    if (reserve == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    atomic_store(&state->kept_reserve, reserve);
    return 0;
}

void
core_kept_clear(CoreState *state)
{
    free(atomic_exchange(&state->kept_reserve, NULL));
}

static void
free_kept(CoreState *state, struct core_kept *kept)
{
    PyMem_RawFree(kept->heap);
    Py_XDECREF(kept->owner);
    if (kept->is_reserve) {
        kept = atomic_exchange(&state->kept_reserve, kept);
    }
    free(kept);
}

/* Tell that a message is lost, and why; the exception that is set stays. */
static void
tell_lost(PyObject *op, size_t size, const char *why)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    (void)core_refuse_as(core_handle(op)->state, core_handle(op)->state->Error,
                         0, core_handle_target(op),
                         "a message of %zu bytes, which was received but not "
                         "delivered, is lost: %s",
                         size, why);
    PyErr_WriteUnraisable(NULL);
    PyErr_Restore(type, value, traceback);
}

/* Put a message that was taken off the queue with this id at the end of the
 * handle's list. */
static void
kept_append(PyObject *op, struct core_kept *kept, int id, long type)
{
    kept->next = NULL;
    kept->id = id;
    kept->type = type;
    kept->key = core_handle_key(op);
    kept->namespace = os_namespace_number();
    CORE_BEGIN_CRITICAL_SECTION(op);
    struct core_kept *last = atomic_load(&message_queue(op)->kept);
    if (last == NULL) {
        atomic_store(&message_queue(op)->kept, kept);
    }
    else {
        while (last->next != NULL) {
            last = last->next;
        }
        last->next = kept;
    }
    CORE_END_CRITICAL_SECTION();
}

/* Memory for a kept message: with its text, or if that is too long, without.
 * It comes from malloc(3), because the interpreter's allocator has failed. */
static struct core_kept *
make_kept(CoreState *state, size_t size)
{
    struct core_kept *kept = malloc(sizeof(*kept) + size);
    size_t own = size;
    if (kept == NULL) {
        kept = malloc(sizeof(*kept));
        own = 0;
    }
    bool is_reserve = kept == NULL;
    if (is_reserve) {
        kept = atomic_exchange(&state->kept_reserve, NULL);
        own = CORE_STACK_TEXT;
    }
    if (kept != NULL) {
        *kept = (struct core_kept){
            .pid = getpid(),
            .size = size,
            .is_reserve = is_reserve,
        };
        kept->text = size <= own ? kept->own : NULL;
    }
    return kept;
}

void
core_keep(PyObject *op, int id, const struct core_message *message,
          size_t size, struct core_buffer *buffer, PyObject *owner)
{
    CoreState *state = core_handle(op)->state;
    struct core_kept *kept = make_kept(state, size);
    bool on_heap = buffer != NULL && buffer->message != &buffer->stack.head;
    if (kept != NULL && kept->text != NULL) {
        memcpy(kept->own, message->text, size);
    }
    else if (kept != NULL && (on_heap || owner != NULL)) {
        kept->text = message->text;
        kept->owner = Py_XNewRef(owner);
        if (on_heap) {
            kept->heap = buffer->message;
            buffer->message = &buffer->stack.head;
        }
    }
    else {
        if (kept != NULL) {
            free_kept(state, kept);
        }
        if (os_msg_send(id, message, size, IPC_NOWAIT) < 0) {
            tell_lost(op, size, "there was no memory to keep it either");
        }
        return;
    }
    kept_append(op, kept, id, message->type);
}

void
core_keep_bytes(PyObject *op, int id, long type, PyObject *text)
{
    struct core_kept *kept = make_kept(core_handle(op)->state, 0);
    if (kept == NULL) {
        tell_lost(op, (size_t)PyBytes_GET_SIZE(text),
                  "there was no memory to keep it either");
        return;
    }
    kept->size = (size_t)PyBytes_GET_SIZE(text);
    kept->text = PyBytes_AS_STRING(text);
    kept->owner = Py_NewRef(text);
    kept_append(op, kept, id, type);
}

void
core_message_put_back(PyObject *op, int id, const struct core_message *message,
                      size_t size)
{
    int rc = os_msg_send(id, message, size, IPC_NOWAIT);
    if (rc < 0 && rc != -EINVAL && rc != -EIDRM) {
        core_keep(op, id, message, size, NULL, NULL);
    }
}

/* Return true if msgrcv(2) would take the message. */
static bool
matches(const struct core_kept *kept, int id, long type, int flags)
{
    long own = kept->type;
    if (kept->pid != getpid() || kept->id != id ||
        kept->namespace != os_namespace_number()) {
        return false;
    }
    if (type > 0) {
        return (own == type) != ((flags & OS_MSG_EXCEPT) != 0);
    }
    return type == 0 || own <= -type;
}

/* Where in the list the message is that msgrcv(2) would take, or NULL. */
static struct core_kept *
find_lock_held(PyObject *op, int id, long type, int flags)
{
    struct core_kept *found = NULL;
    for (struct core_kept *kept = atomic_load(&message_queue(op)->kept);
         kept != NULL; kept = kept->next) {
        if (matches(kept, id, type, flags) &&
            (found == NULL || kept->type < found->type)) {
            found = kept;
            if (type >= 0) {
                break;
            }
        }
    }
    return found;
}

static void
unlink_lock_held(PyObject *op, const struct core_kept *kept)
{
    struct core_kept *before = atomic_load(&message_queue(op)->kept);
    if (before == kept) {
        atomic_store(&message_queue(op)->kept, kept->next);
        return;
    }
    while (before->next != kept) {
        before = before->next;
    }
    before->next = kept->next;
}

ssize_t
core_kept_take(PyObject *op, struct core_buffer *buffer, int id, size_t limit,
               long type, int flags)
{
    ssize_t rc = -ENOMSG;
    struct core_kept *kept;
    CORE_BEGIN_CRITICAL_SECTION(op);
    kept = find_lock_held(op, id, type, flags);
    if (kept != NULL && kept->size > limit && !(flags & MSG_NOERROR)) {
        rc = -E2BIG;
    }
    else if (kept != NULL) {
        rc = (ssize_t)(kept->size < limit ? kept->size : limit);
        if (core_buffer_get(buffer, (size_t)rc) < 0) {
            rc = CORE_RAISED;
        }
        else {
            buffer->message->type = kept->type;
            memcpy(buffer->message->text, kept->text, (size_t)rc);
            unlink_lock_held(op, kept);
        }
    }
    CORE_END_CRITICAL_SECTION();
    if (rc >= 0) {
        free_kept(core_handle(op)->state, kept);
    }
    return rc;
}

/* Send a kept message to the end of its queue: NULL, also if the queue no
 * longer exists, or the reason why that is impossible. */
static const char *
give_back(const struct core_kept *kept)
{
    struct core_buffer buffer;
    struct os_info info;
    int rc = os_msg_stat(kept->id, &info);
    bool another = rc == 0 && kept->key != CORE_NO_KEY &&
                   info.key != kept->key;
    if (kept->namespace != os_namespace_number()) {
        return "its queue is in another IPC namespace";
    }
    if (another || rc == -EINVAL || rc == -EIDRM) {
        return NULL;
    }
    if (core_buffer_get(&buffer, kept->size) < 0) {
        PyErr_Clear();
        return "there is no memory now either";
    }
    buffer.message->type = kept->type;
    memcpy(buffer.message->text, kept->text, kept->size);
    rc = os_msg_send(kept->id, buffer.message, kept->size, IPC_NOWAIT);
    core_buffer_release(&buffer);
    return rc == 0 || rc == -EINVAL || rc == -EIDRM ? NULL : strerror(-rc);
}

void
core_kept_free(PyObject *op)
{
    struct core_kept *kept = atomic_exchange(&message_queue(op)->kept, NULL);
    while (kept != NULL) {
        struct core_kept *next = kept->next;
        /* A forked child has no part in what its parent keeps. */
        const char *why = kept->pid == getpid() ? give_back(kept) : NULL;
        if (why != NULL) {
            tell_lost(op, kept->size, why);
        }
        free_kept(core_handle(op)->state, kept);
        kept = next;
    }
}
