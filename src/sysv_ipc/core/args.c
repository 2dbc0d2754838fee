/* Binding and converting arguments.  A converter stands for one meaning
 * wherever that argument occurs; all conversion ends before the kernel is
 * asked for anything. */
#include "core.h"

#include <errno.h>
#include <math.h>

/* Timeouts are at most this, 146 years, so that a deadline cannot overflow;
 * longer ones are for ever. */
#define TIMEOUT_MAX_NS (INT64_MAX / 2)
#define SECOND_NS ((int64_t)1000000000)

static const char timeout_text[] =
    "The timeout must be None or a non-negative number";

/* Keywords are short, and mostly differ in their first letter: a loop here is
 * quicker than strcmp(3) elsewhere. */
static bool
is_name(const char *text, Py_ssize_t length, const char *name)
{
    for (Py_ssize_t i = 0; i < length; i++) {
        if (text[i] != name[i] || name[i] == '\0') {
            return false;
        }
    }
    return name[length] == '\0';
}

static int
find_name(const struct core_signature *signature, PyObject *name)
{
    if (!PyUnicode_Check(name) || !PyUnicode_IS_COMPACT_ASCII(name)) {
        return -1;
    }
    const char *text = PyUnicode_DATA(name);
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    for (int i = 0; i < signature->count; i++) {
        if (is_name(text, length, signature->names[i])) {
            return i;
        }
    }
    return -1;
}

static int
bind_positional(const struct core_signature *signature, PyObject *const *args,
                Py_ssize_t nargs, PyObject **out)
{
    if (nargs > signature->positional) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %d positional arguments (%zd given)",
                     signature->function, signature->positional, nargs);
        return -1;
    }
    for (int i = 0; i < signature->count; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    return 0;
}

static int
bind_keyword(const struct core_signature *signature, PyObject *name,
             PyObject *value, PyObject **out)
{
    int i = find_name(signature, name);
    if (i < 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument '%S'",
                     signature->function, name);
        return -1;
    }
    if (out[i] != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got multiple values for argument '%s'",
                     signature->function, signature->names[i]);
        return -1;
    }
    out[i] = value;
    return 0;
}

static int
check_required(const struct core_signature *signature, PyObject *const *out)
{
    for (int i = 0; i < signature->required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing required argument '%s'",
                         signature->function, signature->names[i]);
            return -1;
        }
    }
    return 0;
}

int
core_bind_any(const struct core_signature *signature, PyObject *const *args,
              Py_ssize_t nargs, PyObject *keywords, PyObject **out)
{
    if (bind_positional(signature, args, nargs, out) < 0) {
        return -1;
    }
    Py_ssize_t given = keywords != NULL ? PyTuple_GET_SIZE(keywords) : 0;
    for (Py_ssize_t k = 0; k < given; k++) {
        if (bind_keyword(signature, PyTuple_GET_ITEM(keywords, k),
                         args[nargs + k], out) < 0) {
            return -1;
        }
    }
    return check_required(signature, out);
}

int
core_bind_dict(const struct core_signature *signature, PyObject *args,
               PyObject *keywords, PyObject **out)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    if (bind_positional(signature, &PyTuple_GET_ITEM(args, 0),
                        PyTuple_GET_SIZE(args), out) < 0) {
        return -1;
    }
    while (keywords != NULL &&
           PyDict_Next(keywords, &position, &name, &value)) {
        if (bind_keyword(signature, name, value, out) < 0) {
            return -1;
        }
    }
    return check_required(signature, out);
}

/* A timeout that is not a number in double's range: for ever, or refused. */
static int
timeout_out_of_range(CoreState *state, PyObject *value, int64_t *out)
{
    PyObject *zero = PyLong_FromLong(0);
    int negative = -1;
    if (zero != NULL) {
        negative = PyObject_RichCompareBool(value, zero, Py_LT);
        Py_DECREF(zero);
    }
    if (negative < 0) {
        return -1;
    }
    if (negative) {
        (void)core_refuse(state, EINVAL, CORE_NO_SUBJECT, "=%s", timeout_text);
        return -1;
    }
    *out = OS_FOREVER;
    return 0;
}

