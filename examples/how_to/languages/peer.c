/* peer KEY TYPE: the C side of python.py. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

struct record {
    long count;
    char text[56];
};

struct message {
    long type; /* not part of the bytes that Python receives */
    char text[64];
};

static void
fail(const char *what)
{
    perror(what);
    exit(1);
}

static void
change_lock(int set, short delta)
{
    struct sembuf operation = {0, delta, SEM_UNDO};
    while (semop(set, &operation, 1) == -1) {
        if (errno != EINTR) {
            fail("semop");
        }
    }
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: peer KEY TYPE\n");
        return 2;
    }
    key_t key = (key_t)strtol(argv[1], NULL, 10);
    int set = semget(key, 0, 0); /* 0: a set of any size */
    int segment = shmget(key, 0, 0);
    int queue = msgget(key, 0);
    if (set == -1 || segment == -1 || queue == -1) {
        fail("cannot open the objects");
    }
    struct record *record = shmat(segment, NULL, 0);
    if (record == (void *)-1) {
        fail("shmat");
    }

    change_lock(set, -1);
    record->count += 1;
    (void)snprintf(record->text, sizeof record->text, "written by C");
    change_lock(set, +1);

    struct message message = {atol(argv[2]), "hello from C"};
    /* Without the NUL byte; sizeof message.text would send 64 bytes. */
    if (msgsnd(queue, &message, strlen(message.text), 0) == -1) {
        fail("msgsnd");
    }
    return 0;
}
