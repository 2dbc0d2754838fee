/* Tests of os/shm.c: attaching, and the zero pages that replace an
 * attachment. */
#include "check.h"

static uint64_t
attached(int id)
{
    struct os_info info;
    CHECK_EQUAL(os_shm_stat(id, &info), 0);
    return info.shm.number_attached;
}

static void
test_attaching(int id, size_t size)
{
    void *first, *second;
    CHECK_EQUAL(os_shm_attach(id, NULL, 0, &first), 0);
    CHECK_EQUAL(os_shm_attach(id, NULL, SHM_RDONLY, &second), 0);
    CHECK_EQUAL(attached(id), 2);
    memset(first, 'x', size);
    CHECK_EQUAL(((char *)second)[size - 1], 'x');
    void *odd = (char *)first + 1;
    void *unused;
    CHECK_EQUAL(os_shm_attach(id, odd, 0, &unused), -EINVAL);
    CHECK_EQUAL(os_shm_detach(odd), -EINVAL);
    CHECK_EQUAL(os_shm_detach(second), 0);
    CHECK_EQUAL(attached(id), 1);
    CHECK_EQUAL(os_shm_detach(first), 0);
    CHECK_EQUAL(os_shm_detach(first), -EINVAL);
}

/* Replacing an attachment detaches the segment.  The new pages read zeros and
 * can be written to. */
static void
test_replacing(int id, size_t size)
{
    void *address;
    CHECK_EQUAL(os_shm_attach(id, NULL, 0, &address), 0);
    volatile char *bytes = address;
    bytes[0] = 'y';
    CHECK_EQUAL(os_shm_replace(address, size), 0);
    CHECK_EQUAL(attached(id), 0);
    CHECK_EQUAL(bytes[0], 0);
    CHECK_EQUAL(bytes[size - 1], 0);
    bytes[0] = 'z';
    void *again;
    CHECK_EQUAL(os_shm_attach(id, NULL, 0, &again), 0);
    CHECK_EQUAL(((char *)again)[0], 'y');
    CHECK_EQUAL(os_shm_detach(again), 0);
    CHECK_EQUAL(os_memory_unmap(address, size), 0);
}

static void
test_populating(int id, size_t size)
{
    void *address;
    CHECK_EQUAL(os_shm_attach(id, NULL, 0, &address), 0);
    int rc = os_memory_populate(address, size);
    CHECK(rc == 0 || rc == -ENOSYS || rc == -EINVAL);
    CHECK_EQUAL(os_shm_detach(address), 0);
}

int
main(void)
{
    enter_namespace();
    size_t size = 4 * os_page_size();
    struct os_info info;
    int id = os_shm_get(78, size, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(id >= 0);
    CHECK_EQUAL(os_shm_get(78, size + 1, 0), -EINVAL);
    CHECK_EQUAL(os_shm_get(79, 0, IPC_CREAT | 0600), -EINVAL);
    CHECK_EQUAL(os_shm_get(78, 0, 0), id);
    CHECK_EQUAL(os_shm_stat(id, &info), 0);
    CHECK_EQUAL(info.shm.size, size);
    CHECK_EQUAL(info.shm.creator_pid, getpid());
    info.mode = 0644;
    CHECK_EQUAL(os_shm_set(id, &info), 0);
    CHECK_EQUAL(os_shm_stat(id, &info), 0);
    CHECK_EQUAL(info.mode, 0644);
    test_attaching(id, size);
    test_replacing(id, size);
    test_populating(id, size);
    CHECK_EQUAL(os_shm_remove(id), 0);
    CHECK_EQUAL(os_shm_remove(id), -EINVAL);
    return 0;
}
