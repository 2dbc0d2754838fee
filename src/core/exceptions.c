/* The exception classes, their texts and properties, and the class for each
 * errno.  Making them in Python would take a third of the time that importing
 * sysv_ipc takes.
 *
 * An exception has two attributes for its text and its properties: _target,
 * the (kind, key, id, noun) of the object, and _detail, a text that replaces
 * the description of the object.  The program may change both; the
 * interpreter protects them like other members. */
#include "core/error.h"

#include <errno.h>

/* Digits of a timeout in seconds: a rounding error of the program, as in
 * 0.1 + 0.2, is not shown. */
#define SHOWN_DIGITS 7

/* ------------------------------------------------- texts and properties */

/* Get an attribute of the exception: a new reference in *value, or NULL if it
 * is None or missing.  Return 0, or -1 with an exception: a property of a
 * subclass may raise, and so may a signal handler that runs in it. */
static int
attribute(PyObject *error, const char *name, PyObject **value)
{
    *value = PyObject_GetAttrString(error, name);
    if (*value == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
    }
    if (*value == Py_None) {
        Py_CLEAR(*value);
    }
    return 0;
}

/* Return the kind, key, id or noun in a target, a borrowed reference, or NULL
 * if it is None. */
static PyObject *
part(PyObject *target, Py_ssize_t index)
{
    if (target == NULL || !PyTuple_Check(target) ||
        PyTuple_GET_SIZE(target) <= index) {
        return NULL;
    }
    PyObject *value = PyTuple_GET_ITEM(target, index);
    return value == Py_None ? NULL : value;
}

static PyObject *
error_get_part(PyObject *error, void *index)
{
    PyObject *target;
    if (attribute(error, "_target", &target) < 0) {
        return NULL;
    }
    PyObject *value = part(target, (Py_ssize_t)(intptr_t)index);
    Py_XINCREF(value);
    Py_XDECREF(target);
    if (value == NULL) {
        Py_RETURN_NONE;
    }
    return value;
}

PyObject *
core_describe(PyObject *target)
{
    PyObject *key = part(target, 1), *id = part(target, 2);
    /* The targets of older pickles, and of programs, have no noun. */
    PyObject *noun = part(target, 3);
    if (noun == NULL) {
        noun = part(target, 0);
    }
    if (noun == NULL) {
        return NULL;
    }
    if (key != NULL && PyLong_Check(key) && PyObject_IsTrue(key)) {
        unsigned int bits = (unsigned int)PyLong_AsUnsignedLongMask(key);
        return PyUnicode_FromFormat("%S with key %S (0x%x)", noun, key, bits);
    }
    if (id != NULL) {
        return PyUnicode_FromFormat("%S with id %S", noun, id);
    }
    return PyObject_Str(noun);
}

const char *
core_operation_verb(enum core_operation operation)
{
    static const char *const verbs[] = {
#define X(name, verb) verb,
        CORE_OPERATIONS(X)
#undef X
    };
    return verbs[operation];
}

/* The text for a receive: "no message of type 3 in ...". */
static PyObject *
describe_receive(const struct core_timeout *timeout, PyObject *name)
{
    if (timeout->type == 0) {
        return PyUnicode_FromFormat("no message in %U", name);
    }
    if (timeout->type < 0) {
        return PyUnicode_FromFormat("no message of a type up to %lu in %U",
                                    -(unsigned long)timeout->type, name);
    }
    return PyUnicode_FromFormat(timeout->except
                                    ? "no message of a type other than %ld "
                                      "in %U"
                                    : "no message of type %ld in %U",
                                timeout->type, name);
}

/* Describe the condition that a call with a timeout waited for. */
static PyObject *
describe_wait(const struct core_timeout *timeout, PyObject *name)
{
    switch (timeout->operation) {
    case CORE_OPERATION_RECEIVE:
    case CORE_OPERATION_RECEIVE_INTO:
        return describe_receive(timeout, name);
    case CORE_OPERATION_SEND:
        return PyUnicode_FromFormat("no room in %U", name);
    case CORE_OPERATION_ZERO:
        return PyUnicode_FromFormat("%U is not zero", name);
    case CORE_OPERATION_WAIT:
        return PyUnicode_FromFormat("the number in %U did not change", name);
    default:
        return PyUnicode_FromFormat(
            "could not %s %U", core_operation_verb(timeout->operation), name);
    }
}

/* "timed out after 0.5 s: no message in message queue with id 3"; NULL with an
 * exception, or without one if the target is unknown. */
