/* Register core_finish_waits() for the end of the main interpreter: daemon
 * threads may still wait in this library then, also threads of other
 * interpreters.
 *
 * Children of multiprocessing do not call the functions that their parent
 * registered with atexit; before CPython 3.13 they call no function of atexit
 * at all.  They call multiprocessing's finalizers instead.  No state. */
#include "core/finish.h"

#include "core/wait.h"

/* The finalizers of programs have priorities of 0 and more, so they run
 * earlier. */
#define FINALIZER_PRIORITY (-1000)

/* Call a function of a module.  Return 0, or -1 with an exception. */
static int
call_function(PyObject *module, const char *name, PyObject *args,
              PyObject *keywords)
{
    PyObject *function = args == NULL ? NULL
                                      : PyObject_GetAttrString(module, name);
    PyObject *result =
        function == NULL ? NULL : PyObject_Call(function, args, keywords);
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    Py_XDECREF(function);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Return a module that the program has imported, a new reference, or NULL. */
static PyObject *
loaded_module(const char *name)
{
    PyObject *text = PyUnicode_FromString(name);
    PyObject *module = text == NULL ? NULL : PyImport_GetModule(text);
    Py_XDECREF(text);
    return module;
}

/* Call multiprocessing.util.Finalize(None, finish, exitpriority=...). */
static PyObject *
finish_add_finalizer(PyObject *Py_UNUSED(self), PyObject *finish)
{
    PyObject *util = loaded_module("multiprocessing.util");
    int rc = util == NULL
                 ? -1
                 : call_function(util, "Finalize",
                                 Py_BuildValue("(OO)", Py_None, finish),
                                 Py_BuildValue("{si}", "exitpriority",
                                               FINALIZER_PRIORITY));
    Py_XDECREF(util);
    if (rc < 0 && PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef finish_methods[] = {
    {"_finish_waits", core_finish_waits, METH_NOARGS, NULL},
    {"_add_finalizer", finish_add_finalizer, METH_O, NULL},
};

/* In a child of multiprocessing: register the finalizer after multiprocessing
 * has cleared the finalizers of the parent. */
static PyObject *
finish_after_fork(PyObject *finish, PyObject *Py_UNUSED(unused))
{
    PyObject *util = loaded_module("multiprocessing.util");
    int rc = 0;
    if (util != NULL) {
        PyObject *add = PyCFunction_New(&finish_methods[1], NULL);
        rc = add == NULL
                 ? -1
                 : call_function(util, "register_after_fork",
                                 Py_BuildValue("(ON)", finish, add), NULL);
        Py_DECREF(util);
    }
    if (rc < 0 || PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Call atexit.register(finish).  Return 0, or -1 with an exception. */
static int
register_at_exit(PyObject *finish)
{
    PyObject *atexit = PyImport_ImportModule("atexit");
    int rc = atexit == NULL ? -1
                            : call_function(atexit, "register",
                                            PyTuple_Pack(1, finish), NULL);
    Py_XDECREF(atexit);
    return rc;
}

/* Call os.register_at_fork(after_in_child=...).  Return 0, or -1 with an
 * exception. */
static int
register_at_fork(PyObject *finish)
{
    static PyMethodDef fork_methods = {"_after_fork", finish_after_fork,
                                       METH_NOARGS, NULL};
    PyObject *os = PyImport_ImportModule("os");
    PyObject *hook = os == NULL ? NULL
                                : PyCFunction_New(&fork_methods, finish);
    int rc = hook == NULL ? -1
                          : call_function(
                                os, "register_at_fork", PyTuple_New(0),
                                Py_BuildValue("{sO}", "after_in_child", hook));
    Py_XDECREF(hook);
    Py_XDECREF(os);
    return rc;
}

/* Register the finalizer in a child of multiprocessing's fork server, which
 * imports this module itself. */
static int
register_in_child(PyObject *finish)
{
    PyObject *process = loaded_module("multiprocessing.process");
    PyObject *parent =
        process == NULL ? NULL
                        : PyObject_CallMethod(process, "parent_process", NULL);
    bool is_child = parent != NULL && parent != Py_None;
    Py_XDECREF(process);
    Py_XDECREF(parent);
    if (PyErr_Occurred()) {
        return -1;
    }
    PyObject *done = is_child ? finish_add_finalizer(NULL, finish)
                              : Py_NewRef(Py_None);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Called in the main interpreter, which may not have imported this module. */
static int
register_in_main(void *Py_UNUSED(unused))
{
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) {
        PyObject *finish = PyCFunction_New(&finish_methods[0], NULL);
        if (finish == NULL || register_at_exit(finish) < 0) {
            PyErr_Clear();
        }
        Py_XDECREF(finish);
    }
    return 0;
}

/* Register a function that is called when this interpreter ends and when a
 * child of multiprocessing ends: 0, or -1 with an exception. */
static int
call_at_end(PyObject *function)
{
    return register_at_exit(function) < 0 || register_in_child(function) < 0 ||
                   register_at_fork(function) < 0
               ? -1
               : 0;
}

PyObject *
core_call_at_end(PyObject *Py_UNUSED(module), PyObject *function)
{
    if (call_at_end(function) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

int
core_finish_register(void)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        if (os_wait_claim_finish()) {
            (void)Py_AddPendingCall(register_in_main, NULL);
        }
        return 0;
    }
    os_wait_finish(false);
    PyObject *finish = PyCFunction_New(&finish_methods[0], NULL);
    int rc = finish == NULL ? -1 : call_at_end(finish);
    Py_XDECREF(finish);
    return rc;
}
