// Pseudo-terminals and the line discipline: editing, echo, signals, modes, job control, hanging up.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "check.h"

// Milliseconds in which a terminal has done what it does.
enum { kSoon = 20 };

static int master, slave;

static void open_pair(void) {
  master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  must(master >= 0, "ptmx opens");
  char name[32];
  must(ptsname_r(master, name, sizeof name) == 0, "ptsname");
  must(open(name, O_RDWR | O_NOCTTY) < 0 && errno == EIO, "a locked slave does not open");
  must(unlockpt(master) == 0, "unlockpt");
  slave = open(name, O_RDWR | O_NOCTTY);
  must(slave >= 0, "the slave opens");
}

static void type(const char* text) {
  must(write(master, text, strlen(text)) == (ssize_t)strlen(text), "typing");
  poll(NULL, 0, kSoon);
}

// What is there to read now.
static const char* take(int fd) {
  static char buffer[4096];
  size_t n = 0;
  struct pollfd p = {fd, POLLIN, 0};
  while (n < sizeof buffer - 1 && poll(&p, 1, kSoon) == 1 && (p.revents & POLLIN)) {
    ssize_t got = read(fd, buffer + n, sizeof buffer - 1 - n);
    if (got <= 0) break;
    n += (size_t)got;
  }
  buffer[n] = 0;
  return buffer;
}
static bool shown(const char* text) {
  const char* got = take(master);
  if (strcmp(got, text) == 0) return true;
  printf("shown [");
  for (; *got; ++got) printf(*got < 32 || *got == 127 ? "\\x%02x" : "%c", *got);
  printf("]\n");
  return false;
}
static bool got(const char* text) {
  char buffer[4096];
  ssize_t n = read(slave, buffer, sizeof buffer);
  return n == (ssize_t)strlen(text) && memcmp(buffer, text, (size_t)n) == 0;
}
static int waiting(int fd) {
  int n = -1;
  poll(NULL, 0, kSoon);
  ioctl(fd, FIONREAD, &n);
  return n;
}

static struct termios initial;
static void mode(tcflag_t local_off, tcflag_t local_on) {
  struct termios t = initial;
  t.c_lflag = (t.c_lflag & ~local_off) | local_on;
  must(tcsetattr(slave, TCSANOW, &t) == 0, "tcsetattr");
}

