/* Opening and creating a SharedMemory: shmget(2), sizes, the fill.
 *
 * The object is changed only at the end, when all has succeeded. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>
#include <unistd.h>

/* The size rules of api.md: with flags 0 it must be the segment's, with
 * IPC_CREAT at most that. */
static int
segment_check_size(CoreState *state, const struct core_request *request,
                   const struct core_opened *opened, size_t size)
{
    size_t wanted = request->size;
    bool exact = (request->flags & IPC_CREAT) == 0;
    if (opened->created || wanted == 0 || wanted == size ||
        (wanted < size && !exact)) {
        return 0;
    }
    (void)core_refuse(
        state, EINVAL,
        (struct core_target){request->kind, opened->key, opened->id},
        "the segment has %zu bytes, not %zu: leave size out to open it as "
        "it is",
        size, wanted);
    return -1;
}

/* Fill a new segment; it may not be attached for writing, so do that here. */
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

/* What only a new segment needs: its bytes, and the mode that was asked for
 * (it was created with the owner's permissions besides). */
static int
segment_finish(const struct core_request *request, int id,
               const struct core_attachment *attachment, int character)
{
    /* A huge page that is not to be had when it is touched is a SIGBUS. */
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

/* Whether a segment is one that was made for this request: the id names
 * another where somebody has removed ours and it was given again.  One that is
 * removed while it is attached loses its key. */
static bool
segment_is_as_made(const struct os_segment *now,
                   const struct core_request *request,
                   const struct core_opened *opened)
{
    return (now->key == opened->key || now->key == IPC_PRIVATE) &&
           now->size == request->size && now->creator_pid == getpid();
}

/* After an error: remove a new segment, if the id still names it.  One that
 * was attached stays so until then, so that its id is not given again. */
static void
segment_give_up(const struct core_request *request,
                const struct core_opened *opened, void *address)
{
    struct os_segment now;
    if (os_shm_look(opened->id, &now) == 0 &&
        segment_is_as_made(&now, request, opened)) {
        (void)os_shm_remove(opened->id);
    }
    if (address != NULL) {
        (void)os_shm_detach(address);
    }
}

/* Attach what was opened and put it into the handle: 0, -1 with an exception,
 * or CORE_AGAIN where it is gone already and is to be opened or created
 * again. */
static int
segment_adopt(PyObject *op, struct core_request *request,
              const struct core_opened *opened, int character)
{
    CoreState *state = core_handle(op)->state;
    struct core_target target = {request->kind, opened->key, opened->id};
    bool readonly = (opened->access & 0200) == 0;
    int flags = readonly ? SHM_RDONLY : 0;
    struct core_attachment attachment = {.id = opened->id};
    int rc = core_attachment_look(&attachment);
    if (rc == 0 && opened->created &&
        !segment_is_as_made(&attachment.segment, request, opened)) {
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
        rc = segment_finish(request, opened->id, &attachment, character);
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
        segment_give_up(request, opened, attachment.address);
    }
    return rc == CORE_AGAIN ? rc : -1;
}

/* The byte to fill with: -1 for none. */
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
        rc = segment_adopt(op, &request, &opened, fills ? character : -1);
    } while (rc == CORE_AGAIN);
    return rc;
}
