/* The bytes of a SharedMemory: read(), write(), views, indexing and the buffer
 * protocol.  None of them makes a system call, unless it fails.
 *
 * mapping is read in the critical section of the object.  Each copy counts as
 * an export while it is made, so a concurrent detach() raises BufferError, and
 * a long copy can be made without the GIL. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>

/* A copy of this size takes longer than releasing and acquiring the GIL. */
#define LONG_COPY 65536

/* Return true if the segment's key still names it, and the process may not
 * attach it for writing. */
static bool
may_only_read(struct core_target target, struct os_info *info)
{
    key_t key = (key_t)target.key;
    return target.key != CORE_NO_KEY && key != IPC_PRIVATE &&
           os_shm_get(key, 0, 0600) == -EACCES &&
           os_shm_stat(target.id, info) == 0 && info->key == key;
}

PyObject *
core_shared_bytes_raise_readonly(PyObject *op)
{
    struct core_target target = core_handle_target(op);
    struct os_info info = {.id = target.id};
    if (may_only_read(target, &info)) {
        return core_refuse_as(
            core_handle(op)->state, core_handle(op)->state->ReadOnlyError, 0,
            target,
            "the segment is attached read-only, because this process may only "
            "read it (mode 0o%u%u%u, owner uid %u)",
            info.mode >> 6 & 7, info.mode >> 3 & 7, info.mode & 7, info.uid);
    }
    return core_refuse_as(core_handle(op)->state,
                          core_handle(op)->state->ReadOnlyError, 0, target,
                          "the segment is attached read-only: call attach() "
                          "with flags=0 to write to it");
}

int
core_shared_bytes_acquire(PyObject *op, bool write,
                          struct core_attachment *attachment)
{
    struct core_mapping *mapping = &shared_memory(op)->mapping;
    bool usable;
    CORE_BEGIN_CRITICAL_SECTION(op);
    *attachment = mapping->current;
    usable = attachment->address != NULL && !(write && attachment->readonly);
    if (usable) {
        mapping->exports++;
    }
    CORE_END_CRITICAL_SECTION();
    if (usable) {
        return 0;
    }
    (void)(attachment->address == NULL
               ? core_shared_memory_raise_not_attached(op)
               : core_shared_bytes_raise_readonly(op));
    return -1;
}

void
core_shared_bytes_release(PyObject *op)
{
    CORE_BEGIN_CRITICAL_SECTION(op);
    shared_memory(op)->mapping.exports--;
    CORE_END_CRITICAL_SECTION();
}

void
core_shared_bytes_mark_exported(PyObject *op)
{
    CORE_BEGIN_CRITICAL_SECTION(op);
    shared_memory(op)->mapping.current.exported = true;
    CORE_END_CRITICAL_SECTION();
}

