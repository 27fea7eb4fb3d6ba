# Loads from the window. Of a fault it stores the cause and the address; then it stores 1, and begins again.
.include "riscv64.inc"
.option norvc
  li s1, WINDOW
  vector_at trap
1: ld a2, 0(s1)
  li t0, 1
  sd t0, 0x18(s1)
  j 1b
.balign 4
trap:
  csrr t0, scause
  sd t0, 8(s1)
  csrr t0, stval
  sd t0, 0x10(s1)
  csrr t0, sepc
  addi t0, t0, 4
  csrw sepc, t0
  sret
