// Integer matrix product, 1024 x 1024, rows by columns: strided loads.
#include <stdint.h>
#include <stdio.h>

enum { N = 1024 };
static uint32_t a[N][N], b[N][N], c[N][N];

int main(void) {
    uint32_t x = 1, sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i][j] = x = x * 1664525 + 1013904223, b[i][j] = x = x * 1664525 + 1013904223;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            uint32_t s = 0;
            for (int l = 0; l < N; l++) s += a[i][l] * b[l][j];
            c[i][j] = s;
        }
    for (int i = 0; i < N; i++) sum += c[i][(i * 7) % N];
    printf("%u\n", sum);
}
