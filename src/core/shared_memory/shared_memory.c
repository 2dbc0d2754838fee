/* sysv_ipc.SharedMemory: attaching, and what the kernel knows of a segment;
 * shmop(2), shmctl(2).  Opening is open.c, the bytes are
 * bytes.c.
 *
 * mapping is guarded by the object's critical section (mapping.h); size is
 * set when opened, and written with it. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>

/* What is known may be older than a detach by another thread: where it
 * differs, ask again. */
static bool
shared_memory_same(PyObject *op, const struct os_info *now)
{
    const struct core_attachment *last = &shared_memory(op)->mapping.current;
    struct core_attachment attachment = {
        .id = core_handle_id(op),
        .segment =
            {
                .size = (size_t)now->shm.size,
                .key = now->key,
                .creator_pid = now->shm.creator_pid,
                .change_time = now->last_change_time,
                .detach_time = now->shm.last_detach_time,
            },
    };
    /* from_id() asks before there was any. */
    return last->segment.size == 0 || last->id != attachment.id ||
           core_attachment_same(last, &attachment) ||
           core_attachment_look(&attachment) < 0 ||
           core_attachment_same(last, &attachment);
}

static bool
shared_memory_is_marked(const struct os_info *info)
{
    return info->shm.marked_for_removal;
}

static void
shared_memory_add_facts(const struct os_info *info, struct core_facts *facts)
{
    facts->amount = (long long)info->shm.size;
    facts->first_time = info->shm.last_attach_time;
    facts->second_time = info->shm.last_detach_time;
}

const struct core_kind core_shared_memory_kind = {
    .index = CORE_KIND_shared_memory,
    .record = CORE_RECORD_SharedMemoryInfo,
    .after_mode = "size",
    .get = os_shm_get,
    .create = core_create,
    .stat = os_shm_stat,
    .set = os_shm_set,
    .remove = os_shm_remove,
    .list = os_shm_list,
    .last_place = os_shm_last_place,
    .same = shared_memory_same,
    .is_marked = shared_memory_is_marked,
    .add_facts = shared_memory_add_facts,
    .keeps_change_time = true,
};

static inline PyObject *
shared_memory_make(CoreState *state, PyTypeObject *type)
{
    return core_handle_make(state, type, &core_shared_memory_kind,
                            sizeof(SharedMemoryObject));
}

static int
shared_memory_open(PyObject *op, PyObject *const *given)
{
    return core_shared_memory_open(op, given);
}

CORE_CONSTRUCTOR(shared_memory, "SharedMemory", 5, CORE_ARG_key,
                 CORE_ARG_flags, CORE_ARG_mode, CORE_ARG_size,
                 CORE_ARG_init_character)

static void
shared_memory_dealloc(PyObject *op)
{
    core_mapping_free(&shared_memory(op)->mapping);
    core_handle_free(op);
}

/* An address for shmat(2): None and 0 let the kernel choose. */
static int
convert_address(CoreState *state, PyObject *value, void **out)
{
    *out = NULL;
    if (value == NULL || value == Py_None) {
        return 0;
    }
    long long address = 0;
    long long most = sizeof(void *) < 8 ? UINT32_MAX : LLONG_MAX;
    if (core_integer(state, value, "address", 0, most, &address) < 0) {
        return -1;
    }
    *out = (void *)(uintptr_t)address;
    return 0;
}

/* flags for shmat(2); remap only onto what this handle has attached, since
 * it would replace whatever else is mapped there. */
static int
convert_attach_flags(PyObject *op, PyObject *value, void *address, int *out)
{
    SharedMemoryObject *self = shared_memory(op);
    long long flags = self->readonly ? SHM_RDONLY : 0;
    if (core_integer(self->handle.state, value, "flags", INT_MIN, UINT_MAX,
                     &flags) < 0) {
        return -1;
    }
    *out = (int)flags;
    /* Nobody can use the page at 0, where a small address is rounded to. */
    if ((flags & SHM_RND) && address != NULL &&
        (uintptr_t)address < (uintptr_t)SHMLBA) {
        (void)core_refuse(self->handle.state, EINVAL, core_handle_target(op),
                          "SHM_RND rounds address %p down to 0: use None, or "
                          "an address of at least %ld",
                          address, (long)SHMLBA);
        return -1;
    }
    void *current;
    CORE_BEGIN_CRITICAL_SECTION(op);
    current = self->mapping.current.address;
    CORE_END_CRITICAL_SECTION();
    if ((flags & OS_SHM_REMAP) && (address == NULL || address != current)) {
        (void)core_refuse(self->handle.state, EINVAL, core_handle_target(op),
                          "SHM_REMAP replaces whatever is mapped at the "
                          "address, so it takes only the address at which "
                          "this handle is attached");
        return -1;
    }
    return 0;
}

