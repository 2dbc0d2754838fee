/* Tests of os/wait/: deadlines, cancelling and forking, with threads at every
 * point of a wait. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

struct message {
    long type;
    char text[16];
};

static ssize_t
receive(struct os_wait_owner *owner, int id, struct message *message,
        int64_t timeout_ns)
{
    struct os_call call = {
        .attempt = os_msg_receive_attempt,
        .id = id,
        .size = sizeof(message->text),
        .message = message,
    };
    return wait_for(owner, &call, timeout_ns);
}

static void
cancel(struct os_wait_owner *owner)
{
    os_wait_cancel(owner);
    while (os_wait_interrupt(owner)) {
        (void)os_sleep_ns(5000);
    }
}

static void
test_deadlines(int id)
{
    struct message in;
    int64_t start_ns = os_clock_ns();
    struct os_wait_owner owner = {0};
    CHECK_EQUAL(receive(&owner, id, &in, 0), -ENOMSG);
    CHECK_EQUAL(receive(&owner, id, &in, 5000000), -ENOMSG);
    CHECK(os_clock_ns() - start_ns >= 5000000);
}

/* A call that succeeds at the attempt with this number, or when it waits. */
struct counted {
    int succeeds_at, tries, waits;
};

static ssize_t
counted_attempt(const struct os_call *call, int64_t timeout_ns)
{
    struct counted *counted = call->message;
    if (timeout_ns != 0) {
        counted->waits++;
        return 0;
    }
    return ++counted->tries == counted->succeeds_at ? 0 : -EAGAIN;
}

static struct counted
wait_counting(int succeeds_at)
{
    struct counted counted = {.succeeds_at = succeeds_at};
    struct os_wait_owner owner = {0};
    struct os_call call = {.attempt = counted_attempt, .message = &counted};
    CHECK_EQUAL(wait_for(&owner, &call, OS_FOREVER), 0);
    return counted;
}

static void
test_spinning(void)
{
    /* A result that comes soon is found by spinning, except if the thread is
     * delayed for longer than it spins. */
    int slept = 0;
    for (int i = 0; i < 640; i++) {
        slept += wait_counting(3).waits;
    }
    CHECK(slept < 320);
    /* If results never come soon, spinning becomes rare. */
    int spun = 0;
    for (int i = 0; i < 640; i++) {
        struct counted counted = wait_counting(0);
        CHECK_EQUAL(counted.waits, 1);
        spun += counted.tries > 0;
    }
    CHECK(spun > 0 && spun <= 20);
    /* If results come soon again, spinning resumes. */
    slept = 0;
    for (int i = 0; i < 640; i++) {
        slept += wait_counting(3).waits;
    }
    CHECK(slept < 320);
}

static void
test_the_signal(void)
{
    int before = os_wait_get_signal();
    CHECK(before > 0);
    CHECK_EQUAL(os_wait_set_signal(SIGKILL), -EINVAL);
    CHECK_EQUAL(os_wait_set_signal(SIGSEGV), -EINVAL);
    CHECK_EQUAL(os_wait_set_signal(OS_WAIT_POLLS), 0);
    CHECK_EQUAL(os_wait_get_signal(), OS_WAIT_POLLS);
    CHECK_EQUAL(os_wait_set_signal(before), 0);
}

#define MESSAGES 20000

static int shared_id;
static atomic_int stop;

static void *
cancel_repeatedly(void *owner)
{
    while (!atomic_load(&stop)) {
        cancel(owner);
        (void)os_sleep_ns(20000);
    }
    return NULL;
}

static void *
receive_all(void *owner)
{
    struct message in = {0};
    unsigned int seed = 1;
    for (int expected = 0; expected < MESSAGES;) {
        seed = seed * 1103515245 + 12345;
        int64_t timeout_ns = seed & 0x10000 ? OS_FOREVER
                                            : (int64_t)(seed >> 8) % 40000;
        ssize_t rc = receive(owner, shared_id, &in, timeout_ns);
        if (rc >= 0) {
            int got;
            memcpy(&got, in.text, sizeof(got));
            CHECK_EQUAL(got, expected);
            expected++;
        }
        else {
            CHECK(rc == -ECANCELED || rc == -ENOMSG);
        }
    }
    return NULL;
}

/* No message is lost or received twice, however the waits end. */
static void
test_messages_survive(int id)
{
    pthread_t receiver, canceller;
    struct message out = {.type = 1};
    struct os_wait_owner owner = {0};
    shared_id = id;
    atomic_store(&stop, 0);
    CHECK_EQUAL(pthread_create(&receiver, NULL, receive_all, &owner), 0);
    CHECK_EQUAL(pthread_create(&canceller, NULL, cancel_repeatedly, &owner),
                0);
    for (int i = 0; i < MESSAGES; i++) {
        memcpy(out.text, &i, sizeof(i));
        CHECK_EQUAL(os_msg_send(id, &out, sizeof(i), 0), 0);
        if (i % 50 == 0) {
            (void)os_sleep_ns(50000);
        }
    }
    CHECK_EQUAL(pthread_join(receiver, NULL), 0);
    atomic_store(&stop, 1);
    CHECK_EQUAL(pthread_join(canceller, NULL), 0);
}

static void *
wait_until_cancelled(void *owner)
{
    struct message in;
    CHECK_EQUAL(receive(owner, shared_id, &in, OS_FOREVER), -ECANCELED);
    return NULL;
}

/* A fork while threads wait leaves both processes working. */
static void
test_forks(int id)
{
    pthread_t threads[8];
    struct os_wait_owner owner = {0};
    shared_id = id;
    for (int i = 0; i < 8; i++) {
        CHECK_EQUAL(
            pthread_create(&threads[i], NULL, wait_until_cancelled, &owner),
            0);
    }
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct message in;
            cancel(&owner);
            _exit(receive(&owner, id, &in, 1000000) == -ENOMSG ? 0 : 1);
        }
        int status = -1;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK_EQUAL(status, 0);
    }
    for (int i = 0; i < 8; i++) {
        /* Some threads may not have begun to wait when the first cancel
         * comes. */
        while (pthread_tryjoin_np(threads[i], NULL) != 0) {
            cancel(&owner);
            (void)os_sleep_ns(100000);
        }
    }
}

int
main(void)
{
    enter_namespace();
    os_wait_set_up();
    int id = os_msg_get(IPC_PRIVATE, 0600);
    CHECK(id >= 0);
    test_deadlines(id);
    test_spinning();
    test_the_signal();
    test_messages_survive(id);
    test_forks(id);
    CHECK_EQUAL(os_msg_remove(id), 0);
    return 0;
}
