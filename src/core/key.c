/* Convert keys, and make them from names and paths (ftok(3)).  No state. */
#include "core/key.h"

#include <errno.h>

int
core_key_slow(CoreState *state, PyObject *value, struct core_key *out)
{
    if (value == Py_None) {
        out->type = CORE_KEY_RANDOM;
        out->value = IPC_PRIVATE;
        return 0;
    }
    if (!PyLong_CheckExact(value) && !PyIndex_Check(value)) {
        bool is_name = PyUnicode_Check(value) || PyBytes_Check(value);
        (void)core_refuse_as(state, state->KeyTypeError, EINVAL,
                             CORE_NO_TARGET,
                             "a key must be an int, None or IPC_PRIVATE, not "
                             "%.100s%s",
                             Py_TYPE(value)->tp_name,
                             is_name ? ": key_from_name() makes a key from a "
                                       "name"
                                     : "");
        return -1;
    }
    PyObject *number = core_index(value);
    if (number == NULL) {
        return -1;
    }
    int overflow, rc = -1;
    long long wide = PyLong_AsLongLongAndOverflow(number, &overflow);
    key_t key = (key_t)(uint32_t)wide;
    if (overflow != 0) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "a key must be from KEY_MIN (%lld) to KEY_MAX "
                          "(%lld), not %S",
                          LLONG_MIN, LLONG_MAX, number);
    }
    else if (key == IPC_PRIVATE && wide != IPC_PRIVATE) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "the key %S would become IPC_PRIVATE: the kernel "
                          "uses its low 32 bits, and they are 0",
                          number);
    }
    else {
        rc = 0;
    }
    Py_DECREF(number);
    out->type = key == IPC_PRIVATE ? CORE_KEY_PRIVATE : CORE_KEY_VALUE;
    out->value = key;
    return rc;
}

/* 1.2.0 issues this warning at each call, so it is not an ArgumentWarning. */
static int
warn_of_ftok(void)
{
    return PyErr_WarnEx(PyExc_Warning,
                        "Use of ftok() is not recommended; see sysv_ipc "
                        "documentation",
                        1);
}

/* Return the low byte of an int, or -1 with an exception.  ftok(3) ignores the
 * other bytes. */
static int
project_id(CoreState *state, PyObject *value)
{
    PyObject *number = core_index(value);
    if (number == NULL) {
        return -1;
    }
    int low = (int)(PyLong_AsUnsignedLongMask(number) & 0xff);
    if (low == 0 && !PyErr_Occurred()) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "the low byte of the id of ftok() must not be 0, "
                          "but that of %S is: use 1 to 255",
                          number);
    }
    Py_DECREF(number);
    return PyErr_Occurred() ? -1 : low;
}

PyObject *
core_ftok(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"path", "id", "silence_warning", NULL};
    CoreState *state = core_state_of_module(module);
    PyObject *path, *id, *path_bytes = NULL, *result = NULL;
    int silence = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|p:ftok", names, &path,
                                     &id, &silence)) {
        return NULL;
    }
    int low = project_id(state, id);
    if (low < 0 || !PyUnicode_FSConverter(path, &path_bytes)) {
        return NULL;
    }
    if (!silence && warn_of_ftok() < 0) {
        goto done;
    }
    const char *text = PyBytes_AS_STRING(path_bytes);
    key_t key;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = os_ftok(text, low, &key);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        errno = -rc;
        (void)PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
        goto done;
    }
    result = PyLong_FromLong(key);
done:
    Py_DECREF(path_bytes);
    return result;
}

/* The 32-bit FNV-1a hash, reduced to a positive int.  It is short enough to
 * write in any language, and some have it built in. */
PyObject *
core_key_from_name(PyObject *Py_UNUSED(module), PyObject *name)
{
    if (!PyUnicode_Check(name) && !PyBytes_Check(name)) {
        PyErr_Format(PyExc_TypeError,
                     "a name must be str or bytes, not %.100s",
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    struct core_bytes bytes;
    if (core_bytes_get(name, &bytes) < 0) {
        return NULL;
    }
    uint32_t hash = 2166136261U;
    for (Py_ssize_t i = 0; i < bytes.size; i++) {
        hash = (hash ^ (unsigned char)bytes.data[i]) * 16777619U;
    }
    core_bytes_release(&bytes);
    hash &= 0x7fffffff;
    return PyLong_FromUnsignedLong(hash == 0 ? 1 : hash);
}
