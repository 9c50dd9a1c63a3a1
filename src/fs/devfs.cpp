// /dev: a devtmpfs with the memory devices (drivers/char/mem.c), random numbers from the seed, and the nodes of the terminals.
#include <cstring>

#include "fs/tree_fs.h"
#include "fs/vfs_state.h"
#include "vitro/base/rng.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kTmpfsMagic = 0x01021994;
constexpr size_t kChunk = 4096;

// Hands out `count` bytes made a chunk at a time; a short count at a bad address.
template <class Fill>
Result<size_t> produce(size_t count, ByteSink& sink, Fill fill) {
  count = std::min(count, kMaxTransfer);
  std::byte chunk[kChunk];
  size_t done = 0;
  while (done < count) {
    const auto part = std::span(chunk).first(std::min(count - done, kChunk));
    fill(part);
    const auto put = sink.put(part);
    if (!put && done == 0) return fail(put.error());
    if (!put) break;
    done += *put;
    if (*put < part.size()) break;
  }
  return done;
}

class MemoryDevice : public File {
 public:
  using File::File;
  Result<size_t> write_at(uint64_t, size_t count, ByteSource&, Blocking&) override { return std::min(count, kMaxTransfer); }
  Result<uint64_t> seek(int64_t, int) override { return position = 0; }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  Status sync(Inode::Sync, Bytes, Bytes) override { return fail(Errno::Invalid); }
};

class NullFile final : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return size_t{0}; }
};

class ZeroFile : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  Result<size_t> read_at(uint64_t, size_t count, ByteSink& sink, Blocking&) override {
    return produce(count, sink, [](std::span<std::byte> b) { std::memset(b.data(), 0, b.size()); });
  }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return std::shared_ptr<mm::MappedFile>{}; }  // anonymous memory
};

class FullFile final : public ZeroFile {
 public:
  using ZeroFile::ZeroFile;
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::NoSpace); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
};

class RandomFile final : public MemoryDevice {
 public:
  RandomFile(std::shared_ptr<Inode> inode, unsigned flags, std::shared_ptr<Rng> rng) : MemoryDevice(std::move(inode), flags), rng_(std::move(rng)) {}
  Result<size_t> read_at(uint64_t, size_t count, ByteSink& sink, Blocking&) override {
    return produce(count, sink, [this](std::span<std::byte> b) {
      for (size_t i = 0; i < b.size(); i += sizeof(uint64_t)) {
        const uint64_t word = rng_->next();
        std::memcpy(b.data() + i, &word, std::min(sizeof word, b.size() - i));
      }
    });
  }

 private:
  std::shared_ptr<Rng> rng_;
};

// One record a read, as kernel/printk/printk.c: devkmsg_read gives them: "priority,sequence,microseconds,-;text".
class KernelLogFile final : public MemoryDevice {
 public:
  KernelLogFile(std::shared_ptr<Inode> inode, unsigned flags, Vfs& vfs) : MemoryDevice(std::move(inode), flags), vfs_(vfs) {}
  Result<size_t> read_at(uint64_t, size_t count, ByteSink& sink, Blocking&) override {
    const auto& log = vfs_.state().kernel_log;
    const std::string text = log.read ? log.read() : std::string{};
    size_t at = 0;
    for (uint64_t skip = next_; skip > 0 && at < text.size(); --skip) at = std::min(text.find('\n', at), text.size() - 1) + 1;
    if (at >= text.size()) return fail(Errno::Again);  // the end of what there is
    std::string_view line = std::string_view(text).substr(at, text.find('\n', at) - at);
    uint64_t microseconds = 0;
    if (const size_t close = line.find("] "); line.starts_with('[') && close != std::string_view::npos) {
      for (const char c : line.substr(1, close - 1))
        if (c >= '0' && c <= '9') microseconds = microseconds * 10 + static_cast<uint64_t>(c - '0');
      line.remove_prefix(close + 2);
    }
    const std::string record = "6," + std::to_string(next_) + "," + std::to_string(microseconds) + ",-;" + std::string(line) + "\n";
    if (count < record.size()) return fail(Errno::Invalid);
    ++next_;
    return sink.put(std::as_bytes(std::span(record)));
  }
  Result<size_t> write_at(uint64_t, size_t count, ByteSource& source, Blocking&) override {
    constexpr size_t kLongest = 992;  // LOG_LINE_MAX
    if (count > kLongest) return fail(Errno::Invalid);
    std::string text(count, '\0');
    size_t n = 0;
    while (n < count) n += TRY(source.take(std::as_writable_bytes(std::span(text).subspan(n))));
    if (vfs_.state().kernel_log.write) vfs_.state().kernel_log.write(text);
    return count;
  }

 private:
  Vfs& vfs_;
  uint64_t next_ = 0;
};

template <class F, class... Extra>
Vfs::DeviceOpener opener(Extra... extra) {
  return [extra...](const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext&) -> Result<std::shared_ptr<File>> {
    return std::shared_ptr<File>(std::make_shared<F>(inode, flags, extra...));
  };
}

}  // namespace

void set_kernel_log(Vfs& vfs, KernelLog log) { vfs.state().kernel_log = std::move(log); }

std::shared_ptr<FileSystem> make_devfs(Vfs& vfs, uint64_t seed) {
  TreeConfig config;
  config.type_name = "devtmpfs";
  config.magic = kTmpfsMagic;
  auto fs = std::make_shared<TreeFileSystem>(vfs, std::move(config));
  auto rng = std::make_shared<Rng>(seed);
  const Vfs::DeviceOpener to_log = [&vfs](const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext&) -> Result<std::shared_ptr<File>> {
    return std::shared_ptr<File>(std::make_shared<KernelLogFile>(inode, flags, vfs));
  };
  struct Device {
    const char* name;
    uint64_t major, minor;
    uint32_t mode;
    Vfs::DeviceOpener open;
  };
  const Device devices[] = {
      {"null", 1, 3, 0666, opener<NullFile>()},          {"zero", 1, 5, 0666, opener<ZeroFile>()},
      {"full", 1, 7, 0666, opener<FullFile>()},          {"random", 1, 8, 0666, opener<RandomFile>(rng)},
      {"urandom", 1, 9, 0666, opener<RandomFile>(rng)},  {"kmsg", 1, 11, 0644, to_log},
      {"tty", 5, 0, 0666, nullptr},                      {"console", 5, 1, 0600, nullptr},
      {"ptmx", 5, 2, 0666, nullptr},
  };
  TreeNode& root = fs->root_node();
  for (const Device& d : devices) {
    TreeNode& node = fs->make_node(kCharDevice | d.mode, 0, 0);
    node.links = 1;
    node.special_device = make_device(d.major, d.minor);
    fs->add_name(root, d.name, node);
    if (d.open) vfs.register_device(kCharDevice, node.special_device, d.open);
  }
  constexpr std::pair<const char*, const char*> kLinks[] = {
      {"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"}};
  for (const auto& [name, target] : kLinks) {
    TreeNode& node = fs->make_node(kSymlink | 0777, 0, 0);
    node.links = 1;
    node.link_target = target;
    node.size = node.link_target.size();
    fs->add_name(root, name, node);
  }
  (void)fs->ensure_directory("shm", 01777);
  (void)fs->ensure_directory("pts", 0755);
  return fs;
}

}  // namespace vitro::fs
