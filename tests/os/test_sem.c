/* Tests of os/sem.c: values, waiting, errors, and two processes. */
#include "check.h"

#include <sys/resource.h>

static int
operate(int id, short delta, short flags, int64_t timeout_ns)
{
    struct sembuf operation = {.sem_op = delta, .sem_flg = flags};
    return os_sem_op(id, &operation, 1, timeout_ns);
}

static void
test_values(int id)
{
    struct os_info info;
    CHECK_EQUAL(os_sem_get_value(id, 0), 0);
    CHECK_EQUAL(os_sem_set_value(id, 1, 7), 0);
    CHECK_EQUAL(os_sem_get_value(id, 1), 7);
    CHECK_EQUAL(os_sem_set_value(id, 1, OS_SEM_VALUE_MAX + 1), -ERANGE);
    CHECK_EQUAL(os_sem_set_value(id, 3, 1), -EINVAL);
    unsigned short values[] = {4, 5, 6};
    CHECK_EQUAL(os_sem_set_all(id, values, 3), 0);
    CHECK_EQUAL(os_sem_get_value(id, 2), 6);
    /* The set has three members, so these calls are for another set. */
    unsigned short others[] = {1, 1, 1, 1};
    CHECK_EQUAL(os_sem_set_all(id, others, 2), -EIDRM);
    CHECK_EQUAL(os_sem_get_all(id, others, 2), -EIDRM);
    CHECK_EQUAL(os_sem_get_all(id, others, 4), -EIDRM);
    CHECK_EQUAL(others[0], 1);
    CHECK_EQUAL(os_sem_get_all(id, others, 3), 0);
    CHECK_EQUAL(others[1], 5);
    CHECK_EQUAL(others[3], 1);
    CHECK_EQUAL(os_sem_get_pid(id, 2), getpid());
    CHECK_EQUAL(os_sem_get_ncnt(id, 0), 0);
    CHECK_EQUAL(os_sem_get_zcnt(id, 0), 0);
    CHECK_EQUAL(os_sem_stat(id, &info), 0);
    CHECK_EQUAL(info.sem.nsems, 3);
    CHECK_EQUAL(info.mode, 0600);
    CHECK_EQUAL(info.key, 77);
    info.mode = 0640;
    CHECK_EQUAL(os_sem_set(id, &info), 0);
    CHECK_EQUAL(os_sem_stat(id, &info), 0);
    CHECK_EQUAL(info.mode, 0640);
}

static void
test_operations(int id)
{
    CHECK_EQUAL(os_sem_set_value(id, 0, 1), 0);
    CHECK_EQUAL(operate(id, -1, 0, OS_FOREVER), 0);
    CHECK_EQUAL(operate(id, -1, IPC_NOWAIT, OS_FOREVER), -EAGAIN);
    CHECK_EQUAL(operate(id, -1, 0, 0), -EAGAIN);
    int64_t start_ns = os_clock_ns();
    CHECK_EQUAL(operate(id, -1, 0, 20000000), -EAGAIN);
    CHECK(os_clock_ns() - start_ns >= 20000000);
    CHECK_EQUAL(operate(id, OS_SEM_VALUE_MAX, 0, OS_FOREVER), 0);
    CHECK_EQUAL(operate(id, 1, 0, OS_FOREVER), -ERANGE);
    struct sembuf past_end = {.sem_num = 3, .sem_op = 1};
    CHECK_EQUAL(os_sem_op(id, &past_end, 1, OS_FOREVER), -EFBIG);
}

static long
sleeps(void)
{
    struct rusage usage;
    CHECK_EQUAL(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_nvcsw;
}

/* os_sem_op() with timeout 0 does not put the thread to sleep, which
 * semtimedop(2) would do even then. */
static void
test_attempts_without_time(int id)
{
    struct sembuf operations[OS_SEM_TRIED_MAX] = {{.sem_op = -1}};
    CHECK_EQUAL(os_sem_set_value(id, 0, 0), 0);
    long before = sleeps();
    for (int i = 0; i < 1000; i++) {
        CHECK_EQUAL(operate(id, -1, 0, 0), -EAGAIN);
        CHECK_EQUAL(os_sem_op(id, operations, OS_SEM_TRIED_MAX, 0), -EAGAIN);
    }
    CHECK(sleeps() - before < 100);
    CHECK_EQUAL(operations[0].sem_flg, 0);
}

/* A child waits until the parent adds to the value. */
static void
test_two_processes(int id)
{
    CHECK_EQUAL(os_sem_set_value(id, 0, 0), 0);
    pid_t child = fork();
    if (child == 0) {
        struct sembuf operation = {.sem_op = -2};
        struct os_call call = {
            .attempt = os_sem_op_attempt,
            .id = id,
            .size = 1,
            .operations = &operation,
        };
        _exit(call.attempt(&call, OS_FOREVER) == 0 ? 0 : 1);
    }
    while (os_sem_get_ncnt(id, 0) == 0) {
        CHECK_EQUAL(os_sleep_ns(100000), 0);
    }
    CHECK_EQUAL(operate(id, 2, 0, OS_FOREVER), 0);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(os_sem_get_value(id, 0), 0);
}

int
main(void)
{
    enter_namespace();
    CHECK_EQUAL(os_sem_get(77, 3, 0), -ENOENT);
    int id = os_sem_get(77, 3, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(id >= 0);
    CHECK_EQUAL(os_sem_get(77, 3, IPC_CREAT | IPC_EXCL | 0600), -EEXIST);
    CHECK_EQUAL(os_sem_get(77, 0, 0), id);
    CHECK_EQUAL(os_sem_get(77, 4, 0), -EINVAL);
    test_values(id);
    test_operations(id);
    test_attempts_without_time(id);
    test_two_processes(id);
    CHECK_EQUAL(os_sem_remove(id), 0);
    CHECK_EQUAL(os_sem_remove(id), -EINVAL);
    CHECK_EQUAL(os_sem_get_value(id, 0), -EINVAL);
    CHECK_EQUAL(operate(-1, 1, 0, OS_FOREVER), -EINVAL);
    return 0;
}
