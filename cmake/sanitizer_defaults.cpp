// What AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer read at the start of every program of a sanitized build. It is
// compiled into them, so that it holds for tests, scripts and runs by hand alike; ASAN_OPTIONS, LSAN_OPTIONS and UBSAN_OPTIONS override it.

extern "C" {

// Frames of returned functions stay poisoned: a fibre's stack that is used after its frame has gone is found too. Nothing is printed
// about suppressions: standard error belongs to guests and to the tests that read it.
const char* __asan_default_options() { return "detect_stack_use_after_return=1:print_suppressions=0"; }

const char* __ubsan_default_options() { return "print_stacktrace=1"; }

// Leaks that are not ours. Unicorn is not instrumented and keeps no frame pointers: its innermost function is all that a leak's stack names.
const char* __lsan_default_suppressions() {
  return
      // Unicorn 2.1 makes an engine's list of unmapped regions in uc_init_engine, and uc_close leaves its head (32 bytes an engine) behind.
      "leak:^g_array_new$\n";
}
}
