/* Attaching, replacing and detaching: shmat(2), shmdt(2) and mmap(2).  See
 * mapping.h for the fields and for ghosts. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>

/* The size of the largest huge page. */
#define LARGEST_PAGE ((size_t)1 << (sizeof(size_t) > 4 ? 34 : 30))

struct core_ghost {
    struct core_ghost *next; /* an older one */
    struct core_attachment was;
    size_t size; /* of the pages, at least that of the segment */
    int64_t detach_time;
    uint64_t namespace;
};

int
core_attachment_identify(struct core_attachment *attachment)
{
    int rc = os_shm_identify(attachment->id, &attachment->segment);
    attachment->size = attachment->segment.size;
    return rc;
}

/* A segment that is removed while it is attached loses its key.  One that was
 * detached has the time of that, but a new segment has none.  In a PID
 * namespace other than the creator's, the creator's pid is 0. */
bool
core_attachment_same(const struct core_attachment *then,
                     const struct core_attachment *now)
{
    const struct os_segment *x = &then->segment, *y = &now->segment;
    return then->id == now->id && x->size == y->size &&
           (x->creator_pid == y->creator_pid || x->creator_pid == 0 ||
            y->creator_pid == 0) &&
           (x->key == y->key || y->key == IPC_PRIVATE) &&
           (!then->detached || y->detach_time != 0);
}

/* Return true if this thread is in the IPC namespace with this number, or if
 * that cannot be determined. */
static bool
is_current_namespace(uint64_t number)
{
    uint64_t now = os_namespace_number();
    return number == 0 || now == 0 || number == now;
}

/* Return true if the segment may be attached at the address of the ghost.
 * Remaining pointers to that address may find the same segment again, but not
 * another one.  In any doubt the segment gets a new address: the time of its
 * last change is that of its creation, until its mode or owner changes. */
static bool
ghost_fits(const struct core_ghost *ghost,
           const struct core_attachment *wanted, const void *address)
{
    return core_attachment_same(&ghost->was, wanted) &&
           ghost->was.segment.change_time == wanted->segment.change_time &&
           ghost->detach_time <= wanted->segment.detach_time &&
           (address == NULL || address == ghost->was.address) &&
           is_current_namespace(ghost->namespace);
}

/* Remove a ghost from the list, and return it: the one at the address, if an
 * address is given; otherwise the oldest of several, so that the last one
 * keeps its zeros. */
static struct core_ghost *
take_ghost_lock_held(struct core_mapping *mapping,
                     const struct core_attachment *wanted, const void *address)
{
    struct core_ghost **oldest = NULL, *ghost = NULL;
    int count = 0;
    for (struct core_ghost **place = &mapping->ghosts; *place != NULL;
         place = &(*place)->next) {
        if (ghost_fits(*place, wanted, address)) {
            oldest = place;
            count++;
        }
    }
    if (oldest != NULL && (count > 1 || address != NULL)) {
        ghost = *oldest;
        *oldest = ghost->next;
    }
    return ghost;
}

static void
add_ghost_lock_held(struct core_mapping *mapping, struct core_ghost *ghost)
{
    ghost->next = mapping->ghosts;
    mapping->ghosts = ghost;
}

int
core_mapping_attach_new(struct core_attachment *attachment, int flags)
{
    attachment->readonly = (flags & SHM_RDONLY) != 0;
    return os_shm_attach(attachment->id, NULL, flags, &attachment->address);
}

/* Objects that point to the ghost may be writable if the handle ever had a
 * writable attachment.  Then the pages must be writable too, and a read-only
 * handle only refuses to write. */
static int
attach_over_ghost(const struct core_mapping *mapping,
                  const struct core_ghost *ghost, int flags,
                  struct core_attachment *attachment)
{
    flags |= OS_SHM_REMAP;
    if (mapping->writable) {
        flags &= ~SHM_RDONLY;
    }
    attachment->exported = true;
    return os_shm_attach(attachment->id, ghost->was.address, flags,
                         &attachment->address);
}

