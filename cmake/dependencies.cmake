# Everything comes from Debian; scripts/setup installs it.
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(GTest)
find_package(benchmark QUIET)
find_package(nlohmann_json REQUIRED)
find_package(tl-expected REQUIRED)
find_package(Boost REQUIRED COMPONENTS context)
find_package(Threads REQUIRED)
pkg_check_modules(capstone REQUIRED IMPORTED_TARGET capstone)

# Unicorn >= 2.1.1: the system's, or the static library that scripts/setup put into build/deps/unicorn. Static is preferred: blocks are kept short
# enough for Unicorn's translator, and accesses found quickly, by wrapping two of its functions (src/hw/unicorn_wraps.cpp), which a shared library
# does not allow.
set(VITRO_UNICORN_DIR ${CMAKE_SOURCE_DIR}/build/deps/unicorn CACHE PATH "Where include/unicorn and lib/libunicorn.a are")
pkg_check_modules(unicorn IMPORTED_TARGET unicorn>=2.1.1)
add_library(vitro_unicorn INTERFACE)
if(unicorn_FOUND)
  find_library(VITRO_UNICORN_ARCHIVE libunicorn.a HINTS ${unicorn_LIBRARY_DIRS} ${unicorn_LIBDIR})
  target_include_directories(vitro_unicorn SYSTEM INTERFACE ${unicorn_INCLUDE_DIRS})
elseif(EXISTS ${VITRO_UNICORN_DIR}/lib/libunicorn.a)
  set(VITRO_UNICORN_ARCHIVE ${VITRO_UNICORN_DIR}/lib/libunicorn.a)
  target_include_directories(vitro_unicorn SYSTEM INTERFACE ${VITRO_UNICORN_DIR}/include)
else()
  message(FATAL_ERROR "Unicorn >= 2.1.1 was not found: run scripts/setup, which obtains it")
endif()
if(VITRO_UNICORN_ARCHIVE)
  # Wrapper and wrapped are asked for by name: the layer's archive comes before Unicorn's and would not give its wrapper to a program that has no other
  # use for it, and the wrappers' references to what they wrap are weak (a shared Unicorn has nothing to wrap).
  foreach(function gen_intermediate_code_x86_64 flatview_translate_x86_64 unicorn_fill_tlb_x86_64)
    target_link_options(vitro_unicorn INTERFACE LINKER:--wrap=${function} LINKER:--undefined=__wrap_${function} LINKER:--undefined=${function})
  endforeach()
  target_link_libraries(vitro_unicorn INTERFACE ${VITRO_UNICORN_ARCHIVE} Threads::Threads m)
else()
  target_link_libraries(vitro_unicorn INTERFACE PkgConfig::unicorn)
endif()
