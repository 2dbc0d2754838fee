/* The last argument of semctl(2), which the caller has to declare; macOS has
 * its own.  To the C library it is the union, to the kernel a word. */
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