static PyObject *
describe_timeout(const struct core_timeout *timeout, PyObject *target)
{
    PyObject *name = core_describe(target);
    PyObject *wait = name == NULL ? NULL : describe_wait(timeout, name);
    char *seconds = wait == NULL
                        ? NULL
                        : PyOS_double_to_string((double)timeout->ns / 1e9, 'g',
                                                SHOWN_DIGITS, 0, NULL);
    PyObject *text =
        seconds == NULL
            ? NULL
            : PyUnicode_FromFormat("timed out after %s s: %U", seconds, wait);
    PyMem_Free(seconds);
    Py_XDECREF(wait);
    Py_XDECREF(name);
    return text;
}

/* Get the detail: a new reference in *detail, or NULL if there is none.
 * Return 0, or -1 with an exception. */
static int
get_detail(PyObject *error, PyObject **detail)
{
    PyObject *target;
    const struct core_timeout *timeout = &((CoreError *)error)->timeout;
    if (attribute(error, "_detail", detail) < 0) {
        return -1;
    }
    if (*detail != NULL || timeout->ns == 0) {
        return 0;
    }
    if (attribute(error, "_target", &target) < 0) {
        return -1;
    }
    *detail = describe_timeout(timeout, target);
    Py_XDECREF(target);
    return PyErr_Occurred() ? -1 : 0;
}

/* Get the detail, or the name of the object if there is no detail.  Return 0,
 * or -1 with an exception. */
static int
get_explanation(PyObject *error, PyObject **text)
{
    PyObject *target;
    if (get_detail(error, text) < 0) {
        return -1;
    }
    if (*text != NULL) {
        return 0;
    }
    if (attribute(error, "_target", &target) < 0) {
        return -1;
    }
    *text = core_describe(target);
    Py_XDECREF(target);
    return PyErr_Occurred() ? -1 : 0;
}

/* Return OSError's text, followed by the explanation. */
static PyObject *
error_str(PyObject *error)
{
    PyObject *text = ((PyTypeObject *)PyExc_OSError)->tp_str(error);
    PyObject *strerror = NULL, *explanation = NULL;
    if (text == NULL) {
        return NULL;
    }
    if (attribute(error, "strerror", &strerror) < 0 ||
        (strerror != NULL && get_explanation(error, &explanation) < 0)) {
        Py_CLEAR(text);
    }
    else if (explanation != NULL) {
        Py_SETREF(text, PyUnicode_FromFormat("%U: %S", text, explanation));
    }
    Py_XDECREF(strerror);
    Py_XDECREF(explanation);
    return text;
}

