/* Attaching, replacing and detaching: shmat(2), shmdt(2); see mapping.h. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>

/* No huge page is larger. */
#define LARGEST_PAGE ((size_t)1 << (sizeof(size_t) > 4 ? 34 : 30))

struct core_ghost {
    struct core_ghost *next; /* an older one */
    struct core_attachment was;
    size_t size; /* of the pages, at least that of the segment */
    int64_t detach_time;
    uint64_t namespace;
};

int
core_attachment_look(struct core_attachment *attachment)
{
    int rc = os_shm_look(attachment->id, &attachment->segment);
    attachment->size = attachment->segment.size;
    return rc;
}

/* A segment that is removed while it is attached loses its key; one that was
 * detached has a time of that, and a new one has none.  To another PID
 * namespace than the creator's its pid is 0. */
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

/* Whether this thread's IPC namespace is the one with that number, as far as
 * can be told. */
static bool
is_namespace(uint64_t number)
{
    uint64_t now = os_namespace_number();
    return number == 0 || now == 0 || number == now;
}

/* Whether a segment may be attached where the ghost is: what still points
 * there may find the same segment again, but not another one.  In doubt it
 * gets a new place: the time of its last change is that of its creation until
 * its mode or owner changes. */
static bool
has_room(const struct core_ghost *ghost, const struct core_attachment *wanted,
         const void *address)
{
    return core_attachment_same(&ghost->was, wanted) &&
           ghost->was.segment.change_time == wanted->segment.change_time &&
           ghost->detach_time <= wanted->segment.detach_time &&
           (address == NULL || address == ghost->was.address) &&
           is_namespace(ghost->namespace);
}

/* Take out the ghost at the address that is wanted; if there is none there,
 * the oldest of several, so that the last one stays zeros. */
static struct core_ghost *
take_ghost_lock_held(struct core_mapping *mapping,
                     const struct core_attachment *wanted, const void *address)
{
    struct core_ghost **oldest = NULL, *ghost = NULL;
    int count = 0;
    for (struct core_ghost **place = &mapping->ghosts; *place != NULL;
         place = &(*place)->next) {
        if (has_room(*place, wanted, address)) {
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

/* What points to the ghost may be written to if anything of this handle was:
 * then the pages are too, and only the handle does not write. */
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
        /* The kernel may have taken its pages away before it failed. */
        (void)os_memory_fill(ghost->was.address, ghost->size);
        add_ghost_lock_held(mapping, ghost);
        attachment->exported = false;
        /* It may be that only reading is allowed now. */
        if (rc != -EACCES || !attachment->readonly || address != NULL) {
            return rc;
        }
    }
    return os_shm_attach(attachment->id, address, flags, &attachment->address);
}

static size_t
rounded(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Replace an attachment by zero pages: 0 or -errno, and how many bytes.  Huge
 * pages come in many sizes, and the kernel does not tell which: it refuses to
 * cut one, so the first multiple that it takes is the attachment's own. */
static int
blank(const struct core_attachment *old, size_t *size)
{
    size_t unit = os_page_size();
    for (;;) {
        *size = rounded(old->size, unit);
        int rc = os_shm_blank(old->address, *size);
        if (rc != -EINVAL || unit >= LARGEST_PAGE) {
            return rc;
        }
        unit *= 2;
    }
}

/* Replace an attachment by a ghost: 0, also if it took a second call to get
 * its pages, or -errno. */
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
    int rc = blank(old, &ghost->size);
    /* The kernel may have detached it before it failed. */
    if (rc < 0 && os_memory_fill(old->address, ghost->size) < 0) {
        PyMem_RawFree(ghost);
        return rc;
    }
    add_ghost_lock_held(mapping, ghost);
    return 0;
}

/* Detach what is or is to be the handle's: 0 or -errno. */
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

/* Ask what the id names, in the same step as what depends on it: 0, -EBUSY,
 * -ESTALE if it is not the segment that this handle had last, or -errno. */
static int
look_lock_held(const struct core_mapping *mapping,
               struct core_attachment *attachment)
{
    const struct core_attachment *last = &mapping->current;
    int rc = mapping->exports > 0 ? -EBUSY : core_attachment_look(attachment);
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
    rc = again ? look_lock_held(mapping, attachment)
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

/* If the kernel detached before it failed to attach, a ghost stays. */
static void
haunt_hole_lock_held(struct core_mapping *mapping)
{
    struct core_attachment *current = &mapping->current;
    size_t size = rounded(current->size, os_page_size());
    if (os_memory_fill(current->address, size) < 0) {
        return;
    }
    struct core_ghost *ghost = PyMem_RawMalloc(sizeof(*ghost));
    if (ghost != NULL) {
        *ghost = (struct core_ghost){.was = *current, .size = size};
        add_ghost_lock_held(mapping, ghost);
    }
    current->address = NULL;
}

/* What may be written to through a buffer that was exported stays so, and only
 * the handle writes no more. */
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
        haunt_hole_lock_held(mapping);
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
    rc = look_lock_held(mapping, attachment);
    if (rc < 0) {
        /* There is nothing to attach. */
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
        (void)os_memory_release(ghost->was.address, ghost->size);
        PyMem_RawFree(ghost);
    }
}

/* ----------------------------------------------- for a SharedMemory handle */

static void
raise_exports(void)
{
    PyErr_SetString(PyExc_BufferError,
                    "the segment cannot be detached while views, arrays, "
                    "atomics or copies of it exist: release them first");
}

/* What core_mapping_ functions return, as an exception: -1. */
int
core_shared_memory_raise(PyObject *op, int rc, enum core_operation operation)
{
    if (rc == -EBUSY) {
        raise_exports();
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
        raise_exports();
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
