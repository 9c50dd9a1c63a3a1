# Random programs on little memory (guest/stress.c), which check what they wrote; disk errors, a full disk, full swap, runs that are killed.
# STRESS_SEEDS=FROM-TO runs more of them, STRESS_STEPS=N longer ones.
. "$(dirname "$0")/lib.sh"
range=${STRESS_SEEDS:-1-2}
steps=${STRESS_STEPS:-400}
stress() {  # stress SEED OPTIONS... -- ARGUMENTS...: everything it wrote is there, or it was killed for memory, and the machine is consistent
  local seed=$1 options=(); shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local out; out=$("$vitro" run --mmu fast --verify full --seed "$seed" "${options[@]}" -- "$guests/stress" "$seed" "$steps" /root "$@" 2>"$scratch/err")
  local status=$?
  case "$status $out" in
    "0 ok" | "0 killed") equal "" "" "" ;;
    # A page of the program itself that cannot be read is its end, but not the machine's.
    "135 "* | "1 signal 7"* | "4 SIGBUS"*) equal "disk errors only" --disk-faults "$(grep -o -- --disk-faults <<<"${options[*]}")" ;;
    *) equal "stress $seed ${options[*]} $*" "0 ok" "$status $out $(tail -n 2 "$scratch/err")" ;;
  esac
}
for seed in $(seq "${range%-*}" "${range#*-}"); do
  stress "$seed" --ram 16M --disk 64M --
  stress "$seed" --ram 8M --swap 32M --
  stress "$seed" --ram 8M --disk 16M --
  stress "$seed" --ram 24M --disk 64M --swap 32M --
  stress "$seed" --ram 32M --disk 64M --swap 4M --
  stress "$seed" --ram 16M --disk 64M --swap 64M --
  stress "$seed" --ram 16M --swap 32M --disk-faults read=0.002,write=0.002 -- faults
  stress "$seed" --ram 32M --disk 4M -- full
done
# What fsync said is on the disk is there after a kill at any moment.
for seed in $(seq "${range%-*}" "${range#*-}"); do
  image=$scratch/image.$seed
  "$vitro" run --ram 24M --disk 32M --disk-image "$image" --mmu fast -- /bin/busybox sh -c "mkdir -p /kept; exec $guests/stress sync $seed /kept" >"$scratch/log" 2>/dev/null &
  pid=$!
  for _ in $(seq 200); do [ "$(wc -l <"$scratch/log")" -ge $((5 + seed % 40)) ] && break; sleep 0.05; done
  kill -9 $pid
  wait $pid 2>/dev/null
  sed -n '/^synced [0-9]* [0-9]* [0-9]*$/p' "$scratch/log" >"$scratch/lines"
  equal "seed $seed: what was synced is there after a kill" "verified all" "$("$vitro" run --ram 24M --disk-image "$image" --mmu fast --verify full -- "$guests/stress" verify /kept <"$scratch/lines" 2>&1)"
  rm -f "$image"
done
finish
