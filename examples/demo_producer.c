/* The C side of demo.py: a producer that does not use Python.
 *
 *     demo_producer PATH SAMPLES
 *
 * It creates three objects, whose keys are ftok(PATH, 'S'), ftok(PATH, 'M')
 * and ftok(PATH, 'Q'):
 *
 * - a semaphore that guards the segment: its value is the number of slots that
 *   may be written;
 * - a segment of SLOTS slots, each for one sample;
 * - a queue.  For each sample the producer sends a message of type ANNOUNCE
 *   with the number of the sample, in digits.  The last message has the type
 *   DONE and contains the number of samples.
 *
 * The consumer adds one to the semaphore after it has read a sample.  At the
 * end it removes the three objects. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/types.h>
#include <unistd.h>

enum { SLOTS = 8, ANNOUNCE = 1, DONE = 2, MODE = 0600, TIMEOUT_SECONDS = 60 };

/* The contents of a slot: no padding, in the machine's byte order. */
struct sample {
    int64_t number;
    int64_t square;
};

struct announcement {
    long type;
    char text[32];
};

/* POSIX requires the callers of semctl(2) to define this union. */
union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static int semaphore = -1;
static int segment = -1;
static int queue = -1;

/* The consumer cannot use the objects before all three exist, so remove
 * them. */
static void
fail_to_create(const char *what)
{
    fprintf(stderr, "cannot create the %s: %s\n", what, strerror(errno));
    if (semaphore >= 0) {
        (void)semctl(semaphore, 0, IPC_RMID);
    }
    if (segment >= 0) {
        (void)shmctl(segment, IPC_RMID, NULL);
    }
    exit(1);
}

static void
fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sample *
create(const char *path)
{
    int flags = IPC_CREAT | IPC_EXCL | MODE;
    union semun all_slots = {.val = SLOTS};
    semaphore = semget(ftok(path, 'S'), 1, flags);
    if (semaphore < 0 || semctl(semaphore, 0, SETVAL, all_slots) < 0) {
        fail_to_create("semaphore");
    }
    segment = shmget(ftok(path, 'M'), SLOTS * sizeof(struct sample), flags);
    if (segment < 0) {
        fail_to_create("segment");
    }
    struct sample *slots = shmat(segment, NULL, 0);
    if (slots == (void *)-1) {
        fail_to_create("attachment");
    }
    queue = msgget(ftok(path, 'Q'), flags);
    if (queue < 0) {
        fail_to_create("queue");
    }
    return slots;
}

static void
announce(long type, int64_t number)
{
    struct announcement message = {.type = type};
    int length = snprintf(message.text, sizeof(message.text), "%lld",
                          (long long)number);
    if (msgsnd(queue, &message, (size_t)length, 0) < 0) {
        fail("cannot announce a sample");
    }
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: demo_producer PATH SAMPLES\n");
        return 2;
    }
    /* If the consumer dies, no slots become free any more. */
    (void)alarm(TIMEOUT_SECONDS);
    struct sample *slots = create(argv[1]);
    printf("C, pid %d: made a semaphore, a segment of %d slots and a queue\n",
           (int)getpid(), SLOTS);
    (void)fflush(stdout);

    int64_t samples = atoll(argv[2]);
    for (int64_t number = 0; number < samples; number++) {
        struct sembuf take_slot = {.sem_num = 0, .sem_op = -1};
        if (semop(semaphore, &take_slot, 1) < 0) {
            fail("cannot wait for a free slot");
        }
        slots[number % SLOTS] = (struct sample){
            .number = number,
            .square = number * number,
        };
        announce(ANNOUNCE, number);
    }
    announce(DONE, samples);
    return 0;
}
