/* SharedMemory objects, and the functions that the files of this folder share:
 * shared_memory.c (attaching and attributes), open.c, mapping.c, bytes.c,
 * ndarray.c and atomic.c. */
#ifndef SYSV_IPC_CORE_SHARED_MEMORY_H
#define SYSV_IPC_CORE_SHARED_MEMORY_H

#include "core/info.h"
#include "core/open.h"
#include "core/shared_memory/mapping.h"
#include "core/wait.h"

extern const struct core_kind core_shared_memory_kind;
extern PyType_Spec core_shared_memory_spec;
extern PyType_Spec core_pin_spec;
extern PyType_Spec core_atomic_spec;
PyObject *core_shared_memory_call(PyObject *type, PyObject *const *args,
                                  size_t nargsf, PyObject *keywords);
/* from_id(), and attach() of the module; type is a SharedMemory class. */
PyObject *core_shared_memory_from_id(PyObject *type, PyObject *args,
                                     PyObject *keywords);

typedef struct {
    CoreHandle handle;
    struct core_mapping mapping;
    _Atomic size_t size;
    atomic_bool readonly; /* as opened; the default of attach() */
} SharedMemoryObject;

static inline SharedMemoryObject *
shared_memory(PyObject *op)
{
    return (SharedMemoryObject *)op;
}

/* Open or create a segment with the arguments of the constructor, and attach
 * it.  Return 0, or -1 with an exception. */
int core_shared_memory_open(PyObject *op, PyObject *const *given);
/* Raise an error of a core_mapping_ function.  Return -1. */
int core_shared_memory_raise(PyObject *op, int rc,
                             enum core_operation operation);
/* Make new the attachment of the handle, or detach if new is NULL.  Return 0,
 * or -1 with an exception; then nothing has changed, and new still belongs to
 * the caller. */
int core_shared_memory_put(PyObject *op, const struct core_attachment *new);
/* Raise BufferError and return -1 if the segment has exports. */
int core_shared_memory_check_exports(PyObject *op);
bool core_shared_memory_attached(PyObject *op);
PyObject *core_shared_memory_raise_not_attached(PyObject *op);

/* Copy the attachment, and count one more export until
 * core_shared_bytes_release() is called.  Return 0, or -1 with an exception if
 * the segment is not attached, or not for writing although write is true. */
int core_shared_bytes_acquire(PyObject *op, bool write,
                              struct core_attachment *attachment);
void core_shared_bytes_release(PyObject *op);
/* Record that a pointer to the attachment may outlive the export. */
void core_shared_bytes_mark_exported(PyObject *op);
PyObject *core_shared_bytes_raise_readonly(PyObject *op);
PyObject *core_shared_bytes_refuse_range(PyObject *op, const char *what,
                                         Py_ssize_t offset, Py_ssize_t count,
                                         size_t size);

PyObject *core_shared_memory_ndarray(PyObject *op, PyObject *args,
                                     PyObject *keywords);
extern const char core_shared_memory_ndarray_doc[];
PyObject *core_shared_memory_atomic(PyObject *memory, PyObject *const *args,
                                    Py_ssize_t nargs, PyObject *keywords);
extern const char core_shared_memory_atomic_doc[];

PyObject *core_shared_bytes_read(PyObject *op, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *keywords);
PyObject *core_shared_bytes_write(PyObject *op, PyObject *const *args,
                                  Py_ssize_t nargs, PyObject *keywords);
PyObject *core_shared_bytes_read_into(PyObject *op, PyObject *const *args,
                                      Py_ssize_t nargs, PyObject *keywords);
PyObject *core_shared_bytes_view(PyObject *op, PyObject *args,
                                 PyObject *keywords);
extern const char core_shared_bytes_read_doc[];
extern const char core_shared_bytes_write_doc[];
extern const char core_shared_bytes_read_into_doc[];
extern const char core_shared_bytes_view_doc[];

#define CORE_SHARED_BYTES_METHODS                                     \
    {"read", _PyCFunction_CAST(core_shared_bytes_read),               \
     METH_FASTCALL | METH_KEYWORDS, core_shared_bytes_read_doc},      \
    {"write", _PyCFunction_CAST(core_shared_bytes_write),             \
     METH_FASTCALL | METH_KEYWORDS, core_shared_bytes_write_doc},     \
    {"read_into", _PyCFunction_CAST(core_shared_bytes_read_into),     \
     METH_FASTCALL | METH_KEYWORDS, core_shared_bytes_read_into_doc}, \
    {"view", _PyCFunction_CAST(core_shared_bytes_view),               \
     METH_VARARGS | METH_KEYWORDS, core_shared_bytes_view_doc},       \
    {"ndarray", _PyCFunction_CAST(core_shared_memory_ndarray),        \
     METH_VARARGS | METH_KEYWORDS, core_shared_memory_ndarray_doc},   \
    {"atomic", _PyCFunction_CAST(core_shared_memory_atomic),          \
     METH_FASTCALL | METH_KEYWORDS, core_shared_memory_atomic_doc}

int core_shared_bytes_getbuffer(PyObject *op, Py_buffer *buffer, int flags);
void core_shared_bytes_releasebuffer(PyObject *op, Py_buffer *buffer);
Py_ssize_t core_shared_bytes_length(PyObject *op);
PyObject *core_shared_bytes_item(PyObject *op, Py_ssize_t index);
PyObject *core_shared_bytes_subscript(PyObject *op, PyObject *index);
int core_shared_bytes_assign(PyObject *op, PyObject *index, PyObject *value);
int core_shared_bytes_true(PyObject *op);

/* Iteration gives the bytes as ints.  It calls item(). */
#define CORE_SHARED_BYTES_SLOTS                                 \
    {Py_bf_getbuffer, core_shared_bytes_getbuffer},             \
    {Py_bf_releasebuffer, core_shared_bytes_releasebuffer},     \
    {Py_tp_iter, PySeqIter_New},                                \
    {Py_sq_length, core_shared_bytes_length},                   \
    {Py_sq_item, core_shared_bytes_item},                       \
    {Py_mp_length, core_shared_bytes_length},                   \
    {Py_mp_subscript, core_shared_bytes_subscript},             \
    {Py_mp_ass_subscript, core_shared_bytes_assign},            \
    {Py_nb_bool, core_shared_bytes_true}

#endif
