/* ArgumentWarning: calls that are legal, that 1.2.0 takes, and that are nearly
 * always a slip, with the keyword that was probably meant.
 *
 * They come before anything happens in the kernel, so that a program that
 * makes errors of them has done nothing. */
#include "core/open.h"

#include <string.h>

/* What a place in a program is warned of at most once each. */
enum slip { SLIP_MODE, SLIP_FLAGS, SLIP_BLOCK, SLIP_TIMEOUT };

/* --------------------------------------------------- warning of a place */

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
place_of(PyFrameObject *frame, enum slip slip)
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

/* Where a value cannot be shown, because its repr() raises or an int has too
 * many digits, the call is legal all the same: the text without it.  Not if
 * somebody wants the program to end. */
static PyObject *
instead_of_value(const char *text)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) ||
        PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return NULL;
    }
    PyErr_Clear();
    return PyUnicode_FromString(text);
}

/* Warn of a slip; takes the text, which may be NULL: 0 or -1. */
static int
warn(CoreState *state, enum slip slip, PyObject *text)
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
    PyObject *place = place_of(frame, slip);
    if (place != NULL) {
        rc = warn_once(state, frame, place, level, text);
        Py_DECREF(place);
    }
    Py_XDECREF(frame);
    Py_DECREF(text);
    return rc;
}

/* ------------------------------------------------------------ the slips */

/* Modes that people write, but for what they mean. */
static const int usual_modes[] = {
    0400, 0440, 0444, 0600, 0620, 0622, 0640, 0644, 0660, 0664,
    0666, 0700, 0711, 0744, 0750, 0755, 0770, 0775, 0777,
};

static bool
is_usual_mode(long long mode)
{
    for (size_t i = 0; i < sizeof(usual_modes) / sizeof(usual_modes[0]); i++) {
        if (mode == usual_modes[i]) {
            return true;
        }
    }
    return false;
}

/* Whether the decimal digits of a number, which is no usual mode itself (400
 * is 0o620), are those of one. */
static bool
is_decimal_mode(long long number)
{
    if (number < 0 || number > 999 || is_usual_mode(number)) {
        return false;
    }
    int digits[] = {(int)number / 100, (int)number / 10 % 10,
                    (int)number % 10};
    return digits[0] < 8 && digits[1] < 8 && digits[2] < 8 &&
           is_usual_mode(digits[0] * 64 + digits[1] * 8 + digits[2]);
}

/* Whether flags for creating were given in a mode; 644, for one, has those
 * bits by chance. */
bool
core_mode_has_flags(long long mode)
{
    return (mode & (IPC_CREAT | IPC_EXCL)) != 0 && !is_decimal_mode(mode);
}

/* "was probably meant", with the argument behind mode where a number would
 * make sense there, because it is given by position. */
static PyObject *
meant(const struct core_request *request, long long number, const char *mode)
{
    return request->kind->beside_mode == NULL
               ? PyUnicode_FromFormat("%s was probably meant", mode)
               : PyUnicode_FromFormat("%s=%lld or %s was probably meant",
                                      request->kind->beside_mode, number,
                                      mode);
}

int
core_warn_of_mode(CoreState *state, const struct core_request *request,
                  long long number)
{
    bool creates = (request->flags & IPC_CREAT) != 0 ||
                   request->key.type == CORE_KEY_PRIVATE;
    bool decimal = creates && is_decimal_mode(number);
    bool misplaced = core_mode_has_flags(number);
    bool unusable = creates && (request->mode & 0600) == 0;
    char mode[64] = "mode=0o600", given[64];
    if (!decimal && !misplaced && !unusable) {
        return 0;
    }
    (void)PyOS_snprintf(given, sizeof(given), "mode=%lld (0o%llo)", number,
                        (unsigned long long)(unsigned int)number);
    if (decimal) {
        (void)PyOS_snprintf(given, sizeof(given), "mode=%lld", number);
        (void)PyOS_snprintf(mode, sizeof(mode), "mode=0o%lld", number);
    }
    else if (misplaced) {
        (void)PyOS_snprintf(mode, sizeof(mode), "flags=%s, mode=0o%03o",
                            number & IPC_EXCL ? "IPC_CREX" : "IPC_CREAT",
                            (unsigned int)request->mode);
    }
    PyObject *words = misplaced && !creates
                          ? PyUnicode_FromFormat("%s was probably meant", mode)
                          : meant(request, number, mode);
    const char *why =
        decimal ? "is not octal"
        : misplaced
            ? "has IPC_CREAT or IPC_EXCL in it, which count in flags only"
            : "gives the owner of a new object neither read nor write";
    PyObject *text =
        words == NULL ? NULL
                      : PyUnicode_FromFormat("%s %s: %U", given, why, words);
    Py_XDECREF(words);
    return warn(state, SLIP_MODE, text);
}

int
core_warn_of_flags(CoreState *state, long long flags)
{
    unsigned int bits = (unsigned int)(flags & OS_MODE_MASK);
    if (bits == 0) {
        return 0;
    }
    char mode[16];
    (void)PyOS_snprintf(mode, sizeof(mode), "0o%03o", bits);
    return warn(state, SLIP_FLAGS,
                PyUnicode_FromFormat("the permission bits in flags do not "
                                     "count without a mode: mode=%s was "
                                     "probably meant",
                                     mode));
}

/* block is true, and neither the object True nor left out. */
int
core_warn_of_block(CoreState *state, PyObject *value)
{
    if (PyBool_Check(value) || !core_is_real(value)) {
        return 0;
    }
    PyObject *one = PyLong_FromLong(1);
    int equal = one == NULL ? -1 : PyObject_RichCompareBool(value, one, Py_EQ);
    Py_XDECREF(one);
    if (equal != 0) {
        return equal < 0 ? -1 : 0;
    }
    PyObject *number = PyLong_Check(value) ? PyNumber_Long(value)
                                           : Py_NewRef(value);
    PyObject *text =
        number == NULL ? NULL
        : PyLong_Check(value)
            ? PyUnicode_FromFormat("block=%R is true, as any number but 0: "
                                   "type=%R or timeout=%R was probably meant",
                                   number, number, number)
            : PyUnicode_FromFormat("block=%R is true, as any number but 0: "
                                   "timeout=%R was probably meant",
                                   number, number);
    Py_XDECREF(number);
    if (text == NULL) {
        text = instead_of_value("block is a number, and true, as any but 0: "
                                "type or timeout was probably meant");
    }
    return warn(state, SLIP_BLOCK, text);
}

/* timeout is True or False. */
int
core_warn_of_timeout(CoreState *state, PyObject *value)
{
    return warn(state, SLIP_TIMEOUT,
                PyUnicode_FromString(
                    value == Py_True
                        ? "timeout=True is one second: timeout=None, the "
                          "default, waits for ever"
                        : "timeout=False is no time at all: timeout=0 says "
                          "so, timeout=None waits for ever"));
}
