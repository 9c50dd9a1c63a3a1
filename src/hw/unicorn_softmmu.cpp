// See unicorn_softmmu.h.
#include "hw/unicorn_softmmu.h"

#include <cstring>

struct CPUState;
struct CPUX86State;

namespace vitro::hw {
namespace {
AccessClient* client = nullptr;
CPUX86State* last_env = nullptr;
CPUState* last_cpu = nullptr;
uint64_t last_filled = UINT64_MAX;
bool recovering = false;

constexpr uint32_t kModeMask = 15, kUserMode = 1;  // of what generated code says about its access

template <class T, class Real>
T load(Real real, CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where) {
  last_env = env;
  T value;
  if (client && (operation & kModeMask) == kUserMode && client->load(address, &value, sizeof value, where)) [[likely]]
    return value;
  return static_cast<T>(real(env, address, operation, where));
}
template <class T, class Real>
void store(Real real, CPUX86State* env, uint64_t address, T value, uint32_t operation, uintptr_t where) {
  if (client && (operation & kModeMask) == kUserMode && client->store(address, &value, sizeof value, where)) [[likely]]
    return;
  real(env, address, value, operation, where);
}
template <class T, class Real>
T helper_load(Real real, CPUX86State* env, uint64_t address, uintptr_t where) {
  if (!client) return static_cast<T>(real(env, address, where));
  client->count_helper_access(where);
  T value;
  if (!client->load(address, &value, sizeof value, where)) value = static_cast<T>(real(env, address, where));
  client->helper_access_done();
  return value;
}
template <class T, class Real>
void helper_store(Real real, CPUX86State* env, uint64_t address, T value, uintptr_t where) {
  if (!client) return real(env, address, value, where);
  client->count_helper_access(where);
  if (!client->store(address, &value, sizeof value, where)) real(env, address, value, where);
  client->helper_access_done();
}

}  // namespace

void set_access_client(AccessClient* c) { client = c; }
Emulator* last_emulator() { return reinterpret_cast<Emulator*>(last_cpu); }
uint64_t last_filled_address() { return last_filled; }
std::byte* last_environment() { return reinterpret_cast<std::byte*>(last_env); }

bool SoftTable::find(std::byte* env, uint64_t page, uint64_t physical, const std::byte* host, unsigned fills) {
  // struct ArchCPU of QEMU 5.0: CPUNegativeOffsetState lies before CPUX86State. Its parts are as long as in every build for x86-64.
  constexpr ptrdiff_t kFast = -48, kDirty = -2192, kUsed = -1432;
  if (env == nullptr) return false;
  auto* fast = reinterpret_cast<Fast*>(env + kFast);
  auto* dirty = reinterpret_cast<uint16_t*>(env + kDirty);
  auto* used = reinterpret_cast<size_t*>(env + kUsed);
  const uintptr_t size = fast->mask + (uintptr_t{1} << kEntryBits);
  if (size < 64 << kEntryBits || size > uintptr_t{1} << 28 || (size & (size - 1)) != 0) return false;
  if (!(*dirty & kUserBit) || *dirty > 7 || *used != fills) return false;
  fast_ = fast;
  dirty_ = dirty;
  used_ = used;
  const Entry& e = entry(page);
  if (e.read == page && e.physical == physical && reinterpret_cast<const std::byte*>(page + e.addend) == host) return true;
  fast_ = nullptr;
  return false;
}

}  // namespace vitro::hw

