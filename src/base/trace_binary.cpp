// The .vtrace writer and reader.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "vitro/base/trace_file.h"

namespace vitro {
namespace {

constexpr std::string_view kMagic = "VTRACE2\n";
constexpr uint8_t kTaskRecord = 0xfe, kTextRecord = 0xfd, kFirstSpecial = 0xf0;
constexpr size_t kChunkSize = 1 << 16;
constexpr size_t kMaxTexts = 1 << 18;   // then the table starts anew
constexpr size_t kMaxChunk = 1 << 24;   // no writer makes larger ones: a damaged length is noticed
static_assert(kEventCount < kFirstSpecial);

void put_number(std::string& out, uint64_t n) {
  while (n >= 0x80) out += static_cast<char>(n | 0x80), n >>= 7;
  out += static_cast<char>(n);
}
uint64_t zigzag(int64_t n) { return (static_cast<uint64_t>(n) << 1) ^ static_cast<uint64_t>(n >> 63); }
int64_t unzigzag(uint64_t n) { return static_cast<int64_t>(n >> 1) ^ -static_cast<int64_t>(n & 1); }
void put_text(std::string& out, std::string_view text) {
  put_number(out, text.size());
  out += text;
}

class BinaryTraceSink final : public TraceSink {
 public:
  BinaryTraceSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {
    std::string header{kMagic};
    put_number(header, kEventCount);
    for (size_t i = 0; i < kEventCount; ++i) {
      const TraceEventSpec& spec = trace_event_spec(static_cast<Event>(i));
      put_text(header, spec.name), put_text(header, spec.group), put_text(header, spec.system);
      put_number(header, spec.fields.size());
      for (const TraceField& field : spec.fields) {
        put_text(header, field.name), header += static_cast<char>(field.format);
        put_text(header, field.before ? field.before : fmt::format(" {}=", field.name)), put_text(header, field.after);
      }
    }
    write_out(header);
    payload_.reserve(kChunkSize + 4096);
  }
  ~BinaryTraceSink() override {
    if (!ended_) (void)flush();
    ::close(fd_);
  }

  void write(const TraceRecord& record) override {
    if (record.pid != pid_ || record.cpu != cpu_ || record.comm != comm_) put_task(record);
    const TraceEventSpec& spec = trace_event_spec(record.event);
    // Texts are numbered before the record that uses them.
    uint64_t numbers[16];
    for (size_t i = 0; i < record.values.size(); ++i)
      if (is_text(spec.fields[i].format)) numbers[i] = text_number(record.values[i].text);
    payload_ += static_cast<char>(record.event);
    put_number(payload_, record.time.value() - time_);
    time_ = record.time.value();
    for (size_t i = 0; i < record.values.size(); ++i) {
      const FieldFormat format = spec.fields[i].format;
      if (is_text(format)) put_number(payload_, numbers[i]);
      else put_number(payload_, is_signed(format) ? zigzag(static_cast<int64_t>(record.values[i].number)) : record.values[i].number);
    }
    ++chunk_records_;
    if (payload_.size() >= kChunkSize) end_chunk();
  }

  Result<void, UserError> flush() override {
    if (!ended_) {
      end_chunk();
      std::string end(16, '\0');
      std::memcpy(end.data() + 8, &records_, 8);
      write_out(end);
      ended_ = true;
    }
    if (error_ == 0) return {};
    return fail(UserError{fmt::format("cannot write the trace to {}: {}", name_, std::strerror(error_)),
                          "it is valid up to its last whole chunk; free some space or name another file"});
  }
  bool failed() const override { return error_ != 0; }

 private:
  void put_task(const TraceRecord& record) {
    pid_ = record.pid, cpu_ = record.cpu, comm_ = record.comm;
    payload_ += static_cast<char>(kTaskRecord);
    put_number(payload_, zigzag(pid_.value()));
    put_number(payload_, cpu_);
    put_text(payload_, comm_);
  }
  uint64_t text_number(std::string_view text) {
    if (const auto found = texts_.find(std::string(text)); found != texts_.end()) return found->second;
    if (texts_.size() == kMaxTexts) texts_.clear();
    payload_ += static_cast<char>(kTextRecord);
    put_text(payload_, text);
    return texts_[std::string(text)] = next_text_++;
  }
  void end_chunk() {
    if (payload_.empty()) return;
    const uint32_t head[2] = {static_cast<uint32_t>(payload_.size()), chunk_records_};
    write_out({reinterpret_cast<const char*>(head), sizeof head});
    write_out(payload_);
    records_ += chunk_records_;
    chunk_records_ = 0;
    payload_.clear();
  }
  void write_out(std::string_view bytes) {
    while (!bytes.empty() && error_ == 0) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
      else if (errno != EINTR) error_ = errno;
    }
  }

  int fd_;
  std::string name_;
  std::string payload_;
  std::unordered_map<std::string, uint64_t> texts_;
  uint64_t next_text_ = 0;
  uint64_t time_ = 0;
  uint64_t records_ = 0;
  uint32_t chunk_records_ = 0;
  Pid pid_{-1};
  unsigned cpu_ = 0;
  std::string comm_;
  int error_ = 0;
  bool ended_ = false;
};

// Takes numbers and texts from a payload; `ok` turns false at its end and stays so.
struct Cursor {
  std::string_view left;
  bool ok = true;
  uint64_t number() {
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (left.empty()) break;
      const auto byte = static_cast<uint8_t>(left.front());
      left.remove_prefix(1);
      n |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return n;
    }
    ok = false;
    return 0;
  }
  std::string_view text() {
    const uint64_t n = number();
    if (n > left.size()) ok = false;
    if (!ok) return {};
    const std::string_view result = left.substr(0, n);
    left.remove_prefix(n);
    return result;
  }
};

}  // namespace

