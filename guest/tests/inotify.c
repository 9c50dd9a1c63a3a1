// What inotify tells of files and directories.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "check.h"

static int watcher;
static char text[4096];

// All events that wait, as "wd:NAMES:name" words.
static const char* events(void) {
  static const struct {
    uint32_t bit;
    const char* name;
  } kNames[] = {{IN_ACCESS, "access"}, {IN_MODIFY, "modify"}, {IN_ATTRIB, "attrib"}, {IN_CLOSE_WRITE, "close_write"}, {IN_CLOSE_NOWRITE, "close"}, {IN_OPEN, "open"},
                {IN_MOVED_FROM, "from"}, {IN_MOVED_TO, "to"}, {IN_CREATE, "create"}, {IN_DELETE, "delete"}, {IN_DELETE_SELF, "delete_self"}, {IN_MOVE_SELF, "move_self"},
                {IN_IGNORED, "ignored"}, {IN_ISDIR, "+dir"}, {IN_Q_OVERFLOW, "overflow"}};
  static char buffer[65536] __attribute__((aligned(8)));
  text[0] = 0;
  const ssize_t n = read(watcher, buffer, sizeof buffer);
  for (ssize_t at = 0; at < n;) {
    const struct inotify_event* e = (const struct inotify_event*)(buffer + at);
    char* end = text + strlen(text);
    end += sprintf(end, "%s%d:", at ? " " : "", e->wd);
    for (size_t i = 0; i < sizeof kNames / sizeof *kNames; ++i)
      if (e->mask & kNames[i].bit) end += sprintf(end, "%s", kNames[i].name);
    if (e->len) sprintf(end, ":%s", e->name);
    at += (ssize_t)(sizeof *e + e->len);
  }
  return text;
}

static void expect(const char* wanted, const char* what) {
  events();
  if (strcmp(text, wanted)) printf("# expected [%s], got [%s]\n", wanted, text);
  check(!strcmp(text, wanted), what);
}

static void touch(const char* name) {
  const int fd = open(name, O_WRONLY | O_CREAT, 0600);
  must(fd >= 0 && write(fd, "x", 1) == 1, name);
  close(fd);
}

int main(void) {
  char directory[64];
  snprintf(directory, sizeof directory, "/tmp/inotify-%d", getpid());
  must(mkdir(directory, 0700) == 0 && chdir(directory) == 0, "mkdir");
  watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  check(watcher >= 0 && (fcntl(watcher, F_GETFD) & FD_CLOEXEC), "inotify_init1");
  char small[8];
  check(read(watcher, small, sizeof small) == -1 && errno == EAGAIN, "nothing has happened");
  check(inotify_add_watch(watcher, "missing", IN_ALL_EVENTS) == -1 && errno == ENOENT, "what does not exist cannot be watched");
  check(inotify_add_watch(watcher, ".", 0) == -1 && errno == EINVAL, "nothing cannot be watched for");
  check(inotify_add_watch(watcher, ".", IN_ALL_EVENTS) == 1, "a watch");
  touch("a");
  check(poll(&(struct pollfd){watcher, POLLIN, 0}, 1, 0) == 1, "poll");
  int bytes;
  check(ioctl(watcher, FIONREAD, &bytes) == 0 && bytes == 4 * 32, "FIONREAD");
  check(read(watcher, small, sizeof small) == -1 && errno == EINVAL, "a buffer that is too small");
  expect("1:create:a 1:open:a 1:modify:a 1:close_write:a", "a file is made and written");
  int fd = open("a", O_RDONLY);
  char c;
  must(read(fd, &c, 1) == 1, "read");
  must(read(fd, &c, 1) == 0, "end");
  close(fd);
  expect("1:open:a 1:access:a 1:close:a", "and read");
  chmod("a", 0644);
  truncate("a", 0);
  link("a", "b");
  expect("1:attrib:a 1:modify:a 1:create:b", "its attributes, its size, its links change");
  rename("b", "c");
  expect("1:from:b 1:to:c", "a name is moved");
  mkdir("d", 0700);
  rmdir("d");
  symlink("a", "s");
  expect("1:create+dir:d 1:delete+dir:d 1:create:s", "directories and links");
  check(inotify_add_watch(watcher, "a", IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_MODIFY) == 2, "a file itself");
  rename("a", "e");
  unlink("c");
  expect("1:from:a 1:to:e 2:move_self 2:attrib 1:delete:c", "its names change");
  fd = open("e", O_WRONLY);
  events();
  unlink("e");
  expect("2:attrib 1:delete:e", "its last name goes");
  if (write(fd, "xy", 2)) {}
  close(fd);
  events();
  check(strstr(text, "2:modify") && strstr(text, "2:delete_self 2:ignored"), "and, with the last descriptor, itself");
  check(inotify_rm_watch(watcher, 2) == -1 && errno == EINVAL, "then its watch is gone");
  touch("f");
  events();
  check(inotify_add_watch(watcher, "f", IN_MODIFY) == 3 && inotify_add_watch(watcher, "f", IN_OPEN | IN_MASK_ADD) == 3, "one watch for one file");
  check(inotify_add_watch(watcher, "f", IN_OPEN | IN_MASK_CREATE) == -1 && errno == EEXIST, "IN_MASK_CREATE");
  check(inotify_rm_watch(watcher, 1) == 0, "a watch is given back");
  expect("1:ignored", "and says so");
  touch("f");
  expect("3:open 3:modify", "the other one stays");
  check(inotify_add_watch(watcher, ".", IN_CREATE | IN_ONESHOT | IN_ONLYDIR) == 4, "a watch for one event");
  touch("g"), touch("h");
  expect("4:create:g 4:ignored", "tells of one");
  check(inotify_add_watch(watcher, "f", IN_OPEN | IN_ONLYDIR) == -1 && errno == ENOTDIR, "IN_ONLYDIR");
  fd = open("f", O_RDWR);
  events();
  for (int i = 0; i < 3; ++i)
    if (pwrite(fd, "z", 1, 0)) {}
  close(fd);
  inotify_add_watch(watcher, "f", IN_MODIFY);
  fd = open("f", O_RDWR);
  for (int i = 0; i < 3; ++i)
    if (pwrite(fd, "z", 1, 0)) {}
  close(fd);
  expect("3:modify", "what repeats is told once");
  unlink("f"), unlink("g"), unlink("h"), unlink("s");
  close(watcher);
  chdir("/");
  check(rmdir(directory) == 0, "everything is gone");
  return 0;
}
