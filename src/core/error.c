/* Raise the exception for -errno: only this file does that.  exceptions.c has
 * the classes, cures.py the notes that say what to do.  BusyError is raised in
 * loops, so it is made without the constructor, and has no notes.
 *
 * The module state is set once.  The attributes of an exception are written
 * while no other thread has it. */
#include "core/error.h"
#include "core/embedded.h"

#include <errno.h>

int
core_error_init(CoreState *state)
{
    for (size_t i = 0; i < CORE_KIND_COUNT; i++) {
        const struct core_kind *kind = state->kinds[i].kind;
        state->kinds[i].name =
            PyUnicode_InternFromString(core_kind_name(kind));
        state->kinds[i].noun =
            PyUnicode_InternFromString(core_kind_noun(kind));
    }
    state->busy_again = Py_BuildValue("(is)", EAGAIN, strerror(EAGAIN));
    state->busy_no_message = Py_BuildValue("(is)", ENOMSG, strerror(ENOMSG));
    state->target_name = PyUnicode_InternFromString("_target");
    state->detail_name = PyUnicode_InternFromString("_detail");
    return PyErr_Occurred() ? -1 : 0;
}

/* Return (kind, key, id, noun), in which None means that the value is
 * unknown. */
static PyObject *
target_as_tuple(CoreState *state, struct core_target target)
{
    PyObject *kind = Py_None, *noun = Py_None;
    if (target.kind != NULL) {
        kind = state->kinds[target.kind->index].name;
        noun = state->kinds[target.kind->index].noun;
    }
    PyObject *key = target.key == CORE_NO_KEY
                        ? Py_NewRef(Py_None)
                        : PyLong_FromLongLong(target.key);
    PyObject *id = target.id == CORE_NO_ID ? Py_NewRef(Py_None)
                                           : PyLong_FromLong(target.id);
    PyObject *tuple = key == NULL || id == NULL
                          ? NULL
                          : PyTuple_Pack(4, kind, key, id, noun);
    Py_XDECREF(key);
    Py_XDECREF(id);
    return tuple;
}

/* An exception to raise. */
struct made {
    PyObject *cls; /* NULL: the class for the errno */
    int error;     /* an errno, or 0 */
    enum core_operation operation;
    struct core_target target;
    PyObject *detail;   /* the text that explains the error, or NULL */
    bool detail_is_all; /* str() shows only the detail */
};

/* Make the exception with its class, errno and text, without attributes. */
static PyObject *
make_bare(const struct made *made)
{
    if (made->error != 0 && !made->detail_is_all) {
        return PyObject_CallFunction(made->cls, "is", made->error,
                                     strerror(made->error));
    }
    PyObject *error = PyObject_CallOneArg(made->cls, made->detail);
    PyObject *number = error == NULL || made->error == 0
                           ? NULL
                           : PyLong_FromLong(made->error);
    if (number != NULL && PyObject_SetAttrString(error, "errno", number) < 0) {
        Py_CLEAR(error);
    }
    Py_XDECREF(number);
    return error;
}

