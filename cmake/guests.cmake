# Guest programs: C, static, no vitro code in them. guest/*.c are the programs people run; guest/tests/*.c check themselves.
file(GLOB guest_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/guest/*.c ${CMAKE_SOURCE_DIR}/guest/tests/*.c)
set(guest_programs "")
foreach(source ${guest_sources})
  get_filename_component(name ${source} NAME_WE)
  set(program ${CMAKE_BINARY_DIR}/guest/${name})
  add_custom_command(OUTPUT ${program}
    COMMAND ${CMAKE_C_COMPILER} -O2 -g -static -std=gnu17 -Wall -Wextra -o ${program} ${source} -pthread
    DEPENDS ${source} VERBATIM)
  list(APPEND guest_programs ${program})
endforeach()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/guest)
add_custom_target(guests ALL DEPENDS ${guest_programs})
