// /dev/pts and the ways to a terminal: ptmx makes a pair, a number is its slave, /dev/tty is the caller's own (fs/devpts/inode.c, drivers/tty/pty.c).
#include <map>

#include "fs/pty.h"
#include "fs/tty_file.h"
#include "fs/vfs_state.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kDevptsMagic = 0x1cd1;
constexpr unsigned kMost = 4096;             // kernel.pty.max
constexpr uint64_t kSlaveMajor = 136;
constexpr uint64_t kPtmxInode = 2, kFirstInode = 3;
constexpr uint32_t kTtyGroup = 5;            // gid=5,mode=620
constexpr std::string_view kPtmx = "ptmx";

class DevptsFs;

// What a node remembers whether or not anybody uses it.
struct Slave {
  std::shared_ptr<Tty> tty;
  std::shared_ptr<Pty> pty;                  // null: the machine's own terminal
  Attributes attributes;
};

class DevptsInode final : public Inode {
 public:
  enum class Kind : uint8_t { Root, Ptmx, Slave };
  DevptsInode(DevptsFs& fs, Kind kind, std::shared_ptr<Slave> slave, mm::SlabObject memory)
      : fs_(fs), kind_(kind), slave_(std::move(slave)), memory_(std::move(memory)) {}
  FileSystem& file_system() override;
  Attributes attributes() override;
  Status set_attributes(const AttributeChange& change) override;
  Result<std::shared_ptr<Inode>> lookup(std::string_view name) override;
  Status list(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) override;
  Result<std::shared_ptr<File>> open(unsigned flags, const OpenContext& context) override;
  bool names_are_stable() const override { return false; }
  const std::shared_ptr<Slave>& slave() const { return slave_; }

 private:
  DevptsFs& fs_;
  Kind kind_;
  std::shared_ptr<Slave> slave_;
  mm::SlabObject memory_;
};

class DevptsFs final : public FileSystem, public std::enable_shared_from_this<DevptsFs> {
 public:
  explicit DevptsFs(Vfs& vfs) : vfs_(vfs), device_(vfs.new_device_number()) {
    root_attributes.mode = kDirectory | 0755;
    root_attributes.links = 2;
    ptmx_attributes.mode = kCharDevice | 0;
    ptmx_attributes.special_device = make_device(5, 2);
    for (Attributes* a : {&root_attributes, &ptmx_attributes}) {
      a->device = device_;
      a->inode = a == &root_attributes ? 1 : kPtmxInode;
      a->block_size = 1024;
      a->accessed = a->modified = a->changed = a->born = vfs.now();
    }
  }
  std::string_view type_name() const override { return "devpts"; }
  std::shared_ptr<Inode> root() override {
    if (!root_) root_ = make_inode(DevptsInode::Kind::Root, nullptr).value_or(nullptr);
    return root_;
  }
  FileSystemStatistics statistics() override { return {.type = kDevptsMagic}; }
  uint64_t device() const override { return device_; }
  Vfs* vfs() override { return &vfs_; }

  Result<std::shared_ptr<Inode>> make_inode(DevptsInode::Kind kind, std::shared_ptr<Slave> slave) {
    mm::SlabObject memory = TRY(charge(vfs_, mm::KernelCache::InodeCache));
    return std::shared_ptr<Inode>(std::make_shared<DevptsInode>(*this, kind, std::move(slave), std::move(memory)));
  }

  void add(unsigned number, std::shared_ptr<Tty> tty, std::shared_ptr<Pty> pty, const Credentials* owner) {
    auto slave = std::make_shared<Slave>();
    Attributes& a = slave->attributes;
    a.device = device_;
    a.inode = kFirstInode + number;
    a.mode = kCharDevice | 0620;
    a.uid = owner ? owner->fsuid : 0, a.gid = kTtyGroup;
    a.special_device = tty->device_number();
    a.block_size = 1024;
    a.accessed = a.modified = a.changed = a.born = vfs_.now();
    slave->tty = std::move(tty), slave->pty = std::move(pty);
    slaves[number] = std::move(slave);
  }

  // ptmx_open
  Result<std::shared_ptr<File>> open_ptmx(const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext& context) {
    unsigned number = 0;
    while (number < kMost && (slaves.contains(number) || !gone_[number].expired())) ++number;
    if (number == kMost) return fail(Errno::NoSpace);
    auto pty = std::make_shared<Pty>(number);
    auto tty = std::make_shared<Tty>(vfs_, pty, make_device(kSlaveMajor, number));
    add(number, tty, pty, context.credentials);
    return make_pty_master(inode, flags, tty, pty, [self = weak_from_this(), number, weak = std::weak_ptr(tty)] {
      if (const auto fs = self.lock()) {
        fs->slaves.erase(number);
        fs->gone_[number] = weak;  // the number is free when nobody holds the slave any more
      }
    });
  }

  // pty_open
  Result<std::shared_ptr<File>> open_slave(const std::shared_ptr<Inode>& inode, const std::shared_ptr<Slave>& slave, unsigned flags, bool no_controlling_terminal) {
    const auto& pty = slave->pty;
    if (!pty) return open_tty(inode, flags, slave->tty, no_controlling_terminal);
    if (pty->locked || !pty->master_open) return fail(Errno::IoError);
    ++pty->slave_opens;
    pty->slave_closed = false;
    slave->tty->opened_by_caller(no_controlling_terminal);
    return std::shared_ptr<File>(std::make_shared<TtyFile>(inode, flags, slave->tty, [pty] {
      if (--pty->slave_opens > 0) return;
      pty->slave_closed = true;
      pty->master_readers.wake_all();
    }));
  }

