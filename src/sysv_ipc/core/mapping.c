/* Attaching, replacing and detaching: shmat(2), shmdt(2); see mapping.h. */
#include "mapping.h"

#include <errno.h>

struct core_ghost {
    struct core_ghost *next; /* an older one */
    struct core_attachment was;
    size_t size; /* of the pages, at least that of the segment */
};

/* Huge pages come in these sizes; the first is what a segment of ordinary
 * pages needs. */
static size_t
rounded(size_t size, int step)
{
    size_t unit = os_page_size();
    if (step > 0) {
        unit = step == 1 ? (size_t)1 << 21 : (size_t)1 << 30;
    }
    return (size + unit - 1) / unit * unit;
}

/* Whether a segment may be attached where the ghost is: what still points
 * there may find the same segment again, but not another one.  To write where
 * it now is read-only would crash; and if those that may be written to took
 * the places of those that may not, these would always need new ones. */
static bool
has_room(const struct core_ghost *ghost, const struct core_attachment *wanted)
{
    return ghost->was.id == wanted->id && ghost->was.size == wanted->size &&
           ghost->was.writable == wanted->writable &&
           (wanted->address == NULL || wanted->address == ghost->was.address);
}

/* Take out the ghost at the address that is wanted; where none is, the oldest
 * of several, so that the last one stays zeros.  NULL where there is none. */
static struct core_ghost *
take_ghost_lock_held(struct core_mapping *mapping,
                     const struct core_attachment *wanted)
{
    struct core_ghost **oldest = NULL, *ghost = NULL;
    int count = 0;
    for (struct core_ghost **place = &mapping->ghosts; *place != NULL;
         place = &(*place)->next) {
        if (has_room(*place, wanted)) {
            oldest = place;
            count++;
        }
    }
    if (oldest != NULL && (count > 1 || wanted->address != NULL)) {
        ghost = *oldest;
        *oldest = ghost->next;
    }
    return ghost;
}

static void
put_ghost(PyObject *owner, struct core_mapping *mapping,
          struct core_ghost *ghost)
{
    CORE_BEGIN_CRITICAL_SECTION(owner);
    ghost->next = mapping->ghosts;
    mapping->ghosts = ghost;
    CORE_END_CRITICAL_SECTION();
    (void)owner;
}

int
core_mapping_attach(PyObject *owner, struct core_mapping *mapping,
                    void *address, int flags,
                    struct core_attachment *attachment)
{
    struct core_ghost *ghost = NULL;
    attachment->address = address;
    attachment->readonly = (flags & SHM_RDONLY) != 0;
    attachment->writable = !attachment->readonly;
    if (OS_SHM_REMAP != 0) {
        CORE_BEGIN_CRITICAL_SECTION(owner);
        ghost = take_ghost_lock_held(mapping, attachment);
        CORE_END_CRITICAL_SECTION();
    }
    if (ghost != NULL) {
        address = ghost->was.address;
        flags |= OS_SHM_REMAP;
    }
    attachment->exported = ghost != NULL;
    int rc =
        os_shm_attach(attachment->id, address, flags, &attachment->address);
    if (rc < 0) {
        attachment->address = NULL;
        if (ghost != NULL) {
            put_ghost(owner, mapping, ghost);
        }
        return rc;
    }
    PyMem_RawFree(ghost);
    return 0;
}

int
core_mapping_swap_lock_held(struct core_mapping *mapping,
                            const struct core_attachment *new,
                            struct core_attachment *old)
{
    if (mapping->exports > 0) {
        return -EBUSY;
    }
    *old = mapping->current;
    if (new != NULL) {
        mapping->current = *new;
    }
    else {
        mapping->current.address = NULL;
    }
    return 0;
}

/* Replace the attachment by a ghost: its size, or -errno. */
static ssize_t
blank(const struct core_attachment *old)
{
    ssize_t rc = -EINVAL;
    for (int step = 0; step < 3 && rc == -EINVAL; step++) {
        size_t size = rounded(old->size, step);
        rc = os_shm_blank(old->address, size);
        if (rc == 0) {
            return (ssize_t)size;
        }
    }
    return rc;
}

static int
discard_exported(PyObject *owner, struct core_mapping *mapping,
                 const struct core_attachment *old)
{
    struct core_ghost *ghost = PyMem_RawMalloc(sizeof(*ghost));
    if (ghost == NULL) {
        return -ENOMEM;
    }
    ssize_t size = blank(old);
    if (size < 0) {
        PyMem_RawFree(ghost);
        return (int)size;
    }
    ghost->was = *old;
    ghost->size = (size_t)size;
    put_ghost(owner, mapping, ghost);
    return 0;
}

int
core_mapping_discard(PyObject *owner, struct core_mapping *mapping,
                     const struct core_attachment *old)
{
    if (old->address == NULL) {
        return 0;
    }
    if (old->exported) {
        return discard_exported(owner, mapping, old);
    }
    return os_shm_detach(old->address);
}

void
core_mapping_free(struct core_mapping *mapping)
{
    if (mapping->current.address != NULL && !mapping->current.escaped) {
        (void)os_shm_detach(mapping->current.address);
    }
    while (mapping->ghosts != NULL) {
        struct core_ghost *ghost = mapping->ghosts;
        mapping->ghosts = ghost->next;
        (void)os_memory_release(ghost->was.address, ghost->size);
        PyMem_RawFree(ghost);
    }
}
