/* semaphores(), shared_memories(), message_queues() and limits(). */
#ifndef SYSV_IPC_CORE_LISTING_H
#define SYSV_IPC_CORE_LISTING_H

#include "core/state.h"

extern PyMethodDef core_listing_methods[];

#endif
