/* ArgumentWarning: calls that are legal, that 1.2.0 takes, and that are nearly
 * always a slip, with the keyword that was probably meant.
 *
 * They come before anything happens in the kernel, so that a program that
 * makes errors of them has done nothing. */
#include "core/warning.h"

#include <string.h>

/* At least the size of a frame object. */
#define FRAME_BYTES 512

/* Whether a frame runs one of the package's own modules, such as aio. */
static bool
is_own_frame(PyFrameObject *frame)
{
    PyObject *globals = PyFrame_GetGlobals(frame);
    PyObject *name = PyDict_GetItemString(globals, "__name__");
    const char *text =
        name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    bool own = text != NULL && strncmp(text, "sysv_ipc.", 9) == 0;
    Py_DECREF(globals);
    PyErr_Clear();
    return own;
}

/* The frame of the program that called us, a new reference or NULL, and how
 * far up it is, as warnings.warn() counts that. */
static PyFrameObject *
find_caller(int *level)
{
    PyFrameObject *frame = PyEval_GetFrame();
    *level = 1;
    Py_XINCREF(frame);
    while (frame != NULL && is_own_frame(frame)) {
        PyFrameObject *back = PyFrame_GetBack(frame);
        if (back == NULL) {
            break;
        }
        Py_SETREF(frame, back);
        ++*level;
    }
    return frame;
}

/* Where warnings notes what a module's lines were warned of, a new reference
 * or NULL. */
static PyObject *
registry_of(PyFrameObject *frame)
{
    PyObject *globals = frame == NULL ? NULL : PyFrame_GetGlobals(frame);
    PyObject *registry = globals == NULL ? NULL
                                         : PyMapping_GetItemString(
                                               globals, "__warningregistry__");
    PyErr_Clear();
    Py_XDECREF(globals);
    return registry;
}

static bool
has(PyObject *registry, PyObject *key)
{
    PyObject *value = registry == NULL ? NULL
                                       : PyObject_GetItem(registry, key);
    PyErr_Clear();
    Py_XDECREF(value);
    return value != NULL;
}

/* The call in the program: its code, which is equal to the same code compiled
 * again, and where in its text.  The instruction will do only where columns
 * were left out (-X no_debug_ranges): CPython 3.11 calls in another one when
 * it has specialised a loop. */
static PyObject *
place_of(PyFrameObject *frame, enum core_slip slip)
{
    if (frame == NULL) {
        return Py_NewRef(Py_None);
    }
    PyCodeObject *code = PyFrame_GetCode(frame);
    int lasti = PyFrame_GetLasti(frame);
    int line = 0, column = -1, end_line = 0, end_column = -1;
    (void)PyCode_Addr2Location(code, lasti, &line, &column, &end_line,
                               &end_column);
    return Py_BuildValue("(iiiiiN)", (int)slip, line,
                         column < 0 ? lasti : column, end_line, end_column,
                         code);
}

/* Warn of a slip: 0 or -1.  The texts have values in them, and warnings tells
 * places apart by line and text.  So a place that was warned of is noted where
 * warnings notes its own, which it forgets when the filters change; and of a
 * text that comes from such a place warnings is made believe that it was told
 * before.  That is taken back, because there may be any number of texts. */
static int
warn_once(CoreState *state, PyFrameObject *frame, PyObject *place, int level,
          PyObject *text)
{
    PyObject *registry = registry_of(frame);
    PyObject *key =
        Py_BuildValue("(OOi)", text, state->ArgumentWarning,
                      frame == NULL ? 0 : PyFrame_GetLineNumber(frame));
    if (key == NULL) {
        Py_XDECREF(registry);
        return -1;
    }
    bool told = has(registry, key), knew = has(registry, place);
    if (knew && !told) {
        (void)PyObject_SetItem(registry, key, Py_True);
        PyErr_Clear();
    }
    int rc = PyErr_WarnFormat(state->ArgumentWarning, level, "%U", text);
    if (rc == 0) {
        Py_XSETREF(registry, registry_of(frame));
        bool knows = has(registry, place);
        if (knows && !told) {
            (void)PyObject_DelItem(registry, key);
        }
        else if (!knows && (knew || !told) && has(registry, key)) {
            (void)PyObject_SetItem(registry, place, Py_True);
        }
        PyErr_Clear();
    }
    Py_XDECREF(registry);
    Py_DECREF(key);
    return rc;
}

int
core_warn(CoreState *state, enum core_slip slip, PyObject *text)
{
    int level, rc = -1;
    /* What no encoding has would be an error when the warning is shown. */
    PyObject *bytes = text == NULL ? NULL
                                   : PyUnicode_AsEncodedString(
                                         text, "utf-8", "backslashreplace");
    Py_XDECREF(text);
    text = bytes == NULL
               ? NULL
               : PyUnicode_FromEncodedObject(bytes, "utf-8", "strict");
    Py_XDECREF(bytes);
    if (text == NULL) {
        return -1;
    }
    PyFrameObject *frame = find_caller(&level);
    if (frame == NULL) {
        /* There is none, or no memory for it, with which PyErr_WarnFormat()
         * would crash. */
        PyObject *probe = PyBytes_FromStringAndSize(NULL, FRAME_BYTES);
        if (probe == NULL) {
            Py_DECREF(text);
            return -1;
        }
        Py_DECREF(probe);
    }
    PyObject *place = place_of(frame, slip);
    if (place != NULL) {
        rc = warn_once(state, frame, place, level, text);
        Py_DECREF(place);
    }
    Py_XDECREF(frame);
    Py_DECREF(text);
    return rc;
}
