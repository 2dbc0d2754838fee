/* SharedMemory.ndarray(): NumPy arrays in a segment.  No system calls.
 *
 * NumPy's constructor takes a buffer, stores its address, releases the buffer,
 * and keeps a reference to the object that exported it, even if that is behind
 * a memoryview.  So a memoryview would not count as an export after the array
 * is made.  Therefore the array is made from a pin, an object that is private
 * to the array: it holds an export of the segment until it is freed, so that
 * detach() raises BufferError while the array exists.
 *
 * The fields of a pin are set before other code sees it and never change. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>

typedef struct {
    PyObject_HEAD
    PyObject *memory;
    struct core_attachment attachment;
} PinObject;

static PyObject *
pin_make(PyObject *memory)
{
    PyTypeObject *type = (PyTypeObject *)core_handle(memory)->state->pin_type;
    struct core_attachment attachment;
    if (type == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "sysv_ipc has been unloaded");
        return NULL;
    }
    if (core_shared_bytes_acquire(memory, false, &attachment) < 0) {
        return NULL;
    }
    PinObject *self = (PinObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        core_shared_bytes_release(memory);
        return NULL;
    }
    self->memory = Py_NewRef(memory);
    self->attachment = attachment;
    core_shared_bytes_mark_exported(memory);
    return (PyObject *)self;
}

/* There is no tp_clear.  A reference cycle can lead back to a pin only through
 * the dict of a subclass of SharedMemory, which is cleared. */
static int
pin_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((PinObject *)op)->memory);
    return 0;
}

static void
pin_dealloc(PyObject *op)
{
    PinObject *self = (PinObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->memory != NULL) {
        core_shared_bytes_release(self->memory);
        Py_DECREF(self->memory);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static int
pin_getbuffer(PyObject *op, Py_buffer *buffer, int flags)
{
    const struct core_attachment *attachment = &((PinObject *)op)->attachment;
    return PyBuffer_FillInfo(buffer, op, attachment->address,
                             (Py_ssize_t)attachment->size,
                             attachment->readonly, flags);
}

static PyType_Slot pin_slots[] = {
    {Py_tp_dealloc, pin_dealloc},
    {Py_tp_traverse, pin_traverse},
    {Py_bf_getbuffer, pin_getbuffer},
    {0, NULL},
};

PyType_Spec core_pin_spec = {
    .name = "sysv_ipc._Pin",
    .basicsize = sizeof(PinObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = pin_slots,
};

/* ------------------------------------------------------------- arguments */

/* The converted arguments.  The references are owned. */
struct request {
    PyObject *numpy, *shape, *type;
    Py_ssize_t offset;
    size_t bytes;
    char order[2];
};

static void
request_release(struct request *request)
{
    Py_XDECREF(request->numpy);
    Py_XDECREF(request->shape);
    Py_XDECREF(request->type);
}

/* Import NumPy.  Only ndarray() needs it. */
static PyObject *
import_numpy(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (numpy != NULL || !PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) {
        return numpy;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *name = PyObject_GetAttrString(value, "name");
    bool absent = name != NULL && PyUnicode_Check(name) &&
                  PyUnicode_CompareWithASCIIString(name, "numpy") == 0;
    Py_XDECREF(name);
    if (absent) {
        PyObject *text =
            PyUnicode_FromString("SharedMemory.ndarray() needs NumPy: "
                                 "pip install 'sysv_ipc[numpy]'");
        if (text != NULL && PyObject_SetAttrString(value, "msg", text) < 0) {
            PyErr_Clear();
        }
        Py_XDECREF(text);
    }
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return NULL;
}

static int
array_convert_order(CoreState *state, PyObject *value, struct request *request)
{
    bool is_text = value == NULL || PyUnicode_Check(value);
    request->order[0] = 'C';
    if (value != NULL && is_text) {
        request->order[0] = PyUnicode_GET_LENGTH(value) == 1
                                ? (char)PyUnicode_READ_CHAR(value, 0)
                                : '\0';
    }
    if (!is_text) {
        PyErr_Format(PyExc_TypeError, "order must be 'C' or 'F', not %.100s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    if (request->order[0] != 'C' && request->order[0] != 'F') {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "order must be 'C' or 'F', not %R", value);
        return -1;
    }
    return 0;
}

/* Convert a length, or a sequence of lengths, to a tuple.  A NumPy array of
 * several lengths has __index__() too, which raises TypeError. */
static PyObject *
array_shape_as_tuple(CoreState *state, PyObject *value)
{
    PyObject *one = PyIndex_Check(value) ? PyNumber_Index(value) : NULL;
    if (one != NULL) {
        PyObject *tuple = PyTuple_Pack(1, one);
        Py_DECREF(one);
        return tuple;
    }
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError) ||
            !PySequence_Check(value)) {
            return NULL;
        }
        PyErr_Clear();
    }
    return core_tuple(state, value,
                      "shape must be a length or a sequence of them");
}

/* Convert shape to a tuple of ints that are not negative. */
static int
array_convert_shape(CoreState *state, PyObject *value, struct request *request)
{
    PyObject *given = array_shape_as_tuple(state, value);
    if (given == NULL) {
        return -1;
    }
    /* Make a list first, because converting may run code, which must not find
     * an incomplete tuple. */
    PyObject *lengths = PyList_New(0);
    int rc = lengths == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyTuple_GET_SIZE(given); i++) {
        long long length = 0;
        rc = core_integer(state, PyTuple_GET_ITEM(given, i),
                          "a length in shape", 0, PY_SSIZE_T_MAX, &length);
        PyObject *item = rc < 0 ? NULL : PyLong_FromLongLong(length);
        rc = item == NULL ? -1 : PyList_Append(lengths, item);
        Py_XDECREF(item);
    }
    request->shape = rc < 0 ? NULL : PyList_AsTuple(lengths);
    rc = request->shape == NULL ? -1 : 0;
    Py_XDECREF(lengths);
    Py_DECREF(given);
    return rc;
}

/* Convert dtype, which is any argument of numpy.dtype(), and set *item_bytes
 * to the size of an item.  A type with Python objects is refused, because
 * their addresses mean nothing in another process. */
static int
array_convert_type(CoreState *state, PyObject *value, struct request *request,
                   size_t *item_bytes)
{
    /* The parentheses keep a tuple one argument. */
    request->type = PyObject_CallMethod(request->numpy, "dtype", "(O)", value);
    if (request->type == NULL) {
        return -1;
    }
    PyObject *objects = PyObject_GetAttrString(request->type, "hasobject");
    int has_objects = objects == NULL ? -1 : PyObject_IsTrue(objects);
    Py_XDECREF(objects);
    if (has_objects < 0) {
        return -1;
    }
    PyObject *size = PyObject_GetAttrString(request->type, "itemsize");
    Py_ssize_t bytes = size == NULL ? -1 : PyLong_AsSsize_t(size);
    Py_XDECREF(size);
    if (bytes < 0) {
        return -1;
    }
    if (has_objects) {
        PyErr_Format(PyExc_TypeError,
                     "%R contains references to Python objects, which mean "
                     "nothing to other processes",
                     request->type);
        return -1;
    }
    if (bytes == 0) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "the items of %R have no size: use a dtype with a "
                          "size, such as 'S8'",
                          request->type);
        return -1;
    }
    *item_bytes = (size_t)bytes;
    return 0;
}

