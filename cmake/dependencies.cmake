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
# enough for Unicorn's translator, and accesses found quickly, by wrapping some of its functions (src/hw/unicorn_*.cpp), which a shared library
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
  foreach(function gen_intermediate_code tcg_func_start flatview_translate unicorn_fill_tlb
          helper_ret_ldub_mmu helper_le_lduw_mmu helper_le_ldul_mmu helper_le_ldq_mmu
          helper_ret_stb_mmu helper_le_stw_mmu helper_le_stl_mmu helper_le_stq_mmu
          cpu_ldub_data_ra cpu_lduw_data_ra cpu_ldsw_data_ra cpu_ldl_data_ra cpu_ldq_data_ra
          cpu_stb_data_ra cpu_stw_data_ra cpu_stl_data_ra cpu_stq_data_ra)
    target_link_options(vitro_unicorn INTERFACE LINKER:--wrap=${function}_x86_64 LINKER:--undefined=__wrap_${function}_x86_64
                        LINKER:--undefined=${function}_x86_64)
  endforeach()
  target_link_libraries(vitro_unicorn INTERFACE ${VITRO_UNICORN_ARCHIVE} Threads::Threads m)
else()
  target_link_libraries(vitro_unicorn INTERFACE PkgConfig::unicorn)
endif()
