# What the documentation shows is what vitro prints.
. "$(dirname "$0")/lib.sh"
"$vitro" syscalls >"$scratch/syscalls.md"
check "docs/syscalls.md is current (vitro syscalls >docs/syscalls.md)" cmp docs/syscalls.md "$scratch/syscalls.md"
for option in $("$vitro" run --help | grep -o -e '^ *--[a-z0-9-]*' | tr -d ' '); do
  [ "$option" = --help ] || check "README.md explains $option" grep -q -e "\`$option" README.md
done
for command in run demo trace syscalls; do check "README.md names vitro $command" grep -q "vitro $command" README.md; done
finish