int
core_timeout_as_ns(CoreState *state, PyObject *value, int64_t *out)
{
    if (value == NULL) {
        return 0;
    }
    if (value == Py_None) {
        *out = OS_FOREVER;
        return 0;
    }
    /* Whole seconds are common, and need no float. */
    if (PyLong_CheckExact(value)) {
        int overflow;
        long whole = PyLong_AsLongAndOverflow(value, &overflow);
        if (overflow == 0 && whole >= 0 &&
            whole < TIMEOUT_MAX_NS / SECOND_NS) {
            *out = whole * SECOND_NS;
            return 0;
        }
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Clear();
            return timeout_out_of_range(state, value, out);
        }
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_SetString(PyExc_TypeError, timeout_text);
            return -1;
        }
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        /* Decimal("sNaN") refuses to become a float. */
        PyErr_Clear();
        seconds = NAN;
    }
    if (isnan(seconds) || seconds < 0) {
        (void)core_refuse(state, EINVAL, CORE_NO_SUBJECT, "=%s", timeout_text);
        return -1;
    }
    double ns = ceil(seconds * 1e9);
    *out = ns >= (double)TIMEOUT_MAX_NS ? OS_FOREVER : (int64_t)ns;
    return 0;
}

int
core_integer(CoreState *state, PyObject *value, const char *what,
             long long minimum, long long maximum, long long *out)
{
    if (value == NULL) {
        return 0;
    }
    PyObject *number = PyLong_CheckExact(value) ? Py_NewRef(value)
                                                : PyNumber_Index(value);
    if (number == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s must be an integer, not %.100s",
                         what, Py_TYPE(value)->tp_name);
        }
        return -1;
    }
    int overflow;
    long long result = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow != 0 || result < minimum || result > maximum) {
        (void)core_refuse(state, EINVAL, CORE_NO_SUBJECT,
                          "%s must be from %lld to %lld, not %S", what,
                          minimum, maximum, number);
        Py_DECREF(number);
        return -1;
    }
    Py_DECREF(number);
    *out = result;
    return 0;
}

int
core_bool(PyObject *value, bool *out)
{
    if (value == NULL) {
        return 0;
    }
    int truth = value == Py_True ? 1 : PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    *out = truth != 0;
    return 0;
}

int
core_bytes_get(PyObject *value, struct core_bytes *out)
{
    out->buffer.obj = NULL;
    if (PyBytes_CheckExact(value)) {
        out->data = PyBytes_AS_STRING(value);
        out->size = PyBytes_GET_SIZE(value);
        return 0;
    }
    if (PyUnicode_Check(value)) {
        out->data = PyUnicode_AsUTF8AndSize(value, &out->size);
        return out->data == NULL ? -1 : 0;
    }
    if (PyObject_GetBuffer(value, &out->buffer, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    out->data = out->buffer.buf;
    out->size = out->buffer.len;
    return 0;
}

void
core_bytes_release(struct core_bytes *bytes)
{
    if (bytes->buffer.obj != NULL) {
        PyBuffer_Release(&bytes->buffer);
    }
}

int
core_patience_get(CoreState *state, PyObject *block, PyObject *timeout,
                  struct core_patience *out)
{
    bool may_wait = true;
    *out = (struct core_patience){OS_FOREVER, 0};
    if (core_bool(block, &may_wait) < 0 ||
        core_timeout_as_ns(state, timeout, &out->timeout_ns) < 0) {
        return -1;
    }
    if (!may_wait) {
        out->timeout_ns = 0;
    }
    return 0;
}

PyObject *
core_seconds(PyObject *module, PyObject *value)
{
    int64_t timeout_ns = OS_FOREVER;
    if (core_timeout_as_ns(core_state_of_module(module), value, &timeout_ns) <
        0) {
        return NULL;
    }
    if (timeout_ns == OS_FOREVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)timeout_ns / 1e9);
}
