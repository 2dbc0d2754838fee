/* The limits of the IPC namespace and how much of them is in use: IPC_INFO and
 * the commands SEM_INFO, SHM_INFO and MSG_INFO of semctl(2), shmctl(2) and
 * msgctl(2). */
#include "os/os.h"
#include "os/semun.h"

#include <errno.h>

#ifdef __linux__

int
os_limits_get(struct os_limits *limits)
{
    struct seminfo sem, sem_use;
    union semun sem_argument = {.__buf = &sem};
    union semun sem_use_argument = {.__buf = &sem_use};
    struct shminfo shm;
    struct shm_info shm_use;
    struct msginfo msg, msg_use;
    /* IPC_INFO reports the limits.  The other commands report what is in use,
     * in fields that are named after limits; see the man pages. */
    if (semctl(0, 0, IPC_INFO, sem_argument) == -1 ||
        semctl(0, 0, SEM_INFO, sem_use_argument) == -1 ||
        shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)&shm) == -1 ||
        shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&shm_use) == -1 ||
        msgctl(0, IPC_INFO, (struct msqid_ds *)(void *)&msg) == -1 ||
        msgctl(0, MSG_INFO, (struct msqid_ds *)(void *)&msg_use) == -1) {
        return -errno;
    }
    *limits = (struct os_limits){
        .semmsl = (unsigned int)sem.semmsl,
        .semmns = (unsigned int)sem.semmns,
        .semopm = (unsigned int)sem.semopm,
        .semmni = (unsigned int)sem.semmni,
        .shmmax = shm.shmmax,
        .shmall = shm.shmall,
        .shmmni = shm.shmmni,
        .msgmax = (unsigned int)msg.msgmax,
        .msgmnb = (unsigned int)msg.msgmnb,
        .msgmni = (unsigned int)msg.msgmni,
        .semaphore_sets = (unsigned int)sem_use.semusz,
        .semaphores = (unsigned int)sem_use.semaem,
        .segments = (unsigned int)shm_use.used_ids,
        .pages = shm_use.shm_tot,
        .resident_pages = shm_use.shm_rss,
        .swapped_pages = shm_use.shm_swp,
        .queues = (unsigned int)msg_use.msgpool,
        .messages = (unsigned int)msg_use.msgmap,
        .message_bytes = (unsigned int)msg_use.msgtql,
    };
    return 0;
}

ssize_t
os_msg_max(void)
{
    struct msginfo msg;
    int rc = msgctl(0, IPC_INFO, (struct msqid_ds *)(void *)&msg);
    return rc == -1 ? -errno : msg.msgmax;
}

#else

ssize_t
os_msg_max(void)
{
    return -ENOSYS;
}

int
os_limits_get(struct os_limits *limits)
{
    (void)limits;
    return -ENOSYS;
}

#endif
