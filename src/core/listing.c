/* Lists of all objects, and the limits.  SEM_STAT_ANY, SHM_STAT_ANY and
 * MSG_STAT_ANY return one object for each index of the kernel's tables.
 * listing.py adds facts that only /proc has.  No state. */
#include "core/listing.h"
#include "core/embedded.h"
#include "core/info.h"

#include <errno.h>

/* Warn that some objects are not in the list.  Return 0, or -1 if the
 * program's filters make the warning an exception. */
static int
warn_of_unreadable(const struct core_kind *kind, int count)
{
    return PyErr_WarnFormat(
        PyExc_RuntimeWarning, 1,
        "the list lacks %d %s object%s that the caller may not read: this "
        "kernel lists only what may be read (Linux before 4.17)",
        count, core_kind_name(kind), count == 1 ? "" : "s");
}

/* Return a list with one record for each object of a kind, readable or not. */
static PyObject *
list_kind(PyObject *module, const struct core_kind *kind)
{
    CoreState *state = core_state_of_module(module);
    int last = kind->last_place();
    if (last < 0) {
        return core_raise(state, last, CORE_OPERATION_LIST, CORE_NO_TARGET);
    }
    PyObject *records = PyList_New(0);
    int unreadable = 0;
    for (int place = 0; place <= last && records != NULL; place++) {
        struct os_info info;
        int id = kind->list(place, &info);
        if (id == -EACCES) {
            unreadable++;
            continue;
        }
        if (id == -EINVAL || id == -EIDRM) {
            /* The place in the table is empty, or the object was just
             * removed. */
            continue;
        }
        if (id < 0) {
            Py_DECREF(records);
            return core_raise(state, id, CORE_OPERATION_LIST, CORE_NO_TARGET);
        }
        PyObject *record = core_info_record(state, kind, &info, id);
        if (record == NULL || PyList_Append(records, record) < 0) {
            Py_CLEAR(records);
        }
        Py_XDECREF(record);
    }
    if (records != NULL && unreadable > 0 &&
        warn_of_unreadable(kind, unreadable) < 0) {
        Py_CLEAR(records);
    }
    return records;
}

/* Call a function of listing.py with the records, a stolen reference, and
 * return its result.  It gets this module as an argument: after del
 * sys.modules[...] the imported module may be a newer one, with other
 * classes. */
static PyObject *
complete(PyObject *module, PyObject *records, const char *name, bool flag)
{
    PyObject *result = NULL, *function = NULL;
    if (records != NULL) {
        function = core_embedded_function(&core_embedded_listing, name);
    }
    if (function != NULL) {
        result = PyObject_CallFunctionObjArgs(function, module, records,
                                              flag ? Py_True : Py_False, NULL);
    }
    Py_XDECREF(function);
    Py_XDECREF(records);
    return result;
}

static int
bind_flag(PyObject *module, const struct core_signature *signature,
          PyObject *const *args, Py_ssize_t nargs, PyObject *keywords,
          bool *flag)
{
    PyObject *given = NULL;
    *flag = false;
    if (core_bind(core_state_of_module(module), signature, args, nargs,
                  keywords, &given) < 0 ||
        core_bool(given, flag) < 0) {
        return -1;
    }
    return 0;
}

static PyObject *
semaphores(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
           PyObject *keywords)
{
    static const struct core_signature signature = {
        "semaphores", 1, 0, 0, {CORE_ARG_members}};
    bool members;
    if (bind_flag(module, &signature, args, nargs, keywords, &members) < 0) {
        return NULL;
    }
    PyObject *records = list_kind(
        module, core_state_of_module(module)->kinds[CORE_KIND_semaphore].kind);
    return members ? complete(module, records, "with_members", members)
                   : records;
}

static PyObject *
shared_memories(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                PyObject *keywords)
{
    static const struct core_signature signature = {
        "shared_memories", 1, 0, 0, {CORE_ARG_pids}};
    bool pids;
    if (bind_flag(module, &signature, args, nargs, keywords, &pids) < 0) {
        return NULL;
    }
    PyObject *records = list_kind(
        module,
        core_state_of_module(module)->kinds[CORE_KIND_shared_memory].kind);
    return complete(module, records, "with_memory", pids);
}

static PyObject *
message_queues(PyObject *module, PyObject *Py_UNUSED(unused))
{
    return list_kind(
        module,
        core_state_of_module(module)->kinds[CORE_KIND_message_queue].kind);
}

static PyObject *
limits_record(PyObject *module, PyObject *Py_UNUSED(unused))
{
    CoreState *state = core_state_of_module(module);
    struct os_limits limits;
    int rc = os_limits_get(&limits);
    if (rc < 0) {
        return core_raise(state, rc, CORE_OPERATION_LIST, CORE_NO_TARGET);
    }
    return core_info_limits(state, &limits);
}

PyDoc_STRVAR(
    semaphores_doc,
    "semaphores($module, /, *, members=False)\n--\n\n"
    "Return a list of all semaphore sets, one SemaphoreInfo each.\n"
    "\n"
    "The list is in the order of the kernel's table.  It includes sets that\n"
    "the caller may not read.  If members is true, the members of each\n"
    "record are a tuple of SemaphoreMemberInfo (value, last pid, waiting\n"
    "threads), or None for a set that the caller may not read.  See\n"
    "semctl(2), SEM_STAT_ANY.");
PyDoc_STRVAR(
    shared_memories_doc,
    "shared_memories($module, /, *, pids=False)\n--\n\n"
    "Return a list of all segments, one SharedMemoryInfo each.\n"
    "\n"
    "The list is in the order of the kernel's table.  It includes segments\n"
    "that the caller may not read.  If pids is true, the pids of each record\n"
    "are the processes that have the segment attached, as far as /proc shows\n"
    "them.  pids_complete is True if they account for all of\n"
    "number_attached, and False if there may be more.  See shmctl(2),\n"
    "SHM_STAT_ANY, and proc(5).");
PyDoc_STRVAR(
    message_queues_doc,
    "message_queues($module, /)\n--\n\n"
    "Return a list of all message queues, one MessageQueueInfo each.\n"
    "\n"
    "The list is in the order of the kernel's table.  It includes queues\n"
    "that the caller may not read.  See msgctl(2), MSG_STAT_ANY.");
PyDoc_STRVAR(
    limits_doc,
    "limits($module, /)\n--\n\n"
    "Return a Limits record: the system's limits, and how much is in use.\n"
    "\n"
    "They are those of the caller's IPC namespace.  See proc(5) and\n"
    "ipc_namespaces(7).");

PyMethodDef core_listing_methods[] = {
    {"semaphores", _PyCFunction_CAST(semaphores),
     METH_FASTCALL | METH_KEYWORDS, semaphores_doc},
    {"shared_memories", _PyCFunction_CAST(shared_memories),
     METH_FASTCALL | METH_KEYWORDS, shared_memories_doc},
    {"message_queues", message_queues, METH_NOARGS, message_queues_doc},
    {"limits", limits_record, METH_NOARGS, limits_doc},
    {NULL, NULL, 0, NULL},
};