/* --------------------------------------------------- attach() and detach() */

static int
segment_attach(PyObject *op, PyObject *address_value, PyObject *flags_value)
{
    void *address;
    int flags;
    if (convert_address(core_handle(op)->state, address_value, &address) < 0 ||
        convert_attach_flags(op, flags_value, address, &flags) < 0 ||
        core_handle_check(core_handle(op)) < 0 ||
        core_shared_memory_check_exports(op) < 0) {
        return -1;
    }
    struct core_mapping *mapping = &shared_memory(op)->mapping;
    struct core_attachment attachment = {.id = core_handle_id(op)};
    int rc = flags & OS_SHM_REMAP
                 ? core_mapping_remap(op, mapping, address, flags, &attachment)
                 : core_mapping_attach(op, mapping, true, address, flags,
                                       &attachment);
    if (rc == -ESTALE) {
        return core_handle_raise_another(op, attachment.id);
    }
    if (rc < 0) {
        return core_shared_memory_raise(op, rc, CORE_OPERATION_ATTACH);
    }
    shared_memory(op)->size = attachment.size;
    return 0;
}

/* from_id() and the module's attach(): type is a SharedMemory class. */
PyObject *
core_shared_memory_from_id(PyObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"id", "address", "flags", NULL};
    PyObject *id, *address = NULL, *flags = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|OO:attach", names, &id,
                                     &address, &flags)) {
        return NULL;
    }
    PyObject *op = shared_memory_new((PyTypeObject *)type, NULL, NULL);
    if (op == NULL) {
        return NULL;
    }
    struct os_info info = {0};
    if (core_handle_open_id(core_handle(op), id, &info) < 0 ||
        segment_attach(op, address, flags) < 0) {
        Py_CLEAR(op);
    }
    else {
        /* The access that it was opened with is the one to attach again. */
        shared_memory(op)->readonly =
            shared_memory(op)->mapping.current.readonly;
    }
    return op;
}

static PyObject *
shared_memory_attach(PyObject *op, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"address", "flags", NULL};
    PyObject *address = NULL, *flags = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|OO:attach", names,
                                     &address, &flags) ||
        segment_attach(op, address, flags) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