Result<std::unique_ptr<TraceSink>, UserError> open_binary_trace(const std::string& path) {
  FILE* f = std::fopen(path.c_str(), "we");
  if (!f) return fail(UserError{fmt::format("cannot open the trace file {}: {}", path, std::strerror(errno)), "name a file in a directory you may write to"});
  const int fd = ::dup(::fileno(f));
  std::fclose(f);
  return std::make_unique<BinaryTraceSink>(fd, path);
}

Result<std::unique_ptr<TraceSink>, UserError> open_trace(const std::string& path) {
  return path.ends_with(".vtrace") ? open_binary_trace(path) : open_text_trace(path);
}

TraceReader::~TraceReader() { std::fclose(file_); }

Result<std::unique_ptr<TraceReader>, UserError> TraceReader::open(const std::string& path) {
  FILE* f = std::fopen(path.c_str(), "re");
  if (!f) return fail(UserError{fmt::format("cannot open {}: {}", path, std::strerror(errno)), "name a trace written with --trace-out FILE.vtrace"});
  std::unique_ptr<TraceReader> reader{new TraceReader(f)};
  TRY(reader->read_header(path));
  return reader;
}

Result<void, UserError> TraceReader::read_header(const std::string& path) {
  const auto refuse = [&] { return fail(UserError{fmt::format("{} is no vitro trace", path), "name a trace written with --trace-out FILE.vtrace"}); };
  char magic[8];
  if (std::fread(magic, 1, sizeof magic, file_) != sizeof magic || std::string_view(magic, sizeof magic) != kMagic) return refuse();
  bool ok = true;
  const auto byte = [&]() -> uint8_t {
    const int c = std::fgetc(file_);
    if (c < 0) ok = false;
    return static_cast<uint8_t>(c);
  };
  const auto number = [&] {
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64 && ok; shift += 7) {
      const uint8_t b = byte();
      n |= static_cast<uint64_t>(b & 0x7f) << shift;
      if (b < 0x80) break;
    }
    return n;
  };
  const auto text = [&] {
    std::string s(std::min<uint64_t>(number(), 256), '\0');
    for (char& c : s) c = static_cast<char>(byte());
    return s;
  };
  events_.resize(std::min<uint64_t>(number(), kFirstSpecial));
  for (EventType& event : events_) {
    event.name = text(), event.group = text(), event.system = text();
    event.fields.resize(std::min<uint64_t>(number(), 16));
    for (Field& field : event.fields) {
      field.name = text();
      field.format = static_cast<FieldFormat>(byte());
      if (field.format > kLastFieldFormat) ok = false;
      field.before = text(), field.after = text();
    }
    for (const Field& field : event.fields) event.raw_fields.push_back({field.name.c_str(), field.format, field.before.c_str(), field.after.c_str()});
    event.spec = {event.name.c_str(), event.group.c_str(), event.system.c_str(), event.raw_fields};
  }
  if (!ok) return refuse();
  return {};
}

bool TraceReader::for_each(const Visitor& visit) {
  std::string payload;
  for (;;) {
    uint32_t head[2];
    if (std::fread(head, 1, sizeof head, file_) != sizeof head) return false;
    if (head[0] == 0) {
      uint64_t total = 0;
      return std::fread(&total, 1, sizeof total, file_) == sizeof total && total == records_;
    }
    if (head[0] > kMaxChunk) return false;
    payload.resize(head[0]);
    const size_t got = std::fread(payload.data(), 1, payload.size(), file_);
    bool wanted = true;
    // Of a chunk that is cut the whole records are still good.
    const bool whole = read_chunk({payload.data(), got}, head[1], visit, wanted);
    if (!wanted) return true;
    if (!whole || got != payload.size()) return false;
  }
}

bool TraceReader::read_chunk(std::string_view payload, uint32_t records, const Visitor& visit, bool& wanted) {
  Cursor in{payload};
  std::vector<TraceValue> values;
  for (uint32_t seen = 0; !in.left.empty();) {
    const auto type = static_cast<uint8_t>(in.left.front());
    in.left.remove_prefix(1);
    if (type == kTaskRecord) {
      const Pid pid{static_cast<int32_t>(unzigzag(in.number()))};
      const auto cpu = static_cast<unsigned>(in.number());
      const std::string_view comm = in.text();
      if (!in.ok) return false;
      pid_ = pid, cpu_ = cpu, comm_ = comm;
    } else if (type == kTextRecord) {
      const std::string_view text = in.text();
      if (!in.ok) return false;
      texts_.push_back(std::make_unique<std::string>(text));
    } else {
      if (type >= events_.size() || seen == records) return false;
      const EventType& event = events_[type];
      const uint64_t time = time_ + in.number();
      values.clear();
      for (const Field& field : event.fields) {
        const uint64_t n = in.number();
        if (is_text(field.format)) {
          if (in.ok && n >= texts_.size()) return false;
          values.emplace_back(in.ok ? std::string_view(*texts_[n]) : std::string_view{});
        } else {
          values.emplace_back(is_signed(field.format) ? static_cast<uint64_t>(unzigzag(n)) : n);
        }
      }
      if (!in.ok) return false;
      time_ = time, ++seen, ++records_;
      if (!visit(event, TraceRecord{static_cast<Event>(type), Nanoseconds{time}, pid_, cpu_, comm_, values})) {
        wanted = false;
        return true;
      }
    }
  }
  return true;
}

}  // namespace vitro
