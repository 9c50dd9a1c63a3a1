/* The linked vdso, as bytes in the program. */
  .section .rodata
  .global vitro_vdso_image, vitro_vdso_image_end
  .balign 8
vitro_vdso_image:
  .incbin VITRO_VDSO_FILE
vitro_vdso_image_end:
  .section .note.GNU-stack, "", @progbits
