// A file of 256 MiB is written and read back in pieces of 64 KiB.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char buffer[65536];
    const char *name = argc > 1 ? argv[1] : "/tmp/vitro-bench-file";
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);
    if (fd < 0) return 1;
    memset(buffer, 'x', sizeof buffer);
    for (int i = 0; i < 4096; i++)
        if (write(fd, buffer, sizeof buffer) != (ssize_t)sizeof buffer) return 1;
    lseek(fd, 0, SEEK_SET);
    long sum = 0, n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0) sum += n;
    printf("%ld\n", sum);
    close(fd);
    return unlink(name) != 0;
}
