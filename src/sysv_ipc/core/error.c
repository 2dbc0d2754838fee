/* -errno to exception: the only place.  Classes, texts and cures are Python
 * (errors.py); here they get errno, operation and subject.  BusyError, the
 * one error on a hot path, is built here. */
#include "core.h"

#include <errno.h>

int
core_error_init(CoreState *state)
{
    PyObject *errors = PyImport_ImportModule("sysv_ipc.errors");
    if (errors == NULL) {
        return -1;
    }
    state->make_error = PyObject_GetAttrString(errors, "make");
    state->busy_class = PyObject_GetAttrString(errors, "BusyError");
    Py_DECREF(errors);
    state->busy_again = Py_BuildValue("(is)", EAGAIN, strerror(EAGAIN));
    state->busy_no_message = Py_BuildValue("(is)", ENOMSG, strerror(ENOMSG));
    state->about_name = PyUnicode_InternFromString("_about");
    return PyErr_Occurred() ? -1 : 0;
}

/* (kind, key, id), each None where unknown. */
static PyObject *
subject_as_tuple(struct core_subject subject)
{
    PyObject *key = subject.key == CORE_NO_KEY
                        ? Py_NewRef(Py_None)
                        : PyLong_FromLongLong(subject.key);
    PyObject *id = subject.id == -1 ? Py_NewRef(Py_None)
                                    : PyLong_FromLong(subject.id);
    return Py_BuildValue(
        "(zNN)", subject.kind != NULL ? subject.kind->name : NULL, key, id);
}

static PyObject *
raise_made(CoreState *state, PyObject *arguments)
{
    PyObject *error = NULL;
    if (arguments != NULL && state->make_error != NULL) {
        error = PyObject_CallObject(state->make_error, arguments);
    }
    else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_RuntimeError, "sysv_ipc has been unloaded");
    }
    Py_XDECREF(arguments);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

static PyObject *
raise_busy(CoreState *state, PyObject *arguments, struct core_subject subject)
{
    PyObject *about = subject_as_tuple(subject);
    if (about == NULL) {
        return NULL;
    }
    PyObject *error = PyObject_CallObject(state->busy_class, arguments);
    if (error != NULL) {
        if (PyObject_SetAttr(error, state->about_name, about) == 0) {
            PyErr_SetObject(state->busy_class, error);
        }
        Py_DECREF(error);
    }
    Py_DECREF(about);
    return NULL;
}

PyObject *
core_raise(CoreState *state, ssize_t rc, const char *operation,
           struct core_subject subject)
{
    if (rc == CORE_RAISED) {
        return NULL;
    }
    if (rc == -EAGAIN && state->busy_again != NULL) {
        return raise_busy(state, state->busy_again, subject);
    }
    if (rc == -ENOMSG && state->busy_no_message != NULL) {
        return raise_busy(state, state->busy_no_message, subject);
    }
    return raise_made(state, Py_BuildValue("(isN)", (int)-rc, operation,
                                           subject_as_tuple(subject)));
}

struct core_subject
core_handle_subject(PyObject *op)
{
    CoreHandle *self = core_handle(op);
    return (struct core_subject){
        self->kind,
        atomic_load_explicit(&self->key, memory_order_relaxed),
        core_handle_id(op),
    };
}

int
core_handle_check(CoreHandle *self)
{
    if (core_handle_id((PyObject *)self) >= 0) {
        return 0;
    }
    (void)raise_made(
        self->state,
        Py_BuildValue("(isNNs)", 0, "", subject_as_tuple(CORE_NO_SUBJECT),
                      PyUnicode_FromFormat(
                          "this %s was never initialised: %s.__init__() has "
                          "not run or has failed",
                          self->kind->name, Py_TYPE(self)->tp_name),
                      "ExistentialError"));
    return -1;
}

PyObject *
core_raise_gone(CoreState *state, ssize_t rc, const char *operation,
                struct core_subject subject)
{
    if (rc != -EINVAL) {
        return core_raise(state, rc, operation, subject);
    }
    return raise_made(state, Py_BuildValue("(isNOs)", EINVAL, operation,
                                           subject_as_tuple(subject), Py_None,
                                           "ExistentialError"));
}

PyObject *
core_handle_raise(PyObject *op, ssize_t rc, const char *operation)
{
    CoreHandle *self = core_handle(op);
    if (rc == CORE_RAISED || core_handle_check(self) < 0) {
        return NULL;
    }
    struct core_subject subject = core_handle_subject(op);
    struct os_info info;
    if (rc == -EINVAL && self->kind->stat(subject.id, &info) == -EINVAL) {
        return core_raise_gone(self->state, rc, operation, subject);
    }
    return core_raise(self->state, rc, operation, subject);
}

static PyObject *
refuse(CoreState *state, int error, struct core_subject subject,
       const char *class_name, const char *format, va_list arguments)
{
    PyObject *detail = PyUnicode_FromFormatV(format, arguments);
    if (detail == NULL) {
        return NULL;
    }
    return raise_made(state, Py_BuildValue("(isNNz)", error, "",
                                           subject_as_tuple(subject), detail,
                                           class_name));
}

PyObject *
core_refuse(CoreState *state, int error, struct core_subject subject,
            const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)refuse(state, error, subject, NULL, format, arguments);
    va_end(arguments);
    return NULL;
}

PyObject *
core_refuse_as(CoreState *state, const char *class_name, int error,
               PyObject *op, const char *format, ...)
{
    struct core_subject subject = op != NULL ? core_handle_subject(op)
                                             : CORE_NO_SUBJECT;
    va_list arguments;
    va_start(arguments, format);
    (void)refuse(state, error, subject, class_name, format, arguments);
    va_end(arguments);
    return NULL;
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
