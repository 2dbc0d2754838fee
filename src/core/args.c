/* Bind the arguments of calls, and convert them to C.  Each converter has one
 * meaning, and every call whose argument has that meaning uses it.  A call
 * converts all its arguments before it makes a system call.
 *
 * The names of arguments are set once, when the module is made. */

#include "core/args.h"
#include "core/warning.h"

#include <errno.h>
#include <math.h>

/* The longest timeout, 146 years: a deadline computed from it cannot overflow.
 * A longer timeout waits without limit. */
#define TIMEOUT_MAX_NS (INT64_MAX / 2)
#define SECOND_NS ((int64_t)1000000000)

/* The most items of an argument.  An iterator may never end, and no call needs
 * more: semop(2) can name 65 536 members of a set. */
#define MOST_ITEMS 1000000

static const char timeout_text[] =
    "The timeout must be None or a non-negative number";

static const char *const argument_names[] = {
#define X(name) #name,
    CORE_ARGUMENTS(X)
#undef X
};

int
core_arguments_init(CoreState *state)
{
    for (int i = 0; i < CORE_ARGUMENT_COUNT; i++) {
        state->arguments[i] = PyUnicode_InternFromString(argument_names[i]);
        if (state->arguments[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Return the index of the argument with this name, or count if there is none.
 * Keywords in the source of a program are interned: they are the objects in
 * the state.  Other keywords, as from **dict, may only be equal to them. */
static int
find(CoreState *state, const struct core_signature *signature, PyObject *name)
{
    for (int i = 0; i < signature->count; i++) {
        if (state->arguments[signature->arguments[i]] == name) {
            return i;
        }
    }
    int i = 0;
    while (i < signature->count &&
           (!PyUnicode_Check(name) ||
            PyUnicode_CompareWithASCIIString(
                name, argument_names[signature->arguments[i]]) != 0)) {
        i++;
    }
    return i;
}

void
core_bind_too_many(const struct core_signature *signature, Py_ssize_t nargs)
{
    PyErr_Format(PyExc_TypeError,
                 "%s() takes at most %d positional arguments (%zd given)",
                 signature->function, signature->positional, nargs);
}

static int
bind_keyword(CoreState *state, const struct core_signature *signature,
             PyObject *name, PyObject *value, PyObject **out)
{
    int i = find(state, signature, name);
    if (i == signature->count) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument '%S'",
                     signature->function, name);
        return -1;
    }
    if (out[i] != NULL) {
        PyErr_Format(
            PyExc_TypeError, "%s() got multiple values for argument '%s'",
            signature->function, argument_names[signature->arguments[i]]);
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
            PyErr_Format(
                PyExc_TypeError, "%s() missing required argument '%s'",
                signature->function, argument_names[signature->arguments[i]]);
            return -1;
        }
    }
    return 0;
}

/* Most calls pass keywords in the order of the signature.  The first loop
 * binds those, and none twice. */
int
core_bind_keywords(CoreState *state, const struct core_signature *signature,
                   PyObject *const *args, Py_ssize_t nargs, PyObject *keywords,
                   PyObject **out)
{
    Py_ssize_t given = keywords != NULL ? PyTuple_GET_SIZE(keywords) : 0;
    Py_ssize_t k = 0;
    for (int i = (int)nargs; k < given && i < signature->count; i++) {
        if (PyTuple_GET_ITEM(keywords, k) ==
            state->arguments[signature->arguments[i]]) {
            out[i] = args[nargs + k];
            k++;
        }
    }
    for (; k < given; k++) {
        if (bind_keyword(state, signature, PyTuple_GET_ITEM(keywords, k),
                         args[nargs + k], out) < 0) {
            return -1;
        }
    }
    return nargs >= signature->required ? 0 : check_required(signature, out);
}

int
core_bind_dict(CoreState *state, const struct core_signature *signature,
               PyObject *args, PyObject *keywords, PyObject **out)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    if (core_bind_positional(signature, &PyTuple_GET_ITEM(args, 0),
                             PyTuple_GET_SIZE(args), out) < 0) {
        return -1;
    }
    while (keywords != NULL &&
           PyDict_Next(keywords, &position, &name, &value)) {
        if (bind_keyword(state, signature, name, value, out) < 0) {
            return -1;
        }
    }
    return check_required(signature, out);
}

/* NumPy's strings have nb_float, but are strings. */
bool
core_is_real(PyObject *value)
{
    const PyNumberMethods *methods = Py_TYPE(value)->tp_as_number;
    return PyFloat_Check(value) ||
           (!PyUnicode_Check(value) && !PyBytes_Check(value) &&
            methods != NULL &&
            (methods->nb_float != NULL || methods->nb_index != NULL));
}

/* Clear the ValueError that float() raised if the value is a signaling NaN,
 * Decimal("sNaN").  Return 0, or -1 with an exception: the ValueError for any
 * other value. */
static int
forgive_signaling_nan(PyObject *value)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *result = PyObject_CallMethod(value, "is_nan", NULL);
    int nan = result == NULL ? -1 : PyObject_IsTrue(result);
    Py_XDECREF(result);
    if (nan < 0 && !PyErr_ExceptionMatches(PyExc_Exception)) {
        /* is_nan() was interrupted, for example by Ctrl-C. */
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return -1;
    }
    PyErr_Clear();
    if (nan <= 0) {
        PyErr_Restore(type, error, traceback);
        return -1;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return 0;
}

