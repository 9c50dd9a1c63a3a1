# Swap in a file of the simulated disk: mkswap, swapon, pressure, swapoff.
. "$(dirname "$0")/lib.sh"
out=$("$vitro" run --ram 48M --mmu fast --verify cheap -- /bin/bash -c '
  dd if=/dev/zero of=/swapfile bs=1M count=64 2>/dev/null; chmod 600 /swapfile; /sbin/mkswap /swapfile >/dev/null && /sbin/swapon /swapfile
  grep -c "^/swapfile *	*file" /proc/swaps
  python3 -c "
x = bytearray(60 << 20)
for i in range(0, len(x), 4096): x[i] = i >> 12 & 255
assert all(x[i] == i >> 12 & 255 for i in range(0, len(x), 4096)); print(\"kept\")"
  [ "$(grep pswpout /proc/vmstat | cut -d" " -f2)" -gt 1000 ] && echo swapped
  rm /swapfile 2>&1 | grep -o "Operation not permitted"
  echo x 2>&1 >>/swapfile | grep -o "Text file busy"
  /sbin/swapon /swapfile 2>&1 | grep -o "busy"
  /sbin/swapoff /swapfile && wc -l </proc/swaps && rm /swapfile && echo gone
  truncate -s 8M /holes; chmod 600 /holes; /sbin/mkswap /holes >/dev/null 2>&1; /sbin/swapon /holes 2>&1 | grep -o "Invalid argument\|have holes"' 2>&1)
equal "a swap file works as a disk does" "1 kept swapped Operation not permitted Text file busy busy 1 gone" "$(head -n 8 <<<"$out" | tr '\n' ' ' | sed 's/ $//')"
check "a file with holes is refused" grep -q "Invalid argument\|have holes" <<<"$(tail -n 1 <<<"$out")"
equal "and may be left in use" "bye" "$("$vitro" run --ram 48M --mmu fast --verify full -- /bin/bash -c 'fallocate -l 16M /s; chmod 600 /s; /sbin/mkswap /s >/dev/null; /sbin/swapon -p 5 /s; python3 -c "x = bytearray(40 << 20)
for i in range(0, len(x), 4096): x[i] = 1"; echo bye' 2>&1)"
finish
