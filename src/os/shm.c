/* Shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).  Also the zero
 * pages that replace an attachment: mmap(2), munmap(2), madvise(2). */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int
os_shm_get(key_t key, size_t size, int flags)
{
    return (int)OS_CALL(shmget, key, size, flags);
}

int
os_shm_attach(int id, void *wanted, int flags, void **address)
{
    void *got = shmat(id, wanted, flags);
    if (got == (void *)-1) {
        return -errno;
    }
    *address = got;
    return 0;
}

int
os_shm_detach(void *address)
{
    return (int)OS_CALL(shmdt, address);
}

#ifdef __APPLE__
#define SHM_KEY(perm) ((perm)._key)
#elif defined(__FreeBSD__)
#define SHM_KEY(perm) ((perm).key)
#else
#define SHM_KEY(perm) ((perm).__key)
#endif

/* Linux reports these two flags in the mode.  Other systems do not have
 * them. */
#ifndef SHM_DEST
#define SHM_DEST 0
#endif
#ifndef SHM_LOCKED
#define SHM_LOCKED 0
#endif

/* Call a command that fills a struct shmid_ds. */
static int
shm_read(int id, int command, struct os_info *info)
{
    struct shmid_ds data = {0};
    int rc = (int)OS_CALL(shmctl, id, command, &data);
    if (rc < 0) {
        return rc;
    }
    *info = (struct os_info){
        .key = SHM_KEY(data.shm_perm),
        .uid = data.shm_perm.uid,
        .gid = data.shm_perm.gid,
        .cuid = data.shm_perm.cuid,
        .cgid = data.shm_perm.cgid,
        .mode = OS_MODE_READ(data.shm_perm.mode) & OS_MODE_MASK,
        .last_change_time = data.shm_ctime,
        .shm =
            {
                .size = data.shm_segsz,
                .number_attached = data.shm_nattch,
                .last_attach_time = data.shm_atime,
                .last_detach_time = data.shm_dtime,
                .creator_pid = data.shm_cpid,
                .last_pid = data.shm_lpid,
                .marked_for_removal =
                    (OS_MODE_READ(data.shm_perm.mode) & SHM_DEST) != 0,
                .locked = (OS_MODE_READ(data.shm_perm.mode) & SHM_LOCKED) != 0,
            },
    };
    return rc;
}

int
os_shm_stat(int id, struct os_info *info)
{
    return shm_read(id, IPC_STAT, info);
}

/* Like os_shm_stat(), but quicker. */
int
os_shm_identify(int id, struct os_segment *segment)
{
    struct shmid_ds data = {0};
    int rc = (int)OS_CALL(shmctl, id, IPC_STAT, &data);
    if (rc == 0) {
        *segment = (struct os_segment){
            .size = data.shm_segsz,
            .key = SHM_KEY(data.shm_perm),
            .creator_pid = data.shm_cpid,
            .change_time = data.shm_ctime,
            .detach_time = data.shm_dtime,
        };
    }
    return rc;
}

#ifdef __linux__

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

int
os_shm_list(int place, struct os_info *info)
{
    return os_list(shm_read, place, SHM_STAT_ANY, SHM_STAT, info);
}

int
os_shm_last_place(void)
{
    struct shmid_ds data;
    /* The kernel fills a struct shm_info, which is smaller. */
    return (int)OS_CALL(shmctl, 0, SHM_INFO, &data);
}

#else

int
os_shm_list(int place, struct os_info *info)
{
    (void)place;
    (void)info;
    return -ENOSYS;
}

int
os_shm_last_place(void)
{
    return -ENOSYS;
}

#endif

int
os_shm_set(int id, const struct os_info *info)
{
    struct shmid_ds data = {
        .shm_perm =
            {
                .uid = info->uid,
                .gid = info->gid,
                .mode = OS_MODE_WRITE(info->mode),
            },
    };
    return (int)OS_CALL(shmctl, id, IPC_SET, &data);
}

int
os_shm_remove(int id)
{
    return (int)OS_CALL(shmctl, id, IPC_RMID, NULL);
}

#ifdef __linux__

int
os_shm_lock(int id)
{
    return (int)OS_CALL(shmctl, id, SHM_LOCK, NULL);
}

int
os_shm_unlock(int id)
{
    return (int)OS_CALL(shmctl, id, SHM_UNLOCK, NULL);
}

#else

int
os_shm_lock(int id)
{
    (void)id;
    return -ENOSYS;
}

int
os_shm_unlock(int id)
{
    (void)id;
    return -ENOSYS;
}

#endif

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

int
os_shm_replace(void *address, size_t size)
{
#ifndef __linux__
    /* Only Linux detaches a segment when other memory is mapped over it. */
    if (shmdt(address) == -1) {
        return -errno;
    }
#endif
    void *pages = mmap(address, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                       -1, 0);
    return pages == MAP_FAILED ? -errno : 0;
}

/* If the kernel does not know this flag, the address is only a hint. */
#ifndef MAP_FIXED_NOREPLACE
#ifdef __linux__
#define MAP_FIXED_NOREPLACE 0x100000
#else
#define MAP_FIXED_NOREPLACE 0
#endif
#endif

int
os_memory_map(void *address, size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *pages = mmap(address, size, PROT_READ | PROT_WRITE,
                       flags | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED && errno == ENOMEM) {
        /* Read-only pages are not counted against any limit. */
        pages = mmap(address, size, PROT_READ, flags, -1, 0);
    }
    if (pages == MAP_FAILED) {
        return -errno;
    }
    if (pages != address) {
        (void)munmap(pages, size);
        return -EEXIST;
    }
    return 0;
}

int
os_memory_unmap(void *address, size_t size)
{
    return munmap(address, size) == -1 ? -errno : 0;
}

#ifdef __linux__

/* The value of MADV_POPULATE_WRITE in all C libraries that define it (glibc
 * since 2.35). */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Make the kernel write a zero into every page, by reading from a pipe: if a
 * page is not available, read(2) fails, while a write by the program would be
 * a SIGBUS.  A pipe needs no file.  This is for kernels before 5.14. */
static int
populate_from_pipe(char *address, size_t size)
{
    int ends[2], rc = 0;
    if (pipe2(ends, O_CLOEXEC) == -1) {
        return -errno;
    }
    for (size_t at = 0; at < size && rc == 0; at += os_page_size()) {
        if (write(ends[1], "", 1) == -1 ||
            read(ends[0], address + at, 1) == -1) {
            rc = -errno;
        }
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
    return rc;
}

int
os_memory_populate(void *address, size_t size)
{
    if (madvise(address, size, MADV_POPULATE_WRITE) == 0) {
        return 0;
    }
    return errno == EINVAL || errno == ENOSYS
               ? populate_from_pipe(address, size)
               : -errno;
}

#else

int
os_memory_populate(void *address, size_t size)
{
    (void)address;
    (void)size;
    return -ENOSYS;
}

#endif

size_t
os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}
