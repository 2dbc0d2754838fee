/* The last argument of semctl(2), which the caller has to declare; macOS has
 * its own. */
#ifndef SYSV_IPC_SEMUN_H
#define SYSV_IPC_SEMUN_H

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

#endif