/* Compute the size of the array in bytes.  Like in NumPy, lengths of 0 are
 * left out of the product that must not overflow. */
static int
array_count_bytes(PyObject *op, struct request *request, size_t item_bytes)
{
    bool empty = false;
    request->bytes = item_bytes;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(request->shape); i++) {
        size_t length = PyLong_AsSize_t(PyTuple_GET_ITEM(request->shape, i));
        if (length == 0) {
            empty = true;
        }
        else if (request->bytes > (size_t)PY_SSIZE_T_MAX / length) {
            (void)core_refuse(core_handle(op)->state, EINVAL,
                              core_handle_target(op),
                              "an array of shape %R is larger than any "
                              "segment",
                              request->shape);
            return -1;
        }
        else {
            request->bytes *= length;
        }
    }
    request->bytes = empty ? 0 : request->bytes;
    return 0;
}

/* ------------------------------------------------------------- ndarray() */

static PyObject *
array_make(PyObject *op, const struct request *request)
{
    PyObject *pin = pin_make(op);
    if (pin == NULL) {
        return NULL;
    }
    PyObject *array = NULL;
    size_t size = ((PinObject *)pin)->attachment.size;
    if ((size_t)request->offset > size ||
        request->bytes > size - (size_t)request->offset) {
        (void)core_shared_bytes_refuse_range(op, "an array of",
                                             request->offset,
                                             (Py_ssize_t)request->bytes, size);
    }
    else {
        array = PyObject_CallMethod(request->numpy, "ndarray", "OOOnOs",
                                    request->shape, request->type, pin,
                                    request->offset, Py_None, request->order);
    }
    Py_DECREF(pin);
    return array;
}

PyObject *
core_shared_memory_ndarray(PyObject *op, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"shape", "dtype", "offset", "order", NULL};
    CoreState *state = core_handle(op)->state;
    PyObject *shape, *type, *offset = NULL, *order = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|OO:ndarray", names,
                                     &shape, &type, &offset, &order)) {
        return NULL;
    }
    struct request request = {0};
    long long number = 0;
    size_t item_bytes;
    PyObject *array = NULL;
    if (core_integer(state, offset, "offset", 0, PY_SSIZE_T_MAX, &number) <
            0 ||
        array_convert_order(state, order, &request) < 0) {
        return NULL;
    }
    request.offset = (Py_ssize_t)number;
    request.numpy = import_numpy();
    if (request.numpy != NULL &&
        array_convert_shape(state, shape, &request) == 0 &&
        array_convert_type(state, type, &request, &item_bytes) == 0 &&
        array_count_bytes(op, &request, item_bytes) == 0) {
        array = array_make(op, &request);
    }
    request_release(&request);
    return array;
}

const char core_shared_memory_ndarray_doc[] = PyDoc_STR(
    "ndarray($self, /, shape, dtype, offset=0, order='C')\n--\n\n"
    "Return a NumPy array on the memory of the segment, without a copy.\n"
    "\n"
    "shape is a length or a sequence of lengths.  dtype is any argument\n"
    "of numpy.dtype(), without Python objects in it.  offset is in bytes\n"
    "and need not be aligned.  order is 'C' (by rows) or 'F' (by\n"
    "columns).  While the array or a view of it exists, detach() raises\n"
    "BufferError.  The array of a read-only attachment is read-only.\n"
    "\n"
    "Raise ArgumentError (EINVAL) if the array does not fit, TypeError\n"
    "for a dtype with objects, NotAttachedError, and ModuleNotFoundError\n"
    "if NumPy is not installed.");
