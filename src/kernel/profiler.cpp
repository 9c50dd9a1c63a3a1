#include "kernel/profiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "vitro/mm/physical_memory.h"
#include "vitro/mm/special_mapping.h"

namespace vitro::kernel {
namespace {

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// As /proc/PID/maps names areas.
std::string area_name(const mm::AddressSpace& space, const mm::Vma& v) {
  if (v.file) return v.file->mapped_path();
  if (v.special) return v.special->name;
  const auto& l = space.layout;
  if (v.start <= l.brk && v.end >= l.start_brk && l.start_brk.value() != 0) return "[heap]";
  if (v.contains(l.start_stack) || mm::has(v.flags, mm::VmFlag::GrowsDown)) return "[stack]";
  return "[anonymous]";
}

}  // namespace

void Profiler::tlb_missed(const hw::TlbMiss& miss) {
  Place p = place(miss.address, miss.access, miss.privilege, miss.size, miss.privilege == hw::Privilege::User, nullptr);
  ProfileCounts c;
  c.misses[static_cast<size_t>(miss.access)] = 1;
  c.by_size[static_cast<size_t>(miss.size)] = 1;
  if (miss.walked) {
    c.references = miss.references;
    const bool known = p.page && p.page->counts.walks() != 0;
    if (miss.to_set_dirty)
      c.dirty = 1;
    else if (!miss.first_use)
      c.evicted = 1;
    else if (known)
      c.flushed = 1;
    else
      c.cold = 1;
  }
  file(p, c);
}

void Profiler::fault_handled(const mm::FaultReport& report) {
  if (report.kind == mm::FaultKind::Bad) return;
  const bool user = report.privilege == hw::Privilege::User;
  ProfileCounts c;
  (report.major ? c.major_faults : c.minor_faults) = 1;
  file(place(report.address, report.access, report.privilege, hw::PageSize::k4K, user && state_.resolving, report.space), c);
}

void Profiler::file(const Place& p, const ProfileCounts& c) {
  total_ += c;
  p.task->counts += c;
  p.area->counts += c;
  (p.page ? p.page->counts : beyond_) += c;
  if (p.instruction) p.instruction->counts += c;
}

Profiler::Place Profiler::place(VirtAddr address, hw::Access access, hw::Privilege privilege, hw::PageSize size, bool in_cpu,
                                mm::AddressSpace* space) {
  const Task* t = state_.scheduler.current();
  if (!space && t) space = t->space();
  Place p{};
  p.task = &task_entry();
  const mm::Vma* v = space ? space->find(address) : nullptr;
  p.area = &area_entry(space, v);
  const VirtAddr page{address.value() & ~(hw::bytes(size).value() - 1)};
  p.page = page_entry(space ? space->id() : 0, page, size);
  if (p.page) p.page->area = static_cast<uint32_t>(p.area - areas_.data());

  std::optional<VirtAddr> ip;
  if (in_cpu) {
    ip = state_.cpu.accessing_instruction(address, access);
    if (!ip) return p;
  } else if (t && t->context) {
    ip = VirtAddr{state_.cpu.instruction_pointer()};
    if (privilege == hw::Privilege::Supervisor) *ip = *ip - Bytes{2};  // of the SYSCALL that the kernel works for, if it is one
  }
  p.instruction = &instruction_entry(space, ip.value_or(VirtAddr{0}));
  if (privilege == hw::Privilege::Supervisor) {
    const auto& code = p.instruction->code;
    const bool syscall = p.instruction->code_size >= 2 && code[0] == std::byte{0x0f} && code[1] == std::byte{0x05};
    if (!t || !t->in_syscall || !syscall) p.instruction = &instructions_[{kKernelCode, 0}];
  }
  return p;
}

Profiler::TaskEntry& Profiler::task_entry() {
  const Task* t = state_.scheduler.current();
  const uint64_t order = t ? t->scheduling.order : 0;
  if (!last_task_entry_ || order != last_task_) {
    last_task_entry_ = &tasks_[order];
    last_task_ = order;
  }
  if (t) {
    last_task_entry_->tid = t->tid;
    if (last_task_entry_->comm != t->comm) last_task_entry_->comm = t->comm;
  }
  return *last_task_entry_;
}

Profiler::AreaEntry& Profiler::area_entry(mm::AddressSpace* space, const mm::Vma* v) {
  const auto [number, fresh] = area_numbers_.try_emplace(v ? v->id : 0, static_cast<uint32_t>(areas_.size()));
  if (fresh) {
    AreaEntry& e = areas_.emplace_back();
    e.name = v ? area_name(*space, *v) : "[unmapped]";
    if (const Task* t = state_.scheduler.current(); t && v) {
      e.pid = t->process->pid;
      e.comm = t->comm;
    }
  }
  AreaEntry& e = areas_[number->second];
  if (v) e.start = v->start, e.end = v->end, e.flags = v->flags;
  return e;
}

Profiler::PageEntry* Profiler::page_entry(uint64_t space, VirtAddr page, hw::PageSize size) {
  const PageKey key{space, page.value() | static_cast<uint64_t>(size)};
  if (pages_.size() < kMaximumPages) return &pages_[key];
  const auto found = pages_.find(key);
  return found == pages_.end() ? nullptr : &found->second;
}

Profiler::InstructionEntry& Profiler::instruction_entry(mm::AddressSpace* space, VirtAddr ip) {
  const mm::Vma* v = space ? space->find(ip) : nullptr;
  InstructionKey key{kKernelCode, 0};
  if (v && v->file)
    key = {object_of(*space, *v), v->page_offset.offset().value() + (ip - v->start).value()};
  else if (v)
    key = {kAnonymous | space->id(), ip.value()};
  const auto [entry, fresh] = instructions_.try_emplace(key);
  InstructionEntry& e = entry->second;
  if (fresh && v) {
    e.address = ip;
    for (; e.code_size < e.code.size(); ++e.code_size) {
      const hw::WalkResult walk = state_.vm.mmu().inspect(ip + Bytes{e.code_size});
      if (!walk.ok) break;
      e.code[e.code_size] = state_.vm.physical().ram().read(walk.address, Bytes{1})[0];
    }
  }
  return e;
}

uint64_t Profiler::object_of(mm::AddressSpace& space, const mm::Vma& v) {
  const auto [number, fresh] = object_numbers_.try_emplace({v.file->device_number(), v.file->inode_number()}, objects_.size());
  if (fresh) {
    const bool before = std::exchange(state_.untimed, true);  // looking on must not change what happens
    objects_.push_back({last_part(v.file->mapped_path()), &state_.symbols.symbols_of(space, *v.file)});
    state_.untimed = before;
  }
  return number->second;
}

// "main+0x1c", and "main" and its object; code without a symbol is named by its object.
std::string Profiler::location(const InstructionKey& key, const InstructionEntry& e, std::string* object, std::string* symbol) const {
  if (key.object == kKernelCode) return *symbol = "[kernel]";
  if (key.object & kAnonymous) {
    *symbol = "[anonymous]";
    return fmt::format("0x{:x}", e.address.value());
  }
  const Object& o = objects_[key.object];
  *object = o.name;
  if (const auto found = o.symbols->find(key.offset)) {
    *symbol = found->name;
    return fmt::format("{}+0x{:x}", found->name, found->offset);
  }
  *symbol = fmt::format("[{}]", o.name);
  return fmt::format("[{}+0x{:x}]", o.name, key.offset);
}

namespace {

// The first `top` of the rows that count, most first; the others are added up.
ProfileRanking rank(const std::vector<ProfileRow>& rows, size_t top, uint64_t (*weight)(const ProfileCounts&)) {
  ProfileRanking result;
  std::vector<const ProfileRow*> order;
  for (const ProfileRow& r : rows) {
    if (weight(r.counts) != 0)
      order.push_back(&r);
    else
      result.rest += r.counts;
  }
  const auto before = [weight](const ProfileRow* a, const ProfileRow* b) {
    const uint64_t x = weight(a->counts), y = weight(b->counts);
    if (x != y) return x > y;
    return std::tie(a->pid, a->address, a->name, a->object) < std::tie(b->pid, b->address, b->name, b->object);
  };
  const size_t n = std::min(top, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(n), order.end(), before);
  result.distinct = order.size();
  for (size_t i = 0; i < order.size(); ++i) {
    if (i < n)
      result.rows.push_back(*order[i]);
    else
      result.rest += order[i]->counts;
  }
  return result;
}

}  // namespace

ProfileReport Profiler::report(size_t top) const {
  ProfileReport r;
  r.total = total_;
  r.tlb = state_.vm.mmu().tlb_modelled();

  std::array<std::vector<ProfileRow>, kProfileTables> tables;
  const auto table = [&](ProfileTable t) -> std::vector<ProfileRow>& { return tables[static_cast<size_t>(t)]; };
  for (const auto& [order, e] : tasks_) table(ProfileTable::Task).push_back({.counts = e.counts, .pid = e.tid, .comm = e.comm});
  for (const AreaEntry& e : areas_) {
    const auto bit = [&](mm::VmFlag f, char c) { return mm::has(e.flags, f) ? c : '-'; };
    const std::string rights{bit(mm::VmFlag::Read, 'r'), bit(mm::VmFlag::Write, 'w'), bit(mm::VmFlag::Exec, 'x'),
                             mm::has(e.flags, mm::VmFlag::Shared) ? 's' : 'p'};
    table(ProfileTable::Area)
        .push_back({.counts = e.counts, .pid = e.pid, .comm = e.comm, .address = e.start, .end = e.end, .name = e.name, .text = rights});
  }
  for (const auto& [key, e] : pages_) {
    const AreaEntry& area = areas_[e.area];
    table(ProfileTable::Page)
        .push_back({.counts = e.counts,
                    .pid = area.pid,
                    .comm = area.comm,
                    .address = VirtAddr{key.page & ~kPageOffsetMask},
                    .size = static_cast<hw::PageSize>(key.page & kPageOffsetMask),
                    .name = area.name});
  }
  if (beyond_ != ProfileCounts{}) table(ProfileTable::Page).push_back({.counts = beyond_, .name = "[beyond the limit of pages]"});

  std::map<std::pair<std::string, std::string>, ProfileCounts> symbols;
  std::vector<std::pair<const InstructionKey*, const InstructionEntry*>> sources;
  for (const auto& [key, e] : instructions_) {
    std::string object, symbol;
    std::string name = location(key, e, &object, &symbol);
    symbols[{symbol, object}] += e.counts;
    table(ProfileTable::Instruction).push_back({.counts = e.counts, .address = e.address, .name = std::move(name), .object = object});
    table(ProfileTable::Instruction).back().text.assign(reinterpret_cast<const char*>(e.code.data()), e.code_size);
  }
  for (const auto& [name, counts] : symbols) table(ProfileTable::Symbol).push_back({.counts = counts, .name = name.first, .object = name.second});

  for (size_t i = 0; i < kProfileTables; ++i) {
    r.misses[i] = rank(tables[i], top, [](const ProfileCounts& c) { return c.all_misses(); });
    r.faults[i] = rank(tables[i], top, [](const ProfileCounts& c) { return c.faults(); });
  }
  r.instructions = !instructions_.empty() || total_ == ProfileCounts{};
  // Only what is shown is disassembled.
  for (auto* ranking : {&r.misses[static_cast<size_t>(ProfileTable::Instruction)], &r.faults[static_cast<size_t>(ProfileTable::Instruction)]})
    for (ProfileRow& row : ranking->rows) {
      const auto decoded = state_.disassembler.decode(std::as_bytes(std::span{row.text.data(), row.text.size()}), row.address);
      row.text = decoded ? decoded->text : "";
    }
  return r;
}

ProfileCounts& ProfileCounts::operator+=(const ProfileCounts& o) {
  for (size_t i = 0; i < 3; ++i) misses[i] += o.misses[i], by_size[i] += o.by_size[i];
  cold += o.cold, flushed += o.flushed, evicted += o.evicted, dirty += o.dirty, references += o.references;
  minor_faults += o.minor_faults, major_faults += o.major_faults;
  return *this;
}

const char* profile_table_name(ProfileTable t) {
  constexpr const char* kNames[] = {"task", "area", "page", "symbol", "instruction"};
  return kNames[static_cast<size_t>(t)];
}

}  // namespace vitro::kernel
