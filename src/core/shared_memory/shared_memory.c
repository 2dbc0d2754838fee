/* sysv_ipc.SharedMemory: attaching, detaching and attributes; shmat(2),
 * shmdt(2) and shmctl(2).  open.c opens and creates segments, mapping.c keeps
 * the attachment, bytes.c accesses the memory.
 *
 * The critical section of the object guards mapping (mapping.h).  size and
 * readonly are atomic and set when the segment is opened or attached. */
#include "core/shared_memory/shared_memory.h"

#include <errno.h>

/* If the record does not match, another thread may have detached the segment
 * since the record was read.  So read it again before answering. */
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
    /* from_id() calls this before the handle has attached a segment. */
    return last->segment.size == 0 || last->id != attachment.id ||
           core_attachment_same(last, &attachment) ||
           core_attachment_identify(&attachment) < 0 ||
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
    .size_argument = "size",
    .sized = "segment",
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

/* Convert an address for shmat(2).  None and 0 let the kernel choose. */
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

/* Convert flags for shmat(2).  SHM_REMAP is allowed only for the address at
 * which this handle is attached, because it would replace anything else that
 * is mapped there. */
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
    /* SHM_RND rounds a small address down to the page at 0, which cannot be
     * mapped. */
    if ((flags & SHM_RND) && address != NULL &&
        (uintptr_t)address < (uintptr_t)SHMLBA) {
        (void)core_refuse(self->handle.state, EINVAL, core_handle_target(op),
                          "SHM_RND rounds address %p down to 0: use None, or "
                          "an address that is at least %ld",
                          address, (long)SHMLBA);
        return -1;
    }
    void *current;
    CORE_BEGIN_CRITICAL_SECTION(op);
    current = self->mapping.current.address;
    CORE_END_CRITICAL_SECTION();
    if ((flags & OS_SHM_REMAP) && (address == NULL || address != current)) {
        (void)core_refuse(self->handle.state, EINVAL, core_handle_target(op),
                          "SHM_REMAP would replace any memory at the address, "
                          "so the address must be the one at which this "
                          "handle is attached");
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

/* from_id(), and attach() of the module; type is a SharedMemory class. */
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
        /* attach() uses the same access by default. */
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
        /* Views in the frames of the traceback keep the segment attached.
         * That must not hide the exception. */
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

/* Copy the attachment.  If escape is true, record that other code may have a
 * pointer into it. */
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
    "SharedMemory(key, flags=0, mode=0o600, size=0, init_character=b' "
    "')\n--\n\n"
    "A System V shared memory segment.  The constructor attaches it.\n"
    "\n"
    "key and flags are those of Semaphore; flags can also include\n"
    "SHM_HUGETLB, SHM_NORESERVE and similar flags of shmget(2).  size is\n"
    "in bytes.  With IPC_CREX it defaults to PAGE_SIZE, and the segment\n"
    "is filled with init_character; None keeps the kernel's zero pages,\n"
    "which use no memory until they are accessed.  With IPC_CREAT, size\n"
    "is that of a new segment, and an existing segment must be at least\n"
    "as large.  With flags 0, leave out size, or give the size of the\n"
    "segment.  A mode without 0o200 attaches read-only.\n"
    "\n"
    ">>> memory = SharedMemory(None, IPC_CREX, size=4096)\n"
    ">>> memory.write(b'four words of text')\n"
    ">>> memory[:4]\n"
    "b'four'\n"
    ">>> memory.remove()\n"
    ">>> memory.detach()\n"
    "\n"
    "Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),\n"
    "ArgumentError (EINVAL), LimitError (ENOSPC) or OutOfMemoryError\n"
    "(ENOMEM) on failure.  See shmget(2) and shmop(2).");

