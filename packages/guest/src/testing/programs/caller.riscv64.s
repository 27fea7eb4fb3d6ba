# Calls with 11 to 18 in a0 to a7, and stores what it finds there afterwards to the window.
.include "riscv64.inc"
  li s1, WINDOW
1: li a0, 11
  li a1, 12
  li a2, 13
  li a3, 14
  li a4, 15
  li a5, 16
  li a6, 17
  li a7, 18
  ecall
  sd a0, 0(s1)
  sd a1, 8(s1)
  sd a2, 16(s1)
  sd a3, 24(s1)
  sd a4, 32(s1)
  sd a5, 40(s1)
  sd a6, 48(s1)
  sd a7, 56(s1)
  j 1b
