/* ArgumentWarning: once for each place in the program. */
#ifndef SYSV_IPC_CORE_WARNING_H
#define SYSV_IPC_CORE_WARNING_H

#include "core/state.h"

/* What a place in the program is warned of at most once each. */
enum core_slip {
    CORE_SLIP_MODE,
    CORE_SLIP_FLAGS,
    CORE_SLIP_BLOCK,
    CORE_SLIP_TIMEOUT,
};

/* Warn of a slip with this text, of which it takes the reference and which may
 * be NULL with an exception: 0, or -1 if the warning is an exception. */
CORE_SELDOM int core_warn(CoreState *state, enum core_slip slip,
                          PyObject *text);

#endif