static int
attach_lock_held(struct core_mapping *mapping, void *address, int flags,
                 struct core_attachment *attachment)
{
    struct core_ghost *ghost = NULL;
    attachment->readonly = (flags & SHM_RDONLY) != 0;
    if (OS_SHM_REMAP != 0) {
        ghost = take_ghost_lock_held(mapping, attachment, address);
    }
    if (ghost != NULL) {
        int rc = attach_over_ghost(mapping, ghost, flags, attachment);
        if (rc == 0) {
            PyMem_RawFree(ghost);
            return 0;
        }
        /* The kernel may have unmapped the ghost before it failed. */
        (void)os_memory_map(ghost->was.address, ghost->size);
        add_ghost_lock_held(mapping, ghost);
        attachment->exported = false;
        /* The pages of a ghost may have to be writable, which the segment's
         * mode may forbid now.  At a new address, reading is enough. */
        if (rc != -EACCES || !attachment->readonly || address != NULL) {
            return rc;
        }
    }
    return os_shm_attach(attachment->id, address, flags, &attachment->address);
}

static size_t
round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Replace an attachment by zero pages, and set *size to their size.  Return 0
 * or -errno.  Huge pages come in many sizes and the kernel does not report the
 * size.  But it refuses to unmap a part of one, so the first rounded size that
 * it accepts is that of the attachment. */
static int
attachment_replace(const struct core_attachment *old, size_t *size)
{
    size_t unit = os_page_size();
    for (;;) {
        *size = round_up(old->size, unit);
        int rc = os_shm_replace(old->address, *size);
        if (rc != -EINVAL || unit >= LARGEST_PAGE) {
            return rc;
        }
        unit *= 2;
    }
}

/* Replace an attachment by a ghost.  Return 0, even if the pages had to be
 * mapped by a second call, or -errno. */
static int
make_ghost_lock_held(struct core_mapping *mapping,
                     const struct core_attachment *old)
{
    struct core_ghost *ghost = PyMem_RawMalloc(sizeof(*ghost));
    if (ghost == NULL) {
        return -ENOMEM;
    }
    *ghost = (struct core_ghost){
        .was = *old,
        .detach_time = os_time(),
        .namespace = os_namespace_number(),
    };
    ghost->was.detached = true;
    int rc = attachment_replace(old, &ghost->size);
    /* The kernel may have detached the segment before it failed. */
    if (rc < 0 && os_memory_map(old->address, ghost->size) < 0) {
        PyMem_RawFree(ghost);
        return rc;
    }
    add_ghost_lock_held(mapping, ghost);
    return 0;
}

/* Detach an attachment that is the handle's, or was to become so.  Return 0 or
 * -errno. */
static int
discard_lock_held(struct core_mapping *mapping,
                  const struct core_attachment *old)
{
    if (old->address == NULL) {
        return 0;
    }
    return old->exported ? make_ghost_lock_held(mapping, old)
                         : os_shm_detach(old->address);
}

static int
put_lock_held(struct core_mapping *mapping, const struct core_attachment *new)
{
    int rc = mapping->exports > 0
                 ? -EBUSY
                 : discard_lock_held(mapping, &mapping->current);
    if (rc < 0) {
        return rc;
    }
    struct core_attachment old = mapping->current;
    bool detached = old.address != NULL || old.detached;
    if (new != NULL) {
        mapping->current = *new;
        mapping->current.detached = detached && old.id == new->id;
        mapping->writable = mapping->writable || !new->readonly;
    }
    else {
        mapping->current.address = NULL;
        mapping->current.detached = detached;
    }
    return 0;
}

int
core_mapping_put(PyObject *owner, struct core_mapping *mapping,
                 const struct core_attachment *new)
{
    int rc;
    CORE_BEGIN_CRITICAL_SECTION(owner);
    rc = put_lock_held(mapping, new);
    CORE_END_CRITICAL_SECTION();
    (void)owner;
    return rc;
}

/* Identify the segment, in the same critical section as the call that depends
 * on it.  Return 0, -EBUSY if there are exports, -ESTALE if it is not the
 * segment that this handle attached last, or -errno. */
static int
identify_lock_held(const struct core_mapping *mapping,
                   struct core_attachment *attachment)
{
    const struct core_attachment *last = &mapping->current;
    int rc = mapping->exports > 0 ? -EBUSY
                                  : core_attachment_identify(attachment);
    bool same = rc < 0 || last->segment.size == 0 ||
                last->id != attachment->id ||
                core_attachment_same(last, attachment);
    return same ? rc : -ESTALE;
}

