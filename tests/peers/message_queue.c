/* A peer for queues: message_queue KEY, then commands; see peer.h. */
#include "peer.h"

#include <sys/msg.h>

static int id = -1;

static struct {
    long type;
    char text[65536];
} message;

static void
send_message(const struct command *command)
{
    message.type = number(command, 1);
    size_t size = bytes_of(command->words[2], message.text);
    int flags = has(command, 3, "nowait") ? IPC_NOWAIT : 0;
    answer(msgsnd(id, &message, size, flags));
}

static void
receive_message(const struct command *command)
{
    int flags = has(command, 3, "nowait") ? IPC_NOWAIT : 0;
    ssize_t size = msgrcv(id, &message, (size_t)number(command, 1),
                          number(command, 2), flags);
    if (size == -1) {
        answer(-1);
        return;
    }
    printf("%ld ", message.type);
    print_bytes(message.text, (size_t)size);
    end_answer();
}

static void
print_stat(void)
{
    struct msqid_ds data;
    if (msgctl(id, IPC_STAT, &data) == -1) {
        answer(-1);
        return;
    }
    printf("%u %u %u %u %u %lu %lu %d %d %ld %ld %ld", data.msg_perm.mode,
           data.msg_perm.uid, data.msg_perm.gid, data.msg_perm.cuid,
           data.msg_perm.cgid, (unsigned long)data.msg_qnum,
           (unsigned long)data.msg_qbytes, (int)data.msg_lspid,
           (int)data.msg_lrpid, (long)data.msg_stime, (long)data.msg_rtime,
           (long)data.msg_ctime);
    end_answer();
}

static void
set_mode_and_size(int mode, unsigned long size)
{
    struct msqid_ds data;
    int rc = msgctl(id, IPC_STAT, &data);
    data.msg_perm.mode = (unsigned short)mode;
    data.msg_qbytes = size;
    answer(rc == -1 ? rc : msgctl(id, IPC_SET, &data));
}

static void
run_command(key_t key, const struct command *command)
{
    if (is(command, "create")) {
        answer(id = msgget(key, IPC_CREAT | IPC_EXCL | octal(command, 1)));
    }
    else if (is(command, "open")) {
        answer(id = msgget(key, 0));
    }
    else if (is(command, "send")) {
        send_message(command);
    }
    else if (is(command, "receive")) {
        receive_message(command);
    }
    else if (is(command, "stat")) {
        print_stat();
    }
    else if (is(command, "mode")) {
        set_mode_and_size(octal(command, 1),
                          (unsigned long)number(command, 2));
    }
    else if (is(command, "remove")) {
        answer(msgctl(id, IPC_RMID, NULL));
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
