/* Print the constants of the system's headers, one on each line: NAME
 * value. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

/* linux/shm.h, which defines the names for huge pages, conflicts with
 * sys/shm.h. */
#include <asm-generic/hugetlb_encode.h>

#define SHOW_HUGE(size)                \
    printf("SHM_HUGE_%s %lld\n", #size, \
           (long long)(HUGETLB_FLAG_ENCODE_##size))
#define SHOW(name) printf("%s %ld\n", #name, (long)(name))

int
main(void)
{
    SHOW(IPC_CREAT);
    SHOW(IPC_EXCL);
    printf("IPC_CREX %ld\n", (long)(IPC_CREAT | IPC_EXCL));
    SHOW(IPC_PRIVATE);
    SHOW(IPC_NOWAIT);
    SHOW(SEM_UNDO);
    SHOW(SHM_RDONLY);
    SHOW(SHM_RND);
    SHOW(SHM_EXEC);
    SHOW(SHM_REMAP);
    SHOW(SHM_NORESERVE);
    SHOW(SHM_HUGETLB);
    SHOW_HUGE(64KB);
    SHOW_HUGE(512KB);
    SHOW_HUGE(1MB);
    SHOW_HUGE(2MB);
    SHOW_HUGE(8MB);
    SHOW_HUGE(16MB);
    SHOW_HUGE(32MB);
    SHOW_HUGE(256MB);
    SHOW_HUGE(512MB);
    SHOW_HUGE(1GB);
    SHOW_HUGE(2GB);
    SHOW_HUGE(16GB);
    printf("KEY_MIN %lld\n", LLONG_MIN);
    printf("KEY_MAX %lld\n", LLONG_MAX);
    printf("PAGE_SIZE %ld\n", sysconf(_SC_PAGESIZE));
    /* No header that a program may include defines SEMVMX. */
    printf("SEMAPHORE_VALUE_MAX %d\n", 32767);
    return 0;
}