shared_memory_detach(PyObject *op, PyObject *Py_UNUSED(unused))
{
    if (!core_shared_memory_attached(op)) {
        return core_shared_memory_raise_not_attached(op);
    }
    if (core_shared_memory_put(op, NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
shared_memory_enter(PyObject *op, PyObject *Py_UNUSED(unused))
{
    if (!core_shared_memory_attached(op) &&
        segment_attach(op, NULL, NULL) < 0) {
        return NULL;
    }
    return Py_NewRef(op);
}

static PyObject *
shared_memory_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    if (core_shared_memory_attached(op) &&
        core_shared_memory_put(op, NULL) < 0) {
        if (nargs == 0 || args[0] == Py_None ||
            !PyErr_ExceptionMatches(PyExc_BufferError)) {
            return NULL;
        }
        /* Views in the traceback's frames must not hide what is raised. */
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

static PyObject *
shared_memory_lock(PyObject *op, PyObject *Py_UNUSED(unused))
{
    int id = core_handle_id(op);
    if (core_handle_check_same(op, id) < 0) {
        return NULL;
    }
    int rc = os_shm_lock(id);
    if (rc < 0) {
        return core_handle_raise(op, rc, CORE_OPERATION_LOCK);
    }
    Py_RETURN_NONE;
}

static PyObject *
shared_memory_unlock(PyObject *op, PyObject *Py_UNUSED(unused))
{
    int id = core_handle_id(op);
    if (core_handle_check_same(op, id) < 0) {
        return NULL;
    }
    int rc = os_shm_unlock(id);
    if (rc < 0) {
        return core_handle_raise(op, rc, CORE_OPERATION_UNLOCK);
    }
    Py_RETURN_NONE;
}

static PyObject *
shared_memory_reduce(PyObject *op, PyObject *Py_UNUSED(unused))
{
    int flags = shared_memory(op)->readonly ? SHM_RDONLY : 0;
    return core_handle_reduce(
        op, Py_BuildValue("(iOi)", core_handle_id(op), Py_None, flags), NULL);
}

static PyObject *
shared_memory_repr(PyObject *op)
{
    char extra[96];
    (void)PyOS_snprintf(
        extra, sizeof(extra), ", size=%zu, %s", shared_memory(op)->size,
        core_shared_memory_attached(op) ? "attached" : "detached");
    return core_handle_repr(op, extra);
}

/* ------------------------------------------------------------- attributes */

static PyObject *
shared_memory_get_attached(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(core_shared_memory_attached(op));
}

static PyObject *
shared_memory_get_size(PyObject *op, void *Py_UNUSED(closure))
{
    if (core_handle_check(core_handle(op)) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(shared_memory(op)->size);
}

/* The attachment now; to read its address is to let a pointer out. */
static int
get_attachment(PyObject *op, bool escape, struct core_attachment *out)
{
    struct core_attachment *current = &shared_memory(op)->mapping.current;
    CORE_BEGIN_CRITICAL_SECTION(op);
    current->escaped = current->escaped || escape;
    *out = *current;
    CORE_END_CRITICAL_SECTION();
    return core_handle_check(core_handle(op));
}

static PyObject *
shared_memory_get_address(PyObject *op, void *Py_UNUSED(closure))
{
    struct core_attachment attachment;
    if (get_attachment(op, true, &attachment) < 0) {
        return NULL;
    }
    return PyLong_FromVoidPtr(attachment.address);
}

static PyObject *
shared_memory_get_readonly(PyObject *op, void *Py_UNUSED(closure))
{
    struct core_attachment attachment;
    if (get_attachment(op, false, &attachment) < 0) {
        return NULL;
    }
    return PyBool_FromLong(attachment.address != NULL
                               ? attachment.readonly
                               : shared_memory(op)->readonly);
}

/* -------------------------------------------------------------- the type */

PyDoc_STRVAR(
    shared_memory_doc,
    "SharedMemory(key, flags=0, mode=0o600, size=0, init_character=b' ')\n"
    "--\n"
    "\n"
    "A System V shared memory segment, attached when opened.\n"
    "\n"
    "key and flags are those of Semaphore; SHM_HUGETLB, SHM_NORESERVE and "
    "the\n"
    "like go into flags too.  size is in bytes.  With IPC_CREX it defaults "
    "to\n"
    "PAGE_SIZE and the segment is filled with init_character (None: left to\n"
    "the kernel's zero pages, which cost nothing until touched).  With\n"
    "IPC_CREAT it is the size to create if there is none; an existing larger\n"
    "segment opens whole.  With flags 0 it is left out, or the segment's "
    "size.\n"
    "A mode without 0o200 attaches read-only.\n"
    "\n"
    "Raises ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),\n"
    "ArgumentError (EINVAL), LimitError (ENOSPC), OutOfMemoryError (ENOMEM).\n"
    "See shmget(2), shmop(2).");

PyDoc_STRVAR(
    attach_doc,
    "attach($self, /, address=None, flags=0)\n--\n\n"
    "Attach the segment, at the address if one is given; replaces the\n"
    "attachment that there is.\n"
    "\n"
    "flags are SHM_RDONLY, SHM_RND, SHM_EXEC, SHM_REMAP; left out, the "
    "access\n"
    "is the one it was opened with.  Raises BufferError while views exist,\n"
    "ArgumentError (EINVAL) for an address that is not aligned or not free,\n"
    "PermissionsError (EACCES), ExistentialError (EINVAL, EIDRM).  See "
    "shmop(2).");
PyDoc_STRVAR(
    detach_doc,
    "detach($self, /)\n--\n\n"
    "Detach the segment.\n"
    "\n"
    "Raises BufferError, and changes nothing, while views, arrays or\n"
    "atomics of it exist;\n"
    "NotAttachedError where it is not attached.  See shmop(2).");
PyDoc_STRVAR(
    enter_doc,
    "__enter__($self, /)\n--\n\nAttach if not attached; return self.");
PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exception)\n--\n\n"
                       "Detach.  An exception inside the block goes on.");
PyDoc_STRVAR(
    lock_doc,
    "lock($self, /)\n--\n\n"
    "Keep the segment from being swapped (SHM_LOCK).\n"
    "\n"
    "Pages come into memory when they are touched.  Raises\n"
    "PermissionsError (EPERM) unless the caller has CAP_IPC_LOCK, or is\n"
    "owner or creator and RLIMIT_MEMLOCK is not 0; OutOfMemoryError\n"
    "(ENOMEM) above RLIMIT_MEMLOCK.  See shmctl(2).");
PyDoc_STRVAR(unlock_doc, "unlock($self, /)\n--\n\n"
                         "Let the segment be swapped again (SHM_UNLOCK).");
PyDoc_STRVAR(info_doc,
             "info($self, /)\n--\n\n"
             "A SharedMemoryInfo, in one system call (IPC_STAT); it cannot\n"
             "tell resident and swapped, which are None.");
PyDoc_STRVAR(
    remove_doc,
    "remove($self, /)\n--\n\n"
    "Mark the segment for removal: it goes when the last one detaches.\n"
    "\n"
    "Raises PermissionsError (EPERM) unless the caller is owner, creator or\n"
    "root, ExistentialError (EINVAL) when it is gone.  See shmctl(2), "
    "IPC_RMID.");
PyDoc_STRVAR(
    from_id_doc,
    "from_id($type, /, id, address=None, flags=0)\n--\n\n"
    "Open and attach the segment with this id, as shmat(2) takes it.\n"
    "\n"
    "address and flags are those of attach().  Raises ExistentialError "
    "(EINVAL)\n"
    "where the id names nothing.");
PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\n"
                         "Pickle by id: the copy opens the same segment.");

static PyMethodDef shared_memory_methods[] = {
    {"attach", _PyCFunction_CAST(shared_memory_attach),
     METH_VARARGS | METH_KEYWORDS, attach_doc},
    {"detach", shared_memory_detach, METH_NOARGS, detach_doc},
    CORE_SHARED_BYTES_METHODS,
    {"__enter__", shared_memory_enter, METH_NOARGS, enter_doc},
    {"__exit__", _PyCFunction_CAST(shared_memory_exit), METH_FASTCALL,
     exit_doc},
    {"lock", shared_memory_lock, METH_NOARGS, lock_doc},
    {"unlock", shared_memory_unlock, METH_NOARGS, unlock_doc},
    {"info", core_handle_info, METH_NOARGS, info_doc},
    {"remove", core_handle_remove, METH_NOARGS, remove_doc},
    {"from_id", _PyCFunction_CAST(core_shared_memory_from_id),
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, from_id_doc},
    {"__reduce__", shared_memory_reduce, METH_NOARGS, reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef shared_memory_getset[] = {
    CORE_HANDLE_GETSET CORE_SHARED_MEMORY_FIELDS(CORE_FIELD_GETSET){
        "attached", shared_memory_get_attached, NULL,
        PyDoc_STR("True while this handle has the segment attached."), NULL},
    {"address", shared_memory_get_address, NULL,
     PyDoc_STR(
         "Where the segment is attached; 0 where it is not.  Once read,\n"
         "the attachment outlives the handle: until detach(), or the\n"
         "process's end."),
     NULL},
    {"size", shared_memory_get_size, NULL,
     PyDoc_STR("The size in bytes, as it was created."), NULL},
    {"readonly", shared_memory_get_readonly, NULL,
     PyDoc_STR("True when attached read-only, or when attach() would be."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef shared_memory_members[] = {
    CORE_HANDLE_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot shared_memory_slots[] = {
    {Py_tp_doc, (void *)shared_memory_doc},
    {Py_tp_new, shared_memory_new},
    {Py_tp_init, shared_memory_init},
    {Py_tp_dealloc, shared_memory_dealloc},
    {Py_tp_traverse, core_handle_traverse},
    {Py_tp_repr, shared_memory_repr},
    {Py_tp_richcompare, core_handle_compare},
    {Py_tp_hash, core_handle_hash},
    {Py_tp_methods, shared_memory_methods},
    {Py_tp_getset, shared_memory_getset},
    {Py_tp_members, shared_memory_members},
    CORE_SHARED_BYTES_SLOTS,
    {0, NULL},
};

PyType_Spec core_shared_memory_spec = {
    .name = "sysv_ipc.SharedMemory",
    .basicsize = sizeof(SharedMemoryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = shared_memory_slots,
};
