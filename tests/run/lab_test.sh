# vitro lab: exit statuses, messages, and what the labs of guest/labs promise.
. "$(dirname "$0")/lib.sh"
lab() { printf "$1" >"$scratch/lab.txt"; shift; (cd "$scratch" && "$vitro" lab "$@" lab.txt) >"$scratch/out" 2>"$scratch/err" </dev/null; status=$?; }

lab 'p = kmalloc 100 GFP_KERNEL\nshow p\nv = vmalloc 64K\nshow v\nb = alloc_pages 4 GFP_DMA\nshow b\nkfree p\n' --ram 256M
equal "a lab runs" 0 $status
check "kmalloc 100 is an object of kmalloc-128" grep -q kmalloc-128 "$scratch/out"
check "vmalloc is in pieces or in one" grep -q 'pages .*16 contiguous in virtual addresses' "$scratch/out"
check "GFP_DMA comes from zone DMA" grep -q 'zone  *DMA,' "$scratch/out"
check "what is never freed is reported" grep -q '  line 3: v = vmalloc 64K: 65536 bytes' "$scratch/out"
cp "$scratch/out" "$scratch/first"
lab 'p = kmalloc 100 GFP_KERNEL\nshow p\nv = vmalloc 64K\nshow v\nb = alloc_pages 4 GFP_DMA\nshow b\nkfree p\n' --ram 256M
check "the same lab prints the same" cmp "$scratch/first" "$scratch/out"

lab 'p = kmalloc 100 GFP_KERNEL\nkfree p\nkfree p\n'
equal "a double free ends the lab" 1 $status
check "and is named with its lines" grep -q '^lab.txt:3:1: double free: .* kmalloc-128, allocated as p at line 1, was freed at line 2' "$scratch/err"

lab '\n\np = kmaloc 100\n'
equal "a mistake is found before anything runs" "2 0 lab.txt:3:5: unknown operation 'kmaloc': did you mean kmalloc?" "$status $(wc -c <"$scratch/out") $(cat "$scratch/err")"
lab 'p = kmalloc 100\nexpect cache(p) == kmalloc-96\n'
equal "an expectation that fails" "1 lab.txt:2:1: expect cache(p) == kmalloc-96: left is kmalloc-128, right is kmalloc-96" "$status $(cat "$scratch/err")"
lab 'expect_error "double free" kfree NULL\n'
equal "an error that does not come" 1 $status
lab 'let n = 1 / 0\n'
equal "a mistake that only shows while it runs" "2 lab.txt:1:11: division by zero" "$status $(cat "$scratch/err")"

lab 'expect present() == 65536 - 97 - 1\n' --ram 256M
equal "--ram is the machine's" 0 $status
lab 'expect zone(NULL) == none\n' --ram 8G
equal "8 GiB" 0 $status
refused "no file" lab
refused "a file that is not there" lab "$scratch/nosuch.lab"
refused "a directory" lab "$scratch"
refused "too little RAM" lab --ram 1M "$scratch/lab.txt"
refused "no CPUs" lab --cpus 0 "$scratch/lab.txt"
refused "a size that is none" lab --ram much "$scratch/lab.txt"
head -c 100000 /dev/urandom >"$scratch/noise.lab"
refused "noise" lab "$scratch/noise.lab"

equal "standard input" "  p: 0x" "$(echo 'p = kmalloc 8' | "$vitro" lab - | grep -o '  p: 0x' | head -n 1)"
printf 'p = kmalloc 100\nkfre p\nrepeat 3 {\nq[i] = kmalloc 8\n}\nkfree p\nkfree p\nkfree q[2]\n' | "$vitro" lab --interactive >"$scratch/out" 2>"$scratch/err"
equal "typing goes on after mistakes" "0 2" "$? $(wc -l <"$scratch/err")"
check "lines are counted on" grep -q "^line:2:1: unknown operation 'kfre': did you mean kfree?" "$scratch/err"
check "what is left at the end" grep -q 'line 4: q\[i\] = kmalloc 8: 2 allocations, 16 bytes' "$scratch/out"
check "the language in tables" bash -c '"$1" lab --list | grep -q kmem_cache_create' - "$vitro"

block() { awk -v after="$1" 'index($0, after) { found = 1 } found && /^```/ { if (inside) exit; inside = 1; next } inside' docs/lab.md; }
"$vitro" lab --list >"$scratch/list"
equal "docs/lab.md has the language as it is (vitro lab --list)" "$(cat "$scratch/list")" "$(block 'prints all of the language')"
for file in guest/labs/*.lab; do check "docs/lab.md names $file" grep -q "\`$(basename "$file")\`" docs/lab.md; done

n=0
for file in guest/labs/*.lab; do
  n=$((n + 1))
  "$vitro" lab --verify "$file" >"$scratch/a" 2>"$scratch/err"
  equal "$file" "0 " "$? $(cat "$scratch/err")"
  "$vitro" lab --verify "$file" >"$scratch/b" 2>/dev/null
  check "$file prints the same each time" cmp "$scratch/a" "$scratch/b"
done
check "there are at least six labs" [ $n -ge 6 ]
finish
