# Sleeps, and loads from the window each time that it wakes; the interrupt handler stores the interrupt's number.
.include "riscv64.inc"
  li s1, WINDOW
  vector_at trap
  enable_interrupts
1: wfi
  ld a2, 0(s1)
  j 1b
.balign 4
trap:
  csrrw t0, STOPEI, zero
  srli t0, t0, 16
  sd t0, 0x60(s1)
  sret
