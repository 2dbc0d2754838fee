/* A peer for semaphores: semaphore KEY, then commands; see peer.h. */
#include "peer.h"

#include <sys/sem.h>

enum { MEMBERS_MAX = 32000, OPERATIONS_MAX = 500 };

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static int id = -1;

static void
operate(const struct command *command)
{
    struct sembuf operation = {
        .sem_num = (unsigned short)number(command, 1),
        .sem_op = (short)number(command, 2),
        .sem_flg = (short)((has(command, 3, "undo") ? SEM_UNDO : 0) |
                           (has(command, 3, "nowait") ? IPC_NOWAIT : 0)),
    };
    answer(semop(id, &operation, 1));
}

/* Convert numbers that are separated by commas. */
static int
numbers_of(const char *word, long *numbers, int limit)
{
    int count = 0;
    char *end = NULL;
    while (count < limit && *word != '\0') {
        numbers[count++] = strtol(word, &end, 10);
        word = *end == ',' ? end + 1 : end;
    }
    return count;
}

/* Do the operations of one word: member,delta,flags,member,delta,flags ... */
static void
operate_together(const struct command *command)
{
    static long numbers[3 * OPERATIONS_MAX];
    static struct sembuf operations[OPERATIONS_MAX];
    int count = numbers_of(command->words[1], numbers, 3 * OPERATIONS_MAX) / 3;
    for (int i = 0; i < count; i++) {
        operations[i].sem_num = (unsigned short)numbers[3 * i];
        operations[i].sem_op = (short)numbers[3 * i + 1];
        operations[i].sem_flg = (short)numbers[3 * i + 2];
    }
    answer(semop(id, operations, (size_t)count));
}

static void
set_values(const struct command *command)
{
    static long numbers[MEMBERS_MAX];
    static unsigned short values[MEMBERS_MAX];
    int count = numbers_of(command->words[1], numbers, MEMBERS_MAX);
    for (int i = 0; i < count; i++) {
        values[i] = (unsigned short)numbers[i];
    }
    union semun argument = {.array = values};
    answer(semctl(id, 0, SETALL, argument));
}

static int
stat_set(struct semid_ds *data)
{
    union semun argument = {.buf = data};
    return semctl(id, 0, IPC_STAT, argument);
}

static void
print_stat(void)
{
    struct semid_ds data;
    if (stat_set(&data) == -1) {
        answer(-1);
        return;
    }
    printf("%u %u %u %u %u %lu %ld %ld", data.sem_perm.mode, data.sem_perm.uid,
           data.sem_perm.gid, data.sem_perm.cuid, data.sem_perm.cgid,
           (unsigned long)data.sem_nsems, (long)data.sem_otime,
           (long)data.sem_ctime);
    end_answer();
}

static void
set_mode(int mode)
{
    struct semid_ds data;
    union semun argument = {.buf = &data};
    int rc = stat_set(&data);
    data.sem_perm.mode = (unsigned short)mode;
    answer(rc == -1 ? rc : semctl(id, 0, IPC_SET, argument));
}

static void
print_values(void)
{
    static unsigned short values[MEMBERS_MAX];
    struct semid_ds data;
    union semun argument = {.array = values};
    if (stat_set(&data) == -1 || semctl(id, 0, GETALL, argument) == -1) {
        answer(-1);
        return;
    }
    for (unsigned long i = 0; i < data.sem_nsems; i++) {
        printf(i == 0 ? "%u" : " %u", values[i]);
    }
    end_answer();
}

static void
run_command(key_t key, const struct command *command)
{
    if (is(command, "create")) {
        int flags = IPC_CREAT | IPC_EXCL | octal(command, 2);
        answer(id = semget(key, (int)number(command, 1), flags));
    }
    else if (is(command, "open")) {
        answer(id = semget(key, 0, 0));
    }
    else if (is(command, "set")) {
        union semun argument = {.val = (int)number(command, 2)};
        answer(semctl(id, (int)number(command, 1), SETVAL, argument));
    }
    else if (is(command, "operate")) {
        operate(command);
    }
    else if (is(command, "together")) {
        operate_together(command);
    }
    else if (is(command, "setall")) {
        set_values(command);
    }
    else if (is(command, "values")) {
        print_values();
    }
    else if (is(command, "waiting")) {
        int member = (int)number(command, 1);
        printf("%d %d", semctl(id, member, GETNCNT),
               semctl(id, member, GETZCNT));
        end_answer();
    }
    else if (is(command, "pid")) {
        answer(semctl(id, (int)number(command, 1), GETPID));
    }
    else if (is(command, "stat")) {
        print_stat();
    }
    else if (is(command, "mode")) {
        set_mode(octal(command, 1));
    }
    else if (is(command, "remove")) {
        answer(semctl(id, 0, IPC_RMID));
    }
}

int
main(int argc, char **argv)
{
    static struct command command;
    while (argc == 2 && next_command(&command)) {
        run_command((key_t)strtol(argv[1], NULL, 10), &command);
    }
    return 0;
}
