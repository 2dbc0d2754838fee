/* The attachment of one handle, and the addresses of earlier attachments.
 *
 * The critical section of the SharedMemory object guards all fields.
 * Functions whose names end in _lock_held expect that the caller has entered
 * it; the others enter it.  exports counts the buffers, pins and atomics, and
 * the copies in progress.  While it is not 0, the segment stays attached.
 *
 * A pointer can outlive its export: np.ndarray(buffer=segment), for example,
 * releases the buffer and keeps the address.  So an attachment that was ever
 * exported is not simply unmapped when it is detached.  It is replaced by
 * private zero pages, which are called a ghost.  A ghost lives as long as the
 * handle, and every object that uses a buffer of the handle keeps the handle
 * alive.  Attaching and detaching repeatedly must not use up the address
 * space, so a handle that has two ghosts of a segment attaches it again at the
 * address of the older one. */
#ifndef SYSV_IPC_CORE_MAPPING_H
#define SYSV_IPC_CORE_MAPPING_H

#include "core/handle.h"

struct core_attachment {
    void *address; /* NULL: none */
    int id;
    struct os_segment segment;
    size_t size; /* of the segment */
    bool readonly;
    bool exported; /* there has been a buffer */
    bool escaped;  /* the address was read, so other code may have a pointer */
    bool detached; /* the handle has detached this segment before */
};

struct core_ghost;

struct core_mapping {
    struct core_attachment current;
    Py_ssize_t exports;
    /* There has been a writable attachment.  NumPy arrays on it are writable,
     * and may point to any of the addresses. */
    bool writable;
    struct core_ghost *ghosts;
};

/* Read the identity of the segment with this id.  Return 0 or -errno. */
int core_attachment_identify(struct core_attachment *attachment);
/* Return true if the id still names the same segment as then. */
bool core_attachment_same(const struct core_attachment *then,
                          const struct core_attachment *now);

/* Call shmat(2) at an address that this handle did not use before.  Return 0
 * or -errno.  The attachment does not belong to the handle yet. */
int core_mapping_attach_new(struct core_attachment *attachment, int flags);
/* Make new the attachment of the handle, or detach if new is NULL.  Return 0,
 * -EBUSY if there are exports, or -errno.  On failure nothing has changed. */
int core_mapping_put(PyObject *owner, struct core_mapping *mapping,
                     const struct core_attachment *new);
/* Attach and put, in one critical section.  Return like core_mapping_put().
 * If again is true, identify the segment in the same critical section, and
 * return -ESTALE if the id names another segment than the one that the handle
 * attached last. */
int core_mapping_attach(PyObject *owner, struct core_mapping *mapping,
                        bool again, void *address, int flags,
                        struct core_attachment *attachment);
/* Attach again at the address of the current attachment.  Return -EINVAL if
 * the current attachment has another address. */
int core_mapping_remap(PyObject *owner, struct core_mapping *mapping,
                       void *address, int flags,
                       struct core_attachment *attachment);

/* Detach and unmap everything.  This is called when the handle is freed. */
void core_mapping_free(struct core_mapping *mapping);

#endif
