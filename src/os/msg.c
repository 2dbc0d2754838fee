/* Message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2). */
#include "os/os.h"

#include <errno.h>

int
os_msg_get(key_t key, int flags)
{
    return (int)OS_CALL(msgget, key, flags);
}

int
os_msg_send(int id, const void *message, size_t size, int flags)
{
    return (int)OS_CALL(msgsnd, id, message, size, flags);
}

ssize_t
os_msg_receive(int id, void *message, size_t size, long type, int flags)
{
    return OS_CALL(msgrcv, id, message, size, type, flags);
}

/* The kernel has no msgsnd() or msgrcv() with a timeout: unless the timeout
 * is 0, these wait without limit, and a signal must end them. */
ssize_t
os_msg_send_attempt(const struct os_call *call, int64_t timeout_ns)
{
    int flags = call->flags | (timeout_ns == 0 ? IPC_NOWAIT : 0);
    return os_msg_send(call->id, call->message, call->size, flags);
}

ssize_t
os_msg_receive_attempt(const struct os_call *call, int64_t timeout_ns)
{
    int flags = call->flags | (timeout_ns == 0 ? IPC_NOWAIT : 0);
    return os_msg_receive(call->id, call->message, call->size, call->type,
                          flags);
}

#ifdef __APPLE__
#define MSG_KEY(perm) ((perm)._key)
#elif defined(__FreeBSD__)
#define MSG_KEY(perm) ((perm).key)
#else
#define MSG_KEY(perm) ((perm).__key)
#endif

#ifdef __linux__
#define MSG_BYTES(data) ((data).__msg_cbytes)
#else
#define MSG_BYTES(data) ((data).msg_cbytes)
#endif

/* One of the commands that fill a struct msqid_ds. */
static int
msg_read(int id, int command, struct os_info *info)
{
    struct msqid_ds data = {0};
    int rc = (int)OS_CALL(msgctl, id, command, &data);
    if (rc < 0) {
        return rc;
    }
    *info = (struct os_info){
        .key = MSG_KEY(data.msg_perm),
        .uid = data.msg_perm.uid,
        .gid = data.msg_perm.gid,
        .cuid = data.msg_perm.cuid,
        .cgid = data.msg_perm.cgid,
        .mode = OS_MODE_READ(data.msg_perm.mode) & OS_MODE_MASK,
        .last_change_time = data.msg_ctime,
        .msg =
            {
                .current_messages = data.msg_qnum,
                .current_bytes = MSG_BYTES(data),
                .max_size = data.msg_qbytes,
                .last_send_time = data.msg_stime,
                .last_receive_time = data.msg_rtime,
                .last_send_pid = data.msg_lspid,
                .last_receive_pid = data.msg_lrpid,
            },
    };
    return rc;
}

int
os_msg_stat(int id, struct os_info *info)
{
    return msg_read(id, IPC_STAT, info);
}

#ifdef __linux__

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif

int
os_msg_list(int place, struct os_info *info)
{
    return os_list(msg_read, place, MSG_STAT_ANY, MSG_STAT, info);
}

int
os_msg_last_place(void)
{
    struct msqid_ds data;
    /* The kernel fills a struct msginfo, which is smaller. */
    return (int)OS_CALL(msgctl, 0, MSG_INFO, &data);
}

#else

int
os_msg_list(int place, struct os_info *info)
{
    (void)place;
    (void)info;
    return -ENOSYS;
}

int
os_msg_last_place(void)
{
    return -ENOSYS;
}

#endif

int
os_msg_set(int id, const struct os_info *info)
{
    struct msqid_ds data = {
        .msg_perm =
            {
                .uid = info->uid,
                .gid = info->gid,
                .mode = OS_MODE_WRITE(info->mode),
            },
        .msg_qbytes = (msglen_t)info->msg.max_size,
    };
    return (int)OS_CALL(msgctl, id, IPC_SET, &data);
}

int
os_msg_remove(int id)
{
    return (int)OS_CALL(msgctl, id, IPC_RMID, NULL);
}
