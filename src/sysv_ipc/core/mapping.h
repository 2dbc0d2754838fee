/* One handle's attachment of a segment, and the places where earlier ones
 * were.
 *
 * Guarded by the critical section of the object that holds it: functions that
 * end in _lock_held expect it.  exports counts the buffers, pins and atomics,
 * and the copies in progress, that need the memory: while there are any it
 * stays attached.
 *
 * A buffer may have been taken by one who does not count as an export, such
 * as np.ndarray(buffer=segment).  So an attachment that was ever exported is
 * not given back when it is detached, but replaced by zero pages: a ghost,
 * which lives as long as the handle, and therefore as long as all who hold
 * its buffers.  So that attaching again and again does not use up the address
 * space, a handle that has two ghosts of a segment attaches it where the older
 * one is, those for reading and those for writing apart. */
#ifndef SYSV_IPC_MAPPING_H
#define SYSV_IPC_MAPPING_H

#include "core.h"

struct core_attachment {
    void *address; /* NULL: none */
    int id;
    size_t size;
    bool readonly;
    bool writable; /* it is or was: one who has a pointer may write */
    bool exported; /* a buffer was taken */
    bool escaped;  /* the address was read: a pointer may have left */
};

struct core_ghost;

struct core_mapping {
    struct core_attachment current;
    Py_ssize_t exports;
    struct core_ghost *ghosts;
};

/* shmat(2): 0 or -errno.  The attachment is not the handle's yet; it may be
 * at the place of one of owner's ghosts, so it is given back by
 * core_mapping_discard() and nothing else. */
int core_mapping_attach(PyObject *owner, struct core_mapping *mapping,
                        void *address, int flags,
                        struct core_attachment *attachment);

/* Take the attachment out, or put another in its place; *old is then for
 * core_mapping_discard().  -EBUSY while there are exports. */
int core_mapping_swap_lock_held(struct core_mapping *mapping,
                                const struct core_attachment *new,
                                struct core_attachment *old);

/* Detach what is not in the handle, without the lock: 0 or -errno.  Where a
 * ghost stays, owner's critical section is entered to keep it. */
int core_mapping_discard(PyObject *owner, struct core_mapping *mapping,
                         const struct core_attachment *old);

/* When the handle dies. */
void core_mapping_free(struct core_mapping *mapping);

#endif