PyDoc_STRVAR(
    attach_doc,
    "attach($self, /, address=None, flags=0)\n--\n\n"
    "Attach the segment.  A new attachment replaces an existing one.\n"
    "\n"
    "address is the address of the new attachment; None lets the kernel\n"
    "choose.  flags are SHM_RDONLY, SHM_RND, SHM_EXEC and SHM_REMAP;\n"
    "without them the access is that with which the segment was opened.\n"
    "\n"
    "Raise BufferError while views, arrays or atomics exist;\n"
    "ArgumentError (EINVAL) for an address that is not aligned or not\n"
    "free; ExistentialError (EINVAL, EIDRM) if the segment no longer\n"
    "exists; and PermissionsError (EACCES).  See shmop(2).");
PyDoc_STRVAR(
    detach_doc,
    "detach($self, /)\n--\n\n"
    "Detach the segment.\n"
    "\n"
    "Raise BufferError, and change nothing, while views, arrays or\n"
    "atomics exist; and NotAttachedError if the segment is not attached.\n"
    "See shmop(2).");
PyDoc_STRVAR(enter_doc,
             "__enter__($self, /)\n--\n\n"
             "Attach the segment if it is not attached.  Return self.");
PyDoc_STRVAR(
    exit_doc,
    "__exit__($self, /, *exception)\n--\n\n"
    "Detach the segment.\n"
    "\n"
    "Raise BufferError while views, arrays or atomics exist.  But an\n"
    "exception inside the block propagates in any case; then the segment\n"
    "stays attached.");
PyDoc_STRVAR(
    lock_doc,
    "lock($self, /)\n--\n\n"
    "Prevent the kernel from swapping the segment out (SHM_LOCK).\n"
    "\n"
    "Pages that are not in memory are loaded when they are accessed.\n"
    "Raise PermissionsError (EPERM) unless the caller has CAP_IPC_LOCK,\n"
    "or is the owner or creator and RLIMIT_MEMLOCK is not 0; and\n"
    "OutOfMemoryError (ENOMEM) if the segment exceeds RLIMIT_MEMLOCK.\n"
    "See shmctl(2).");
PyDoc_STRVAR(unlock_doc,
             "unlock($self, /)\n--\n\n"
             "Allow the kernel to swap the segment out again (SHM_UNLOCK).\n"
             "\n"
             "Raise PermissionsError (EPERM) if the caller does not have\n"
             "CAP_IPC_LOCK and is not the owner or creator.  See shmctl(2).");
PyDoc_STRVAR(
    info_doc,
    "info($self, /)\n--\n\n"
    "Return a SharedMemoryInfo, from one system call.\n"
    "\n"
    "Its fields resident and swapped are None, because IPC_STAT does not\n"
    "report them.  See shmctl(2).");
PyDoc_STRVAR(
    remove_doc,
    "remove($self, /)\n--\n\n"
    "Remove the segment as soon as all processes have detached it.\n"
    "\n"
    "Until then it is marked for removal, and cannot be opened by key.\n"
    "Raise PermissionsError (EPERM) if the caller is not the owner, the\n"
    "creator or root, and ExistentialError (EINVAL) if the segment no\n"
    "longer exists.  See shmctl(2), IPC_RMID.");
PyDoc_STRVAR(
    from_id_doc,
    "from_id($type, /, id, address=None, flags=0)\n--\n\n"
    "Open and attach the segment with this id.\n"
    "\n"
    "address and flags are those of attach().  Raise ExistentialError\n"
    "(EINVAL) if no segment has this id, and the errors of attach().  See\n"
    "shmop(2).");
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
        PyDoc_STR("True if this handle has the segment attached."), NULL},
    {"address", shared_memory_get_address, NULL,
     PyDoc_STR("The address at which the segment is attached, or 0.\n"
               "After it has been read, the attachment outlives the handle:\n"
               "it stays until detach() or the end of the process."),
     NULL},
    {"size", shared_memory_get_size, NULL,
     PyDoc_STR("The size in bytes, as given at creation."), NULL},
    {"readonly", shared_memory_get_readonly, NULL,
     PyDoc_STR(
         "True if the attachment is read-only, or would be after attach()."),
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
