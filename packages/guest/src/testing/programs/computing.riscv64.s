# Loads from its own memory 5000 times between two loads from the window.
.include "riscv64.inc"
  li s1, WINDOW
  la s2, .
1: ld a2, 0(s1)
  li t0, 5000
2: lbu a2, 0(s2)
  addi t0, t0, -1
  bnez t0, 2b
  j 1b
