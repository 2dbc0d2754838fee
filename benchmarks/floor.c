/* The floor: the system calls of the library in C loops.
 *
 * Each function repeats its work count times and returns the nanoseconds that
 * this took by CLOCK_MONOTONIC, or -errno.  All arguments have 64 bits, so
 * that calls through ctypes are correct without declared types. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

#define OPERATIONS_MAX 500
#define MESSAGE_MAX 65536
#define MEMBERS_MAX 32000
#define THREADS_MAX 1000

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

struct message {
    long type;
    char text[MESSAGE_MAX];
};

static int64_t
now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Subtract 1 from the first members of a set, then add 1 to them. */
int64_t
floor_sem_pair(int64_t id, int64_t members, int64_t count)
{
    struct sembuf take[OPERATIONS_MAX], give[OPERATIONS_MAX];
    for (int64_t i = 0; i < members; i++) {
        take[i] = (struct sembuf){(unsigned short)i, -1, IPC_NOWAIT};
        give[i] = (struct sembuf){(unsigned short)i, 1, IPC_NOWAIT};
    }
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (semop((int)id, take, (size_t)members) == -1 ||
            semop((int)id, give, (size_t)members) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

/* Try to subtract from a semaphore whose value is 0. */
int64_t
floor_sem_busy(int64_t id, int64_t count)
{
    struct sembuf take = {0, -1, IPC_NOWAIT};
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (semop((int)id, &take, 1) == 0 || errno != EAGAIN) {
            return -EINVAL;
        }
    }
    return now_ns() - start;
}

/* Send, then receive, stride messages at a time. */
int64_t
floor_msg_pair(int64_t id, int64_t size, int64_t stride, int64_t count)
{
    static _Thread_local struct message message;
    size_t bytes = (size_t)size;
    message.type = 1;
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = 0; k < stride; k++) {
            if (msgsnd((int)id, &message, bytes, IPC_NOWAIT) == -1) {
                return -errno;
            }
        }
        for (int64_t k = 0; k < stride; k++) {
            if (msgrcv((int)id, &message, bytes, 0, IPC_NOWAIT) == -1) {
                return -errno;
            }
        }
    }
    return now_ns() - start;
}

