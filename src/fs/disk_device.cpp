#include "vitro/fs/disk_device.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "vitro/fs/file.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kSector = hw::Disk::kSectorSize;
// include/uapi/linux/fs.h
constexpr unsigned kGetSize = 0x1260, kFlush = 0x1261, kSectorSize = 0x1268, kGetSize64 = 0x80081272, kBlockSize = 0x80081270, kPhysicalSize = 0x127b;

class DiskFile final : public File {
 public:
  DiskFile(std::shared_ptr<Inode> inode, unsigned flags, hw::Disk& disk) : File(std::move(inode), flags), disk_(disk) {}
  hw::Disk& disk() const { return disk_; }

  Result<size_t> read_at(uint64_t offset, size_t count, ByteSink& sink, Blocking& blocking) override {
    const uint64_t size = disk_.size().value();
    if (offset >= size) return size_t{0};
    count = std::min<uint64_t>({count, size - offset, kChunk});
    const uint64_t first = offset / kSector, end = (offset + count + kSector - 1) / kSector;
    std::vector<std::byte> data((end - first) * kSector);
    TRY(transfer(blocking, [&](hw::Disk::Done done) { disk_.submit_read(first, std::span<std::byte>(data), std::move(done)); },
                 [&] { return disk_.peek(first, data); }));
    return sink.put(std::span<const std::byte>(data).subspan(offset % kSector, count));
  }
  Result<size_t> write_at(uint64_t offset, size_t count, ByteSource& source, Blocking& blocking) override {
    const uint64_t size = disk_.size().value();
    if (offset >= size) return fail(Errno::NoSpace);
    count = std::min<uint64_t>({count, size - offset, kChunk});
    const uint64_t first = offset / kSector, end = (offset + count + kSector - 1) / kSector;
    std::vector<std::byte> data((end - first) * kSector);
    TRY(disk_.peek(first, data));
    const size_t taken = TRY(source.take(std::span<std::byte>(data).subspan(offset % kSector, count)));
    TRY(transfer(blocking, [&](hw::Disk::Done done) { disk_.submit_write(first, std::span<const std::byte>(data), std::move(done)); },
                 [&] { return disk_.poke(first, data); }));
    return taken;
  }
  Result<uint64_t> seek(int64_t offset, int whence) override {
    const int64_t base = whence == 0 ? 0 : whence == 1 ? static_cast<int64_t>(position) : static_cast<int64_t>(disk_.size().value());
    if (whence < 0 || whence > 2 || offset < -base) return fail(Errno::Invalid);
    return position = static_cast<uint64_t>(base + offset);
  }
  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) override {
    const VirtAddr to{argument};
    switch (command) {
      case kGetSize64: TRY(user.put(to, disk_.size().value())); return 0L;
      case kGetSize: TRY(user.put(to, disk_.size().value() / kSector)); return 0L;
      case kSectorSize: TRY(user.put(to, static_cast<int>(kSector))); return 0L;
      case kBlockSize: TRY(user.put(to, uint64_t{kPageSize})); return 0L;
      case kPhysicalSize: TRY(user.put(to, static_cast<unsigned>(kSector))); return 0L;
      case kFlush: return 0L;  // nothing is cached
      default: return fail(Errno::NotTty);
    }
  }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  Status sync(Inode::Sync, Bytes, Bytes) override { return {}; }
  Status truncate(uint64_t) override { return fail(Errno::Invalid); }

 private:
  static constexpr uint64_t kChunk = 128 << 10;

  template <class Submit, class AtOnce>
  static Status transfer(Blocking& blocking, Submit submit, AtOnce at_once) {
    if (!blocking.may_wait()) return at_once();
    bool done = false;
    Status result;
    WaitQueue queue;
    submit([&](Status s) {
      result = s;
      done = true;
      queue.wake_all();
    });
    while (!done) (void)blocking.wait(queue, Interruptible::No);
    return result;
  }

  hw::Disk& disk_;
};

}  // namespace

uint64_t disk_device_number(uint64_t minor) { return make_device(kVirtioDiskMajor, minor); }

Status add_disk_device(Vfs& vfs, hw::Disk& disk, uint64_t minor) {
  const uint64_t number = disk_device_number(minor);
  vfs.register_device(kBlockDevice, number, [&disk](const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext&) -> Result<std::shared_ptr<File>> {
    return std::shared_ptr<File>(std::make_shared<DiskFile>(inode, flags, disk));
  });
  const Credentials root{};
  PathContext context{.root = vfs.root(), .cwd = vfs.root()};
  context.credentials = &root;
  context.umask = 0;
  return vfs.make_node(context, nullptr, "/dev/" + disk.name(), kBlockDevice | 0660, number);
}

hw::Disk* disk_of(const File& file) {
  const auto* disk = dynamic_cast<const DiskFile*>(&file);
  return disk ? &disk->disk() : nullptr;
}

}  // namespace vitro::fs
