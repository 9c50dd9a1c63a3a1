# The monitor: where it opens, what it shows, what it refuses, and that looking changes nothing.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox touch=$guests/touch
# monitor WHERE COMMANDS PROGRAM...: what it prints
monitor() { local where=$1 commands=$2; shift 2; "$vitro" run --monitor "$commands" --monitor-at "$where" -- "$@" 2>&1 >/dev/null; }
has() { grep -q -- "$2" <<<"$1"; }
a=$("$vitro" run -- "$touch" 1M --print | tail -n 1)

w=$(monitor exit "walk $a" "$touch" 1M --print)
for level in PGD PUD PMD PTE; do check "walk shows $level" has "$w" "^$level  table frame 0x"; done
check "and the flags of a written page" has "$w" "^PTE .*present rw user accessed dirty nx"
check "and where it is" has "$w" "^physical address 0x[0-9a-f]*000: frame 0x[0-9a-f]*, 4 KiB page, user rw-"
check "and what lies there" has "$w" "is anonymous: refcount 1, mapcount 1"
w2=$(monitor exit "walk $a + 0x3123" "$touch" 1M)
check "another page has another frame" test "$(grep ^physical <<<"$w")" != "$(grep ^physical <<<"$w2")"
check "and the offset in the page stays" has "$w2" "^physical address 0x[0-9a-f]*123:"
check "no area" has "$(monitor exit 'walk 0x10' "$touch" 1M)" "^PMD: not present: no VMA covers it"
check "an area that was not touched" has "$(monitor start 'walk main' "$touch" 1M)" "^PTE: not present: no page has been touched here; the VMA is .*touch r-xp"
check "a non-canonical address" has "$(monitor exit 'walk 0x8000000000000000' "$touch" 1M)" "^non-canonical"
check "the kernel's half" has "$(monitor exit 'walk 0xffff888000000000' "$touch" 1M)" "kernel only"
frame=$(sed -n 's/^physical.*frame \(0x[0-9a-f]*\),.*/\1/p' <<<"$w")
f=$(monitor exit "frame $frame; frame 0; frame 0xffffffff" "$touch" 1M --print)
check "a frame knows who maps it" has "$f" "^mapped by pid 3 (touch) at $a: anonymous rw-p"
check "and its list" has "$f" "^LRU list inactive_anon"
check "reserved frames" has "$f" "^frame 0x0 at physical 0x0: reserved"
check "frames beyond RAM" has "$f" "there is no frame 0xffffffff: RAM has frames 0 to 0x3ffff"
check "a file's page" has "$(monitor exit 'x/s 0x400001' "$touch" 1M)" '^0x400001.*: "ELF'
check "hexadecimal bytes" has "$(monitor exit 'x/4xb 0x400000' "$touch" 1M)" "0x7f  0x45  0x4c  0x46"
check "a number of 4 bytes" has "$(monitor exit 'x 0x400000' "$touch" 1M)" "0x464c457f"
check "what is not there" has "$(monitor exit 'x 0x10' "$touch" 1M)" "^0x10 is not mapped to memory"
check "instructions" has "$(monitor exit 'disas main 1; x/1i main' "$touch" 1M)" "<main+0x0>: push"
check "areas" has "$(monitor exit 'maps; maps 3; maps 99' "$touch" 1M)" "\[stack\]"
check "areas of nobody" has "$(monitor exit 'maps 99' "$touch" 1M)" "^there is no process 99"
check "tasks" has "$(monitor exit ps "$touch" 1M)" "^\* *3 *3 *1 R .*touch"
check "counters" test "$(monitor exit 'counters thp_zero_page_alloc' "$touch" 1M | tail -n +2 | wc -l)" = 2
check "counters by pattern" has "$(monitor exit 'counters tlb.l?.misses' "$touch" 1M)" "^tlb.l2.misses [1-9]"
check "the TLB" has "$(monitor exit 'tlb l1d-4k' "$touch" 1M)" "page 0x.* frame 0x.* rw- user dirty"
check "registers" has "$(monitor syscall=exit_group regs "$touch" 1M)" "^rax 00000000000000e7"
check "SSE registers" has "$(monitor exit 'regs all' "$touch" 1M)" "^mxcsr 0x1f80"

