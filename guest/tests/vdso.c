// What the kernel maps into every program: the vdso is an ELF image that answers calls, private like any mapping; the data before it is not to be
// touched.
#define _GNU_SOURCE
#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

// Where an area of /proc/self/maps begins; its length in `length`. 0: there is none.
static unsigned long area(const char* name, unsigned long* length) {
  FILE* maps = fopen("/proc/self/maps", "r");
  char line[512];
  unsigned long from = 0, to = 0;
  while (fgets(line, sizeof line, maps)) {
    if (!strstr(line, name)) continue;
    sscanf(line, "%lx-%lx", &from, &to);
    *length = to - from;
    break;
  }
  fclose(maps);
  return from;
}

// The function's place, by the image's own symbol table.
static void* symbol(const unsigned char* image, const char* name) {
  const Elf64_Ehdr* header = (const void*)image;
  const Elf64_Phdr* segment = (const void*)(image + header->e_phoff);
  const Elf64_Sym* symbols = 0;
  const char* strings = 0;
  const Elf64_Word* hash = 0;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segment[i].p_type != PT_DYNAMIC) continue;
    for (const Elf64_Dyn* d = (const void*)(image + segment[i].p_vaddr); d->d_tag != DT_NULL; d++) {
      if (d->d_tag == DT_SYMTAB) symbols = (const void*)(image + d->d_un.d_ptr);
      if (d->d_tag == DT_STRTAB) strings = (const void*)(image + d->d_un.d_ptr);
      if (d->d_tag == DT_HASH) hash = (const void*)(image + d->d_un.d_ptr);
    }
  }
  if (!symbols || !strings || !hash) return 0;
  for (unsigned i = 1; i < hash[1]; i++)
    if (!strcmp(strings + symbols[i].st_name, name)) return (void*)(image + symbols[i].st_value);
  return 0;
}

int main(void) {
  unsigned long image_length = 0, data_length = 0;
  unsigned char* image = (unsigned char*)getauxval(AT_SYSINFO_EHDR);
  check(image && (unsigned long)image == area("[vdso]", &image_length), "AT_SYSINFO_EHDR names [vdso]");
  const unsigned long data = area("[vvar]", &data_length);
  check(data != 0 && data_length != 0, "[vvar] is mapped");
  check(memcmp(image, ELFMAG, SELFMAG) == 0, "the image is an ELF file");

  // The same clock as the system call's.
  int (*get_time)(clockid_t, struct timespec*) = (int (*)(clockid_t, struct timespec*))symbol(image, "__vdso_clock_gettime");
  check(get_time != 0, "it has __vdso_clock_gettime");
  struct timespec a, b, c;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &a);
  check(get_time(CLOCK_MONOTONIC, &b) == 0, "which answers");
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &c);
  check(a.tv_sec * 1000000000L + a.tv_nsec <= b.tv_sec * 1000000000L + b.tv_nsec, "not before the system call");
  check(b.tv_sec * 1000000000L + b.tv_nsec <= c.tv_sec * 1000000000L + c.tv_nsec, "nor after the next");

  check(madvise((void*)data, data_length, MADV_DONTNEED) == -1 && errno == EINVAL, "the data cannot be dropped");
  check(mprotect((void*)data, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "nor made writable");
  check(mremap(image, image_length, image_length + 4096, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT, "the image does not grow");

  // Writing makes a copy of one's own.
  const bool writable = mprotect(image, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
  struct utsname system;
  uname(&system);
  if (!writable && !strstr(system.release, "vitro")) return 0;  // kernels from 6.15 on seal it
  check(writable, "but may be written to");
  const unsigned char old = image[9];
  image[9] = 0x5a;
  int status = 0;
  const pid_t child = fork();
  if (child == 0) {
    if (image[9] != 0x5a) _exit(1);
    image[9] = 1;
    _exit(0);
  }
  check(waitpid(child, &status, 0) == child && status == 0, "a child has the copy");
  check(image[9] == 0x5a, "and a copy of its own when it writes");
  image[9] = old;
  check(mprotect(image, 4096, PROT_READ | PROT_EXEC) == 0, "the image is protected again");
  check(get_time(CLOCK_REALTIME, &b) == 0, "and answers as before");
  return 0;
}
