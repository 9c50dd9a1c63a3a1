# Checks on whole runs. A test sources this file (vitro's path is its first argument), makes its checks and ends with `finish`.
set -u
vitro=$(realpath "$1")
guests=$(dirname "$vitro")/guest
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0 checked=0
check() {  # check NAME CONDITION...: the condition is a command
  local name=$1; shift
  checked=$((checked + 1))
  if "$@"; then :; else failed=$((failed + 1)); echo "FAIL $name"; fi
}
equal() {  # equal NAME EXPECTED ACTUAL
  checked=$((checked + 1))
  if [ "$2" != "$3" ]; then failed=$((failed + 1)); printf 'FAIL %s: expected [%s], got [%s]\n' "$1" "$(head -c 300 <<<"$2")" "$(head -c 300 <<<"$3")"; fi
}
refused() {  # refused NAME ARGS...: exit status 2, nothing on stdout, one line on stderr
  local name=$1; shift
  checked=$((checked + 1))
  "$vitro" "$@" >"$scratch/refused.out" 2>"$scratch/refused.err" </dev/null
  local status=$?
  if [ $status != 2 ] || [ -s "$scratch/refused.out" ] || [ "$(wc -l <"$scratch/refused.err")" != 1 ]; then
    failed=$((failed + 1)); echo "FAIL $name: status $status: $(head -c 300 "$scratch/refused.err")"
  fi
}
json() { python3 -c 'import json,sys; j=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }
finish() { echo "$checked checks, $failed failed"; [ "$failed" = 0 ] && [ "$checked" -gt 0 ]; }
