/* The end of the interpreter. */
#ifndef SYSV_IPC_CORE_FINISH_H
#define SYSV_IPC_CORE_FINISH_H

#include "core/state.h"

/* Have core_finish_waits() called when the main interpreter ends, and when a
 * child of multiprocessing does: 0, or -1 with an exception. */
int core_finish_register(void);

#endif
