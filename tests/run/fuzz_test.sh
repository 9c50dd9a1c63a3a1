# Whatever system calls a guest makes, with whatever arguments, the run ends as the guest's own doing and every invariant still holds.
. "$(dirname "$0")/lib.sh"
for seed in 11 12 13 14; do
  "$vitro" run --mmu fast --ram 96M --verify full -- "$guests/fuzz_syscalls" $seed 1500 5 >"$scratch/out" 2>"$scratch/err" </dev/null
  equal "random system calls, seed $seed: the run ends well" 0 $?
  equal "random system calls, seed $seed: the parent sees the end" "done" "$(tail -n 1 "$scratch/out")"
done
for mode in exact fast; do  # the same in every run and every mode
  "$vitro" run --mmu $mode --ram 96M -- "$guests/fuzz_syscalls" 3 600 3 >"$scratch/$mode" 2>/dev/null </dev/null
done
equal "what happens depends on nothing but the seed" "$(cat "$scratch/exact")" "$(cat "$scratch/fast")"
finish
