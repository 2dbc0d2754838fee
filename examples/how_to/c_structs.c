/* c_structs KEY: write readings into a segment, for c_structs.py. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>

struct reading {
    char sensor[10];
    double value;
    long count;
    short flags;
};

int
main(int argc, char **argv)
{
    int id = argc == 2 ? shmget((key_t)strtol(argv[1], NULL, 10), 0, 0) : -1;
    if (id == -1) {
        perror("shmget");
        return 1;
    }
    struct reading *readings = shmat(id, NULL, 0);
    if (readings == (void *)-1) {
        perror("shmat");
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        struct reading reading = {"", 20.5 + i, 1000L * i, (short)i};
        (void)snprintf(reading.sensor, sizeof reading.sensor, "room %d", i);
        readings[i] = reading;
    }
    printf("%zu\n", sizeof(struct reading));
    return shmdt(readings) == 0 ? 0 : 1;
}
