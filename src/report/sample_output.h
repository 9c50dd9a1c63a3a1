// Where the rows of a sampling report go, in one of three forms: the tool's own text, CSV, JSON.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "report/sample_table.h"

namespace vitro::report {

class SampleOutput {
 public:
  virtual ~SampleOutput() = default;
  // One sample; the first comes with what stands above it.
  virtual void write(const SampleTable& table, const SampleInterval& interval) = 0;
  virtual void finish(const SampleTable& table) {}

  // `path`: "-" for standard error, which takes text; a name that ends in .csv or .json. Errors: it cannot be written.
  static Result<std::unique_ptr<SampleOutput>, UserError> open(const std::string& path);
  // Errors: some of it could not be written.
  Result<void, UserError> flush();

 protected:
  void print(const std::string& text);

 private:
  struct Close {
    void operator()(FILE* f) const {
      if (f != stderr) std::fclose(f);
    }
  };
  std::unique_ptr<FILE, Close> file_;
  std::string path_;
  int error_ = 0;  // errno of the first write that failed
};

}  // namespace vitro::report
