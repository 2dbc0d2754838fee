/* Bind the arguments of calls, and convert them to C. */
#ifndef SYSV_IPC_CORE_ARGS_H
#define SYSV_IPC_CORE_ARGS_H

#include "core/error.h"

/* Bind the arguments of a METH_FASTCALL | METH_KEYWORDS call to the names of a
 * signature: out holds a borrowed reference or NULL for each.  The first
 * "positional" arguments may be passed by position; the first "required" must
 * be passed. */
#define CORE_MOST_ARGUMENTS 6
struct core_signature {
    const char *function;
    int count, positional, required;
    enum core_argument arguments[CORE_MOST_ARGUMENTS];
};
int core_arguments_init(CoreState *state);
CORE_SELDOM int core_bind_keywords(CoreState *state,
                                   const struct core_signature *signature,
                                   PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *keywords, PyObject **out);
void core_bind_too_many(const struct core_signature *signature,
                        Py_ssize_t nargs);
/* Bind the arguments of tp_init: a tuple, and a dict or NULL. */
int core_bind_dict(CoreState *state, const struct core_signature *signature,
                   PyObject *args, PyObject *keywords, PyObject **out);

static inline int
core_bind_positional(const struct core_signature *signature,
                     PyObject *const *args, Py_ssize_t nargs, PyObject **out)
{
    if (nargs > signature->positional) {
        core_bind_too_many(signature, nargs);
        return -1;
    }
    for (int i = 0; i < signature->count; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    return 0;
}

/* Most calls have no keywords: they are bound without calling a function. */
static inline int
core_bind(CoreState *state, const struct core_signature *signature,
          PyObject *const *args, Py_ssize_t nargs, PyObject *keywords,
          PyObject **out)
{
    if (core_bind_positional(signature, args, nargs, out) < 0) {
        return -1;
    }
    return keywords == NULL && nargs >= signature->required
               ? 0
               : core_bind_keywords(state, signature, args, nargs, keywords,
                                    out);
}

/* Converters return 0, or -1 with an exception.  If the value is NULL, because
 * the argument was not passed, *out keeps its default. */
CORE_SELDOM int core_timeout_slow(CoreState *state, PyObject *value,
                                  int64_t *out);
CORE_SELDOM int core_integer_slow(CoreState *state, PyObject *value,
                                  const char *what, long long minimum,
                                  long long maximum, long long *out);
int core_bool_slow(PyObject *value, bool *out);

static inline int
core_timeout_as_ns(CoreState *state, PyObject *value, int64_t *out)
{
    return value == NULL ? 0 : core_timeout_slow(state, value, out);
}

static inline int
core_integer(CoreState *state, PyObject *value, const char *what,
             long long minimum, long long maximum, long long *out)
{
    if (value == NULL) {
        return 0;
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0 && number >= minimum && number <= maximum) {
            *out = number;
            return 0;
        }
    }
    return core_integer_slow(state, value, what, minimum, maximum, out);
}

static inline int
core_bool(PyObject *value, bool *out)
{
    if (value == NULL) {
        return 0;
    }
    if (value == Py_True) {
        *out = true;
        return 0;
    }
    return core_bool_slow(value, out);
}

/* Return true if float() accepts the value as a number. */
bool core_is_real(PyObject *value);

/* Call PyNumber_Index().  The TypeError names the argument. */
PyObject *core_index_named(PyObject *value, const char *what);
/* Call PySequence_Tuple().  "what" begins the message of the TypeError: it
 * names the argument and says what it must be. */
PyObject *core_tuple(CoreState *state, PyObject *value, const char *what);
/* Return 0, or -1 with the same TypeError if the value is not iterable. */
int core_check_iterable(PyObject *value, const char *what);

/* Call PyNumber_Index(), unless the value is an int. */
static inline PyObject *
core_index(PyObject *value)
{
    return PyLong_CheckExact(value) ? Py_NewRef(value) : PyNumber_Index(value);
}

/* Bytes to write or send: those of a C-contiguous buffer, or a str as
 * UTF-8. */
struct core_bytes {
    const char *data;
    Py_ssize_t size;
    Py_buffer buffer;
};
int core_bytes_get(PyObject *value, struct core_bytes *out);
void core_bytes_release(struct core_bytes *bytes);

#endif