check "start is before the first instruction" has "$(monitor start 'regs; counters instructions' $bb true)" "^instructions 0$"
check "the Nth fault" has "$(monitor fault=5 'counters pgfault' "$touch" 1M)" "^vitro: page fault 5: "
traced=$("$vitro" run --trace page_fault_user -- "$touch" 1M 2>&1 >/dev/null | sed -n '5s/.*address=\(0x[0-9a-f]*\).*/\1/p')
check "is the trace's Nth fault" has "$(monitor fault=5 ps "$touch" 1M)" "at $traced,"
check "and its entry is there" has "$(monitor fault=5 "walk $traced" "$touch" 1M)" "^physical address"
check "a time while everybody sleeps" has "$(monitor time=1.5 ps $bb sleep 3)" "1.500000000 s"
check "a time in a busy program" has "$(monitor time=0.01 ps $bb sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done')" "0.0100[0-9]* s"
check "before a system call" has "$(monitor syscall=mmap 'regs' "$touch" 1M)" "^rax 0000000000000009"
check "but only the first" test "$("$vitro" run --monitor ps --monitor-at syscall=write -- $bb sh -c 'echo a; echo b' 2>&1 | grep -c 'before system call')" = 1
both=$("$vitro" run --monitor ps --monitor-at start --monitor-at exit -- $bb true 2>&1)
check "several stops" test "$(grep -c '^vitro: start\|^vitro: exit' <<<"$both")" = 2
s=$(monitor start 'step; regs; step 4; step 2' "$touch" 1M)
equal "steps move the instruction pointer" "3" "$(grep -c 'instructions, then touch (pid 3) at 0x40' <<<"$s")"
equal "each to another place" 3 "$(sed -n 's/.*then .* at \(0x[0-9a-f]*\).*/\1/p' <<<"$s" | sort -u | wc -l)"
check "a step beyond the end" has "$(monitor start 'step 100000000; ps' $bb true)" "of 100000000 instructions, then the program has ended"
equal "and the commands behind it run" 1 "$(monitor start 'step 100000000; ps' $bb true | grep -c COMMAND)"
equal "continue leaves out what follows" 0 "$(monitor start 'continue; ps' $bb true | grep -c COMMAND)"

typed=$(printf 'regs all\nfly\nwalk\nstep 2; counters instructions\n\nquit\n' | "$vitro" run --monitor - -- $bb echo hello 2>&1)
check "typed commands" has "$typed" "^(vitro) regs all"
check "errors do not end the session" has "$typed" "^unknown monitor command 'fly': help lists the commands"
check "nor do wrong arguments" has "$typed" "^walk: an address is missing: write walk"
check "the guest runs on" has "$typed" "^hello"
equal "the end of input lets the program run on" "hello" "$("$vitro" run --monitor - -- $bb echo hello 2>/dev/null </dev/null)"
equal "the guest gets what follows the commands" "for the guest" "$(printf 'quit\nfor the guest\n' | "$vitro" run --monitor - -- $bb cat 2>/dev/null)"
equal "continue goes to the exit" 2 "$(printf 'continue\nquit\n' | "$vitro" run --monitor - -- $bb true 2>&1 | grep -c '^vitro: start\|^vitro: exit')"

# Looking changes nothing: output, statistics and traces are equal to the byte.
load='for i in 1 2; do (seq 1 300 | sort -rn | tail -n 1; sleep 0.0$i) & done; wait; cat /proc/self/stat /proc/stat /proc/meminfo /proc/vmstat'
look='walk $rsp; walk 0x10; maps; frame 0x3000; tlb; x/64gx $rsp; regs all; disas; counters; ps; x/s main'
for m in exact trap; do
  policy=$([ $m = trap ] && echo --tlb-l1d 64x4:fifo)
  "$vitro" run --mmu $m $policy --stats-json "$scratch/plain.json" --trace 'page-fault,syscall,signal,task' --trace-out "$scratch/plain.trace" -- $bb sh -c "$load" >"$scratch/plain.out" 2>&1
  "$vitro" run --mmu $m $policy --stats-json "$scratch/seen.json" --trace 'page-fault,syscall,signal,task' --trace-out "$scratch/seen.trace" --monitor "$look; step 500; $look" \
    --monitor-at start --monitor-at fault=30 --monitor-at fault=200 --monitor-at time=0.002 --monitor-at time=0.015 --monitor-at syscall=write --monitor-at exit -- $bb sh -c "$load" >"$scratch/seen.out" 2>"$scratch/seen.err"
  check "$m: the monitor was there" test "$(grep -c '^vitro: ' "$scratch/seen.err")" = 7
  check "$m: it changes no output" cmp "$scratch/plain.out" "$scratch/seen.out"
  check "$m: no statistics" cmp "$scratch/plain.json" "$scratch/seen.json"
  check "$m: no trace" cmp "$scratch/plain.trace" "$scratch/seen.trace"
done
"$vitro" run --stats-json "$scratch/plain.json" -- $bb sh -c "$load" >"$scratch/plain.out" 2>&1
"$vitro" run --stats-json "$scratch/seen.json" --monitor "$look; step 20000" --monitor-at fault=100 --monitor-at time=0.015 -- $bb sh -c "$load" >"$scratch/seen.out" 2>/dev/null
check "untraced: it changes no output" cmp "$scratch/plain.out" "$scratch/seen.out"
check "untraced: no statistics" cmp "$scratch/plain.json" "$scratch/seen.json"

refused "an unknown command" run --monitor 'walk 0x10; fly' -- $bb echo no
refused "a wrong argument" run --monitor 'x/zz 0x10' -- $bb echo no
refused "no command" run --monitor ' ; ' -- $bb echo no
refused "an unknown place" run --monitor ps --monitor-at noon -- $bb echo no
refused "an unknown system call" run --monitor ps --monitor-at syscall=fly -- $bb echo no
refused "a fault of no number" run --monitor ps --monitor-at fault=0 -- $bb echo no
refused "a place without commands" run --monitor-at exit -- $bb echo no
finish
