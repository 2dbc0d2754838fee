/* Attaching, replacing and detaching: shmat(2), shmdt(2); see mapping.h. */
#include "mapping.h"

#include <errno.h>

struct core_ghost {
    struct core_ghost *next;
    void *address;
    size_t size;
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

int
core_attach(int id, void *address, int flags, size_t size,
            struct core_attachment *attachment)
{
    void *got;
    int rc = os_shm_attach(id, address, flags, &got);
    if (rc == 0) {
        *attachment = (struct core_attachment){
            .address = got,
            .size = size,
            .readonly = (flags & SHM_RDONLY) != 0,
        };
    }
    return rc;
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
    ghost->address = old->address;
    ghost->size = (size_t)size;
    CORE_BEGIN_CRITICAL_SECTION(owner);
    ghost->next = mapping->ghosts;
    mapping->ghosts = ghost;
    CORE_END_CRITICAL_SECTION();
    (void)owner;
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
        (void)os_memory_release(ghost->address, ghost->size);
        PyMem_RawFree(ghost);
    }
}
