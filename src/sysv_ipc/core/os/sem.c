/* Semaphores: semget(2), semop(2), semtimedop(2), semctl(2). */
#include "os.h"
#include "semun.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int
os_sem_get(key_t key, size_t nsems, int flags)
{
    return (int)OS_CALL(semget, key, (int)nsems, flags);
}

int
os_sem_op(int id, struct sembuf *operations, size_t count, int64_t timeout_ns)
{
    if (timeout_ns == OS_FOREVER) {
        return (int)OS_CALL(semop, id, operations, count);
    }
    if (timeout_ns == 0 && count <= OS_SEM_TRIED_MAX) {
        return os_sem_try(id, operations, count);
    }
#ifdef __linux__
    struct timespec left = {
        .tv_sec = os_seconds(timeout_ns),
        .tv_nsec = (long)(timeout_ns % 1000000000),
    };
    return (int)OS_CALL(semtimedop, id, operations, count, &left);
#else
    /* There is only for ever, or not at all; and no more operations than those
     * where an administrator has not raised the limit. */
    return timeout_ns == 0 ? -E2BIG
                           : (int)OS_CALL(semop, id, operations, count);
#endif
}

ssize_t
os_sem_op_attempt(const struct os_call *call, int64_t timeout_ns)
{
    return os_sem_op(call->id, call->operations, call->size, timeout_ns);
}

static int
sem_control(int id, int index, int command, union semun argument)
{
    return (int)OS_CALL(semctl, id, index, command, SEM_ARGUMENT(argument));
}

/* For the commands that need no argument. */
static int
sem_ask(int id, int index, int command)
{
    return sem_control(id, index, command, (union semun){.val = 0});
}

int
os_sem_get_value(int id, int index)
{
    return sem_ask(id, index, GETVAL);
}

int
os_sem_set_value(int id, int index, int value)
{
    return sem_control(id, index, SETVAL, (union semun){.val = value});
}

int
os_sem_set_all(int id, const unsigned short *values)
{
    /* semctl() only reads the array, but its union has no const member. */
    union semun argument;
    memcpy(&argument.array, &values, sizeof(values));
    return sem_control(id, 0, SETALL, argument);
}

int
os_sem_get_all(int id, unsigned short *values)
{
    return sem_control(id, 0, GETALL, (union semun){.array = values});
}

int
os_sem_get_pid(int id, int index)
{
    return sem_ask(id, index, GETPID);
}

int
os_sem_get_ncnt(int id, int index)
{
    return sem_ask(id, index, GETNCNT);
}

int
os_sem_get_zcnt(int id, int index)
{
    return sem_ask(id, index, GETZCNT);
}

#ifdef __APPLE__
#define SEM_KEY(perm) ((perm)._key)
#elif defined(__FreeBSD__)
#define SEM_KEY(perm) ((perm).key)
#else
#define SEM_KEY(perm) ((perm).__key)
#endif

static void
sem_info(const struct semid_ds *data, struct os_info *info)
{
    *info = (struct os_info){
        .key = SEM_KEY(data->sem_perm),
        .uid = data->sem_perm.uid,
        .gid = data->sem_perm.gid,
        .cuid = data->sem_perm.cuid,
        .cgid = data->sem_perm.cgid,
        .mode = data->sem_perm.mode & OS_MODE_MASK,
        .last_change_time = data->sem_ctime,
        .sem = {.nsems = (uint64_t)data->sem_nsems,
                .last_operation_time = data->sem_otime},
    };
}

/* One of the commands that fill a struct semid_ds. */
static int
sem_read(int id, int command, struct os_info *info)
{
    struct semid_ds data = {0};
    int rc = sem_control(id, 0, command, (union semun){.buf = &data});
    if (rc >= 0) {
        sem_info(&data, info);
    }
    return rc;
}

int
os_sem_stat(int id, struct os_info *info)
{
    return sem_read(id, IPC_STAT, info);
}

#ifdef __linux__

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

int
os_sem_list(int place, struct os_info *info)
{
    return os_list(sem_read, place, SEM_STAT_ANY, SEM_STAT, info);
}

int
os_sem_last_place(void)
{
    struct seminfo data;
    return sem_control(0, 0, SEM_INFO, (union semun){.__buf = &data});
}

#else

int
os_sem_list(int place, struct os_info *info)
{
    (void)place;
    (void)info;
    return -ENOSYS;
}

int
os_sem_last_place(void)
{
    return -ENOSYS;
}

#endif

int
os_sem_set(int id, const struct os_info *info)
{
    struct semid_ds data = {
        .sem_perm =
            {
                .uid = info->uid,
                .gid = info->gid,
                .mode = (unsigned short)info->mode,
            },
    };
    return sem_control(id, 0, IPC_SET, (union semun){.buf = &data});
}

int
os_sem_remove(int id)
{
    return sem_ask(id, 0, IPC_RMID);
}
