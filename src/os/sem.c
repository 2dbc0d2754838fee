/* Semaphores: semget(2), semop(2), semtimedop(2), semctl(2).  sem_area is the
 * only static variable, a lone atomic. */
#include "os/os.h"
#include "os/semun.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
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
    /* Without semtimedop(2) a call waits without limit or not at all.  More
     * than OS_SEM_TRIED_MAX operations exceed the default limit anyway. */
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

/* For commands without an argument. */
static int
sem_query(int id, int index, int command)
{
    return sem_control(id, index, command, (union semun){.val = 0});
}

int
os_sem_get_value(int id, int index)
{
    return sem_query(id, index, GETVAL);
}

int
os_sem_set_value(int id, int index, int value)
{
    return sem_control(id, index, SETVAL, (union semun){.val = value});
}

/* ----------------------------------------------- the values of all members */

/* GETALL and SETALL copy as many values as the set has that the id names now,
 * even past the end of the array.  So the array is in memory of its own, an
 * area, which is followed by a page without access: there the kernel stops
 * with EFAULT.  The array has room for one value more than the set should
 * have, and NO_VALUE in it shows if the set has another number of members. */
#define AREA_VALUES 65536
/* No semaphore can have this value. */
#define NO_VALUE 0xffff

/* An area that is not in use, or NULL. */
static _Atomic(unsigned short *) sem_area;

static size_t
area_bytes(size_t values)
{
    size_t page = os_page_size(), bytes = values * sizeof(unsigned short);
    return (bytes + page - 1) / page * page;
}

/* Get an area for this number of values and one more.  Return NULL if there is
 * no memory. */
static unsigned short *
area_get(size_t values)
{
    unsigned short *area = NULL;
    if (values < AREA_VALUES) {
        area = atomic_exchange(&sem_area, NULL);
        values = AREA_VALUES - 1;
    }
    if (area == NULL) {
        size_t bytes = area_bytes(values + 1);
        void *pages = mmap(NULL, bytes + os_page_size(), PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) {
            return NULL;
        }
        if (mprotect(pages, bytes, PROT_READ | PROT_WRITE) == -1) {
            (void)munmap(pages, bytes + os_page_size());
            return NULL;
        }
        area = pages;
    }
    return area;
}

static void
area_give(unsigned short *area, size_t values)
{
    if (values < AREA_VALUES) {
        area = atomic_exchange(&sem_area, area);
        values = AREA_VALUES - 1;
    }
    if (area != NULL) {
        (void)munmap(area, area_bytes(values + 1) + os_page_size());
    }
}

/* Return -EIDRM if the error came from copying too many values, because the
 * set has another number of members; otherwise return the error. */
static int
sem_values_error(int id, size_t count, int rc)
{
    struct os_info info;
    bool another = os_sem_stat(id, &info) == 0 && info.sem.nsems != count;
    return (rc == -ERANGE || rc == -EFAULT) && another ? -EIDRM : rc;
}

int
os_sem_set_all(int id, const unsigned short *values, size_t count)
{
    unsigned short *area = area_get(count);
    if (area == NULL) {
        return -ENOMEM;
    }
    memcpy(area, values, count * sizeof(*values));
    area[count] = NO_VALUE;
    int rc = sem_control(id, 0, SETALL, (union semun){.array = area});
    area_give(area, count);
    return rc < 0 ? sem_values_error(id, count, rc) : rc;
}

int
os_sem_get_all(int id, unsigned short *values, size_t count)
{
    unsigned short *area = area_get(count);
    if (area == NULL) {
        return -ENOMEM;
    }
    size_t last = count > 0 ? count - 1 : 0;
    area[last] = area[count] = NO_VALUE;
    int rc = sem_control(id, 0, GETALL, (union semun){.array = area});
    if (rc == 0 && (area[last] == NO_VALUE || area[count] != NO_VALUE)) {
        rc = -EIDRM;
    }
    if (rc == 0) {
        memcpy(values, area, count * sizeof(*values));
    }
    area_give(area, count);
    return rc < 0 ? sem_values_error(id, count, rc) : rc;
}

int
os_sem_get_pid(int id, int index)
{
    return sem_query(id, index, GETPID);
}

int
os_sem_get_ncnt(int id, int index)
{
    return sem_query(id, index, GETNCNT);
}

int
os_sem_get_zcnt(int id, int index)
{
    return sem_query(id, index, GETZCNT);
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
        .mode = OS_MODE_READ(data->sem_perm.mode) & OS_MODE_MASK,
        .last_change_time = data->sem_ctime,
        .sem = {.nsems = (uint64_t)data->sem_nsems,
                .last_operation_time = data->sem_otime},
    };
}

/* Call a command that fills a struct semid_ds. */
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
                .mode = OS_MODE_WRITE(info->mode),
            },
    };
    return sem_control(id, 0, IPC_SET, (union semun){.buf = &data});
}

int
os_sem_remove(int id)
{
    return sem_query(id, 0, IPC_RMID);
}
