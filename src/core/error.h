/* Raise an exception for -errno that names the object and explains the error,
 * with notes that say what to do. */
#ifndef SYSV_IPC_CORE_ERROR_H
#define SYSV_IPC_CORE_ERROR_H

#include "core/kind.h"

#include <errno.h>

#define CORE_NO_KEY INT64_MIN
#define CORE_NO_ID INT_MIN

/* The object that an error is about.  Unknown values are NULL, CORE_NO_KEY and
 * CORE_NO_ID. */
struct core_target {
    const struct core_kind *kind;
    int64_t key;
    int id;
};
#define CORE_NO_TARGET ((struct core_target){NULL, CORE_NO_KEY, CORE_NO_ID})

/* A result in place of -errno: an exception is already set. */
#define CORE_RAISED INT_MIN

/* The operations that can fail: X(name, verb).  The verb is used in sentences
 * such as "Only its owner may VERB it".  cures.py knows the numbers as
 * _OPERATION_<name>. */
#define CORE_OPERATIONS(X)            \
    X(NONE, "")                       \
    X(ACQUIRE, "acquire")             \
    X(ATTACH, "attach")               \
    X(CHANGE, "change")               \
    X(CREATE, "create")               \
    X(DETACH, "detach")               \
    X(FILL, "fill")                   \
    X(LIST, "list")                   \
    X(LOCK, "lock")                   \
    X(OPEN, "open")                   \
    X(OPERATE, "operate on")          \
    X(PEEK, "peek into")              \
    X(READ, "read")                   \
    X(RECEIVE, "receive from")        \
    X(RECEIVE_INTO, "receive from")   \
    X(RELEASE, "release")             \
    X(REMOVE, "remove")               \
    X(RESIZE, "resize")               \
    X(SEND, "send to")                \
    X(SET_VALUE, "set the value of")  \
    X(STAT, "stat")                   \
    X(UNLOCK, "unlock")               \
    X(WAIT, "wait for")               \
    X(WAKE, "wake")                   \
    X(ZERO, "wait for")

enum core_operation {
#define X(name, verb) CORE_OPERATION_##name,
    CORE_OPERATIONS(X)
#undef X
        CORE_OPERATION_COUNT
};

/* The wait that ended because its time was up. */
struct core_timeout {
    int64_t ns; /* 0 if the call did not wait */
    enum core_operation operation;
    long type;   /* of the message to receive, as in msgrcv(2) */
    bool except; /* any type but that one (MSG_EXCEPT) */
};

/* An Error.  target is (kind, key, id); detail is the text that explains the
 * error, or None.  timeout is set only in a BusyError, whose detail is made
 * when it is read. */
typedef struct {
    PyOSErrorObject base;
    PyObject *target;
    PyObject *detail;
    PyObject *weak_references;
    struct core_timeout timeout;
} CoreError;

/* The functions that raise return NULL.  rc is -errno or CORE_RAISED. */
CORE_SELDOM PyObject *core_raise(CoreState *state, ssize_t rc,
                                 enum core_operation operation,
                                 struct core_target target);
/* The same for a call by id, where EINVAL means that no object has the id any
 * more. */
CORE_SELDOM PyObject *core_raise_gone(CoreState *state, ssize_t rc,
                                      enum core_operation operation,
                                      struct core_target target);
/* The same for an id that the program passed: an object with it may never have
 * existed. */
CORE_SELDOM PyObject *core_raise_no_object(CoreState *state, ssize_t rc,
                                           enum core_operation operation,
                                           struct core_target target);
/* Raise the class for this errno with a detail, without a failed system
 * call. */
CORE_SELDOM PyObject *core_refuse(CoreState *state, int error,
                                  struct core_target target,
                                  const char *format, ...);
/* The same with a class of its own; error is 0 if there is no errno. */
PyObject *core_refuse_as(CoreState *state, PyObject *cls, int error,
                         struct core_target target, const char *format, ...);
/* The same with a text that programs compare: str() shows only the text. */
CORE_SELDOM PyObject *core_refuse_text(CoreState *state, int error,
                                       struct core_target target,
                                       const char *text);
/* Add a target to the exception that is set, if it is an Error without a
 * target. */
CORE_SELDOM void core_error_set_target(CoreState *state,
                                       struct core_target target);
/* Record in the BusyError that rc has raised how long the call waited, and for
 * what.  Nothing is recorded for another rc, or if the call did not wait. */
CORE_SELDOM void
core_error_set_timeout_slow(CoreState *state,
                            const struct core_timeout *timeout);

static inline void
core_error_set_timeout(CoreState *state, ssize_t rc,
                       struct core_timeout timeout)
{
    if ((rc == -EAGAIN || rc == -ENOMSG) && timeout.ns > 0) {
        core_error_set_timeout_slow(state, &timeout);
    }
}

/* Call core_raise() for a call with a timeout. */
static inline PyObject *
core_raise_wait(CoreState *state, ssize_t rc, enum core_operation operation,
                struct core_target target, int64_t timeout_ns)
{
    (void)core_raise(state, rc, operation, target);
    core_error_set_timeout(
        state, rc, (struct core_timeout){timeout_ns, operation, 0, false});
    return NULL;
}

/* Clear the exception that is set, which this call raised, and add it as a
 * note to another exception.  Return 0, or -1 with an exception. */
int core_error_to_note(PyObject *other, const char *call);
/* Add the number of attempts to the text of the exception that is set. */
CORE_SELDOM void core_error_add_attempts(CoreState *state, int attempts);
/* Add a note to the exception that is set. */
CORE_SELDOM void core_error_add_note(const char *format, ...);
/* Make the names of kinds, and the arguments of BusyError.  Return 0, or -1
 * with an exception. */
int core_error_init(CoreState *state);

/* exceptions.c: make the classes and add them to the module.  Return 0, or -1
 * with an exception. */
int core_exceptions_init(PyObject *module, CoreState *state);
/* Return the verb of an operation. */
const char *core_operation_verb(enum core_operation operation);
/* Return the class for an errno, a borrowed reference. */
PyObject *core_exception_class(CoreState *state, int error);
/* Return the name of an object for messages, such as "semaphore with key 5
 * (0x5)"; NULL without an exception if the kind is unknown. */
PyObject *core_describe(PyObject *target);

#endif
