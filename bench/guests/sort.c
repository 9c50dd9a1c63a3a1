// Quicksort of 10 million 32-bit integers.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void sort(uint32_t *v, long lo, long hi) {
    while (lo < hi) {
        uint32_t pivot = v[lo + (hi - lo) / 2];
        long i = lo, j = hi;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i <= j) {
                uint32_t t = v[i];
                v[i++] = v[j];
                v[j--] = t;
            }
        }
        if (j - lo < hi - i) sort(v, lo, j), lo = i;
        else sort(v, i, hi), hi = j;
    }
}

int main(void) {
    enum { N = 10000000 };
    uint32_t *v = malloc(N * sizeof *v), x = 1;
    if (!v) return 1;
    for (long i = 0; i < N; i++) v[i] = x = x * 1664525 + 1013904223;
    sort(v, 0, N - 1);
    for (long i = 1; i < N; i++)
        if (v[i - 1] > v[i]) return 1;
    printf("%u %u %u\n", v[0], v[N / 2], v[N - 1]);
}
