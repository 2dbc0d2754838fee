/* One handle's attachment of a segment, and the places where earlier ones
 * were.
 *
 * Guarded by the critical section of the object that holds it: functions that
 * end in _lock_held expect it, the others enter it.  exports counts the
 * buffers, pins and atomics, and the copies in progress, that need the memory:
 * while there are any it stays attached.
 *
 * A buffer may have been taken by one who does not count as an export, such
 * as np.ndarray(buffer=segment).  So an attachment that was ever exported is
 * not given back when it is detached, but replaced by zero pages: a ghost,
 * which lives as long as the handle, and therefore as long as all who hold
 * its buffers.  So that attaching again and again does not use up the address
 * space, a handle that has two ghosts of a segment attaches it where the older
 * one is. */
#ifndef SYSV_IPC_CORE_MAPPING_H
#define SYSV_IPC_CORE_MAPPING_H

#include "core/handle.h"

struct core_attachment {
    void *address; /* NULL: none */
    int id;
    struct os_segment segment;
    size_t size; /* the segment's */
    bool readonly;
    bool exported; /* a buffer was taken */
    bool escaped;  /* the address was read: a pointer may have left */
    bool detached; /* the handle has detached this segment before */
};

struct core_ghost;

struct core_mapping {
    struct core_attachment current;
    Py_ssize_t exports;
    /* An attachment was for writing: NumPy may have let any array that still
     * points anywhere here be written to. */
    bool writable;
    struct core_ghost *ghosts;
};

/* Ask what the segment with this id is: 0 or -errno. */
int core_attachment_look(struct core_attachment *attachment);
/* Whether the id still names the segment that it named then. */
bool core_attachment_same(const struct core_attachment *then,
                          const struct core_attachment *now);

/* shmat(2), at a place where this handle had nothing before: 0 or -errno.  The
 * attachment is not the handle's yet. */
int core_mapping_attach_new(struct core_attachment *attachment, int flags);
/* Make an attachment the handle's, or NULL for none: 0, or all is as it was,
 * with -EBUSY while there are exports, or -errno. */
int core_mapping_put(PyObject *owner, struct core_mapping *mapping,
                     const struct core_attachment *new);
/* Attach and put, in one step: 0, or as core_mapping_put().  To attach again
 * it looks in that step, and says -ESTALE if the id names another segment than
 * the one that the handle had last. */
int core_mapping_attach(PyObject *owner, struct core_mapping *mapping,
                        bool again, void *address, int flags,
                        struct core_attachment *attachment);
/* To attach again at the place of the attachment there is; -EINVAL if it is
 * not there any more. */
int core_mapping_remap(PyObject *owner, struct core_mapping *mapping,
                       void *address, int flags,
                       struct core_attachment *attachment);

/* When the handle dies. */
void core_mapping_free(struct core_mapping *mapping);

#endif
