// Random work on memory and files that checks every byte it wrote: mmap, touch, fork, read, write, truncate, unlink, mlock, mremap, madvise.
//
//   stress SEED STEPS [DIRECTORY [full|faults]]  "ok" or what was lost. full: the disk may be, and SIGBUS says so. faults: it fails by chance,
//                                                and what it could not write may be as it was before.
//   stress sync SEED DIRECTORY                 writes and fsyncs files for ever, one line for each fsync that succeeded
//   stress verify DIRECTORY < LINES            what those lines say is there
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define AREAS 12
#define PAGES 512  // the largest area and file
#define FILES 6
#define UNKNOWN (~0u)  // a failed write or a lost page: anything may be there

static uint64_t state;
static uint64_t draw(void) {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
static unsigned below(unsigned n) { return (unsigned)(draw() % n); }

// What a page holds: stamp 0 is a page of zeros.
static uint64_t word(uint32_t stamp, unsigned i) { return stamp == 0 ? 0 : (stamp * 0x9e3779b97f4a7c15ull) ^ (i * 0xff51afd7ed558ccdull); }
static void fill(void* page, uint32_t stamp) {
  uint64_t* w = page;
  for (unsigned i = 0; i < PAGE / 8; ++i) w[i] = word(stamp, i);
}
static bool holds(const void* page, uint32_t stamp) {
  const uint64_t* w = page;
  if (stamp == UNKNOWN) return true;
  for (unsigned i = 0; i < PAGE / 8; ++i)
    if (w[i] != word(stamp, i)) return false;
  return true;
}

struct file {
  bool exists;
  int fd;
  unsigned pages;
  uint32_t stamp[PAGES];
};
struct area {
  char* at;
  unsigned pages, first;  // first page of the file
  int file;               // -1: anonymous
  bool shared, locked;
  uint32_t stamp[PAGES];  // of private pages; of a private file page that was not written: the file's
  bool own[PAGES];        // a private page that was written
};
static struct file files[FILES];
static struct area areas[AREAS];
static const char* directory;
static bool faults, old_contents;
static uint32_t next_stamp = 1;
static uint64_t seed;
static int depth;
static unsigned long step_number;
static sigjmp_buf on_bus;
static volatile sig_atomic_t expecting_bus;

// What a file's page may hold: where the disk fails, also something older.
static bool file_holds(const void* page, uint32_t stamp) {
  if (holds(page, stamp)) return true;
  const uint64_t first = *(const uint64_t*)page;
  if (!old_contents) return false;
  for (uint32_t older = 0; older <= UINT16_MAX * 16u; ++older)
    if (word(older, 0) == first) return holds(page, older);
  return false;
}

static void bus(int signal) {
  if (expecting_bus && faults) siglongjmp(on_bus, 1);
  static const char text[] = "SIGBUS nobody expected\n";
  if (write(1, text, sizeof text - 1) < 0) _exit(5);
  (void)signal;
  _exit(4);
}

static void lost(const char* what, unsigned where, unsigned page, uint32_t stamp, const void* at) {
  const uint64_t* w = at;
  printf("LOST seed %llu depth %d step %lu: %s %u page %u should be %u, begins %llx %llx\n", (unsigned long long)seed, depth, step_number, what, where, page, stamp,
         (unsigned long long)w[0], (unsigned long long)w[1]);
  fflush(stdout);
  _exit(3);
}

static const char* name_of(unsigned f) {
  static char name[256];
  snprintf(name, sizeof name, "%s/s%d.%u", directory, depth, f);
  return name;
}

static uint32_t expected(const struct area* a, unsigned p) {
  if (a->file < 0 || a->own[p]) return a->stamp[p];
  return files[a->file].stamp[a->first + p];
}
static void check_page(struct area* a, unsigned p) {
  expecting_bus = 1;
  if (sigsetjmp(on_bus, 1)) {  // could not be read: lost with the disk's permission
    if (a->file < 0 || a->own[p]) a->stamp[p] = UNKNOWN;
  } else if (!(a->file >= 0 && !a->own[p] ? file_holds : holds)(a->at + p * PAGE, expected(a, p))) {
    lost(a->file < 0 ? "anonymous area" : a->shared ? "shared file area" : "private file area", (unsigned)(a - areas), p, expected(a, p), a->at + p * PAGE);
  }
  expecting_bus = 0;
}
static void write_page(struct area* a, unsigned p) {
  const uint32_t stamp = next_stamp++;
  expecting_bus = 1;
  volatile bool done = false;
  if (!sigsetjmp(on_bus, 1)) {
    fill(a->at + p * PAGE, stamp);
    done = true;
  }
  expecting_bus = 0;
  if (a->file >= 0 && a->shared) {
    files[a->file].stamp[a->first + p] = done ? stamp : UNKNOWN;
  } else {
    a->stamp[p] = done ? stamp : UNKNOWN;
    a->own[p] = true;
  }
}
static void drop_area(struct area* a) {
  if (munmap(a->at, a->pages * PAGE) != 0) exit(6);
  a->at = NULL;
}
static void drop_areas_of(int f) {
  for (struct area* a = areas; a < areas + AREAS; ++a)
    if (a->at && a->file == f) drop_area(a);
}

// Populating private memory copies the file's pages at once; from then on they do not follow the file.
static bool may_populate(const struct area* a) { return a->file < 0 || a->shared; }

static void new_area(struct area* a) {
  const unsigned kind = below(4);
  a->file = -1;
  a->first = 0;
  a->pages = 1 + below(below(4) ? 64 : PAGES);
  a->shared = kind == 1;
  a->locked = false;
  memset(a->stamp, 0, sizeof a->stamp);
  memset(a->own, 0, sizeof a->own);
  if (kind >= 2) {
    const int f = (int)below(FILES);
    if (!files[f].exists || files[f].pages == 0) return;
    a->file = f;
    a->first = below(files[f].pages);
    a->pages = 1 + below(files[f].pages - a->first);
    a->shared = kind == 3;
  }
  void* p = mmap(NULL, a->pages * PAGE, PROT_READ | PROT_WRITE, (a->shared ? MAP_SHARED : MAP_PRIVATE) | (a->file < 0 ? MAP_ANONYMOUS : 0) | (below(8) || !may_populate(a) ? 0 : MAP_POPULATE),
                 a->file < 0 ? -1 : files[a->file].fd, (off_t)(a->first * PAGE));
  a->at = p == MAP_FAILED ? NULL : p;
}

static void use_area(struct area* a) {
  const unsigned p = below(a->pages), n = 1 + below(a->pages - p);
  switch (below(14)) {
    case 0: case 1: case 2:
      for (unsigned i = p; i < p + n; ++i) write_page(a, i);
      break;
    case 3: case 4: case 5:
      for (unsigned i = p; i < p + n; ++i) check_page(a, i);
      break;
    case 6:
      write_page(a, p);
      break;
    case 7:
      drop_area(a);
      break;
    case 8:
      if (a->file >= 0 || a->shared || a->locked || madvise(a->at + p * PAGE, n * PAGE, MADV_DONTNEED) != 0) break;
      memset(a->stamp + p, 0, n * sizeof *a->stamp);
      break;
    case 9:
      (void)madvise(a->at + p * PAGE, n * PAGE, below(2) ? 21 : 20);  // MADV_PAGEOUT, MADV_COLD
      break;
    case 10:
      if (n > 64 || !may_populate(a)) break;
      if (below(2)) a->locked |= mlock(a->at + p * PAGE, n * PAGE) == 0;
      else (void)munlock(a->at + p * PAGE, n * PAGE);
      break;
    case 11: {  // mremap: smaller, or larger and perhaps elsewhere
      if (a->file >= 0 || a->shared) break;
      const unsigned to = 1 + below(PAGES);
      void* q = mremap(a->at, a->pages * PAGE, to * PAGE, MREMAP_MAYMOVE);
      if (q == MAP_FAILED) break;
      for (unsigned i = a->pages; i < to; ++i) a->stamp[i] = 0;
      a->at = q;
      a->pages = to;
      break;
    }
    case 12:
      if (mprotect(a->at + p * PAGE, n * PAGE, PROT_READ) == 0) {
        for (unsigned i = p; i < p + n && i < p + 16; ++i) check_page(a, i);
        if (mprotect(a->at + p * PAGE, n * PAGE, PROT_READ | PROT_WRITE) != 0) drop_area(a);  // no memory to split and merge
      }
      break;
    default:
      if (a->file >= 0 && a->shared) (void)msync(a->at, a->pages * PAGE, below(2) ? MS_SYNC : MS_ASYNC);
      break;
  }
}

static void use_file(unsigned f) {
  struct file* file = &files[f];
  static char page[PAGE];
  if (!file->exists) {
    file->fd = open(name_of(f), O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file->fd < 0) return;
    file->exists = true;
    file->pages = 0;
    memset(file->stamp, 0, sizeof file->stamp);
  }
  const unsigned p = below(PAGES), n = 1 + below(below(4) ? 16 : PAGES - p);
  switch (below(10)) {
    case 0: case 1: case 2: case 3:
      for (unsigned i = p; i < p + n && i < PAGES; ++i) {
        const uint32_t stamp = next_stamp++;
        fill(page, stamp);
        const ssize_t done = pwrite(file->fd, page, PAGE, (off_t)(i * PAGE));
        if (done == (ssize_t)PAGE) file->stamp[i] = stamp;
        else if (!faults || done == 0) lost("write to file", f, i, stamp, page);
        else file->stamp[i] = UNKNOWN;
        if (done != (ssize_t)PAGE) {
          if (done > 0 && i >= file->pages && ftruncate(file->fd, (off_t)(file->pages * PAGE)) != 0) exit(7);
          if (done > 0 && i >= file->pages) file->stamp[i] = 0;
          if (done < 0 && i >= file->pages) file->stamp[i] = 0;
          break;
        }
        if (i >= file->pages) file->pages = i + 1;
      }
      break;
    case 4: case 5: case 6:
      for (unsigned i = p; i < p + n && i < file->pages; ++i) {
        const ssize_t got = pread(file->fd, page, PAGE, (off_t)(i * PAGE));
        if (got < 0 && faults) continue;
        if (got != (ssize_t)PAGE || !file_holds(page, file->stamp[i])) lost("file", f, i, file->stamp[i], page);
      }
      break;
    case 7: {
      const unsigned to = below(PAGES);
      if (to < file->pages) drop_areas_of((int)f);
      if (ftruncate(file->fd, (off_t)(to * PAGE)) != 0) {
        if (!faults) exit(8);
        break;
      }
      for (unsigned i = to; i < PAGES; ++i) file->stamp[i] = 0;
      file->pages = to;
      break;
    }
    case 8:
      if (fsync(file->fd) != 0) {
        if (!faults) exit(9);
        for (unsigned i = 0; i < file->pages; ++i) file->stamp[i] = UNKNOWN;  // a page that could not be written may be dropped
      }
      break;
    default:
      drop_areas_of((int)f);
      if (unlink(name_of(f)) != 0 && !faults) exit(10);
      close(file->fd);
      file->exists = false;
      break;
  }
}

static void check_everything(void) {
  static char page[PAGE];
  for (struct area* a = areas; a < areas + AREAS; ++a)
    for (unsigned p = 0; a->at && p < a->pages; ++p) check_page(a, p);
  for (unsigned f = 0; f < FILES; ++f)
    for (unsigned i = 0; files[f].exists && i < files[f].pages; ++i) {
      const ssize_t got = pread(files[f].fd, page, PAGE, (off_t)(i * PAGE));
      if (got < 0 && faults) continue;
      if (got != (ssize_t)PAGE || !file_holds(page, files[f].stamp[i])) lost("file", f, i, files[f].stamp[i], page);
    }
}

static void work(unsigned long steps);

// The child has everything of its own, but files and shared areas, which it only looks at; both check all that is left of theirs.
static void split(unsigned long steps) {
  const pid_t pid = fork();
  if (pid < 0) return;
  if (pid == 0) {
    ++depth;
    state ^= (uint64_t)depth << 32 ^ draw();
    for (struct area* a = areas; a < areas + AREAS; ++a)
      if (a->at && a->shared) {  // the parent may be writing to its files, but not to shared memory
        if (a->file < 0) check_page(a, below(a->pages));
        drop_area(a);
      }
    for (struct area* a = areas; a < areas + AREAS; ++a)  // of a private file area only what is its own will stay as it is
      if (a->at && a->file >= 0) drop_area(a);
    for (unsigned f = 0; f < FILES; ++f) {
      if (files[f].exists) close(files[f].fd);
      files[f].exists = false;
    }
    work(steps);
    exit(0);
  }
  int status = 0;
  if (below(2)) {  // at the same time
    while (waitpid(pid, &status, WNOHANG) == 0)
      for (unsigned i = 0; i < 4; ++i) {
        struct area* a = &areas[below(AREAS)];
        if (a->at && (!a->shared || a->file >= 0)) write_page(a, below(a->pages));
      }
  } else if (waitpid(pid, &status, 0) != pid) {
    exit(11);
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return;  // the OOM killer
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) exit(WIFEXITED(status) ? WEXITSTATUS(status) : 12);
}

static void work(unsigned long steps) {
  for (unsigned long i = 0; i < steps; ++i) {
    step_number = i;
    struct area* a = &areas[below(AREAS)];
    if (below(100) == 0 && depth < 3) split(steps / 8);
    else if (below(3) == 0) use_file(below(FILES));
    else if (!a->at) new_area(a);
    else use_area(a);
  }
  check_everything();
}

// ---- what fsync promises ----

static void sync_for_ever(void) {
  static char page[PAGE];
  for (uint32_t generation = 1;; ++generation) {
    char name[256];
    const unsigned f = below(24), pages = 1 + below(24);
    const bool fresh = below(3) == 0;  // by rename, as programs do that care
    snprintf(name, sizeof name, "%s/%s%u", directory, fresh ? "new" : "k", f);
    const int fd = open(name, O_RDWR | O_CREAT | (fresh ? O_TRUNC : 0), 0644);
    if (fd < 0) exit(13);
    for (unsigned i = 0; i < pages; ++i) {
      fill(page, generation);
      if (pwrite(fd, page, PAGE, (off_t)(i * PAGE)) != (ssize_t)PAGE) exit(14);
    }
    if (fsync(fd) != 0) exit(15);
    close(fd);
    if (fresh) {
      char to[256];
      snprintf(to, sizeof to, "%s/k%u", directory, f);
      if (rename(name, to) != 0) exit(16);
      const int d = open(directory, O_RDONLY | O_DIRECTORY);
      if (d < 0 || fsync(d) != 0) exit(17);
      close(d);
    }
    printf("synced %u %u %u\n", f, generation, pages);
    fflush(stdout);
  }
}

static int verify_lines(void) {
  static uint32_t generation[64];
  static unsigned pages[64];
  static char page[PAGE];
  unsigned f, g, n;
  int lines = 0;
  while (scanf("synced %u %u %u\n", &f, &g, &n) == 3 && f < 64) generation[f] = g, pages[f] = n, ++lines;
  for (f = 0; f < 64; ++f) {
    if (!generation[f]) continue;
    char name[256];
    snprintf(name, sizeof name, "%s/k%u", directory, f);
    const int fd = open(name, O_RDONLY);
    if (fd < 0) return printf("LOST %s: %s\n", name, strerror(errno)), 3;
    // Each page that was synced holds that generation whole, or a later one: the run went on after its last line.
    for (unsigned i = 0; i < pages[f]; ++i) {
      const ssize_t got = pread(fd, page, PAGE, (off_t)(i * PAGE));
      if (got == 0) break;  // a later file took its name, which is shorter: told by its first page
      bool good = false;
      for (uint32_t later = generation[f]; !good && later < generation[f] + 3000; ++later) good = holds(page, later);
      if (got != (ssize_t)PAGE || !good) return printf("LOST %s page %u: generation %u was synced\n", name, i, generation[f]), 3;
    }
    if (pread(fd, page, PAGE, 0) != (ssize_t)PAGE) return printf("LOST %s is empty\n", name), 3;
    close(fd);
  }
  printf("verified %s\n", lines ? "all" : "nothing");
  return 0;
}

int main(int count, char** arguments) {
  setvbuf(stdout, NULL, _IOLBF, 1024);
  if (count == 4 && !strcmp(arguments[1], "sync")) {
    state = seed = strtoull(arguments[2], NULL, 0);
    directory = arguments[3];
    sync_for_ever();
  }
  if (count == 3 && !strcmp(arguments[1], "verify")) {
    directory = arguments[2];
    return verify_lines();
  }
  if (count < 3) return fputs("usage: stress SEED STEPS [DIRECTORY [full|faults]] | stress sync SEED DIRECTORY | stress verify DIRECTORY\n", stderr), 2;
  state = seed = strtoull(arguments[1], NULL, 0);
  directory = count > 3 ? arguments[3] : "/tmp";
  faults = count > 4;
  old_contents = faults && !strcmp(arguments[4], "faults");
  signal(SIGBUS, bus);
  const pid_t pid = fork();
  if (pid == 0) {
    work(strtoul(arguments[2], NULL, 0));
    exit(0);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return 11;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return puts("killed"), 0;
  if (WIFSIGNALED(status)) return printf("signal %d, seed %llu\n", WTERMSIG(status), (unsigned long long)seed), 1;
  if (WEXITSTATUS(status) == 0) puts("ok");
  else printf("exit %d, seed %llu\n", WEXITSTATUS(status), (unsigned long long)seed);
  return WEXITSTATUS(status);
}