/* Use memmove(), because the other side may be a view of the same segment. */
static void
bytes_copy(void *to, const void *from, size_t size)
{
    if (size < LONG_COPY) {
        memmove(to, from, size);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    memmove(to, from, size);
    Py_END_ALLOW_THREADS
}

static int
bytes_convert_offset(PyObject *op, PyObject *value, Py_ssize_t *out)
{
    long long offset = 0;
    if (core_integer(core_handle(op)->state, value, "offset", 0,
                     PY_SSIZE_T_MAX, &offset) < 0) {
        return -1;
    }
    *out = (Py_ssize_t)offset;
    return 0;
}

PyObject *
core_shared_bytes_refuse_range(PyObject *op, const char *what,
                               Py_ssize_t offset, Py_ssize_t count,
                               size_t size)
{
    return core_refuse(core_handle(op)->state, EINVAL, core_handle_target(op),
                       "%s %zd bytes at offset %zd goes past the end of a "
                       "segment of %zu bytes",
                       what, count, offset, size);
}

/* Return the address of an offset, or NULL with an exception. */
static char *
bytes_address(PyObject *op, const struct core_attachment *attachment,
              Py_ssize_t offset)
{
    if ((size_t)offset >= attachment->size) {
        (void)core_refuse(core_handle(op)->state, EINVAL,
                          core_handle_target(op),
                          "offset %zd is past the end of a segment of %zu "
                          "bytes",
                          offset, attachment->size);
        return NULL;
    }
    return (char *)attachment->address + offset;
}

/* Return count, or the number of bytes from offset to the end if that is
 * smaller. */
static Py_ssize_t
bytes_available(const struct core_attachment *attachment, Py_ssize_t offset,
                Py_ssize_t count)
{
    Py_ssize_t rest = (Py_ssize_t)attachment->size - offset;
    return count < rest ? count : rest;
}

PyObject *
core_shared_bytes_read(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *keywords)
{
    static const struct core_signature signature = {
        "read", 2, 2, 0, {CORE_ARG_byte_count, CORE_ARG_offset}};
    PyObject *given[2];
    long long count = 0;
    Py_ssize_t offset;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        core_integer(core_handle(op)->state, given[0], "byte_count", 0,
                     PY_SSIZE_T_MAX, &count) < 0 ||
        bytes_convert_offset(op, given[1], &offset) < 0) {
        return NULL;
    }
    struct core_attachment attachment;
    if (core_shared_bytes_acquire(op, false, &attachment) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    const char *from = bytes_address(op, &attachment, offset);
    if (from != NULL) {
        Py_ssize_t wanted = count == 0 ? PY_SSIZE_T_MAX : (Py_ssize_t)count;
        Py_ssize_t size = bytes_available(&attachment, offset, wanted);
        result = PyBytes_FromStringAndSize(NULL, size);
        if (result != NULL) {
            bytes_copy(PyBytes_AS_STRING(result), from, (size_t)size);
        }
    }
    core_shared_bytes_release(op);
    return result;
}

/* Write the whole source at offset, or nothing.  Return 0, or -1 with an
 * exception. */
static int
bytes_write(PyObject *op, PyObject *source, Py_ssize_t offset)
{
    struct core_bytes bytes;
    struct core_attachment attachment;
    int rc = -1;
    if (core_bytes_get(source, &bytes) < 0) {
        return -1;
    }
    if (core_shared_bytes_acquire(op, true, &attachment) == 0) {
        if (bytes_available(&attachment, offset, bytes.size) < bytes.size) {
            (void)core_shared_bytes_refuse_range(op, "writing", offset,
                                                 bytes.size, attachment.size);
        }
        else {
            bytes_copy((char *)attachment.address + offset, bytes.data,
                       (size_t)bytes.size);
            rc = 0;
        }
        core_shared_bytes_release(op);
    }
    core_bytes_release(&bytes);
    return rc;
}

PyObject *
core_shared_bytes_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *keywords)
{
    static const struct core_signature signature = {
        "write", 2, 2, 1, {CORE_ARG_s, CORE_ARG_offset}};
    PyObject *given[2];
    Py_ssize_t offset;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        bytes_convert_offset(op, given[1], &offset) < 0 ||
        bytes_write(op, given[0], offset) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
core_shared_bytes_read_into(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *keywords)
{
    static const struct core_signature signature = {
        "read_into", 2, 2, 1, {CORE_ARG_buffer, CORE_ARG_offset}};
    PyObject *given[2];
    Py_ssize_t offset, count = -1;
    Py_buffer buffer = {0};
    struct core_attachment attachment;
    if (core_bind(core_handle(op)->state, &signature, args, nargs, keywords,
                  given) < 0 ||
        bytes_convert_offset(op, given[1], &offset) < 0 ||
        PyObject_GetBuffer(given[0], &buffer, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (core_shared_bytes_acquire(op, false, &attachment) == 0) {
        const char *from = bytes_address(op, &attachment, offset);
        if (from != NULL) {
            count = bytes_available(&attachment, offset, buffer.len);
            bytes_copy(buffer.buf, from, (size_t)count);
        }
        core_shared_bytes_release(op);
    }
    PyBuffer_Release(&buffer);
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

PyObject *
core_shared_bytes_view(PyObject *op, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"offset", "size", "format", NULL};
    CoreState *state = core_handle(op)->state;
    PyObject *offset_value = NULL, *size_value = Py_None;
    const char *format = "B";
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|OOs:view", names,
                                     &offset_value, &size_value, &format)) {
        return NULL;
    }
    Py_ssize_t offset;
    long long size = -1;
    if (bytes_convert_offset(op, offset_value, &offset) < 0 ||
        core_integer(state, size_value == Py_None ? NULL : size_value, "size",
                     0, PY_SSIZE_T_MAX, &size) < 0) {
        return NULL;
    }
    PyObject *whole = PyMemoryView_FromObject(op);
    if (whole == NULL) {
        return NULL;
    }
    Py_ssize_t length = PyMemoryView_GET_BUFFER(whole)->len;
    Py_ssize_t rest = length - offset;
    if (rest < 0 || size > rest) {
        Py_DECREF(whole);
        return core_shared_bytes_refuse_range(op, "a view of", offset,
                                              size < 0 ? 0 : (Py_ssize_t)size,
                                              (size_t)length);
    }
    Py_ssize_t end = size < 0 ? length : offset + (Py_ssize_t)size;
    PyObject *part = PySequence_GetSlice(whole, offset, end);
    PyObject *view = NULL;
    if (part != NULL) {
        view = PyObject_CallMethod(part, "cast", "s", format);
        Py_DECREF(part);
    }
    Py_DECREF(whole);
    return view;
}

/* ----------------------------------------------------- the buffer protocol */

int
core_shared_bytes_getbuffer(PyObject *op, Py_buffer *buffer, int flags)
{
    struct core_attachment attachment;
    buffer->obj = NULL;
    if (core_shared_bytes_acquire(op, false, &attachment) < 0) {
        return -1;
    }
    core_shared_bytes_mark_exported(op);
    if (PyBuffer_FillInfo(buffer, op, attachment.address,
                          (Py_ssize_t)attachment.size, attachment.readonly,
                          flags) < 0) {
        core_shared_bytes_release(op);
        return -1;
    }
    return 0;
}

void
core_shared_bytes_releasebuffer(PyObject *op, Py_buffer *Py_UNUSED(buffer))
{
    core_shared_bytes_release(op);
}

/* --------------------------------------------------------------- indexing */

/* A segment is always true.  In 1.2.0 it had no length, so it was true too. */
int
core_shared_bytes_true(PyObject *Py_UNUSED(op))
{
    return 1;
}

Py_ssize_t
core_shared_bytes_length(PyObject *op)
{
    struct core_attachment attachment;
    if (core_shared_bytes_acquire(op, false, &attachment) < 0) {
        return -1;
    }
    core_shared_bytes_release(op);
    return (Py_ssize_t)attachment.size;
}

PyObject *
core_shared_bytes_item(PyObject *op, Py_ssize_t index)
{
    struct core_attachment attachment;
    if (core_shared_bytes_acquire(op, false, &attachment) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    if (index < 0 || (size_t)index >= attachment.size) {
        PyErr_SetString(PyExc_IndexError, "shared memory index out of range");
    }
    else {
        result = PyLong_FromLong(((unsigned char *)attachment.address)[index]);
    }
    core_shared_bytes_release(op);
    return result;
}

/* A converted index or slice.  count is the number of bytes of a slice. */
struct selection {
    bool one;
    Py_ssize_t start, stop, step, count;
};

/* Convert an index or a slice, which may run any code.  After that,
 * selection_adjust() fits it to the size. */
static int
bytes_convert_index(PyObject *index, struct selection *out)
{
    out->one = PyIndex_Check(index);
    if (out->one) {
        out->start = PyNumber_AsSsize_t(index, PyExc_IndexError);
        return out->start == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (PySlice_Check(index)) {
        return PySlice_Unpack(index, &out->start, &out->stop, &out->step);
    }
    PyErr_Format(PyExc_TypeError,
                 "shared memory indices must be integers or slices, not "
                 "%.100s",
                 Py_TYPE(index)->tp_name);
    return -1;
}

static int
selection_adjust(struct selection *selection, size_t size)
{
    Py_ssize_t length = (Py_ssize_t)size;
    if (!selection->one) {
        selection->count = PySlice_AdjustIndices(
            length, &selection->start, &selection->stop, selection->step);
        return 0;
    }
    if (selection->start < 0) {
        selection->start += length;
    }
    if (selection->start < 0 || selection->start >= length) {
        PyErr_SetString(PyExc_IndexError, "shared memory index out of range");
        return -1;
    }
    return 0;
}

static PyObject *
selection_read(const struct core_attachment *attachment,
               const struct selection *selection)
{
    const char *from = (const char *)attachment->address + selection->start;
    PyObject *result = PyBytes_FromStringAndSize(NULL, selection->count);
    if (result == NULL) {
        return NULL;
    }
    char *to = PyBytes_AS_STRING(result);
    if (selection->step == 1) {
        bytes_copy(to, from, (size_t)selection->count);
        return result;
    }
    for (Py_ssize_t i = 0; i < selection->count; i++) {
        to[i] = from[i * selection->step];
    }
    return result;
}

PyObject *
core_shared_bytes_subscript(PyObject *op, PyObject *index)
{
    struct selection selection;
    struct core_attachment attachment;
    if (bytes_convert_index(index, &selection) < 0 ||
        core_shared_bytes_acquire(op, false, &attachment) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    if (selection_adjust(&selection, attachment.size) == 0) {
        const unsigned char *bytes = attachment.address;
        result = selection.one ? PyLong_FromLong(bytes[selection.start])
                               : selection_read(&attachment, &selection);
    }
    core_shared_bytes_release(op);
    return result;
}

static int
selection_write(PyObject *op, const struct core_attachment *attachment,
                const struct selection *selection, const Py_buffer *source)
{
    char *to = (char *)attachment->address + selection->start;
    if (source->len != selection->count) {
        (void)core_refuse(core_handle(op)->state, EINVAL,
                          core_handle_target(op),
                          "%zd bytes cannot be assigned to a slice of %zd: "
                          "the numbers must be equal",
                          source->len, selection->count);
        return -1;
    }
    if (selection->step == 1) {
        bytes_copy(to, source->buf, (size_t)source->len);
        return 0;
    }
    /* The source may be a view of the same segment, which would change while
     * bytes are written.  So copy it first. */
    PyObject *same = PyBytes_FromStringAndSize(source->buf, source->len);
    if (same == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < selection->count; i++) {
        to[i * selection->step] = PyBytes_AS_STRING(same)[i];
    }
    Py_DECREF(same);
    return 0;
}

int
core_shared_bytes_assign(PyObject *op, PyObject *index, PyObject *value)
{
    struct selection selection;
    struct core_attachment attachment;
    Py_buffer source = {0};
    long long byte = 0;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "the bytes of a segment cannot be deleted");
        return -1;
    }
    if (bytes_convert_index(index, &selection) < 0 ||
        (selection.one && core_integer(core_handle(op)->state, value, "a byte",
                                       0, 255, &byte) < 0) ||
        (!selection.one &&
         PyObject_GetBuffer(value, &source, PyBUF_SIMPLE) < 0)) {
        return -1;
    }
    int rc = -1;
    if (core_shared_bytes_acquire(op, true, &attachment) == 0) {
        rc = selection_adjust(&selection, attachment.size);
        if (rc == 0 && selection.one) {
            ((unsigned char *)attachment.address)[selection.start] =
                (unsigned char)byte;
        }
        else if (rc == 0) {
            rc = selection_write(op, &attachment, &selection, &source);
        }
        core_shared_bytes_release(op);
    }
    PyBuffer_Release(&source);
    return rc;
}

/* ------------------------------------------------------------------- docs */

const char core_shared_bytes_read_doc[] = PyDoc_STR(
    "read($self, /, byte_count=0, offset=0)\n--\n\n"
    "Return a copy of bytes of the segment.\n"
    "\n"
    "byte_count 0 means all bytes from offset to the end.  Bytes past the\n"
    "end are left out.  This makes no system call.  Raise ArgumentError\n"
    "(EINVAL) if offset is negative or not below the size, and\n"
    "NotAttachedError if the segment is not attached.");
const char core_shared_bytes_write_doc[] = PyDoc_STR(
    "write($self, /, s, offset=0)\n--\n\n"
    "Copy bytes into the segment at offset.\n"
    "\n"
    "s is any C-contiguous buffer, or a str, which is encoded as UTF-8.\n"
    "This makes no system call.  Raise ArgumentError (EINVAL), and write\n"
    "nothing, if the bytes would go past the end; ReadOnlyError if the\n"
    "attachment is read-only; and NotAttachedError.");
const char core_shared_bytes_read_into_doc[] = PyDoc_STR(
    "read_into($self, /, buffer, offset=0)\n--\n\n"
    "Copy bytes at offset into a writable C-contiguous buffer.\n"
    "\n"
    "Return the number of bytes: the size of the buffer, or fewer if the\n"
    "segment ends before.  This makes no system call.  Raise\n"
    "ArgumentError (EINVAL) if offset is negative or not below the size,\n"
    "and NotAttachedError.");
const char core_shared_bytes_view_doc[] = PyDoc_STR(
    "view($self, /, offset=0, size=None, format='B')\n--\n\n"
    "Return a memoryview of size bytes at offset, cast to format.\n"
    "\n"
    "size None means all bytes to the end.  format is a native\n"
    "single-character format of the struct module.  While the view\n"
    "exists, detach() raises BufferError.  Raise ArgumentError (EINVAL)\n"
    "if the range goes past the end, TypeError if size is not a multiple\n"
    "of the format's size, and NotAttachedError.");