int
core_mapping_attach(PyObject *owner, struct core_mapping *mapping, bool again,
                    void *address, int flags,
                    struct core_attachment *attachment)
{
    int rc;
    CORE_BEGIN_CRITICAL_SECTION(owner);
    rc = again ? identify_lock_held(mapping, attachment)
               : (mapping->exports > 0 ? -EBUSY : 0);
    if (rc == 0) {
        rc = attach_lock_held(mapping, address, flags, attachment);
    }
    if (rc == 0) {
        rc = put_lock_held(mapping, attachment);
        if (rc < 0) {
            (void)discard_lock_held(mapping, attachment);
        }
    }
    CORE_END_CRITICAL_SECTION();
    (void)owner;
    return rc;
}

/* If the kernel unmapped the attachment before it failed to attach again, put
 * a ghost into the hole. */
static void
remap_failed_lock_held(struct core_mapping *mapping)
{
    struct core_attachment *current = &mapping->current;
    size_t size = round_up(current->size, os_page_size());
    if (os_memory_map(current->address, size) < 0) {
        return;
    }
    struct core_ghost *ghost = PyMem_RawMalloc(sizeof(*ghost));
    if (ghost != NULL) {
        *ghost = (struct core_ghost){.was = *current, .size = size};
        add_ghost_lock_held(mapping, ghost);
    }
    current->address = NULL;
}

/* If a writable buffer has been exported, the pages must stay writable.  Then
 * a read-only handle only refuses to write. */
static int
remap_lock_held(struct core_mapping *mapping, int flags)
{
    struct core_attachment *current = &mapping->current;
    bool readonly = (flags & SHM_RDONLY) != 0;
    void *got;
    if (mapping->writable && current->exported) {
        flags &= ~SHM_RDONLY;
    }
    int rc = os_shm_attach(current->id, current->address, flags, &got);
    if (rc == 0) {
        current->readonly = readonly;
        mapping->writable = mapping->writable || !readonly;
    }
    else {
        remap_failed_lock_held(mapping);
    }
    return rc;
}

int
core_mapping_remap(PyObject *owner, struct core_mapping *mapping,
                   void *address, int flags,
                   struct core_attachment *attachment)
{
    int rc;
    CORE_BEGIN_CRITICAL_SECTION(owner);
    rc = identify_lock_held(mapping, attachment);
    if (rc < 0) {
        /* The segment cannot be attached. */
    }
    else if (address == NULL || address != mapping->current.address) {
        rc = -EINVAL;
    }
    else {
        rc = remap_lock_held(mapping, flags);
    }
    CORE_END_CRITICAL_SECTION();
    (void)owner;
    return rc;
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
        (void)os_memory_unmap(ghost->was.address, ghost->size);
        PyMem_RawFree(ghost);
    }
}

/* ----------------------------------------------- for a SharedMemory handle */

static void
mapping_raise_exports(void)
{
    PyErr_SetString(PyExc_BufferError,
                    "the segment cannot be detached while views, arrays, "
                    "atomics or copies of it exist: release them first");
}

/* Raise an error of a core_mapping_ function.  Return -1. */
int
core_shared_memory_raise(PyObject *op, int rc, enum core_operation operation)
{
    if (rc == -EBUSY) {
        mapping_raise_exports();
    }
    else {
        (void)core_handle_raise(op, rc, operation);
    }
    return -1;
}

int
core_shared_memory_put(PyObject *op, const struct core_attachment *new)
{
    int rc = core_mapping_put(op, &shared_memory(op)->mapping, new);
    return rc < 0 ? core_shared_memory_raise(op, rc, CORE_OPERATION_DETACH)
                  : 0;
}

int
core_shared_memory_check_exports(PyObject *op)
{
    bool exports;
    CORE_BEGIN_CRITICAL_SECTION(op);
    exports = shared_memory(op)->mapping.exports > 0;
    CORE_END_CRITICAL_SECTION();
    if (exports) {
        mapping_raise_exports();
    }
    return exports ? -1 : 0;
}

bool
core_shared_memory_attached(PyObject *op)
{
    bool attached;
    CORE_BEGIN_CRITICAL_SECTION(op);
    attached = shared_memory(op)->mapping.current.address != NULL;
    CORE_END_CRITICAL_SECTION();
    return attached;
}

PyObject *
core_shared_memory_raise_not_attached(PyObject *op)
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return core_refuse_as(
        core_handle(op)->state, core_handle(op)->state->NotAttachedError, 0,
        core_handle_target(op), "the segment is not attached: call attach()");
}
