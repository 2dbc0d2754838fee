/* -errno to exception: the only place.  The classes are in exceptions.c; the
 * cures are Python (cures.py), and BusyError, the one error on a hot path, has
 * none. */
#include "core/core.h"

#include <errno.h>

int
core_error_init(CoreState *state)
{
    state->semaphore_name = PyUnicode_FromString(core_semaphore_kind.name);
    state->shared_memory_name =
        PyUnicode_FromString(core_shared_memory_kind.name);
    state->message_queue_name =
        PyUnicode_FromString(core_message_queue_kind.name);
    state->busy_again = Py_BuildValue("(is)", EAGAIN, strerror(EAGAIN));
    state->busy_no_message = Py_BuildValue("(is)", ENOMSG, strerror(ENOMSG));
    state->about_name = PyUnicode_InternFromString("_about");
    state->detail_name = PyUnicode_InternFromString("_detail");
    return PyErr_Occurred() ? -1 : 0;
}

/* (kind, key, id), each None where unknown. */
static PyObject *
subject_as_tuple(CoreState *state, struct core_subject subject)
{
    PyObject *kind = NULL;
    if (subject.kind != NULL) {
        kind = *core_state_object(state, subject.kind->name_object);
    }
    PyObject *key = subject.key == CORE_NO_KEY
                        ? Py_NewRef(Py_None)
                        : PyLong_FromLongLong(subject.key);
    PyObject *id = subject.id == CORE_NO_ID ? Py_NewRef(Py_None)
                                            : PyLong_FromLong(subject.id);
    PyObject *about =
        key == NULL || id == NULL
            ? NULL
            : PyTuple_Pack(3, kind != NULL ? kind : Py_None, key, id);
    Py_XDECREF(key);
    Py_XDECREF(id);
    return about;
}

/* What an exception is made of. */
struct made {
    PyObject *cls; /* NULL is that of the errno */
    int error;     /* 0 is none */
    const char *operation;
    struct core_subject subject;
    PyObject *detail; /* what was wrong, or NULL; one that begins with "=" is
                       * the whole text, for programs that compare it */
};

/* The exception with nothing but class, errno and text. */
static PyObject *
make_bare(const struct made *made)
{
    Py_UCS4 first = made->detail != NULL && PyUnicode_GET_LENGTH(made->detail)
                        ? PyUnicode_READ_CHAR(made->detail, 0)
                        : 0;
    if (made->error != 0 && first != '=') {
        return PyObject_CallFunction(made->cls, "is", made->error,
                                     strerror(made->error));
    }
    PyObject *text =
        PyUnicode_Substring(made->detail, first == '=', PY_SSIZE_T_MAX);
    PyObject *error = text == NULL ? NULL
                                   : PyObject_CallOneArg(made->cls, text);
    Py_XDECREF(text);
    PyObject *number = error == NULL || made->error == 0
                           ? NULL
                           : PyLong_FromLong(made->error);
    if (number != NULL && PyObject_SetAttrString(error, "errno", number) < 0) {
        Py_CLEAR(error);
    }
    Py_XDECREF(number);
    return error;
}

/* Tell what it is about; 0 or -1. */
static int
add_attributes(CoreState *state, PyObject *error, const struct made *made,
               PyObject *about)
{
    if (PyObject_SetAttr(error, state->about_name, about) < 0) {
        return -1;
    }
    PyObject *detail = Py_XNewRef(made->detail);
    if (detail == NULL && made->error == EINVAL &&
        made->cls == state->ExistentialError) {
        PyObject *what = core_describe(about);
        if (what != NULL) {
            detail = PyUnicode_FromFormat("%U no longer exists", what);
            Py_DECREF(what);
        }
    }
    if (detail == NULL) {
        if (PyErr_Occurred()) {
            return -1;
        }
        detail = Py_NewRef(Py_None);
    }
    int rc = PyObject_SetAttr(error, state->detail_name, detail);
    Py_DECREF(detail);
    return rc;
}

/* Tell the cure.  Whatever keeps it away must not hide the error: 0, or -1 for
 * what is no Exception (Ctrl-C). */
