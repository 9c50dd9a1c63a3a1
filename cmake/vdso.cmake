# The vdso: a shared object for the simulated machine, linked by a script of its own and put into the kernel layer as bytes.
enable_language(ASM)
set(vdso_source ${CMAKE_SOURCE_DIR}/src/kernel/vdso)
set(vdso_file ${CMAKE_BINARY_DIR}/vdso.so)
add_custom_command(OUTPUT ${vdso_file}
  COMMAND ${CMAKE_C_COMPILER} -O2 -std=gnu17 -Wall -Wextra -fPIC -shared -nostdlib -ffreestanding -fno-stack-protector -fcf-protection=none -fno-builtin
          -fasynchronous-unwind-tables -Wl,-soname,linux-vdso.so.1 -Wl,--hash-style=both -Wl,--build-id=none -Wl,--eh-frame-hdr -Wl,-Bsymbolic
          -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,-T,${vdso_source}/vdso.lds -s -o ${vdso_file} ${vdso_source}/vdso.c
  DEPENDS ${vdso_source}/vdso.c ${vdso_source}/vdso.lds VERBATIM)
set_source_files_properties(${vdso_source}/image.S PROPERTIES OBJECT_DEPENDS ${vdso_file} COMPILE_DEFINITIONS "VITRO_VDSO_FILE=\"${vdso_file}\"")
target_sources(vitro_kernel PRIVATE ${vdso_source}/image.S)
