/* Tests of os/msg.c: messages, limits, and threads that send and receive at
 * the same time. */
#include <pthread.h>

#include "check.h"

struct message {
    long type;
    char text[64];
};

static void
test_messages(int id)
{
    struct message out = {.type = 5, .text = "hello"}, in = {0};
    CHECK_EQUAL(os_msg_receive(id, &in, 64, 0, IPC_NOWAIT), -ENOMSG);
    CHECK_EQUAL(os_msg_send(id, &out, 5, IPC_NOWAIT), 0);
    CHECK_EQUAL(os_msg_receive(id, &in, 4, 0, IPC_NOWAIT), -E2BIG);
    CHECK_EQUAL(os_msg_receive(id, &in, 64, -5, IPC_NOWAIT), 5);
    CHECK_EQUAL(in.type, 5);
    CHECK(memcmp(in.text, "hello", 5) == 0);
    out.type = 0;
    CHECK_EQUAL(os_msg_send(id, &out, 5, IPC_NOWAIT), -EINVAL);
}

static void
test_full_queue(int id)
{
    struct os_info info;
    struct message out = {.type = 1}, in = {0};
    CHECK_EQUAL(os_msg_stat(id, &info), 0);
    info.msg.max_size = 100;
    CHECK_EQUAL(os_msg_set(id, &info), 0);
    CHECK_EQUAL(os_msg_send(id, &out, 64, IPC_NOWAIT), 0);
    CHECK_EQUAL(os_msg_send(id, &out, 64, IPC_NOWAIT), -EAGAIN);
    CHECK_EQUAL(os_msg_stat(id, &info), 0);
    CHECK_EQUAL(info.msg.current_messages, 1);
    CHECK_EQUAL(info.msg.current_bytes, 64);
    CHECK_EQUAL(info.msg.last_send_pid, getpid());
    CHECK_EQUAL(os_msg_receive(id, &in, 64, 0, 0), 64);
}

#define COUNT 2000

static void *
send_all(void *argument)
{
    struct message out = {.type = 1};
    struct os_call call = {
        .attempt = os_msg_send_attempt,
        .id = *(int *)argument,
        .size = sizeof(int),
        .message = &out,
    };
    for (int i = 0; i < COUNT; i++) {
        memcpy(out.text, &i, sizeof(i));
        CHECK_EQUAL(call.attempt(&call, OS_FOREVER), 0);
    }
    return NULL;
}

static void
test_threads(int id)
{
    pthread_t sender;
    struct message in = {0};
    struct os_call call = {
        .attempt = os_msg_receive_attempt,
        .id = id,
        .size = sizeof(in.text),
        .message = &in,
    };
    CHECK_EQUAL(pthread_create(&sender, NULL, send_all, &id), 0);
    for (int i = 0; i < COUNT; i++) {
        int number;
        CHECK_EQUAL(call.attempt(&call, OS_FOREVER), sizeof(int));
        memcpy(&number, in.text, sizeof(number));
        CHECK_EQUAL(number, i);
    }
    CHECK_EQUAL(pthread_join(sender, NULL), 0);
}

int
main(void)
{
    enter_namespace();
    int id = os_msg_get(80, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(id >= 0);
    CHECK_EQUAL(os_msg_get(80, 0), id);
    CHECK_EQUAL(os_msg_get(81, 0), -ENOENT);
    test_messages(id);
    test_full_queue(id);
    struct os_limits limits;
    CHECK_EQUAL(os_limits_get(&limits), 0);
    CHECK_EQUAL(os_msg_max(), (ssize_t)limits.msgmax);
    test_threads(id);
    CHECK_EQUAL(os_msg_remove(id), 0);
    CHECK_EQUAL(os_msg_remove(id), -EINVAL);
    return 0;
}
