#include "report/sample_output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

namespace vitro::report {
namespace {

class TextOutput final : public SampleOutput {
 public:
  void write(const SampleTable& table, const SampleInterval& interval) override {
    if (!std::exchange(begun_, true)) print(table.heading(interval.before));
    print(table.row(interval));
  }

 private:
  bool begun_ = false;
};

std::string number(const SampleColumn& c, const SampleInterval& interval) {
  return c.rate ? fmt::format("{:.2f}", c.value(interval)) : fmt::format("{:.0f}", c.value(interval));
}
std::string time_text(const SampleInterval& interval) { return fmt::format("{:.6f}", static_cast<double>(interval.now.time.value()) / 1e9); }

class CsvOutput final : public SampleOutput {
 public:
  void write(const SampleTable& table, const SampleInterval& interval) override {
    std::string line;
    if (!std::exchange(begun_, true)) {
      line = "time";
      for (const SampleColumn& c : table.columns()) line += "," + c.name;
      line += '\n';
    }
    line += time_text(interval);
    for (const SampleColumn& c : table.columns()) line += "," + number(c, interval);
    print(line + "\n");
  }

 private:
  bool begun_ = false;
};

class JsonOutput final : public SampleOutput {
 public:
  void write(const SampleTable& table, const SampleInterval& interval) override {
    std::string line = std::exchange(begun_, true) ? ",\n" : "[\n";
    line += "{\"time\": " + time_text(interval);
    for (const SampleColumn& c : table.columns()) line += ", " + nlohmann::json(c.name).dump() + ": " + number(c, interval);
    print(line + "}");
  }
  void finish(const SampleTable&) override { print(begun_ ? "\n]\n" : "[]\n"); }

 private:
  bool begun_ = false;
};

}  // namespace

Result<std::unique_ptr<SampleOutput>, UserError> SampleOutput::open(const std::string& path) {
  std::unique_ptr<SampleOutput> out;
  if (path.ends_with(".csv"))
    out = std::make_unique<CsvOutput>();
  else if (path.ends_with(".json"))
    out = std::make_unique<JsonOutput>();
  else
    out = std::make_unique<TextOutput>();
  out->path_ = path;
  out->file_.reset(path == "-" ? stderr : std::fopen(path.c_str(), "we"));
  if (!out->file_) return fail(UserError{fmt::format("--report-out {}: {}", path, std::strerror(errno)), "name a file you may write to"});
  return out;
}

// At once: the table is there to be watched.
void SampleOutput::print(const std::string& text) {
  if (error_) return;
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() || std::fflush(file_.get()) != 0) error_ = errno ? errno : EIO;
}

Result<void, UserError> SampleOutput::flush() {
  // Nobody is left to be told that standard error is closed.
  if (error_ && path_ != "-") return fail(UserError{fmt::format("cannot write the report to {}: {}", path_, std::strerror(error_)), "name a file you may write to"});
  return {};
}

}  // namespace vitro::report
