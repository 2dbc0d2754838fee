/* ArgumentWarning, for calls that are legal, that 1.2.0 accepts, and that are
 * probably a mistake.  The text names the keyword that was meant.
 *
 * A warning is issued before the call does anything in the kernel: if the
 * program makes it an exception, nothing has happened.  No state; the
 * __warningregistry__ of the calling module records which places were
 * warned. */
#include "core/warning.h"

#include <string.h>

/* At least the size of a frame object. */
#define FRAME_BYTES 512

/* Return true if a frame runs a module of this package, such as aio. */
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

/* Return the frame of the program that made the call, a new reference or NULL,
 * and its stack level as warnings.warn() counts it. */
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

/* Return the dict in which the module warnings records the warnings of a
 * module, a new reference or NULL. */
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

/* Return a key for the call in the program: its code object, which equals the
 * same code compiled again, and its position in the source.  Without columns
 * (-X no_debug_ranges) the key has the instruction instead; that is less
 * exact, because CPython 3.11 makes the call at another instruction after it
 * has specialised a loop. */
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

/* Issue a warning once for each place.  Return 0, or -1 with an exception.
 * The module warnings distinguishes warnings by line and text, but these texts
 * contain values.  So the place is recorded in the same registry, which
 * warnings clears when filters change.  If the place is recorded, the new text
 * is added to the registry, so that warnings treats it as already shown.  It
 * is deleted again afterwards, because the number of texts is not limited. */
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
    bool shown = has(registry, key), knew = has(registry, place);
    if (knew && !shown) {
        (void)PyObject_SetItem(registry, key, Py_True);
        PyErr_Clear();
    }
    int rc = PyErr_WarnFormat(state->ArgumentWarning, level, "%U", text);
    if (rc == 0) {
        Py_XSETREF(registry, registry_of(frame));
        bool knows = has(registry, place);
        if (knows && !shown) {
            (void)PyObject_DelItem(registry, key);
        }
        else if (!knows && (knew || !shown) && has(registry, key)) {
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
    /* Replace lone surrogates: showing them would raise UnicodeEncodeError. */
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
        /* There is no frame, or no memory for its object; without memory
         * PyErr_WarnFormat() would crash. */
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
