// See unicorn_tcg.h. TCG is the code generator of QEMU 5.0, which Unicorn 2.1 is made from; its names are used here.
#include "hw/unicorn_tcg.h"

#include <algorithm>
#include <array>
#include <span>

#include "vitro/hw/cpu.h"

struct CPUState;
struct TCGContext;
struct TCGTemp;
struct TCGLabel;
// The beginning of Unicorn's struct of that name.
struct TranslationBlock {
  uint64_t pc, cs_base;
  uint32_t flags;
  uint16_t size, icount;
};
// One operation: what it does, and its operands, in a list.
struct TCGOp {
  unsigned opc : 8, param1 : 4, param2 : 4, life : 16;
  TCGOp* next;
  void* previous;
  uint64_t args[10];
};

extern "C" {
[[gnu::weak]] void __real_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions);
void __wrap_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions);
[[gnu::weak]] void __real_tcg_func_start_x86_64(TCGContext* context);
void __wrap_tcg_func_start_x86_64(TCGContext* context);
[[gnu::weak]] TCGOp* tcg_emit_op_x86_64(TCGContext* context, unsigned opcode);
[[gnu::weak]] TCGOp* tcg_op_insert_after_x86_64(TCGContext* context, TCGOp* op, unsigned opcode);
[[gnu::weak]] void tcg_op_remove_x86_64(TCGContext* context, TCGOp* op);
[[gnu::weak]] TCGTemp* tcg_temp_new_internal_x86_64(TCGContext* context, unsigned type, bool local);
[[gnu::weak]] void tcg_temp_free_internal_x86_64(TCGContext* context, TCGTemp* temp);
[[gnu::weak]] TCGLabel* gen_new_label_x86_64(TCGContext* context);
}