/* The two sides of a queue.  Both wait. */
int64_t
floor_msg_send(int64_t id, int64_t size, int64_t type, int64_t count)
{
    static _Thread_local struct message message;
    message.type = (long)type;
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (msgsnd((int)id, &message, (size_t)size, 0) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

int64_t
floor_msg_receive(int64_t id, int64_t size, int64_t type, int64_t count)
{
    static _Thread_local struct message message;
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (msgrcv((int)id, &message, (size_t)size, (long)type, 0) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

/* Send a message and receive an answer.  One of the two sides sends first. */
int64_t
floor_msg_ping(int64_t id, int64_t size, int64_t first, int64_t count)
{
    static _Thread_local struct message message;
    size_t bytes = (size_t)size;
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        message.type = 1;
        if (first && msgsnd((int)id, &message, bytes, 0) == -1) {
            return -errno;
        }
        if (msgrcv((int)id, &message, bytes, first ? 2 : 1, 0) == -1) {
            return -errno;
        }
        message.type = 2;
        if (!first && msgsnd((int)id, &message, bytes, 0) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

/* Open by key.  If look is true, also read the pid of the last operation. */
int64_t
floor_sem_open(int64_t key, int64_t look, int64_t count)
{
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        int id = semget((key_t)key, 0, 0600);
        if (id == -1 || (look && semctl(id, 0, GETPID) == -1)) {
            return -errno;
        }
    }
    return now_ns() - start;
}

int64_t
floor_msg_open(int64_t key, int64_t count)
{
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (msgget((key_t)key, 0600) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

/* Open by key, attach, read the size if look is true, and detach. */
int64_t
floor_shm_open(int64_t key, int64_t look, int64_t count)
{
    struct shmid_ds record;
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        int id = shmget((key_t)key, 0, 0600);
        void *address = id == -1 ? (void *)-1 : shmat(id, NULL, 0);
        if (address == (void *)-1 ||
            (look && shmctl(id, IPC_STAT, &record) == -1) ||
            shmdt(address) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

/* Create, attach, detach and remove a segment. */
int64_t
floor_shm_create(int64_t size, int64_t count)
{
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        int id = shmget(IPC_PRIVATE, (size_t)size, IPC_CREAT | 0600);
        void *address = id == -1 ? (void *)-1 : shmat(id, NULL, 0);
        if (address == (void *)-1 || shmdt(address) == -1 ||
            shmctl(id, IPC_RMID, NULL) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

int64_t
floor_copy(int64_t to, int64_t from, int64_t size, int64_t count)
{
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        memcpy((void *)(intptr_t)to, (const void *)(intptr_t)from,
               (size_t)size);
    }
    return now_ns() - start;
}

/* Create and remove a semaphore set, or (below) a queue. */
int64_t
floor_sem_create(int64_t members, int64_t count)
{
    static _Thread_local unsigned short values[MEMBERS_MAX];
    union semun all = {.array = values};
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        int id = semget(IPC_PRIVATE, (int)members, IPC_CREAT | 0600);
        if (id == -1 || semctl(id, 0, SETALL, all) == -1 ||
            semctl(id, 0, IPC_RMID) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

int64_t
floor_msg_create(int64_t count)
{
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
        if (id == -1 || msgctl(id, IPC_RMID, NULL) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

/* Read all values of a set, or write them if write is true. */
int64_t
floor_sem_values(int64_t id, int64_t write, int64_t count)
{
    static _Thread_local unsigned short values[MEMBERS_MAX];
    union semun all = {.array = values};
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (semctl((int)id, 0, write ? SETALL : GETALL, all) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

static void *
receive_one(void *id)
{
    struct {
        long type;
        char text[64];
    } message;
    (void)msgrcv((int)(intptr_t)id, &message, sizeof(message.text), 0, 0);
    return NULL;
}

/* Start threads that each receive one message.  Measure from the first
 * message, when all threads wait, until the last thread has ended. */
int64_t
floor_msg_waiters(int64_t id, int64_t threads, int64_t nap_ns, int64_t count)
{
    static pthread_t waiting[THREADS_MAX];
    const struct timespec nap = {nap_ns / 1000000000, nap_ns % 1000000000};
    struct {
        long type;
        char text[64];
    } message = {.type = 1};
    int64_t took = 0;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = 0; k < threads; k++) {
            int rc = pthread_create(&waiting[k], NULL, receive_one,
                                    (void *)(intptr_t)id);
            if (rc != 0) {
                return -rc;
            }
        }
        (void)nanosleep(&nap, NULL);
        int64_t start = now_ns();
        for (int64_t k = 0; k < threads; k++) {
            if (msgsnd((int)id, &message, sizeof(message.text), 0) == -1) {
                return -errno;
            }
        }
        for (int64_t k = 0; k < threads; k++) {
            (void)pthread_join(waiting[k], NULL);
        }
        took += now_ns() - start;
    }
    return took;
}

/* Subtract 1 and add 1, waiting while another thread or process has the
 * semaphore. */
int64_t
floor_sem_contend(int64_t id, int64_t count)
{
    struct sembuf take = {0, -1, 0}, give = {0, 1, 0};
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (semop((int)id, &take, 1) == -1 || semop((int)id, &give, 1) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}

/* Send to a queue and receive from it, waiting until there is room, or a
 * message. */
int64_t
floor_msg_contend(int64_t id, int64_t size, int64_t count)
{
    static _Thread_local struct message message;
    size_t bytes = (size_t)size;
    message.type = 1;
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (msgsnd((int)id, &message, bytes, 0) == -1 ||
            msgrcv((int)id, &message, bytes, 0, 0) == -1) {
            return -errno;
        }
    }
    return now_ns() - start;
}