  std::map<unsigned, std::shared_ptr<Slave>> slaves;
  Attributes root_attributes, ptmx_attributes;

 private:
  Vfs& vfs_;
  uint64_t device_;
  std::shared_ptr<Inode> root_;
  std::map<unsigned, std::weak_ptr<Tty>> gone_;
};

FileSystem& DevptsInode::file_system() { return fs_; }

Attributes DevptsInode::attributes() { return kind_ == Kind::Root ? fs_.root_attributes : kind_ == Kind::Ptmx ? fs_.ptmx_attributes : slave_->attributes; }

Status DevptsInode::set_attributes(const AttributeChange& c) {
  Attributes& a = kind_ == Kind::Root ? fs_.root_attributes : kind_ == Kind::Ptmx ? fs_.ptmx_attributes : slave_->attributes;
  if (c.size) return kind_ == Kind::Root ? fail(Errno::IsDirectory) : Status{};
  if (c.mode) a.mode = (a.mode & kTypeMask) | (*c.mode & 07777);
  if (c.uid) a.uid = *c.uid;
  if (c.gid) a.gid = *c.gid;
  if (c.accessed) a.accessed = *c.accessed;
  if (c.modified) a.modified = *c.modified;
  a.changed = fs_.vfs()->now();
  return {};
}

Result<std::shared_ptr<Inode>> DevptsInode::lookup(std::string_view name) {
  if (kind_ != Kind::Root) return fail(Errno::NotDirectory);
  if (name == kPtmx) return fs_.make_inode(Kind::Ptmx, nullptr);
  for (const auto& [number, slave] : fs_.slaves)
    if (name == std::to_string(number)) return fs_.make_inode(Kind::Slave, slave);
  return fail(Errno::NoEntry);
}

Status DevptsInode::list(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) {
  if (kind_ != Kind::Root) return fail(Errno::NotDirectory);
  // Offsets: ".", "..", ptmx, then each number at its own place, so that what comes and goes disturbs nobody.
  constexpr uint64_t kFirstSlave = 3;
  if (offset < 1 && !visit({1, kDirectory, ".", 1})) return {};
  if (offset < 2 && !visit({1, kDirectory, "..", 2})) return {};
  if (offset < 3 && !visit({kPtmxInode, kCharDevice, kPtmx, kFirstSlave})) return {};
  for (const auto& [number, slave] : fs_.slaves) {
    if (kFirstSlave + number < offset) continue;
    if (!visit({kFirstInode + number, kCharDevice, std::to_string(number), kFirstSlave + number + 1})) return {};
  }
  return {};
}

Result<std::shared_ptr<File>> DevptsInode::open(unsigned flags, const OpenContext& context) {
  if (kind_ == Kind::Root) return Inode::open(flags, context);
  if (kind_ == Kind::Ptmx) return fs_.open_ptmx(shared_from_this(), flags, context);
  return fs_.open_slave(shared_from_this(), slave_, flags, context.no_controlling_terminal);
}

}  // namespace

Result<std::shared_ptr<File>> open_tty(const std::shared_ptr<Inode>& inode, unsigned flags, std::shared_ptr<Tty> tty, bool no_controlling_terminal) {
  tty->opened_by_caller(no_controlling_terminal);
  return std::shared_ptr<File>(std::make_shared<TtyFile>(inode, flags, std::move(tty), nullptr));
}

std::shared_ptr<FileSystem> make_devpts(Vfs& vfs, std::shared_ptr<Tty> console) {
  auto fs = std::make_shared<DevptsFs>(vfs);
  if (console) fs->add(0, console, nullptr, nullptr);
  std::weak_ptr<DevptsFs> weak = fs;
  vfs.register_device(kCharDevice, make_device(5, 0), [&vfs](const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext&) -> Result<std::shared_ptr<File>> {
    JobControl* jobs = vfs.state().jobs;
    const auto caller = jobs ? jobs->caller() : std::nullopt;
    if (!caller || !caller->terminal) return fail(Errno::NoDeviceOrAddress);
    return open_tty(inode, flags, caller->terminal, true);
  });
  vfs.register_device(kCharDevice, make_device(5, 1),
                      [console = std::weak_ptr(console)](const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext&) -> Result<std::shared_ptr<File>> {
                        auto tty = console.lock();
                        if (!tty) return fail(Errno::NoDeviceOrAddress);
                        return open_tty(inode, flags, std::move(tty), true);  // tty_open_proc_set_tty: never from /dev/console
                      });
  vfs.register_device(kCharDevice, make_device(5, 2), [weak](const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext& context) -> Result<std::shared_ptr<File>> {
    const auto devpts = weak.lock();
    if (!devpts) return fail(Errno::NoDeviceOrAddress);
    return devpts->open_ptmx(inode, flags, context);
  });
  return fs;
}

Result<std::shared_ptr<File>> open_peer(Vfs& vfs, File& master, unsigned flags) {
  const PtyPair pair = pair_of_master(master);
  if (!pair.pty) return fail(Errno::NotTty);
  PathContext context{.root = vfs.root(), .cwd = vfs.root()};
  const Credentials root{};
  context.credentials = &root;
  const bool was_locked = std::exchange(pair.pty->locked, false);  // ptm_open_peer does not ask for the lock
  auto file = vfs.open(context, nullptr, "/dev/pts/" + std::to_string(pair.pty->number), flags | kOpenNoCtty, 0);
  pair.pty->locked = was_locked;
  return file;
}

}  // namespace vitro::fs
