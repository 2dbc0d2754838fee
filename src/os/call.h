/* OS_CALL(semop, id, operations, count) makes the system call semop(2) and
 * returns its result or -errno, as a long.
 *
 * If the kernel takes the same arguments as the function of the C library, the
 * kernel is called directly.  Return-address predictions are lost across a
 * system call, so each return after it costs as much as tens of instructions.
 * A function of the C library adds one or two of these returns, sets errno in
 * thread-local storage, and is a cancellation point in programs with threads.
 * Functions that replace the C library's by LD_PRELOAD do not see these calls;
 * strace(1) and valgrind(1) do. */
#ifndef SYSV_IPC_CALL_H
#define SYSV_IPC_CALL_H

#if defined(__linux__) && defined(__LP64__) && \
    (defined(__x86_64__) || defined(__aarch64__))

#include <sys/syscall.h>

#define OS_CALL_IS_DIRECT 1
#define OS_CALL(name, ...) \
    os_call_kernel(SYS_##name, OS_CALL_WORDS(__VA_ARGS__, 0, 0, 0, 0, 0))
#define OS_CALL_WORDS(a, b, c, d, e, ...) \
    (long)(a), (long)(b), (long)(c), (long)(d), (long)(e)

/* See syscall(2) for the registers, and for the registers that the kernel
 * overwrites. */
static inline long
os_call_kernel(long number, long a, long b, long c, long d, long e)
{
#ifdef __x86_64__
    long result;
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth),
                       "r"(fifth)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long call __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    register long fifth __asm__("x4") = e;
    __asm__ volatile("svc 0"
                     : "+r"(first)
                     : "r"(call), "r"(second), "r"(third), "r"(fourth),
                       "r"(fifth)
                     : "memory");
    return first;
#endif
}

#else

#include <errno.h>

#define OS_CALL_IS_DIRECT 0
#define OS_CALL(name, ...) os_call_result(name(__VA_ARGS__))

static inline long
os_call_result(long result)
{
    return result == -1 ? -errno : result;
}

#endif

#endif
