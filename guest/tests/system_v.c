// System V semaphores and message queues.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>

#include "check.h"

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
  struct seminfo* info;
};

static int set, queue;

static int operate(int number, int change, int flags) {
  struct sembuf o = {(unsigned short)number, (short)change, (short)flags};
  return semop(set, &o, 1);
}
static int value(int number) { return semctl(set, number, GETVAL); }

static void take_and_die(void) { must(operate(0, -1, SEM_UNDO) == 0, "take"); }
static void wait_for_zero(void) { must(operate(1, 0, 0) == 0, "zero"); }
static void wait_for_more(void) { must(operate(2, -3, 0) == 0, "more"); }
static void wait_for_removal(void) { must(operate(2, -100, 0) == -1 && errno == EIDRM, "removal"); }

static pid_t start(void (*body)(void)) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  return child;
}
static int ended_well(pid_t child) {
  int status;
  return waitpid(child, &status, 0) == child && status == 0;
}
static void wait_until(int number, int command) {
  while (semctl(set, number, command) == 0) usleep(1000);
}
static void on_signal(int s) { (void)s; }

struct text {
  long type;
  char text[64];
};
static int put(long type, const char* text, int flags) {
  struct text m = {.type = type};
  strcpy(m.text, text);
  return msgsnd(queue, &m, strlen(text) + 1, flags);
}
static const char* get(long type, int flags) {
  static struct text m;
  return msgrcv(queue, &m, sizeof m.text, type, flags | IPC_NOWAIT) < 0 ? NULL : m.text;
}
static void receive_seven(void) {
  struct text m;
  must(msgrcv(queue, &m, sizeof m.text, 7, 0) == 6 && !strcmp(m.text, "seven"), "seven");
}
static void receive_until_removed(void) {
  struct text m;
  must(msgrcv(queue, &m, sizeof m.text, 99, 0) == -1 && errno == EIDRM, "removed");
}

static void semaphores(void) {
  set = semget(IPC_PRIVATE, 3, 0600);
  check(set >= 0, "a set of semaphores");
  check(value(0) == 0 && semctl(set, 0, SETVAL, (union semun){.val = 2}) == 0 && value(0) == 2, "values");
  check(operate(0, -1, 0) == 0 && value(0) == 1 && semctl(set, 0, GETPID) == getpid(), "an operation, and who made it");
  check(operate(0, -2, IPC_NOWAIT) == -1 && errno == EAGAIN, "one that would wait");
  check(operate(3, 1, 0) == -1 && errno == EFBIG, "one beyond the set");
  check(operate(0, 32767, 0) == -1 && errno == ERANGE && value(0) == 1, "one beyond the largest value");
  struct sembuf both[2] = {{0, -1, 0}, {1, -1, IPC_NOWAIT}};
  check(semop(set, both, 2) == -1 && errno == EAGAIN && value(0) == 1, "all operations of a call or none");
  check(in_child(take_and_die) == 0 && value(0) == 1, "SEM_UNDO: what an ended process took is given back");
  struct sembuf o = {0, -5, 0};
  struct timespec soon = {0, 20000000};
  check(semtimedop(set, &o, 1, &soon) == -1 && errno == EAGAIN, "a time limit");

  unsigned short values[3] = {1, 2, 0}, seen[3];
  check(semctl(set, 0, SETALL, (union semun){.array = values}) == 0 && semctl(set, 0, GETALL, (union semun){.array = seen}) == 0 && !memcmp(values, seen, sizeof seen), "all values at once");
  pid_t child = start(wait_for_zero);
  wait_until(1, GETZCNT);
  check(operate(1, -2, 0) == 0 && ended_well(child), "waiting for zero");
  child = start(wait_for_more);
  wait_until(2, GETNCNT);
  operate(2, 1, 0);
  operate(2, 1, 0);
  check(value(2) == 2 && operate(2, 1, 0) == 0 && ended_well(child) && value(2) == 0, "waiting for more");

  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  ualarm(20000, 0);
  check(operate(2, -1, 0) == -1 && errno == EINTR, "a signal ends the wait, SA_RESTART or not");
  struct semid_ds state;
  check(semctl(set, 0, IPC_STAT, (union semun){.buf = &state}) == 0 && state.sem_nsems == 3 && (state.sem_perm.mode & 0777) == 0600 && state.sem_otime != 0, "its state");
  child = start(wait_for_removal);
  wait_until(2, GETNCNT);
  check(semctl(set, 0, IPC_RMID) == 0 && ended_well(child), "removal ends waits");
  check(semctl(set, 0, GETVAL) == -1 && errno == EINVAL, "and then it is gone");
  const key_t key = 0x7654321 ^ getpid();
  set = semget(key, 1, IPC_CREAT | IPC_EXCL | 0600);
  check(set >= 0 && semget(key, 1, 0) == set && semget(key, 2, 0) == -1 && errno == EINVAL, "a set is found by its key");
  check(semget(key, 1, IPC_CREAT | IPC_EXCL) == -1 && errno == EEXIST && semctl(set, 0, IPC_RMID) == 0 && semget(key, 1, 0) == -1 && errno == ENOENT, "until it is removed");
}

static void messages(void) {
  queue = msgget(IPC_PRIVATE, 0600);
  check(queue >= 0, "a message queue");
  check(get(0, 0) == NULL && errno == ENOMSG, "an empty one");
  check(put(0, "x", 0) == -1 && errno == EINVAL, "a type must be positive");
  put(3, "three", 0), put(1, "one", 0), put(2, "two", 0), put(1, "uno", 0);
  struct msqid_ds state;
  check(msgctl(queue, IPC_STAT, &state) == 0 && state.msg_qnum == 4 && state.msg_cbytes == 18 && state.msg_lspid == getpid(), "its state");
  check(!strcmp(get(2, 0), "two"), "the first of a type");
  check(!strcmp(get(-2, 0), "one"), "the lowest type");
  check(!strcmp(get(3, MSG_EXCEPT), "uno"), "another type than");
  struct text m;
  check(msgrcv(queue, &m, 2, 0, 0) == -1 && errno == E2BIG, "one that does not fit");
  check(msgrcv(queue, &m, 2, 0, MSG_NOERROR) == 2 && m.type == 3 && !memcmp(m.text, "th", 2), "or is cut short");
  pid_t child = start(receive_seven);
  put(8, "eight", 0);
  put(7, "seven", 0);
  check(ended_well(child) && !strcmp(get(0, 0), "eight"), "a receiver waits for its type");
  state.msg_qbytes = 10;
  check(msgctl(queue, IPC_SET, &state) == 0 && put(1, "12345", 0) == 0 && put(1, "12345", IPC_NOWAIT) == -1 && errno == EAGAIN, "a full queue");
  child = start(receive_until_removed);
  usleep(20000);
  check(msgctl(queue, IPC_RMID, NULL) == 0 && ended_well(child), "removal ends waits");
  check(put(1, "x", 0) == -1 && errno == EINVAL, "and then it is gone");
}

int main(void) {
  semaphores();
  messages();
  return 0;
}
