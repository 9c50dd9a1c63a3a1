// What a thread that dies or execs does to its user memory.
#pragma once

namespace vitro::kernel {

class Kernel;
class Task;

// Marks the robust futexes that the thread holds as orphaned and wakes one waiter of each.
void release_robust_futexes(Kernel& kernel, Task& t);
// mm_release: what user space wants to know when a thread leaves its memory: robust futexes, and the word that pthread_join sleeps on.
void release_user_claims(Kernel& kernel, Task& t);

}  // namespace vitro::kernel