extern "C" {
[[gnu::weak]] uint64_t __real_helper_ret_ldub_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where);
uint64_t __wrap_helper_ret_ldub_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where) {
  return vitro::hw::load<uint8_t>(__real_helper_ret_ldub_mmu_x86_64, env, address, operation, where);
}
[[gnu::weak]] uint64_t __real_helper_le_lduw_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where);
uint64_t __wrap_helper_le_lduw_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where) {
  return vitro::hw::load<uint16_t>(__real_helper_le_lduw_mmu_x86_64, env, address, operation, where);
}
[[gnu::weak]] uint64_t __real_helper_le_ldul_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where);
uint64_t __wrap_helper_le_ldul_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where) {
  return vitro::hw::load<uint32_t>(__real_helper_le_ldul_mmu_x86_64, env, address, operation, where);
}
[[gnu::weak]] uint64_t __real_helper_le_ldq_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where);
uint64_t __wrap_helper_le_ldq_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t operation, uintptr_t where) {
  return vitro::hw::load<uint64_t>(__real_helper_le_ldq_mmu_x86_64, env, address, operation, where);
}
[[gnu::weak]] void __real_helper_ret_stb_mmu_x86_64(CPUX86State* env, uint64_t address, uint8_t value, uint32_t operation, uintptr_t where);
void __wrap_helper_ret_stb_mmu_x86_64(CPUX86State* env, uint64_t address, uint8_t value, uint32_t operation, uintptr_t where) {
  vitro::hw::store<uint8_t>(__real_helper_ret_stb_mmu_x86_64, env, address, value, operation, where);
}
[[gnu::weak]] void __real_helper_le_stw_mmu_x86_64(CPUX86State* env, uint64_t address, uint16_t value, uint32_t operation, uintptr_t where);
void __wrap_helper_le_stw_mmu_x86_64(CPUX86State* env, uint64_t address, uint16_t value, uint32_t operation, uintptr_t where) {
  vitro::hw::store<uint16_t>(__real_helper_le_stw_mmu_x86_64, env, address, value, operation, where);
}
[[gnu::weak]] void __real_helper_le_stl_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uint32_t operation, uintptr_t where);
void __wrap_helper_le_stl_mmu_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uint32_t operation, uintptr_t where) {
  vitro::hw::store<uint32_t>(__real_helper_le_stl_mmu_x86_64, env, address, value, operation, where);
}
[[gnu::weak]] void __real_helper_le_stq_mmu_x86_64(CPUX86State* env, uint64_t address, uint64_t value, uint32_t operation, uintptr_t where);
void __wrap_helper_le_stq_mmu_x86_64(CPUX86State* env, uint64_t address, uint64_t value, uint32_t operation, uintptr_t where) {
  vitro::hw::store<uint64_t>(__real_helper_le_stq_mmu_x86_64, env, address, value, operation, where);
}
[[gnu::weak]] uint32_t __real_cpu_ldub_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where);
uint32_t __wrap_cpu_ldub_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where) {
  return vitro::hw::helper_load<uint8_t>(__real_cpu_ldub_data_ra_x86_64, env, address, where);
}
[[gnu::weak]] uint32_t __real_cpu_lduw_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where);
uint32_t __wrap_cpu_lduw_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where) {
  return vitro::hw::helper_load<uint16_t>(__real_cpu_lduw_data_ra_x86_64, env, address, where);
}
[[gnu::weak]] int __real_cpu_ldsw_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where);
int __wrap_cpu_ldsw_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where) {
  return vitro::hw::helper_load<int16_t>(__real_cpu_ldsw_data_ra_x86_64, env, address, where);
}
[[gnu::weak]] uint32_t __real_cpu_ldl_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where);
uint32_t __wrap_cpu_ldl_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where) {
  return vitro::hw::helper_load<uint32_t>(__real_cpu_ldl_data_ra_x86_64, env, address, where);
}
[[gnu::weak]] uint64_t __real_cpu_ldq_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where);
uint64_t __wrap_cpu_ldq_data_ra_x86_64(CPUX86State* env, uint64_t address, uintptr_t where) {
  return vitro::hw::helper_load<uint64_t>(__real_cpu_ldq_data_ra_x86_64, env, address, where);
}
[[gnu::weak]] void __real_cpu_stb_data_ra_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uintptr_t where);
void __wrap_cpu_stb_data_ra_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uintptr_t where) {
  vitro::hw::helper_store<uint8_t>(__real_cpu_stb_data_ra_x86_64, env, address, static_cast<uint8_t>(value), where);
}
[[gnu::weak]] void __real_cpu_stw_data_ra_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uintptr_t where);
void __wrap_cpu_stw_data_ra_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uintptr_t where) {
  vitro::hw::helper_store<uint16_t>(__real_cpu_stw_data_ra_x86_64, env, address, static_cast<uint16_t>(value), where);
}
[[gnu::weak]] void __real_cpu_stl_data_ra_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uintptr_t where);
void __wrap_cpu_stl_data_ra_x86_64(CPUX86State* env, uint64_t address, uint32_t value, uintptr_t where) {
  vitro::hw::helper_store<uint32_t>(__real_cpu_stl_data_ra_x86_64, env, address, static_cast<uint32_t>(value), where);
}
[[gnu::weak]] void __real_cpu_stq_data_ra_x86_64(CPUX86State* env, uint64_t address, uint64_t value, uintptr_t where);
void __wrap_cpu_stq_data_ra_x86_64(CPUX86State* env, uint64_t address, uint64_t value, uintptr_t where) {
  vitro::hw::helper_store<uint64_t>(__real_cpu_stq_data_ra_x86_64, env, address, static_cast<uint64_t>(value), where);
}

[[gnu::weak]] bool __real_unicorn_fill_tlb_x86_64(CPUState* cpu, uint64_t address, int size, int access, int mode, bool probe,
                                                  uintptr_t where);
[[gnu::weak]] bool cpu_restore_state_x86_64(CPUState* cpu, uintptr_t where, bool will_exit);
bool __wrap_unicorn_fill_tlb_x86_64(CPUState* cpu, uint64_t address, int size, int access, int mode, bool probe, uintptr_t where) {
  using namespace vitro::hw;
  last_cpu = cpu;
  last_filled = address;
  if (recovering) [[unlikely]]
    recover_instruction(last_emulator(), where);
  return __real_unicorn_fill_tlb_x86_64(cpu, address, size, access, mode, probe, where);
}
}

namespace vitro::hw {
bool accesses_can_be_watched() { return __real_helper_le_ldq_mmu_x86_64 != nullptr; }
void recover_instructions_at_fills(bool on) { recovering = on; }
void recover_instruction(Emulator* emulator, uintptr_t where) {
  if (where != 0) cpu_restore_state_x86_64(reinterpret_cast<CPUState*>(emulator), where, false);
}
}  // namespace vitro::hw
