// 131072 anonymous page faults: one byte written to each page of 512 MiB.
#include <stdio.h>
#include <sys/mman.h>

int main(void) {
    const long size = 512L << 20;
    volatile char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 1;
    madvise((void *)p, size, MADV_NOHUGEPAGE);
    for (long i = 0; i < size; i += 4096) p[i] = 1;
    printf("%d\n", p[size - 4096]);
}