/* Set _target and _detail.  Return 0, or -1 with an exception. */
static int
add_attributes(CoreState *state, PyObject *error, const struct made *made,
               PyObject *tuple)
{
    if (PyObject_SetAttr(error, state->target_name, tuple) < 0) {
        return -1;
    }
    PyObject *detail = Py_XNewRef(made->detail);
    if (detail == NULL && made->error == EINVAL &&
        made->cls == state->ExistentialError) {
        PyObject *name = core_describe(tuple);
        if (name != NULL) {
            detail = PyUnicode_FromFormat("%U no longer exists", name);
            Py_DECREF(name);
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

/* Add the notes of cures.py.  If that fails, the error is raised without them.
 * Return 0, or -1 if the failure is not an Exception, such as Ctrl-C. */
static int
add_cure(CoreState *state, PyObject *error, const struct made *made)
{
    PyObject *type = NULL, *done = NULL;
    PyObject *add_notes =
        core_embedded_function(&core_embedded_cures, "add_notes");
    if (made->target.kind != NULL) {
        type = state->kinds[made->target.kind->index].type;
    }
    if (add_notes != NULL) {
        done = PyObject_CallFunction(add_notes, "OisO", error,
                                     (int)made->operation,
                                     core_operation_verb(made->operation),
                                     type != NULL ? type : Py_None);
    }
    Py_XDECREF(add_notes);
    Py_XDECREF(done);
    if (done == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Raise the exception.  The reference to the detail is stolen. */
static PyObject *
raise_made(CoreState *state, struct made made)
{
    PyObject *tuple = target_as_tuple(state, made.target);
    PyObject *error = NULL;
    if (made.cls == NULL) {
        made.cls = core_exception_class(state, made.error);
    }
    if (made.cls == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "sysv_ipc has been unloaded");
    }
    else if (tuple != NULL) {
        error = make_bare(&made);
    }
    if (error != NULL && add_attributes(state, error, &made, tuple) == 0 &&
        add_cure(state, error, &made) == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    }
    Py_XDECREF(error);
    Py_XDECREF(tuple);
    Py_XDECREF(made.detail);
    return NULL;
}

/* Raise BusyError(*arguments).  Programs raise it in loops, so the fields are
 * set here, as OSError.__new__() sets them, without calling it. */
static PyObject *
raise_busy(CoreState *state, PyObject *arguments, struct core_target target)
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
    error->target = target_as_tuple(state, target);
    if (error->target != NULL) {
        PyErr_SetObject(state->BusyError, (PyObject *)error);
    }
    Py_DECREF(error);
    return NULL;
}

PyObject *
core_raise(CoreState *state, ssize_t rc, enum core_operation operation,
           struct core_target target)
{
    if (rc == CORE_RAISED) {
        return NULL;
    }
    if (rc == -EAGAIN && state->BusyError != NULL) {
        return raise_busy(state, state->busy_again, target);
    }
    if (rc == -ENOMSG && state->BusyError != NULL) {
        return raise_busy(state, state->busy_no_message, target);
    }
    return raise_made(state, (struct made){
                                 .error = (int)-rc,
                                 .operation = operation,
                                 .target = target,
                             });
}

PyObject *
core_raise_gone(CoreState *state, ssize_t rc, enum core_operation operation,
                struct core_target target)
{
    if (rc != -EINVAL) {
        return core_raise(state, rc, operation, target);
    }
    return raise_made(state, (struct made){
                                 .cls = state->ExistentialError,
                                 .error = EINVAL,
                                 .operation = operation,
                                 .target = target,
                             });
}

PyObject *
core_raise_no_object(CoreState *state, ssize_t rc,
                     enum core_operation operation, struct core_target target)
{
    if (rc != -EINVAL) {
        return core_raise(state, rc, operation, target);
    }
    PyObject *detail = PyUnicode_FromFormat(
        "no %s has the id %d", core_kind_name(target.kind), target.id);
    if (detail == NULL) {
        return NULL;
    }
    return raise_made(state, (struct made){
                                 .cls = state->ExistentialError,
                                 .error = EINVAL,
                                 .operation = operation,
                                 .target = target,
                                 .detail = detail,
                             });
}

static PyObject *
refuse(CoreState *state, PyObject *cls, int error, struct core_target target,
       const char *format, va_list arguments)
{
    PyObject *detail = PyUnicode_FromFormatV(format, arguments);
    if (detail == NULL) {
        return NULL;
    }
    return raise_made(state, (struct made){
                                 .cls = cls,
                                 .error = error,
                                 .target = target,
                                 .detail = detail,
                             });
}

PyObject *
core_refuse(CoreState *state, int error, struct core_target target,
            const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)refuse(state, NULL, error, target, format, arguments);
    va_end(arguments);
    return NULL;
}

PyObject *
core_refuse_as(CoreState *state, PyObject *cls, int error,
               struct core_target target, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)refuse(state, cls, error, target, format, arguments);
    va_end(arguments);
    return NULL;
}

PyObject *
core_refuse_text(CoreState *state, int error, struct core_target target,
                 const char *text)
{
    PyObject *detail = PyUnicode_FromString(text);
    if (detail == NULL) {
        return NULL;
    }
    return raise_made(state, (struct made){
                                 .error = error,
                                 .target = target,
                                 .detail = detail,
                                 .detail_is_all = true,
                             });
}

void
core_error_set_target(CoreState *state, struct core_target target)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *tuple =
        state->Error != NULL &&
                PyObject_TypeCheck(value, (PyTypeObject *)state->Error)
            ? ((CoreError *)value)->target
            : NULL;
    /* An exception from the program's own __index__() has no target. */
    if (tuple != NULL && PyTuple_Check(tuple) && PyTuple_GET_SIZE(tuple) > 0 &&
        PyTuple_GET_ITEM(tuple, 0) == Py_None) {
        tuple = target_as_tuple(state, target);
        if (tuple != NULL) {
            Py_SETREF(((CoreError *)value)->target, tuple);
        }
        else {
            PyErr_Clear();
        }
    }
    PyErr_Restore(type, value, traceback);
}

void
core_error_add_attempts(CoreState *state, int attempts)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    /* Leave other exceptions alone: a signal handler's, or MemoryError. */
    if (state->Error != NULL &&
        PyObject_TypeCheck(value, (PyTypeObject *)state->Error)) {
        CoreError *error = (CoreError *)value;
        PyObject *text = error->detail == NULL || error->detail == Py_None
                             ? core_describe(error->target)
                             : Py_NewRef(error->detail);
        PyObject *detail =
            text == NULL
                ? NULL
                : PyUnicode_FromFormat("%S, tried %d times", text, attempts);
        if (detail != NULL) {
            Py_XSETREF(error->detail, detail);
        }
        Py_XDECREF(text);
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

void
core_error_set_timeout_slow(CoreState *state,
                            const struct core_timeout *timeout)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (state->BusyError != NULL &&
        PyObject_TypeCheck(value, (PyTypeObject *)state->BusyError)) {
        ((CoreError *)value)->timeout = *timeout;
    }
    PyErr_Restore(type, value, traceback);
}

int
core_error_to_note(PyObject *other, const char *call)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *note = PyUnicode_FromFormat("%s() also failed: %S", call, value);
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
    /* CPython keeps a MemoryError for the case that there is no memory at all.
     * It is raised again and would collect the notes. */
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
