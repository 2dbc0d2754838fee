/* The last argument of semctl(2).  POSIX requires the caller to declare this
 * union, but macOS declares it.  The C library takes the union, and the kernel
 * takes one word. */
#ifndef SYSV_IPC_SEMUN_H
#define SYSV_IPC_SEMUN_H

#include "os/os.h"

#ifndef __APPLE__
union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
#ifdef __linux__
    struct seminfo *__buf;
#endif
};
#endif

#if OS_CALL_IS_DIRECT
#define SEM_ARGUMENT(argument) (argument).buf
#else
#define SEM_ARGUMENT(argument) (argument)
#endif

#endif
