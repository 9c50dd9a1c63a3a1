// Every system call's handler, by family. The table (table.cpp) gives each its number.
#pragma once

#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

using Function = Result<long>(Context&);

// memory.cpp
Function sys_mmap, sys_munmap, sys_mprotect, sys_pkey_mprotect, sys_pkey_alloc, sys_pkey_free, sys_mremap, sys_madvise, sys_msync, sys_mincore, sys_mlock, sys_mlock2,
    sys_munlock, sys_mlockall, sys_munlockall, sys_brk, sys_membarrier, sys_remap_file_pages;
// madvise(2) of any address space, with its checks of the range.
Status advise(mm::AddressSpace& s, uint64_t start, uint64_t bytes, int advice);
// shared_memory.cpp
Function sys_shmget, sys_shmat, sys_shmdt, sys_shmctl, sys_memfd_create;
// inotify.cpp
Function sys_inotify_init, sys_inotify_init1, sys_inotify_add_watch, sys_inotify_rm_watch;
// semaphores.cpp, messages.cpp
Function sys_semget, sys_semop, sys_semtimedop, sys_semctl, sys_msgget, sys_msgsnd, sys_msgrcv, sys_msgctl;
// file_open.cpp
Function sys_open, sys_openat, sys_openat2, sys_creat, sys_close, sys_close_range, sys_access, sys_faccessat, sys_faccessat2;
// file_io.cpp
Function sys_read, sys_write, sys_readv, sys_writev, sys_pread64, sys_pwrite64, sys_preadv, sys_pwritev, sys_preadv2, sys_pwritev2, sys_lseek, sys_ioctl;
// file_copy.cpp
Function sys_sendfile, sys_copy_file_range, sys_splice;
// file_storage.cpp
Function sys_truncate, sys_ftruncate, sys_fallocate, sys_fadvise64, sys_readahead, sys_sync, sys_fsync, sys_fdatasync, sys_syncfs, sys_sync_file_range;
// file_attributes.cpp
Function sys_stat, sys_fstat, sys_lstat, sys_newfstatat, sys_statx, sys_statfs, sys_fstatfs, sys_chmod, sys_fchmod, sys_fchmodat, sys_chown, sys_fchown, sys_lchown,
    sys_fchownat, sys_utime, sys_utimes, sys_futimesat, sys_utimensat;
// extended_attributes.cpp
Function sys_setxattr, sys_lsetxattr, sys_fsetxattr, sys_getxattr, sys_lgetxattr, sys_fgetxattr, sys_listxattr, sys_llistxattr, sys_flistxattr, sys_removexattr,
    sys_lremovexattr, sys_fremovexattr;
// directories.cpp
Function sys_mkdir, sys_mkdirat, sys_rmdir, sys_unlink, sys_unlinkat, sys_symlink, sys_symlinkat, sys_link, sys_linkat, sys_rename, sys_renameat, sys_renameat2,
    sys_readlink, sys_readlinkat, sys_mknod, sys_mknodat, sys_getdents, sys_getdents64, sys_chdir, sys_fchdir, sys_getcwd, sys_chroot, sys_umask;
// descriptors.cpp
Function sys_dup, sys_dup2, sys_dup3, sys_pipe, sys_pipe2, sys_fcntl, sys_flock, sys_eventfd, sys_eventfd2;
// poll.cpp, select.cpp, epoll.cpp, timerfd.cpp
Function sys_poll, sys_ppoll, sys_select, sys_pselect6, sys_epoll_create, sys_epoll_create1, sys_epoll_ctl, sys_epoll_wait, sys_epoll_pwait, sys_epoll_pwait2,
    sys_timerfd_create, sys_timerfd_settime, sys_timerfd_gettime;
// process.cpp
Function sys_clone, sys_clone3, sys_fork, sys_vfork, sys_exit, sys_exit_group, sys_wait4, sys_waitid, sys_set_tid_address, sys_set_robust_list, sys_get_robust_list,
    sys_arch_prctl, sys_prctl, sys_personality, sys_rseq;
// exec.cpp
Function sys_execve, sys_execveat;
// pidfd.cpp
Function sys_pidfd_open, sys_pidfd_send_signal, sys_pidfd_getfd, sys_process_madvise;
// signalfd.cpp
Function sys_signalfd, sys_signalfd4;
// signals.cpp
Function sys_rt_sigaction, sys_rt_sigprocmask, sys_rt_sigreturn, sys_rt_sigpending, sys_rt_sigsuspend, sys_rt_sigtimedwait, sys_rt_sigqueueinfo,
    sys_rt_tgsigqueueinfo, sys_sigaltstack, sys_kill, sys_tkill, sys_tgkill, sys_pause;
// time.cpp, timers.cpp
Function sys_clock_gettime, sys_clock_getres, sys_clock_settime, sys_gettimeofday, sys_settimeofday, sys_time, sys_times, sys_nanosleep, sys_clock_nanosleep,
    sys_restart_syscall, sys_alarm, sys_setitimer, sys_getitimer, sys_timer_create, sys_timer_settime, sys_timer_gettime, sys_timer_getoverrun, sys_timer_delete;
// futex.cpp
Function sys_futex;
// identity.cpp
Function sys_getpid, sys_gettid, sys_getppid, sys_getpgid, sys_setpgid, sys_getpgrp, sys_getsid, sys_setsid, sys_getuid, sys_geteuid, sys_getgid, sys_getegid,
    sys_getresuid, sys_getresgid, sys_getgroups, sys_setuid, sys_setgid, sys_setreuid, sys_setregid, sys_setresuid, sys_setresgid, sys_setgroups, sys_setfsuid,
    sys_setfsgid, sys_capget, sys_capset;
// limits.cpp
Function sys_getrlimit, sys_setrlimit, sys_prlimit64, sys_getrusage;
// scheduling.cpp
Function sys_sched_yield, sys_sched_getaffinity, sys_sched_setaffinity, sys_sched_getparam, sys_sched_setparam, sys_sched_getscheduler, sys_sched_setscheduler,
    sys_sched_getattr, sys_sched_get_priority_max, sys_sched_get_priority_min, sys_sched_rr_get_interval, sys_getpriority, sys_setpriority, sys_getcpu, sys_ioprio_get, sys_ioprio_set;
// system_info.cpp
Function sys_uname, sys_sysinfo, sys_sethostname, sys_setdomainname, sys_syslog, sys_getrandom, sys_refused;
// sockets.cpp, socket_transfer.cpp
Function sys_socket, sys_socketpair, sys_bind, sys_listen, sys_accept, sys_accept4, sys_connect, sys_shutdown, sys_getsockname, sys_getpeername, sys_setsockopt,
    sys_getsockopt, sys_sendto, sys_recvfrom, sys_sendmsg, sys_recvmsg;
// swap.cpp
Function sys_swapon, sys_swapoff;
// numa.cpp
Function sys_get_mempolicy, sys_set_mempolicy;
// process_memory.cpp
Function sys_process_vm_readv, sys_process_vm_writev;

}  // namespace vitro::syscalls
