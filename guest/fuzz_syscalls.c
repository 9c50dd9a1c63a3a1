// Random system calls with random arguments: whatever a guest asks for, the simulated kernel answers or kills the guest, and never breaks itself.
//
//   fuzz_syscalls [SEED [CALLS [WORKERS]]]
//
// Not for a real kernel: it writes to every file of /proc and /sys that it can open. Nothing aims at the parent, so that the run ends by itself.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;
static pid_t parent;
static unsigned char* buffers;   // 16 pages of random bytes
static unsigned char* edge;      // its first page can be touched, the one after it cannot
static int depth;

static uint64_t next(void) {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}
static uint64_t below(uint64_t n) { return next() % n; }

static const char* const kPaths[] = {
    "/", ".", "..", "", "/tmp", "/tmp/a", "/tmp/b", "/tmp/d", "/tmp/d/e", "/tmp/fifo", "/tmp/link", "/root/a", "/root/d", "/etc/passwd", "/bin/true", "/usr/bin",
    "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/random", "/dev/shm/x", "/dev/vda", "/dev/stdin", "/proc", "/proc/self", "/proc/self/mem",
    "/proc/self/maps", "/proc/self/smaps", "/proc/self/pagemap", "/proc/self/fd", "/proc/self/fd/0", "/proc/self/task", "/proc/self/oom_score_adj", "/proc/self/clear_refs",
    "/proc/self/exe", "/proc/self/cwd", "/proc/kmsg", "/proc/kpageflags", "/proc/kpagecount", "/proc/meminfo", "/proc/slabinfo", "/proc/zoneinfo", "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/swappiness", "/proc/sys/vm/page-cluster", "/proc/sys/vm/compact_memory", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/hostname",
    "/sys/kernel/mm", "/sys/block", "/sys/devices/system/node/node0/meminfo"};
static const char* path(void) { return kPaths[below(sizeof kPaths / sizeof *kPaths)]; }

static uint64_t number(void) {
  static const uint64_t kEdges[] = {0, 1, 2, 3, 7, 8, 16, 63, 64, 127, 128, 255, 256, 511, 512, 4095, 4096, 4097, 8192, 65535, 65536, 1 << 20, 1 << 21, 0x7fffffff,
                                    0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0x7fffffffffff, 0x800000000000, 0xffff800000000000,
                                    0xffff888000000000, 0xffffffffff600000, ~0ull, ~0ull - 1, ~0ull - 99, ~0ull - 4095, 0x7ffffffff000, 01000, 02000, 0100000};
  switch (below(8)) {
    case 0: return next();
    case 1: return next() >> below(64);
    case 2: return 1ull << below(64);
    case 3: return ~(next() >> below(64));
    case 4: return 1ull << below(24) | 1ull << below(24);
    default: return kEdges[below(sizeof kEdges / sizeof *kEdges)];
  }
}

static uint64_t argument(void) {
  switch (below(12)) {
    case 0: case 1: case 2: return number();
    case 3: case 4: return below(40);                                        // a descriptor
    case 5: case 6: return (uint64_t)buffers + below(16 * 4096);
    case 7: return (uint64_t)buffers + below(16) * 4096;
    case 8: return (uint64_t)edge + 4096 - below(64);
    case 9: return (uint64_t)path();
    case 10: return below(4) ? (uint64_t)getpid() : 0;
    default: return below(5000);
  }
}

static void shuffle_buffers(void) {
  for (int i = 0; i < 200; ++i) {
    unsigned char* at = buffers + below(16 * 4096 / 8) * 8;
    const uint64_t v = below(3) ? argument() : number();
    memcpy(at, &v, 8);
  }
  if (below(2)) strcpy((char*)buffers + below(15 * 4096), path());
}

static void tick(int s) { (void)s; }

static void open_things(void) {
  mkdir("/tmp/d", 0777);
  mkfifo("/tmp/fifo", 0666);
  if (symlink("/tmp/a", "/tmp/link")) {}
  int p[2], s[2];
  if (pipe2(p, O_NONBLOCK)) {}
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s)) {}
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s)) {}
  socket(AF_INET, SOCK_STREAM, 0);
  socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  socket(AF_UNIX, SOCK_SEQPACKET, 0);
  open("/tmp/a", O_RDWR | O_CREAT, 0666);
  open("/root/a", O_RDWR | O_CREAT, 0666);
  open("/tmp", O_RDONLY | O_DIRECTORY);
  open("/proc/self", O_RDONLY | O_DIRECTORY);
  open("/proc/self/mem", O_RDWR);
  open("/dev/ptmx", O_RDWR | O_NOCTTY);
  open("/dev/zero", O_RDWR);
  open("/bin/true", O_RDONLY);
  open("/tmp/fifo", O_RDWR | O_NONBLOCK);
  epoll_create1(0);
  eventfd(3, EFD_NONBLOCK);
  timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  signalfd(-1, &set, SFD_NONBLOCK);
  memfd_create("m", MFD_ALLOW_SEALING);
  syscall(SYS_pidfd_open, getpid(), 0);
  syscall(SYS_inotify_init1, O_NONBLOCK);
}

