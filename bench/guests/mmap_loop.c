// 100000 times: map 64 KiB, touch 4 pages, unmap.
#include <stdio.h>
#include <sys/mman.h>

int main(void) {
    long sum = 0;
    for (int n = 0; n < 100000; n++) {
        volatile char *p = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return 1;
        for (int i = 0; i < 4; i++) p[i * 16384] = (char)n, sum += p[i * 16384];
        munmap((void *)p, 65536);
    }
    printf("%ld\n", sum);
}
