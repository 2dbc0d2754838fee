/* A peer for segments: shared_memory KEY, then commands; see peer.h. */
#include "peer.h"

#include <sys/shm.h>

static int id = -1;
static char *memory;

static void
attach(int flags)
{
    void *address = shmat(id, NULL, flags);
    if (address == (void *)-1) {
        answer(-1);
        return;
    }
    memory = address;
    answer(0);
}

static void
print_stat(void)
{
    struct shmid_ds data;
    if (shmctl(id, IPC_STAT, &data) == -1) {
        answer(-1);
        return;
    }
    printf("%u %u %u %u %u %zu %d %d %lu %ld %ld %ld", data.shm_perm.mode,
           data.shm_perm.uid, data.shm_perm.gid, data.shm_perm.cuid,
           data.shm_perm.cgid, data.shm_segsz, (int)data.shm_cpid,
           (int)data.shm_lpid, (unsigned long)data.shm_nattch,
           (long)data.shm_atime, (long)data.shm_dtime, (long)data.shm_ctime);
    end_answer();
}

static void
set_mode(int mode)
{
    struct shmid_ds data;
    int rc = shmctl(id, IPC_STAT, &data);
    data.shm_perm.mode = (unsigned short)mode;
    answer(rc == -1 ? rc : shmctl(id, IPC_SET, &data));
}

static void
run_command(key_t key, const struct command *command)
{
    if (is(command, "create")) {
        int flags = IPC_CREAT | IPC_EXCL | octal(command, 2);
        answer(id = shmget(key, (size_t)number(command, 1), flags));
    }
    else if (is(command, "open")) {
        answer(id = shmget(key, 0, 0));
    }
    else if (is(command, "attach")) {
        attach(has(command, 1, "readonly") ? SHM_RDONLY : 0);
    }
    else if (is(command, "detach")) {
        answer(shmdt(memory));
    }
    else if (is(command, "write")) {
        answer((long)bytes_of(command->words[2], memory + number(command, 1)));
    }
    else if (is(command, "read")) {
        print_bytes(memory + number(command, 1), (size_t)number(command, 2));
        end_answer();
    }
    else if (is(command, "stat")) {
        print_stat();
    }
    else if (is(command, "mode")) {
        set_mode(octal(command, 1));
    }
    else if (is(command, "remove")) {
        answer(shmctl(id, IPC_RMID, NULL));
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