// A signal handler, a lost stack or a changed instruction pointer end a worker soon enough: that is the guest's own business.
static void work(uint64_t calls) {
  struct itimerval often = {{0, 20000}, {0, 20000}};
  struct sigaction action = {.sa_handler = tick};
  for (uint64_t i = 0; i < calls; ++i) {
    if (i % 16 == 0) {
      sigaction(SIGALRM, &action, NULL);
      setitimer(ITIMER_REAL, &often, NULL);
      shuffle_buffers();
    }
    const long call = (long)(below(50) == 0 ? number() : below(20) == 0 ? 424 + below(28) : below(336));
    if (call == SYS_exit || call == SYS_exit_group) continue;
    if ((call == SYS_fork || call == SYS_vfork || call == SYS_clone || call == SYS_clone3) && (depth >= 3 || below(4))) continue;
    uint64_t a[6];
    for (int k = 0; k < 6; ++k) {
      a[k] = argument();
      if ((pid_t)a[k] == parent || (pid_t)a[k] == -parent) a[k] = 0;
    }
    if (call == SYS_kill && (int)a[0] <= 1) a[0] = (uint64_t)getpid();
    if (call == SYS_execve && below(4)) continue;
    const pid_t me = getpid();
    const long result = syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
    (void)result;
    if (getpid() != me) {
      ++depth;
      state ^= (uint64_t)getpid() * 0x2545f4914f6cdd1d;
      calls = i + 20;
    }
  }
  _exit(0);
}

// With these root can take all memory away from everybody, which rightly ends in a panic.
static int starves(const char* name) {
  static const char* const kNames[] = {"min_free_kbytes", "watermark_scale_factor", "watermark_boost_factor", "lowmem_reserve_ratio", "panic_on_oom"};
  for (size_t i = 0; i < sizeof kNames / sizeof *kNames; ++i)
    if (!strcmp(name, kNames[i])) return 1;
  return 0;
}

// Opens whatever /proc and /sys hold, reads it at odd places and writes nonsense into it.
static void poke_tree(const char* at, int level) {
  DIR* d = opendir(at);
  if (!d) return;
  for (struct dirent* e; (e = readdir(d));) {
    char name[600];
    if (e->d_name[0] == '.' || !strcmp(e->d_name, "task") || snprintf(name, sizeof name, "%s/%s", at, e->d_name) >= 300) continue;
    if (e->d_type == DT_DIR && level < 6) poke_tree(name, level + 1);
    if (e->d_type != DT_REG) continue;
    char text[700];
    const int in = open(name, O_RDONLY | O_NONBLOCK);
    if (in >= 0) {
      if (pread(in, text, below(sizeof text), (off_t)number())) {}
      if (read(in, text, sizeof text)) {}
      close(in);
    }
    if (below(3) || starves(e->d_name)) continue;
    const int out = open(name, O_WRONLY | O_NONBLOCK);
    if (out < 0) continue;
    const int n = snprintf(text, sizeof text, below(2) ? "%lld\n" : below(2) ? "%llx %llx" : "%lld %lld %lld\n", (long long)number(), (long long)number(), (long long)number());
    if (write(out, text, (size_t)n)) {}
    close(out);
  }
  closedir(d);
}

int main(int argc, char** argv) {
  const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, calls = argc > 2 ? strtoull(argv[2], NULL, 0) : 2000;
  const int workers = argc > 3 ? atoi(argv[3]) : 8;
  parent = getpid();
  const int adj = open("/proc/self/oom_score_adj", O_WRONLY);
  if (adj >= 0 && write(adj, "-1000", 5)) {}
  close(adj);
  for (int w = 0; w < workers; ++w) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      setsid();
      state = seed * 1000003 + (uint64_t)w;
      const int own = open("/proc/self/oom_score_adj", O_WRONLY);
      if (own >= 0 && write(own, "0", 1)) {}
      close(own);
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 0), dup2(null, 1), dup2(null, 2);
      buffers = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      edge = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      munmap(edge + 4096, 4096);
      open_things();
      if (w % 4 == 3) poke_tree(below(3) ? "/proc" : "/sys", 0);
      work(calls);
    }
    // At most 20 seconds of the guest's time each; what a worker leaves behind goes on beside the next ones.
    int status = 0;
    for (int i = 0; waitpid(child, &status, WNOHANG) == 0; ++i) {
      if (i == 200) kill(child, SIGKILL);
      const struct timespec wait = {0, 100 * 1000 * 1000};
      nanosleep(&wait, NULL);
    }
    printf("worker %d: status 0x%x\n", w, status);
  }
  puts("done");
  return 0;
}
