#include "vitro/machine/machine.h"

#include <fmt/format.h>
#include <limits.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cstring>

#include "host_console.h"
#include "host_terminal.h"
#include "vitro/base/print.h"
#include "vitro/base/trace_file.h"
#include "vitro/fs/disk_device.h"
#include "vitro/fs/host_stream.h"
#include "vitro/fs/process_view.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/writeback.h"
#include "vitro/mm/oom.h"
#include "vitro/mm/reclaim.h"
#include "vitro/mm/swap.h"
#include "vitro/syscalls/table.h"

namespace vitro::machine {
namespace {

constexpr const char* kSearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// What the guest sees of the host when no --root is given.
constexpr const char* kDefaultOffers[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc"};

// Where other file systems than the root are mounted.
constexpr const char* kOtherMounts[] = {"/tmp", "/dev", "/run", "/proc", "/sys"};

constexpr uint64_t kSwapMinor = 16;  // /dev/vdb

fs::BlockDeviceView view_of(const hw::Disk& disk, uint64_t minor) {
  const hw::DiskCounters& c = disk.counters();
  fs::BlockDeviceView d;
  d.name = disk.name();
  d.major = fs::kVirtioDiskMajor, d.minor = minor;
  d.sectors = disk.size().value() / hw::Disk::kSectorSize;
  d.reads = {.requests = c.reads, .sectors = c.sectors_read, .time = c.read_time};
  d.writes = {.requests = c.writes, .sectors = c.sectors_written, .time = c.write_time};
  d.flushes = {.requests = c.flushes, .time = c.flush_time};
  d.in_flight = c.in_flight;
  d.busy = c.busy_time;
  d.weighted = c.read_time + c.write_time + c.flush_time;
  return d;
}

std::string working_directory() {
  char buffer[PATH_MAX];
  return ::getcwd(buffer, sizeof buffer) ? buffer : "/";
}

void report_crash(void* machine) {
  restore_host_terminal();
  Machine& m = *static_cast<Machine*>(machine);
  print(stderr, "vitro: seed {}, {} instructions, {} ns virtual time; last events:\n", m.options().seed, m.clock().instructions(),
             m.clock().now().value());
  for (const std::string& line : m.tracer().recent()) print(stderr, "vitro:   {}\n", line);
  if (TraceSink* sink = m.tracer().sink()) (void)sink->flush();
}

}  // namespace

Machine::Machine(const MachineOptions& options) : options_(options) {}

Machine::~Machine() {
  set_crash_reporter(nullptr, nullptr);
  if (vfs_shrinker_) vm_->reclaimer().remove_shrinker(*vfs_shrinker_);
}

Result<std::unique_ptr<Machine>, UserError> Machine::create(const MachineOptions& options) {
  std::unique_ptr<Machine> machine{new Machine(options)};
  TRY(machine->build());
  return machine;
}

Result<void, UserError> Machine::build() {
  TRY(tracer_.enable(options_.trace));
  if (!options_.trace.empty()) tracer_.set_sink(TRY(open_trace(options_.trace_out)));
  ram_ = TRY(hw::Ram::create(options_.ram));
  clock_ = std::make_unique<hw::Clock>(options_.timing.instruction_ps);
  tracer_.set_clock(&hw::Clock::read, clock_.get());
  options_.tlb.seed = options_.seed;
  mmu_ = std::make_unique<hw::Mmu>(*ram_, options_.tlb, options_.timing, tracer_);
  cpu_ = TRY(hw::make_unicorn_cpu(*ram_, *mmu_, *clock_, options_.mmu));
  mmu_->set_soft_tlb(cpu_.get());
  ram_->set_code_invalidator(cpu_.get());
  cpu_->set_precise_faults(tracer_.enabled(Event::PageFaultUser));
  if (options_.disk_image) {
    const std::optional<Bytes> size = options_.disk_given ? std::optional(options_.disk) : std::nullopt;
    disk_ = TRY(hw::open_disk_image(*options_.disk_image, "vda", size, *clock_, options_.timing));
  } else {
    disk_ = hw::make_memory_disk("vda", options_.disk, *clock_, options_.timing);
  }
  disk_->set_tracer(tracer_, fs::disk_device_number(0));

  mm::PhysicalMemoryConfig physical;
  physical.extra_reserved = options_.reserved;
  physical.highmem_start = options_.highmem;
  if (physical.extra_reserved.value() > options_.ram.value() / 2)
    return fail(UserError{fmt::format("--reserved {} leaves less than half of the RAM", physical.extra_reserved.value()), "give the machine more --ram"});
  if (options_.swap.value() != 0) swap_disk_ = hw::make_memory_disk("vdb", options_.swap, *clock_, options_.timing);
  if (swap_disk_) swap_disk_->set_tracer(tracer_, fs::disk_device_number(kSwapMinor));
  TRY(mm::PhysicalMemory::validate(options_.ram, physical));
  physical_ = mm::PhysicalMemory::create(*ram_, physical, tracer_);
  physical_->set_verify_level(options_.verify);
  cpu_->set_zero_frame(physical_->zero_frame());
  vm_ = std::make_unique<mm::VirtualMemory>(*physical_, *mmu_, options_.timing, tracer_, options_.isolation ? mm::Isolation::On : mm::Isolation::Off);
  vm_->set_verify_level(options_.verify);

  console_ = std::make_unique<HostConsole>(
      *cpu_, tracer_, [this](int signal) { return kernel_ && kernel_->signal_foreground(signal); }, [this] { return interrupt_handler_ && interrupt_handler_(); });
  vfs_ = std::make_unique<fs::Vfs>(fs::Vfs::Services{vm_.get(), [](const void* machine) { return static_cast<const Machine*>(machine)->kernel_->realtime(); }, this, clock_.get()});
  vfs_shrinker_ = std::make_unique<fs::VfsShrinker>(*vfs_, vm_->reclaimer().vfs_cache_pressure);
  vm_->reclaimer().add_shrinker(*vfs_shrinker_);
  kernel::KernelConfig config;
  config.seed = options_.seed;
  config.boot_time = options_.boot_time;
  kernel_ = std::make_unique<kernel::Kernel>(config, *cpu_, *clock_, options_.timing, *vm_, *vfs_, tracer_);
  vm_->set_blocking(kernel_.get());
  vm_->writeback().set_clock(clock_.get());
  vm_->reclaimer().attach(kernel_.get());
  vm_->writeback().set_device(fs::disk_device_number(0));
  vm_->reclaimer().wake_flusher = [this] { vm_->writeback().wake_flusher(static_cast<uint64_t>(vm_->physical().stat().get(mm::VmItem::nr_dirty))); };
  (void)kernel_->start_kernel_thread("oom_reaper", [this] { vm_->oom().run_reaper([this] { return kernel_->kernel_thread_should_stop(); }); });
  (void)kernel_->start_kernel_thread("kswapd0", [this] { vm_->reclaimer().run_kswapd([this] { return kernel_->kernel_thread_should_stop(); }); });
  block_store_ = fs::make_block_store(*disk_, *kernel_);
  if ((host_terminal_ = HostTerminal::find())) {
    terminal_ = std::make_shared<fs::Tty>(*vfs_, host_terminal_, fs::make_device(136, 0));
    terminal_->set_settings(host_terminal_->settings());
    terminal_->set_window(host_terminal_->window());
    console_->set_terminal(host_terminal_, terminal_);
  }
  TRY(mount_file_systems());
  if (swap_disk_) TRY(enable_swap());
  syscalls_ = syscalls::make_table({.strace = options_.strace});
  kernel_->set_syscall_table(syscalls_.get());
  kernel_->set_host_port(console_.get());
  const auto flusher = kernel_->start_kernel_thread("kworker/u2:0-flush-254:0", [this] { vm_->writeback().run_flusher([this] { return kernel_->kernel_thread_should_stop(); }); });
  const auto committer = kernel_->start_kernel_thread("jbd2/vda-8", [this] { block_store_->run_commits([this] { return kernel_->kernel_thread_should_stop(); }); });
  kernel_->set_block_devices([this] {
    std::vector<fs::BlockDeviceView> devices{view_of(*disk_, 0)};
    if (swap_disk_) devices.push_back(view_of(*swap_disk_, kSwapMinor));
    return devices;
  });
  if (options_.disk_read_faults > 0 || options_.disk_write_faults > 0) disk_->set_faults({options_.disk_read_faults, options_.disk_write_faults, options_.seed});
  if (!flusher || !committer) return fail(UserError{"no memory for the kernel's own threads", "give the machine more --ram"});
  set_crash_reporter(&report_crash, this);
  return {};
}

Result<void, UserError> Machine::mount_file_systems() {
  fs::OverlayConfig overlay;
  std::vector<Bind> later;  // what lies where another file system is mounted
  const auto add = [&](const std::string& host, const std::string& guest) {
    for (const char* mount : kOtherMounts)
      if (guest == mount || guest.starts_with(std::string(mount) + "/")) {
        later.push_back({host, guest});
        return;
      }
    overlay.offers.push_back({host, guest});
  };
  if (options_.root) {
    add(*options_.root, "/");
  } else {
    for (const char* path : kDefaultOffers)
      if (::access(path, F_OK) == 0) add(path, path);
    const std::string here = working_directory();
    if (here != "/") add(here, here);
  }
  for (const Bind& bind : options_.binds) add(bind.host, bind.guest);

  std::shared_ptr<fs::FileSystem> root = TRY(fs::make_overlay(*vfs_, overlay, *block_store_));
  const auto must = [](Status status, const char* what) { CHECK(status, "mounting {}: {}", what, status ? "" : errno_name(status.error())); };
  must(vfs_->mount("/", root, "/dev/vda", "rw,relatime"), "/");
  must(vfs_->mount("/proc", fs::make_procfs(*vfs_, *vm_, *kernel_, syscalls::settings()), "proc", "rw,nosuid,nodev,noexec,relatime"), "/proc");
  must(vfs_->mount("/sys", fs::make_sysfs(*vfs_, *vm_, *kernel_), "sysfs", "rw,nosuid,nodev,noexec,relatime"), "/sys");
  // tmpfs takes half of RAM at most, as Linux's does by default.
  const Bytes half{options_.ram.value() / 2};
  must(vfs_->mount("/dev", fs::make_devfs(*vfs_, options_.seed), "udev", "rw,nosuid,relatime,mode=755"), "/dev");
  must(vfs_->mount("/dev/pts", fs::make_devpts(*vfs_, terminal_), "devpts", "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=000"), "/dev/pts");
  must(vfs_->mount("/dev/shm", fs::make_tmpfs(*vfs_, half), "tmpfs", "rw,nosuid,nodev"), "/dev/shm");
  must(vfs_->mount("/tmp", fs::make_tmpfs(*vfs_, half), "tmpfs", "rw,nosuid,nodev,relatime"), "/tmp");
  must(vfs_->mount("/run", fs::make_tmpfs(*vfs_, half, 0755), "tmpfs", "rw,nosuid,nodev,noexec,relatime,mode=755"), "/run");
  fs::set_kernel_log(*vfs_, {[this] { return kernel_->kernel_log(); }, [this](std::string_view line) { kernel_->log(std::string(line)); }});
  for (const Bind& bind : later) TRY(offer(bind.host, bind.guest));
  return {};
}

// The swap partition, as mkswap and swapon -a would have it.
Result<void, UserError> Machine::enable_swap() {
  const Status node = fs::add_disk_device(*vfs_, *swap_disk_, kSwapMinor);
  CHECK(node, "making /dev/{}: {}", swap_disk_->name(), node ? "" : errno_name(node.error()));
  const Pages pages = swap_disk_->size().pages_down();
  const std::vector<std::byte> header = mm::SwapSpace::make_header(pages);
  CHECK(swap_disk_->poke(0, header), "writing the header of {}", swap_disk_->name());
  mm::SwapSource source{.path = "/dev/vdb", .disk = swap_disk_.get(), .extents = {{0, pages.value(), 0}}, .partition = true, .identity = fs::disk_device_number(kSwapMinor)};
  if (const Status on = vm_->swap().swap_on(std::move(source), header, std::nullopt); !on)
    return fail(UserError{fmt::format("--swap {}: {}", options_.swap.value(), errno_name(on.error())), "give it at least 40K, or the machine more --ram"});
  return {};
}

Result<void, UserError> Machine::offer(const std::string& host, const std::string& guest) {
  struct ::stat about {};
  if (::stat(host.c_str(), &about) != 0) return fail(UserError{fmt::format("cannot offer {}: {}", host, std::strerror(errno)), "name something that exists"});
  const bool directory = S_ISDIR(about.st_mode);
  const std::string name = guest.substr(guest.rfind('/'));
  fs::OverlayConfig config;
  config.standard_directories = false;
  config.offers = {{host, directory ? "/" : name}};
  config.name = guest;  // each overlay is a tree of its own
  const std::shared_ptr<fs::FileSystem> fs = TRY(fs::make_overlay(*vfs_, config, *block_store_));

  const auto refuse = [&](Errno error) {
    return fail(UserError{fmt::format("cannot offer {} as {}: {}", host, guest, errno_name(error)), "choose another guest path"});
  };
  const fs::Credentials root{};
  fs::PathContext context{.root = vfs_->root(), .cwd = vfs_->root()};
  context.credentials = &root;
  for (size_t slash = guest.find('/', 1); slash != std::string::npos; slash = guest.find('/', slash + 1))
    (void)vfs_->make_directory(context, nullptr, guest.substr(0, slash), 0755);
  if (directory) {
    (void)vfs_->make_directory(context, nullptr, guest, 0755);
    if (const Status mounted = vfs_->mount(guest, fs, host, "rw,relatime"); !mounted) return refuse(mounted.error());
    return {};
  }
  // A single file lies on an empty one, as after mount --bind: what else is in its directory stays.
  auto file = fs->root()->lookup(name.substr(1));
  if (!file) return refuse(file.error());
  if (const auto place = vfs_->open(context, nullptr, guest, fs::kOpenWrite | fs::kOpenCreate, 0644); !place) return refuse(place.error());
  if (const Status mounted = vfs_->mount(guest, fs, host, "rw,relatime", std::move(*file)); !mounted) return refuse(mounted.error());
  return {};
}

Result<void, UserError> Machine::offer_named_programs(const Program& program) {
  if (options_.root) return {};
  const fs::Credentials root{};
  fs::PathContext context{.root = vfs_->root(), .cwd = vfs_->root()};
  context.credentials = &root;
  const auto consider = [&](const std::string& word) -> Result<void, UserError> {
    if (word.size() < 2 || word[0] != '/' || word.find("/..") != std::string::npos) return {};
    struct ::stat about {};
    constexpr mode_t kForAll = S_IROTH | S_IXOTH;
    if (::stat(word.c_str(), &about) != 0 || vfs_->stat(context, nullptr, word, fs::Follow::Yes)) return {};
    if (S_ISREG(about.st_mode) && (about.st_mode & kForAll) == kForAll) return offer(word, word);
    if (std::ranges::find(named_elsewhere_, word) == named_elsewhere_.end()) named_elsewhere_.push_back(word);
    return {};
  };
  TRY(consider(program.path));
  for (const std::string& argument : program.arguments) {
    std::string word;
    for (const char c : argument + ' ') {
      if (std::isspace(static_cast<unsigned char>(c)) || std::strchr("'\"`;|&()<>", c)) {
        TRY(consider(word));
        word.clear();
      } else {
        word += c;
      }
    }
  }
  return {};
}

void Machine::explain_missing() {
  const fs::Credentials root{};
  fs::PathContext context{.root = vfs_->root(), .cwd = vfs_->root()};
  context.credentials = &root;
  for (const std::string& path : named_elsewhere_)
    if (!vfs_->stat(context, nullptr, path, fs::Follow::Yes)) spdlog::warn("{} is on the host, but the guest has none: --bind {} offers it", path, path);
}

std::vector<std::string> Machine::environment() const {
  std::vector<std::string> result{std::string("PATH=") + kSearchPath, "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh"};
  // A terminal's type describes the user's terminal, which the guest talks to.
  if (::isatty(0) && ::getenv("TERM")) result.push_back(std::string("TERM=") + ::getenv("TERM"));
  for (const std::string& setting : options_.environment) {
    const std::string name = setting.substr(0, setting.find('=') + 1);
    std::erase_if(result, [&](const std::string& old) { return old.starts_with(name); });
    result.push_back(setting);
  }
  return result;
}

std::string Machine::find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  fs::PathContext context{.root = vfs_->root(), .cwd = vfs_->root()};
  const fs::Credentials root{};
  context.credentials = &root;
  std::string_view path = kSearchPath;
  while (!path.empty()) {
    const size_t colon = path.find(':');
    const std::string candidate = std::string(path.substr(0, colon)) + "/" + name;
    path = colon == std::string_view::npos ? std::string_view{} : path.substr(colon + 1);
    if (auto found = vfs_->stat(context, nullptr, candidate, fs::Follow::Yes); found && (found->mode & fs::kTypeMask) == fs::kRegular && (found->mode & 0111))
      return candidate;
  }
  return name;
}

Result<kernel::Exit, UserError> Machine::run(const Program& program, const std::function<void()>& at_first_exit) {
  TRY(offer_named_programs(program));
  kernel::Kernel::FirstProcess first;
  first.program = find_program(program.path);
  first.arguments.push_back(program.path);
  first.arguments.insert(first.arguments.end(), program.arguments.begin(), program.arguments.end());
  first.environment = environment();
  first.working_directory = options_.root ? "/" : working_directory();
  const unsigned modes[] = {fs::kOpenRead, fs::kOpenWrite, fs::kOpenWrite};
  std::shared_ptr<fs::File> terminal_file;
  if (terminal_) {
    const fs::Credentials root{};
    fs::PathContext context{.root = vfs_->root(), .cwd = vfs_->root()};
    context.credentials = &root;
    auto opened = vfs_->open(context, nullptr, "/dev/pts/0", fs::kOpenReadWrite, 0);
    CHECK(opened, "opening the terminal: {}", opened ? "" : errno_name(opened.error()));
    terminal_file = std::move(*opened);
  }
  for (int fd = 0; fd < 3; ++fd)
    first.standard[fd] = terminal_ && host_terminal_->is(fd) ? terminal_file : fs::make_host_stream(*vfs_, fd, modes[fd], *console_);
  first.terminal = terminal_;
  terminal_file.reset();
  const auto started = kernel_->start(first);
  // A trace that could not be written ends the run early, and is then what the user has to know.
  if (TraceSink* sink = tracer_.sink(); !started && sink && sink->failed()) TRY(sink->flush());
  TRY(started);
  kernel::Exit exit = kernel_->run(at_first_exit);
  restore_host_terminal();
  TRY(power_off());
  if (console_->ended_by()) exit = {.signal = console_->ended_by()};
  if (exit.shell_status() != 0) explain_missing();
  if (TraceSink* sink = tracer_.sink()) TRY(sink->flush());
  return exit;
}

void Machine::set_interrupt_handler(std::function<bool()> handler) {
  interrupt_handler_ = std::move(handler);
  if (host_terminal_) host_terminal_->keep_interrupt_key(interrupt_handler_ != nullptr);
}
void Machine::borrow_terminal() {
  if (host_terminal_) host_terminal_->lend();
}
void Machine::return_terminal() {
  if (host_terminal_) host_terminal_->taken_back();
}
void Machine::set_output_listener(OutputListener* listener) { console_->set_output_listener(listener); }
// Requests that are on their way complete, and an image is left with everything in its place.
Result<void, UserError> Machine::power_off() {
  while (disk_->counters().in_flight > 0 && clock_->next_event()) {
    clock_->idle_until(*clock_->next_event());
    clock_->run_due_events();
  }
  if (!options_.disk_image) return {};
  const Status synced = vfs_->sync_all(), closed = block_store_->close();
  if (!synced || !closed) return fail(UserError{fmt::format("--disk-image {}: not everything could be written to it", *options_.disk_image), "make room on the host's disk"});
  return {};
}

void Machine::verify(mm::Verify level) {
  mmu_->verify();
  physical_->verify(level);
  vm_->verify(level);
  kernel_->verify(level);
}

}  // namespace vitro::machine