static int
add_cure(CoreState *state, PyObject *error, const struct made *made)
{
    /* There is none while the module is being made. */
    PyObject *add_notes = state->add_notes;
    PyObject *type = NULL, *done = NULL;
    if (add_notes == NULL) {
        return 0;
    }
    if (made->subject.kind != NULL) {
        type = *core_state_object(state, made->subject.kind->type);
    }
    done = PyObject_CallFunction(add_notes, "OsO", error, made->operation,
                                 type != NULL ? type : Py_None);
    Py_XDECREF(done);
    if (done == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Raise it; a detail is stolen. */
static PyObject *
raise_made(CoreState *state, struct made made)
{
    PyObject *about = subject_as_tuple(state, made.subject);
    PyObject *error = NULL;
    if (made.cls == NULL) {
        made.cls = core_exception_class(state, made.error);
    }
    if (made.cls == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "sysv_ipc has been unloaded");
    }
    else if (about != NULL) {
        error = make_bare(&made);
    }
    if (error != NULL && add_attributes(state, error, &made, about) == 0 &&
        add_cure(state, error, &made) == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    }
    Py_XDECREF(error);
    Py_XDECREF(about);
    Py_XDECREF(made.detail);
    return NULL;
}

/* BusyError(*arguments), filled in as OSError.__new__() does it, without the
 * way there: this is the one error that programs raise in a loop. */
static PyObject *
raise_busy(CoreState *state, PyObject *arguments, struct core_subject subject)
{
    PyTypeObject *cls = (PyTypeObject *)state->BusyError;
    CoreError *error = (CoreError *)cls->tp_alloc(cls, 0);
    if (error == NULL) {
        return NULL;
    }
    error->base.args = Py_NewRef(arguments);
    error->base.myerrno = Py_NewRef(PyTuple_GET_ITEM(arguments, 0));
    error->base.strerror = Py_NewRef(PyTuple_GET_ITEM(arguments, 1));
    error->base.written = -1;
    error->about = subject_as_tuple(state, subject);
    if (error->about != NULL) {
        PyErr_SetObject(state->BusyError, (PyObject *)error);
    }
    Py_DECREF(error);
    return NULL;
}

PyObject *
core_raise(CoreState *state, ssize_t rc, const char *operation,
           struct core_subject subject)
{
    if (rc == CORE_RAISED) {
        return NULL;
    }
    if (rc == -EAGAIN && state->BusyError != NULL) {
        return raise_busy(state, state->busy_again, subject);
    }
    if (rc == -ENOMSG && state->BusyError != NULL) {
        return raise_busy(state, state->busy_no_message, subject);
    }
    return raise_made(state,
                      (struct made){NULL, (int)-rc, operation, subject, NULL});
}

struct core_subject
core_handle_subject(PyObject *op)
{
    CoreHandle *self = core_handle(op);
    return (struct core_subject){
        self->kind,
        core_handle_key(op),
        core_handle_id(op),
    };
}

struct core_subject
core_handle_subject_by_id(PyObject *op, int id)
{
    struct core_subject subject = core_handle_subject(op);
    if (subject.id != id) {
        subject.id = id;
        subject.key = CORE_NO_KEY;
    }
    return subject;
}

static void
raise_never_initialised(CoreHandle *self)
{
    (void)core_refuse_as(
        self->state, self->state->ExistentialError, 0,
        (struct core_subject){self->kind, CORE_NO_KEY, CORE_NO_ID},
        "this %s was never initialised: %s.__init__() has "
        "not run or has failed",
        self->kind->name, Py_TYPE(self)->tp_name);
}

int
core_handle_check(CoreHandle *self)
{
    if (core_handle_id((PyObject *)self) >= 0) {
        return 0;
    }
    raise_never_initialised(self);
    return -1;
}

PyObject *
core_raise_gone(CoreState *state, ssize_t rc, const char *operation,
                struct core_subject subject)
{
    if (rc != -EINVAL) {
        return core_raise(state, rc, operation, subject);
    }
    return raise_made(state, (struct made){state->ExistentialError, EINVAL,
                                           operation, subject, NULL});
}

PyObject *
core_handle_raise(PyObject *op, ssize_t rc, const char *operation)
{
    return core_handle_raise_by_id(op, core_handle_id(op), rc, operation);
}

PyObject *
core_handle_raise_by_id(PyObject *op, int id, ssize_t rc,
                        const char *operation)
{
    CoreHandle *self = core_handle(op);
    if (rc == CORE_RAISED) {
        return NULL;
    }
    if (id < 0) {
        raise_never_initialised(self);
        return NULL;
    }
    struct core_subject subject = core_handle_subject_by_id(op, id);
    struct os_info info;
    if (rc == -EINVAL && self->kind->stat(subject.id, &info) == -EINVAL) {
        return core_raise_gone(self->state, rc, operation, subject);
    }
    return core_raise(self->state, rc, operation, subject);
}

static PyObject *
refuse(CoreState *state, PyObject *cls, int error, struct core_subject subject,
       const char *format, va_list arguments)
{
    PyObject *detail = PyUnicode_FromFormatV(format, arguments);
    if (detail == NULL) {
        return NULL;
    }
    return raise_made(state, (struct made){cls, error, "", subject, detail});
}

PyObject *
core_refuse(CoreState *state, int error, struct core_subject subject,
            const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)refuse(state, NULL, error, subject, format, arguments);
    va_end(arguments);
    return NULL;
}

