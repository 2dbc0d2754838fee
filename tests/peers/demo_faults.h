/* Faults for examples/demo_producer.c.  The tests compile it with -include of
 * this file and one -DFAULT_... option.  A fault happens at announcement 5,
 * except those in faulty_shmget(). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <unistd.h>

enum { FAULTY_ANNOUNCEMENT = 5, FAULTY_DONE = 2 };

static int64_t *faulty_slots;

static inline int
faulty_shmget(key_t key, size_t size, int flags)
{
#ifdef FAULT_NO_SEGMENT
    (void)key, (void)size, (void)flags;
    errno = ENOSPC;
    return -1;
#endif
#ifdef FAULT_KILLED_EARLY
    (void)raise(SIGKILL);
#endif
    return shmget(key, size, flags);
}

static inline void *
faulty_shmat(int id, const void *address, int flags)
{
    faulty_slots = shmat(id, address, flags);
    return faulty_slots;
}

#ifdef FAULT_STAYS_ATTACHED
/* Fork a child that keeps the segment attached until the other end of a named
 * pipe is closed. */
static inline void
keep_attached(void)
{
    if (fork() == 0) {
        char byte;
        (void)alarm(60);
        int pipe = open(getenv("HELD_BY"), O_RDONLY);
        for (int fd = 0; fd < 3; fd++) {
            (void)close(fd);
        }
        while (read(pipe, &byte, 1) > 0) {
        }
        _exit(0);
    }
}
#endif

static inline int
faulty_msgsnd(int id, const void *message, size_t size, int flags)
{
    static int sent;
    if (sent++ != FAULTY_ANNOUNCEMENT) {
        return msgsnd(id, message, size, flags);
    }
#ifdef FAULT_KILLED
    (void)raise(SIGKILL);
#endif
#ifdef FAULT_EXITS
    _exit(3);
#endif
#ifdef FAULT_STOPS
    (void)pause();
#endif
#ifdef FAULT_FORGETS
    return 0;
#endif
#ifdef FAULT_ENDS_EARLY
    const struct {
        long type;
        char text[1];
    } done = {FAULTY_DONE, {'0' + FAULTY_ANNOUNCEMENT}};
    return msgsnd(id, &done, sizeof(done.text), flags);
#endif
#ifdef FAULT_MISCALCULATES
    faulty_slots[2 * FAULTY_ANNOUNCEMENT + 1] += 1;
#endif
#ifdef FAULT_STAYS_ATTACHED
    keep_attached();
#endif
    return msgsnd(id, message, size, flags);
}

#define shmget faulty_shmget
#define shmat faulty_shmat
#define msgsnd faulty_msgsnd
