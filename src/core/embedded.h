/* Python modules whose code is part of the extension. */
#ifndef SYSV_IPC_CORE_EMBEDDED_H
#define SYSV_IPC_CORE_EMBEDDED_H

#include "core/state.h"

struct core_embedded {
    const char *name; /* such as sysv_ipc.cures */
    const char *code; /* a marshalled code object */
    Py_ssize_t size;
};

/* tools/embed.py makes these during the build.  The magic number tells which
 * interpreters understand the code. */
extern const struct core_embedded core_embedded_cures, core_embedded_listing;
extern const long core_embedded_magic;

/* Return a function of the module, a new reference. */
PyObject *core_embedded_function(const struct core_embedded *embedded,
                                 const char *function);

#endif