PyObject *
core_refuse_as(CoreState *state, PyObject *cls, int error,
               struct core_subject subject, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)refuse(state, cls, error, subject, format, arguments);
    va_end(arguments);
    return NULL;
}

void
core_error_set_subject(CoreState *state, struct core_subject subject)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *about =
        state->Error != NULL &&
                PyObject_TypeCheck(value, (PyTypeObject *)state->Error)
            ? ((CoreError *)value)->about
            : NULL;
    /* A program's own error, from its __index__(), has none. */
    if (about != NULL && PyTuple_Check(about) &&
        PyTuple_GET_SIZE(about) == 3 &&
        PyTuple_GET_ITEM(about, 0) == Py_None) {
        about = subject_as_tuple(state, subject);
        if (about != NULL) {
            Py_SETREF(((CoreError *)value)->about, about);
        }
        else {
            PyErr_Clear();
        }
    }
    PyErr_Restore(type, value, traceback);
}

void
core_error_tell_attempts(CoreState *state)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    /* What a signal handler raised, or the lack of memory, is none of ours. */
    if (state->Error != NULL &&
        PyObject_TypeCheck(value, (PyTypeObject *)state->Error)) {
        CoreError *error = (CoreError *)value;
        PyObject *told = error->detail == NULL || error->detail == Py_None
                             ? core_describe(error->about)
                             : Py_NewRef(error->detail);
        PyObject *detail =
            told == NULL ? NULL
                         : PyUnicode_FromFormat("%S, tried %d times", told,
                                                CORE_MOST_ATTEMPTS);
        if (detail != NULL) {
            Py_XSETREF(error->detail, detail);
        }
        Py_XDECREF(told);
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

int
core_error_to_note(PyObject *other)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *note = PyUnicode_FromFormat("Besides, %S", value);
    PyObject *result = note == NULL
                           ? NULL
                           : PyObject_CallMethod(other, "add_note", "O", note);
    Py_XDECREF(note);
    Py_XDECREF(result);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return result == NULL ? -1 : 0;
}

void
core_error_add_note(const char *format, ...)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    /* A MemoryError may be the one that the interpreter keeps for when there
     * is no memory at all, which would gather the notes. */
    if (type == PyExc_MemoryError) {
        PyErr_Restore(type, value, traceback);
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    PyObject *note = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    PyObject *result = note == NULL || value == NULL
                           ? NULL
                           : PyObject_CallMethod(value, "add_note", "O", note);
    Py_XDECREF(note);
    Py_XDECREF(result);
    PyErr_Restore(type, value, traceback);
}
