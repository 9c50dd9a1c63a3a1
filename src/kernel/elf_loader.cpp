// ELF programs: static, static-pie, and dynamic with their interpreter (fs/binfmt_elf.c: load_elf_binary).
#include <fmt/format.h>

#include "kernel/elf_image.h"
#include "kernel/program_start.h"
#include "kernel/signal_sets.h"

namespace vitro::kernel {
namespace {

constexpr uint64_t kPieBase = 0x5555'5555'4aaa;    // ELF_ET_DYN_BASE: two thirds of the user address space
constexpr uint64_t kMinimumGap = 128u << 20;       // arch/x86/mm/mmap.c: SIZE_128M
constexpr uint64_t kStackGuard = 256 * kPageSize;  // stack_guard_gap

constexpr uint64_t page_floor(uint64_t a) { return a & ~kPageOffsetMask; }
constexpr uint64_t page_ceil(uint64_t a) { return (a + kPageOffsetMask) & ~kPageOffsetMask; }

struct OpenImage {
  std::shared_ptr<fs::File> file;
  std::shared_ptr<mm::MappedFile> mapped;
  ElfImage elf;
};

Result<OpenImage> open_image(Kernel::State& s, std::shared_ptr<fs::File> file, std::span<const std::byte> head, uint64_t size,
                             std::string& why) {
  OpenImage image;
  auto refuse = [&](const ElfProblem& p) {
    why = p.what;
    return fail(p.error);
  };
  const auto table = elf_table(head.first(std::min(head.size(), kElfHeaderSize)), size);
  if (!table) return refuse(table.error());
  std::vector<std::byte> bytes(table->size);
  TRY(read_exactly(s, *file, table->offset, bytes));
  auto elf = parse_elf(head.first(std::min(head.size(), kElfHeaderSize)), bytes, size);
  if (!elf) return refuse(elf.error());
  image.elf = std::move(*elf);
  auto mapped = file->map(false);
  if (!mapped || !*mapped) {
    why = "its file system cannot map files";
    return fail(Errno::ExecFormat);
  }
  image.mapped = std::move(*mapped);
  image.file = std::move(file);
  return image;
}

Result<OpenImage> open_interpreter(Kernel::State& s, Task& t, const OpenImage& program, std::string& why) {
  std::string path(program.elf.interpreter->size, '\0');
  TRY(read_exactly(s, *program.file, program.elf.interpreter->offset, std::as_writable_bytes(std::span{path})));
  if (path.back() != '\0') {
    why = "the path of its interpreter is not terminated";
    return fail(Errno::ExecFormat);
  }
  path.resize(path.find('\0'));
  std::string reason;
  auto file = open_executable(s, t, nullptr, path, 0, reason);
  if (!file) {
    why = fmt::format("its interpreter {} cannot be opened: {}", path, reason);
    return fail(file.error());
  }
  std::array<std::byte, kElfHeaderSize> head{};
  const uint64_t size = (*file)->inode().attributes().size;
  auto refused = [&](Errno e) {
    why = fmt::format("its interpreter {} is not usable: {}", path, reason);
    return fail(e);
  };
  if (size < head.size()) {
    reason = "it is not an ELF program";
    return refused(Errno::ExecFormat);
  }
  TRY(read_exactly(s, **file, 0, head));
  const std::shared_ptr<fs::File> interpreter = *file;
  auto image = open_image(s, std::move(*file), head, size, reason);
  interpreter->allow_writes();  // only the program itself stays protected (load_elf_binary)
  if (!image) return refused(image.error());
  return image;
}

// elf_load for each segment: file pages, the cleared rest of the last one, and anonymous pages for the rest of the bss. Returns the bias.
Result<uint64_t> map_image(Task& t, const OpenImage& image, uint64_t bias, bool place_anywhere) {
  mm::AddressSpace& space = *t.space();
  mm::UserAccess user = t.user();
  const ElfImage& elf = image.elf;
  if (place_anywhere) {
    // The whole range is reserved first, so that the segments find their places free; they then replace it.
    mm::MmapRequest all;
    const uint64_t slack = elf.alignment > kPageSize ? elf.alignment : 0;
    all.length = Bytes{elf.high() - elf.low() + slack};
    all.no_reserve = true;
    const uint64_t found = TRY(space.mmap(all)).value();
    const uint64_t start = slack ? found + slack - (found + slack - elf.low()) % elf.alignment : found;
    TRY(space.munmap(VirtAddr{found}, all.length));
    bias = start - elf.low();
  }
  bool first = true;
  for (const ElfSegment& s : elf.segments) {
    const uint64_t start = page_floor(bias + s.address);
    const uint64_t file_end = bias + s.file_end(), end = bias + s.end();
    if (start < kPageSize || end > mm::kUserEnd.value() || end < start) return fail(Errno::NoMemory);
    mm::VmFlag protection = mm::VmFlag::None;
    if (s.read) protection = protection | mm::VmFlag::Read;
    if (s.write) protection = protection | mm::VmFlag::Write;
    if (s.execute) protection = protection | mm::VmFlag::Exec;
    const uint64_t mapped_end = s.file_size ? page_ceil(file_end) : start;
    mm::MmapRequest r;
    r.protection = protection;
    r.fixed = true;
    r.fixed_noreplace = first;
    if (s.file_size) {
      r.hint = VirtAddr{start};
      r.length = Bytes{mapped_end - start};
      r.file = image.mapped;
      r.offset = Bytes{page_floor(s.offset)};
      TRY(space.mmap(r));
      // padzero: clears to the end of the page, beyond the bss: ld.so allocates its first memory there and relies on zeros. A segment that
      // cannot be written keeps the file's bytes, as in Linux.
      if (end > file_end && s.write && file_end != mapped_end) TRY(user.clear(VirtAddr{file_end}, mapped_end - file_end));
    }
    if (page_ceil(end) > mapped_end) {
      r.hint = VirtAddr{mapped_end};
      r.length = Bytes{page_ceil(end) - mapped_end};
      r.file = nullptr;
      r.offset = Bytes{0};
      TRY(space.mmap(r));
    }
    first = false;
  }
  return bias;
}

// The part after the point of no return.
Result<uint64_t> install(Kernel::State& s, Task& t, ProgramStart& program, const OpenImage& main, const OpenImage* interpreter,
                         const StackPlan& stack) {
  mm::AddressSpace& space = *t.space();
  const ElfImage& elf = main.elf;
  uint64_t bias = 0;
  if (elf.position_independent && interpreter)
    bias = page_floor((kPieBase & ~(elf.alignment > kPageSize ? elf.alignment - 1 : 0)) - elf.segments.front().address);
  bias = TRY(map_image(t, main, bias, elf.position_independent && !interpreter));

  auto& layout = space.layout;
  uint64_t start_code = UINT64_MAX, end_code = 0, start_data = 0, end_data = 0, brk = 0;
  for (const ElfSegment& segment : elf.segments) {
    if (segment.execute) start_code = std::min(start_code, segment.address), end_code = std::max(end_code, segment.file_end());
    start_data = std::max(start_data, segment.address);
    end_data = std::max(end_data, segment.file_end());
    brk = std::max(brk, segment.end());
  }
  if (start_code == UINT64_MAX) start_code = 0;
  layout.start_code = VirtAddr{start_code + bias}, layout.end_code = VirtAddr{end_code + bias};
  layout.start_data = VirtAddr{start_data + bias}, layout.end_data = VirtAddr{end_data + bias};
  // A static-pie program lies among the mappings, where its heap could not grow: the heap goes where other programs are.
  const uint64_t heap = elf.position_independent && !interpreter ? kPieBase : brk + bias;
  layout.start_brk = layout.brk = VirtAddr{page_ceil(heap)};

  uint64_t interpreter_base = 0, entry = elf.entry + bias;
  if (interpreter) {
    const bool anywhere = interpreter->elf.position_independent;
    interpreter_base = TRY(map_image(t, *interpreter, 0, anywhere));
    entry = interpreter->elf.entry + interpreter_base;
  }
  const VirtAddr vdso = TRY(s.vdso->map(space));
  const uint64_t table = elf.table_address();
  const uint64_t sp =
      TRY(write_tables(s, t, stack, program, {table ? table + bias : 0, elf.table_count, interpreter_base, elf.entry + bias, vdso.value()}));

  hw::UserRegisters r;
  r.rip = entry;
  r.rsp = sp;
  s.cpu.set_registers(r);
  s.cpu.set_fpu_state(hw::initial_fpu_state());
  t.registers_replaced = true;
  return entry;
}

}  // namespace

Result<LoadOutcome> load_elf(Kernel::State& s, Task& t, ProgramStart& program) {
  const auto head = program.head_bytes();
  if (head.size() < 4 || std::memcmp(head.data(), "\177ELF", 4) != 0) return LoadOutcome::NotThisFormat;
  const OpenImage main = TRY(open_image(s, program.file, head, program.file_size, program.why));
  std::optional<OpenImage> interpreter;
  if (main.elf.interpreter) interpreter = TRY(open_interpreter(s, t, main, program.why));

  // The new memory is made while the old is still there, so that a lack of it is just an error.
  program.why = "there is not enough memory for it";
  auto space = TRY(mm::AddressSpace::create(s.vm));
  space->limits = s.memory_limits(*t.process);
  // mmap_base without randomisation: below the largest stack (and its guard gap), at least 128 MiB below the top.
  const uint64_t stack_limit = t.process->limits[kLimitStack].soft;
  const uint64_t wanted = stack_limit > UINT64_MAX - kStackGuard ? UINT64_MAX : stack_limit + kStackGuard;
  const uint64_t gap = std::clamp(wanted, kMinimumGap, mm::kUserEnd.value() / 6 * 5);
  space->layout.mmap_base = VirtAddr{page_ceil(mm::kUserEnd.value() - gap)};
  space->executable = main.mapped;
  const StackPlan stack = plan_stack(program);
  TRY(build_stack(stack, program, *space, main.elf.executable_stack));
  program.why.clear();

  TRY(switch_program(s, t, program, std::move(space)));
  if (auto installed = install(s, t, program, main, interpreter ? &*interpreter : nullptr, stack); !installed) {
    program.why = fmt::format("its segments cannot be mapped ({})", errno_name(installed.error()));
    s.force_default(t, kSigSegv);  // there is no program to go back to
    return fail(installed.error());
  }
  return LoadOutcome::Loaded;
}

}  // namespace vitro::kernel
