// A pointer chase over 64 MiB in random order: one dependent load after the other, each to another page.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    enum { N = 64 * 1024 * 1024 / 64, STEPS = 4000000 };
    struct line {
        uint64_t next, pad[7];
    } *v = aligned_alloc(4096, N * sizeof *v);
    if (!v) return 1;
    uint64_t x = 1;
    for (uint64_t i = 0; i < N; i++) v[i].next = i;
    for (uint64_t i = N - 1; i > 0; i--) {  // Sattolo: one cycle through all
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t j = (x >> 33) % i, t = v[i].next;
        v[i].next = v[j].next, v[j].next = t;
    }
    uint64_t at = 0;
    for (long i = 0; i < STEPS; i++) at = v[at].next;
    printf("%lu\n", (unsigned long)at);
}
