#include "vitro/report/trace_query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vitro::report {
namespace {

using testing::HasSubstr;

struct TraceQueryTest : testing::Test {
  TraceQueryTest() {
    for (const Event e : {Event::TlbMiss, Event::SysExit, Event::TlbFlush}) {
      const TraceEventSpec& spec = trace_event_spec(e);
      TraceReader::EventType type{spec.name, spec.group, spec.system, {}, {}, spec};
      for (const TraceField& f : spec.fields) type.fields.push_back({f.name, f.format, {}, {}});
      types.push_back(type);
    }
  }
  bool matches(std::string_view text, size_t type, std::initializer_list<TraceValue> values) {
    auto query = TraceQuery::parse(text, types);
    EXPECT_TRUE(query.has_value()) << text << ": " << (query ? "" : query.error().what);
    return query && (*query)->matches(types[type], record(values));
  }
  static TraceRecord record(std::initializer_list<TraceValue> values) {
    return {Event::TlbMiss, Nanoseconds{1'500'000'000}, Pid{7}, 0, "she\"ll", {values.begin(), values.size()}};
  }
  UserError error(std::string_view text) {
    auto query = TraceQuery::parse(text, types);
    return query ? UserError{"accepted", ""} : query.error();
  }
  std::vector<TraceReader::EventType> types;
};

TEST_F(TraceQueryTest, ComparesNumbersTextsAndPatterns) {
  const std::initializer_list<TraceValue> miss{"l2", 0x7f00'0000'1000, "4K", 4};
  for (const char* yes : {"event=tlb_miss", "event~tlb_*", "group=tlb-miss", "address>=0x7f0000000000", "refs=4", "refs!=5", "refs<=4 and refs>3", "level=l2",
                          "comm~'she*'", "pid=7", "time>1.4", "time<=1.5", "not refs=5", "not (refs=5 or pid=8)", "refs=5 or pid=7 and level=l2",
                          "page_size='4K'", "address!=0"})
    EXPECT_TRUE(matches(yes, 0, miss)) << yes;
  for (const char* no : {"event=sys_exit", "address<0x7f0000000000", "refs=5", "ret=0", "not pid=7", "time>1.5", "(refs=5 or pid=7) and level=l1d"})
    EXPECT_FALSE(matches(no, 0, miss)) << no;
  EXPECT_TRUE(matches("ret<0", 1, {0, "read", -4})) << "signed";
  EXPECT_FALSE(matches("ret>0", 1, {0, "read", -4}));
  EXPECT_TRUE(matches("reason_code=2 and reason~local* and pages=-1", 2, {-1, "local shootdown", 2}));
}

TEST_F(TraceQueryTest, SaysWhatIsUnknownAndWhatIsLikeIt) {
  EXPECT_EQ(error("adress>1").what, "--where: no event has a field 'adress'");
  EXPECT_EQ(error("adress>1").hint, "did you mean address?");
  EXPECT_EQ(error("event=tlb_mis").what, "--where: no event is called 'tlb_mis'");
  EXPECT_EQ(error("event=tlb_mis").hint, "did you mean tlb_miss?");
  EXPECT_THAT(error("event=tlb").hint, HasSubstr("tlb_flush"));
  EXPECT_THAT(error("colour=red").hint, HasSubstr("known: address, "));
  EXPECT_THAT(error("event~fault*").what, HasSubstr("no event is called"));
  EXPECT_THAT(error("refs=many").what, HasSubstr("'many', which is no number"));
  EXPECT_THAT(error("refs").what, HasSubstr("column 5: expected one of"));
  EXPECT_THAT(error("refs=1 refs=2").what, HasSubstr("expected an 'and'"));
  EXPECT_THAT(error("level='l2").what, HasSubstr("closing quote"));
  EXPECT_THAT(error(std::string(300, '(')).what, HasSubstr("fewer parentheses"));
  EXPECT_EQ(error("event=sys_exit and ret<0").what, "accepted");
}

TEST_F(TraceQueryTest, CsvHasOneColumnForEachFieldOfItsEvents) {
  const CsvTable table({&types[0], &types[1]});
  std::string out;
  table.append_header(out);
  table.append_line(out, types[0], record({"l2", 0x1000, "4K", 4}));
  table.append_line(out, types[1], record({0, "read", -4}));
  EXPECT_EQ(out,
            "time,comm,pid,cpu,event,level,address,page_size,refs,nr,name,ret\n"
            "1.500000000,\"she\"\"ll\",7,0,tlb_miss,l2,0x1000,4K,4,,,\n"
            "1.500000000,\"she\"\"ll\",7,0,sys_exit,,,,,0,read,-4\n");
}

TEST_F(TraceQueryTest, JsonIsJsonWhateverTheNamesHold) {
  std::string out;
  const TraceValue values[] = {0, "read", -4};
  append_json_event(out, types[1], {Event::SysExit, Nanoseconds{1'234'567}, Pid{7}, 0, "a\"\\\n\xff", values});
  const auto j = nlohmann::json::parse(out);
  EXPECT_EQ(j["name"], "sys_exit");
  EXPECT_EQ(j["args"]["ret"], -4);
  EXPECT_DOUBLE_EQ(j["ts"], 1234.567);
  out.clear();
  append_json_event(out, types[0], record({"l2", 0xffff'8000'0000'0000, "4K", 4}));
  EXPECT_EQ(nlohmann::json::parse(out)["args"]["address"], "0xffff800000000000");
}

}  // namespace
}  // namespace vitro::report
