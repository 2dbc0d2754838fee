/* The module sysv_ipc._core: its state, functions and constants.  The package
 * sysv_ipc exports the public names.
 *
 * core_exec() sets the state once.  Afterwards it is only read, except the
 * free lists of handles, which the GIL protects, and kept_reserve and
 * lock_short_until_ns, which threads change atomically. */
#include "core/finish.h"
#include "core/listing.h"
#include "core/message_queue/message_queue.h"
#include "core/semaphore/set.h"
#include "core/shared_memory/shared_memory.h"

#include <errno.h>

/* ---------------------------------------------------------------- exists() */

static const struct core_kind *
kind_of_type(CoreState *state, PyObject *type)
{
    for (size_t i = 0; i < CORE_KIND_COUNT; i++) {
        if (PyType_Check(type) &&
            PyType_IsSubtype((PyTypeObject *)type,
                             (PyTypeObject *)state->kinds[i].type)) {
            return state->kinds[i].kind;
        }
    }
#define X(kind, class, ...) #class ", "
    PyErr_Format(PyExc_TypeError,
                 "type must be " CORE_KINDS(X) "or a subclass, not %R", type);
#undef X
    return NULL;
}

static PyObject *
core_exists(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"key", "type", NULL};
    CoreState *state = core_state_of_module(module);
    PyObject *key_value, *type;
    struct core_key key;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:exists", names,
                                     &key_value, &type)) {
        return NULL;
    }
    const struct core_kind *kind = kind_of_type(state, type);
    if (kind == NULL || core_key(state, key_value, &key) < 0) {
        return NULL;
    }
    if (key.type != CORE_KEY_VALUE) {
        return core_refuse(state, EINVAL, CORE_NO_TARGET,
                           "None and IPC_PRIVATE do not name an object");
    }
    /* The call asks for no permission bits, so none can be missing. */
    int rc = kind->get(key.value, 0, 0);
    if (rc < 0 && rc != -ENOENT && rc != -EACCES) {
        return core_raise(state, rc, CORE_OPERATION_OPEN,
                          (struct core_target){kind, key.value, CORE_NO_ID});
    }
    return PyBool_FromLong(rc != -ENOENT);
}

/* ----------------------------------------------------------------- by id */

static PyObject *
remove_by_id(PyObject *module, PyObject *value, const struct core_kind *kind)
{
    PyObject *number = core_index_named(value, "id");
    if (number == NULL) {
        return NULL;
    }
    int overflow;
    long id = PyLong_AsLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow != 0 || id < INT_MIN || id > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "an id must fit into a C int");
        return NULL;
    }
    int rc = kind->remove((int)id);
    if (rc < 0) {
        return core_raise_no_object(
            core_state_of_module(module), rc, CORE_OPERATION_REMOVE,
            (struct core_target){kind, CORE_NO_KEY, (int)id});
    }
    Py_RETURN_NONE;
}

static PyObject *
core_remove_semaphore(PyObject *module, PyObject *id)
{
    return remove_by_id(module, id, &core_semaphore_kind);
}

static PyObject *
core_remove_shared_memory(PyObject *module, PyObject *id)
{
    return remove_by_id(module, id, &core_shared_memory_kind);
}

static PyObject *
core_remove_message_queue(PyObject *module, PyObject *id)
{
    return remove_by_id(module, id, &core_message_queue_kind);
}

static PyObject *
core_attach_by_id(PyObject *module, PyObject *args, PyObject *keywords)
{
    CoreState *state = core_state_of_module(module);
    return core_shared_memory_from_id(
        state->kinds[CORE_KIND_shared_memory].type, args, keywords);
}

/* ----------------------------------------------------------- interpreters */

/* Return True in the main interpreter.  aio keeps idle threads only there:
 * CPython 3.11 does not destroy another interpreter that has more than one
 * thread. */
static PyObject *
core_in_main_interpreter(PyObject *Py_UNUSED(module),
                         PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(PyInterpreterState_Get() ==
                           PyInterpreterState_Main());
}

/* -------------------------------------------------------------- constants */