static PyGetSetDef error_getset[] = {
    {"kind", error_get_part, NULL,
     "The kind of the object: \"semaphore\", \"shared memory\" or\n"
     "\"message queue\"; None if unknown.",
     (void *)0},
    {"key", error_get_part, NULL, "The key of the object; None if unknown.",
     (void *)1},
    {"id", error_get_part, NULL, "The id of the object; None if unknown.",
     (void *)2},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Add the attributes that OSError.__reduce__() omits, among them an errno that
 * is not in args. */
static int
add_omitted(PyObject *error, PyObject *state)
{
    static const char *const names[] = {"_detail", "_target", "errno"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        PyObject *value;
        int rc = i == 0 ? get_detail(error, &value)
                        : attribute(error, names[i], &value);
        if (rc == 0 && value != NULL) {
            rc = PyDict_SetItemString(state, names[i], value);
        }
        Py_XDECREF(value);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

/* (class, args, state) */
static PyObject *
error_reduce(PyObject *error, PyObject *Py_UNUSED(unused))
{
    PyObject *reduced =
        PyObject_CallMethod(PyExc_OSError, "__reduce__", "O", error);
    if (reduced == NULL || !PyTuple_Check(reduced) ||
        PyTuple_GET_SIZE(reduced) < 2) {
        return reduced;
    }
    PyObject *own =
        PyTuple_GET_SIZE(reduced) > 2 ? PyTuple_GET_ITEM(reduced, 2) : NULL;
    PyObject *state = own != NULL ? PyDict_Copy(own) : PyDict_New();
    PyObject *result = NULL;
    if (state != NULL && add_omitted(error, state) == 0) {
        result = Py_BuildValue("(OOO)", PyTuple_GET_ITEM(reduced, 0),
                               PyTuple_GET_ITEM(reduced, 1), state);
    }
    Py_XDECREF(state);
    Py_DECREF(reduced);
    return result;
}

static PyMethodDef error_methods[] = {
    {"__reduce__", error_reduce, METH_NOARGS,
     "__reduce__($self, /)\n--\n\nHelper for pickle."},
    {NULL, NULL, 0, NULL},
};

/* ----------------------------------------------------------- the classes */

PyObject *
core_exception_class(CoreState *state, int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return state->PermissionsError;
    case ENOENT:
    case EEXIST:
    case EIDRM:
        return state->ExistentialError;
    case EAGAIN:
    case ENOMSG:
        return state->BusyError;
    case EINVAL:
    case E2BIG:
    case ERANGE:
    case EFBIG:
        return state->ArgumentError;
    case ENOSPC:
        return state->LimitError;
    case ENOMEM:
        return state->OutOfMemoryError;
    case ECANCELED:
        return state->CancelledError;
    case EFAULT:
        return state->InternalError;
    default:
        return state->Error;
    }
}

static int
error_traverse(PyObject *op, visitproc visit, void *arg)
{
    CoreError *self = (CoreError *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->target);
    Py_VISIT(self->detail);
    return ((PyTypeObject *)PyExc_OSError)->tp_traverse(op, visit, arg);
}

static int
error_clear(PyObject *op)
{
    CoreError *self = (CoreError *)op;
    Py_CLEAR(self->target);
    Py_CLEAR(self->detail);
    return ((PyTypeObject *)PyExc_OSError)->tp_clear(op);
}

static void
error_dealloc(PyObject *op)
{
    CoreError *self = (CoreError *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weak_references != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    Py_CLEAR(self->target);
    Py_CLEAR(self->detail);
    /* The tp_dealloc of OSError expects that the object is tracked. */
    PyObject_GC_Track(op);
    ((PyTypeObject *)PyExc_OSError)->tp_dealloc(op);
    Py_DECREF(type);
}

static PyMemberDef error_members[] = {
    {"_target", T_OBJECT, offsetof(CoreError, target), 0, NULL},
    {"_detail", T_OBJECT, offsetof(CoreError, detail), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CoreError, weak_references),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    error_doc,
    "The base class of all errors of this library.\n"
    "\n"
    "errno and strerror are those of the C library.  kind, key and id name\n"
    "the object; each is None if it is unknown.  Notes say what to do.\n"
    "\n"
    ">>> try:\n"
    "...     Semaphore(4711)\n"
    "... except ExistentialError as error:\n"
    "...     print(error.kind, error.key, error.strerror)\n"
    "semaphore 4711 No such file or directory");

static PyType_Slot error_slots[] = {
    {Py_tp_doc, (void *)error_doc},
    {Py_tp_dealloc, error_dealloc},
    {Py_tp_traverse, error_traverse},
    {Py_tp_clear, error_clear},
    {Py_tp_str, error_str},
    {Py_tp_getset, error_getset},
    {Py_tp_members, error_members},
    {Py_tp_methods, error_methods},
    {0, NULL},
};

/* Make a class with one or two bases and add it to the module.  Return NULL
 * with an exception if that fails. */
static PyObject *
add_class(PyObject *module, PyType_Spec *spec, PyObject *base, PyObject *other)
{
    PyObject *bases = other != NULL ? PyTuple_Pack(2, base, other)
                                    : PyTuple_Pack(1, base);
    PyObject *cls =
        bases == NULL ? NULL : PyType_FromModuleAndSpec(module, spec, bases);
    Py_XDECREF(bases);
    if (cls != NULL && PyModule_AddType(module, (PyTypeObject *)cls) < 0) {
        Py_CLEAR(cls);
    }
    return cls;
}

/* Make a class that differs from its base only in name and docstring. */
static PyObject *
add_plain_class(PyObject *module, const char *name, const char *doc,
                PyObject *base, PyObject *other)
{
    PyType_Slot slots[] = {{Py_tp_doc, (void *)doc}, {0, NULL}};
    PyType_Spec spec = {
        .name = name,
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return add_class(module, &spec, base, other);
}

int
core_exceptions_init(PyObject *module, CoreState *state)
{
    PyType_Spec spec = {
        .name = "sysv_ipc.Error",
        .basicsize = sizeof(CoreError),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
        .slots = error_slots,
    };
    state->Error = add_class(module, &spec, PyExc_OSError, NULL);
    if (state->Error == NULL) {
        return -1;
    }
#define X(name, base, other, doc)                                        \
    state->name = add_plain_class(module, "sysv_ipc." #name, doc,        \
                                  state->base, other);                   \
    if (state->name == NULL) {                                           \
        return -1;                                                       \
    }
    CORE_EXCEPTIONS(X)
#undef X
    state->ArgumentWarning = add_plain_class(
        module, "sysv_ipc.ArgumentWarning",
        "A call is allowed but probably a mistake.\n"
        "\n"
        "The message says what the call does and what was probably meant.",
        PyExc_UserWarning, NULL);
    return state->ArgumentWarning == NULL ? -1 : 0;
}
