/* Open or create a segment for SharedMemory(): shmget(2), shmat(2), the rules
 * for sizes, and filling a new segment.
 *
 * The object is changed only at the end, after every step has succeeded. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>
#include <unistd.h>

/* Check the size of the segment against the size that was requested: with
 * flags 0 they must be equal, with IPC_CREAT the segment may be larger. */
static int
segment_check_size(CoreState *state, const struct core_request *request,
                   const struct core_opened *opened, size_t size)
{
    size_t wanted = request->size;
    bool exact = (request->flags & IPC_CREAT) == 0;
    struct core_target target = {request->kind, opened->key, opened->id};
    if (opened->created || wanted == 0 || wanted == size ||
        (wanted < size && !exact)) {
        return 0;
    }
    if (exact) {
        (void)core_refuse(state, EINVAL, target,
                          "the segment has %zu bytes, not %zu: leave size out "
                          "to open it as it is",
                          size, wanted);
    }
    else {
        (void)core_refuse(state, EINVAL, target,
                          "the existing segment has %zu bytes, fewer than "
                          "size=%zu: remove it if an older version of the "
                          "program made it (sysv-ipc rm shm 0x%x), or use "
                          "another key",
                          size, wanted, (unsigned int)opened->key);
    }
    return -1;
}

/* Fill a new segment.  If the handle has a read-only attachment, attach it
 * here for writing. */
