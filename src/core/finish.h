/* Register the function that ends waits when the interpreter ends. */
#ifndef SYSV_IPC_CORE_FINISH_H
#define SYSV_IPC_CORE_FINISH_H

#include "core/state.h"

/* Register core_finish_waits() for the end of the main interpreter, and for
 * the end of a child of multiprocessing.  Return 0, or -1 with an
 * exception. */
int core_finish_register(void);
/* _call_at_end(function): the same for another function, in this
 * interpreter. */
PyObject *core_call_at_end(PyObject *module, PyObject *function);

#endif
