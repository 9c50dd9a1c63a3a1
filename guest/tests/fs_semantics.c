// Files and directories: what open, rename, unlink, lseek, truncate and the rest promise.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "check.h"

static bool holds(const char* name, const char* text) {
  char buffer[256];
  int fd = open(name, O_RDONLY);
  if (fd < 0) return false;
  ssize_t n = read(fd, buffer, sizeof buffer);
  close(fd);
  return n == (ssize_t)strlen(text) && !memcmp(buffer, text, (size_t)n);
}

static void make(const char* name, const char* text) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), name);
  close(fd);
}

int main(void) {
  char top[] = "/tmp/fs_semantics.XXXXXX", buffer[8192];
  must(mkdtemp(top) && chdir(top) == 0, "mkdtemp");
  struct stat st, st2;

  make("a", "first");
  check(open("a", O_CREAT | O_EXCL | O_RDWR, 0644) == -1 && errno == EEXIST, "O_EXCL refuses an existing file");
  check(open("b", O_RDONLY) == -1 && errno == ENOENT, "a missing file is ENOENT");
  check(open("a/b", O_RDONLY) == -1 && errno == ENOTDIR, "below a file is ENOTDIR");
  check(open(".", O_WRONLY) == -1 && errno == EISDIR, "writing a directory is EISDIR");
  umask(022);
  int fd = open("mode", O_CREAT | O_WRONLY, 0666);
  must(fstat(fd, &st) == 0, "fstat");
  check((st.st_mode & 07777) == 0644 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_size == 0, "umask takes rights away");
  close(fd);

  int one = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644), two = open("log", O_WRONLY | O_APPEND);
  must(write(one, "1", 1) == 1 && write(two, "2", 1) == 1 && write(one, "3", 1) == 1, "append");
  check(holds("log", "123"), "O_APPEND always writes at the end");
  close(one), close(two);
  fd = open("log", O_RDWR);
  int copy = dup(fd), other = open("log", O_RDONLY);
  must(lseek(fd, 2, SEEK_SET) == 2, "lseek");
  check(lseek(copy, 0, SEEK_CUR) == 2 && lseek(other, 0, SEEK_CUR) == 0, "dup shares the offset, another open does not");
  must(ftruncate(fd, 1) == 0, "ftruncate");
  check(read(fd, buffer, 10) == 0, "beyond the end there is nothing to read");
  must(ftruncate(fd, 5) == 0 && pread(fd, buffer, 10, 0) == 5, "grow");
  check(!memcmp(buffer, "1\0\0\0\0", 5), "a file grown by truncation reads zeros");
  must(lseek(fd, 100000, SEEK_SET) == 100000 && write(fd, "end", 3) == 3 && fstat(fd, &st) == 0, "sparse");
  check(st.st_size == 100003 && pread(fd, buffer, 4096, 50000) == 4096 && !buffer[0] && !memcmp(buffer, buffer + 1, 4095),
        "a hole reads zeros");
  check(lseek(fd, -1, SEEK_SET) == -1 && errno == EINVAL, "a negative offset is EINVAL");
  struct iovec io[2] = {{buffer, 2}, {buffer + 100, 1}};
  check(preadv(fd, io, 2, 100000) == 3 && !memcmp(buffer, "en", 2) && buffer[100] == 'd', "preadv scatters");
  close(fd), close(copy), close(other);
  check(read(fd, buffer, 1) == -1 && errno == EBADF, "a closed descriptor is EBADF");
  int lowest = open("a", O_RDONLY);
  check(lowest == fd, "the lowest number is used again");
  close(lowest);

  make("old", "old"), make("new", "new");
  fd = open("new", O_RDONLY);
  check(rename("old", "new") == 0 && holds("new", "old") && access("old", F_OK) == -1, "rename replaces its target");
  check(read(fd, buffer, 10) == 3 && !memcmp(buffer, "new", 3), "who had it open still reads the old contents");
  close(fd);
  fd = open("new", O_RDWR);
  must(unlink("new") == 0 && pwrite(fd, "still", 5, 0) == 5 && pread(fd, buffer, 5, 0) == 5 && fstat(fd, &st) == 0, "unlinked");
  check(!memcmp(buffer, "still", 5) && st.st_nlink == 0, "an unlinked file lives while it is open");
  close(fd);
  must(link("a", "a2") == 0 && stat("a", &st) == 0 && stat("a2", &st2) == 0, "link");
  check(st.st_ino == st2.st_ino && st.st_nlink == 2, "a hard link is the same file");
  check(rename("a", "a2") == 0 && access("a", F_OK) == 0, "renaming one link to the other does nothing");
  must(unlink("a2") == 0, "unlink");

  must(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0, "mkdir");
  check(mkdir("d", 0755) == -1 && errno == EEXIST, "mkdir of what exists");
  check(rmdir("d") == -1 && errno == ENOTEMPTY, "rmdir of what is not empty");
  check(unlink("d") == -1 && errno == EISDIR, "unlink of a directory");
  check(rmdir("a") == -1 && errno == ENOTDIR, "rmdir of a file");
  check(rename("d", "d/e/x") == -1 && errno == EINVAL, "a directory cannot be moved into itself");
  check(rename("a", "d") == -1 && errno == EISDIR, "nor be replaced by a file");
  check(stat("d", &st) == 0 && st.st_nlink == 3 && S_ISDIR(st.st_mode), "a directory's links count its subdirectories");
  must(rename("d/e", "f") == 0 && rmdir("d") == 0 && rmdir("f") == 0, "move and remove");

  must(symlink("a", "s") == 0 && symlink("loop2", "loop1") == 0 && symlink("loop1", "loop2") == 0 && symlink("nowhere", "dangling") == 0,
       "symlink");
  check(holds("s", "first") && readlink("s", buffer, sizeof buffer) == 1 && lstat("s", &st) == 0 && S_ISLNK(st.st_mode) && st.st_size == 1,
        "a symbolic link leads to its target");
  check(open("loop1", O_RDONLY) == -1 && errno == ELOOP, "a loop is ELOOP");
  check(open("s", O_RDONLY | O_NOFOLLOW) == -1 && errno == ELOOP, "O_NOFOLLOW too");
  check(open("dangling", O_RDONLY) == -1 && errno == ENOENT, "a dangling one is ENOENT");
  fd = open("dangling", O_CREAT | O_WRONLY, 0644);
  check(fd >= 0 && access("nowhere", F_OK) == 0, "unless it is to be created");
  close(fd);
  char longname[300];
  memset(longname, 'n', 299), longname[299] = 0;
  check(open(longname, O_CREAT | O_WRONLY, 0644) == -1 && errno == ENAMETOOLONG, "299 characters are too long for a name");

  must(mkdir("many", 0755) == 0 && chdir("many") == 0, "mkdir");
  for (int i = 0; i < 500; i++) snprintf(buffer, sizeof buffer, "file%03d", i), make(buffer, "");
  DIR* dir = opendir(".");
  must(dir != NULL, "opendir");
  int seen = 0, dots = 0;
  for (struct dirent* e; (e = readdir(dir));) {
    if (e->d_name[0] == '.')
      dots++;
    else
      seen++, must(unlink(e->d_name) == 0, "unlink while listing");
  }
  closedir(dir);
  check(seen == 500 && dots == 2, "every entry is listed once although each is deleted on the way");
  must(chdir("..") == 0, "chdir");
  check(rmdir("many") == 0, "and the directory is empty then");

  check(getcwd(buffer, sizeof buffer) && !strcmp(buffer, top), "getcwd");
  int here = open(".", O_RDONLY | O_DIRECTORY);
  make("rel", "relative");
  fd = openat(here, "rel", O_RDONLY);
  check(fd >= 0 && fchdir(here) == 0 && unlinkat(here, "rel", 0) == 0, "openat, fchdir, unlinkat");
  close(fd), close(here);

  must(chmod("a", 0) == 0 && stat("a", &st) == 0, "chmod");
  check((st.st_mode & 07777) == 0, "chmod");
  struct timespec times[2] = {{1000000000, 5}, {1100000000, 7}};
  must(utimensat(AT_FDCWD, "a", times, 0) == 0 && stat("a", &st) == 0, "utimensat");
  check(st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 7 && st.st_atim.tv_sec == 1000000000, "utimensat sets the times");
  fd = open("big", O_CREAT | O_RDWR, 0644);
  bool right = true;
  for (int i = 0; i < 300; i++) {
    memset(buffer, i, sizeof buffer);
    must(write(fd, buffer, sizeof buffer) == sizeof buffer, "write");
  }
  for (int i = 299; i >= 0; i--)
    must(pread(fd, buffer, sizeof buffer, (off_t)i * 8192) == 8192, "pread"), right &= (unsigned char)buffer[4000] == (unsigned char)i;
  check(right && lseek(fd, 0, SEEK_END) == 300 * 8192, "2.4 MB written and read back");
  check(fsync(fd) == 0 && fdatasync(fd) == 0, "fsync");
  close(fd);

  const char* left[] = {"a", "mode", "log", "s", "loop1", "loop2", "dangling", "nowhere", "big"};
  for (size_t i = 0; i < sizeof left / sizeof *left; i++) must(unlink(left[i]) == 0, left[i]);
  check(chdir("/") == 0 && rmdir(top) == 0, "nothing is left over");
  return 0;
}
