/* Messages that were taken off a queue, and for which there was no memory to
 * give them to Python: the handle keeps them for its next call that receives.
 *
 * The list is guarded by the handle's critical section; that it is empty,
 * which it nearly always is, can be seen without.  A forked child has no part
 * in what its parent keeps. */
#include "message_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct core_kept {
    struct core_kept *next; /* one that was taken later */
    pid_t pid;
    int id;
    size_t size;
    struct core_message message;
};

static void
append_lock_held(PyObject *op, struct core_kept *kept)
{
    struct core_kept *last = atomic_load(&message_queue(op)->kept);
    kept->next = NULL;
    if (last == NULL) {
        atomic_store(&message_queue(op)->kept, kept);
        return;
    }
    while (last->next != NULL) {
        last = last->next;
    }
    last->next = kept;
}

void
core_keep(PyObject *op, int id, const struct core_message *message,
          size_t size)
{
    /* Not the interpreter's: it has none. */
    struct core_kept *kept = malloc(sizeof(*kept) + size);
    if (kept == NULL) {
        (void)os_msg_send(id, message, size, IPC_NOWAIT);
        return;
    }
    kept->pid = getpid();
    kept->id = id;
    kept->size = size;
    kept->message.type = message->type;
    memcpy(kept->message.text, message->text, size);
    CORE_BEGIN_CRITICAL_SECTION(op);
    append_lock_held(op, kept);
    CORE_END_CRITICAL_SECTION();
}

/* Whether msgrcv(2) would take it. */
static bool
matches(const struct core_kept *kept, int id, long type, int flags)
{
    long own = kept->message.type;
    if (kept->pid != getpid() || kept->id != id) {
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
            (found == NULL || kept->message.type < found->message.type)) {
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
core_kept_take(PyObject *op, struct core_room *room, int id, size_t limit,
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
        if (core_room_get(room, (size_t)rc) < 0) {
            rc = CORE_RAISED;
        }
        else {
            room->message->type = kept->message.type;
            memcpy(room->message->text, kept->message.text, (size_t)rc);
            unlink_lock_held(op, kept);
        }
    }
    CORE_END_CRITICAL_SECTION();
    if (rc >= 0) {
        free(kept);
    }
    return rc;
}

void
core_kept_free(PyObject *op)
{
    struct core_kept *kept = atomic_exchange(&message_queue(op)->kept, NULL);
    while (kept != NULL) {
        struct core_kept *next = kept->next;
        if (kept->pid == getpid() &&
            os_msg_send(kept->id, &kept->message, kept->size, IPC_NOWAIT) ==
                -EAGAIN) {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            (void)core_refuse_as(core_handle(op)->state,
                                 core_handle(op)->state->Error, 0,
                                 core_handle_subject(op),
                                 "a message of %zu bytes, for which there was "
                                 "no memory when it "
                                 "was received, is lost: the queue is full",
                                 kept->size);
            PyErr_WriteUnraisable(NULL);
            PyErr_Restore(type, value, traceback);
        }
        free(kept);
        kept = next;
    }
}
