// A program with far more code than an emulator keeps translated: every block of it runs, and runs again.
#include <stdint.h>
#include <sys/mman.h>

#include "check.h"

enum { kBlocks = 24 << 10, kIncrements = 62, kBlockSize = 256 };

int main(void) {
  uint8_t* code = mmap(NULL, (size_t)kBlocks * kBlockSize + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(code != MAP_FAILED, "mmap");
  for (int b = 0; b < kBlocks; b++) {
    uint8_t* at = code + (size_t)b * kBlockSize;
    uint8_t* next = at + kBlockSize;
    for (int i = 0; i < kIncrements; i++, at += 3) memcpy(at, "\x48\xff\x07", 3);  // incq (%rdi)
    const int32_t distance = (int32_t)(next - (at + 5));
    *at = 0xe9;  // jmp next
    memcpy(at + 1, &distance, 4);
  }
  code[(size_t)kBlocks * kBlockSize] = 0xc3;  // ret
  must(mprotect(code, (size_t)kBlocks * kBlockSize + 1, PROT_READ | PROT_EXEC) == 0, "mprotect");

  uint64_t count = 0;
  ((void (*)(uint64_t*))(uintptr_t)code)(&count);
  check(count == (uint64_t)kBlocks * kIncrements, "each instruction of much code ran once");
  ((void (*)(uint64_t*))(uintptr_t)code)(&count);
  check(count == (uint64_t)kBlocks * kIncrements * 2, "and once more");
  return 0;
}