namespace vitro::hw {
namespace {

// qemu/include/tcg/tcg-opc.h, in its order.
enum Opcode : unsigned {
  kSetLabel = 1,
  kCall = 2,
  kBr = 3,
  kMovI32 = 6,
  kLdI32 = 13,
  kBrcondI32 = 38,
  kMovI64 = 64,
  kLdI64 = 73,
  kStI64 = 77,
  kAddI64 = 78,
  kBrcondI64 = 103,
  kInsnStart = 129,
  kExitTb = 130,
  kGotoTb = 131,
  kGotoPtr = 132,
  kFirstAccess = 133,
  kLastAccess = 136
};
enum Condition : uint64_t { kLessThan = 2, kNotEqual = 9 };
enum Type : unsigned { kI32 = 0, kI64 = 1 };

// A label's jumps are counted, or it would be taken for dead.
struct LabelHead {
  unsigned present : 1, has_value : 1, id : 14, refs : 16;
};

BlockClient* client = nullptr;
TCGContext* context = nullptr;
bool blocks_are_bounded = false;
bool examining = false, understood = false;
uintptr_t first_block = UINTPTR_MAX;  // the lowest block seen: about the start of the buffer

template <class... Operand>
TCGOp* emit(Opcode opcode, Operand... operands) {
  TCGOp* op = tcg_emit_op_x86_64(context, opcode);
  unsigned n = 0;
  ((op->args[n++] = (uint64_t)operands), ...);
  return op;
}
TCGTemp* new_temp(Type type) { return tcg_temp_new_internal_x86_64(context, type, false); }

// A number in a temporary, which lives until the end of the basic block.
struct Constant {
  TCGTemp* temp;
  TCGOp* op;
};
Constant constant(Type type, uint64_t value) {
  TCGTemp* temp = new_temp(type);
  return {temp, emit(type == kI64 ? kMovI64 : kMovI32, temp, value)};
}
TCGOp* branch_if(Opcode opcode, Condition condition, TCGTemp* a, TCGTemp* b, TCGLabel* to) {
  ++reinterpret_cast<LabelHead*>(to)->refs;
  return emit(opcode, a, b, condition, to);
}
void set_label(TCGLabel* label) {
  reinterpret_cast<LabelHead*>(label)->present = 1;
  emit(kSetLabel, label);
}

// What QEMU begins each block with: `count = env->icount_decr; if (count < 0) goto exit`, so that blocks can be asked to stop.
struct ExitCheck {
  TCGOp* branch = nullptr;
  uint64_t env = 0, offset = 0, label = 0;
};
ExitCheck find_exit_check(const TCGOp* behind) {
  const TCGOp *load = behind->next, *zero = load ? load->next : nullptr;
  TCGOp* branch = zero ? zero->next : nullptr;
  if (!branch || load->opc != kLdI32 || zero->opc != kMovI32 || zero->args[1] != 0 || branch->opc != kBrcondI32) return {};
  if (branch->args[0] != load->args[0] || branch->args[1] != zero->args[0] || branch->args[2] != kLessThan) return {};
  return {branch, load->args[1], load->args[2], branch->args[3]};
}

// Adds `n` accesses to the pulse behind an operation that ends a basic block, where no temporary is in use.
void count_accesses_behind(TCGOp* op, unsigned n, Pulse& pulse) {
  TCGTemp *at = new_temp(kI64), *word = new_temp(kI64), *number = new_temp(kI64);
  const auto insert = [&](Opcode opcode, auto... operands) {
    op = tcg_op_insert_after_x86_64(context, op, opcode);
    unsigned i = 0;
    ((op->args[i++] = (uint64_t)operands), ...);
  };
  insert(kMovI64, at, reinterpret_cast<uintptr_t>(&pulse.word));
  insert(kLdI64, word, at, 0);
  insert(kMovI64, number, n);
  insert(kAddI64, word, word, number);
  insert(kStI64, word, at, 0);
  for (TCGTemp* t : {at, word, number}) tcg_temp_free_internal_x86_64(context, t);
}

// Notes the loads and stores of the block whose operations follow `op`. Those behind a branch count where they are reached.
void find_accesses(TCGOp* op, TranslatedBlock& block, Pulse& pulse) {
  TCGOp* segment = nullptr;  // begins behind this one; null for the first
  unsigned n = 0;
  const auto end_segment = [&](TCGOp* end) {
    if (segment == nullptr)
      block.accesses = static_cast<uint16_t>(n);
    else if (n != 0) {
      block.tail_accesses = static_cast<uint16_t>(block.tail_accesses + n);
      count_accesses_behind(segment, n, pulse);
    }
    segment = end;
    n = 0;
  };
  for (; op != nullptr; op = op->next) {
    if (op->opc >= kFirstAccess && op->opc <= kLastAccess)
      ++n;
    else if (op->opc == kInsnStart)
      block.starts.push_back(
          {static_cast<uint16_t>(op->args[0] - block.address), static_cast<uint16_t>(segment == nullptr ? n : block.accesses)});
    else if (op->opc == kSetLabel || op->opc == kBrcondI64 || op->opc == kBrcondI32 || op->opc == kBr || op->opc == kGotoTb ||
             op->opc == kExitTb || op->opc == kGotoPtr)
      end_segment(op);
  }
  end_segment(nullptr);
}

// Unicorn repeats the check behind every load and store, for the sake of memory hooks. It costs as much as the access, for it ends a basic
// block. Without memory hooks nobody asks there.
void remove_exit_checks(const ExitCheck& first) {
  for (TCGOp *op = first.branch->next, *next; op != nullptr; op = next) {
    next = op->next;
    if (op->opc == kBrcondI32 && op->args[3] == first.label && op->args[2] == kLessThan) tcg_op_remove_x86_64(context, op);
  }
}

void enter_block_slowly(const TranslatedBlock* block) { block->client->enter_slowly(*block); }

void translate(CPUState* cpu, TranslationBlock* tb, int maximum_instructions, TranslatedBlock& block) {
  // Nothing here may need destruction: where the code cannot be fetched Unicorn jumps out of the translator, over this function.
  std::array<TCGTemp*, 16> temps;
  size_t temp_count = 0;
  const auto keep = [&](TCGTemp* t) { return temps[temp_count++] = t; };
  const auto number = [&](uint64_t value) {
    const Constant c = constant(kI64, value);
    keep(c.temp);
    return c;
  };
  Pulse& pulse = client->pulse();
  TCGLabel *slow = gen_new_label_x86_64(context), *body = gen_new_label_x86_64(context);

  TCGTemp* word = keep(new_temp(kI64));
  TCGTemp* at = number(reinterpret_cast<uintptr_t>(&pulse.word)).temp;
  emit(kLdI64, word, at, 0);
  const Constant delta = number(0);
  emit(kAddI64, word, word, delta.temp);
  emit(kStI64, word, at, 0);
  branch_if(kBrcondI64, kLessThan, word, number(0).temp, slow);
  uint64_t expected = 0;
  if (const uint64_t* filter = client->fetch_filter(block.address, expected)) {
    TCGTemp* found = keep(new_temp(kI64));
    emit(kLdI64, found, number(reinterpret_cast<uintptr_t>(filter)).temp, 0);
    branch_if(kBrcondI64, kNotEqual, found, number(expected).temp, slow);
  }
  emit(kStI64, number(reinterpret_cast<uintptr_t>(&block)).temp, number(reinterpret_cast<uintptr_t>(&pulse.current)).temp, 0);
  set_label(body);
  // The label is the last operation now.
  TCGOp* const end_of_prologue = emit(kMovI64, word, 0);
  for (TCGTemp* t : std::span{temps}.first(temp_count)) tcg_temp_free_internal_x86_64(context, t);

  __real_gen_intermediate_code_x86_64(cpu, tb, maximum_instructions);

  const ExitCheck check = find_exit_check(end_of_prologue);
  if (check.branch && client->exits_in_blocks_are_unused()) remove_exit_checks(check);
  if (client->counts_accesses()) find_accesses(check.branch ? check.branch->next : end_of_prologue->next, block, pulse);
  client->end_translation(block, tb->size);
  delta.op->args[1] = static_cast<uint64_t>(block.delta);
  set_label(slow);
  TCGTemp* argument = constant(kI64, reinterpret_cast<uintptr_t>(&block)).temp;
  TCGOp* call = emit(kCall, argument, reinterpret_cast<uintptr_t>(&enter_block_slowly), 0);
  call->param1 = 1;
  call->param2 = 0;
  tcg_temp_free_internal_x86_64(context, argument);
  // The check has moved here: nobody asks a block to stop that goes the short way.
  if (check.branch) {
    TCGTemp *count = new_temp(kI32), *zero = constant(kI32, 0).temp;
    emit(kLdI32, count, check.env, check.offset);
    branch_if(kBrcondI32, kLessThan, count, zero, reinterpret_cast<TCGLabel*>(check.label));
    tcg_temp_free_internal_x86_64(context, count);
    tcg_temp_free_internal_x86_64(context, zero);
    tcg_op_remove_x86_64(context, check.branch);
  }
  ++reinterpret_cast<LabelHead*>(body)->refs;
  emit(kBr, body);
}

}  // namespace

void set_block_client(BlockClient* c) { client = c; }
bool translation_can_be_watched() { return __real_gen_intermediate_code_x86_64 != nullptr; }
bool translated_blocks_are_bounded() { return blocks_are_bounded; }
void examine_translations(bool on) {
  examining = on;
  if (on) understood = false;
}
bool translations_are_understood() { return understood; }
void forget_translations() { first_block = UINTPTR_MAX; }

}  // namespace vitro::hw