/* Convert a timeout for which float() raised OverflowError: it waits without
 * limit, or is refused if it is negative.  The OverflowError stays set if the
 * value cannot be compared with 0. */
static int
timeout_out_of_range(CoreState *state, PyObject *value, int64_t *out)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *zero = PyLong_FromLong(0);
    int negative = zero == NULL ? -1
                                : PyObject_RichCompareBool(value, zero, Py_LT);
    Py_XDECREF(zero);
    if (negative < 0 && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        PyErr_Restore(type, error, traceback);
        return -1;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    if (negative < 0) {
        return -1;
    }
    if (negative) {
        (void)core_refuse_text(state, EINVAL, CORE_NO_TARGET, timeout_text);
        return -1;
    }
    *out = OS_FOREVER;
    return 0;
}

/* Warn that timeout is True or False. */
static int
warn_of_timeout(CoreState *state, PyObject *value)
{
    return core_warn(
        state, CORE_SLIP_TIMEOUT,
        PyUnicode_FromString(
            value == Py_True
                ? "timeout=True is one second: pass timeout=None, the "
                  "default, to wait without limit"
                : "timeout=False does not wait: pass timeout=0 for that, "
                  "or timeout=None to wait without limit"));
}

int
core_timeout_slow(CoreState *state, PyObject *value, int64_t *out)
{
    if (value == Py_None) {
        *out = OS_FOREVER;
        return 0;
    }
    /* Whole seconds are common, and are converted without a float. */
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long whole = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0 && whole >= 0 &&
            whole < TIMEOUT_MAX_NS / SECOND_NS) {
            *out = whole * SECOND_NS;
            return 0;
        }
    }
    if (PyBool_Check(value) && warn_of_timeout(state, value) < 0) {
        return -1;
    }
    if (!core_is_real(value)) {
        PyErr_SetString(PyExc_TypeError, timeout_text);
        return -1;
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return timeout_out_of_range(state, value, out);
        }
        /* An array of several numbers is not a number.  Exceptions from
         * __float__() stay set. */
        if (PyErr_ExceptionMatches(PyExc_TypeError) &&
            PySequence_Check(value)) {
            PyErr_SetString(PyExc_TypeError, timeout_text);
            return -1;
        }
        if (!PyErr_ExceptionMatches(PyExc_ValueError) ||
            forgive_signaling_nan(value) < 0) {
            return -1;
        }
        seconds = NAN;
    }
    if (isnan(seconds) || seconds < 0) {
        (void)core_refuse_text(state, EINVAL, CORE_NO_TARGET, timeout_text);
        return -1;
    }
    /* The product must not keep the greater precision of i386's registers, in
     * which 1e-9 s is more than 1 ns. */
    volatile double product = seconds * 1e9;
    double ns = ceil(product);
    *out = ns >= (double)TIMEOUT_MAX_NS ? OS_FOREVER : (int64_t)ns;
    return 0;
}

PyObject *
core_index_named(PyObject *value, const char *what)
{
    if (!PyIndex_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be an integer, not %.100s",
                     what, Py_TYPE(value)->tp_name);
        return NULL;
    }
    return core_index(value);
}

PyObject *
core_tuple(CoreState *state, PyObject *value, const char *what)
{
    if (core_check_iterable(value, what) < 0) {
        return NULL;
    }
    if (PyTuple_CheckExact(value) || PyList_CheckExact(value)) {
        return PySequence_Tuple(value);
    }
    /* The __len__() of other iterables may be wrong, and they may never
     * end. */
    PyObject *iterator = PyObject_GetIter(value);
    PyObject *list = iterator == NULL ? NULL : PyList_New(0);
    PyObject *item;
    int rc = list == NULL ? -1 : 0;
    while (rc == 0 && (item = PyIter_Next(iterator)) != NULL) {
        rc = PyList_Append(list, item);
        Py_DECREF(item);
        if (rc == 0 && PyList_GET_SIZE(list) > MOST_ITEMS) {
            rc = -1;
            (void)core_refuse(state, E2BIG, CORE_NO_TARGET,
                              "%s: this one has more than %d items", what,
                              MOST_ITEMS);
        }
    }
    PyObject *tuple = rc < 0 || PyErr_Occurred() ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    Py_XDECREF(iterator);
    return tuple;
}

int
core_check_iterable(PyObject *value, const char *what)
{
    if (Py_TYPE(value)->tp_iter != NULL || PySequence_Check(value)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s, not %.100s", what,
                 Py_TYPE(value)->tp_name);
    return -1;
}

int
core_integer_slow(CoreState *state, PyObject *value, const char *what,
                  long long minimum, long long maximum, long long *out)
{
    PyObject *number = core_index_named(value, what);
    if (number == NULL) {
        return -1;
    }
    int overflow;
    long long result = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow != 0 || result < minimum || result > maximum) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
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
core_bool_slow(PyObject *value, bool *out)
{
    int truth = PyObject_IsTrue(value);
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
