/* ArgumentWarning: once for each place in the program. */
#ifndef SYSV_IPC_CORE_WARNING_H
#define SYSV_IPC_CORE_WARNING_H

#include "core/state.h"

/* The kinds of warnings: each is issued at most once for a place in the
 * program. */
enum core_slip {
    CORE_SLIP_MODE,
    CORE_SLIP_FLAGS,
    CORE_SLIP_BLOCK,
    CORE_SLIP_TIMEOUT,
};

/* Issue a warning with this text.  The reference is stolen; text may be NULL
 * with an exception.  Return 0, or -1 if the warning was made an exception. */
CORE_SELDOM int core_warn(CoreState *state, enum core_slip slip,
                          PyObject *text);

#endif
