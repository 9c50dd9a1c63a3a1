// 200 times: fork, the child writes to every page of 1 MiB and exits, the parent waits.
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    const long size = 1L << 20;
    volatile char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 1;
    for (long i = 0; i < size; i += 4096) p[i] = 1;
    for (int n = 0; n < 200; n++) {
        pid_t child = fork();
        if (child < 0) return 1;
        if (child == 0) {
            for (long i = 0; i < size; i += 4096) p[i] = 2;
            _exit(0);
        }
        if (waitpid(child, 0, 0) != child) return 1;
    }
    printf("%d\n", p[0]);
}
