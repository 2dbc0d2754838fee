/* The Python modules that the core calls, cures.py and listing.py.  Most
 * programs do not need them, so they run at their first use.  By then their
 * files may be out of reach, for example after chroot(2), or others may be
 * there, after an upgrade.  Therefore the extension contains their code.
 *
 * No state: the modules are in sys.modules, as if they had been imported. */
#include "core/embedded.h"

#include <marshal.h>
#include <string.h>

/* Import a module that needs no file.  PyImport_ImportModule() would call the
 * __import__() of the program, which exec() can restrict. */
static PyObject *
import_loaded(const char *name)
{
    return PyImport_ImportModuleLevel(name, NULL, NULL, NULL, 0);
}

static const char *
last_name(const struct core_embedded *embedded)
{
    return strrchr(embedded->name, '.') + 1;
}

/* Set the path of the module's file, which tracebacks show.  If that fails,
 * the module works without it: some freezers have no files, and the function
 * of the import system is not public. */
static void
set_file(PyObject *module, PyObject *code, PyObject *package, const char *name)
{
    PyObject *folder = NULL, *path = NULL, *import = NULL, *done = NULL;
    PyObject *init = PyModule_GetFilenameObject(package);
    if (init != NULL) {
        Py_ssize_t slash =
            PyUnicode_FindChar(init, '/', 0, PyUnicode_GetLength(init), -1);
        folder = PyUnicode_Substring(init, 0, slash + 1);
    }
    if (folder != NULL) {
        path = PyUnicode_FromFormat("%U%s.py", folder, name);
    }
    if (path != NULL && PyModule_AddObjectRef(module, "__file__", path) == 0) {
        import = import_loaded("_imp");
    }
    if (import != NULL) {
        done =
            PyObject_CallMethod(import, "_fix_co_filename", "OO", code, path);
    }
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(import);
    Py_XDECREF(path);
    Py_XDECREF(folder);
    Py_XDECREF(init);
}

/* Run the code in a new module and return it. */
static PyObject *
run(const struct core_embedded *embedded, PyObject *package)
{
    PyObject *code = NULL, *builtins = NULL, *done = NULL;
    PyObject *module = PyModule_New(embedded->name);
    if (module != NULL) {
        code = PyMarshal_ReadObjectFromString(embedded->code, embedded->size);
    }
    if (code != NULL) {
        builtins = import_loaded("builtins");
    }
    if (builtins != NULL &&
        PyModule_AddObjectRef(module, "__builtins__", builtins) == 0) {
        PyObject *names = PyModule_GetDict(module);
        set_file(module, code, package, last_name(embedded));
        done = PyEval_EvalCode(code, names, names);
    }
    if (done == NULL) {
        Py_CLEAR(module);
    }
    Py_XDECREF(done);
    Py_XDECREF(builtins);
    Py_XDECREF(code);
    return module;
}

/* Put the module into sys.modules and into the package, unless it is there.
 * Other threads see it after it has run; if two threads run it at once, the
 * first wins.  Return 0, or -1 with an exception. */
static int
provide(const struct core_embedded *embedded)
{
    PyObject *name = PyUnicode_FromString(embedded->name);
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *package = NULL, *first = module;
    if (module == NULL && !PyErr_Occurred()) {
        package = import_loaded("sysv_ipc");
        module = package == NULL ? NULL : run(embedded, package);
        first = module == NULL ? NULL
                               : PyDict_SetDefault(PyImport_GetModuleDict(),
                                                   name, module);
    }
    int rc = first == NULL ? -1 : 0;
    if (package != NULL && first != NULL && first == module) {
        rc = PyObject_SetAttrString(package, last_name(embedded), module);
    }
    Py_XDECREF(package);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return rc;
}

PyObject *
core_embedded_function(const struct core_embedded *embedded,
                       const char *function)
{
    /* An interpreter that does not understand the code imports the file. */
    bool understood = PyImport_GetMagicNumber() == core_embedded_magic;
    if (understood && provide(embedded) < 0) {
        return NULL;
    }
    PyObject *names = Py_BuildValue("(s)", function);
    PyObject *module =
        names == NULL
            ? NULL
            : PyImport_ImportModuleLevel(embedded->name, NULL, NULL, names, 0);
    PyObject *result =
        module == NULL ? NULL : PyObject_GetAttrString(module, function);
    Py_XDECREF(module);
    Py_XDECREF(names);
    return result;
}