static int
segment_fill(int id, const struct core_attachment *attachment, int character,
             bool populate)
{
    void *address = attachment->address;
    size_t size = attachment->size;
    int rc = 0;
    if (attachment->readonly) {
        rc = os_shm_attach(id, NULL, 0, &address);
        if (rc < 0) {
            return rc;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    if (populate) {
        rc = os_memory_populate(address, size);
    }
    if (rc == 0 && character >= 0) {
        memset(address, character, size);
    }
    Py_END_ALLOW_THREADS
    if (attachment->readonly) {
        (void)os_shm_detach(address);
    }
    return rc == -EFAULT ? -ENOMEM : rc;
}

/* Initialize a new segment: fill it, and set the requested mode.  It was
 * created with read and write permission for the owner in addition. */
static int
segment_initialize(const struct core_request *request, int id,
                   const struct core_attachment *attachment, int character)
{
    /* If no huge page is available when a page is first accessed, the process
     * gets SIGBUS.  So get the pages now. */
    bool populate = (request->flags & OS_SHM_HUGETLB) != 0 &&
                    (request->flags & OS_SHM_NORESERVE) != 0;
    if (populate || character >= 0) {
        int rc = segment_fill(id, attachment, character, populate);
        if (rc < 0) {
            return rc;
        }
    }
    if (request->mode < 0 || (request->mode & 0600) == 0600) {
        return 0;
    }
    struct os_info info = {0};
    int rc = os_shm_stat(id, &info);
    info.mode = (unsigned int)request->mode;
    return rc < 0 ? rc : os_shm_set(id, &info);
}

/* Return true if this is the segment that was created for this request.  If
 * another process has removed it, its id may name another segment now.  A
 * segment that is removed while it is attached loses its key. */
static bool
segment_is_as_created(const struct os_segment *now,
                      const struct core_request *request,
                      const struct core_opened *opened)
{
    return (now->key == opened->key || now->key == IPC_PRIVATE) &&
           now->size == request->size && now->creator_pid == getpid();
}

/* After an error, remove a new segment if the id still names it.  If it is
 * attached, detach it only after that, because the id of an attached segment
 * is not used again. */
static void
segment_undo_create(const struct core_request *request,
                    const struct core_opened *opened, void *address)
{
    struct os_segment now;
    if (os_shm_identify(opened->id, &now) == 0 &&
        segment_is_as_created(&now, request, opened)) {
        (void)os_shm_remove(opened->id);
    }
    if (address != NULL) {
        (void)os_shm_detach(address);
    }
}

/* Attach the segment and store it in the handle.  Return 0, -1 with an
 * exception, or CORE_AGAIN if the segment no longer exists and must be opened
 * or created again. */
static int
segment_finish_open(PyObject *op, struct core_request *request,
                    const struct core_opened *opened, int character)
{
    CoreState *state = core_handle(op)->state;
    struct core_target target = {request->kind, opened->key, opened->id};
    bool readonly = (opened->access & 0200) == 0;
    int flags = readonly ? SHM_RDONLY : 0;
    struct core_attachment attachment = {.id = opened->id};
    int rc = core_attachment_identify(&attachment);
    if (rc == 0 && opened->created &&
        !segment_is_as_created(&attachment.segment, request, opened)) {
        rc = -EIDRM;
    }
    if (rc == 0 &&
        segment_check_size(state, request, opened, attachment.size) < 0) {
        goto error;
    }
    if (rc == 0) {
        rc = opened->created
                 ? core_mapping_attach_new(&attachment, flags)
                 : core_mapping_attach(op, &shared_memory(op)->mapping, false,
                                       NULL, flags, &attachment);
    }
    if (rc == -EBUSY) {
        (void)core_shared_memory_raise(op, rc, CORE_OPERATION_ATTACH);
        goto error;
    }
    if (rc < 0) {
        rc = core_open_again(request, rc);
        if (rc != CORE_AGAIN) {
            (void)core_open_gone(state, request, rc, CORE_OPERATION_ATTACH,
                                 target);
        }
        goto error;
    }
    if (opened->created) {
        rc = segment_initialize(request, opened->id, &attachment, character);
        if (rc < 0) {
            (void)core_raise(state, rc, CORE_OPERATION_FILL, target);
            goto error;
        }
        if (core_shared_memory_put(op, &attachment) < 0) {
            goto error;
        }
    }
    shared_memory(op)->readonly = readonly;
    shared_memory(op)->size = attachment.size;
    core_handle_open(core_handle(op), opened->key, opened->id);
    return 0;
error:
    if (opened->created) {
        segment_undo_create(request, opened, attachment.address);
    }
    return rc == CORE_AGAIN ? rc : -1;
}

/* Convert init_character to the byte to fill the segment with, or -1 for
 * None. */
static int
segment_convert_character(CoreState *state, PyObject *value, int *out)
{
    if (value == Py_None) {
        *out = -1;
        return 0;
    }
    struct core_bytes bytes = {.data = " ", .size = 1};
    if (value != NULL && !PyUnicode_Check(value) &&
        !PyObject_CheckBuffer(value)) {
        PyErr_Format(PyExc_TypeError,
                     "init_character must be a byte string of length 1, or "
                     "None, not %.100s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    if (value != NULL && core_bytes_get(value, &bytes) < 0) {
        return -1;
    }
    Py_ssize_t size = bytes.size;
    *out = size == 1 ? (unsigned char)bytes.data[0] : -1;
    core_bytes_release(&bytes);
    if (size != 1) {
        (void)core_refuse(state, EINVAL, CORE_NO_TARGET,
                          "init_character must be one byte or None, not %zd "
                          "bytes",
                          size);
        return -1;
    }
    return 0;
}

static int
segment_convert_size(CoreState *state, PyObject *value,
                     struct core_request *request)
{
    long long size = 0;
    if (core_integer(state, value, "size", 0, PY_SSIZE_T_MAX, &size) < 0) {
        return -1;
    }
    request->size = (size_t)size;
    if (size == 0 && ((request->flags & IPC_EXCL) ||
                      request->key.type == CORE_KEY_PRIVATE)) {
        request->size = os_page_size();
    }
    return 0;
}

int
core_shared_memory_open(PyObject *op, PyObject *const *given)
{
    CoreState *state = core_handle(op)->state;
    struct core_request request = {.created_mode = 0600};
    struct core_opened opened;
    int character;
    const struct core_kind *kind = core_handle(op)->kind;
    if (core_request_convert(state, kind, &request, given[0], given[1],
                             given[2]) < 0 ||
        segment_convert_size(state, given[3], &request) < 0 ||
        segment_convert_character(state, given[4], &character) < 0 ||
        core_shared_memory_check_exports(op) < 0) {
        return -1;
    }
    int rc;
    do {
        if (core_open(state, kind, &request, &opened) < 0) {
            return -1;
        }
        bool fills = opened.created && (request.flags & IPC_EXCL);
        rc =
            segment_finish_open(op, &request, &opened, fills ? character : -1);
    } while (rc == CORE_AGAIN);
    return rc;
}