static int
add_constants(PyObject *module)
{
    static const struct {
        const char *name;
        long long value;
    } constants[] = {{"IPC_CREAT", IPC_CREAT},
                     {"IPC_EXCL", IPC_EXCL},
                     {"IPC_CREX", IPC_CREAT | IPC_EXCL},
                     {"IPC_PRIVATE", IPC_PRIVATE},
                     {"IPC_NOWAIT", IPC_NOWAIT},
                     {"KEY_MIN", LLONG_MIN},
                     {"KEY_MAX", LLONG_MAX},
                     {"SEMAPHORE_VALUE_MAX", OS_SEM_VALUE_MAX},
                     {"SEM_UNDO", SEM_UNDO},
                     {"SHM_RDONLY", SHM_RDONLY},
                     {"SHM_RND", SHM_RND},
#define X(name, value) {#name, value},
                     OS_SHM_FLAGS(X)
#undef X
#define X(name, verb) {"_OPERATION_" #name, CORE_OPERATION_##name},
                         CORE_OPERATIONS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        PyObject *value = PyLong_FromLongLong(constants[i].value);
        int rc = value == NULL
                     ? -1
                     : PyModule_AddObjectRef(module, constants[i].name, value);
        Py_XDECREF(value);
        if (rc < 0) {
            return -1;
        }
    }
    if (PyModule_AddIntConstant(module, "PAGE_SIZE", (long)os_page_size()) <
        0) {
        return -1;
    }
    static const char *const texts[][2] = {
        {"VERSION", SYSV_IPC_VERSION},
        {"__version__", SYSV_IPC_VERSION},
        {"__author__", "the sysv_ipc contributors"},
        {"__copyright__", "Copyright the sysv_ipc contributors"},
        {"__license__", "MIT"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (PyModule_AddStringConstant(module, texts[i][0], texts[i][1]) < 0) {
            return -1;
        }
    }
    /* True on every system: os/sem.c waits itself if the system has no
     * semtimedop(2). */
    return PyModule_AddObjectRef(module, "SEMAPHORE_TIMEOUT_SUPPORTED",
                                 Py_True);
}

/* ------------------------------------------------------------- the module */

PyDoc_STRVAR(core_doc,
             "The C extension of sysv_ipc, which exports its public names.");
PyDoc_STRVAR(
    exists_doc,
    "exists($module, /, key, type)\n--\n\n"
    "Return True if an object of this kind has this key.\n"
    "\n"
    "type is Semaphore, SemaphoreSet, SharedMemory, MessageQueue or a\n"
    "subclass.  The result is True even if the caller may not use the "
    "object.\n"
    "Raise KeyTypeError if the key is not an int, ArgumentError (EINVAL) if\n"
    "it is None or IPC_PRIVATE.  See semget(2), shmget(2) and msgget(2).");
PyDoc_STRVAR(
    ftok_doc,
    "ftok($module, /, path, id, silence_warning=False)\n--\n\n"
    "Return a key that is made of the inode of a file and a byte.\n"
    "\n"
    "path is a str, bytes or os.PathLike; the byte is the low byte of id.\n"
    "Different files can have the same key, so each call issues a warning\n"
    "unless silence_warning is true.  Prefer key_from_name(), or None as a\n"
    "key.  Raise OSError with errno and filename if the path cannot be\n"
    "looked up, and ArgumentError (EINVAL) if the low byte is 0, for which\n"
    "POSIX defines no result.  See ftok(3).");
PyDoc_STRVAR(
    key_from_name_doc,
    "key_from_name($module, name, /)\n--\n\n"
    "Return a key for a name: the same on every machine, in every language.\n"
    "\n"
    "name is bytes, or a str, which is encoded as UTF-8.  The key is the low\n"
    "31 bits of the 32-bit FNV-1a hash, or 1 if they are 0.  Two names can\n"
    "have the same key: among 1 000 names the probability is 1 in 4 300.");
PyDoc_STRVAR(
    attach_doc,
    "attach($module, /, id, address=None, flags=0)\n--\n\n"
    "Attach the segment with this id and return a SharedMemory.\n"
    "\n"
    "address and flags are those of SharedMemory.attach().  Raise\n"
    "ExistentialError (EINVAL) if no segment has the id, and the errors of\n"
    "SharedMemory.attach().  See shmop(2).");
PyDoc_STRVAR(
    remove_semaphore_doc,
    "remove_semaphore($module, id, /)\n--\n\n"
    "Remove the semaphore set with this id.\n"
    "\n"
    "Raise ExistentialError (EINVAL) if no set has the id, OverflowError if\n"
    "the id does not fit into a C int, PermissionsError (EPERM) if the "
    "caller\n"
    "is neither owner nor creator nor root.  See semctl(2).");
PyDoc_STRVAR(
    remove_shared_memory_doc,
    "remove_shared_memory($module, id, /)\n--\n\n"
    "Mark the segment with this id for removal.\n"
    "\n"
    "The segment is removed with its last attachment.  Raise the exceptions\n"
    "of remove_semaphore().  See shmctl(2).");
PyDoc_STRVAR(remove_message_queue_doc,
             "remove_message_queue($module, id, /)\n--\n\n"
             "Remove the message queue with this id, and its messages.\n"
             "\n"
             "Raise the exceptions of remove_semaphore().  See msgctl(2).");

static PyMethodDef core_methods[] = {
    {"exists", _PyCFunction_CAST(core_exists), METH_VARARGS | METH_KEYWORDS,
     exists_doc},
    {"ftok", _PyCFunction_CAST(core_ftok), METH_VARARGS | METH_KEYWORDS,
     ftok_doc},
    {"key_from_name", core_key_from_name, METH_O, key_from_name_doc},
    {"attach", _PyCFunction_CAST(core_attach_by_id),
     METH_VARARGS | METH_KEYWORDS, attach_doc},
    {"remove_semaphore", core_remove_semaphore, METH_O, remove_semaphore_doc},
    {"remove_shared_memory", core_remove_shared_memory, METH_O,
     remove_shared_memory_doc},
    {"remove_message_queue", core_remove_message_queue, METH_O,
     remove_message_queue_doc},
    {"_reopen", core_reopen, METH_VARARGS, NULL},
    {"_seconds", core_seconds, METH_O, NULL},
    {"_call_at_end", core_call_at_end, METH_O, NULL},
    {"_block_seconds", core_block_seconds, METH_VARARGS, NULL},
    {"_watch", core_messages_watch, METH_VARARGS, NULL},
    {"_timed_out", core_timed_out, METH_VARARGS, NULL},
    {"_put_back", core_messages_put_back, METH_VARARGS, NULL},
    {"_in_main_interpreter", core_in_main_interpreter, METH_NOARGS, NULL},
    {"set_wait_signal", core_set_wait_signal, METH_O,
     core_set_wait_signal_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
add_type(PyObject *module, PyType_Spec *spec, vectorcallfunc call)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL) {
        ((PyTypeObject *)type)->tp_vectorcall = call;
    }
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

static int
core_exec(PyObject *module)
{
    CoreState *state = core_state_of_module(module);
    os_wait_set_up();
#define X(name, ...) state->kinds[CORE_KIND_##name].kind = &core_##name##_kind;
    CORE_KINDS(X)
#undef X
    if (core_exceptions_init(module, state) < 0 ||
        core_error_init(state) < 0 || core_arguments_init(state) < 0 ||
        core_kept_init(state) < 0) {
        return -1;
    }
#define X(kind, ...)                                                      \
    state->kinds[CORE_KIND_##kind].type =                                 \
        add_type(module, &core_##kind##_spec, core_##kind##_call);
    CORE_KINDS(X)
#undef X
    state->operations_type = add_type(module, &core_operations_spec, NULL);
    state->atomic_type = add_type(module, &core_atomic_spec, NULL);
    /* These types have no names in the module: only ndarray() and iterate()
     * make their objects. */
    state->pin_type = PyType_FromModuleAndSpec(module, &core_pin_spec, NULL);
    state->message_iterator_type =
        PyType_FromModuleAndSpec(module, &core_message_iterator_spec, NULL);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (PyModule_AddFunctions(module, core_listing_methods) < 0) {
        return -1;
    }
    if (add_constants(module) < 0 || core_info_init(module, state) < 0) {
        return -1;
    }
    return core_finish_register();
}

static int
core_traverse(PyObject *module, visitproc visit, void *arg)
{
    CoreState *state = core_state_of_module(module);
#define X(name, ...) Py_VISIT(state->name);
    CORE_STATE_OBJECTS(X)
#undef X
    for (size_t i = 0; i < CORE_KIND_COUNT; i++) {
        Py_VISIT(state->kinds[i].type);
        Py_VISIT(state->kinds[i].name);
        Py_VISIT(state->kinds[i].noun);
    }
    return 0;
}

static int
core_clear(PyObject *module)
{
    CoreState *state = core_state_of_module(module);
    core_handle_clear_free_lists(state);
    core_kept_clear(state);
#define X(name, ...) Py_CLEAR(state->name);
    CORE_STATE_OBJECTS(X)
#undef X
    for (size_t i = 0; i < CORE_KIND_COUNT; i++) {
        Py_CLEAR(state->kinds[i].type);
        Py_CLEAR(state->kinds[i].name);
        Py_CLEAR(state->kinds[i].noun);
    }
    for (int i = 0; i < CORE_ARGUMENT_COUNT; i++) {
        Py_CLEAR(state->arguments[i]);
    }
    return 0;
}

static void
core_free(void *module)
{
    (void)core_clear(module);
}

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT,       .m_name = "sysv_ipc._core",
    .m_doc = core_doc,           .m_size = sizeof(CoreState),
    .m_methods = core_methods,   .m_slots = core_slots,
    .m_traverse = core_traverse, .m_clear = core_clear,
    .m_free = core_free,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