static void lines(void) {
  type("hello\n");
  check(shown("hello\r\n"), "what is typed is echoed");
  check(waiting(slave) == 6, "FIONREAD counts whole lines");
  check(got("hello\n"), "and read as a line");
  type("abc");
  struct pollfd p = {slave, POLLIN, 0};
  check(poll(&p, 1, kSoon) == 0 && waiting(slave) == 0, "half a line is not there yet");
  type("\177\177x\025new word\027line\r");
  check(shown("abc\b \b\b \bx\b \b\b \bnew word\b \b\b \b\b \b\b \bline\r\n"), "erase, kill and word erase are shown");
  check(got("new line\n"), "and edit the line; a return ends it");
  type("one\ntwo\n");
  char small[2];
  must(read(slave, small, 2) == 2 && small[0] == 'o', "a short read");
  check(got("e\n") && got("two\n"), "a read gives at most one line, the rest stays");
  type("\004");
  check(read(slave, small, 2) == 0, "end of file at the start of a line");
  type("ab\004");
  check(got("ab"), "and a push inside one");
  type("a\026\003b\n");
  check(got("a\003b\n"), "a literal control character");
  take(master);
  type("\001\t\033\n");
  check(shown("^A\t^[\r\n") && got("\001\t\033\n"), "control characters are echoed with a caret");
  type("ab\tc\177\177d\n");
  check(shown("ab\tc\b \b\b\b\b\b\b\bd\r\n") && got("abd\n"), "erasing a tab goes back to where it began");
  char many[5000];
  memset(many, 'm', sizeof many);
  must(fcntl(master, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
  size_t typed = 0;
  for (ssize_t n; typed < sizeof many && (n = write(master, many + typed, 500)) > 0;) typed += (size_t)n, take(master);
  fcntl(master, F_SETFL, 0);
  type("\n");
  take(master);
  ssize_t n = read(slave, many, sizeof many);
  check(n == 4096 && many[4095] == '\n' && many[4094] == 'm', "a line has at most 4095 characters");
}

static void raw_modes(void) {
  struct termios t = initial;
  cfmakeraw(&t);
  t.c_cc[VMIN] = 3;
  tcsetattr(slave, TCSANOW, &t);
  type("ab");
  struct pollfd p = {slave, POLLIN, 0};
  check(poll(&p, 1, kSoon) == 0, "VMIN 3: two characters are not enough");
  type("\003");
  check(poll(&p, 1, kSoon) == 1 && got("ab\003"), "three are, whatever they are");
  check(shown(""), "nothing is echoed");
  must(write(slave, "x\n", 2) == 2, "write");
  check(shown("x\n"), "nothing is done to output");
  t.c_cc[VMIN] = 0;
  tcsetattr(slave, TCSANOW, &t);
  char c;
  check(read(slave, &c, 1) == 0, "VMIN 0, VTIME 0: a read returns at once");
  t.c_cc[VTIME] = 1;
  tcsetattr(slave, TCSANOW, &t);
  check(read(slave, &c, 1) == 0, "VTIME 1: after a tenth of a second");
  t.c_cc[VMIN] = 5;
  tcsetattr(slave, TCSANOW, &t);
  type("xy");
  check(got("xy"), "VMIN 5, VTIME 1: what came before the pause");
  type("left");
  tcsetattr(slave, TCSAFLUSH, &initial);
  type("\n");
  check(got("\n"), "TCSAFLUSH throws input away");
  mode(ICANON, 0);
  type("chars");
  mode(0, ICANON);
  check(got("chars"), "turning canonical mode on ends a line where it is");
  mode(ECHO, ECHONL);
  take(master);
  type("secret\n");
  check(shown("\r\n") && got("secret\n"), "ECHONL without ECHO");
  tcsetattr(slave, TCSANOW, &initial);
}

static volatile sig_atomic_t caught[65];
static void on_signal(int s) { caught[s]++; }

// Runs in a child that leads a session with the slave as its terminal.
static void job_control(void) {
  close(master), close(slave);
  open_pair();
  must(setsid() > 0 && ioctl(slave, TIOCSCTTY, 0) == 0, "setsid, TIOCSCTTY");
  check(tcgetpgrp(slave) == getpid() && tcgetsid(slave) == getpid(), "the session's leader is in the foreground");
  int mine = open("/dev/tty", O_RDWR);
  struct stat a, b;
  must(mine >= 0 && fstat(mine, &a) == 0 && fstat(slave, &b) == 0, "/dev/tty");
  check(major(a.st_rdev) == 5 && major(b.st_rdev) == 136, "/dev/tty is the terminal, under its own number");
  struct sigaction act = {.sa_handler = on_signal};
  for (int s = 1; s < 32; ++s)
    if (s == SIGINT || s == SIGQUIT || s == SIGWINCH || s == SIGHUP) sigaction(s, &act, NULL);
  type("gone\003");
  check(caught[SIGINT] == 1 && shown("^C"), "VINTR interrupts, and flushes the output");
  type("\034");
  check(caught[SIGQUIT] == 1, "VQUIT");
  take(master);
  struct winsize w = {33, 44, 0, 0}, got_size;
  must(ioctl(master, TIOCSWINSZ, &w) == 0 && ioctl(slave, TIOCGWINSZ, &got_size) == 0, "window size");
  check(caught[SIGWINCH] == 1 && got_size.ws_row == 33 && got_size.ws_col == 44, "a new window size is a signal");

  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    char c;
    signal(SIGTTIN, SIG_DFL);
    read(slave, &c, 1);
    _exit(c == 'k' ? 42 : 1);
  }
  setpgid(child, child);
  int status;
  must(waitpid(child, &status, WUNTRACED) == child, "waitpid");
  check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN, "a reader in the background stops");
  signal(SIGTTOU, SIG_IGN);
  must(tcsetpgrp(slave, child) == 0, "tcsetpgrp");
  must(kill(-child, SIGCONT) == 0, "SIGCONT");
  type("k\n");
  must(waitpid(child, &status, 0) == child, "waitpid");
  check(WIFEXITED(status) && WEXITSTATUS(status) == 42, "and reads when it is in the foreground");
  check(tcsetpgrp(slave, getpid()) == 0, "a background group that ignores SIGTTOU may take the terminal back");
  check(tcsetpgrp(slave, 1) < 0 && (errno == EPERM || errno == ESRCH), "no group of another session");

  child = fork();
  if (child == 0) {
    setpgid(0, 0);
    signal(SIGTTOU, SIG_DFL);
    struct termios t;
    tcgetattr(slave, &t);
    tcsetattr(slave, TCSANOW, &t);
    _exit(0);
  }
  setpgid(child, child);
  must(waitpid(child, &status, WUNTRACED) == child, "waitpid");
  check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU, "changing the settings from the background stops");
  kill(child, SIGKILL);
  waitpid(child, &status, 0);

  take(master);
  child = fork();
  if (child == 0) {
    setpgid(0, 0);
    signal(SIGTTOU, SIG_DFL);
    must(write(slave, "back", 4) == 4, "writing");
    _exit(0);
  }
  waitpid(child, &status, 0);
  check(WIFEXITED(status) && shown("back"), "writing from the background goes through without TOSTOP");

  close(master);
  check(caught[SIGHUP] == 1, "closing the master hangs the session's leader up");
  char c;
  check(read(slave, &c, 1) == 0, "readers get end of file");
  check(write(slave, &c, 1) < 0 && errno == EIO, "writers an error");
  check(open("/dev/tty", O_RDWR) < 0 && errno == ENXIO, "there is no controlling terminal any more");
}

int main(void) {
  alarm(60);
  open_pair();
  must(tcgetattr(slave, &initial) == 0, "tcgetattr");
  check(isatty(slave) && isatty(master), "both sides are terminals");
  check((initial.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG) && (initial.c_oflag & ONLCR) && initial.c_cc[VINTR] == 3, "standard settings");
  char name[64];
  check(ttyname_r(slave, name, sizeof name) == 0 && strncmp(name, "/dev/pts/", 9) == 0, "ttyname");
  lines();
  raw_modes();
  must(write(slave, "a\nb", 3) == 3, "write");
  check(shown("a\r\nb"), "a newline goes to the next line's start");
  int on = 1;
  ioctl(master, TIOCPKT, &on);
  must(write(slave, "p", 1) == 1, "write");
  char packet[8];
  check(read(master, packet, sizeof packet) == 2 && packet[0] == 0 && packet[1] == 'p', "packet mode");
  on = 0;
  ioctl(master, TIOCPKT, &on);
  type("\023");
  struct pollfd p = {slave, POLLOUT, 0};
  check(poll(&p, 1, kSoon) == 0, "VSTOP stops output");
  type("\021");
  check(poll(&p, 1, kSoon) == 1, "VSTART starts it");
  int status = in_child(job_control);
  must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "job control's child");
  close(slave);
  char c;
  check(read(master, &c, 1) < 0 && errno == EIO, "without a slave a reader of the master gets an error");
  close(master);
  return 0;
}
