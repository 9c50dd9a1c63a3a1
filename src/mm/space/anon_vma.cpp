#include "mm/space/anon_vma.h"

#include <memory>
#include <vector>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

Result<std::unique_ptr<AnonVma>> new_anon_vma(KernelCaches& caches) {
  SlabObject memory = TRY(caches.allocate(KernelCache::AnonVma, Gfp::KernelAccount));
  auto anon_vma = std::make_unique<AnonVma>();
  anon_vma->memory = std::move(memory);
  return anon_vma;
}

Result<std::unique_ptr<AnonVmaChain>> new_chain(KernelCaches& caches) {
  SlabObject memory = TRY(caches.allocate(KernelCache::AnonVmaChain, Gfp::KernelAccount));
  auto chain = std::make_unique<AnonVmaChain>();
  chain->memory = std::move(memory);
  return chain;
}

void link(Vma& vma, AnonVma& anon_vma, std::unique_ptr<AnonVmaChain> owned) {
  AnonVmaChain* chain = owned.release();
  chain->vma = &vma;
  chain->anon_vma = &anon_vma;
  vma.anon_chain.push_front(*chain);
  anon_vma.chains.insert(*chain);
}

// mm/mmap.c: anon_vma_compatible, reusable_anon_vma. Neighbours that differ at most in rights that mprotect changes may share one, so that
// they can merge if the rights become the same.
AnonVma* reusable(const Vma* a, const Vma* b, const Vma* owner) {
  if (!a || !b || a->end != b->start || a->file != b->file || !owner->anon_vma) return nullptr;
  const VmFlag ignored = VmFlag::Read | VmFlag::Write | VmFlag::Exec | VmFlag::SoftDirty;
  if ((a->flags & ~ignored) != (b->flags & ~ignored)) return nullptr;
  if (b->page_offset != a->page_offset + a->pages()) return nullptr;
  return owner->anon_chain.size() == 1 ? owner->anon_vma : nullptr;
}

}  // namespace

bool anon_vmas_mergeable(const Vma& a, const Vma& b) {
  if (a.anon_vma == b.anon_vma) return true;
  if (a.anon_vma && b.anon_vma) return false;
  return (a.anon_vma ? a : b).anon_chain.size() == 1;
}

Status prepare_anon_vma(KernelCaches& caches, Vma& vma) {
  if (vma.anon_vma) return {};
  auto chain = TRY(new_chain(caches));
  AnonVma* anon_vma = reusable(&vma, vma.tree.next, vma.tree.next);
  if (!anon_vma) anon_vma = reusable(vma.tree.previous, &vma, vma.tree.previous);
  if (!anon_vma) {
    anon_vma = TRY(new_anon_vma(caches)).release();
    ++anon_vma->num_children;  // itself
  }
  if (vma.anon_vma) {  // the allocations may have waited, and another thread may have been faster
    if (anon_vma->chains.empty()) delete anon_vma;
    return {};
  }
  vma.anon_vma = anon_vma;
  ++anon_vma->num_active_vmas;
  link(vma, *anon_vma, std::move(chain));
  return {};
}

Status clone_anon_vma(KernelCaches& caches, Vma& to, const Vma& from) {
  DCHECK(to.anon_chain.empty(), "area {:#x} has anon_vmas already", to.start.value());
  std::vector<AnonVma*> anon_vmas;
  for (const AnonVmaChain& c : from.anon_chain) anon_vmas.push_back(c.anon_vma);
  for (auto it = anon_vmas.rbegin(); it != anon_vmas.rend(); ++it) {
    auto chain = new_chain(caches);
    if (!chain) {
      to.anon_vma = nullptr;  // not counted as active yet
      unlink_anon_vmas(to);
      to.anon_vma = nullptr;
      return fail(Errno::NoMemory);
    }
    link(to, **it, std::move(*chain));
    if (!to.anon_vma && from.anon_vma && (*it)->num_children < 2 && (*it)->num_active_vmas == 0) to.anon_vma = *it;
  }
  if (to.anon_vma) ++to.anon_vma->num_active_vmas;
  return {};
}

Status fork_anon_vma(KernelCaches& caches, Vma& child, const Vma& parent) {
  child.anon_vma = nullptr;
  if (!parent.anon_vma) return {};
  TRY(clone_anon_vma(caches, child, parent));
  if (child.anon_vma) return {};
  auto anon_vma = new_anon_vma(caches);
  auto chain = anon_vma ? new_chain(caches) : Result<std::unique_ptr<AnonVmaChain>>(fail(Errno::NoMemory));
  if (!chain) {
    unlink_anon_vmas(child);
    return fail(Errno::NoMemory);
  }
  AnonVma* own = anon_vma->release();
  own->root = parent.anon_vma->root;
  own->parent = parent.anon_vma;
  ++own->parent->num_children;
  ++own->num_active_vmas;
  child.anon_vma = own;
  link(child, *own, std::move(*chain));
  return {};
}

void unlink_anon_vmas(Vma& vma) {
  if (vma.anon_vma) --vma.anon_vma->num_active_vmas;
  // Those that nobody uses any more: a child's chain is a superset of its parent's, so a parent never goes before its children.
  std::vector<AnonVma*> unused;
  while (AnonVmaChain* chain = vma.anon_chain.pop_front()) {
    AnonVma* anon_vma = chain->anon_vma;
    anon_vma->chains.erase(*chain);
    if (anon_vma->chains.empty()) {
      --anon_vma->parent->num_children;
      unused.push_back(anon_vma);
    }
    delete chain;
  }
  vma.anon_vma = nullptr;
  for (AnonVma* anon_vma : unused) {
    CHECK(anon_vma->num_children == 0 && anon_vma->num_active_vmas == 0, "an anon_vma without areas has {} children, {} active areas",
          anon_vma->num_children, anon_vma->num_active_vmas);
    delete anon_vma;
  }
}

}  // namespace vitro::mm
