// A hash join: 1 M rows build an open-addressing table of 32 MiB, 8 M probes at random.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BITS = 21, ROWS = 1000000, PROBES = 8000000 };
static struct {
    uint64_t key, value;
} table[1 << BITS];

static uint64_t slot(uint64_t key) { return key * 0x9e3779b97f4a7c15u >> (64 - BITS); }

int main(void) {
    uint64_t x = 1, hits = 0, sum = 0;
    for (uint64_t i = 1; i <= ROWS; i++) {
        uint64_t s = slot(i);
        while (table[s].key) s = (s + 1) & ((1 << BITS) - 1);
        table[s].key = i, table[s].value = i * i;
    }
    for (long i = 0; i < PROBES; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t key = 1 + (x >> 33) % (2 * ROWS), s = slot(key);
        while (table[s].key && table[s].key != key) s = (s + 1) & ((1 << BITS) - 1);
        if (table[s].key) hits++, sum += table[s].value;
    }
    printf("%lu %lu\n", (unsigned long)hits, (unsigned long)sum);
}
