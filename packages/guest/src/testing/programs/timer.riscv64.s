# Sets its timer to 1000 by SBI and sleeps; the interrupt handler stores the timer's interrupt to the window.
.include "riscv64.inc"
.equ SBI_EID_TIME, 0x54494d45
.equ STIE, 1 << 5
  li s1, WINDOW
  vector_at trap
  li t6, STIE
  csrw sie, t6
  csrsi sstatus, 2
  li a0, 1000
  li a6, 0
  li a7, SBI_EID_TIME
  ecall
1: wfi
  j 1b
.balign 4
trap:
  csrr t0, scause
  slli t0, t0, 1
  srli t0, t0, 1
  sd t0, 0x60(s1)
  li a0, -1
  li a6, 0
  li a7, SBI_EID_TIME
  ecall
  sret