void __wrap_tcg_func_start_x86_64(TCGContext* c) {
  vitro::hw::context = c;
  __real_tcg_func_start_x86_64(c);
}

// Unicorn leaks up to two of its 512 temporaries with each x87 (and some other) instruction that it translates, and writes beyond their
// table when a block has too many: a guest could bring the host down with 233 FXCHs in a row. So blocks are kept short. How blocks are cut
// makes no other difference.
//
// Unicorn also loses its way when its buffer of translations is full: it empties the buffer in the middle of a run and then jumps into what
// was there. So we watch how far the buffer has filled (a block's descriptor lies in it), and empty it between two runs.
void __wrap_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* tb, int maximum_instructions) {
  using namespace vitro::hw;
  int maximum = std::min(maximum_instructions, kMaximumInstructionsOfBlock);
  blocks_are_bounded = true;
  if (client) {
    const auto at = reinterpret_cast<uintptr_t>(tb);
    first_block = std::min(first_block, at);
    if (at - first_block > kTranslationBuffer / 4 * 3) client->translations_are_many();
    maximum = std::min(maximum, client->instructions_together(tb->pc));
    if (TranslatedBlock* block = client->begin_translation(tb->pc)) return translate(cpu, tb, maximum, *block);
  }
  if (!examining) return __real_gen_intermediate_code_x86_64(cpu, tb, maximum);
  TCGTemp* temp = new_temp(kI64);
  const TCGOp* mark = emit(kMovI64, temp, 0);
  tcg_temp_free_internal_x86_64(context, temp);
  __real_gen_intermediate_code_x86_64(cpu, tb, maximum);
  understood = find_exit_check(mark).branch != nullptr;
}
